//! Entrances that people hold or close: journaled with who and why, in force again after a restart, and a
//! hold that nobody ended ends by itself.
//!
//! A stream `entrance/<service>/<environment>` has `entrance.held`, `entrance.closed` and
//! `entrance.opened`; its last event is what holds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use trimtab_journal::{Journal, JournalError};
use trimtab_model::{Actor, EnvironmentName, ServiceName, Timestamp};
use trimtab_proxy::Maintenance;

use crate::clock;
use crate::place_book::{Place, PlaceBook, Said};
use crate::world::World;

/// Longest hold: clients give up sooner than that.
pub const HOLD_SECONDS_MAX: u32 = 120;
/// A hold when nobody says for how long.
pub const HOLD_SECONDS: u32 = 30;
/// Longest page of a closed service.
pub const PAGE_BYTES_MAX: usize = 64 * 1024;
/// Between two tries to put in force what holds.
const AGAIN: Duration = Duration::from_secs(1);

const HELD: &str = "entrance.held";
const CLOSED: &str = "entrance.closed";
const OPENED: &str = "entrance.opened";

/// What users meet instead of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Closure {
    /// Requests wait.
    Held {
        /// When it opens by itself.
        until: Timestamp,
        /// How long a request waits at most.
        wait_ms: u64,
    },
    /// A page says that it is closed.
    Closed {
        /// The page, HTML.
        page: String,
        /// After how many seconds clients may ask again.
        retry_after_s: u32,
    },
}

impl Closure {
    /// What the proxy does about it: paused and for how long, or the page.
    fn policy(&self) -> (Option<u64>, Option<Maintenance>) {
        match self {
            Closure::Held { wait_ms, .. } => (Some(*wait_ms), None),
            Closure::Closed { page, retry_after_s } => {
                let page = page.clone();
                let retry_after_s = *retry_after_s;
                (None, Some(Maintenance { page, retry_after_s }))
            }
        }
    }
}

/// The closures in force.
pub struct Closures {
    book: PlaceBook<Closure>,
    changed: Notify,
}

impl Closures {
    /// Reads what holds from the journal.
    pub async fn open(journal: Journal) -> Result<Self, JournalError> {
        Ok(Self {
            book: PlaceBook::open(journal, "entrance").await?,
            changed: Notify::new(),
        })
    }

    /// What holds at an entrance; none when it is open.
    pub fn of(&self, service: &ServiceName, environment: &EnvironmentName) -> Option<Said<Closure>> {
        self.book.of(&(service.clone(), environment.clone()))
    }

    async fn write(
        &self,
        place: &Place,
        closure: Option<Closure>,
        by: Actor,
        reason: &str,
    ) -> Result<(), JournalError> {
        let kind = match &closure {
            Some(Closure::Held { .. }) => HELD,
            Some(Closure::Closed { .. }) => CLOSED,
            None => OPENED,
        };
        self.book.write(place, kind, closure, by, reason).await
    }
}

/// Makes `closure` of an entrance, or opens it; returns when the proxy has it in force.
pub async fn set(
    world: &World,
    service: &ServiceName,
    environment: &EnvironmentName,
    closure: Option<Closure>,
    by: Actor,
    reason: &str,
) -> Result<(), String> {
    let place = (service.clone(), environment.clone());
    let written = world.closures.write(&place, closure, by, reason).await;
    written.map_err(|error| error.to_string())?;
    let put = enforce(world, &place).await;
    world.closures.changed.notify_one();
    put
}

/// Puts in force what the journal says of one entrance.
async fn enforce(world: &World, place: &Place) -> Result<(), String> {
    let (service, environment) = place;
    let holds = world.closures.of(service, environment);
    let (wait_ms, maintenance) = holds.map_or((None, None), |said| said.what.policy());
    // An open entrance holds requests as its own project wants.
    let usual_ms = world
        .stable(service, environment)
        .and_then(|release| world.release(&release).ok())
        .map_or(0, |(_, project)| project.production.route.hold.as_millis());
    let regulated = world
        .traffic
        .regulate(service, environment, wait_ms, usual_ms, maintenance);
    regulated.await.map_err(|error| error.to_string())
}

