//! Who was served which variant: only a user whose evaluation was served counts, and only once for
//! each side of a rollout.
//!
//! Each first sight of a user is stored as OpenTelemetry's event `feature_flag.evaluation`. When each
//! flag was last asked for, who is on which side, and the evidence outlive a restart in files.

mod kept;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use trimtab_flags::{Answer, Cohort, Served, user_hash};
use trimtab_model::{Identity, Timestamp, Weight};
use trimtab_proxy::UserRequests;
use trimtab_telemetry::{AttributeValue, Attributes, Batch, Event, LogRecord};

use crate::flag_book::{FlagBook, FlagPlace};
use crate::flag_trials::{self, FlagTrials};

pub(crate) use kept::read;

/// Name of the event, as OpenTelemetry has it.
pub const EVENT: &str = "feature_flag.evaluation";
/// Users that are remembered for each flag.
const USERS_MAX: usize = 200_000;
/// Flags that are remembered.
const FLAGS_MAX: usize = 20_000;
/// Events that may wait to be stored.
const WAITING_MAX: usize = 20_000;
const FORMAT: u32 = 1;

/// What is known of a flag's use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// When it was last asked for.
    pub asked_at: Option<Timestamp>,
    /// Evaluations that were served.
    pub evaluations: u64,
    /// Distinct users who got the new variant.
    pub exposed: u64,
    /// Distinct users who are compared with them.
    pub control: u64,
    /// Distinct users who are not looked at.
    pub outside: u64,
    /// Users who were not counted: there were too many.
    pub uncounted: u64,
}

/// Where a flag is asked for.
#[derive(Clone)]
pub struct Asking<'a> {
    /// The flag's place.
    pub place: &'a FlagPlace,
    /// The set's version.
    pub version: u64,
    /// Who asks, when it is an instance.
    pub identity: Identity,
    /// The user, by the targeting key.
    pub user: Option<&'a str>,
    /// When.
    pub at: Timestamp,
    /// The share of the flag's rollout, when it is being rolled out.
    pub share: Option<Weight>,
}

#[derive(Default)]
struct Flag {
    seen: Seen,
    users: HashMap<u64, Cohort>,
}

#[derive(Default)]
struct Inner {
    flags: BTreeMap<(FlagPlace, String), Flag>,
    waiting: Vec<Event>,
    dropped: u64,
    dirty: bool,
    /// True when the sides of users changed since they were written down.
    moved: bool,
}

/// The file's shape.
#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    since: Timestamp,
    /// By `service/environment` and flag.
    asked: BTreeMap<String, BTreeMap<String, Timestamp>>,
}

/// Who was served what.
pub struct Exposures {
    path: PathBuf,
    since: Timestamp,
    inner: Mutex<Inner>,
    pace: Mutex<kept::Pace>,
    /// Users with a flag on against those with it off.
    pub trials: FlagTrials,
}

impl Exposures {
    /// Reads when flags were last asked for, and beside it the users' sides and the evidence; a file that
    /// cannot be read begins anew, and the log says so.
    pub fn open(path: &Path, now: Timestamp) -> Self {
        let written = kept::read::<Written>(path, |written| written.format == FORMAT);
        let since = written.as_ref().map_or(now, |written| written.since);
        let mut inner = Inner::default();
        for (place, flags) in written.map(|written| written.asked).unwrap_or_default() {
            let Some(place) = read_place(&place) else { continue };
            for (key, at) in flags {
                let flag = inner.flags.entry((place.clone(), key)).or_default();
                flag.seen.asked_at = Some(at);
            }
        }
        kept::read_sides(&path.with_file_name(kept::SIDES), &mut inner);
        Self {
            path: path.to_owned(),
            since,
            inner: Mutex::new(inner),
            pace: Mutex::default(),
            trials: FlagTrials::open(&path.with_file_name(flag_trials::FILE)),
        }
    }

    /// Since when askings are counted.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// What is known of a flag's use.
    pub fn seen(&self, place: &FlagPlace, key: &str) -> Seen {
        let inner = self.lock();
        let found = inner.flags.get(&(place.clone(), key.to_owned()));
        found.map(|flag| flag.seen).unwrap_or_default()
    }

    /// On which side of a flag's rollout a user was last served; none when he never was.
    pub fn cohort(&self, place: &FlagPlace, key: &str, user: &str) -> Option<Cohort> {
        let inner = self.lock();
        let flag = inner.flags.get(&(place.clone(), key.to_owned()))?;
        flag.users.get(&user_hash(user)).copied()
    }

