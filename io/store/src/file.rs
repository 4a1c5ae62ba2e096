//! One Parquet file: `<signal>/date=<UTC day>/<sequence>-<level>.parquet`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, BooleanArray, RecordBatch, StringArray, TimestampNanosecondArray};
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;
use trimtab_telemetry::TraceId;

use crate::table::{Row, Signal};
use crate::{Origin, StoreError, TimeRange};

/// Of our columns; a new column that readers may lack does not raise it.
const VERSION: &str = "1";
const VERSION_KEY: &str = "trimtab.version";
const LEAST_KEY: &str = "trimtab.least_nanos";
const GREATEST_KEY: &str = "trimtab.greatest_nanos";
const ROW_GROUP_ROWS_MAX: usize = 50_000;
const READ_ROWS: usize = 1024;
const ZSTD_LEVEL: i32 = 3;

/// A file that can be read.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    pub(crate) path: PathBuf,
    pub(crate) signal: Signal,
    /// UTC day, `YYYY-MM-DD`.
    pub(crate) date: String,
    /// How many times its rows were merged.
    pub(crate) level: u32,
    pub(crate) least_nanos: u64,
    pub(crate) greatest_nanos: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// What a file is called before anything is written.
#[derive(Debug, Clone)]
pub(crate) struct FileName {
    pub(crate) date: String,
    pub(crate) sequence: u64,
    pub(crate) level: u32,
}

impl FileName {
    /// Relative to the store's folder.
    pub(crate) fn relative(&self, signal: Signal) -> PathBuf {
        let name = format!("{:08}-{}.parquet", self.sequence, self.level);
        Path::new(signal.as_str())
            .join(format!("date={}", self.date))
            .join(name)
    }

    pub(crate) fn parse(path: &Path) -> Option<Self> {
        if path.extension()? != "parquet" {
            return None;
        }
        let (sequence, level) = path.file_stem()?.to_str()?.split_once('-')?;
        let date = path.parent()?.file_name()?.to_str()?.strip_prefix("date=")?;
        Some(FileName {
            date: date.to_owned(),
            sequence: sequence.parse().ok()?,
            level: level.parse().ok()?,
        })
    }
}

/// What can be decided on a few columns, before rows are built.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prefilter {
    pub(crate) range: TimeRange,
    pub(crate) origin: Origin,
    pub(crate) trace_id: Option<TraceId>,
}

/// Writes rows, in the order they come, into a file with a temporary name.
pub(crate) struct RowWriter<R> {
    writer: ArrowWriter<File>,
    path: PathBuf,
    temporary: PathBuf,
    name: FileName,
    span: Option<(u64, u64)>,
    rows: u64,
    _row: std::marker::PhantomData<R>,
}

impl<R: Row> RowWriter<R> {
    /// `rows` is about how many will come.
    pub(crate) fn create(root: &Path, name: FileName, rows: u64) -> Result<Self, StoreError> {
        let path = root.join(name.relative(R::SIGNAL));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        }
        let temporary = path.with_added_extension("tmp");
        let file = File::create(&temporary).map_err(StoreError::io("create", &temporary))?;
        let properties = properties::<R>(rows).map_err(parquet_error("write", &temporary))?;
        let writer = ArrowWriter::try_new(file, R::schema(), Some(properties))
            .map_err(parquet_error("write", &temporary))?;
        Ok(RowWriter {
            writer,
            path,
            temporary,
            name,
            span: None,
            rows: 0,
            _row: std::marker::PhantomData,
        })
    }

    pub(crate) fn write(&mut self, rows: &[&R]) -> Result<(), StoreError> {
        for row in rows {
            let nanos = row.nanos();
            let (least, greatest) = self.span.unwrap_or((nanos, nanos));
            self.span = Some((least.min(nanos), greatest.max(nanos)));
        }
        self.rows += rows.len() as u64;
        RecordBatch::try_new(R::schema(), R::columns(rows))
            .map_err(ParquetError::from)
            .and_then(|batch| self.writer.write(&batch))
            .map_err(parquet_error("write", &self.temporary))
    }

    /// Completes and syncs the file, still under its temporary name; the description has the final one.
    pub(crate) fn finish(mut self) -> Result<DataFile, StoreError> {
        let (least_nanos, greatest_nanos) = self.span.unwrap_or_default();
        for (key, value) in [
            (VERSION_KEY, VERSION.to_owned()),
            (LEAST_KEY, least_nanos.to_string()),
            (GREATEST_KEY, greatest_nanos.to_string()),
        ] {
            self.writer
                .append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        let file = self
            .writer
            .into_inner()
            .map_err(parquet_error("write", &self.temporary))?;
        file.sync_all().map_err(StoreError::io("sync", &self.temporary))?;
        let bytes = file
            .metadata()
            .map_err(StoreError::io("read", &self.temporary))?
            .len();
        Ok(DataFile {
            path: self.path,
            signal: R::SIGNAL,
            date: self.name.date,
            level: self.name.level,
            least_nanos,
            greatest_nanos,
            rows: self.rows,
            bytes,
        })
    }
}

