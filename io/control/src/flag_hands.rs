//! What a rollout does with its flag: puts it on for a share of users, judges them, switches it off.

use std::time::Duration;

use serde_json::{Value, json};
use trimtab_detection::verdict::{Config, Decision, Unit, Verdict as Evidence};
use trimtab_flags::Ramp;
use trimtab_model::{Actor, EnvironmentName, ServiceName, Timestamp, Weight};
use trimtab_project::{FlagRollout, Project};
use trimtab_rollout::{Phase, Strategy, Verdict};

use crate::blueprint;
use crate::clock;
use crate::entrance;
use crate::flag_book::{FlagPlace, Wish};
use crate::flag_trials::JudgedBy;
use crate::rollout_hands::Work;
use crate::world::World;

/// Between two looks at the evidence on a flag.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// What a flag is before its rollout.
pub(crate) enum Before {
    /// Nobody has it on.
    Off,
    /// Everybody has it on: an earlier rollout ended well.
    OnForAll,
}

/// Looks whether a flag can be rolled out; else says why not.
pub(crate) fn before(
    world: &World,
    service: &ServiceName,
    environment: &EnvironmentName,
    settings: &FlagRollout,
) -> Result<Before, String> {
    let place = FlagPlace {
        service: service.clone(),
        environment: environment.clone(),
    };
    match standing_of(world, &place, settings) {
        Standing::Absent | Standing::Off => Ok(Before::Off),
        Standing::Ramp(Weight::FULL) => Ok(Before::OnForAll),
        Standing::Ramp(share) => Err(format!(
            "the flag {:?} is on for {share} already; disable it first: trimtab flags disable {service} {} \
             --reason …",
            settings.key, settings.key
        )),
        Standing::Other => Err(format!(
            "the flag {:?} is on with targeting of its own, which a rollout would overwrite; disable it first: \
             trimtab flags disable {service} {} --reason …",
            settings.key, settings.key
        )),
    }
}

/// How a flag stands.
#[derive(Debug, PartialEq)]
enum Standing {
    /// There is none of that key.
    Absent,
    /// Disabled, or nobody gets the new variant.
    Off,
    /// On for this share.
    Ramp(Weight),
    /// On in another way.
    Other,
}

fn standing_of(world: &World, place: &FlagPlace, settings: &FlagRollout) -> Standing {
    let kept = world.flags.get(place);
    let written = kept
        .as_ref()
        .and_then(|kept| kept.document.get("flags")?.get(&settings.key));
    standing(written, settings)
}

fn standing(written: Option<&Value>, settings: &FlagRollout) -> Standing {
    let Some(written) = written else {
        return Standing::Absent;
    };
    if written.get("state") != Some(&json!("ENABLED")) {
        return Standing::Off;
    }
    let ramp = written.get("targeting").and_then(Ramp::read);
    match ramp {
        Some(ramp) if ramp.on == settings.on && ramp.share == Weight::ZERO => Standing::Off,
        Some(ramp) if ramp.on == settings.on => Standing::Ramp(ramp.share),
        _ => Standing::Other,
    }
}

impl Work {
    fn flag_place(&self) -> FlagPlace {
        FlagPlace {
            service: self.plan.service.clone(),
            environment: self.plan.environment.clone(),
        }
    }

    fn project(&self) -> Result<Project, String> {
        let release = self.world.release(&self.plan.candidate);
        release
            .map(|(_, project)| project)
            .map_err(|error| error.to_string())
    }

    /// Puts the rollout's flag on for `share` of the users; zero disables it. To do it twice changes
    /// nothing. What a person changed meanwhile is not overwritten, unless to disable the flag.
    pub(crate) async fn set_flag(&self, share: Weight) -> Result<(), String> {
        let project = self.project()?;
        let Some(settings) = &project.production.flag else {
            return Err("failed to find the flag in the release's trimtab.yaml".to_owned());
        };
        let place = self.flag_place();
        let now = standing_of(&self.world, &place, settings);
        if share == Weight::ZERO {
            return self.disable_flag(&place, settings, now).await;
        }
        if !self.is_as_left(&now, share) {
            return Err(self.changed_by_others(&place, settings));
        }
        if now == Standing::Absent {
            self.make_flag(&place, settings).await?;
        }
        if matches!(now, Standing::Absent | Standing::Off) {
            // What is known of an earlier try is not this one's evidence.
            self.world.exposures.trials.end(&place, &settings.key);
        }
        self.judge_by(&project, &place, &settings.key);
        let ramp = Ramp {
            on: settings.on.clone(),
            off: settings.off.clone(),
            share,
            by: settings.by.clone(),
        };
        let wish = self.wish(format!("step of {}: on for {share}", self.id));
        let raised = self
            .world
            .flags
            .roll_out(&place, &settings.key, &ramp, wish)
            .await;
        raised.map(drop).map_err(|error| error.to_string())
    }

    /// The team's alpha and tolerance hold for its flags; `requests_min` counts requests, and is the release's.
    fn judge_by(&self, project: &Project, place: &FlagPlace, key: &str) {
        let config = Config {
            requests_enough: None,
            unit: Unit::FlagUser,
            ..blueprint::verdict_config(project)
        };
        let by_header = entrance::users_by(project).is_some();
        let trials = &self.world.exposures.trials;
        trials.judge_by(place, key, JudgedBy { config, by_header });
    }

