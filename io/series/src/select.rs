//! Queries over head and blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use trimtab_telemetry::{Labels, Matcher, SeriesData};

use crate::block::{Block, Columns, Entry, Tier};
use crate::merge::Gathered;
use crate::rollup::{self, MINUTE_MS};
use crate::state::State;
use crate::{RollupData, SeriesError};

/// Blocks may be merged away while they are read; then everything is looked at again.
const TRIES_MAX: usize = 5;

/// One moment's view: what memory held for the query, and the blocks.
struct View {
    memory: Gathered,
    raw: Vec<Arc<Block>>,
    /// The minutes of windows whose raw points they cover, and the windows without raw points.
    minutes: Vec<Arc<Block>>,
}

fn view(state: &State, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> View {
    let contents = state.read();
    let mut memory = Gathered::default();
    if let Some((head, _)) = &contents.flushing {
        head.gather(matchers, start_ms, end_ms, &mut memory);
    }
    contents.head.gather(matchers, start_ms, end_ms, &mut memory);
    let of_tier = |tier: Tier| -> Vec<Arc<Block>> {
        let blocks = contents.blocks.iter().filter(|block| block.name.tier == tier);
        blocks.cloned().collect()
    };
    View {
        memory,
        raw: of_tier(Tier::Raw),
        minutes: of_tier(Tier::Minute),
    }
}

fn again_if_gone<T>(mut attempt: impl FnMut() -> Result<T, SeriesError>) -> Result<T, SeriesError> {
    for _ in 1..TRIES_MAX {
        match attempt() {
            Err(SeriesError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    attempt()
}

/// See [`crate::Series::select`].
pub(crate) fn select(
    state: &State,
    matchers: &[Matcher],
    start_ms: i64,
    end_ms: i64,
) -> Result<Vec<SeriesData>, SeriesError> {
    again_if_gone(|| {
        let view = view(state, matchers, start_ms, end_ms);
        let windows: BTreeSet<i64> = view.raw.iter().map(|block| block.name.window_ms).collect();
        let mut gathered = Gathered::default();
        for block in &view.minutes {
            if windows.contains(&block.name.window_ms) {
                continue;
            }
            // A minute's last value stands at the minute's end.
            each_match(
                state,
                block,
                matchers,
                start_ms.saturating_sub(MINUTE_MS - 1),
                end_ms,
                |entry, columns| {
                    let minutes = rollup::from_columns(&columns).into_iter();
                    let points: Vec<(i64, f64)> = minutes
                        .map(|minute| (minute.minute_ms + MINUTE_MS - 1, minute.last))
                        .filter(|(at, _)| (start_ms..=end_ms).contains(at))
                        .collect();
                    gathered.add(&entry.labels, &points);
                    within_limit(&gathered, state)
                },
            )?;
        }
        add_raw(state, &view.raw, matchers, (start_ms, end_ms), &mut gathered)?;
        gathered.extend(view.memory);
        within_limit(&gathered, state)?;
        Ok(gathered.into_data())
    })
}

fn add_raw(
    state: &State,
    blocks: &[Arc<Block>],
    matchers: &[Matcher],
    (start_ms, end_ms): (i64, i64),
    gathered: &mut Gathered,
) -> Result<(), SeriesError> {
    for block in blocks {
        each_match(state, block, matchers, start_ms, end_ms, |entry, columns| {
            let values = columns.values.first().into_iter().flatten().copied();
            let points: Vec<(i64, f64)> = columns
                .times
                .iter()
                .copied()
                .zip(values)
                .filter(|(at, _)| (start_ms..=end_ms).contains(at))
                .collect();
            gathered.add(&entry.labels, &points);
            within_limit(gathered, state)
        })?;
    }
    Ok(())
}

/// See [`crate::Series::select_rollups`].
pub(crate) fn select_rollups(
    state: &State,
    matchers: &[Matcher],
    start_ms: i64,
    end_ms: i64,
) -> Result<Vec<RollupData>, SeriesError> {
    let first_ms = start_ms
        .saturating_add(MINUTE_MS - 1)
        .div_euclid(MINUTE_MS)
        .saturating_mul(MINUTE_MS);
    let last_ms = end_ms
        .div_euclid(MINUTE_MS)
        .saturating_mul(MINUTE_MS)
        .saturating_add(MINUTE_MS - 1);
    again_if_gone(|| {
        let mut view = view(state, matchers, first_ms, last_ms);
        let mut found: BTreeMap<Labels, Vec<crate::Rollup>> = BTreeMap::new();
        for block in &view.minutes {
            let newer = |raw: &Arc<Block>| {
                raw.name.window_ms == block.name.window_ms && raw.name.sequence > block.name.sequence
            };
            if view.raw.iter().any(newer) {
                continue;
            }
            view.raw.retain(|raw| raw.name.window_ms != block.name.window_ms);
            each_match(state, block, matchers, first_ms, last_ms, |entry, columns| {
                let minutes = rollup::from_columns(&columns).into_iter();
                let inside = minutes.filter(|minute| (first_ms..=last_ms).contains(&minute.minute_ms));
                found.entry(entry.labels.clone()).or_default().extend(inside);
                Ok(())
            })?;
        }
        let mut gathered = Gathered::default();
        add_raw(state, &view.raw, matchers, (first_ms, last_ms), &mut gathered)?;
        gathered.extend(view.memory);
        for data in gathered.into_data() {
            let known = found.entry(data.labels).or_default();
            *known = rollup::merge(std::mem::take(known), rollup::roll_up(&data.points));
        }
        let data = found.into_iter().map(|(labels, minutes)| RollupData {
            labels,
            minutes: rollup::merge(Vec::new(), minutes)
                .into_iter()
                .filter(|minute| minute.count > 0)
                .collect(),
        });
        Ok(data.filter(|data| !data.minutes.is_empty()).collect())
    })
}

/// See [`crate::Series::labels`].
pub(crate) fn labels(
    state: &State,
    matchers: &[Matcher],
    start_ms: i64,
    end_ms: i64,
) -> Result<Vec<Labels>, SeriesError> {
    again_if_gone(|| {
        let mut found = BTreeSet::new();
        let contents = state.read();
        if let Some((head, _)) = &contents.flushing {
            head.gather_labels(matchers, &mut found);
        }
        contents.head.gather_labels(matchers, &mut found);
        let blocks = contents.blocks.clone();
        drop(contents);
        for block in blocks.iter().filter(|block| block.overlaps(start_ms, end_ms)) {
            let file = block.file()?;
            let index = state.indexes.index_of(block, &file)?;
            let matching = index
                .iter()
                .filter(|entry| fits(entry, matchers, start_ms, end_ms));
            found.extend(matching.map(|entry| entry.labels.clone()));
        }
        Ok(found.into_iter().collect())
    })
}

fn fits(entry: &Entry, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> bool {
    entry.least_ms <= end_ms
        && start_ms <= entry.greatest_ms
        && matchers
            .iter()
            .all(|matcher| matcher.matches_labels(&entry.labels))
}

fn each_match(
    state: &State,
    block: &Block,
    matchers: &[Matcher],
    start_ms: i64,
    end_ms: i64,
    mut take: impl FnMut(&Entry, Columns) -> Result<(), SeriesError>,
) -> Result<(), SeriesError> {
    if !block.overlaps(start_ms, end_ms) {
        return Ok(());
    }
    let file = block.file()?;
    let index = state.indexes.index_of(block, &file)?;
    for entry in index
        .iter()
        .filter(|entry| fits(entry, matchers, start_ms, end_ms))
    {
        take(entry, block.read_columns(&file, entry)?)?;
    }
    Ok(())
}

fn within_limit(gathered: &Gathered, state: &State) -> Result<(), SeriesError> {
    let max = state.config.select_points_max;
    if gathered.points() > max {
        Err(SeriesError::TooManyPoints { max })
    } else {
        Ok(())
    }
}
