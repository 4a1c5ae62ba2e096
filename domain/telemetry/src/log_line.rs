//! Lines that an instance writes to its standard output: JSON objects or plain text.

use std::sync::Arc;

use serde_json::Value;
use trimtab_model::Identity;

use crate::otlp::{ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX, BODY_BYTES_MAX, NAME_BYTES_MAX, cut};
use crate::{ATTRIBUTE_DEPTH_MAX, AttributeValue, Attributes, Level, LogRecord, SpanId, TraceId};

/// Longest line in bytes; the rest of a longer one is dropped.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

const LEVELS: [&str; 5] = ["level", "severity", "lvl", "loglevel", "severity_text"];
const BODIES: [&str; 4] = ["message", "msg", "body", "text"];
const TIMES: [&str; 5] = ["timestamp", "time", "ts", "@timestamp", "datetime"];
const TRACES: [&str; 3] = ["trace_id", "traceId", "trace.id"];
const SPANS: [&str; 3] = ["span_id", "spanId", "span.id"];
const SCOPES: [&str; 4] = ["logger", "target", "scope", "logger_name"];

/// Reads one line. Never fails: what is no JSON object is plain text, with a level guessed from a word
/// near its beginning. A line without a time of its own has the time it was read, `read_nanos`.
///
/// Times in JSON may be RFC 3339 text or numbers of seconds, milliseconds, microseconds or nanoseconds,
/// told apart by their size. A `traceparent` field gives trace and span too.
pub fn parse(line: &str, identity: &Arc<Identity>, read_nanos: u64) -> LogRecord {
    let mut end = line.len().min(LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let line = line[..end].trim_end();
    let mut record = LogRecord {
        identity: Arc::clone(identity),
        at_nanos: read_nanos,
        observed_nanos: read_nanos,
        level: Level::default(),
        body: String::new(),
        trace_id: None,
        span_id: None,
        scope: String::new(),
        attributes: Attributes::new(),
        resource: Arc::default(),
    };
    let object = line
        .trim_start()
        .starts_with('{')
        .then(|| serde_json::from_str::<serde_json::Map<String, Value>>(line).ok())
        .flatten();
    match object {
        Some(fields) => structured(fields, &mut record),
        None => {
            record.body = line.to_owned();
            record.level = guess(line);
        }
    }
    cut(&mut record.body, BODY_BYTES_MAX, &mut 0);
    record
}

fn structured(mut fields: serde_json::Map<String, Value>, record: &mut LogRecord) {
    // Some loggers (Rust's tracing among them) put the message into an inner object.
    if let Some(Value::Object(inner)) = fields.remove("fields") {
        for (name, value) in inner {
            fields.entry(name).or_insert(value);
        }
    }
    let mut take = |names: &[&str]| names.iter().find_map(|name| fields.remove(*name));
    let level = take(&LEVELS);
    let body = take(&BODIES);
    let time = take(&TIMES);
    let trace = take(&TRACES);
    let span = take(&SPANS);
    let scope = take(&SCOPES);
    let parent = take(&["traceparent"]);
    record.level = level.as_ref().and_then(level_of).unwrap_or_default();
    record.body = body.map(plain).unwrap_or_default();
    if let Some(nanos) = time.as_ref().and_then(nanos_of) {
        record.at_nanos = nanos;
    }
    record.scope = scope.map(plain).unwrap_or_default();
    if let Some((trace, span)) = parent.as_ref().and_then(Value::as_str).and_then(traceparent) {
        record.trace_id = Some(trace);
        record.span_id = Some(span);
    }
    if let Some(id) = trace.and_then(|id| id.as_str()?.parse().ok()) {
        record.trace_id = Some(id);
    }
    if let Some(id) = span.and_then(|id| id.as_str()?.parse().ok()) {
        record.span_id = Some(id);
    }
    for (mut name, value) in fields {
        if record.attributes.len() == ATTRIBUTES_MAX {
            break;
        }
        cut(&mut name, NAME_BYTES_MAX, &mut 0);
        record.attributes.insert(name, attribute(value, 0));
    }
    if record.body.is_empty()
        && let Some(text) = record.attributes.get("error").and_then(AttributeValue::as_str)
    {
        record.body = text.to_owned();
    }
}

/// Trace and span of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
pub fn traceparent(text: &str) -> Option<(TraceId, SpanId)> {
    let mut parts = text.trim().split('-');
    let version = parts.next().filter(|v| v.len() == 2 && *v != "ff")?;
    let _: u8 = u8::from_str_radix(version, 16).ok()?;
    let trace = parts.next()?.parse().ok()?;
    let span = parts.next()?.parse().ok()?;
    let flags = parts.next().filter(|flags| flags.len() == 2)?;
    let _: u8 = u8::from_str_radix(flags, 16).ok()?;
    Some((trace, span))
}

fn level_of(value: &Value) -> Option<Level> {
    match value {
        Value::String(name) => Level::from_name(name),
        // The numbers of bunyan and pino, ten to a level.
        Value::Number(number) => match number.as_i64()? {
            10..=19 => Some(Level::Trace),
            20..=29 => Some(Level::Debug),
            30..=39 => Some(Level::Info),
            40..=49 => Some(Level::Warn),
            50..=59 => Some(Level::Error),
            60.. => Some(Level::Fatal),
            _ => None,
        },
        _ => None,
    }
}

fn nanos_of(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => rfc3339_nanos(text),
        Value::Number(number) => {
            let number = number.as_f64().filter(|n| *n > 0.0)?;
            // The year 2001 in milliseconds is 1e12, the year 5138 in seconds 1e11.
            let nanos = match number {
                n if n < 1e11 => n * 1e9,
                n if n < 1e14 => n * 1e6,
                n if n < 1e17 => n * 1e3,
                n => n,
            };
            Some(nanos as u64)
        }
        _ => None,
    }
}

