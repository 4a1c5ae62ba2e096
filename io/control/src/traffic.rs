//! The one owner of the routing table: every change of who gets which share goes through here.
//!
//! The table is kept in a file of control's own (written by rename before the proxy is told), so a
//! restarted control process knows what it last decided even if the proxy is gone with its folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::entrance::Entrance;
use tokio::sync::Mutex;
use trimtab_model::{EnvironmentName, Generation, InstanceId, ReleaseId, RolloutId, ServiceName, Weight};
use trimtab_proxy::{
    ClientError, Endpoint, InFlight, Maintenance, Mirror, Pool, Preview, Probe, Protocol, ProxyClient, Route,
    RoutingTable, Split,
};

use crate::host::number_of;

/// How long the proxy may be away (restarting) before a change of the table fails.
const APPLY_PATIENCE: Duration = Duration::from_secs(10);
const APPLY_PAUSE: Duration = Duration::from_millis(50);

/// Why traffic could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// The proxy refused or is away.
    #[error("failed to change the routing table: {0}")]
    Proxy(#[from] ClientError),
    /// The table's file could not be written or read.
    #[error("failed to keep the routing table in {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// One release's instances.
#[derive(Debug, Clone)]
pub struct Side {
    /// The release.
    pub release: ReleaseId,
    /// Its instances and where they listen.
    pub endpoints: Vec<(InstanceId, SocketAddr)>,
}

impl Side {
    /// Only the instances numbered up to `count`.
    pub(crate) fn first(mut self, count: u32) -> Side {
        self.endpoints
            .retain(|(instance, _)| number_of(instance.as_str()) <= u64::from(count));
        self
    }
}

/// The routing table and the proxy that carries it out.
pub struct Traffic {
    proxy: ProxyClient,
    file: PathBuf,
    preview_secret: String,
    table: Mutex<RoutingTable>,
}

impl Traffic {
    /// Reads the table that was last decided and puts it in force again.
    pub async fn open(proxy: ProxyClient, file: &Path, preview_secret: String) -> Result<Self, TrafficError> {
        let failed = |reason: String| TrafficError::File {
            path: file.to_owned(),
            reason,
        };
        let table = match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => RoutingTable::new(1, Vec::new()),
            Err(error) => return Err(failed(error.to_string())),
        };
        let traffic = Self {
            proxy,
            file: file.to_owned(),
            preview_secret,
            table: Mutex::new(table),
        };
        traffic.edit(|_| ()).await?;
        Ok(traffic)
    }

    /// The proxy, for its figures.
    pub fn proxy(&self) -> &ProxyClient {
        &self.proxy
    }

    /// The table in force.
    pub async fn table(&self) -> RoutingTable {
        self.table.lock().await.clone()
    }

    /// Gives the candidate its share and the baseline the rest; returns when the proxy has it in force.
    pub async fn shift(
        &self,
        entrance: &Entrance,
        rollout: &RolloutId,
        generation: Generation,
        baseline: Option<Side>,
        candidate: Side,
        weight: Weight,
    ) -> Result<(), TrafficError> {
        let empty = Side {
            release: candidate.release.clone(),
            endpoints: Vec::new(),
        };
        let split = match baseline {
            Some(baseline) => Split {
                rollout: Some(rollout.clone()),
                baseline: pool(baseline, &entrance.probe, entrance.protocol),
                candidate: Some(pool(candidate, &entrance.probe, entrance.protocol)),
                candidate_weight: weight,
                sticky: entrance.sticky(&self.preview_secret),
            },
            // A first release has nothing beside it: it serves, or nobody does.
            None => Split {
                rollout: Some(rollout.clone()),
                baseline: pool(
                    if weight == Weight::ZERO { empty } else { candidate },
                    &entrance.probe,
                    entrance.protocol,
                ),
                candidate: None,
                candidate_weight: Weight::ZERO,
                sticky: None,
            },
        };
        let generation = across_rollouts(rollout, generation);
        self.edit(|table| {
            let old = take_route(table, entrance);
            // A newer decision is in force already: this one was superseded in flight.
            if let Some(old) = old.as_ref().filter(|old| old.generation > generation) {
                table.routes.push(old.clone());
                return;
            }
            table.routes.push(Route {
                service: entrance.service.clone(),
                environment: entrance.environment.clone(),
                host: entrance.host.clone(),
                path_prefix: entrance.path_prefix.clone(),
                generation,
                timeout_ms: u64::try_from(entrance.timeout.as_millis())
                    .unwrap_or(u64::MAX)
                    .max(1),
                policy: entrance.policy(
                    split.candidate.as_ref().map(|candidate| &candidate.release),
                    old.as_ref().map(|old| &old.policy),
                ),
                split,
                mirror: old.and_then(|old| old.mirror),
                preview: Some(Preview {
                    secret: self.preview_secret.clone(),
                }),
            });
        })
        .await
    }

    /// Sends a share of the safe live requests to `side` as well, dropping what it answers; `None`
    /// ends it.
    pub async fn mirror(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        to: Option<(Side, Weight)>,
    ) -> Result<(), TrafficError> {
        self.edit(|table| {
            for route in routes_of(table, service, environment) {
                let Pool { health, protocol, .. } = &route.split.baseline;
                let (probe, protocol) = (health.clone(), *protocol);
                route.mirror = to.clone().map(|(side, share)| Mirror {
                    pool: pool(side, &probe, protocol),
                    share,
                });
            }
        })
        .await
    }

    /// Has requests of an entrance wait so many milliseconds at most, or meet a page, or get through, where
    /// they wait for an instance no longer than `usual_ms`.
    pub async fn regulate(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        wait_ms: Option<u64>,
        usual_ms: u64,
        maintenance: Option<Maintenance>,
    ) -> Result<(), TrafficError> {
        self.edit(|table| {
            for route in routes_of(table, service, environment) {
                route.policy.paused = wait_ms.is_some();
                route.policy.hold_ms = wait_ms.unwrap_or(usual_ms);
                route.policy.maintenance = maintenance.clone();
            }
        })
        .await
    }

    /// Makes a side's instances those that its release is served by, wherever it is served.
    pub async fn members(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        side: Side,
    ) -> Result<(), TrafficError> {
        self.edit(|table| {
            for route in routes_of(table, service, environment) {
                let split = &mut route.split;
                let pools = std::iter::once(&mut split.baseline).chain(split.candidate.as_mut());
                for pool in pools.filter(|pool| pool.release == side.release) {
                    pool.endpoints = endpoints(&side);
                }
            }
        })
        .await
    }

    /// Takes a release out of every pool of an environment: what is left serves alone.
    pub async fn forget(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        release: &ReleaseId,
    ) -> Result<(), TrafficError> {
        self.edit(|table| {
            for route in routes_of(table, service, environment) {
                let split = &mut route.split;
                if split.baseline.release == *release
                    && let Some(candidate) =
                        split.candidate.take_if(|candidate| candidate.release != *release)
                {
                    split.baseline = candidate;
                    split.candidate_weight = Weight::ZERO;
                } else if split.baseline.release == *release {
                    split.baseline.endpoints.clear();
                }
                if split
                    .candidate
                    .as_ref()
                    .is_some_and(|candidate| candidate.release == *release)
                {
                    split.candidate = None;
                    split.candidate_weight = Weight::ZERO;
                }
                if split.candidate.is_none() {
                    // One release is left: nobody is kept on an arm, and testers are users again.
                    split.sticky = None;
                    route.policy.testers.clear();
                }
                if route
                    .mirror
                    .as_ref()
                    .is_some_and(|mirror| mirror.pool.release == *release)
                {
                    route.mirror = None;
                }
            }
        })
        .await
    }

    /// Tells the proxy that an instance listens somewhere else now.
    pub async fn moved(&self, instance: &InstanceId, address: SocketAddr) -> Result<(), TrafficError> {
        let stale = self
            .table
            .lock()
            .await
            .routes
            .iter()
            .flat_map(pools)
            .flat_map(|pool| &pool.endpoints)
            .any(|endpoint| endpoint.instance == *instance && endpoint.address != address);
        if !stale {
            return Ok(());
        }
        self.edit(|table| {
            for route in &mut table.routes {
                let split = &mut route.split;
                let pools = std::iter::once(&mut split.baseline)
                    .chain(split.candidate.as_mut())
                    .chain(route.mirror.as_mut().map(|mirror| &mut mirror.pool));
                for endpoint in pools.flat_map(|pool| &mut pool.endpoints) {
                    if endpoint.instance == *instance {
                        endpoint.address = address;
                    }
                }
            }
        })
        .await
    }

    /// Waits until no request is under way to a release in an environment, at most `limit`: it may
    /// be serving in another.
    pub async fn drained(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        release: &ReleaseId,
        limit: Duration,
    ) -> Result<InFlight, TrafficError> {
        Ok(self
            .proxy
            .wait_drained_in(service, environment, release, limit)
            .await?)
    }

    /// The same for some of its instances, the others of which may be serving. They must be out of the
    /// table already.
    pub async fn drained_instances(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        release: &ReleaseId,
        instances: &[InstanceId],
        limit: Duration,
    ) -> Result<InFlight, TrafficError> {
        let proxy = &self.proxy;
        Ok(proxy
            .wait_drained_of(service, environment, release, instances, limit)
            .await?)
    }

    /// Changes the table, keeps it, and returns when the proxy has it in force.
    async fn edit(&self, change: impl FnOnce(&mut RoutingTable)) -> Result<(), TrafficError> {
        let mut table = self.table.lock().await;
        let mut next = table.clone();
        change(&mut next);
        if next.routes != table.routes || next.version == 1 {
            next.version += 1;
        }
        next.check().map_err(ClientError::from)?;
        self.keep(&next)?;
        *table = next;
        let began = tokio::time::Instant::now();
        loop {
            match self.proxy.apply(&table).await {
                Ok(_) => return Ok(()),
                Err(error @ ClientError::Unreachable { .. }) if began.elapsed() < APPLY_PATIENCE => {
                    tracing::warn!(%error, "the proxy is away; its table is sent again");
                    tokio::time::sleep(APPLY_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn keep(&self, table: &RoutingTable) -> Result<(), TrafficError> {
        crate::files::replace(&self.file, &serde_json::to_vec(table).unwrap_or_default()).map_err(|error| {
            TrafficError::File {
                path: self.file.clone(),
                reason: error.to_string(),
            }
        })
    }
}

/// Generations of one route or instance across rollouts: the later rollout is newer, whatever its own count.
pub(crate) fn across_rollouts(rollout: &RolloutId, generation: Generation) -> Generation {
    Generation((number_of(rollout.as_str()) << 32) | generation.0)
}

fn take_route(table: &mut RoutingTable, entrance: &Entrance) -> Option<Route> {
    let at = table
        .routes
        .iter()
        .position(|route| route.service == entrance.service && route.environment == entrance.environment)?;
    Some(table.routes.remove(at))
}

fn routes_of<'t>(
    table: &'t mut RoutingTable,
    service: &'t ServiceName,
    environment: &'t EnvironmentName,
) -> impl Iterator<Item = &'t mut Route> {
    table
        .routes
        .iter_mut()
        .filter(move |route| route.service == *service && route.environment == *environment)
}

fn pools(route: &Route) -> impl Iterator<Item = &Pool> {
    std::iter::once(&route.split.baseline)
        .chain(route.split.candidate.as_ref())
        .chain(route.mirror.as_ref().map(|mirror| &mirror.pool))
}

fn endpoints(side: &Side) -> Vec<Endpoint> {
    let endpoints = side.endpoints.iter().cloned();
    endpoints
        .map(|(instance, address)| Endpoint { instance, address })
        .collect()
}

fn pool(side: Side, probe: &Probe, protocol: Protocol) -> Pool {
    Pool {
        endpoints: endpoints(&side),
        release: side.release,
        health: probe.clone(),
        protocol,
    }
}