    /// Takes note of an answer that was served.
    pub fn served(&self, asking: &Asking<'_>, answer: &Answer) {
        let Ok(served) = &answer.outcome else { return };
        let mut inner = self.lock();
        let at = (asking.place.clone(), answer.key.clone());
        if !inner.flags.contains_key(&at) && inner.flags.len() >= FLAGS_MAX {
            inner.dropped += 1;
            return;
        }
        inner.dirty = true;
        let flag = inner.flags.entry(at).or_default();
        flag.seen.asked_at = flag.seen.asked_at.max(Some(asking.at));
        flag.seen.evaluations += 1;
        let (Some(user), Some(cohort)) = (asking.user, served.cohort) else {
            return;
        };
        if let Some(share) = asking.share {
            let drawn = flag_trials::Served {
                user: user_hash(user),
                cohort,
                share,
                at_nanos: nanos(asking.at),
            };
            self.trials.served(asking.place, &answer.key, &drawn);
        }
        if !flag.put(user_hash(user), cohort) {
            return;
        }
        inner.moved = true;
        let event = event(asking, answer, served, cohort, user);
        if inner.waiting.len() < WAITING_MAX {
            inner.waiting.push(event);
        } else {
            inner.dropped += 1;
        }
    }

    /// Takes note of evaluations that instances made by themselves and told of.
    pub fn observe(&self, batch: &Batch, book: &FlagBook) {
        for log in batch.logs.iter().filter(|log| is_evaluation(log)) {
            self.observe_one(&log.identity, &log.attributes, log.at_nanos, book);
        }
        for span in &batch.spans {
            for told in span.events.iter().filter(|event| event.name == EVENT) {
                self.observe_one(&span.identity, &told.attributes, told.at_nanos, book);
            }
        }
        // After the evaluations: a request's span tells of those within it.
        self.trials.observe(batch);
    }

    /// Counts what the proxy saw of the requests of users who were served.
    pub(crate) fn observe_users(&self, seen: &[UserRequests]) {
        for of_route in seen {
            self.trials.observe_users(of_route);
        }
    }

