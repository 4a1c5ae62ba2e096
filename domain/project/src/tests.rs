#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use insta::assert_snapshot;

use crate::*;

#[path = "tests/documents.rs"]
mod documents;
#[path = "tests/run.rs"]
mod run;
#[path = "tests/server.rs"]
mod server;

const FULL: &str = r#"
service: blocks
pipeline:
  install: cargo fetch --locked --offline
  build: {run: cargo build --offline --locked, timeout: 5m}
  unit: cargo test --lib
  integration: cargo test --test api
  e2e: {run: ./e2e.sh, timeout: 1m30s, env: {MODE: fast}}
  artifact: {paths: [target/debug/blocks, plugins]}
run:
  command: ./target/debug/blocks --name "a b"
  instances: 2
  env: {RUST_LOG: info, DB_PASSWORD: {secret: BLOCKS_DB}}
  user: blocks
  directory: app
  limits: {memory: 512MB, cpu: 1.5, processes: 100}
  liveness: {tcp: true, interval: 5s, timeout: 1s, failures: 3, delay: 10s}
  health: {path: /health, interval: 500ms, timeout: 1s, healthy_after: 2, unhealthy_after: 3, start_timeout: 20s}
  metrics: {path: /metrics, interval: 1s}
  stop_grace: 5s
staging:
  smoke: curl -f $TARGET_URL/health
  integration: ./tests/api.sh
  performance: ./tests/load.sh
  approval: {role: approver, timeout: 24h}
