//! Real git repositories.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use trimtab_runner::{CheckoutError, checkout, checkout_keeping};

fn git(dir: &Path, args: &[&str]) -> String {
    let identity = [
        "-c",
        "user.name=Ada",
        "-c",
        "user.email=ada@example.org",
        "-c",
        "init.defaultBranch=main",
    ];
    let output = Command::new("git")
        .args(identity)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A bare repository with two commits on main; their hashes.
fn repository(dir: &TempDir) -> (PathBuf, String, String) {
    let (work, bare) = (dir.path().join("work"), dir.path().join("origin.git"));
    fs::create_dir(&work).unwrap();
    git(&work, &["init", "-q"]);
    fs::create_dir(work.join("src")).unwrap();
    fs::write(work.join("src/old.rs"), "old").unwrap();
    fs::write(work.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(work.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "-qm", "First\n\nbody"]);
    let first = git(&work, &["rev-parse", "HEAD"]);
    fs::remove_file(work.join("src/old.rs")).unwrap();
    fs::write(work.join("new.rs"), "new").unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-qm", "Second"]);
    let second = git(&work, &["rev-parse", "HEAD"]);
    git(dir.path(), &["clone", "-q", "--bare", "work", "origin.git"]);
    (bare, first, second)
}

fn files(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                names.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    names.sort();
    names
}

#[tokio::test]
async fn a_commit_is_laid_out_and_replaced_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let (bare, first, second) = repository(&dir);
    let into = dir.path().join("checkouts/blocks");
    let out = checkout(&bare, &first, &into).await.unwrap();
    assert_eq!(
        (out.commit.as_str(), out.title.as_str()),
        (first.as_str(), "First")
    );
    assert_eq!(out.author, "Ada <ada@example.org>");
    assert!(out.committed_at.0 > 0);
    assert_eq!(files(&into), ["run.sh", "src/old.rs"]);
    let before = fs::metadata(into.join("run.sh")).unwrap();
    assert_eq!(before.permissions().mode() & 0o111, 0o111);

    // What a build left goes, what it spoilt is mended, what is the same keeps its time.
    fs::create_dir(into.join("target")).unwrap();
    fs::write(into.join("target/cache"), "").unwrap();
    fs::write(into.join("src/old.rs"), "spoilt, and longer").unwrap();
    checkout_keeping(&bare, &first, &into, &["/target"])
        .await
        .unwrap();
    assert_eq!(fs::read_to_string(into.join("src/old.rs")).unwrap(), "old");
    assert_eq!(files(&into), ["run.sh", "src/old.rs", "target/cache"]);
    let out = checkout(&bare, "main", &into).await.unwrap();
    assert_eq!(out.commit, second);
    assert_eq!(files(&into), ["new.rs", "run.sh"]);
    let after = fs::metadata(into.join("run.sh")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert_eq!(checkout(&bare, &first[..10], &into).await.unwrap().commit, first);
}

#[tokio::test]
async fn hooks_and_settings_of_the_repository_do_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let (bare, first, _) = repository(&dir);
    let mark = dir.path().join("ran");
    let script = format!("#!/bin/sh\ntouch {}\n", mark.display());
    for hook in ["post-checkout", "post-index-change", "fsmonitor"] {
        let path = bare.join("hooks").join(hook);
        fs::create_dir_all(bare.join("hooks")).unwrap();
        fs::write(&path, &script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    git(
        &bare,
        &[
            "config",
            "core.fsmonitor",
            bare.join("hooks/fsmonitor").to_str().unwrap(),
        ],
    );
    checkout(&bare, &first, &dir.path().join("out")).await.unwrap();
    assert!(!mark.exists());
    assert!(
        !bare.join("index").exists(),
        "the repository itself is left as it was"
    );
}

#[tokio::test]
async fn what_cannot_be_checked_out_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let (bare, _, _) = repository(&dir);
    let into = dir.path().join("out");
    let error = checkout(&bare, "--upload-pack=touch x", &into).await.unwrap_err();
    assert!(matches!(error, CheckoutError::BadCommit(_)), "{error}");
    let error = checkout(&bare, "0123456789", &into).await.unwrap_err();
    assert!(
        matches!(error, CheckoutError::NoCommit { .. }) && error.to_string().contains("push it first"),
        "{error}"
    );
    let error = checkout(dir.path(), "main", &into).await.unwrap_err();
    assert!(error.to_string().contains("repositories"), "{error}");
}