    /// The side is computed anew, and counts only if the variant told of is the one that follows from
    /// it: an instance cannot put users where they are not.
    fn observe_one(&self, identity: &Arc<Identity>, told: &Attributes, at_nanos: u64, book: &FlagBook) {
        let text = |name: &str| match told.get(name) {
            Some(AttributeValue::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let (Some(service), Some(environment)) = (&identity.service, &identity.environment) else {
            return;
        };
        let place = FlagPlace {
            service: service.clone(),
            environment: environment.clone(),
        };
        let (Some(key), Some(kept)) = (text("feature_flag.key"), book.get(&place)) else {
            return;
        };
        let user = text("feature_flag.context.id");
        let at = Timestamp::from_nanos(at_nanos);
        let context = match user {
            Some(user) => serde_json::json!({ "targetingKey": user }),
            None => serde_json::json!({}),
        };
        let mut answer = kept.set.evaluate(key, &context, at);
        if !kept.set.flags.contains_key(key) {
            return;
        }
        let variant = text("feature_flag.result.variant");
        match &mut answer.outcome {
            Ok(served) if served.variant.as_deref() == variant => {}
            Ok(served) => served.cohort = None,
            Err(_) => return,
        }
        let asking = Asking {
            place: &place,
            version: kept.version,
            identity: Identity::clone(identity),
            user,
            at,
            share: kept.shares.get(key).copied(),
        };
        self.served(&asking, &answer);
    }

    /// The events that wait to be stored; the caller stores them.
    pub(crate) fn take_waiting(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// Exposures that were neither counted nor stored.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flag {
    /// Counts a user on a side; says whether that is news.
    fn put(&mut self, user: u64, cohort: Cohort) -> bool {
        use std::collections::hash_map::Entry;
        let full = self.users.len() >= USERS_MAX;
        match self.users.entry(user) {
            Entry::Occupied(known) if *known.get() == cohort => return false,
            Entry::Occupied(mut known) => {
                let before = known.insert(cohort);
                *self.seen.side(before) -= 1;
            }
            Entry::Vacant(_) if full => {
                self.seen.uncounted += 1;
                return false;
            }
            Entry::Vacant(new) => {
                new.insert(cohort);
            }
        }
        *self.seen.side(cohort) += 1;
        true
    }
}

impl Seen {
    fn side(&mut self, cohort: Cohort) -> &mut u64 {
        match cohort {
            Cohort::Exposed => &mut self.exposed,
            Cohort::Control => &mut self.control,
            Cohort::Outside => &mut self.outside,
        }
    }
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000_000)
}

fn read_place(text: &str) -> Option<FlagPlace> {
    let (service, environment) = text.split_once('/')?;
    Some(FlagPlace {
        service: service.parse().ok()?,
        environment: environment.parse().ok()?,
    })
}

fn is_evaluation(log: &LogRecord) -> bool {
    let named =
        |name: &str| matches!(log.attributes.get(name), Some(AttributeValue::Text(text)) if text == EVENT);
    log.attributes.contains_key("feature_flag.key")
        && (named("event.name") || named("otel.event.name") || log.body == EVENT || log.body.is_empty())
}

fn event(asking: &Asking<'_>, answer: &Answer, served: &Served, cohort: Cohort, user: &str) -> Event {
    let mut identity = asking.identity.clone();
    identity
        .service
        .get_or_insert_with(|| asking.place.service.clone());
    identity
        .environment
        .get_or_insert_with(|| asking.place.environment.clone());
    let text = |text: &str| AttributeValue::Text(text.to_owned());
    let variant = served.variant.as_deref().unwrap_or_default();
    let attributes = [
        ("feature_flag.key", text(&answer.key)),
        ("feature_flag.provider.name", text("trimtab")),
        ("feature_flag.result.variant", text(variant)),
        (
            "feature_flag.result.reason",
            text(&served.reason.as_str().to_lowercase()),
        ),
        ("feature_flag.set.id", text(&asking.place.to_string())),
        ("feature_flag.version", text(&asking.version.to_string())),
        // Who it was stays out of the store: the hash tells users apart.
        (
            "feature_flag.context.id",
            text(&format!("{:016x}", user_hash(user))),
        ),
        ("trimtab.flag.cohort", text(cohort.as_str())),
    ];
    Event {
        identity: Arc::new(identity),
        at_nanos: nanos(asking.at),
        id: format!(
            "{}/{}/{:016x}/{cohort}",
            asking.place,
            answer.key,
            user_hash(user)
        ),
        source: "flags".to_owned(),
        kind: EVENT.to_owned(),
        title: format!("{} served {variant:?}", answer.key),
        attributes: attributes
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use serde_json::json;
    use trimtab_flags::FlagSet;

    fn place() -> FlagPlace {
        read_place("blocks/production").unwrap()
    }

    fn set(on: u32) -> FlagSet {
        FlagSet::from_value(&json!({"flags": {"search": {
            "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
            "targeting": {"fractional": [["on", on], ["off", 10_000 - on]]},
        }}}))
        .unwrap()
    }

    fn ask(exposures: &Exposures, set: &FlagSet, user: u32, at: i64) {
        let user = format!("user-{user}");
        let (place, context) = (place(), json!({"targetingKey": user}));
        let asking = Asking {
            place: &place,
            version: 1,
            identity: Identity::default(),
            user: Some(&user),
            at: Timestamp(at),
            share: None,
        };
        exposures.served(&asking, &set.evaluate("search", &context, Timestamp(at)));
    }

    #[test]
    fn users_count_once_and_move_with_the_share() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flags.json");
        let exposures = Exposures::open(&path, Timestamp(5));
        for round in 0..3 {
            for user in 0..1_000 {
                ask(&exposures, &set(1_000), user, 100 + round);
            }
        }
        let seen = exposures.seen(&place(), "search");
        assert_eq!(seen.evaluations, 3_000);
        assert_eq!(seen.exposed + seen.control + seen.outside, 1_000);
        assert!(
            (60..140).contains(&seen.exposed) && (60..140).contains(&seen.control),
            "{seen:?}"
        );
        let events = exposures.take_waiting();
        assert_eq!(events.len(), 1_000);
        assert!(
            !events[0]
                .attributes
                .values()
                .any(|value| format!("{value:?}").contains("user-"))
        );
        for user in 0..1_000 {
            ask(&exposures, &set(10_000), user, 200);
        }
        let seen = exposures.seen(&place(), "search");
        assert_eq!((seen.exposed, seen.control, seen.outside), (1_000, 0, 0));
        assert_eq!(
            exposures.cohort(&place(), "search", "user-3"),
            Some(Cohort::Exposed)
        );
        assert_eq!(exposures.cohort(&place(), "search", "stranger"), None);
        exposures.save_all().unwrap();
        let again = Exposures::open(&path, Timestamp(900));
        assert_eq!(again.since(), Timestamp(5));
        assert_eq!(again.seen(&place(), "search"), seen);
        ask(&again, &set(10_000), 3, 950);
        assert_eq!(again.seen(&place(), "search").exposed, 1_000, "known already");
        assert!(again.take_waiting().is_empty());
    }
}
