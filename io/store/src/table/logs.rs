//! Log records.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt8Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use trimtab_model::Identity;
use trimtab_telemetry::{AttributeValue, Attributes, Batch, Level, LogRecord};

use super::{
    Reader, Row, Signal, attributes_columns, identity_columns, identity_fields, text_field, texts,
    time_field, times, unless_empty,
};
use crate::TEMPLATE_ATTRIBUTE;

impl Row for LogRecord {
    const SIGNAL: Signal = Signal::Logs;
    const SORTED_BY: &'static [&'static str] = &["service", "time"];

    fn schema() -> SchemaRef {
        let mut fields = vec![time_field("time"), time_field("observed_time")];
        fields.extend(identity_fields());
        fields.push(Field::new("severity_number", DataType::UInt8, false));
        fields.extend(
            [
                "level",
                "body",
                "template_id",
                "trace_id",
                "span_id",
                "scope",
                "attributes",
                "attributes_exact",
                "resource",
                "resource_exact",
            ]
            .map(text_field),
        );
        Arc::new(Schema::new(fields))
    }

    fn columns(rows: &[&Self]) -> Vec<ArrayRef> {
        let each = || rows.iter();
        let identities: Vec<&Arc<Identity>> = each().map(|row| &row.identity).collect();
        let mut columns = vec![
            times(each().map(|row| row.at_nanos)),
            times(each().map(|row| row.observed_nanos)),
        ];
        columns.extend(identity_columns(&identities));
        columns.push(Arc::new(UInt8Array::from_iter_values(
            each().map(|row| row.level.severity_number()),
        )));
        columns.push(texts(each().map(|row| Some(row.level.as_str()))));
        columns.push(texts(each().map(|row| Some(row.body.as_str()))));
        columns.push(texts(each().map(|row| template(row))));
        columns.push(texts(each().map(|row| row.trace_id.map(|id| id.to_string()))));
        columns.push(texts(each().map(|row| row.span_id.map(|id| id.to_string()))));
        columns.push(texts(each().map(|row| unless_empty(&row.scope))));
        // The template has a column of its own.
        let without_template: Vec<Attributes> = each()
            .map(|row| {
                let mut attributes = row.attributes.clone();
                if template(row).is_some() {
                    attributes.remove(TEMPLATE_ATTRIBUTE);
                }
                attributes
            })
            .collect();
        columns.extend(attributes_columns(without_template.iter()));
        columns.extend(attributes_columns(each().map(|row| row.resource.as_ref())));
        columns
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let reader = Reader(batch);
        let (time, observed) = (reader.times("time")?, reader.times("observed_time")?);
        let (identities, severity) = (reader.identities()?, reader.bytes("severity_number")?);
        let (body, template) = (reader.text("body")?, reader.text("template_id")?);
        let (trace_id, span_id) = (reader.text("trace_id")?, reader.text("span_id")?);
        let scope = reader.text("scope")?;
        let (attributes, resource) = (reader.attributes("attributes")?, reader.attributes("resource")?);
        let mut rows = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let mut attributes = attributes[row].as_ref().clone();
            if let Some(template) = template.get(row) {
                attributes.insert(
                    TEMPLATE_ATTRIBUTE.to_owned(),
                    AttributeValue::Text(template.to_owned()),
                );
            }
            let number = i32::from(severity.value(row));
            rows.push(LogRecord {
                identity: identities[row].clone(),
                at_nanos: time.value(row) as u64,
                observed_nanos: observed.value(row) as u64,
                level: Level::from_severity_number(number).ok_or("a severity number is out of range")?,
                body: body.or_empty(row),
                trace_id: trace_id.parsed(row)?,
                span_id: span_id.parsed(row)?,
                scope: scope.or_empty(row),
                attributes,
                resource: resource[row].clone(),
            });
        }
        Ok(rows)
    }

    fn nanos(&self) -> u64 {
        self.at_nanos
    }

    fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    fn of(batch: &Batch) -> &[Self] {
        &batch.logs
    }

    fn put(rows: Vec<Self>, into: &mut Batch) {
        into.logs = rows;
    }
}

fn template(log: &LogRecord) -> Option<&str> {
    log.attributes.get(TEMPLATE_ATTRIBUTE)?.as_str()
}
