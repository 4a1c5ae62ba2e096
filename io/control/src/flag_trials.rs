//! Users with a flag on against an equally large control with it off.
//!
//! The unit is the user, since the flag is drawn by user: each counts once, with the first request of
//! his that ends after he was served. How likely he was to be on, given that he is compared at all,
//! follows from the share at which he was drawn: one half up to a share of one half. Evidence is carried
//! from step to step; a smaller share begins it anew, a restart does not.

mod kept;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use trimtab_detection::verdict::{Batch as Counts, Config, Judge, Verdict};
use trimtab_flags::{Cohort, user_hash};
use trimtab_model::{EnvironmentName, ServiceName, Timestamp, Weight};
use trimtab_proxy::{UserRequest, UserRequests};
use trimtab_telemetry::{AttributeValue, Batch, Span, SpanKind, SpanStatus};

use crate::flag_book::FlagPlace;

pub(crate) use kept::FILE;

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

/// How a flag is judged.
#[derive(Debug, Clone, Default)]
pub(crate) struct JudgedBy {
    /// Alpha, tolerance and the like.
    pub(crate) config: Config,
    /// True when what the proxy saw of users' requests counts, and not the service's spans.
    pub(crate) by_header: bool,
}

/// A user as he is served.
pub(crate) struct Served {
    pub(crate) user: u64,
    pub(crate) cohort: Cohort,
    pub(crate) share: Weight,
    pub(crate) at_nanos: u64,
}

type Trials = BTreeMap<(FlagPlace, String), Trial>;

/// Every flag that is being rolled out.
#[derive(Default)]
pub struct FlagTrials {
    /// Where they are kept; nowhere in tests.
    path: Option<PathBuf>,
    saving: Mutex<()>,
    trials: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    trials: Trials,
    /// How the flags of rollouts are judged; others as usual.
    judged_by: BTreeMap<(FlagPlace, String), JudgedBy>,
    /// True when something changed since it was written down.
    dirty: bool,
}

impl FlagTrials {
    /// Takes note that a user was served.
    pub(crate) fn served(&self, place: &FlagPlace, key: &str, served: &Served) {
        let mut book = self.lock();
        let Book {
            trials,
            judged_by,
            dirty,
        } = &mut *book;
        let name = (place.clone(), key.to_owned());
        if served.share == Weight::ZERO || served.share == Weight::FULL {
            return;
        }
        if !trials.contains_key(&name) && trials.len() >= TRIALS_MAX {
            return;
        }
        let config = judged_by.get(&name).cloned().unwrap_or_default().config;
        let trial = trials
            .entry(name)
            .or_insert_with(|| Trial::new(served.share, config.clone()));
        if served.share < trial.share {
            *trial = Trial::new(served.share, config);
            *dirty = true;
        }
        *dirty |= trial.share != served.share;
        trial.share = served.share;
        *dirty |= trial.draw(served);
    }

    /// Counts the first request of each user who was served, by the service's spans.
    pub(crate) fn observe(&self, batch: &Batch) {
        let requests = batch.spans.iter().filter(|span| span.kind == SpanKind::Server);
        let mut book = self.lock();
        if book.trials.is_empty() {
            return;
        }
        for span in requests {
            let (Some(service), Some(environment)) = (&span.identity.service, &span.identity.environment)
            else {
                continue;
            };
            let Some(user) = user_of(span) else { continue };
            book.count((service, environment), &of_span(user_hash(user), span), false);
        }
    }

    /// The same by what the proxy saw, for the flags that are judged by it.
    pub(crate) fn observe_users(&self, seen: &UserRequests) {
        let mut book = self.lock();
        if book.trials.is_empty() {
            return;
        }
        for request in &seen.requests {
            book.count((&seen.service, &seen.environment), request, true);
        }
    }

    /// Says how a flag is judged from its first user on; evidence that there is goes on as it began.
    pub(crate) fn judge_by(&self, place: &FlagPlace, key: &str, how: JudgedBy) {
        let mut book = self.lock();
        let name = (place.clone(), key.to_owned());
        if book.judged_by.len() >= TRIALS_MAX && !book.judged_by.contains_key(&name) {
            // A rollout under way says it again in each step.
            book.judged_by.pop_first();
        }
        book.judged_by.insert(name, how);
    }

