//! The whole loop with a real service: a good release ships, a bad one is found, taken off traffic
//! and rolled back by itself, and written up.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trimtab_control::clock;
use trimtab_control::control::{Control, Options};
use trimtab_control::world::{Repository, World, environment};
use trimtab_model::{Actor, ServiceName, Severity};
use trimtab_pipeline::{Event, Phase, Stage};

const PATIENCE: Duration = Duration::from_secs(180);

fn examples() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap())
        .parent()
        .unwrap()
        .join("examples")
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=dev", "-c", "user.email=dev@example.org"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with the demo service as its first commit on `main`.
fn repository(dir: &Path) -> PathBuf {
    let work = dir.join("work");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(examples().join("blocks"))
        .arg(&work)
        .status()
        .unwrap();
    assert!(copied.success());
    std::fs::remove_dir_all(work.join("target")).ok();
    git(&work, &["init", "-q", "-b", "main"]);
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-qm", "Keep blocks in a notebook"]);
    work
}

fn free_address() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

async fn start(dir: &Path, work: &Path) -> (Control, std::net::SocketAddr) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let traffic = free_address();
    let control = Control::start(Options {
        dir: dir.join("data"),
        program: env!("CARGO_BIN_EXE_trimtab").into(),
        link: "http://127.0.0.1:7700".to_owned(),
        otlp_grpc: "127.0.0.1:0".parse().unwrap(),
        otlp_http: "127.0.0.1:0".parse().unwrap(),
        traffic,
        traffic_tls: None,
        acme: None,
        repositories: vec![Repository {
            service: ServiceName::new("blocks").unwrap(),
            path: work.to_owned(),
            branch: "main".to_owned(),
        }],
        groups: Vec::new(),
        receivers: trimtab_notify::Receivers::default(),
        grants: trimtab_control::grants::Grants::default(),
        retention: Default::default(),
    })
    .await
    .unwrap();
    (control, traffic)
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs a commit up to its approval and approves it; gives the run's id.
async fn ship(world: &Arc<World>, commit: &str) -> String {
    let service = ServiceName::new("blocks").unwrap();
    let dev = Actor("dev".to_owned());
    let run = trimtab_control::runs::start(world, &service, commit, &dev)
        .await
        .unwrap();
    let runs = &world.machines().runs;
    until("the approval to be asked for", || {
        let state = runs.get(&run.id).unwrap().state;
        assert!(state.end().is_none(), "{}", state.describe());
        matches!(
            state.phase,
            Phase::Working {
                stage: Stage::Approval,
                ..
            }
        )
        .then_some(())
    })
    .await;
    let approved = Event::Approved {
        at: clock::now(),
        by: Actor("qa".to_owned()),
        reason: String::new(),
    };
    runs.send(&run.id, approved).await.unwrap();
    run.id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_release_ships_and_a_bad_one_is_thrown_out() {
    let dir = tempfile::tempdir().unwrap();
    let work = repository(dir.path());
    let (control, traffic) = start(dir.path(), &work).await;
    let world = control.world.clone();
    let production = environment("production");
    let service = ServiceName::new("blocks").unwrap();

    let first = ship(&world, "main").await;
    let state = until("the first run's end", || {
        let state = world.machines().runs.get(&first).unwrap().state;
        state.end().is_some().then_some(state)
    })
    .await;
    assert_eq!(
        state.end(),
        Some(&trimtab_pipeline::End::Deployed),
        "{}",
        state.describe()
    );
    let good = world.stable(&service, &production).unwrap();
    assert_eq!(good.as_str(), "blocks-r1");

    git(
        &work,
        &[
            "apply",
            examples().join("blocks-regression.patch").to_str().unwrap(),
        ],
    );
    git(
        &work,
        &[
            "commit",
            "-qam",
            "Rank search results and compare versions by table",
        ],
    );
    let blocks = dir.path().join("data/workspaces/blocks/target/debug/blocks");
    let tool = dir.path().join("blocks-load");
    std::fs::copy(&blocks, &tool).unwrap();
    let mut load = Command::new(&tool)
        .args([
            "traffic",
            &format!("http://{traffic}"),
            "--rate",
            "60",
            "--seconds",
            "150",
            "--seed",
            "7",
        ])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let second = ship(&world, "main").await;
    let incident = until("an incident", || {
        // A machine that builds may be slow for its users, which is another incident.
        let all = world.machines().incidents.list();
        all.into_iter().find(|incident| incident.plan.rollout.is_some())
    })
    .await;
    assert_eq!(
        incident.plan.severity,
        Severity::Critical,
        "{}",
        incident.plan.title
    );
    assert_eq!(incident.plan.class, trimtab_incident::Class::BadRelease);
    assert_eq!(incident.plan.suspect.as_ref().unwrap().as_str(), "blocks-r2");
    let state = until("the second run's end", || {
        let state = world.machines().runs.get(&second).unwrap().state;
        state.end().is_some().then_some(state)
    })
    .await;
    assert!(
        matches!(state.end(), Some(trimtab_pipeline::End::Failed { .. })),
        "{}",
        state.describe()
    );
    let closed = until("the incident's end", || {
        let incident = world.machines().incidents.get(&incident.id).unwrap();
        incident.state.end().is_some().then_some(incident)
    })
    .await;
    println!("{}", closed.state.describe());
    assert_eq!(world.stable(&service, &production), Some(good));
    let bad = world
        .releases
        .get(incident.plan.suspect.as_ref().unwrap())
        .unwrap();
    assert!(
        world.releases.quarantined(&bad.release.id).is_some(),
        "the bad release is quarantined"
    );
    let postmortem =
        std::fs::read_to_string(dir.path().join(format!("data/postmortems/{}.md", incident.id))).unwrap();
    assert!(postmortem.contains("blocks-r2"), "{postmortem}");
    println!("{postmortem}");
    for report in world
        .journal
        .read_stream(&format!("report/{}", incident.id), 0)
        .await
        .unwrap()
    {
        println!("{}: {:.1500}", report.kind, report.body.to_string());
    }
    load.kill().unwrap();
    load.wait().unwrap();
    control.stop_everything().await;
}
