//! Incidents: list, explain, postmortem.

use anyhow::{Result, bail};
use trimtab_api as api;
use trimtab_api::routes::fill;

use super::client::{Client, read, with_query};
use super::print::{Printer, Tone, clean};

pub(super) async fn list(client: &Client, out: &Printer, open: bool) -> Result<bool> {
    let query = api::IncidentQuery {
        open: open.then_some(true),
        ..api::IncidentQuery::default()
    };
    let answer = client.get(&with_query("/api/v1/incidents", &query)).await?;
    if out.json(&answer)? {
        return Ok(true);
    }
    let incidents: Vec<api::IncidentSummary> = read(&answer)?;
    let rows: Vec<_> = incidents
        .iter()
        .map(|one| {
            vec![
                one.id.clone(),
                format!("{:?}", one.severity).to_lowercase(),
                one.opened_at.to_string(),
                one.title.clone(),
                one.state_text.clone(),
            ]
        })
        .collect();
    out.table(&rows);
    match incidents.first() {
        Some(newest) => out.next(&format!("trimtab explain {}", newest.id)),
        None => out.line("no incidents"),
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
    out.line(&format!("  {}", clean(&summary.state_text)));
    out.line(&out.paint(Tone::Bold, "Likely causes"));
    for cause in &incident.causes {
        out.line(&format!(
            "  {}. {}  {}",
            cause.rank,
            clean(&cause.text),
            clean(&cause.figure)
        ));
    }
    if incident.causes.is_empty() {
        out.line("  none found yet");
    }
    if !incident.actions.is_empty() {
        out.line(&out.paint(Tone::Bold, "What was done"));
    }
    for action in &incident.actions {
        out.line(&format!(
            "  {}  {}: {} (by {})",
            action.at,
            clean(&action.text),
            clean(&action.outcome),
            clean(&action.by)
        ));
    }
    for proposal in &incident.proposals {
        let command = proposal.command.as_deref().unwrap_or_default();
        out.next(&format!("{} {command}", proposal.text));
    }
    if incident.postmortem.is_some() {
        out.next(&format!("trimtab postmortem {id}"));
    }
    Ok(true)
}

pub(super) async fn postmortem(client: &Client, out: &Printer, id: &str) -> Result<bool> {
    let answer = client.get(&fill("/api/v1/incidents/{id}", &[id])).await?;
    let incident: api::Incident = read(&answer)?;
    let Some(text) = incident.postmortem else {
        bail!(
            "failed to find a postmortem of {id}: it is written when the incident ends (trimtab explain {id})"
        );
    };
    if !out.json(&serde_json::json!({"incident": id, "postmortem": text}))? {
        out.line(&clean(&text));
    }
    Ok(true)
}
