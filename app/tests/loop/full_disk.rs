//! A disk that takes nothing more, played by the limit on file sizes, which unlike a small file system needs no
//! privileges.

use serde_json::json;

use crate::house::{Place, Project, Server, until};

async fn names(server: &Server) -> Vec<String> {
    let tokens: Vec<trimtab_api::Token> = server.get("/api/v1/tokens").await;
    tokens.into_iter().map(|token| token.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_what_was_acknowledged_stays() {
    let place = Place::make();
    place.commit(&Project::without_staging(), "Begin");
    let repository = place.repository();
    let mut server = Server::start(place, &repository).await;
    server.token("before", "viewer").await;

    server.limit_files(Some(4_096));
    let body = json!({"name": "meanwhile", "role": "viewer"});
    let (status, answer) = server.post(&server.admin(), "/api/v1/tokens", &body).await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer.to_string().contains("disk"), "{answer}");
    // Telemetry is refused too, and the log says why, with the file's name.
    until("the log to tell of the full disk", || {
        server.log().contains("no space is left").then_some(())
    })
    .await;
    // It goes on answering.
    assert!(names(&server).await.contains(&"before".to_owned()));

    server.limit_files(None);
    server.token("after", "viewer").await;
    server.kill();
    server.up().await;
    let names = names(&server).await;
    for (name, kept) in [("before", true), ("meanwhile", false), ("after", true)] {
        assert_eq!(names.contains(&name.to_owned()), kept, "{name} of {names:?}");
    }
    let answer: serde_json::Value = server
        .get("/api/v1/query?query=count_over_time(trimtab_host_cpu_percent%5B10m%5D)")
        .await;
    assert!(answer.to_string().contains("value"), "{answer}");
    server.stop().await;
}