/// `2026-01-31T12:34:56.789Z` or with an offset such as `+02:00`; a space may stand for the `T`.
fn rfc3339_nanos(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let shape = [(4, b"-"), (7, b"-"), (13, b":"), (16, b":")];
    if shape.iter().any(|(at, mark)| bytes.get(*at) != Some(&mark[0]))
        || !matches!(bytes.get(10)?, b'T' | b't' | b' ')
    {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(fraction.len());
        let places = fraction.get(..end.min(9))?;
        nanos = places.parse::<i64>().ok()? * 10i64.pow(9 - places.len() as u32);
        rest = &fraction[end..];
    }
    let offset_minutes = match rest {
        "" | "Z" | "z" => 0,
        zone => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
        }
    };
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = seconds.checked_sub(offset_minutes.checked_mul(60)?)?;
    u64::try_from(seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?).ok()
}

/// Days of the Gregorian calendar since 1970-01-01 (Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `days_from_civil`).
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn attribute(value: Value, depth: usize) -> AttributeValue {
    match value {
        Value::Array(_) | Value::Object(_) if depth == ATTRIBUTE_DEPTH_MAX => AttributeValue::Empty,
        Value::Null => AttributeValue::Empty,
        Value::Bool(value) => AttributeValue::Bool(value),
        Value::Number(number) => number
            .as_i64()
            .map(AttributeValue::Int)
            .or_else(|| number.as_f64().map(AttributeValue::Double))
            .unwrap_or(AttributeValue::Empty),
        Value::String(mut text) => {
            cut(&mut text, ATTRIBUTE_BYTES_MAX, &mut 0);
            AttributeValue::Text(text)
        }
        Value::Array(items) => AttributeValue::List({
            let kept = items.into_iter().take(ATTRIBUTES_MAX);
            kept.map(|item| attribute(item, depth + 1)).collect()
        }),
        Value::Object(map) => {
            let kept = map.into_iter().take(ATTRIBUTES_MAX);
            AttributeValue::Map(
                kept.map(|(name, value)| (name, attribute(value, depth + 1)))
                    .collect(),
            )
        }
    }
}

/// How many words at the beginning of a plain line may name its level.
const LEVEL_WORDS: usize = 6;

