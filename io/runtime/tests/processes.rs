//! Real processes kept by real shims.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use trimtab_model::{EnvironmentName, Generation, InstanceId, ReleaseId, ServiceName};
use trimtab_runtime::{
    BackOff, HealthCheck, Instance, InstanceSpec, InstanceState, LogLimits, LogLine, LogStreamKind,
    ProcessRuntime, Runtime, RuntimeError, ShimProgram, check_health, probe, wait_healthy,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runtime-test-program");
const PATIENCE: Duration = Duration::from_secs(20);

/// A runtime in a folder of its own that leaves nothing running.
struct House {
    dir: TempDir,
    runtime: ProcessRuntime,
    id: InstanceId,
}

impl House {
    fn new() -> House {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("work")).unwrap();
        let runtime = House::open(&dir);
        House {
            dir,
            runtime,
            id: InstanceId::new("blocks-r2-production-1").unwrap(),
        }
    }

    fn open(dir: &TempDir) -> ProcessRuntime {
        let shim = ShimProgram {
            program: PathBuf::from(PROGRAM),
            args: vec!["shim".to_owned()],
        };
        ProcessRuntime::new(dir.path().join("instances"), shim).unwrap()
    }

    fn spec(&self, command: &[&str]) -> InstanceSpec {
        InstanceSpec {
            id: self.id.clone(),
            release: ReleaseId::new("blocks-r2").unwrap(),
            environment: EnvironmentName::new("production").unwrap(),
            service: ServiceName::new("blocks").unwrap(),
            generation: Generation(1),
            dir: self.dir.path().join("work"),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::new(),
            user: None,
            stop_grace: Duration::from_secs(5),
            health: HealthCheck {
                interval: Duration::from_millis(20),
                ..HealthCheck::default()
            },
            backoff: BackOff {
                initial: Duration::from_millis(20),
                ..BackOff::default()
            },
            logs: LogLimits::default(),
        }
    }

    fn shell(&self, script: &str) -> InstanceSpec {
        self.spec(&["sh", "-c", script])
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Instance) -> bool) -> Instance {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let instance = self.runtime.get(&self.id).await.unwrap();
            if wanted(&instance) {
                return instance;
            }
            assert!(
                Instant::now() < deadline,
                "never {what}: {instance:?}\n{:?}",
                self.lines().await
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn running(&self) -> Instance {
        self.until("running", |instance| instance.state == InstanceState::Running)
            .await
    }

    async fn lines(&self) -> Vec<String> {
        let lines = self.runtime.last_lines(&self.id, 100).await.unwrap();
        lines.into_iter().map(|line| line.text).collect()
    }

    async fn until_line(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.lines().await.iter().any(|line| line.contains(wanted)) {
            assert!(
                Instant::now() < deadline,
                "no line {wanted:?} in {:?}",
                self.lines().await
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn get(&self, instance: &Instance, path: &str) -> String {
        let check = HealthCheck {
            path: path.to_owned(),
            ..HealthCheck::default()
        };
        probe(instance.address, &check).await.body
    }

    fn shim_pid(&self) -> u32 {
        let path = self
            .dir
            .path()
            .join("instances")
            .join(self.id.as_str())
            .join("state.json");
        let state: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        u32::try_from(state["shim"]["pid"].as_u64().unwrap()).unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Also when a test fails: kill the shims, then what they leave behind.
        for entry in std::fs::read_dir(self.dir.path().join("instances"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let state = std::fs::read(entry.path().join("state.json")).unwrap_or_default();
            let state: serde_json::Value = serde_json::from_slice(&state).unwrap_or_default();
            if let Some(pid) = state["shim"]["pid"].as_u64() {
                kill(pid as u32, Signal::KILL);
            }
        }
        // The lock falls open when the shim is gone.
        std::thread::sleep(Duration::from_millis(20));
        House::open(&self.dir);
    }
}

fn kill(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal);
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']))
}

async fn until_gone(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} lives on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

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
    assert!(check_health(healthy.address, &health).await.healthy);

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
    let after = reopened.ensure(spec).await.unwrap();
    assert!(is_alive(after.pid.unwrap()));
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
async fn a_hundred_megabytes_in_one_line_cost_little() {
    let house = House::new();
    house
        .runtime
        .ensure(house.spec(&[PROGRAM, "flood", "100000000"]))
        .await
        .unwrap();
    house.until_line("after").await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.shim_pid())).unwrap();
    let peak: u64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .unwrap();
    assert!(peak < 40_000, "the shim's memory rose to {peak} kB");
    let lines = house.runtime.last_lines(&house.id, 2).await.unwrap();
    let wanted = format!(
        " [trimtab: cut {} bytes]",
        100_000_000 - trimtab_runtime::LINE_BYTES_MAX
    );
    assert!(
        lines[0].text.starts_with("xxx") && lines[0].text.ends_with(&wanted),
        "{}",
        lines[0].text.len()
    );
    house
        .runtime
        .stop(&house.id, PATIENCE, Generation(1))
        .await
        .unwrap();
    assert_eq!(house.runtime.get(&house.id).await.unwrap().lines_cut, 1);
}

#[tokio::test]
async fn logs_rotate_and_say_what_went_away() {
    let house = House::new();
    let mut spec = house.spec(&[PROGRAM, "serve"]);
    spec.logs = LogLimits {
        segment_bytes_max: 20_000,
        segments_max: 3,
    };
    house.runtime.ensure(spec).await.unwrap();
    let instance = house.running().await;
    for number in 0..60 {
        house
            .get(&instance, &format!("/say?{}-line{number}", "x".repeat(900)))
            .await;
        if number % 10 == 9 {
            house.until_line(&format!("-line{number}")).await;
        }
    }
    let logs = house
        .dir
        .path()
        .join("instances")
        .join(house.id.as_str())
        .join("logs");
    assert!(std::fs::read_dir(logs).unwrap().count() <= 3);
    let mut stream = house.runtime.logs(&house.id, 1).await.unwrap();
    let gap = stream.next().await.unwrap().unwrap();
    assert!(
        gap.stream == LogStreamKind::Shim && gap.text.contains("rotated away"),
        "{gap:?}"
    );
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(gap.next_offset, first.offset);
    let mut last = first;
    while !last.text.ends_with("-line59") {
        let line = tokio::time::timeout(PATIENCE, stream.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(line.offset, last.next_offset);
        last = line;
    }
}

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
    let report = check_health(instance.address, &health).await;
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