production:
  strategy: canary
  test: curl -f $TARGET_URL/health
  steps:
    - 5%
    - {weight: 25%, watch: 5m, requests_min: 100, on_inconclusive: ask, job: ./check.sh, approval: true, pause: 10m}
  rolling: {surge_max: 25%, unavailable_max: 0, ready_min: 5s, progress: 10m, on_inconclusive: pass}
  flag: {key: new-search, on: "on", off: "off", by: tenant, user_header: x-user, steps: [10%, 50%]}
  hooks: {before: ./announce.sh, expand: ./migrate.sh up, contract: ./migrate.sh tidy, after: {http: https://ci.example.org/deployed, method: POST, timeout: 10s, secret: CI_KEY, bearer: CI_TOKEN, attempts: 5, expect: 2xx}}
  freezes:
    - {from: 2026-12-24, until: 2027-01-02T08:00Z}
    - {day: friday, at: '16:00', lasts: 64h}
  holdback: 5%
  watch: 30s
  drain: 5s
  decommission_after: 2s
  route: {host: "*", path: /, timeout: 10s, protocol: http1, sticky: cookie, testers: [{header: x-beta, value: "1"}, {cookie: beta, value: "1"}], hold: 5s, rate_limit: {per_second: 100, burst: 200, by: address}, ejection: {failures: 5, lasts: 10s}, slow_start: 10s, connect_timeout: 3s, stall_timeout: 60s, body_max: 10MB, asset_fallback: true, forwarded: true}
  verdict:
    {alpha: 1%, tolerance: 25%, on_inconclusive: extend, on_regressed: protect, requests_min: 200,
     on_no_traffic: ask, on_missing_metric: extend, on_failed_query: rollback,
     errors: {on_regressed: rollback}, latency: {on_inconclusive: report}, client_errors: {on_regressed: report},
     metrics: [
       {name: queue_lag, query: 'max(queue_lag_seconds{release="$release"})', direction: lower, unit: s, tolerance: 0.5,
        share: 20%, interval: 5s, intervals_min: 6, on_regressed: ask, on_inconclusive: ask, on_no_traffic: extend,
        on_missing_metric: report, on_failed_query: ask},
       {name: merges, bad: sum(merges_failed_total), total: sum(merges_total)},
       {name: orders, good: sum(orders_placed_total), total: sum(carts_total), tolerance: 10%}]}
objectives: {availability: 99.5%, latency: 300ms, latency_share: 95%, apdex: 250ms, window: 30d}
business:
  - {name: blocks_created, title: Blocks created, unit: /h, query: 'sum(rate(blocks_created_total[1m])) * 3600'}
application: {active_users: blocks_users, database_queries: 'sum(rate(blocks_queries_total[1m]))'}
actions: {automatic: true, dry_run: false, per_hour_max: 6, cooldown: 30s}
"#;

/// What a service has no use for.
const FULL_CRON: &str = r#"
service: sweep
pipeline: {artifact: {paths: [empty]}}
run:
  kind: cron
  image: registry.example.org/sweep@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  network: host
  schedule: '*/5 * * * *'
  overlap: replace
  time_limit: 10m
  health: {grpc: ''}
"#;

const FULL_SERVER: &str = r#"
listen: 127.0.0.1:7700
otlp_grpc: 127.0.0.1:4317
otlp_http: 127.0.0.1:4318
traffic: 127.0.0.1:7780
traffic_tls: 127.0.0.1:7743
tls: {cert: /etc/trimtab/chain.pem, key: /etc/trimtab/key.pem}
certificates: [{cert: /etc/trimtab/shop.pem, key: /etc/trimtab/shop.key}]
acme: {directory: "https://localhost:14000/dir", ca: /etc/trimtab/pebble.pem, contact: ["mailto:team@example.org"], hosts: [shop.example.org]}
repositories:
  - {service: blocks, path: /srv/git/blocks.git, branch: main}
groups: [{services: [blocks, search], weights: [2, 1], wait: 5m}]
retention: {metrics: 30d, logs: 7d, traces: 3d, events: 90d, size_max: 10GB}
notify:
  slack: {webhook: {env: SLACK_WEBHOOK}}
  email: {smtp: "mail.example.org:587", from: trimtab@example.org, to: [team@example.org], username: trimtab, password: {file: /run/secrets/smtp}, starttls: true}
  sms: {base_url: "https://api.twilio.com", account: AC1, token: {env: SMS_TOKEN}, from: "+15550100", to: ["+15550101"]}
  webhook: {url: "https://example.org/hook", secret: {env: HOOK_SECRET}}
secrets:
  BLOCKS_DB: {file: /run/secrets/blocks-db, services: [blocks], steps: true}
hooks:
  CI_KEY: {hosts: [ci.example.org], signing: {env: CI_KEY}, services: [blocks]}
  CI_TOKEN: {hosts: [ci.example.org], bearer: {file: /run/secrets/ci}}
users: [blocks, '1001:1001']
docker: {socket: /var/run/docker.sock}
"#;

fn problems(text: &str) -> String {
    lines(&parse("trimtab.yaml", text).unwrap_err())
}

fn server_problems(text: &str) -> String {
    lines(&parse_server("trimtab-server.yaml", text).unwrap_err())
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_full_project_is_read() {
    let project = parse("trimtab.yaml", FULL).unwrap();
    assert_eq!(project.service.as_str(), "blocks");
    assert_eq!(project.run.command, ["./target/debug/blocks", "--name", "a b"]);
    assert_eq!(project.run.instances, 2);
    let build = project.pipeline.build.unwrap();
    assert_eq!(build.timeout, Period::seconds(300));
    let e2e = project.pipeline.e2e.unwrap();
    assert_eq!(
        (e2e.timeout, e2e.env["MODE"].as_str()),
        (Period::seconds(90), "fast")
    );
    assert_eq!(project.production.holdback.fraction(), 0.05);
    assert_eq!(project.production.verdict.on_inconclusive, Inconclusive::Extend);
    assert_eq!(project.objectives.availability.percent(), 99.5);
    assert_eq!(project.business[0].unit, "/h");
    assert_eq!(
        project.staging.unwrap().approval.unwrap().timeout,
        Period::seconds(86_400)
    );
}

#[test]
fn a_short_project_gets_defaults() {
    let text = "service: a\npipeline: {artifact: {paths: [a]}}\nrun: {command: [./a]}\n";
    let project = parse("trimtab.yaml", text).unwrap();
    assert_eq!(project.run.asked(), Ask::Path("/health".to_owned()));
    assert_eq!(project.production.holdback.to_string(), "5%");
    assert_eq!(project.production.watch.to_string(), "30s");
    assert!(project.staging.is_none() && project.actions.automatic);
}

#[test]
fn every_error_of_a_broken_project_is_reported_at_once() {
    let broken = r#"
servise: blocks
pipeline:
  install: [cargo, fetch]
  build: {run: cargo build, timeout: 300, retries: 2}
  unit:
  artifact: {paths: [/etc/passwd, ../secrets, ok]}
run:
  command: './blocks "unclosed'
  instances: zero
  env: {PORT: 80, 1X: a, GOOD: b, GOOD: c}
  helth: {path: /health}
  health: {path: health, interval: 0s, timeout: 1x, healthy_after: -1}
  stop_grace: [5s]
  stop_grace: 5s
staging: nothing
production:
  strategy: bluegreen
  holdback: 5
  watch: ~
  route: {host: "http://x", timeout: soon}
  verdict: {alpha: 50%, on_inconclusive: rolback}
objectives: {availability: 100%, latency_share: 120%}
business:
  - {title: No name, query: ''}
  - {name: Bad-Name, query: x}
actions: {automatic: yes}
"#;
    assert_snapshot!(problems(broken));
}

#[test]
fn a_syntax_error_names_line_and_mend() {
    assert_snapshot!(
        [
            problems("service: blocks\n\tpipeline: x\n"),
            problems("service: a: b\n"),
            problems("service: \"a\nrun: x\n"),
            problems("pipeline: {install: [a\n"),
            problems("service: a\n---\nservice: b\n"),
            problems("a: &x [1]\nb: *x\n"),
            problems("service: a\0b"),
        ]
        .join("\n")
    );
}

#[test]
fn empty_and_odd_files_are_refused_in_words() {
    assert_snapshot!(
        [
            problems(""),
            problems("- a\n"),
            problems("just words"),
            problems("? [a]\n: b\n")
        ]
        .join("\n")
    );
}

#[test]
fn bombs_are_bounded() {
    let deep = format!("service: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_snapshot!(problems(&deep), @"trimtab.yaml:1:265: not YAML: recursion limit exceeded; no field is nested that deep: remove brackets or indentation");
    let blocks: String = (0..40)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    assert!(problems(&blocks).contains("nested more than 32 deep"));
    let wide = format!("business: [{}]", "a, ".repeat(30_000));
    assert!(problems(&wide).contains("more than 20000 keys and values"));
    let long = "a".repeat(TEXT_BYTES_MAX + 1);
    assert!(problems(&long).contains("bytes are more than"));
    let laughs = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
    assert!(problems(laughs).contains("alias"));
    let many: String = (0..500).map(|n| format!("x{n}: 1\n")).collect();
    assert_eq!(parse("f", &many).unwrap_err().len(), PROBLEMS_MAX);
}

#[test]
fn no_text_makes_the_parser_panic() {
    // Every prefix and every one-character damage of a full file.
    for (index, _) in FULL.char_indices() {
        let _ = parse("f", &FULL[..index]);
        let mut damaged = FULL.to_owned();
        damaged.replace_range(index..=index, "{");
        let _ = parse("f", &damaged);
        damaged.replace_range(index..=index, "\"");
        let _ = parse_server("f", &damaged);
    }
}

#[test]
fn a_byte_order_mark_is_not_text() {
    assert!(parse("f", &format!("\u{feff}{}", FULL.trim_start())).is_ok());
}

#[test]
fn units_are_read() {
    let period = |text| Period::parse(text).map(Period::as_millis);
    assert_eq!(period("500ms"), Some(500));
    assert_eq!(period("1h30m"), Some(5_400_000));
    assert_eq!(period("30d"), Some(2_592_000_000));
    for bad in [
        "",
        "5",
        "s",
        "5 parsecs",
        "-5s",
        "1.5s",
        "99999999999999999999s",
        "4000d",
        "ü",
    ] {
        assert_eq!(period(bad), None, "{bad}");
    }
    assert_eq!(Period::seconds(90).to_string(), "90s");
    assert_eq!(Period::seconds(0).to_string(), "0s");
    for bad in ["5", "-1%", "101%", "%", "NaN%", "1e1%", "inf%"] {
        assert_eq!(Percent::parse(bad), None, "{bad}");
    }
    assert_eq!(units::bytes("10MB"), Some(10_000_000));
    assert_eq!(units::bytes("1GiB"), Some(1 << 30));
    assert_eq!(units::bytes("99999999999TiB"), None);
}

#[test]
fn what_is_watched_is_watched_as_long_in_every_strategy() {
    let head = "service: a\npipeline: {artifact: {paths: [a]}}\nrun: {command: ./a}\nproduction:\n";
    let watches = |text: &str| {
        let production = parse("trimtab.yaml", &format!("{head}{text}"))
            .unwrap()
            .production;
        let steps: Vec<u64> = production
            .steps
            .iter()
            .map(|step| step.watch.as_millis())
            .collect();
        (steps, production.rolling.ready_min.as_millis())
    };
    assert_eq!(watches("  drain: 1s\n"), (vec![60_000, 60_000], 5_000));
    assert_eq!(watches("  watch: 20s\n"), (vec![20_000, 20_000], 20_000));
    let own = "  watch: 20s\n  steps: [5%, {weight: 10%, watch: 3s}]\n  rolling: {surge_max: 2}\n";
    assert_eq!(watches(own), (vec![20_000, 3_000], 20_000));
    let own = "  watch: 20s\n  rolling: {ready_min: 1s}\n";
    assert_eq!(watches(own), (vec![20_000, 20_000], 1_000));
}

#[test]
fn strategies_say_what_is_wrong_with_their_settings() {
    let head = "service: a\npipeline: {artifact: {paths: [a]}}\nrun: {command: ./a}\nproduction:\n";
    let with = |text: &str| problems(&format!("{head}{text}"));
    let text = "  strategy: canari\n  steps: [5%, {weight: 3%}]\n";
    assert_snapshot!(with(text), @r#"
    trimtab.yaml:5:13: production.strategy: "canari" is not known; did you mean "canary"? (one of: blue-green, canary, rolling, flag)
    trimtab.yaml:6:10: production.steps[1].weight: 3% is not more than the step before has; let the weights grow from step to step, for example 5%, 25%, 50%
    "#);
    let text =
        "  steps: [{watch: 5m}, {weight: 10, approvals: true}, {weight: 20%, watch: 0s, requests_min: 5}]\n";
    assert_snapshot!(with(text), @r#"
    trimtab.yaml:5:11: production.steps[0].weight: missing; add the share of users: 'weight: 5%'
    trimtab.yaml:5:33: production.steps[1].weight: 10 has no unit; write 10%
    trimtab.yaml:5:37: production.steps[1].approvals: unknown field; did you mean "approval"?
    trimtab.yaml:5:94: production.steps[2].requests_min: nothing is counted in a step without a watch; give the step a watch, for example 'watch: 5m'
    "#);
    let text = "  strategy: flag\n";
    assert_snapshot!(with(text), @"trimtab.yaml:5:13: production.strategy: the strategy 'flag' needs the flag that it rolls out; write 'flag: {key: new-search}'");
    let text = "  strategy: flag\n  flag: {ky: search, on: 'yes', off: 'yes', steps: [50%, 10%]}\n";
    assert_snapshot!(with(text), @r#"
    trimtab.yaml:5:13: production.strategy: the strategy 'flag' needs the flag that it rolls out; write 'flag: {key: new-search}'
    trimtab.yaml:6:9: production.flag.key: missing; add the flag's key: 'key: new-search'
    trimtab.yaml:6:10: production.flag.ky: unknown field; did you mean "by"?
    "#);
    let text = "  rolling: {surge_max: 0, unavailable_max: 0%}\n  hooks: {befor: ./a}\n";
    assert_snapshot!(with(text), @r#"
    trimtab.yaml:5:24: production.rolling.surge_max: no instance may be added and none may be missing: nothing could be replaced; write 'surge_max: 1', or 'unavailable_max: 1'
    trimtab.yaml:6:11: production.hooks.befor: unknown field; did you mean "before"?
    "#);
    let text = "  strategy: rolling\n  test: ./a\n  rolling: {surge_max: 0, unavailable_max: 1}\n";
    assert_snapshot!(with(text), @"
    trimtab.yaml:6:9: production.test: without surge no new instance is there to be tested before the first goes; write 'rolling: {surge_max: 1}', or leave the test out
    ");
    let text = "  freezes: [{from: 2026-02-30, until: 2026-03-01}, {day: friday, from: 2026-01-01, lasts: 7d}, {at: '16:00'}]\n";
    assert_snapshot!(with(text), @r#"
    trimtab.yaml:5:20: production.freezes[0].from: "2026-02-30" is not allowed here; write a day or a minute of UTC: 2026-12-24 or 2026-12-24T18:00Z
    trimtab.yaml:5:72: production.freezes[1].from: a weekly freeze has no date; leave out either 'day', or 'from' and 'until'
    trimtab.yaml:5:91: production.freezes[1].lasts: it would leave less than a day; write at most 6d
    trimtab.yaml:5:96: production.freezes[2].from: missing; add its beginning: 'from: 2026-12-24'
    trimtab.yaml:5:96: production.freezes[2].until: missing; add its end: 'until: 2027-01-02'
    trimtab.yaml:5:101: production.freezes[2].at: this belongs to a weekly freeze; add its day: 'day: friday'
    "#);
}

#[test]
fn hooks_say_what_is_wrong_with_their_requests() {
    let head = "service: a\npipeline: {artifact: {paths: [a]}}\nrun: {command: ./a}\nproduction:\n";
    let with = |text: &str| problems(&format!("{head}{text}"));
    let text = "  hooks:
    before: {http: ftp://ci.example.org, metod: POST}
    expand: {http: https://me@ci.example.org/, method: DELETE, attempts: 0}
    contract: {http: http://ci.example.org/, bearer: CI, secret: {env: CI}, expect: [99, 5xx]}
    after: {http: https://ci.example.org/, secret: hunter-22, expect: [], run: ./a}
  steps: [{weight: 5%, job: {http: https://ci.example.org#x, timeout: 0s}}]
";
    assert_snapshot!(with(text), @r#"
    trimtab.yaml:6:20: production.hooks.before.http: it does not begin with https:// (or http://); write https://host/path
    trimtab.yaml:6:42: production.hooks.before.metod: unknown field; did you mean "method"?
    trimtab.yaml:7:20: production.hooks.expand.http: the address holds a user or a password; name a token by 'bearer: NAME'
    trimtab.yaml:7:56: production.hooks.expand.method: "DELETE" is not known; write one of: POST, PUT, GET
    trimtab.yaml:7:74: production.hooks.expand.attempts: "0" is not a whole number from 1 to 20; write a whole number from 1 to 20
    trimtab.yaml:8:54: production.hooks.contract.bearer: the token would cross the network in the clear; write the address with https://
    trimtab.yaml:8:66: production.hooks.contract.secret: expected a name; what it stands for is the server's, not the repository's, to say; write the name of an entry of `hooks` in trimtab-server.yaml
    trimtab.yaml:8:86: production.hooks.contract.expect[0]: "99" is not allowed here; write 2xx, or statuses from 200 to 499: [200, 404]
    trimtab.yaml:8:90: production.hooks.contract.expect[1]: "5xx" is not allowed here; write 2xx, or statuses from 200 to 499: [200, 404]
    trimtab.yaml:9:52: production.hooks.after.secret: not a name; write the name of an entry of `hooks` in trimtab-server.yaml: letters, digits and '_'
    trimtab.yaml:9:71: production.hooks.after.expect: no answer would be a yes; write 2xx
    trimtab.yaml:9:75: production.hooks.after.run: unknown field; remove it, or use one of: http, method, timeout, secret, bearer, attempts, expect
    trimtab.yaml:10:36: production.steps[0].job.http: the address holds a character that none may hold; write others than plain ones as %XX, and leave out '#' and '\'
    trimtab.yaml:10:71: production.steps[0].job.timeout: zero is no length of time here; write at least 1ms
    "#);
}

#[test]
fn requests_of_hooks_are_read_and_their_places_known() {
    let text = "service: a\npipeline: {artifact: {paths: [a]}}\nrun: {command: ./a}\nproduction:
  hooks: {before: {http: \"https://CI.example.org:8443/go\", expect: [204, 4xx], secret: CI}, after: ./b}
  steps: [{weight: 5%, job: {http: https://ci.example.org/}}]
  flag: {key: k, steps: [{weight: 10%, job: ./c}]}
";
    let project = parse("trimtab.yaml", text).unwrap();
    let jobs = project.production.jobs();
    let fields: Vec<&str> = jobs.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "production.hooks.before",
            "production.hooks.after",
            "production.steps[0].job",
            "production.flag.steps[0].job"
        ]
    );
    let (Job::Http(before), Job::Http(gate)) = (jobs[0].1, jobs[2].1) else {
        panic!("{jobs:?}");
    };
    assert_eq!(
        (before.host.as_str(), before.at),
        ("ci.example.org:8443", (5, 19))
    );
    let yes = [200, 204, 403, 500].map(|status| before.expect.holds(status));
    assert_eq!(yes, [false, true, true, false]);
    assert_eq!((gate.attempts, gate.timeout), (5, Period::seconds(10)));
    assert!(gate.expect.holds(299) && !gate.expect.holds(301));
    assert_eq!(gate.longest_ms(), 5 * 10_000 + 4 * 60_000);
}

#[test]
fn portions_are_rounded_to_the_safe_side() {
    let project = parse("trimtab.yaml", FULL).unwrap();
    let surge = project.production.rolling.surge_max;
    assert_eq!((surge.of(10, true), surge.of(10, false)), (3, 2));
    assert_eq!(Portion::Count(2).of(10, true), 2);
}

#[test]
fn a_route_may_say_little_or_much() {
    let route = |route: &str| {
        let text = format!(
            "service: blocks\npipeline: {{build: make, artifact: {{paths: [blocks]}}}}\nrun: {{command: ./blocks, health: {{path: /health}}}}\nproduction:\n  route: {{{route}}}\n"
        );
        parse("trimtab.yaml", &text).map(|project| project.production.route)
    };
    assert_eq!(route("").unwrap(), Route::default());
    let full = route(
        "protocol: grpc, sticky: X-User, testers: [{cookie: Beta, value: a1}], hold: 5s, \
         rate_limit: {per_second: 9}, ejection: {failures: 2}, body_max: 1MB, asset_fallback: true",
    )
    .unwrap();
    assert_eq!(
        (full.sticky.as_deref(), full.body_max),
        (Some("x-user"), Some(1_000_000))
    );
    assert_eq!(full.rate_limit.unwrap().burst, 9);
    for bad in [
        "testers: [{value: x}]",
        "testers: [{header: x, cookie: y, value: z}]",
        "hold: 2m",
        "sticky: 'a b'",
    ] {
        assert!(route(bad).is_err(), "{bad}");
    }
}

/// Each mistake in a metric of the team's own has its line, its field and a mend.
#[test]
fn mistakes_in_metrics_of_the_verdict_are_told() {
    let head = "service: notes\npipeline: {artifact: {paths: [notes]}}\nrun: {command: ./notes}\nproduction:\n  verdict:\n";
    let cases = [
        (
            "    metrics: [{name: lag, query: lag}]",
            "6:15: production.verdict.metrics[0].direction: missing",
        ),
        (
            "    metrics: [{name: lag}]",
            "6:15: production.verdict.metrics[0].query: missing",
        ),
        (
            "    metrics: [{name: lag, query: lag, direction: down}]",
            "\"down\" is not known",
        ),
        (
            "    metrics: [{name: lag, query: 'lag{release=\"$relase\"}', direction: lower}]",
            "$relase is not known; use $release",
        ),
        (
            "    metrics: [{name: m, bad: a, good: b, total: c}]",
            "counts need 'total' and one of 'bad' and 'good'",
        ),
        (
            "    metrics: [{name: m, bad: a}]",
            "metrics[0].total: counts need",
        ),
        (
            "    metrics: [{name: m, bad: a, total: b, query: c, direction: lower}]",
            "do not go together; keep either",
        ),
        (
            "    metrics: [{name: m, bad: a, total: b, tolerance: 3}]",
            "6:54: production.verdict.metrics[0].tolerance: counts are compared by share",
        ),
        (
            "    metrics: [{name: m, bad: a, total: b, share: 90%}]",
            "sum to 90%",
        ),
        (
            "    metrics: [{name: Lag, query: lag, direction: lower}]",
            "metrics[0].name: \"Lag\" is not allowed here",
        ),
        (
            "    on_missing_metric: pass",
            "6:24: production.verdict.on_missing_metric: \"pass\" is not known",
        ),
        ("    errors: {on_regresed: ask}", "did you mean \"on_regressed\"?"),
    ];
    for (line, wanted) in cases {
        let problems = parse("trimtab.yaml", &format!("{head}{line}\n")).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|one| one.contains(wanted)), "{line}: {told:?}");
    }
}
