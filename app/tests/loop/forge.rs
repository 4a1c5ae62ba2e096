//! From a branch to a run: a bare repository with the hook of `trimtab hook install` plays the forge, and the real
//! `trimtab serve` listens (A.D1 to A.D5, A.B1).

use std::path::Path;
use std::process::Command;

use serde_json::json;
use trimtab_api::{MergeRequest, MergeRequestState, ReviewVerdict, RunState, RunSummary};

use crate::house::{Place, Project, SERVICE, SLACK, Server, git};

/// Pushes as somebody whom the machine knows; what git said.
fn push(repository: &Path, actor: &str, branch: &str) -> String {
    let output = Command::new("git")
        .current_dir(repository)
        .args(["push", "origin", branch])
        .env("TRIMTAB_ACTOR", actor)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

async fn told(server: &Server, token: &str, what: serde_json::Value) -> (u16, serde_json::Value) {
    let mut body = json!({"service": SERVICE, "actor": ""});
    let fields = what.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    server.post(token, "/api/v1/hooks/git", &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_reviewed_by_another_merged_and_run() {
    let place = Place::make();
    let work = place.repository();
    let bare = place.root().join("notes.git");
    git(place.root(), &["init", "-q", "--bare", "-b", "main", "notes.git"]);
    git(&work, &["remote", "add", "origin", bare.to_str().unwrap()]);
    git(&work, &["commit", "-q", "--allow-empty", "-m", "Begin"]);
    git(&work, &["push", "-q", "origin", "main"]);
    let server = Server::start(place, &bare).await;
    let [forge, dev, lead] = [
        server.token("forge", "operator").await,
        server.token("dev", "developer").await,
        server.token("lead", "developer").await,
    ];
    let installed = Command::new(env!("CARGO_BIN_EXE_trimtab"))
        .args(["hook", "install", bare.to_str().unwrap(), "--service", SERVICE])
        .args(["--url", &server.address("")])
        .env("TRIMTAB_TOKEN", forge)
        .output()
        .unwrap();
    assert!(installed.status.success(), "{installed:?}");

    // A branch starts nothing.
    git(&work, &["checkout", "-q", "-b", "notebook"]);
    let commit = server
        .place
        .commit(&Project::without_staging(), "Keep a notebook");
    let said = push(&work, "dev", "notebook");
    assert!(said.contains("trimtab: noted"), "{said}");
    assert_eq!(server.get::<Vec<RunSummary>>("/api/v1/runs").await, []);

    let request = |state: &str, commit: &str| {
        json!({"kind": "merge_request", "id": "7", "title": "Keep a notebook", "source": "notebook",
               "target": "main", "commit": commit, "state": state})
    };
    let review =
        json!({"kind": "review", "merge_request": "7", "verdict": "approved", "comment": "Reads well."});
    assert_eq!(told(&server, &dev, request("open", &commit)).await.0, 200);
    let (status, fault) = told(&server, &dev, review.clone()).await;
    assert_eq!(
        status, 403,
        "one's own work is not for oneself to approve: {fault}"
    );
    let mut as_lead = review.clone();
    as_lead["actor"] = json!("lead");
    let (status, fault) = told(&server, &dev, as_lead).await;
    assert_eq!(status, 403, "a developer's token speaks for nobody else: {fault}");
    assert_eq!(told(&server, &lead, review).await.0, 200);

    git(&work, &["checkout", "-q", "main"]);
    git(
        &work,
        &["merge", "-q", "--no-ff", "-m", "Merge notebook", "notebook"],
    );
    let merged = git(&work, &["rev-parse", "HEAD"]);
    assert_eq!(told(&server, &dev, request("merged", &merged)).await.0, 200);
    let said = push(&work, "dev", "main");
    assert!(said.contains("run-1 of notes is started"), "{said}");

    let requests: Vec<MergeRequest> = server.get("/api/v1/merge-requests").await;
    let [request] = &requests[..] else {
        panic!("{requests:?}")
    };
    assert_eq!(
        (request.author.as_str(), request.state),
        ("dev", MergeRequestState::Merged)
    );
    let [review] = &request.reviews[..] else {
        panic!("{request:?}")
    };
    assert_eq!(
        (review.author.as_str(), review.verdict),
        ("lead", ReviewVerdict::Approved)
    );

    let run = server.ended("run-1").await.summary;
    assert_eq!(
        (run.state, run.commit.as_str()),
        (RunState::Deployed, merged.as_str())
    );
    let events: Vec<trimtab_api::TimelineEntry> = server.get("/api/v1/timeline?limit=500").await;
    assert!(
        events
            .iter()
            .any(|event| event.actor == "dev" && format!("{event:?}").contains("run-1")),
        "{events:?}"
    );
    server.inbox.wait(&[SLACK], "Merge notebook").await;

    // A broken project file is told to whoever pushes it, with every mistake in it.
    server.place.commit_text(
        "service: notes\npipelin: 3\nrun: {command: [], instances: 0}\n",
        "Break it",
    );
    let said = push(&work, "dev", "main");
    assert!(said.contains("trimtab.yaml:2:1: pipelin"), "{said}");
    assert!(said.matches("trimtab.yaml:").count() >= 3, "{said}");
    assert_eq!(server.get::<Vec<RunSummary>>("/api/v1/runs").await.len(), 1);
    server.stop().await;
}
