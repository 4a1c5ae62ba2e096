//! The story of three releases: a good one, a bad one that was thrown out, and one on its way. Some
//! texts are hostile on purpose: whatever services say must be shown as text.

use std::collections::BTreeMap;

use trimtab_api::*;
use trimtab_model::{Role, Severity};

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

fn stage(
    name: &str,
    group: &str,
    state: StageState,
    seconds: i64,
    took: i64,
    command: Option<&str>,
    detail: &str,
) -> Stage {
    let begun = !matches!(state, StageState::Pending | StageState::Skipped);
    Stage {
        name: name.into(),
        node: None,
        group: group.into(),
        state,
        detail: detail.into(),
        command: command.map(Into::into),
        rollout: None,
        attempt: u32::from(begun),
        attempts: vec![],
        started_at: begun.then(|| ago(seconds)),
        finished_at: (begun && !matches!(state, StageState::Running | StageState::Waiting))
            .then(|| ago(seconds - took)),
    }
}

fn stages(last: &str, state: StageState) -> Vec<Stage> {
    let all = [
        ("install", "build", Some("cargo fetch --locked --offline"), 1),
        ("build", "build", Some("cargo build --offline --locked"), 14),
        ("unit", "build", Some("cargo test --offline --lib"), 3),
        (
            "integration",
            "build",
            Some("cargo test --offline --test http"),
            4,
        ),
        ("e2e", "build", Some("./tests/e2e.sh"), 6),
        ("artifact", "build", None, 1),
        ("staging", "staging", None, 4),
        ("smoke", "staging", Some("./tests/smoke.sh"), 2),
        (
            "staging-integration",
            "staging",
            Some("./tests/integration.sh"),
            3,
        ),
        ("performance", "staging", Some("./tests/load.sh"), 8),
        ("approval", "staging", None, 20),
        ("production", "production", None, 60),
    ];
    let at = all
        .iter()
        .position(|(name, ..)| *name == last)
        .unwrap_or(all.len());
    let mut out: Vec<Stage> = all
        .iter()
        .enumerate()
        .map(|(index, (name, group, command, took))| {
            let state = match index.cmp(&at) {
                std::cmp::Ordering::Less => StageState::Passed,
                std::cmp::Ordering::Equal => state,
                std::cmp::Ordering::Greater => StageState::Pending,
            };
            stage(
                name,
                group,
                state,
                200 - index as i64 * 12,
                *took,
                *command,
                if index == at && state == StageState::Failed {
                    "exit status 101"
                } else {
                    ""
                },
            )
        })
        .collect();
    if let Some(production) = out.last_mut() {
        production.rollout = Some("rollout-4".into());
    }
    out
}

pub(crate) fn runs() -> Vec<Run> {
    let run = |id: &str,
               title: &str,
               state,
               text: &str,
               release: Option<&str>,
               stages,
               seconds,
               over: Option<i64>| Run {
        summary: RunSummary {
            id: id.into(),
            service: "blocks".into(),
            commit: "9f3c2a7be01d44aa8c5e6f7081920a1b2c3d4e5f".into(),
            title: title.into(),
            author: Some("ada".into()),
            branch: Some("main".into()),
            trigger: "push by ada".into(),
            state,
            state_text: text.into(),
            release: release.map(Into::into),
            created_at: ago(seconds),
            finished_at: over.map(ago),
            stages,
        },
        merge_request: Some("!12".into()),
        approval: (state == RunState::Waiting).then(|| approvals().remove(0)),
        timeline: timeline(),
        rollouts: vec!["rollout-4".into()],
    };
    vec![
        run(
            "run-4",
            "Show a block's history beside it",
            RunState::Waiting,
            "Waits for an approver until 14:20",
            Some("blocks-r4"),
            stages("approval", StageState::Waiting),
            140,
            None,
        ),
        run(
            "run-3",
            "Search by prefix again, with the index warm",
            RunState::Running,
            "Production rollout: watching for 30 s",
            Some("blocks-r3"),
            stages("production", StageState::Running),
            260,
            None,
        ),
        run(
            "run-2",
            "Search by prefix",
            RunState::Failed,
            "Rolled back: error rate 14.2 % against 0.1 %",
            Some("blocks-r2"),
            stages("production", StageState::RolledBack),
            800,
            Some(560),
        ),
        run(
            "run-5",
            HOSTILE,
            RunState::Failed,
            "unit failed: exit status 101",
            None,
            stages("unit", StageState::Failed),
            900,
            Some(880),
        ),
        run(
            "run-1",
            "First light",
            RunState::Deployed,
            "Deployed as blocks-r1",
            Some("blocks-r1"),
            stages("none", StageState::Passed),
            5_400,
            Some(5_200),
        ),
    ]
}

