//! One line of a log file.

use std::io::Write;

use trimtab_model::Timestamp;

use crate::{LogLine, LogStreamKind};

fn name(stream: LogStreamKind) -> &'static str {
    match stream {
        LogStreamKind::Stdout => "stdout",
        LogStreamKind::Stderr => "stderr",
        LogStreamKind::Shim => "shim",
    }
}

/// Appends the record of a line to `into`. A cut line says how much of it is missing.
pub(super) fn encode(into: &mut Vec<u8>, at: Timestamp, stream: LogStreamKind, line: &[u8], cut_bytes: u64) {
    let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    // Writing to a vector doesn't fail.
    let _ = write!(
        into,
        "{} {} F ",
        time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
        name(stream)
    );
    // Whoever calls splits at line ends; one that slips in would break the record in two.
    into.extend(line.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
    if cut_bytes > 0 {
        let _ = write!(into, " [trimtab: cut {cut_bytes} bytes]");
    }
    into.push(b'\n');
}

/// Reads a record without its line end; one that this version doesn't understand becomes a line of the shim at time 0.
pub(super) fn decode(record: &[u8], offset: u64) -> LogLine {
    let next_offset = offset + record.len() as u64 + 1;
    let mut parts = record.splitn(4, |byte| *byte == b' ');
    let at = parts
        .next()
        .and_then(|part| std::str::from_utf8(part).ok()?.parse::<jiff::Timestamp>().ok());
    let stream = match parts.next() {
        Some(b"stdout") => Some(LogStreamKind::Stdout),
        Some(b"stderr") => Some(LogStreamKind::Stderr),
        Some(b"shim") => Some(LogStreamKind::Shim),
        _ => None,
    };
    let (at, stream, text) = match (at, stream, parts.next(), parts.next()) {
        (Some(at), Some(stream), Some(_), Some(text)) => (Timestamp(at.as_millisecond()), stream, text),
        _ => (Timestamp(0), LogStreamKind::Shim, record),
    };
    LogLine {
        offset,
        next_offset,
        stream,
        at,
        text: String::from_utf8_lossy(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn records_read_back() {
        let mut bytes = Vec::new();
        let at = Timestamp(1_764_015_904_007);
        encode(&mut bytes, at, LogStreamKind::Stderr, b"a  b\0\xff ", 0);
        assert!(
            bytes.starts_with(b"2025-11-24T20:25:04.007Z stderr F a  b"),
            "{bytes:?}"
        );
        let line = decode(bytes.strip_suffix(b"\n").unwrap(), 100);
        assert_eq!((line.offset, line.next_offset), (100, 100 + bytes.len() as u64));
        assert_eq!(
            (line.at, line.stream, line.text.as_str()),
            (at, LogStreamKind::Stderr, "a  b\0\u{fffd} ")
        );

        bytes.clear();
        encode(&mut bytes, at, LogStreamKind::Stdout, b"", 0);
        assert_eq!(decode(bytes.strip_suffix(b"\n").unwrap(), 0).text, "");
    }

    #[test]
    fn foreign_records_are_shown_as_they_are() {
        for text in ["", "x", "2025 stdout F x", "2025-11-24T20:25:04Z elsewhere F x"] {
            let line = decode(text.as_bytes(), 0);
            assert_eq!((line.at, line.text.as_str()), (Timestamp(0), text));
        }
    }
}
