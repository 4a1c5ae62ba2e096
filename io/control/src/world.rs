//! Everything that effects are carried out with, in one place.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use trimtab_detection::learning::Models;
use trimtab_ingest::Intake;
use trimtab_journal::{Expected, Journal, JournalError, NewEvent, StoredEvent};
use trimtab_model::{Actor, EnvironmentName, ReleaseId, ServiceName};
use trimtab_notify::{Channel, Message, Outbox};
use trimtab_project::Project;
use trimtab_runner::Artifacts;
use trimtab_series::Series;
use trimtab_store::SignalStore;

use crate::blueprint;
use crate::clock;
use crate::closures::Closures;
use crate::entrance::Entrance;
use crate::evidence::Evidence;
use crate::exposures::Exposures;
use crate::flag_book::FlagBook;
use crate::fleet::{Fleet, FleetError};
use crate::grants::Grants;
use crate::host::{Host, Snapshot, number_of};
use crate::machines::{Groups, Incidents, Rollouts, Runs};
use crate::releases::{Recorded, Releases};
use crate::scales::Scales;
use crate::traffic::Traffic;
use crate::workspaces::Workspaces;

/// A local repository that is built from.
#[derive(Debug, Clone)]
pub struct Repository {
    /// The service it holds.
    pub service: ServiceName,
    /// Where it is.
    pub path: PathBuf,
    /// The protected branch, whose configuration says who approves.
    pub branch: String,
}

/// Services that are released together when their runs are ready together.
#[derive(Debug, Clone)]
pub struct Together {
    /// The services in order, and how much each one's evidence counts.
    pub services: Vec<(ServiceName, u32)>,
    /// How long a run waits for those of the others.
    pub wait: std::time::Duration,
}

/// The rooms that control carries between.
pub struct World {
    /// The data folder.
    pub dir: PathBuf,
    /// Address of the dashboard, for links.
    pub link: String,
    /// The journal.
    pub journal: Journal,
    /// Metrics.
    pub series: Series,
    /// Logs, spans and events.
    pub store: Arc<dyn SignalStore>,
    /// The way into both.
    pub intake: Intake,
    /// Built releases.
    pub releases: Releases,
    /// Artifacts by digest.
    pub artifacts: Artifacts,
    /// Instances.
    pub fleet: Arc<Fleet>,
    /// The routing table.
    pub traffic: Traffic,
    /// Entrances that people hold or close.
    pub closures: Closures,
    /// How many instances people want.
    pub scales: Scales,
    /// Feature flags.
    pub flags: FlagBook,
    /// Who was served which variant.
    pub exposures: Exposures,
    /// Notifications.
    pub outbox: Outbox,
    /// Verdicts and recordings.
    pub evidence: Evidence,
    /// Where runs are built.
    pub workspaces: Workspaces,
    /// Repositories.
    pub repositories: Vec<Repository>,
    /// What is released together.
    pub groups: Vec<Together>,
    /// What instances and hooks may have.
    pub grants: Grants,
    /// What was learned.
    pub models: std::sync::RwLock<Models>,
    /// The kinds of machines.
    pub machines: OnceLock<Machines>,
}

/// The hosts.
pub struct Machines {
    /// Pipeline runs.
    pub runs: Arc<Host<Runs>>,
    /// Rollouts.
    pub rollouts: Arc<Host<Rollouts>>,
    /// Services released together.
    pub groups: Arc<Host<Groups>>,
    /// Incidents.
    pub incidents: Arc<Host<Incidents>>,
}

impl World {
    /// The hosts; set before anything runs.
    pub fn machines(&self) -> &Machines {
        match self.machines.get() {
            Some(machines) => machines,
            None => unreachable!("machines are set before any effect is carried out"),
        }
    }

    /// The repository of a service.
    pub fn repository(&self, service: &ServiceName) -> Option<&Repository> {
        self.repositories
            .iter()
            .find(|repository| repository.service == *service)
    }

    /// The project file of a repository's protected branch: gates and approvers are its.
    pub(crate) async fn protected(&self, repository: &Repository) -> Result<Project, String> {
        let (_, text) = self
            .workspaces
            .project_file(repository, &repository.branch)
            .await?;
        blueprint::parse(&text)
    }

