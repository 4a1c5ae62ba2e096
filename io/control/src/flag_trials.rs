//! Users with a flag on against an equally large control with it off.
//!
//! The unit is the user, since the flag is drawn by user: each counts once, with the first request of
//! his that ends after he was served. How likely he was to be on, given that he is compared at all,
//! follows from the share at which he was drawn: one half up to a share of one half. Evidence is carried
//! from step to step; a smaller share begins it anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use trimtab_detection::verdict::{Batch as Counts, Config, Judge, Verdict};
use trimtab_flags::Cohort;
use trimtab_model::{Timestamp, Weight};
use trimtab_telemetry::{AttributeValue, Batch, Span, SpanKind, SpanStatus};

use crate::flag_book::FlagPlace;

/// Trials that are kept at the same time.
const TRIALS_MAX: usize = 200;
/// Users that one trial compares.
const USERS_MAX: usize = 200_000;
/// Attributes of a request's span that may name its user.
const USER_ATTRIBUTES: [&str; 3] = ["enduser.id", "user.id", "feature_flag.context.id"];

/// How a user was drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
struct User {
    cohort: Cohort,
    /// The share when that was so first.
    share: Weight,
    /// How likely it was to be exposed, being compared.
    weight: Weight,
    since_nanos: u64,
    counted: bool,
}

struct Trial {
    share: Weight,
    judge: Judge,
    users: HashMap<u64, User>,
    uncounted: u64,
    /// What was counted since the judge last heard, by weight.
    pending: BTreeMap<Weight, Counts>,
}

/// A user as he is served.
pub(crate) struct Served {
    pub(crate) user: u64,
    pub(crate) cohort: Cohort,
    pub(crate) share: Weight,
    pub(crate) at_nanos: u64,
}

/// Every flag that is being rolled out.
#[derive(Default)]
pub struct FlagTrials {
    trials: Mutex<BTreeMap<(FlagPlace, String), Trial>>,
}

impl FlagTrials {
    /// Takes note that a user was served.
    pub(crate) fn served(&self, place: &FlagPlace, key: &str, served: &Served) {
        let mut trials = self.trials.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (place.clone(), key.to_owned());
        if served.share == Weight::ZERO || served.share == Weight::FULL {
            return;
        }
        if !trials.contains_key(&name) && trials.len() >= TRIALS_MAX {
            return;
        }
        let trial = trials.entry(name).or_insert_with(|| Trial::new(served.share));
        if served.share < trial.share {
            *trial = Trial::new(served.share);
        }
        trial.share = served.share;
        trial.draw(served);
    }

    /// Counts the first request of each user who was served.
    pub(crate) fn observe(&self, batch: &Batch, name_of: impl Fn(&str) -> u64) {
        let requests = batch.spans.iter().filter(|span| span.kind == SpanKind::Server);
        let mut trials = self.trials.lock().unwrap_or_else(PoisonError::into_inner);
        if trials.is_empty() {
            return;
        }
        for span in requests {
            let (Some(service), Some(environment)) = (&span.identity.service, &span.identity.environment)
            else {
                continue;
            };
            let Some(user) = user_of(span) else { continue };
            let user = name_of(user);
            for ((place, _), trial) in trials.iter_mut() {
                if place.service == *service && place.environment == *environment {
                    trial.count(user, span);
                }
            }
        }
    }

    /// What the evidence says of a flag's rollout; none when nobody was served yet.
    pub fn verdict(&self, place: &FlagPlace, key: &str) -> Option<Verdict> {
        let mut trials = self.trials.lock().unwrap_or_else(PoisonError::into_inner);
        let trial = trials.get_mut(&(place.clone(), key.to_owned()))?;
        trial.settle();
        Some(trial.judge.verdict())
    }

    /// Forgets a flag's evidence: its rollout is over.
    pub fn end(&self, place: &FlagPlace, key: &str) {
        let mut trials = self.trials.lock().unwrap_or_else(PoisonError::into_inner);
        trials.remove(&(place.clone(), key.to_owned()));
    }
}

