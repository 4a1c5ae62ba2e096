//! Events.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Schema, SchemaRef};
use trimtab_model::Identity;
use trimtab_telemetry::{Batch, Event};

use super::{
    Reader, Row, Signal, attributes_columns, identity_columns, identity_fields, text_field, texts,
    time_field, times,
};

impl Row for Event {
    const SIGNAL: Signal = Signal::Events;
    const SORTED_BY: &'static [&'static str] = &["time"];

    fn schema() -> SchemaRef {
        let mut fields = vec![time_field("time")];
        fields.extend(identity_fields());
        fields.extend(["id", "source", "kind", "title", "attributes", "attributes_exact"].map(text_field));
        Arc::new(Schema::new(fields))
    }

    fn columns(rows: &[&Self]) -> Vec<ArrayRef> {
        let each = || rows.iter();
        let identities: Vec<&Arc<Identity>> = each().map(|row| &row.identity).collect();
        let mut columns = vec![times(each().map(|row| row.at_nanos))];
        columns.extend(identity_columns(&identities));
        columns.push(texts(each().map(|row| Some(row.id.as_str()))));
        columns.push(texts(each().map(|row| Some(row.source.as_str()))));
        columns.push(texts(each().map(|row| Some(row.kind.as_str()))));
        columns.push(texts(each().map(|row| Some(row.title.as_str()))));
        columns.extend(attributes_columns(each().map(|row| &row.attributes)));
        columns
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let reader = Reader(batch);
        let (time, identities) = (reader.times("time")?, reader.identities()?);
        let (id, source) = (reader.text("id")?, reader.text("source")?);
        let (kind, title) = (reader.text("kind")?, reader.text("title")?);
        let attributes = reader.attributes("attributes")?;
        let rows = (0..batch.num_rows()).map(|row| Event {
            identity: identities[row].clone(),
            at_nanos: time.value(row) as u64,
            id: id.or_empty(row),
            source: source.or_empty(row),
            kind: kind.or_empty(row),
            title: title.or_empty(row),
            attributes: attributes[row].as_ref().clone(),
        });
        Ok(rows.collect())
    }

    fn nanos(&self) -> u64 {
        self.at_nanos
    }

    fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    fn of(batch: &Batch) -> &[Self] {
        &batch.events
    }

    fn put(rows: Vec<Self>, into: &mut Batch) {
        into.events = rows;
    }
}