    async fn disable_flag(
        &self,
        place: &FlagPlace,
        settings: &FlagRollout,
        now: Standing,
    ) -> Result<(), String> {
        if matches!(now, Standing::Absent | Standing::Off) {
            return Ok(());
        }
        let wish = self.wish(self.state.describe());
        let off = self.world.flags.disable(place, &settings.key, wish).await;
        off.map(drop).map_err(|error| error.to_string())
    }

    /// A flag with two variants that nobody has on yet.
    async fn make_flag(&self, place: &FlagPlace, settings: &FlagRollout) -> Result<(), String> {
        let wish = self.wish(format!("{} rolls it out", self.id));
        let made = self.world.flags.change(place, wish, |document| {
            let mut document = document.clone();
            document["flags"][&settings.key] = json!({
                "state": "DISABLED",
                "variants": {settings.on.as_str(): true, settings.off.as_str(): false},
                "defaultVariant": settings.off,
            });
            Ok(document)
        });
        made.await.map(drop).map_err(|error| error.to_string())
    }

    fn wish(&self, reason: String) -> Wish {
        Wish {
            by: Actor::trimtab(),
            reason,
            expected: None,
            rollout: Some(self.id.clone()),
        }
    }

    /// True when the flag stands as this rollout left it before it asks for `share`.
    fn is_as_left(&self, now: &Standing, share: Weight) -> bool {
        let steps = self.plan.steps();
        let mut earlier = steps
            .iter()
            .filter_map(|step| step.flag)
            .filter(|step| *step < share);
        match now {
            Standing::Absent | Standing::Off => earlier.next().is_none(),
            // A promotion leaves steps out.
            Standing::Ramp(stands) => *stands == share || earlier.any(|step| step == *stands),
            Standing::Other => false,
        }
    }

    fn changed_by_others(&self, place: &FlagPlace, settings: &FlagRollout) -> String {
        let kept = self.world.flags.get(place);
        let touched = kept.as_ref().and_then(|kept| kept.touched.get(&settings.key));
        let who = touched.map_or_else(String::new, |touched| format!(" by {}", touched.by));
        format!("the flag {:?} was changed{who} meanwhile", settings.key)
    }

    /// Follows what the users with the flag on meet beside those without, until that is a regression or
    /// the watch ends.
    pub(crate) async fn observe_flag(&self, until: Timestamp, users_min: u64) -> Verdict {
        let Strategy::Flag(flag) = &self.plan.strategy else {
            return std::future::pending().await;
        };
        let place = self.flag_place();
        // After a restart nobody may have been served yet.
        if let Ok(project) = self.project() {
            self.judge_by(&project, &place, &flag.key);
        }
        let deadline = clock::deadline(until, clock::now());
        let asked = matches!(self.state.phase, Phase::Asking { .. });
        loop {
            let evidence = self.world.exposures.trials.verdict(&place, &flag.key);
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let verdict = said(evidence, users_min);
            let decided = match verdict {
                Verdict::Regressed { .. } => !self.state.extends_over_regression(),
                Verdict::Healthy => asked,
                Verdict::Inconclusive { .. } => false,
            };
            if decided || left.is_zero() {
                return verdict;
            }
            tokio::time::sleep(left.min(LOOK_PAUSE)).await;
        }
    }
}

fn said(evidence: Option<Evidence>, users_min: u64) -> Verdict {
    let Some(evidence) = evidence else {
        return Verdict::inconclusive("no user was served the flag yet");
    };
    let users = evidence.metrics.iter().map(|metric| metric.candidate.units).max();
    let users = users.unwrap_or(0);
    match evidence.decision {
        Decision::Regressed => Verdict::regressed(evidence.reason),
        Decision::Healthy if users < users_min => {
            Verdict::inconclusive(format!("{users} of at least {users_min} users with the flag on"))
        }
        Decision::Healthy => Verdict::Healthy,
        Decision::Inconclusive | Decision::RoutingBroken => Verdict::inconclusive(evidence.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_flag_stands_is_read_from_its_definition() {
        let settings = FlagRollout {
            key: "search".to_owned(),
            on: "on".to_owned(),
            off: "off".to_owned(),
            by: None,
            user_header: None,
            steps: Vec::new(),
        };
        let ramp = |share: f64| Ramp {
            on: "on".to_owned(),
            off: "off".to_owned(),
            share: Weight::from_percent(share).unwrap_or(Weight::ZERO),
            by: None,
        };
        let stands = |state: &str, targeting: Value| {
            standing(Some(&json!({"state": state, "targeting": targeting})), &settings)
        };
        assert_eq!(standing(None, &settings), Standing::Absent);
        assert_eq!(stands("DISABLED", ramp(50.0).targeting()), Standing::Off);
        assert_eq!(stands("ENABLED", ramp(0.0).targeting()), Standing::Off);
        assert_eq!(
            stands("ENABLED", ramp(10.0).targeting()),
            Standing::Ramp(ramp(10.0).share)
        );
        assert_eq!(
            stands("ENABLED", json!({"if": [true, "on", "off"]})),
            Standing::Other
        );
    }
}
