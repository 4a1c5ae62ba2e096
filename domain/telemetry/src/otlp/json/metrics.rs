//! Metrics requests.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint,
};

use super::{Fields, Result, body, double, signed, unsigned, wrong};
use crate::otlp::DecodeError;

pub(in crate::otlp) fn request(
    bytes: &[u8],
) -> std::result::Result<ExportMetricsServiceRequest, DecodeError> {
    body(bytes, |mut fields| {
        Ok(ExportMetricsServiceRequest {
            resource_metrics: fields.messages("resourceMetrics", resource_metrics)?,
        })
    })
}

fn resource_metrics(mut fields: Fields) -> Result<ResourceMetrics> {
    Ok(ResourceMetrics {
        resource: fields.resource()?,
        scope_metrics: fields.messages("scopeMetrics", |mut fields| {
            Ok(ScopeMetrics {
                scope: fields.scope()?,
                metrics: fields.messages("metrics", metric)?,
                ..Default::default()
            })
        })?,
        ..Default::default()
    })
}

fn metric(mut fields: Fields) -> Result<Metric> {
    let mut found = vec![];
    found.extend(fields.message("gauge", gauge)?.map(Data::Gauge));
    found.extend(fields.message("sum", sum)?.map(Data::Sum));
    found.extend(fields.message("histogram", histogram)?.map(Data::Histogram));
    found.extend(
        fields
            .message("exponentialHistogram", exponential)?
            .map(Data::ExponentialHistogram),
    );
    found.extend(fields.message("summary", summary)?.map(Data::Summary));
    if found.len() > 1 {
        return wrong("more than one kind of data is given");
    }
    Ok(Metric {
        name: fields.text("name")?,
        description: fields.text("description")?,
        unit: fields.text("unit")?,
        data: found.pop(),
        ..Default::default()
    })
}

fn temporality(fields: &mut Fields) -> Result<i32> {
    fields.choice("aggregationTemporality", |name| {
        AggregationTemporality::from_str_name(name).map(|temporality| temporality as i32)
    })
}

fn gauge(mut fields: Fields) -> Result<Gauge> {
    Ok(Gauge {
        data_points: fields.messages("dataPoints", number)?,
    })
}

fn sum(mut fields: Fields) -> Result<Sum> {
    Ok(Sum {
        data_points: fields.messages("dataPoints", number)?,
        aggregation_temporality: temporality(&mut fields)?,
        is_monotonic: fields.flag("isMonotonic")?,
    })
}

fn histogram(mut fields: Fields) -> Result<Histogram> {
    Ok(Histogram {
        data_points: fields.messages("dataPoints", |mut fields| {
            Ok(HistogramDataPoint {
                attributes: fields.attributes()?,
                start_time_unix_nano: fields.u64("startTimeUnixNano")?,
                time_unix_nano: fields.u64("timeUnixNano")?,
                count: fields.u64("count")?,
                sum: fields.f64("sum")?,
                bucket_counts: fields.list("bucketCounts", unsigned)?,
                explicit_bounds: fields.list("explicitBounds", double)?,
                exemplars: vec![],
                flags: fields.u32("flags")?,
                min: fields.f64("min")?,
                max: fields.f64("max")?,
            })
        })?,
        aggregation_temporality: temporality(&mut fields)?,
    })
}

fn exponential(mut fields: Fields) -> Result<ExponentialHistogram> {
    Ok(ExponentialHistogram {
        data_points: fields.messages("dataPoints", |mut fields| {
            Ok(ExponentialHistogramDataPoint {
                attributes: fields.attributes()?,
                start_time_unix_nano: fields.u64("startTimeUnixNano")?,
                time_unix_nano: fields.u64("timeUnixNano")?,
                count: fields.u64("count")?,
                sum: fields.f64("sum")?,
                scale: fields.i32("scale")?,
                zero_count: fields.u64("zeroCount")?,
                positive: fields.message("positive", buckets)?,
                negative: fields.message("negative", buckets)?,
                flags: fields.u32("flags")?,
                exemplars: vec![],
                min: fields.f64("min")?,
                max: fields.f64("max")?,
                zero_threshold: fields.f64("zeroThreshold")?.unwrap_or_default(),
            })
        })?,
        aggregation_temporality: temporality(&mut fields)?,
    })
}

fn buckets(mut fields: Fields) -> Result<Buckets> {
    Ok(Buckets {
        offset: fields.i32("offset")?,
        bucket_counts: fields.list("bucketCounts", unsigned)?,
    })
}

fn summary(mut fields: Fields) -> Result<Summary> {
    Ok(Summary {
        data_points: fields.messages("dataPoints", |mut fields| {
            Ok(SummaryDataPoint {
                attributes: fields.attributes()?,
                start_time_unix_nano: fields.u64("startTimeUnixNano")?,
                time_unix_nano: fields.u64("timeUnixNano")?,
                count: fields.u64("count")?,
                sum: fields.f64("sum")?.unwrap_or_default(),
                quantile_values: fields.messages("quantileValues", |mut fields| {
                    Ok(ValueAtQuantile {
                        quantile: fields.f64("quantile")?.unwrap_or_default(),
                        value: fields.f64("value")?.unwrap_or_default(),
                    })
                })?,
                flags: fields.u32("flags")?,
            })
        })?,
    })
}

fn number(mut fields: Fields) -> Result<NumberDataPoint> {
    let as_double = fields.read("asDouble", double)?.map(Value::AsDouble);
    let as_int = fields.read("asInt", signed)?.map(Value::AsInt);
    if as_double.is_some() && as_int.is_some() {
        return wrong("both asDouble and asInt are given");
    }
    Ok(NumberDataPoint {
        attributes: fields.attributes()?,
        start_time_unix_nano: fields.u64("startTimeUnixNano")?,
        time_unix_nano: fields.u64("timeUnixNano")?,
        exemplars: vec![],
        flags: fields.u32("flags")?,
        value: as_double.or(as_int),
    })
}
