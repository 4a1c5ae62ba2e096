//! The story's chapters, told through the API only.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use trimtab_api as api;
use trimtab_api::routes::fill;

use super::place::Place;
use super::receivers::Received;
use super::traffic::{self, Load};
use crate::commands::client::{Client, read};

/// Longest time of one run, with its builds.
const RUN: Duration = Duration::from_secs(15 * 60);
/// Longest wait for the incident to end after its run.
const AFTER: Duration = Duration::from_secs(60);
/// How often the server is asked.
const LOOK: Duration = Duration::from_millis(250);

/// Tells it; whether the bad release was rolled back and the good one serves.
pub(super) async fn tell(place: &Place, admin: &Client, received: &Received) -> Result<bool> {
    let token = |name: &'static str, role: &'static str| async move {
        let made = admin
            .post("/api/v1/tokens", &json!({"name": name, "role": role}))
            .await?;
        let made: api::TokenCreated = read(&made)?;
        Client::new(&place.url(), Some(made.secret))
    };
    let (dev, qa) = (token("dev", "developer").await?, token("qa", "approver").await?);
    let lead = token("lead", "developer").await?;
    let forge = json!({"name": "forge", "role": "operator"});
    let forge: api::TokenCreated = read(&admin.post("/api/v1/tokens", &forge).await?)?;
    place.tell_of_pushes(&forge.secret)?;
    println!("\na good release");
    let first = ship(place, &dev, &lead, "notebook", "Keep a notebook of blocks").await?;
    let mut chapter = Chapter::default();
    let run = chapter.follow(&dev, &qa, &first).await?;
    if run.summary.state != api::RunState::Deployed {
        bail!("failed to ship the good release: {}", run.summary.state_text);
    }
    let good = run
        .summary
        .release
        .context("failed to learn the good release's name")?;
    let load = traffic::start(place.traffic)?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("\na bad release");
    place.regress("torn-edits").await?;
    let second = ship(place, &dev, &lead, "torn-edits", "Ignore torn-off edits").await?;
    let failed_before = load.seen.failed.load(Relaxed);
    let mut chapter = Chapter::default();
    let run = chapter.follow(&dev, &qa, &second).await?;
    let rolled_back = report(&dev, &chapter, &run, &load, failed_before).await?;
    let serves = serving(&dev, &good).await?;
    mark(serves, &format!("{good} serves production"));
    println!("  messages received: {}", received.text());
    Ok(rolled_back && serves)
}

fn mark(passed: bool, text: &str) {
    println!("  {} {text}", if passed { "✔" } else { "✘" });
}

