//! The story's chapters, told through the API only.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use trimtab_api as api;

use super::chapter::Chapter;
use super::outcome::{self, Ending, Told};
use super::place::Place;
use super::progress::Progress;
use super::receivers::Received;
use super::traffic;
use super::way::Way;
use crate::commands::client::{Client, read};

/// Longest wait for a run to begin, and for an incident to end after its run.
pub(super) const AFTER: Duration = Duration::from_secs(90);
/// How often the server is asked.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Traffic of the good release before the bad one is begun: what it is compared with.
const GOOD_TRAFFIC: Duration = Duration::from_secs(5);

/// Everybody who acts, each with a token and a role of their own.
pub(super) struct People {
    pub(super) dev: Client,
    lead: Client,
    pub(super) qa: Client,
}

impl People {
    async fn meet(place: &Place, admin: &Client) -> Result<Self> {
        let token = |name: &'static str, role: &'static str| async move {
            let made = admin
                .post("/api/v1/tokens", &json!({"name": name, "role": role}))
                .await?;
            anyhow::Ok(read::<api::TokenCreated>(&made)?.secret)
        };
        place
            .repository
            .tell(&place.url(), &token("forge", "operator").await?)?;
        let client = |secret| Client::new(&place.url(), Some(secret));
        Ok(People {
            dev: client(token("dev", "developer").await?)?,
            lead: client(token("lead", "developer").await?)?,
            qa: client(token("qa", "approver").await?)?,
        })
    }
}

/// Tells it.
pub(super) async fn tell(
    place: &Place,
    admin: &Client,
    received: &Received,
    progress: &mut Progress,
) -> Result<Ending> {
    let begun = Instant::now();
    let people = People::meet(place, admin).await?;
    progress.title("1  A good release");
    let commit = place
        .repository
        .begin("notebook", "Keep a notebook of blocks")
        .await?;
    let run = ship(
        place,
        &people,
        progress,
        "notebook",
        "Keep a notebook of blocks",
        &commit,
    )
    .await?;
    let mut chapter = Chapter::new(place);
    let run = chapter.follow(&people, &run, progress).await?;
    if run.summary.state != api::RunState::Deployed {
        bail!("failed to ship the good release: {}", run.summary.state_text);
    }
    let good = run
        .summary
        .release
        .context("failed to learn the good release's name")?;
    let load = match chapter.load.take() {
        Some(load) => load,
        None => traffic::start(place.traffic, place.way.users(), people.dev.clone())?,
    };
    tokio::time::sleep(GOOD_TRAFFIC).await;

    progress.title(match place.way {
        Way::Flag => "2  A change behind a flag, with a fault that no test finds",
        Way::BlueGreen | Way::Canary | Way::Rolling => "2  A release with a fault that no test finds",
    });
    let commit = place
        .repository
        .regress("torn-edits", "Ignore torn-off edits")
        .await?;
    let run = ship(
        place,
        &people,
        progress,
        "torn-edits",
        "Ignore torn-off edits",
        &commit,
    )
    .await?;
    let mut chapter = Chapter::new(place);
    chapter.load = Some(load);
    let run = chapter.follow(&people, &run, progress).await?;

    progress.title("3  What came of it");
    let chapters = Told {
        chapter,
        good,
        end: run.summary.state_text,
        begun,
    };
    outcome::tell(place, &people, chapters, received, progress).await
}

/// A merge request, a review by somebody else, a merge; the push to main starts the run, which is returned.
async fn ship(
    place: &Place,
    people: &People,
    progress: &mut Progress,
    branch: &str,
    title: &str,
    commit: &str,
) -> Result<String> {
    let hook = |actor: &str, what: Value| {
        let mut body = json!({"service": "blocks", "actor": actor});
        if let (Some(body), Value::Object(what)) = (body.as_object_mut(), what) {
            body.extend(what);
        }
        body
    };
    let request = |state: &str, commit: &str| {
        json!({"kind": "merge_request", "id": branch, "title": title, "source": branch, "target": "main",
               "commit": commit, "state": state})
    };
    let path = "/api/v1/hooks/git";
    people
        .dev
        .post(path, &hook("dev", request("open", commit)))
        .await?;
    progress.done(
        true,
        &format!("dev pushes {branch} and asks to merge it: {title}"),
        None,
    );
    let review =
        json!({"kind": "review", "merge_request": branch, "verdict": "approved", "comment": "Reads well."});
    people.lead.post(path, &hook("lead", review)).await?;
    progress.done(true, "lead reviews it: reads well", None);
    let merged = place.repository.merge(branch).await?;
    people
        .dev
        .post(path, &hook("dev", request("merged", &merged)))
        .await?;
    let begun = Instant::now();
    loop {
        let runs: Vec<api::RunSummary> = read(&people.dev.get("/api/v1/runs").await?)?;
        if let Some(run) = runs.into_iter().find(|run| run.commit == merged) {
            let short = merged.get(..10).unwrap_or(&merged);
            progress.done(
                true,
                &format!("dev merges it to main as {short}: {} begins", run.id),
                None,
            );
            return Ok(run.id);
        }
        if begun.elapsed() > AFTER {
            bail!(
                "failed to find a run of {merged}: the push was not told or not taken\n  see {}",
                place.log().display()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}