    /// What the evidence says of a flag's rollout; none when nobody was served yet.
    pub fn verdict(&self, place: &FlagPlace, key: &str) -> Option<Verdict> {
        let mut book = self.lock();
        let trial = book.trials.get_mut(&(place.clone(), key.to_owned()))?;
        trial.settle();
        Some(trial.judge.verdict())
    }

    /// Forgets a flag's evidence, on disk too: its rollout is over, or begins.
    pub fn end(&self, place: &FlagPlace, key: &str) {
        let known = self.lock().forget(place, key);
        if known && let Err(error) = self.save() {
            tracing::warn!(flag = key, %error, "failed to forget a flag's evidence on disk");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Counts a request in each trial of its place that is judged by who saw it.
    fn count(
        &mut self,
        (service, environment): (&ServiceName, &EnvironmentName),
        request: &UserRequest,
        by_header: bool,
    ) {
        let Book {
            trials,
            judged_by,
            dirty,
        } = self;
        for (name, trial) in trials.iter_mut() {
            let of_place = name.0.service == *service && name.0.environment == *environment;
            let wanted = judged_by.get(name).is_some_and(|how| how.by_header);
            if of_place && wanted == by_header {
                *dirty |= trial.count(request);
            }
        }
    }

    fn forget(&mut self, place: &FlagPlace, key: &str) -> bool {
        let name = (place.clone(), key.to_owned());
        self.judged_by.remove(&name);
        let known = self.trials.remove(&name).is_some();
        self.dirty |= known;
        known
    }
}

impl Trial {
    fn new(share: Weight, config: Config) -> Self {
        Trial {
            share,
            judge: Judge::new(config, None),
            users: HashMap::new(),
            uncounted: 0,
            pending: BTreeMap::new(),
        }
    }

    /// Takes note of a user's side; says whether that is news.
    fn draw(&mut self, served: &Served) -> bool {
        let before = self.users.get(&served.user).copied();
        let outside_at = match before {
            // Compared already: his side was drawn then, and a larger share tells nothing new.
            Some(known) if known.cohort != Cohort::Outside => return false,
            Some(known) if served.cohort == Cohort::Outside => {
                // Outside at the larger share too: that is what is known of him from now on.
                let later = known.share < served.share;
                if later {
                    self.users.insert(
                        served.user,
                        User {
                            share: served.share,
                            ..known
                        },
                    );
                }
                return later;
            }
            Some(known) => known.share,
            None => Weight::ZERO,
        };
        if before.is_none() && self.users.len() >= USERS_MAX {
            self.uncounted += 1;
            return false;
        }
        let user = User {
            cohort: served.cohort,
            share: served.share,
            weight: exposed_weight(outside_at, served.share),
            since_nanos: served.at_nanos,
            counted: false,
        };
        self.users.insert(served.user, user);
        true
    }

    /// Counts a request, if it is the first of a user who is compared; says whether it is.
    fn count(&mut self, request: &UserRequest) -> bool {
        let Some(user) = self.users.get_mut(&request.user) else {
            return false;
        };
        if user.counted || user.cohort == Cohort::Outside || request.ended_nanos < user.since_nanos {
            return false;
        }
        user.counted = true;
        let at = Timestamp::from_nanos(request.ended_nanos);
        let counts = self
            .pending
            .entry(user.weight)
            .or_insert_with(|| Counts::new(at, user.weight));
        counts.at = counts.at.max(at);
        let arm = match user.cohort {
            Cohort::Exposed => &mut counts.candidate,
            Cohort::Control | Cohort::Outside => &mut counts.baseline,
        };
        arm.record(request.micros, request.failed, request.client_error);
        true
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

fn of_span(user: u64, span: &Span) -> UserRequest {
    let status = status_of(span);
    let failed = matches!(span.status, SpanStatus::Error) || status.is_some_and(|code| code >= 500);
    UserRequest {
        user,
        ended_nanos: span.end_nanos,
        micros: span.duration_nanos() / 1_000,
        failed,
        client_error: !failed && status.is_some_and(|code| (400..500).contains(&code)),
    }
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
mod tests;
