//! Runs and rollouts: start and steer.

use anyhow::Result;
use trimtab_api as api;
use trimtab_api::routes::fill;

use super::client::{Client, read};
use super::print::{Printer, Tone};
use crate::cli::About;

pub(super) async fn deploy(
    client: &Client,
    out: &Printer,
    service: String,
    commit: Option<String>,
) -> Result<bool> {
    let answer = client
        .post("/api/v1/deploy", &api::DeployRequest { service, commit })
        .await?;
    let run = read::<api::Done>(&answer)?.id;
    let next = run.map_or_else(
        || "trimtab status".to_owned(),
        |run| format!("trimtab status, then trimtab watch {run} once it rolls out"),
    );
    done(client, out, &answer, &next)
}

pub(super) async fn answer(
    client: &Client,
    out: &Printer,
    of: &str,
    verb: &str,
    about: About,
) -> Result<bool> {
    let path = fill("/api/v1/{of}/{id}/{verb}", &[of, &about.id, verb]);
    let comment = api::Comment {
        comment: about.comment,
    };
    let next = match of {
        "rollouts" => format!("trimtab watch {}", about.id),
        "incidents" => format!("trimtab explain {}", about.id),
        "releases" => {
            "trimtab deploy SERVICE COMMIT, or trimtab rollback SERVICE --release RELEASE".to_owned()
        }
        _ if verb == "approve" => format!("trimtab watch {}", about.id),
        _ => "trimtab status".to_owned(),
    };
    done(client, out, &client.post(&path, &comment).await?, &next)
}

pub(super) async fn roll_back(
    client: &Client,
    out: &Printer,
    target: String,
    release: Option<String>,
    environment: Option<String>,
    comment: String,
) -> Result<bool> {
    let is_rollout = target
        .strip_prefix("rollout-")
        .is_some_and(|number| number.parse::<u64>().is_ok());
    let (rollout, service) = if is_rollout {
        (Some(target), None)
    } else {
        (None, Some(target))
    };
    let body = api::RollBackRequest {
        rollout,
        service,
        environment,
        release,
        comment,
    };
    let answer = client.post("/api/v1/rollback", &body).await?;
    let rollout = read::<api::Done>(&answer)?.id.unwrap_or_default();
    done(
        client,
        out,
        &answer,
        format!("trimtab watch {rollout}").trim_end(),
    )
}

/// Says what a command brought about, where to see it, and what to do next.
pub(super) fn done(client: &Client, out: &Printer, answer: &serde_json::Value, next: &str) -> Result<bool> {
    if !out.json(answer)? {
        let done: api::Done = read(answer)?;
        out.line(&out.paint(Tone::Good, &done.message));
        if let Some(link) = done.link {
            out.line(&out.paint(Tone::Dim, &format!("see: {}{link}", client.base())));
        }
        out.next(next);
    }
    Ok(true)
}
