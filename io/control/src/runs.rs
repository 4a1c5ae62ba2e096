//! Starts pipeline runs.

use std::sync::Arc;

use trimtab_model::{Actor, Role, RunId, ServiceName};
use trimtab_pipeline::Plan;

use crate::blueprint;
use crate::clock;
use crate::host::Snapshot;
use crate::machines::Runs;
use crate::world::{PRODUCTION, STAGING, World, environment};

/// Starts a run of `commit` (hex digits, or a branch): its project file must parse first.
pub async fn start(
    world: &Arc<World>,
    service: &ServiceName,
    commit: &str,
    by: &Actor,
) -> Result<Snapshot<Runs>, String> {
    let repository = world.repository(service).ok_or_else(|| {
        format!("no repository of {service} is known; add it to `repositories` in trimtab-server.yaml")
    })?;
    let (asked, text) = world.workspaces.project_file(repository, commit).await?;
    let project = blueprint::parse_new(&text, &world.grants)?;
    if project.service != *service {
        return Err(format!(
            "trimtab.yaml: service: {} is not {service}; correct the name",
            project.service
        ));
    }
    let protected = world.protected(repository).await?;
    let approver = protected
        .staging
        .as_ref()
        .and_then(|staging| staging.approval.as_ref());
    let approver = approver.map_or(Role::Approver, |approval| approval.role);
    let stages = blueprint::stages(&project, &protected);
    let made = world.machines().runs.create(by, |number| Plan {
        run: run_id(number),
        service: service.clone(),
        commit: asked.commit,
        title: asked.title,
        started_at: clock::now(),
        staging: environment(STAGING),
        production: environment(PRODUCTION),
        approver,
        stages,
    });
    made.await.map_err(|error| error.to_string())
}

fn run_id(number: u64) -> RunId {
    match RunId::new(format!("run-{number}")) {
        Ok(id) => id,
        // `run-` and digits follow the rules of names.
        Err(_) => unreachable!("run-{number}"),
    }
}
