//! What came of the release with the fault, and the story's figures.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use trimtab_api as api;
use trimtab_api::routes::fill;

use super::chapter::Chapter;
use super::figures::{Moments, flat};
use super::place::Place;
use super::progress::Progress;
use super::receivers::Received;
use super::story::{AFTER, LOOK, People};
use super::traffic::Load;
use super::way::Way;
use crate::commands::client::{Client, read};

/// Causes that are shown: the postmortem has them all.
const CAUSES_MAX: usize = 4;

/// What was told so far.
pub(super) struct Told {
    /// That of the release with the fault.
    pub(super) chapter: Chapter,
    /// The good release.
    pub(super) good: String,
    /// How the bad one's run ended.
    pub(super) end: String,
    /// When the story began.
    pub(super) begun: Instant,
}

/// How the story ended.
pub(super) struct Ending {
    /// The fault is out of users' way, and the release that should serve does.
    pub(super) good: bool,
    /// One flat object of figures.
    pub(super) figures: Value,
    pub(super) incident: Option<String>,
    /// Users go on asking until this is dropped.
    pub(super) _load: Load,
}

pub(super) async fn tell(
    place: &Place,
    people: &People,
    mut told: Told,
    received: &Received,
    progress: &mut Progress,
) -> Result<Ending> {
    let incident = match (place.way, told.chapter.incident.as_deref()) {
        // The flag was all there was to take away.
        (Way::Flag, None) => None,
        (_, id) => close(&people.dev, id, progress).await?,
    };
    let rollout: api::Rollout = match &told.chapter.rollout {
        Some(id) => read(&people.dev.get(&fill("/api/v1/rollouts/{id}", &[id])).await?)?,
        None => bail!("failed to bring the bad release to production: {}", told.end),
    };
    let candidate = &rollout.summary.candidate;
    let (moments, stays) = match place.way {
        Way::Flag => {
            let path = "/api/v1/flags/blocks/production/history";
            // There is none when the release went before its flag was made.
            let history: Vec<api::FlagsPast> = match people.dev.get(path).await {
                Ok(answer) => read(&answer)?,
                Err(_) => Vec::new(),
            };
            (Moments::of_flag(&rollout, &history), candidate)
        }
        Way::BlueGreen | Way::Canary | Way::Rolling => (Moments::of(&rollout, incident.as_ref()), &told.good),
    };
    let serves = serving(&people.dev, stays).await?;
    let rolled_back = moments.rolled_back.is_some();
    let text = format!("{candidate}: {}", rollout.summary.state_text);
    progress.done(rolled_back, &text, None);
    progress.done(serves, &format!("{stays} serves production"), None);
    if let Some(incident) = &incident {
        lessons(incident, progress);
    }
    let load = told.chapter.load.take().context("failed to keep users asking")?;
    let until = moments.rolled_back.unwrap_or(i64::MAX);
    let between = load.between(moments.first_request.unwrap_or(until), until);
    let story = told.begun.elapsed().as_secs_f64();
    let all = load.counts();
    let failed = format!("{} of {}", between.failed, between.requests);
    let failed_in_all = format!("{} of {}", all.failed, all.requests);
    let after = |moment| moments.text(moment);
    let mut lines = match place.way {
        Way::Flag => vec![
            ("from the flag's first user", String::new()),
            ("to the flag off", after(moments.traffic_off)),
        ],
        Way::BlueGreen | Way::Canary | Way::Rolling => vec![
            ("from the bad release's first request", String::new()),
            ("to the anomaly", after(moments.anomaly)),
            ("to traffic off it", after(moments.traffic_off)),
        ],
    };
    lines.extend([
        ("to the rollback finished", after(moments.rolled_back)),
        ("failed requests until then", failed),
        ("failed requests in the whole story", failed_in_all),
        ("messages", received.text()),
        ("the whole story", format!("{story:.1} s")),
    ]);
    progress.line("");
    for (what, figure) in lines {
        progress.line(format!("  {what:<36} {figure}").trim_end());
    }
    Ok(Ending {
        good: rolled_back && serves,
        figures: serde_json::to_value(flat(&moments, story, between, all))?,
        incident: told.chapter.incident,
        _load: load,
    })
}

/// Waits until the incident is over and written up.
async fn close(dev: &Client, id: Option<&str>, progress: &mut Progress) -> Result<Option<api::Incident>> {
    let Some(id) = id else {
        progress.done(false, "no incident was opened", None);
        return Ok(None);
    };
    let begun = Instant::now();
    loop {
        let incident: api::Incident = read(&dev.get(&fill("/api/v1/incidents/{id}", &[id])).await?)?;
        let over = incident.summary.state == api::IncidentState::Resolved;
        if over || begun.elapsed() > AFTER {
            progress.done(over, &format!("{id}: {}", incident.summary.state_text), None);
            return Ok(Some(incident));
        }
        progress.under_way(&format!("{id}: {}", incident.summary.state_text));
        tokio::time::sleep(LOOK).await;
    }
}

fn lessons(incident: &api::Incident, progress: &mut Progress) {
    for cause in incident.causes.iter().take(CAUSES_MAX) {
        let text = format!("{}. {}  {}", cause.rank, cause.text, cause.figure);
        progress.done(true, &format!("cause {}", text.trim_end()), None);
    }
    if let Some(change) = &incident.learning {
        let taken = if change.accepted { "learnt" } else { "not learnt" };
        let first = change.changes.first();
        let first = first.map(|(what, before, after)| format!("{what}: {before} before, {after} now"));
        let text = [change.text.clone(), first.unwrap_or_default()];
        let text: Vec<_> = text.into_iter().filter(|text| !text.is_empty()).collect();
        progress.done(true, &format!("{taken}: {}", text.join("; ")), None);
    }
    progress.done(
        incident.postmortem.is_some(),
        &format!("postmortem of {} written", incident.summary.id),
        None,
    );
}

/// Whether a release is live in the server's own words.
async fn serving(dev: &Client, release: &str) -> Result<bool> {
    let path = fill("/api/v1/releases/{id}", &[release]);
    let release: api::Release = read(&dev.get(&path).await?)?;
    Ok(release.state == api::ReleaseState::Live)
}
