//! Writes one block.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use pco::ChunkConfig;
use pco::standalone::simple_compress;
use trimtab_telemetry::Labels;

use super::{Block, BlockName, FOOTER_BYTES, FOOTER_CRC_AT, HEADER_BYTES, MAGIC, Place, VERSION};
use crate::SeriesError;
use crate::entry::put_labels;

/// Distinct columns of times that are remembered for sharing.
const SHARED_TIMES_MAX: usize = 16;
const INDEX_ZSTD_LEVEL: i32 = 3;

/// A block that is being written, under a name ending in `.tmp` until it is whole.
pub(crate) struct BlockWriter {
    dir: PathBuf,
    temporary: PathBuf,
    name: BlockName,
    file: BufWriter<File>,
    at: u64,
    index: Vec<u8>,
    series: u32,
    points: u64,
    span: Option<(i64, i64)>,
    times_known: Vec<(Vec<i64>, Place)>,
    config: ChunkConfig,
}

impl BlockWriter {
    pub(crate) fn create(dir: &Path, name: BlockName) -> Result<Self, SeriesError> {
        let temporary = dir.join(format!("{}.tmp", name.file_name()));
        let file = File::create(&temporary).map_err(SeriesError::io("create", &temporary))?;
        let mut writer = BlockWriter {
            dir: dir.to_owned(),
            temporary,
            name,
            file: BufWriter::with_capacity(1 << 16, file),
            at: HEADER_BYTES,
            index: Vec::new(),
            series: 0,
            points: 0,
            span: None,
            times_known: Vec::new(),
            config: ChunkConfig::default(),
        };
        let mut header = [0; HEADER_BYTES as usize];
        header[..8].copy_from_slice(MAGIC);
        header[8] = VERSION;
        header[9] = name.tier.value_columns() as u8;
        writer
            .file
            .write_all(&header)
            .map_err(SeriesError::io("write", &writer.temporary))?;
        Ok(writer)
    }

    /// Adds a series: times strictly ascending, each value column as long as they are.
    pub(crate) fn add(
        &mut self,
        labels: &Labels,
        times: &[i64],
        values: &[&[f64]],
    ) -> Result<(), SeriesError> {
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return Ok(());
        };
        self.add_columns(labels, times, (*first, *last), values)
            .map_err(SeriesError::io("write", &self.temporary))
    }

    fn add_columns(
        &mut self,
        labels: &Labels,
        times: &[i64],
        span: (i64, i64),
        values: &[&[f64]],
    ) -> io::Result<()> {
        let mut places = vec![self.times_place(times)?];
        for column in values {
            let bytes = simple_compress(column, &self.config).map_err(io::Error::other)?;
            places.push(self.put(&bytes)?);
        }
        put_labels(&mut self.index, labels);
        self.index.extend_from_slice(&span.0.to_le_bytes());
        self.index.extend_from_slice(&span.1.to_le_bytes());
        self.index.extend_from_slice(&(times.len() as u32).to_le_bytes());
        for place in places {
            self.index.extend_from_slice(&place.offset.to_le_bytes());
            self.index.extend_from_slice(&place.bytes.to_le_bytes());
            self.index.extend_from_slice(&place.crc.to_le_bytes());
        }
        self.series += 1;
        self.points += times.len() as u64;
        let whole = self.span.unwrap_or(span);
        self.span = Some((whole.0.min(span.0), whole.1.max(span.1)));
        Ok(())
    }

    /// Series that are scraped together have equal times: they are stored once.
    fn times_place(&mut self, times: &[i64]) -> io::Result<Place> {
        if let Some((_, place)) = self.times_known.iter().find(|(known, _)| known == times) {
            return Ok(*place);
        }
        let bytes = simple_compress(times, &self.config).map_err(io::Error::other)?;
        let place = self.put(&bytes)?;
        if self.times_known.len() >= SHARED_TIMES_MAX {
            self.times_known.remove(0);
        }
        self.times_known.push((times.to_vec(), place));
        Ok(place)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<Place> {
        self.file.write_all(bytes)?;
        let place = Place {
            offset: self.at,
            bytes: u32::try_from(bytes.len()).map_err(io::Error::other)?,
            crc: crc32fast::hash(bytes),
        };
        self.at += bytes.len() as u64;
        Ok(place)
    }

    /// Completes the file, syncs it and gives it its name. None when nothing was added.
    pub(crate) fn finish(mut self) -> Result<Option<Block>, SeriesError> {
        let Some(span) = self.span else {
            self.discard();
            return Ok(None);
        };
        let finished = self.complete(span);
        if finished.is_err() {
            self.discard();
        }
        finished.map(Some)
    }

    /// Forgets the block.
    pub(crate) fn discard(&self) {
        let _ = fs::remove_file(&self.temporary);
    }

    fn complete(&mut self, span: (i64, i64)) -> Result<Block, SeriesError> {
        let (index, footer) = self
            .write_footer(span)
            .map_err(SeriesError::io("write", &self.temporary))?;
        let path = self.dir.join(self.name.file_name());
        fs::rename(&self.temporary, &path).map_err(SeriesError::io("rename", &self.temporary))?;
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(SeriesError::io("sync", &self.dir))?;
        Ok(Block {
            path,
            name: self.name,
            bytes: footer,
            least_ms: span.0,
            greatest_ms: span.1,
            points: self.points,
            index_at: index.offset,
            index_bytes: index.bytes,
            index_crc: index.crc,
        })
    }

    /// Writes index and footer and syncs; returns where the index lies and the file's length.
    fn write_footer(&mut self, span: (i64, i64)) -> io::Result<(Place, u64)> {
        let packed = zstd::bulk::compress(&self.index, INDEX_ZSTD_LEVEL)?;
        let index = self.put(&packed)?;
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.extend_from_slice(&index.offset.to_le_bytes());
        footer.extend_from_slice(&index.bytes.to_le_bytes());
        footer.extend_from_slice(&index.crc.to_le_bytes());
        footer.extend_from_slice(&span.0.to_le_bytes());
        footer.extend_from_slice(&span.1.to_le_bytes());
        footer.extend_from_slice(&self.points.to_le_bytes());
        footer.extend_from_slice(&self.series.to_le_bytes());
        footer.resize(FOOTER_CRC_AT, 0);
        let crc = crc32fast::hash(&footer);
        footer.extend_from_slice(&crc.to_le_bytes());
        footer.extend_from_slice(MAGIC);
        self.file.write_all(&footer)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok((index, self.at + footer.len() as u64))
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        // After a rename there is nothing of this name.
        self.discard();
    }
}
