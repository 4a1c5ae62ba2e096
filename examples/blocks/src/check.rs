//! Checks of a running service, for the gates of a pipeline: they need its address and nothing else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Client};

/// The load check: this long, by this many users at once, none of them waiting.
const LOAD: Duration = Duration::from_secs(3);
const LOAD_USERS: usize = 4;
/// Of each user's requests, at most so many a second: a check is no attack.
const LOAD_PAUSE: Duration = Duration::from_millis(5);
const LOAD_P95_MAX: Duration = Duration::from_millis(150);

fn expect(what: &str, answer: &Answer, status: u16) -> Result<(), String> {
    if answer.status == status {
        println!("ok    {what}");
        Ok(())
    } else {
        Err(format!(
            "FAIL  {what}: expected {status}, got {}: {}",
            answer.status, answer.text
        ))
    }
}

fn expect_that(what: &str, holds: bool, answer: &Answer) -> Result<(), String> {
    if holds {
        println!("ok    {what}");
        Ok(())
    } else {
        Err(format!("FAIL  {what}: {}", answer.text))
    }
}

/// A name that no other check used.
fn unique(prefix: &str) -> String {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{prefix}-{:x}-{}", since.as_nanos(), std::process::id())
}

pub fn smoke(url: &str) -> Result<(), String> {
    let client = Client::new(url)?;
    expect("health", &client.get("/health")?, 200)?;
    let created = client.post("/blocks", &json!({"title": "Smoke", "text": "a first block"}))?;
    expect("create a block", &created, 201)?;
    let id = created.json["id"].as_str().unwrap_or_default();
    let read = client.get(&format!("/blocks/{id}"))?;
    expect_that("read it back", read.json["text"] == "a first block", &read)?;
    expect("list blocks", &client.get("/blocks?limit=5")?, 200)?;
    expect("metrics", &client.get("/metrics")?, 200)
}

pub fn integration(url: &str) -> Result<(), String> {
    let client = Client::new(url)?;
    let (block, word) = (unique("check"), unique("w").replace('-', ""));
    let text = |value: &str, clock: u64| json!({"block": block, "kind": "text", "value": value, "clock": clock, "actor": "ann"});
    let operations = json!({"operations": [
        text(&format!("draft about {word}"), 1),
        {"block": block, "kind": "tag", "tag": "todo", "addition": "ann-1"},
    ]});
    let synced = client.post("/sync", &operations)?;
    expect_that("sync makes a block", synced.json["applied"] == 2, &synced)?;
    let again = client.post("/sync", &operations)?;
    expect_that(
        "the same sync changes nothing",
        again.json["applied"] == 0,
        &again,
    )?;
    let later = client.post(
        "/sync",
        &json!({"operations": [text(&format!("final words about {word}"), 2)]}),
    )?;
    expect_that("a later edit wins", later.json["clock"] == 2, &later)?;
    let found = client.get(&format!("/search?q={word}"))?;
    expect_that("search finds it", found.json[0]["id"] == block.as_str(), &found)?;
    let found = client.get(&format!("/search?q=final+{word}"))?;
    expect_that(
        "search by two words finds it",
        found.json[0]["id"] == block.as_str(),
        &found,
    )?;
    let names = client.get("/plugins")?;
    expect_that(
        "plug-ins are there",
        names.json.as_array().is_some_and(|all| !all.is_empty()),
        &names,
    )?;
    let counted = client.get(&format!("/plugins/word-count/blocks/{block}"))?;
    expect_that("a plug-in counts words", counted.json["value"] == 4, &counted)?;
    expect("an unknown block", &client.get("/blocks/no-such-block")?, 404)?;
    expect("nonsense", &client.post("/sync", &json!({"operations": 1}))?, 400)
}

pub fn load(url: &str) -> Result<(), String> {
    let run = unique("load");
    let users = (0..LOAD_USERS).map(|user| {
        let (url, run) = (url.to_owned(), run.clone());
        std::thread::spawn(move || one_user(&url, &run, user))
    });
    let mut taken = Vec::new();
    for user in users.collect::<Vec<_>>() {
        taken.extend(user.join().map_err(|_| "a user crashed".to_owned())??);
    }
    taken.sort_unstable();
    let p95 = taken[taken.len() * 95 / 100];
    println!(
        "{} requests, no error, 95 % within {} ms",
        taken.len(),
        p95.as_millis()
    );
    if p95 <= LOAD_P95_MAX {
        Ok(())
    } else {
        Err(format!("FAIL  too slow: the limit is {LOAD_P95_MAX:?}"))
    }
}

fn one_user(url: &str, run: &str, user: usize) -> Result<Vec<Duration>, String> {
    let mut client = Client::new(url)?;
    client.user = format!("load-{user}");
    let end = Instant::now() + LOAD;
    let mut taken = Vec::new();
    for n in 0u64.. {
        if Instant::now() >= end {
            break;
        }
        let block = format!("{run}-{user}-{}", n / 20);
        let edit = |value: String| -> Value {
            json!({"operations": [{"block": block, "kind": "text", "value": value, "clock": n + 1, "actor": client.user}]})
        };
        let begun = Instant::now();
        let answer = match n % 4 {
            0 => client.post("/sync", &edit(format!("load of {run} number {n}")))?,
            1 => client.get(&format!("/blocks/{block}"))?,
            2 => client.get("/search?q=number")?,
            _ => client.get("/blocks?limit=10")?,
        };
        taken.push(begun.elapsed());
        if answer.status != 200 {
            return Err(format!(
                "FAIL  request {n} of user {user}: {}: {}",
                answer.status, answer.text
            ));
        }
        std::thread::sleep(LOAD_PAUSE);
    }
    Ok(taken)
}
