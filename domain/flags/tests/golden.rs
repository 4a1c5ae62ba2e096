//! Draws, compared with what mmh3 and cbor2, the Python packages, computed from the same keys.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::{Value, json};
use trimtab_flags::{Bucketing, FlagSet};
use trimtab_model::Timestamp;

/// Flag, targeting key, the part of 10/20/70 by text and by CBOR, the bucket of 10,000 by text.
const DRAWS: [(&str, &str, char, char, u32); 18] = [
    ("new-search", "user-1", 'c', 'c', 9963),
    ("new-search", "user-2", 'b', 'a', 2690),
    ("new-search", "jane@example.com", 'c', 'c', 4549),
    ("new-search", "", 'c', 'c', 4447),
    ("new-search", "日本", 'c', 'c', 3968),
    (
        "new-search",
        "a-rather-long-targeting-key-0123456789",
        'c',
        'b',
        4204,
    ),
    ("fractional-flag", "user-1", 'c', 'c', 4527),
    ("fractional-flag", "user-2", 'c', 'c', 5442),
    ("fractional-flag", "jane@example.com", 'b', 'c', 2446),
    ("fractional-flag", "", 'c', 'c', 9750),
    ("fractional-flag", "日本", 'c', 'c', 8490),
    (
        "fractional-flag",
        "a-rather-long-targeting-key-0123456789",
        'c',
        'b',
        6535,
    ),
    ("ünï", "user-1", 'c', 'a', 3724),
    ("ünï", "user-2", 'a', 'b', 276),
    ("ünï", "jane@example.com", 'b', 'c', 1831),
    ("ünï", "", 'b', 'c', 2134),
    ("ünï", "日本", 'c', 'c', 7166),
    ("ünï", "a-rather-long-targeting-key-0123456789", 'b', 'c', 1759),
];

fn set(flag: &str, bucketing: &str, targeting: &Value) -> FlagSet {
    FlagSet::from_value(&json!({
        "metadata": {"bucketing": bucketing},
        "flags": {flag: {
            "state": "ENABLED",
            "variants": {"a": "a", "b": "b", "c": "c"},
            "defaultVariant": "a",
            "targeting": targeting,
        }},
    }))
    .unwrap()
}

fn drawn(set: &FlagSet, flag: &str, context: &Value) -> String {
    set.evaluate(flag, context, Timestamp(0))
        .outcome
        .unwrap()
        .variant
        .unwrap()
}

#[test]
fn draws_are_those_of_every_other_implementation() {
    let thirds = json!({"fractional": [["a", 10], ["b", 20], ["c", 70]]});
    for (flag, key, by_text, by_cbor, bucket) in DRAWS {
        let context = json!({"targetingKey": key});
        let text = set(flag, "text", &thirds);
        assert_eq!(drawn(&text, flag, &context), by_text.to_string(), "{flag} {key}");
        let cbor = set(flag, "cbor", &thirds);
        assert_eq!(drawn(&cbor, flag, &context), by_cbor.to_string(), "{flag} {key}");
        let hash = trimtab_flags::murmur3_32(format!("{flag}{key}").as_bytes());
        assert_eq!(trimtab_flags::bucket(hash, 10_000), bucket, "{flag} {key}");
    }
}

#[test]
fn cbor_draws_by_values_that_are_no_text() {
    let by = [
        (json!(12345), 2767),
        (json!(-7), 1441),
        (json!(57.2), 4254),
        (json!(true), 1946),
        (json!({"b": [1, 2], "a": "x"}), 3125),
        (json!("some text"), 6117),
    ];
    for (value, bucket) in by {
        let context = json!({"who": value, "targetingKey": "somebody"});
        for (share, expected) in [(bucket, "b"), (bucket + 1, "a")] {
            let split = json!({"fractional": [{"var": "who"}, ["a", share], ["b", 10_000 - share]]});
            assert_eq!(
                drawn(&set("f", "cbor", &split), "f", &context),
                expected,
                "{value}"
            );
        }
    }
}

#[test]
fn the_way_to_draw_is_the_sets_own() {
    let thirds = json!({"fractional": [["a", 10], ["b", 20], ["c", 70]]});
    assert_eq!(set("f", "cbor", &thirds).bucketing, Bucketing::Cbor);
    assert_eq!(set("f", "text", &thirds).bucketing, Bucketing::Text);
    assert_eq!(
        FlagSet::parse("{\"flags\": {}}").unwrap().bucketing,
        Bucketing::Text
    );
}
