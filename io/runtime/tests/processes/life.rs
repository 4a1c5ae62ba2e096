//! Starting, stopping, restarting, and what survives whose end.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rustix::process::{Pid, Signal};
use trimtab_model::Generation;
use trimtab_runtime::{
    InstanceSpec, InstanceState, LogLine, LogStreamKind, Runtime, RuntimeError, check_health, wait_healthy,
};

use super::house::*;

#[tokio::test]
async fn an_instance_starts_serves_and_stops() {
    let house = House::new();
    let mut spec = house.spec(&[PROGRAM, "serve"]);
    spec.env.insert("GREETING".to_owned(), "hello world".to_owned());
    let health = spec.health.clone();
    let started = house.runtime.ensure(spec.clone()).await.unwrap();
    assert!(started.pid.is_some());
    let healthy = wait_healthy(&house.runtime, &house.id, &health, PATIENCE)
        .await
        .unwrap();
    assert_eq!(
        (healthy.pid, healthy.state),
        (started.pid, InstanceState::Running)
    );
    assert!(check_health(&house.runtime, &house.id, &health).await.healthy);

    // Its environment is what the spec says and nothing of ours.
    let environment = house.get(&healthy, "/env").await;
    let names: Vec<&str> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        ["GREETING", "HOME", "LANG", "PATH", "PORT", "TRIMTAB_SHIM"],
        "{environment}"
    );
    let work = house.dir.path().join("work");
    assert!(
        environment.contains("GREETING=hello world")
            && environment.contains(&format!("(in {})", work.display()))
    );
    assert!(environment.contains(&format!("HOME={}", work.display())));

    // The same again changes nothing; another spec replaces the process.
    let again = house
        .runtime
        .ensure(InstanceSpec {
            generation: Generation(2),
            ..spec.clone()
        })
        .await
        .unwrap();
    assert_eq!((again.pid, again.generation), (started.pid, Generation(2)));
    spec.generation = Generation(3);
    spec.env.insert("GREETING".to_owned(), "other".to_owned());
    let other = house.runtime.ensure(spec).await.unwrap();
    assert_ne!(other.pid, started.pid);
    assert!(!is_alive(started.pid.unwrap()));

    let usage = house.runtime.usage(&house.id).await.unwrap();
    assert!(
        usage.processes == 1 && usage.rss_bytes > 100_000 && usage.threads >= 1,
        "{usage:?}"
    );

    let begun = Instant::now();
    let stopped = house
        .runtime
        .stop(&house.id, PATIENCE, Generation(3))
        .await
        .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!((stopped.state, stopped.pid), (InstanceState::Stopped, None));
    assert_eq!(stopped.last_exit.unwrap().signal, Some(15));
    assert!(!is_alive(other.pid.unwrap()));
    // Stopping again is fine; starting again too.
    house
        .runtime
        .stop(&house.id, PATIENCE, Generation(3))
        .await
        .unwrap();
    let back = house.runtime.restart(&house.id, Generation(4)).await.unwrap();
    assert!(is_alive(back.pid.unwrap()));
    assert_eq!(back.address, other.address, "the port is kept");
    house.runtime.remove(&house.id).await.unwrap();
    assert!(!is_alive(back.pid.unwrap()));
    assert!(matches!(
        house.runtime.get(&house.id).await,
        Err(RuntimeError::NoInstance(_))
    ));
    house.runtime.remove(&house.id).await.unwrap();
}

#[tokio::test]
async fn an_older_decision_is_refused() {
    let house = House::new();
    let spec = InstanceSpec {
        generation: Generation(5),
        ..house.spec(&[PROGRAM, "serve"])
    };
    let pid = house.runtime.ensure(spec.clone()).await.unwrap().pid;
    let old = Generation(4);
    for result in [
        house
            .runtime
            .ensure(InstanceSpec {
                generation: old,
                ..spec
            })
            .await,
        house.runtime.stop(&house.id, Duration::ZERO, old).await,
        house.runtime.restart(&house.id, old).await,
    ] {
        assert!(
            matches!(
                result,
                Err(RuntimeError::OlderGeneration {
                    newest: Generation(5),
                    ..
                })
            ),
            "{result:?}"
        );
    }
    let same = house.runtime.restart(&house.id, Generation(5)).await.unwrap();
    assert_ne!(same.pid, pid);
    assert_eq!(same.restarts, 1);
}

