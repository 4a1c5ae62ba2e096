//! What a rule is worth in a context.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Value, json};
use trimtab_model::Timestamp;

use crate::bucketing::Bucketing;
use crate::budget::{Budget, Stop};
use crate::fractional::{self, Draw};
use crate::json::{alike, from_number, number, order, same, size, text, truthy};
use crate::logic::Rule;
use crate::operation::Operation;
use crate::sem_ver;

/// One evaluation of one flag.
pub(crate) struct Evaluation<'e> {
    pub(crate) flag: &'e str,
    pub(crate) targeting_key: Option<&'e str>,
    pub(crate) bucketing: Bucketing,
    pub(crate) now: Timestamp,
    pub(crate) budget: Budget,
    /// The last draw that was made.
    pub(crate) drawn: Option<Draw>,
}

type Worth<'v> = Result<Cow<'v, Value>, Stop>;

fn owned<'v>(value: impl Into<Value>) -> Worth<'v> {
    Ok(Cow::Owned(value.into()))
}

impl Evaluation<'_> {
    /// What `rule` is worth with `data` as the context.
    pub(crate) fn run<'v>(&mut self, rule: &'v Rule, data: &'v Value) -> Worth<'v> {
        self.budget.step()?;
        match rule {
            Rule::Literal(value) => Ok(Cow::Borrowed(value)),
            Rule::Shared(rule) => self.run(rule, data),
            Rule::List(rules) => owned(self.all(rules, data)?),
            Rule::Call(operation, rules) => self.call(*operation, rules, data),
        }
    }

    fn call<'v>(&mut self, operation: Operation, rules: &'v [Rule], data: &'v Value) -> Worth<'v> {
        use Operation as O;
        match operation {
            O::Var => self.var(rules, data),
            O::If => self.choose(rules, data),
            O::Or => self.first(rules, data, true),
            O::And => self.first(rules, data, false),
            O::Alike => self.pair(rules, data, alike),
            O::NotAlike => self.pair(rules, data, |a, b| !alike(a, b)),
            O::Same => self.pair(rules, data, same),
            O::NotSame => self.pair(rules, data, |a, b| !same(a, b)),
            O::Greater => self.pair(rules, data, |a, b| order(a, b) == Some(Ordering::Greater)),
            O::GreaterOrAlike => self.pair(rules, data, |a, b| order(a, b).is_some_and(Ordering::is_ge)),
            O::Less => self.between(rules, data, Ordering::is_lt),
            O::LessOrAlike => self.between(rules, data, Ordering::is_le),
            O::In => self.pair(rules, data, contains),
            O::StartsWith => self.pair(rules, data, |a, b| texts(a, b, |a, b| a.starts_with(b))),
            O::EndsWith => self.pair(rules, data, |a, b| texts(a, b, |a, b| a.ends_with(b))),
            O::Not => self.single(rules, data, |value| Value::Bool(!truthy(value))),
            O::Truthy => self.single(rules, data, |value| Value::Bool(truthy(value))),
            O::Lower => self.casing(rules, data, str::to_ascii_lowercase),
            O::Upper => self.casing(rules, data, str::to_ascii_uppercase),
            O::Add | O::Subtract | O::Multiply | O::Divide | O::Modulo | O::Min | O::Max => {
                self.arithmetic(operation, rules, data)
            }
            O::Map | O::Filter | O::All | O::None | O::Some => self.each(operation, rules, data),
            O::Reduce => self.reduce(rules, data),
            O::Merge => self.merge(rules, data),
            O::Cat => self.cat(rules, data),
            O::Substr => self.substr(rules, data),
            O::Missing => self.missing(rules, data),
            O::MissingSome => self.missing_some(rules, data),
            O::SemVer => self.versions(rules, data),
            O::Fractional => self.split(rules, data),
        }
    }

    /// All of the rules' worths, copied.
    fn all(&mut self, rules: &[Rule], data: &Value) -> Result<Vec<Value>, Stop> {
        let mut values = Vec::with_capacity(rules.len());
        for rule in rules {
            let value = self.run(rule, data)?;
            values.push(self.keep(value)?);
        }
        Ok(values)
    }

    /// A value of its own, paid for.
    fn keep(&mut self, value: Cow<'_, Value>) -> Result<Value, Stop> {
        self.budget.make(size(&value))?;
        Ok(value.into_owned())
    }

    fn at<'v>(&mut self, rules: &'v [Rule], place: usize, data: &'v Value) -> Worth<'v> {
        match rules.get(place) {
            Some(rule) => self.run(rule, data),
            None => Ok(Cow::Owned(Value::Null)),
        }
    }

    fn pair<'v>(
        &mut self,
        rules: &[Rule],
        data: &Value,
        holds: impl Fn(&Value, &Value) -> bool,
    ) -> Worth<'v> {
        let (a, b) = (self.at(rules, 0, data)?, self.at(rules, 1, data)?);
        owned(holds(&a, &b))
    }

    fn single<'v>(&mut self, rules: &[Rule], data: &Value, of: impl Fn(&Value) -> Value) -> Worth<'v> {
        let value = self.at(rules, 0, data)?;
        owned(of(&value))
    }

    fn casing<'v>(&mut self, rules: &[Rule], data: &Value, change: fn(&str) -> String) -> Worth<'v> {
        let value = self.at(rules, 0, data)?;
        match value.as_str() {
            Some(text) => {
                self.budget.make(text.len())?;
                owned(change(text))
            }
            None => owned(Value::Null),
        }
    }

    fn between<'v>(&mut self, rules: &[Rule], data: &Value, holds: fn(Ordering) -> bool) -> Worth<'v> {
        let mut last = self.at(rules, 0, data)?;
        for place in 1..rules.len() {
            let next = self.at(rules, place, data)?;
            if !order(&last, &next).is_some_and(holds) {
                return owned(false);
            }
            last = next;
        }
        owned(true)
    }

    fn choose<'v>(&mut self, rules: &'v [Rule], data: &'v Value) -> Worth<'v> {
        let mut rest = rules;
        while let [condition, then, after @ ..] = rest {
            if truthy(self.run(condition, data)?.as_ref()) {
                return self.run(then, data);
            }
            rest = after;
        }
        self.at(rest, 0, data)
    }

    /// The first value that is truthy, or that is not; else the last.
    fn first<'v>(&mut self, rules: &'v [Rule], data: &'v Value, wanted: bool) -> Worth<'v> {
        let mut last = Cow::Owned(Value::Null);
        for rule in rules {
            last = self.run(rule, data)?;
            if truthy(&last) == wanted {
                break;
            }
        }
        Ok(last)
    }

    fn var<'v>(&mut self, rules: &'v [Rule], data: &'v Value) -> Worth<'v> {
        let path = self.at(rules, 0, data)?;
        let found = match path.as_ref() {
            Value::String(name) if name == "$flagd.flagKey" => return owned(self.flag),
            Value::String(name) if name == "$flagd.timestamp" => return owned(self.now.0.div_euclid(1000)),
            path => find(data, &text_of_path(path)),
        };
        match found {
            Some(value) => Ok(Cow::Borrowed(value)),
            None => self.at(rules, 1, data),
        }
    }

    fn arithmetic<'v>(&mut self, operation: Operation, rules: &[Rule], data: &Value) -> Worth<'v> {
        let mut numbers = Vec::with_capacity(rules.len());
        for rule in rules {
            let value = self.run(rule, data)?;
            match value.as_ref() {
                // `{"max": {"var": "scores"}}`: the numbers of one list.
                Value::Array(items) if rules.len() == 1 => {
                    self.budget.make(items.len() * 8)?;
                    numbers.extend(items.iter().map(number));
                }
                single => numbers.push(number(single)),
            }
        }
        let Some((first, rest)) = numbers.split_first() else {
            return owned(Value::Null);
        };
        let folded = |step: fn(f64, f64) -> f64| rest.iter().fold(*first, |sum, next| step(sum, *next));
        let result = match operation {
            Operation::Add => folded(|a, b| a + b),
            Operation::Subtract if rest.is_empty() => -first,
            Operation::Subtract => folded(|a, b| a - b),
            Operation::Multiply => folded(|a, b| a * b),
            Operation::Divide => folded(|a, b| a / b),
            Operation::Modulo => folded(|a, b| a % b),
            // Unlike f64::min, one that is no number makes the result none.
            Operation::Min => folded(|a, b| if a < b || a.is_nan() { a } else { b }),
            _ => folded(|a, b| if a > b || a.is_nan() { a } else { b }),
        };
        owned(from_number(result))
    }

    fn each<'v>(&mut self, operation: Operation, rules: &[Rule], data: &Value) -> Worth<'v> {
        let source = self.at(rules, 0, data)?;
        let none = Vec::new();
        let items = source.as_array().unwrap_or(&none);
        let Some(rule) = rules.get(1) else {
            return owned(Value::Null);
        };
        let mut made = Vec::new();
        let mut holding = 0;
        for item in items {
            let worth = self.run(rule, item)?;
            match operation {
                Operation::Map => made.push(self.keep(worth)?),
                Operation::Filter if truthy(&worth) => made.push(self.keep(Cow::Borrowed(item))?),
                Operation::Filter => {}
                _ => holding += usize::from(truthy(&worth)),
            }
        }
        match operation {
            Operation::All => owned(!items.is_empty() && holding == items.len()),
            Operation::None => owned(holding == 0),
            Operation::Some => owned(holding > 0),
            _ => owned(made),
        }
    }

    fn reduce<'v>(&mut self, rules: &[Rule], data: &Value) -> Worth<'v> {
        let start = self.at(rules, 2, data)?;
        let mut sum = self.keep(start)?;
        let source = self.at(rules, 0, data)?;
        let Some(rule) = rules.get(1) else {
            return owned(Value::Null);
        };
        for item in source.as_array().into_iter().flatten() {
            let item = self.keep(Cow::Borrowed(item))?;
            let scope = json!({ "current": item, "accumulator": sum });
            let worth = self.run(rule, &scope)?;
            sum = self.keep(worth)?;
        }
        owned(sum)
    }

    fn merge<'v>(&mut self, rules: &[Rule], data: &Value) -> Worth<'v> {
        let mut merged = Vec::new();
        for value in self.all(rules, data)? {
            match value {
                Value::Array(items) => merged.extend(items),
                single => merged.push(single),
            }
        }
        owned(merged)
    }

    fn cat<'v>(&mut self, rules: &[Rule], data: &Value) -> Worth<'v> {
        let mut joined = String::new();
        for rule in rules {
            let value = self.run(rule, data)?;
            // What is absent adds nothing, as when flagd joins.
            if !value.is_null() {
                let piece = text(&value);
                self.budget.make(piece.len())?;
                joined.push_str(&piece);
            }
        }
        owned(joined)
    }

    fn substr<'v>(&mut self, rules: &[Rule], data: &Value) -> Worth<'v> {
        let value = self.at(rules, 0, data)?;
        let whole = text(&value);
        let letters: Vec<char> = whole.chars().collect();
        self.budget.make(letters.len())?;
        let count = letters.len() as i64;
        let start = number(self.at(rules, 1, data)?.as_ref()) as i64;
        let start = if start < 0 {
            count.saturating_add(start).max(0)
        } else {
            start.min(count)
        };
        let length = self.at(rules, 2, data)?;
        let end = match length.as_ref() {
            Value::Null => count,
            length => match number(length) as i64 {
                back if back < 0 => count.saturating_add(back),
                length => start.saturating_add(length).min(count),
            },
        };
        let taken = letters.get(start as usize..end.max(start) as usize);
        owned(taken.unwrap_or_default().iter().collect::<String>())
    }

    fn missing<'v>(&mut self, rules: &[Rule], data: &Value) -> Worth<'v> {
        let values = self.all(rules, data)?;
        let names = match values.first() {
            Some(Value::Array(names)) => names,
            _ => &values,
        };
        owned(absent(names, data))
    }

    fn missing_some<'v>(&mut self, rules: &[Rule], data: &Value) -> Worth<'v> {
        let least = number(self.at(rules, 0, data)?.as_ref());
        let names = self.at(rules, 1, data)?;
        let none = Vec::new();
        let names = names.as_array().unwrap_or(&none);
        let missing = absent(names, data);
        if (names.len() - missing.len()) as f64 >= least {
            owned(none)
        } else {
            owned(missing)
        }
    }

    fn versions<'v>(&mut self, rules: &[Rule], data: &Value) -> Worth<'v> {
        let values = [
            self.at(rules, 0, data)?,
            self.at(rules, 1, data)?,
            self.at(rules, 2, data)?,
        ];
        let [left, comparison, right] = values.each_ref().map(|value| text(value));
        owned(sem_ver::compare(&left, &comparison, &right).map_or(Value::Null, Value::Bool))
    }

    fn split<'v>(&mut self, rules: &[Rule], data: &Value) -> Worth<'v> {
        let values = self.all(rules, data)?;
        let drawn = fractional::draw(&values, self.bucketing, self.flag, self.targeting_key)?;
        let part = drawn.part.clone();
        self.drawn = Some(drawn);
        Ok(Cow::Owned(part))
    }
}

fn contains(needle: &Value, hay: &Value) -> bool {
    match hay {
        Value::String(hay) => hay.contains(text(needle).as_ref()) && !needle.is_null(),
        Value::Array(items) => items.iter().any(|item| same(item, needle)),
        _ => false,
    }
}

fn texts(a: &Value, b: &Value, holds: fn(&str, &str) -> bool) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => holds(a, b),
        _ => false,
    }
}

fn absent(names: &[Value], data: &Value) -> Vec<Value> {
    let is_absent = |name: &&Value| match find(data, &text_of_path(name)) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    };
    names.iter().filter(is_absent).cloned().collect()
}

fn text_of_path(path: &Value) -> Cow<'_, str> {
    match path {
        Value::Null => Cow::Borrowed(""),
        other => text(other),
    }
}

/// What stands at a dotted path; the empty path is everything.
fn find<'v>(data: &'v Value, path: &str) -> Option<&'v Value> {
    if path.is_empty() {
        return Some(data);
    }
    // A key may itself have dots in it, as attributes of OpenTelemetry do.
    if let Some(whole) = data.as_object().and_then(|fields| fields.get(path)) {
        return Some(whole);
    }
    path.split('.').try_fold(data, |at, step| match at {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}
