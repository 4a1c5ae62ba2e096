//! A service for end-to-end tests that misbehaves as it is told, and the checks that gates run against it.
//!
//! `service` serves on `PORT`. `FAULTS`, and the file that `FAULTS_FILE` names (read at each request, so that
//! a test can break and mend a running instance; it goes before `FAULTS`), hold words:
//!
//! - `exit`: ends at its start; `unready`: its health is never good; `slow-start=MS`;
//! - `sick-after=N`: health is bad once N requests of users have come;
//! - `fail=SHARE`, `slow=MS`, `slow-share=SHARE`: what requests of users meet;
//! - `path=/x`: only those of paths that begin so; `only=ENVIRONMENT`: only there; `of=RELEASE`: only its;
//!   `nth=N`: only the instance of that number;
//! - `lag=SECONDS`, `mute`: what its metric `queue_lag_seconds` says, or that it is left out;
//! - `flag=KEY`: only those of users (the header `x-user`) who have that flag on; it is asked for over OFREP,
//!   said in the header `x-flag` of the answer, and each request is told of by a span;
//! - `healed-by-restart`: the faults are gone from the second start of an instance on (those of the file
//!   from the first start after it was written).
//!
//! What lasts (WebSockets, event streams, uploads, downloads) is in `streams.rs`.
//!
//! `service check URL COUNT LIMIT_MS` asks COUNT times and fails on the first bad or late answer.

mod flags;
mod streams;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use flags::{Flags, Told};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["check", url, count, limit] => check(url, count, limit),
        _ => serve(),
    }
}

#[derive(Default, Clone)]
struct Faults {
    exit: bool,
    unready: bool,
    healed_by_restart: bool,
    slow_start_ms: u64,
    sick_after: Option<u64>,
    fail: f64,
    slow_ms: u64,
    slow_share: Option<f64>,
    path: String,
    only: String,
    of: String,
    nth: String,
    lag: Option<f64>,
    mute: bool,
    flag: String,
}

impl Faults {
    fn read(text: &str) -> Faults {
        let mut faults = Faults::default();
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "exit" => faults.exit = true,
                "lag" => faults.lag = Some(number(value)),
                "mute" => faults.mute = true,
                "unready" => faults.unready = true,
                "healed-by-restart" => faults.healed_by_restart = true,
                "slow-start" => faults.slow_start_ms = number(value),
                "sick-after" => faults.sick_after = Some(number(value)),
                "fail" => faults.fail = number(value),
                "slow" => faults.slow_ms = number(value),
                "slow-share" => faults.slow_share = Some(number(value)),
                "path" => value.clone_into(&mut faults.path),
                "of" => value.clone_into(&mut faults.of),
                "flag" => value.clone_into(&mut faults.flag),
                "nth" => value.clone_into(&mut faults.nth),
                "only" => value.clone_into(&mut faults.only),
                _ => eprintln!("unknown fault {word:?}"),
            }
        }
        let meant = |name: &str, variable_name| name.is_empty() || name == variable(variable_name);
        let number = variable("TRIMTAB_INSTANCE")
            .rsplit('-')
            .next()
            .unwrap_or_default()
            .to_owned();
        let nth = faults.nth.is_empty() || faults.nth == number;
        if nth && meant(&faults.only, "TRIMTAB_ENVIRONMENT") && meant(&faults.of, "TRIMTAB_RELEASE") {
            faults
        } else {
            Faults::default()
        }
    }
}

fn number<T: std::str::FromStr + Default>(text: &str) -> T {
    text.parse().unwrap_or_default()
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

struct Service {
    release: String,
    faults: Faults,
    requests: AtomicU64,
    failed: AtomicU64,
    draws: AtomicU64,
    started: SystemTime,
    flags: Flags,
}

/// Counts an instance's starts in its data folder.
fn starts() -> u64 {
    let folder = variable("TRIMTAB_DATA");
    if folder.is_empty() || std::fs::create_dir_all(&folder).is_err() {
        return 1;
    }
    let file = format!("{folder}/{}.starts", variable("TRIMTAB_INSTANCE"));
    let before: u64 = number(std::fs::read_to_string(&file).unwrap_or_default().trim());
    if let Err(error) = std::fs::write(&file, (before + 1).to_string()) {
        eprintln!("failed to count this start in {file}: {error}");
    }
    before + 1
}

fn serve() -> ExitCode {
    let mut faults = Faults::read(&variable("FAULTS"));
    if faults.healed_by_restart && starts() > 1 {
        faults = Faults::default();
    }
    if faults.exit {
        eprintln!("failed to read settings.toml: no such file");
        return ExitCode::from(3);
    }
    std::thread::sleep(Duration::from_millis(faults.slow_start_ms));
    let port = variable("PORT");
    let listener = match TcpListener::bind(format!("127.0.0.1:{port}")) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("failed to listen on port {port}: {error}");
            return ExitCode::from(4);
        }
    };
    println!("{{\"level\":\"info\",\"message\":\"listening on {port}\"}}");
    let started = SystemTime::now();
    let service = Arc::new(Service {
        release: variable("TRIMTAB_RELEASE"),
        faults,
        requests: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        draws: AtomicU64::new(0),
        started,
        flags: Flags::new(started),
    });
    for stream in listener.incoming().flatten() {
        let service = Arc::clone(&service);
        std::thread::spawn(move || service.talk(stream));
    }
    ExitCode::SUCCESS
}