#[tokio::test]
async fn a_stubborn_group_is_killed_whole() {
    let house = House::new();
    // Neither the shell, nor its child in the group, nor the one that left for a session of its own may stay.
    let script = "trap '' TERM; sleep 1000 & echo child $!; setsid sleep 1001 & echo away $!; echo up; while :; do sleep 1000; done";
    let instance = house.runtime.ensure(house.shell(script)).await.unwrap();
    house.until_line("up").await;
    let others: Vec<u32> = house
        .lines()
        .await
        .iter()
        .filter_map(|line| {
            line.strip_prefix("child ")
                .or(line.strip_prefix("away "))?
                .parse()
                .ok()
        })
        .collect();
    assert_eq!(others.len(), 2);
    let begun = Instant::now();
    let stopped = house
        .runtime
        .stop(&house.id, Duration::from_millis(200), Generation(1))
        .await
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(stopped.last_exit.unwrap().signal, Some(9));
    for pid in others.into_iter().chain(instance.pid) {
        until_gone(pid).await;
    }
}

#[tokio::test]
async fn it_is_restarted_with_pauses_and_given_up() {
    let house = House::new();
    let mut spec = house.shell("echo out; echo err >&2; exit 7");
    spec.backoff.restarts_max = 3;
    house.runtime.ensure(spec.clone()).await.unwrap();
    let given_up = house
        .until("exited", |instance| instance.state == InstanceState::Exited)
        .await;
    assert_eq!(given_up.restarts, 3);
    assert!(given_up.problem.unwrap().contains("4 times in a row"));
    let exit = given_up.last_exit.unwrap();
    assert_eq!(exit.code, Some(7));
    let mut words = exit.last_lines.clone();
    words.sort();
    assert_eq!(words, ["err", "out"]);
    // Whoever waits for health is told at once.
    let begun = Instant::now();
    let error = wait_healthy(&house.runtime, &house.id, &spec.health, PATIENCE)
        .await
        .unwrap_err()
        .to_string();
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(
        error.contains("exit code 7") && error.contains("never seen to listen"),
        "{error}"
    );
    // And ensuring it again tries again.
    house.runtime.ensure(spec).await.unwrap();
    house.until("tried again", |instance| instance.restarts > 4).await;
}

#[tokio::test]
async fn a_killed_child_comes_back() {
    let house = House::new();
    house
        .runtime
        .ensure(house.spec(&[PROGRAM, "serve"]))
        .await
        .unwrap();
    let before = house.running().await;
    kill(before.pid.unwrap(), Signal::KILL);
    let after = house
        .until("back", |instance| {
            instance.state == InstanceState::Running && instance.pid != before.pid
        })
        .await;
    assert_eq!((after.restarts, after.address), (1, before.address));
    assert_eq!(after.last_exit.unwrap().signal, Some(9));
}

#[tokio::test]
async fn a_lost_shim_takes_its_child_along_and_shows_as_lost() {
    let house = House::new();
    let script = "setsid sleep 1002 & echo away $!; exec sleep 1003";
    let spec = house.shell(script);
    let before = house.runtime.ensure(spec.clone()).await.unwrap();
    house.until_line("away").await;
    let away: u32 = house
        .lines()
        .await
        .iter()
        .find_map(|line| line.strip_prefix("away ")?.parse().ok())
        .unwrap();
    kill(house.shim_pid(), Signal::KILL);
    house
        .until("lost", |instance| instance.state == InstanceState::Lost)
        .await;
    until_gone(before.pid.unwrap()).await;
    // One that left the group and session is found by its mark when the folder is opened again.
    assert!(is_alive(away));
    let reopened = House::open(&house.dir);
    assert!(!is_alive(away));
    reopened.recover(&house.id).await.unwrap();
    let recovered = reopened.get(&house.id).await.unwrap();
    assert!(is_alive(recovered.pid.unwrap()));
    // Whoever saw it lost a moment ago, and comes second, must not end the one that runs by now.
    reopened.recover(&house.id).await.unwrap();
    let after = reopened.ensure(spec).await.unwrap();
    assert_eq!(after.pid, recovered.pid);
}

