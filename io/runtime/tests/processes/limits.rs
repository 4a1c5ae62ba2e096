//! Limits, as the kernel keeps them.

use std::path::Path;
use std::time::{Duration, Instant};

use trimtab_model::Generation;
use trimtab_runtime::{InstanceState, Kind, Limits, Runtime, limits_kept_by};

use crate::house::{House, PATIENCE, PROGRAM};

/// Whether this machine lets the test divide its control groups; says loudly when it doesn't.
fn can_limit() -> bool {
    match limits_kept_by() {
        Ok(how) => {
            println!("limits are kept by {how}");
            true
        }
        Err(reason) => {
            eprintln!("SKIPPED: limits are not exercised: {reason}");
            false
        }
    }
}

/// Folders of this instance's groups anywhere.
fn groups(house: &House) -> Vec<String> {
    let pid = house.shim_state()["child"]["pid"].as_u64();
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.unwrap_or(0))).unwrap_or_default();
    let mine = format!("trimtab-{}-", house.id);
    text.lines()
        .filter(|line| line.contains(&mine))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn an_instance_over_its_memory_is_killed_and_told_why() {
    if !can_limit() {
        return;
    }
    let house = House::new();
    let mut spec = house.spec(&[PROGRAM, "hog", "300"]);
    spec.kind = Kind::Worker;
    spec.backoff.restarts_max = 0;
    spec.limits.memory = Some(60_000_000);
    let started = house.runtime.ensure(spec.clone()).await.unwrap();
    assert!(started.limits.unwrap().starts_with("kept by cgroup"));
    let over = house
        .until("killed", |instance| instance.state == InstanceState::Exited)
        .await;
    let exit = over.last_exit.unwrap();
    assert_eq!(exit.signal, Some(9));
    assert_eq!(
        exit.reason.as_deref(),
        Some("out of memory: it went over its limit of 60 MB")
    );

    // Within its limit it lives.
    (spec.limits.memory, spec.generation) = (Some(600_000_000), Generation(2));
    house.runtime.ensure(spec).await.unwrap();
    house.until_line("took 300 MB").await;
    let instance = house.runtime.get(&house.id).await.unwrap();
    assert_eq!((instance.state, instance.restarts), (InstanceState::Running, 0));
}

#[tokio::test]
async fn processes_and_processors_are_bounded() {
    if !can_limit() {
        return;
    }
    let house = House::new();
    let mut spec = house.shell("(while :; do :; done) & (while :; do :; done) & sleep 1000 & sleep 1000 & sleep 1000 & sleep 1000 & wait");
    spec.kind = Kind::Worker;
    spec.limits = Limits {
        memory: None,
        cpu_millis: Some(200),
        processes: Some(4),
    };
    spec.backoff.initial = Duration::from_secs(1000);
    house.runtime.ensure(spec).await.unwrap();
    house.until_line("ork").await;
    let lines = house.lines().await;
    assert!(
        lines
            .iter()
            .any(|line| line.to_lowercase().contains("cannot fork")),
        "{lines:?}"
    );

    let mut spec = house.shell("while :; do :; done");
    (spec.kind, spec.generation) = (Kind::Worker, Generation(2));
    spec.limits.cpu_millis = Some(100);
    house.runtime.ensure(spec).await.unwrap();
    house.running().await;
    let (begun, before) = (
        Instant::now(),
        house.runtime.usage(&house.id).await.unwrap().cpu_seconds,
    );
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let spent = house.runtime.usage(&house.id).await.unwrap().cpu_seconds - before;
    let share = spent / begun.elapsed().as_secs_f64();
    // A machine under load may give it less, never more than a period's share over.
    assert!(
        share < 0.25,
        "a tenth of a processor was allowed, {share:.2} was taken"
    );
    assert!(!groups(&house).is_empty());

    let name = groups(&house)[0].rsplit('/').next().unwrap().to_owned();
    house
        .runtime
        .stop(&house.id, Duration::ZERO, Generation(2))
        .await
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while exists(Path::new("/sys/fs/cgroup"), &name, 4) {
        assert!(Instant::now() < deadline, "the group {name} stays behind");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn exists(folder: &Path, name: &str, depth: u32) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .any(|entry| {
            entry.file_name().to_str() == Some(name) || (depth > 0 && exists(&entry.path(), name, depth - 1))
        })
}
