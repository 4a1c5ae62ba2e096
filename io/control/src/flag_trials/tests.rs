#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;
use std::sync::Arc;
use trimtab_detection::verdict::Decision;
use trimtab_flags::{bucket, murmur3_32, user_hash};
use trimtab_model::Identity;

fn place() -> FlagPlace {
    FlagPlace {
        service: "blocks".parse().unwrap(),
        environment: "production".parse().unwrap(),
    }
}

fn percent(percent: f64) -> Weight {
    Weight::from_percent(percent).unwrap()
}

fn request(user: u64, end_nanos: u64, failed: bool) -> Span {
    let code = AttributeValue::Int(if failed { 500 } else { 200 });
    Span {
        identity: Arc::new(Identity {
            service: Some(place().service),
            environment: Some(place().environment),
            ..Identity::default()
        }),
        trace_id: "0102030405060708090a0b0c0d0e0f10".parse().unwrap(),
        span_id: "0102030405060708".parse().unwrap(),
        parent_span_id: None,
        name: "GET /".to_owned(),
        kind: SpanKind::Server,
        start_nanos: end_nanos - 1_000_000,
        end_nanos,
        status: SpanStatus::Unset,
        status_message: String::new(),
        scope: String::new(),
        attributes: [
            ("enduser.id".to_owned(), AttributeValue::Text(user.to_string())),
            ("http.response.status_code".to_owned(), code),
        ]
        .into(),
        resource: Arc::default(),
        events: Vec::new(),
        links: Vec::new(),
    }
}

/// Serves users at each share in turn; each makes three requests, of which the exposed fail a share.
fn play(trials: &FlagTrials, shares: &[f64], users: u64, fails: impl Fn(Cohort, u64) -> bool) {
    for (step, share) in shares.iter().enumerate() {
        let share = percent(*share);
        let on = u64::from(share.basis_points());
        for user in 0..users {
            let place_of = u64::from(bucket(murmur3_32(user.to_string().as_bytes()), 10_000));
            let cohort = Cohort::of(place_of, on, 10_000 - on);
            let at_nanos = 1_000_000_000 * (1 + user + users * step as u64);
            let served = Served {
                user: user_hash(&user.to_string()),
                cohort,
                share,
                at_nanos,
            };
            trials.served(&place(), "search", &served);
            let early = request(user, at_nanos - 1, true);
            let spans: Vec<Span> = std::iter::once(early)
                .chain((0..3).map(|n| request(user, at_nanos + 5_000_000 * (n + 1), fails(cohort, user + n))))
                .collect();
            // What ended before the user was served does not count.
            let batch = Batch {
                spans: if step == 0 { spans } else { spans[1..].to_vec() },
                ..Batch::default()
            };
            trials.observe(&batch);
        }
    }
}

#[test]
fn a_broken_variant_is_found_and_each_user_counts_once() {
    let trials = FlagTrials::default();
    play(&trials, &[10.0], 4_000, |cohort, user| {
        cohort == Cohort::Exposed && user % 2 == 0
    });
    let verdict = trials.verdict(&place(), "search").unwrap();
    assert_eq!(verdict.decision, Decision::Regressed, "{}", verdict.reason);
    let errors = &verdict.metrics[0];
    let units = errors.baseline.units + errors.candidate.units;
    assert!(
        (600..1_000).contains(&units),
        "a tenth and as many, each once: {units}"
    );
    trials.end(&place(), "search");
    assert!(trials.verdict(&place(), "search").is_none());
}

#[test]
fn a_sound_variant_is_not_called_over_all_steps() {
    let trials = FlagTrials::default();
    // A twentieth of the users fail, whatever they are served.
    play(&trials, &[10.0, 50.0], 4_000, |_, user| user % 20 == 0);
    let verdict = trials.verdict(&place(), "search").unwrap();
    assert_ne!(verdict.decision, Decision::Regressed, "{}", verdict.reason);
    assert_ne!(verdict.decision, Decision::RoutingBroken, "{}", verdict.reason);
    let errors = &verdict.metrics[0];
    assert_eq!(
        errors.baseline.units + errors.candidate.units,
        4_000,
        "everybody, once"
    );
    play(&trials, &[5.0], 200, |_, _| false);
    let fresh = trials.verdict(&place(), "search").unwrap();
    assert!(
        fresh.metrics[0].candidate.units < 30,
        "a smaller share begins anew"
    );
}

#[test]
fn a_flag_is_judged_by_its_teams_settings() {
    let trials = FlagTrials::default();
    let strict = JudgedBy {
        config: Config {
            alpha: 0.000_001,
            tolerance: 3.0,
            ..Config::default()
        },
        by_header: false,
    };
    trials.judge_by(&place(), "search", strict);
    play(&trials, &[10.0], 400, broken);
    assert_eq!(trials.verdict(&place(), "search").unwrap().alpha, 0.000_001);
    // Its rollout is over: the next one says anew.
    trials.end(&place(), "search");
    play(&trials, &[10.0], 400, broken);
    let usual = trials.verdict(&place(), "search").unwrap();
    assert_eq!(usual.alpha, Config::default().alpha);
}

