//! What a team is told of a rollout.

use trimtab_model::{ReleaseId, Severity};
use trimtab_notify::Channel;
use trimtab_rollout::Notice;

use crate::rollout_hands::Work;

impl Work {
    pub(crate) async fn notify(&self, what: Notice) {
        let place = crate::fleet::place(&self.plan.service, &self.plan.environment);
        let candidate = &self.plan.candidate;
        let (title, severity) = words(what, &place, candidate);
        let key = format!("{}/{what:?}/{}", self.id, self.state.generation.0);
        let words = (title, self.told(what));
        let channels = [Channel::Slack, Channel::Email, Channel::Webhook];
        self.world
            .tell(
                &key,
                &channels,
                severity,
                words,
                &format!("/rollouts/{}", self.id),
            )
            .await;
        if let Err(error) = self.world.evidence.save() {
            tracing::warn!(rollout = self.id, %error, "failed to keep a rollout's recording");
        }
    }
}

impl Work {
    /// The body of a notice: where the rollout stands, and what it is about.
    fn told(&self, what: Notice) -> String {
        let about = match what {
            Notice::Inconclusive => self.state.unproven.as_ref(),
            Notice::WouldRollBack => self.state.reported.as_ref(),
            Notice::HookFailed => self.state.hook_failure.as_ref(),
            _ => None,
        };
        let stands = self.state.describe();
        about.map_or_else(|| stands.clone(), |about| format!("{about} ({stands})"))
    }
}

/// The title of a notice, and how much it matters.
fn words(what: Notice, place: &str, candidate: &ReleaseId) -> (String, Severity) {
    match what {
        Notice::Asked => (
            format!("{place}: {candidate} waits for your decision"),
            Severity::Medium,
        ),
        Notice::Approval => (
            format!("{place}: {candidate} waits for your approval"),
            Severity::Medium,
        ),
        Notice::Inconclusive => (
            format!("{place}: {candidate} goes on without a verdict"),
            Severity::Medium,
        ),
        Notice::WouldRollBack => (
            format!("{place}: {candidate} would have been rolled back"),
            Severity::High,
        ),
        Notice::HookFailed => (
            format!("{place}: a hook of {candidate} failed after the fact"),
            Severity::High,
        ),
        Notice::CannotRollBack => (
            format!("{place}: there is no way back from {candidate}"),
            Severity::High,
        ),
        Notice::Stuck => (
            format!("{place}: the way back from {candidate} is stuck"),
            Severity::High,
        ),
        Notice::Deployed => (format!("{place}: {candidate} is deployed"), Severity::Low),
        Notice::RolledBack => (format!("{place}: {candidate} was rolled back"), Severity::High),
        Notice::FlagDisabled => (
            format!("{place}: the flag of {candidate} was disabled"),
            Severity::High,
        ),
        Notice::Failed => (
            format!("{place}: {candidate} failed before it had traffic"),
            Severity::High,
        ),
    }
}