impl Trial {
    fn new(share: Weight) -> Self {
        Trial {
            share,
            judge: Judge::new(Config::default(), None),
            users: HashMap::new(),
            uncounted: 0,
            pending: BTreeMap::new(),
        }
    }

    fn draw(&mut self, served: &Served) {
        let before = self.users.get(&served.user).copied();
        let outside_at = match before {
            // Compared already: his side was drawn then, and a larger share tells nothing new.
            Some(known) if known.cohort != Cohort::Outside => return,
            Some(known) if served.cohort == Cohort::Outside => {
                // Outside at the larger share too: that is what is known of him from now on.
                if known.share < served.share {
                    self.users.insert(
                        served.user,
                        User {
                            share: served.share,
                            ..known
                        },
                    );
                }
                return;
            }
            Some(known) => known.share,
            None => Weight::ZERO,
        };
        if before.is_none() && self.users.len() >= USERS_MAX {
            self.uncounted += 1;
            return;
        }
        let user = User {
            cohort: served.cohort,
            share: served.share,
            weight: exposed_weight(outside_at, served.share),
            since_nanos: served.at_nanos,
            counted: false,
        };
        self.users.insert(served.user, user);
    }

    fn count(&mut self, user: u64, span: &Span) {
        let Some(user) = self.users.get_mut(&user) else {
            return;
        };
        if user.counted || user.cohort == Cohort::Outside || span.end_nanos < user.since_nanos {
            return;
        }
        user.counted = true;
        let at = Timestamp::from_nanos(span.end_nanos);
        let counts = self
            .pending
            .entry(user.weight)
            .or_insert_with(|| Counts::new(at, user.weight));
        counts.at = counts.at.max(at);
        let arm = match user.cohort {
            Cohort::Exposed => &mut counts.candidate,
            Cohort::Control | Cohort::Outside => &mut counts.baseline,
        };
        let status = status_of(span);
        let error = matches!(span.status, SpanStatus::Error) || status.is_some_and(|code| code >= 500);
        let client_error = !error && status.is_some_and(|code| (400..500).contains(&code));
        arm.record(span.duration_nanos() / 1_000, error, client_error);
    }

    fn settle(&mut self) {
        for (_, counts) in std::mem::take(&mut self.pending) {
            self.judge.add(&counts);
        }
    }
}

/// How likely a user who is compared at `share` is to be exposed, when he was outside at `before` (zero:
/// nothing is known of him).
fn exposed_weight(before: Weight, share: Weight) -> Weight {
    let (before, share) = (u32::from(before.basis_points()), u32::from(share.basis_points()));
    let all = u32::from(Weight::FULL.basis_points());
    let exposed = share.saturating_sub(before);
    // The control is counted from the far end, and ends where it began at the smaller share.
    let control = share.min(all - share).saturating_sub(before).min(all - share);
    let points = (exposed * all).checked_div(exposed + control).unwrap_or(0);
    u16::try_from(points)
        .ok()
        .and_then(|points| Weight::from_basis_points(points).ok())
        .unwrap_or(Weight::FULL)
}

fn user_of(span: &Span) -> Option<&str> {
    USER_ATTRIBUTES
        .iter()
        .find_map(|name| match span.attributes.get(*name) {
            Some(AttributeValue::Text(text)) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        })
}

