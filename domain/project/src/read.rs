//! Reads fields from a tree and collects every problem on the way.

use std::cell::RefCell;
use std::net::SocketAddr;

use crate::fields::Fields;
use crate::spelling::{nearest, split_words};
use crate::units::{Percent, Period, bytes};
use crate::yaml::{Kind, Node, Place};
use crate::{PROBLEMS_MAX, Problem};

/// Longest text of one value in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Where problems go.
pub(crate) struct Sink {
    file: String,
    problems: RefCell<Vec<Problem>>,
}

impl Sink {
    pub(crate) fn new(file: &str) -> Self {
        Sink {
            file: file.to_owned(),
            problems: RefCell::new(Vec::new()),
        }
    }

    pub(crate) fn report(&self, place: Place, field: &str, what: impl Into<String>, mend: impl Into<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            problems.push(Problem {
                file: self.file.clone(),
                line: place.line,
                column: place.column,
                field: field.to_owned(),
                what: what.into(),
                mend: mend.into(),
            });
        }
    }

    /// The value, unless anything was wrong; problems come in the order of the file.
    pub(crate) fn settle<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            Some(_) | None => Err(problems),
        }
    }
}

/// A value with its path.
pub(crate) struct Value<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
    pub(crate) sink: &'a Sink,
}

impl<'a> Value<'a> {
    pub(crate) fn wrong<T>(&self, what: impl Into<String>, mend: impl Into<String>) -> Option<T> {
        self.sink.report(self.node.place, &self.path, what, mend);
        None
    }