fn properties<R: Row>(rows: u64) -> Result<WriterProperties, ParquetError> {
    let schema = R::schema();
    let sorting = R::SORTED_BY
        .iter()
        .filter_map(|name| schema.index_of(name).ok())
        .map(|column_idx| SortingColumn {
            column_idx: column_idx as i32,
            descending: false,
            nulls_first: true,
        })
        .collect();
    let mut builder = WriterProperties::builder()
        .set_created_by("trimtab".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_sorting_columns(Some(sorting));
    if R::SIGNAL == Signal::Spans {
        let trace_id = ColumnPath::from("trace_id");
        builder = builder
            .set_column_bloom_filter_enabled(trace_id.clone(), true)
            .set_column_bloom_filter_max_ndv(trace_id, rows.clamp(1, ROW_GROUP_ROWS_MAX as u64));
    }
    Ok(builder.build())
}

impl DataFile {
    /// Reads and checks the footer of a file that bears its final name.
    pub(crate) fn open(path: &Path, signal: Signal, name: FileName) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let bytes = file.metadata().map_err(StoreError::io("read", path))?.len();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet_error("read", path))?;
        let metadata = builder.metadata().file_metadata();
        let value = |key: &str| {
            let pairs = metadata.key_value_metadata()?;
            pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
        };
        let damaged = |reason: String| StoreError::Damaged {
            path: path.to_owned(),
            reason,
        };
        match value(VERSION_KEY) {
            Some(VERSION) => {}
            Some(other) => {
                return Err(StoreError::Version {
                    path: path.to_owned(),
                    version: other.to_owned(),
                });
            }
            None => return Err(damaged("Trimtab did not write it".to_owned())),
        }
        let number = |key: &str| {
            value(key)
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| damaged(format!("it lacks {key}")))
        };
        Ok(DataFile {
            path: path.to_owned(),
            signal,
            date: name.date,
            level: name.level,
            least_nanos: number(LEAST_KEY)?,
            greatest_nanos: number(GREATEST_KEY)?,
            rows: metadata.num_rows() as u64,
            bytes,
        })
    }

    /// The rows that pass the filter, a few at a time.
    pub(crate) fn rows<R: Row>(&self, filter: &Prefilter) -> Result<RowReader<R>, StoreError> {
        let file = File::open(&self.path).map_err(StoreError::io("open", &self.path))?;
        let mut builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(parquet_error("read", &self.path))?
            .with_batch_size(READ_ROWS);
        let groups = self.groups(&builder, filter)?;
        if let Some(predicate) = predicate(&builder, filter) {
            builder = builder.with_row_filter(RowFilter::new(vec![Box::new(predicate)]));
        }
        let reader = builder
            .with_row_groups(groups)
            .build()
            .map_err(parquet_error("read", &self.path))?;
        Ok(RowReader {
            reader,
            path: self.path.clone(),
            _row: std::marker::PhantomData,
        })
    }

    /// The row groups that may hold something: by the statistics of time, and by the bloom filter.
    fn groups(
        &self,
        builder: &ParquetRecordBatchReaderBuilder<File>,
        filter: &Prefilter,
    ) -> Result<Vec<usize>, StoreError> {
        let column = |name: &str| builder.schema().index_of(name).ok();
        let mut groups = Vec::new();
        for group in 0..builder.metadata().num_row_groups() {
            let statistics = column("time").and_then(|time| {
                builder
                    .metadata()
                    .row_group(group)
                    .column(time)
                    .statistics()
                    .cloned()
            });
            if let Some(Statistics::Int64(time)) = statistics
                && let (Some(least), Some(greatest)) = (time.min_opt(), time.max_opt())
                && !filter.range.overlaps(*least as u64, *greatest as u64)
            {
                continue;
            }
            if let (Some(wanted), Some(trace_id)) = (filter.trace_id, column("trace_id")) {
                let bloom = builder
                    .get_row_group_column_bloom_filter(group, trace_id)
                    .map_err(parquet_error("read", &self.path))?;
                if bloom.is_some_and(|bloom| !bloom.check(wanted.to_string().as_str())) {
                    continue;
                }
            }
            groups.push(group);
        }
        Ok(groups)
    }
}

