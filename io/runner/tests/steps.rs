//! Real shells run real steps.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trimtab_runner::{
    LINE_BYTES_MAX, OutputLine, OutputStream, StepEnd, StepError, StepOutcome, StepSpec, reap_stale, run_step,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn spec(dir: &TempDir, command: &str) -> StepSpec {
    let work = dir.path().join("work");
    std::fs::create_dir_all(&work).unwrap();
    StepSpec {
        name: "unit".to_owned(),
        command: command.to_owned(),
        dir: work,
        env: BTreeMap::new(),
        timeout: PATIENCE,
        secrets: Vec::new(),
        records: dir.path().join("records"),
        user: None,
    }
}

async fn run(spec: &StepSpec) -> (StepOutcome, Vec<OutputLine>) {
    let mut lines = Vec::new();
    let outcome = run_step(spec, std::future::pending(), &mut |line| lines.push(line))
        .await
        .unwrap();
    (outcome, lines)
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']))
}

fn until_gone(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn pids(lines: &[String]) -> Vec<u32> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix("pid ")?.parse().ok())
        .collect()
}

#[tokio::test]
async fn a_step_passes_with_its_lines() {
    let dir = tempfile::tempdir().unwrap();
    let mut step = spec(&dir, "echo out $GREETING; echo err >&2; printf 'no end'; pwd");
    step.env.insert("GREETING".to_owned(), "hello".to_owned());
    let (outcome, lines) = run(&step).await;
    assert_eq!((outcome.end, outcome.lines), (StepEnd::Passed, 3));
    let of = |stream| -> Vec<&str> {
        lines
            .iter()
            .filter(|line| line.stream == stream)
            .map(|line| line.text.as_str())
            .collect()
    };
    let work = step.dir.display();
    assert_eq!(
        of(OutputStream::Stdout),
        ["out hello".to_owned(), format!("no end{work}")]
    );
    assert_eq!(of(OutputStream::Stderr), ["err"]);
    assert_eq!(outcome.last_lines.len(), 3);
    assert_eq!(
        std::fs::read_dir(&step.records).unwrap().count(),
        0,
        "the record goes with the step"
    );
}

#[tokio::test]
async fn its_environment_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let (_, lines) = run(&spec(&dir, "env | cut -d= -f1 | grep -v '^_$' | sort")).await;
    let names: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(names, ["CI", "HOME", "LANG", "PATH", "PWD", "TRIMTAB_STEP"]);
}

#[tokio::test]
async fn ends_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        run(&spec(&dir, "exit 7")).await.0.end,
        StepEnd::Failed { code: 7 }
    );
    assert_eq!(
        run(&spec(&dir, "kill -9 $$")).await.0.end,
        StepEnd::Killed { signal: 9 }
    );
    let missing = run(&spec(&dir, "frobnicate --now")).await.0.end;
    assert_eq!(
        missing,
        StepEnd::NotFound {
            command: Some("frobnicate".to_owned())
        }
    );
    assert!(
        missing
            .to_string()
            .contains("\"frobnicate\" was not found; install it"),
        "{missing}"
    );
    let mut nowhere = spec(&dir, "true");
    nowhere.dir = dir.path().join("nowhere");
    let error = run_step(&nowhere, std::future::pending(), &mut |_| {})
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StepError::BadSpec { .. }) && error.to_string().contains("check the commit out"),
        "{error}"
    );
}

#[tokio::test]
async fn a_slow_step_is_killed_with_its_whole_family() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; sleep 1000 & echo pid $!; setsid sleep 1001 & echo pid $!; echo pid $$; while :; do sleep 1000; done";
    let step = StepSpec {
        timeout: Duration::from_millis(500),
        ..spec(&dir, script)
    };
    let (outcome, _) = run(&step).await;
    assert_eq!(outcome.end, StepEnd::TimedOut { limit_millis: 500 });
    assert!(outcome.end.to_string().contains("limit of 500ms"));
    let family = pids(&outcome.last_lines);
    assert_eq!(family.len(), 3);
    family.into_iter().for_each(until_gone);
}

#[tokio::test]
async fn what_a_step_leaves_behind_does_not_hold_it_up() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let (outcome, _) = run(&spec(
        &dir,
        "sleep 1000 & echo pid $!; setsid sleep 1000 & echo pid $!",
    ))
    .await;
    assert_eq!(outcome.end, StepEnd::Passed);
    assert!(begun.elapsed() < Duration::from_secs(10));
    pids(&outcome.last_lines).into_iter().for_each(until_gone);
}

