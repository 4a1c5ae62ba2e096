//! The service's repository: a bare one that plays the forge, and a working copy that plays the developers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::way::Way;

/// Both of them, and the change that breaks the service.
pub(super) struct Repository {
    bare: PathBuf,
    work: PathBuf,
    examples: PathBuf,
    way: Way,
}

impl Repository {
    /// Makes them in `root`, with the example on a branch that is not yet committed.
    pub(super) async fn make(root: &Path, way: Way) -> Result<Self> {
        let example = example()?;
        let made = Self {
            bare: root.join("blocks.git"),
            work: root.join("work"),
            examples: example.with_file_name(""),
            way,
        };
        std::fs::create_dir_all(&made.work)?;
        git(root, &["init", "-q", "--bare", "-b", "main", "blocks.git"]).await?;
        git(&made.work, &["init", "-q", "-b", "main"]).await?;
        git(&made.work, &["remote", "add", "origin", "../blocks.git"]).await?;
        git(&made.work, &["commit", "-q", "--allow-empty", "-m", "Begin"]).await?;
        git(&made.work, &["push", "-q", "origin", "main"]).await?;
        Ok(made)
    }

    pub(super) fn bare(&self) -> &Path {
        &self.bare
    }

    /// Has every push told to the server, as a repository on a server of one's own would.
    pub(super) fn tell(&self, url: &str, token: &str) -> Result<()> {
        crate::commands::hook::install(&self.bare, "blocks", url, Some(token)).map(drop)
    }

    /// The whole example on a branch; returns the commit.
    pub(super) async fn begin(&self, branch: &str, title: &str) -> Result<String> {
        git(&self.work, &["checkout", "-q", "-b", branch]).await?;
        copy(&example()?, &self.work)?;
        self.set_up(Way::of_good)?;
        if let Some(preparation) = self.way.preparation() {
            self.apply(preparation).await?;
        }
        self.commit(branch, title).await
    }

    /// The change that breaks the service, on a branch of its own; returns the commit.
    pub(super) async fn regress(&self, branch: &str, title: &str) -> Result<String> {
        git(&self.work, &["checkout", "-q", "-b", branch]).await?;
        self.apply(self.way.patch()).await?;
        self.set_up(Way::of_bad)?;
        self.commit(branch, title).await
    }

    async fn apply(&self, patch: &str) -> Result<()> {
        let patch = self.examples.join(patch);
        git(&self.work, &["apply", &patch.to_string_lossy()])
            .await
            .map(drop)
    }

    fn set_up(&self, text: impl Fn(Way, &str) -> Result<String>) -> Result<()> {
        let file = self.work.join("trimtab.yaml");
        let before = std::fs::read_to_string(&file)?;
        Ok(std::fs::write(&file, text(self.way, &before)?)?)
    }

    async fn commit(&self, branch: &str, title: &str) -> Result<String> {
        git(&self.work, &["add", "-A"]).await?;
        git(&self.work, &["commit", "-q", "-m", title]).await?;
        git(&self.work, &["push", "-q", "origin", branch]).await?;
        git(&self.work, &["rev-parse", "HEAD"]).await
    }

    /// Merges a branch to main; returns the commit of main.
    pub(super) async fn merge(&self, branch: &str) -> Result<String> {
        git(&self.work, &["checkout", "-q", "main"]).await?;
        let message = format!("Merge {branch}");
        git(&self.work, &["merge", "-q", "--no-ff", "-m", &message, branch]).await?;
        git(&self.work, &["push", "-q", "origin", "main"]).await?;
        git(&self.work, &["rev-parse", "HEAD"]).await
    }
}

/// What the story needs from the machine, told before anything is made.
pub(super) async fn check() -> Result<()> {
    example()?;
    for (program, mend) in [
        ("git", "install it, on Debian: apt-get install git"),
        (
            "cargo",
            "the demo builds its service from source: install Rust from https://rustup.rs",
        ),
    ] {
        let found = Command::new(program).arg("--version").output().await;
        if !found.is_ok_and(|output| output.status.success()) {
            bail!("failed to find {program}, which the demo needs\n  {mend}");
        }
    }
    Ok(())
}

fn example() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    here.ancestors()
        .map(|folder| folder.join("examples/blocks"))
        .find(|folder| folder.join("trimtab.yaml").is_file())
        .with_context(|| {
            format!(
                "failed to find examples/blocks from {}\n  run the demo inside a checkout of Trimtab",
                here.display()
            )
        })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            std::fs::copy(entry.path(), target)?;
        } else if entry.file_name() != "target" && entry.file_name() != ".git" {
            copy(&entry.path(), &target)?;
        }
    }
    Ok(())
}

async fn git(dir: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(["-c", "user.name=dev", "-c", "user.email=dev@example.com"])
        .args(["-c", "commit.gpgsign=false"])
        .args(words)
        .current_dir(dir)
        .env("TRIMTAB_ACTOR", "dev")
        .output()
        .await
        .context("failed to run git")?;
    if !output.status.success() {
        bail!(
            "failed to run git {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use clap::ValueEnum as _;

    use super::*;

    #[tokio::test]
    async fn each_strategy_has_a_good_commit_and_one_with_the_fault() {
        for way in Way::value_variants() {
            let root = tempfile::tempdir().unwrap();
            let repository = Repository::make(root.path(), *way).await.unwrap();
            let good = repository.begin("good", "Good").await.unwrap();
            repository.merge("good").await.unwrap();
            let bad = repository.regress("bad", "Bad").await.unwrap();
            assert_ne!(good, bad);
            let changed = git(&root.path().join("work"), &["diff", "--stat", &good, &bad]).await;
            assert!(changed.unwrap().contains("src/crdt.rs"), "{way:?}");
        }
    }
}
