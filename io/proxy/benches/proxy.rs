//! The proxy beside nginx, each as the same reverse proxy pinned to one core, with wrk and the
//! instance on another; and failed requests over a hundred switches. Prints one JSON object.
//!
//! Needs `nginx`, `wrk` and `taskset`.

use std::error::Error;
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use trimtab_model::{EnvironmentName, Generation, InstanceId, ReleaseId, RolloutId, ServiceName, Weight};
use trimtab_proxy::{
    Endpoint, Policy, Pool, Probe, Protocol, ProxyClient, ProxyConfig, Route, RoutingTable, Split,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Runs of each proxy, taking turns; the median counts.
const ROUNDS: usize = 3;
const SECONDS: u32 = 4;
const CONNECTIONS: u32 = 64;
const SWITCHES: u64 = 100;
/// Clock ticks per second in /proc (USER_HZ, fixed on Linux).
const TICKS_PER_SECOND: f64 = 100.0;
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

/// A process that ends with the benchmark.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's master ends its workers on SIGTERM, which `kill` does not send.
        let _gone = Command::new("kill").arg(self.0.id().to_string()).status();
        let _status = self.0.wait();
    }
}

async fn measure() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (instance, rival) = (free_port()?, free_port()?);
    let _instance = nginx(dir.path(), "instance", &instance_config(instance), OTHER_CORE)?;
    let nginx = nginx(dir.path(), "rival", &rival_config(rival, instance), PROXY_CORE)?;
    let (client, ours) = proxy(dir.path()).await?;
    client.apply(&table(1, instance, 30.0)?).await?;
    wait_for(rival)?;
    let nginx_worker = children(nginx.0.id())?
        .first()
        .copied()
        .ok_or("nginx started no worker")?;
    let our_worker = client.status().await?.worker_pid;
    let (mut nginx_runs, mut our_runs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        nginx_runs.push(run(rival, nginx_worker)?);
        our_runs.push(run(ours, our_worker)?);
    }
    let mut json = String::from("{");
    let cpu = |runs: &[Run]| median(runs, |run| run.cpu_micros);
    for (name, runs) in [("nginx", &nginx_runs), ("trimtab", &our_runs)] {
        write!(json, "\"proxy_{name}_cpu_us_per_request\":{:.2},", cpu(runs))?;
        write!(
            json,
            "\"proxy_{name}_requests_per_s\":{:.0},",
            median(runs, |run| run.per_second)
        )?;
        write!(
            json,
            "\"proxy_{name}_p99_ms\":{:.3},",
            median(runs, |run| run.p99_ms)
        )?;
        eprintln!("{name}: {runs:?}");
    }
    write!(
        json,
        "\"proxy_cpu_ratio_to_nginx\":{:.3},",
        cpu(&our_runs) / cpu(&nginx_runs)
    )?;
    let (requests, failed) = switches(&client, ours, instance).await?;
    write!(
        json,
        "\"proxy_switches\":{SWITCHES},\"proxy_switch_requests\":{requests},"
    )?;
    write!(json, "\"proxy_switch_failed_requests\":{failed}}}")?;
    client.shutdown().await?;
    println!("{json}");
    Ok(())
}

#[derive(Debug)]
struct Run {
    cpu_micros: f64,
    per_second: f64,
    p99_ms: f64,
}

