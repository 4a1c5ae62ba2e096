//! `cargo xtask bench`: figures, one flat object of names with their units.

mod build;
mod demo;
mod ingest;
mod proxy;
mod rest;
mod storage;
mod verdict;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// Named figures; every name ends with its unit.
pub(crate) type Figures = BTreeMap<String, f64>;

type Bench = (&'static str, fn() -> Result<Figures>);

const BENCHES: &[Bench] = &[
    ("build", build::run),
    ("demo", demo::run),
    ("ingest", ingest::run),
    ("proxy", proxy::run),
    ("rest", rest::run),
    ("storage", storage::run),
    ("verdict", verdict::run),
];

/// Runs the named benchmarks, or all.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut names = Vec::new();
    let mut file = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--json" {
            file = Some(rest.next().context("--json needs a file name")?);
        } else if BENCHES.iter().any(|(name, _)| name == argument) {
            names.push(argument.as_str());
        } else {
            let known: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
            bail!("no benchmark {argument:?}: use {}", known.join(", "));
        }
    }
    let mut figures = Figures::new();
    for (name, bench) in BENCHES {
        if names.is_empty() || names.contains(name) {
            eprintln!("== {name}");
            figures.extend(bench().with_context(|| format!("failed to measure {name}"))?);
        }
    }
    let json = serde_json::to_string_pretty(&figures)?;
    println!("{json}");
    if let Some(file) = file {
        std::fs::write(file, json).with_context(|| format!("failed to write {file}"))?;
    }
    Ok(())
}
