//! kill -9 of `serve`, the proxy's worker and holder, a shim, an instance, at random moments of real rollouts of
//! every strategy, good ones and bad ones.
//!
//! After each rollout: it has ended, in time; users are served by the release that is said to serve; whatever was
//! acknowledged is there. Users' failures are counted for each kill. `cargo xtask soak` kills 200 times;
//! `TRIMTAB_SEED=N` draws other moments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use trimtab_api::{LogPage, Run, RunState, RunSummary};

use crate::crowd::{Crowd, Failure};
use crate::house::{PATIENCE, Project, Server, begin, instances, kill, project, server, soak_rounds, until};

/// Kills of an ordinary test; in a soak, as many as its rounds.
const KILLS: u64 = 6;
const STRATEGIES: [&str; 4] = ["blue-green", "canary", "rolling", "flag"];
/// What a rollout that met kills may take.
const ROLLOUT_MAX: Duration = Duration::from_secs(100);
/// A request may begin on a connection whose end is on its way already.
const ON_ITS_WAY_S: f64 = 0.2;
/// How long a holder that was killed may be missing.
const BOTH_S: f64 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Serve,
    Worker,
    Holder,
    Shim,
    Instance,
}

const PARTS: [Part; 5] = [
    Part::Serve,
    Part::Worker,
    Part::Holder,
    Part::Shim,
    Part::Instance,
];

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// A kill, and what it cost.
#[derive(Debug)]
struct Kill {
    part: Part,
    at: f64,
    in_flight: usize,
    /// What was in flight.
    cut: Vec<String>,
    /// What began later and failed all the same.
    late: Vec<String>,
}

impl Part {
    /// Whether its death cuts what runs through it.
    fn carries(self) -> bool {
        matches!(self, Part::Worker | Part::Shim | Part::Instance)
    }
}

/// What must be there in the end.
#[derive(Default)]
struct Acknowledged {
    runs: Vec<String>,
    lines: Vec<String>,
}

impl Acknowledged {
    /// Sends a log line as one of the instances would; keeps it if the server took it.
    async fn send_line(&mut self, server: &Server, number: u64) {
        let Some((endpoint, header)) = instances(server).into_iter().find_map(telemetry_of) else {
            return;
        };
        let (name, token) = header.split_once('=').unwrap();
        let line = format!("acknowledged line {number} of this soak");
        let nanos = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_nanos()
            .to_string();
        let record = json!({"timeUnixNano": nanos, "severityNumber": 9, "body": {"stringValue": line}});
        let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]});
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client
            .post(format!("{endpoint}/v1/logs"))
            .header(name, token.replace("%20", " "));
        let answer = request.json(&body).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            self.lines.push(line);
        }
    }

    async fn assert_present(&self, server: &Server) {
        for run in &self.runs {
            let _: Run = server.get(&format!("/api/v1/runs/{run}")).await;
        }
        let page: LogPage = server
            .get("/api/v1/logs?text=acknowledged%20line&limit=5000")
            .await;
        for line in &self.lines {
            assert!(
                page.lines.iter().any(|found| found.body == *line),
                "{line:?} is lost; {} of {} are there",
                page.lines.len(),
                self.lines.len()
            );
        }
    }
}

/// Where an instance sends its telemetry, and what it shows there.
fn telemetry_of(pid: u32) -> Option<(String, String)> {
    let all = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let all = String::from_utf8_lossy(&all).into_owned();
    let value = |name: &str| all.split('\0').find_map(|line| line.strip_prefix(name));
    Some((
        value("OTEL_EXPORTER_OTLP_ENDPOINT=")?.to_owned(),
        value("OTEL_EXPORTER_OTLP_HEADERS=")?.to_owned(),
    ))
}

/// A victim of a part, if there is one now.
fn victim(server: &Server, part: Part, dice: &mut Dice) -> Option<u32> {
    let all = match part {
        Part::Serve => return None,
        Part::Worker => server.pids("proxy worker"),
        Part::Holder => server.pids("proxy holder"),
        Part::Shim => server.pids(" shim "),
        Part::Instance => instances(server),
    };
    (!all.is_empty()).then(|| dice.pick(&all))
}

