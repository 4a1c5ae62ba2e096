//! How instances are asked whether they are well, and what follows when one isn't.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use trimtab_model::Generation;
use trimtab_runtime::{
    Ask, HealthCheck, InstanceState, Kind, Liveness, Runtime, check_health, probe, wait_healthy,
};

use crate::house::{House, PATIENCE, PROGRAM};

fn check(ask: Ask) -> HealthCheck {
    HealthCheck {
        ask,
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        ..HealthCheck::default()
    }
}

fn command(words: &[&str]) -> Ask {
    Ask::Command(words.iter().map(|word| (*word).to_owned()).collect())
}

#[tokio::test]
async fn an_instance_is_asked_by_connection_or_command() {
    let house = House::new();
    let mut spec = house.spec(&[PROGRAM, "serve"]);
    spec.env.insert("COLOUR".to_owned(), "green".to_owned());
    house.runtime.ensure(spec.clone()).await.unwrap();
    let health = check(Ask::Tcp);
    wait_healthy(&house.runtime, &house.id, &health, PATIENCE)
        .await
        .unwrap();
    assert!(house.runtime.probe(&house.id, &check(Ask::Running)).await.healthy);

    let ask = |words: &[&str]| {
        let (house, health) = (&house, check(command(words)));
        async move { house.runtime.probe(&house.id, &health).await }
    };
    let seen = ask(&["sh", "-c", "echo $COLOUR $PORT; pwd; test -z \"$CARGO\""]).await;
    let port = house.runtime.get(&house.id).await.unwrap().address.port();
    assert!(seen.healthy, "{seen}");
    let folder = spec.dir.canonicalize().unwrap();
    assert_eq!(
        seen.body,
        format!("green {port}\n{}", folder.display()),
        "run as the instance is"
    );
    let bad = ask(&["sh", "-c", "echo no luck; exit 3"]).await;
    assert_eq!(
        (bad.healthy, bad.to_string().as_str()),
        (false, "exit code 3: \"no luck\"")
    );
    assert!(ask(&["./nowhere"]).await.to_string().contains("cannot be run"));
    assert!(!ask(&["sh", "-c", "kill -9 $$"]).await.healthy);
    // Neither its length nor what it leaves behind holds the probe up.
    let slow = HealthCheck {
        timeout: Duration::from_millis(200),
        ..check(command(&["sleep", "1000"]))
    };
    let seen = house.runtime.probe(&house.id, &slow).await;
    assert!(seen.error.unwrap().contains("no answer within 200ms"));
    assert!(
        ask(&["sh", "-c", "sleep 1000 & head -c 1000000 /dev/zero"])
            .await
            .healthy
    );

    house
        .runtime
        .stop(&house.id, Duration::ZERO, Generation(1))
        .await
        .unwrap();
    let report = check_health(&house.runtime, &house.id, &check(Ask::Tcp)).await;
    assert!(!report.healthy && report.last.error.unwrap().contains("refused"));
}