#[test]
fn the_weight_is_that_of_the_draw() {
    let weight = |before: f64, share: f64| exposed_weight(percent(before), percent(share)).percent();
    assert_eq!(weight(0.0, 10.0), 50.0);
    assert_eq!(weight(10.0, 50.0), 50.0);
    assert_eq!(weight(0.0, 75.0), 75.0);
    // Outside at 10: of 80 parts, 65 are exposed at 75 and 15 are the control.
    assert_eq!(weight(10.0, 75.0), 81.25);
}

fn broken(cohort: Cohort, user: u64) -> bool {
    cohort == Cohort::Exposed && user.is_multiple_of(5)
}

fn units(verdict: &Verdict) -> u64 {
    let errors = &verdict.metrics[0];
    errors.baseline.units + errors.candidate.units
}

#[test]
fn a_verdict_goes_on_after_a_kill_and_nobody_counts_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let trials = FlagTrials::open(&path);
    play(&trials, &[10.0], 2_000, broken);
    trials.save().unwrap();
    let saved = trials.verdict(&place(), "search").unwrap();
    // Counted, and not saved when it was killed.
    play(&trials, &[10.0], 4_000, broken);
    let whole = trials.verdict(&place(), "search").unwrap();
    assert!(units(&whole) > units(&saved));
    drop(trials);

    let trials = FlagTrials::open(&path);
    let read = trials.verdict(&place(), "search").unwrap();
    assert_eq!((read.decision, units(&read)), (saved.decision, units(&saved)));
    let ratio = read.e_value / saved.e_value;
    assert!(
        (ratio - 1.0).abs() < 1e-9,
        "{} of {}",
        read.e_value,
        saved.e_value
    );
    // Everybody comes again: those who were counted are known, the lost ones are counted now.
    play(&trials, &[10.0], 4_000, broken);
    let again = trials.verdict(&place(), "search").unwrap();
    assert_eq!(units(&again), units(&whole));
    assert_eq!(again.decision, whole.decision);
}

#[test]
fn what_is_over_or_torn_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let trials = FlagTrials::open(&path);
    play(&trials, &[10.0], 1_000, broken);
    trials.save().unwrap();
    let whole = std::fs::read(&path).unwrap();
    trials.end(&place(), "search");
    assert!(
        FlagTrials::open(&path).verdict(&place(), "search").is_none(),
        "forgotten on disk too"
    );
    for bytes in [&whole[..whole.len() / 2], b"{\"format\": 2, \"trials\": []}", b""] {
        std::fs::write(&path, bytes).unwrap();
        let trials = FlagTrials::open(&path);
        assert!(trials.verdict(&place(), "search").is_none());
        play(&trials, &[10.0], 1_000, broken);
        trials.save().unwrap();
        assert!(FlagTrials::open(&path).verdict(&place(), "search").is_some());
    }
}

#[test]
fn users_known_by_a_header_count_by_what_the_proxy_saw() {
    let trials = FlagTrials::default();
    let by_header = JudgedBy {
        by_header: true,
        ..JudgedBy::default()
    };
    trials.judge_by(&place(), "search", by_header);
    // Its spans would say that it is well.
    play(&trials, &[10.0], 4_000, |_, _| false);
    let before = trials.verdict(&place(), "search").unwrap();
    assert_eq!(before.metrics[0].candidate.units, 0, "no span counts");
    let requests = (0..4_000_u64).map(|user| UserRequest {
        user: user_hash(&user.to_string()),
        ended_nanos: 1_000_000_000 * (10_000 + user),
        micros: 2_000,
        failed: user % 2 == 0,
        client_error: false,
    });
    let exposed = |request: &UserRequest| {
        let known = trials.lock();
        let trial = &known.trials[&(place(), "search".to_owned())];
        trial.users[&request.user].cohort == Cohort::Exposed
    };
    let requests = requests
        .map(|request| UserRequest {
            failed: request.failed && exposed(&request),
            ..request
        })
        .collect();
    let seen = UserRequests {
        service: place().service,
        environment: place().environment,
        requests,
        uncounted: 0,
    };
    trials.observe_users(&seen);
    let verdict = trials.verdict(&place(), "search").unwrap();
    assert_eq!(verdict.decision, Decision::Regressed, "{}", verdict.reason);
    let units = verdict.metrics[0].candidate.units;
    trials.observe_users(&seen);
    let again = trials.verdict(&place(), "search").unwrap();
    assert_eq!(again.metrics[0].candidate.units, units, "a frame may come twice");
}