fn median(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn run(address: SocketAddr, pid: u32) -> Result<Run> {
    let before = cpu_seconds(pid)?;
    let printed = wrk(address, SECONDS)?.wait_with_output()?;
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

fn wrk(address: SocketAddr, seconds: u32) -> Result<Child> {
    let url = format!("http://{address}/blocks/17");
    let child = Command::new("taskset")
        .args(["-c", OTHER_CORE, "wrk", "-t1", "--latency"])
        .args([format!("-c{CONNECTIONS}"), format!("-d{seconds}s"), url])
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(child)
}

/// Requests, and those that failed: socket errors and answers other than 2xx or 3xx.
fn counts(text: &str) -> (u64, u64) {
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

fn children(pid: u32) -> Result<Vec<u32>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect())
}

/// A hundred switches between two releases under load; requests and how many of them failed.
async fn switches(client: &ProxyClient, address: SocketAddr, instance: SocketAddr) -> Result<(u64, u64)> {
    let load = wrk(address, 8)?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    for number in 0..SWITCHES {
        let to = if number % 2 == 0 { 100.0 } else { 0.0 };
        client.apply(&table(2 + number, instance, to)?).await?;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let printed = tokio::task::spawn_blocking(move || load.wait_with_output()).await??;
    Ok(counts(&String::from_utf8(printed.stdout)?))
}

async fn proxy(dir: &Path) -> Result<(ProxyClient, SocketAddr)> {
    let mut config = ProxyConfig::new(dir.join("proxy"), "taskset", vec!["127.0.0.1:0".parse()?]);
    config.arguments = ["-c", PROXY_CORE, env!("CARGO_BIN_EXE_trimtab-proxy")]
        .map(str::to_owned)
        .to_vec();
    config.threads = 1;
    let client = ProxyClient::start_or_adopt(config).await?;
    let address = *client
        .status()
        .await?
        .listen
        .first()
        .ok_or("the proxy listens nowhere")?;
    Ok((client, address))
}

fn table(version: u64, instance: SocketAddr, percent: f64) -> Result<RoutingTable> {
    let pool = |name: &str| -> Result<Pool> {
        Ok(Pool {
            release: ReleaseId::new(name)?,
            endpoints: vec![Endpoint {
                instance: InstanceId::new(format!("{name}-production-1"))?,
                address: instance,
            }],
            health: Probe::default(),
            protocol: Protocol::Http1,
        })
    };
    let route = Route {
        service: ServiceName::new("blocks")?,
        environment: EnvironmentName::new("production")?,
        host: "*".to_owned(),
        path_prefix: "/".to_owned(),
        generation: Generation(version),
        timeout_ms: 10_000,
        split: Split {
            rollout: Some(RolloutId::new("rollout-1")?),
            baseline: pool("blocks-r1")?,
            candidate: Some(pool("blocks-r2")?),
            candidate_weight: Weight::from_percent(percent)?,
            sticky: None,
        },
        mirror: None,
        preview: None,
        policy: Policy::default(),
    };
    Ok(RoutingTable::new(version, vec![route]))
}

fn nginx(dir: &Path, name: &str, http: &str, core: &str) -> Result<Process> {
    let path = dir.join(format!("{name}.conf"));
    let home = dir.display();
    let config = format!(
        "daemon off; master_process on; worker_processes 1; pid {home}/{name}.pid; error_log {home}/{name}.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {home}/{name}-body;\n\
         proxy_temp_path {home}/{name}-proxy; fastcgi_temp_path {home}/{name}-fastcgi;\n\
         uwsgi_temp_path {home}/{name}-uwsgi; scgi_temp_path {home}/{name}-scgi;\n{http} }}\n"
    );
    std::fs::write(&path, config)?;
    let child = Command::new("taskset")
        .args(["-c", core, "nginx", "-c"])
        .arg(&path)
        .spawn()?;
    Ok(Process(child))
}

fn instance_config(address: SocketAddr) -> String {
    format!(
        "server {{ listen {address} backlog=4096; location / {{ default_type application/json; return 200 '{{\"block\":17,\"text\":\"as small as an answer of a service is\"}}'; }} }}"
    )
}

fn rival_config(address: SocketAddr, instance: SocketAddr) -> String {
    format!(
        "upstream instance {{ server {instance}; keepalive 128; keepalive_requests 100000000; }}\n\
         server {{ listen {address} backlog=4096; location / {{ proxy_pass http://instance; proxy_http_version 1.1;\n\
         proxy_set_header Connection ''; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;\n\
         proxy_set_header X-Forwarded-Host $http_host; }} }}"
    )
}

fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn wait_for(address: SocketAddr) -> Result<()> {
    for _ in 0..200 {
        if std::net::TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("nothing listens at {address}").into())
}