#[tokio::test]
async fn a_step_can_be_cancelled_or_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let step = spec(&dir, "echo pid $$; exec sleep 1000");
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let mut tell = Some(tell);
    let cancel = async {
        let _ = told.await;
    };
    // Cancelled once it has begun.
    let outcome = run_step(&step, cancel, &mut |_| drop(tell.take())).await.unwrap();
    assert_eq!(outcome.end, StepEnd::Cancelled);
    pids(&outcome.last_lines).into_iter().for_each(until_gone);

    let (send, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        let mut sink = |line: OutputLine| send.send(line.text).unwrap();
        run_step(&step, std::future::pending(), &mut sink).await
    });
    let line = begun.recv().await.unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    pids(&[line]).into_iter().for_each(until_gone);
}

#[tokio::test]
async fn secrets_do_not_come_out() {
    let dir = tempfile::tempdir().unwrap();
    let secret = "hunter2-and-more";
    let mut step = spec(
        &dir,
        "echo \"token=$TOKEN\"; printf %s \"user:$TOKEN\" | base64; printf %s \"$TOKEN\" | od -An -tx1 | tr -d ' \\n'",
    );
    step.env.insert("TOKEN".to_owned(), secret.to_owned());
    step.secrets.push(secret.to_owned());
    let (outcome, lines) = run(&step).await;
    assert_eq!(lines[0].text, "token=***");
    assert_eq!(
        lines.iter().filter(|line| line.text.contains("***")).count(),
        3,
        "{lines:?}"
    );
    assert!(!outcome.last_lines.concat().contains("hunter2"));
}

#[tokio::test]
async fn a_hundred_megabytes_in_one_line_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, lines) = run(&spec(&dir, "head -c 100000000 /dev/zero; echo; echo after")).await;
    assert_eq!(
        (outcome.end, outcome.lines, outcome.lines_cut),
        (StepEnd::Passed, 2, 1)
    );
    let wanted = format!(" [trimtab: cut {} bytes]", 100_000_000 - LINE_BYTES_MAX);
    assert!(lines[0].text.ends_with(&wanted) && lines[0].text.len() < 2 * LINE_BYTES_MAX);
    assert_eq!(lines[1].text, "after");
}

#[tokio::test]
async fn steps_of_a_dead_control_process_are_reaped() {
    let dir = tempfile::tempdir().unwrap();
    let step = spec(
        &dir,
        "sleep 1000 & echo pid $!; setsid sleep 1001 & echo pid $!; exec sleep 1000",
    );
    let records = step.records.clone();
    // As after a kill -9: the runner's own clean-up never runs.
    let kept = dir.path().join("kept");
    let (send, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        let mut sink = |line: OutputLine| send.send(line.text).unwrap();
        run_step(&step, std::future::pending(), &mut sink).await
    });
    let family = pids(&[begun.recv().await.unwrap(), begun.recv().await.unwrap()]);
    std::fs::create_dir(&kept).unwrap();
    for entry in std::fs::read_dir(&records).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), kept.join(entry.file_name())).unwrap();
    }
    std::fs::write(kept.join("step-torn.json"), "{\"version\":").unwrap();
    std::fs::write(kept.join("other.txt"), "not ours").unwrap();
    assert!(family.iter().all(|pid| is_alive(*pid)));
    assert_eq!(reap_stale(&kept).unwrap(), ["unit"]);
    family.into_iter().for_each(|pid| assert!(!is_alive(pid)));
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);
    assert_eq!(running.await.unwrap().unwrap().end, StepEnd::Killed { signal: 9 });
    assert!(reap_stale(&dir.path().join("never-made")).unwrap().is_empty());
}

#[tokio::test]
async fn a_step_runs_as_another_user_where_permitted() {
    let dir = tempfile::tempdir().unwrap();
    let step = StepSpec {
        user: Some("65534:65534".to_owned()),
        ..spec(&dir, "id -u; touch mine")
    };
    if rustix::process::geteuid().is_root() {
        let (outcome, lines) = run(&step).await;
        assert_eq!((outcome.end, lines[0].text.as_str()), (StepEnd::Passed, "65534"));
    } else {
        let error = run_step(&step, std::future::pending(), &mut |_| {})
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("needs root"), "{error}");
    }
}
