//! The live stream: what it tells, how it resumes, how it ends.

use std::time::Duration;

use trimtab_api::Topic;

use crate::client::Server;

/// Reads a stream until what came satisfies `done`, at most ten seconds.
async fn read_until(response: &mut reqwest::Response, done: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let reading = async {
        while !done(&text) {
            match response.chunk().await.unwrap() {
                Some(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                None => break,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .unwrap();
    text
}

fn last_id(text: &str) -> String {
    text.lines()
        .rev()
        .find_map(|line| line.strip_prefix("id:"))
        .unwrap()
        .trim()
        .to_owned()
}

async fn open(server: &Server, query: &str, last: Option<&str>) -> reqwest::Response {
    let mut request = server.get(&format!("/live?{query}")).bearer_auth("viewer");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response
}

#[tokio::test]
async fn it_tells_the_topics_asked_for_and_no_others() {
    let server = Server::start().await;
    let mut stream = open(&server, "topics=rollout:rollout-4,incidents", None).await;
    read_until(&mut stream, |text| text.contains("event: open")).await;
    server.demo.change(Topic::Run("run-1".to_owned()));
    server.demo.change(Topic::Rollout("rollout-4".to_owned()));
    server.demo.change(Topic::Incident("incident-2".to_owned()));
    let text = read_until(&mut stream, |text| {
        text.contains("incidents") && text.contains("rollout:rollout-4")
    })
    .await;
    assert!(!text.contains("run-1") && !text.contains("incident-2"), "{text}");
}

#[tokio::test]
async fn it_resumes_where_the_tab_was() {
    let server = Server::start().await;
    let mut stream = open(&server, "topics=runs", None).await;
    let id = last_id(
        &read_until(&mut stream, |text| {
            text.contains("event: open") && text.ends_with("\n\n")
        })
        .await,
    );
    drop(stream);
    for _ in 0..30 {
        server.demo.change(Topic::Run("run-1".to_owned()));
    }
    let mut stream = open(&server, "topics=runs", Some(&id)).await;
    let text = read_until(&mut stream, |text| {
        text.contains("\"runs\"") && text.ends_with("\n\n")
    })
    .await;
    assert_eq!(
        text.matches("event: changed").count(),
        1,
        "the newest wins: {text}"
    );
    let id = last_id(&text);
    let mut stream = open(&server, &format!("topics=runs&last={id}"), None).await;
    let text = read_until(&mut stream, |text| text.contains("event: open")).await;
    assert!(!text.contains("changed"), "nothing is new: {text}");
}

#[tokio::test]
async fn a_place_in_another_life_means_anything_may_have_changed() {
    let server = Server::start().await;
    for last in ["0-12", "junk"] {
        let mut stream = open(&server, "topics=runs", Some(last)).await;
        let text = read_until(&mut stream, |text| {
            text.contains("event: changed") && text.ends_with("\n\n")
        })
        .await;
        assert!(text.contains("[\"*\"]"), "{text}");
    }
}

#[tokio::test]
async fn the_numbers_move() {
    let server = Server::start().await;
    let mut stream = open(&server, "topics=&figures=1&service=blocks&minutes=5", None).await;
    let text = read_until(&mut stream, |text| {
        text.matches("event: figures").count() >= 2 && text.ends_with("\n\n")
    })
    .await;
    let data: Vec<serde_json::Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|data| data.get("figures").is_some())
        .collect();
    let ids: Vec<&str> = data[0]["figures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["id"].as_str().unwrap())
        .collect();
    for id in ["D.S1", "D.A1", "D.B5", "D.Q5", "D.AL3"] {
        assert!(ids.contains(&id), "{ids:?}");
    }
    let empty = data[0]["figures"]
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["id"] == "D.B5")
        .unwrap();
    assert_eq!(
        (&empty["value"], &empty["empty"]),
        (&"no data".into(), &true.into())
    );
    let later = data[1]["points"]["requests"][0]["points"]
        .as_array()
        .unwrap()
        .len();
    assert!(later < 60, "only what is new is told again: {later}");
}

#[tokio::test]
async fn streams_end_with_the_server() {
    let mut server = Server::start().await;
    let mut live = open(&server, "topics=runs", None).await;
    read_until(&mut live, |text| text.contains("event: open")).await;
    let mut tail = server
        .get("/api/v1/logs/tail")
        .bearer_auth("viewer")
        .send()
        .await
        .unwrap();
    let lines = read_until(&mut tail, |text| text.contains("event: log")).await;
    assert!(lines.contains("prefix must not be empty"), "{lines}");
    let ended = tokio::time::timeout(Duration::from_secs(10), server.end()).await;
    assert!(ended.is_ok(), "a stream held the server up");
}
