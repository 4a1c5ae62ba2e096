//! What an incident leaves behind: the report on causes, the postmortem, what was learned.

use trimtab_detection::learning::{Outcome, accept, learn as propose};
use trimtab_incident::{
    CauseLine, Impact, Moments, Phase, Record, TimelineEntry, Way, postmortem as write_up, proposals,
};
use trimtab_model::Timestamp;

use crate::analysis::{diagnose, traffic};
use crate::blueprint;
use crate::clock;
use crate::incident_hands::Work;

/// Seeds of the variants by which a change to the models is measured.
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];
/// Recordings of clean rollouts that a change is measured on.
const CLEAN_EPISODES_MAX: usize = 10;

/// Ranks the causes with their numbers and writes the report down.
pub(crate) async fn causes(work: &Work) -> Result<String, String> {
    let Some(suspect) = &work.plan.suspect else {
        return Ok("no release is suspected".to_owned());
    };
    let now = clock::now();
    let findings = work
        .plan
        .rollout
        .as_ref()
        .and_then(|rollout| work.world.evidence.findings(rollout, now));
    let diagnosis = diagnose(&work.world, suspect, findings, now);
    let body = serde_json::json!({ "text": diagnosis.report.render(), "report": diagnosis.report });
    work.write("report.causes", body).await?;
    Ok(diagnosis.report.summary)
}

/// Writes the postmortem down.
pub(crate) async fn postmortem(work: &Work) -> Result<String, String> {
    let record = record(work).await?;
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
        .and_then(|found| found.onset.or(found.first_request_at));
    let causes = journal
        .read_stream(&format!("report/{}", work.id), 0)
        .await
        .map_err(|e| e.to_string())?;
    let served = traffic(
        &work.world,
        &plan.service,
        &plan.environment,
        began_at.unwrap_or(plan.opened_at),
    );
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
        impact: Impact {
            requests_failed: Some(served.errors),
            requests: Some(served.requests),
            users: None,
            budget_burnt: None,
        },
        timeline: events.iter().map(timeline_entry).collect(),
        causes: cause_lines(&causes),
        follow_ups: proposals(plan.class, plan),
        lessons: Vec::new(),
    })
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

/// Proposes a change to the models, measures it on variants of the incident and on clean traffic,
/// and puts it in force if it helps.
pub(crate) async fn learn(work: &Work) -> Result<String, String> {
    let Some(rollout) = &work.plan.rollout else {
        return Ok("there is no recording of a rollout to learn from".to_owned());
    };
    let world = &work.world;
    let Some(mut episode) = world.evidence.recording(rollout) else {
        return Ok(format!("{rollout} has no recording"));
    };
    let suspect = work.plan.suspect.as_ref().ok_or("no release is suspected")?;
    let (_, project) = world.release(suspect).map_err(|error| error.to_string())?;
    let config = blueprint::verdict_config(&project);
    let diagnosis = diagnose(
        world,
        suspect,
        world.evidence.findings(rollout, clock::now()),
        clock::now(),
    );
    episode.class = Some(diagnosis.class);
    let began: Option<Timestamp> = diagnosis
        .findings
        .as_ref()
        .and_then(|found| found.onset.or(found.first_request_at));
    episode.onset = began.or(Some(work.plan.opened_at));
    let clean: Vec<_> = world
        .evidence
        .recorded()
        .into_iter()
        .filter(|id| {
            let known = world.machines().rollouts.get(id.as_str());
            known.is_some_and(|known| known.state.end() == Some(&trimtab_rollout::End::Deployed))
        })
        .filter_map(|id| world.evidence.recording(&id))
        .filter(|episode| !episode.batches.is_empty())
        .take(CLEAN_EPISODES_MAX)
        .collect();
    let current = world
        .models
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone();
    let measured = tokio::task::spawn_blocking(move || {
        let proposal = propose(&current, &config, &episode);
        let outcome = accept(&current, &proposal, &config, &[episode], &clean, &SEEDS);
        (proposal, outcome)
    });
    let (proposal, outcome) = measured.await.map_err(|error| error.to_string())?;
    let body = serde_json::json!({ "changes": proposal.changes, "outcome": outcome });
    work.write("report.learning", body).await?;
    match outcome {
        Outcome::Accepted(accepted) => {
            let bytes = serde_json::to_vec_pretty(&accepted.models).map_err(|error| error.to_string())?;
            crate::files::replace(&world.dir.join("models.json"), &bytes)
                .map_err(|error| error.to_string())?;
            *world
                .models
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = accepted.models;
            Ok(format!("accepted: {}", accepted.gain))
        }
        Outcome::Refused(refused) => Ok(format!("refused: {}", refused.reason)),
    }
}
