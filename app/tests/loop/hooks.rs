//! Hooks that are requests: a program of the team says yes or no, and a killed server asks it again with the same key.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use trimtab_api::RunState;
use trimtab_model::{Actor, Timestamp};
use trimtab_pipeline::Stage;
use trimtab_rollout::End;

use crate::house::{House, Place, Project, SLACK, Server, USERS, WEBHOOK, failure, service, until};

struct Asked {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    fn header(&self, name: &str) -> String {
        let value = self.headers.get(name);
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    fn said(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A program of the team. It says yes unless told otherwise; to a 0 it says nothing.
#[derive(Clone, Default)]
struct Program {
    asked: Arc<Mutex<Vec<Asked>>>,
    next: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
}

async fn ask(State(program): State<Program>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path().to_owned();
    program.asked.lock().unwrap().push(Asked { path, headers, body });
    let next = program.next.lock().unwrap().pop_front();
    match next {
        None => "all is well".into_response(),
        Some((0, _)) => std::future::pending().await,
        Some((code, words)) => (StatusCode::from_u16(code).unwrap(), words).into_response(),
    }
}

impl Program {
    async fn start() -> (Program, String) {
        let program = Program::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(ask).with_state(program.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (program, address)
    }

    /// What it answers next.
    fn then(&self, answers: &[(u16, &'static str)]) {
        self.next.lock().unwrap().extend(answers);
    }

    /// What it was asked at a path, taken away.
    fn take(&self, path: &str) -> Vec<Asked> {
        let mut all = self.asked.lock().unwrap();
        let (found, rest) = std::mem::take(&mut *all)
            .into_iter()
            .partition(|asked| asked.path == path);
        *all = rest;
        found
    }

    fn count(&self, path: &str) -> usize {
        let all = self.asked.lock().unwrap();
        all.iter().filter(|asked| asked.path == path).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_says_no_keeps_a_release_from_every_user() {
    let (program, address) = Program::start().await;
    let hooks =
        format!("{{before: {{http: 'http://{address}/before'}}, after: {{http: 'http://{address}/after'}}}}");
    let project = Project::without_staging().production("hooks", &hooks);
    program.then(&[(200, "go"), (400, "no room on the board")]);
    let house = House::start(&project).await;
    assert_eq!(house.deploy().await, "notes-r1");
    assert_eq!(program.take("/before")[0].said()["baseline"], Value::Null);
    // What comes after everything changes nothing any more, and is told.
    let told =
        format!("the hook after the rollout: {address}: answered 400 Bad Request: no room on the board");
    house.inbox.wait(&[SLACK, WEBHOOK], &told).await;
    let load = house.load(40);
    program.then(&[(403, "the shop is closed")]);
    let commit = house.commit(&project, "Better notes");
    let (stage, reason) = failure(&house.ship().await);
    assert_eq!(stage, Stage::DeployProduction);
    assert!(
        reason.contains("answered 403 Forbidden: the shop is closed"),
        "{reason}"
    );
    let rollout = house.rollout(USERS);
    assert!(
        matches!(rollout.end(), Some(End::Failed { .. })),
        "{}",
        rollout.describe()
    );
    assert!(!rollout.exposed);
    let asked = program.take("/before");
    assert_eq!(asked.len(), 1, "a no is not asked again");
    let said = asked[0].said();
    assert_eq!(
        (&said["version"], &said["service"], &said["environment"]),
        (&1.into(), &"notes".into(), &USERS.into())
    );
    assert_eq!(
        (&said["release"]["id"], &said["release"]["commit"]),
        (&"notes-r2".into(), &commit.into())
    );
    assert_eq!(
        (&said["baseline"]["id"], &said["hook"]["name"]),
        (&"notes-r1".into(), &"before".into())
    );
    assert_eq!(
        (&said["strategy"], &said["attempt"]),
        (&"blue-green".into(), &1.into())
    );
    let seen = load.stop().await;
    assert_eq!(seen.failures, Vec::<String>::new());
    assert_eq!(seen.by_release.keys().collect::<Vec<_>>(), ["notes-r1"]);

    // A key that the server does not have is told with its place, before anything starts.
    let stranger = project.production("hooks", "{before: {http: 'https://ci.example.org/', secret: CI}}");
    house.commit(&stranger, "Ask a stranger");
    let dev = Actor("dev".to_owned());
    let refused = trimtab_control::runs::start(&house.world, &service(), "main", &dev).await;
    let refused = refused.map(|run| run.id).unwrap_err();
    assert!(
        refused.starts_with("trimtab.yaml:")
            && refused.contains("production.hooks.before.secret: the server has no key CI"),
        "{refused}"
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_asks_its_hooks_again_with_the_same_key() {
    let (program, address) = Program::start().await;
    let place = Place::make();
    let plain = Project::without_staging()
        .production("strategy", "canary")
        .production("steps", "[{weight: 50%, watch: 0s}]");
    place.commit(&plain, "Begin");
    let repository = place.repository();
    let mut server = Server::start(place, &repository).await;
    let first = server.run().await;
    assert_eq!(server.ended(&first).await.summary.state, RunState::Deployed);

    let file = server.place.data().join("trimtab-server.yaml");
    let (key, token) = (server.place.data().join("key"), server.place.data().join("token"));
    std::fs::write(&key, "a key to sign with\n").unwrap();
    std::fs::write(&token, "a-token-to-carry\n").unwrap();
    let mut yaml = std::fs::read_to_string(&file).unwrap();
    let registry = server.place.data().join("registry");
    std::fs::write(&registry, "a-secret-of-steps\n").unwrap();
    yaml.push_str(&format!(
        "secrets:\n  REGISTRY: {{file: {registry:?}, services: [notes], steps: true}}\nhooks:\n  CI: {{hosts: ['{address}'], signing: {{file: {key:?}}}}}\n  TOKEN: {{hosts: ['{address}'], bearer: {{file: {token:?}}}}}\n"
    ));
    std::fs::write(&file, yaml).unwrap();
    server.kill();
    server.up().await;

    let env = "{TOKEN: {secret: REGISTRY}}";
    let use_it = "test \"$TOKEN\" = a-secret-of-\"\"steps && echo $TOKEN";
    let gate = format!("{{http: 'http://{address}/gate', bearer: TOKEN}}");
    let asking = plain
        .production(
            "hooks",
            &format!(
                "{{before: {{http: 'http://{address}/before', secret: CI, timeout: 60s}}, expand: {{run: '{use_it}', env: {env}}}, after: {{http: 'http://{address}/after', method: PUT}}}}"
            ),
        )
        .production("steps", &format!("[{{weight: 50%, watch: 0s, job: {gate}}}]"))
        .stage("unit", &format!("{{run: '{use_it}', env: {env}}}"));
    server.place.commit(&asking, "Better notes");
    program.then(&[(503, "wait"), (0, "")]);
    let run = server.run().await;
    until("the hook to hang", || {
        (program.count("/before") == 2).then_some(())
    })
    .await;
    server.kill();
    server.up().await;
    let ended = server.ended(&run).await;
    assert_eq!(
        ended.summary.state,
        RunState::Deployed,
        "{}",
        ended.summary.state_text
    );

    let before = program.take("/before");
    assert_eq!(before.len(), 3);
    for asked in &before {
        assert_eq!(
            asked.header("idempotency-key"),
            before[0].header("idempotency-key")
        );
        let sent = asked.header("x-trimtab-signature");
        let seconds = sent.split(['=', ',']).nth(1).unwrap().parse::<i64>().unwrap();
        let at = Timestamp(seconds * 1000);
        assert_eq!(
            sent,
            trimtab_notify::signature("a key to sign with", at, &asked.body)
        );
        assert_eq!(asked.header("authorization"), "");
    }
    let (gates, after) = (program.take("/gate"), program.take("/after"));
    assert_eq!((gates.len(), after.len()), (1, 1));
    assert_eq!(gates[0].header("authorization"), "Bearer a-token-to-carry");
    assert_eq!(
        (
            &gates[0].said()["hook"]["step"],
            &gates[0].said()["hook"]["weight"]
        ),
        (&1.into(), &50.0.into())
    );
    assert_ne!(
        gates[0].header("idempotency-key"),
        before[0].header("idempotency-key")
    );
    assert_eq!(after[0].header("authorization"), "");
    // What it answered is told; what it was sent is nowhere.
    let rollout = &server.rollouts().await[0].id;
    let told: Value = server.get(&format!("/api/v1/rollouts/{rollout}")).await;
    assert!(
        told.to_string()
            .contains("the job `gate` passed: answered 200 OK: all is well"),
        "{told}"
    );
    // A step that fails with its secret on its lips tells it nobody either.
    let telling = format!("{{run: 'echo \"refused: $TOKEN\"; exit 3', env: {env}}}");
    server
        .place
        .commit(&asking.stage("unit", &telling), "Tell everything");
    let run = server.run().await;
    let ended = server.ended(&run).await;
    let told = &ended.summary.state_text;
    assert!(told.contains("refused: ***"), "{told}");
    let data = server.place.data();
    let files = files_with(
        &data,
        &["a key to sign with", "a-token-to-carry", "a-secret-of-steps"],
    );
    assert_eq!(files, [key, registry, token], "and in no other file");
    server.stop().await;
}

/// The files beneath a folder that hold one of the texts, in order.
fn files_with(folder: &Path, texts: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                // What ends meanwhile, and sockets, hold nothing.
                let holds = |text: &&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
                if texts.iter().any(holds) {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    found
}