fn status_of(span: &Span) -> Option<i64> {
    ["http.response.status_code", "http.status_code"]
        .iter()
        .find_map(|name| match span.attributes.get(*name) {
            Some(AttributeValue::Int(code)) => Some(*code),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use std::sync::Arc;
    use trimtab_detection::verdict::Decision;
    use trimtab_flags::{bucket, murmur3_32};
    use trimtab_model::Identity;

    fn place() -> FlagPlace {
        FlagPlace {
            service: "blocks".parse().unwrap(),
            environment: "production".parse().unwrap(),
        }
    }

    fn percent(percent: f64) -> Weight {
        Weight::from_percent(percent).unwrap()
    }

    fn request(user: u64, end_nanos: u64, failed: bool) -> Span {
        let code = AttributeValue::Int(if failed { 500 } else { 200 });
        Span {
            identity: Arc::new(Identity {
                service: Some(place().service),
                environment: Some(place().environment),
                ..Identity::default()
            }),
            trace_id: "0102030405060708090a0b0c0d0e0f10".parse().unwrap(),
            span_id: "0102030405060708".parse().unwrap(),
            parent_span_id: None,
            name: "GET /".to_owned(),
            kind: SpanKind::Server,
            start_nanos: end_nanos - 1_000_000,
            end_nanos,
            status: SpanStatus::Unset,
            status_message: String::new(),
            scope: String::new(),
            attributes: [
                ("enduser.id".to_owned(), AttributeValue::Text(user.to_string())),
                ("http.response.status_code".to_owned(), code),
            ]
            .into(),
            resource: Arc::default(),
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Serves users at each share in turn; each makes three requests, of which the exposed fail a share.
    fn play(trials: &FlagTrials, shares: &[f64], users: u64, fails: impl Fn(Cohort, u64) -> bool) {
        for (step, share) in shares.iter().enumerate() {
            let share = percent(*share);
            let on = u64::from(share.basis_points());
            for user in 0..users {
                let place_of = u64::from(bucket(murmur3_32(user.to_string().as_bytes()), 10_000));
                let cohort = Cohort::of(place_of, on, 10_000 - on);
                let at_nanos = 1_000_000_000 * (1 + user + users * step as u64);
                let served = Served {
                    user,
                    cohort,
                    share,
                    at_nanos,
                };
                trials.served(&place(), "search", &served);
                let early = request(user, at_nanos - 1, true);
                let spans: Vec<Span> = std::iter::once(early)
                    .chain(
                        (0..3)
                            .map(|n| request(user, at_nanos + 5_000_000 * (n + 1), fails(cohort, user + n))),
                    )
                    .collect();
                // What ended before the user was served does not count.
                let batch = Batch {
                    spans: if step == 0 { spans } else { spans[1..].to_vec() },
                    ..Batch::default()
                };
                trials.observe(&batch, |text| text.parse().unwrap());
            }
        }
    }

    #[test]
    fn a_broken_variant_is_found_and_each_user_counts_once() {
        let trials = FlagTrials::default();
        play(&trials, &[10.0], 4_000, |cohort, user| {
            cohort == Cohort::Exposed && user % 2 == 0
        });
        let verdict = trials.verdict(&place(), "search").unwrap();
        assert_eq!(verdict.decision, Decision::Regressed, "{}", verdict.reason);
        let errors = &verdict.metrics[0];
        let units = errors.baseline.units + errors.candidate.units;
        assert!(
            (600..1_000).contains(&units),
            "a tenth and as many, each once: {units}"
        );
        trials.end(&place(), "search");
        assert!(trials.verdict(&place(), "search").is_none());
    }

    #[test]
    fn a_sound_variant_is_not_called_over_all_steps() {
        let trials = FlagTrials::default();
        // A twentieth of the users fail, whatever they are served.
        play(&trials, &[10.0, 50.0], 4_000, |_, user| user % 20 == 0);
        let verdict = trials.verdict(&place(), "search").unwrap();
        assert_ne!(verdict.decision, Decision::Regressed, "{}", verdict.reason);
        assert_ne!(verdict.decision, Decision::RoutingBroken, "{}", verdict.reason);
        let errors = &verdict.metrics[0];
        assert_eq!(
            errors.baseline.units + errors.candidate.units,
            4_000,
            "everybody, once"
        );
        play(&trials, &[5.0], 200, |_, _| false);
        let fresh = trials.verdict(&place(), "search").unwrap();
        assert!(
            fresh.metrics[0].candidate.units < 30,
            "a smaller share begins anew"
        );
    }

    #[test]
    fn the_weight_is_that_of_the_draw() {
        let weight = |before: f64, share: f64| exposed_weight(percent(before), percent(share)).percent();
        assert_eq!(weight(0.0, 10.0), 50.0);
        assert_eq!(weight(10.0, 50.0), 50.0);
        assert_eq!(weight(0.0, 75.0), 75.0);
        // Outside at 10: of 80 parts, 65 are exposed at 75 and 15 are the control.
        assert_eq!(weight(10.0, 75.0), 81.25);
    }
}
