//! Spans.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1 as proto;
use trimtab_model::Identity;

use super::{ATTRIBUTE_BYTES_MAX, Decoded, Reason, SPAN_PARTS_MAX, rows};
use crate::{Attributes, Span, SpanEvent, SpanId, SpanKind, SpanLink, SpanStatus, TraceId};

/// What the spans of one scope share.
struct Shared<'a> {
    identity: &'a Arc<Identity>,
    resource: &'a Arc<Attributes>,
    scope: &'a str,
    received_nanos: u64,
}

pub(super) fn decode(
    request: ExportTraceServiceRequest,
    identity: &Identity,
    received_nanos: u64,
) -> Decoded {
    let mut decoded = Decoded::default();
    let identity = Arc::new(identity.clone());
    for from_resource in request.resource_spans {
        let resource = rows::resource(from_resource.resource, &identity, &mut decoded.cut);
        for from_scope in from_resource.scope_spans {
            let scope = rows::scope(from_scope.scope, &mut decoded.cut);
            let shared = Shared {
                identity: &identity,
                resource: &resource,
                scope: &scope,
                received_nanos,
            };
            for span in from_scope.spans {
                match shared.span(span, &mut decoded.cut) {
                    Ok(span) => decoded.batch.spans.push(span),
                    Err(reason) => decoded.reject(reason, 1),
                }
            }
        }
    }
    decoded
}

impl Shared<'_> {
    fn span(&self, span: proto::Span, cuts: &mut u64) -> Result<Span, Reason> {
        let trace_id = TraceId::from_slice(&span.trace_id).map_err(|_| Reason::BadId)?;
        let span_id = SpanId::from_slice(&span.span_id).map_err(|_| Reason::BadId)?;
        let start_nanos = if span.start_time_unix_nano == 0 {
            self.received_nanos
        } else {
            span.start_time_unix_nano
        };
        let end_nanos = span.end_time_unix_nano.max(start_nanos);
        if rows::ahead(end_nanos, self.received_nanos) {
            return Err(Reason::AheadOfTime);
        }
        let status = span.status.unwrap_or_default();
        let mut status_message = status.message;
        rows::cut(&mut status_message, ATTRIBUTE_BYTES_MAX, cuts);
        Ok(Span {
            identity: Arc::clone(self.identity),
            trace_id,
            span_id,
            parent_span_id: SpanId::from_slice(&span.parent_span_id).ok(),
            name: rows::name(span.name, cuts),
            kind: kind(span.kind),
            start_nanos,
            end_nanos,
            status: match status.code {
                1 => SpanStatus::Ok,
                2 => SpanStatus::Error,
                _ => SpanStatus::Unset,
            },
            status_message,
            scope: self.scope.to_owned(),
            attributes: rows::attributes(span.attributes, cuts),
            resource: Arc::clone(self.resource),
            events: events(span.events, cuts),
            links: links(span.links, cuts),
        })
    }
}

fn kind(number: i32) -> SpanKind {
    match number {
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

fn events(events: Vec<proto::span::Event>, cuts: &mut u64) -> Vec<SpanEvent> {
    *cuts += events.len().saturating_sub(SPAN_PARTS_MAX) as u64;
    let kept = events.into_iter().take(SPAN_PARTS_MAX);
    kept.map(|event| SpanEvent {
        at_nanos: event.time_unix_nano,
        name: rows::name(event.name, cuts),
        attributes: rows::attributes(event.attributes, cuts),
    })
    .collect()
}

fn links(links: Vec<proto::span::Link>, cuts: &mut u64) -> Vec<SpanLink> {
    let mut kept = Vec::new();
    for link in links {
        let ids = (
            TraceId::from_slice(&link.trace_id),
            SpanId::from_slice(&link.span_id),
        );
        match ids {
            (Ok(trace_id), Ok(span_id)) if kept.len() < SPAN_PARTS_MAX => kept.push(SpanLink {
                trace_id,
                span_id,
                attributes: rows::attributes(link.attributes, cuts),
            }),
            _ => *cuts += 1,
        }
    }
    kept
}
