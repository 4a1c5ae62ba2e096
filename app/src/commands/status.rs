//! What is under way, and what was.

use anyhow::Result;
use trimtab_api as api;

use super::client::{Client, read, with_query};
use super::print::{Printer, Tone, ago, clean, now, word};

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
    out.line(&format!("{health}  {}", clean(&status.health.reason)));
    services(out, &status);
    section(out, "Runs", &["ID", "SERVICE", "COMMIT", "STATE"], runs(&status));
    section(
        out,
        "Rollouts",
        &["ID", "TO", "CANDIDATE", "TRAFFIC", "STATE"],
        status.rollouts.iter().map(rollout_row).collect(),
    );
    let incidents = status.incidents.iter().map(|one| {
        vec![
            one.id.clone(),
            word(&one.severity),
            one.title.clone(),
            one.state_text.clone(),
        ]
    });
    section(
        out,
        "Incidents",
        &["ID", "SEVERITY", "WHAT", "STATE"],
        incidents.collect(),
    );
    let gates = status
        .approvals
        .iter()
        .map(|gate| vec![gate.run.clone(), word(&gate.role), gate.question.clone()]);
    section(
        out,
        "Waiting for a person",
        &["RUN", "ROLE", "QUESTION"],
        gates.collect(),
    );
    out.next(&advice(&status));
    Ok(true)
}

fn services(out: &Printer, status: &api::Status) {
    let now = now();
    let rows = status.services.iter().flat_map(|service| {
        service.environments.iter().map(move |place| {
            let running = place
                .instances
                .iter()
                .filter(|one| one.state == api::InstanceState::Running);
            vec![
                service.name.clone(),
                place.name.clone(),
                place.release.clone().unwrap_or_else(|| "nothing yet".to_owned()),
                place.since.map(|since| ago(now, since)).unwrap_or_default(),
                match &place.scale {
                    Some(scale) => format!("{} of {} wanted", running.count(), scale.instances),
                    None => running.count().to_string(),
                },
                place.url.clone().unwrap_or_default(),
            ]
        })
    });
    section(
        out,
        "Services",
        &["SERVICE", "ENVIRONMENT", "RELEASE", "SINCE", "RUNNING", "ADDRESS"],
        rows.collect(),
    );
}

fn runs(status: &api::Status) -> Vec<Vec<String>> {
    let row = |run: &api::RunSummary| {
        vec![
            run.id.clone(),
            run.service.clone(),
            run.commit.chars().take(10).collect(),
            run.state_text.clone(),
        ]
    };
    status.runs.iter().map(row).collect()
}

fn rollout_row(rollout: &api::RolloutSummary) -> Vec<String> {
    vec![
        rollout.id.clone(),
        rollout.environment.clone(),
        rollout.candidate.clone(),
        format!("{:.0} %", rollout.candidate_percent),
        rollout.state_text.clone(),
    ]
}

fn advice(status: &api::Status) -> String {
    if let Some(incident) = status.incidents.iter().find(|one| one.state.is_open()) {
        format!("trimtab explain {}", incident.id)
    } else if let Some(gate) = status.approvals.first() {
        format!(
            "trimtab approve {} -m WHY (or trimtab reject {})",
            gate.run, gate.run
        )
    } else if let Some(rollout) = status.rollouts.iter().find(|one| !one.state.is_over()) {
        format!("trimtab watch {}", rollout.id)
    } else if let Some(service) = status.services.first() {
        format!(
            "nothing waits for you; trimtab deploy {} starts a run",
            service.name
        )
    } else {
        "name a repository in trimtab-server.yaml (trimtab init writes one), then start the server again"
            .to_owned()
    }
}

fn section(out: &Printer, title: &str, names: &[&str], rows: Vec<Vec<String>>) {
    if !rows.is_empty() {
        out.line(&out.paint(Tone::Bold, title));
        out.table(names, &rows, "");
    }
}

pub(super) async fn history(
    client: &Client,
    out: &Printer,
    service: Option<String>,
    limit: usize,
) -> Result<bool> {
    let query = api::RolloutQuery {
        service,
        limit: Some(limit),
        ..api::RolloutQuery::default()
    };
    let answer = client.get(&with_query("/api/v1/rollouts", &query)).await?;
    if out.json(&answer)? {
        return Ok(true);
    }
    let now = now();
    let rollouts: Vec<api::RolloutSummary> = read(&answer)?;
    let rows: Vec<_> = rollouts
        .iter()
        .map(|one| {
            vec![
                one.id.clone(),
                ago(now, one.created_at),
                one.environment.clone(),
                one.candidate.clone(),
                word(&one.state),
                one.state_text.clone(),
            ]
        })
        .collect();
    out.table(
        &["ID", "BEGAN", "TO", "CANDIDATE", "STATE", "SAYS"],
        &rows,
        "no rollouts yet",
    );
    match rollouts.first() {
        Some(newest) => out.next(&format!("trimtab watch {}", newest.id)),
        None => out.next("trimtab deploy SERVICE starts a run"),
    }
    Ok(true)
}
