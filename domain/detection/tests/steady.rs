//! Hours of a service's life in seconds: quiet traffic raises nothing, faults are found soon.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use trimtab_detection::steady::{Found, Gauge, Objectives, Steady};
use trimtab_detection::verdict::Outcomes;
use trimtab_detection::{Kind, Scope};
use trimtab_model::{ServiceName, Timestamp};

const FRAME_MS: i64 = 200;
const INSTANCE: &str = "blocks-r1-production-1";

/// A world like that of the demo: requests by chance, a heavy tail of latency, now and then a stall of the
/// whole machine, a rare failure, an instance whose memory grows like that of a cache.
struct Life {
    random: fastrand::Rng,
    steady: Steady,
    now: i64,
    rate: f64,
    failing: f64,
    slower: f64,
    silent: bool,
    restarts: u32,
    stall_until: i64,
}

impl Life {
    fn new(rate: f64, seed: u64) -> Self {
        let mut steady = Steady::default();
        steady.promise(Objectives::default());
        Life {
            random: fastrand::Rng::with_seed(seed),
            steady,
            now: 1_764_000_000_000,
            rate,
            failing: 0.0005,
            slower: 1.0,
            silent: false,
            restarts: 0,
            stall_until: 0,
        }
    }

    fn scope() -> Scope {
        Scope {
            service: ServiceName::new("blocks").ok(),
            ..Scope::default()
        }
    }

    fn found(&self) -> Found {
        self.steady.found(Timestamp(self.now), &Life::scope())
    }

    fn frame(&mut self) {
        self.now += FRAME_MS;
        if self.random.f64() < 0.0003 {
            self.stall_until = self.now + 600;
        }
        let stalled = self.now < self.stall_until;
        let mut outcomes = Outcomes::default();
        let expected = self.rate * FRAME_MS as f64 / 1_000.0;
        for _ in 0..poisson(&mut self.random, expected) {
            let tail = 1.0 / (1.0 - self.random.f64()).max(1e-4).sqrt();
            let stall = if stalled { 400_000.0 } else { 0.0 };
            let micros = (2_000.0 * tail + stall) * self.slower;
            let failed = self.random.f64() < self.failing;
            outcomes.record(micros as u64, failed, false);
        }
        self.steady.traffic(&outcomes);
        if self.now % 1_000 == 0 {
            self.second();
        }
    }

    fn second(&mut self) {
        let at = Timestamp(self.now);
        let cpu = self.rate * 0.2 + 3.0 * self.random.f64();
        self.steady.gauge(at, Gauge::InstanceCpu, INSTANCE, cpu, None);
        let age = (self.now - 1_764_000_000_000) as f64 / 1_000.0;
        let memory = 40.0 + 60.0 * (1.0 - (-age / 3_000.0).exp()) + self.random.f64();
        self.steady
            .gauge(at, Gauge::InstanceMemory, INSTANCE, memory, Some(24_000.0));
        let host = 2_700.0 + 100.0 * self.random.f64();
        self.steady.gauge(at, Gauge::HostMemory, "", host, Some(24_000.0));
        if !self.silent {
            self.steady.beat(INSTANCE, at);
        }
        let living = BTreeMap::from([(INSTANCE.to_owned(), self.restarts)]);
        self.steady.instances(at, &living);
        self.steady.tick(at);
    }

    /// Lives on for so many seconds; the first moment at which there is a sign, in seconds from here.
    fn until_sign(&mut self, seconds: i64) -> Option<(f64, Found)> {
        let began = self.now;
        while self.now < began + seconds * 1_000 {
            self.frame();
            if self.now % 1_000 == 0 {
                let found = self.found();
                if !found.signs.is_empty() {
                    return Some(((self.now - began) as f64 / 1_000.0, found));
                }
            }
        }
        None
    }
}

fn poisson(random: &mut fastrand::Rng, mean: f64) -> u32 {
    let (limit, mut product, mut count) = ((-mean).exp(), random.f64(), 0);
    while product > limit {
        product *= random.f64();
        count += 1;
    }
    count
}

#[test]
fn hours_of_quiet_traffic_raise_nothing() {
    for (rate, seed) in [(60.0, 1), (2.0, 2), (2.0, 3), (0.1, 4)] {
        let mut life = Life::new(rate, seed);
        let sign = life.until_sign(6 * 3_600);
        assert_eq!(sign, None, "at {rate} requests/s");
    }
}

