//! Runs and rollouts: start and steer.

use anyhow::{Context as _, Result};
use trimtab_api as api;
use trimtab_api::routes::fill;

use super::client::{Client, read, with_query};
use super::print::{Printer, Tone, clean, figure};
use crate::cli::{About, Count, EntranceCommand, Scale};

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

/// What is asked for by a rollout's id, or a service's name.
pub(super) fn way_back(
    target: String,
    release: Option<String>,
    environment: Option<String>,
    comment: String,
) -> api::RollBackRequest {
    let is_rollout = target
        .strip_prefix("rollout-")
        .is_some_and(|number| number.parse::<u64>().is_ok());
    let (rollout, service) = if is_rollout {
        (Some(target), None)
    } else {
        (None, Some(target))
    };
    api::RollBackRequest {
        rollout,
        service,
        environment,
        release,
        comment,
    }
}

/// What each step of the next rollout is expected to find, and how soon.
pub(super) async fn forecast(client: &Client, out: &Printer, service: String) -> Result<bool> {
    let query = api::ForecastQuery {
        service,
        environment: None,
    };
    let answer = client.get(&with_query("/api/v1/forecast", &query)).await?;
    if out.json(&answer)? {
        return Ok(true);
    }
    let told: api::RolloutForecast = read(&answer)?;
    let strategy = told.strategy.as_str();
    let (service, text) = (clean(&told.service), clean(&told.text));
    out.line(&format!("{service} in {}, {strategy}: {text}", told.environment));
    let rows: Vec<Vec<String>> = told.steps.iter().map(step_row).collect();
    out.table(
        &["SHARE", "WATCHED", "REQUESTS", "EXPECTED"],
        &rows,
        "no step is watched",
    );
    out.next(&format!("trimtab deploy {service}"));
    Ok(true)
}

fn step_row(step: &api::StepForecast) -> Vec<String> {
    let requests = step.candidate_requests;
    vec![
        figure(Some(step.percent), "%"),
        figure(Some(step.watch_seconds), "s"),
        requests.map_or_else(|| "–".to_owned(), |requests| requests.to_string()),
        clean(&step.text),
    ]
}

/// Says how long it will take, then does it.
pub(super) async fn roll_back(
    client: &Client,
    out: &Printer,
    request: api::RollBackRequest,
    dry_run: bool,
) -> Result<bool> {
    let asked = client.get(&with_query("/api/v1/rollback", &request)).await?;
    let forecast: api::RollBackForecast = read(&asked)?;
    if dry_run && out.json(&asked)? {
        return Ok(true);
    }
    if !out.json_wanted() {
        let (service, environment) = (clean(&forecast.service), clean(&forecast.environment));
        out.line(&format!("{service} in {environment}: {}", clean(&forecast.text)));
    }
    if dry_run {
        out.next("the same without --dry-run");
        return Ok(forecast.release.is_some());
    }
    let answer = client.post("/api/v1/rollback", &request).await?;
    let rollout = read::<api::Done>(&answer)?.id.unwrap_or_default();
    done(
        client,
        out,
        &answer,
        format!("trimtab watch {rollout}").trim_end(),
    )
}

pub(super) async fn upgrade_proxy(client: &Client, out: &Printer, comment: String) -> Result<bool> {
    let answer = client
        .post("/api/v1/proxy/upgrade", &api::Comment { comment })
        .await?;
    done(client, out, &answer, "trimtab doctor")
}

pub(super) async fn entrance(client: &Client, out: &Printer, command: EntranceCommand) -> Result<bool> {
    let (at, mode, seconds, page) = match command {
        EntranceCommand::Hold { at, seconds } => (at, api::EntranceMode::Held, Some(seconds), None),
        EntranceCommand::Close {
            at,
            page,
            retry_after,
        } => (at, api::EntranceMode::Closed, Some(retry_after), page),
        EntranceCommand::Open { at } => (at, api::EntranceMode::Open, None, None),
    };
    let read_page = |path: std::path::PathBuf| {
        std::fs::read_to_string(&path).with_context(|| format!("failed to read the page {}", path.display()))
    };
    let request = api::EntranceRequest {
        environment: at.environment,
        mode,
        seconds,
        page: page.map(read_page).transpose()?,
        comment: at.comment,
    };
    let path = fill("/api/v1/services/{id}/entrance", &[&at.service]);
    let next = match mode {
        api::EntranceMode::Open => "trimtab status".to_owned(),
        _ => format!("trimtab entrance open {}", at.service),
    };
    done(client, out, &client.post(&path, &request).await?, &next)
}

pub(super) async fn scale(client: &Client, out: &Printer, wanted: Scale) -> Result<bool> {
    let request = api::ScaleRequest {
        environment: Some(wanted.environment),
        instances: match wanted.instances {
            Count::Of(count) => Some(count),
            Count::AsWritten => None,
        },
        comment: wanted.comment,
    };
    let path = fill("/api/v1/services/{id}/scale", &[&wanted.service]);
    done(
        client,
        out,
        &client.post(&path, &request).await?,
        "trimtab status",
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
