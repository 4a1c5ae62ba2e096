//! `trimtab serve` with nothing to do: its memory, its CPU, and the program's size.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use super::Figures;

/// Time to settle before anything is measured.
const SETTLE: Duration = Duration::from_secs(60);
/// Time over which CPU is measured.
const MEASURE: Duration = Duration::from_secs(60);
/// Longest wait for the server to answer.
const START_MAX: Duration = Duration::from_secs(60);
/// Ticks of `/proc/PID/stat` in a second, on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server on a folder of its own; stopped with its proxy when dropped.
struct Server {
    child: Child,
    dir: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Builds the program, leaves a server alone for a minute, and watches it for another.
pub(crate) fn run() -> Result<Figures> {
    let program = build()?;
    let server = start(&program)?;
    thread::sleep(SETTLE);
    let before = usage(&server)?;
    let began = Instant::now();
    thread::sleep(MEASURE);
    let after = usage(&server)?;
    let seconds = began.elapsed().as_secs_f64();
    let mut figures = Figures::new();
    let bytes = fs::metadata(&program)?.len();
    figures.insert("rest_program_bytes".to_owned(), bytes as f64);
    for (name, (memory, ticks)) in &after {
        let spent = ticks - before.get(name).map_or(0.0, |(_, ticks)| *ticks);
        figures.insert(format!("rest_{name}_memory_bytes"), *memory);
        figures.insert(
            format!("rest_{name}_cpu_percent"),
            100.0 * spent / TICKS_PER_SECOND / seconds,
        );
    }
    Ok(figures)
}

/// The program as users build it; what is there is taken with `TRIMTAB_PROGRAM`.
fn build() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("TRIMTAB_PROGRAM") {
        return Ok(program.into());
    }
    let output = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "trimtab",
            "--bin",
            "trimtab",
        ])
        .args(["--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .context("failed to start cargo")?;
    if !output.status.success() {
        bail!("cargo build failed");
    }
    let lines = String::from_utf8(output.stdout)?;
    let program = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "trimtab")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.context("cargo named no program")
}

fn start(program: &Path) -> Result<Server> {
    let dir = std::env::temp_dir().join(format!("trimtab-rest-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    // All four are held until each is known, so that they differ; then they are free for the server.
    let held = (0..4)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<Vec<_>>>()?;
    let ports = held
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<Result<Vec<u16>>>()?;
    drop(held);
    let config = ["listen", "otlp_grpc", "otlp_http", "traffic"]
        .iter()
        .zip(&ports)
        .map(|(field, port)| format!("{field}: 127.0.0.1:{port}\n"))
        .collect::<String>();
    fs::write(dir.join("trimtab-server.yaml"), config)?;
    let child = Command::new(program)
        .args(["serve", "--data"])
        .arg(&dir)
        .env("TRIMTAB_EPHEMERAL", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to start the server")?;
    let mut server = Server { child, dir };
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", ports[0])).is_err() || proxies(&server.dir)?.len() < 2 {
        if began.elapsed() > START_MAX || server.child.try_wait()?.is_some() {
            bail!("the server did not start");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(server)
}

/// Memory in bytes and CPU in ticks of each process.
fn usage(server: &Server) -> Result<std::collections::BTreeMap<String, (f64, f64)>> {
    let mut all = proxies(&server.dir)?;
    all.push(("serve".to_owned(), server.child.id()));
    all.into_iter()
        .map(|(name, pid)| Ok((name, (memory(pid)?, ticks(pid)?))))
        .collect()
}

/// Holder and worker of the proxy beneath a data folder.
fn proxies(dir: &Path) -> Result<Vec<(String, u32)>> {
    let place = dir.join("proxy");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        if let [_, "proxy", part @ ("holder" | "worker"), folder, ..] = words[..]
            && Path::new(folder) == place
        {
            found.push((format!("proxy_{part}"), pid));
        }
    }
    Ok(found)
}

fn memory(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: f64 = kilobytes.context("no VmRSS")?.parse()?;
    Ok(kilobytes * 1024.0)
}

fn ticks(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name, in brackets, may hold anything; user and system time are the 12th and 13th after it.
    let (_, rest) = stat.rsplit_once(") ").context("no stat")?;
    let times = rest.split(' ').skip(11).take(2);
    times.map(|text| Ok(text.parse::<f64>()?)).sum()
}
