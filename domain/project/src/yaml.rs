//! YAML as a tree in which every key and value knows its place.
//!
//! Built from the parser's events, without recursion and without aliases, so that neither depth nor
//! an alias bomb can hurt. Duplicate keys stay visible for [`crate::read`] to report.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// Largest file in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 32;
/// Most keys and values.
pub const NODES_MAX: usize = 20_000;

/// A place in a file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// `~`, `null` or nothing.
    Nothing,
    /// Any scalar, with or without quotes.
    Scalar { text: String },
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order written.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: String,
}

/// What keeps a text from being a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) place: Place,
    pub(crate) what: String,
    pub(crate) mend: String,
}

enum Open {
    List(Place, Vec<Node>),
    Map(Place, Vec<(Key, Node)>, Option<Key>),
}

/// Reads the one document of `text`.
pub(crate) fn load(text: &str) -> Result<Node, Refusal> {
    let top = Place { line: 1, column: 1 };
    if text.len() > TEXT_BYTES_MAX {
        return refuse(
            top,
            format!("{} bytes are more than {TEXT_BYTES_MAX}", text.len()),
            "a configuration is smaller: check that this is the right file",
        );
    }
    if let Some(at) = text.find('\0') {
        let line = text[..at].matches('\n').count() + 1;
        return refuse(
            Place { line, column: 1 },
            "a zero byte".to_owned(),
            "save the file as UTF-8 text",
        );
    }
    let mut tree = Tree {
        open: Vec::new(),
        root: None,
        nodes: 0,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(text, &error))?;
        tree.take(event, span)?;
    }
    Ok(tree.root.unwrap_or(Node {
        place: top,
        kind: Kind::Nothing,
    }))
}

fn refuse<T>(place: Place, what: String, mend: &str) -> Result<T, Refusal> {
    Err(Refusal {
        place,
        what,
        mend: mend.to_owned(),
    })
}

struct Tree {
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Refusal> {
        let place = Place {
            line: span.start.line(),
            column: span.start.col() + 1,
        };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => refuse(
                place,
                "a second document begins".to_owned(),
                "keep one document per file: remove the '---'",
            ),
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(_) => refuse(
                place,
                "an alias ('*name')".to_owned(),
                "aliases are not supported: write the value out",
            ),
            Event::Scalar(text, style, _, _) => {
                let plain = style == ScalarStyle::Plain;
                let kind = match text.as_ref() {
                    "" | "~" | "null" if plain => Kind::Nothing,
                    _ => Kind::Scalar {
                        text: text.into_owned(),
                    },
                };
                self.add(Node { place, kind })
            }
            Event::SequenceStart(..) => self.open(Open::List(place, Vec::new()), place),
            Event::MappingStart(..) => self.open(Open::Map(place, Vec::new(), None), place),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(place, items)) => self.add(Node {
                    place,
                    kind: Kind::List(items),
                }),
                Some(Open::Map(place, entries, _)) => self.add(Node {
                    place,
                    kind: Kind::Map(entries),
                }),
                None => Ok(()),
            },
        }
    }

    fn open(&mut self, open: Open, place: Place) -> Result<(), Refusal> {
        if self.open.len() >= DEPTH_MAX {
            return refuse(
                place,
                format!("nested more than {DEPTH_MAX} deep"),
                "no field is: remove brackets or indentation",
            );
        }
        self.open.push(open);
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), Refusal> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return refuse(
                node.place,
                format!("more than {NODES_MAX} keys and values"),
                "a configuration is smaller: check that this is the right file",
            );
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    *key = Some(Key {
                        place: node.place,
                        text: key_text(node)?,
                    });
                }
            },
        }
        Ok(())
    }
}

fn key_text(node: Node) -> Result<String, Refusal> {
    match node.kind {
        Kind::Scalar { text, .. } => Ok(text),
        Kind::Nothing | Kind::List(_) | Kind::Map(_) => refuse(
            node.place,
            "a key that is not a text".to_owned(),
            "write 'field: value'",
        ),
    }
}

fn syntax(text: &str, error: &ScanError) -> Refusal {
    let place = Place {
        line: error.marker().line().max(1),
        column: error.marker().col() + 1,
    };
    let line = text.lines().nth(place.line - 1).unwrap_or_default();
    let indent_has_tab = |line: &str| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    let before = place
        .line
        .checked_sub(2)
        .and_then(|index| text.lines().nth(index));
    let info = error.info();
    let mend = if info.contains("recursion") || info.contains("nest") {
        "no field is nested that deep: remove brackets or indentation"
    } else if info.contains("found a tab") || indent_has_tab(line) || before.is_some_and(indent_has_tab) {
        "indent with spaces: YAML allows no tabs"
    } else if info.contains("mapping values are not allowed") {
        "quote the value if it holds ': ', or check the indentation of this line"
    } else if info.contains("quoted scalar") || info.contains("quote") {
        "close the quotation mark"
    } else if info.contains("flow") || info.contains("',' or") {
        "close the bracket, or separate the entries by commas"
    } else if line.trim_start().starts_with(['@', '`', '%']) || line.contains(": @") || line.contains(": `") {
        "put the value into quotes"
    } else {
        "check indentation, colons and quotation marks of this line and the one before it"
    };
    Refusal {
        place,
        what: format!("not YAML: {info}"),
        mend: mend.to_owned(),
    }
}
