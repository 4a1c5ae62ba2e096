//! Every command, for people and for programs, and what reaches the server.

use serde_json::Value;
use trimtab_api::{
    Command, DeployRequest, EntranceMode, EntranceRequest, GroupRequest, GroupWish, RollBackRequest,
    ScaleRequest, SilenceOf,
};

use crate::server::{Server, command, finish, finish_in, finish_with};

/// Commands that read, with what people must find in the answer.
const READS: &[(&[&str], &[&str])] = &[
    (
        &["status"],
        &[
            "Services",
            "blocks-r3",
            "Runs",
            "run-4",
            "Rollouts",
            "rollout-4",
            "Incidents",
            "incident-2",
            "Waiting for a person",
            "next: trimtab explain incident-2",
        ],
    ),
    (
        &["history"],
        &["ID", "rollout-3", "rolled back", "next: trimtab watch rollout-4"],
    ),
    (
        &["incidents"],
        &["SEVERITY", "incident-1", "critical", "next: trimtab explain"],
    ),
    (&["incidents", "--open"], &["incident-2"]),
    (
        &["incidents", "silences"],
        &["no silences in force", "next: trimtab incidents silence"],
    ),
    (
        &["explain", "incident-1"],
        &[
            "Likely causes",
            "  1. ",
            "What was done",
            "next: trimtab postmortem incident-1",
        ],
    ),
    (&["postmortem", "incident-1"], &["# Postmortem", "## Timeline"]),
    (
        &["logs", "--limit", "5"],
        &["error", "prefix must not be empty", "next: there are more"],
    ),
    (&["query", "up"], &["1\n"]),
    (
        &["doctor"],
        &["✔ journal", "! disk", "next: shorten the retention"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_reading_command_answers_people_and_programs() {
    let server = Server::start(false).await;
    for (words, expected) in READS {
        let said = server.run("viewer", words).await;
        assert_eq!(said.status, 0, "{words:?}: {said:?}");
        for text in *expected {
            assert!(said.out.contains(text), "{words:?} says {text:?}: {}", said.out);
        }
        // Not a terminal: no colours; and what services say brings none either.
        assert!(!said.out.contains('\x1b'), "{words:?}: {}", said.out);
        let json = [*words, &["--output", "json"]].concat();
        let said = server.run("viewer", &json).await;
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{words:?}");
        let value: Value = serde_json::from_str(&said.out).unwrap();
        assert!(value.is_object() || value.is_array(), "{words:?}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_seen_nothing_says_what_to_do_first() {
    let server = Server::start(true).await;
    for (words, expected) in [
        (&["status"][..], "next: name a repository"),
        (&["history"], "next: trimtab deploy"),
        (&["incidents"], "no incidents"),
        (&["logs"], "next: leave out a filter"),
    ] {
        let said = server.run("viewer", words).await;
        assert_eq!(said.status, 0, "{words:?}: {said:?}");
        assert!(said.out.contains(expected), "{words:?}: {}", said.out);
    }
    let said = server.run("viewer", &["watch"]).await;
    assert_eq!(said.status, 1);
    assert!(said.err.contains("there has been none yet"), "{}", said.err);
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn commands() -> Vec<(&'static [&'static str], Command)> {
    let (run, rollout, incident) = (text("run-4"), text("rollout-4"), text("incident-2"));
    let comment = text("seen in staging");
    macro_rules! about {
        ($kind:ident, $of:ident) => {
            Command::$kind {
                $of: $of.clone(),
                comment: comment.clone(),
            }
        };
    }
    let roll_back = |rollout: Option<&str>, service: Option<&str>, release: Option<&str>| {
        Command::RollBack(RollBackRequest {
            rollout: rollout.map(text),
            service: service.map(text),
            release: release.map(text),
            ..RollBackRequest::default()
        })
    };
    let of_incident = SilenceOf {
        incident: Some(incident.clone()),
        ..SilenceOf::default()
    };
    let wish = |service: &str, release: &str, weight| GroupWish {
        service: text(service),
        release: text(release),
        weight,
    };
    let entrance = |mode, seconds, comment| Command::Entrance {
        service: text("blocks"),
        request: EntranceRequest {
            mode,
            seconds,
            comment: text(comment),
            ..EntranceRequest::default()
        },
    };
    let scale = |environment: &str, instances, comment| Command::Scale {
        service: text("blocks"),
        request: ScaleRequest {
            environment: Some(text(environment)),
            instances,
            comment: text(comment),
        },
    };
    vec![
        (
            &["deploy", "blocks"],
            Command::Deploy(DeployRequest {
                service: text("blocks"),
                commit: None,
            }),
        ),
        (
            &["deploy", "blocks", "v2"],
            Command::Deploy(DeployRequest {
                service: text("blocks"),
                commit: Some(text("v2")),
            }),
        ),
        (
            &["approve", "run-4", "-m", "seen in staging"],
            about!(Approve, run),
        ),
        (&["reject", "run-4", "-m", "seen in staging"], about!(Reject, run)),
        (&["cancel", "run-4", "-m", "seen in staging"], about!(Cancel, run)),
        (
            &["promote", "rollout-4", "-m", "seen in staging"],
            about!(Promote, rollout),
        ),
        (
            &["abort", "rollout-4", "--comment", "seen in staging"],
            about!(Abort, rollout),
        ),
        (
            &["pause", "rollout-4", "-m", "seen in staging"],
            about!(Pause, rollout),
        ),
        (
            &["resume", "rollout-4", "-m", "seen in staging"],
            about!(Resume, rollout),
        ),
        (
            &["approve", "rollout-4", "-m", "seen in staging"],
            about!(ApproveStep, rollout),
        ),
        (
            &["retry", "rollout-4", "-m", "seen in staging"],
            about!(Retry, rollout),
        ),
        (
            &["restart", "rollout-4", "-m", "seen in staging"],
            about!(Restart, rollout),
        ),
        (
            &[
                "release",
                "together",
                "blocks=blocks-r3",
                "search=search-r5@2",
                "-m",
                "new protocol",
            ],
            Command::ReleaseTogether(GroupRequest {
                members: vec![
                    wish("blocks", "blocks-r3", None),
                    wish("search", "search-r5", Some(2)),
                ],
                environment: None,
                comment: text("new protocol"),
            }),
        ),
        (
            &["release", "abort", "group-1", "-m", "no"],
            Command::AbortGroup {
                group: text("group-1"),
                comment: text("no"),
            },
        ),
        (
            &["scale", "blocks", "production", "3", "-m", "a sale"],
            scale("production", Some(3), "a sale"),
        ),
        (
            &["scale", "blocks", "staging", "as-written"],
            scale("staging", None, ""),
        ),
        (
            &["entrance", "hold", "blocks", "--seconds", "9"],
            entrance(EntranceMode::Held, Some(9), ""),
        ),
        (
            &["entrance", "close", "blocks", "-m", "moving"],
            entrance(EntranceMode::Closed, Some(60), "moving"),
        ),
        (
            &["entrance", "open", "blocks"],
            entrance(EntranceMode::Open, None, ""),
        ),
        (
            &["rollback", "rollout-4"],
            roll_back(Some("rollout-4"), None, None),
        ),
        (
            &["rollback", "blocks", "--to", "blocks-r1"],
            roll_back(None, Some("blocks"), Some("blocks-r1")),
        ),
        (
            &["incidents", "acknowledge", "incident-2", "-m", "seen in staging"],
            about!(Acknowledge, incident),
        ),
        (
            &["incidents", "take-over", "incident-2", "-m", "seen in staging"],
            about!(TakeOver, incident),
        ),
        (
            &["incidents", "fix-applied", "incident-2", "-m", "seen in staging"],
            about!(FixApplied, incident),
        ),
        (
            &["incidents", "resolve", "incident-2", "-m", "seen in staging"],
            about!(Resolve, incident),
        ),
        (
            &[
                "incidents",
                "silence",
                "incident-2",
                "-m",
                "known",
                "--minutes",
                "30",
            ],
            Command::Silence {
                of: of_incident,
                reason: text("known"),
                minutes: 30,
            },
        ),
        (
            &["incidents", "end-silence", "silence-1"],
            Command::EndSilence {
                silence: text("silence-1"),
            },
        ),
        (
            &["lift-quarantine", "blocks-r2", "-m", "mended"],
            Command::LiftQuarantine {
                release: text("blocks-r2"),
                comment: text("mended"),
            },
        ),
        (
            &["upgrade-proxy", "-m", "new kernel"],
            Command::UpgradeProxy {
                comment: text("new kernel"),
            },
        ),
        (
            &["token", "revoke", "token-1"],
            Command::RevokeToken {
                token: text("token-1"),
            },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_changing_command_reaches_the_server_and_says_what_is_next() {
    let server = Server::start(false).await;
    for (words, expected) in commands() {
        let said = server.run("admin", words).await;
        assert_eq!(said.status, 0, "{words:?}: {said:?}");
        assert!(said.out.contains("Accepted"), "{words:?}: {}", said.out);
        assert!(said.out.contains("next: "), "{words:?}: {}", said.out);
        let asked = server.demo.asked().pop().unwrap();
        assert_eq!(
            (asked.by.as_str(), asked.command),
            ("admin-person", expected),
            "{words:?}"
        );
    }
    let json = ["approve", "run-4", "--output", "json"];
    let said = server.run("approver", &json).await;
    assert!(serde_json::from_str::<Value>(&said.out).unwrap()["message"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_for_scripts_and_listed_without_secrets() {
    let server = Server::start(false).await;
    let said = server
        .run("admin", &["token", "create", "ci", "--role", "developer"])
        .await;
    assert_eq!(said.status, 0, "{said:?}");
    // The secret alone is on standard output.
    assert_eq!(said.out.split_whitespace().count(), 1, "{}", said.out);
    assert!(said.err.contains("not shown again"), "{}", said.err);
    let said = server.run("admin", &["token", "list"]).await;
    assert!(
        said.out.contains("token-1") && said.out.contains("approver"),
        "{}",
        said.out
    );
    let said = server
        .run("admin", &["token", "create", "ci", "--role", "king"])
        .await;
    assert_eq!(said.status, 1);
    assert!(said.err.contains("viewer, developer, approver"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repositorys_hook_tells_of_pushes() {
    let server = Server::start(false).await;
    let (none, new) = ("0".repeat(40), "b".repeat(40));
    let hook = server.command("operator", &["hook", "post-receive", "blocks"]);
    let said = finish_with(hook, &format!("{none} {new} refs/heads/main\n")).await;
    assert_eq!(
        (said.status, said.out.as_str()),
        (0, "trimtab: Noted.\n"),
        "{said:?}"
    );
    let hook = server.command("operator", &["hook", "post-receive", "blocks"]);
    let said = finish_with(hook, "nonsense\n").await;
    assert_eq!(said.status, 1);
    assert!(said.err.contains("before after ref"), "{}", said.err);
    let dir = tempfile::tempdir().unwrap();
    let install = [
        "hook",
        "install",
        dir.path().to_str().unwrap(),
        "--service",
        "blocks",
    ];
    let said = server.run("operator", &install).await;
    assert_eq!(said.status, 1);
    assert!(said.err.contains("give a bare git repository"), "{}", said.err);
    std::fs::create_dir(dir.path().join("hooks")).unwrap();
    let said = server.run("operator", &install).await;
    assert!(
        said.out.contains("post-receive") && said.out.contains("next: push"),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_without_a_server_write_files_and_completions() {
    let dir = tempfile::tempdir().unwrap();
    let said = finish_in(dir.path(), &["init", "shop"]).await;
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.out.contains("next: edit trimtab.yaml"), "{}", said.out);
    let said = finish_in(dir.path(), &["init", "shop"]).await;
    assert_eq!(said.status, 1);
    assert!(said.err.contains("never overwritten"), "{}", said.err);
    for shell in ["bash", "zsh", "fish"] {
        let said = finish(command(&["completions", shell])).await;
        assert_eq!(said.status, 0, "{shell}");
        assert!(said.out.contains("rollback"), "{shell}");
    }
}
