//! What is known of flags' users on disk. Written at a pace that follows how much there is to write.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use trimtab_flags::Cohort;
use trimtab_model::Timestamp;

use super::{Exposures, FORMAT, Flag, Inner, Written, read_place};

/// The file of who is on which side, beside that of the askings.
pub(super) const SIDES: &str = "flag-users.json";
/// Users that are written down; the counts of flags beyond begin anew with the server.
const USERS_WRITTEN_MAX: usize = 1_000_000;
/// Users that are worth a second of waiting before the next writing.
const USERS_A_SECOND: usize = 20_000;

#[derive(Serialize, Deserialize)]
struct Sides {
    format: u32,
    flags: Vec<Counted>,
}

#[derive(Serialize, Deserialize)]
struct Counted {
    place: String,
    key: String,
    evaluations: u64,
    uncounted: u64,
    users: BTreeMap<Cohort, Vec<u64>>,
}

/// When what was written last.
#[derive(Default)]
pub(super) struct Pace {
    sides: Option<Instant>,
    trials: Option<Instant>,
}

/// True once `users` are to be written again; takes note of it.
fn due(last: &mut Option<Instant>, users: usize) -> bool {
    let pause = Duration::from_secs((users / USERS_A_SECOND) as u64);
    let due = last.is_none_or(|last| last.elapsed() >= pause);
    if due {
        *last = Some(Instant::now());
    }
    due
}

/// Reads a file of a known format; what cannot be read begins anew, and the log says so.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, is_known: impl Fn(&T) -> bool) -> Option<T> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "failed to read what is kept of flags; it begins anew");
            return None;
        }
    };
    let parsed = serde_json::from_slice::<T>(&bytes).map_err(|error| error.to_string());
    match parsed {
        Ok(parsed) if is_known(&parsed) => return Some(parsed),
        Ok(_) => {
            tracing::warn!(file = %path.display(), "what is kept of flags has an unknown format; it begins anew");
        }
        Err(error) => {
            tracing::warn!(file = %path.display(), error, "what is kept of flags is torn; it begins anew");
        }
    }
    None
}

pub(super) fn read_sides(path: &Path, inner: &mut Inner) {
    let Some(file) = read::<Sides>(path, |file| file.format == FORMAT) else {
        return;
    };
    for counted in file.flags {
        let Some(place) = read_place(&counted.place) else {
            continue;
        };
        let flag = inner.flags.entry((place, counted.key)).or_default();
        flag.seen.evaluations = counted.evaluations;
        flag.seen.uncounted = counted.uncounted;
        for (cohort, users) in counted.users {
            for user in users {
                flag.put(user, cohort);
            }
        }
    }
}

impl Exposures {
    /// Writes down what changed since the last time; with many users, not each time.
    pub fn save(&self) -> std::io::Result<()> {
        self.save_askings()?;
        let mut pace = self
            .pace
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if due(&mut pace.trials, self.trials.users()) {
            self.trials.save()?;
        }
        let users = self.lock().flags.values().map(|flag| flag.users.len()).sum();
        if due(&mut pace.sides, users) {
            self.save_sides()?;
        }
        Ok(())
    }

    /// Writes down all that changed since the last time.
    pub fn save_all(&self) -> std::io::Result<()> {
        self.save_askings()?;
        self.trials.save()?;
        self.save_sides()
    }

    fn save_askings(&self) -> std::io::Result<()> {
        let written = {
            let mut inner = self.lock();
            if !std::mem::take(&mut inner.dirty) {
                return Ok(());
            }
            let mut asked: BTreeMap<String, BTreeMap<String, Timestamp>> = BTreeMap::new();
            for ((place, key), flag) in &inner.flags {
                if let Some(at) = flag.seen.asked_at {
                    let of_place = asked.entry(place.to_string()).or_default();
                    of_place.insert(key.clone(), at);
                }
            }
            Written {
                format: FORMAT,
                since: self.since,
                asked,
            }
        };
        crate::files::replace(&self.path, &serde_json::to_vec(&written)?)
    }

    fn save_sides(&self) -> std::io::Result<()> {
        let file = {
            let mut inner = self.lock();
            if !std::mem::take(&mut inner.moved) {
                return Ok(());
            }
            let mut room = USERS_WRITTEN_MAX;
            let mut flags = Vec::new();
            for ((place, key), flag) in &inner.flags {
                let Some(left) = room.checked_sub(flag.users.len()) else {
                    continue;
                };
                if !flag.users.is_empty() {
                    room = left;
                    flags.push(flag.counted(place.to_string(), key.clone()));
                }
            }
            Sides {
                format: FORMAT,
                flags,
            }
        };
        crate::files::replace(&self.path.with_file_name(SIDES), &serde_json::to_vec(&file)?)
    }
}

impl Flag {
    fn counted(&self, place: String, key: String) -> Counted {
        let mut users: BTreeMap<Cohort, Vec<u64>> = BTreeMap::new();
        for (user, cohort) in &self.users {
            users.entry(*cohort).or_default().push(*user);
        }
        Counted {
            place,
            key,
            evaluations: self.seen.evaluations,
            uncounted: self.seen.uncounted,
            users,
        }
    }
}
