//! Users who stay on their arm, and testers who choose theirs.

use std::collections::HashMap;
use std::time::Duration;

use trimtab_model::{Arm, RolloutId};
use trimtab_proxy::{Cell, Route, Sticky, StickyBy, Tester, TesterBy};

use crate::harness::{Answer, Instance, Proxy, pool, release, route};

const COOKIE: &str = "trimtab-arm-blocks-production";

fn sticky(blue: &Instance, green: &Instance, percent: f64, by: StickyBy) -> Route {
    let mut route = route(
        pool("blocks-r1", &[blue]),
        Some((pool("blocks-r2", &[green]), percent)),
    );
    route.split.sticky = Some(Sticky {
        by,
        secret: "s".to_owned(),
    });
    route
}

async fn get(proxy: &Proxy, headers: &str) -> Answer {
    let request = format!("GET /x HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
    let answer = proxy.send(request.as_bytes()).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer
}

/// A browser: keeps the cookie it is given.
#[derive(Default, Clone)]
struct User {
    cookie: Option<String>,
}

impl User {
    /// Whether the candidate served.
    async fn visit(&mut self, proxy: &Proxy) -> bool {
        let cookie = self
            .cookie
            .iter()
            .map(|value| format!("cookie: a=b; {COOKIE}={value}; c=d\r\n"));
        let answer = get(proxy, &cookie.collect::<String>()).await;
        if let Some(set) = set_cookie(&answer) {
            self.cookie = Some(set).filter(|value| !value.is_empty());
        }
        answer.body() == "blocks-r2"
    }
}

fn set_cookie(answer: &Answer) -> Option<String> {
    let start = format!("set-cookie: {COOKIE}=");
    let line = answer.0.lines().find_map(|line| line.strip_prefix(&start[..]))?;
    assert!(line.contains("; HttpOnly; SameSite=Lax"), "{line}");
    Some(line.split(';').next().unwrap().to_owned())
}

/// Reads frames until they hold `requests`.
async fn cells(proxy: &Proxy, requests: u64) -> Vec<Cell> {
    let mut frames = proxy.client.frames(0);
    let mut cells: Vec<Cell> = Vec::new();
    while cells.iter().map(|cell| cell.requests).sum::<u64>() < requests {
        let frame = tokio::time::timeout(Duration::from_secs(10), frames.next())
            .await
            .expect("the frames hold every request");
        cells.extend(frame.cells);
    }
    cells
}

fn assigned(cells: &[Cell], percent: f64, arm: Arm) -> u64 {
    let of = |cell: &&Cell| cell.arm == arm && cell.weight.percent() == percent;
    cells.iter().filter(of).map(Cell::assigned).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_users_is_a_share_of_users_over_many_returns() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    let mut users = vec![User::default(); 300];
    let mut arms: Vec<bool> = vec![false; users.len()];
    for (number, percent) in [20.0, 50.0, 10.0].into_iter().enumerate() {
        proxy
            .apply(sticky(&blue, &green, percent, StickyBy::Cookie))
            .await;
        for (user, was) in users.iter_mut().zip(&mut arms) {
            let is = user.visit(&proxy).await;
            // A raised weight moves users to the candidate only, a lowered one away from it only.
            match percent {
                50.0 => assert!(is || !*was),
                10.0 => assert!(!is || *was),
                _ => {}
            }
            *was = is;
        }
        for (user, arm) in users.iter_mut().zip(&arms).take(100) {
            assert_eq!(
                user.visit(&proxy).await,
                *arm,
                "a user changed arms in step {number}"
            );
        }
        // Four standard deviations of 300 users.
        let share = arms.iter().filter(|arm| **arm).count() as f64 / 3.0;
        assert!((share - percent).abs() < 12.0, "{share} % at {percent} %");
    }
    let cells = cells(&proxy, 1_200).await;
    assert_eq!(
        assigned(&cells, 20.0, Arm::Baseline) + assigned(&cells, 20.0, Arm::Candidate),
        300,
        "each user is one unit, however often it returns"
    );
    let again: Vec<&Cell> = cells
        .iter()
        .filter(|cell| cell.seen_weight.percent() == 20.0)
        .collect();
    let tossed: u64 = again.iter().map(|cell| cell.assigned()).sum();
    let moved: u64 = again
        .iter()
        .filter(|cell| cell.arm == Arm::Candidate)
        .map(|cell| cell.assigned())
        .sum();
    assert_eq!(
        tossed,
        assigned(&cells, 20.0, Arm::Baseline),
        "the coin falls again for the baseline's users only"
    );
    // (50 - 20) / (100 - 20) of about 240.
    assert!(
        again
            .iter()
            .all(|cell| (cell.probability() - 0.375).abs() < 1e-12)
    );
    assert!((55..=130).contains(&moved), "{moved} of {tossed}");
    assert_eq!(
        assigned(&cells, 10.0, Arm::Baseline) + assigned(&cells, 10.0, Arm::Candidate),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_ends_with_its_rollout() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    proxy.apply(sticky(&blue, &green, 50.0, StickyBy::Cookie)).await;
    let mut user = User::default();
    user.visit(&proxy).await;
    let first = user.cookie.clone().expect("users of both arms get a cookie");
    user.visit(&proxy).await;
    assert_eq!(user.cookie.as_ref(), Some(&first), "a known user gets no new one");

    let forged = User {
        cookie: Some(format!("1.{}", first.split_once('.').unwrap().1)),
    };
    let mut forger = forged.clone();
    forger.visit(&proxy).await;
    assert_ne!(forger.cookie, forged.cookie, "a forged ticket is drawn anew");

    let mut next = sticky(&blue, &green, 50.0, StickyBy::Cookie);
    next.split.rollout = Some(RolloutId::new("rollout-2").unwrap());
    proxy.apply(next).await;
    user.visit(&proxy).await;
    assert_ne!(user.cookie.as_ref(), Some(&first), "another rollout draws anew");

    proxy.apply(route(pool("blocks-r2", &[&green]), None)).await;
    assert!(user.visit(&proxy).await);
    assert_eq!(user.cookie, None, "the rollout is over: the cookie is removed");
    let plain = get(&proxy, "").await;
    assert!(!plain.0.contains("set-cookie"), "{plain:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_headers_hash_keeps_users_without_a_cookie() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    let by = StickyBy::Header("x-user".to_owned());
    let mut arms: HashMap<usize, bool> = HashMap::new();
    for percent in [25.0, 60.0] {
        proxy.apply(sticky(&blue, &green, percent, by.clone())).await;
        for visit in 0..2 {
            for user in 0..200 {
                let answer = get(&proxy, &format!("X-User: user-{user}\r\n")).await;
                assert!(!answer.0.contains("set-cookie"));
                let is = answer.body() == "blocks-r2";
                let was = arms.insert(user, is);
                assert!(visit == 0 || was == Some(is), "a user changed arms");
                assert!(is || was != Some(true), "a raised weight moved a user back");
            }
        }
        let share = arms.values().filter(|arm| **arm).count() as f64 / 2.0;
        assert!((share - percent).abs() < 15.0, "{share} % at {percent} %");
    }
    let cells = cells(&proxy, 800).await;
    let units = assigned(&cells, 25.0, Arm::Baseline) + assigned(&cells, 25.0, Arm::Candidate);
    assert!((1..=200).contains(&units), "no user is evidence twice: {units}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn testers_choose_their_release_and_are_not_counted() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    let mut route = sticky(&blue, &green, 0.0, StickyBy::Cookie);
    let rule = |by, value: &str, name| Tester {
        by,
        value: value.to_owned(),
        release: release(name),
    };
    route.policy.testers = vec![
        rule(TesterBy::Header("x-beta".to_owned()), "yes", "blocks-r2"),
        rule(TesterBy::Cookie("beta".to_owned()), "a1b2", "blocks-r2"),
        rule(TesterBy::Cookie("beta".to_owned()), "gone", "blocks-r9"),
    ];
    proxy.apply(route).await;
    for (headers, expected) in [
        ("X-Beta: yes\r\n", "blocks-r2"),
        ("X-Beta: no\r\n", "blocks-r1"),
        ("Cookie: x=1; beta=a1b2\r\n", "blocks-r2"),
        ("Cookie: xbeta=a1b2\r\n", "blocks-r1"),
        ("Cookie: beta=a1b23\r\n", "blocks-r1"),
        ("Cookie: beta=gone\r\n", "blocks-r1"),
    ] {
        assert_eq!(get(&proxy, headers).await.body(), expected, "{headers}");
    }
    let cells = cells(&proxy, 4).await;
    assert_eq!(cells.iter().map(|cell| cell.requests).sum::<u64>(), 4);
    assert_eq!(proxy.client.status().await.unwrap().counters.previewed, 2);
}

/// Whose requests they were is told by a hash, with what became of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_users_known_by_a_header_are_told_one_by_one() {
    let blue = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|_| {}).await;
    let mut known = route(pool("blocks-r1", &[&blue]), None);
    known.policy.users_by = Some("x-user".to_owned());
    proxy.apply(known).await;
    for user in ["anna", "ben", "anna"] {
        get(&proxy, &format!("x-user: {user}\r\n")).await;
    }
    get(&proxy, "").await;
    let failing = b"GET /status/503 HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-user: carl\r\n\r\n";
    assert_eq!(proxy.send(failing).await.status(), 503);

    let mut frames = proxy.client.frames(0);
    let (mut seen, mut counted) = (Vec::new(), 0);
    while counted < 5 {
        let frame = tokio::time::timeout(Duration::from_secs(10), frames.next())
            .await
            .expect("the frames hold every request");
        counted += frame.cells.iter().map(|cell| cell.requests).sum::<u64>();
        let text = serde_json::to_string(&frame).unwrap();
        assert!(!text.contains("anna"), "{text}");
        for users in frame.users {
            assert_eq!((users.service.as_str(), users.uncounted), ("blocks", 0));
            seen.extend(users.requests);
        }
    }
    let mut told: Vec<(u64, bool, bool)> = seen
        .iter()
        .map(|request| (request.user, request.failed, request.client_error))
        .collect();
    let mut expected = [("anna", false), ("ben", false), ("anna", false), ("carl", true)]
        .map(|(user, failed)| (trimtab_flags::user_hash(user), failed, false));
    // Lanes report one after the other.
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected, "who gave no name is in no list");
    assert!(seen.iter().all(|request| request.ended_nanos > 0), "{seen:?}");
}
