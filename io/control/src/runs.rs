//! Starts pipeline runs.

use std::sync::Arc;

use trimtab_model::{Actor, Role, RunId, ServiceName};
use trimtab_pipeline::Plan;
use trimtab_runner::checkout_keeping;

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
    let workspaces = world.dir.join("workspaces");
    let asked = workspaces.join(format!("{service}.asked"));
    let laid_out = checkout_keeping(&repository.path, commit, &asked, &[])
        .await
        .map_err(|e| e.to_string())?;
    let read = |folder: &std::path::Path| {
        std::fs::read_to_string(folder.join("trimtab.yaml"))
            .map_err(|error| {
                format!("failed to read trimtab.yaml of {commit}: {error}; add one (`trimtab init`)")
            })
            .and_then(|text| blueprint::parse(&text))
    };
    let project = read(&asked)?;
    if project.service != *service {
        return Err(format!(
            "trimtab.yaml: service: {} is not {service}; correct the name",
            project.service
        ));
    }
    let protected_folder = workspaces.join(format!("{service}.protected"));
    checkout_keeping(&repository.path, &repository.branch, &protected_folder, &[])
        .await
        .map_err(|error| error.to_string())?;
    let protected = read(&protected_folder)?;
    let approver = protected
        .staging
        .as_ref()
        .and_then(|staging| staging.approval.as_ref());
    let approver = approver.map_or(Role::Approver, |approval| approval.role);
    let stages = blueprint::stages(&project, &protected);
    let made = world.machines().runs.create(by, |number| Plan {
        run: run_id(number),
        service: service.clone(),
        commit: laid_out.commit,
        title: laid_out.title,
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
