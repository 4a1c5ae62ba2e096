//! Prometheus' text format, as services expose it under `/metrics`.

use std::fmt;

use trimtab_model::Identity;

use crate::identity_labels::stamp;
use crate::{LABELS_MAX, Labels, METRIC_NAME, Sample};

/// Longest line in bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Most samples of one text.
pub const SAMPLES_MAX: usize = 100_000;

/// What is wrong with a text, and in which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to read the metrics: line {line}: {problem}")]
pub struct TextError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads a whole text. Samples without a time get `now_ms`; identity labels are written over those of
/// the text. `# HELP` and `# TYPE` are checked; exemplars (` # {…} …` behind a value) are ignored.
pub fn parse_text(text: &str, identity: &Identity, now_ms: i64) -> Result<Vec<Sample>, TextError> {
    let mut samples = vec![];
    for (at, line) in text.lines().enumerate() {
        let fail = |problem: String| TextError {
            line: at + 1,
            problem,
        };
        if line.len() > LINE_BYTES_MAX {
            return Err(fail(format!(
                "it has {} bytes, more than {LINE_BYTES_MAX}",
                line.len()
            )));
        }
        let line = line.trim();
        if line.starts_with('#') {
            comment(line).map_err(fail)?;
        } else if !line.is_empty() {
            if samples.len() == SAMPLES_MAX {
                return Err(fail(format!(
                    "more than {SAMPLES_MAX} samples: expose fewer series"
                )));
            }
            samples.push(sample(line, identity, now_ms).map_err(fail)?);
        }
    }
    Ok(samples)
}

fn comment(line: &str) -> Result<(), String> {
    let mut words = line[1..].split_whitespace();
    match words.next() {
        Some("HELP") => {
            let name = words.next().unwrap_or_default();
            metric_name_ok(name)
                .then_some(())
                .ok_or_else(|| format!("HELP for {name:?}, which is no metric name"))
        }
        Some("TYPE") => {
            const KINDS: [&str; 9] = [
                "counter",
                "gauge",
                "histogram",
                "summary",
                "untyped",
                "unknown",
                "info",
                "stateset",
                "gaugehistogram",
            ];
            let name = words.next().unwrap_or_default();
            let kind = words.next().unwrap_or_default();
            if !metric_name_ok(name) {
                Err(format!("TYPE for {name:?}, which is no metric name"))
            } else if !KINDS.contains(&kind) || words.next().is_some() {
                Err(format!(
                    "TYPE of {name} is {kind:?}; known are {}",
                    KINDS.join(", ")
                ))
            } else {
                Ok(())
            }
        }
        _ => Ok(()),
    }
}

fn sample(line: &str, identity: &Identity, now_ms: i64) -> Result<Sample, String> {
    let mut cursor = Cursor { rest: line };
    let name = cursor.name(':')?;
    let mut labels = vec![];
    cursor.space();
    if cursor.eat('{') {
        read_labels(&mut cursor, &mut labels)?;
    }
    let rest = cursor.rest.split(" # ").next().unwrap_or_default();
    let mut words = rest.split_whitespace();
    let value = number(words.next().ok_or("the value is missing")?)?;
    let at_ms = match words.next() {
        None => now_ms,
        Some(text) => text
            .parse()
            .map_err(|_| format!("{text:?} is not a time in milliseconds"))?,
    };
    if let Some(more) = words.next() {
        return Err(format!("{more:?} stands behind value and time"));
    }
    stamp(&mut labels, identity);
    labels.push((METRIC_NAME.to_owned(), name));
    let labels = Labels::from_pairs(labels);
    labels.check().map_err(|error| error.to_string())?;
    Ok(Sample { labels, at_ms, value })
}

fn read_labels(cursor: &mut Cursor, labels: &mut Vec<(String, String)>) -> Result<(), String> {
    loop {
        cursor.space();
        if cursor.eat('}') {
            return Ok(());
        }
        let name = cursor.name('_')?;
        if name == METRIC_NAME {
            return Err(format!("{METRIC_NAME} is not allowed as a label"));
        }
        cursor.space();
        cursor.expect('=')?;
        cursor.space();
        cursor.expect('"')?;
        let value = cursor.quoted()?;
        if labels.iter().any(|(own, _)| *own == name) {
            return Err(format!("label {name:?} is given twice"));
        }
        if labels.len() == LABELS_MAX {
            return Err(format!("more than {LABELS_MAX} labels"));
        }
        labels.push((name, value));
        cursor.space();
        if !cursor.eat(',') {
            cursor.expect('}')?;
            return Ok(());
        }
    }
}

