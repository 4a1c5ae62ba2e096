//! A flag's rollout: exposed, control, outside; changes, undo and what is stale.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use trimtab_flags::{Change, Cohort, FlagSet, Ramp, RampError, Usage, apply, difference, stale};
use trimtab_model::{Timestamp, Weight};

fn document() -> Value {
    json!({"flags": {"search": {
        "state": "DISABLED", "variants": {"new": true, "old": false}, "defaultVariant": "old",
    }}})
}

fn ramp(percent: f64) -> Ramp {
    Ramp {
        on: "new".to_owned(),
        off: "old".to_owned(),
        share: Weight::from_percent(percent).unwrap(),
        by: None,
    }
}

fn at(percent: f64) -> FlagSet {
    let mut document = document();
    document["flags"]["search"] = ramp(percent).apply(&document, "search").unwrap();
    FlagSet::from_value(&document).unwrap()
}

fn cohort(set: &FlagSet, user: u32) -> Cohort {
    let context = json!({"targetingKey": format!("user-{user}")});
    let served = set.evaluate("search", &context, Timestamp(0)).outcome.unwrap();
    let cohort = served.cohort.unwrap();
    assert_eq!(
        served.variant.as_deref() == Some("new"),
        cohort == Cohort::Exposed
    );
    cohort
}

#[test]
fn growing_takes_nobody_out_and_the_control_is_as_large() {
    let steps: Vec<FlagSet> = [10.0, 50.0, 100.0].into_iter().map(at).collect();
    let mut counts = [[0_i32; 3]; 3];
    for user in 0..20_000 {
        let seen: Vec<Cohort> = steps.iter().map(|set| cohort(set, user)).collect();
        for (step, cohort) in seen.iter().enumerate() {
            counts[step][*cohort as usize] += 1;
        }
        for pair in seen.windows(2) {
            if pair[0] == Cohort::Exposed {
                assert_eq!(pair[1], Cohort::Exposed, "user {user}: {seen:?}");
            }
        }
        // Up to one half, whoever is compared stays on the side where he is.
        if seen[0] == Cohort::Control {
            assert_eq!(seen[1], Cohort::Control, "user {user}");
        }
    }
    let near = |count: i32, wanted: i32| (count - wanted).abs() < 250;
    let [[exposed, control, outside], [half, other_half, none], [all, ..]] = counts;
    assert!(
        near(exposed, 2_000) && near(control, 2_000) && near(outside, 16_000),
        "{counts:?}"
    );
    assert!(
        near(half, 10_000) && near(other_half, 10_000) && none == 0,
        "{counts:?}"
    );
    assert_eq!(all, 20_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_growth_moves_anybody_out(a in 0_u16..=10_000, b in 0_u16..=10_000, bucket in 0_u64..10_000) {
        let (small, large) = (u64::from(a.min(b)), u64::from(a.max(b)));
        let (before, after) = (Cohort::of(bucket, small, 10_000 - small), Cohort::of(bucket, large, 10_000 - large));
        prop_assert!(before != Cohort::Exposed || after == Cohort::Exposed);
        prop_assert!(before != Cohort::Control || after == Cohort::Control || large > 5_000);
    }
}

#[test]
fn a_ramp_is_plain_targeting_and_can_be_read_back() {
    let by_team = Ramp {
        by: Some("team".to_owned()),
        ..ramp(12.5)
    };
    for ramp in [ramp(0.0), ramp(10.0), ramp(100.0), by_team] {
        assert_eq!(Ramp::read(&ramp.targeting()), Some(ramp));
    }
    assert_eq!(Ramp::read(&json!({"fractional": [["a", 1], ["b", 1]]})), None);
    assert_eq!(Ramp::read(&json!({"var": "x"})), None);
    let missing = ramp(10.0).apply(&document(), "serach");
    assert_eq!(missing, Err(RampError::NoFlag("serach".to_owned())));
    let other = Ramp {
        on: "newer".to_owned(),
        ..ramp(10.0)
    };
    assert!(matches!(
        other.apply(&document(), "search"),
        Err(RampError::NoVariant { .. })
    ));
}

#[test]
fn changes_say_what_was_before_and_can_be_undone() {
    let before = document();
    let mut after = before.clone();
    after["flags"]["search"]["state"] = json!("ENABLED");
    after["flags"]["other"] = json!({"state": "ENABLED", "variants": {"a": 1}});
    after["metadata"] = json!({"bucketing": "cbor"});
    let entries = difference(&before, &after);
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["bucketing", "other", "search"]);
    assert_eq!(apply(before.clone(), &entries), after);
    let change = Change {
        entries,
        ..Change::default()
    };
    let undo = change.undone(&after, 4, "too early").unwrap();
    assert_eq!(undo.undoes, Some(4));
    let back = apply(after.clone(), &undo.entries);
    assert_eq!(back["flags"], before["flags"]);
    after["flags"]["search"]["state"] = json!("DISABLED");
    assert_eq!(change.undone(&after, 4, "").unwrap_err(), ["flags.search"]);
}

#[test]
fn flags_that_nobody_needs_are_found() {
    let day = Duration::from_secs(86_400);
    let now = Timestamp(100 * 86_400_000);
    let ago = |days: u64| now.minus(day * u32::try_from(days).unwrap());
    let flag = |state: &str, targeting: Value| json!({"state": state, "variants": {"on": true, "off": false}, "defaultVariant": "off", "targeting": targeting});
    let set = FlagSet::from_value(&json!({"flags": {
        "done": flag("ENABLED", json!({"fractional": [["on", 10_000], ["off", 0]]})),
        "dead": flag("DISABLED", json!({})),
        "fixed": flag("ENABLED", json!({})),
        "forgotten": flag("ENABLED", json!({"var": "x"})),
        "fresh": flag("ENABLED", json!({})),
        "used": flag("ENABLED", json!({"fractional": [["on", 10], ["off", 90]]})),
    }}))
    .unwrap();
    let used = |changed, asked: Option<u64>| Usage {
        changed_at: ago(changed),
        asked_at: asked.map(ago),
        counted_since: ago(90),
    };
    let usage = BTreeMap::from(
        [
            ("done", used(40, Some(0))),
            ("dead", used(35, Some(1))),
            ("fixed", used(60, Some(1))),
            ("forgotten", used(80, Some(31))),
            ("fresh", used(2, None)),
            ("used", used(50, Some(0))),
        ]
        .map(|(key, usage)| (key.to_owned(), usage)),
    );
    let found = stale(&set, &usage, now, day * 30);
    let told: Vec<String> = found
        .iter()
        .map(|one| format!("{} {}: {}", one.flag, one.days, one.why))
        .collect();
    assert_eq!(
        told,
        [
            "dead 35: it is disabled, and the code's own default has been enough",
            "done 40: everybody gets \"on\"",
            "fixed 60: everybody gets \"off\"",
            "forgotten 31: nobody asked for it",
        ]
    );
}
