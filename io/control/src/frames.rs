//! What the proxy and the host report becomes evidence and series.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trimtab_ingest::{HostMetrics, Sink};
use trimtab_model::{Identity, LatencyHistogram, Timestamp};
use trimtab_proxy::{Cell, Frame, ProxyStatus};
use trimtab_telemetry::{Batch, Sample, stamped_sample};

use crate::clock;
use crate::proxy_spans;
use crate::usage::Usages;
use crate::world::World;

/// How often evidence is written down, frames acknowledged and counters appended to the series.
const SAVE_PAUSE: Duration = Duration::from_secs(1);
/// Upper bounds of the latency histogram's series, in seconds.
const BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Running totals of one arm's operation.
#[derive(Default)]
struct Total {
    ok: u64,
    client_errors: u64,
    errors: u64,
    latency: LatencyHistogram,
    /// True once its series exist.
    told: bool,
}

/// Carries the proxy's frames into evidence and series for as long as the process lives.
pub(crate) async fn pump(world: Arc<World>) {
    let mark = world.dir.join("evidence").join("sequence");
    let after = std::fs::read_to_string(&mark)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    let mut frames = world.traffic.proxy().frames(after);
    let mut totals: BTreeMap<(Identity, String), Total> = BTreeMap::new();
    let mut saved = Instant::now();
    let mut spans = Vec::new();
    loop {
        let frame = frames.next().await;
        world.evidence.take_frame(&frame);
        world.exposures.observe_users(&frame.users);
        spans.push(proxy_spans::spans(&frame));
        for cell in frame.cells.iter().filter(|cell| !cell.mirrored) {
            add(&mut totals, cell);
        }
        if saved.elapsed() < SAVE_PAUSE {
            continue;
        }
        saved = Instant::now();
        store_spans(&world, std::mem::take(&mut spans)).await;
        if let Err(error) = save(&world, &frame, &mark).await {
            tracing::warn!(%error, "failed to keep evidence; the proxy keeps its frames");
        }
        let samples = samples(&mut totals, frame.at);
        if let Err(error) = world
            .intake
            .append(
                Batch {
                    samples,
                    ..Batch::default()
                },
                "",
            )
            .await
        {
            tracing::warn!(%error, "failed to store the proxy's counts as series");
        }
    }
}

/// Stores the requests that the proxy reported in full. They are not shown to the analysers: failed and slow ones
/// come first, which is no sample to compare releases by.
async fn store_spans(world: &World, spans: Vec<(Batch, String)>) {
    let appends = spans
        .into_iter()
        .filter(|(batch, _)| !batch.is_empty())
        .map(|(batch, key)| async move { world.store.append(batch, &key).await });
    for outcome in futures_util::future::join_all(appends).await {
        if let Err(error) = outcome {
            tracing::warn!(%error, "failed to store requests of the proxy as spans");
        }
    }
}

async fn save(world: &World, frame: &Frame, mark: &std::path::Path) -> Result<(), String> {
    world.evidence.save().map_err(|error| error.to_string())?;
    crate::files::replace(mark, frame.sequence.to_string().as_bytes()).map_err(|error| error.to_string())?;
    world
        .traffic
        .proxy()
        .acknowledge(frame.sequence)
        .await
        .map_err(|error| error.to_string())
}

fn add(totals: &mut BTreeMap<(Identity, String), Total>, cell: &Cell) {
    let identity = Identity {
        service: Some(cell.service.clone()),
        environment: Some(cell.environment.clone()),
        release: Some(cell.release.clone()),
        instance: None,
        rollout: None,
        cohort: cell.rollout.as_ref().map(|_| cell.arm),
    };
    let total = totals.entry((identity, cell.operation.clone())).or_default();
    total.ok +=
        cell.requests - cell.errors.min(cell.requests) - cell.client_errors.min(cell.requests - cell.errors);
    total.client_errors += cell.client_errors;
    total.errors += cell.errors;
    total.latency.merge(&cell.latency);
}

fn samples(totals: &mut BTreeMap<(Identity, String), Total>, at: Timestamp) -> Vec<Sample> {
    let mut samples = Vec::new();
    for ((identity, operation), total) in totals {
        if !total.told {
            // A counter begins at 0, or what it first counted would be in no rate and no increase.
            samples.extend(samples_of(
                identity,
                operation,
                &Total::default(),
                at.minus(SAVE_PAUSE),
            ));
            total.told = true;
        }
        samples.extend(samples_of(identity, operation, total, at));
    }
    samples
}

