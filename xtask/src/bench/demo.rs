//! The demo's whole story in each strategy, as a newcomer sees it after the build.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Figures;

/// Builds the program, then plays the stories, each in a folder of its own. Their lines go to standard error.
pub(crate) fn run() -> Result<Figures> {
    let build = Command::new("cargo")
        .current_dir(crate::root())
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--package",
            "trimtab",
        ])
        .status()
        .context("failed to start cargo")?;
    if !build.success() {
        bail!("failed to build trimtab");
    }
    let mut figures = story("blue-green")?;
    for strategy in ["canary", "rolling", "flag"] {
        let told = story(strategy)?;
        let named = told.into_iter().map(|(name, value)| {
            let rest = name.strip_prefix("demo_").unwrap_or(&name).to_owned();
            (format!("demo_{strategy}_{rest}"), value)
        });
        figures.extend(named);
    }
    Ok(figures)
}

fn story(strategy: &str) -> Result<Figures> {
    let program = crate::target_dir().join("release").join("trimtab");
    let dir = std::env::temp_dir().join(format!("trimtab-bench-{}", std::process::id()));
    let told = Command::new(program)
        .current_dir(crate::root())
        .args([
            "demo",
            "--exit",
            "--strategy",
            strategy,
            "--output",
            "json",
            "--dir",
        ])
        .arg(&dir)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("failed to start the demo")?;
    std::fs::remove_dir_all(&dir).ok();
    if !told.status.success() {
        bail!(
            "the {strategy} demo ended with {}: the bad release was not rolled back, or the good one does not serve",
            told.status
        );
    }
    serde_json::from_slice(&told.stdout).context("failed to read the demo's figures")
}
