//! Active health checks: one probe per endpoint, run by the lead; lanes are told of changes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use trimtab_model::{InstanceId, Timestamp};

use super::health_h2;
use crate::http1::{Decoded, Decoder, Wire, read_response};
use crate::{EndpointStatus, Health, Probe, Protocol, RoutingTable};

/// Bytes of a probe's body kept for people.
pub(super) const BODY_BYTES_MAX: usize = 512;

type Key = (InstanceId, SocketAddr);
/// Told of each endpoint that became eligible or not.
pub(super) type OnChange = Rc<dyn Fn(&InstanceId, SocketAddr, bool)>;

struct Watched {
    status: Rc<RefCell<EndpointStatus>>,
    probe: (Probe, Protocol),
    task: AbortHandle,
}

/// Every endpoint of the table and what its probes found.
pub(super) struct HealthBoard {
    watched: HashMap<Key, Watched>,
    on_change: OnChange,
}

impl Drop for HealthBoard {
    fn drop(&mut self) {
        self.watched.values().for_each(|watched| watched.task.abort());
    }
}

impl HealthBoard {
    pub(super) fn new(on_change: OnChange) -> Self {
        HealthBoard {
            watched: HashMap::new(),
            on_change,
        }
    }

    /// Watches the endpoints of `table`; what is known of those that stay is kept.
    pub(super) fn follow(&mut self, table: &RoutingTable) {
        let mut before = std::mem::take(&mut self.watched);
        for route in &table.routes {
            for pool in route.pools() {
                for endpoint in &pool.endpoints {
                    let key = (endpoint.instance.clone(), endpoint.address);
                    if self.watched.contains_key(&key) {
                        continue;
                    }
                    let status = match before.remove(&key) {
                        Some(watched) if watched.probe == (pool.health.clone(), pool.protocol) => {
                            self.watched.insert(key, watched);
                            continue;
                        }
                        Some(watched) => {
                            watched.task.abort();
                            watched.status
                        }
                        None => Rc::new(RefCell::new(EndpointStatus {
                            service: route.service.clone(),
                            environment: route.environment.clone(),
                            release: pool.release.clone(),
                            instance: endpoint.instance.clone(),
                            address: endpoint.address,
                            health: Health::Unknown,
                            passes: 0,
                            failures: 0,
                            probed_at: None,
                            last_status: None,
                            last_body: String::new(),
                            last_error: None,
                        })),
                    };
                    let watching = watch(
                        Rc::clone(&status),
                        pool.health.clone(),
                        pool.protocol,
                        Rc::clone(&self.on_change),
                    );
                    let task = tokio::task::spawn_local(watching).abort_handle();
                    let probe = (pool.health.clone(), pool.protocol);
                    self.watched.insert(key, Watched { status, probe, task });
                }
            }
        }
        before.values().for_each(|watched| watched.task.abort());
    }

    /// What is known of every endpoint.
    pub(super) fn statuses(&self) -> Vec<EndpointStatus> {
        let mut statuses: Vec<_> = self
            .watched
            .values()
            .map(|watched| watched.status.borrow().clone())
            .collect();
        statuses.sort_by(|a, b| a.instance.cmp(&b.instance).then(a.address.cmp(&b.address)));
        statuses
    }
}

async fn watch(status: Rc<RefCell<EndpointStatus>>, probe: Probe, protocol: Protocol, on_change: OnChange) {
    let address = status.borrow().address;
    let mut interval = tokio::time::interval(Duration::from_millis(probe.interval_ms));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let limit = Duration::from_millis(probe.timeout_ms);
        let asked = async {
            match protocol {
                Protocol::Http1 | Protocol::Http2 if probe.connect_only => connect(address).await,
                Protocol::Http1 => ask(address, &probe.path).await,
                Protocol::Http2 => health_h2::ask(address, &probe.path).await,
                Protocol::Grpc => health_h2::ask_grpc(address).await,
            }
        };
        let answer = match tokio::time::timeout(limit, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} ms", probe.timeout_ms)),
        };
        let changed = note(&mut status.borrow_mut(), &probe, answer);
        if let Some(eligible) = changed {
            on_change(&status.borrow().instance, address, eligible);
        }
    }
}

/// Enters one probe's answer; whether the endpoint became eligible or not, if that changed.
fn note(status: &mut EndpointStatus, probe: &Probe, answer: Result<(u16, String), String>) -> Option<bool> {
    let passed = matches!(answer, Ok((200..400, _)));
    (status.last_status, status.last_body, status.last_error) = match answer {
        Ok((code, body)) => (Some(code), body, None),
        Err(error) => (None, String::new(), Some(error)),
    };
    status.probed_at = Some(now());
    if passed {
        (status.passes, status.failures) = (status.passes.saturating_add(1), 0);
    } else {
        (status.passes, status.failures) = (0, status.failures.saturating_add(1));
    }
    let health = match status.health {
        _ if status.passes >= probe.healthy_after => Health::Healthy,
        _ if status.failures >= probe.unhealthy_after => Health::Unhealthy,
        unchanged => unchanged,
    };
    let (was, is) = (status.health != Health::Unhealthy, health != Health::Unhealthy);
    status.health = health;
    (was != is).then_some(is)
}

/// The time of day.
pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A connection is all that is asked.
async fn connect(address: SocketAddr) -> Result<(u16, String), String> {
    let connected = TcpStream::connect(address).await;
    connected
        .map(|_| (200, "it takes connections".to_owned()))
        .map_err(|error| error.to_string())
}

/// One probe: status and the beginning of the body.
async fn ask(address: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    let mut wire = Wire::new(stream);
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: trimtab-probe\r\nconnection: close\r\n\r\n"
    );
    wire.output.extend_from_slice(request.as_bytes());
    wire.flush().await.map_err(|error| error.to_string())?;
    let head = loop {
        match std::future::poll_fn(|cx| wire.poll_fill(cx)).await {
            Ok(0) => return Err("the connection was closed without an answer".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        if let Some(head) = read_response(&mut wire.input, false)? {
            break head;
        }
    };
    let (mut decoder, mut body) = (Decoder::new(head.body), Vec::new());
    while body.len() < BODY_BYTES_MAX {
        match decoder.decode(&mut wire.input) {
            Decoded::Piece(piece) => body.extend_from_slice(&piece),
            Decoded::End | Decoded::Malformed(_) => break,
            // A body cut short still tells something.
            Decoded::More => match std::future::poll_fn(|cx| wire.poll_fill(cx)).await {
                Ok(1..) => {}
                _ => break,
            },
        }
    }
    body.truncate(BODY_BYTES_MAX);
    Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
}