    /// A release with its parsed project file.
    pub fn release(&self, id: &ReleaseId) -> Result<(Recorded, Project), FleetError> {
        let recorded = self
            .releases
            .get(id)
            .ok_or_else(|| FleetError::UnknownRelease(id.clone()))?;
        let project = blueprint::parse(&recorded.project).map_err(|reason| FleetError::Project {
            release: id.clone(),
            reason,
        })?;
        Ok((recorded, project))
    }

    /// The release that serves in an environment, by the rollouts that ended there.
    pub fn stable(&self, service: &ServiceName, environment: &EnvironmentName) -> Option<ReleaseId> {
        self.rollouts_of(service, environment)
            .into_iter()
            .rev()
            .find(|rollout| self.deployed(rollout))
            .map(|rollout| rollout.plan.candidate.clone())
    }

    /// The rollout by which a release came to serve an environment.
    pub(crate) fn deployed_by(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        release: &ReleaseId,
    ) -> Option<trimtab_model::RolloutId> {
        self.rollouts_of(service, environment)
            .into_iter()
            .rev()
            .find(|rollout| rollout.plan.candidate == *release && self.deployed(rollout))
            .map(|rollout| rollout.plan.rollout.clone())
    }

    fn deployed(&self, rollout: &Snapshot<Rollouts>) -> bool {
        rollout.state.end().is_some_and(trimtab_rollout::End::serves)
            && !self.releases.is_withdrawn(&rollout.plan.rollout)
    }

    /// The newest release that was deployed to an environment before `release` and is not known bad.
    pub fn previous(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        release: &ReleaseId,
    ) -> Option<ReleaseId> {
        let number = number_of(&release.as_str().replace("-r", "-"));
        let mut deployed: Vec<ReleaseId> = self
            .rollouts_of(service, environment)
            .into_iter()
            .filter(|rollout| self.deployed(rollout))
            .map(|rollout| rollout.plan.candidate.clone())
            .filter(|other| number_of(&other.as_str().replace("-r", "-")) < number)
            .collect();
        deployed.reverse();
        let releases = &self.releases;
        let mut usable = deployed.into_iter();
        usable.find(|other| releases.get(other).is_some() && releases.quarantined(other).is_none())
    }

    /// The rollouts of a service in an environment, oldest first.
    pub fn rollouts_of(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
    ) -> Vec<Snapshot<Rollouts>> {
        let mut all = self.machines().rollouts.list();
        all.retain(|rollout| rollout.plan.service == *service && rollout.plan.environment == *environment);
        all
    }

    /// Where a service is reached in an environment: production by its own route, others by
    /// `<environment>.<service>.localhost`.
    pub fn entrance(&self, project: &Project, environment: &EnvironmentName) -> Entrance {
        if environment.as_str() == PRODUCTION {
            let route = &project.production.route;
            return Entrance::of(project, environment, route.host.clone(), route.path.clone());
        }
        let host = format!("{environment}.{}.localhost", project.service);
        Entrance::of(project, environment, host, "/".to_owned())
    }

    /// Puts a notice into the outbox for each channel; `key` makes a repeat harmless.
    pub async fn tell(
        &self,
        key: &str,
        channels: &[Channel],
        severity: trimtab_model::Severity,
        words: (String, String),
        path: &str,
    ) {
        for channel in channels {
            let message = Message {
                key: format!("{key}/{}", channel.as_str()),
                channel: *channel,
                severity,
                title: words.0.clone(),
                body: words.1.clone(),
                link: Some(format!("{}{path}", self.link)),
                fields: Vec::new(),
            };
            if let Err(error) = self.outbox.enqueue(message).await {
                tracing::error!(key, %error, "failed to put a notice into the outbox");
            }
        }
    }

    /// Writes a document about a machine (a cause report, a postmortem) to the journal.
    pub async fn write_down(
        &self,
        about: &str,
        kind: &str,
        body: serde_json::Value,
    ) -> Result<Vec<StoredEvent>, JournalError> {
        let event = NewEvent::new(
            format!("report/{about}"),
            kind,
            clock::now(),
            Actor::trimtab(),
            body,
        );
        self.journal.append(Expected::Any, vec![event]).await
    }
}

/// Name of the environment that users are served from.
pub const PRODUCTION: &str = "production";
/// Name of the environment before it.
pub const STAGING: &str = "staging";

/// An environment by one of the names above.
pub fn environment(name: &'static str) -> EnvironmentName {
    match EnvironmentName::new(name) {
        Ok(environment) => environment,
        Err(error) => unreachable!("{error}"),
    }
}
