//! What is asked of the engine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use http::Method;
use serde_json::{Value, json};
use trimtab_model::InstanceId;
use trimtab_runtime::{Image, InstanceSpec, ProbeResult, RuntimeError};

use super::{Inside, engine};
use crate::container;
use crate::engine::{EngineError, PATIENCE};
use crate::kept::Kept;
use crate::output::Frames;
use crate::relay::{Network, Relay};

/// Longest that an image may take to be fetched.
const PULL_PATIENCE: Duration = Duration::from_secs(600);
/// Ports given to containers: beside those of processes.
const PORTS: std::ops::RangeInclusive<u16> = 16_000..=19_999;
const PORT_TRIES_MAX: usize = 1000;
/// Bytes of a command's output that are kept.
const OUTPUT_BYTES_MAX: usize = 1024;

impl Inside {
    /// Sees that the container is as `spec` says and runs.
    pub(super) async fn ensure(
        &self,
        before: Option<Kept>,
        spec: InstanceSpec,
    ) -> Result<Kept, RuntimeError> {
        let id = spec.id.clone();
        let Some(image) = spec.image.clone() else {
            let reason = "it has no image; set `run.image` in trimtab.yaml".to_owned();
            return Err(RuntimeError::BadSpec { instance: id, reason });
        };
        if let Some(before) = before
            .as_ref()
            .filter(|before| same_container(&before.spec, &spec))
        {
            let mut kept = before.clone();
            kept.spec.generation = spec.generation;
            if let Some(seen) = self.inspect(&id).await.map_err(engine(&id))? {
                let runs = matches!(seen["State"]["Status"].as_str(), Some("running" | "restarting"));
                if !runs {
                    kept.restarts += 1;
                }
                kept.stopped = false;
                self.shelf.put(&kept)?;
                if !runs {
                    self.start(&id).await?;
                }
                return Ok(kept);
            }
        }
        self.delete(&id).await?;
        self.fetch(&id, &image).await?;
        let port = self.port(before.map(|before| before.port), &id)?;
        let kept = Kept::new(spec, port);
        // Remembered first: a container that nobody remembers would run on unseen.
        self.shelf.put(&kept)?;
        self.make(&kept, &image).await?;
        self.start(&id).await?;
        Ok(kept)
    }

    /// Ends the program and starts it anew; makes the container if it is gone.
    pub(super) async fn restart(&self, mut kept: Kept, dead: Option<String>) -> Result<Kept, RuntimeError> {
        let id = kept.spec.id.clone();
        (kept.stopped, kept.dead) = (false, dead);
        kept.restarts += 1;
        self.shelf.put(&kept)?;
        if self.inspect(&id).await.map_err(engine(&id))?.is_none() {
            let Some(image) = kept.spec.image.clone() else {
                return Ok(kept);
            };
            self.fetch(&id, &image).await?;
            self.make(&kept, &image).await?;
            self.start(&id).await?;
            return Ok(kept);
        }
        let grace = kept.spec.stop_grace;
        let path = format!("/containers/{}/restart?t={}", self.name(&id), seconds(grace));
        self.engine
            .call(Method::POST, &path, None, grace + PATIENCE)
            .await
            .map_err(engine(&id))?;
        Ok(kept)
    }

