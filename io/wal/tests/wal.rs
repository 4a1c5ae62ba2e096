//! The log as its users see it: what was acknowledged comes back, whatever happened to the files.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use trimtab_wal::{Wal, WalConfig, WalError};

type Texts = Arc<Mutex<Vec<String>>>;
type TextWal = Wal<String, usize>;

fn open_with(dir: &Path, config: WalConfig) -> Result<(TextWal, Texts), WalError> {
    let texts = Texts::default();
    let (replayed, applied) = (texts.clone(), texts.clone());
    let wal = Wal::open(
        dir,
        config,
        move |_, entry| {
            let text = std::str::from_utf8(entry).map_err(|error| error.to_string())?;
            replayed.lock().unwrap().push(text.to_owned());
            Ok(())
        },
        move |text: String| {
            let mut applied = applied.lock().unwrap();
            applied.push(text);
            applied.len()
        },
    )?;
    Ok((wal, texts))
}

fn open(dir: &Path) -> Result<(TextWal, Texts), WalError> {
    open_with(dir, WalConfig::default())
}

async fn append(wal: &TextWal, text: &str) -> Result<usize, WalError> {
    wal.append(text.as_bytes().to_vec(), text.to_owned()).await
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "wal"))
        .collect();
    paths.sort();
    paths
}

fn texts_after_reopening(dir: &Path) -> Vec<String> {
    let (_wal, texts) = open(dir).unwrap();
    let texts = texts.lock().unwrap();
    texts.clone()
}

#[tokio::test]
async fn what_was_acknowledged_comes_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, texts) = open(dir.path()).unwrap();
    for n in 0..20 {
        assert_eq!(append(&wal, &format!("entry {n}")).await.unwrap(), n + 1);
    }
    let before = texts.lock().unwrap().clone();
    drop(wal);
    assert_eq!(texts_after_reopening(dir.path()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_appenders_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, texts) = open(dir.path()).unwrap();
    let wal = Arc::new(wal);
    let appends: Vec<_> = (0..400)
        .map(|n| {
            let wal = wal.clone();
            tokio::spawn(async move { append(&wal, &n.to_string()).await.unwrap() })
        })
        .collect();
    for one in appends {
        one.await.unwrap();
    }
    assert_eq!(texts.lock().unwrap().len(), 400);
    assert!(wal.stats().groups < 400, "{:?}", wal.stats());
}

#[tokio::test]
async fn the_torn_end_of_a_crash_is_cut_and_nothing_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = open(dir.path()).unwrap();
    append(&wal, "kept").await.unwrap();
    let kept_bytes = fs::metadata(&segments(dir.path())[0]).unwrap().len();
    append(&wal, "torn at every byte").await.unwrap();
    drop(wal);
    let path = segments(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    for length in kept_bytes as usize..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(texts_after_reopening(dir.path()), ["kept"], "cut at {length}");
    }
    // A file that grew before its bytes came holds zeros.
    let mut zeros = whole[..kept_bytes as usize].to_vec();
    zeros.resize(whole.len() + 4096, 0);
    fs::write(&path, zeros).unwrap();
    let (wal, _) = open(dir.path()).unwrap();
    append(&wal, "after").await.unwrap();
    drop(wal);
    assert_eq!(texts_after_reopening(dir.path()), ["kept", "after"]);
}

#[tokio::test]
async fn a_segment_that_was_never_finished_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = open(dir.path()).unwrap();
    append(&wal, "kept").await.unwrap();
    drop(wal);
    fs::write(dir.path().join("00000000000000000001.wal"), b"TRIM").unwrap();
    let (wal, texts) = open(dir.path()).unwrap();
    assert_eq!(*texts.lock().unwrap(), ["kept"]);
    append(&wal, "more").await.unwrap();
    drop(wal);
    assert_eq!(texts_after_reopening(dir.path()), ["kept", "more"]);
}

