//! Whether an instance is well.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trimtab_child::Masker;
use trimtab_model::InstanceId;

mod grpc;

use crate::{Ask, HealthCheck, Instance, InstanceState, Runtime, RuntimeError};

/// Bytes of an answer that are read; the rest is left.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of its body that are kept.
const BODY_BYTES_MAX: usize = 1024;
/// Last lines of output that an unhealthy instance is reported with.
const LAST_LINES: usize = 10;
/// Pause between looks at an instance that doesn't listen yet.
const START_POLL: Duration = Duration::from_millis(25);

/// What one probe saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Whether a good answer came in time: over HTTP a status from 200 to 399.
    pub healthy: bool,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The beginning of the body.
    pub body: String,
    /// Why there was no answer.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl ProbeResult {
    /// A probe that could not be made.
    pub fn failed(error: impl Into<String>) -> Self {
        ProbeResult {
            healthy: false,
            status: None,
            body: String::new(),
            error: Some(error.into()),
            took: Duration::ZERO,
        }
    }
}

impl ProbeResult {
    /// Whether the instance runs, for who asks no more.
    pub fn of_state(instance: &Instance) -> Self {
        let runs = instance.state == InstanceState::Running;
        let ended = instance
            .last_exit
            .as_ref()
            .map(|exit| format!(", ended with {exit}"));
        let error = (!runs).then(|| format!("it is {}{}", instance.state, ended.unwrap_or_default()));
        ProbeResult {
            healthy: runs,
            status: None,
            body: "it runs".to_owned(),
            error,
            took: Duration::ZERO,
        }
    }

    /// The same without secrets in its words.
    pub fn masked(mut self, masker: &Masker) -> Self {
        if !masker.is_empty() {
            self.body = masker.mask(self.body.as_bytes(), false);
            self.error = self.error.map(|error| masker.mask(error.as_bytes(), false));
        }
        self
    }
}

impl std::fmt::Display for ProbeResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.error, self.status) {
            (Some(error), _) => write!(f, "{error}"),
            (None, Some(status)) => write!(f, "status {status}, body {:?}", self.body),
            (None, None) => f.write_str(&self.body),
        }
    }
}

/// What a row of probes saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// Whether `healthy_after` good probes in a row came before `unhealthy_after` bad ones.
    pub healthy: bool,
    /// How many probes were made.
    pub probes: u32,
    /// The last of them.
    pub last: ProbeResult,
}

/// Asks once over the network, with a connection of its own, over within the check's timeout. A command is asked by
/// [`Runtime::probe`], which knows what it runs in; here it counts as failed.
pub async fn probe(address: SocketAddr, check: &HealthCheck) -> ProbeResult {
    let asked = async {
        match &check.ask {
            Ask::Http => exchange(address, &check.path)
                .await
                .map(|(status, body)| (Some(status), body)),
            Ask::Tcp => TcpStream::connect(address)
                .await
                .map(|_| (None, "it takes connections".to_owned())),
            Ask::Grpc(service) => grpc::ask(address, service).await,
            Ask::Running => Ok((None, "it runs".to_owned())),
            Ask::Command(_) => Err(std::io::Error::other(
                "a command is asked by the instance's runtime",
            )),
        }
    };
    timed(check.timeout, asked).await
}

/// The result of a question that may take so long. Without a status an answer is a good one.
pub(crate) async fn timed(
    limit: Duration,
    asked: impl Future<Output = std::io::Result<(Option<u16>, String)>>,
) -> ProbeResult {
    let begun = Instant::now();
    let answer = match tokio::time::timeout(limit, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    };
    let took = begun.elapsed();
    match answer {
        Ok((status, body)) => ProbeResult {
            healthy: status.is_none_or(|status| (200..400).contains(&status)),
            status,
            body,
            error: None,
            took,
        },
        Err(error) => ProbeResult {
            healthy: false,
            status: None,
            body: String::new(),
            error: Some(error),
            took,
        },
    }
}