    pub(super) async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), RuntimeError> {
        let path = format!("/containers/{}/stop?t={}", self.name(id), seconds(grace));
        match self
            .engine
            .call(Method::POST, &path, None, grace + PATIENCE)
            .await
        {
            Err(error) if !error.is_missing() => Err(engine(id)(error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(super) async fn delete(&self, id: &InstanceId) -> Result<(), RuntimeError> {
        // Not by name alone: it must bear our label.
        if self.inspect(id).await.map_err(engine(id))?.is_none() {
            return Ok(());
        }
        match self
            .engine
            .delete(&format!("/containers/{}?force=1&v=1", self.name(id)))
            .await
        {
            Err(error) if !error.is_missing() => Err(engine(id)(error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn start(&self, id: &InstanceId) -> Result<(), RuntimeError> {
        let started = self
            .engine
            .post(&format!("/containers/{}/start", self.name(id)), None)
            .await;
        started.map(drop).map_err(engine(id))
    }

    async fn make(&self, kept: &Kept, image: &Image) -> Result<(), RuntimeError> {
        let id = &kept.spec.id;
        let mut env = kept.spec.env.clone();
        let mut network = String::new();
        if !image.host_network {
            let (name, relay) = self.network().await.map_err(engine(id))?;
            network = name;
            if let (Some(telemetry), Some(relay)) = (self.telemetry, relay) {
                for (name, value) in &mut env {
                    if name.starts_with("OTEL_EXPORTER_OTLP_") && name.ends_with("ENDPOINT") {
                        *value = value.replace(&telemetry.to_string(), &relay.to_string());
                    }
                }
            }
        }
        if let Some(data) = env.get("TRIMTAB_DATA") {
            std::fs::create_dir_all(data).map_err(|source| RuntimeError::File {
                doing: "make",
                path: data.into(),
                source,
            })?;
        }
        let body = container::body(kept, image, &self.owner, &network, &env);
        let path = format!("/containers/create?name={}", self.name(id));
        self.engine
            .post(&path, Some(&body))
            .await
            .map(drop)
            .map_err(engine(id))
    }

    /// Sees that the engine has the image; it checks the digest itself.
    async fn fetch(&self, id: &InstanceId, image: &Image) -> Result<(), RuntimeError> {
        let reference = &image.reference;
        if self
            .engine
            .get(&format!("/images/{reference}/json"))
            .await
            .is_ok()
        {
            return Ok(());
        }
        let path = format!(
            "/images/create?fromImage={}",
            reference.replace('@', "%40").replace(':', "%3A")
        );
        let pulled = async {
            let mut pieces = Box::pin(self.engine.stream(Method::POST, &path, None).await?);
            let mut text = Vec::new();
            while let Some(piece) = pieces.next().await {
                text.extend_from_slice(&piece);
                // One JSON document a line; only an error is of interest.
                while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = text.drain(..=end).collect();
                    let said: Value = serde_json::from_slice(&line).unwrap_or(Value::Null);
                    if let Some(error) = said["error"].as_str() {
                        return Err(EngineError::refused(&format!("fetch {reference}"), error));
                    }
                }
            }
            Ok(())
        };
        match tokio::time::timeout(PULL_PATIENCE, pulled).await {
            Ok(pulled) => pulled.map_err(engine(id)),
            Err(_) => {
                let reason = format!("{reference} was not fetched within {PULL_PATIENCE:?}");
                Err(RuntimeError::Engine {
                    instance: id.clone(),
                    reason,
                })
            }
        }
    }

    fn port(&self, wish: Option<u16>, id: &InstanceId) -> Result<u16, RuntimeError> {
        let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
        // A container that is stopped listens nowhere and still wants its port again.
        let taken: Vec<u16> = self
            .shelf
            .ids()?
            .iter()
            .filter(|other| *other != id)
            .filter_map(|other| Some(self.shelf.get(other).ok()??.port))
            .collect();
        let chance = std::iter::repeat_with(|| fastrand::u16(PORTS)).take(PORT_TRIES_MAX);
        let found = wish
            .into_iter()
            .chain(chance)
            .find(|port| !taken.contains(port) && is_free(port));
        found.ok_or_else(|| RuntimeError::NoPort {
            instance: id.clone(),
            first: *PORTS.start(),
            last: *PORTS.end(),
        })
    }

    /// The network of our containers, made when it isn't there, and where telemetry is taken on it.
    pub(super) async fn network(&self) -> Result<(String, Option<SocketAddr>), EngineError> {
        let name = format!("trimtab-{}", self.owner);
        let mut relay = self.relay.lock().await;
        let path = format!("/networks/{name}");
        let seen = match self.engine.get(&path).await {
            Err(error) if error.is_missing() => {
                let labels = json!({ container::OWNER: self.owner });
                let body =
                    json!({ "Name": name, "Driver": "bridge", "CheckDuplicate": true, "Labels": labels });
                self.engine.post("/networks/create", Some(&body)).await?;
                *relay = None;
                self.engine.get(&path).await?
            }
            seen => seen?,
        };
        if let (None, Some(target)) = (relay.as_ref(), self.telemetry) {
            let config = &seen["IPAM"]["Config"][0];
            let gateway = config["Gateway"]
                .as_str()
                .and_then(|text| text.parse::<Ipv4Addr>().ok());
            let subnet = config["Subnet"].as_str().and_then(Network::parse);
            let (Some(gateway), Some(subnet)) = (gateway, subnet) else {
                return Err(EngineError::refused(
                    "make a network",
                    format!("{name} has no IPv4 gateway"),
                ));
            };
            let started = Relay::start(gateway, subnet, target).await;
            *relay = Some(started.map_err(|error| {
                EngineError::refused(
                    "open the way to telemetry",
                    format!("cannot listen on {gateway}: {error}"),
                )
            })?);
        }
        Ok((name, relay.as_ref().map(|relay| relay.address)))
    }

    /// Where the container itself listens, not the engine for it.
    pub(super) async fn own_address(&self, kept: &Kept) -> SocketAddr {
        let seen = self
            .inspect(&kept.spec.id)
            .await
            .ok()
            .flatten()
            .unwrap_or(Value::Null);
        let networks = seen["NetworkSettings"]["Networks"].as_object();
        let address = networks.and_then(|networks| {
            networks
                .values()
                .find_map(|network| network["IPAddress"].as_str()?.parse().ok())
        });
        SocketAddr::from((address.unwrap_or(Ipv4Addr::LOCALHOST), kept.port))
    }

    /// Runs a command in the container.
    pub(super) async fn exec(&self, id: &InstanceId, words: &[String], limit: Duration) -> ProbeResult {
        let begun = Instant::now();
        let ran = async {
            let body = json!({ "Cmd": words, "AttachStdout": true, "AttachStderr": true });
            let made = self
                .engine
                .post(&format!("/containers/{}/exec", self.name(id)), Some(&body))
                .await?;
            let exec = made["Id"].as_str().unwrap_or_default().to_owned();
            let body = json!({ "Detach": false, "Tty": false });
            let path = format!("/exec/{exec}/start");
            let mut pieces = Box::pin(self.engine.stream(Method::POST, &path, Some(&body)).await?);
            let (mut frames, mut output) = (Frames::default(), Vec::new());
            while let Some(piece) = pieces.next().await {
                frames.feed(&piece);
                while let Some((_, text)) = frames.next() {
                    let room = OUTPUT_BYTES_MAX.saturating_sub(output.len()).min(text.len());
                    output.extend_from_slice(&text[..room]);
                }
            }
            let seen = self.engine.get(&format!("/exec/{exec}/json")).await?;
            Ok::<_, EngineError>((seen["ExitCode"].as_i64(), output))
        };
        let mut result = match tokio::time::timeout(limit, ran).await {
            Ok(Ok((code, output))) => {
                let body = String::from_utf8_lossy(&output).trim().to_owned();
                let error = (code != Some(0)).then(|| format!("exit code {}: {body:?}", code.unwrap_or(-1)));
                ProbeResult {
                    healthy: error.is_none(),
                    status: None,
                    body,
                    error,
                    took: Duration::ZERO,
                }
            }
            Ok(Err(error)) => ProbeResult::failed(error.to_string()),
            // The engine offers no way to end it; it ends with the container.
            Err(_) => ProbeResult::failed(format!("no answer within {limit:?}")),
        };
        result.took = begun.elapsed();
        result
    }
}

/// Whole seconds, as the engine counts; a part of one is one.
fn seconds(grace: Duration) -> u64 {
    grace.as_millis().div_ceil(1000) as u64
}

/// Whether two specs describe the same container.
fn same_container(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    InstanceSpec {
        generation: b.generation,
        ..a.clone()
    } == *b
}
