//! JSON by the letter of the proto3 mapping, with its freedoms chosen by a seed.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Point;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
    SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Map, Value, json};

/// Writes JSON and chooses among what the mapping allows.
pub(crate) struct Writer(pub(crate) u64);

impl Writer {
    pub(crate) fn coin(&mut self) -> bool {
        // Any sequence will do that depends on the seed.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 63 == 1
    }

    /// An object of fields by their lowerCamelCase names; absent ones are null or left out.
    pub(crate) fn object(&mut self, fields: Vec<(&str, Value)>) -> Value {
        let mut map = Map::new();
        map.insert("unknownField".to_owned(), json!({"a": [1]}));
        for (name, value) in fields {
            if value.is_null() && self.coin() {
                continue;
            }
            let name = if self.coin() { name.to_owned() } else { snake(name) };
            map.insert(name, value);
        }
        Value::Object(map)
    }

    pub(crate) fn integer(&mut self, value: i128) -> Value {
        match (self.coin(), i64::try_from(value), u64::try_from(value)) {
            (true, Ok(value), _) => json!(value),
            (true, _, Ok(value)) => json!(value),
            _ => json!(value.to_string()),
        }
    }

    pub(crate) fn double(&mut self, value: f64) -> Value {
        if value.is_nan() {
            json!("NaN")
        } else if value.is_infinite() {
            json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
        } else if self.coin() {
            json!(value)
        } else {
            json!(format!("{value:e}"))
        }
    }

    pub(crate) fn optional(&mut self, value: Option<f64>) -> Value {
        value.map_or(Value::Null, |value| self.double(value))
    }

    pub(crate) fn choice(&mut self, number: i32, name: Option<&str>) -> Value {
        match name {
            Some(name) if self.coin() => json!(name),
            _ => json!(number),
        }
    }

    pub(crate) fn hex(&mut self, bytes: &[u8]) -> Value {
        let text = hex::encode(bytes);
        json!(if self.coin() { text.to_uppercase() } else { text })
    }

    pub(crate) fn base64(&mut self, bytes: &[u8]) -> Value {
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        json!(if self.coin() {
            STANDARD.encode(bytes)
        } else {
            URL_SAFE_NO_PAD.encode(bytes)
        })
    }

