//! Incidents: list, explain, act, postmortem.

use anyhow::Result;
use trimtab_api as api;
use trimtab_api::routes::fill;
use trimtab_api::{Fault, FaultCode};

use super::client::{CallError, Client, read, with_query};
use super::print::{Printer, Tone, ago, clean, now, short, word};
use super::rollouts::{answer, done};
use crate::cli::IncidentCommand;

pub(super) async fn list(client: &Client, out: &Printer, open: bool) -> Result<bool> {
    let query = api::IncidentQuery {
        open: open.then_some(true),
        ..api::IncidentQuery::default()
    };
    let answer = client.get(&with_query("/api/v1/incidents", &query)).await?;
    if out.json(&answer)? {
        return Ok(true);
    }
    let now = now();
    let incidents: Vec<api::IncidentSummary> = read(&answer)?;
    let rows: Vec<_> = incidents
        .iter()
        .map(|one| {
            vec![
                one.id.clone(),
                word(&one.severity),
                ago(now, one.opened_at),
                one.title.clone(),
                one.state_text.clone(),
            ]
        })
        .collect();
    let none = if open { "no open incidents" } else { "no incidents" };
    out.table(&["ID", "SEVERITY", "OPENED", "WHAT", "STATE"], &rows, none);
    match incidents.first() {
        Some(newest) => out.next(&format!("trimtab explain {}", newest.id)),
        None => out.next("trimtab status"),
    }
    Ok(true)
}

pub(super) async fn act(client: &Client, out: &Printer, command: IncidentCommand) -> Result<bool> {
    let (verb, about) = match command {
        IncidentCommand::Acknowledge(about) => ("acknowledge", about),
        IncidentCommand::TakeOver(about) => ("take-over", about),
        IncidentCommand::FixApplied(about) => ("fix-applied", about),
        IncidentCommand::Resolve(about) => ("resolve", about),
        IncidentCommand::Silence { id, reason, minutes } => {
            let body = api::SilenceRequest { reason, minutes };
            let path = fill("/api/v1/incidents/{id}/silence", &[&id]);
            let answer = client.post(&path, &body).await?;
            return done(client, out, &answer, "trimtab incidents silences");
        }
        IncidentCommand::Silences => return silences(client, out).await,
        IncidentCommand::EndSilence { id } => {
            let answer = client.delete(&fill("/api/v1/silences/{id}", &[&id])).await?;
            return done(client, out, &answer, "trimtab incidents silences");
        }
    };
    answer(client, out, "incidents", verb, about).await
}

async fn silences(client: &Client, out: &Printer) -> Result<bool> {
    let answer = client.get("/api/v1/silences").await?;
    if out.json(&answer)? {
        return Ok(true);
    }
    let now = now();
    let silences: Vec<api::Silence> = read(&answer)?;
    let rows: Vec<_> = silences
        .iter()
        .map(|one| {
            let of = &one.of;
            let covers = [&of.incident, &of.service, &of.environment];
            let covers: Vec<_> = covers.into_iter().flatten().cloned().collect();
            vec![
                one.id.clone(),
                covers.join(" "),
                ago(now, one.until),
                one.author.clone(),
                one.reason.clone(),
            ]
        })
        .collect();
    out.table(
        &["ID", "OF", "ENDS", "BY", "REASON"],
        &rows,
        "no silences in force",
    );
    match silences.first() {
        Some(first) => out.next(&format!("trimtab incidents end-silence {}", first.id)),
        None => out.next("trimtab incidents silence INCIDENT -m WHY"),
    }
    Ok(true)
}

pub(super) async fn explain(client: &Client, out: &Printer, id: &str) -> Result<bool> {
    let answer = client.get(&fill("/api/v1/incidents/{id}", &[id])).await?;
    if out.json(&answer)? {
        return Ok(true);
    }
    let incident: api::Incident = read(&answer)?;
    let summary = &incident.summary;
    out.line(&out.paint(Tone::Bold, &format!("{}: {}", summary.id, summary.title)));
    out.line(&format!(
        "  {}, {}; {}",
        word(&summary.severity),
        word(&summary.class),
        clean(&summary.state_text)
    ));
    impact(out, &incident.impact);
    out.line(&out.paint(Tone::Bold, "Likely causes"));
    for cause in &incident.causes {
        let line = format!("  {}. {}  {}", cause.rank, cause.text, cause.figure);
        out.line(clean(&line).trim_end());
    }
    if incident.causes.is_empty() {
        out.line("  none found yet");
    }
    if !incident.actions.is_empty() {
        out.line(&out.paint(Tone::Bold, "What was done"));
    }
    for action in &incident.actions {
        let at = action.at.to_string();
        let outcome = if action.outcome.is_empty() {
            String::new()
        } else {
            format!(": {}", action.outcome)
        };
        out.line(&clean(&format!(
            "  {}  {}{outcome} (by {})",
            at.get(11..19).unwrap_or(&at),
            action.text,
            action.by
        )));
    }
    learnt(out, &incident);
    advise(out, &incident);
    Ok(true)
}

fn impact(out: &Printer, impact: &api::Impact) {
    let figures = [
        impact
            .requests_failed
            .map(|failed| format!("{failed} requests failed")),
        impact.users.map(|users| format!("{users} users met it")),
        impact
            .budget_percent
            .map(|percent| format!("{} % of the error budget", short(percent))),
        impact
            .duration_ms
            .map(|ms| format!("felt for {} s", short(ms as f64 / 1000.0))),
    ];
    let told: Vec<String> = figures.into_iter().flatten().collect();
    if !told.is_empty() {
        out.line(&format!("  {}", told.join(", ")));
    }
}

fn learnt(out: &Printer, incident: &api::Incident) {
    if let Some(change) = &incident.learning {
        out.line(&out.paint(Tone::Bold, "What was learnt"));
        let taken = if change.accepted { "taken" } else { "refused" };
        let text = format!("  {taken}: {}", change.text);
        out.line(clean(&text).trim_end_matches([':', ' ']));
        for (what, before, after) in &change.changes {
            out.line(&clean(&format!("  {what}: {before} before, {after} now")));
        }
    }
}

fn advise(out: &Printer, incident: &api::Incident) {
    let id = &incident.summary.id;
    for proposal in &incident.proposals {
        let command = proposal
            .command
            .as_deref()
            .map_or_else(String::new, |command| format!(": {command}"));
        out.next(&format!("{}{command}", proposal.text));
    }
    if incident.postmortem.is_some() {
        out.next(&format!("trimtab postmortem {id}"));
    } else if incident.summary.state.is_open() {
        out.next(&format!(
            "trimtab incidents acknowledge {id}; take-over stops automatic actions"
        ));
    }
}

pub(super) async fn postmortem(client: &Client, out: &Printer, id: &str) -> Result<bool> {
    let answer = client.get(&fill("/api/v1/incidents/{id}", &[id])).await?;
    let incident: api::Incident = read(&answer)?;
    let Some(text) = incident.postmortem else {
        return Err(CallError::Refused(Fault::new(
            FaultCode::NotFound,
            format!("failed to find a postmortem of {id}: it is written when the incident ends"),
            format!("trimtab explain {id} says how it stands"),
        ))
        .into());
    };
    if !out.json(&serde_json::json!({"incident": id, "postmortem": text}))? {
        out.line(clean(&text).trim_end());
    }
    Ok(true)
}
