//! Checks of this machine and of the server, each with its mend; and the way out of a damaged journal.

mod instances;
mod machine;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use trimtab_api as api;
use trimtab_api::{Check, CheckState};
use trimtab_control::clock;

use super::client::{CallError, Client, read};
use super::print::{Printer, Tone, clean};

/// What to examine.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The data folder.
    #[arg(long, env = "TRIMTAB_DATA", default_value = "data")]
    pub data: PathBuf,
    /// The configuration; trimtab-server.yaml in the data folder when absent.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Write what is readable of a damaged journal to this new file, and do nothing else.
    #[arg(long, value_name = "NEW_FILE")]
    pub salvage: Option<PathBuf>,
}

/// Examines everything. Says whether nothing failed.
///
/// # Errors
/// When the journal cannot be salvaged, or the answer not be written.
pub(super) async fn doctor(client: &Client, out: &Printer, arguments: DoctorArgs) -> Result<bool> {
    if let Some(to) = &arguments.salvage {
        return salvage(out, &arguments.data.join("journal.db"), to).await;
    }
    let answer = client.get("/api/v1/doctor").await;
    let serves = answer.is_ok();
    let mut checks = vec![machine::git(), machine::clock(&arguments.data)];
    checks.extend(machine::folder(&arguments.data));
    if arguments.data.is_dir() {
        checks.push(machine::room(&arguments.data));
        checks.push(machine::journal(&arguments.data.join("journal.db")).await);
        checks.push(machine::proxy(&arguments.data));
    }
    let default = arguments.data.join("trimtab-server.yaml");
    let config = arguments.config.as_deref().unwrap_or(&default);
    checks.extend(machine::ports(config, arguments.config.is_some(), serves));
    checks.push(instances::limits());
    checks.extend(instances::engine(config, arguments.config.is_some()));
    checks.extend(of_server(answer)?);
    let well = checks.iter().all(|check| check.state != CheckState::Failed);
    let as_of = api::Moment(clock::now());
    if !out.json(&serde_json::to_value(api::Doctor {
        checks: checks.clone(),
        as_of,
    })?)? {
        checks.iter().for_each(|check| print(out, check));
    }
    Ok(well)
}

/// What the server says of itself.
fn of_server(answer: Result<Value>) -> Result<Vec<Check>> {
    match answer {
        Ok(answer) => Ok(read::<api::Doctor>(&answer)?.checks),
        // It runs, and this is a matter between it and its caller.
        Err(error) if matches!(error.downcast_ref(), Some(CallError::Refused(_))) => Err(error),
        Err(error) => Ok(vec![machine::check(
            "server",
            CheckState::Warning,
            format!("{error:#}"),
            "start it: trimtab serve",
        )]),
    }
}

fn print(out: &Printer, check: &Check) {
    let (tone, mark) = match check.state {
        CheckState::Ok => (Tone::Good, "✔"),
        CheckState::Warning => (Tone::Warn, "!"),
        CheckState::Failed => (Tone::Bad, "✘"),
    };
    out.line(&format!(
        "{} {}: {}",
        out.paint(tone, mark),
        clean(&check.name),
        clean(&check.text)
    ));
    if !check.mend.is_empty() {
        out.next(&check.mend);
    }
}

async fn salvage(out: &Printer, from: &Path, to: &Path) -> Result<bool> {
    let saved = trimtab_journal::salvage(from, to)
        .await
        .with_context(|| format!("failed to salvage {}", from.display()))?;
    if out.json(&json!({"file": to, "salvage": saved}))? {
        return Ok(true);
    }
    out.line(&format!(
        "{} events are in {}; {} readable ones were left out, because one before them in their stream is lost",
        saved.kept,
        to.display(),
        saved.left_out
    ));
    let cut = saved.cut.iter();
    let rows: Vec<_> = cut
        .map(|(stream, last)| vec![stream.clone(), format!("ends at its event {last}")])
        .collect();
    out.table(&["STREAM", "CUT"], &rows, "no stream lost its end");
    let from = from.display();
    out.next(&format!(
        "with trimtab serve stopped: mkdir damaged && mv {from} {from}-wal {from}-shm damaged/; mv {} {from}",
        to.display()
    ));
    Ok(true)
}
