//! `cargo xtask test`: every check of the project, stage by stage.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::setup;

/// What a stage counted.
#[derive(Default, Clone, Copy)]
struct Count {
    passed: u64,
    failed: u64,
}

type Stage = (&'static str, fn() -> Result<Count>);

const STAGES: [Stage; 6] = [
    ("setup", stage_setup),
    ("format", stage_format),
    ("lint", stage_lint),
    ("deny", stage_deny),
    ("test", stage_test),
    ("example", stage_example),
];

/// Runs the named stages, or all; prints seconds per stage and closes with `N passed, N failed`.
pub(crate) fn run(names: &[String]) -> Result<bool> {
    for name in names {
        if !STAGES.iter().any(|(stage, _)| stage == name) {
            let known: Vec<&str> = STAGES.iter().map(|(stage, _)| *stage).collect();
            bail!("no stage {name:?}: use {}", known.join(", "));
        }
    }
    let mut total = Count::default();
    let mut lines = Vec::new();
    for (name, stage) in STAGES {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("== {name}");
        let began = Instant::now();
        let count = stage().unwrap_or_else(|error| {
            println!("{error:#}");
            Count { passed: 0, failed: 1 }
        });
        let seconds = began.elapsed().as_secs_f64();
        lines.push(format!(
            "{name:10} {seconds:7.1} s  {} passed, {} failed",
            count.passed, count.failed
        ));
        total.passed += count.passed;
        total.failed += count.failed;
    }
    println!(
        "\n{}\n\n{} passed, {} failed",
        lines.join("\n"),
        total.passed,
        total.failed
    );
    Ok(total.failed == 0)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::root());
    command
}

fn check(command: &mut Command) -> Result<Count> {
    let status = command
        .status()
        .with_context(|| format!("failed to start {command:?}"))?;
    Ok(if status.success() {
        Count { passed: 1, failed: 0 }
    } else {
        Count { passed: 0, failed: 1 }
    })
}

fn stage_setup() -> Result<Count> {
    setup::run()?;
    Ok(Count { passed: 1, failed: 0 })
}

fn stage_format() -> Result<Count> {
    check(cargo().args(["fmt", "--all", "--check"]))
}

fn stage_lint() -> Result<Count> {
    check(cargo().args([
        "clippy",
        "--quiet",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Bans, licences and sources. Advisories need a database from the network: `cargo deny check` by hand.
fn stage_deny() -> Result<Count> {
    let tools = crate::target_dir().join("tools").join("cargo");
    let deny = tools.join("bin").join("cargo-deny");
    if !deny.is_file() {
        println!("installing cargo-deny");
        setup::quiet(
            cargo()
                .args([
                    "install",
                    "--quiet",
                    "--locked",
                    "--debug",
                    "cargo-deny",
                    "--root",
                ])
                .arg(&tools)
                .env("CARGO_TARGET_DIR", tools.join("build"))
                .env("CARGO_PROFILE_DEV_DEBUG", "0"),
        )?;
        std::fs::remove_dir_all(tools.join("build")).ok();
    }
    // The check reads the manifests of every platform's crates, more than a build downloads.
    setup::quiet(cargo().args(["fetch", "--quiet", "--locked"]))?;
    check(Command::new(deny).current_dir(crate::root()).args([
        "--log-level",
        "error",
        "--offline",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}

fn stage_test() -> Result<Count> {
    let tools = setup::run()?;
    let mut command = cargo();
    command.args(["test", "--release", "--workspace", "--no-fail-fast"]);
    command.env("TRIMTAB_TEST_PYTHON", &tools.python);
    command.env("TRIMTAB_TEST_NODE", &tools.node);
    counted(&mut command)
}

/// The demo's service is a package of its own, as a user's would be.
fn stage_example() -> Result<Count> {
    let mut command = cargo();
    command.args([
        "test",
        "--offline",
        "--locked",
        "--manifest-path",
        "examples/blocks/Cargo.toml",
    ]);
    command.env("CARGO_TARGET_DIR", crate::target_dir().join("examples"));
    counted(&mut command)
}

/// Runs a cargo test command, passes its lines on, and adds up its `test result:` lines.
fn counted(command: &mut Command) -> Result<Count> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {command:?}"))?;
    let mut count = Count::default();
    let mut failures = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if let Some(counts) = line.strip_prefix("test result: ") {
                count.passed += number_before(counts, " passed");
                count.failed += number_before(counts, " failed");
            }
            if line.starts_with("test ") && line.ends_with("FAILED") {
                failures.push(line.clone());
            }
            if !line.ends_with("... ok") && !line.is_empty() {
                println!("{line}");
            }
        }
    }
    let status = child.wait()?;
    for failure in &failures {
        println!("{failure}");
    }
    if !status.success() && count.failed == 0 {
        // The build failed or a test binary died without a result line.
        count.failed += 1;
    }
    Ok(count)
}

fn number_before(text: &str, word: &str) -> u64 {
    text.split(word)
        .next()
        .and_then(|before| before.rsplit([' ', ';']).next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}
