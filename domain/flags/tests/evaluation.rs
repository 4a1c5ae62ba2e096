//! What flags evaluate to.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::{Value, json};
use trimtab_flags::{Answer, Cohort, ErrorCode, FlagSet, Reason};
use trimtab_model::Timestamp;

const NOW: Timestamp = Timestamp(1_700_000_000_500);

fn flag(targeting: &Value) -> FlagSet {
    FlagSet::from_value(&json!({
        "$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@example.com"]}},
        "metadata": {"owner": "web"},
        "flags": {"f": {
            "state": "ENABLED",
            "variants": {"on": 1, "off": 0, "true": 2, "3": 3},
            "defaultVariant": "off",
            "targeting": targeting,
            "metadata": {"ticket": "T-1"},
        }},
    }))
    .unwrap_or_else(|problems| panic!("{}", trimtab_flags::list_problems(&problems)))
}

fn answer(targeting: &Value, context: &Value) -> Answer {
    flag(targeting).evaluate("f", context, NOW)
}

fn seen(answer: &Answer) -> String {
    match &answer.outcome {
        Ok(served) => format!(
            "{} {}",
            served.variant.as_deref().unwrap_or("-"),
            served.reason.as_str()
        ),
        Err(failure) => failure.code.as_str().to_owned(),
    }
}

/// Whether a condition holds.
fn holds(condition: &Value, context: &Value) -> bool {
    let answer = answer(&json!({"if": [condition, "on", "off"]}), context);
    answer.outcome.unwrap().variant.as_deref() == Some("on")
}

#[test]
fn reasons_say_how_an_answer_came_about() {
    let nobody = json!({});
    assert_eq!(seen(&answer(&json!({}), &nobody)), "off STATIC");
    assert_eq!(seen(&answer(&json!(null), &nobody)), "off STATIC");
    let rule = json!({"if": [{"==": [{"var": "tier"}, "gold"]}, "on", null]});
    assert_eq!(
        seen(&answer(&rule, &json!({"tier": "gold"}))),
        "on TARGETING_MATCH"
    );
    assert_eq!(seen(&answer(&rule, &nobody)), "off DEFAULT");
    let split = json!({"fractional": [["on", 1], ["off", 0]]});
    assert_eq!(seen(&answer(&split, &json!({"targetingKey": "x"}))), "on SPLIT");
    assert_eq!(seen(&answer(&split, &nobody)), "TARGETING_KEY_MISSING");
    assert_eq!(
        seen(&answer(&json!({"var": "v"}), &json!({"v": true}))),
        "true TARGETING_MATCH"
    );
    assert_eq!(
        seen(&answer(&json!({"var": "v"}), &json!({"v": 3}))),
        "3 TARGETING_MATCH"
    );
    assert_eq!(seen(&answer(&json!({"var": "v"}), &json!({"v": "x"}))), "GENERAL");
    assert_eq!(seen(&answer(&json!({"var": "v"}), &json!([]))), "INVALID_CONTEXT");
    assert_eq!(
        seen(&answer(&rule, &json!({"targetingKey": 7}))),
        "INVALID_CONTEXT"
    );
    let missing = flag(&rule).evaluate("g", &nobody, NOW);
    assert_eq!(missing.outcome.unwrap_err().code, ErrorCode::FlagNotFound);
}

#[test]
fn a_disabled_flag_and_one_without_a_default_leave_it_to_the_code() {
    let set = FlagSet::from_value(&json!({"flags": {
        "off": {"state": "DISABLED", "variants": {"a": 1}, "defaultVariant": "a"},
        "code": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": null},
    }}))
    .unwrap();
    for (key, reason) in [("off", Reason::Disabled), ("code", Reason::Default)] {
        let served = set.evaluate(key, &json!({}), NOW).outcome.unwrap();
        assert_eq!(
            (served.value, served.variant, served.reason),
            (None, None, reason)
        );
    }
}

#[test]
fn metadata_is_the_sets_with_the_flags_over_it() {
    let metadata = answer(&json!({}), &json!({})).metadata;
    assert_eq!(Value::Object(metadata), json!({"owner": "web", "ticket": "T-1"}));
}

