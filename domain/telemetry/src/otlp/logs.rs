//! Log records.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1 as proto;
use trimtab_model::Identity;

use super::{BODY_BYTES_MAX, Decoded, Reason, rows};
use crate::{Attributes, Level, LogRecord, SpanId, TraceId};

/// What the records of one scope share.
struct Shared<'a> {
    identity: &'a Arc<Identity>,
    resource: &'a Arc<Attributes>,
    scope: &'a str,
    received_nanos: u64,
}

pub(super) fn decode(request: ExportLogsServiceRequest, identity: &Identity, received_nanos: u64) -> Decoded {
    let mut decoded = Decoded::default();
    let identity = Arc::new(identity.clone());
    for from_resource in request.resource_logs {
        let resource = rows::resource(from_resource.resource, &identity, &mut decoded.cut);
        for from_scope in from_resource.scope_logs {
            let scope = rows::scope(from_scope.scope, &mut decoded.cut);
            let shared = Shared {
                identity: &identity,
                resource: &resource,
                scope: &scope,
                received_nanos,
            };
            for record in from_scope.log_records {
                match shared.record(record, &mut decoded.cut) {
                    Ok(record) => decoded.batch.logs.push(record),
                    Err(reason) => decoded.reject(reason, 1),
                }
            }
        }
    }
    decoded
}

impl Shared<'_> {
    fn record(&self, record: proto::LogRecord, cuts: &mut u64) -> Result<LogRecord, Reason> {
        let at_nanos = [record.time_unix_nano, record.observed_time_unix_nano]
            .into_iter()
            .find(|nanos| *nanos != 0)
            .unwrap_or(self.received_nanos);
        if rows::ahead(at_nanos, self.received_nanos) {
            return Err(Reason::AheadOfTime);
        }
        let mut attributes = rows::attributes(record.attributes, cuts);
        if !record.event_name.is_empty() {
            attributes.insert(
                "event.name".to_owned(),
                rows::name(record.event_name, cuts).into(),
            );
        }
        Ok(LogRecord {
            identity: Arc::clone(self.identity),
            at_nanos,
            observed_nanos: self.received_nanos,
            level: Level::from_severity_number(record.severity_number)
                .or_else(|| Level::from_name(&record.severity_text))
                .unwrap_or_default(),
            body: record.body.map(|any| body(any, cuts)).unwrap_or_default(),
            // A log line with a wrong id is still worth keeping.
            trace_id: TraceId::from_slice(&record.trace_id).ok(),
            span_id: SpanId::from_slice(&record.span_id).ok(),
            scope: self.scope.to_owned(),
            attributes,
            resource: Arc::clone(self.resource),
        })
    }
}

fn body(any: AnyValue, cuts: &mut u64) -> String {
    let mut text = match any.value {
        Some(Value::StringValue(text)) => text,
        value => rows::value(AnyValue { value }, cuts).to_string(),
    };
    rows::cut(&mut text, BODY_BYTES_MAX, cuts);
    text
}
