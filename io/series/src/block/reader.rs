//! Reads blocks; every byte is checked before it is believed.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use pco::standalone::simple_decompress;

use super::{
    Block, BlockName, Columns, Entry, FOOTER_BYTES, FOOTER_CRC_AT, HEADER_BYTES, MAGIC, Place, VERSION,
};
use crate::SeriesError;
use crate::entry::Reader;

/// Series whose index entries are kept in memory over all blocks.
const CACHED_SERIES_MAX: usize = 200_000;

impl Block {
    /// Reads and checks header and footer.
    pub(crate) fn open(path: &Path, name: BlockName) -> Result<Self, SeriesError> {
        let damaged = |offset: u64, reason: &str| SeriesError::Damaged {
            path: path.to_owned(),
            offset,
            reason: reason.to_owned(),
        };
        let file = File::open(path).map_err(SeriesError::io("open", path))?;
        let bytes = file.metadata().map_err(SeriesError::io("read", path))?.len();
        if bytes < HEADER_BYTES + FOOTER_BYTES as u64 {
            return Err(damaged(0, "it is cut short"));
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.read_exact_at(&mut header, 0)
            .map_err(SeriesError::io("read", path))?;
        if &header[..8] != MAGIC {
            return Err(damaged(0, "it does not begin as a block does"));
        }
        if header[8] != VERSION {
            return Err(SeriesError::Version {
                path: path.to_owned(),
                version: header[8],
                known: VERSION,
            });
        }
        let footer_at = bytes - FOOTER_BYTES as u64;
        let mut footer = [0; FOOTER_BYTES];
        file.read_exact_at(&mut footer, footer_at)
            .map_err(SeriesError::io("read", path))?;
        let crc = crc32fast::hash(&footer[..FOOTER_CRC_AT]).to_le_bytes();
        if footer[FOOTER_CRC_AT..FOOTER_CRC_AT + 4] != crc || &footer[FOOTER_CRC_AT + 4..] != MAGIC {
            return Err(damaged(footer_at, "the footer has a wrong checksum"));
        }
        let mut reader = Reader(&footer);
        let mut read = || {
            Some(Block {
                path: path.to_owned(),
                name,
                bytes,
                index_at: reader.u64()?,
                index_bytes: reader.u32()?,
                index_crc: reader.u32()?,
                least_ms: reader.u64()? as i64,
                greatest_ms: reader.u64()? as i64,
                points: reader.u64()?,
            })
        };
        read().ok_or_else(|| damaged(footer_at, "the footer is cut short"))
    }

    pub(crate) fn file(&self) -> Result<File, SeriesError> {
        File::open(&self.path).map_err(SeriesError::io("open", &self.path))
    }

    /// The index, checked.
    pub(crate) fn read_index(&self, file: &File) -> Result<Vec<Entry>, SeriesError> {
        let place = Place {
            offset: self.index_at,
            bytes: self.index_bytes,
            crc: self.index_crc,
        };
        let packed = self.bytes_at(file, place)?;
        let plain = zstd::stream::decode_all(packed.as_slice())
            .map_err(|error| self.damaged(self.index_at, &error.to_string()))?;
        let mut reader = Reader(&plain);
        let mut entries = Vec::new();
        while !reader.0.is_empty() {
            let entry = read_entry(&mut reader, self.name.tier.value_columns());
            entries.push(entry.ok_or_else(|| self.damaged(self.index_at, "the index is cut short"))?);
        }
        Ok(entries)
    }

    /// The points of one series, checked.
    pub(crate) fn read_columns(&self, file: &File, entry: &Entry) -> Result<Columns, SeriesError> {
        let times: Vec<i64> = self.column(file, entry.times, entry.points)?;
        let values = entry
            .values
            .iter()
            .map(|place| self.column(file, *place, entry.points))
            .collect::<Result<_, _>>()?;
        Ok(Columns { times, values })
    }

    fn column<T: pco::data_types::Number>(
        &self,
        file: &File,
        place: Place,
        points: u32,
    ) -> Result<Vec<T>, SeriesError> {
        let packed = self.bytes_at(file, place)?;
        let column: Vec<T> =
            simple_decompress(&packed).map_err(|error| self.damaged(place.offset, &error.to_string()))?;
        if column.len() != points as usize {
            return Err(self.damaged(place.offset, "a column has another length than its index says"));
        }
        Ok(column)
    }

    fn bytes_at(&self, file: &File, place: Place) -> Result<Vec<u8>, SeriesError> {
        if place.offset.saturating_add(u64::from(place.bytes)) > self.bytes {
            return Err(self.damaged(place.offset, "a column ends behind the file's end"));
        }
        let mut bytes = vec![0; place.bytes as usize];
        file.read_exact_at(&mut bytes, place.offset)
            .map_err(SeriesError::io("read", &self.path))?;
        if crc32fast::hash(&bytes) != place.crc {
            return Err(self.damaged(place.offset, "a column has a wrong checksum"));
        }
        Ok(bytes)
    }

    fn damaged(&self, offset: u64, reason: &str) -> SeriesError {
        SeriesError::Damaged {
            path: self.path.clone(),
            offset,
            reason: reason.to_owned(),
        }
    }
}

fn read_entry(reader: &mut Reader<'_>, value_columns: usize) -> Option<Entry> {
    let labels = reader.labels()?;
    let (least_ms, greatest_ms) = (reader.u64()? as i64, reader.u64()? as i64);
    let points = reader.u32()?;
    let times = read_place(reader)?;
    let values = (0..value_columns)
        .map(|_| read_place(reader))
        .collect::<Option<_>>()?;
    Some(Entry {
        labels,
        least_ms,
        greatest_ms,
        points,
        times,
        values,
    })
}

fn read_place(reader: &mut Reader<'_>) -> Option<Place> {
    Some(Place {
        offset: reader.u64()?,
        bytes: reader.u32()?,
        crc: reader.u32()?,
    })
}

/// Indexes of the blocks read last, bounded by their series.
#[derive(Debug, Default)]
pub(crate) struct IndexCache {
    kept: Mutex<VecDeque<(BlockName, Arc<Vec<Entry>>)>>,
}

impl IndexCache {
    pub(crate) fn index_of(&self, block: &Block, file: &File) -> Result<Arc<Vec<Entry>>, SeriesError> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = lock();
        if let Some(place) = kept.iter().position(|(name, _)| *name == block.name)
            && let Some(found) = kept.remove(place)
        {
            let index = found.1.clone();
            kept.push_back(found);
            return Ok(index);
        }
        drop(kept);
        let index = Arc::new(block.read_index(file)?);
        let mut kept = lock();
        kept.push_back((block.name, index.clone()));
        let mut series: usize = kept.iter().map(|(_, index)| index.len()).sum();
        while series > CACHED_SERIES_MAX
            && let Some((_, oldest)) = kept.pop_front()
        {
            series -= oldest.len();
        }
        Ok(index)
    }
}
