//! Signals as tables: columns for other tools to read, rows for us.

mod events;
mod logs;
mod spans;

use std::fmt;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt8Array,
};
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};
use trimtab_model::{Arm, Identity};
use trimtab_telemetry::{Attributes, Batch};

use crate::plain_json;

/// The three kinds of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    Logs,
    Spans,
    Events,
}

impl Signal {
    pub(crate) const ALL: [Signal; 3] = [Signal::Logs, Signal::Spans, Signal::Events];

    /// Also the folder's name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Signal::Logs => "logs",
            Signal::Spans => "spans",
            Signal::Events => "events",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A row of one signal.
pub(crate) trait Row: Clone + Send + Sync + 'static {
    const SIGNAL: Signal;
    /// Columns that files are sorted by.
    const SORTED_BY: &'static [&'static str];
    fn schema() -> SchemaRef;
    /// In the order of the schema.
    fn columns(rows: &[&Self]) -> Vec<ArrayRef>;
    /// Rows of a record batch, or what is wrong with it.
    fn read(batch: &RecordBatch) -> Result<Vec<Self>, String>;
    fn nanos(&self) -> u64;
    fn identity(&self) -> &Arc<Identity>;
    fn of(batch: &Batch) -> &[Self];
    fn put(rows: Vec<Self>, into: &mut Batch);

    /// The order within a file.
    fn sorts_before(&self, other: &Self) -> bool {
        let key = |row: &Self| {
            let service = (Self::SORTED_BY.len() > 1).then(|| row.identity().service.clone());
            (service, row.nanos())
        };
        key(self) < key(other)
    }
}

const IDENTITY: [&str; 6] = [
    "service",
    "environment",
    "release",
    "instance",
    "rollout",
    "cohort",
];

fn time_field(name: &str) -> Field {
    Field::new(
        name,
        DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        false,
    )
}

fn text_field(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn identity_fields() -> Vec<Field> {
    IDENTITY.iter().map(|name| text_field(name)).collect()
}

fn times(values: impl Iterator<Item = u64>) -> ArrayRef {
    // Nanoseconds beyond 2262 do not fit; the limit on times ahead refused them.
    let values = values.map(|nanos| i64::try_from(nanos).unwrap_or(i64::MAX));
    Arc::new(TimestampNanosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn texts<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn identity_columns(rows: &[&Arc<Identity>]) -> Vec<ArrayRef> {
    let rows = || rows.iter();
    vec![
        texts(rows().map(|own| own.service.as_ref().map(|name| name.as_str()))),
        texts(rows().map(|own| own.environment.as_ref().map(|name| name.as_str()))),
        texts(rows().map(|own| own.release.as_ref().map(|name| name.as_str()))),
        texts(rows().map(|own| own.instance.as_ref().map(|name| name.as_str()))),
        texts(rows().map(|own| own.rollout.as_ref().map(|name| name.as_str()))),
        texts(rows().map(|own| own.cohort.map(Arm::as_str))),
    ]
}

/// Two columns: the plain form and the exact one.
fn attributes_columns<'a>(rows: impl Iterator<Item = &'a Attributes>) -> [ArrayRef; 2] {
    let (plain, exact): (Vec<_>, Vec<_>) = rows.map(plain_json::write).unzip();
    [texts(plain.into_iter()), texts(exact.into_iter())]
}

/// The columns of a record batch by name.
struct Reader<'a>(&'a RecordBatch);

impl<'a> Reader<'a> {
    fn column<T: 'static>(&self, name: &str) -> Result<&'a T, String> {
        let column = self
            .0
            .column_by_name(name)
            .ok_or_else(|| format!("it lacks the column {name}"))?;
        column
            .as_any()
            .downcast_ref()
            .ok_or_else(|| format!("its column {name} has another type"))
    }

    fn text(&self, name: &str) -> Result<Texts<'a>, String> {
        self.column(name).map(Texts)
    }

    fn times(&self, name: &str) -> Result<&'a TimestampNanosecondArray, String> {
        self.column(name)
    }

    fn integers(&self, name: &str) -> Result<&'a Int64Array, String> {
        self.column(name)
    }

    fn bytes(&self, name: &str) -> Result<&'a UInt8Array, String> {
        self.column(name)
    }

    /// Each row's identity; neighbours share it.
    fn identities(&self) -> Result<Vec<Arc<Identity>>, String> {
        let columns = IDENTITY
            .iter()
            .map(|name| self.text(name))
            .collect::<Result<Vec<_>, _>>()?;
        let mut last: Option<(Vec<Option<&str>>, Arc<Identity>)> = None;
        let mut identities = Vec::with_capacity(self.0.num_rows());
        for row in 0..self.0.num_rows() {
            let parts: Vec<Option<&str>> = columns.iter().map(|column| column.get(row)).collect();
            let known = last.as_ref().filter(|(known, _)| *known == parts);
            let identity = match known {
                Some((_, identity)) => identity.clone(),
                None => Arc::new(identity_of(&parts)?),
            };
            identities.push(identity.clone());
            last = Some((parts, identity));
        }
        Ok(identities)
    }

    /// Each row's attributes; neighbours with the same text share them.
    fn attributes(&self, name: &str) -> Result<Vec<Arc<Attributes>>, String> {
        let (plain, exact) = (self.text(name)?, self.text(&format!("{name}_exact"))?);
        let mut last: Option<(Option<&str>, Option<&str>, Arc<Attributes>)> = None;
        let mut all = Vec::with_capacity(self.0.num_rows());
        for row in 0..self.0.num_rows() {
            let (plain, exact) = (plain.get(row), exact.get(row));
            let attributes = match &last {
                Some((p, e, known)) if *p == plain && *e == exact => known.clone(),
                _ => Arc::new(plain_json::read(plain, exact)?),
            };
            all.push(attributes.clone());
            last = Some((plain, exact, attributes));
        }
        Ok(all)
    }
}

fn identity_of(parts: &[Option<&str>]) -> Result<Identity, String> {
    fn parsed<T: std::str::FromStr<Err: fmt::Display>>(text: Option<&str>) -> Result<Option<T>, String> {
        text.map(str::parse)
            .transpose()
            .map_err(|error: T::Err| error.to_string())
    }
    let part = |index: usize| parts.get(index).copied().flatten();
    Ok(Identity {
        service: parsed(part(0))?,
        environment: parsed(part(1))?,
        release: parsed(part(2))?,
        instance: parsed(part(3))?,
        rollout: parsed(part(4))?,
        cohort: match part(5) {
            None => None,
            Some("baseline") => Some(Arm::Baseline),
            Some("candidate") => Some(Arm::Candidate),
            Some(other) => return Err(format!("{other:?} is no cohort")),
        },
    })
}

#[derive(Clone, Copy)]
struct Texts<'a>(&'a StringArray);

impl<'a> Texts<'a> {
    fn get(&self, row: usize) -> Option<&'a str> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }

    fn or_empty(&self, row: usize) -> String {
        self.get(row).unwrap_or_default().to_owned()
    }

    fn parsed<T: std::str::FromStr<Err: fmt::Display>>(&self, row: usize) -> Result<Option<T>, String> {
        self.get(row)
            .map(str::parse)
            .transpose()
            .map_err(|error: T::Err| error.to_string())
    }
}

fn unless_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