    pub(crate) fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T) -> Value) -> Value {
        Value::Array(items.iter().map(|item| write(self, item)).collect())
    }

    pub(crate) fn any(&mut self, any: &AnyValue) -> Value {
        let (name, value) = match &any.value {
            None | Some(Any::StringValueStrindex(_)) => return json!({}),
            Some(Any::StringValue(text)) => ("stringValue", json!(text)),
            Some(Any::BoolValue(value)) => ("boolValue", json!(value)),
            Some(Any::IntValue(value)) => ("intValue", self.integer(i128::from(*value))),
            Some(Any::DoubleValue(value)) => ("doubleValue", self.double(*value)),
            Some(Any::BytesValue(bytes)) => ("bytesValue", self.base64(bytes)),
            Some(Any::ArrayValue(list)) => {
                let values = self.list(&list.values, Self::any);
                ("arrayValue", self.object(vec![("values", values)]))
            }
            Some(Any::KvlistValue(list)) => {
                let values = self.list(&list.values, Self::pair);
                ("kvlistValue", self.object(vec![("values", values)]))
            }
        };
        self.object(vec![(name, value)])
    }

    pub(crate) fn pair(&mut self, pair: &KeyValue) -> Value {
        let value = pair.value.as_ref().map_or(Value::Null, |value| self.any(value));
        self.object(vec![("key", json!(pair.key)), ("value", value)])
    }

    pub(crate) fn resource(&mut self, resource: Option<&Resource>) -> Value {
        resource.map_or(Value::Null, |resource| {
            let attributes = self.list(&resource.attributes, Self::pair);
            self.object(vec![("attributes", attributes)])
        })
    }

    pub(crate) fn scope(&mut self, scope: Option<&InstrumentationScope>) -> Value {
        scope.map_or(Value::Null, |scope| {
            self.object(vec![("name", json!(scope.name))])
        })
    }

    pub(crate) fn logs(&mut self, request: &ExportLogsServiceRequest) -> Value {
        let resources = self.list(&request.resource_logs, |w, r| {
            let scopes = w.list(&r.scope_logs, |w, s| {
                let records = w.list(&s.log_records, Self::record);
                let scope = w.scope(s.scope.as_ref());
                w.object(vec![("scope", scope), ("logRecords", records)])
            });
            let resource = w.resource(r.resource.as_ref());
            w.object(vec![("resource", resource), ("scopeLogs", scopes)])
        });
        self.object(vec![("resourceLogs", resources)])
    }

    pub(crate) fn record(&mut self, r: &LogRecord) -> Value {
        let name = SeverityNumber::try_from(r.severity_number)
            .ok()
            .map(|s| s.as_str_name());
        let fields = vec![
            ("timeUnixNano", self.integer(i128::from(r.time_unix_nano))),
            (
                "observedTimeUnixNano",
                self.integer(i128::from(r.observed_time_unix_nano)),
            ),
            ("severityNumber", self.choice(r.severity_number, name)),
            ("severityText", json!(r.severity_text)),
            ("body", r.body.as_ref().map_or(Value::Null, |body| self.any(body))),
            ("attributes", self.list(&r.attributes, Self::pair)),
            ("traceId", self.hex(&r.trace_id)),
            ("spanId", self.hex(&r.span_id)),
            ("eventName", json!(r.event_name)),
        ];
        self.object(fields)
    }

    pub(crate) fn traces(&mut self, request: &ExportTraceServiceRequest) -> Value {
        let resources = self.list(&request.resource_spans, |w, r| {
            let scopes = w.list(&r.scope_spans, |w, s| {
                let spans = w.list(&s.spans, Self::span);
                let scope = w.scope(s.scope.as_ref());
                w.object(vec![("scope", scope), ("spans", spans)])
            });
            let resource = w.resource(r.resource.as_ref());
            w.object(vec![("resource", resource), ("scopeSpans", scopes)])
        });
        self.object(vec![("resourceSpans", resources)])
    }

    pub(crate) fn span(&mut self, s: &Span) -> Value {
        let kind = SpanKind::try_from(s.kind).ok().map(|kind| kind.as_str_name());
        let status = s.status.as_ref().map_or(Value::Null, |status| {
            let name = StatusCode::try_from(status.code)
                .ok()
                .map(|code| code.as_str_name());
            let code = self.choice(status.code, name);
            self.object(vec![("message", json!(status.message)), ("code", code)])
        });
        let events = self.list(&s.events, |w, e| {
            let time = w.integer(i128::from(e.time_unix_nano));
            let attributes = w.list(&e.attributes, Self::pair);
            w.object(vec![
                ("timeUnixNano", time),
                ("name", json!(e.name)),
                ("attributes", attributes),
            ])
        });
        let links = self.list(&s.links, |w, l| {
            let ids = (w.hex(&l.trace_id), w.hex(&l.span_id));
            let attributes = w.list(&l.attributes, Self::pair);
            w.object(vec![
                ("traceId", ids.0),
                ("spanId", ids.1),
                ("attributes", attributes),
            ])
        });
        let fields = vec![
            ("traceId", self.hex(&s.trace_id)),
            ("spanId", self.hex(&s.span_id)),
            ("parentSpanId", self.hex(&s.parent_span_id)),
            ("name", json!(s.name)),
            ("kind", self.choice(s.kind, kind)),
            (
                "startTimeUnixNano",
                self.integer(i128::from(s.start_time_unix_nano)),
            ),
            ("endTimeUnixNano", self.integer(i128::from(s.end_time_unix_nano))),
            ("attributes", self.list(&s.attributes, Self::pair)),
            ("events", events),
            ("links", links),
            ("status", status),
        ];
        self.object(fields)
    }

    pub(crate) fn metrics(&mut self, request: &ExportMetricsServiceRequest) -> Value {
        let resources = self.list(&request.resource_metrics, |w, r| {
            let scopes = w.list(&r.scope_metrics, |w, s| {
                let metrics = w.list(&s.metrics, Self::metric);
                w.object(vec![("metrics", metrics)])
            });
            let resource = w.resource(r.resource.as_ref());
            w.object(vec![("resource", resource), ("scopeMetrics", scopes)])
        });
        self.object(vec![("resourceMetrics", resources)])
    }

    pub(crate) fn temporality(&mut self, number: i32) -> Value {
        let name = AggregationTemporality::try_from(number)
            .ok()
            .map(|t| t.as_str_name());
        self.choice(number, name)
    }

    pub(crate) fn metric(&mut self, m: &Metric) -> Value {
        let mut fields = vec![("name", json!(m.name)), ("unit", json!(m.unit))];
        match &m.data {
            None => {}
            Some(Data::Gauge(g)) => {
                let points = self.list(&g.data_points, Self::number);
                fields.push(("gauge", self.object(vec![("dataPoints", points)])));
            }
            Some(Data::Sum(s)) => {
                let inner = vec![
                    ("dataPoints", self.list(&s.data_points, Self::number)),
                    (
                        "aggregationTemporality",
                        self.temporality(s.aggregation_temporality),
                    ),
                    ("isMonotonic", json!(s.is_monotonic)),
                ];
                fields.push(("sum", self.object(inner)));
            }
            Some(Data::Histogram(h)) => {
                let inner = vec![
                    ("dataPoints", self.list(&h.data_points, Self::histogram)),
                    (
                        "aggregationTemporality",
                        self.temporality(h.aggregation_temporality),
                    ),
                ];
                fields.push(("histogram", self.object(inner)));
            }
            Some(Data::ExponentialHistogram(h)) => {
                let inner = vec![
                    ("dataPoints", self.list(&h.data_points, Self::exponential)),
                    (
                        "aggregationTemporality",
                        self.temporality(h.aggregation_temporality),
                    ),
                ];
                fields.push(("exponentialHistogram", self.object(inner)));
            }
            Some(Data::Summary(s)) => {
                let points = self.list(&s.data_points, Self::summary);
                fields.push(("summary", self.object(vec![("dataPoints", points)])));
            }
        }
        self.object(fields)
    }

    pub(crate) fn number(&mut self, p: &NumberDataPoint) -> Value {
        let mut fields = vec![
            ("attributes", self.list(&p.attributes, Self::pair)),
            ("timeUnixNano", self.integer(i128::from(p.time_unix_nano))),
            ("flags", json!(p.flags)),
        ];
        match p.value {
            None => {}
            Some(Point::AsDouble(value)) => fields.push(("asDouble", self.double(value))),
            Some(Point::AsInt(value)) => fields.push(("asInt", self.integer(i128::from(value)))),
        }
        self.object(fields)
    }

    pub(crate) fn histogram(&mut self, p: &HistogramDataPoint) -> Value {
        let fields = vec![
            ("attributes", self.list(&p.attributes, Self::pair)),
            ("timeUnixNano", self.integer(i128::from(p.time_unix_nano))),
            ("count", self.integer(i128::from(p.count))),
            ("sum", self.optional(p.sum)),
            (
                "bucketCounts",
                self.list(&p.bucket_counts, |w, c| w.integer(i128::from(*c))),
            ),
            (
                "explicitBounds",
                self.list(&p.explicit_bounds, |w, b| w.double(*b)),
            ),
            ("flags", json!(p.flags)),
        ];
        self.object(fields)
    }

    pub(crate) fn exponential(&mut self, p: &ExponentialHistogramDataPoint) -> Value {
        let mut buckets = |buckets: &Option<Buckets>| {
            buckets.as_ref().map_or(Value::Null, |b| {
                let counts = self.list(&b.bucket_counts, |w, c| w.integer(i128::from(*c)));
                self.object(vec![("offset", json!(b.offset)), ("bucketCounts", counts)])
            })
        };
        let sides = (buckets(&p.positive), buckets(&p.negative));
        let fields = vec![
            ("attributes", self.list(&p.attributes, Self::pair)),
            ("timeUnixNano", self.integer(i128::from(p.time_unix_nano))),
            ("count", self.integer(i128::from(p.count))),
            ("sum", self.optional(p.sum)),
            ("scale", json!(p.scale)),
            ("zeroCount", self.integer(i128::from(p.zero_count))),
            ("positive", sides.0),
            ("negative", sides.1),
        ];
        self.object(fields)
    }

    pub(crate) fn summary(&mut self, p: &SummaryDataPoint) -> Value {
        let quantiles = self.list(&p.quantile_values, |w, q| {
            let fields = vec![("quantile", w.double(q.quantile)), ("value", w.double(q.value))];
            w.object(fields)
        });
        let fields = vec![
            ("attributes", self.list(&p.attributes, Self::pair)),
            ("timeUnixNano", self.integer(i128::from(p.time_unix_nano))),
            ("count", self.integer(i128::from(p.count))),
            ("sum", self.double(p.sum)),
            ("quantileValues", quantiles),
        ];
        self.object(fields)
    }
}

pub(crate) fn snake(camel: &str) -> String {
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
