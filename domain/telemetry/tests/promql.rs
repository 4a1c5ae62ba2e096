//! The PromQL subset, as a table of queries over small series.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use trimtab_model::Identity;
use trimtab_telemetry::promql::{Value, evaluate, evaluate_range, parse};
use trimtab_telemetry::{SeriesData, prometheus, stale_marker};

/// `series = second:value …`, one a line; `x` is the staleness marker.
fn load(text: &str) -> Vec<SeriesData> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (series, points) = line.rsplit_once(" = ").unwrap();
            let sample = prometheus::parse_text(&format!("{series} 0"), &Identity::default(), 0)
                .unwrap()
                .remove(0);
            let point = |text: &str| {
                let (second, value) = text.split_once(':').unwrap();
                let value = if value == "x" {
                    stale_marker()
                } else {
                    value.parse().unwrap()
                };
                ((second.parse::<f64>().unwrap() * 1000.0) as i64, value)
            };
            SeriesData {
                labels: sample.labels,
                points: points.split_whitespace().map(point).collect(),
            }
        })
        .collect()
}

fn show(series: &[SeriesData], query: &str, at_seconds: i64) -> String {
    match evaluate(query, series, at_seconds * 1000) {
        Ok(Value::Scalar(value)) => format!("{value}"),
        Ok(Value::Vector(samples)) => {
            let lines = samples.iter().map(|s| format!("{} {}", s.labels, round(s.value)));
            lines.collect::<Vec<_>>().join("; ")
        }
        Err(error) => error.to_string(),
    }
}

/// Twelve digits are enough to compare by eye.
fn round(value: f64) -> f64 {
    if value.is_finite() {
        format!("{value:.10}").parse().unwrap()
    } else {
        value
    }
}

fn check(data: &str, at_seconds: i64, table: &[(&str, &str)]) {
    let series = load(data);
    for (query, expected) in table {
        assert_eq!(show(&series, query, at_seconds), *expected, "{query}");
    }
}

