//! The flag sets of every service and environment, folded from the journal streams
//! `flags/<service>/<environment>`. An event's sequence number is the set's version.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trimtab_flags::{Change, FlagSet, Problem, Ramp, apply, difference, list_problems};
use trimtab_journal::{Expected, Journal, JournalError, NewEvent, StoredEvent};
use trimtab_model::{Actor, EnvironmentName, ServiceName, Timestamp, Weight};

use crate::clock;

const CHANGED: &str = "flags.changed";
/// Most sets that are kept.
const SETS_MAX: usize = 1_000;
/// Longest reason of a change, in bytes.
const REASON_BYTES_MAX: usize = 2_000;

/// Whose flags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlagPlace {
    /// The service.
    pub service: ServiceName,
    /// The environment.
    pub environment: EnvironmentName,
}

impl std::fmt::Display for FlagPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service, self.environment)
    }
}

impl FlagPlace {
    fn stream(&self) -> String {
        format!("flags/{self}")
    }

    fn of_stream(stream: &str) -> Option<Self> {
        let (service, environment) = stream.strip_prefix("flags/")?.split_once('/')?;
        Some(FlagPlace {
            service: ServiceName::new(service).ok()?,
            environment: EnvironmentName::new(environment).ok()?,
        })
    }
}

/// When something changed last, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Actor,
}

/// A set as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Whose it is.
    pub place: FlagPlace,
    /// How often it was changed: the version.
    pub version: u64,
    /// The document.
    pub document: Value,
    /// The same, read.
    pub set: FlagSet,
    /// The shares of the flags that are being rolled out.
    pub shares: BTreeMap<String, Weight>,
    /// When each flag changed last.
    pub touched: BTreeMap<String, Touched>,
    /// The last change of all.
    pub last: Option<Touched>,
}

/// A change as it was journalled.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// The version that it made.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// What and why.
    pub change: Change,
}

/// Why a set was not changed.
#[derive(Debug, thiserror::Error)]
pub enum FlagError {
    /// The journal failed.
    #[error("failed to write the flags down: {0}")]
    Journal(#[from] JournalError),
    /// The journal holds what this program does not understand.
    #[error("failed to read version {version} of the flags of {place}: {reason}")]
    Unreadable {
        /// Whose flags.
        place: String,
        /// Which version.
        version: u64,
        /// Why.
        reason: String,
    },
    /// The set would be broken.
    #[error("failed to accept the flags:\n{}", list_problems(.0))]
    Invalid(Vec<Problem>),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Refused(String),
    /// Somebody was faster.
    #[error("failed to change version {expected} of the flags of {place}: it is at version {found}")]
    Moved {
        /// Whose flags.
        place: FlagPlace,
        /// The version that the change was made for.
        expected: u64,
        /// The version that stands.
        found: u64,
    },
    /// There is no such version, or nothing to undo.
    #[error("failed to undo version {version} of the flags of {place}: there is no such version")]
    NoVersion {
        /// Whose flags.
        place: FlagPlace,
        /// The version.
        version: u64,
    },
    /// It was changed again since.
    #[error("failed to undo version {version}: {} changed again since", entries.join(", "))]
    ChangedSince {
        /// The version.
        version: u64,
        /// What was changed again.
        entries: Vec<String>,
    },
}

/// A wish for a change.
pub struct Wish {
    /// Who.
    pub by: Actor,
    /// Why; never empty.
    pub reason: String,
    /// The version that it was made for; any when absent.
    pub expected: Option<u64>,
    /// The rollout that makes it, when one does.
    pub rollout: Option<String>,
}

/// Every flag set.
pub struct FlagBook {
    journal: Journal,
    sets: RwLock<BTreeMap<FlagPlace, Arc<Kept>>>,
    changing: tokio::sync::Mutex<()>,
}

impl FlagBook {
    /// Reads all sets from the journal.
    pub async fn open(journal: Journal) -> Result<Self, FlagError> {
        let mut sets = BTreeMap::new();
        for stream in journal.streams("flags/").await? {
            let Some(place) = FlagPlace::of_stream(&stream.name) else {
                continue;
            };
            let mut kept = nothing(&place);
            for event in journal.read_stream(&stream.name, 0).await? {
                kept = follow(&kept, &past(&place, &event)?)?;
            }
            sets.insert(place, Arc::new(kept));
        }
        Ok(Self {
            journal,
            sets: RwLock::new(sets),
            changing: tokio::sync::Mutex::new(()),
        })
    }

    /// The set of a place; none when it never had flags.
    pub fn get(&self, place: &FlagPlace) -> Option<Arc<Kept>> {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        sets.get(place).cloned()
    }

    /// Every set.
    pub fn list(&self) -> Vec<Arc<Kept>> {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        sets.values().cloned().collect()
    }