pub(crate) fn run_log(stage: &str) -> RunLog {
    let mut texts = vec![
        format!("$ {stage}"),
        "   Compiling blocks v0.3.0".to_owned(),
        HOSTILE.to_owned(),
        "\u{1b}[31mwarning\u{1b}[0m: unused variable".to_owned(),
    ];
    texts.extend((0..40).map(|n| format!("test blocks::tests::case_{n} ... ok")));
    texts.push("test result: ok. 40 passed; 0 failed; finished in 1.84s".to_owned());
    let lines = texts
        .into_iter()
        .zip(1..)
        .map(|(text, number)| LogText {
            number,
            at: ago(100),
            stderr: number == 4,
            text,
        })
        .collect();
    RunLog {
        stage: stage.into(),
        attempt: 1,
        lines,
        next: 45,
        complete: true,
    }
}

pub(crate) fn approvals() -> Vec<Approval> {
    vec![Approval {
        run: "run-4".into(),
        service: "blocks".into(),
        release: Some("blocks-r4".into()),
        question: "Deploy blocks-r4 to production?".into(),
        role: Role::Approver,
        url: Some("http://127.0.0.1:7781/".into()),
        since: ago(60),
        until: Some(ago(-86_000)),
    }]
}

pub(crate) fn merge_requests() -> Vec<MergeRequest> {
    vec![MergeRequest {
        id: "!12".into(),
        service: "blocks".into(),
        title: "Search by prefix again".into(),
        author: "ada".into(),
        source: "prefix-search".into(),
        target: "main".into(),
        commit: "9f3c2a7be01d44aa8c5e6f7081920a1b2c3d4e5f".into(),
        state: MergeRequestState::Merged,
        reviews: vec![Review {
            author: "grace".into(),
            verdict: ReviewVerdict::Approved,
            comment: "The index is warmed now, thanks.".into(),
            at: ago(400),
        }],
        opened_at: ago(2_000),
        merged_at: Some(ago(300)),
    }]
}

pub(crate) fn releases() -> Vec<Release> {
    let release = |id: &str, title: &str, state, text: &str, seconds| Release {
        id: id.into(),
        service: "blocks".into(),
        commit: "9f3c2a7be01d44aa8c5e6f7081920a1b2c3d4e5f".into(),
        title: title.into(),
        artifact: "5b1e".repeat(16),
        artifact_bytes: Some(4_812_331),
        created_at: ago(seconds),
        state,
        state_text: text.into(),
        provenance: Some(Provenance {
            run: "run-3".into(),
            merge_request: Some("!12".into()),
            author: Some("ada".into()),
            reviewers: vec!["grace".into()],
            approved_by: Some("qa".into()),
            results: vec![
                StepResult {
                    stage: "unit".into(),
                    passed: true,
                    duration_ms: 3_120,
                },
                StepResult {
                    stage: "integration".into(),
                    passed: true,
                    duration_ms: 4_400,
                },
                StepResult {
                    stage: "performance".into(),
                    passed: true,
                    duration_ms: 8_031,
                },
            ],
        }),
        rollouts: vec!["rollout-4".into()],
        incidents: vec![],
    };
    vec![
        release(
            "blocks-r4",
            "Show a block's history beside it",
            ReleaseState::Staging,
            "in staging since 13:58",
            130,
        ),
        release(
            "blocks-r3",
            "Search by prefix again, with the index warm",
            ReleaseState::RollingOut,
            "95 % of production",
            250,
        ),
        release(
            "blocks-r2",
            "Search by prefix",
            ReleaseState::Quarantined,
            "rolled back by incident-1: error rate 14.2 %",
            790,
        ),
        release(
            "blocks-r1",
            "First light",
            ReleaseState::Live,
            "serves production",
            5_300,
        ),
    ]
}

