//! What `run` may say, and what it may not.

use super::*;

fn run(run: &str) -> Result<Run, String> {
    let text = format!("service: blocks\npipeline: {{artifact: {{paths: [blocks]}}}}\nrun: {{{run}}}\n");
    parse("trimtab.yaml", &text)
        .map(|project| project.run)
        .map_err(|problems| lines(&problems))
}

#[test]
fn an_instance_is_asked_in_the_way_its_file_names() {
    let asked = |text: &str| run(&format!("command: ./x, {text}")).unwrap().asked();
    assert_eq!(asked("instances: 1"), Ask::Path("/health".to_owned()));
    assert_eq!(asked("health: {path: /up}"), Ask::Path("/up".to_owned()));
    assert_eq!(asked("health: {tcp: true}"), Ask::Tcp);
    assert_eq!(asked("health: {tcp: false}"), Ask::Path("/health".to_owned()));
    assert_eq!(
        asked("health: {command: ./check --fast}"),
        Ask::Command(vec!["./check".to_owned(), "--fast".to_owned()])
    );
    assert_eq!(asked("health: {grpc: ''}"), Ask::Grpc(String::new()));
    assert_eq!(
        asked("health: {grpc: blocks.Blocks}"),
        Ask::Grpc("blocks.Blocks".to_owned())
    );
    assert_eq!(asked("kind: worker"), Ask::Running);
    let liveness = run("command: ./x, liveness: {path: /alive, failures: 2}")
        .unwrap()
        .liveness
        .unwrap();
    assert_eq!(
        (liveness.ask(), liveness.failures),
        (Ask::Path("/alive".to_owned()), 2)
    );
}

#[test]
fn limits_secrets_and_users_are_read() {
    let run = run(
        "command: ./x, env: {A: b, KEY: {secret: DB}}, limits: {memory: 64MB, cpu: 0.25, processes: 9}, user: web, \
         directory: app/x",
    )
    .unwrap();
    assert_eq!(
        run.env.iter().collect::<Vec<_>>(),
        [(&"A".to_owned(), &"b".to_owned())]
    );
    assert_eq!(run.secrets["KEY"], "DB");
    assert_eq!(
        run.limits,
        Limits {
            memory: Some(64_000_000),
            cpu: Some(250),
            processes: Some(9)
        }
    );
    assert_eq!(
        (run.user.as_deref(), run.directory.as_deref()),
        (Some("web"), Some("app/x"))
    );
}

#[test]
fn a_cron_job_and_an_image_are_read() {
    let run = parse("trimtab.yaml", FULL_CRON).unwrap().run;
    assert_eq!(
        (run.kind, run.overlap, run.network),
        (RunKind::Cron, Overlap::Replace, Network::Host)
    );
    assert_eq!(run.schedule.unwrap().to_string(), "*/5 * * * *");
    assert!(
        run.command.is_empty()
            && run
                .image
                .unwrap()
                .starts_with("registry.example.org/sweep@sha256:")
    );
}

#[test]
fn what_does_not_go_together_is_told() {
    for (text, told) in [
        ("command: ./x, kind: cron", "a cron job without a schedule"),
        (
            "command: ./x, schedule: '* * * * *'",
            "only cron jobs have a schedule",
        ),
        ("command: ./x, kind: cron, schedule: '* * * *'", "run.schedule"),
        (
            "command: ./x, kind: cron, schedule: '@daily', liveness: {tcp: true}",
            "ends by itself",
        ),
        ("command: ./x, network: host", "only a container"),
        (
            "command: ./x, health: {path: /x, tcp: true}",
            "more than one way to ask",
        ),
        ("command: ./x, liveness: {interval: 1s}", "nothing is asked"),
        ("image: 'blocks:latest'", "by its digest"),
        ("instances: 1", "run.command: missing"),
        ("command: ./x, limits: {memory: 5}", "not a size"),
        ("command: ./x, limits: {memory: 5kB}", "so little memory"),
        ("command: ./x, limits: {cpu: 0}", "not a number of processors"),
        ("command: ./x, user: 'a b'", "not a user"),
        ("command: ./x, directory: ../y", "leaves the checkout"),
        (
            "command: ./x, env: {A: {secret: 'a b'}}",
            "not the name of a secret",
        ),
        ("command: ./x, env: {A: {file: x}}", "unknown field"),
    ] {
        let error = run(text).unwrap_err();
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn a_server_grants_secrets_to_services_and_never_root() {
    let server = parse_server("trimtab-server.yaml", FULL_SERVER).unwrap();
    let secret = &server.secrets["BLOCKS_DB"];
    assert_eq!(secret.place(), Secret::File("/run/secrets/blocks-db".to_owned()));
    assert_eq!(
        secret
            .services
            .iter()
            .map(ServiceName::as_str)
            .collect::<Vec<_>>(),
        ["blocks"]
    );
    assert_eq!(server.users, ["blocks", "1001:1001"]);
    assert_eq!(server.docker.unwrap().socket, "/var/run/docker.sock");
    assert_eq!(
        parse_server("s", "").unwrap().users.len(),
        0,
        "nobody unless named"
    );
    for (text, told) in [
        ("users: [root]", "never run as root"),
        ("users: ['0:7']", "never run as root"),
        ("secrets: {A: {file: x}}", "services"),
        ("secrets: {A: {services: [x]}}", "neither env nor file"),
        (
            "secrets: {'a b': {file: x, services: [x]}}",
            "not a name of a secret",
        ),
    ] {
        let error = server_problems(text);
        assert!(error.contains(told), "{text}: {error}");
    }
}

use trimtab_model::ServiceName;