/// A condition on time, origin and trace, evaluated before the other columns are decoded.
fn predicate(
    builder: &ParquetRecordBatchReaderBuilder<File>,
    filter: &Prefilter,
) -> Option<
    ArrowPredicateFn<
        impl FnMut(RecordBatch) -> Result<BooleanArray, arrow_schema::ArrowError> + Send + 'static,
    >,
> {
    let origin = &filter.origin;
    let equal: Vec<(&'static str, String)> = [
        ("service", origin.service.as_ref().map(ToString::to_string)),
        (
            "environment",
            origin.environment.as_ref().map(ToString::to_string),
        ),
        ("release", origin.release.as_ref().map(ToString::to_string)),
        ("instance", origin.instance.as_ref().map(ToString::to_string)),
        ("trace_id", filter.trace_id.map(|id| id.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, wanted)| wanted.map(|wanted| (name, wanted)))
    .collect();
    let range = filter.range;
    if equal.is_empty() && range == TimeRange::ALL {
        return None;
    }
    let columns: Option<Vec<usize>> = std::iter::once("time")
        .chain(equal.iter().map(|(name, _)| *name))
        .map(|name| builder.schema().index_of(name).ok())
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns?);
    Some(ArrowPredicateFn::new(mask, move |batch: RecordBatch| {
        let time = batch
            .column_by_name("time")
            .and_then(|column| column.as_any().downcast_ref::<TimestampNanosecondArray>());
        let texts: Vec<Option<(&StringArray, &str)>> = equal
            .iter()
            .map(|(name, wanted)| {
                let column = batch.column_by_name(name)?.as_any().downcast_ref()?;
                Some((column, wanted.as_str()))
            })
            .collect();
        let passes = |row: usize| {
            time.is_some_and(|time| range.contains(time.value(row) as u64))
                && texts.iter().all(|column| {
                    column.is_some_and(|(texts, wanted)| texts.is_valid(row) && texts.value(row) == wanted)
                })
        };
        Ok((0..batch.num_rows()).map(|row| Some(passes(row))).collect())
    }))
}

/// Rows of one file, in its order.
pub(crate) struct RowReader<R> {
    reader: ParquetRecordBatchReader,
    path: PathBuf,
    _row: std::marker::PhantomData<R>,
}

impl<R: Row> Iterator for RowReader<R> {
    type Item = Result<Vec<R>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let damaged = |reason: String| StoreError::Damaged {
            path: self.path.clone(),
            reason,
        };
        let batch = self.reader.next()?;
        Some(
            batch
                .map_err(|error| damaged(error.to_string()))
                .and_then(|batch| R::read(&batch).map_err(damaged)),
        )
    }
}

/// The file system's answer where there is one under it, else damage.
fn parquet_error(what: &'static str, path: &Path) -> impl FnOnce(ParquetError) -> StoreError {
    let path = path.to_owned();
    move |error| match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(source) => StoreError::Io {
                what,
                path,
                source: *source,
            },
            Err(inner) => StoreError::Damaged {
                path,
                reason: inner.to_string(),
            },
        },
        other => StoreError::Damaged {
            path,
            reason: other.to_string(),
        },
    }
}

/// Shared, since a query keeps the files that it began with.
pub(crate) type Files = Vec<Arc<DataFile>>;
