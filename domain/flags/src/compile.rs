//! Reads targeting, and tells every mistake in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::DEPTH_MAX;
use crate::logic::Rule;
use crate::operation::Operation;
use crate::problem::{Problems, meant, quoted};
use crate::sem_ver;

/// Reads rules; knows the set's shared ones.
pub(crate) struct Compiler<'d> {
    written: &'d Map<String, Value>,
    read: BTreeMap<&'d str, Option<Arc<Rule>>>,
    /// The shared rules that are being read, outermost first: one of them again is a circle.
    reading: Vec<&'d str>,
}

impl<'d> Compiler<'d> {
    /// With what stands under `$evaluators`.
    pub(crate) fn new(written: &'d Map<String, Value>) -> Self {
        Compiler {
            written,
            read: BTreeMap::new(),
            reading: Vec::new(),
        }
    }

    /// Reads every shared rule, also those that no flag uses.
    pub(crate) fn read_shared(&mut self, problems: &mut Problems) {
        for name in self.written.keys() {
            self.shared(name, problems);
        }
    }

    /// Reads a rule; none when something is wrong with it, which is then among the problems.
    pub(crate) fn rule(&mut self, value: &'d Value, path: &str, problems: &mut Problems) -> Option<Rule> {
        let rule = self.inner(value, path, 0, problems)?;
        if rule.height() > DEPTH_MAX {
            problems.add(
                path,
                format!("it nests deeper than {DEPTH_MAX}"),
                "split it into several flags, or compute part of it before",
            );
            return None;
        }
        Some(rule)
    }

    fn inner(&mut self, value: &'d Value, path: &str, depth: usize, problems: &mut Problems) -> Option<Rule> {
        if depth > DEPTH_MAX {
            problems.add(
                path,
                format!("it nests deeper than {DEPTH_MAX}"),
                "make it flatter",
            );
            return None;
        }
        match value {
            Value::Object(fields) => self.object(fields, path, depth, problems),
            Value::Array(items) => self.list(items, path, depth, problems).map(Rule::List),
            plain => Some(Rule::Literal(plain.clone())),
        }
    }

    /// All of a list's rules; each is read, so that all of their mistakes are told.
    fn list(
        &mut self,
        items: &'d [Value],
        path: &str,
        depth: usize,
        problems: &mut Problems,
    ) -> Option<Vec<Rule>> {
        let read: Vec<Option<Rule>> = items
            .iter()
            .enumerate()
            .map(|(place, item)| self.inner(item, &format!("{path}[{place}]"), depth + 1, problems))
            .collect();
        read.into_iter().collect()
    }

    fn object(
        &mut self,
        fields: &'d Map<String, Value>,
        path: &str,
        depth: usize,
        problems: &mut Problems,
    ) -> Option<Rule> {
        let mut entries = fields.iter();
        let (Some((name, argument)), None) = (entries.next(), entries.next()) else {
            problems.add(
                path,
                format!("an operation has one name, and here are {}", fields.len()),
                "write {\"operation\": [arguments]}",
            );
            return None;
        };
        let path = format!("{path}.{name}");
        if name == "$ref" {
            return self.reference(argument, &path, problems);
        }
        let Some((operation, least, most)) = Operation::find(name) else {
            problems.add(
                &path,
                format!("there is no operation {}", quoted(name)),
                meant(name, Operation::names()),
            );
            return None;
        };
        let arguments = match argument {
            Value::Array(items) => self.list(items, &path, depth, problems)?,
            single => vec![self.inner(single, &path, depth + 1, problems)?],
        };
        if arguments.len() < least || arguments.len() > most {
            let wanted = match (least, most) {
                (least, most) if least == most => format!("{least}"),
                (least, usize::MAX) => format!("at least {least}"),
                (least, most) => format!("{least} to {most}"),
            };
            problems.add(
                &path,
                format!("{name:?} has {} arguments and takes {wanted}", arguments.len()),
                format!("give it {wanted}"),
            );
            return None;
        }
        check(operation, &arguments, &path, problems)?;
        Some(Rule::Call(operation, arguments))
    }

    fn reference(&mut self, argument: &'d Value, path: &str, problems: &mut Problems) -> Option<Rule> {
        let names = self.written.keys().map(String::as_str);
        let Some((name, _)) = argument
            .as_str()
            .and_then(|name| self.written.get_key_value(name))
        else {
            problems.add(
                path,
                format!("there is no shared rule {argument}"),
                if self.written.is_empty() {
                    "add it under \"$evaluators\"".to_owned()
                } else {
                    meant(argument.as_str().unwrap_or_default(), names)
                },
            );
            return None;
        };
        if self.reading.contains(&name.as_str()) {
            let circle = [self.reading.join(" -> "), name.clone()].join(" -> ");
            problems.add(
                path,
                format!("shared rules go round in a circle: {circle}"),
                "take one of these references out",
            );
            return None;
        }
        self.shared(name, problems).map(Rule::Shared)
    }

