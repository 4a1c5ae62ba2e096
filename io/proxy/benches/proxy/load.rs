//! The clients: wrk for HTTP/1.1, h2load for HTTP/2, both with 64 requests under way.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{OTHER_CORE, Result};

const CONNECTIONS: u32 = 64;
/// 64 requests under way as HTTP/2 clients have them.
const H2_CONNECTIONS: u32 = 8;
const H2_STREAMS: u32 = 8;
/// Clock ticks per second in /proc (USER_HZ, fixed on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// What one run measured.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) cpu_micros: f64,
    pub(crate) per_second: f64,
    pub(crate) p99_ms: f64,
}

/// The median of one figure.
pub(crate) fn median(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// HTTP/1.1 by wrk; CPU is that of process `pid`.
pub(crate) fn http1(url: &str, pid: u32, seconds: u32) -> Result<Run> {
    let before = cpu_seconds(pid)?;
    let printed = wrk(url, seconds)?.wait_with_output()?;
    let used = cpu_seconds(pid)? - before;
    let text = String::from_utf8(printed.stdout)?;
    let (requests, failed) = counts(&text);
    if failed > 0 || requests == 0 {
        return Err(format!("failed requests in a plain run: {text}").into());
    }
    let line = |name: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .map(str::trim)
    };
    Ok(Run {
        cpu_micros: used * 1e6 / requests as f64,
        per_second: line("Requests/sec:").ok_or("wrk printed no rate")?.parse()?,
        p99_ms: milliseconds(line("99%").ok_or("wrk printed no p99")?)?,
    })
}

/// HTTP/2 without TLS by h2load.
pub(crate) fn http2(url: &str, pid: u32, seconds: u32, dir: &Path) -> Result<Run> {
    let log = dir.join("h2load.log");
    let before = cpu_seconds(pid)?;
    let printed = Command::new("taskset")
        .args(["-c", OTHER_CORE, "h2load", "-t1", "--log-file"])
        .arg(&log)
        .args([
            format!("-c{H2_CONNECTIONS}"),
            format!("-m{H2_STREAMS}"),
            format!("-D{seconds}"),
            url.to_owned(),
        ])
        .stderr(Stdio::null())
        .output()?;
    let used = cpu_seconds(pid)? - before;
    let text = String::from_utf8(printed.stdout)?;
    let mut micros = Vec::new();
    for line in std::fs::read_to_string(&log)?.lines() {
        let mut columns = line.split('\t').skip(1);
        let (Some(status), Some(time)) = (columns.next(), columns.next()) else {
            continue;
        };
        if status != "200" {
            return Err(format!("a failed request in a plain run: {line}\n{text}").into());
        }
        micros.push(time.parse::<u64>()?);
    }
    std::fs::remove_file(&log)?;
    if micros.is_empty() {
        return Err(format!("h2load made no request: {text}").into());
    }
    micros.sort_unstable();
    Ok(Run {
        cpu_micros: used * 1e6 / micros.len() as f64,
        per_second: micros.len() as f64 / f64::from(seconds),
        p99_ms: micros[micros.len() * 99 / 100] as f64 / 1000.0,
    })
}

/// Starts wrk.
pub(crate) fn wrk(url: &str, seconds: u32) -> Result<Child> {
    let child = Command::new("taskset")
        .args(["-c", OTHER_CORE, "wrk", "-t1", "--latency"])
        .args([
            format!("-c{CONNECTIONS}"),
            format!("-d{seconds}s"),
            url.to_owned(),
        ])
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(child)
}

/// Where something small, or 100 kB, is served.
pub(crate) fn url(address: SocketAddr, is_large: bool) -> String {
    format!(
        "http://{address}/{}",
        if is_large { "large" } else { "blocks/17" }
    )
}

/// Requests, and those that failed: socket errors and answers other than 2xx or 3xx.
pub(crate) fn counts(text: &str) -> (u64, u64) {
    let numbers = |line: &str| -> Vec<u64> {
        line.split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect()
    };
    let (mut requests, mut failed) = (0, 0);
    for line in text.lines() {
        if line.contains(" requests in ") {
            requests = numbers(line).first().copied().unwrap_or(0);
        } else if line.contains("Socket errors") || line.contains("Non-2xx") {
            // The 2 of "2xx" and the 3 of "3xx" are in the line too.
            failed += numbers(&line.replace("Non-2xx or 3xx", "")).iter().sum::<u64>();
        }
    }
    (requests, failed)
}

fn milliseconds(text: &str) -> Result<f64> {
    let split = text
        .find(|c: char| c.is_alphabetic())
        .ok_or("wrk printed a time without a unit")?;
    let number: f64 = text[..split].parse()?;
    Ok(match &text[split..] {
        "us" => number / 1000.0,
        "ms" => number,
        _ => number * 1000.0,
    })
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').ok_or("odd /proc/PID/stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS_PER_SECOND)
}