    /// Every change of a set, oldest first.
    pub async fn history(&self, place: &FlagPlace) -> Result<Vec<Past>, FlagError> {
        let events = self.journal.read_stream(&place.stream(), 0).await?;
        events.iter().map(|event| past(place, event)).collect()
    }

    /// Changes a set: `edit` makes the new document of the one that stands. What would break the set
    /// is refused; a change that changes nothing writes nothing.
    pub async fn change(
        &self,
        place: &FlagPlace,
        wish: Wish,
        edit: impl FnOnce(&Value) -> Result<Value, String> + Send,
    ) -> Result<Arc<Kept>, FlagError> {
        let _turn = self.changing.lock().await;
        let standing = self.standing(place, wish.expected)?;
        let document = edit(&standing.document).map_err(FlagError::Refused)?;
        // Read as text too: the limits are of the text.
        FlagSet::parse(&document.to_string()).map_err(FlagError::Invalid)?;
        let change = Change {
            reason: wish.reason,
            entries: difference(&standing.document, &document),
            undoes: None,
            rollout: wish.rollout,
        };
        self.write(standing, wish.by, change).await
    }

    /// Rolls a flag out to a share of users, for a rollout; to say it twice changes nothing.
    pub async fn roll_out(
        &self,
        place: &FlagPlace,
        key: &str,
        ramp: &Ramp,
        wish: Wish,
    ) -> Result<Arc<Kept>, FlagError> {
        self.change(place, wish, |document| {
            let mut changed = document.clone();
            changed["flags"][key] = ramp.apply(document, key).map_err(|error| error.to_string())?;
            Ok(changed)
        })
        .await
    }

    /// Switches a flag off: everybody gets the code's own default. To say it twice changes nothing.
    pub async fn disable(&self, place: &FlagPlace, key: &str, wish: Wish) -> Result<Arc<Kept>, FlagError> {
        self.change(place, wish, |document| {
            let mut changed = document.clone();
            match changed.get_mut("flags").and_then(|flags| flags.get_mut(key)) {
                Some(flag) => flag["state"] = json!("DISABLED"),
                None => return Err(format!("failed to disable the flag {key:?}: there is none")),
            }
            Ok(changed)
        })
        .await
    }

    /// Takes a version's change back, the last one's when none is named.
    pub async fn undo(
        &self,
        place: &FlagPlace,
        wish: Wish,
        version: Option<u64>,
    ) -> Result<Arc<Kept>, FlagError> {
        let _turn = self.changing.lock().await;
        let standing = self.standing(place, wish.expected)?;
        let version = version.unwrap_or(standing.version);
        let found = self.history(place).await?;
        let Some(past) = found.into_iter().find(|past| past.version == version) else {
            return Err(FlagError::NoVersion {
                place: place.clone(),
                version,
            });
        };
        let change = past
            .change
            .undone(&standing.document, version, &wish.reason)
            .map_err(|entries| FlagError::ChangedSince { version, entries })?;
        self.write(standing, wish.by, change).await
    }

    fn standing(&self, place: &FlagPlace, expected: Option<u64>) -> Result<Arc<Kept>, FlagError> {
        let standing = self.get(place).unwrap_or_else(|| Arc::new(nothing(place)));
        match expected {
            Some(expected) if expected != standing.version => Err(FlagError::Moved {
                place: place.clone(),
                expected,
                found: standing.version,
            }),
            _ => Ok(standing),
        }
    }

