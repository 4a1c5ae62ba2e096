//! Incidents, what was written about them, silences.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use trimtab_api as api;
use trimtab_api::{
    Fault, Impact, Incident, IncidentClass, IncidentQuery, IncidentState, IncidentSummary, Moment, Silence,
    SilenceOf, TakenAction,
};
use trimtab_control::clock;
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Incidents;
use trimtab_incident::{Class, Closing, Phase, Plan};
use trimtab_journal::StoredEvent;
use trimtab_model::Timestamp;
use trimtab_store::{LogQuery, Origin, TimeRange};
use trimtab_telemetry::Level;

use super::health::selector;
use super::reports::{causes, learning, proposals};
use super::{AppBackend, moment, rows, unavailable};

/// Traffic before an incident that its error budget is told by as well.
const TRAFFIC_AROUND: Duration = Duration::from_secs(60);
/// Error lines that are looked through for the users they name.
const USERS_LINES_MAX: usize = 10_000;

impl AppBackend {
    pub(super) async fn incident_list(&self, query: &IncidentQuery) -> Result<Vec<IncidentSummary>, Fault> {
        let silences = self.silences_in_force().await?;
        let mut all = self.world.machines().incidents.list();
        all.reverse();
        Ok(all
            .iter()
            .filter(|i| {
                query
                    .service
                    .as_ref()
                    .is_none_or(|s| *s == i.plan.service.as_str())
            })
            .map(|incident| summary(incident, &silences))
            .filter(|incident| query.open.is_none_or(|open| open == incident.state.is_open()))
            .take(rows(query.limit))
            .collect())
    }

    pub(super) async fn one_incident(&self, id: &str) -> Result<Incident, Fault> {
        let found = self.world.machines().incidents.get(id);
        let incident = found.ok_or_else(|| Fault::not_found("incident", id))?;
        let silences = self.silences_in_force().await?;
        let events = self.stream(&format!("incident/{id}")).await?;
        let reports = self.stream(&format!("report/{id}")).await?;
        let body = |kind: &str| reports.iter().rev().find(|e| e.kind == kind).map(|e| &e.body);
        let summary = summary(&incident, &silences);
        let (release, service) = (summary.release.as_deref(), summary.service.as_str());
        let written = body("report.causes");
        Ok(Incident {
            impact: self.impact(&incident, &events).await,
            causes: written
                .map(|body| causes(body, release, service))
                .unwrap_or_default(),
            proposals: proposals(body("report.proposals"), written),
            actions: events.iter().filter_map(action).collect(),
            postmortem: body("report.postmortem").map(|body| text(body, "markdown")),
            learning: body("report.learning").map(learning),
            silences: silences.into_iter().filter(|s| covers(s, &summary)).collect(),
            timeline: self.timeline_of(id, events).await?,
            summary,
        })
    }

    /// What it cost: exact counts of the suspect's arm where a rollout has them, else from the series.
    async fn impact(&self, incident: &Snapshot<Incidents>, events: &[StoredEvent]) -> Impact {
        let plan = &incident.plan;
        let kept = plan
            .rollout
            .as_ref()
            .and_then(|rollout| self.world.evidence.kept(rollout));
        let begun = kept
            .as_ref()
            .and_then(|kept| kept.onset)
            .unwrap_or(plan.opened_at);
        let relieved = |event: &&StoredEvent| {
            let kinds = [
                "incident.protection_ended",
                "incident.rollback_ended",
                "incident.metrics_verified",
            ];
            kinds.contains(&event.kind.as_str()) && event.body["outcome"]["is"] == "done"
        };
        let resolved = incident.state.end().map(|_| incident.changed_at);
        let end = events.iter().find(relieved).map(|event| event.at).or(resolved);
        let end = end.unwrap_or_else(clock::now);
        let place = selector(Some(plan.service.as_str()), plan.environment.as_str());
        let failed = match kept {
            Some(kept) => Some(kept.arms.candidate.errors),
            None => {
                let seconds = end.since(begun).as_secs().max(1);
                let query =
                    format!("sum(increase(trimtab_requests_total{{{place},class=\"error\"}}[{seconds}s]))");
                self.number(&query, end)
                    .await
                    .map(|count| count.max(0.0).round() as u64)
            }
        };
        let budget = match failed {
            Some(failed) => self.budget_burnt(plan, failed, begun, end).await,
            None => None,
        };
        Impact {
            requests_failed: failed,
            users: self.users_hit(incident, begun, end).await,
            budget_percent: budget,
            duration_ms: u64::try_from(end.since(begun).as_millis()).ok(),
        }
    }

    /// The failed requests in per cent of those that the objective allows over its window, at the traffic
    /// of that time.
    async fn budget_burnt(&self, plan: &Plan, failed: u64, begun: Timestamp, end: Timestamp) -> Option<f64> {
        let (_, project) = self.world.release(plan.suspect.as_ref()?).ok()?;
        let place = selector(Some(plan.service.as_str()), plan.environment.as_str());
        let seconds = end.since(begun.minus(TRAFFIC_AROUND)).as_secs().max(1);
        let rate = format!("sum(increase(trimtab_requests_total{{{place}}}[{seconds}s])) / {seconds}");
        let rate = self.number(&rate, end).await.filter(|rate| *rate > 0.0)?;
        let allowed = 1.0 - project.objectives.availability.fraction();
        let budget = rate * project.objectives.window.0.as_secs_f64() * allowed;
        (budget > 0.0).then(|| 100.0 * failed as f64 / budget)
    }

