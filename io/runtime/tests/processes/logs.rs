//! What instances print.

use futures_util::StreamExt;
use trimtab_model::Generation;
use trimtab_runtime::{LogLimits, LogStreamKind, Runtime};

use super::house::*;

#[tokio::test]
async fn a_hundred_megabytes_in_one_line_cost_little() {
    let house = House::new();
    house
        .runtime
        .ensure(house.spec(&[PROGRAM, "flood", "100000000"]))
        .await
        .unwrap();
    house.until_line("after").await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.shim_pid())).unwrap();
    let peak: u64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .unwrap();
    assert!(peak < 40_000, "the shim's memory rose to {peak} kB");
    let lines = house.runtime.last_lines(&house.id, 2).await.unwrap();
    let wanted = format!(
        " [trimtab: cut {} bytes]",
        100_000_000 - trimtab_runtime::LINE_BYTES_MAX
    );
    assert!(
        lines[0].text.starts_with("xxx") && lines[0].text.ends_with(&wanted),
        "{}",
        lines[0].text.len()
    );
    house
        .runtime
        .stop(&house.id, PATIENCE, Generation(1))
        .await
        .unwrap();
    assert_eq!(house.runtime.get(&house.id).await.unwrap().lines_cut, 1);
}

#[tokio::test]
async fn logs_rotate_and_say_what_went_away() {
    let house = House::new();
    let mut spec = house.spec(&[PROGRAM, "serve"]);
    spec.logs = LogLimits {
        segment_bytes_max: 20_000,
        segments_max: 3,
    };
    house.runtime.ensure(spec).await.unwrap();
    let instance = house.running().await;
    for number in 0..60 {
        house
            .get(&instance, &format!("/say?{}-line{number}", "x".repeat(900)))
            .await;
        if number % 10 == 9 {
            house.until_line(&format!("-line{number}")).await;
        }
    }
    let logs = house
        .dir
        .path()
        .join("instances")
        .join(house.id.as_str())
        .join("logs");
    assert!(std::fs::read_dir(logs).unwrap().count() <= 3);
    let mut stream = house.runtime.logs(&house.id, 1).await.unwrap();
    let gap = stream.next().await.unwrap().unwrap();
    assert!(
        gap.stream == LogStreamKind::Shim && gap.text.contains("rotated away"),
        "{gap:?}"
    );
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(gap.next_offset, first.offset);
    let mut last = first;
    while !last.text.ends_with("-line59") {
        let line = tokio::time::timeout(PATIENCE, stream.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(line.offset, last.next_offset);
        last = line;
    }
}