fn guess(line: &str) -> Level {
    let words = line
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() > 2 && !word.bytes().all(|b| b.is_ascii_digit()))
        .take(LEVEL_WORDS);
    for word in words {
        // In running text only capitals mean a level: "an error was fixed" does not.
        let shouted = word.bytes().all(|b| b.is_ascii_uppercase());
        let labelled = line.contains(&format!("{word}:"))
            || line.contains(&format!("[{word}]"))
            || line.contains(&format!("level={word}"));
        if (shouted || labelled)
            && let Some(level) = Level::from_name(word)
        {
            return level;
        }
    }
    if line.starts_with("thread '") && line.contains("panicked at")
        || line.starts_with("Traceback (most recent")
    {
        return Level::Error;
    }
    Level::Info
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(line: &str) -> String {
        let record = parse(line, &Arc::default(), 7);
        let attributes: Vec<String> = record
            .attributes
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        let trace = record
            .trace_id
            .map(|id| format!(" trace {id}"))
            .unwrap_or_default();
        format!(
            "{} {:?} @{} [{}]{trace}",
            record.level,
            record.body,
            record.at_nanos,
            attributes.join(",")
        )
    }

    #[test]
    fn json_lines() {
        for (line, expected) in [
            (
                r#"{"level":"WARN","msg":"slow","ms":12}"#,
                "warn \"slow\" @7 [ms=12]",
            ),
            (
                r#"{"severity":"err","message":"no","time":"1970-01-01T00:00:01.5Z"}"#,
                "error \"no\" @1500000000 []",
            ),
            (
                r#"{"level":50,"msg":"x","time":1700000000123}"#,
                "error \"x\" @1700000000123000064 []",
            ),
            (
                r#"{"msg":"x","ts":"2000-03-01 02:00:00+02:00"}"#,
                "info \"x\" @951868800000000000 []",
            ),
            (
                r#"{"fields":{"message":"deep","n":1},"target":"a::b","level":"DEBUG"}"#,
                "debug \"deep\" @7 [n=1]",
            ),
            (r#"{"msg":{"a":1},"time":"soon"}"#, "info \"{\\\"a\\\":1}\" @7 []"),
            (
                r#"{"msg":"t","trace_id":"0af7651916cd43dd8448eb211c80319c"}"#,
                "info \"t\" @7 [] trace 0af7651916cd43dd8448eb211c80319c",
            ),
            (
                r#"{"msg":"t","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#,
                "info \"t\" @7 [] trace 0af7651916cd43dd8448eb211c80319c",
            ),
            (r#"{"broken":"#, "info \"{\\\"broken\\\":\" @7 []"),
        ] {
            assert_eq!(show(line), expected, "{line}");
        }
    }

    #[test]
    fn plain_lines() {
        for (line, level) in [
            ("2026-01-01T00:00:00Z ERROR blocks: failed to merge", "error"),
            ("[warn] disk nearly full", "warn"),
            ("level=debug msg=hello", "debug"),
            ("error: could not open", "error"),
            ("an error was fixed", "info"),
            ("thread 'main' panicked at src/main.rs:1:1:", "error"),
            ("FATAL out of memory", "fatal"),
            ("listening on 127.0.0.1:8080", "info"),
            ("", "info"),
        ] {
            assert!(show(line).starts_with(level), "{line}: {}", show(line));
        }
    }

    #[test]
    fn deep_lines_can_be_stored_and_read_again() {
        let line = format!(
            "{{\"msg\":\"deep\",\"a\":{}1{}}}",
            "[".repeat(120),
            "]".repeat(120)
        );
        let record = parse(&line, &Arc::default(), 0);
        assert_eq!(record.body, "deep");
        let stored = serde_json::to_string(&record).unwrap_or_default();
        assert_eq!(serde_json::from_str::<LogRecord>(&stored).ok(), Some(record));
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let record = parse(&"ü".repeat(LINE_BYTES_MAX), &Arc::default(), 0);
        assert!(record.body.len() <= BODY_BYTES_MAX);
        assert!(record.body.ends_with('ü'));
    }
}
