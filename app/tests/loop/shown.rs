//! What the real server shows and takes: figures, roles, comments, incidents worked by people.

use std::time::Duration;

use serde_json::{Value, json};
use trimtab_api::routes::{self, Access};
use trimtab_api::{Dashboard, Figure, FigureState, HealthStatus, Incident, IncidentSummary, Run, RunState};

use crate::house::{Place, Project, SERVICE, Server};

async fn server(project: &Project) -> Server {
    let place = Place::make();
    place.commit(project, "Begin");
    let repository = place.repository();
    Server::start(place, &repository).await
}

fn of<'d>(dashboard: &'d Dashboard, id: &str) -> &'d Figure {
    dashboard.figures.iter().find(|figure| figure.id == id).unwrap()
}

/// Asks for the dashboard until it pleases.
async fn dashboard(server: &Server, what: &str, pleases: impl Fn(&Dashboard) -> bool) -> Dashboard {
    for _ in 0..1_200 {
        let found: Dashboard = server.get("/api/v1/dashboard").await;
        if pleases(&found) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("waited in vain for {what}: {}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_is_known_or_says_no_data() {
    let mut project = Project::without_staging();
    project.more = "objectives: {availability: 99%, latency: 500ms, latency_share: 90%, apdex: 300ms}\n\
                    business:\n  - {name: served, title: Served, unit: /s, query: 'sum(rate(trimtab_requests_total[10s]))'}\n\
                    application: {active_users: 'sum(nobody_exports_this)'}\n"
        .to_owned();
    let server = server(&project).await;
    let empty = dashboard(&server, "the host's figures", |d| of(d, "D.S1").value.is_some()).await;
    for id in [
        "D.S5", "D.A1", "D.A2", "D.A3", "D.A4", "D.A5", "D.Q1", "D.Q2", "D.Q3", "D.Q4", "D.Q5",
    ] {
        let figure = of(&empty, id);
        assert_eq!((figure.value, figure.state), (None, FigureState::NoData), "{id}");
    }
    assert_eq!(of(&empty, "D.AL3").value, Some(0.0));
    // The host may be short of something; nobody may call what nobody measured healthy.
    assert_ne!(
        empty.health.status,
        HealthStatus::Healthy,
        "{}",
        empty.health.reason
    );

    let run = server.run().await;
    server.ended(&run).await;
    let load = server.load(60);
    let known = [
        "D.S1", "D.S2", "D.S3", "D.S4", "D.S5", "D.A1", "D.A2", "D.A3", "D.B1", "D.Q1", "D.Q2",
    ];
    let full = dashboard(&server, "every figure", |found| {
        known.iter().all(|id| of(found, id).value.is_some()) && of(found, "D.A1").value.unwrap() > 10.0
    })
    .await;
    let value = |id: &str| of(&full, id).value.unwrap();
    assert_eq!(value("D.A3"), 0.0, "no request failed");
    assert!((0.0..=1.0).contains(&value("D.Q1")), "{}", value("D.Q1"));
    assert!((0.0..=100.0).contains(&value("D.Q2")), "{}", value("D.Q2"));
    assert!((0.0..=100.0).contains(&value("D.S5")), "{}", value("D.S5"));
    assert!(of(&full, "D.S2").total.unwrap() > value("D.S2"));
    for id in ["D.A4", "D.A5", "D.Q3", "D.Q4", "D.Q5"] {
        assert_eq!(of(&full, id).value, None, "{id}");
    }
    assert!(of(&full, "D.A5").detail.contains("not declared"));
    assert!(of(&full, "D.A1").sparkline.iter().any(Option::is_some));
    for id in [
        "requests", "errors", "latency", "cpu", "memory", "network", "D.B1",
    ] {
        let chart = full.charts.iter().find(|chart| chart.id == id).unwrap();
        let drawn = chart.series.iter().flat_map(|series| &series.points);
        assert!(drawn.filter(|(_, value)| value.is_some()).count() > 0, "{id}");
    }
    assert_eq!(full.markers.len(), 1, "one deploy: {:?}", full.markers);
    assert_eq!(full.health.budget.unwrap().left_percent, Some(100.0));

    let staging: Dashboard = server.get("/api/v1/dashboard?environment=staging").await;
    assert_eq!(
        (staging.environment.as_str(), of(&staging, "D.A1").value),
        ("staging", None)
    );
    let admin = server.admin();
    for (service, score, wanted) in [
        (SERVICE, 5.0, 200),
        (SERVICE, 3.0, 200),
        (SERVICE, 9.0, 422),
        ("other", 3.0, 404),
    ] {
        let (status, answer) = server
            .post(
                &admin,
                "/api/v1/feedback",
                &json!({"service": service, "score": score}),
            )
            .await;
        assert!(
            status == wanted || (wanted == 422 && status == 400),
            "{service} {score}: {status} {answer}"
        );
    }
    dashboard(&server, "the mean score", |found| {
        of(found, "D.Q5").value == Some(4.0)
    })
    .await;
    load.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_server_refuses_whoever_may_not() {
    let project = Project::default().gate("approval", "{role: approver, timeout: 10m}");
    let server = server(&project).await;
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    let http = http.build().unwrap();
    for route in routes::all() {
        let path = routes::fill(route.path, &["nothing-1", "nothing"]).replace("%7B%2Apath%7D", "nothing");
        let method = route.method.as_str().parse().unwrap();
        let status = http
            .request(method, server.address(&path))
            .send()
            .await
            .unwrap()
            .status();
        if let Access::Role(_) = route.access {
            assert_eq!(status, 401, "{} {}", route.method.as_str(), route.path);
        }
    }
    let [viewer, developer, approver] = [
        server.token("vera", "viewer").await,
        server.token("dev", "developer").await,
        server.token("qa", "approver").await,
    ];
    assert_eq!(
        server
            .post(&viewer, "/api/v1/deploy", &json!({"service": SERVICE}))
            .await
            .0,
        403
    );
    let (status, done) = server
        .post(&developer, "/api/v1/deploy", &json!({"service": SERVICE}))
        .await;
    assert_eq!(status, 200, "{done}");
    let run = done["id"].as_str().unwrap().to_owned();
    let (approve, reject) = (
        format!("/api/v1/runs/{run}/approve"),
        format!("/api/v1/runs/{run}/reject"),
    );
    // Too soon is told apart from not allowed.
    assert_eq!(
        server.post(&approver, &approve, &json!({"comment": "x"})).await.0,
        409
    );
    server
        .run_until(&run, "the gate", |run| run.approval.is_some())
        .await;
    for token in [&viewer, &developer] {
        for path in [
            &approve,
            &reject,
            &"/api/v1/rollouts/rollout-1/promote".to_owned(),
        ] {
            assert_eq!(
                server.post(token, path, &json!({"comment": "x"})).await.0,
                403,
                "{path}"
            );
        }
    }
    let (status, answer) = server
        .post(&approver, &approve, &json!({"comment": "Tried in staging."}))
        .await;
    assert_eq!(status, 200, "{answer}");
    let ended = server.ended(&run).await;
    assert_eq!(
        ended.summary.state,
        RunState::Deployed,
        "{}",
        ended.summary.state_text
    );
    assert_eq!(ended.summary.trigger, "asked for by dev");
    let told = ended
        .timeline
        .iter()
        .find(|entry| entry.text.contains("approved by qa"))
        .unwrap();
    assert_eq!(told.detail, "Tried in staging.");
    let release: trimtab_api::Release = server.get(&format!("/api/v1/releases/{SERVICE}-r1")).await;
    assert_eq!(release.provenance.unwrap().approved_by.as_deref(), Some("qa"));

    let tokens: Vec<trimtab_api::Token> = server.get("/api/v1/tokens").await;
    let qa = tokens.iter().find(|token| token.name == "qa").unwrap();
    assert!(qa.last_used_at.is_some());
    let gone = http
        .delete(server.address(&format!("/api/v1/tokens/{}", qa.id)))
        .bearer_auth(server.admin());
    assert!(gone.send().await.unwrap().status().is_success());
    assert_eq!(
        server.post(&approver, &approve, &json!({"comment": "x"})).await.0,
        401
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_says_who_and_why() {
    let project = Project::without_staging().stage("unit", "sleep 60");
    let server = server(&project).await;
    let run = server.run().await;
    server
        .run_until(&run, "its tests", |run| {
            let unit = run
                .summary
                .stages
                .iter()
                .find(|stage| stage.name == "unit")
                .unwrap();
            unit.state == trimtab_api::StageState::Running
        })
        .await;
    let path = format!("/api/v1/runs/{run}/cancel");
    let (status, answer) = server
        .post(&server.admin(), &path, &json!({"comment": "Wrong branch."}))
        .await;
    assert_eq!(status, 200, "{answer}");
    let ended = server.ended(&run).await;
    assert_eq!(
        ended.summary.state,
        RunState::Cancelled,
        "{}",
        ended.summary.state_text
    );
    let unit = ended
        .summary
        .stages
        .iter()
        .find(|stage| stage.name == "unit")
        .unwrap();
    assert_eq!(unit.state, trimtab_api::StageState::Cancelled);
    let comment = ended
        .timeline
        .iter()
        .find(|entry| entry.detail == "Wrong branch.")
        .unwrap();
    assert_eq!(comment.actor, "local-admin");
    assert_eq!(
        server
            .post(&server.admin(), &path, &json!({"comment": ""}))
            .await
            .0,
        409,
        "it is over"
    );
    server.stop().await;
}

async fn incident(server: &Server, pleases: impl Fn(&IncidentSummary) -> bool) -> Incident {
    for _ in 0..600 {
        let all: Vec<IncidentSummary> = server.get("/api/v1/incidents").await;
        if let Some(found) = all.into_iter().find(&pleases) {
            return server.get(&format!("/api/v1/incidents/{}", found.id)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("waited in vain for an incident: {}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_tells_what_it_cost_and_takes_the_words_of_people() {
    let good = Project::without_staging();
    let server = server(&good).await;
    let run = server.run().await;
    server.ended(&run).await;
    let load = server.load(80);
    let bad = good.production("watch", "60s").with("fail=0.5 path=/work");
    server.place.commit(&bad, "Tear version vectors");
    let run = server.run().await;
    let open = incident(&server, |one| one.state.is_open()).await;
    let say = async |verb: &str, body: Value| {
        let path = format!("/api/v1/incidents/{}/{verb}", open.summary.id);
        server.post(&server.admin(), &path, &body).await
    };
    let (status, answer) = say("acknowledge", json!({"comment": "I am on it."})).await;
    assert_eq!(status, 200, "{answer}");
    let (status, _) = say("silence", json!({"reason": "", "minutes": 5})).await;
    assert!((400..500).contains(&status), "a silence needs a reason: {status}");
    let (status, answer) = say("silence", json!({"reason": "Enough said.", "minutes": 5})).await;
    assert_eq!(status, 200, "{answer}");
    let ended: Run = server.ended(&run).await;
    assert_eq!(
        ended.summary.state,
        RunState::Failed,
        "{}",
        ended.summary.state_text
    );
    let closed = incident(&server, |one| one.resolved_at.is_some()).await;
    assert_eq!(closed.summary.acknowledged_by.as_deref(), Some("local-admin"));
    assert!(closed.summary.silenced && closed.silences[0].reason == "Enough said.");
    assert!(closed.timeline.iter().any(|entry| entry.detail == "I am on it."));
    assert!(closed.impact.requests_failed.unwrap() > 0);
    assert!(closed.impact.duration_ms.unwrap() > 0);
    assert!(closed.impact.budget_percent.unwrap() > 0.0);
    assert_eq!(closed.impact.users, None, "no line names a user");
    assert_eq!(
        (closed.causes[0].kind.as_str(), closed.causes[0].subject.as_str()),
        ("release", "notes-r2")
    );
    assert!(
        closed.causes[0].figure.contains("against"),
        "{}",
        closed.causes[0].figure
    );
    assert!(!closed.proposals.is_empty() && closed.postmortem.is_some());
    assert!(
        closed
            .actions
            .iter()
            .any(|action| action.text == "rolled back" && action.succeeded == Some(true))
    );
    let learning = closed.learning.unwrap();
    assert!(
        !learning.text.is_empty() && learning.episodes.is_some(),
        "{learning:?}"
    );

    // What the rollout's page has, now that it is over.
    let rollout = closed.summary.rollout.unwrap();
    let rollout: trimtab_api::Rollout = server.get(&format!("/api/v1/rollouts/{rollout}")).await;
    let (baseline, candidate) = (
        rollout.baseline_figures.unwrap(),
        rollout.candidate_figures.unwrap(),
    );
    assert_eq!(
        (baseline.release.as_str(), candidate.release.as_str()),
        ("notes-r1", "notes-r2")
    );
    assert!(
        candidate.errors > 0 && candidate.errors < candidate.requests,
        "{candidate:?}"
    );
    assert_eq!(Some(candidate.errors), closed.impact.requests_failed);
    let verdict = rollout.verdict.unwrap();
    assert_eq!(verdict.decision, trimtab_api::VerdictDecision::Regressed);
    assert!(
        verdict.evidence.iter().any(|one| one.e_value >= one.threshold),
        "{:?}",
        verdict.evidence
    );
    let weights: Vec<f64> = rollout
        .weights
        .iter()
        .map(|step| step.candidate_percent)
        .collect();
    assert_eq!(weights, [95.0, 0.0]);
    assert!(
        rollout
            .phases
            .iter()
            .any(|phase| phase.name == "take traffic off")
    );
    assert_eq!(rollout.charts.len(), 4);
    load.stop().await;
    server.stop().await;
}