/// A value as Prometheus writes it, with `NaN`, `+Inf` and `-Inf`.
fn number(text: &str) -> Result<f64, String> {
    match text.to_ascii_lowercase().as_str() {
        "nan" => Ok(f64::NAN),
        "+inf" | "inf" => Ok(f64::INFINITY),
        "-inf" => Ok(f64::NEG_INFINITY),
        plain if plain.contains("inf") || plain.contains("nan") => Err(format!("{text:?} is not a number")),
        plain => plain.parse().map_err(|_| format!("{text:?} is not a number")),
    }
}

fn metric_name_ok(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':'));
    begins
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
}

struct Cursor<'a> {
    rest: &'a str,
}

impl Cursor<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.eat(wanted) {
            return Ok(());
        }
        Err(format!("expected {wanted:?}, got {}", Found(self.rest)))
    }

    /// Letters, digits, `_` and `also`; no digit first.
    fn name(&mut self, also: char) -> Result<String, String> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == also;
        let end = self.rest.find(|c| !good(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("expected a name, got {}", Found(self.rest)));
        }
        self.rest = rest;
        Ok(name.to_owned())
    }

    /// The rest of a quoted text whose opening quote was read, with `\\`, `\"` and `\n` resolved.
    fn quoted(&mut self) -> Result<String, String> {
        let mut out = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(out);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, c @ ('\\' | '"'))) => out.push(c),
                    Some((_, c)) => {
                        return Err(format!("\\{c} is not an escape; known are \\\\, \\\" and \\n"));
                    }
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err("a quoted value has no end".to_owned())
    }
}

/// What stands there, for an error.
struct Found<'a>(&'a str);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the end of the line");
        }
        let short: String = self.0.chars().take(20).collect();
        write!(f, "{short:?}")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn show(text: &str) -> String {
        match parse_text(text, &Identity::default(), 42) {
            Ok(samples) => samples
                .iter()
                .map(|s| format!("{} {} @{}", s.labels, s.value, s.at_ms))
                .collect::<Vec<_>>()
                .join("\n"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn texts_become_samples() {
        for (text, expected) in [
            ("up 1", "up{} 1 @42"),
            ("up 1 1700000000000\n\n# a remark\n", "up{} 1 @1700000000000"),
            (
                "a{x=\"1\",y=\"a\\\\b\\\"c\\nd\",} +Inf",
                "a{x=\"1\", y=\"a\\\\b\\\"c\\nd\"} inf @42",
            ),
            ("a { x = \"}\" } -2.5e3 7", "a{x=\"}\"} -2500 @7"),
            (
                "# HELP a Text.\n# TYPE a counter\na_total NaN",
                "a_total{} NaN @42",
            ),
            (
                "a_bucket{le=\"1\"} 3 # {trace_id=\"x\"} 0.5 1.5",
                "a_bucket{le=\"1\"} 3 @42",
            ),
            (
                "a{x=\"ü # y\"} 0x",
                "failed to read the metrics: line 1: \"0x\" is not a number",
            ),
        ] {
            assert_eq!(show(text), expected);
        }
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expected) in [
            ("up 1\n\n1x 2", "line 3: expected a name, got \"1x 2\""),
            ("up", "line 1: the value is missing"),
            ("up{a=\"1} 1", "line 1: a quoted value has no end"),
            (
                "up{a=\"\\t\"} 1",
                "line 1: \\t is not an escape; known are \\\\, \\\" and \\n",
            ),
            ("up{a=1} 1", "line 1: expected '\"', got \"1} 1\""),
            (
                "up{a=\"1\" b=\"2\"} 1",
                "line 1: expected '}', got \"b=\\\"2\\\"} 1\"",
            ),
            ("up{a=\"1\",a=\"2\"} 1", "line 1: label \"a\" is given twice"),
            ("up 1 2 3", "line 1: \"3\" stands behind value and time"),
            ("up 1 later", "line 1: \"later\" is not a time in milliseconds"),
            ("up infinity", "line 1: \"infinity\" is not a number"),
            (
                "# TYPE up thing",
                "line 1: TYPE of up is \"thing\"; known are counter, gauge, histogram, summary, untyped, unknown, info, stateset, gaugehistogram",
            ),
        ] {
            assert_eq!(show(text), format!("failed to read the metrics: {expected}"));
        }
        assert!(show(&"x".repeat(LINE_BYTES_MAX + 1)).contains("more than 65536"));
    }

    #[test]
    fn identity_is_stamped_over_claims() {
        let identity = Identity {
            service: Some("blocks".parse().unwrap()),
            release: Some("blocks-r2".parse().unwrap()),
            ..Identity::default()
        };
        let samples = parse_text("up{service=\"other\",cohort=\"x\"} 1", &identity, 0).unwrap();
        assert_eq!(
            samples[0].labels.to_string(),
            "up{exported_cohort=\"x\", exported_service=\"other\", release=\"blocks-r2\", service=\"blocks\"}"
        );
    }
}
