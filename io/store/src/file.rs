//! One Parquet file: `<signal>/date=<UTC day>/<sequence>-<level>.parquet`.

mod prefilter;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowFilter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::StoreError;
use crate::table::{Row, Signal};

pub(crate) use prefilter::Prefilter;

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
    /// Time of its newest row, milliseconds since the epoch.
    pub(crate) fn newest_ms(&self) -> i64 {
        i64::try_from(self.greatest_nanos / 1_000_000).unwrap_or(i64::MAX)
    }

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
        let groups = filter
            .groups(&builder)
            .map_err(parquet_error("read", &self.path))?;
        if let Some(predicate) = filter.predicate(&builder) {
            builder = builder.with_row_filter(RowFilter::new(vec![predicate]));
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
