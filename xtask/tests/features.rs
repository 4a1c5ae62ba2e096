//! `docs/features.md` names every node of the five diagrams, with a room and a test that exist.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap())
        .parent()
        .unwrap()
        .to_owned()
}

/// Ids `prefix + 1..=last`.
fn numbered(prefix: &str, last: usize) -> Vec<String> {
    (1..=last).map(|number| format!("{prefix}{number}")).collect()
}

fn nodes() -> Vec<String> {
    let mut nodes = Vec::new();
    for (prefix, last) in [
        ("A.D", 5),
        ("A.B", 9),
        ("A.S", 8),
        ("A.P", 10),
        ("A.E", 2),
        ("B.BG", 10),
        ("B.C", 8),
        ("B.R", 7),
        ("B.F", 7),
        ("C.AI", 4),
        ("C.D", 4),
        ("C.Alert", 4),
        ("C.R", 9),
        ("D.S", 5),
        ("D.A", 5),
        ("D.B", 5),
        ("D.Q", 5),
        ("D.AL", 3),
        ("E.", 30),
    ] {
        nodes.extend(numbered(prefix, last));
    }
    for id in [
        "App", "L1", "M1", "T1", "E1", "LA", "MA", "TA", "EA", "LS", "MS", "TS", "ES", "Monitor",
    ] {
        nodes.push(format!("C.{id}"));
    }
    nodes
}

/// Names of all test functions in the tree.
fn test_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders: Vec<PathBuf> = ["domain", "io", "face", "app", "xtask", "examples"]
        .iter()
        .map(|folder| root().join(folder))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let mut marked = false;
                for line in text.lines().map(str::trim) {
                    if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                        marked = true;
                    } else if let Some(rest) = line
                        .strip_prefix("fn ")
                        .or_else(|| line.strip_prefix("async fn "))
                        .filter(|_| marked)
                    {
                        names.insert(rest.split('(').next().unwrap().to_owned());
                        marked = false;
                    }
                }
            }
        }
    }
    names
}

/// Text without what stands in brackets: a file or part of the room.
fn without_brackets(text: &str) -> String {
    let mut depth = 0_usize;
    text.chars()
        .filter(|character| {
            depth += usize::from(*character == '(');
            let outside = depth == 0;
            depth -= usize::from(*character == ')' && depth > 0);
            outside
        })
        .collect()
}

#[test]
fn every_node_has_a_room_and_a_test() {
    let text = std::fs::read_to_string(root().join("docs/features.md")).unwrap();
    let tests = test_names();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, _, room, shown] = cells[..] else { continue };
        if !nodes().iter().any(|node| node == id) {
            continue;
        }
        seen.insert(id.to_owned());
        for path in without_brackets(room).split(',').map(str::trim) {
            if path.is_empty() || !root().join(path).is_dir() {
                wrong.push(format!("{id}: no room {path}"));
            }
        }
        let excused = shown.starts_with("thin:") || shown.starts_with("next:");
        for name in shown.split('`').skip(1).step_by(2).filter(|_| !excused) {
            if !tests.contains(name) {
                wrong.push(format!("{id}: no test {name}"));
            }
        }
        if !excused && !shown.contains('`') {
            wrong.push(format!("{id}: names no test"));
        }
    }
    let missing: Vec<String> = nodes().into_iter().filter(|node| !seen.contains(node)).collect();
    assert!(missing.is_empty(), "not in docs/features.md: {missing:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
