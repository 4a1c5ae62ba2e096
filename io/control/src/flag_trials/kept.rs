//! The evidence on flags on disk: who was drawn, who was counted and what that says are written at once,
//! so that after a kill nobody is counted twice. What came since the last writing is as if it had not been.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use trimtab_detection::verdict::Judge;
use trimtab_flags::Cohort;
use trimtab_model::Weight;

use super::{Book, FlagTrials, Trial, User};
use crate::flag_book::FlagPlace;

/// The file's name, beside that of the askings.
pub(crate) const FILE: &str = "flag-trials.json";
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    trials: Vec<Written>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    place: FlagPlace,
    key: String,
    share: Weight,
    judge: Judge,
    uncounted: u64,
    users: Vec<Row>,
}

/// Name, side, share, weight, since when, and whether he was counted.
type Row = (u64, Cohort, Weight, Weight, u64, bool);

impl FlagTrials {
    /// Reads what was written down; a file that cannot be read begins anew, and the log says so.
    pub fn open(path: &Path) -> Self {
        let file = crate::exposures::read::<File>(path, |file| file.format == FORMAT);
        let trials = file.map(|file| file.trials).unwrap_or_default();
        let trials = trials.into_iter().map(Written::read).collect();
        Self {
            path: Some(path.to_owned()),
            saving: Mutex::default(),
            trials: Mutex::new(Book {
                trials,
                ..Book::default()
            }),
        }
    }

    /// Users of all trials: what there is to write.
    pub(crate) fn users(&self) -> usize {
        self.lock().trials.values().map(|trial| trial.users.len()).sum()
    }

    /// Writes everything down if anything changed.
    pub fn save(&self) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        // Held until it is written: an older state never replaces a newer one.
        let _turn = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = self.lock().snapshot()? else {
            return Ok(());
        };
        let written = crate::files::replace(path, &bytes);
        if written.is_err() {
            self.lock().dirty = true;
        }
        written
    }
}

impl Book {
    /// What is to be written, if anything changed.
    fn snapshot(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        if !std::mem::take(&mut self.dirty) {
            return Ok(None);
        }
        let trials = self.trials.iter_mut().map(|((place, key), trial)| {
            trial.settle();
            trial.written(place, key)
        });
        let file = File {
            format: FORMAT,
            trials: trials.collect(),
        };
        Ok(Some(serde_json::to_vec(&file)?))
    }
}

impl Trial {
    fn written(&self, place: &FlagPlace, key: &str) -> Written {
        let row = |(name, user): (&u64, &User)| {
            (
                *name,
                user.cohort,
                user.share,
                user.weight,
                user.since_nanos,
                user.counted,
            )
        };
        Written {
            place: place.clone(),
            key: key.to_owned(),
            share: self.share,
            judge: self.judge.clone(),
            uncounted: self.uncounted,
            users: self.users.iter().map(row).collect(),
        }
    }
}

impl Written {
    fn read(self) -> ((FlagPlace, String), Trial) {
        let user = |(name, cohort, share, weight, since_nanos, counted): Row| {
            let user = User {
                cohort,
                share,
                weight,
                since_nanos,
                counted,
            };
            (name, user)
        };
        let trial = Trial {
            share: self.share,
            judge: self.judge,
            users: self.users.into_iter().map(user).collect::<HashMap<_, _>>(),
            uncounted: self.uncounted,
            pending: BTreeMap::new(),
        };
        ((self.place, self.key), trial)
    }
}
