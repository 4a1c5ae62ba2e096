//! Every mistake at once, each with its place and its mend.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use trimtab_flags::{FlagSet, list_problems};

#[test]
fn every_mistake_of_a_broken_set_is_told_at_once() {
    let problems = FlagSet::parse(
        r##"{
        "flag": {},
        "metadata": {"bucketing": "sha", "nested": {}},
        "$evaluators": {"beta": {"ends_with": [{"var": "email"}, 7]}},
        "flags": {
            "a": {"state": "ON", "variants": {"on": true, "off": "no"}, "defaultVariant": "onn",
                  "targetting": {}},
            "b": {"state": "ENABLED", "variants": {}, "targeting": {"iff": [true, "x"]}},
            "c": {"state": "ENABLED", "variants": {"red": "r", "blue": "b"}, "defaultVariant": "red",
                  "targeting": {"if": [{"$ref": "betaa"}, {"fractional": [["red", 1.5], ["blue"], "x"]},
                               {"sem_ver": [{"var": "v"}, "=>", "1.x"]}]}},
            "d": {"state": "ENABLED", "variants": {"red": "r"}, "defaultVariant": "red",
                  "targeting": {"if": [{"var": "$flagd.key"}, "rad", {"==": [1]}]}},
            "e": {"state": "ENABLED", "variants": {"red": "r", "blue": [1]},
                  "targeting": {"if": [true, "rad", {"fractional": [["red", 1], ["blu", 2]]}]}},
            "f": []
        }}"##,
    )
    .unwrap_err();
    insta::assert_snapshot!(list_problems(&problems), @r#"
    flag: there is no such section; did you mean "flags"?
    metadata.bucketing: "sha" is no way to draw users; use "text" or "cbor"; changing it moves users between variants
    metadata.nested: it is neither text, number nor boolean; metadata is flat
    $evaluators.beta.ends_with[1]: it is no text; give a text here
    flags.a.targetting: a flag has no such field; did you mean "targeting"?
    flags.a.state: "ON" is no state; use "ENABLED" or "DISABLED"
    flags.a.variants.on: it is of the kind boolean, and "off" of the kind text; all variants of a flag are of one kind
    flags.a.defaultVariant: "onn" is no variant; did you mean "on"?
    flags.b.variants: there are 0 variants; give 1 to 100
    flags.b.targeting.iff: there is no operation "iff"; did you mean "if"?
    flags.c.targeting.if[0].$ref: there is no shared rule "betaa"; did you mean "beta"?
    flags.c.targeting.if[1].fractional[0][1]: the weight 1.5 is no whole number from 0 to 2147483647; use whole numbers: 1 and 3 make 25 % and 75 %
    flags.c.targeting.if[1].fractional[2]: a part of a split is a variant and its weight; write ["variant", 10]
    flags.c.targeting.if[2].sem_ver[1]: "=>" compares no versions; use one of: = != < <= > >= ^ ~
    flags.c.targeting.if[2].sem_ver[2]: "1.x" is no version; write it like "1.2.3"
    flags.d.targeting.if[0].var: there is no property "$flagd.key"; did you mean "$flagd.flagKey"?
    flags.d.targeting.if[2].==: "==" has 1 arguments and takes 2; give it 2
    flags.e.variants.blue: a list is no value of a flag; use a boolean, a text, a number or an object
    flags.e.targeting: it may choose "rad", which is no variant; did you mean "red"?
    flags.e.targeting: it may choose "blu", which is no variant; did you mean "blue"?
    flags.f: a flag is an object; write {"state": "ENABLED", …}
    "#);
    assert!(
        problems
            .iter()
            .any(|problem| problem.flag.as_deref() == Some("c"))
    );
}

#[test]
fn text_that_is_no_json_names_its_line() {
    let problems = FlagSet::parse("{\n \"flags\": {,}}").unwrap_err();
    assert!(problems[0].what.contains("line 2"), "{problems:?}");
    assert!(!FlagSet::parse("[]").unwrap_err().is_empty());
    assert!(!FlagSet::parse("{}").unwrap_err().is_empty());
}

#[test]
fn what_flagd_accepts_is_accepted() {
    let set = FlagSet::parse(
        r##"{
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "metadata": {"flagSetId": "shop", "version": "17"},
        "$evaluators": {"emailWithFaas": {"in": ["@faas.com", {"var": ["email"]}]}},
        "flags": {
            "headerColor": {
                "state": "ENABLED",
                "variants": {"red": "#FF0000", "blue": "#0000FF", "green": "#00FF00", "yellow": "#FFFF00"},
                "defaultVariant": "red",
                "targeting": {"if": [{"$ref": "emailWithFaas"},
                    {"fractional": [{"cat": [{"var": "$flagd.flagKey"}, {"var": "email"}]},
                        ["red", 25], ["blue", 25], ["green", 25], ["yellow", 25]]}, null]}
            },
            "numbers": {"state": "ENABLED", "variants": {"one": 1, "half": 0.5}, "defaultVariant": "one"},
            "objects": {"state": "DISABLED", "variants": {"a": {"x": [1]}}, "defaultVariant": "a"},
            "version": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": null,
                "targeting": {"if": [{"sem_ver": [{"var": "version"}, ">=", "2.0.0"]}, "on"]}},
            "shorthand": {"state": "ENABLED", "variants": {"true": true, "false": false},
                "defaultVariant": "false", "targeting": {"starts_with": [{"var": "email"}, "j"]}},
            "equal": {"state": "ENABLED", "variants": {"a": "a", "b": "b"}, "defaultVariant": "a",
                "targeting": {"fractional": [["a"], ["b"]]}}
        }}"##,
    )
    .unwrap_or_else(|problems| panic!("{}", list_problems(&problems)));
    assert_eq!(set.flags.len(), 6);
}