#[tokio::test]
async fn another_runtime_takes_over_without_losing_a_line() {
    let house = House::new();
    house
        .runtime
        .ensure(house.spec(&[PROGRAM, "serve"]))
        .await
        .unwrap();
    let instance = house.running().await;
    let mut seen: Vec<LogLine> = Vec::new();
    for round in 0..4 {
        // Each round is a control process of its own: it knows only how far the one before had read.
        let runtime = House::open(&house.dir);
        assert_eq!(runtime.get(&house.id).await.unwrap().pid, instance.pid);
        let from = seen.last().map_or(0, |line| line.next_offset);
        for number in 0..5 {
            house.get(&instance, &format!("/say?{round}.{number}")).await;
        }
        let mut stream = runtime.logs(&house.id, from).await.unwrap();
        while seen
            .iter()
            .filter(|line| line.text.starts_with(&format!("{round}.")))
            .count()
            < 7
        {
            let line = tokio::time::timeout(PATIENCE, stream.next())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            seen.push(line);
        }
    }
    let mut rest = house
        .runtime
        .logs(&house.id, seen.last().unwrap().next_offset)
        .await
        .unwrap();
    house
        .runtime
        .stop(&house.id, PATIENCE, Generation(1))
        .await
        .unwrap();
    while let Some(line) = tokio::time::timeout(PATIENCE, rest.next()).await.unwrap() {
        seen.push(line.unwrap());
    }
    assert!(seen.windows(2).all(|pair| pair[0].next_offset == pair[1].offset));
    for kind in [LogStreamKind::Stdout, LogStreamKind::Stderr] {
        let of_kind: Vec<&str> = seen
            .iter()
            .filter(|line| line.stream == kind && !line.text.starts_with("listening"))
            .map(|line| line.text.as_str())
            .collect();
        let wanted: Vec<String> = (0..4)
            .flat_map(|round| (0..5).map(move |number| format!("{round}.{number}")))
            .collect();
        assert_eq!(of_kind, wanted);
    }
}

#[tokio::test]
async fn a_shim_told_to_end_ends_its_child_first() {
    let house = House::new();
    let instance = house
        .runtime
        .ensure(house.spec(&[PROGRAM, "serve"]))
        .await
        .unwrap();
    house.running().await;
    kill(house.shim_pid(), Signal::TERM);
    let lost = house
        .until("lost", |instance| instance.state == InstanceState::Lost)
        .await;
    assert!(!is_alive(instance.pid.unwrap()));
    assert_eq!(lost.last_exit.map(|exit| exit.signal), Some(Some(15)));
}

#[tokio::test]
async fn instances_outlive_a_killed_control_process() {
    let house = House::new();
    let spec = serde_json::to_string(&house.spec(&[PROGRAM, "serve"])).unwrap();
    let mut builder = std::process::Command::new(PROGRAM);
    builder
        .arg("control")
        .arg(house.dir.path().join("instances"))
        .arg(spec)
        .env("SECRET", "of the control process");
    std::os::unix::process::CommandExt::process_group(&mut builder, 0);
    let mut control = builder.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut word = String::new();
    let mut output = std::io::BufReader::new(control.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut word).unwrap();
    assert_eq!(word, "ready\n");
    let before = house.running().await;
    // The whole group: as a terminal's Ctrl-C, only harder.
    let group = Pid::from_raw(i32::try_from(control.id()).unwrap()).unwrap();
    rustix::process::kill_process_group(group, Signal::KILL).unwrap();
    control.wait().unwrap();
    let after = house.running().await;
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
    let environment = house.get(&after, "/env").await;
    assert!(
        environment.contains("PORT=") && !environment.contains("SECRET"),
        "{environment}"
    );
    // And this process steers what that one started.
    house.runtime.stop_all(PATIENCE).await.unwrap();
    assert!(!is_alive(before.pid.unwrap()));
    assert_eq!(
        house.runtime.list().await.unwrap()[0].state,
        InstanceState::Stopped
    );
}
