//! Spans.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use trimtab_model::Identity;
use trimtab_telemetry::{Batch, Span, SpanKind, SpanStatus};

use super::{
    Reader, Row, Signal, Texts, attributes_columns, identity_columns, identity_fields, text_field, texts,
    time_field, times, unless_empty,
};

const KINDS: [SpanKind; 5] = [
    SpanKind::Internal,
    SpanKind::Server,
    SpanKind::Client,
    SpanKind::Producer,
    SpanKind::Consumer,
];
const STATUSES: [SpanStatus; 3] = [SpanStatus::Unset, SpanStatus::Ok, SpanStatus::Error];

impl Row for Span {
    const SIGNAL: Signal = Signal::Spans;
    const SORTED_BY: &'static [&'static str] = &["service", "time"];

    fn schema() -> SchemaRef {
        let mut fields = vec![
            time_field("time"),
            time_field("end_time"),
            Field::new("duration_nanos", DataType::Int64, false),
        ];
        fields.extend(identity_fields());
        fields.extend(
            [
                "trace_id",
                "span_id",
                "parent_span_id",
                "name",
                "kind",
                "status",
                "status_message",
                "scope",
                "attributes",
                "attributes_exact",
                "resource",
                "resource_exact",
                "events",
                "links",
            ]
            .map(text_field),
        );
        Arc::new(Schema::new(fields))
    }

    fn columns(rows: &[&Self]) -> Vec<ArrayRef> {
        let each = || rows.iter();
        let identities: Vec<&Arc<Identity>> = each().map(|row| &row.identity).collect();
        let duration = |row: &&Span| i64::try_from(row.duration_nanos()).unwrap_or(i64::MAX);
        let mut columns = vec![
            times(each().map(|row| row.start_nanos)),
            times(each().map(|row| row.end_nanos)),
            Arc::new(Int64Array::from_iter_values(each().map(duration))) as ArrayRef,
        ];
        columns.extend(identity_columns(&identities));
        columns.push(texts(each().map(|row| Some(row.trace_id.to_string()))));
        columns.push(texts(each().map(|row| Some(row.span_id.to_string()))));
        columns.push(texts(
            each().map(|row| row.parent_span_id.map(|id| id.to_string())),
        ));
        columns.push(texts(each().map(|row| Some(row.name.as_str()))));
        columns.push(texts(each().map(|row| Some(row.kind.as_str()))));
        columns.push(texts(each().map(|row| Some(row.status.as_str()))));
        columns.push(texts(each().map(|row| unless_empty(&row.status_message))));
        columns.push(texts(each().map(|row| unless_empty(&row.scope))));
        columns.extend(attributes_columns(each().map(|row| &row.attributes)));
        columns.extend(attributes_columns(each().map(|row| row.resource.as_ref())));
        columns.push(texts(each().map(|row| list_text(&row.events))));
        columns.push(texts(each().map(|row| list_text(&row.links))));
        columns
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let reader = Reader(batch);
        let (time, end) = (reader.times("time")?, reader.times("end_time")?);
        reader.integers("duration_nanos")?;
        let identities = reader.identities()?;
        let (trace_id, span_id) = (reader.text("trace_id")?, reader.text("span_id")?);
        let (parent, name) = (reader.text("parent_span_id")?, reader.text("name")?);
        let (kind, status) = (reader.text("kind")?, reader.text("status")?);
        let (message, scope) = (reader.text("status_message")?, reader.text("scope")?);
        let (attributes, resource) = (reader.attributes("attributes")?, reader.attributes("resource")?);
        let (events, links) = (reader.text("events")?, reader.text("links")?);
        let mut rows = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            rows.push(Span {
                identity: identities[row].clone(),
                trace_id: trace_id.parsed(row)?.ok_or("a span has no trace id")?,
                span_id: span_id.parsed(row)?.ok_or("a span has no id")?,
                parent_span_id: parent.parsed(row)?,
                name: name.or_empty(row),
                kind: named(&KINDS, SpanKind::as_str, kind.get(row))?,
                start_nanos: time.value(row) as u64,
                end_nanos: end.value(row) as u64,
                status: named(&STATUSES, SpanStatus::as_str, status.get(row))?,
                status_message: message.or_empty(row),
                scope: scope.or_empty(row),
                attributes: attributes[row].as_ref().clone(),
                resource: resource[row].clone(),
                events: list_of(events, row)?,
                links: list_of(links, row)?,
            });
        }
        Ok(rows)
    }

    fn nanos(&self) -> u64 {
        self.start_nanos
    }

    fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    fn of(batch: &Batch) -> &[Self] {
        &batch.spans
    }

    fn put(rows: Vec<Self>, into: &mut Batch) {
        into.spans = rows;
    }
}

fn named<T: Copy>(all: &[T], name_of: fn(T) -> &'static str, text: Option<&str>) -> Result<T, String> {
    let text = text.unwrap_or_default();
    all.iter()
        .copied()
        .find(|one| name_of(*one) == text)
        .ok_or_else(|| format!("{text:?} is no kind or status of a span"))
}

fn list_text<T: Serialize>(list: &[T]) -> Option<String> {
    if list.is_empty() {
        None
    } else {
        serde_json::to_string(list).ok()
    }
}

fn list_of<T: DeserializeOwned>(column: Texts<'_>, row: usize) -> Result<Vec<T>, String> {
    column
        .get(row)
        .map_or(Ok(Vec::new()), serde_json::from_str)
        .map_err(|error| error.to_string())
}