/// Kills one process; none of a part that has none at the moment.
async fn kill_one(
    server: &mut Server,
    crowd: &Crowd,
    began: Instant,
    part: Part,
    dice: &mut Dice,
) -> Option<Kill> {
    let victim = victim(server, part, dice);
    let killed = Kill {
        part,
        at: began.elapsed().as_secs_f64(),
        in_flight: crowd.in_flight(),
        cut: Vec::new(),
        late: Vec::new(),
    };
    if part == Part::Serve {
        server.kill();
        tokio::time::sleep(Duration::from_millis(dice.below(400))).await;
        server.up().await;
    } else {
        kill(victim?);
    }
    Some(killed)
}

/// A release that stays.
fn good(strategy: &str, turn: usize) -> Project {
    match strategy {
        "flag" => behind_flag(
            turn,
            "",
            "[{weight: 10%, watch: 300ms}, {weight: 50%, watch: 300ms}]",
        ),
        _ => project(strategy),
    }
}

/// Each has a flag of its own: one that is on for everybody already is not rolled out again.
fn behind_flag(turn: usize, faults: &str, steps: &str) -> Project {
    project("flag")
        .with(&format!("flag=change-{turn} {faults}"))
        .production("flag", &format!("{{key: change-{turn}, steps: {steps}}}"))
}

