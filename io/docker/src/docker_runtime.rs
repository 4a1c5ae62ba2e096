//! Instances as containers of one engine.

mod carry_out;
mod liveness;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use http::Method;
use serde_json::Value;
use tokio::task::AbortHandle;
use trimtab_model::{Generation, InstanceId};
use trimtab_runtime::{
    Ask, HealthCheck, Instance, InstanceSpec, InstanceState, LogLine, LogStream, ProbeResult, Runtime,
    RuntimeError, Usage, probe,
};

use crate::container;
use crate::engine::{Engine, EngineError};
use crate::kept::{Kept, Shelf};
use crate::output::{Frames, line};
use crate::relay::Relay;

/// Last lines that an ended instance is told with.
const LAST_LINES: usize = 20;

/// Runs each instance as a container. What it must remember is in one folder; the rest the engine knows, so that the next
/// control process takes over what runs.
#[derive(Clone)]
pub struct DockerRuntime {
    inside: Arc<Inside>,
}

pub(crate) struct Inside {
    engine: Engine,
    shelf: Shelf,
    owner: String,
    /// Trimtab's own OTLP listener, on loopback.
    telemetry: Option<SocketAddr>,
    relay: tokio::sync::Mutex<Option<Relay>>,
    /// One change at a time to each instance.
    locks: Mutex<HashMap<InstanceId, Arc<tokio::sync::Mutex<()>>>>,
    /// Who asks whether an instance lives.
    asking: Mutex<HashMap<InstanceId, AbortHandle>>,
}

impl DockerRuntime {
    /// Opens the folder of what is remembered, beneath the engine at `socket`; takes over what runs. The engine need not
    /// run yet. `telemetry` is where containers' telemetry is to go: a listener on loopback.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub async fn open(
        dir: &Path,
        socket: &Path,
        telemetry: Option<SocketAddr>,
    ) -> Result<Self, RuntimeError> {
        let shelf = Shelf::open(dir)?;
        let runtime = DockerRuntime {
            inside: Arc::new(Inside {
                engine: Engine::new(socket),
                owner: shelf.owner()?,
                shelf,
                telemetry,
                relay: tokio::sync::Mutex::default(),
                locks: Mutex::default(),
                asking: Mutex::default(),
            }),
        };
        for id in runtime.inside.shelf.ids()? {
            let Some(kept) = runtime.inside.shelf.get(&id)? else {
                continue;
            };
            if kept.stopped {
                continue;
            }
            runtime.ask_for_liveness(&kept);
        }
        // Opens the way to telemetry, which ended with the control process before.
        runtime.list().await?;
        Ok(runtime)
    }

    /// Opens the containers' way to telemetry, unless it is open.
    async fn open_telemetry(&self) {
        if self.inside.relay.lock().await.is_some() {
            return;
        }
        if let Err(error) = self.inside.network().await {
            tracing::warn!(%error, "failed to open the containers' way to telemetry");
        }
    }

    /// Whether this instance is a container, running or not.
    pub fn knows(&self, id: &InstanceId) -> bool {
        self.inside.shelf.get(id).is_ok_and(|kept| kept.is_some())
    }

    /// Stops every container at once, for a control process that leaves nothing behind.
    ///
    /// # Errors
    /// The first of the failures; the others are stopped all the same.
    pub async fn stop_all(&self, grace: Duration) -> Result<(), RuntimeError> {
        let instances = self.list().await?;
        let stops = instances
            .iter()
            .map(|instance| self.stop(&instance.id, grace, instance.generation));
        let stopped = futures_util::future::join_all(stops).await;
        stopped.into_iter().try_for_each(|stopped| stopped.map(drop))
    }

    async fn lock(&self, id: &InstanceId) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.inside.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(id.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }

    fn known(&self, id: &InstanceId) -> Result<Kept, RuntimeError> {
        self.inside
            .shelf
            .get(id)?
            .ok_or_else(|| RuntimeError::NoInstance(id.clone()))
    }
}

impl Inside {
    /// A container's name: told apart from those of another data folder.
    pub(crate) fn name(&self, id: &InstanceId) -> String {
        format!("trimtab-{}-{id}", self.owner)
    }

