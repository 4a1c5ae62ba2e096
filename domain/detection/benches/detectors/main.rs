//! Runs the detectors over public, labelled data and writes files for its scorers.
//!
//! `cargo bench --bench detectors -- loghub DATA_DIR OUT_DIR` or `… -- nab DATA_DIR OUT_DIR`.

use std::fs;
use std::path::{Path, PathBuf};

use trimtab_detection::series::{Detector, SeriesConfig};
use trimtab_detection::templates::Miner;
use trimtab_model::Timestamp;

/// The files beneath a folder whose name ends so.
fn files(dir: &Path, end: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
}

/// Rows of a CSV file, quotes respected.
fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut all, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                all.push(std::mem::take(&mut row));
            }
            '\r' => {}
            other => field.push(other),
        }
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        all.push(row);
    }
    all
}

fn loghub(data: &Path, out: &Path) -> std::io::Result<()> {
    let mut found = Vec::new();
    files(data, "_2k.log_structured.csv", &mut found);
    for path in found {
        let bytes = fs::read(&path)?;
        let rows = rows(&String::from_utf8_lossy(&bytes));
        let Some((header, lines)) = rows.split_first() else {
            continue;
        };
        let column = |name: &str| {
            header
                .iter()
                .position(|h| h.trim_start_matches('\u{feff}') == name)
        };
        let (Some(id), Some(content)) = (column("LineId"), column("Content")) else {
            continue;
        };
        let mut miner = Miner::default();
        let mut text = "LineId,EventId\n".to_owned();
        let lines = lines.iter().filter(|row| row.len() > content);
        let numbers: Vec<_> = lines
            .map(|row| (&row[id], miner.observe(&row[content])))
            .collect();
        for (id, number) in numbers {
            let number = number.map_or(usize::MAX, |number| miner.current(number));
            text.push_str(&format!("{id},{number}\n"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let system = name.split("_2k").next().unwrap_or("x").to_owned();
        fs::write(out.join(format!("{system}.csv")), text)?;
        println!("{system}: {} templates", miner.templates().len());
    }
    Ok(())
}

/// Seconds since some day of a `YYYY-MM-DD hh:mm:ss` (months of 31 days are near enough: only differences and
/// the time of day count).
fn seconds(stamp: &str) -> Option<i64> {
    let number = |from: usize, to: usize| stamp.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let days = (year * 12 + month) * 31 + day;
    Some(days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?)
}

fn nab(data: &Path, out: &Path) -> std::io::Result<()> {
    let mut found = Vec::new();
    files(data, ".csv", &mut found);
    for path in found {
        let rows = rows(&fs::read_to_string(&path)?);
        let mut detector = Detector::new(SeriesConfig::default());
        let mut text = "timestamp,anomaly_score\n".to_owned();
        for row in rows.iter().skip(1).filter(|row| row.len() > 1) {
            let (at, value) = (seconds(&row[0]), row[1].parse::<f64>().ok());
            let observation = at
                .zip(value)
                .and_then(|(at, value)| detector.observe(Timestamp(at * 1_000), value));
            let score = observation.map_or(0.0, |o| o.score);
            text.push_str(&format!("{},{score}\n", row[0]));
        }
        let inside = path.strip_prefix(data).unwrap_or(&path);
        let target = out.join(inside);
        fs::create_dir_all(target.parent().unwrap_or(out))?;
        fs::write(target, text)?;
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["loghub", data, out, ..] => {
            fs::create_dir_all(out)?;
            loghub(Path::new(data), Path::new(out))
        }
        ["nab", data, out, ..] => nab(Path::new(data), Path::new(out)),
        _ => {
            println!("usage: detectors loghub|nab DATA_DIR OUT_DIR (nothing to do without data)");
            Ok(())
        }
    }
}