async fn exchange(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let refuse = |reason: &str| Err(std::io::Error::other(reason.to_owned()));
    if !path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return refuse("the path of a probe begins with `/` and has no spaces; correct `run.health.path`");
    }
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: trimtab-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut limited = stream.take(ANSWER_BYTES_MAX);
    // Not only until the peer closes: some keep the connection all the same.
    loop {
        if let Some(parsed) = parse(&answer, false) {
            return Ok(parsed);
        }
        if limited.read_buf(&mut answer).await? == 0 {
            return match parse(&answer, true) {
                Some(parsed) => Ok(parsed),
                None => refuse("the answer is not HTTP/1.1"),
            };
        }
    }
}

/// The status and the body's beginning, once the answer is complete or `over`.
fn parse(answer: &[u8], over: bool) -> Option<(u16, String)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut lines = head.lines();
    let first = lines.next()?;
    let status: u16 = first.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let rest = &answer[end + 4..];
    if (100..200).contains(&status) {
        return parse(rest, over);
    }
    let header = |wanted: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(name, value)| {
                name.trim()
                    .eq_ignore_ascii_case(wanted)
                    .then(|| value.trim().to_ascii_lowercase())
            })
    };
    let (body, complete) = if header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        unchunk(rest)
    } else {
        let length = header("content-length").and_then(|value| value.parse().ok());
        let none = matches!(status, 204 | 304);
        let complete = none || length.is_some_and(|length: usize| rest.len() >= length);
        (
            rest[..rest.len().min(length.unwrap_or(rest.len()))].to_vec(),
            complete,
        )
    };
    let enough = complete || over || body.len() >= BODY_BYTES_MAX;
    enough.then(|| {
        (
            status,
            String::from_utf8_lossy(&body[..body.len().min(BODY_BYTES_MAX)]).into_owned(),
        )
    })
}

/// Joins the chunks that are there; whether the last one is.
fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
            return (body, false);
        };
        let size = String::from_utf8_lossy(&rest[..end]);
        let size = size.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else {
            return (body, true);
        };
        let chunk = &rest[end + 2..];
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&chunk[..chunk.len().min(size)]);
        match size.checked_add(2).and_then(|size| chunk.get(size..)) {
            Some(next) => rest = next,
            None => return (body, false),
        }
    }
}

/// Asks the instance until the thresholds of `check` decide, pausing for its interval between probes.
pub async fn check_health(runtime: &dyn Runtime, id: &InstanceId, check: &HealthCheck) -> HealthReport {
    let (mut good, mut bad, mut probes) = (0, 0, 0);
    loop {
        let last = runtime.probe(id, check).await;
        probes += 1;
        (good, bad) = if last.healthy { (good + 1, 0) } else { (0, bad + 1) };
        if good >= check.healthy_after.max(1) || bad >= check.unhealthy_after.max(1) {
            return HealthReport {
                healthy: last.healthy,
                probes,
                last,
            };
        }
        tokio::time::sleep(check.interval).await;
    }
}

/// Waits until the instance is running and healthy, at most `deadline`.
///
/// # Errors
/// [`RuntimeError::NeverHealthy`] with the last probe's status and body and the last lines of output; at once when the
/// instance has exited for good, was stopped or is lost.
pub async fn wait_healthy(
    runtime: &dyn Runtime,
    id: &InstanceId,
    check: &HealthCheck,
    deadline: Duration,
) -> Result<Instance, RuntimeError> {
    let begun = Instant::now();
    let (mut good, mut last) = (0, None);
    loop {
        let instance = runtime.get(id).await?;
        let over = match instance.state {
            InstanceState::Exited | InstanceState::Stopped | InstanceState::Lost => true,
            InstanceState::Starting
            | InstanceState::BackOff
            | InstanceState::Stopping
            | InstanceState::Unknown => {
                good = 0;
                false
            }
            InstanceState::Running => {
                let seen = runtime.probe(id, check).await;
                good = if seen.healthy { good + 1 } else { 0 };
                last = Some(seen);
                if good >= check.healthy_after.max(1) {
                    return Ok(instance);
                }
                false
            }
        };
        if over || begun.elapsed() >= deadline {
            return Err(never_healthy(runtime, &instance, check, begun.elapsed(), last).await);
        }
        let pause = if instance.state == InstanceState::Running {
            check.interval
        } else {
            START_POLL
        };
        tokio::time::sleep(pause.min(deadline.saturating_sub(begun.elapsed()))).await;
    }
}

