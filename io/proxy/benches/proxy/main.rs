//! The proxy beside nginx and haproxy, each as the same reverse proxy pinned to one core, with the
//! client and the instance on another; and failed requests over a hundred switches. Prints one JSON
//! object.
//!
//! Needs `nginx`, `haproxy`, `wrk`, `h2load` and `taskset`; what is missing of haproxy and h2load is
//! left out.

mod contenders;
mod load;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use trimtab_proxy::ProxyClient;

use contenders::Contender;
use load::{Run, median};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Runs of each proxy, taking turns; the median counts.
const ROUNDS: usize = 3;
const SECONDS: u32 = 3;
const SWITCHES: u64 = 100;
/// The core of the proxy under test, and the one of everything else.
const PROXY_CORE: &str = "0";
const OTHER_CORE: &str = "1";

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

/// What is asked of each: a protocol and a size.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    is_http2: bool,
    is_large: bool,
}

async fn measure() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (instance, _process) = contenders::instance(dir.path())?;
    let (ours, client) = contenders::trimtab(dir.path(), instance).await?;
    let mut all = vec![contenders::nginx(dir.path(), instance)?];
    if is_there("haproxy") {
        all.push(contenders::haproxy(dir.path(), instance)?);
    }
    let address = ours.http1;
    all.push(ours);
    let mut figures: BTreeMap<String, f64> = BTreeMap::new();
    for (is_http2, is_large, name) in [
        (false, false, ""),
        (false, true, "_100kb"),
        (true, false, "_http2"),
        (true, true, "_http2_100kb"),
    ] {
        if is_http2 && !is_there("h2load") {
            continue;
        }
        let case = Case {
            name,
            is_http2,
            is_large,
        };
        compare(&all, case, dir.path(), &mut figures)?;
    }
    let (requests, failed) = switches(&client, address, instance).await?;
    figures.insert("proxy_switches".to_owned(), SWITCHES as f64);
    figures.insert("proxy_switch_requests".to_owned(), requests as f64);
    figures.insert("proxy_switch_failed_requests".to_owned(), failed as f64);
    client.shutdown().await?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

fn is_there(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

/// Every contender in turn, several times over.
fn compare(all: &[Contender], case: Case, dir: &Path, figures: &mut BTreeMap<String, f64>) -> Result<()> {
    let mut runs: Vec<Vec<Run>> = all.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (contender, runs) in all.iter().zip(&mut runs) {
            let run = if case.is_http2 {
                load::http2(
                    &load::url(contender.http2, case.is_large),
                    contender.pid,
                    SECONDS,
                    dir,
                )
            } else {
                load::http1(&load::url(contender.http1, case.is_large), contender.pid, SECONDS)
            };
            runs.push(run.map_err(|error| format!("{}{}: {error}", contender.name, case.name))?);
        }
    }
    let mut cpu = BTreeMap::new();
    for (contender, runs) in all.iter().zip(&runs) {
        let mut put = |what: &str, value: f64| {
            figures.insert(format!("proxy_{}{}_{what}", contender.name, case.name), value);
        };
        let micros = median(runs, |run| run.cpu_micros);
        cpu.insert(contender.name, micros);
        put("cpu_us_per_request", micros);
        put("requests_per_s", median(runs, |run| run.per_second));
        put("p99_ms", median(runs, |run| run.p99_ms));
        eprintln!("{}{}: {runs:?}", contender.name, case.name);
    }
    for rival in ["nginx", "haproxy"] {
        if let (Some(ours), Some(theirs)) = (cpu.get("trimtab"), cpu.get(rival)) {
            figures.insert(format!("proxy{}_cpu_ratio_to_{rival}", case.name), ours / theirs);
        }
    }
    Ok(())
}

/// A hundred switches between two releases under load; requests and how many of them failed.
async fn switches(client: &ProxyClient, address: SocketAddr, instance: SocketAddr) -> Result<(u64, u64)> {
    let load = load::wrk(&load::url(address, false), 8)?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    for number in 0..SWITCHES {
        let to = if number % 2 == 0 { 100.0 } else { 0.0 };
        client
            .apply(&contenders::table(2 + number, instance, to)?)
            .await?;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let printed = tokio::task::spawn_blocking(move || load.wait_with_output()).await??;
    Ok(load::counts(&String::from_utf8(printed.stdout)?))
}
