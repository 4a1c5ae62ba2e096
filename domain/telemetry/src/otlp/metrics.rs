//! Metrics: every data point becomes samples of Prometheus-style series.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
};
use trimtab_model::Identity;

use super::{BUCKETS_MAX, Decoded, DeltaKeeper, Reason, exponential, label_name, metric_name, rows};
use crate::identity_labels::stamp;
use crate::{Attributes, Labels, METRIC_NAME, Sample, stale_marker};

/// `AggregationTemporality` of the protocol.
const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;
/// The flag of a data point that says "there is no value any more".
const NO_RECORDED_VALUE: u32 = 1;

/// What the points of one resource share.
struct Reader<'a> {
    identity: &'a Identity,
    received_nanos: u64,
    deltas: &'a mut DeltaKeeper,
    /// The sender's own words about who it is, kept under names that say so.
    claims: Vec<(String, String)>,
    decoded: Decoded,
}

pub(super) fn decode(
    request: ExportMetricsServiceRequest,
    identity: &Identity,
    received_nanos: u64,
    deltas: &mut DeltaKeeper,
) -> Decoded {
    let mut reader = Reader {
        identity,
        received_nanos,
        deltas,
        claims: vec![],
        decoded: Decoded::default(),
    };
    for from_resource in request.resource_metrics {
        let resource = rows::resource(from_resource.resource, identity, &mut reader.decoded.cut);
        reader.claims = claims(&resource, identity);
        for metric in from_resource
            .scope_metrics
            .into_iter()
            .flat_map(|scope| scope.metrics)
        {
            reader.metric(metric);
        }
    }
    reader.decoded
}

/// Senders that Trimtab did not start would share series without their own names.
fn claims(resource: &Attributes, identity: &Identity) -> Vec<(String, String)> {
    if identity.service.is_some() {
        return vec![];
    }
    [
        ("service.name", "exported_service"),
        ("service.instance.id", "exported_instance"),
    ]
    .into_iter()
    .filter_map(|(from, to)| Some((to.to_owned(), resource.get(from)?.to_string())))
    .collect()
}

/// A point's samples before they are taken: suffix of the name, one more label, value.
type Part = (&'static str, Option<(&'static str, String)>, f64);

