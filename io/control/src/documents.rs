//! What an incident leaves behind: the report on causes and the postmortem.

use trimtab_incident::{
    CauseLine, Impact, Moments, Phase, Record, TimelineEntry, Way, budget_burnt, postmortem as write_up,
    proposals,
};
use trimtab_model::Timestamp;

use crate::analysis::{diagnose, traffic};
use crate::clock;
use crate::incident_hands::Work;

/// Ranks the causes with their numbers and writes the report down.
pub(crate) async fn causes(work: &Work) -> Result<String, String> {
    let now = clock::now();
    let findings = work
        .plan
        .rollout
        .as_ref()
        .and_then(|rollout| work.world.evidence.findings(rollout, now));
    if let (Some(suspect), Some(findings)) = (&work.plan.suspect, findings) {
        let diagnosis = diagnose(&work.world, suspect, Some(findings), now);
        let body = serde_json::json!({ "text": diagnosis.report.render(), "report": diagnosis.report });
        work.write("report.causes", body).await?;
        return Ok(diagnosis.report.summary);
    }
    // What stood when the incident was opened is gone by now; the diagnosis of then was kept.
    let stream = format!("report/{}", work.id);
    let reports = work.world.journal.read_stream(&stream, 0).await;
    let reports = reports.map_err(|error| error.to_string())?;
    let kept = reports
        .iter()
        .rev()
        .find(|report| report.kind == "report.diagnosis");
    let body = kept.ok_or("the diagnosis was not kept")?.body.clone();
    let summary = body["report"]["summary"].as_str().unwrap_or_default().to_owned();
    work.write("report.causes", body).await?;
    Ok(summary)
}

/// Writes the postmortem down: first before anything was learned, then again with the `lessons`.
pub(crate) async fn postmortem(work: &Work, lessons: Option<Vec<String>>) -> Result<String, String> {
    let mut record = record(work).await?;
    record.lessons =
        lessons.unwrap_or_else(|| vec!["Not yet: the models are still being measured.".to_owned()]);
    let markdown = write_up(&record);
    let path = work.world.dir.join("postmortems").join(format!("{}.md", work.id));
    crate::files::replace(&path, markdown.as_bytes())
        .map_err(|error| format!("failed to write {}: {error}", path.display()))?;
    work.write("report.postmortem", serde_json::json!({ "markdown": markdown }))
        .await?;
    Ok(path.display().to_string())
}

async fn record(work: &Work) -> Result<Record, String> {
    let plan = &work.plan;
    let journal = &work.world.journal;
    let mut events = journal
        .read_stream(&format!("incident/{}", work.id), 0)
        .await
        .map_err(|e| e.to_string())?;
    if let Some(rollout) = &plan.rollout {
        events.extend(
            journal
                .read_stream(&format!("rollout/{rollout}"), 0)
                .await
                .map_err(|e| e.to_string())?,
        );
    }
    events.sort_by_key(|event| event.position);
    let first = |kind: &str| {
        events
            .iter()
            .find(|e| e.kind == kind && e.at >= plan.opened_at)
            .map(|e| e.at)
    };
    let found = plan
        .rollout
        .as_ref()
        .and_then(|rollout| work.world.evidence.findings(rollout, clock::now()));
    let began_at = found
        .as_ref()
        .and_then(|found| found.onset.or(found.first_request_at))
        .or(plan.began_at);
    let causes = journal
        .read_stream(&format!("report/{}", work.id), 0)
        .await
        .map_err(|e| e.to_string())?;
    let way = match &work.state.phase {
        Phase::Closing { way, .. } => way.clone(),
        _ => Way::Itself,
    };
    Ok(Record {
        incident: plan.incident.clone(),
        title: plan.title.clone(),
        service: plan.service.clone(),
        environment: plan.environment.clone(),
        severity: work.state.severity,
        class: plan.class,
        suspect: plan.suspect.clone(),
        previous: plan.previous.clone(),
        way,
        moments: Moments {
            began_at,
            detected_at: plan.opened_at,
            traffic_off_at: first("incident.protection_ended"),
            rolled_back_at: first("incident.rollback_ended"),
            healed_at: first("incident.metrics_verified"),
        },
        impact: impact(work, began_at.unwrap_or(plan.opened_at)),
        timeline: events.iter().map(timeline_entry).collect(),
        causes: cause_lines(&causes),
        follow_ups: proposals(plan.class, plan),
        lessons: Vec::new(),
    })
}

/// What it cost from its beginning until the present step was entered, which is about when it was healed. Of a
/// rollout the candidate's counts are known exactly; what is kept of an environment is cut into stretches, and
/// the one in which the trouble began would be missed.
fn impact(work: &Work, began: Timestamp) -> Impact {
    let (world, plan) = (&work.world, &work.plan);
    let mut served = traffic(world, &plan.service, &plan.environment, began);
    let trial = plan.rollout.as_ref().and_then(|id| world.evidence.kept(id));
    if let Some(candidate) = trial.map(|kept| kept.arms.candidate) {
        served.errors = served.errors.max(candidate.errors);
        served.requests = served.requests.max(candidate.requests);
    }
    let release = plan
        .suspect
        .clone()
        .or_else(|| world.stable(&plan.service, &plan.environment));
    let project = release.and_then(|release| world.release(&release).ok());
    let budget_burnt = project.and_then(|(_, project)| {
        let objectives = &project.objectives;
        let allowed = 1.0 - objectives.availability.fraction();
        let elapsed = clock::now().since(began);
        budget_burnt(
            served.errors,
            served.requests,
            elapsed,
            allowed,
            objectives.window.0,
        )
    });
    Impact {
        requests_failed: Some(served.errors),
        requests: Some(served.requests),
        users: None,
        users_max: Some(served.errors),
        budget_burnt,
    }
}

fn timeline_entry(event: &trimtab_journal::StoredEvent) -> TimelineEntry {
    let what = event.kind.replace(['.', '_'], " ");
    let reason = ["reason", "detail", "what"].iter().find_map(|name| {
        let field = event
            .body
            .get(*name)
            .or_else(|| event.body.get("outcome")?.get(*name))?;
        field.as_str().filter(|text| !text.is_empty())
    });
    TimelineEntry {
        at: event.at,
        actor: event.actor.clone(),
        text: reason.map_or(what.clone(), |reason| format!("{what}: {reason}")),
        is_action: [
            "restarted",
            "rollback_ended",
            "protection_ended",
            "shifted",
            "stopped",
            "quarantined",
        ]
        .iter()
        .any(|action| event.kind.ends_with(action)),
    }
}

fn cause_lines(reports: &[trimtab_journal::StoredEvent]) -> Vec<CauseLine> {
    let newest = reports.iter().rev().find(|event| event.kind == "report.causes");
    let causes = newest.and_then(|event| event.body.get("report")?.get("causes")?.as_array().cloned());
    causes
        .unwrap_or_default()
        .iter()
        .map(|cause| CauseLine {
            title: cause["subject"].as_str().unwrap_or_default().to_owned(),
            evidence: cause["text"].as_str().unwrap_or_default().to_owned(),
        })
        .collect()
}
