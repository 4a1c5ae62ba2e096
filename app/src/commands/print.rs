//! Output for people and programs.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use serde_json::Value;
use trimtab_api::Moment;

/// A colour, by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Warn,
    Dim,
    Bold,
}

/// Writes to standard output.
pub(crate) struct Printer {
    json: bool,
    colour: bool,
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        Printer {
            json,
            colour: std::io::stdout().is_terminal() && colours_wanted(),
        }
    }

    /// Prints the answer if JSON was asked for; says whether it did.
    pub(crate) fn json(&self, answer: &Value) -> Result<bool> {
        if self.json {
            self.line(&serde_json::to_string_pretty(answer)?);
        }
        Ok(self.json)
    }

    /// Prints one answer of several as one line if JSON was asked for; says whether it did.
    pub(crate) fn json_line(&self, answer: &Value) -> bool {
        if self.json {
            self.line(&answer.to_string());
        }
        self.json
    }

    /// Whether JSON was asked for.
    pub(crate) fn json_wanted(&self) -> bool {
        self.json
    }

    /// One line as it is; a closed pipe is no failure.
    pub(crate) fn line(&self, text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        paint(self.colour, tone, text)
    }

    /// A title, then rows in columns under their names; says instead that there are none.
    pub(crate) fn table(&self, names: &[&str], rows: &[Vec<String>], none: &str) {
        if rows.is_empty() {
            self.line(none);
            return;
        }
        let (head, body) = columns(names, rows);
        self.line(&self.paint(Tone::Dim, &head));
        for row in body {
            self.line(&row);
        }
    }

    /// What to do now.
    pub(crate) fn next(&self, text: &str) {
        self.line(&format!("{} {}", self.paint(Tone::Dim, "next:"), clean(text)));
    }
}

/// Whether colours are not declined by `NO_COLOR` (no-color.org: set and not empty).
pub(crate) fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A text in a colour, without escapes of its own.
pub(crate) fn paint(colour: bool, tone: Tone, text: &str) -> String {
    let text = clean(text);
    if !colour {
        return text;
    }
    let code = match tone {
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Warn => "33",
        Tone::Dim => "2",
        Tone::Bold => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Names and rows as aligned lines; what is last in its line is not padded.
pub(crate) fn columns(names: &[&str], rows: &[Vec<String>]) -> (String, Vec<String>) {
    let cleaned: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| clean(cell).replace('\n', " ")).collect())
        .collect();
    let mut widths: Vec<usize> = names.iter().map(|name| name.chars().count()).collect();
    for row in &cleaned {
        for (column, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(known) => *known = (*known).max(width),
                None => widths.push(width),
            }
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("  {}", cells.join("  ")).trim_end().to_owned()
    };
    let head = line(&mut names.iter().copied());
    let body = cleaned
        .iter()
        .map(|row| line(&mut row.iter().map(String::as_str)))
        .collect();
    (head, body)
}

/// Text without terminal escapes and other control characters: services choose what they log.
pub(crate) fn clean(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => match letters.next() {
                Some('[') => while letters.next().is_some_and(|l| !('@'..='~').contains(&l)) {},
                Some(']') => while letters.next().is_some_and(|l| l != '\x07' && l != '\x1b') {},
                _ => {}
            },
            '\n' | '\t' => kept.push(letter),
            _ if letter.is_control() => {}
            _ => kept.push(letter),
        }
    }
    kept
}

/// A number, or a dash when nothing is known.
pub(crate) fn figure(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{}{unit}", short(value)))
}

/// A number with as many digits as help.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{value:.2e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// How long ago something was, or how soon it is.
pub(crate) fn ago(now: Moment, at: Moment) -> String {
    let seconds = (now.millis().saturating_sub(at.millis())) / 1000;
    let (word, size) = if seconds < 0 {
        ("in ", seconds.saturating_neg())
    } else {
        ("", seconds)
    };
    let text = match size {
        0..120 => format!("{size} s"),
        120..7_200 => format!("{} min", size / 60),
        7_200..172_800 => format!("{} h", size / 3_600),
        _ => format!("{} days", size / 86_400),
    };
    format!("{word}{text}{}", if seconds < 0 { "" } else { " ago" })
}

/// The present.
pub(crate) fn now() -> Moment {
    Moment(trimtab_control::clock::now())
}

/// An enum of the API as the API writes it, with spaces.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text.replace('_', " "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_services_do_not_reach_the_terminal() {
        assert_eq!(clean("a\x1b[31mred\x1b[0m b\x1b]0;title\x07c\r\x08d"), "ared bcd");
        assert_eq!(clean("é🌱\tx\nend\x1b["), "é🌱\tx\nend");
    }

    #[test]
    fn columns_are_aligned_under_their_names() {
        let rows = [
            vec!["run-3".to_owned(), "blocks".to_owned(), "builds\nnow".to_owned()],
            vec!["run-12".to_owned(), "é".to_owned(), String::new()],
        ];
        let (head, body) = columns(&["ID", "SERVICE", "STATE"], &rows);
        assert_eq!(head, "  ID      SERVICE  STATE");
        assert_eq!(body, ["  run-3   blocks   builds now", "  run-12  é"]);
    }

    #[test]
    fn times_are_told_by_their_distance() {
        let at = Moment::from_millis;
        let now = at(1_000_000_000);
        for (then, text) in [
            (999_995_000, "5 s ago"),
            (999_000_000, "16 min ago"),
            (980_000_000, "5 h ago"),
            (500_000_000, "5 days ago"),
            (1_000_030_000, "in 30 s"),
        ] {
            assert_eq!(ago(now, at(then)), text);
        }
        assert_eq!(ago(at(i64::MAX), at(i64::MIN)).split(' ').count(), 3);
    }
}
