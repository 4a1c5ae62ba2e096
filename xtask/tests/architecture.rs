//! The house rules that a machine can check: which room may know which, and how big a room is.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const LAYERS: [&str; 4] = ["domain", "io", "face", "app"];
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// Files and functions over the limit, with the reason each still stands. This list only shrinks.
const EXCEPTIONS: [(&str, &str); 4] = [
    (
        "io/control/src/control.rs: start",
        "starts each room once, in the order they need each other",
    ),
    (
        "io/control/src/documents.rs: record",
        "gathers one incident's record, a field after the other",
    ),
    (
        "io/control/src/incident_hands.rs: carry_out",
        "one match: every effect of an incident and its hand",
    ),
    (
        "io/control/src/rollout_hands.rs: carry_out",
        "one match: every effect of a rollout and its hand",
    ),
];
const FORBIDDEN_NAMES: [&str; 7] = ["core", "common", "utils", "helpers", "types", "manager", "misc"];
/// What domain code must not touch, with the reason.
const DOMAIN_BANS: [(&str, &str); 7] = [
    ("tokio", "domain is not async"),
    ("SystemTime", "time enters as an argument"),
    ("Instant::now", "time enters as an argument"),
    ("std::fs", "domain reads no files"),
    ("std::net::Tcp", "domain opens no sockets"),
    ("std::env", "domain reads no environment"),
    ("getrandom", "seeds enter as arguments"),
];

fn root() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap())
        .parent()
        .unwrap()
        .to_owned()
}

/// Every crate of the house as (layer, room, names of the workspace crates it uses at run time).
fn rooms() -> Vec<(usize, String, Vec<String>)> {
    let mut rooms = Vec::new();
    for (layer, folder) in LAYERS.iter().enumerate() {
        let base = root().join(folder);
        let manifests: Vec<PathBuf> = if base.join("Cargo.toml").is_file() {
            vec![base.join("Cargo.toml")]
        } else {
            std::fs::read_dir(&base)
                .unwrap()
                .map(|entry| entry.unwrap().path().join("Cargo.toml"))
                .collect()
        };
        for manifest in manifests.iter().filter(|manifest| manifest.is_file()) {
            let room = manifest
                .parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let text = std::fs::read_to_string(manifest).unwrap();
            let mut section = "";
            let mut uses = Vec::new();
            for line in text.lines() {
                if line.starts_with('[') {
                    section = line;
                } else if section == "[dependencies]"
                    && let Some(rest) = line.strip_prefix("trimtab-")
                {
                    uses.push(rest.split(['.', ' ', '=']).next().unwrap().to_owned());
                }
            }
            rooms.push((layer, room, uses));
        }
    }
    rooms
}

#[test]
fn arrows_point_down_only() {
    let rooms = rooms();
    let layers: BTreeMap<&str, usize> = rooms
        .iter()
        .map(|(layer, room, _)| (room.as_str(), *layer))
        .collect();
    assert!(rooms.len() > 15, "found only {} rooms", rooms.len());
    let mut wrong = Vec::new();
    for (layer, room, uses) in &rooms {
        for used in uses {
            let below = layers[used.as_str()];
            let allowed = match below.cmp(layer) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Greater => false,
                std::cmp::Ordering::Equal => neighbour_allowed(LAYERS[*layer], room, used),
            };
            if !allowed {
                wrong.push(format!("{room} must not use {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Inside a layer: domain rooms may use the shared nouns and telemetry's; control carries between
/// its neighbours; ingest writes to the two stores; steps and instances share what children have in
/// common; containers are another runtime; notices go out as all our requests do; pages speak the API's
/// wire types.
fn neighbour_allowed(layer: &str, room: &str, used: &str) -> bool {
    match layer {
        "domain" => used == "model" || (used == "telemetry" && room == "detection"),
        "io" => {
            room == "control"
                || (room == "ingest" && matches!(used, "series" | "store"))
                || (matches!(room, "series" | "store") && used == "wal")
                || (matches!(room, "runner" | "runtime" | "docker") && used == "child")
                || (room == "docker" && used == "runtime")
                || (room == "notify" && used == "outgoing")
        }
        "face" => room == "web" && used == "api",
        _ => false,
    }
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = LAYERS
        .iter()
        .copied()
        .chain(["xtask"])
        .map(|layer| root().join(layer))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// Tests, benchmarks and sample data: long tables are fine there.
fn is_test(path: &Path) -> bool {
    let inside = path.strip_prefix(root()).unwrap();
    inside.components().any(|part| {
        ["tests", "benches", "examples"]
            .iter()
            .any(|name| part.as_os_str() == *name)
    }) || path
        .file_stem()
        .is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
}

/// The lines of a file before its test module.
fn without_tests(text: &str) -> Vec<&str> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .collect()
}

fn excepted(place: &str) -> bool {
    EXCEPTIONS.iter().any(|(name, _)| place.ends_with(name))
}

#[test]
fn files_can_be_read_at_one_sitting() {
    let mut lengths = Vec::new();
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|path| !is_test(path)) {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = without_tests(&text).len();
        let place = path.strip_prefix(root()).unwrap().display().to_string();
        if lines > FILE_LINES_MAX && !excepted(&place) {
            wrong.push(format!("{place}: {lines} lines"));
        }
        lengths.push(lines);
    }
    assert!(
        wrong.is_empty(),
        "over {FILE_LINES_MAX} lines without tests:\n{}",
        wrong.join("\n")
    );
    lengths.sort_unstable();
    let nine_tenths = lengths[lengths.len() * 9 / 10];
    assert!(
        nine_tenths <= 400,
        "nine in ten files stay under 400 lines; the 90th percentile is {nine_tenths}"
    );
}

#[test]
fn functions_stay_short() {
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|path| !is_test(path)) {
        let text = std::fs::read_to_string(path).unwrap();
        let place = path.strip_prefix(root()).unwrap().display().to_string();
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in without_tests(&text).iter().enumerate() {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            let begins = [
                "fn ",
                "pub fn ",
                "async fn ",
                "pub async fn ",
                "pub(crate) fn ",
                "pub(crate) async fn ",
            ]
            .iter()
            .any(|start| trimmed.starts_with(start));
            if begins && !trimmed.ends_with(';') {
                open = Some((indent, number, trimmed.chars().take(60).collect()));
            } else if trimmed == "}"
                && let Some((at, from, name)) = open.take_if(|(at, _, _)| *at == indent)
            {
                let _ = at;
                let lines = number - from + 1;
                let function = name
                    .split("fn ")
                    .nth(1)
                    .unwrap()
                    .split(['(', '<'])
                    .next()
                    .unwrap();
                if lines > FUNCTION_LINES_MAX && !excepted(&format!("{place}: {function}")) {
                    wrong.push(format!("{place}:{}: {name}: {lines} lines", from + 1));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "over {FUNCTION_LINES_MAX} lines:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn names_say_what_a_thing_is() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|path| {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            FORBIDDEN_NAMES.contains(&stem.as_str()) || stem == "mod"
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn domain_is_pure() {
    let mut wrong = Vec::new();
    for path in sources()
        .iter()
        .filter(|path| path.starts_with(root().join("domain")) && !is_test(path))
    {
        let text = std::fs::read_to_string(path).unwrap();
        for line in without_tests(&text) {
            let code = line.split("//").next().unwrap();
            for (word, reason) in DOMAIN_BANS {
                if code.contains(word) {
                    wrong.push(format!("{}: {word}: {reason}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
