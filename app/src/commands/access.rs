//! Tokens.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use trimtab_api as api;
use trimtab_api::routes::fill;

use super::client::{Client, read};
use super::print::{Printer, ago, clean, now, word};
use super::rollouts::done;
use crate::cli::TokenCommand;

pub(super) async fn token(client: &Client, out: &Printer, command: TokenCommand) -> Result<bool> {
    match command {
        TokenCommand::Create { name, role, days } => {
            let body: api::NewToken = serde_json::from_value(
                json!({"name": name, "role": role, "days": days}),
            )
            .with_context(|| {
                format!("failed to read role {role:?}: viewer, developer, approver, operator or admin")
            })?;
            let answer = client.post("/api/v1/tokens", &body).await?;
            if !out.json(&answer)? {
                let made: api::TokenCreated = read(&answer)?;
                out.line(&clean(&made.secret));
                // The secret alone on standard output, so that scripts can take it.
                eprintln!("next: keep it now, it is not shown again: export TRIMTAB_TOKEN=…");
            }
            Ok(true)
        }
        TokenCommand::List => {
            let answer = client.get("/api/v1/tokens").await?;
            if !out.json(&answer)? {
                list(out, &answer)?;
            }
            Ok(true)
        }
        TokenCommand::Revoke { id } => {
            let answer = client.delete(&fill("/api/v1/tokens/{id}", &[&id])).await?;
            done(client, out, &answer, "trimtab token list")
        }
    }
}

fn list(out: &Printer, answer: &Value) -> Result<()> {
    let now = now();
    let tokens: Vec<api::Token> = read(answer)?;
    let rows: Vec<_> = tokens
        .into_iter()
        .map(|one| {
            vec![
                one.id,
                one.name,
                word(&one.role),
                one.last_used_at
                    .map_or_else(|| "never".to_owned(), |at| ago(now, at)),
                one.expires_at
                    .map_or_else(|| "never".to_owned(), |at| ago(now, at)),
            ]
        })
        .collect();
    out.table(&["ID", "NAME", "ROLE", "USED", "ENDS"], &rows, "no tokens");
    out.next("trimtab token revoke ID ends one; trimtab token create NAME --role ROLE makes one");
    Ok(())
}
