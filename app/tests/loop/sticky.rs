//! Users who are kept on their arm by a cookie, through the steps of a canary.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trimtab_control::clock;
use trimtab_model::Actor;
use trimtab_rollout::{Event, Phase};

use crate::house::{House, Project, USERS, service, until};

const USERS_COUNT: usize = 150;

/// A browser: it keeps what cookie it is given.
#[derive(Default, Clone)]
struct Browser {
    cookie: Option<String>,
    release: String,
}

impl Browser {
    async fn visit(&mut self, address: SocketAddr) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let cookie = self
            .cookie
            .as_ref()
            .map_or_else(String::new, |cookie| format!("cookie: {cookie}\r\n"));
        let request =
            format!("GET /work HTTP/1.1\r\nhost: notes.example\r\n{cookie}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        for line in answer.lines() {
            let Some((name, value)) = line.split_once(": ") else {
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "x-release" => value.clone_into(&mut self.release),
                "set-cookie" => {
                    let gone = value.to_ascii_lowercase().contains("max-age=0");
                    self.cookie = value.split(';').next().map(str::to_owned).filter(|_| !gone);
                }
                _ => {}
            }
        }
    }
}

/// Everyone comes again; who is on the candidate.
async fn visit_all(browsers: &mut [Browser], address: SocketAddr) -> Vec<bool> {
    for browser in browsers.iter_mut() {
        browser.visit(address).await;
    }
    browsers
        .iter()
        .map(|browser| browser.release == "notes-r2")
        .collect()
}

fn share(on: &[bool]) -> f64 {
    on.iter().filter(|on| **on).count() as f64 / on.len() as f64
}

async fn approve(house: &House, step: usize) {
    let environment = trimtab_control::world::environment(USERS);
    let id = house
        .world
        .rollouts_of(&service(), &environment)
        .pop()
        .unwrap()
        .id;
    let (at, by) = (clock::now(), Actor("qa".to_owned()));
    let approved = Event::Approved { at, by, step };
    house.world.machines().rollouts.send(&id, approved).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn returning_users_stay_on_their_arm_through_every_step() {
    let steps = "[{weight: 20%, watch: 300ms, approval: true}, {weight: 60%, watch: 300ms, approval: true}]";
    let project = Project::without_staging()
        .production("strategy", "canary")
        .production("route", "{host: \"*\", path: /, timeout: 10s, sticky: cookie}")
        .production("steps", steps);
    let house = House::start(&project).await;
    assert_eq!(house.deploy().await, "notes-r1");
    house.commit(&project, "Better notes");
    let run = house.run().await;
    let address = house.place.traffic();
    let mut browsers = vec![Browser::default(); USERS_COUNT];
    let mut before = vec![false; USERS_COUNT];
    for (step, weight) in [(0, 0.2), (1, 0.6)] {
        until("the approval to be asked for", || {
            matches!(house.rollout(USERS).phase, Phase::Approving { step: at } if at == step).then_some(())
        })
        .await;
        let first = visit_all(&mut browsers, address).await;
        // Four standard deviations; users come again and again, and the share stays.
        let wide = 4.0 * f64::sqrt(weight * (1.0 - weight) / USERS_COUNT as f64);
        assert!(
            (share(&first) - weight).abs() < wide,
            "{} of {weight}",
            share(&first)
        );
        for _ in 0..2 {
            assert_eq!(visit_all(&mut browsers, address).await, first);
        }
        assert!(browsers.iter().all(|browser| browser.cookie.is_some()));
        // Nobody who was on the candidate has left it.
        assert!(before.iter().zip(&first).all(|(before, now)| !before || *now));
        before = first;
        approve(&house, step).await;
    }
    let state = house.ended(&run).await;
    assert_eq!(
        state.end(),
        Some(&trimtab_pipeline::End::Deployed),
        "{}",
        state.describe()
    );
    assert!(visit_all(&mut browsers, address).await.iter().all(|on| *on));
    assert!(
        browsers.iter().all(|browser| browser.cookie.is_none()),
        "the cookie outlived the rollout"
    );
    house.stop().await;
}
