//! What people last said about places, journaled with who said it and why.
//!
//! A place is a service in an environment. Each has a stream `<prefix>/<service>/<environment>`, whose last
//! event holds; an event that says nothing takes back what was said before.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use trimtab_journal::{Expected, Journal, JournalError, NewEvent, StoredEvent};
use trimtab_model::{Actor, EnvironmentName, ServiceName, Timestamp};

use crate::clock;

/// A service in an environment.
pub type Place = (ServiceName, EnvironmentName);

/// What was said of a place, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<T> {
    /// What holds.
    pub what: T,
    /// Who wanted it.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Body<T> {
    // The first book was that of closures, and its journals are read still.
    #[serde(default = "Option::default", alias = "closure")]
    said: Option<T>,
    #[serde(default)]
    reason: String,
}

/// One kind of thing that is said about places, folded from the journal.
pub(crate) struct PlaceBook<T> {
    journal: Journal,
    prefix: &'static str,
    known: RwLock<BTreeMap<Place, Option<Said<T>>>>,
}

impl<T: Clone + Serialize + DeserializeOwned> PlaceBook<T> {
    /// Reads what holds from the journal's streams that begin with `prefix`.
    pub(crate) async fn open(journal: Journal, prefix: &'static str) -> Result<Self, JournalError> {
        let mut known = BTreeMap::new();
        for stream in journal.streams(&format!("{prefix}/")).await? {
            let events = journal.read_stream(&stream.name, 0).await?;
            if let (Some(place), Some(last)) = (place_of(prefix, &stream.name), events.last()) {
                known.insert(place, read(last));
            }
        }
        Ok(Self {
            journal,
            prefix,
            known: RwLock::new(known),
        })
    }

    /// What holds of a place; none when nothing was said or it was taken back.
    pub(crate) fn of(&self, place: &Place) -> Option<Said<T>> {
        self.read().get(place).cloned().flatten()
    }

    /// Every place that something was ever said of, and what holds.
    pub(crate) fn all(&self) -> Vec<(Place, Option<Said<T>>)> {
        let known = self.read();
        known
            .iter()
            .map(|(place, said)| (place.clone(), said.clone()))
            .collect()
    }

    /// Says `what` of a place, or takes back what was said; returns when that is on record as `kind`.
    pub(crate) async fn write(
        &self,
        place: &Place,
        kind: &str,
        what: Option<T>,
        by: Actor,
        reason: &str,
    ) -> Result<(), JournalError> {
        let at = clock::now();
        let body = Body {
            said: what.clone(),
            reason: reason.to_owned(),
        };
        let body = serde_json::to_value(body).unwrap_or_default();
        let stream = format!("{}/{}/{}", self.prefix, place.0, place.1);
        let event = NewEvent::new(stream, kind, at, by.clone(), body);
        self.journal.append(Expected::Any, vec![event]).await?;
        let said = what.map(|what| Said {
            what,
            by,
            reason: reason.to_owned(),
            at,
        });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(place.clone(), said);
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Place, Option<Said<T>>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place_of(prefix: &str, stream: &str) -> Option<Place> {
    let rest = stream.strip_prefix(prefix)?.strip_prefix('/')?;
    let (service, environment) = rest.split_once('/')?;
    Some((service.parse().ok()?, environment.parse().ok()?))
}

fn read<T: DeserializeOwned>(last: &StoredEvent) -> Option<Said<T>> {
    let body: Body<T> = serde_json::from_value(last.body.clone()).ok()?;
    Some(Said {
        what: body.said?,
        by: last.actor.clone(),
        reason: body.reason,
        at: last.at,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[tokio::test]
    async fn what_people_said_of_a_place_holds_after_a_restart_until_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().join("journal.db")).await.unwrap();
        let place = |service: &str| -> Place { (service.parse().unwrap(), "production".parse().unwrap()) };
        let (blocks, search, notes) = (place("blocks"), place("search"), place("notes"));
        let (anna, ben) = (Actor("anna".to_owned()), Actor("ben".to_owned()));
        let book = PlaceBook::open(journal.clone(), "scale").await.unwrap();
        let set = "scale.set";
        book.write(&blocks, set, Some(2_u32), ben.clone(), "")
            .await
            .unwrap();
        book.write(&blocks, set, Some(3_u32), anna.clone(), "a sale")
            .await
            .unwrap();
        book.write(&search, set, Some(4), ben.clone(), "").await.unwrap();
        book.write(&search, "scale.lifted", None, ben, "done")
            .await
            .unwrap();

        let again = PlaceBook::<u32>::open(journal, "scale").await.unwrap();
        let said = again.of(&blocks).unwrap();
        assert_eq!((said.what, said.by, said.reason), (3, anna, "a sale".to_owned()));
        assert_eq!((again.of(&search), again.of(&notes)), (None, None));
        assert_eq!(
            again.all().len(),
            2,
            "what was taken back may have to be put in force"
        );
    }

    #[test]
    fn a_journal_of_the_first_book_is_read() {
        let body: Body<u32> = serde_json::from_str(r#"{"closure": 7, "reason": "old"}"#).unwrap();
        assert_eq!(body.said, Some(7));
        let body: Body<u32> = serde_json::from_str(r#"{"closure": null, "reason": ""}"#).unwrap();
        assert_eq!(body.said, None);
    }
}
