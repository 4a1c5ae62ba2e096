//! A block: an immutable file with the compressed columns of many series within one time window.
//!
//! ```text
//! header   16 bytes: "TRIMTBLK", u8 version (1), u8 value columns (1 raw, 5 minute), zeros
//! chunks   pco columns: times (i64), then value columns (f64); series with equal times share them
//! index    zstd of, per series: labels, i64 least and greatest time, u32 points,
//!          1 + value columns times (u64 offset, u32 length, u32 CRC-32)
//! footer   64 bytes: u64 index offset, u32 index length, u32 index CRC-32, i64 least time,
//!          i64 greatest time, u64 points, u32 series, zeros, u32 CRC-32 of bytes 0 to 52, "TRIMTBLK"
//! ```
//! All integers are little-endian. Files are named `<window start>-<sequence>-<level>.<tier>` and are
//! made complete under another name first, so a file with its own name is whole.

mod reader;
mod writer;

use std::path::{Path, PathBuf};

use trimtab_telemetry::Labels;

pub(crate) use reader::IndexCache;
pub(crate) use writer::BlockWriter;

pub(crate) const VERSION: u8 = 1;
const MAGIC: &[u8; 8] = b"TRIMTBLK";
const HEADER_BYTES: u64 = 16;
const FOOTER_BYTES: usize = 64;
const FOOTER_CRC_AT: usize = 52;

/// What a block's points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// Samples as they came.
    Raw,
    /// One row a minute: min, max, sum, count, last.
    Minute,
}

impl Tier {
    fn value_columns(self) -> usize {
        match self {
            Tier::Raw => 1,
            Tier::Minute => 5,
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Tier::Raw => "raw",
            Tier::Minute => "minute",
        }
    }
}

/// What a block's file name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockName {
    pub(crate) window_ms: i64,
    /// Grows with every flush; what was written later wins.
    pub(crate) sequence: u64,
    /// How many times its points were merged.
    pub(crate) level: u32,
    pub(crate) tier: Tier,
}

impl BlockName {
    pub(crate) fn file_name(&self) -> String {
        format!(
            "{:013}-{:08}-{}.{}",
            self.window_ms,
            self.sequence,
            self.level,
            self.tier.ending()
        )
    }

    pub(crate) fn parse(path: &Path) -> Option<Self> {
        let tier = match path.extension()?.to_str()? {
            "raw" => Tier::Raw,
            "minute" => Tier::Minute,
            _ => return None,
        };
        let mut parts = path.file_stem()?.to_str()?.split('-');
        let name = BlockName {
            window_ms: parts.next()?.parse().ok()?,
            sequence: parts.next()?.parse().ok()?,
            level: parts.next()?.parse().ok()?,
            tier,
        };
        parts.next().is_none().then_some(name)
    }
}

/// A block file that can be read.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) path: PathBuf,
    pub(crate) name: BlockName,
    pub(crate) bytes: u64,
    pub(crate) least_ms: i64,
    pub(crate) greatest_ms: i64,
    pub(crate) points: u64,
    index_at: u64,
    index_bytes: u32,
    index_crc: u32,
}

impl Block {
    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.least_ms <= end_ms && start_ms <= self.greatest_ms
    }
}

/// Where a column lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    offset: u64,
    bytes: u32,
    crc: u32,
}

/// One series in a block's index.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) labels: Labels,
    pub(crate) least_ms: i64,
    pub(crate) greatest_ms: i64,
    points: u32,
    times: Place,
    values: Vec<Place>,
}

/// The columns of one series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Columns {
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<Vec<f64>>,
}

#[cfg(test)]
mod tests;
