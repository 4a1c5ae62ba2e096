//! Containers of a real engine (Debian's docker.io), from a real registry (docker-registry).
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod engine;
mod house;

use std::time::Duration;

use engine::Engine;
use futures_util::StreamExt;
use house::{PATIENCE, check, get, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trimtab_docker::DockerRuntime;
use trimtab_model::Generation;
use trimtab_runtime::{Ask, InstanceState, Kind, Limits, Liveness, Runtime, wait_healthy};

/// One engine for the whole of a container's life: starting one takes longer than all the rest.
#[tokio::test]
async fn containers_run_by_digest_and_outlive_the_control_process() {
    let Some(house) = Engine::new() else { return };
    runs_and_is_taken_over(&house).await;
    telemetry_and_networks(&house).await;
    limits_and_ends(&house).await;
    liveness_and_jobs(&house).await;
}

async fn runs_and_is_taken_over(house: &Engine) {
    let runtime = house.runtime(None).await;
    let mut spec = house.spec("blocks-r2-production-1");
    let id = spec.id.clone();
    let wrong = spec.image.as_mut().unwrap();
    wrong.reference = wrong
        .reference
        .replace("@sha256:", "@sha256:0")
        .chars()
        .take(house.image.len())
        .collect();
    let refused = runtime.ensure(spec).await.unwrap_err().to_string();
    assert!(
        refused.contains("failed to have the container engine"),
        "{refused}"
    );

    let spec = house.spec("blocks-r2-production-1");
    runtime.ensure(spec.clone()).await.unwrap();
    let first = wait_healthy(&runtime, &id, &spec.health, PATIENCE).await.unwrap();
    assert!(first.address.ip().is_loopback());
    assert_eq!(get(&first, "/").await, "ok");
    assert!(runtime.probe(&id, &check(Ask::Tcp)).await.healthy);

    // The next control process takes it over as it is; the same spec leaves it running.
    drop(runtime);
    let runtime = house.runtime(None).await;
    assert_eq!(runtime.list().await.unwrap(), std::slice::from_ref(&first));
    let mut again = spec.clone();
    again.generation = Generation(2);
    let kept = runtime.ensure(again.clone()).await.unwrap();
    assert_eq!(
        (kept.pid, kept.started_at, kept.restarts),
        (first.pid, first.started_at, 0)
    );
    let older = runtime.ensure(spec).await.unwrap_err().to_string();
    assert!(older.contains("generation 1 is older than 2"), "{older}");

    // An engine that is away hides nothing, and nothing is made of it.
    let (folder, socket) = (house.dir.path().join("containers"), house.dir.path().join("away"));
    let away = DockerRuntime::open(&folder, &socket, None).await.unwrap();
    let [unknown] = away.list().await.unwrap().try_into().unwrap();
    assert_eq!(
        (unknown.state, unknown.address),
        (InstanceState::Unknown, first.address)
    );
    assert!(unknown.problem.is_some_and(|problem| problem.contains("away")));
    assert!(away.recover(&id).await.is_err());

    // Lines of both streams, without the secret, from any offset on.
    let lines = runtime.last_lines(&id, 10).await.unwrap();
    let mut texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    texts.sort_unstable();
    assert_eq!(
        texts,
        [
            "hello as blocks-r2-production-1 with key ***",
            "to standard error"
        ]
    );
    let rest: Vec<_> = {
        let stream = runtime.logs(&id, lines[0].next_offset).await.unwrap();
        stream.take(1).collect().await
    };
    assert_eq!(rest[0].as_ref().unwrap(), &lines[1]);
    let usage = runtime.usage(&id).await.unwrap();
    assert!(usage.rss_bytes > 0 && usage.processes >= 1, "{usage:?}");
    let ran = runtime
        .probe(&id, &check(Ask::Command(words(&["/server", "say", "hi"]))))
        .await;
    assert_eq!(ran.to_string(), "exit code 3: \"hi ***\"");
    assert!(
        runtime
            .probe(&id, &check(Ask::Command(words(&["/server", "check"]))))
            .await
            .healthy
    );

    // It ends by itself: the engine starts it again.
    let _ = get(&first, "/exit").await;
    let again = until(&runtime, &id, "restarted", |i| {
        i.restarts == 1 && i.state == InstanceState::Running
    })
    .await;
    assert_ne!(again.started_at, first.started_at);
    // It is deleted behind our back: lost, and made anew where it was.
    house.curl(&[
        "-X",
        "DELETE",
        &format!("http://x/containers/{}?force=1", name(house, &id)),
    ]);
    until(&runtime, &id, "lost", |i| i.state == InstanceState::Lost).await;
    runtime.restart(&id, Generation(2)).await.unwrap();
    let anew = wait_healthy(&runtime, &id, &check(Ask::Http), PATIENCE)
        .await
        .unwrap();
    assert_eq!(anew.address, first.address);

    let stopped = runtime
        .stop(&id, Duration::from_secs(1), Generation(3))
        .await
        .unwrap();
    assert_eq!((stopped.state, stopped.pid), (InstanceState::Stopped, None));
    runtime.remove(&id).await.unwrap();
    assert!(!runtime.knows(&id) && runtime.list().await.unwrap().is_empty());
    assert_eq!(house.curl(&["http://x/containers/json?all=1"]).trim(), "[]");
}

async fn telemetry_and_networks(house: &Engine) {
    // Stands for Trimtab's own listener, on loopback alone.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, peer) = listener.accept().await.unwrap();
            assert!(peer.ip().is_loopback());
            let _ = stream.read(&mut [0; 100]).await;
            let _ = stream.write_all(b"taken").await;
        }
    });
    let runtime = house.runtime(Some(address)).await;
    for (id, host_network) in [
        ("blocks-r2-production-2", false),
        ("blocks-r2-production-3", true),
    ] {
        let mut spec = house.spec(id);
        spec.env.insert(
            "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
            format!("http://{address}"),
        );
        spec.image.as_mut().unwrap().host_network = host_network;
        runtime.ensure(spec.clone()).await.unwrap();
        let instance = wait_healthy(&runtime, &spec.id, &spec.health, PATIENCE)
            .await
            .unwrap();
        assert_eq!(
            get(&instance, "/telemetry").await,
            "taken",
            "host network: {host_network}"
        );
        runtime.remove(&spec.id).await.unwrap();
    }
}