#[test]
fn operations_do_what_jsonlogic_says() {
    let context = json!({
        "a": 1, "b": "2", "t": "abcdef", "list": [1, 2, 3], "empty": [], "nested": {"x": [{"y": 5}]},
        "dotted.key": "d", "zero": 0, "none": null, "email": "jo@example.com", "v": "1.4.2",
    });
    let yes = [
        json!({"==": [{"var": "b"}, 2]}),
        json!({"!==": [{"var": "b"}, 2]}),
        json!({"==": [{"var": "nested.x.0.y"}, 5]}),
        json!({"==": [{"var": "dotted.key"}, "d"]}),
        json!({"==": [{"var": ["absent", "else"]}, "else"]}),
        json!({"==": [{"var": "none"}, null]}),
        json!({"<": [0, {"var": "a"}, 2]}),
        json!({">=": [{"var": "b"}, "10"]}),
        json!({"in": ["cd", {"var": "t"}]}),
        json!({"in": [2, {"var": "list"}]}),
        json!({"!": [{"in": ["2", {"var": "list"}]}]}),
        json!({"!": {"var": "empty"}}),
        json!({"!!": ["0"]}),
        json!({"===": [{"+": [1, "2", 3]}, 6]}),
        json!({"===": [{"-": 5}, -5]}),
        json!({"===": [{"%": [7, 4]}, 3]}),
        json!({"===": [{"/": [1, 0]}, null]}),
        json!({"===": [{"max": {"var": "list"}}, 3]}),
        json!({"===": [{"min": [4, 2, 8]}, 2]}),
        json!({"===": [{"cat": ["a", 1, 2.5, {"var": "none"}]}, "a12.5"]}),
        json!({"===": [{"substr": [{"var": "t"}, 1, 2]}, "bc"]}),
        json!({"===": [{"substr": [{"var": "t"}, -2]}, "ef"]}),
        json!({"===": [{"substr": [{"var": "t"}, 0, -4]}, "ab"]}),
        json!({"===": [{"map": [{"var": "list"}, {"*": [{"var": ""}, 2]}]}, {"merge": [2, [4, 6]]}]}),
        json!({"===": [{"filter": [{"var": "list"}, {">": [{"var": ""}, 1]}]}, [2, 3]]}),
        json!({"===": [{"reduce": [{"var": "list"}, {"+": [{"var": "current"}, {"var": "accumulator"}]}, 10]}, 16]}),
        json!({"all": [{"var": "list"}, {">": [{"var": ""}, 0]}]}),
        json!({"!": {"all": [{"var": "empty"}, true]}}),
        json!({"none": [{"var": "empty"}, true]}),
        json!({"some": [{"var": "list"}, {"==": [{"var": ""}, 3]}]}),
        json!({"===": [{"missing": ["a", "absent", "none"]}, ["absent", "none"]]}),
        json!({"===": [{"missing_some": [1, ["a", "absent"]]}, []]}),
        json!({"===": [{"or": [0, "", "x"]}, "x"]}),
        json!({"===": [{"and": [1, 0, 2]}, 0]}),
        json!({"===": [{"?:": [{"var": "zero"}, 1, 2]}, 2]}),
        json!({"===": [{"if": [false, 1, true, 2, 3]}, 2]}),
        json!({"starts_with": [{"upper": {"var": "email"}}, "JO@"]}),
        json!({"$ref": "staff"}),
        json!({"sem_ver": [{"var": "v"}, "^", "1.0.0"]}),
        json!({"!": {"sem_ver": [{"var": "t"}, "=", "1.0.0"]}}),
        json!({"===": [{"var": "$flagd.flagKey"}, "f"]}),
        json!({"===": [{"var": "$flagd.timestamp"}, 1_700_000_000]}),
    ];
    for condition in &yes {
        assert!(holds(condition, &context), "{condition}");
    }
}

#[test]
fn a_split_within_a_segment_says_who_is_where() {
    let rule = json!({"if": [{"$ref": "staff"}, {"fractional": [["on", 25], ["off", 75]]}, null]});
    let set = flag(&rule);
    let mut counts = std::collections::BTreeMap::new();
    for user in 0..4_000 {
        let context = json!({"targetingKey": format!("u{user}"), "email": "jo@example.com"});
        let served = set.evaluate("f", &context, NOW).outcome.unwrap();
        let exposed = served.cohort == Some(Cohort::Exposed);
        assert_eq!(served.variant.as_deref() == Some("on"), exposed);
        *counts.entry(served.cohort.unwrap()).or_insert(0) += 1;
    }
    let near = |cohort, wanted: i32| (counts[&cohort] - wanted).abs() < 120;
    assert!(
        near(Cohort::Exposed, 1_000) && near(Cohort::Control, 1_000) && near(Cohort::Outside, 2_000),
        "{counts:?}"
    );
    let stranger = json!({"targetingKey": "u1", "email": "jo@elsewhere.org"});
    let served = set.evaluate("f", &stranger, NOW).outcome.unwrap();
    assert_eq!((served.reason, served.cohort), (Reason::Default, None));
}
