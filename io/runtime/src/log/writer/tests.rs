#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::Write;
use std::os::unix::fs::symlink;

use super::super::reader::{LogReader, last_lines};
use super::super::segment_path;
use super::*;

fn texts(dir: &Path) -> Vec<String> {
    last_lines(dir, 100)
        .unwrap()
        .into_iter()
        .map(|line| line.text)
        .collect()
}

fn write(writer: &mut LogWriter, line: &str) {
    writer.line(LogStreamKind::Stdout, line.as_bytes(), 0);
    writer.flush();
}

#[test]
fn half_a_record_of_a_crash_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(dir.path(), LogLimits::default()).unwrap();
    write(&mut writer, "one");
    let path = segment_path(dir.path(), 0);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&[b"2026-11-24T20:25:04.000Z stdout F ".as_slice(), &[b'h'; 100_000]].concat())
        .unwrap();
    // Whoever reads now doesn't see the half.
    let mut reader = LogReader::new(dir.path().to_owned(), 0);
    assert_eq!(reader.read().unwrap().len(), 1);
    let mut writer = LogWriter::open(dir.path(), LogLimits::default()).unwrap();
    write(&mut writer, "two");
    assert_eq!(reader.read().unwrap()[0].text, "two");
    assert_eq!(texts(dir.path()), ["one", "two"]);
    assert_eq!(writer.recent(), ["two"]);
}

#[test]
fn a_full_disk_loses_lines_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    // A segment on a disk that is always full.
    let path = segment_path(dir.path(), 0);
    symlink("/dev/full", &path).unwrap();
    let mut writer = LogWriter::open(dir.path(), LogLimits::default()).unwrap();
    write(&mut writer, "lost");
    write(&mut writer, "lost too");
    assert_eq!(writer.dropped(), 2);
    // The disk has room again.
    std::fs::remove_file(&path).unwrap();
    write(&mut writer, "kept");
    write(&mut writer, "kept too");
    assert_eq!(writer.dropped(), 2);
    let lines = texts(dir.path());
    assert_eq!(
        lines,
        [
            "2 lines were lost: the log could not be written",
            "kept",
            "kept too"
        ]
    );
}

#[test]
fn a_reader_follows_over_segments_and_says_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let limits = LogLimits {
        segment_bytes_max: 100,
        segments_max: 2,
    };
    let mut writer = LogWriter::open(dir.path(), limits).unwrap();
    let mut reader = LogReader::new(dir.path().to_owned(), 0);
    for number in 0..10 {
        write(&mut writer, &format!("line {number} {}", "x".repeat(80)));
        let lines = reader.read().unwrap();
        assert!(
            lines.len() == 1 && lines[0].text.starts_with(&format!("line {number} ")),
            "{lines:?}"
        );
    }
    // It sleeps while its segment is rotated away.
    for number in 10..20 {
        write(&mut writer, &format!("line {number} {}", "x".repeat(80)));
    }
    let mut lines = Vec::new();
    loop {
        let more = reader.read().unwrap();
        if more.is_empty() {
            break;
        }
        lines.extend(more);
    }
    assert!(
        lines[0].text.ends_with("were rotated away before they were read"),
        "{lines:?}"
    );
    assert!(lines.windows(2).all(|pair| pair[0].next_offset == pair[1].offset));
    assert!(lines.last().unwrap().text.starts_with("line 19 "));
    assert_eq!(segments(dir.path()).unwrap().len(), 2);
}