impl Service {
    /// Answers one connection's requests until either side closes it.
    fn talk(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut writer = stream.try_clone().ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let head = Head::read(&mut reader)?;
            if streams::is_one(&head.path) {
                streams::talk(&head, &mut reader, &mut writer, &self.release)?;
                continue;
            }
            head.skip_body(&mut reader)?;
            let (began, faults) = (SystemTime::now(), self.faults());
            let user = head.field("x-user");
            let flagged = !faults.flag.is_empty() && !user.is_empty();
            let on = flagged && self.flags.is_on(&faults.flag, user);
            let (status, body) = self.answer(&head, &faults, on);
            if flagged {
                self.flags.tell(&Told {
                    user,
                    path: &head.path,
                    traceparent: head.field("traceparent"),
                    began,
                    status,
                });
            }
            let connection = if head.close { "close" } else { "keep-alive" };
            let answer = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nx-release: {}\r\n\
                 x-flag: {}\r\nconnection: {connection}\r\n\r\n{body}",
                body.len(),
                self.release,
                if on { "on" } else { "off" }
            );
            writer.write_all(answer.as_bytes()).ok()?;
            if head.close {
                return None;
            }
        }
    }

    /// Whether this process was started after a file was written.
    fn started_since(&self, file: &str) -> bool {
        let written = std::fs::metadata(file).and_then(|file| file.modified());
        written.is_ok_and(|written| written < self.started)
    }

    fn faults(&self) -> Faults {
        match std::fs::read_to_string(variable("FAULTS_FILE")) {
            Ok(text) => {
                let faults = Faults::read(&text);
                if faults.healed_by_restart && self.started_since(&variable("FAULTS_FILE")) {
                    return Faults::default();
                }
                faults
            }
            Err(_) => self.faults.clone(),
        }
    }

    fn answer(&self, head: &Head, faults: &Faults, on: bool) -> (u16, String) {
        match head.path.as_str() {
            "/health" => return self.health(faults),
            "/metrics" => return (200, self.metrics(faults)),
            _ => {}
        }
        let number = self.requests.fetch_add(1, Relaxed) + 1;
        if !head.path.starts_with(&faults.path) || (!faults.flag.is_empty() && !on) {
            return (200, format!("{number} from {}\n", self.release));
        }
        if faults.slow_ms > 0 && self.draw() < faults.slow_share.unwrap_or(1.0) {
            std::thread::sleep(Duration::from_millis(faults.slow_ms));
        }
        if self.draw() < faults.fail {
            self.failed.fetch_add(1, Relaxed);
            println!(
                "{{\"level\":\"error\",\"message\":\"failed to merge edit {number} of notebook {}: torn version \
                 vector\",\"path\":{:?},\"traceparent\":{:?}}}",
                number % 17,
                head.path,
                head.field("traceparent")
            );
            return (500, "torn version vector\n".to_owned());
        }
        (200, format!("{number} from {}\n", self.release))
    }

    fn health(&self, faults: &Faults) -> (u16, String) {
        let sick = faults
            .sick_after
            .is_some_and(|limit| self.requests.load(Relaxed) >= limit);
        if faults.unready || sick {
            println!("{{\"level\":\"warn\",\"message\":\"the index is not loaded\"}}");
            return (503, "index not loaded".to_owned());
        }
        (200, "ok".to_owned())
    }

    fn metrics(&self, faults: &Faults) -> String {
        let lag = match faults.mute {
            true => String::new(),
            false => format!(
                "# TYPE queue_lag_seconds gauge\nqueue_lag_seconds {}\n",
                faults.lag.unwrap_or(1.0)
            ),
        };
        format!(
            "# TYPE service_requests_total counter\nservice_requests_total {}\n\
             # TYPE service_failures_total counter\nservice_failures_total {}\n\
             # TYPE active_users gauge\nactive_users 3\n{lag}\
             # TYPE queue_depth gauge\nqueue_depth{{queue=\"a\"}} 1\nqueue_depth{{queue=\"b\"}} 2\n",
            self.requests.load(Relaxed),
            self.failed.load(Relaxed)
        )
    }

    /// From 0 to 1, the same in each run: splitmix64 of a counter.
    fn draw(&self) -> f64 {
        let mut z = (self.draws.fetch_add(1, Relaxed) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

struct Head {
    path: String,
    close: bool,
    fields: BTreeMap<String, String>,
}

impl Head {
    /// Reads a request up to its body; none when the other side has gone.
    fn read(reader: &mut BufReader<TcpStream>) -> Option<Head> {
        let first = line(reader)?;
        let mut fields = BTreeMap::new();
        loop {
            let field = line(reader)?;
            if field.is_empty() {
                break;
            }
            let (name, value) = field.split_once(':')?;
            fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut head = Head {
            path: first.split(' ').nth(1)?.to_owned(),
            close: false,
            fields,
        };
        head.close = head.field("connection").eq_ignore_ascii_case("close");
        Some(head)
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    fn skip_body(&self, reader: &mut BufReader<TcpStream>) -> Option<()> {
        let body = number(self.field("content-length"));
        std::io::copy(&mut reader.take(body), &mut std::io::sink()).ok()?;
        Some(())
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut text = String::new();
    if reader.read_line(&mut text).ok()? == 0 {
        return None;
    }
    Some(text.trim_end().to_owned())
}

fn check(url: &str, count: &str, limit: &str) -> ExitCode {
    let limit = Duration::from_millis(number(limit));
    for turn in 1..=number::<u64>(count) {
        let began = Instant::now();
        let answer = ask(url).unwrap_or_else(|error| error.to_string());
        let took = began.elapsed();
        let first = answer.lines().next().unwrap_or_default();
        if !first.starts_with("HTTP/1.1 200") || took > limit {
            let took = took.as_millis();
            println!("request {turn} of {url}: {first:?} after {took} ms");
            return ExitCode::FAILURE;
        }
    }
    println!("{count} good answers of {url}");
    ExitCode::SUCCESS
}

fn ask(url: &str) -> std::io::Result<String> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
