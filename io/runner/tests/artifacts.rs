//! Artifacts on a real disk.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use trimtab_model::{Digest, RunId, ServiceName, Timestamp};
use trimtab_runner::{ArtifactError, ArtifactLimits, Artifacts, PROVENANCE_VERSION, Provenance, StepResult};

fn provenance() -> Provenance {
    Provenance {
        version: PROVENANCE_VERSION,
        service: ServiceName::new("blocks").unwrap(),
        run: RunId::new("run-3").unwrap(),
        commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        title: "First".to_owned(),
        author: "Ada <ada@example.org>".to_owned(),
        paths: vec!["bin".to_owned()],
        inputs: BTreeMap::from([("Cargo.lock".to_owned(), "sha256:1".to_owned())]),
        steps: vec![StepResult {
            name: "unit".to_owned(),
            command: "cargo test".to_owned(),
            passed: true,
            end: "passed".to_owned(),
            millis: 1200,
        }],
        built_at: Timestamp(5),
    }
}

fn build(root: &Path) {
    fs::create_dir_all(root.join("bin/plugins/empty")).unwrap();
    fs::write(root.join("bin/server"), "program").unwrap();
    fs::set_permissions(root.join("bin/server"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(root.join("bin/plugins/a.txt"), vec![b'a'; 100_000]).unwrap();
    fs::write(root.join("notes"), "not packed").unwrap();
    let _ = symlink("plugins/a.txt", root.join("bin/link"));
}

fn house() -> (TempDir, Artifacts) {
    let dir = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(dir.path().join("artifacts")).unwrap();
    build(&dir.path().join("one"));
    (dir, artifacts)
}

fn paths(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[tokio::test]
async fn the_same_files_give_the_same_digest_and_come_back() {
    let (dir, artifacts) = house();
    let one = artifacts
        .pack(&dir.path().join("one"), &paths(&["bin"]), &provenance())
        .await
        .unwrap();
    // Another folder, another time, another order, an overlap: the same artifact.
    build(&dir.path().join("two"));
    let again = paths(&["./bin/server", "bin", "bin/plugins"]);
    let two = artifacts
        .pack(&dir.path().join("two"), &again, &provenance())
        .await
        .unwrap();
    assert_eq!(one, two);
    assert_eq!(artifacts.list().unwrap(), std::slice::from_ref(&one));
    assert_eq!(artifacts.provenance(&one.digest).unwrap(), provenance());

    let into = dir.path().join("releases/blocks-r1");
    let unpacked = artifacts.unpack(&one.digest, &into).await.unwrap();
    assert_eq!((unpacked.entries, unpacked.bytes), (6, 100_007));
    assert_eq!(fs::read_to_string(into.join("bin/server")).unwrap(), "program");
    assert_eq!(
        fs::metadata(into.join("bin/server"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o755
    );
    assert_eq!(
        fs::read_link(into.join("bin/link")).unwrap(),
        Path::new("plugins/a.txt")
    );
    assert!(into.join("bin/plugins/empty").is_dir() && !into.join("notes").exists());
    // Unpacked once more it is left alone.
    fs::write(into.join("bin/state"), "").unwrap();
    assert_eq!(artifacts.unpack(&one.digest, &into).await.unwrap().entries, 0);
    assert!(into.join("bin/state").exists());

    fs::write(dir.path().join("two/bin/server"), "changed").unwrap();
    let three = artifacts
        .pack(&dir.path().join("two"), &paths(&["bin"]), &provenance())
        .await
        .unwrap();
    assert_ne!(three.digest, one.digest);
    assert!(artifacts.remove(&one.digest).unwrap());
    assert!(!artifacts.remove(&one.digest).unwrap());
    let error = artifacts
        .unpack(&one.digest, &dir.path().join("x"))
        .await
        .unwrap_err();
    assert!(matches!(error, ArtifactError::Missing(_)), "{error}");
    assert_eq!(
        fs::read_dir(dir.path().join("artifacts")).unwrap().count(),
        2,
        "one archive, one provenance"
    );
}

#[tokio::test]
async fn damage_is_noticed_before_a_file_is_written() {
    let (dir, artifacts) = house();
    let digest = artifacts
        .pack(&dir.path().join("one"), &paths(&["bin"]), &provenance())
        .await
        .unwrap()
        .digest;
    let archive = dir.path().join(format!("artifacts/{digest}.tar.zst"));
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let into = dir.path().join("out");
    let error = artifacts.unpack(&digest, &into).await.unwrap_err();
    assert!(
        matches!(error, ArtifactError::Damaged { .. })
            && error.to_string().contains("build the commit again")
    );
    assert!(!into.exists());
    let crooked = Digest("../../etc/passwd".to_owned());
    assert!(matches!(
        artifacts.unpack(&crooked, &into).await,
        Err(ArtifactError::Missing(_))
    ));
    assert!(!artifacts.remove(&crooked).unwrap());
}

#[tokio::test]
async fn what_leads_out_is_not_packed() {
    let (dir, artifacts) = house();
    let root = dir.path().join("one");
    symlink("/etc", root.join("etc")).unwrap();
    fs::create_dir(root.join("links")).unwrap();
    symlink("../../secret", root.join("links/out")).unwrap();
    for path in [
        "../two",
        "/etc/passwd",
        "etc/passwd",
        "etc",
        "links",
        "bin/../../x",
    ] {
        let error = artifacts
            .pack(&root, &paths(&[path]), &provenance())
            .await
            .unwrap_err();
        assert!(matches!(error, ArtifactError::Refused { .. }), "{path}: {error}");
    }
    let error = artifacts
        .pack(&root, &paths(&["target/debug/x"]), &provenance())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("pipeline.artifact.paths"), "{error}");
    let small = artifacts.clone().with_limits(ArtifactLimits {
        entries_max: 3,
        bytes_max: 1_000_000,
    });
    assert!(matches!(
        small.pack(&root, &paths(&["bin"]), &provenance()).await,
        Err(ArtifactError::Refused { .. })
    ));
    let small = artifacts.clone().with_limits(ArtifactLimits {
        entries_max: 30,
        bytes_max: 1_000,
    });
    assert!(matches!(
        small.pack(&root, &paths(&["bin"]), &provenance()).await,
        Err(ArtifactError::Refused { .. })
    ));
    assert_eq!(
        fs::read_dir(dir.path().join("artifacts")).unwrap().count(),
        0,
        "nothing half written stays"
    );
}

/// Stores an archive made by someone else.
fn smuggle(dir: &TempDir, make: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Digest {
    let mut builder = tar::Builder::new(Vec::new());
    make(&mut builder);
    let bytes = zstd::encode_all(builder.into_inner().unwrap().as_slice(), 3).unwrap();
    let digest = Digest(hex::encode(Sha256::digest(&bytes)));
    fs::write(dir.path().join(format!("artifacts/{digest}.tar.zst")), bytes).unwrap();
    digest
}

fn header(kind: tar::EntryType, name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    // Past the crate's own checks of names.
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header
}

#[tokio::test]
async fn crooked_archives_stay_in_their_folder() {
    use tar::EntryType::{Char, Directory, Link, Regular, Symlink};
    let (dir, artifacts) = house();
    let file = |name: &'static str| {
        move |builder: &mut tar::Builder<Vec<u8>>| {
            builder
                .append(&header(Regular, name, 1), b"x".as_slice())
                .unwrap()
        }
    };
    let link = |kind, name: &'static str, target: &'static str| {
        move |builder: &mut tar::Builder<Vec<u8>>| {
            let mut header = header(kind, name, 0);
            header.set_link_name_literal(target).unwrap();
            header.set_cksum();
            builder.append(&header, std::io::empty()).unwrap();
        }
    };
    let mut digests = vec![
        smuggle(&dir, file("../escaped")),
        smuggle(&dir, file("/tmp/trimtab-escaped")),
        smuggle(&dir, link(Symlink, "l", "/etc")),
        smuggle(&dir, link(Symlink, "a/l", "../../x")),
        smuggle(&dir, link(Link, "l", "../one/notes")),
        smuggle(&dir, link(Char, "device", "")),
    ];
    digests.push(smuggle(&dir, |builder| {
        link(Symlink, "l", "d")(builder);
        file("l/x")(builder);
    }));
    digests.push(smuggle(&dir, |builder| {
        builder
            .append(&header(Directory, "d", 0), std::io::empty())
            .unwrap();
        link(Symlink, "d/up", "..")(builder);
        link(Symlink, "out", "d/up/../..")(builder);
    }));
    for digest in &digests {
        let error = artifacts
            .unpack(digest, &dir.path().join("out"))
            .await
            .unwrap_err();
        assert!(matches!(error, ArtifactError::Refused { .. }), "{error}");
    }
    // A second entry of a name doesn't write through the first.
    let twice = smuggle(&dir, |builder| {
        link(Symlink, "l", "x")(builder);
        file("l")(builder);
    });
    assert!(artifacts.unpack(&twice, &dir.path().join("out")).await.is_err());
    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "only the store and the sources: {left:?}");
    assert!(!Path::new("/tmp/trimtab-escaped").exists());
}

#[tokio::test]
async fn bombs_are_bounded() {
    let (dir, artifacts) = house();
    let artifacts = artifacts.with_limits(ArtifactLimits {
        entries_max: 50,
        bytes_max: 1_000_000,
    });
    let large = smuggle(&dir, |builder| {
        builder
            .append(
                &header(tar::EntryType::Regular, "zeros", 50_000_000),
                std::io::Read::take(std::io::repeat(0), 50_000_000),
            )
            .unwrap();
    });
    let many = smuggle(&dir, |builder| {
        for number in 0..60 {
            builder
                .append(
                    &header(tar::EntryType::Regular, &format!("f{number}"), 0),
                    std::io::empty(),
                )
                .unwrap();
        }
    });
    for digest in [large, many] {
        let error = artifacts
            .unpack(&digest, &dir.path().join("out"))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("too many"), "{error}");
    }
    assert!(!dir.path().join("out").exists());
}

#[tokio::test]
async fn a_full_disk_is_named_with_its_free_space() {
    let dir = tempfile::tempdir().unwrap();
    build(&dir.path().join("one"));
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
        .take(400_000)
        .collect();
    fs::write(dir.path().join("one/bin/noise"), noise).unwrap();
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=128k", "trimtab-test"];
    let mounted = std::process::Command::new("mount")
        .args(mount)
        .arg(&small)
        .output()
        .unwrap()
        .status
        .success();
    if !mounted {
        // Only root can make a disk that small; how the error reads is tested in the crate.
        return;
    }
    let artifacts = Artifacts::open(small.join("artifacts")).unwrap();
    let packed = artifacts
        .pack(&dir.path().join("one"), &paths(&["bin"]), &provenance())
        .await;
    let left = fs::read_dir(small.join("artifacts")).unwrap().count();
    std::process::Command::new("umount").arg(&small).output().unwrap();
    let error = packed.unwrap_err();
    assert!(matches!(error, ArtifactError::DiskFull { .. }), "{error}");
    assert!(
        error.to_string().contains("the disk is full") && error.to_string().contains("bytes free"),
        "{error}"
    );
    assert_eq!(left, 0, "what was written of it is deleted again");
}
