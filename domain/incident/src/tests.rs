#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod golden;
mod search;
mod tables;
mod texts;

use trimtab_model::{Actor, Severity, Timestamp};

use crate::*;

fn at_rollout() -> Plan {
    Plan {
        incident: "incident-1".parse().unwrap(),
        service: "blocks".parse().unwrap(),
        environment: "production".parse().unwrap(),
        title: "errors on POST /blocks rose from 0.1 % to 12 %".to_owned(),
        class: Class::BadRelease,
        severity: Severity::Critical,
        suspect: Some("blocks-r2".parse().unwrap()),
        rollout: Some("rollout-4".parse().unwrap()),
        warm_previous: true,
        previous: Some("blocks-r1".parse().unwrap()),
        guard: Guard::Allowed,
        began_at: None,
        opened_at: Timestamp(1_700_000_000_000),
    }
}

fn long_after() -> Plan {
    Plan {
        rollout: None,
        warm_previous: false,
        ..at_rollout()
    }
}

fn of(severity: Severity) -> Plan {
    Plan {
        severity,
        ..long_after()
    }
}

fn later(state: &State) -> Timestamp {
    Timestamp(state.since.0 + 100)
}

fn anna() -> Actor {
    Actor("anna".to_owned())
}

fn outcomes() -> [Outcome; 2] {
    [
        Outcome::Done {
            detail: String::new(),
        },
        Outcome::Failed {
            reason: "no".to_owned(),
        },
    ]
}

/// The events that `effect` may be answered with, the good one first.
fn answers(effect: &Effect, at: Timestamp) -> Vec<Event> {
    let generation = effect.generation();
    let both = |make: &dyn Fn(Outcome) -> Event| outcomes().map(make).to_vec();
    match effect {
        Effect::Notify { what, .. } => vec![Event::Notified {
            at,
            what: *what,
            generation,
        }],
        Effect::Protect { .. } | Effect::ClearRollout { .. } => both(&|outcome| Event::ProtectionEnded {
            at,
            generation,
            outcome,
        }),
        Effect::CheckHealth { .. } => both(&|outcome| Event::HealthChecked {
            at,
            generation,
            outcome,
        }),
        Effect::Restart { .. } => both(&|outcome| Event::Restarted {
            at,
            generation,
            outcome,
        }),
        Effect::RollBack { .. } | Effect::StartPrevious { .. } => both(&|outcome| Event::RollbackEnded {
            at,
            generation,
            outcome,
        }),
        Effect::VerifyMetrics { .. } => both(&|outcome| Event::MetricsVerified {
            at,
            generation,
            outcome,
        }),
        Effect::ProposeFixes { .. } => both(&|outcome| Event::FixesProposed {
            at,
            generation,
            outcome,
        }),
        Effect::WatchMetrics { .. } => vec![Event::MetricsCleared {
            at,
            generation,
            detail: String::new(),
        }],
        Effect::ReportCauses { .. } => both(&|outcome| Event::CausesReported {
            at,
            generation,
            outcome,
        }),
        Effect::WritePostmortem { .. } => both(&|outcome| Event::PostmortemWritten {
            at,
            generation,
            outcome,
        }),
        Effect::Learn { .. } => both(&|outcome| Event::Learned {
            at,
            generation,
            outcome,
        }),
        Effect::Timer { name, at, .. } => vec![Event::TimerFired {
            at: *at,
            name: *name,
            generation,
        }],
    }
}

/// What people and detection may say at any time.
fn commands(at: Timestamp) -> Vec<Event> {
    let by = anna();
    vec![
        Event::Seen { at },
        Event::Escalated {
            at,
            severity: Severity::High,
            reason: "more users".to_owned(),
        },
        Event::Escalated {
            at,
            severity: Severity::Critical,
            reason: "most users".to_owned(),
        },
        Event::Acknowledged { at, by: by.clone() },
        Event::TakenOver { at, by: by.clone() },
        Event::FixApplied {
            at,
            by: by.clone(),
            what: "raised the limit".to_owned(),
        },
        Event::Resolved {
            at,
            by,
            reason: String::new(),
        },
    ]
}

fn is_timer(effect: &Effect) -> bool {
    matches!(effect, Effect::Timer { .. })
}

/// True for what changes the world of users.
fn is_action(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Protect { .. }
            | Effect::Restart { .. }
            | Effect::RollBack { .. }
            | Effect::StartPrevious { .. }
            | Effect::ClearRollout { .. }
    )
}