    pub(crate) fn found(&self) -> &'static str {
        match &self.node.kind {
            Kind::Nothing => "nothing",
            Kind::Scalar { .. } => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "fields",
        }
    }

    fn scalar(&self, wanted: &str, example: &str) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Scalar { text, .. } if text.len() > VALUE_BYTES_MAX => self.wrong(
                format!("{} bytes are more than {VALUE_BYTES_MAX}", text.len()),
                "put long text into a file of its own",
            ),
            Kind::Scalar { text, .. } => Some(text),
            Kind::Nothing | Kind::List(_) | Kind::Map(_) => self.wrong(
                format!("expected {wanted}, found {}", self.found()),
                format!("write {example}"),
            ),
        }
    }

    pub(crate) fn text(self) -> Option<String> {
        let text = self.scalar("a text", "a text, in quotes if it holds ': ' or ' #'")?;
        if text.trim().is_empty() {
            return self.wrong("the text is empty", "write something, or remove the field");
        }
        Some(text.to_owned())
    }

    /// A text that may be empty.
    pub(crate) fn maybe_empty(self) -> Option<String> {
        match &self.node.kind {
            Kind::Nothing => Some(String::new()),
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => {
                self.scalar("a text", "a text").map(str::to_owned)
            }
        }
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        match self.scalar("true or false", "true or false")? {
            "true" => Some(true),
            "false" => Some(false),
            other => self.wrong(
                format!("{} is neither true nor false", quoted(other)),
                "write true or false",
            ),
        }
    }

    pub(crate) fn integer(self, min: u64, max: u64) -> Option<u64> {
        let example = format!("a whole number from {min} to {max}");
        let text = self.scalar("a whole number", &example)?;
        match text.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => Some(number),
            Ok(_) | Err(_) => self.wrong(
                format!("{} is not {example}", quoted(text)),
                format!("write {example}"),
            ),
        }
    }

    pub(crate) fn period(self) -> Option<Period> {
        const EXAMPLE: &str = "a length of time with its unit: 500ms, 5s, 5m, 24h";
        let text = self.scalar("a length of time", EXAMPLE)?;
        match Period::parse(text) {
            Some(period) => Some(period),
            None if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) => self.wrong(
                format!("{text} has no unit"),
                format!("write {text}s for seconds, or ms, m, h, d"),
            ),
            None => self.wrong(
                format!("{} is not a length of time", quoted(text)),
                format!("write {EXAMPLE}"),
            ),
        }
    }

    /// A period above zero.
    pub(crate) fn positive_period(self) -> Option<Period> {
        let (node, path, sink) = (self.node, self.path.clone(), self.sink);
        let period = self.period()?;
        if period == Period::default() {
            sink.report(
                node.place,
                &path,
                "zero is no length of time here",
                "write at least 1ms",
            );
            return None;
        }
        Some(period)
    }

    pub(crate) fn percent(self) -> Option<Percent> {
        let text = self.scalar("a share", "a share from 0% to 100%: 5%")?;
        match Percent::parse(text) {
            Some(percent) => Some(percent),
            None if text.parse::<f64>().is_ok_and(|n| (0.0..=100.0).contains(&n)) => {
                self.wrong(format!("{text} has no unit"), format!("write {text}%"))
            }
            None => self.wrong(
                format!("{} is not a share", quoted(text)),
                "write a share from 0% to 100%: 5%",
            ),
        }
    }

    pub(crate) fn bytes(self) -> Option<u64> {
        let text = self.scalar("a size", "a size with its unit: 10MB, 1GiB")?;
        bytes(text).or_else(|| {
            self.wrong(
                format!("{} is not a size", quoted(text)),
                "write a size with its unit: 512kB, 10MB, 1GiB",
            )
        })
    }

    pub(crate) fn address(self) -> Option<SocketAddr> {
        let text = self.scalar("an address", "an address and port: 127.0.0.1:7700")?;
        text.parse().ok().or_else(|| {
            self.wrong(
                format!("{} is not an address with a port", quoted(text)),
                "write an IP address and a port: 127.0.0.1:7700, [::1]:7700",
            )
        })
    }

    /// A name or another type that checks its text itself; the error says what is allowed.
    pub(crate) fn parsed<T: std::str::FromStr>(self, mend: &str) -> Option<T> {
        let text = self.scalar("a text", mend)?;
        text.parse()
            .ok()
            .or_else(|| self.wrong(format!("{} is not allowed here", quoted(text)), mend))
    }

    pub(crate) fn one_of<T: Copy>(self, choices: &[(&'static str, T)]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let list = names.join(", ");
        let text = self.scalar("one word", &format!("one of: {list}"))?;
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, choice)) => Some(*choice),
            None => {
                let guess = nearest(text, &names);
                let mend = guess.map_or_else(
                    || format!("write one of: {list}"),
                    |guess| format!("did you mean {guess:?}? (one of: {list})"),
                );
                self.wrong(format!("{} is not known", quoted(text)), mend)
            }
        }
    }

    pub(crate) fn list<T>(
        self,
        length_max: usize,
        example: &str,
        mut read: impl FnMut(Value<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Kind::List(items) = &self.node.kind else {
            return self.wrong(
                format!("expected a list, found {}", self.found()),
                format!("write a list: {example}"),
            );
        };
        if items.len() > length_max {
            return self.wrong(
                format!("{} entries are more than {length_max}", items.len()),
                format!("keep at most {length_max}"),
            );
        }
        let read_all: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, node)| {
                read(Value {
                    node,
                    path: format!("{}[{index}]", self.path),
                    sink: self.sink,
                })
            })
            .collect();
        read_all.into_iter().collect()
    }

    /// Words of a command: a list, or one text that is split at spaces outside quotes.
    pub(crate) fn words(self) -> Option<Vec<String>> {
        const EXAMPLE: &str = "./server --port 80, or [./server, --port, '80']";
        match &self.node.kind {
            Kind::List(items) if items.is_empty() => {
                self.wrong("the command is empty", format!("write {EXAMPLE}"))
            }
            Kind::List(_) => self.list(256, EXAMPLE, Value::text),
            Kind::Nothing | Kind::Scalar { .. } | Kind::Map(_) => {
                let text = self.scalar("a command", EXAMPLE)?;
                match split_words(text) {
                    Some(words) if !words.is_empty() => Some(words),
                    Some(_) => self.wrong("the command is empty", format!("write {EXAMPLE}")),
                    None => self.wrong(
                        "a quotation mark in the command is not closed",
                        "close it, or write the command as a list of words",
                    ),
                }
            }
        }
    }

    /// The fields of a mapping; none (reported) when it is something else.
    pub(crate) fn fields(self, known: &'static [&'static str]) -> Option<Fields<'a>> {
        let entries = match &self.node.kind {
            Kind::Map(entries) => entries.as_slice(),
            // `staging:` with everything left at its default.
            Kind::Nothing => &[],
            Kind::Scalar { .. } | Kind::List(_) => {
                let mend = format!("write fields, one a line: {}", known.join(", "));
                return self.wrong(format!("expected fields, found {}", self.found()), mend);
            }
        };
        let mut first: Vec<(&'a str, &'a Node)> = Vec::new();
        for (key, node) in entries {
            let path = join(&self.path, &key.text);
            if !known.contains(&key.text.as_str()) {
                let mend = match nearest(&key.text, known) {
                    Some(guess) => format!("did you mean {guess:?}?"),
                    None => format!("remove it, or use one of: {}", known.join(", ")),
                };
                self.sink.report(key.place, &path, "unknown field", mend);
            } else if let Some((_, earlier)) = first.iter().find(|(name, _)| *name == key.text) {
                let what = format!(
                    "given twice (first with the value on line {})",
                    earlier.place.line
                );
                self.sink.report(key.place, &path, what, "keep one of the two");
            } else {
                first.push((&key.text, node));
            }
        }
        Some(Fields {
            place: self.node.place,
            path: self.path,
            entries: first,
            sink: self.sink,
        })
    }
}

pub(crate) fn join(path: &str, name: &str) -> String {
    let name: String = name.chars().take(60).collect();
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}

fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("{short:?}")
}

/// Reads the one document of `text` with `read`; fails with every problem at once.
pub(crate) fn document<T>(
    file: &str,
    text: &str,
    read: impl FnOnce(Value<'_>) -> Option<T>,
) -> Result<T, Vec<Problem>> {
    let sink = Sink::new(file);
    // Editors on Windows put a byte order mark first; it is not part of the text.
    match crate::yaml::load(text.trim_start_matches('\u{feff}')) {
        Ok(node) => {
            let value = read(Value {
                node: &node,
                path: String::new(),
                sink: &sink,
            });
            sink.settle(value)
        }
        Err(refusal) => {
            sink.report(refusal.place, "", refusal.what, refusal.mend);
            sink.settle(None)
        }
    }
}