fn samples_of(identity: &Identity, operation: &str, total: &Total, at: Timestamp) -> Vec<Sample> {
    let mut samples = Vec::new();
    let arm = identity.cohort.map_or("none", trimtab_model::Arm::as_str);
    let counts = [
        ("ok", total.ok),
        ("client_error", total.client_errors),
        ("error", total.errors),
    ];
    for (class, count) in counts {
        let labels = [("operation", operation), ("arm", arm), ("class", class)];
        samples.push(stamped_sample(
            "trimtab_requests_total",
            &labels,
            identity,
            at.0,
            count as f64,
        ));
    }
    let labels = [("operation", operation), ("arm", arm)];
    let name = "trimtab_request_duration_seconds";
    for bound in BOUNDS {
        let bucket = LatencyHistogram::bucket_of((bound * 1e6) as u64);
        let below = total.latency.total() - total.latency.at_or_above(bucket);
        let le = bound.to_string();
        let labels = [labels[0], labels[1], ("le", le.as_str())];
        samples.push(stamped_sample(
            &format!("{name}_bucket"),
            &labels,
            identity,
            at.0,
            below as f64,
        ));
    }
    let count = total.latency.total() as f64;
    let infinite = [labels[0], labels[1], ("le", "+Inf")];
    samples.push(stamped_sample(
        &format!("{name}_bucket"),
        &infinite,
        identity,
        at.0,
        count,
    ));
    samples.push(stamped_sample(
        &format!("{name}_count"),
        &labels,
        identity,
        at.0,
        count,
    ));
    let sum: f64 = total
        .latency
        .buckets()
        .iter()
        .map(|(bucket, count)| LatencyHistogram::lower_bound(*bucket) as f64 * *count as f64 / 1e6)
        .sum();
    samples.push(stamped_sample(
        &format!("{name}_sum"),
        &labels,
        identity,
        at.0,
        sum,
    ));
    samples
}

/// Carries what was ingested into the evidence.
pub(crate) async fn signals(world: Arc<World>, sink: Sink) {
    let mut subscription = sink.subscribe();
    while let Some(batch) = subscription.next().await {
        world.evidence.take_signals(&batch);
        world.exposures.observe(&batch, &world.flags);
    }
}

/// Stores who was served which variant, and keeps what that says of flags.
pub(crate) async fn exposures(world: Arc<World>) {
    loop {
        tokio::time::sleep(SAVE_PAUSE).await;
        let events = world.exposures.take_waiting();
        if !events.is_empty() {
            let batch = Batch {
                events,
                ..Batch::default()
            };
            if let Err(error) = world.intake.append(batch, "").await {
                tracing::warn!(%error, "failed to store who was served which variant");
            }
        }
        if let Err(error) = world.exposures.save() {
            tracing::warn!(%error, "failed to keep who was served which flag");
        }
    }
}

/// Appends the host's figures, the ingest's own and whether each deployed service answers.
pub(crate) async fn host(world: Arc<World>) {
    let mut host = HostMetrics::new(world.dir.clone());
    let mut usages = Usages::default();
    loop {
        tokio::time::sleep(SAVE_PAUSE).await;
        let now = clock::now();
        let mut samples = host.samples();
        samples.extend(world.intake.stats().samples(now.0));
        let fleet = &world.fleet;
        let identify = |id: &trimtab_model::InstanceId| fleet.identity(id);
        samples.extend(usages.samples(fleet.runtime().as_ref(), identify, now).await);
        if let Some(status) = proxy_status(&world).await {
            let mut services: BTreeMap<Identity, bool> = BTreeMap::new();
            for endpoint in status.endpoints {
                let place = Identity {
                    service: Some(endpoint.service.clone()),
                    environment: Some(endpoint.environment.clone()),
                    ..Identity::default()
                };
                let healthy = endpoint.health == trimtab_proxy::Health::Healthy;
                // What was not probed often enough yet says nothing.
                if endpoint.health != trimtab_proxy::Health::Unknown {
                    *services.entry(place).or_default() |= healthy;
                }
                let identity = Identity {
                    service: Some(endpoint.service),
                    environment: Some(endpoint.environment),
                    release: Some(endpoint.release),
                    instance: Some(endpoint.instance),
                    ..Identity::default()
                };
                let up = f64::from(healthy);
                samples.push(stamped_sample("trimtab_probe_success", &[], &identity, now.0, up));
            }
            // A service is up while any of its instances is: one that is restarted off traffic is no outage.
            for (place, up) in services {
                let up = f64::from(up);
                samples.push(stamped_sample("trimtab_service_up", &[], &place, now.0, up));
            }
        }
        if let Err(error) = world
            .intake
            .append(
                Batch {
                    samples,
                    ..Batch::default()
                },
                "",
            )
            .await
        {
            tracing::warn!(%error, "failed to store the host's figures");
        }
    }
}

async fn proxy_status(world: &World) -> Option<ProxyStatus> {
    let status = world.traffic.proxy().status().await;
    status
        .inspect_err(|error| tracing::warn!(%error, "failed to ask how the proxy is"))
        .ok()
}
