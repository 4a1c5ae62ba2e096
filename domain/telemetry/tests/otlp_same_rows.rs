//! Generated requests give the same rows in protobuf and in JSON.
//!
//! The JSON is written here by the letter of the proto3 mapping, with its freedoms (numbers or text,
//! names or numbers of enums, either spelling of field names) chosen by a seed.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Point;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Map, Value, json};
use trimtab_model::Identity;
use trimtab_telemetry::otlp::{self, DeltaKeeper};

const NOW: u64 = 1_800_000_000_000_000_000;

/// Writes JSON and chooses among what the mapping allows.
struct Writer(u64);

impl Writer {
    fn coin(&mut self) -> bool {
        // Any sequence will do that depends on the seed.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 63 == 1
    }

    /// An object of fields by their lowerCamelCase names; absent ones are null or left out.
    fn object(&mut self, fields: Vec<(&str, Value)>) -> Value {
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

    fn integer(&mut self, value: i128) -> Value {
        match (self.coin(), i64::try_from(value), u64::try_from(value)) {
            (true, Ok(value), _) => json!(value),
            (true, _, Ok(value)) => json!(value),
            _ => json!(value.to_string()),
        }
    }

    fn double(&mut self, value: f64) -> Value {
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

    fn optional(&mut self, value: Option<f64>) -> Value {
        value.map_or(Value::Null, |value| self.double(value))
    }

    fn choice(&mut self, number: i32, name: Option<&str>) -> Value {
        match name {
            Some(name) if self.coin() => json!(name),
            _ => json!(number),
        }
    }

    fn hex(&mut self, bytes: &[u8]) -> Value {
        let text = hex::encode(bytes);
        json!(if self.coin() { text.to_uppercase() } else { text })
    }

    fn base64(&mut self, bytes: &[u8]) -> Value {
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        json!(if self.coin() {
            STANDARD.encode(bytes)
        } else {
            URL_SAFE_NO_PAD.encode(bytes)
        })
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T) -> Value) -> Value {
        Value::Array(items.iter().map(|item| write(self, item)).collect())
    }

    fn any(&mut self, any: &AnyValue) -> Value {
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

    fn pair(&mut self, pair: &KeyValue) -> Value {
        let value = pair.value.as_ref().map_or(Value::Null, |value| self.any(value));
        self.object(vec![("key", json!(pair.key)), ("value", value)])
    }

    fn resource(&mut self, resource: Option<&Resource>) -> Value {
        resource.map_or(Value::Null, |resource| {
            let attributes = self.list(&resource.attributes, Self::pair);
            self.object(vec![("attributes", attributes)])
        })
    }

    fn scope(&mut self, scope: Option<&InstrumentationScope>) -> Value {
        scope.map_or(Value::Null, |scope| {
            self.object(vec![("name", json!(scope.name))])
        })
    }

    fn logs(&mut self, request: &ExportLogsServiceRequest) -> Value {
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

    fn record(&mut self, r: &LogRecord) -> Value {
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

    fn traces(&mut self, request: &ExportTraceServiceRequest) -> Value {
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

    fn span(&mut self, s: &Span) -> Value {
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

    fn metrics(&mut self, request: &ExportMetricsServiceRequest) -> Value {
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

    fn temporality(&mut self, number: i32) -> Value {
        let name = AggregationTemporality::try_from(number)
            .ok()
            .map(|t| t.as_str_name());
        self.choice(number, name)
    }

    fn metric(&mut self, m: &Metric) -> Value {
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

    fn number(&mut self, p: &NumberDataPoint) -> Value {
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

    fn histogram(&mut self, p: &HistogramDataPoint) -> Value {
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

    fn exponential(&mut self, p: &ExponentialHistogramDataPoint) -> Value {
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

    fn summary(&mut self, p: &SummaryDataPoint) -> Value {
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

fn snake(camel: &str) -> String {
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        // prost leaves out a minus zero as if it were the default.
        8 => any::<f64>().prop_filter("one NaN is enough", |v| !v.is_nan()).prop_map(|v| v + 0.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => -10.0..10.0,
    ]
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        ".{0,12}".prop_map(|text| Some(Any::StringValue(text))),
        any::<bool>().prop_map(|value| Some(Any::BoolValue(value))),
        any::<i64>().prop_map(|value| Some(Any::IntValue(value))),
        double().prop_map(|value| Some(Any::DoubleValue(value))),
        vec(any::<u8>(), 0..8).prop_map(|bytes| Some(Any::BytesValue(bytes))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| AnyValue {
                value: Some(Any::ArrayValue(ArrayValue { values })),
            }),
            vec(("[a-c]{0,2}", option::of(inner)), 0..4).prop_map(|pairs| AnyValue {
                value: Some(Any::KvlistValue(KeyValueList {
                    values: pairs.into_iter().map(key_value).collect(),
                })),
            }),
        ]
    })
}

fn key_value((key, value): (String, Option<AnyValue>)) -> KeyValue {
    KeyValue {
        key,
        value,
        ..KeyValue::default()
    }
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof![
        "[a-z.]{0,6}",
        Just("service.name".to_owned()),
        Just("release".to_owned())
    ];
    vec((key, option::of(any_value())).prop_map(key_value), 0..4)
}

fn resource() -> impl Strategy<Value = Option<Resource>> {
    option::of(attributes().prop_map(|attributes| Resource {
        attributes,
        ..Resource::default()
    }))
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    option::of("[a-z]{0,5}".prop_map(|name| InstrumentationScope {
        name,
        ..InstrumentationScope::default()
    }))
}

/// Mostly around now; also none, and one too far ahead.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![5 => NOW - 1_000_000_000_000..NOW, 1 => Just(0), 1 => Just(u64::MAX)]
}

fn id(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![6 => vec(any::<u8>(), bytes), 1 => Just(vec![]), 1 => Just(vec![0; bytes]), 1 => Just(vec![7; 3])]
}

fn record() -> impl Strategy<Value = LogRecord> {
    let times = (time(), time());
    let ids = (id(16), id(8));
    (
        times,
        -1..26,
        "[a-zA-Z]{0,5}",
        option::of(any_value()),
        attributes(),
        ids,
        "[a-z]{0,3}",
    )
        .prop_map(
            |(times, severity_number, severity_text, body, attributes, ids, event_name)| LogRecord {
                time_unix_nano: times.0,
                observed_time_unix_nano: times.1,
                severity_number,
                severity_text,
                body,
                attributes,
                trace_id: ids.0,
                span_id: ids.1,
                event_name,
                ..LogRecord::default()
            },
        )
}

fn span() -> impl Strategy<Value = Span> {
    let event = (time(), ".{0,5}", attributes()).prop_map(|(time_unix_nano, name, attributes)| Event {
        time_unix_nano,
        name,
        attributes,
        ..Event::default()
    });
    let link = (id(16), id(8), attributes()).prop_map(|(trace_id, span_id, attributes)| Link {
        trace_id,
        span_id,
        attributes,
        ..Link::default()
    });
    let status = ("[a-z]{0,4}", 0..4).prop_map(|(message, code)| Status { message, code });
    let ids = (id(16), id(8), id(8));
    let parts = (vec(event, 0..3), vec(link, 0..3), option::of(status));
    (ids, ".{0,8}", -1..7, (time(), time()), attributes(), parts).prop_map(
        |(ids, name, kind, times, attributes, parts)| Span {
            trace_id: ids.0,
            span_id: ids.1,
            parent_span_id: ids.2,
            name,
            kind,
            start_time_unix_nano: times.0,
            end_time_unix_nano: times.1,
            attributes,
            events: parts.0,
            links: parts.1,
            status: parts.2,
            ..Span::default()
        },
    )
}

fn number() -> impl Strategy<Value = NumberDataPoint> {
    let value = option::of(prop_oneof![
        double().prop_map(Point::AsDouble),
        any::<i64>().prop_map(Point::AsInt)
    ]);
    (attributes(), time(), 0..2u32, value).prop_map(|(attributes, time_unix_nano, flags, value)| {
        NumberDataPoint {
            attributes,
            time_unix_nano,
            flags,
            value,
            ..NumberDataPoint::default()
        }
    })
}

fn histogram() -> impl Strategy<Value = HistogramDataPoint> {
    let buckets = (vec(0..1000u64, 0..5), vec(double(), 0..4), any::<bool>());
    (attributes(), time(), any::<u64>(), option::of(double()), buckets).prop_map(
        |(attributes, time_unix_nano, count, sum, (counts, mut bounds, fitting))| {
            if fitting {
                bounds.retain(|bound| !bound.is_nan());
                bounds.sort_by(f64::total_cmp);
                bounds.truncate(counts.len().saturating_sub(1));
            }
            HistogramDataPoint {
                attributes,
                time_unix_nano,
                count,
                sum,
                bucket_counts: counts,
                explicit_bounds: bounds,
                ..HistogramDataPoint::default()
            }
        },
    )
}

fn exponential() -> impl Strategy<Value = ExponentialHistogramDataPoint> {
    let buckets = || {
        option::of(
            (any::<i32>(), vec(any::<u64>(), 0..4)).prop_map(|(offset, bucket_counts)| Buckets {
                offset,
                bucket_counts,
            }),
        )
    };
    (
        attributes(),
        time(),
        any::<u64>(),
        option::of(double()),
        -12..22,
        any::<u64>(),
        buckets(),
        buckets(),
    )
        .prop_map(
            |(attributes, time_unix_nano, count, sum, scale, zero_count, positive, negative)| {
                ExponentialHistogramDataPoint {
                    attributes,
                    time_unix_nano,
                    count,
                    sum,
                    scale,
                    zero_count,
                    positive,
                    negative,
                    ..ExponentialHistogramDataPoint::default()
                }
            },
        )
}

fn summary() -> impl Strategy<Value = SummaryDataPoint> {
    let quantile = (0.0..1.0, double()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (attributes(), time(), any::<u64>(), double(), vec(quantile, 0..3)).prop_map(
        |(attributes, time_unix_nano, count, sum, quantile_values)| SummaryDataPoint {
            attributes,
            time_unix_nano,
            count,
            sum,
            quantile_values,
            ..SummaryDataPoint::default()
        },
    )
}

fn metric() -> impl Strategy<Value = Metric> {
    let data = option::of(prop_oneof![
        vec(number(), 0..3).prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (vec(number(), 0..3), 0..3, any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                Data::Sum(Sum {
                    data_points,
                    aggregation_temporality,
                    is_monotonic,
                })
            }
        ),
        (vec(histogram(), 0..3), 0..3).prop_map(|(data_points, aggregation_temporality)| {
            Data::Histogram(Histogram {
                data_points,
                aggregation_temporality,
            })
        }),
        (vec(exponential(), 0..2), 0..3).prop_map(|(data_points, aggregation_temporality)| {
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points,
                aggregation_temporality,
            })
        }),
        vec(summary(), 0..3).prop_map(|data_points| Data::Summary(Summary { data_points })),
    ]);
    ("[a-z._]{0,8}", "(s|By|1|\\{x\\}|)", data).prop_map(|(name, unit, data)| Metric {
        name,
        unit,
        data,
        ..Metric::default()
    })
}

fn identity(known: bool) -> Identity {
    if known {
        Identity {
            service: Some("blocks".parse().unwrap()),
            release: Some("blocks-r2".parse().unwrap()),
            ..Identity::default()
        }
    } else {
        Identity::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logs_are_the_same(
        parts in vec((resource(), vec((scope(), vec(record(), 0..3)), 0..3)), 0..3),
        seed in any::<u64>(),
        known in any::<bool>(),
    ) {
        let scope_logs = |(scope, log_records)| ScopeLogs { scope, log_records, ..ScopeLogs::default() };
        let request = ExportLogsServiceRequest {
            resource_logs: parts
                .into_iter()
                .map(|(resource, scopes)| ResourceLogs {
                    resource,
                    scope_logs: scopes.into_iter().map(scope_logs).collect(),
                    ..ResourceLogs::default()
                })
                .collect(),
        };
        let json = Writer(seed).logs(&request).to_string();
        let of_protobuf = otlp::decode_logs_protobuf(&request.encode_to_vec(), &identity(known), NOW).unwrap();
        let of_json = otlp::decode_logs_json(json.as_bytes(), &identity(known), NOW).unwrap();
        prop_assert_eq!(format!("{of_json:?}"), format!("{of_protobuf:?}"), "{}", json);
    }

    #[test]
    fn traces_are_the_same(
        parts in vec((resource(), vec((scope(), vec(span(), 0..3)), 0..3)), 0..3),
        seed in any::<u64>(),
        known in any::<bool>(),
    ) {
        let scope_spans = |(scope, spans)| ScopeSpans { scope, spans, ..ScopeSpans::default() };
        let request = ExportTraceServiceRequest {
            resource_spans: parts
                .into_iter()
                .map(|(resource, scopes)| ResourceSpans {
                    resource,
                    scope_spans: scopes.into_iter().map(scope_spans).collect(),
                    ..ResourceSpans::default()
                })
                .collect(),
        };
        let json = Writer(seed).traces(&request).to_string();
        let of_protobuf = otlp::decode_traces_protobuf(&request.encode_to_vec(), &identity(known), NOW).unwrap();
        let of_json = otlp::decode_traces_json(json.as_bytes(), &identity(known), NOW).unwrap();
        prop_assert_eq!(format!("{of_json:?}"), format!("{of_protobuf:?}"), "{}", json);
    }

    #[test]
    fn metrics_are_the_same(
        parts in vec((resource(), vec(metric(), 0..4)), 0..3),
        seed in any::<u64>(),
        known in any::<bool>(),
    ) {
        let request = ExportMetricsServiceRequest {
            resource_metrics: parts
                .into_iter()
                .map(|(resource, metrics)| ResourceMetrics {
                    resource,
                    scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
                    ..ResourceMetrics::default()
                })
                .collect(),
        };
        let json = Writer(seed).metrics(&request).to_string();
        let (mut one, mut other) = (DeltaKeeper::new(), DeltaKeeper::new());
        let protobuf = request.encode_to_vec();
        let of_protobuf = otlp::decode_metrics_protobuf(&protobuf, &identity(known), NOW, &mut one).unwrap();
        let of_json = otlp::decode_metrics_json(json.as_bytes(), &identity(known), NOW, &mut other).unwrap();
        prop_assert_eq!(format!("{of_json:?}"), format!("{of_protobuf:?}"), "{}", json);
        for sample in &of_json.batch.samples {
            prop_assert!(sample.labels.get("service").is_none_or(|service| service == "blocks"));
            prop_assert!(sample.labels.get("release").is_none_or(|release| release == "blocks-r2"));
        }
    }

    #[test]
    fn noise_never_panics(bytes in vec(any::<u8>(), 0..200), text in "[\\[\\]{}:,\"a-z0-9]{0,60}") {
        let mut deltas = DeltaKeeper::new();
        let identity = identity(true);
        let _ = otlp::decode_logs_protobuf(&bytes, &identity, NOW);
        let _ = otlp::decode_traces_protobuf(&bytes, &identity, NOW);
        let _ = otlp::decode_metrics_protobuf(&bytes, &identity, NOW, &mut deltas);
        let _ = otlp::decode_logs_json(text.as_bytes(), &identity, NOW);
        let _ = otlp::decode_metrics_json(&bytes, &identity, NOW, &mut deltas);
        let _ = trimtab_telemetry::prometheus::parse_text(&text, &identity, 0);
        let _ = trimtab_telemetry::promql::parse(&text);
        let _ = trimtab_telemetry::log_line::parse(&text, &std::sync::Arc::default(), 0);
    }
}
