//! States: always a colour, an icon and a word together.

use maud::{Markup, html};
use trimtab_api as api;
use trimtab_api::{
    CheckState, DeliveryState, FigureState, HealthStatus, IncidentClass, IncidentState, InstanceState,
    MergeRequestState, ReleaseState, RolloutState, RunState, StageState, VerdictDecision,
};
use trimtab_model::Severity;

use crate::text::{Language, Text, say};

/// What a state means to whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Warning,
    Critical,
    /// Under way.
    Active,
    /// Waits for a person.
    Waiting,
    /// Nothing to care about.
    Quiet,
}

impl Tone {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Warning => "warning",
            Tone::Critical => "critical",
            Tone::Active => "active",
            Tone::Waiting => "waiting",
            Tone::Quiet => "quiet",
        }
    }

    pub(crate) fn of_health(status: HealthStatus) -> Self {
        match status {
            HealthStatus::Unknown => Tone::Quiet,
            HealthStatus::Healthy => Tone::Good,
            HealthStatus::Degraded => Tone::Warning,
            HealthStatus::Critical => Tone::Critical,
        }
    }

    /// By the tone of a timeline's entry.
    pub(crate) fn of_text(tone: &str) -> Self {
        match tone {
            "good" => Tone::Good,
            "warning" => Tone::Warning,
            "critical" => Tone::Critical,
            _ => Tone::Quiet,
        }
    }

    pub(crate) fn icon(self) -> &'static str {
        match self {
            Tone::Good => "check",
            Tone::Warning => "triangle",
            Tone::Critical => "octagon",
            Tone::Active => "half",
            Tone::Waiting => "hand",
            Tone::Quiet => "dash",
        }
    }
}

/// An icon of the set, drawn in the text's colour and unseen by screen readers.
pub(crate) fn icon(name: &str) -> Markup {
    html! { svg.icon aria-hidden="true" viewBox="0 0 20 20" { path d=(shape(name)) {} } }
}

/// The path of an icon in a box of 20 by 20.
pub(crate) fn shape(name: &str) -> &'static str {
    match name {
        "check" => "M10 2a8 8 0 1 0 0 16 8 8 0 0 0 0-16M6.4 10.2l2.6 2.6 4.8-5.4",
        "triangle" => "M10 3l8 14H2zM10 8.2v4M10 14.4v.2",
        "octagon" => "M6.7 2h6.6L18 6.7v6.6L13.3 18H6.7L2 13.3V6.7zM7.4 7.4l5.2 5.2M12.6 7.4l-5.2 5.2",
        "half" => "M10 2a8 8 0 1 0 0 16 8 8 0 0 0 0-16M10 5.4v4.8l3.2 2",
        "hand" => "M10 2a8 8 0 1 0 0 16 8 8 0 0 0 0-16M8 7v6M12 7v6",
        "dash" => "M10 2a8 8 0 1 0 0 16 8 8 0 0 0 0-16M7 10h6",
        "gauge" => "M3 14a7.5 7.5 0 1 1 14 0M10 12.6l3.6-4.8",
        "flow" => "M3 5h4v4H3zM13 11h4v4h-4zM7 7h4c1 0 2 .8 2 2v4",
        "box" => "M3 6.4L10 3l7 3.4v7.2L10 17l-7-3.4zM3 6.4l7 3.4 7-3.4M10 9.8V17",
        "bell" => "M5 14V9a5 5 0 0 1 10 0v5l1.4 1.4H3.6zM8.6 17.4h2.8",
        "clock" => "M10 2.6a7.4 7.4 0 1 0 0 14.8 7.4 7.4 0 0 0 0-14.8M10 6v4.2l2.8 1.8",
        "lines" => "M3 5h14M3 10h10M3 15h12",
        "chart" => "M3 3v14h14M6 13l3.4-4 2.8 2.4L16.6 6",
        "bars" => "M3 5h8M6 10h8M9 15h8",
        "server" => "M3 4h14v5H3zM3 11h14v5H3zM6 6.5h.2M6 13.5h.2",
        "flag" => "M5 18V3M5 4h10l-2.4 3.6L15 11H5",
        "send" => "M3 10l14-7-5 14-2.6-5.4z",
        "cog" => {
            "M10 7.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6M10 2.6v2.2M10 15.2v2.2M2.6 10h2.2M15.2 10h2.2M4.8 4.8l1.6 1.6M13.6 13.6l1.6 1.6M15.2 4.8l-1.6 1.6M6.4 13.6l-1.6 1.6"
        }
        "contrast" => "M10 2.6a7.4 7.4 0 1 0 0 14.8zM10 2.6a7.4 7.4 0 0 1 0 14.8",
        "arrow" => "M3 10h13M11.6 5.4L16.4 10l-4.8 4.6",
        _ => "M10 9.9v.2",
    }
}

