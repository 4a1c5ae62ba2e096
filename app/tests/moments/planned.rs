//! Every planned change, under a crowd of all kinds of users: nobody may notice one.
//!
//! A moment is one change: a new share of traffic put in force, a release or an instance drained, the proxy's worker
//! replaced, `serve` killed and started. `cargo xtask soak` plays 1,000 of them.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;
use trimtab_api::{RolloutState, RunState};
use trimtab_proxy::{ProxyClient, ProxyConfig};

use crate::crowd::{Crowd, IDLE_CLOSED, Tally};
use crate::house::{
    Project, SERVICE, Server, begin, command, project, rollout, rollout_until, server, soak_rounds, steps,
};

/// Moments of an ordinary test, and for each round of a soak.
const MOMENTS: u64 = 30;
const MOMENTS_PER_ROUND: u64 = 5;

/// The changes, and what they count as.
#[derive(Default)]
struct Moments(BTreeMap<&'static str, u64>);

impl Moments {
    fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    fn all(&self) -> u64 {
        self.0.values().sum()
    }
}

struct Stage {
    server: Server,
    crowd: Crowd,
    moments: Moments,
    turn: u64,
    began: Instant,
    acts: Vec<(f64, &'static str)>,
    /// Rollouts that ended otherwise than meant.
    surprises: Vec<String>,
}

type Shift = &'static str;

impl Stage {
    fn act(&mut self, what: &'static str) {
        self.turn += 1;
        self.acts.push((self.began.elapsed().as_secs_f64(), what));
    }

    async fn begin(&self, project: &Project) -> String {
        begin(&self.server, project, &format!("Change {}", self.turn)).await
    }

    /// Waits for the end of a run and of its rollout, and counts what happened on the way.
    async fn end(&mut self, run: &str, shift: Shift, end: RolloutState) {
        let run = self.server.ended(run).await.summary;
        let deployed = end == RolloutState::Deployed;
        if (run.state == RunState::Deployed) != deployed {
            self.surprises.push(format!("{}: {}", run.id, run.state_text));
        }
        self.count(run.release.as_deref(), shift).await;
    }

    /// Counts the changes of a candidate's newest rollout, which must be over.
    async fn count(&mut self, candidate: Option<&str>, shift: Shift) {
        let all = self.server.rollouts().await;
        let mut known = all.iter();
        let Some(newest) = known.find(|rollout| candidate.is_none_or(|it| rollout.candidate == it)) else {
            // Its run ended before it; that was noted.
            return;
        };
        assert!(newest.state.is_over(), "{newest:?}");
        let whole = rollout(&self.server, &newest.id).await;
        let shares: Vec<f64> = whole
            .weights
            .iter()
            .map(|weight| weight.candidate_percent)
            .collect();
        let (mut forward, mut back) = (0, 0);
        for pair in shares.windows(2) {
            forward += u64::from(pair[1] > pair[0]);
            back += u64::from(pair[1] < pair[0]);
        }
        // The first share may be one already, and the last step ends at everyone.
        forward += u64::from(shares.first().is_some_and(|first| *first > 0.0));
        let last = u64::from(forward > 0 && shares.last() == Some(&100.0));
        self.moments.add(shift, forward - last);
        self.moments.add("last step", last);
        self.moments.add("back to the previous release", back);
        self.moments.add("drain", 1);
    }

    async fn blue_green(&mut self) {
        self.act("blue-green");
        let run = self.begin(&project("blue-green")).await;
        self.end(&run, "switch", RolloutState::Deployed).await;
    }

    async fn canary(&mut self, kill_serve: bool) {
        self.act(if kill_serve {
            "canary, serve killed in it"
        } else {
            "canary"
        });
        let run = self.begin(&project("canary")).await;
        if kill_serve {
            rollout_until(&self.server, "a share", |rollout| rollout.candidate_percent > 0.0).await;
            self.kill_serve().await;
        }
        self.end(&run, "canary step", RolloutState::Deployed).await;
    }

    async fn kill_serve(&mut self) {
        self.server.kill();
        self.server.up().await;
        self.moments.add("kill -9 of serve", 1);
    }

    /// A candidate that stays at a fifth; returns its run.
    async fn linger(&self) -> (String, String) {
        let long = project("canary").production("steps", &steps(&[20], "60s"));
        let run = self.begin(&long).await;
        let rollout = rollout_until(&self.server, "a fifth", |rollout| {
            rollout.candidate_percent > 0.0 && rollout.run.as_deref() == Some(&run)
        })
        .await;
        (run, rollout.id)
    }

    async fn abort(&mut self) {
        self.act("abort");
        let (run, rollout) = self.linger().await;
        command(
            &self.server,
            &format!("/api/v1/rollouts/{rollout}/abort"),
            json!({}),
        )
        .await;
        self.moments.add("abort", 1);
        self.end(&run, "canary step", RolloutState::RolledBack).await;
    }

    async fn supersede(&mut self) {
        self.act("superseding release");
        let (first, _) = self.linger().await;
        self.turn += 1;
        let second = self.begin(&project("blue-green")).await;
        self.end(&second, "switch", RolloutState::Deployed).await;
        self.moments.add("superseded", 1);
        self.end(&first, "canary step", RolloutState::RolledBack).await;
    }

    async fn roll_back(&mut self) {
        self.act("rollback to the previous release");
        let done = command(&self.server, "/api/v1/rollback", json!({"service": SERVICE})).await;
        let ended = rollout_until(&self.server, "the way back", |rollout| rollout.state.is_over()).await;
        assert!(done["id"].is_string(), "{done}");
        self.count(Some(&ended.candidate), "switch").await;
    }

    /// Instance by instance, to another number of them.
    async fn scale(&mut self, instances: u32) {
        self.act("rolling, to another number of instances");
        let mut project = project("rolling");
        project.instances = instances;
        let run = self.begin(&project).await;
        self.end(&run, "batch of instances", RolloutState::Deployed).await;
        self.moments.add("another number of instances", 1);
    }

    /// A person's word changes how many run of the release that serves.
    async fn resize(&mut self, instances: Option<u32>) {
        self.act("scaled by a person");
        let path = format!("/api/v1/services/{SERVICE}/scale");
        command(&self.server, &path, json!({"instances": instances})).await;
        self.moments.add("scaled by a person", 1);
    }

    async fn upgrade(&mut self) {
        self.act("upgrade of the proxy");
        let program = env!("CARGO_BIN_EXE_trimtab");
        let place = &self.server.place;
        let config = ProxyConfig::new(place.data().join("proxy"), program, vec![place.traffic()]);
        let proxy = ProxyClient::start_or_adopt(config).await.unwrap();
        proxy.upgrade(program.into()).await.unwrap();
        self.moments.add("upgrade of the proxy's worker", 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn soak_planned_moments_fail_no_request() {
    let wanted = soak_rounds().map_or(MOMENTS, |rounds| rounds * MOMENTS_PER_ROUND);
    let server = server(&project("blue-green")).await;
    let crowd = Crowd::start(server.place.traffic());
    let began = Instant::now();
    let mut stage = Stage {
        server,
        crowd,
        moments: Moments::default(),
        turn: 0,
        began,
        acts: Vec::new(),
        surprises: Vec::new(),
    };
    while stage.moments.all() < wanted {
        stage.blue_green().await;
        stage.canary(true).await;
        stage.upgrade().await;
        stage.abort().await;
        stage.resize(Some(3)).await;
        stage.resize(None).await;
        stage.scale(3).await;
        stage.scale(2).await;
        stage.act("kill -9 of serve");
        stage.kill_serve().await;
        stage.supersede().await;
        stage.upgrade().await;
        stage.canary(false).await;
        stage.roll_back().await;
        let tally = stage.crowd.tally();
        println!(
            "{:.0} s: {} moments, {} asked, {} failed",
            began.elapsed().as_secs_f64(),
            stage.moments.all(),
            tally.asked(),
            tally.failures.len()
        );
    }
    let Stage {
        server,
        crowd,
        moments,
        acts,
        surprises,
        ..
    } = stage;
    let tally = crowd.stop().await;
    println!("ended otherwise than meant: {surprises:?}");
    tell_incidents(&server).await;
    println!("{} moments: {:?}", moments.all(), moments.0);
    report(&tally, &acts);
    assert_eq!(tally.failures, [], "{}", server.log());
    assert_eq!(tally.notes.get(IDLE_CLOSED), None);
    server.stop().await;
}

/// Prints what was found wrong with releases that are all good.
async fn tell_incidents(server: &Server) {
    let all: Vec<serde_json::Value> = server.get("/api/v1/incidents").await;
    for incident in all {
        let id = incident["id"].as_str().unwrap_or_default();
        let whole: serde_json::Value = server.get(&format!("/api/v1/incidents/{id}")).await;
        println!("{whole}");
    }
}

/// Prints what users saw, each failure with the act it fell in.
fn report(tally: &Tally, acts: &[(f64, &str)]) {
    println!("{} asked, {} failed", tally.asked(), tally.failures.len());
    println!("good: {:?}\nbesides: {:?}", tally.good, tally.notes);
    for failure in &tally.failures {
        let act = acts.iter().rev().find(|(began, _)| *began <= failure.at);
        println!(
            "{:.2} s, in {act:?}: {}: {}",
            failure.at, failure.kind, failure.what
        );
    }
}