/// Puts in force what holds, and opens what was held for its whole time. Never ends.
pub(crate) async fn keep(world: Arc<World>) {
    let mut failed = false;
    loop {
        let said = world.closures.book.all().into_iter();
        let mut places: BTreeSet<Place> = said.filter_map(|(place, said)| said.map(|_| place)).collect();
        // Also what is closed still though people opened it: a crash came between the word and the deed.
        for route in world.traffic.table().await.routes {
            if route.policy.paused || route.policy.maintenance.is_some() {
                places.insert((route.service, route.environment));
            }
        }
        for place in &places {
            if let Err(error) = tend(&world, place).await {
                tracing::warn!(service = %place.0, environment = %place.1, %error, "failed to put in force what people made of an entrance");
                failed = true;
            }
        }
        let next = next_end(&world);
        let wait = match next {
            _ if failed => AGAIN,
            Some(until) => until.since(clock::now()),
            None => Duration::MAX,
        };
        failed = false;
        tokio::select! {
            () = world.closures.changed.notified() => {}
            () = tokio::time::sleep(wait.min(Duration::from_secs(3600))) => {}
        }
    }
}

fn next_end(world: &World) -> Option<Timestamp> {
    let known = world.closures.book.all().into_iter();
    let ends = known.filter_map(|(_, said)| match said?.what {
        Closure::Held { until, .. } => Some(until),
        Closure::Closed { .. } => None,
    });
    ends.min()
}

async fn tend(world: &World, place: &Place) -> Result<(), String> {
    let closing = world.closures.of(&place.0, &place.1);
    let over =
        closing.is_some_and(|said| matches!(said.what, Closure::Held { until, .. } if until <= clock::now()));
    if over {
        let why = "the time of the hold is over";
        let written = world.closures.write(place, None, Actor::trimtab(), why).await;
        written.map_err(|error| error.to_string())?;
    }
    enforce(world, place).await
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[tokio::test]
    async fn what_people_closed_is_closed_after_a_restart_and_says_who_and_why() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().join("journal.db")).await.unwrap();
        let place = |service: &str| -> Place { (service.parse().unwrap(), "production".parse().unwrap()) };
        let (anna, ben) = (Actor("anna".to_owned()), Actor("ben".to_owned()));
        let closed = Closure::Closed {
            page: "<p>Back soon".to_owned(),
            retry_after_s: 60,
        };
        let held = Closure::Held {
            until: Timestamp(90),
            wait_ms: 30_000,
        };
        let closures = Closures::open(journal.clone()).await.unwrap();
        let (blocks, search) = (place("blocks"), place("search"));
        closures
            .write(&blocks, Some(closed.clone()), anna.clone(), "moving house")
            .await
            .unwrap();
        closures
            .write(&search, Some(held), ben.clone(), "")
            .await
            .unwrap();
        closures.write(&search, None, ben, "done").await.unwrap();

        let again = Closures::open(journal).await.unwrap();
        let holds = again.of(&blocks.0, &blocks.1).unwrap();
        assert_eq!((holds.what, holds.by), (closed, anna));
        assert_eq!(holds.reason, "moving house");
        assert_eq!(again.of(&search.0, &search.1), None);
    }

    #[test]
    fn a_hold_makes_requests_wait_and_a_closure_shows_its_page() {
        let held = Closure::Held {
            until: Timestamp(90),
            wait_ms: 30_000,
        };
        assert_eq!(held.policy(), (Some(30_000), None));
        let closed = Closure::Closed {
            page: "<p>Back soon".to_owned(),
            retry_after_s: 60,
        };
        let (wait_ms, page) = closed.policy();
        assert_eq!((wait_ms, page.unwrap().retry_after_s), (None, 60));
    }
}
