//! Control as it is: [`Host`] over a journal on disk, its effects in the hands of the simulator.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use trimtab_control::host::Host;
use trimtab_control::machine::{Hands, Machine, Outcome};
use trimtab_control::machines::Rollouts;
use trimtab_journal::Journal;
use trimtab_model::Actor;
use trimtab_rollout::{Effect, Event, Plan, State};

use crate::control::Control;

/// Turns that a host may take over one event.
const TURNS_MAX: u32 = 50_000_000;

thread_local! {
    /// How often a host on this thread has asked what is owed: it does so last of all after each event.
    static RECONCILED: Cell<u64> = const { Cell::new(0) };
}

/// Rollouts, which tell when their host is at rest.
struct Watched;

impl Machine for Watched {
    const STREAM: &'static str = Rollouts::STREAM;
    type Plan = Plan;
    type State = State;
    type Event = Event;
    type Effect = Effect;

    fn start(plan: &Plan) -> State {
        Rollouts::start(plan)
    }
    fn step(plan: &Plan, state: State, event: Event) -> State {
        Rollouts::step(plan, state, event)
    }
    fn pending(plan: &Plan, state: &State) -> Vec<Effect> {
        RECONCILED.set(RECONCILED.get() + 1);
        Rollouts::pending(plan, state)
    }
    fn ended(state: &State) -> bool {
        Rollouts::ended(state)
    }
    fn actor(event: &Event) -> Option<String> {
        Rollouts::actor(event)
    }
}

/// Effects that were begun, each with the way to end it.
type Begun = Arc<Mutex<Vec<(Effect, oneshot::Sender<Event>)>>>;

struct Recorder(Begun);

impl Hands<Watched> for Recorder {
    fn carry_out(&self, _: &str, _: &Plan, _: &State, effect: Effect) -> Outcome<Event> {
        let (report, reported) = oneshot::channel();
        self.0.lock().unwrap().push((effect, report));
        Box::pin(async move {
            match reported.await {
                Ok(event) => event,
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn retry_pause(&self) -> Duration {
        Duration::ZERO
    }
}

/// One life of a control process.
struct Life {
    runtime: Runtime,
    host: Arc<Host<Watched>>,
    begun: Begun,
}

/// The real control, which can be killed.
pub(crate) struct Hosted {
    life: Option<Life>,
    /// Effects that are carried out, in this life.
    running: Vec<(Effect, oneshot::Sender<Event>)>,
    id: String,
    journal: PathBuf,
    _folder: tempfile::TempDir,
}

impl Hosted {
    pub(crate) fn new(plan: &Plan) -> Hosted {
        // In memory where there is such a folder: what is tested is not the disk.
        let shared = Path::new("/dev/shm");
        let folder = if shared.is_dir() {
            tempfile::tempdir_in(shared)
        } else {
            tempfile::tempdir()
        };
        let folder = folder.unwrap();
        let journal = folder.path().join("journal.db");
        let life = begin(&journal);
        let seen = RECONCILED.get();
        let host = Arc::clone(&life.host);
        let plan = plan.clone();
        let made = life.runtime.block_on(async move {
            let made = host.create(&Actor::trimtab(), |_| plan).await.unwrap();
            rest(seen + 1).await.unwrap();
            made
        });
        Hosted {
            life: Some(life),
            running: Vec::new(),
            id: made.id,
            journal,
            _folder: folder,
        }
    }

    fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }

    fn state(&self) -> State {
        self.life().host.get(&self.id).unwrap().state
    }

    /// The report of an effect that is carried out; none if it is not.
    fn take(&mut self, effect: &Effect) -> Result<oneshot::Sender<Event>, String> {
        let at = self.running.iter().position(|(known, _)| known == effect);
        at.map(|at| self.running.swap_remove(at).1)
            .ok_or_else(|| format!("not carried out: {effect:?}"))
    }

    fn begin_again(&mut self) -> State {
        self.running.clear();
        self.life = None;
        let seen = RECONCILED.get();
        let life = begin(&self.journal);
        life.runtime.block_on(rest(seen + 1)).unwrap();
        self.life = Some(life);
        self.state()
    }
}

fn begin(journal: &Path) -> Life {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let begun = Begun::default();
    let hands = Arc::new(Recorder(Arc::clone(&begun)));
    let host = runtime.block_on(async {
        let journal = Journal::open(journal).await.unwrap();
        let host = Host::open(journal).await.unwrap();
        host.resume(hands);
        host
    });
    Life { runtime, host, begun }
}

/// Lets the host work until it has asked what is owed so many times in all.
async fn rest(reconciled: u64) -> Result<(), String> {
    for _ in 0..TURNS_MAX {
        if RECONCILED.get() >= reconciled {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
    Err("the host does not come to rest".to_owned())
}

impl Control for Hosted {
    fn begun(&mut self, owed: &BTreeSet<Effect>) -> Vec<Effect> {
        let begun = std::mem::take(&mut *self.life().begun.lock().unwrap());
        // What is no longer owed was dropped by the host, or will be at once.
        self.running.retain(|(effect, _)| owed.contains(effect));
        let names = begun.iter().map(|(effect, _)| effect.clone()).collect();
        self.running.extend(begun);
        names
    }

    fn answer(&mut self, effect: &Effect, event: Event) -> Result<State, String> {
        let seen = RECONCILED.get();
        if self.take(effect)?.send(event).is_err() {
            return Err(format!("dropped while it was owed: {effect:?}"));
        }
        self.life().runtime.block_on(rest(seen + 1))?;
        Ok(self.state())
    }

    fn say(&mut self, event: Event) -> Result<State, String> {
        let seen = RECONCILED.get();
        let life = self.life();
        let stands = life.runtime.block_on(async {
            let stands = life.host.send(&self.id, event).await;
            rest(seen + 1).await?;
            stands.map_err(|error| error.to_string())
        })?;
        Ok(stands.state)
    }

    fn crash(&mut self) -> Result<State, String> {
        Ok(self.begin_again())
    }

    fn crash_amid(&mut self, effect: &Effect, event: Event, when: u64) -> Result<State, String> {
        // The host dies with it, so that nobody minds whether it listens.
        let _ = self.take(effect)?.send(event);
        self.life().runtime.block_on(async {
            for _ in 0..when {
                tokio::task::yield_now().await;
            }
        });
        Ok(self.begin_again())
    }
}
