//! The folder the story plays in: a repository, a data folder, a server's configuration.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// Where everything of one demo lies.
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) data: PathBuf,
    work: PathBuf,
    patch: PathBuf,
    listen: u16,
    pub(super) traffic: u16,
}

impl Place {
    pub(super) async fn make(dir: Option<PathBuf>, inbox: u16) -> Result<Place> {
        let example = example()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let root = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("trimtab-demo-{now}")));
        std::fs::create_dir_all(&root).with_context(|| format!("failed to make {}", root.display()))?;
        let root = root.canonicalize()?;
        let data = root.join("data");
        if data.exists() {
            bail!(
                "failed to begin: {} was used before (give an empty folder)",
                root.display()
            );
        }
        std::fs::create_dir(&data)?;
        let [listen, grpc, http, traffic] = free_ports()?;
        std::fs::write(data.join("secret"), "demo-secret-of-no-value\n")?;
        std::fs::write(data.join("slack"), format!("http://127.0.0.1:{inbox}/slack\n"))?;
        let configuration = format!(
            "listen: 127.0.0.1:{listen}\notlp_grpc: 127.0.0.1:{grpc}\notlp_http: 127.0.0.1:{http}\n\
             traffic: 127.0.0.1:{traffic}\nrepositories:\n  - {{service: blocks, path: {repository:?}, branch: main}}\n\
             notify:\n  slack: {{webhook: {{file: {slack:?}}}}}\n  \
             sms: {{base_url: \"http://127.0.0.1:{inbox}\", account: demo, token: {{file: {secret:?}}}, \
             from: \"+10000000000\", to: [\"+10000000001\"]}}\n  \
             webhook: {{url: \"http://127.0.0.1:{inbox}/webhook\", secret: {{file: {secret:?}}}}}\n",
            repository = root.join("blocks.git"),
            slack = data.join("slack"),
            secret = data.join("secret"),
        );
        std::fs::write(data.join("trimtab-server.yaml"), configuration)?;
        let place = Place {
            work: root.join("work"),
            patch: example.with_file_name("blocks-regression.patch"),
            root,
            data,
            listen,
            traffic,
        };
        place.repository(&example).await?;
        Ok(place)
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.listen)
    }

    /// Has the bare repository tell the server of each push, as a forge would.
    pub(super) fn tell_of_pushes(&self, token: &str) -> Result<()> {
        crate::commands::hook::install(&self.root.join("blocks.git"), "blocks", &self.url(), Some(token))?;
        Ok(())
    }

    async fn repository(&self, example: &Path) -> Result<()> {
        std::fs::create_dir_all(&self.work)?;
        git(&self.root, &["init", "-q", "--bare", "-b", "main", "blocks.git"]).await?;
        git(&self.work, &["init", "-q", "-b", "main"]).await?;
        git(&self.work, &["remote", "add", "origin", "../blocks.git"]).await?;
        git(&self.work, &["commit", "-q", "--allow-empty", "-m", "Begin"]).await?;
        git(&self.work, &["push", "-q", "origin", "main"]).await?;
        git(&self.work, &["checkout", "-q", "-b", "notebook"]).await?;
        copy(example, &self.work)
    }

    /// Commits what changed on a branch and pushes it; returns the commit.
    pub(super) async fn commit(&self, branch: &str, title: &str) -> Result<String> {
        git(&self.work, &["add", "-A"]).await?;
        git(&self.work, &["commit", "-q", "-m", title]).await?;
        git(&self.work, &["push", "-q", "origin", branch]).await?;
        git(&self.work, &["rev-parse", "HEAD"]).await
    }

    /// Merges a branch to main; returns the commit of main.
    pub(super) async fn merge(&self, branch: &str) -> Result<String> {
        git(&self.work, &["checkout", "-q", "main"]).await?;
        git(
            &self.work,
            &["merge", "-q", "--no-ff", "-m", &format!("Merge {branch}"), branch],
        )
        .await?;
        git(&self.work, &["push", "-q", "origin", "main"]).await?;
        git(&self.work, &["rev-parse", "HEAD"]).await
    }

    /// The change that breaks the service, on a branch of its own.
    pub(super) async fn regress(&self, branch: &str) -> Result<()> {
        git(&self.work, &["checkout", "-q", "-b", branch]).await?;
        git(&self.work, &["apply", &self.patch.to_string_lossy()]).await?;
        Ok(())
    }
}

fn example() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    here.ancestors()
        .map(|folder| folder.join("examples/blocks"))
        .find(|folder| folder.join("trimtab.yaml").is_file())
        .with_context(|| {
            format!(
                "failed to find examples/blocks from {} (run the demo inside Trimtab's checkout)",
                here.display()
            )
        })
}

/// Ports that were free a moment ago.
fn free_ports() -> Result<[u16; 4]> {
    let mut held = Vec::new();
    let mut ports = [0; 4];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
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
        .args(["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"])
        .args(words)
        .env("TRIMTAB_ACTOR", "dev")
        .current_dir(dir)
        .output()
        .await
        .context("failed to run git (is it installed?)")?;
    if !output.status.success() {
        bail!(
            "failed to run git {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