/// A release that is rolled back when it is seen.
fn bad(strategy: &str, turn: usize) -> Project {
    let faults = "fail=0.6 path=/work";
    let bad = project(strategy).with(faults);
    match strategy {
        "canary" => bad.production("steps", "[{weight: 30%, watch: 20s}]"),
        "rolling" => bad.production("rolling", "{surge_max: 1, ready_min: 20s}"),
        "flag" => behind_flag(turn, faults, "[{weight: 50%, watch: 20s}]"),
        _ => bad.production("watch", "20s"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn soak_kills_during_rollouts_leave_nothing_half_done() {
    let wanted = soak_rounds().unwrap_or(KILLS);
    let seed = std::env::var("TRIMTAB_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut dice = Dice(seed);
    let mut first = project("blue-green");
    first.instances = 2;
    let mut server = server(&first).await;
    let began = Instant::now();
    let crowd = Crowd::start(server.place.traffic());
    let mut kills: Vec<Kill> = Vec::new();
    let mut ends = BTreeMap::<String, u64>::new();
    let mut acknowledged = Acknowledged::default();
    let mut turn = 0;
    while (kills.len() as u64) < wanted {
        let strategy = STRATEGIES[turn % STRATEGIES.len()];
        let is_bad = dice.below(4) == 0;
        let mut plan = if is_bad {
            bad(strategy, turn)
        } else {
            good(strategy, turn)
        };
        plan.instances = 2;
        turn += 1;
        let run = begin(&server, &plan, &format!("Change {turn}")).await;
        acknowledged.runs.push(run.clone());
        let started = Instant::now();
        for _ in 0..=dice.below(3) {
            tokio::time::sleep(Duration::from_millis(300 + dice.below(1_500))).await;
            acknowledged.send_line(&server, kills.len() as u64).await;
            let part = dice.pick(&PARTS);
            kills.extend(kill_one(&mut server, &crowd, began, part, &mut dice).await);
        }
        let ended = server.ended(&run).await.summary;
        let took = started.elapsed();
        assert!(took < ROLLOUT_MAX, "{strategy} took {took:?}");
        let goodness = if is_bad { "bad" } else { "good" };
        let end = format!("{goodness} {strategy}: {:?}", ended.state);
        *ends.entry(end).or_default() += 1;
        if (ended.state == RunState::Deployed) == is_bad {
            println!("{}: {}", ended.id, ended.state_text);
        }
        check(&server, is_bad, &ended).await;
    }
    let log = server.log();
    acknowledged.assert_present(&server).await;
    let tally = crowd.stop().await;
    let mut by_bad_releases = 0;
    for failure in &tally.failures {
        if failure.what.starts_with("500 by") {
            by_bad_releases += 1;
        } else {
            blame(&mut kills, failure);
        }
    }
    println!(
        "seed {seed}: {} kills in {turn} rollouts, {:.0} s; {} asked, {by_bad_releases} failed by bad releases; {ends:?}",
        kills.len(),
        began.elapsed().as_secs_f64(),
        tally.asked()
    );
    println!("good: {:?}\nbesides: {:?}", tally.good, tally.notes);
    println!(
        "{} lines and {} runs acknowledged, all there",
        acknowledged.lines.len(),
        turn
    );
    report(&kills, &log);
    server.stop().await;
}

/// Nothing half done, and users are where they should be.
async fn check(server: &Server, was_bad: bool, run: &RunSummary) {
    let began = Instant::now();
    while server
        .rollouts()
        .await
        .iter()
        .any(|rollout| !rollout.state.is_over())
    {
        assert!(began.elapsed() < PATIENCE, "{:?}", server.rollouts().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rollouts = server.rollouts().await;
    let newest = &rollouts[0];
    let serves = if newest.candidate_percent > 0.0 {
        Some(newest.candidate.as_str())
    } else {
        newest.baseline.as_deref()
    };
    let deployed = newest.state == trimtab_api::RolloutState::Deployed;
    // A flag that was disabled leaves its release.
    if newest.strategy != trimtab_api::Strategy::FeatureFlag {
        assert_eq!(deployed, newest.candidate_percent == 100.0, "{newest:?}");
    }
    // A run whose steps were lost with `serve` too often ends before its rollout.
    let of_run = newest.run.as_deref() == Some(&run.id);
    if was_bad && of_run {
        assert!(!deployed, "a bad release is deployed: {newest:?}");
    }
    if !of_run {
        assert_eq!(run.state, RunState::Failed, "{run:?}");
    }
    // Whoever was killed last may still be starting; nobody else answers meanwhile.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/somewhere", server.place.traffic());
    let mut good = 0;
    while good < 5 {
        assert!(began.elapsed() < PATIENCE, "nobody answers users");
        let answer = client.get(&url).send().await;
        let answer = answer.ok().filter(|answer| answer.status().is_success());
        let Some(answer) = answer else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let by = answer.headers().get("x-release");
        let by = by.map(|by| by.to_str().unwrap().to_owned());
        assert_eq!(by.as_deref(), serves, "{newest:?}");
        good += 1;
    }
    until("two instances of what serves, and nothing else", || {
        (instances(server).len() == 2).then_some(())
    })
    .await;
}

/// Puts a failure down to the kill that cut it: the last of a part that carried it, from its beginning on.
fn blame(kills: &mut [Kill], failure: &Failure) {
    let Failure {
        began,
        at,
        kind,
        what,
    } = failure;
    let cuts = |kill: &Kill| kill.part.carries() && kill.at >= began - ON_ITS_WAY_S && kill.at <= *at;
    let told = |kill: &Kill| {
        format!(
            "{:.2} s later, begun {:+.2} s, {kind}: {what}",
            at - kill.at,
            began - kill.at
        )
    };
    if let Some(kill) = kills.iter_mut().rev().find(|kill| cuts(kill)) {
        kill.cut.push(told(kill));
    } else if let Some(kill) = kills.iter_mut().rev().find(|kill| kill.at <= *at) {
        kill.late.push(told(kill));
    }
}

/// Prints what each kind of kill cost, and fails on one that cost more than what was in flight.
fn report(kills: &[Kill], log: &str) {
    for part in PARTS {
        let these: Vec<&Kill> = kills.iter().filter(|kill| kill.part == part).collect();
        let cut: Vec<usize> = these.iter().map(|kill| kill.cut.len()).collect();
        println!(
            "{part:?}: {} kills with {} requests in flight, {} of them cut, {} at most in one, {} failed that began later",
            these.len(),
            these.iter().map(|kill| kill.in_flight).sum::<usize>(),
            cut.iter().sum::<usize>(),
            cut.iter().max().unwrap_or(&0),
            these.iter().map(|kill| kill.late.len()).sum::<usize>(),
        );
    }
    for kill in kills.iter().filter(|kill| kill.cut.len() + kill.late.len() > 0) {
        println!("{kill:?}");
    }
    let mut holder_killed = f64::NEG_INFINITY;
    let order = kills.iter().map(|kill| format!("{:?} {:.2}", kill.part, kill.at));
    let order = order.collect::<Vec<_>>().join(", ");
    for kill in kills {
        if kill.part == Part::Holder {
            holder_killed = kill.at;
        }
        // Each of both has the listening sockets; killed at once, nobody has.
        if kill.part == Part::Worker && kill.at - holder_killed < BOTH_S {
            continue;
        }
        assert!(kill.late.is_empty(), "{kill:?}\n{order}\n{log}");
        assert!(kill.cut.len() <= Crowd::IN_FLIGHT_MAX, "{kill:?}\n{order}\n{log}");
    }
}