/// A state as a badge.
pub(crate) fn badge(tone: Tone, word: &str) -> Markup {
    html! { span class={ "badge tone-" (tone.as_str()) } { (icon(tone.icon())) (word) } }
}

/// A state's icon alone, its word for screen readers and as a tip.
pub(crate) fn dot(tone: Tone, word: &str) -> Markup {
    html! { span class={ "dot tone-" (tone.as_str()) } title=(word) { (icon(tone.icon())) span.unseen { (word) } } }
}

/// A state with its tone and word.
pub(crate) trait State: Copy {
    fn tone_and_word(self) -> (Tone, Text);

    fn badge(self, language: Language) -> Markup {
        let (tone, word) = self.tone_and_word();
        badge(tone, language.say(word))
    }

    fn dot(self, language: Language) -> Markup {
        let (tone, word) = self.tone_and_word();
        dot(tone, language.say(word))
    }
}

macro_rules! states {
    ($($kind:ty { $($variant:ident => $tone:ident $word:ident),* $(,)? })*) => {
        $(impl State for $kind {
            fn tone_and_word(self) -> (Tone, Text) {
                match self { $(<$kind>::$variant => (Tone::$tone, say::$word)),* }
            }
        })*
    };
}

states! {
    HealthStatus { Unknown => Quiet UNKNOWN, Healthy => Good HEALTHY, Degraded => Warning DEGRADED, Critical => Critical CRITICAL }
    RunState { Queued => Quiet QUEUED, Running => Active RUNNING, Waiting => Waiting WAITING, Deployed => Good DEPLOYED,
        Failed => Critical FAILED, Cancelled => Quiet CANCELLED }
    StageState { Pending => Quiet PENDING, Running => Active RUNNING, Waiting => Waiting WAITING, Passed => Good PASSED,
        Failed => Critical FAILED, Skipped => Quiet SKIPPED, Cancelled => Quiet CANCELLED, RolledBack => Warning ROLLED_BACK }
    RolloutState { Preparing => Active PREPARING, Watching => Active WATCHING, Paused => Waiting PAUSED,
        Protected => Critical PROTECTED, Completing => Active COMPLETING, RollingBack => Warning ROLLING_BACK,
        Deployed => Good DEPLOYED, RolledBack => Warning ROLLED_BACK, Failed => Critical FAILED }
    IncidentState { Acting => Active ACTING, Open => Warning OPEN, Acknowledged => Waiting ACKNOWLEDGED,
        TakenOver => Waiting TAKEN_OVER, Verifying => Active VERIFYING, WritingUp => Active WRITING_UP, Resolved => Good RESOLVED }
    IncidentClass { BadRelease => Quiet BAD_RELEASE, ResourceExhaustion => Quiet RESOURCE_EXHAUSTION,
        DependencyFailure => Quiet DEPENDENCY_FAILURE, TrafficSurge => Quiet TRAFFIC_SURGE,
        ConfigurationChange => Quiet CONFIGURATION_CHANGE, DataOrInfrastructure => Quiet DATA_OR_INFRASTRUCTURE,
        Unknown => Quiet CLASS_UNKNOWN }
    ReleaseState { Built => Quiet BUILT, Staging => Active STAGING, RollingOut => Active ROLLING_OUT, Live => Good RELEASE_LIVE,
        Retired => Quiet RETIRED, Quarantined => Critical QUARANTINED }
    InstanceState { Starting => Active STARTING, Running => Good RUNNING, BackOff => Warning BACK_OFF,
        Exited => Critical EXITED, Stopped => Quiet STOPPED, Unknown => Warning STATE_UNKNOWN }
    DeliveryState { Pending => Active PENDING, Delivered => Good DELIVERED, Dead => Critical DEAD }
    VerdictDecision { Collecting => Active COLLECTING, Healthy => Good VERDICT_HEALTHY, Regressed => Critical REGRESSED,
        Inconclusive => Warning INCONCLUSIVE }
    FigureState { NoData => Quiet NO_DATA, Neutral => Quiet FIGURE_GOOD, Good => Good FIGURE_GOOD,
        Warning => Warning FIGURE_WARNING, Critical => Critical FIGURE_CRITICAL }
    CheckState { Ok => Good CHECK_OK, Warning => Warning CHECK_WARNING, Failed => Critical FAILED }
    MergeRequestState { Open => Active MR_OPEN, Merged => Good MR_MERGED, Closed => Quiet MR_CLOSED }
    Severity { Low => Quiet SEVERITY_LOW, Medium => Warning SEVERITY_MEDIUM, High => Warning SEVERITY_HIGH, Critical => Critical SEVERITY_CRITICAL }
}

/// The word for a strategy, as in configuration.
pub(crate) fn strategy(strategy: api::Strategy) -> &'static str {
    strategy.as_str()
}
