#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
use proptest::prelude::*;
use trimtab_telemetry::{Labels, stale_marker};

use super::*;
use crate::SeriesError;

fn name(tier: Tier) -> BlockName {
    BlockName {
        window_ms: 7_200_000,
        sequence: 3,
        level: 0,
        tier,
    }
}

fn labels(metric: &str) -> Labels {
    Labels::from_pairs([("__name__", metric), ("service", "blocks")])
}

fn write(dir: &Path, series: &[(Labels, Vec<i64>, Vec<f64>)]) -> Block {
    let mut writer = BlockWriter::create(dir, name(Tier::Raw)).unwrap();
    for (labels, times, values) in series {
        writer.add(labels, times, &[values]).unwrap();
    }
    writer.finish().unwrap().unwrap()
}

fn golden_series() -> Vec<(Labels, Vec<i64>, Vec<f64>)> {
    let times: Vec<i64> = (0..40).map(|n| 7_200_000 + n * 1000).collect();
    vec![
        (labels("up"), times.clone(), vec![1.0; 40]),
        (
            labels("requests_total"),
            times,
            (0..40).map(|n| f64::from(n * 7)).collect(),
        ),
        (
            labels("odd"),
            vec![7_200_000, 7_300_001],
            vec![f64::NAN, stale_marker()],
        ),
    ]
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn check(block: &Block, series: &[(Labels, Vec<i64>, Vec<f64>)]) {
    let file = block.file().unwrap();
    let index = block.read_index(&file).unwrap();
    assert_eq!(index.len(), series.len());
    for (entry, (labels, times, values)) in index.iter().zip(series) {
        let columns = block.read_columns(&file, entry).unwrap();
        assert_eq!(&entry.labels, labels);
        assert_eq!(&columns.times, times);
        assert_eq!(bits(&columns.values[0]), bits(values));
    }
}

/// A block that an earlier build wrote. With TRIMTAB_GOLDEN=write it is written anew: only with a new
/// version number, keeping the reader of the old one and its file.
#[test]
fn a_block_of_version_1_is_still_read() {
    let golden = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests/golden/v1");
    if std::env::var("TRIMTAB_GOLDEN").as_deref() == Ok("write") {
        std::fs::create_dir_all(&golden).unwrap();
        write(&golden, &golden_series());
    }
    let path = golden.join(name(Tier::Raw).file_name());
    let block = Block::open(&path, BlockName::parse(&path).unwrap()).unwrap();
    assert_eq!(
        (block.least_ms, block.greatest_ms, block.points),
        (7_200_000, 7_300_001, 82)
    );
    check(&block, &golden_series());
}

#[test]
fn equal_times_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let times: Vec<i64> = (0..2000)
        .map(|n| n * 1_000_000 + random.i64(0..1_000_000))
        .collect();
    let one = write(dir.path(), &[(labels("a"), times.clone(), vec![0.0; 2000])]).bytes;
    let ten: Vec<_> = (0..10)
        .map(|n| (labels(&format!("m{n}")), times.clone(), vec![0.0; 2000]))
        .collect();
    let ten = write(dir.path(), &ten).bytes;
    assert!(ten < one * 2, "{one} {ten}");
}

#[test]
fn any_changed_byte_is_noticed_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let block = write(dir.path(), &golden_series());
    let good = std::fs::read(&block.path).unwrap();
    for at in 0..good.len() {
        // Bytes 10 to 15 of the header and the padding of nothing carry nothing.
        if (9..16).contains(&at) {
            continue;
        }
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&block.path, &bad).unwrap();
        let read = Block::open(&block.path, block.name).and_then(|block| {
            let file = block.file()?;
            for entry in block.read_index(&file)? {
                block.read_columns(&file, &entry)?;
            }
            Ok(())
        });
        match read {
            Err(SeriesError::Damaged { path, .. } | SeriesError::Version { path, .. }) => {
                assert_eq!(path, block.path);
            }
            other => panic!("byte {at}: {other:?}"),
        }
    }
}

#[test]
fn names_say_what_they_are() {
    let name = name(Tier::Minute);
    assert_eq!(name.file_name(), "0000007200000-00000003-0.minute");
    assert_eq!(BlockName::parse(Path::new(&name.file_name())), Some(name));
    for other in ["lock", "x.raw", "1-2.raw", "1-2-3-4.raw", "1-2-3.raw.tmp"] {
        assert_eq!(BlockName::parse(Path::new(other)), None, "{other}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_written_is_read(
        steps in prop::collection::vec((1i64..100_000, any::<u64>().prop_map(f64::from_bits)), 1..300),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut at = 0;
        let times: Vec<i64> = steps.iter().map(|(step, _)| { at += step; at }).collect();
        let values: Vec<f64> = steps.iter().map(|(_, value)| *value).collect();
        let series = vec![(labels("a"), times, values)];
        check(&write(dir.path(), &series), &series);
    }
}
