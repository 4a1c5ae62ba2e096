//! Commands of people, each to the machine it is for.

use trimtab_api::{Command, DeployRequest, Done, Fault, Principal, SilenceOf};
use trimtab_control::clock;
use trimtab_control::host::HostError;
use trimtab_control::world::{PRODUCTION, STAGING, environment};
use trimtab_control::{runs, start_rollout};
use trimtab_model::{Actor, EnvironmentName, ReleaseId, ServiceName};
use trimtab_pipeline::Event as RunEvent;
use trimtab_pipeline::Stage;
use trimtab_rollout::{End, Event as RolloutEvent};

use super::{AppBackend, actor, unavailable};

const MINUTE_MS: i64 = 60_000;
/// Longest silence, in minutes: 30 days.
const SILENCE_MINUTES_MAX: u64 = 30 * 24 * 60;

impl AppBackend {
    pub(super) async fn obey(&self, by: &Principal, command: Command) -> Result<Done, Fault> {
        let said = comment(&command);
        let done = self.carry_out(by, command).await?;
        if let Some((command, about, comment)) = said {
            let body = serde_json::json!({ "command": command, "comment": comment });
            self.write(&format!("comment/{about}"), "comment.made", actor(by), body)
                .await?;
        }
        Ok(done)
    }

    async fn carry_out(&self, by: &Principal, command: Command) -> Result<Done, Fault> {
        let who = actor(by);
        let at = clock::now();
        match command {
            Command::Deploy(request) => self.deploy(&who, request).await,
            Command::Approve { run, comment } => self.decide(by, &run, comment, true).await,
            Command::Reject { run, comment } => self.decide(by, &run, comment, false).await,
            Command::Cancel { run, .. } => self.tell_run(&run, RunEvent::Cancelled { at, by: who }).await,
            Command::Promote { rollout, .. } => {
                self.tell_rollout(&rollout, RolloutEvent::Promoted { at, by: who })
                    .await
            }
            Command::Abort { rollout, .. } => {
                self.tell_rollout(&rollout, RolloutEvent::Aborted { at, by: who })
                    .await
            }
            Command::Pause { rollout, .. } => {
                self.tell_rollout(&rollout, RolloutEvent::Paused { at, by: who })
                    .await
            }
            Command::Resume { rollout, .. } => {
                let state = self.rollout_snapshot(&rollout)?.state;
                // A step that waits for a person goes on by the same word as a pause does.
                let event = match state.phase.step() {
                    Some(step) if state.paused.is_none() && state.phase.waits_for_person() => {
                        RolloutEvent::Approved { at, by: who, step }
                    }
                    Some(_) | None => RolloutEvent::Resumed { at, by: who },
                };
                self.tell_rollout(&rollout, event).await
            }
            Command::ApproveStep { rollout, .. } => self.approve_step(who, &rollout).await,
            Command::Retry { rollout, .. } => self.retry_rollout(who, &rollout).await,
            Command::Restart { rollout, .. } => {
                self.tell_rollout(&rollout, RolloutEvent::Restarted { at, by: who })
                    .await
            }
            Command::RollBack(request) => self.roll_back(who, request).await,
            Command::ReleaseTogether(request) => self.release_together(who, request).await,
            Command::AbortGroup { group, comment } => self.abort_group(who, &group, comment).await,
            Command::Entrance { service, request } => self.regulate(who, &service, request).await,
            Command::Scale { service, request } => self.scale(who, &service, request).await,
            Command::Acknowledge { .. }
            | Command::TakeOver { .. }
            | Command::FixApplied { .. }
            | Command::Resolve { .. } => self.tell_incident(who, command).await,
            Command::Silence { of, reason, minutes } => self.silence(who, of, &reason, minutes).await,
            Command::EndSilence { silence } => self.end_silence(who, &silence).await,
            Command::LiftQuarantine { release, comment } => self.lift(who, &release, &comment).await,
            Command::UpgradeProxy { comment } => self.upgrade_proxy(who, &comment).await,
            Command::RetryNotification { notification } => self.retry(&notification).await,
            Command::RevokeToken { token } => {
                self.tokens.revoke(&self.world.journal, who, &token).await?;
                Ok(done(format!("{token} is revoked"), &token, "/tokens"))
            }
        }
    }

    async fn deploy(&self, who: &Actor, request: DeployRequest) -> Result<Done, Fault> {
        let service = service_name(&request.service)?;
        let repository = self.world.repository(&service);
        let branch = repository.map(|found| found.branch.clone());
        let commit = request
            .commit
            .filter(|commit| !commit.is_empty())
            .or(branch)
            .ok_or_else(|| Fault::not_found("service", &request.service))?;
        self.start_run(who, &service, &commit).await
    }

    pub(super) async fn start_run(
        &self,
        who: &Actor,
        service: &ServiceName,
        commit: &str,
    ) -> Result<Done, Fault> {
        let run = runs::start(&self.world, service, commit, who).await;
        let run = run.map_err(|reason| {
            Fault::conflict(reason, "correct what is named, commit it, then deploy again")
        })?;
        let message = format!("{} of {service} is started", run.id);
        Ok(done(message, &run.id, &format!("/runs/{}", run.id)))
    }

