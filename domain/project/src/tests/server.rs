//! What the server's file may say, and what it may not.

use super::*;

#[test]
fn every_error_of_a_broken_server_file_is_reported_at_once() {
    let broken = r#"
listen: localhost:7700
traffic: 127.0.0.1:4317
traffic_tls: 0.0.0.0:7743
repositories:
  - {service: Blocks, branch: --upload-pack=x}
  - {service: a, path: /a}
  - {service: a, path: /b}
retention: {logs: 7 days, size_max: 10}
notify:
  slack: {webhook: https://hooks.slack.com/T0/SECRET}
  email: {smtp: mail.example.org, from: nobody, to: team@example.org, password: {env: A, file: b}}
  webhook: {url: example.org, secret: {}}
  pager: {}
"#;
    assert_snapshot!(server_problems(broken));
}

#[test]
fn a_full_server_file_is_read() {
    let server = parse_server("trimtab-server.yaml", FULL_SERVER).unwrap();
    assert_eq!(server.retention.size_max, Some(10_000_000_000));
    assert_eq!(
        server.notify.slack.unwrap().webhook,
        Secret::Env("SLACK_WEBHOOK".to_owned())
    );
    assert_eq!(server.repositories[0].branch, "main");
    let empty = parse_server("trimtab-server.yaml", "").unwrap();
    assert_eq!(empty.listen.to_string(), "127.0.0.1:7700");
}

#[test]
fn keys_of_hooks_are_bound_to_their_hosts() {
    let text = "hooks:
  CI: {hosts: [CI.example.org, 'ci.example.org:8443'], signing: {env: CI}}
";
    let server = parse_server("trimtab-server.yaml", text).unwrap();
    let hosts: Vec<&str> = server.hooks["CI"].hosts.iter().map(String::as_str).collect();
    assert_eq!(hosts, ["ci.example.org", "ci.example.org:8443"]);
    let text = "hooks:
  CI: {signing: {env: CI}, bearer: {env: CI}}
  ci-2: {hosts: [a], signing: {env: CI}}
  NONE: {hosts: ['*', 'https://ci.example.org'], bearer: hunter22}
  LESS: {hosts: [a]}
";
    assert_snapshot!(server_problems(text), @r#"
    trimtab-server.yaml:2:7: hooks.CI.hosts: missing; add where it may go: 'hosts: [ci.example.org]'
    trimtab-server.yaml:2:17: hooks.CI.signing: it must be a signing key or a bearer token, and one of them; write 'signing: {env: NAME}', or 'bearer: {env: NAME}'
    trimtab-server.yaml:3:3: hooks.ci-2: not a name of a key; use letters, digits and '_', not beginning with a digit
    trimtab-server.yaml:4:18: hooks.NONE.hosts[0]: "*" is not a host; write ci.example.org, or ci.example.org:8443
    trimtab-server.yaml:4:23: hooks.NONE.hosts[1]: "https://ci.example.org" is not a host; write ci.example.org, or ci.example.org:8443
    trimtab-server.yaml:4:58: hooks.NONE.bearer: expected where the secret is; write {env: NAME} or {file: PATH}: configuration files hold no secrets
    trimtab-server.yaml:5:9: hooks.LESS.signing: it must be a signing key or a bearer token, and one of them; write 'signing: {env: NAME}', or 'bearer: {env: NAME}'
    "#);
}

#[test]
fn certificates_that_come_by_themselves() {
    let acme = |text: &str| parse_server("trimtab-server.yaml", text).map(|server| server.acme);
    let least = acme("traffic_tls: 0.0.0.0:443\nacme: {hosts: [shop.example.org]}\n");
    let least = least.unwrap().unwrap();
    assert!(least.directory.contains("letsencrypt") && least.contact.is_empty());
    assert_eq!(least.hosts, ["shop.example.org"]);
    for bad in [
        "hosts: ['*.example.org']",
        "hosts: [Shop.example.org]",
        "hosts: ['10.0.0.1']",
        "hosts: [localhost]",
        "hosts: [a.example.org], contact: [team@example.org]",
        "hosts: [a.example.org], directory: 'http://a.example.org'",
        "contact: ['mailto:a@example.org']",
    ] {
        let text = format!("traffic_tls: 0.0.0.0:443\nacme: {{{bad}}}\n");
        assert!(acme(&text).is_err(), "{bad}");
    }
    assert!(
        acme("acme: {hosts: [shop.example.org]}\n").is_err(),
        "nothing presents it"
    );
}
