//! Requests of every shape that the protocol knows.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Point;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(crate) const NOW: u64 = 1_800_000_000_000_000_000;

pub(crate) fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        // prost leaves out a minus zero as if it were the default.
        8 => any::<f64>().prop_filter("one NaN is enough", |v| !v.is_nan()).prop_map(|v| v + 0.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => -10.0..10.0,
    ]
}

pub(crate) fn any_value() -> impl Strategy<Value = AnyValue> {
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

pub(crate) fn key_value((key, value): (String, Option<AnyValue>)) -> KeyValue {
    KeyValue {
        key,
        value,
        ..KeyValue::default()
    }
}

pub(crate) fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof![
        "[a-z.]{0,6}",
        Just("service.name".to_owned()),
        Just("release".to_owned())
    ];
    vec((key, option::of(any_value())).prop_map(key_value), 0..4)
}

pub(crate) fn resource() -> impl Strategy<Value = Option<Resource>> {
    option::of(attributes().prop_map(|attributes| Resource {
        attributes,
        ..Resource::default()
    }))
}

pub(crate) fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    option::of("[a-z]{0,5}".prop_map(|name| InstrumentationScope {
        name,
        ..InstrumentationScope::default()
    }))
}

/// Mostly around now; also none, and one too far ahead.
pub(crate) fn time() -> impl Strategy<Value = u64> {
    prop_oneof![5 => NOW - 1_000_000_000_000..NOW, 1 => Just(0), 1 => Just(u64::MAX)]
}

pub(crate) fn id(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![6 => vec(any::<u8>(), bytes), 1 => Just(vec![]), 1 => Just(vec![0; bytes]), 1 => Just(vec![7; 3])]
}

pub(crate) fn record() -> impl Strategy<Value = LogRecord> {
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

pub(crate) fn span() -> impl Strategy<Value = Span> {
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

pub(crate) fn number() -> impl Strategy<Value = NumberDataPoint> {
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

pub(crate) fn histogram() -> impl Strategy<Value = HistogramDataPoint> {
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

pub(crate) fn exponential() -> impl Strategy<Value = ExponentialHistogramDataPoint> {
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

pub(crate) fn summary() -> impl Strategy<Value = SummaryDataPoint> {
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

pub(crate) fn metric() -> impl Strategy<Value = Metric> {
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
