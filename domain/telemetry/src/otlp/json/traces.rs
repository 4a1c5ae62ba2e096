//! Traces requests.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::{Fields, Result, body};
use crate::otlp::DecodeError;

pub(in crate::otlp) fn request(bytes: &[u8]) -> std::result::Result<ExportTraceServiceRequest, DecodeError> {
    body(bytes, |mut fields| {
        Ok(ExportTraceServiceRequest {
            resource_spans: fields.messages("resourceSpans", resource_spans)?,
        })
    })
}

fn resource_spans(mut fields: Fields) -> Result<ResourceSpans> {
    Ok(ResourceSpans {
        resource: fields.resource()?,
        scope_spans: fields.messages("scopeSpans", |mut fields| {
            Ok(ScopeSpans {
                scope: fields.scope()?,
                spans: fields.messages("spans", span)?,
                ..Default::default()
            })
        })?,
        ..Default::default()
    })
}

fn span(mut fields: Fields) -> Result<Span> {
    let kind = |name: &str| SpanKind::from_str_name(name).map(|kind| kind as i32);
    Ok(Span {
        trace_id: fields.hex("traceId")?,
        span_id: fields.hex("spanId")?,
        trace_state: fields.text("traceState")?,
        parent_span_id: fields.hex("parentSpanId")?,
        flags: fields.u32("flags")?,
        name: fields.text("name")?,
        kind: fields.choice("kind", kind)?,
        start_time_unix_nano: fields.u64("startTimeUnixNano")?,
        end_time_unix_nano: fields.u64("endTimeUnixNano")?,
        attributes: fields.attributes()?,
        dropped_attributes_count: fields.u32("droppedAttributesCount")?,
        events: fields.messages("events", event)?,
        dropped_events_count: fields.u32("droppedEventsCount")?,
        links: fields.messages("links", link)?,
        dropped_links_count: fields.u32("droppedLinksCount")?,
        status: fields.message("status", status)?,
    })
}

fn event(mut fields: Fields) -> Result<Event> {
    Ok(Event {
        time_unix_nano: fields.u64("timeUnixNano")?,
        name: fields.text("name")?,
        attributes: fields.attributes()?,
        dropped_attributes_count: fields.u32("droppedAttributesCount")?,
    })
}

fn link(mut fields: Fields) -> Result<Link> {
    Ok(Link {
        trace_id: fields.hex("traceId")?,
        span_id: fields.hex("spanId")?,
        trace_state: fields.text("traceState")?,
        attributes: fields.attributes()?,
        dropped_attributes_count: fields.u32("droppedAttributesCount")?,
        flags: fields.u32("flags")?,
    })
}

fn status(mut fields: Fields) -> Result<Status> {
    let code = |name: &str| StatusCode::from_str_name(name).map(|code| code as i32);
    Ok(Status {
        message: fields.text("message")?,
        code: fields.choice("code", code)?,
    })
}