    /// What the engine knows of the container; none when there is none of ours.
    pub(crate) async fn inspect(&self, id: &InstanceId) -> Result<Option<Value>, EngineError> {
        match self
            .engine
            .get(&format!("/containers/{}/json", self.name(id)))
            .await
        {
            Ok(seen) if seen["Config"]["Labels"][container::OWNER] == self.owner.as_str() => Ok(Some(seen)),
            Ok(_) => Ok(None),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn instance(&self, kept: &Kept) -> Result<Instance, RuntimeError> {
        let id = &kept.spec.id;
        let seen = self.inspect(id).await.map_err(engine(id))?;
        let mut instance = container::instance(kept, seen.as_ref());
        let over = matches!(instance.state, InstanceState::Exited | InstanceState::BackOff);
        if let Some(exit) = instance.last_exit.as_mut().filter(|_| over) {
            let lines = self
                .lines(kept, &format!("&tail={LAST_LINES}"))
                .await
                .unwrap_or_default();
            exit.last_lines = lines.into_iter().map(|line| line.text).collect();
        }
        Ok(instance)
    }

    /// Lines that are there.
    async fn lines(&self, kept: &Kept, more: &str) -> Result<Vec<LogLine>, RuntimeError> {
        let id = &kept.spec.id;
        let path = format!(
            "/containers/{}/logs?stdout=1&stderr=1&timestamps=1{more}",
            self.name(id)
        );
        let pieces = self
            .engine
            .stream(Method::GET, &path, None)
            .await
            .map_err(engine(id))?;
        let (mut frames, mut lines, masker) = (Frames::default(), Vec::new(), kept.spec.masker());
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.next().await {
            frames.feed(&piece);
            while let Some((stream, text)) = frames.next() {
                lines.extend(line(stream, &text, &masker));
            }
        }
        // The two streams come one after the other.
        lines.sort_by_key(|line| line.offset);
        Ok(lines)
    }
}

/// Says which instance an engine's refusal is about.
pub(crate) fn engine(id: &InstanceId) -> impl FnOnce(EngineError) -> RuntimeError {
    let instance = id.clone();
    move |error| RuntimeError::Engine {
        instance,
        reason: error.to_string(),
    }
}

fn refuse_older(kept: &Kept, given: Generation) -> Result<(), RuntimeError> {
    let newest = kept.spec.generation;
    if given < newest {
        let instance = kept.spec.id.clone();
        return Err(RuntimeError::OlderGeneration {
            instance,
            given,
            newest,
        });
    }
    Ok(())
}

#[async_trait]
impl Runtime for DockerRuntime {
    async fn ensure(&self, spec: InstanceSpec) -> Result<Instance, RuntimeError> {
        let _guard = self.lock(&spec.id).await;
        let before = self.inside.shelf.get(&spec.id)?;
        if let Some(before) = &before {
            refuse_older(before, spec.generation)?;
        }
        let kept = self.inside.ensure(before, spec).await?;
        self.ask_for_liveness(&kept);
        self.inside.instance(&kept).await
    }

    async fn stop(
        &self,
        id: &InstanceId,
        grace: Duration,
        generation: Generation,
    ) -> Result<Instance, RuntimeError> {
        let _guard = self.lock(id).await;
        let mut kept = self.known(id)?;
        refuse_older(&kept, generation)?;
        self.stop_asking(id);
        // First what is wanted: should this process die now, the next one knows.
        (kept.stopped, kept.spec.generation) = (true, generation);
        self.inside.shelf.put(&kept)?;
        self.inside.stop(id, grace).await?;
        self.inside.instance(&kept).await
    }

    async fn restart(&self, id: &InstanceId, generation: Generation) -> Result<Instance, RuntimeError> {
        let _guard = self.lock(id).await;
        let mut kept = self.known(id)?;
        refuse_older(&kept, generation)?;
        kept.spec.generation = generation;
        let kept = self.inside.restart(kept, None).await?;
        self.ask_for_liveness(&kept);
        self.inside.instance(&kept).await
    }

    async fn recover(&self, id: &InstanceId) -> Result<(), RuntimeError> {
        let _guard = self.lock(id).await;
        let kept = self.known(id)?;
        if self.inside.instance(&kept).await?.state != InstanceState::Lost {
            return Ok(());
        }
        let kept = self.inside.restart(kept, None).await?;
        self.ask_for_liveness(&kept);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Instance>, RuntimeError> {
        let (mut instances, mut any_bridged) = (Vec::new(), false);
        for id in self.inside.shelf.ids()? {
            if let Some(kept) = self.inside.shelf.get(&id)? {
                // An engine that is away hides none: who reads this acts on the others too.
                let seen = self.inside.instance(&kept).await;
                let bridged = kept.spec.image.as_ref().is_some_and(|image| !image.host_network);
                any_bridged |= bridged && !kept.stopped && seen.is_ok();
                instances.push(seen.unwrap_or_else(|error| container::unknown(&kept, error.to_string())));
            }
        }
        if any_bridged {
            self.open_telemetry().await;
        }
        Ok(instances)
    }

    async fn get(&self, id: &InstanceId) -> Result<Instance, RuntimeError> {
        self.inside.instance(&self.known(id)?).await
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), RuntimeError> {
        let _guard = self.lock(id).await;
        self.stop_asking(id);
        if self.inside.shelf.get(id)?.is_some() {
            self.inside.delete(id).await?;
        }
        self.inside.shelf.forget(id)
    }

    async fn logs(&self, id: &InstanceId, from: u64) -> Result<LogStream, RuntimeError> {
        let kept = self.known(id)?;
        let (seconds, nanos) = (from / 1_000_000_000, from % 1_000_000_000);
        let path = format!(
            "/containers/{}/logs?stdout=1&stderr=1&timestamps=1&follow=1&since={seconds}.{nanos:09}",
            self.inside.name(id)
        );
        let pieces = self
            .inside
            .engine
            .stream(Method::GET, &path, None)
            .await
            .map_err(engine(id))?;
        let (mut frames, masker) = (Frames::default(), kept.spec.masker());
        let lines = pieces.flat_map(move |piece| {
            frames.feed(&piece);
            let mut lines = Vec::new();
            while let Some((stream, text)) = frames.next() {
                lines.extend(
                    line(stream, &text, &masker)
                        .filter(|line| line.offset >= from)
                        .map(Ok),
                );
            }
            stream::iter(lines)
        });
        Ok(Box::pin(lines))
    }

    async fn last_lines(&self, id: &InstanceId, count: usize) -> Result<Vec<LogLine>, RuntimeError> {
        let kept = self.known(id)?;
        self.inside.lines(&kept, &format!("&tail={count}")).await
    }

    async fn usage(&self, id: &InstanceId) -> Result<Usage, RuntimeError> {
        self.known(id)?;
        let path = format!(
            "/containers/{}/stats?stream=false&one-shot=true",
            self.inside.name(id)
        );
        let seen = match self.inside.engine.get(&path).await {
            Err(error) if error.is_missing() => return Ok(Usage::default()),
            seen => seen.map_err(engine(id))?,
        };
        let count = seen["pids_stats"]["current"].as_u64().unwrap_or(0);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Usage {
            cpu_seconds: seen["cpu_stats"]["cpu_usage"]["total_usage"]
                .as_f64()
                .unwrap_or(0.0)
                / 1e9,
            rss_bytes: seen["memory_stats"]["usage"].as_u64().unwrap_or(0),
            // The engine counts threads alone.
            processes: count,
            threads: count,
        })
    }

    async fn probe(&self, id: &InstanceId, check: &HealthCheck) -> ProbeResult {
        let kept = match self.known(id) {
            Ok(kept) => kept,
            Err(error) => return ProbeResult::failed(error.to_string()),
        };
        let seen = match &check.ask {
            Ask::Command(words) => self.inside.exec(id, words, check.timeout).await,
            // The engine's own proxy takes connections on loopback whether the container does or not.
            Ask::Tcp => probe(self.inside.own_address(&kept).await, check).await,
            Ask::Running => match self.inside.instance(&kept).await {
                Ok(instance) => ProbeResult::of_state(&instance),
                Err(error) => ProbeResult::failed(error.to_string()),
            },
            Ask::Http | Ask::Grpc(_) => probe(([127, 0, 0, 1], kept.port).into(), check).await,
        };
        seen.masked(&kept.spec.masker())
    }
}
