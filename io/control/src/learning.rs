//! What a closed incident changes in the models (E.28 to E.30), measured before it is taken.

use trimtab_detection::learning::{Change, Outcome, Replayed, accept, learn as propose};
use trimtab_model::{RolloutId, Severity, Timestamp};

use crate::analysis::diagnose;
use crate::blueprint;
use crate::clock;
use crate::documents;
use crate::incident_hands::Work;

/// Seeds of the variants by which a change to the models is measured.
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];
/// Recordings of clean rollouts that a change is measured on.
const CLEAN_EPISODES_MAX: usize = 10;

/// Learns from the incident, then tells in its postmortem what was learned.
pub(crate) async fn learn(work: &Work) -> Result<String, String> {
    let stream = format!("report/{}", work.id);
    let reports = work.world.journal.read_stream(&stream, 0).await;
    let reports = reports.map_err(|error| error.to_string())?;
    // Learned before a crash: only the writing up is left.
    let learned = reports
        .iter()
        .rev()
        .find(|report| report.kind == "report.learning");
    let body = match learned {
        Some(report) => report.body.clone(),
        None => {
            let body = measure(work).await?;
            work.write("report.learning", body.clone()).await?;
            body
        }
    };
    put_in_force(work, &body)?;
    let lessons = lessons_of(&body);
    // A warning has no postmortem.
    if work.state.severity >= Severity::High {
        documents::postmortem(work, Some(lessons.clone())).await?;
    }
    Ok(lessons.first().cloned().unwrap_or_default())
}

fn lessons_of(body: &serde_json::Value) -> Vec<String> {
    let told = body.get("text").and_then(|text| text.as_str()).map(str::to_owned);
    let changes: Vec<Change> = body
        .get("changes")
        .and_then(|changes| serde_json::from_value(changes.clone()).ok())
        .unwrap_or_default();
    let worded = changes.iter().map(|change| {
        let (what, before, after) = (&change.what, change.before, change.after);
        format!("{what}: {before:.3} before, {after:.3} after")
    });
    told.into_iter().chain(worded).collect()
}

/// Takes an accepted change; taking it again changes nothing.
fn put_in_force(work: &Work, body: &serde_json::Value) -> Result<(), String> {
    let outcome = body
        .get("outcome")
        .and_then(|outcome| serde_json::from_value(outcome.clone()).ok());
    let Some(Outcome::Accepted(accepted)) = outcome else {
        return Ok(());
    };
    let bytes = serde_json::to_vec_pretty(&accepted.models).map_err(|error| error.to_string())?;
    crate::files::replace(&work.world.dir.join("models.json"), &bytes).map_err(|error| error.to_string())?;
    *work
        .world
        .models
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = accepted.models;
    Ok(())
}

fn nothing(text: String) -> serde_json::Value {
    serde_json::json!({ "accepted": false, "text": text })
}

/// Proposes a change to the models and measures it on variants of the incident and on clean traffic.
async fn measure(work: &Work) -> Result<serde_json::Value, String> {
    let Some(rollout) = &work.plan.rollout else {
        return Ok(nothing(
            "The models did not change: they learn from recordings of rollouts, and none was under way"
                .to_owned(),
        ));
    };
    let world = &work.world;
    let Some(mut episode) = world.evidence.recording(rollout) else {
        return Ok(nothing(format!(
            "The models did not change: {rollout} has no recording"
        )));
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
    let clean = clean_episodes(work, rollout);
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
    let (accepted, text, before, after) = match &outcome {
        Outcome::Accepted(taken) => (
            true,
            format!("Accepted: {}", taken.gain),
            &taken.before,
            &taken.after,
        ),
        Outcome::Refused(refused) => (
            false,
            format!("Refused: {}", refused.reason),
            &refused.before,
            &refused.after,
        ),
    };
    let mut body = figures(before, after);
    body["accepted"] = accepted.into();
    body["text"] = text.into();
    if let Outcome::Accepted(taken) = &outcome {
        body["false_alarms_before"] = taken.false_alarms.0.into();
        body["false_alarms_after"] = taken.false_alarms.1.into();
    }
    body["changes"] = serde_json::to_value(&proposal.changes).map_err(|error| error.to_string())?;
    body["outcome"] = serde_json::to_value(&outcome).map_err(|error| error.to_string())?;
    Ok(body)
}

fn figures(before: &Replayed, after: &Replayed) -> serde_json::Value {
    serde_json::json!({
        "episodes": before.incidents,
        "found_before": before.detected, "found_after": after.detected,
        "delay_before_ms": before.delay_ms_mean, "delay_after_ms": after.delay_ms_mean,
    })
}

/// Recordings of rollouts that ended deployed.
fn clean_episodes(work: &Work, but: &RolloutId) -> Vec<trimtab_detection::learning::Episode> {
    let world = &work.world;
    let deployed = |id: &RolloutId| {
        let known = world.machines().rollouts.get(id.as_str());
        known.is_some_and(|known| known.state.end() == Some(&trimtab_rollout::End::Deployed))
    };
    let clean = world.evidence.recorded().into_iter();
    clean
        .filter(|id| id != but && deployed(id))
        .filter_map(|id| world.evidence.recording(&id))
        .filter(|episode| !episode.batches.is_empty())
        .take(CLEAN_EPISODES_MAX)
        .collect()
}