async fn limits_and_ends(house: &Engine) {
    let runtime = house.runtime(None).await;
    let mut spec = house.spec("blocks-r2-production-4");
    spec.limits = Limits {
        memory: Some(60_000_000),
        cpu_millis: Some(500),
        processes: Some(20),
    };
    spec.user = Some("65534:65534".to_owned());
    // A job is not started again, so that its end can be seen.
    spec.kind = Kind::Once;
    spec.image.as_mut().unwrap().host_network = true;
    let instance = runtime.ensure(spec.clone()).await.unwrap();
    assert_eq!(instance.limits.as_deref(), Some("kept by the container engine"));
    wait_healthy(&runtime, &spec.id, &spec.health, PATIENCE)
        .await
        .unwrap();
    let seen = house.curl(&[&format!("http://x/containers/{}/json", name(house, &spec.id))]);
    for wanted in [
        "\"Memory\":60000000",
        "\"NanoCpus\":500000000",
        "\"PidsLimit\":20",
        "\"User\":\"65534:65534\"",
        "no-new-privileges",
        "\"trimtab.owner\"",
    ] {
        assert!(seen.contains(wanted), "{wanted} is not in {seen}");
    }
    let _ = get(&instance, "/hog").await;
    let over = until(&runtime, &spec.id, "killed", |i| i.state == InstanceState::Exited).await;
    let exit = over.last_exit.unwrap();
    assert_eq!(
        (exit.signal, exit.reason.as_deref()),
        (Some(9), Some("out of memory: it went over its limit of 60 MB"))
    );
    assert!(
        exit.last_lines.iter().any(|line| line.contains("with key ***")),
        "{:?}",
        exit.last_lines
    );
    runtime.remove(&spec.id).await.unwrap();
}

async fn liveness_and_jobs(house: &Engine) {
    let runtime = house.runtime(None).await;
    let mut spec = house.spec("blocks-r2-production-5");
    spec.liveness = Some(Liveness {
        check: trimtab_runtime::HealthCheck {
            unhealthy_after: 2,
            ..check(Ask::Command(words(&["/server", "check"])))
        },
        delay: Duration::from_millis(50),
    });
    runtime.ensure(spec.clone()).await.unwrap();
    let instance = wait_healthy(&runtime, &spec.id, &spec.health, PATIENCE)
        .await
        .unwrap();
    assert_eq!(get(&instance, "/stuck").await, "stuck");
    let again = until(&runtime, &spec.id, "restarted", |i| {
        i.restarts > 0 && i.started_at != instance.started_at
    })
    .await;
    assert!(
        again
            .last_exit
            .unwrap()
            .reason
            .unwrap()
            .contains("2 liveness probes failed in a row")
    );
    runtime.remove(&spec.id).await.unwrap();

    let mut job = house.spec("blocks-r2-production-6");
    (job.kind, job.command) = (Kind::Once, words(&["/server", "say", "done"]));
    runtime.ensure(job.clone()).await.unwrap();
    let over = until(&runtime, &job.id, "over", |i| i.state == InstanceState::Exited).await;
    let exit = over.last_exit.unwrap();
    assert_eq!(
        (exit.code, exit.last_lines),
        (Some(3), vec!["done ***".to_owned()])
    );
    runtime.remove(&job.id).await.unwrap();
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn name(house: &Engine, id: &trimtab_model::InstanceId) -> String {
    let owner = std::fs::read_to_string(house.dir.path().join("containers").join("owner")).unwrap();
    format!("trimtab-{owner}-{id}")
}
