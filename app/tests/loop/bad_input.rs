//! What people get wrong, each with the words that help them. More of these lie in the room they belong to;
//! docs/features.md has one table of all.

use std::net::TcpListener;
use std::process::Command;

use trimtab_pipeline::Stage;

use crate::house::{House, Place, Project, USERS, WEBHOOK, failure};

/// Each port that `serve` listens on, when something else has it.
#[test]
fn a_port_in_use_is_named_with_its_setting() {
    for setting in ["listen", "otlp_grpc", "otlp_http", "traffic"] {
        let place = Place::make();
        std::fs::create_dir(place.data()).unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut yaml = String::new();
        for known in ["listen", "otlp_grpc", "otlp_http", "traffic"] {
            let port = if known == setting {
                port
            } else {
                Place::free_port()
            };
            yaml.push_str(&format!("{known}: 127.0.0.1:{port}\n"));
        }
        std::fs::write(place.data().join("trimtab-server.yaml"), yaml).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_trimtab"))
            .args(["serve", "--data"])
            .arg(place.data())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{setting}: {said}");
        assert!(said.contains(&port.to_string()), "{setting}: {said}");
        assert!(said.contains(setting), "{setting}: {said}");
        assert_eq!(place.processes(), [], "{setting}: left running");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_start_is_shown_with_its_last_words() {
    let mut hasty = Project::without_staging();
    hasty.health = hasty
        .health
        .replace("start_timeout: 30s", "start_timeout: 1500ms");
    let house = House::start(&hasty).await;
    assert_eq!(house.deploy().await, "notes-r1");
    let absent = Project {
        command: "./bin/absent".to_owned(),
        ..hasty.clone()
    };
    let cases = [
        // The last probe's status and body, and what it printed.
        (
            hasty.with("unready"),
            ["503", "index not loaded", "the index is not loaded"],
        ),
        (hasty.with("exit"), ["exit", "3", "failed to read settings.toml"]),
        (
            absent,
            ["./bin/absent", "no program", "build it into the artifact"],
        ),
    ];
    for (project, parts) in cases {
        house.commit(&project, &format!("Say {}", parts[1]));
        let (stage, reason) = failure(&house.ship().await);
        assert_eq!(stage, Stage::DeployProduction);
        for part in parts {
            assert!(reason.contains(part), "{part:?}: {reason}");
        }
        house.inbox.wait(&[WEBHOOK], parts[2]).await;
        assert_eq!(house.stable(USERS).as_deref(), Some("notes-r1"));
        assert_eq!(house.instances(USERS).await, ["notes-r1-production-1"]);
    }
    house.stop().await;
}
