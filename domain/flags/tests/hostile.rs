//! Definitions and contexts that mean harm.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use serde_json::{Value, json};
use trimtab_flags::{DOCUMENT_BYTES_MAX, ErrorCode, FlagSet};
use trimtab_model::Timestamp;

fn document(targeting: &Value, evaluators: &Value) -> Value {
    json!({"$evaluators": evaluators, "flags": {"f": {
        "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
        "targeting": targeting,
    }}})
}

fn failure(targeting: &Value, context: &Value) -> (ErrorCode, String) {
    let set = FlagSet::from_value(&document(targeting, &json!({}))).unwrap();
    let failure = set.evaluate("f", context, Timestamp(0)).outcome.unwrap_err();
    (failure.code, failure.details)
}

#[test]
fn deep_targeting_is_refused() {
    let mut deep = json!(true);
    for _ in 0..60 {
        deep = json!({"!": [deep]});
    }
    let problems = FlagSet::from_value(&document(&deep, &json!({}))).unwrap_err();
    assert!(problems[0].what.contains("nests deeper"), "{problems:?}");
    let text = format!("{}true{}", "{\"!\":[".repeat(100_000), "]}".repeat(100_000));
    assert!(FlagSet::parse(&text).is_err());
}

#[test]
fn circles_of_shared_rules_are_refused_and_chains_are_measured() {
    let circle = json!({"a": {"!": {"$ref": "b"}}, "b": {"!": {"$ref": "a"}}});
    let problems = FlagSet::from_value(&document(&json!({"$ref": "a"}), &circle)).unwrap_err();
    assert!(
        problems
            .iter()
            .any(|p| p.what.contains("in a circle: a -> b -> a")),
        "{problems:?}"
    );
    let mut chain = serde_json::Map::new();
    chain.insert("r000".to_owned(), json!(true));
    for place in 1..100 {
        chain.insert(
            format!("r{place:03}"),
            json!({"!": {"$ref": format!("r{:03}", place - 1)}}),
        );
    }
    let problems =
        FlagSet::from_value(&document(&json!({"$ref": "r099"}), &Value::Object(chain))).unwrap_err();
    assert!(
        problems.iter().any(|p| p.what.contains("nests deeper")),
        "{problems:?}"
    );
}

#[test]
fn doubling_is_stopped() {
    // Each shared rule uses the one before twice: 2^40 steps.
    let mut doubling = serde_json::Map::new();
    doubling.insert("r00".to_owned(), json!({"var": "x"}));
    for place in 1..20 {
        let before = json!({"$ref": format!("r{:02}", place - 1)});
        doubling.insert(format!("r{place:02}"), json!({"==": [before, before]}));
    }
    let set = FlagSet::from_value(&document(&json!({"$ref": "r19"}), &Value::Object(doubling))).unwrap();
    let failure = set.evaluate("f", &json!({}), Timestamp(0)).outcome.unwrap_err();
    assert!(failure.details.contains("steps"), "{failure}");
    let list: Vec<u32> = (0..60).collect();
    let both = json!({"cat": [{"var": "accumulator"}, {"var": "accumulator"}]});
    let text = json!({"reduce": [{"var": "list"}, both, "x"]});
    let (code, details) = failure_of(&text, &json!({"list": list}));
    assert_eq!(code, ErrorCode::General);
    assert!(details.contains("bytes"), "{details}");
    let both = json!({"merge": [{"var": "accumulator"}, {"var": "accumulator"}]});
    let lists = json!({"reduce": [{"var": "list"}, both, [1]]});
    assert!(failure_of(&lists, &json!({"list": list})).1.contains("bytes"));
    let squares = json!({"map": [{"var": "list"}, {"map": [{"var": "x"}, 1]}]});
    let many: Vec<Value> = (0..500).map(|_| json!({"x": list.repeat(20)})).collect();
    assert!(
        failure_of(&squares, &json!({"list": many}))
            .1
            .contains("more than")
    );
}

fn failure_of(targeting: &Value, context: &Value) -> (ErrorCode, String) {
    failure(targeting, context)
}

#[test]
fn contexts_that_nest_too_deep_and_texts_that_are_too_long_are_refused() {
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!([deep]);
    }
    let (code, _) = failure(&json!({"var": "x"}), &json!({"x": deep}));
    assert_eq!(code, ErrorCode::InvalidContext);
    let long = format!(
        "{{\"flags\": {{}}, \"metadata\": {{\"x\": \"{}\"}}}}",
        "y".repeat(DOCUMENT_BYTES_MAX)
    );
    assert!(FlagSet::parse(&long).unwrap_err()[0].mend.contains("at most"));
}

#[test]
fn splits_with_computed_nonsense_fail_and_do_not_panic() {
    for weight in [
        json!(-1),
        json!(1.5),
        json!("x"),
        json!(1e300),
        json!([]),
        json!(4e9),
    ] {
        let rule = json!({"fractional": [["on", {"var": "w"}], ["off", 1]]});
        let (code, _) = failure(&rule, &json!({"targetingKey": "u", "w": weight}));
        assert_eq!(code, ErrorCode::General, "{weight}");
    }
    let zero = json!({"fractional": [["on", 0], ["off", 0]]});
    let set = FlagSet::from_value(&document(&zero, &json!({}))).unwrap();
    let served = set
        .evaluate("f", &json!({"targetingKey": "u"}), Timestamp(0))
        .outcome
        .unwrap();
    assert_eq!(
        served.variant.as_deref(),
        Some("off"),
        "no weight at all leaves the default"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = [
        "var",
        "missing",
        "missing_some",
        "if",
        "==",
        "===",
        "<",
        "-",
        "+",
        "/",
        "%",
        "max",
        "map",
        "filter",
        "reduce",
        "all",
        "merge",
        "in",
        "cat",
        "substr",
        "lower",
        "starts_with",
        "sem_ver",
        "fractional",
        "$ref",
        "nonsense",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z.$0-9-]{0,8}".prop_map(Value::from),
        Just(json!("on")),
        Just(json!("shared")),
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            (
                prop::sample::select(names.to_vec()),
                prop::collection::vec(inner.clone(), 0..4)
            )
                .prop_map(|(name, arguments)| json!({name: arguments})),
            prop::collection::btree_map("[a-c]{1,2}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn nothing_panics(targeting in any_json(), shared in any_json(), context in any_json(), whole in any_json()) {
        let _ = FlagSet::from_value(&whole);
        let context = json!({"targetingKey": "u", "a": context});
        for bucketing in ["text", "cbor"] {
            let mut document = document(&targeting, &json!({"shared": shared}));
            document["metadata"] = json!({"bucketing": bucketing});
            if let Ok(set) = FlagSet::from_value(&document) {
                let first = set.evaluate("f", &context, Timestamp(7));
                prop_assert_eq!(first, set.evaluate("f", &context, Timestamp(7)));
            }
        }
    }
}