#[test]
fn selectors_see_the_last_five_minutes() {
    let data = r#"
        up{job="a"} = 0:1 60:2
        up{job="b"} = 0:3
        gone{job="a"} = 0:1 30:x
        back = 0:1 30:x 60:7
    "#;
    check(
        data,
        60,
        &[
            ("up", r#"up{job="a"} 2; up{job="b"} 3"#),
            (r#"up{job!="a"}"#, r#"up{job="b"} 3"#),
            (r#"up{job=~"a|c"}"#, r#"up{job="a"} 2"#),
            (r#"{__name__=~"u.",job="b"}"#, r#"up{job="b"} 3"#),
            (r#"up{other=""}"#, r#"up{job="a"} 2; up{job="b"} 3"#),
            ("up offset 1m", r#"up{job="a"} 1; up{job="b"} 3"#),
            ("up @ 0", r#"up{job="a"} 1; up{job="b"} 3"#),
            ("gone", ""),
            ("gone offset 31s", r#"gone{job="a"} 1"#),
            ("back", "back{} 7"),
        ],
    );
    // At 300 s the point at 0 is exactly five minutes old: outside.
    check(data, 299, &[(r#"up{job="b"}"#, r#"up{job="b"} 3"#)]);
    check(data, 300, &[(r#"up{job="b"}"#, "")]);
}

#[test]
fn rates_extrapolate_and_survive_resets() {
    // Every 10 s from 10 to 60, one per second, and a counter that starts again at 40 s.
    let data = r"
        steady = 10:10 20:20 30:30 40:40 50:50 60:60
        reset = 10:100 20:110 30:120 40:5 50:15 60:25
        sparse = 55:10 60:20
        single = 60:1
        fresh = 40:0 50:10 60:20
        gauge = 10:50 60:0
        hole = 10:10 20:20 30:x 50:50 60:60
    ";
    check(
        data,
        60,
        &[
            // (0,60]: grew 50 over 50 s, stretched by the 10 s to the start: 60, at zero there.
            ("increase(steady[1m])", "{} 60"),
            ("rate(steady[1m])", "{} 1"),
            // 10 + 10 + 5 + 10 + 10 = 45 over 50 s; 10 s more at the start: 45 * 60 / 50.
            ("increase(reset[1m])", "{} 54"),
            ("resets(reset[1m])", "{} 1"),
            // 10 over 5 s; 55 s to the start is far, so half a step: 10 * 7.5 / 5.
            ("increase(sparse[1m])", "{} 15"),
            ("rate(single[1m])", ""),
            // Begins at zero: not stretched below it.
            ("increase(fresh[1m])", "{} 20"),
            ("increase(fresh[25s])", "{} 20"),
            ("delta(gauge[1m])", "{} -60"),
            ("irate(steady[1m])", "{} 1"),
            ("irate(reset[30s])", "{} 1"),
            ("idelta(gauge[1m])", "{} -50"),
            ("increase(hole[1m])", "{} 60"),
            // Open on the left: the point at 10 s is not in (10, 60].
            ("count_over_time(steady[50s])", "{} 5"),
        ],
    );
}

#[test]
fn functions_over_time() {
    check(
        "m = 10:1 20:3 30:2 40:2",
        40,
        &[
            ("avg_over_time(m[1m])", "{} 2"),
            ("sum_over_time(m[1m])", "{} 8"),
            ("min_over_time(m[1m])", "{} 1"),
            ("max_over_time(m[1m])", "{} 3"),
            ("count_over_time(m[1m])", "{} 4"),
            ("last_over_time(m[1m])", "m{} 2"),
            ("present_over_time(m[1m])", "{} 1"),
            ("quantile_over_time(0.5, m[1m])", "{} 2"),
            ("quantile_over_time(0.9, m[1m])", "{} 2.7"),
            ("stdvar_over_time(m[1m])", "{} 0.5"),
            ("changes(m[1m])", "{} 2"),
            ("sum_over_time(m[5s] offset 10s)", "{} 2"),
        ],
    );
}

#[test]
fn aggregations_group() {
    let data = r#"
        r{svc="a",code="200"} = 0:10
        r{svc="a",code="500"} = 0:2
        r{svc="b",code="200"} = 0:5
        r{svc="b",code="500"} = 0:NaN
    "#;
    check(
        data,
        0,
        &[
            ("sum by (code) (r)", r#"{code="200"} 15; {code="500"} NaN"#),
            (
                "sum without (code) (r{code='200'})",
                r#"{svc="a"} 10; {svc="b"} 5"#,
            ),
            ("count(r)", "{} 4"),
            ("group(r)", "{} 1"),
            ("min by (svc) (r)", r#"{svc="a"} 2; {svc="b"} 5"#),
            ("max(r)", "{} 10"),
            ("avg(r{svc='a'})", "{} 6"),
            ("stddev(r{svc='a'})", "{} 4"),
            ("quantile(0.5, r{svc='a'})", "{} 6"),
            ("quantile(2, r)", "{} inf"),
            ("topk(1, r)", r#"r{code="200", svc="a"} 10"#),
            (
                "topk by (svc) (1, r)",
                r#"r{code="200", svc="a"} 10; r{code="200", svc="b"} 5"#,
            ),
            ("bottomk(1, r)", r#"r{code="500", svc="a"} 2"#),
            ("topk(0, r)", ""),
            ("sum(nothing)", ""),
        ],
    );
    check(
        "a{x=\"1\"} = 0:1e100\na{x=\"2\"} = 0:1\na{x=\"3\"} = 0:-1e100",
        0,
        &[("sum(a)", "{} 1")],
    );
}

#[test]
fn operators_match_labels() {
    let data = r#"
        errors{svc="a",code="500"} = 0:2
        errors{svc="a",code="503"} = 0:3
        errors{svc="b",code="500"} = 0:1
        total{svc="a"} = 0:10
        total{svc="b"} = 0:4
        info{svc="a",owner="ada"} = 0:1
    "#;
    check(
        data,
        0,
        &[
            ("1 + 2 * 3 ^ 2", "19"),
            ("-7 % 3", "-1"),
            ("1 > bool 2", "0"),
            ("total / 2", r#"{svc="a"} 5; {svc="b"} 2"#),
            ("-total", r#"{svc="a"} -10; {svc="b"} -4"#),
            ("total > 5", r#"total{svc="a"} 10"#),
            ("5 < total", r#"total{svc="a"} 10"#),
            ("total > bool 5", r#"{svc="a"} 1; {svc="b"} 0"#),
            (
                "sum by (svc) (errors) / total",
                r#"{svc="a"} 0.5; {svc="b"} 0.25"#,
            ),
            (
                r#"errors{code="500"} / ignoring(code) total"#,
                r#"{svc="a"} 0.2; {svc="b"} 0.25"#,
            ),
            (
                r#"errors{code="500"} / on(svc) total"#,
                r#"{svc="a"} 0.2; {svc="b"} 0.25"#,
            ),
            (
                "errors / on(svc) group_left total",
                r#"{code="500", svc="a"} 0.2; {code="503", svc="a"} 0.3; {code="500", svc="b"} 0.25"#,
            ),
            (
                "total - on(svc) group_right errors",
                r#"{code="500", svc="a"} 8; {code="503", svc="a"} 7; {code="500", svc="b"} 3"#,
            ),
            (
                "total * on(svc) group_left(owner) info",
                r#"{owner="ada", svc="a"} 10"#,
            ),
            ("total and on(svc) info", r#"total{svc="a"} 10"#),
            ("total unless on(svc) info", r#"total{svc="b"} 4"#),
            (
                "info or on(svc) total",
                r#"info{owner="ada", svc="a"} 1; total{svc="b"} 4"#,
            ),
            ("total == total", r#"total{svc="a"} 10; total{svc="b"} 4"#),
            ("vector(1) / vector(0)", "{} inf"),
            (
                "errors / on(svc) total",
                "failed to evaluate the query: errors{code=\"503\", svc=\"a\"} is one of several on the left side that match total{svc=\"a\"}: say group_left to allow it",
            ),
            (
                "total / on(svc) errors",
                "failed to evaluate the query: errors{code=\"503\", svc=\"a\"} and errors{code=\"500\", svc=\"a\"} on the right side match the same group: many-to-many matching is not possible",
            ),
        ],
    );
}

#[test]
fn results_stay_distinct() {
    check(
        "a = 0:1\nb = 0:2",
        0,
        &[(
            r#"abs({__name__=~"a|b"})"#,
            "failed to evaluate the query: more than one series of the result would be {}: select one metric, or aggregate",
        )],
    );
}

#[test]
fn instant_functions() {
    let data = "m{x=\"1\"} = 0:-1.5\nm{x=\"2\"} = 0:2.5";
    check(
        data,
        100,
        &[
            ("abs(m)", r#"{x="1"} 1.5; {x="2"} 2.5"#),
            ("ceil(m)", r#"{x="1"} -1; {x="2"} 3"#),
            ("floor(m)", r#"{x="1"} -2; {x="2"} 2"#),
            ("round(m)", r#"{x="1"} -1; {x="2"} 3"#),
            ("round(m, 0.2)", r#"{x="1"} -1.4; {x="2"} 2.6"#),
            ("clamp(m, 0, 1)", r#"{x="1"} 0; {x="2"} 1"#),
            ("clamp(m, 1, 0)", ""),
            ("clamp_min(m, 0)", r#"{x="1"} 0; {x="2"} 2.5"#),
            ("clamp_max(m, 0)", r#"{x="1"} -1.5; {x="2"} 0"#),
            ("sgn(m)", r#"{x="1"} -1; {x="2"} 1"#),
            ("sqrt(m)", r#"{x="1"} NaN; {x="2"} 1.5811388301"#),
            ("sort_desc(m)", r#"m{x="2"} 2.5; m{x="1"} -1.5"#),
            ("time()", "100"),
            ("scalar(m)", "NaN"),
            (r#"scalar(m{x="2"})"#, "2.5"),
            ("vector(3)", "{} 3"),
        ],
    );
}

#[test]
fn quantiles_of_histograms() {
    let data = r#"
        h_bucket{op="x",le="0.1"} = 0:10
        h_bucket{op="x",le="0.5"} = 0:20
        h_bucket{op="x",le="1"} = 0:19
        h_bucket{op="x",le="+Inf"} = 0:25
        h_bucket{op="empty",le="1"} = 0:0
        h_bucket{op="empty",le="+Inf"} = 0:0
        h_bucket{op="open",le="1"} = 0:5
    "#;
    check(
        data,
        0,
        &[
            // Rank 5 of 10 in the lowest bucket, which begins at zero.
            (r#"histogram_quantile(0.2, h_bucket{op="x"})"#, r#"{op="x"} 0.05"#),
            // Rank 15: half way through (0.1, 0.5].
            (r#"histogram_quantile(0.6, h_bucket{op="x"})"#, r#"{op="x"} 0.3"#),
            // Beyond the highest finite bound.
            (r#"histogram_quantile(0.9, h_bucket{op="x"})"#, r#"{op="x"} 1"#),
            (r#"histogram_quantile(2, h_bucket{op="x"})"#, r#"{op="x"} inf"#),
            (
                r#"histogram_quantile(0.5, h_bucket{op="empty"})"#,
                r#"{op="empty"} NaN"#,
            ),
            (
                r#"histogram_quantile(0.5, h_bucket{op="open"})"#,
                r#"{op="open"} NaN"#,
            ),
            (
                r#"histogram_quantile(0.6, sum by (le) (h_bucket{op="x"}))"#,
                "{} 0.3",
            ),
        ],
    );
}

#[test]
fn ranges_step_through_time() {
    let series = load("m{x=\"1\"} = 0:0 10:10 20:20 30:x\nm{x=\"2\"} = 20:5");
    let shown: Vec<String> = evaluate_range("m", series.as_slice(), 0, 40_000, 10_000)
        .unwrap()
        .iter()
        .map(|s| format!("{} {:?}", s.labels, s.points))
        .collect();
    assert_eq!(
        shown,
        [
            r#"m{x="1"} [(0, 0.0), (10000, 10.0), (20000, 20.0)]"#,
            r#"m{x="2"} [(20000, 5.0), (30000, 5.0), (40000, 5.0)]"#
        ]
    );
    let rates = evaluate_range("sum(rate(m[20s]))", series.as_slice(), 20_000, 20_000, 1000).unwrap();
    assert_eq!(rates[0].points, [(20_000, 1.0)]);
    let scalar = evaluate_range("time()", series.as_slice(), 1000, 2000, 1000).unwrap();
    assert_eq!(scalar[0].points, [(1000, 1.0), (2000, 2.0)]);
}

#[test]
fn what_is_unsupported_is_named_with_its_place() {
    for (query, expected) in [
        (
            "sum(rate(m[5m:1m]))",
            "rate over anything but a selector with a range at character 5 is not supported",
        ),
        (
            "1 + deriv(m[5m])",
            "the function deriv at character 5 is not supported",
        ),
        (
            "count_values('x', m)",
            "the aggregation count_values at character 1 is not supported",
        ),
        (
            "m[5m]",
            "a range on its own (wrap it in a function such as rate) at character 2 is not supported",
        ),
        (
            "m @ end()",
            "`@ start()` or `@ end()` at character 3 is not supported",
        ),
        ("sum(", "failed to read the query"),
        ("", "failed to read the query"),
        ("m{x=~\"(\"}", "failed to read the query"),
    ] {
        let error = parse(query).unwrap_err().to_string();
        assert!(error.contains(expected), "{query}: {error}");
    }
}

#[test]
fn limits_hold() {
    assert!(
        parse(&"x".repeat(5000))
            .unwrap_err()
            .to_string()
            .contains("more than 4096")
    );
    let series = load("m = 0:1");
    let error = evaluate_range("m", series.as_slice(), 0, 1_000_000_000, 1000).unwrap_err();
    assert!(error.to_string().contains("more than 11000"), "{error}");
    assert!(evaluate_range("m", series.as_slice(), 0, 10, 0).is_err());
    // Deep trees are refused and cost little stack.
    let worker = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        for query in [
            format!("{}1{}", "(".repeat(2000), ")".repeat(2000)),
            format!("{}m", "-".repeat(4000)),
            format!("1{}", "+1".repeat(2000)),
        ] {
            let error = parse(&query).unwrap_err().to_string();
            assert!(error.contains("nests deeper"), "{error}");
        }
    });
    worker.unwrap().join().unwrap();
}

#[test]
fn selectors_say_what_to_fetch() {
    let query = parse("rate(a[2m] offset 1m) / on() b").unwrap();
    let ranges: Vec<(i64, i64)> = query
        .selectors()
        .iter()
        .map(|s| s.range(600_000, 900_000))
        .collect();
    assert_eq!(ranges, [(420_000, 840_000), (300_000, 900_000)]);
    assert_eq!(query.selectors()[0].matchers[0].to_string(), "__name__=\"a\"");
    assert!(query.eval_instant(&[], 0).is_err());
}
