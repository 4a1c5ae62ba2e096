//! Runs and rollouts: start, look, steer.

use std::time::Duration;

use anyhow::Result;
use trimtab_api as api;
use trimtab_api::routes::fill;

use super::client::{Client, read};
use super::print::{Printer, Tone, figure};
use crate::cli::About;

/// How often a watched rollout is looked at.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn deploy(
    client: &Client,
    out: &Printer,
    service: String,
    commit: Option<String>,
) -> Result<bool> {
    let answer = client
        .post("/api/v1/deploy", &api::DeployRequest { service, commit })
        .await?;
    done(out, &answer, "trimtab status")
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
        _ => "trimtab status".to_owned(),
    };
    done(out, &client.post(&path, &comment).await?, &next)
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
    done(
        out,
        &client.post("/api/v1/rollback", &body).await?,
        "trimtab status",
    )
}

pub(super) fn done(out: &Printer, answer: &serde_json::Value, next: &str) -> Result<bool> {
    if !out.json(answer)? {
        let done: api::Done = read(answer)?;
        let id = done.id.map(|id| format!(" ({id})")).unwrap_or_default();
        out.line(&format!("{}{id}", out.paint(Tone::Good, &done.message)));
        out.next(next);
    }
    Ok(true)
}

pub(super) async fn status(client: &Client, out: &Printer) -> Result<bool> {
    let answer = client.get("/api/v1/status").await?;
    if out.json(&answer)? {
        return Ok(true);
    }
    let status: api::Status = read(&answer)?;
    let tone = match status.health.status {
        api::HealthStatus::Healthy => Tone::Good,
        api::HealthStatus::Critical => Tone::Bad,
        api::HealthStatus::Degraded => Tone::Warn,
        api::HealthStatus::Unknown => Tone::Dim,
    };
    let health = out.paint(tone, status.health.status.as_str());
    out.line(&format!(
        "{health}  {}",
        super::print::clean(&status.health.reason)
    ));
    section(
        out,
        "Runs",
        status.runs.iter().map(|run| {
            let commit = run.commit.chars().take(10).collect();
            vec![
                run.id.clone(),
                run.service.clone(),
                commit,
                run.state_text.clone(),
            ]
        }),
    );
    section(
        out,
        "Rollouts",
        status.rollouts.iter().map(|rollout| {
            vec![
                rollout.id.clone(),
                rollout.environment.clone(),
                rollout.candidate.clone(),
                format!("{:.0} %", rollout.candidate_percent),
                rollout.state_text.clone(),
            ]
        }),
    );
    section(
        out,
        "Incidents",
        status
            .incidents
            .iter()
            .map(|one| vec![one.id.clone(), one.title.clone(), one.state_text.clone()]),
    );
    section(
        out,
        "Waiting for a person",
        status
            .approvals
            .iter()
            .map(|one| vec![one.run.clone(), one.question.clone()]),
    );
    out.next(&advice(&status));
    Ok(true)
}

fn advice(status: &api::Status) -> String {
    if let Some(incident) = status.incidents.iter().find(|one| one.state.is_open()) {
        format!("trimtab explain {}", incident.id)
    } else if let Some(gate) = status.approvals.first() {
        format!("trimtab approve {} (or reject)", gate.run)
    } else if let Some(rollout) = status.rollouts.iter().find(|one| !one.state.is_over()) {
        format!("trimtab watch {}", rollout.id)
    } else {
        "nothing waits for you; trimtab deploy SERVICE starts a run".to_owned()
    }
}

fn section(out: &Printer, title: &str, rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        out.line(&out.paint(Tone::Bold, title));
        out.table(&rows);
    }
}

pub(super) async fn watch(client: &Client, out: &Printer, id: &str) -> Result<bool> {
    let path = fill("/api/v1/rollouts/{id}", &[id]);
    let mut shown = String::new();
    loop {
        let answer = client.get(&path).await?;
        let rollout: api::Rollout = read(&answer)?;
        let text = answer.to_string();
        if text != shown && !out.json(&answer)? {
            show(out, &rollout);
        }
        shown = text;
        if rollout.summary.state.is_over() {
            return Ok(rollout.summary.state == api::RolloutState::Deployed);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn show(out: &Printer, rollout: &api::Rollout) {
    let summary = &rollout.summary;
    let tone = match summary.state {
        api::RolloutState::Deployed => Tone::Good,
        api::RolloutState::RolledBack | api::RolloutState::Failed => Tone::Bad,
        _ => Tone::Bold,
    };
    out.line(&format!(
        "{}  {:.1} % to {}",
        out.paint(tone, &format!("{}: {}", summary.id, summary.state_text)),
        summary.candidate_percent,
        super::print::clean(&summary.candidate)
    ));
    let arms = [
        ("baseline", &rollout.baseline_figures),
        ("candidate", &rollout.candidate_figures),
    ];
    let rows: Vec<_> = arms
        .into_iter()
        .filter_map(|(name, arm)| {
            arm.as_ref().map(|arm| {
                vec![
                    name.to_owned(),
                    arm.release.clone(),
                    format!("{} requests", arm.requests),
                    format!("{} errors", arm.errors),
                    format!("p95 {}", figure(arm.p95_ms, " ms")),
                ]
            })
        })
        .collect();
    out.table(&rows);
    if let Some(verdict) = &rollout.verdict {
        let top = verdict
            .evidence
            .iter()
            .filter_map(|one| one.e_value)
            .fold(0.0, f64::max);
        out.line(&format!(
            "  verdict: {}  (e-value {top:.2}, alpha left {:.4} of {})",
            super::print::clean(&verdict.reason),
            verdict.alpha_left,
            verdict.alpha
        ));
    }
    if !summary.next_step.is_empty() {
        out.next(&summary.next_step);
    }
}