    fn shared(&mut self, name: &'d str, problems: &mut Problems) -> Option<Arc<Rule>> {
        if let Some(read) = self.read.get(name) {
            return read.clone();
        }
        let value = self.written.get(name)?;
        self.reading.push(name);
        // A mistake in a shared rule is told once, as its own and no flag's.
        let flag = problems.flag.take();
        let rule = self.rule(value, &format!("$evaluators.{name}"), problems);
        problems.flag = flag;
        self.reading.pop();
        let rule = rule.map(Arc::new);
        self.read.insert(name, rule.clone());
        rule
    }
}

/// What can be told of an operation's arguments before they are computed.
fn check(operation: Operation, arguments: &[Rule], path: &str, problems: &mut Problems) -> Option<()> {
    match operation {
        Operation::SemVer => check_versions(arguments, path, problems),
        Operation::Fractional => check_split(arguments, path, problems),
        Operation::StartsWith | Operation::EndsWith => {
            for (place, argument) in arguments.iter().enumerate() {
                if matches!(argument, Rule::Literal(value) if !value.is_string()) {
                    problems.add(&format!("{path}[{place}]"), "it is no text", "give a text here");
                    return None;
                }
            }
            Some(())
        }
        Operation::Var => match arguments.first() {
            Some(Rule::Literal(Value::String(name))) if name.starts_with("$flagd.") => {
                let known = ["$flagd.flagKey", "$flagd.timestamp"];
                if known.contains(&name.as_str()) {
                    return Some(());
                }
                problems.add(
                    path,
                    format!("there is no property {}", quoted(name)),
                    meant(name, known.into_iter()),
                );
                None
            }
            _ => Some(()),
        },
        _ => Some(()),
    }
}

fn check_versions(arguments: &[Rule], path: &str, problems: &mut Problems) -> Option<()> {
    let mut fine = Some(());
    for (place, argument) in arguments.iter().enumerate() {
        let Rule::Literal(value) = argument else { continue };
        let text = value.as_str().unwrap_or_default();
        let place_path = format!("{path}[{place}]");
        if place == 1 && !sem_ver::COMPARISONS.contains(&text) {
            problems.add(
                &place_path,
                format!("{value} compares no versions"),
                format!("use one of: {}", sem_ver::COMPARISONS.join(" ")),
            );
            fine = None;
        } else if place != 1 && !sem_ver::is_version(text) {
            problems.add(
                &place_path,
                format!("{value} is no version"),
                "write it like \"1.2.3\"",
            );
            fine = None;
        }
    }
    fine
}

/// Largest sum of a split's weights.
pub(crate) const WEIGHTS_MAX: u64 = i32::MAX as u64;

fn check_split(arguments: &[Rule], path: &str, problems: &mut Problems) -> Option<()> {
    let mut sum: u64 = 0;
    let mut parts = 0;
    let mut fine = Some(());
    for (place, argument) in arguments.iter().enumerate() {
        let place_path = format!("{path}[{place}]");
        match argument {
            Rule::List(pair) => {
                parts += 1;
                match (pair.len(), pair.get(1)) {
                    (1, _) => sum += 1,
                    (2, Some(Rule::Literal(weight))) => match weight_of(weight) {
                        Some(weight) => sum += weight,
                        None => {
                            problems.add(
                                &format!("{place_path}[1]"),
                                format!("the weight {weight} is no whole number from 0 to {WEIGHTS_MAX}"),
                                "use whole numbers: 1 and 3 make 25 % and 75 %",
                            );
                            fine = None;
                        }
                    },
                    (2, _) => {}
                    _ => {
                        problems.add(
                            &place_path,
                            "a part of a split is a variant and its weight",
                            "write [\"variant\", 10]",
                        );
                        fine = None;
                    }
                }
            }
            // The first may be what is hashed, and any may be computed.
            Rule::Literal(_) if place > 0 => {
                problems.add(
                    &place_path,
                    "a part of a split is a variant and its weight",
                    "write [\"variant\", 10]",
                );
                fine = None;
            }
            _ => parts += usize::from(place > 0),
        }
    }
    if parts == 0 {
        problems.add(path, "the split has no parts", "add [\"variant\", weight]");
        fine = None;
    }
    if sum > WEIGHTS_MAX {
        problems.add(
            path,
            format!("the weights sum to {sum}, past {WEIGHTS_MAX}"),
            "divide them all",
        );
        fine = None;
    }
    fine
}

/// A weight as written: a whole number within the limit; `null` counts as 1.
pub(crate) fn weight_of(value: &Value) -> Option<u64> {
    if value.is_null() {
        return Some(1);
    }
    let number = value.as_f64()?;
    (number.fract() == 0.0 && (0.0..=WEIGHTS_MAX as f64).contains(&number)).then_some(number as u64)
}
