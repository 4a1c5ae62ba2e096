//! The real program in a real browser: its numbers move, and a roll-back appears, without a reload.

use std::time::Duration;

use serde_json::json;
use trimtab_api::{IncidentState, IncidentSummary, RunState};

use crate::driver::Browser;
use crate::house::{Place, Project, SERVICE, Server};

/// Text of a figure's value on the overview, as an expression of the page.
fn figure(id: &str) -> String {
    format!("document.querySelector('[data-figure=\"{id}\"] [data-value]')?.textContent")
}

/// Logs in by the link that `serve` printed, as a person after the first start.
async fn signed_in(server: &Server) -> Browser {
    let log = server.log();
    let link = log
        .split_whitespace()
        .find(|word| word.contains("/login?code="))
        .unwrap();
    let mut browser = Browser::start().await;
    browser.open(link).await;
    browser
        .wait_for("location.pathname === '/' && document.readyState === 'complete'")
        .await;
    browser
        .wait_for("document.querySelector('[data-live-mark]')?.dataset.live === 'on'")
        .await;
    browser
}

/// The incident when it is written up.
async fn written_up(server: &Server) -> IncidentSummary {
    for _ in 0..600 {
        let all: Vec<IncidentSummary> = server.get("/api/v1/incidents").await;
        if let Some(done) = all.into_iter().find(|one| one.state == IncidentState::Resolved) {
            return done;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("no incident was resolved: {}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_dashboard_moves_and_shows_the_roll_back_without_a_reload() {
    let good = Project::without_staging();
    let place = Place::make();
    place.commit(&good, "Begin");
    let repository = place.repository();
    let server = Server::start(place, &repository).await;
    let run = server.run().await;
    let first = server.ended(&run).await;
    assert_eq!(
        first.summary.state,
        RunState::Deployed,
        "{}",
        first.summary.state_text
    );
    let load = server.load(60);
    let mut browser = signed_in(&server).await;
    browser.evaluate("window.never_left = true").await;

    // Numbers of a healthy service, and no number where nothing is known.
    browser
        .wait_for(&format!("parseFloat({}) > 0", figure("D.A1")))
        .await;
    browser
        .wait_for(&format!("parseFloat({}) > 0", figure("D.S1")))
        .await;
    browser.wait_for(&format!("{} === '0'", figure("D.A3"))).await;
    assert_eq!(browser.evaluate(&figure("D.Q5")).await, "no data");
    let moving = figure("D.A1");
    browser.evaluate(&format!("window.first = {moving}")).await;
    browser.wait_for(&format!("{moving} !== window.first")).await;
    let score = json!({"service": SERVICE, "score": 4.0});
    assert_eq!(
        server.post(&server.admin(), "/api/v1/feedback", &score).await.0,
        200
    );
    browser
        .wait_for(&format!("parseFloat({}) === 4", figure("D.Q5")))
        .await;

    // A bad release: the page follows it by itself.
    let bad = good.production("watch", "60s").with("fail=0.4 path=/work");
    server.place.commit(&bad, "Tear version vectors");
    let run = server.run().await;
    browser
        .wait_for("document.querySelector('[data-rollout]')?.dataset.rollout === 'rollout-2'")
        .await;
    let ended = server.ended(&run).await;
    assert_eq!(
        ended.summary.state,
        RunState::Failed,
        "{}",
        ended.summary.state_text
    );
    browser
        .wait_for("document.querySelector('[data-rollout-state]').dataset.rolloutState === 'Rolled back'")
        .await;
    browser
        .wait_for("document.querySelector('.lane a[href=\"/incidents/incident-1\"]') !== null")
        .await;
    browser
        .wait_for("document.querySelector('[data-region=timeline]').innerText.includes('rolled back')")
        .await;
    assert_eq!(
        browser.evaluate("window.never_left").await,
        true,
        "the page was loaded again"
    );
    let incident = written_up(&server).await;
    look_around(&mut browser, &server, &incident.id).await;
    assert_eq!(browser.complaints, Vec::<String>::new());
    load.stop().await;
    server.stop().await;
}

/// The pages of what happened, on a phone as well.
async fn look_around(browser: &mut Browser, server: &Server, incident: &str) {
    let text = "document.querySelector('main').innerText";
    browser.open(&server.address("/rollouts/rollout-2")).await;
    for part in [
        "Regressed",
        "notes-r1",
        "notes-r2",
        "take traffic off",
        "decides at",
    ] {
        browser.wait_for(&format!("{text}.includes('{part}')")).await;
    }
    let failed =
        "Number(document.querySelectorAll('table.arms tbody tr')[3].lastElementChild.textContent) > 0";
    browser.wait_for(failed).await;
    browser
        .open(&server.address(&format!("/incidents/{incident}")))
        .await;
    browser
        .wait_for("document.querySelector('.postmortem').innerText.includes('Follow-ups')")
        .await;
    assert_eq!(
        browser
            .evaluate("document.querySelectorAll('ol.causes li').length > 0")
            .await,
        true
    );
    browser.resize(390, 844).await;
    for path in [
        "/",
        "/rollouts/rollout-2",
        "/incidents/incident-1",
        "/runs/run-2",
        "/services",
    ] {
        browser.open(&server.address(path)).await;
        let wide = browser.evaluate("document.documentElement.scrollWidth").await;
        assert!(wide.as_u64().unwrap() <= 390, "{path} is {wide} wide on a phone");
    }
}
