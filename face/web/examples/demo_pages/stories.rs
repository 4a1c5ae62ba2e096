//! The story of three releases: a good one, a bad one that was thrown out, and one on its way. Some
//! texts are hostile on purpose: whatever services say must be shown as text.

mod code;
mod incidents;
pub(crate) mod rollouts;
mod signals;

use trimtab_api::*;
use trimtab_model::Role;

pub(crate) use self::code::{approvals, merge_requests, releases, run_log, runs};
pub(crate) use self::incidents::{deliveries, incidents};
pub(crate) use self::rollouts::rollouts;
pub(crate) use self::signals::{log_lines, spans, trace};
use crate::backend::now;

/// What a hostile service would like to run.
pub(crate) const HOSTILE: &str = "<script>alert('x')</script><img src=x onerror=alert(1)>";

fn ago(seconds: i64) -> Moment {
    Moment::from_millis(now().millis() - seconds * 1000)
}

fn entry(
    seconds: i64,
    kind: TimelineKind,
    tone: &str,
    text: &str,
    detail: &str,
    actor: &str,
    link: &str,
) -> TimelineEntry {
    TimelineEntry {
        at: ago(seconds),
        kind,
        tone: tone.into(),
        text: text.into(),
        detail: detail.into(),
        actor: actor.into(),
        service: Some("blocks".into()),
        link: (!link.is_empty()).then(|| link.into()),
        position: Some(1000 - seconds.unsigned_abs()),
    }
}

pub(crate) fn timeline() -> Vec<TimelineEntry> {
    use TimelineKind as K;
    vec![
        entry(
            62,
            K::Traffic,
            "info",
            "95 % of traffic moved to blocks-r3",
            "holdback 5 % stays on blocks-r1",
            "trimtab",
            "/rollouts/rollout-4",
        ),
        entry(
            75,
            K::Rollout,
            "good",
            "blocks-r3 is healthy and was tested off-traffic",
            "",
            "trimtab",
            "/rollouts/rollout-4",
        ),
        entry(
            150,
            K::Approval,
            "good",
            "run-3 approved",
            "looks good on staging",
            "qa",
            "/runs/run-3",
        ),
        entry(
            420,
            K::Learning,
            "good",
            "Learnt from incident-1: 20 of 20 variants found, no more false alarms",
            "",
            "trimtab",
            "/incidents/incident-1",
        ),
        entry(
            560,
            K::Notification,
            "info",
            "Told the team by email and Slack: rolled back",
            "",
            "trimtab",
            "/notifications",
        ),
        entry(
            590,
            K::Action,
            "warning",
            "Restarted blocks-r2-production-1 off-traffic: still unhealthy",
            "6 of 20 mirrored requests failed",
            "trimtab",
            "/incidents/incident-1",
        ),
        entry(
            604,
            K::Traffic,
            "critical",
            "Traffic taken off blocks-r2",
            "0.9 s after the anomaly",
            "trimtab",
            "/rollouts/rollout-3",
        ),
        entry(
            605,
            K::Anomaly,
            "critical",
            "Error rate of blocks-r2 is 14.2 % against 0.1 %",
            "e-value 4,812, decides at 100",
            "trimtab",
            "/incidents/incident-1",
        ),
        entry(
            900,
            K::Code,
            "info",
            HOSTILE,
            "a commit's title",
            "mallory",
            "javascript:alert(1)",
        ),
    ]
}

pub(crate) fn tokens() -> Vec<Token> {
    [
        ("token-1", "qa", Role::Approver),
        ("token-2", "forge", Role::Developer),
    ]
    .map(|(id, name, role)| Token {
        id: id.into(),
        name: name.into(),
        role,
        created_at: ago(86_000),
        created_by: "admin".into(),
        expires_at: None,
        last_used_at: Some(ago(60)),
    })
    .to_vec()
}

pub(crate) fn doctor() -> Doctor {
    let check = |name: &str, state, text: &str, mend: &str| Check {
        name: name.into(),
        state,
        text: text.into(),
        mend: mend.into(),
    };
    Doctor {
        checks: vec![
            check("journal", CheckState::Ok, "1,204 events, intact", ""),
            check(
                "disk",
                CheckState::Warning,
                "19 GiB left",
                "shorten the retention",
            ),
            check("proxy", CheckState::Ok, "worker 4121 serves 1 route", ""),
        ],
        as_of: now(),
    }
}

pub(crate) fn services() -> Vec<Service> {
    let instance = |id: &str, release: &str, cpu| Instance {
        id: id.into(),
        release: release.into(),
        address: "127.0.0.1:41823".into(),
        state: InstanceState::Running,
        pid: Some(4_123),
        restarts: 0,
        started_at: Some(ago(90)),
        cpu_percent: cpu,
        memory_bytes: Some(18_400_000),
        last_probe: Some("200 in 2 ms".into()),
    };
    let environment = |name: &str, release: &str, instances| Environment {
        name: name.into(),
        release: Some(release.into()),
        commit: Some("9f3c2a7b".into()),
        since: Some(ago(5_000)),
        url: Some("http://127.0.0.1:7780/".into()),
        rollout: None,
        entrance: (name == "staging").then(|| trimtab_api::EntranceState {
            mode: trimtab_api::EntranceMode::Closed,
            by: "anna".into(),
            reason: "moving house".into(),
            since: ago(60),
            until: None,
        }),
        scale: (name == "production").then(|| trimtab_api::ScaleState {
            instances: 2,
            by: "ben".into(),
            reason: "a sale".into(),
            since: ago(600),
        }),
        health: HealthStatus::Healthy,
        instances,
    };
    vec![Service {
        name: "blocks".into(),
        repository: Some("/srv/git/blocks.git".into()),
        branch: Some("main".into()),
        environments: vec![
            environment(
                "staging",
                "blocks-r4",
                vec![instance("blocks-r4-staging-1", "blocks-r4", None)],
            ),
            environment(
                "production",
                "blocks-r3",
                vec![
                    instance("blocks-r1-production-1", "blocks-r1", Some(2.1)),
                    instance("blocks-r3-production-1", "blocks-r3", Some(31.4)),
                ],
            ),
        ],
    }]
}