    async fn write(&self, standing: Arc<Kept>, by: Actor, change: Change) -> Result<Arc<Kept>, FlagError> {
        if change.reason.trim().is_empty() || change.reason.len() > REASON_BYTES_MAX {
            return Err(FlagError::Refused(format!(
                "failed to change flags without a reason of 1 to {REASON_BYTES_MAX} bytes; say why"
            )));
        }
        if change.entries.is_empty() {
            return Ok(standing);
        }
        let place = &standing.place;
        if standing.version == 0 && self.list().len() >= SETS_MAX {
            return Err(FlagError::Refused(format!(
                "failed to keep one more flag set: there are {SETS_MAX}; delete the flags of services that are gone"
            )));
        }
        let past = Past {
            version: standing.version + 1,
            at: clock::now(),
            by: by.clone(),
            change,
        };
        // Folded first: what cannot be read again is not written.
        let kept = Arc::new(follow(&standing, &past)?);
        let body = serde_json::to_value(&past.change)
            .map_err(|error| FlagError::Refused(format!("failed to write the change down: {error}")))?;
        let event = NewEvent::new(place.stream(), CHANGED, past.at, by, body);
        self.journal
            .append(Expected::Exactly(standing.version), vec![event])
            .await?;
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        sets.insert(place.clone(), kept.clone());
        Ok(kept)
    }
}

fn nothing(place: &FlagPlace) -> Kept {
    Kept {
        place: place.clone(),
        version: 0,
        document: json!({ "flags": {} }),
        set: FlagSet::default(),
        shares: BTreeMap::new(),
        touched: BTreeMap::new(),
        last: None,
    }
}

fn past(place: &FlagPlace, event: &StoredEvent) -> Result<Past, FlagError> {
    let unreadable = |reason: String| FlagError::Unreadable {
        place: place.to_string(),
        version: event.sequence,
        reason,
    };
    if event.kind != CHANGED || event.version != 1 {
        return Err(unreadable(format!(
            "{} of version {} is not known; start a newer Trimtab",
            event.kind, event.version
        )));
    }
    let change = serde_json::from_value(event.body.clone()).map_err(|error| unreadable(error.to_string()))?;
    Ok(Past {
        version: event.sequence,
        at: event.at,
        by: event.actor.clone(),
        change,
    })
}

fn follow(standing: &Kept, past: &Past) -> Result<Kept, FlagError> {
    let document = apply(standing.document.clone(), &past.change.entries);
    let set = FlagSet::from_value(&document).map_err(FlagError::Invalid)?;
    let touched = Touched {
        at: past.at,
        by: past.by.clone(),
    };
    let mut by_flag = standing.touched.clone();
    for entry in &past.change.entries {
        if entry.section == trimtab_flags::Section::Flags {
            by_flag.insert(entry.key.clone(), touched.clone());
        }
    }
    by_flag.retain(|key, _| set.flags.contains_key(key));
    let shares = shares(&document, &set);
    Ok(Kept {
        place: standing.place.clone(),
        version: past.version,
        document,
        set,
        shares,
        touched: by_flag,
        last: Some(touched),
    })
}

fn shares(document: &Value, set: &FlagSet) -> BTreeMap<String, Weight> {
    let ramp = |key: &String| {
        let flag = document.get("flags")?.get(key)?;
        Some((key.clone(), Ramp::read(flag.get("targeting")?)?.share))
    };
    set.flags
        .iter()
        .filter(|(_, flag)| !flag.is_static())
        .filter_map(|(key, _)| ramp(key))
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn place() -> FlagPlace {
        FlagPlace {
            service: ServiceName::new("blocks").unwrap(),
            environment: EnvironmentName::new("production").unwrap(),
        }
    }

    fn wish(reason: &str, expected: Option<u64>) -> Wish {
        Wish {
            by: Actor("jo".to_owned()),
            reason: reason.to_owned(),
            expected,
            rollout: None,
        }
    }

    fn with(state: &str) -> Value {
        json!({"flags": {"search": {"state": state, "variants": {"on": true}, "defaultVariant": "on"}}})
    }

    #[tokio::test]
    async fn changes_are_kept_undone_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let journal = Journal::open(&path).await.unwrap();
        let book = FlagBook::open(journal.clone()).await.unwrap();
        assert_eq!(book.get(&place()), None);
        let kept = book
            .change(&place(), wish("first", Some(0)), |_| Ok(with("DISABLED")))
            .await
            .unwrap();
        assert_eq!(kept.version, 1);
        book.change(&place(), wish("on", Some(1)), |_| Ok(with("ENABLED")))
            .await
            .unwrap();
        let same = book
            .change(&place(), wish("again", None), |_| Ok(with("ENABLED")))
            .await;
        assert_eq!(same.unwrap().version, 2, "nothing changed, nothing written");
        let late = book
            .change(&place(), wish("late", Some(1)), |_| Ok(with("DISABLED")))
            .await;
        assert!(matches!(late, Err(FlagError::Moved { found: 2, .. })));
        let broken = book
            .change(&place(), wish("broken", None), |_| Ok(with("ON")))
            .await;
        assert!(broken.unwrap_err().to_string().contains("flags.search.state"));
        let silent = book
            .change(&place(), wish(" ", None), |_| Ok(with("DISABLED")))
            .await;
        assert!(matches!(silent, Err(FlagError::Refused(_))));
        let early = book.undo(&place(), wish("undo", None), Some(1)).await;
        assert!(matches!(early, Err(FlagError::ChangedSince { version: 1, .. })));
        let undone = book.undo(&place(), wish("undo", None), None).await.unwrap();
        assert_eq!((undone.version, &undone.document), (3, &with("DISABLED")));
        let history = book.history(&place()).await.unwrap();
        assert_eq!(history[2].change.undoes, Some(2));
        assert_eq!(
            history[1].change.entries[0].before.as_ref().unwrap()["state"],
            "DISABLED"
        );
        drop(book);
        journal.close().await;
        let journal = Journal::open(&path).await.unwrap();
        let again = FlagBook::open(journal.clone()).await.unwrap();
        assert_eq!(again.get(&place()), Some(undone));
        journal.close().await;
    }
}