async fn never_healthy(
    runtime: &dyn Runtime,
    instance: &Instance,
    check: &HealthCheck,
    waited: Duration,
    last: Option<ProbeResult>,
) -> RuntimeError {
    let lines = runtime
        .last_lines(&instance.id, LAST_LINES)
        .await
        .unwrap_or_default();
    let last_lines: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    // Writing to a string doesn't fail.
    let mut why = format!("it is {} after {} restarts", instance.state, instance.restarts);
    if let Some(problem) = &instance.problem {
        let _ = write!(why, "; {problem}");
    }
    if let Some(exit) = &instance.last_exit {
        let _ = write!(why, "; it last ended with {exit}");
    }
    let url = format!("http://{}{}", instance.address, check.path);
    let _ = match &last {
        Some(probe) => write!(why, "; the last probe of {url} saw: {probe}"),
        None => write!(
            why,
            "; it was never seen to listen on {}, the PORT in its environment",
            instance.address
        ),
    };
    let _ = match last_lines.is_empty() {
        true => write!(why, "; it wrote nothing"),
        false => write!(why, "; its last lines:\n  {}", last_lines.join("\n  ")),
    };
    RuntimeError::NeverHealthy {
        instance: instance.id.clone(),
        waited,
        why,
        last_probe: last.map(Box::new),
        last_lines,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn answers_are_read_in_every_framing() {
        let ok = |text: &str, over| parse(text.as_bytes(), over);
        let saw = |status, body: &str| Some((status, body.to_owned()));
        assert_eq!(
            ok("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false),
            saw(200, "hi")
        );
        assert_eq!(ok("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", false), None);
        assert_eq!(ok("HTTP/1.0 503 No\r\n\r\nsorry", false), None);
        assert_eq!(ok("HTTP/1.0 503 No\r\n\r\nsorry", true), saw(503, "sorry"));
        assert_eq!(ok("HTTP/1.1 204 None\r\n\r\n", false), saw(204, ""));
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3;x=y\r\n you\r\n0\r\n\r\n";
        assert_eq!(ok(chunked, false), saw(200, "hi yo"));
        assert_eq!(
            ok("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n", false),
            saw(204, "")
        );
        for strange in [
            "",
            "HTTP/1.1",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 \u{fffd}\u{fffd}\r\n\r\n",
        ] {
            assert_eq!(ok(strange, true), None, "{strange:?}");
        }
    }

    #[tokio::test]
    async fn probes_are_bounded_in_time_and_size() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let check = HealthCheck {
            timeout: Duration::from_millis(100),
            ..HealthCheck::default()
        };
        // Accepted by the kernel, never answered.
        let silent = probe(address, &check).await;
        assert!(
            !silent.healthy && silent.error.as_ref().unwrap().contains("no answer within 100ms"),
            "{silent}"
        );
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(b"HTTP/1.1 500 No\r\n\r\n").await;
                while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
            }
        });
        let check = HealthCheck::default();
        let endless = probe(address, &check).await;
        assert_eq!((endless.status, endless.body.len()), (Some(500), BODY_BYTES_MAX));
        server.abort();
        let _ = server.await;
        let gone = probe(address, &check).await;
        assert!(gone.error.unwrap().contains("refused"));
        let crooked = probe(
            address,
            &HealthCheck {
                path: "/ HTTP/1.1\r\nX: y".to_owned(),
                ..check
            },
        )
        .await;
        assert!(crooked.error.unwrap().contains("run.health.path"));
    }
}
