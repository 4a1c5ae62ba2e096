//! One run, followed from its first stage to its end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;
use trimtab_api as api;
use trimtab_api::routes::fill;

use super::place::Place;
use super::progress::Progress;
use super::story::{LOOK, People};
use super::traffic::{self, Load};
use crate::commands::client::{Client, read};

/// Longest time of one run, with its builds.
const RUN: Duration = Duration::from_secs(15 * 60);

/// What was seen of a run.
pub(super) struct Chapter {
    port: u16,
    users: u64,
    told: Vec<String>,
    percent: f64,
    flag_percent: f64,
    actions: usize,
    first_request: Option<i64>,
    /// Users, who come once a release can serve them.
    pub(super) load: Option<Load>,
    /// The run's rollout to production.
    pub(super) rollout: Option<String>,
    /// The incident about it.
    pub(super) incident: Option<String>,
}

impl Chapter {
    pub(super) fn new(place: &Place) -> Self {
        Chapter {
            port: place.traffic,
            users: place.way.users(),
            told: Vec::new(),
            percent: 0.0,
            flag_percent: 0.0,
            actions: 0,
            first_request: None,
            load: None,
            rollout: None,
            incident: None,
        }
    }

    pub(super) async fn follow(
        &mut self,
        people: &People,
        id: &str,
        progress: &mut Progress,
    ) -> Result<api::Run> {
        let begun = Instant::now();
        let mut approved = false;
        loop {
            let run: api::Run = read(&people.dev.get(&fill("/api/v1/runs/{id}", &[id])).await?)?;
            let over = run.summary.finished_at.is_some();
            if let Some(approval) = &run.approval
                && !approved
            {
                approved = true;
                self.stages(&run, progress);
                let path = fill("/api/v1/runs/{id}/approve", &[id]);
                people
                    .qa
                    .post(&path, &json!({"comment": "Tried in staging."}))
                    .await?;
                progress.done(true, &format!("{} qa: yes", approval.question), None);
                continue;
            }
            // What happened to the rollout is told before the stage that it ends.
            self.rollout(people, &run, progress).await?;
            self.stages(&run, progress);
            if over {
                return Ok(run);
            }
            if begun.elapsed() > RUN {
                bail!("failed to finish {id} within {} minutes", RUN.as_secs() / 60);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn stages(&mut self, run: &api::Run, progress: &mut Progress) {
        for stage in &run.summary.stages {
            let name = stage.name.replace('_', " ");
            let well = match stage.state {
                api::StageState::Passed => true,
                api::StageState::Failed | api::StageState::RolledBack => false,
                api::StageState::Running => {
                    progress.under_way(&name);
                    continue;
                }
                _ => continue,
            };
            // The approval was told when it was given.
            if stage.name == "approval" || self.told.contains(&stage.name) {
                continue;
            }
            self.told.push(stage.name.clone());
            let took = match (stage.started_at, stage.finished_at) {
                (Some(from), Some(to)) => {
                    let ms = to.millis().saturating_sub(from.millis());
                    Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
                }
                _ => None,
            };
            let text = format!("{name}  {}", stage.detail);
            progress.done(well, text.trim_end(), took);
        }
    }

    /// Tells where traffic goes, and what is done about an incident.
    async fn rollout(&mut self, people: &People, run: &api::Run, progress: &mut Progress) -> Result<()> {
        let Some(id) = run.rollouts.iter().max_by_key(|id| number(id)) else {
            return Ok(());
        };
        // A rollout just begun may not be readable yet: the next look will see it.
        let Ok(answer) = people.dev.get(&fill("/api/v1/rollouts/{id}", &[id])).await else {
            return Ok(());
        };
        let rollout: api::Rollout = read(&answer)?;
        let summary = &rollout.summary;
        if summary.environment != "production" {
            return Ok(());
        }
        self.rollout = Some(id.clone());
        let mut weights: Vec<_> = rollout.weights.iter().collect();
        weights.sort_by_key(|step| step.at.millis());
        let first = weights.iter().find(|step| step.candidate_percent > 0.0);
        self.first_request = first.map(|step| step.at.millis());
        if summary.candidate_percent > 0.0 && self.load.is_none() {
            self.load = Some(traffic::start(self.port, self.users, people.dev.clone())?);
            progress.done(
                true,
                &format!("users come: about 60 requests/s at port {}", self.port),
                None,
            );
        }
        if let Some(incident) = &summary.incident {
            self.incident(&people.dev, incident, progress).await?;
        }
        if (summary.candidate_percent - self.percent).abs() > f64::EPSILON {
            self.percent = summary.candidate_percent;
            // With an incident it is told as what was done about it.
            if self.incident.is_none() {
                let text = format!(
                    "{:.0} % of the traffic goes to {}",
                    self.percent, summary.candidate
                );
                progress.done(true, &text, None);
            }
        }
        self.flag(summary, progress);
        progress.under_way(&format!("{}: {}", summary.candidate, summary.state_text));
        Ok(())
    }

    fn flag(&mut self, summary: &api::RolloutSummary, progress: &mut Progress) {
        let Some(flag) = &summary.flag else {
            return;
        };
        if (flag.percent - self.flag_percent).abs() > f64::EPSILON {
            self.flag_percent = flag.percent;
            progress.done(true, &flag.words(), None);
        }
    }

    async fn incident(&mut self, dev: &Client, id: &str, progress: &mut Progress) -> Result<()> {
        let Ok(answer) = dev.get(&fill("/api/v1/incidents/{id}", &[id])).await else {
            return Ok(());
        };
        let incident: api::Incident = read(&answer)?;
        if self.incident.is_none() {
            self.incident = Some(id.to_owned());
            let at = self.offset(Some(incident.summary.opened_at.millis()));
            progress.done(false, &format!("{at}{id}: {}", incident.summary.title), None);
        }
        for action in incident.actions.iter().skip(self.actions) {
            let at = self.offset(Some(action.at.millis()));
            let outcome = if action.outcome.is_empty() {
                String::new()
            } else {
                format!(": {}", action.outcome)
            };
            progress.done(
                action.succeeded != Some(false),
                &format!("{at}{}{outcome}", action.text),
                None,
            );
        }
        self.actions = self.actions.max(incident.actions.len());
        Ok(())
    }

    /// Time since the release's first request, for the start of a line.
    fn offset(&self, at: Option<i64>) -> String {
        match (self.first_request, at) {
            (Some(first), Some(at)) => {
                format!("+{:.1} s  ", (at.saturating_sub(first)) as f64 / 1000.0)
            }
            _ => String::new(),
        }
    }
}

/// The number in `rollout-4`: production's rollout has a greater one than staging's.
fn number(id: &str) -> u64 {
    id.rsplit('-')
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
