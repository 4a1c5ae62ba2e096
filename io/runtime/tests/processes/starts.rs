//! Starts that go wrong, and as whom an instance runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use trimtab_model::Generation;
use trimtab_runtime::{InstanceSpec, Runtime, RuntimeError, check_health, wait_healthy};

use super::house::*;

#[tokio::test]
async fn a_taken_port_is_changed_for_another() {
    let house = House::new();
    house
        .runtime
        .ensure(house.spec(&[PROGRAM, "serve"]))
        .await
        .unwrap();
    let before = house.running().await;
    // The service waits for its port to be taken between its being chosen and its being bound.
    house
        .runtime
        .stop(&house.id, PATIENCE, Generation(1))
        .await
        .unwrap();
    let script = format!(
        "if [ -e ready ]; then exec {PROGRAM} serve; fi; touch waiting; while [ ! -e ready ]; do sleep 0.01; done; exec {PROGRAM} serve"
    );
    house.runtime.ensure(house.shell(&script)).await.unwrap();
    let work = house.dir.path().join("work");
    let deadline = Instant::now() + PATIENCE;
    while !work.join("waiting").exists() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let chosen = house.runtime.get(&house.id).await.unwrap().address;
    assert_eq!(chosen, before.address);
    let taken = std::net::TcpListener::bind(chosen).unwrap();
    std::fs::write(work.join("ready"), "").unwrap();
    let after = house.running().await;
    assert_ne!(after.address, chosen);
    assert_eq!(after.restarts, 0, "a taken port is nobody's failure");
    drop(taken);
}

#[tokio::test]
async fn missing_commands_are_named_with_the_mend() {
    let house = House::new();
    let error = house
        .runtime
        .ensure(house.spec(&["./server", "--fast"]))
        .await
        .unwrap_err();
    assert!(matches!(&error, RuntimeError::CommandMissing { command, .. } if command == "./server"));
    assert!(
        error.to_string().contains("build it into the artifact"),
        "{error}"
    );
    std::fs::write(house.dir.path().join("work/server"), "").unwrap();
    let error = house
        .runtime
        .ensure(house.spec(&["./server"]))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("chmod +x"), "{error}");
    for spec in [
        house.spec(&[]),
        InstanceSpec {
            dir: PathBuf::from("/nowhere/at/all"),
            ..house.spec(&["sh"])
        },
        InstanceSpec {
            user: Some("no-such-user".to_owned()),
            ..house.spec(&["sh"])
        },
        InstanceSpec {
            env: BTreeMap::from([("A=B".to_owned(), String::new())]),
            ..house.spec(&["sh"])
        },
    ] {
        let error = house.runtime.ensure(spec).await.unwrap_err();
        assert!(matches!(error, RuntimeError::BadSpec { .. }), "{error}");
    }
    assert!(house.runtime.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn never_healthy_shows_the_last_probe_and_lines() {
    let house = House::new();
    let mut spec = house.spec(&[PROGRAM, "serve"]);
    spec.env.insert("HEALTH_STATUS".to_owned(), "503".to_owned());
    spec.env
        .insert("HEALTH_BODY".to_owned(), "database is away".to_owned());
    let health = spec.health.clone();
    house.runtime.ensure(spec).await.unwrap();
    let instance = house.running().await;
    house.get(&instance, "/say?connection-refused").await;
    house.until_line("connection-refused").await;
    let error = wait_healthy(&house.runtime, &house.id, &health, Duration::from_millis(200))
        .await
        .unwrap_err();
    let text = error.to_string();
    for wanted in ["503", "database is away", "connection-refused", "/health"] {
        assert!(text.contains(wanted), "{text}");
    }
    let report = check_health(&house.runtime, &house.id, &health).await;
    assert_eq!(
        (report.healthy, report.probes, report.last.status),
        (false, 3, Some(503))
    );
}

#[tokio::test]
async fn an_instance_runs_as_another_user_where_permitted() {
    let house = House::new();
    let spec = InstanceSpec {
        user: Some("65534:65534".to_owned()),
        ..house.shell("id -u; touch mine; echo done; exec sleep 1000")
    };
    if !rustix::process::geteuid().is_root() {
        let error = house.runtime.ensure(spec).await.unwrap_err().to_string();
        assert!(error.contains("needs root"), "{error}");
        return;
    }
    let mode = |mode| {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(house.dir.path(), permissions).unwrap();
    };
    mode(0o700);
    let error = house.runtime.ensure(spec.clone()).await.unwrap_err().to_string();
    assert!(error.contains("chmod o+x"), "{error}");
    mode(0o755);
    let instance = house.runtime.ensure(spec).await.unwrap();
    house.until_line("done").await;
    assert!(house.lines().await.contains(&"65534".to_owned()));
    // Tied to its shim all the same.
    kill(house.shim_pid(), Signal::KILL);
    until_gone(instance.pid.unwrap()).await;
}
