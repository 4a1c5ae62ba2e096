//! A house to test in: control on a folder of its own, with everything around it.

mod inbox;
mod load;
mod place;
mod project;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use trimtab_control::clock;
use trimtab_control::control::{Control, Options};
use trimtab_control::world::{PRODUCTION, Repository, Together, World, environment};
use trimtab_model::{Actor, ServiceName};
use trimtab_pipeline::{End, Event, Phase, Stage, State};

pub(crate) use inbox::{EMAIL, Inbox, SLACK, SMS, WEBHOOK};
pub(crate) use load::{Load, Seen};
pub(crate) use place::{Place, git};
pub(crate) use project::{Project, SERVICE};
pub(crate) use server::{Server, kill};

/// Longest wait for anything: machines that run tests are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Control in this process, with real shims, proxy, steps and receivers.
pub(crate) struct House {
    pub(crate) world: Arc<World>,
    pub(crate) inbox: Inbox,
    control: Option<Control>,
    pub(crate) place: Place,
}

impl House {
    /// A house whose repository's `main` holds `project`.
    pub(crate) async fn start(project: &Project) -> House {
        let place = Place::make();
        place.commit(project, "Begin");
        House::at(place).await
    }

    /// A house at a place that has a repository.
    pub(crate) async fn at(place: Place) -> House {
        House::with(place, Vec::new(), Vec::new()).await
    }

    /// The same with further repositories, and services that are released together.
    pub(crate) async fn with(place: Place, more: Vec<Repository>, groups: Vec<Together>) -> House {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let inbox = Inbox::start().await;
        let control = Control::start(Options {
            dir: place.data(),
            program: env!("CARGO_BIN_EXE_trimtab").into(),
            link: "http://127.0.0.1:7700".to_owned(),
            otlp_grpc: "127.0.0.1:0".parse().unwrap(),
            otlp_http: "127.0.0.1:0".parse().unwrap(),
            traffic: place.traffic(),
            traffic_tls: None,
            acme: None,
            repositories: std::iter::once(Repository {
                service: service(),
                path: place.repository(),
                branch: "main".to_owned(),
            })
            .chain(more)
            .collect(),
            groups,
            receivers: inbox.receivers(),
            grants: trimtab_control::grants::Grants::default(),
            retention: Default::default(),
        })
        .await
        .unwrap();
        House {
            world: control.world.clone(),
            inbox,
            control: Some(control),
            place,
        }
    }

    /// Commits `project` to `main`; returns the commit.
    pub(crate) fn commit(&self, project: &Project, title: &str) -> String {
        self.place.commit(project, title)
    }

    /// Starts a run of what `main` points to; returns its id.
    pub(crate) async fn run(&self) -> String {
        let dev = Actor("dev".to_owned());
        trimtab_control::runs::start(&self.world, &service(), "main", &dev)
            .await
            .unwrap()
            .id
    }

    /// Runs `main` to its end.
    pub(crate) async fn ship(&self) -> State {
        let run = self.run().await;
        self.ended(&run).await
    }

    /// Runs `main` to its end, which must be good; returns the release.
    pub(crate) async fn deploy(&self) -> String {
        let state = self.ship().await;
        assert_eq!(state.end(), Some(&End::Deployed), "{}", state.describe());
        state.release.unwrap().to_string()
    }

    /// The state of a run when it has ended.
    pub(crate) async fn ended(&self, run: &str) -> State {
        until(&format!("the end of {run}"), || {
            let state = self.state(run);
            state.end().is_some().then_some(state)
        })
        .await
    }

    /// Waits until a run is at a stage; fails when it ends before.
    pub(crate) async fn at_stage(&self, run: &str, wanted: Stage) {
        until(&format!("{run} at {wanted}"), || {
            let state = self.state(run);
            assert!(state.end().is_none(), "{}", state.describe());
            matches!(state.phase, Phase::Working { stage, .. } if stage == wanted).then_some(())
        })
        .await;
    }

    /// A run's state.
    pub(crate) fn state(&self, run: &str) -> State {
        self.world.machines().runs.get(run).unwrap().state
    }

    /// Answers for `by` the question that a run asks.
    pub(crate) async fn answer(&self, run: &str, by: &str, yes: bool) {
        let (at, by, reason) = (clock::now(), Actor(by.to_owned()), "Tried it.".to_owned());
        let event = if yes {
            Event::Approved { at, by, reason }
        } else {
            Event::Rejected { at, by, reason }
        };
        self.world.machines().runs.send(run, event).await.unwrap();
    }

    /// The newest rollout of an environment.
    pub(crate) fn rollout(&self, of: &'static str) -> trimtab_rollout::State {
        let all = self.world.rollouts_of(&service(), &environment(of));
        all.last().unwrap().state.clone()
    }

    /// The release that serves an environment.
    pub(crate) fn stable(&self, of: &'static str) -> Option<String> {
        let stable = self.world.stable(&service(), &environment(of));
        stable.map(|release| release.to_string())
    }

    /// Ids of the instances that run in an environment.
    pub(crate) async fn instances(&self, of: &'static str) -> Vec<String> {
        let all = self.world.fleet.runtime().list().await.unwrap();
        all.into_iter()
            .filter(|instance| instance.environment == environment(of))
            .map(|instance| instance.id.to_string())
            .collect()
    }

    /// Users' requests to production, so many a second.
    pub(crate) fn load(&self, rate: u32) -> Load {
        Load::start(self.place.traffic(), rate, "/work")
    }

    /// The bodies of a stream's events in the journal, each with its kind and actor.
    pub(crate) async fn journal(&self, stream: &str) -> Vec<(String, String, serde_json::Value)> {
        let events = self.world.journal.read_stream(stream, 0).await.unwrap();
        events
            .into_iter()
            .map(|event| (event.kind, event.actor.0, event.body))
            .collect()
    }

    /// Stops everything that was started.
    pub(crate) async fn stop(mut self) {
        if let Some(control) = self.control.take() {
            control.stop_everything().await;
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // A test that failed: its place ends all processes next, and nothing may start them again.
        if let Some(control) = &self.control {
            control.abandon();
        }
    }
}

/// The service of the tests.
pub(crate) fn service() -> ServiceName {
    ServiceName::new(SERVICE).unwrap()
}

/// `Failed` at a stage, with the reason.
pub(crate) fn failure(state: &State) -> (Stage, String) {
    match state.end() {
        Some(End::Failed { stage, reason }) => (*stage, reason.clone()),
        other => panic!("did not fail but {other:?}"),
    }
}

/// The environment of users.
pub(crate) const USERS: &str = PRODUCTION;
