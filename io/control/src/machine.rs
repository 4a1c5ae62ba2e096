//! What a machine is to the shell that runs it.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Wait before an effect that ended without settling anything is carried out again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A pure state machine of the domain (pipeline run, rollout, incident) as the [`crate::host::Host`]
/// runs it.
pub trait Machine: Send + Sync + 'static {
    /// Name of its journal streams (`<STREAM>/<id>`) and prefix of its event kinds.
    const STREAM: &'static str;
    /// What was decided when the machine was made; never changes.
    type Plan: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// Where it stands.
    type State: Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync + 'static;
    /// What happened.
    type Event: Serialize + DeserializeOwned + Clone + Debug + Send + 'static;
    /// What is owed.
    type Effect: Clone + Ord + Debug + Send + Sync + 'static;

    /// The state before any event.
    fn start(plan: &Self::Plan) -> Self::State;
    /// The state after `event`.
    fn step(plan: &Self::Plan, state: Self::State, event: Self::Event) -> Self::State;
    /// Everything that is owed in `state`.
    fn pending(plan: &Self::Plan, state: &Self::State) -> Vec<Self::Effect>;
    /// Whether nothing more can happen.
    fn ended(state: &Self::State) -> bool;
    /// The person who caused `event`, if a person did.
    fn actor(event: &Self::Event) -> Option<String>;
}

/// The future of an effect; it ends with the event that reports the effect done.
pub type Outcome<E> = Pin<Box<dyn Future<Output = E> + Send>>;

/// Carries out a machine's effects.
pub trait Hands<M: Machine>: Send + Sync + 'static {
    /// Starts `effect` of the machine `id`. It may be dropped at any await when the effect is no
    /// longer owed, and it may be started again after a crash: carrying it out twice does no harm.
    fn carry_out(&self, id: &str, plan: &M::Plan, state: &M::State, effect: M::Effect) -> Outcome<M::Event>;

    /// How long an effect that ended without settling anything waits before it is carried out again.
    fn retry_pause(&self) -> Duration {
        RETRY_PAUSE
    }
}