pub(crate) fn rollouts() -> Vec<Rollout> {
    let to = now().millis();
    let line = |name: &str, base: f64, swing: f64| ChartSeries {
        name: name.into(),
        points: (0..120)
            .map(|i| {
                (
                    to - (119 - i) * 1000,
                    Some(base + swing * ((i as f64) / 7.0).sin()),
                )
            })
            .collect(),
    };
    let chart = |id: &str, unit: &str, a: (f64, f64), b: (f64, f64), objective| Chart {
        id: id.into(),
        title: id.into(),
        unit: unit.into(),
        series: vec![line("blocks-r3", b.0, b.1), line("blocks-r1", a.0, a.1)],
        objective,
        source: String::new(),
    };
    let arm = |release: &str, requests, errors, rate, p| ArmFigures {
        release: release.into(),
        requests,
        errors,
        error_percent: Some(errors as f64 / requests as f64 * 100.0),
        requests_per_second: Some(rate),
        p50_ms: Some(p),
        p95_ms: Some(p * 3.6),
        p99_ms: Some(p * 6.0),
        instances: 1,
    };
    let evidence = |metric: &str, decision, e, base, cand, unit: &str, needed| Evidence {
        metric: metric.into(),
        decision,
        e_value: Some(e),
        threshold: Some(300.0),
        baseline: Some(base),
        candidate: Some(cand),
        unit: unit.into(),
        effect: Some(cand - base),
        interval: Some((cand - base - 0.4, cand - base + 0.5)),
        units_needed: needed,
        query: Some("class=\"error\"".into()),
    };
    let phase = |name: &str, state| stage(name, "", state, 60, 5, None, "");
    let summary =
        |id: &str, base: &str, cand: &str, state, text: &str, percent, seconds, over: Option<i64>| {
            RolloutSummary {
                id: id.into(),
                service: "blocks".into(),
                environment: "production".into(),
                strategy: Strategy::BlueGreen,
                baseline: Some(base.into()),
                candidate: cand.into(),
                state,
                state_text: text.into(),
                candidate_percent: percent,
                next_step: if over.is_some() {
                    String::new()
                } else {
                    "the watch window ends".into()
                },
                next_at: over.is_none().then(|| ago(-18)),
                created_at: ago(seconds),
                finished_at: over.map(ago),
                run: Some("run-3".into()),
                incident: over.map(|_| "incident-1".into()),
                allowed: if over.is_some() {
                    Allowed::default()
                } else {
                    Allowed {
                        promote: true,
                        abort: true,
                        pause: true,
                        resume: false,
                        roll_back: true,
                    }
                },
            }
        };
    let full = |summary, decision, reason: &str, e| Rollout {
        summary,
        phases: vec![
            phase("start", StageState::Passed),
            phase("test", StageState::Passed),
            phase("switch", StageState::Passed),
            phase("watch", StageState::Running),
            phase("drain", StageState::Pending),
            phase("decommission", StageState::Pending),
        ],
        baseline_figures: Some(arm("blocks-r1", 412, 1, 7.1, 82.0)),
        candidate_figures: Some(arm("blocks-r3", 8_204, 17, 135.2, 84.5)),
        verdict: Some(Verdict {
            decision,
            reason: reason.into(),
            alpha: 0.01,
            alpha_left: 0.01,
            tolerance_percent: 25.0,
            evidence: vec![
                evidence("errors", decision, e, 0.24, 0.21, "%", Some(1_180)),
                evidence(
                    "latency over 300 ms",
                    VerdictDecision::Collecting,
                    1.9,
                    4.9,
                    5.3,
                    "%",
                    Some(640),
                ),
                evidence(
                    "assignment ratio",
                    VerdictDecision::Healthy,
                    0.8,
                    5.0,
                    4.8,
                    "%",
                    None,
                ),
            ],
            forecast: Some(Forecast {
                units: Some(1_200),
                seconds: Some(9.0),
                text: "about 9 s at 142 requests/s".into(),
            }),
            as_of: now(),
        }),
        weights: vec![
            WeightStep {
                at: ago(62),
                candidate_percent: 95.0,
                reason: "switched, 5 % held back".into(),
            },
            WeightStep {
                at: ago(90),
                candidate_percent: 0.0,
                reason: "started beside".into(),
            },
        ],
        charts: vec![
            chart("requests", "/s", (7.1, 1.0), (135.2, 12.0), None),
            chart("errors", "%", (0.24, 0.1), (0.21, 0.08), Some(0.5)),
            chart("latency", "ms", (295.0, 20.0), (304.0, 26.0), Some(300.0)),
        ],
        timeline: timeline(),
        preview_url: Some("http://127.0.0.1:7782/".into()),
    };
    vec![
        full(
            summary(
                "rollout-4",
                "blocks-r1",
                "blocks-r3",
                RolloutState::Watching,
                "Watching blocks-r3 at 95 %: as good as blocks-r1 so far",
                95.0,
                90,
                None,
            ),
            VerdictDecision::Collecting,
            "no regression so far; 1,180 requests left to claim it healthy",
            2.4,
        ),
        full(
            summary(
                "rollout-3",
                "blocks-r1",
                "blocks-r2",
                RolloutState::RolledBack,
                "Rolled back: error rate 14.2 % against 0.1 %",
                0.0,
                700,
                Some(560),
            ),
            VerdictDecision::Regressed,
            "error rate 14.2 % against 0.1 %, e-value 4,812",
            4_812.0,
        ),
    ]
}

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

