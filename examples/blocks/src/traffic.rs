//! What users do with a notebook: mostly reading and searching, and edits made offline that arrive late, in many
//! languages. Seeded, so that a run can be repeated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, percent_encode};

const WORDS: [&str; 16] = [
    "notes", "meeting", "garden", "plan", "budget", "travel", "recipe", "music", "project", "idea", "review",
    "letter", "summer", "winter", "school", "market",
];
/// As people write.
const FOREIGN: [&str; 6] = [
    "über den Zaun",
    "заметка о лете",
    "今日の予定",
    "café à midi",
    "señal débil",
    "naïve Idee 🌱",
];
/// Users, and shared blocks that they edit.
const USERS: u64 = 25;
const SHARED: u64 = 12;

#[derive(Default)]
struct Totals {
    by_status: BTreeMap<String, u64>,
    slow: u64,
    requests: u64,
}

pub fn main(url: &str, options: &[&str]) -> Result<(), String> {
    let option = |name: &str, default: u64| match options.iter().position(|word| *word == name) {
        None => Ok(default),
        Some(at) => options
            .get(at + 1)
            .and_then(|text| text.parse().ok())
            .ok_or(format!("{name} needs a number")),
    };
    let (rate, seconds, seed) = (
        option("--rate", 20)?.max(1),
        option("--seconds", 30)?,
        option("--seed", 1)?,
    );
    Client::new(url)?;
    let totals = Arc::new(Mutex::new(Totals::default()));
    let begun = Instant::now();
    let mut under_way = Vec::new();
    for n in 0..rate * seconds {
        let due = begun
            + Duration::from_secs(1) * u32::try_from(n).unwrap_or(u32::MAX)
                / u32::try_from(rate).unwrap_or(1);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (url, totals) = (url.to_owned(), Arc::clone(&totals));
        under_way.push(std::thread::spawn(move || {
            let begun = Instant::now();
            let status = request(&url, seed, n).map_or_else(|error| error, |status| status.to_string());
            if let Ok(mut totals) = totals.lock() {
                totals.requests += 1;
                totals.slow += u64::from(begun.elapsed() > Duration::from_millis(300));
                *totals.by_status.entry(status).or_default() += 1;
            }
        }));
        under_way.retain(|thread| !thread.is_finished());
    }
    for thread in under_way {
        let _ = thread.join();
    }
    let totals = totals.lock().map_err(|_| "a request crashed".to_owned())?;
    println!(
        "{}",
        json!({"requests": totals.requests, "slow": totals.slow, "by_status": totals.by_status})
    );
    Ok(())
}

/// SplitMix64.
fn mix(seed: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Request number `n`: of 20, 3 create, 4 list or read, 6 search (4 of them by two words) and 7 sync (6 of them
/// touch a block that others edit too).
fn request(url: &str, seed: u64, n: u64) -> Result<u16, String> {
    let draw = |salt: u64| mix(seed ^ n.wrapping_mul(31).wrapping_add(salt << 48));
    let word = |salt: u64| WORDS[(draw(salt) % WORDS.len() as u64) as usize];
    let foreign = FOREIGN[(draw(9) % FOREIGN.len() as u64) as usize];
    let mut client = Client::new(url)?;
    client.user = format!("user-{}", draw(1) % USERS);
    let text = format!("{} {} {} {foreign}", word(2), word(3), word(4));
    let answer = match draw(5) % 20 {
        0..3 => client.post(
            "/blocks",
            &json!({"title": word(6), "text": text, "tags": [word(7)]}),
        )?,
        3..5 => client.get("/blocks?limit=10")?,
        5..7 => client.get(&format!("/plugins/word-count/blocks/shared-{}", draw(8) % SHARED))?,
        7..9 => client.get(&format!("/search?q={}", word(6)))?,
        9..13 => client.get(&format!(
            "/search?q={}",
            percent_encode(&format!("{} {}", word(2), word(3)))
        ))?,
        13 => client.post("/sync", &sync(&format!("own-{seed}-{n}"), &text, 1, &client.user))?,
        _ => {
            // Offline devices count on from what they saw last, so clocks lag and collide.
            let clock = n / 4 + draw(10) % 4;
            client.post(
                "/sync",
                &sync(
                    &format!("shared-{}", draw(8) % SHARED),
                    &text,
                    clock,
                    &client.user,
                ),
            )?
        }
    };
    Ok(answer.status)
}

fn sync(block: &str, text: &str, clock: u64, actor: &str) -> Value {
    json!({"operations": [{"block": block, "kind": "text", "value": text, "clock": clock, "actor": actor}]})
}
