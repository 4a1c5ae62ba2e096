//! What can be decided on a few columns, before the others are decoded.

use std::fs::File;

use arrow_array::{Array, BooleanArray, RecordBatch, StringArray, TimestampNanosecondArray, UInt8Array};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicate, ArrowPredicateFn, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::statistics::Statistics;
use trimtab_telemetry::{Level, TraceId};

use crate::query::contains_ignoring_case;
use crate::{EventQuery, LogQuery, Origin, SpanQuery, TimeRange};

/// Conditions that all must hold. They let no wanted row go; the query itself decides in the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prefilter {
    pub(crate) range: TimeRange,
    /// Columns that must hold exactly these texts.
    equal: Vec<(&'static str, String)>,
    severity_min: Option<u8>,
    body_contains: Option<String>,
}

impl Prefilter {
    fn new(range: TimeRange, origin: &Origin) -> Self {
        let text = |name: Option<&dyn ToString>| name.map(|name| name.to_string());
        let mut filter = Prefilter {
            range,
            ..Prefilter::default()
        };
        filter.add("service", text(origin.service.as_ref().map(|name| name as _)));
        filter.add(
            "environment",
            text(origin.environment.as_ref().map(|name| name as _)),
        );
        filter.add("release", text(origin.release.as_ref().map(|name| name as _)));
        filter.add("instance", text(origin.instance.as_ref().map(|name| name as _)));
        filter
    }

    fn add(&mut self, column: &'static str, wanted: Option<String>) {
        self.equal.extend(wanted.map(|wanted| (column, wanted)));
    }

    pub(crate) fn of_range(range: TimeRange) -> Self {
        Prefilter::new(range, &Origin::default())
    }

    pub(crate) fn of_trace(trace_id: TraceId) -> Self {
        let mut filter = Prefilter::default();
        filter.add("trace_id", Some(trace_id.to_string()));
        filter
    }

    pub(crate) fn of_logs(query: &LogQuery) -> Self {
        let mut filter = Prefilter::new(query.range, &query.origin);
        filter.add("trace_id", query.trace_id.map(|id| id.to_string()));
        filter.add("template_id", query.template.clone());
        filter.severity_min = query.level_min.map(Level::severity_number);
        filter.body_contains = query.contains.clone();
        filter
    }

    pub(crate) fn of_spans(query: &SpanQuery) -> Self {
        let mut filter = Prefilter::new(query.range, &query.origin);
        filter.add("name", query.name.clone());
        filter.add("status", query.status.map(|status| status.as_str().to_owned()));
        filter
    }

    pub(crate) fn of_events(query: &EventQuery) -> Self {
        Prefilter::new(query.range, &query.origin)
    }

    /// The row groups that may hold something: by their statistics, and by the bloom filter.
    pub(super) fn groups(
        &self,
        builder: &ParquetRecordBatchReaderBuilder<File>,
    ) -> Result<Vec<usize>, ParquetError> {
        let mut groups = Vec::new();
        for group in 0..builder.metadata().num_row_groups() {
            if self.statistics_allow(builder, group) && self.bloom_allows(builder, group)? {
                groups.push(group);
            }
        }
        Ok(groups)
    }

    fn statistics_allow(&self, builder: &ParquetRecordBatchReaderBuilder<File>, group: usize) -> bool {
        let statistics = |name: &str| {
            let column = builder.schema().index_of(name).ok()?;
            builder.metadata().row_group(group).column(column).statistics()
        };
        if let Some(Statistics::Int64(time)) = statistics("time")
            && let (Some(least), Some(greatest)) = (time.min_opt(), time.max_opt())
            && !self.range.overlaps(*least as u64, *greatest as u64)
        {
            return false;
        }
        self.equal.iter().all(|(name, wanted)| match statistics(name) {
            // Bounds may be cut short, but stay bounds.
            Some(Statistics::ByteArray(texts)) => {
                let wanted = wanted.as_bytes();
                texts.min_opt().is_none_or(|least| least.data() <= wanted)
                    && texts.max_opt().is_none_or(|greatest| wanted <= greatest.data())
            }
            _ => true,
        })
    }

    fn bloom_allows(
        &self,
        builder: &ParquetRecordBatchReaderBuilder<File>,
        group: usize,
    ) -> Result<bool, ParquetError> {
        for (name, wanted) in self.equal.iter().filter(|(name, _)| *name == "trace_id") {
            if let Ok(column) = builder.schema().index_of(name)
                && let Some(bloom) = builder.get_row_group_column_bloom_filter(group, column)?
                && !bloom.check(wanted.as_str())
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The conditions as the reader evaluates them; none when every row passes, or when the file lacks
    /// a column (the query decides then).
    pub(super) fn predicate(
        &self,
        builder: &ParquetRecordBatchReaderBuilder<File>,
    ) -> Option<Box<dyn ArrowPredicate>> {
        let mut names: Vec<&str> = self.equal.iter().map(|(name, _)| *name).collect();
        names.extend(self.severity_min.map(|_| "severity_number"));
        names.extend(self.body_contains.as_ref().map(|_| "body"));
        if names.is_empty() && self.range == TimeRange::ALL {
            return None;
        }
        names.push("time");
        let columns: Option<Vec<usize>> = names
            .into_iter()
            .map(|name| builder.schema().index_of(name).ok())
            .collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns?);
        let filter = self.clone();
        Some(Box::new(ArrowPredicateFn::new(
            mask,
            move |batch: RecordBatch| Ok(filter.evaluate(&batch)),
        )))
    }

    fn evaluate(&self, batch: &RecordBatch) -> BooleanArray {
        let time = column::<TimestampNanosecondArray>(batch, "time");
        let severity = column::<UInt8Array>(batch, "severity_number");
        let body = column::<StringArray>(batch, "body");
        let texts: Vec<(Option<&StringArray>, &str)> = self
            .equal
            .iter()
            .map(|(name, wanted)| (column(batch, name), wanted.as_str()))
            .collect();
        let passes = |row: usize| {
            time.is_none_or(|time| self.range.contains(time.value(row) as u64))
                && severity.is_none_or(|own| self.severity_min.is_none_or(|least| own.value(row) >= least))
                && texts.iter().all(|(column, wanted)| {
                    column.is_none_or(|texts| texts.is_valid(row) && texts.value(row) == *wanted)
                })
                && match (body, &self.body_contains) {
                    (Some(body), Some(wanted)) => contains_ignoring_case(body.value(row), wanted),
                    _ => true,
                }
        };
        (0..batch.num_rows()).map(|row| Some(passes(row))).collect()
    }
}

fn column<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> Option<&'a T> {
    batch.column_by_name(name)?.as_any().downcast_ref()
}
