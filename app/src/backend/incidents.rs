//! Incidents, what was written about them, silences.

use serde_json::Value;
use trimtab_api as api;
use trimtab_api::{
    Cause, Fault, Impact, Incident, IncidentClass, IncidentQuery, IncidentState, IncidentSummary,
    LearningChange, Moment, Proposal, Silence, SilenceOf, TakenAction,
};
use trimtab_control::clock;
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Incidents;
use trimtab_incident::{Class, Closing, Phase};
use trimtab_journal::StoredEvent;

use super::{AppBackend, moment, rows, unavailable};

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
        let end = summary.resolved_at.map_or_else(clock::now, |at| at.0);
        let duration = end.since(incident.plan.opened_at).as_millis();
        Ok(Incident {
            impact: Impact {
                requests_failed: None,
                users: None,
                budget_percent: None,
                duration_ms: u64::try_from(duration).ok(),
            },
            timeline: events.iter().rev().map(|event| self.entry(event)).collect(),
            causes: body("report.causes").map(causes).unwrap_or_default(),
            proposals: body("report.proposals").map(proposals).unwrap_or_default(),
            actions: events.iter().filter_map(action).collect(),
            postmortem: body("report.postmortem").map(|body| text(body, "markdown")),
            learning: body("report.learning").map(learning),
            silences: silences.into_iter().filter(|s| covers(s, &summary)).collect(),
            summary,
        })
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

/// One cause for each line of the report's text.
fn causes(body: &Value) -> Vec<Cause> {
    let text = text(body, "text");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .zip(1..)
        .map(|(line, rank)| Cause {
            rank,
            kind: String::new(),
            subject: String::new(),
            text: line.to_owned(),
            figure: String::new(),
            confidence: None,
            link: None,
        })
        .collect()
}

fn proposals(body: &Value) -> Vec<Proposal> {
    let items = body.get("items").and_then(Value::as_array);
    let items = items.into_iter().flatten();
    items
        .map(|item| match item {
            Value::String(text) => Proposal {
                text: text.clone(),
                reason: String::new(),
                command: None,
            },
            item => Proposal {
                text: [text(item, "text"), text(item, "what"), text(item, "title")]
                    .into_iter()
                    .find(|text| !text.is_empty())
                    .unwrap_or_default(),
                reason: [text(item, "reason"), text(item, "why")].concat(),
                command: item.get("command").and_then(Value::as_str).map(str::to_owned),
            },
        })
        .collect()
}

fn learning(body: &Value) -> LearningChange {
    let flag = body
        .get("accepted")
        .or_else(|| body.get("taken"))
        .and_then(Value::as_bool);
    let words = [text(body, "text"), text(body, "summary"), text(body, "reason")];
    let number = |name: &str| body.get(name).and_then(Value::as_u64);
    LearningChange {
        accepted: flag.unwrap_or(false),
        text: words
            .into_iter()
            .find(|words| !words.is_empty())
            .unwrap_or_default(),
        changes: Vec::new(),
        found_before: number("found_before"),
        found_after: number("found_after"),
        episodes: number("episodes"),
        delay_before_ms: body.get("delay_before_ms").and_then(Value::as_f64),
        delay_after_ms: body.get("delay_after_ms").and_then(Value::as_f64),
        false_alarms_before: number("false_alarms_before"),
        false_alarms_after: number("false_alarms_after"),
    }
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
    let outcome = event.body.as_object()?.values().next()?.get("outcome");
    let outcome = outcome.or_else(|| event.body.get("outcome"));
    let words = outcome.map(Value::to_string).unwrap_or_default();
    let failed = words.to_lowercase().contains("failed");
    Some(TakenAction {
        at: moment(event.at),
        text: what.to_owned(),
        outcome: outcome
            .and_then(|outcome| first_text(outcome, 0))
            .unwrap_or_default(),
        succeeded: outcome.map(|_| !failed),
        by: event.actor.0.clone(),
    })
}

fn first_text(value: &Value, depth: u32) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) if depth < 3 => ["detail", "reason"]
            .iter()
            .find_map(|name| fields.get(*name))
            .or_else(|| fields.values().next())
            .and_then(|value| first_text(value, depth + 1)),
        _ => None,
    }
}

/// Whether an incident counts as open and how severe it is, for health and the alert figures.
pub(super) fn open_severities(incidents: &[api::IncidentSummary]) -> Vec<trimtab_model::Severity> {
    let open = incidents.iter().filter(|incident| incident.state.is_open());
    open.map(|incident| incident.severity).collect()
}
