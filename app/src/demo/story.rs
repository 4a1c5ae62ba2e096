//! The story's chapters, told through the API only.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use trimtab_api as api;
use trimtab_api::routes::fill;

use super::chapter::Chapter;
use super::figures::{Moments, flat};
use super::place::Place;
use super::progress::Progress;
use super::receivers::Received;
use super::traffic::{self, Load};
use crate::commands::client::{Client, read};

/// Longest wait for the incident to end after its run.
const AFTER: Duration = Duration::from_secs(90);
/// How often the server is asked.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Traffic of the good release before the bad one is begun: what it is compared with.
const GOOD_TRAFFIC: Duration = Duration::from_secs(5);
/// Causes that are shown: the postmortem has them all.
const CAUSES_MAX: usize = 4;

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

/// How the story ended.
pub(super) struct Ending {
    /// The bad release was rolled back and the good one serves.
    pub(super) good: bool,
    /// One flat object of figures.
    pub(super) figures: Value,
    pub(super) incident: Option<String>,
    /// Users go on asking until this is dropped.
    pub(super) _load: Load,
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
    let mut chapter = Chapter::new(place.traffic);
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
        None => traffic::start(place.traffic, people.dev.clone())?,
    };
    tokio::time::sleep(GOOD_TRAFFIC).await;

    progress.title("2  A release with a fault that no test finds");
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
    let mut chapter = Chapter::new(place.traffic);
    chapter.load = Some(load);
    let run = chapter.follow(&people, &run, progress).await?;

    progress.title("3  What came of it");
    let incident = close(&people.dev, chapter.incident.as_deref(), progress).await?;
    let rollout = match &chapter.rollout {
        Some(id) => read(&people.dev.get(&fill("/api/v1/rollouts/{id}", &[id])).await?)?,
        None => bail!(
            "failed to bring the bad release to production: {}",
            run.summary.state_text
        ),
    };
    let moments = Moments::of(&rollout, incident.as_ref());
    let load = chapter.load.take().context("failed to keep users asking")?;
    let serves = serving(&people.dev, &good).await?;
    let rolled_back = moments.rolled_back.is_some();
    progress.done(
        rolled_back,
        &format!("{}: {}", rollout.summary.candidate, rollout.summary.state_text),
        None,
    );
    progress.done(serves, &format!("{good} serves production"), None);
    if let Some(incident) = &incident {
        lessons(incident, progress);
    }
    let until = moments.rolled_back.unwrap_or(i64::MAX);
    let between = load.between(moments.first_request.unwrap_or(until), until);
    let story = begun.elapsed().as_secs_f64();
    let all = load.counts();
    for (what, figure) in [
        ("to the anomaly", moments.text(moments.anomaly)),
        ("to traffic off it", moments.text(moments.traffic_off)),
        ("to the rollback finished", moments.text(moments.rolled_back)),
        (
            "failed requests until then",
            format!("{} of {}", between.failed, between.requests),
        ),
        (
            "failed requests in the whole story",
            format!("{} of {}", all.failed, all.requests),
        ),
        ("messages", received.text()),
        ("the whole story", format!("{story:.1} s")),
    ] {
        if what == "to the anomaly" {
            progress.line("\n  from the bad release's first request");
        }
        progress.line(&format!("  {what:<36} {figure}"));
    }
    Ok(Ending {
        good: rolled_back && serves,
        figures: serde_json::to_value(flat(&moments, story, between, all))?,
        incident: chapter.incident,
        _load: load,
    })
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

/// Waits until the incident is over and written up.
async fn close(dev: &Client, id: Option<&str>, progress: &mut Progress) -> Result<Option<api::Incident>> {
    let Some(id) = id else {
        progress.done(false, "no incident was opened", None);
        return Ok(None);
    };
    let begun = Instant::now();
    loop {
        let incident: api::Incident = read(&dev.get(&fill("/api/v1/incidents/{id}", &[id])).await?)?;
        let over = incident.summary.state == api::IncidentState::Resolved;
        if over || begun.elapsed() > AFTER {
            progress.done(over, &format!("{id}: {}", incident.summary.state_text), None);
            return Ok(Some(incident));
        }
        progress.under_way(&format!("{id}: {}", incident.summary.state_text));
        tokio::time::sleep(LOOK).await;
    }
}

fn lessons(incident: &api::Incident, progress: &mut Progress) {
    for cause in incident.causes.iter().take(CAUSES_MAX) {
        let text = format!("{}. {}  {}", cause.rank, cause.text, cause.figure);
        progress.done(true, &format!("cause {}", text.trim_end()), None);
    }
    if let Some(change) = &incident.learning {
        let taken = if change.accepted { "learnt" } else { "not learnt" };
        let first = change.changes.first();
        let first = first.map(|(what, before, after)| format!("{what}: {before} before, {after} now"));
        let text = [change.text.clone(), first.unwrap_or_default()];
        let text: Vec<_> = text.into_iter().filter(|text| !text.is_empty()).collect();
        progress.done(true, &format!("{taken}: {}", text.join("; ")), None);
    }
    progress.done(
        incident.postmortem.is_some(),
        &format!("postmortem of {} written", incident.summary.id),
        None,
    );
}

/// Whether a release is live in the server's own words.
async fn serving(dev: &Client, release: &str) -> Result<bool> {
    let path = fill("/api/v1/releases/{id}", &[release]);
    let release: api::Release = read(&dev.get(&path).await?)?;
    Ok(release.state == api::ReleaseState::Live)
}
