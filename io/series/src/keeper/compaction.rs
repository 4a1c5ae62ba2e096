//! Merges the blocks of a time window, and rolls a window up once nothing more can come into it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;

use trimtab_telemetry::Labels;

use super::{Keeper, add_points, remove};
use crate::SeriesError;
use crate::block::{Block, BlockName, BlockWriter, Entry, Tier};
use crate::merge::sort_last_wins;
use crate::rollup::{roll_up, to_columns};

/// As many blocks of one level within a window are merged into one of the next level.
const LEVEL_BLOCKS: usize = 8;

/// Some blocks of one window, and what to make of them.
struct Plan {
    inputs: Vec<Arc<Block>>,
    /// Whether a new raw block takes their place.
    merge: bool,
    /// Whether the window is complete and gets its minutes.
    roll_up: bool,
}

impl Keeper {
    pub(super) fn compact(&self) -> Result<(), SeriesError> {
        let windows: BTreeSet<i64> = self
            .state
            .read()
            .blocks
            .iter()
            .filter(|block| block.name.tier == Tier::Raw)
            .map(|block| block.name.window_ms)
            .collect();
        // A damaged block holds up its own window only.
        let mut outcome = Ok(());
        for window in windows {
            outcome = outcome.and(self.compact_window(window));
        }
        outcome
    }

    fn compact_window(&self, window_ms: i64) -> Result<(), SeriesError> {
        while let Some(plan) = self.plan(window_ms) {
            self.carry_out(&plan)?;
            if plan.roll_up {
                break;
            }
        }
        Ok(())
    }

    fn plan(&self, window_ms: i64) -> Option<Plan> {
        let config = &self.state.config;
        let contents = self.state.read();
        let of_tier = |tier: Tier| -> Vec<Arc<Block>> {
            let blocks = contents.blocks.iter();
            blocks
                .filter(|block| block.name.window_ms == window_ms && block.name.tier == tier)
                .cloned()
                .collect()
        };
        let inputs = of_tier(Tier::Raw);
        let newest = inputs.iter().map(|block| block.name.sequence).max()?;
        let closed_ms = window_ms + config.block_span_ms + config.behind_ms_max;
        let in_memory = contents
            .head
            .span()
            .is_some_and(|(least, _)| least < closed_ms - config.behind_ms_max);
        if config.clock.now_ms() > closed_ms && !in_memory && contents.flushing.is_none() {
            let rolled_up = of_tier(Tier::Minute)
                .iter()
                .any(|block| block.name.sequence >= newest);
            let merge = inputs.len() > 1;
            return (merge || !rolled_up).then_some(Plan {
                inputs,
                merge,
                roll_up: true,
            });
        }
        let mut levels: BTreeMap<u32, Vec<Arc<Block>>> = BTreeMap::new();
        for block in inputs {
            levels.entry(block.name.level).or_default().push(block);
        }
        let inputs = levels.into_values().find(|blocks| blocks.len() >= LEVEL_BLOCKS)?;
        Some(Plan {
            inputs,
            merge: true,
            roll_up: false,
        })
    }

    fn carry_out(&self, plan: &Plan) -> Result<(), SeriesError> {
        let Some(name) = output_name(&plan.inputs) else {
            return Ok(());
        };
        let mut raw = if plan.merge {
            Some(BlockWriter::create(&self.dir, name)?)
        } else {
            None
        };
        let minutes_name = BlockName {
            tier: Tier::Minute,
            ..name
        };
        let mut minutes = if plan.roll_up {
            Some(BlockWriter::create(&self.dir, minutes_name)?)
        } else {
            None
        };
        // Series by series: memory holds the points of one at a time.
        each_series(&plan.inputs, &mut |labels, points| {
            if let Some(raw) = &mut raw {
                add_points(raw, labels, points)?;
            }
            if let Some(minutes) = &mut minutes {
                let columns = to_columns(&roll_up(points));
                let values: Vec<&[f64]> = columns.values.iter().map(Vec::as_slice).collect();
                minutes.add(labels, &columns.times, &values)?;
            }
            Ok(())
        })?;
        let raw = raw.map(BlockWriter::finish).transpose()?.flatten();
        let minutes = minutes.map(BlockWriter::finish).transpose()?.flatten();
        self.replace(plan, raw, minutes)
    }

    fn replace(&self, plan: &Plan, raw: Option<Block>, minutes: Option<Block>) -> Result<(), SeriesError> {
        let mut gone: Vec<Arc<Block>> = Vec::new();
        if raw.is_some() {
            gone.extend(plan.inputs.iter().cloned());
        }
        let mut contents = self.state.write();
        if let Some(new) = &minutes {
            let older = contents.blocks.iter().filter(|block| {
                block.name.tier == Tier::Minute
                    && block.name.window_ms == new.name.window_ms
                    && block.name != new.name
            });
            gone.extend(older.cloned());
        }
        contents
            .blocks
            .retain(|block| !gone.iter().any(|removed| removed.name == block.name));
        contents
            .blocks
            .extend(raw.into_iter().chain(minutes).map(Arc::new));
        contents.blocks.sort_by_key(|block| block.name.sequence);
        drop(contents);
        for block in gone {
            remove(&block.path)?;
        }
        Ok(())
    }
}

/// As new as its newest input, one level above the highest.
fn output_name(inputs: &[Arc<Block>]) -> Option<BlockName> {
    let newest = inputs.iter().max_by_key(|block| block.name.sequence)?;
    let level = inputs.iter().map(|block| block.name.level).max()?;
    Some(BlockName {
        level: level + 1,
        ..newest.name
    })
}

/// Takes one series' labels and points.
type TakeSeries<'a> = &'a mut dyn FnMut(&Labels, &[(i64, f64)]) -> Result<(), SeriesError>;

/// Hands over each series of the inputs with its points merged, the later written winning.
fn each_series(inputs: &[Arc<Block>], take: TakeSeries<'_>) -> Result<(), SeriesError> {
    let mut inputs: Vec<&Arc<Block>> = inputs.iter().collect();
    inputs.sort_by_key(|block| block.name.sequence);
    let mut opened: Vec<(&Arc<Block>, File, Vec<Entry>)> = Vec::new();
    for block in inputs {
        let file = block.file()?;
        let index = block.read_index(&file)?;
        opened.push((block, file, index));
    }
    let mut series: BTreeMap<&Labels, Vec<(usize, &Entry)>> = BTreeMap::new();
    for (input, (_, _, index)) in opened.iter().enumerate() {
        for entry in index {
            series.entry(&entry.labels).or_default().push((input, entry));
        }
    }
    for (labels, parts) in series {
        let mut points = Vec::new();
        for (input, entry) in parts {
            let (block, file, _) = &opened[input];
            let columns = block.read_columns(file, entry)?;
            let values = columns.values.first().into_iter().flatten().copied();
            points.extend(columns.times.iter().copied().zip(values));
        }
        sort_last_wins(&mut points);
        take(labels, &points)?;
    }
    Ok(())
}