impl Reader<'_> {
    fn metric(&mut self, metric: Metric) {
        let Some(data) = metric.data else {
            return self.decoded.reject(Reason::NoValue, 1);
        };
        let points = points_of(&data) as u64;
        if metric.name.is_empty() {
            return self.decoded.reject(Reason::NoName, points);
        }
        let (counter, gauge, temporality) = match &data {
            Data::Gauge(_) => (false, true, CUMULATIVE),
            Data::Sum(sum) => (sum.is_monotonic, !sum.is_monotonic, sum.aggregation_temporality),
            Data::Histogram(histogram) => (false, false, histogram.aggregation_temporality),
            Data::ExponentialHistogram(histogram) => (false, false, histogram.aggregation_temporality),
            Data::Summary(_) => (false, false, CUMULATIVE),
        };
        if temporality != DELTA && temporality != CUMULATIVE {
            return self.decoded.reject(Reason::NoTemporality, points);
        }
        let name = metric_name(&metric.name, &metric.unit, counter, gauge);
        let delta = temporality == DELTA;
        match data {
            Data::Gauge(gauge) => gauge
                .data_points
                .into_iter()
                .for_each(|p| self.number(&name, p, false)),
            Data::Sum(sum) => sum
                .data_points
                .into_iter()
                .for_each(|p| self.number(&name, p, delta)),
            Data::Histogram(h) => h
                .data_points
                .into_iter()
                .for_each(|p| self.histogram(&name, p, delta)),
            Data::ExponentialHistogram(h) => {
                h.data_points
                    .into_iter()
                    .for_each(|p| self.exponential(&name, p, delta));
            }
            Data::Summary(s) => s.data_points.into_iter().for_each(|p| self.summary(&name, p)),
        }
    }

    fn number(&mut self, name: &str, point: NumberDataPoint, delta: bool) {
        let value = match point.value {
            _ if point.flags & NO_RECORDED_VALUE != 0 => 0.0,
            Some(Value::AsDouble(value)) => value,
            Some(Value::AsInt(value)) => value as f64,
            None => return self.decoded.reject(Reason::NoValue, 1),
        };
        let parts = vec![("", None, value)];
        self.point(
            name,
            point.attributes,
            point.time_unix_nano,
            point.flags,
            delta,
            parts,
        );
    }

    fn histogram(&mut self, name: &str, point: HistogramDataPoint, delta: bool) {
        let ascending = point.explicit_bounds.windows(2).all(|pair| pair[0] < pair[1])
            && !point.explicit_bounds.iter().any(|bound| bound.is_nan());
        let fits = point.bucket_counts.is_empty() && point.explicit_bounds.is_empty()
            || point.bucket_counts.len() == point.explicit_bounds.len() + 1;
        if !ascending || !fits {
            return self.decoded.reject(Reason::BadBuckets, 1);
        }
        if point.bucket_counts.len() > BUCKETS_MAX {
            return self.decoded.reject(Reason::TooManyBuckets, 1);
        }
        let parts = buckets(
            &point.explicit_bounds,
            &point.bucket_counts,
            point.count,
            point.sum,
        );
        self.point(
            name,
            point.attributes,
            point.time_unix_nano,
            point.flags,
            delta,
            parts,
        );
    }

    fn exponential(&mut self, name: &str, point: ExponentialHistogramDataPoint, delta: bool) {
        let counts = exponential::counts(&point);
        let parts = buckets(&exponential::bounds(), &counts, point.count, point.sum);
        self.point(
            name,
            point.attributes,
            point.time_unix_nano,
            point.flags,
            delta,
            parts,
        );
    }

    fn summary(&mut self, name: &str, point: SummaryDataPoint) {
        if point.quantile_values.len() > BUCKETS_MAX {
            return self.decoded.reject(Reason::TooManyBuckets, 1);
        }
        let mut parts: Vec<Part> = point
            .quantile_values
            .iter()
            .map(|q| ("", Some(("quantile", q.quantile.to_string())), q.value))
            .collect();
        parts.push(("_sum", None, point.sum));
        parts.push(("_count", None, point.count as f64));
        self.point(
            name,
            point.attributes,
            point.time_unix_nano,
            point.flags,
            false,
            parts,
        );
    }

    fn point(
        &mut self,
        name: &str,
        attributes: Vec<KeyValue>,
        at_nanos: u64,
        flags: u32,
        delta: bool,
        parts: Vec<Part>,
    ) {
        let at_nanos = if at_nanos == 0 {
            self.received_nanos
        } else {
            at_nanos
        };
        if rows::ahead(at_nanos, self.received_nanos) {
            return self.decoded.reject(Reason::AheadOfTime, 1);
        }
        let at_ms = i64::try_from(at_nanos / 1_000_000).unwrap_or(i64::MAX);
        let stale = flags & NO_RECORDED_VALUE != 0;
        let base = self.labels(attributes);
        let before = self.decoded.batch.samples.len();
        for (suffix, extra, value) in parts {
            match self.sample(name, suffix, extra, &base, (at_ms, value), stale, delta) {
                Ok(sample) => self.decoded.batch.samples.push(sample),
                Err(reason) => {
                    // A histogram with some of its buckets would mislead: all of a point or none.
                    self.decoded.batch.samples.truncate(before);
                    return self.decoded.reject(reason, 1);
                }
            }
        }
    }

    fn labels(&mut self, attributes: Vec<KeyValue>) -> Vec<(String, String)> {
        let mut labels: Vec<(String, String)> = rows::attributes(attributes, &mut self.decoded.cut)
            .iter()
            .map(|(name, value)| (label_name(name), value.to_string()))
            .collect();
        labels.extend(self.claims.iter().cloned());
        stamp(&mut labels, self.identity);
        labels
    }

    #[expect(clippy::too_many_arguments, reason = "the pieces of one sample, used once")]
    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        extra: Option<(&'static str, String)>,
        base: &[(String, String)],
        (at_ms, value): (i64, f64),
        stale: bool,
        delta: bool,
    ) -> Result<Sample, Reason> {
        let mut pairs = Vec::with_capacity(base.len() + 2);
        pairs.extend_from_slice(base);
        pairs.extend(extra.map(|(name, value)| (name.to_owned(), value)));
        pairs.push((METRIC_NAME.to_owned(), format!("{name}{suffix}")));
        let labels = Labels::from_pairs(pairs);
        labels.check().map_err(|_| Reason::BadLabels)?;
        let value = if stale {
            stale_marker()
        } else if delta {
            self.deltas.add(&labels, at_ms, value)?
        } else {
            value
        };
        Ok(Sample { labels, at_ms, value })
    }
}

/// Cumulative buckets with their `+Inf`, the sum (if known) and the count.
fn buckets(bounds: &[f64], counts: &[u64], count: u64, sum: Option<f64>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::with_capacity(bounds.len() + 3);
    let mut below = 0u64;
    for (bound, own) in bounds.iter().zip(counts) {
        below = below.saturating_add(*own);
        if bound.is_finite() {
            parts.push(("_bucket", Some(("le", bound.to_string())), below as f64));
        }
    }
    parts.push(("_bucket", Some(("le", "+Inf".to_owned())), count as f64));
    parts.extend(sum.map(|sum| ("_sum", None, sum)));
    parts.push(("_count", None, count as f64));
    parts
}

fn points_of(data: &Data) -> usize {
    match data {
        Data::Gauge(gauge) => gauge.data_points.len(),
        Data::Sum(sum) => sum.data_points.len(),
        Data::Histogram(histogram) => histogram.data_points.len(),
        Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        Data::Summary(summary) => summary.data_points.len(),
    }
}