#[test]
fn traffic_that_comes_and_goes_is_a_circumstance_only() {
    let mut life = Life::new(2.0, 5);
    for turn in 0..12 {
        life.rate = [2.0, 60.0, 0.0, 300.0][turn % 4];
        assert_eq!(life.until_sign(600), None, "at {} requests/s", life.rate);
    }
}

#[test]
fn missed_objectives_are_found_soon_and_over_when_they_are() {
    for (rate, failing, soon) in [
        (60.0, 0.3, 10.0),
        (60.0, 0.03, 40.0),
        (2.0, 0.5, 40.0),
        (2.0, 0.15, 90.0),
    ] {
        let mut life = Life::new(rate, 7);
        assert_eq!(life.until_sign(900), None);
        let usual = life.failing;
        life.failing = failing;
        let (seconds, found) = life.until_sign(300).unwrap();
        assert!(
            seconds <= soon,
            "{failing} at {rate}/s was found after {seconds} s only"
        );
        let sign = &found.signs[0];
        assert_eq!(sign.kind, Kind::Regression);
        assert!(sign.score > 0.9 && found.noticed.failing.unwrap() > 0.01);
        assert!(life.now - sign.onset.0 <= 65_000, "{sign:?}");
        life.failing = usual;
        let healed = life.now;
        while !(life.steady.is_well(Timestamp(life.now)) && life.found().signs.is_empty()) {
            life.frame();
            assert!(
                life.now < healed + 70_000,
                "still in trouble: {:?}",
                life.found().signs
            );
        }
        assert_eq!(life.until_sign(1_800), None, "it does not come back");
    }
}

#[test]
fn slow_requests_are_trouble_beyond_the_objective_only() {
    let mut life = Life::new(60.0, 8);
    assert_eq!(life.until_sign(900), None);
    life.slower = 5.0;
    assert_eq!(life.until_sign(600), None, "five times as slow is fast enough");
    life.slower = 80.0;
    let (seconds, found) = life.until_sign(120).unwrap();
    assert!(
        seconds <= 30.0 && found.noticed.failing.is_none(),
        "{seconds} {found:?}"
    );
    assert!(found.noticed.burn_rate.unwrap() > 2.0);
}

#[test]
fn what_was_dealt_with_is_forgiven() {
    let mut life = Life::new(60.0, 9);
    life.until_sign(300);
    life.failing = 0.5;
    life.until_sign(60).unwrap();
    life.failing = 0.0;
    life.steady.forgive(Timestamp(life.now));
    assert_eq!(life.until_sign(600), None);
    life.failing = 0.5;
    assert!(life.until_sign(60).is_some(), "and is not taken for usual");
}

#[test]
fn silence_and_crash_loops_are_signs_and_an_end_on_purpose_is_not() {
    let mut life = Life::new(0.5, 10);
    assert_eq!(life.until_sign(120), None);
    life.silent = true;
    let (seconds, found) = life.until_sign(60).unwrap();
    assert_eq!(found.signs[0].kind, Kind::MissingHeartbeat);
    assert!((10.0..30.0).contains(&seconds), "{seconds}");
    life.steady.instances(Timestamp(life.now), &BTreeMap::new());
    assert_eq!(life.found().signs, vec![]);

    let mut life = Life::new(0.5, 11);
    assert_eq!(life.until_sign(60), None);
    life.restarts += 1;
    assert_eq!(life.until_sign(300), None, "one restart is no loop");
    let mut found = None;
    for _ in 0..3 {
        life.restarts += 1;
        found = life.until_sign(10);
    }
    assert_eq!(found.unwrap().1.signs[0].kind, Kind::CrashLoop);
}

#[test]
fn the_watch_goes_on_after_a_restart() {
    let mut life = Life::new(60.0, 12);
    assert_eq!(life.until_sign(600), None);
    let kept = serde_json::to_vec(&life.steady).unwrap();
    println!("{} bytes are kept", kept.len());
    life.steady = serde_json::from_slice(&kept).unwrap();
    assert_eq!(life.until_sign(600), None);
    life.failing = 0.3;
    assert!(life.until_sign(30).is_some());
}
