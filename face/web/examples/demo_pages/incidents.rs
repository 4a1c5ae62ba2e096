//! Incidents and what was sent about them.

use trimtab_api::*;
use trimtab_model::Severity;

use super::{HOSTILE, ago, timeline};

pub(crate) fn incidents() -> Vec<Incident> {
    let summary = |id: &str, title: &str, severity, class, state, text: &str, seconds, over: Option<i64>| {
        IncidentSummary {
            id: id.into(),
            title: title.into(),
            service: "blocks".into(),
            environment: "production".into(),
            severity,
            class,
            state,
            state_text: text.into(),
            release: over.map(|_| "blocks-r2".into()),
            rollout: over.map(|_| "rollout-3".into()),
            opened_at: ago(seconds),
            resolved_at: over.map(ago),
            acknowledged_by: None,
            silenced: over.is_none(),
        }
    };
    let cause = |rank, kind: &str, subject: &str, text: &str, figure: &str, confidence| Cause {
        rank,
        kind: kind.into(),
        subject: subject.into(),
        text: text.into(),
        figure: figure.into(),
        confidence: Some(confidence),
        link: Some("/explore/traces".into()),
    };
    let action = |seconds, text: &str, outcome: &str, succeeded| TakenAction {
        at: ago(seconds),
        text: text.into(),
        outcome: outcome.into(),
        succeeded,
        by: "trimtab".into(),
    };
    let postmortem = format!(
        "# Postmortem: errors after blocks-r2\n\n**Impact.** 23 requests of 19 users failed; 1.2 % of the error budget.\n\n## Timeline\n\n| time | what |\n|---|---|\n| 13:41:02 | blocks-r2 got 95 % of traffic |\n| 13:41:05 | error rate 14.2 % against 0.1 % |\n| 13:41:06 | traffic off blocks-r2 |\n\n## Causes\n\n1. `GET /blocks/search` fails when the prefix is empty\n2. span `index.scan` takes 1.9 s instead of 12 ms\n\n> {HOSTILE}\n\n- [x](javascript:alert(1)) follow up: warm the index\n- see [the rollout](/rollouts/rollout-3)\n"
    );
    vec![
        Incident {
            summary: summary(
                "incident-2",
                "Disk of the host fills in about 9 h",
                Severity::Medium,
                IncidentClass::ResourceExhaustion,
                IncidentState::Open,
                "Warning sent; waits for a fix",
                1_800,
                None,
            ),
            impact: Impact::default(),
            timeline: timeline(),
            causes: vec![cause(
                1,
                "resource",
                "/var/lib/trimtab",
                "grows by 2.1 GiB/h",
                "181 of 200 GiB",
                0.9,
            )],
            proposals: vec![Proposal {
                text: "Shorten the retention of logs to 7 days".into(),
                reason: "Logs are 74 % of the folder".into(),
                command: Some("trimtab config set retention.logs 7d".into()),
            }],
            actions: vec![],
            postmortem: None,
            learning: None,
            silences: vec![Silence {
                id: "silence-1".into(),
                of: SilenceOf::default(),
                author: "ada".into(),
                reason: "disk is on order".into(),
                from: ago(100),
                until: ago(-3_600),
            }],
        },
        Incident {
            summary: summary(
                "incident-1",
                "Errors after blocks-r2 took traffic",
                Severity::Critical,
                IncidentClass::BadRelease,
                IncidentState::Resolved,
                "Rolled back by itself in 41 s; metrics verified",
                605,
                Some(520),
            ),
            impact: Impact {
                requests_failed: Some(23),
                users: Some(19),
                budget_percent: Some(1.2),
                duration_ms: Some(3_900),
            },
            timeline: timeline(),
            causes: vec![
                cause(
                    1,
                    "release",
                    "blocks-r2",
                    "The error rate rose with this release and fell without it",
                    "14.2 % errors against 0.1 %",
                    0.97,
                ),
                cause(
                    2,
                    "endpoint",
                    "GET /blocks/search",
                    "Nearly all errors are here",
                    "22 of 23 errors",
                    0.93,
                ),
                cause(
                    3,
                    "log template",
                    HOSTILE,
                    "New with blocks-r2",
                    "212 lines, never before",
                    0.88,
                ),
                cause(
                    4,
                    "span",
                    "index.scan",
                    "Slower than in blocks-r1",
                    "1.9 s against 12 ms (p95)",
                    0.71,
                ),
            ],
            proposals: vec![],
            actions: vec![
                action(
                    604,
                    "Took traffic off blocks-r2",
                    "acknowledged in 40 ms",
                    Some(true),
                ),
                action(
                    600,
                    "Health check",
                    "green, but mirrored requests fail",
                    Some(false),
                ),
                action(
                    590,
                    "Restarted off-traffic",
                    "still unhealthy: 6 of 20 mirrored requests failed",
                    Some(false),
                ),
                action(
                    570,
                    "Rolled back to blocks-r1 and quarantined blocks-r2",
                    "metrics are back to normal",
                    Some(true),
                ),
            ],
            postmortem: Some(postmortem),
            learning: Some(LearningChange {
                accepted: true,
                text: "More weight on large error lifts; the new template is a known bad sign.".into(),
                changes: vec![("weight of lift ×20".into(), "0.12".into(), "0.21".into())],
                found_before: Some(18),
                found_after: Some(20),
                episodes: Some(20),
                delay_before_ms: Some(1_410.0),
                delay_after_ms: Some(890.0),
                false_alarms_before: Some(0),
                false_alarms_after: Some(0),
            }),
            silences: vec![],
        },
    ]
}

pub(crate) fn deliveries() -> Vec<Delivery> {
    let delivery =
        |id: &str, channel: &str, receiver: &str, title: &str, state, error: Option<&str>| Delivery {
            id: id.into(),
            channel: channel.into(),
            receiver: receiver.into(),
            severity: Some(Severity::Critical),
            title: title.into(),
            state,
            attempts: if error.is_some() { 8 } else { 1 },
            last_error: error.map(Into::into),
            created_at: ago(604),
            delivered_at: None,
            next_attempt_at: None,
            link: Some("/incidents/incident-1".into()),
        };
    vec![
        delivery(
            "message-3",
            "slack",
            "hooks.slack.com",
            "Critical: errors after blocks-r2",
            DeliveryState::Delivered,
            None,
        ),
        delivery(
            "message-2",
            "email",
            "team@example.org",
            "Critical: errors after blocks-r2",
            DeliveryState::Delivered,
            None,
        ),
        delivery(
            "message-1",
            "sms",
            "+7 *** 12",
            "Critical: errors after blocks-r2",
            DeliveryState::Dead,
            Some("HTTP 401: authenticate"),
        ),
    ]
}