/// Damage in the middle names file and offset, and the way out that it names works.
#[tokio::test]
async fn damage_in_the_middle_is_an_error_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = open(dir.path()).unwrap();
    append(&wal, "first").await.unwrap();
    let offset = fs::metadata(&segments(dir.path())[0]).unwrap().len();
    append(&wal, "second").await.unwrap();
    append(&wal, "third").await.unwrap();
    drop(wal);
    let path = segments(dir.path()).remove(0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // Both a frame's header and its payload.
    for damaged_at in [offset + 5, offset + 30] {
        let whole = fs::read(&path).unwrap();
        file.write_all_at(&[0xAA, 0x55], damaged_at).unwrap();
        let error = open(dir.path()).map(|_| ()).unwrap_err();
        let WalError::Corrupt {
            path: named,
            offset: at,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((named, *at), (&path, offset));
        let way_out = format!("truncate -s {offset} {}", path.display());
        assert!(error.to_string().contains(&way_out), "{error}");
        let status = Command::new("sh").args(["-c", &way_out]).status().unwrap();
        assert!(status.success());
        assert_eq!(texts_after_reopening(dir.path()), ["first"]);
        fs::write(&path, &whole).unwrap();
    }
}

#[tokio::test]
async fn damage_before_the_last_segment_is_never_taken_for_a_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    let config = WalConfig {
        segment_bytes_max: 64,
        ..WalConfig::default()
    };
    let (wal, _) = open_with(dir.path(), config).unwrap();
    for n in 0..4 {
        append(&wal, &format!("a longer entry, number {n}"))
            .await
            .unwrap();
    }
    drop(wal);
    let path = segments(dir.path()).remove(0);
    let bytes = fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(bytes - 1).unwrap();
    assert!(matches!(
        open(dir.path()).map(|_| ()),
        Err(WalError::Corrupt { .. })
    ));
    file.set_len(32).unwrap();
    assert_eq!(
        texts_after_reopening(dir.path()).first().unwrap(),
        "a longer entry, number 1"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_drops_exactly_what_came_before_its_boundary() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, texts) = open(dir.path()).unwrap();
    let wal = Arc::new(wal);
    append(&wal, "before").await.unwrap();
    let (at_boundary, rotating) = (texts.clone(), wal.clone());
    let flushed = Texts::default();
    let taken = flushed.clone();
    let checkpoint = tokio::task::spawn_blocking(move || {
        rotating.rotate(move |_| {
            *taken.lock().unwrap() = std::mem::take(&mut *at_boundary.lock().unwrap());
        })
    })
    .await
    .unwrap()
    .unwrap();
    assert_eq!(*flushed.lock().unwrap(), ["before"]);
    append(&wal, "after").await.unwrap();
    let discarding = wal.clone();
    tokio::task::spawn_blocking(move || discarding.discard_before(checkpoint))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(wal.stats().segments, 1);
    drop(wal);
    assert_eq!(texts_after_reopening(dir.path()), ["after"]);
}

#[tokio::test]
async fn a_folder_has_one_log_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = open(dir.path()).unwrap();
    assert!(matches!(
        open(dir.path()).map(|_| ()),
        Err(WalError::Locked { .. })
    ));
    drop(wal);
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn too_large_an_entry_and_a_newer_version_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = WalConfig {
        entry_bytes_max: 10,
        ..WalConfig::default()
    };
    let (wal, _) = open_with(dir.path(), config).unwrap();
    assert!(matches!(
        append(&wal, "eleven byte").await,
        Err(WalError::TooLarge { bytes: 11, max: 10 })
    ));
    assert_eq!(wal.stats().refused, 1);
    drop(wal);
    let path = segments(dir.path()).remove(0);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[9], 8).unwrap();
    let error = open(dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, WalError::Version { version: 9, .. }), "{error}");
}

const CHILD: &str = "TRIMTAB_WAL_CHILD_DIR";

/// A full disk, played by the limit on file sizes: the signal that comes with it is ignored by the
/// shell that starts the child, and the child lifts the limit again.
#[test]
fn a_full_disk_is_a_clear_error_and_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; exec \"$0\" child_with_little_space --exact --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    let acknowledged: Vec<String> = said
        .lines()
        .filter_map(|line| line.strip_prefix("acknowledged "))
        .map(str::to_owned)
        .collect();
    assert!(acknowledged.contains(&"after".to_owned()), "{said}");
    assert!(
        said.contains("no space is left") && said.contains(".wal"),
        "{said}"
    );
    let stored: Vec<String> = texts_after_reopening(dir.path())
        .iter()
        .map(|text| text.trim_end_matches('.').to_owned())
        .collect();
    assert_eq!(stored, acknowledged);
}

#[tokio::test]
async fn child_with_little_space() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let all = getrlimit(Resource::Fsize);
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(4096),
            maximum: all.maximum,
        },
    )
    .unwrap();
    let (wal, _) = open(Path::new(&dir)).unwrap();
    let mut refused = 0;
    for n in 0..20 {
        let text = format!("{n}{}", ".".repeat(500));
        match append(&wal, &text).await {
            Ok(_) => println!("\nacknowledged {n}"),
            Err(error) => {
                refused += 1;
                println!("\nrefused: {error}");
            }
        }
    }
    assert!(refused > 5 && wal.stats().failing);
    setrlimit(Resource::Fsize, all).unwrap();
    append(&wal, "after").await.unwrap();
    println!("\nacknowledged after");
    assert!(!wal.stats().failing);
}