/// A branch, a merge request, a review by somebody else, a merge; returns the run.
async fn ship(place: &Place, dev: &Client, lead: &Client, branch: &str, title: &str) -> Result<String> {
    let commit = place.commit(branch, title).await?;
    let tell = async |by: &Client, what: serde_json::Value| {
        let mut body = json!({"service": "blocks", "actor": ""});
        if let (Some(body), Some(what)) = (body.as_object_mut(), what.as_object()) {
            body.extend(what.clone());
        }
        by.post("/api/v1/hooks/git", &body).await
    };
    let request = |state: &str, commit: &str| {
        json!({"kind": "merge_request", "id": branch, "title": title, "source": branch, "target": "main",
               "commit": commit, "state": state})
    };
    tell(dev, request("open", &commit)).await?;
    let review =
        json!({"kind": "review", "merge_request": branch, "verdict": "approved", "comment": "Reads well."});
    tell(lead, review).await?;
    let merged = place.merge(branch).await?;
    tell(dev, request("merged", &merged)).await?;
    mark(
        true,
        &format!(
            "{branch} reviewed by lead and merged as {}",
            &merged[..10.min(merged.len())]
        ),
    );
    let begun = Instant::now();
    loop {
        let runs: Vec<api::RunSummary> = read(&dev.get("/api/v1/runs").await?)?;
        if let Some(run) = runs.into_iter().find(|run| run.commit == merged) {
            return Ok(run.id);
        }
        if begun.elapsed() > AFTER {
            bail!("failed to find a run of {merged}: see the server's log");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The number in `rollout-4`: production's rollout has a greater one than staging's.
fn number(id: &str) -> u64 {
    id.rsplit('-')
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// What was seen of one run.
#[derive(Default)]
struct Chapter {
    told: Vec<String>,
    first_request: Option<Instant>,
    anomaly: Option<Instant>,
    traffic_off: Option<Instant>,
    rolled_back: Option<Instant>,
    incident: Option<String>,
}

impl Chapter {
    async fn follow(&mut self, dev: &Client, qa: &Client, id: &str) -> Result<api::Run> {
        let begun = Instant::now();
        let mut approved = false;
        loop {
            let run: api::Run = read(&dev.get(&fill("/api/v1/runs/{id}", &[id])).await?)?;
            self.stages(&run);
            if run.approval.is_some() && !approved {
                approved = true;
                let path = fill("/api/v1/runs/{id}/approve", &[id]);
                qa.post(&path, &json!({"comment": "Tried in staging."})).await?;
                mark(true, "approved by qa");
            }
            self.look(dev, &run).await?;
            if run.summary.finished_at.is_some() {
                return Ok(run);
            }
            if begun.elapsed() > RUN {
                bail!("failed to finish {id} within {} minutes", RUN.as_secs() / 60);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn stages(&mut self, run: &api::Run) {
        for stage in &run.summary.stages {
            let ended = match stage.state {
                api::StageState::Passed => true,
                api::StageState::Failed | api::StageState::RolledBack => false,
                _ => continue,
            };
            if !self.told.contains(&stage.name) {
                self.told.push(stage.name.clone());
                mark(ended, &format!("{}  {}", stage.name, stage.detail));
            }
        }
    }

    /// Remembers when traffic came and went; seen at most `LOOK` late.
    async fn look(&mut self, dev: &Client, run: &api::Run) -> Result<()> {
        let Some(id) = run.rollouts.iter().max_by_key(|id| number(id)) else {
            return Ok(());
        };
        // A rollout just begun may not be readable yet: the next look will see it.
        let Ok(answer) = dev.get(&fill("/api/v1/rollouts/{id}", &[id])).await else {
            return Ok(());
        };
        let rollout: api::Rollout = read(&answer)?;
        let summary = &rollout.summary;
        if summary.environment != "production" {
            return Ok(());
        }
        let now = Instant::now();
        if summary.candidate_percent > 0.0 {
            self.first_request.get_or_insert(now);
        } else if self.first_request.is_some() {
            self.traffic_off.get_or_insert(now);
        }
        if let Some(incident) = &summary.incident {
            self.anomaly.get_or_insert(now);
            self.incident = Some(incident.clone());
        }
        if summary.state == api::RolloutState::RolledBack {
            self.rolled_back.get_or_insert(now);
        }
        Ok(())
    }
}

async fn report(dev: &Client, seen: &Chapter, run: &api::Run, load: &Load, before: u64) -> Result<bool> {
    let since = |at: Option<Instant>| match (seen.first_request, at) {
        (Some(from), Some(at)) => format!("{:.1} s", at.duration_since(from).as_secs_f64()),
        _ => "not seen".to_owned(),
    };
    let rolled_back = seen.rolled_back.is_some();
    mark(
        rolled_back,
        &format!("bad release rolled back: {}", run.summary.state_text),
    );
    println!("  from its first request to the anomaly: {}", since(seen.anomaly));
    println!("  to traffic off: {}", since(seen.traffic_off));
    println!("  to rolled back: {}", since(seen.rolled_back));
    let failed = load.seen.failed.load(Relaxed).saturating_sub(before);
    println!(
        "  failed user requests: {failed} of {}",
        load.seen.requests.load(Relaxed)
    );
    let Some(id) = &seen.incident else {
        mark(false, "no incident was opened");
        return Ok(rolled_back);
    };
    let begun = Instant::now();
    loop {
        let incident: api::Incident = read(&dev.get(&fill("/api/v1/incidents/{id}", &[id])).await?)?;
        let over = incident.summary.state == api::IncidentState::Resolved;
        if over || begun.elapsed() > AFTER {
            mark(over, &format!("{id}: {}", incident.summary.state_text));
            mark(
                incident.postmortem.is_some(),
                &format!("postmortem: trimtab postmortem {id}"),
            );
            return Ok(rolled_back);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether a release is live in the server's own words.
async fn serving(dev: &Client, release: &str) -> Result<bool> {
    let path = fill("/api/v1/releases/{id}", &[release]);
    let release: api::Release = read(&dev.get(&path).await?)?;
    Ok(release.state == api::ReleaseState::Live)
}