/// A server of grpc.health.v1 for the services `""` and `up`; `down` doesn't serve.
async fn grpc_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async {
                use http_body_util::BodyExt;
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                assert_eq!(request.headers()["content-type"], "application/grpc");
                let asked = request.into_body().collect().await.unwrap().to_bytes();
                let (status, message): (&str, &'static [u8]) = match asked.get(7..).unwrap_or(b"") {
                    b"" | b"up" => ("0", &[0, 0, 0, 0, 2, 8, 1]),
                    b"down" => ("0", &[0, 0, 0, 0, 2, 8, 2]),
                    _ => ("5", &[]),
                };
                http::Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", status)
                    .body(Full::new(Bytes::from_static(message)))
            });
            let serve = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(serve.serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

#[tokio::test]
async fn a_grpc_service_is_asked_for_its_health() {
    let address = grpc_server().await;
    let ask = |service: &str| {
        let health = check(Ask::Grpc(service.to_owned()));
        async move { probe(address, &health).await }
    };
    assert!(ask("").await.healthy);
    assert!(ask("up").await.healthy);
    let down = ask("down").await;
    assert_eq!(
        (down.healthy, down.status, down.body.as_str()),
        (false, Some(503), "not serving")
    );
    let unknown = ask("sideways").await;
    assert_eq!(
        (unknown.healthy, unknown.body.contains("sideways")),
        (false, true)
    );
    let house = House::new();
    let instance = house
        .runtime
        .ensure(house.spec(&[PROGRAM, "serve"]))
        .await
        .unwrap();
    house.running().await;
    let other = probe(instance.address, &check(Ask::Grpc(String::new()))).await;
    assert!(!other.healthy, "HTTP/1.1 is no gRPC: {other}");
}

#[tokio::test]
async fn an_instance_that_does_not_answer_is_restarted() {
    let house = House::new();
    let mut spec = house.shell("rm -f stuck; exec \"$0\" serve");
    spec.command.push(PROGRAM.to_owned());
    spec.liveness = Some(Liveness {
        check: HealthCheck {
            unhealthy_after: 2,
            ..check(command(&["test", "!", "-e", "stuck"]))
        },
        delay: Duration::ZERO,
    });
    let folder = spec.dir.clone();
    house.runtime.ensure(spec).await.unwrap();
    let first = house.running().await;
    std::fs::write(folder.join("stuck"), "").unwrap();
    let again = house
        .until("restarted", |instance| {
            instance.state == InstanceState::Running && instance.pid != first.pid && instance.pid.is_some()
        })
        .await;
    assert_eq!((again.restarts, again.address), (1, first.address));
    let exit = again.last_exit.unwrap();
    assert_eq!(exit.signal, Some(15));
    assert!(
        exit.reason
            .unwrap()
            .starts_with("2 liveness probes failed in a row")
    );
    house.until_line("liveness probes failed").await;
}

#[tokio::test]
async fn a_worker_listens_nowhere_and_a_job_ends_once() {
    let house = House::new();
    let mut spec = house.shell("echo working; exec sleep 1000");
    spec.kind = Kind::Worker;
    house.runtime.ensure(spec).await.unwrap();
    let health = check(Ask::Running);
    let instance = wait_healthy(&house.runtime, &house.id, &health, PATIENCE)
        .await
        .unwrap();
    assert_eq!((instance.state, instance.restarts), (InstanceState::Running, 0));

    let mut job = house.shell("echo done in $PWD; exit 7");
    (job.kind, job.generation) = (Kind::Once, Generation(2));
    std::fs::create_dir(job.dir.join("deep")).unwrap();
    job.directory = Some("deep".into());
    house.runtime.ensure(job.clone()).await.unwrap();
    let over = house
        .until("over", |instance| instance.state == InstanceState::Exited)
        .await;
    assert_eq!((over.restarts, over.problem), (0, None));
    let exit = over.last_exit.unwrap();
    assert_eq!(exit.code, Some(7));
    assert!(exit.last_lines[0].ends_with("/deep"), "{:?}", exit.last_lines);
    // Ensured again it runs again.
    job.generation = Generation(3);
    house.runtime.ensure(job.clone()).await.unwrap();
    house
        .until("over again", |instance| {
            instance.last_exit.as_ref().is_some_and(|last| last.at > exit.at)
        })
        .await;
    job.directory = Some("nowhere".into());
    let error = house.runtime.ensure(job).await.unwrap_err().to_string();
    assert!(error.contains("run.directory"), "{error}");
}

#[tokio::test]
async fn secrets_of_an_instance_are_in_nothing_that_is_kept() {
    let house = House::new();
    let mut spec = house.shell("echo plain $OPEN; echo secret $KEY; echo $KEY | base64 >&2; exit 3");
    spec.env
        .insert("KEY".to_owned(), "correct-horse-battery".to_owned());
    spec.env.insert("OPEN".to_owned(), "correct-horse".to_owned());
    (spec.secrets, spec.kind) = (vec!["KEY".to_owned()], Kind::Once);
    house.runtime.ensure(spec).await.unwrap();
    let over = house
        .until("over", |instance| instance.state == InstanceState::Exited)
        .await;
    let words = format!("{:?} {:?}", over.last_exit.unwrap(), house.lines().await);
    assert!(
        words.contains("plain correct-horse\"") && words.contains("secret ***"),
        "{words}"
    );
    assert!(
        !words.contains("battery") && !words.contains("Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"),
        "{words}"
    );
    let leak = house
        .runtime
        .probe(&house.id, &check(command(&["sh", "-c", "echo $KEY; exit 1"])))
        .await;
    assert_eq!(leak.to_string(), "exit code 1: \"***\"");
    let logs = house
        .dir
        .path()
        .join("instances")
        .join(house.id.as_str())
        .join("logs");
    for entry in std::fs::read_dir(logs).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("battery"), "{text}");
    }
}