    /// Users named by the suspect's error lines (attribute `user.id`); none when no line names one.
    async fn users_hit(&self, incident: &Snapshot<Incidents>, from: Timestamp, to: Timestamp) -> Option<u64> {
        let plan = &incident.plan;
        let query = LogQuery {
            range: TimeRange::from_millis(from.0 - 1_000, to.0 + 1_000),
            origin: Origin {
                service: Some(plan.service.clone()),
                environment: Some(plan.environment.clone()),
                release: plan.suspect.clone(),
                instance: None,
            },
            level_min: Some(Level::Error),
            limit: USERS_LINES_MAX,
            ..LogQuery::default()
        };
        let lines = self.world.store.scan_logs(query).await.ok()?;
        let users: BTreeSet<String> = lines
            .iter()
            .filter_map(|line| line.attributes.get("user.id").map(ToString::to_string))
            .filter(|user| !user.is_empty() && user != "null")
            .collect();
        (!users.is_empty()).then(|| u64::try_from(users.len()).unwrap_or(u64::MAX))
    }

    /// Silences in force; ended and expired ones are left out.
    pub(super) async fn silences_in_force(&self) -> Result<Vec<Silence>, Fault> {
        let streams = self
            .world
            .journal
            .streams("silence/")
            .await
            .map_err(unavailable)?;
        let (now, mut all) = (clock::now(), Vec::new());
        for stream in streams {
            let events = self.stream(&stream.name).await?;
            let ended = events.iter().any(|event| event.kind == "silence.ended");
            let Some(begun) = events.first().filter(|_| !ended) else {
                continue;
            };
            let of: SilenceOf = serde_json::from_value(begun.body["of"].clone()).map_err(unavailable)?;
            let until = Moment::from_millis(begun.body["until"].as_i64().unwrap_or(0));
            if until.0 > now {
                all.push(Silence {
                    id: stream.name.trim_start_matches("silence/").to_owned(),
                    of,
                    author: begun.actor.0.clone(),
                    reason: text(&begun.body, "reason"),
                    from: moment(begun.at),
                    until,
                });
            }
        }
        Ok(all)
    }
}

fn covers(silence: &Silence, incident: &IncidentSummary) -> bool {
    let of = &silence.of;
    of.incident.as_ref().is_none_or(|id| *id == incident.id)
        && of
            .service
            .as_ref()
            .is_none_or(|service| *service == incident.service)
        && of
            .environment
            .as_ref()
            .is_none_or(|environment| *environment == incident.environment)
}

fn summary(incident: &Snapshot<Incidents>, silences: &[Silence]) -> IncidentSummary {
    let (plan, state) = (&incident.plan, &incident.state);
    let mut summary = IncidentSummary {
        id: incident.id.clone(),
        title: plan.title.clone(),
        service: plan.service.to_string(),
        environment: plan.environment.to_string(),
        severity: state.severity,
        class: match plan.class {
            Class::BadRelease => IncidentClass::BadRelease,
            Class::ResourceExhaustion => IncidentClass::ResourceExhaustion,
            Class::DependencyFailure => IncidentClass::DependencyFailure,
            Class::TrafficSurge => IncidentClass::TrafficSurge,
            Class::ConfigurationChange => IncidentClass::ConfigurationChange,
            Class::DataOrInfrastructure => IncidentClass::DataOrInfrastructure,
        },
        state: match &state.phase {
            Phase::Ended { .. } => IncidentState::Resolved,
            Phase::Closing {
                step: Closing::Causes | Closing::Postmortem | Closing::Lesson | Closing::Notices,
                ..
            } => IncidentState::WritingUp,
            _ if state.taken_over_by.is_some() => IncidentState::TakenOver,
            Phase::Verifying { .. } => IncidentState::Verifying,
            Phase::PeopleNeeded { .. } | Phase::Proposing | Phase::AwaitingFix | Phase::Logged => {
                if state.acknowledged_by.is_some() {
                    IncidentState::Acknowledged
                } else {
                    IncidentState::Open
                }
            }
            _ => IncidentState::Acting,
        },
        state_text: state.describe(),
        release: plan.suspect.as_ref().map(ToString::to_string),
        rollout: plan.rollout.as_ref().map(ToString::to_string),
        opened_at: moment(plan.opened_at),
        resolved_at: state.end().map(|_| moment(incident.changed_at)),
        acknowledged_by: state.acknowledged_by.as_ref().map(|actor| actor.0.clone()),
        silenced: false,
    };
    summary.silenced = silences.iter().any(|silence| covers(silence, &summary));
    summary
}

fn text(body: &Value, field: &str) -> String {
    body.get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// What was done, of the events that report an action.
fn action(event: &StoredEvent) -> Option<TakenAction> {
    let what = match event.kind.as_str() {
        "incident.protection_ended" => "traffic taken off the suspect",
        "incident.health_checked" => "health checked",
        "incident.restarted" => "restart tried",
        "incident.rollback_ended" => "rolled back",
        "incident.metrics_verified" => "metrics verified",
        "incident.fix_applied" => "fix applied",
        _ => return None,
    };
    let outcome = event.body.get("outcome");
    let failed = outcome.is_some_and(|outcome| outcome["is"] == "failed");
    Some(TakenAction {
        at: moment(event.at),
        text: what.to_owned(),
        outcome: outcome
            .and_then(|outcome| outcome.get("detail").or_else(|| outcome.get("reason")))
            .or_else(|| event.body.get("what"))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        succeeded: outcome.map(|_| !failed),
        by: event.actor.0.clone(),
    })
}

/// Whether an incident counts as open and how severe it is, for health and the alert figures.
pub(super) fn open_severities(incidents: &[api::IncidentSummary]) -> Vec<trimtab_model::Severity> {
    let open = incidents.iter().filter(|incident| incident.state.is_open());
    open.map(|incident| incident.severity).collect()
}
