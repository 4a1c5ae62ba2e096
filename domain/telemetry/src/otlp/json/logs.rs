//! Logs requests.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};

use super::{Fields, Result, any_value, body};
use crate::otlp::DecodeError;

pub(in crate::otlp) fn request(bytes: &[u8]) -> std::result::Result<ExportLogsServiceRequest, DecodeError> {
    body(bytes, |mut fields| {
        Ok(ExportLogsServiceRequest {
            resource_logs: fields.messages("resourceLogs", resource_logs)?,
        })
    })
}

fn resource_logs(mut fields: Fields) -> Result<ResourceLogs> {
    Ok(ResourceLogs {
        resource: fields.resource()?,
        scope_logs: fields.messages("scopeLogs", |mut fields| {
            Ok(ScopeLogs {
                scope: fields.scope()?,
                log_records: fields.messages("logRecords", record)?,
                ..Default::default()
            })
        })?,
        ..Default::default()
    })
}

fn record(mut fields: Fields) -> Result<LogRecord> {
    let severity = |name: &str| SeverityNumber::from_str_name(name).map(|number| number as i32);
    Ok(LogRecord {
        time_unix_nano: fields.u64("timeUnixNano")?,
        observed_time_unix_nano: fields.u64("observedTimeUnixNano")?,
        severity_number: fields.choice("severityNumber", severity)?,
        severity_text: fields.text("severityText")?,
        body: fields.message("body", any_value)?,
        attributes: fields.attributes()?,
        dropped_attributes_count: fields.u32("droppedAttributesCount")?,
        flags: fields.u32("flags")?,
        trace_id: fields.hex("traceId")?,
        span_id: fields.hex("spanId")?,
        event_name: fields.text("eventName")?,
    })
}