    async fn decide(&self, by: &Principal, id: &str, reason: String, yes: bool) -> Result<Done, Fault> {
        let run = self.run_snapshot(id)?;
        if run.state.stage() != Some(Stage::Approval) {
            return Err(Fault::conflict(
                format!("{id} does not wait for approval: {}", run.state.describe()),
                "look at the run; only a run that waits can be decided",
            ));
        }
        if by.role < run.plan.approver {
            return Err(Fault::new(
                trimtab_api::FaultCode::Forbidden,
                format!(
                    "{id} is decided by the role {} or a higher one",
                    run.plan.approver
                ),
                "ask somebody with that role",
            ));
        }
        let (at, by) = (clock::now(), actor(by));
        let event = if yes {
            RunEvent::Approved { at, by, reason }
        } else {
            RunEvent::Rejected { at, by, reason }
        };
        self.tell_run(id, event).await
    }

    async fn tell_run(&self, id: &str, event: RunEvent) -> Result<Done, Fault> {
        let before = self.run_snapshot(id)?;
        let sent = self.world.machines().runs.send(id, event).await;
        let after = sent.map_err(|error| refused("run", id, error))?;
        moved(before.sequence, after.sequence, &after.state.describe())?;
        let message = format!("{id}: {}", after.state.describe());
        Ok(done(message, id, &format!("/runs/{id}")))
    }

    async fn approve_step(&self, by: Actor, id: &str) -> Result<Done, Fault> {
        let state = self.rollout_snapshot(id)?.state;
        let waiting = state.phase.step().filter(|_| state.phase.waits_for_person());
        let Some(step) = waiting else {
            return Err(Fault::conflict(
                format!("{id} does not wait for a person: {}", state.describe()),
                "look at the rollout; only a step that waits can be approved",
            ));
        };
        let at = clock::now();
        self.tell_rollout(id, RolloutEvent::Approved { at, by, step })
            .await
    }

    /// What waits to be tried again is tried now; what ended without being deployed is begun anew.
    async fn retry_rollout(&self, by: Actor, id: &str) -> Result<Done, Fault> {
        let rollout = self.rollout_snapshot(id)?;
        match rollout.state.end() {
            None => {
                let at = clock::now();
                self.tell_rollout(id, RolloutEvent::Retried { at, by }).await
            }
            Some(End::Deployed) => Err(Fault::conflict(
                format!("{id} is deployed"),
                "there is nothing to be tried again",
            )),
            Some(End::FlagDisabled { .. } | End::RolledBack { .. } | End::Failed { .. }) => {
                let plan = &rollout.plan;
                let (place, release) = (&plan.environment, &plan.candidate);
                let started = start_rollout::start(&self.world, place, release, None, &by, false).await;
                let again = started.map_err(|reason| {
                    Fault::conflict(reason, "lift the quarantine if the release is good after all")
                })?;
                let message = format!("{} tries {release} again in {place}", again.id);
                Ok(done(message, &again.id, &format!("/rollouts/{}", again.id)))
            }
        }
    }

    pub(super) async fn tell_rollout(&self, id: &str, event: RolloutEvent) -> Result<Done, Fault> {
        let before = self.rollout_snapshot(id)?;
        let sent = self.world.machines().rollouts.send(id, event).await;
        let after = sent.map_err(|error| refused("rollout", id, error))?;
        moved(before.sequence, after.sequence, &after.state.describe())?;
        let message = format!("{id}: {}", after.state.describe());
        Ok(done(message, id, &format!("/rollouts/{id}")))
    }

    async fn tell_incident(&self, by: Actor, command: Command) -> Result<Done, Fault> {
        use trimtab_incident::Event;
        let at = clock::now();
        let (id, event) = match command {
            Command::Acknowledge { incident, .. } => (incident, Event::Acknowledged { at, by }),
            Command::TakeOver { incident, .. } => (incident, Event::TakenOver { at, by }),
            Command::FixApplied { incident, comment } => (
                incident,
                Event::FixApplied {
                    at,
                    by,
                    what: comment,
                },
            ),
            Command::Resolve { incident, comment } => (
                incident,
                Event::Resolved {
                    at,
                    by,
                    reason: comment,
                },
            ),
            _ => return Err(Fault::internal("failed to read a command about an incident")),
        };
        let host = &self.world.machines().incidents;
        let before = host.get(&id).ok_or_else(|| Fault::not_found("incident", &id))?;
        let sent = host.send(&id, event).await;
        let after = sent.map_err(|error| refused("incident", &id, error))?;
        moved(before.sequence, after.sequence, &after.state.describe())?;
        let message = format!("{id}: {}", after.state.describe());
        Ok(done(message, &id, &format!("/incidents/{id}")))
    }

