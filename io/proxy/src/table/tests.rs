#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

fn pool(release: &str) -> Pool {
    Pool {
        release: ReleaseId::new(release).unwrap(),
        endpoints: vec![],
        health: Probe::default(),
        protocol: Protocol::default(),
    }
}

fn route(generation: u64) -> Route {
    Route {
        service: ServiceName::new("blocks").unwrap(),
        environment: EnvironmentName::new("production").unwrap(),
        host: "*".to_owned(),
        path_prefix: "/".to_owned(),
        generation: Generation(generation),
        timeout_ms: 1_000,
        split: Split {
            rollout: None,
            baseline: pool("blocks-r1"),
            candidate: None,
            candidate_weight: Weight::ZERO,
            sticky: None,
        },
        mirror: None,
        preview: None,
        policy: Policy::default(),
    }
}

#[test]
fn older_tables_are_refused() {
    let in_force = RoutingTable::new(4, vec![route(3)]);
    let offer = |version, generation| {
        RoutingTable::new(version, vec![route(generation)]).check_successor_of(&in_force)
    };
    assert_eq!(offer(5, 3), Ok(()));
    assert_eq!(offer(4, 3), Ok(()), "the same table again is no news");
    assert_eq!(
        offer(3, 3),
        Err(TableError::OlderVersion {
            offered: 3,
            in_force: 4
        })
    );
    assert_eq!(
        offer(4, 4),
        Err(TableError::OlderVersion {
            offered: 4,
            in_force: 4
        })
    );
    let error = offer(5, 2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "apply routing table: blocks/production was decided in generation 2, but generation 3 is in force already"
    );
}

#[test]
fn nonsense_is_refused_with_its_place() {
    let check = |change: fn(&mut Route)| {
        let mut changed = route(1);
        change(&mut changed);
        RoutingTable::new(1, vec![changed])
            .check()
            .unwrap_err()
            .to_string()
    };
    assert!(check(|r| r.host = "A".to_owned()).contains("lower-case"));
    assert!(check(|r| r.path_prefix = "x".to_owned()).contains("begin with /"));
    assert!(check(|r| r.timeout_ms = 0).contains("time-out"));
    assert!(check(|r| r.split.candidate_weight = Weight::FULL).contains("without a candidate"));
    assert!(check(|r| r.split.baseline.health.interval_ms = 0).contains("above zero"));
    let twice = RoutingTable::new(1, vec![route(1), route(1)]);
    assert!(
        twice
            .check()
            .unwrap_err()
            .to_string()
            .contains("two routes for */")
    );
}

#[test]
fn preview_tokens_hold_for_one_release_until_they_expire() {
    let (r1, r2) = (
        ReleaseId::new("blocks-r1").unwrap(),
        ReleaseId::new("blocks-r2").unwrap(),
    );
    let token = preview_token("secret", &r2, Timestamp(1_000));
    assert!(preview_token_valid("secret", &r2, &token, Timestamp(999)));
    assert!(!preview_token_valid("secret", &r2, &token, Timestamp(1_000)));
    assert!(!preview_token_valid("secret", &r1, &token, Timestamp(999)));
    assert!(!preview_token_valid("other", &r2, &token, Timestamp(999)));
    for bad in ["", ".", "5000.", "5000.zz", "5000.00", "ü.ü"] {
        assert!(!preview_token_valid("secret", &r2, bad, Timestamp(999)), "{bad}");
    }
}
