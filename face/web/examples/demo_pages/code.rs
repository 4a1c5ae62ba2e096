//! Runs, releases, approvals and merge requests.

use trimtab_api::*;
use trimtab_model::Role;

use super::{HOSTILE, ago, timeline};

pub(super) fn stage(
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
