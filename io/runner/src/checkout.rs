//! A commit of a local repository becomes a folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use trimtab_model::Timestamp;

/// Longest that one call of git may take.
const GIT_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest name of a branch or tag.
const REF_BYTES_MAX: usize = 200;
/// Git's words kept in an error.
const WORDS_MAX: usize = 2_000;

/// A commit laid out in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedOut {
    /// The commit, 40 hex digits.
    pub commit: String,
    /// First line of its message.
    pub title: String,
    /// Its author's name and address.
    pub author: String,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// Why a commit could not be checked out.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// Not a name git may be given.
    #[error("check out {0:?}: it is neither 7 to 40 hex digits nor the name of a branch or tag")]
    BadCommit(String),
    /// No such repository.
    #[error("check out from {0}: there is no git repository; correct `repositories` in trimtab-server.yaml")]
    NoRepository(PathBuf),
    /// No such commit.
    #[error("check out {commit:?} from {repository}: there is no such commit; push it first")]
    NoCommit {
        /// The repository.
        repository: PathBuf,
        /// The commit as given.
        commit: String,
    },
    /// Git is not there.
    #[error("run git: {0}; install git on the server")]
    NoGit(std::io::Error),
    /// Git failed.
    #[error("check out {commit:?} into {into}: `git {verb}` failed: {words}")]
    Git {
        /// The commit as given.
        commit: String,
        /// The folder.
        into: PathBuf,
        /// What git was asked.
        verb: String,
        /// What git said.
        words: String,
    },
    /// A folder cannot be made.
    #[error("make {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Lays `commit` (hex digits, or a branch or tag name) of the repository at `repository` out in the folder `into`,
/// which is made, or emptied of what the commit doesn't have. Files that are as the commit has them already keep their times,
/// so that a build in the same folder is quick. No hooks, submodules, filters or configuration of the user take part.
///
/// # Errors
/// When the commit's name is not allowed, the repository or commit is not there, or git fails; with git's words.
pub async fn checkout(repository: &Path, commit: &str, into: &Path) -> Result<CheckedOut, CheckoutError> {
    checkout_keeping(repository, commit, into, &[]).await
}

/// Like [`checkout`], leaving untracked files and folders named in `keep` (git-ignore patterns such as `/target`) where they
/// are: a build cache inside the folder.
///
/// # Errors
/// As [`checkout`].
pub async fn checkout_keeping(
    repository: &Path,
    commit: &str,
    into: &Path,
    keep: &[&str],
) -> Result<CheckedOut, CheckoutError> {
    if !is_allowed(commit) {
        return Err(CheckoutError::BadCommit(
            commit.chars().take(REF_BYTES_MAX).collect(),
        ));
    }
    let folder = |path: &Path| {
        let path = path.to_owned();
        move |source| CheckoutError::Folder { path, source }
    };
    std::fs::create_dir_all(into).map_err(folder(into))?;
    let absolute = |path: &Path| std::path::absolute(path).map_err(folder(path));
    let (repository, into) = (absolute(repository)?, absolute(into)?);
    let git = Git {
        repository: git_dir(&repository)?,
        commit: commit.to_owned(),
        into,
    };
    let wanted = format!("{commit}^{{commit}}");
    let found = git
        .run(&["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted])
        .await;
    let hash = match found {
        Ok(hash) => hash.trim().to_owned(),
        Err(CheckoutError::Git { .. }) => {
            return Err(CheckoutError::NoCommit {
                repository,
                commit: commit.to_owned(),
            });
        }
        Err(error) => return Err(error),
    };
    git.run(&["read-tree", "--reset", &hash]).await?;
    git.run(&["checkout-index", "--quiet", "--force", "--all", "--index"])
        .await?;
    let mut clean = vec!["clean", "-ffdxq"];
    clean.extend(keep.iter().flat_map(|pattern| ["-e", pattern]));
    git.run(&clean).await?;
    let shown = git
        .run(&[
            "show",
            "-s",
            "--format=%s%x00%an <%ae>%x00%ct",
            "--end-of-options",
            &hash,
        ])
        .await?;
    let mut parts = shown.trim_end().split('\0').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    Ok(CheckedOut {
        commit: hash,
        title: part(),
        author: part(),
        committed_at: Timestamp::from_seconds(part().parse().unwrap_or(0)),
    })
}

/// Whether git may be given the name: no options, ranges, paths or revision syntax.
fn is_allowed(commit: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    let begins = commit
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins && commit.len() <= REF_BYTES_MAX && commit.bytes().all(allowed) && !commit.contains("..")
}

/// The repository's git folder: itself when bare, else its `.git`.
fn git_dir(repository: &Path) -> Result<PathBuf, CheckoutError> {
    let candidates = [repository.join(".git"), repository.to_owned()];
    let is_one = |path: &PathBuf| path.join("HEAD").is_file() && path.join("objects").is_dir();
    let found = candidates.into_iter().find(is_one);
    found.ok_or_else(|| CheckoutError::NoRepository(repository.to_owned()))
}

struct Git {
    repository: PathBuf,
    commit: String,
    into: PathBuf,
}

impl Git {
    /// Runs git with no environment or configuration but ours.
    async fn run(&self, args: &[&str]) -> Result<String, CheckoutError> {
        // Beside the folder, so that the repository's own index is never touched and checkouts don't meet.
        let mut index = self.into.clone().into_os_string();
        index.push(".index");
        let mut command = Command::new("git");
        command
            .arg("--git-dir")
            .arg(&self.repository)
            .arg("--work-tree")
            .arg(&self.into);
        for setting in [
            "core.bare=false",
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.autocrlf=false",
            "core.attributesFile=/dev/null",
            "log.showSignature=false",
            "protocol.allow=never",
            "safe.directory=*",
        ] {
            command.args(["-c", setting]);
        }
        command.args(args).current_dir(&self.into).env_clear();
        command.env(
            "PATH",
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
        );
        command
            .env("LC_ALL", "C")
            .env("HOME", "/nonexistent")
            .env("GIT_INDEX_FILE", index);
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_LITERAL_PATHSPECS", "1");
        command.stdin(Stdio::null()).kill_on_drop(true);
        let failed = |words: String| CheckoutError::Git {
            commit: self.commit.clone(),
            into: self.into.clone(),
            verb: args[0].to_owned(),
            words,
        };
        let output = match tokio::time::timeout(GIT_TIMEOUT, command.output()).await {
            Err(_) => return Err(failed(format!("it took longer than {GIT_TIMEOUT:?}"))),
            Ok(Err(error)) => return Err(CheckoutError::NoGit(error)),
            Ok(Ok(output)) => output,
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(failed(words.trim().chars().take(WORDS_MAX).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_could_take_for_something_else_are_refused() {
        for good in [
            "main",
            "feature/x-1",
            "v1.2.3",
            "0123abc",
            "0123456789abcdef0123456789abcdef01234567",
        ] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "HEAD@{1}",
            "main:file",
            "a b",
            "a\n",
            "^a",
            "/etc",
            "main~1",
        ] {
            assert!(!is_allowed(bad), "{bad}");
        }
    }
}
