//! Output for people and programs.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use serde_json::Value;

/// A colour, by its meaning.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tone {
    Good,
    Bad,
    Warn,
    Dim,
    Bold,
}

/// Writes to standard output.
pub(super) struct Printer {
    json: bool,
    colour: bool,
}

impl Printer {
    pub(super) fn new(json: bool) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Printer { json, colour }
    }

    /// Prints the answer if JSON was asked for; says whether it did.
    pub(super) fn json(&self, answer: &Value) -> Result<bool> {
        if self.json {
            self.line(&serde_json::to_string_pretty(answer)?);
        }
        Ok(self.json)
    }

    /// One line as it is; a closed pipe is no failure.
    pub(super) fn line(&self, text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        let text = clean(text);
        if !self.colour {
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

    /// Rows in aligned columns; the last column is not padded.
    pub(super) fn table(&self, rows: &[Vec<String>]) {
        let mut widths: Vec<usize> = Vec::new();
        for row in rows {
            for (column, cell) in row.iter().enumerate() {
                let width = clean(cell).chars().count();
                match widths.get_mut(column) {
                    Some(known) => *known = (*known).max(width),
                    None => widths.push(width),
                }
            }
        }
        for row in rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{:width$}", clean(cell)))
                .collect();
            self.line(format!("  {}", cells.join("  ")).trim_end());
        }
    }

    pub(super) fn next(&self, text: &str) {
        self.line(&format!("{} {}", self.paint(Tone::Dim, "next:"), clean(text)));
    }
}

/// Text without terminal escapes and other control characters: services choose what they log.
pub(super) fn clean(text: &str) -> String {
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
pub(super) fn figure(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn escapes_of_services_do_not_reach_the_terminal() {
        assert_eq!(clean("a\x1b[31mred\x1b[0m b\x1b]0;title\x07c\r\x08d"), "ared bcd");
        assert_eq!(clean("é🌱\tx\nend\x1b["), "é🌱\tx\nend");
    }
}