    async fn silence(&self, by: Actor, of: SilenceOf, reason: &str, minutes: u64) -> Result<Done, Fault> {
        if minutes == 0 || minutes > SILENCE_MINUTES_MAX {
            return Err(Fault::invalid(
                format!("a silence of {minutes} minutes is not possible"),
                format!("ask for 1 to {SILENCE_MINUTES_MAX} minutes"),
            ));
        }
        if reason.trim().is_empty() {
            return Err(Fault::invalid(
                "a silence needs a reason",
                "say why nobody is to be told",
            ));
        }
        let streams = self
            .world
            .journal
            .streams("silence/")
            .await
            .map_err(unavailable)?;
        let id = format!("silence-{}", streams.len() + 1);
        let length = i64::try_from(minutes).unwrap_or(0) * MINUTE_MS;
        let until = clock::now().0.saturating_add(length);
        let body = serde_json::json!({ "of": of, "reason": reason, "until": until });
        self.write(&format!("silence/{id}"), "silence.begun", by, body)
            .await?;
        Ok(done(
            format!("{id} holds for {minutes} minutes"),
            &id,
            "/incidents",
        ))
    }

    async fn end_silence(&self, by: Actor, id: &str) -> Result<Done, Fault> {
        let known = self.silences_in_force().await?;
        if !known.iter().any(|silence| silence.id == id) {
            return Err(Fault::not_found("silence", id));
        }
        let stream = format!("silence/{id}");
        self.write(&stream, "silence.ended", by, serde_json::json!({}))
            .await?;
        Ok(done(format!("{id} is ended"), id, "/incidents"))
    }

    async fn lift(&self, by: Actor, release: &str, comment: &str) -> Result<Done, Fault> {
        let id = release_id(release)?;
        if self.world.releases.get(&id).is_none() {
            return Err(Fault::not_found("release", release));
        }
        if self.world.releases.quarantined(&id).is_none() {
            return Err(Fault::conflict(
                format!("{id} is not quarantined"),
                "nothing is to be done: it can be deployed",
            ));
        }
        self.world
            .releases
            .clear(&id, comment, by)
            .await
            .map_err(unavailable)?;
        Ok(done(
            format!("{id} is out of quarantine"),
            release,
            &format!("/releases/{id}"),
        ))
    }

    async fn retry(&self, notification: &str) -> Result<Done, Fault> {
        let id: i64 = notification
            .parse()
            .map_err(|_| Fault::not_found("notification", notification))?;
        self.world
            .outbox
            .retry(id)
            .await
            .map_err(|error| Fault::conflict(error.to_string(), "only a dead letter can be tried again"))?;
        let message = format!("notification {id} is tried again");
        Ok(done(message, notification, "/notifications"))
    }
}

/// The comment on a command whose own event has no place for it: the command, what it is about, the words.
fn comment(command: &Command) -> Option<(&'static str, String, String)> {
    let (name, about, comment) = match command {
        Command::Cancel { run, comment } => ("cancel", run, comment),
        Command::Promote { rollout, comment } => ("promote", rollout, comment),
        Command::Abort { rollout, comment } => ("abort", rollout, comment),
        Command::Pause { rollout, comment } => ("pause", rollout, comment),
        Command::Resume { rollout, comment } => ("resume", rollout, comment),
        Command::ApproveStep { rollout, comment } => ("approve", rollout, comment),
        Command::Retry { rollout, comment } => ("retry", rollout, comment),
        Command::Restart { rollout, comment } => ("restart", rollout, comment),
        Command::Acknowledge { incident, comment } => ("acknowledge", incident, comment),
        Command::TakeOver { incident, comment } => ("take over", incident, comment),
        _ => return None,
    };
    (!comment.trim().is_empty()).then(|| (name, about.clone(), comment.clone()))
}

pub(super) fn done(message: String, id: &str, link: &str) -> Done {
    Done {
        message,
        id: Some(id.to_owned()),
        link: Some(link.to_owned()),
    }
}

pub(super) fn refused(what: &str, id: &str, error: HostError) -> Fault {
    match error {
        HostError::Unknown { .. } => Fault::not_found(what, id),
        other => unavailable(other),
    }
}

pub(super) fn moved(before: u64, after: u64, state: &str) -> Result<(), Fault> {
    if after == before {
        return Err(Fault::conflict(
            format!("this changes nothing now: {state}"),
            "look at its state; the buttons shown there are what it allows",
        ));
    }
    Ok(())
}

pub(super) fn service_name(text: &str) -> Result<ServiceName, Fault> {
    ServiceName::new(text).map_err(|error| Fault::invalid(error.to_string(), "correct the service's name"))
}

/// The environment that a request names; production when it names none.
pub(super) fn place_named(name: Option<&str>) -> Result<EnvironmentName, Fault> {
    match name {
        None | Some("" | PRODUCTION) => Ok(environment(PRODUCTION)),
        Some(STAGING) => Ok(environment(STAGING)),
        Some(other) => Err(Fault::not_found("environment", other)),
    }
}

pub(super) fn release_id(text: &str) -> Result<ReleaseId, Fault> {
    ReleaseId::new(text).map_err(|error| Fault::invalid(error.to_string(), "correct the release's id"))
}