pub(crate) fn log_lines() -> Vec<LogLine> {
    let line = |seconds, level: &str, body: &str| LogLine {
        at: ago(seconds),
        level: level.into(),
        body: body.into(),
        service: Some("blocks".into()),
        environment: Some("production".into()),
        release: Some("blocks-r3".into()),
        instance: Some("blocks-r3-production-1".into()),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        span_id: None,
        template: Some("t17".into()),
        attributes: BTreeMap::from([
            ("http.route".into(), "/blocks/search".into()),
            ("evil".into(), HOSTILE.into()),
        ]),
    };
    let mut lines = vec![
        line(1, "error", "search failed: prefix must not be empty"),
        line(2, "info", HOSTILE),
    ];
    lines.extend((3..40).map(|n| {
        line(
            n,
            ["info", "debug", "warn", "info"][n as usize % 4],
            &format!("GET /blocks/{n} 200 in {} ms", n * 3 % 41),
        )
    }));
    lines
}

fn span(name: &str, id: &str, offset: f64, took: f64, status: SpanStatus) -> SpanSummary {
    SpanSummary {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        span_id: id.into(),
        name: name.into(),
        service: Some("blocks".into()),
        release: Some("blocks-r3".into()),
        started_at: ago(30 + offset as i64 / 100),
        duration_ms: took,
        status,
    }
}

pub(crate) fn spans() -> Vec<SpanSummary> {
    vec![
        span("GET /blocks/search", "a1", 0.0, 1_912.0, SpanStatus::Error),
        span("GET /blocks/{id}", "a2", 10.0, 12.4, SpanStatus::Ok),
        span("POST /blocks", "a3", 20.0, 31.0, SpanStatus::Ok),
        span(HOSTILE, "a4", 30.0, 210.0, SpanStatus::Unset),
    ]
}

pub(crate) fn trace() -> Trace {
    let detail = |summary: SpanSummary, parent: Option<&str>, offset: f64| SpanDetail {
        summary,
        parent_span_id: parent.map(Into::into),
        kind: "server".into(),
        offset_ms: offset,
        status_message: String::new(),
        attributes: BTreeMap::from([("http.request.method".into(), "GET".into())]),
    };
    Trace {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        started_at: ago(30),
        duration_ms: 1_912.0,
        spans: vec![
            detail(
                span("GET /blocks/search", "a1", 0.0, 1_912.0, SpanStatus::Error),
                None,
                0.0,
            ),
            detail(span("auth", "b1", 0.0, 18.0, SpanStatus::Ok), Some("a1"), 4.0),
            detail(
                span("index.scan", "b2", 0.0, 1_790.0, SpanStatus::Error),
                Some("a1"),
                30.0,
            ),
            detail(
                span("file.read", "c1", 0.0, 340.0, SpanStatus::Ok),
                Some("b2"),
                60.0,
            ),
            detail(
                span("render", "b3", 0.0, 60.0, SpanStatus::Ok),
                Some("a1"),
                1_840.0,
            ),
        ],
        logs: log_lines().into_iter().take(2).collect(),
    }
}
