//! Whether the instances of a release are well.

use trimtab_model::ReleaseId;
use trimtab_project::RunKind;
use trimtab_runtime::check_health;

use crate::blueprint;
use crate::host::number_of;
use crate::world::World;

/// Probes every instance of a release; the reason says which failed, with the answer it gave.
pub(crate) async fn probe_all(
    world: &World,
    release: &ReleaseId,
    environment: &trimtab_model::EnvironmentName,
) -> Result<(), String> {
    probe_first(world, release, environment, None).await
}

/// Probes the instances of a release that are numbered up to `count`, or all.
pub(crate) async fn probe_first(
    world: &World,
    release: &ReleaseId,
    environment: &trimtab_model::EnvironmentName,
    count: Option<u32>,
) -> Result<(), String> {
    let (_, project) = world.release(release).map_err(|error| error.to_string())?;
    if project.run.kind == RunKind::Cron {
        return Ok(());
    }
    let check = blueprint::health_check(&project);
    let instances = world
        .fleet
        .instances(release, environment)
        .await
        .map_err(|error| error.to_string())?;
    let instances: Vec<_> = instances
        .into_iter()
        .filter(|instance| count.is_none_or(|count| number_of(instance.id.as_str()) <= u64::from(count)))
        .collect();
    if instances.is_empty() {
        return Err(format!("{release} has no instance in {environment}"));
    }
    for instance in instances {
        let report = check_health(world.fleet.runtime().as_ref(), &instance.id, &check).await;
        if !report.healthy {
            let last = report.last;
            let said = last
                .error
                .unwrap_or_else(|| format!("status {:?}: {}", last.status, last.body));
            return Err(format!(
                "{} is unhealthy after {} probes: {said}",
                instance.id, report.probes
            ));
        }
    }
    Ok(())
}
