//! The journal as people read it: the timeline, and the topics of what changed.

use tokio::sync::{broadcast, watch};
use trimtab_api::{Delivery, DeliveryState, Fault, NotificationQuery};
use trimtab_api::{TimelineEntry, TimelineKind, TimelineQuery, Topic};
use trimtab_journal::{Journal, StoredEvent};

use super::{AppBackend, EVENTS_PER_READ, moment, rows, unavailable};

/// Journal events looked through at most for one page of the timeline.
const LOOKED_THROUGH_MAX: usize = 10_000;

/// Tells of every event that is appended to the journal.
pub(super) async fn tell_changes(journal: Journal, topics: broadcast::Sender<Topic>) {
    let mut positions = journal.subscribe();
    let mut seen = journal.last_position();
    while positions.changed().await.is_ok() {
        loop {
            let events = match journal.read_all(seen, EVENTS_PER_READ).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::error!(%error, "failed to read what changed from the journal");
                    break;
                }
            };
            let Some(last) = events.last() else { break };
            seen = last.position;
            for topic in events.iter().flat_map(topics_of) {
                // Nobody may be listening.
                let _ = topics.send(topic);
            }
        }
    }
}

/// Tells of every change of the outbox.
pub(super) async fn tell_deliveries(mut changes: watch::Receiver<u64>, topics: broadcast::Sender<Topic>) {
    while changes.changed().await.is_ok() {
        let _ = topics.send(Topic::Notifications);
    }
}

fn topics_of(event: &StoredEvent) -> Vec<Topic> {
    let (kind, id) = split(&event.stream);
    let id = id.to_owned();
    let mut topics = match kind {
        "run" => vec![
            Topic::Run(id.clone()),
            Topic::RunLog(id),
            Topic::Runs,
            Topic::Approvals,
        ],
        "rollout" => vec![
            Topic::Rollout(id),
            Topic::Rollouts,
            Topic::Services,
            Topic::Health,
        ],
        "incident" => vec![Topic::Incident(id), Topic::Incidents, Topic::Health],
        "report" => vec![Topic::Incident(id)],
        "silence" => vec![Topic::Incidents],
        "forge" => vec![Topic::MergeRequests],
        "token" => vec![Topic::Tokens],
        "release" => vec![Topic::Services],
        _ => Vec::new(),
    };
    topics.push(Topic::Timeline);
    topics
}

fn split(stream: &str) -> (&str, &str) {
    stream.split_once('/').unwrap_or((stream, ""))
}

impl AppBackend {
    pub(super) async fn told(&self, query: &TimelineQuery) -> Result<Vec<TimelineEntry>, Fault> {
        let wanted = rows(query.limit);
        let mut before = query
            .before
            .unwrap_or_else(|| self.world.journal.last_position() + 1);
        let (mut entries, mut looked) = (Vec::new(), 0);
        while entries.len() < wanted && looked < LOOKED_THROUGH_MAX {
            let page = self.world.journal.read_back(before, EVENTS_PER_READ).await;
            let page = page.map_err(unavailable)?;
            let Some(last) = page.iter().map(|event| event.position).min() else {
                break;
            };
            before = last;
            looked += page.len();
            for event in page.iter().filter(|event| !event.kind.ends_with(".notified")) {
                let entry = self.entry(event);
                if query.service.is_none() || entry.service == query.service {
                    entries.push(entry);
                }
            }
        }
        entries.truncate(wanted);
        Ok(entries)
    }

    pub(super) fn entry(&self, event: &StoredEvent) -> TimelineEntry {
        let (stream, id) = split(&event.stream);
        let (kind, link) = match stream {
            "run" if event.kind.ends_with("approved") || event.kind.ends_with("rejected") => {
                (TimelineKind::Approval, Some(format!("/runs/{id}")))
            }
            "run" => (TimelineKind::Pipeline, Some(format!("/runs/{id}"))),
            "rollout" if event.kind == "rollout.shifted" => {
                (TimelineKind::Traffic, Some(format!("/rollouts/{id}")))
            }
            "rollout" => (TimelineKind::Rollout, Some(format!("/rollouts/{id}"))),
            "incident" => (TimelineKind::Incident, Some(format!("/incidents/{id}"))),
            "report" => (TimelineKind::Learning, Some(format!("/incidents/{id}"))),
            "release" => (TimelineKind::Pipeline, Some(format!("/releases/{id}"))),
            "forge" => (TimelineKind::Code, None),
            _ => (TimelineKind::Other, None),
        };
        let machines = self.world.machines();
        let service = match stream {
            "run" => machines.runs.get(id).map(|run| run.plan.service.to_string()),
            "rollout" => machines
                .rollouts
                .get(id)
                .map(|rollout| rollout.plan.service.to_string()),
            "incident" | "report" => machines
                .incidents
                .get(id)
                .map(|found| found.plan.service.to_string()),
            "forge" => Some(id.to_owned()),
            _ => None,
        };
        let reason = reason_of(&event.body);
        let verb = event
            .kind
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .replace('_', " ");
        TimelineEntry {
            at: moment(event.at),
            kind,
            tone: tone(&event.kind, &event.body).to_owned(),
            text: format!("{id} {verb}").trim().to_owned(),
            detail: reason.unwrap_or_default(),
            actor: event.actor.0.clone(),
            service,
            link,
            position: Some(event.position),
        }
    }

    pub(super) async fn deliveries(&self, query: &NotificationQuery) -> Result<Vec<Delivery>, Fault> {
        let limit = u32::try_from(rows(query.limit)).unwrap_or(u32::MAX);
        let found = if query.dead == Some(true) {
            self.world.outbox.dead_letters(limit).await
        } else {
            self.world.outbox.deliveries(limit).await
        };
        let found = found.map_err(unavailable)?;
        Ok(found.into_iter().map(delivery).collect())
    }
}

fn delivery(found: trimtab_notify::Delivery) -> Delivery {
    use trimtab_notify::Status;
    let state = match found.status {
        Status::Waiting => DeliveryState::Pending,
        Status::Delivered => DeliveryState::Delivered,
        Status::Dead | Status::NoReceiver => DeliveryState::Dead,
    };
    let no_receiver = matches!(found.status, Status::NoReceiver);
    Delivery {
        id: found.id.to_string(),
        channel: found.message.channel.as_str().to_owned(),
        receiver: found.recipient,
        severity: Some(found.message.severity),
        title: found.message.title,
        state,
        attempts: found.attempts,
        last_error: found
            .error
            .or_else(|| no_receiver.then(|| "no receiver is configured for this channel".to_owned())),
        created_at: moment(found.created_at),
        delivered_at: (state == DeliveryState::Delivered)
            .then_some(found.ended_at.map(moment))
            .flatten(),
        next_attempt_at: (state == DeliveryState::Pending).then_some(moment(found.next_at)),
        link: found.message.link,
    }
}

/// The first reason, detail or comment anywhere in a body.
fn reason_of(body: &serde_json::Value) -> Option<String> {
    let fields = body.as_object()?;
    for name in ["reason", "detail", "comment", "what", "act", "title"] {
        if let Some(text) = fields.get(name).and_then(serde_json::Value::as_str) {
            return Some(text.to_owned());
        }
    }
    fields.values().find_map(reason_of)
}

fn tone(kind: &str, body: &serde_json::Value) -> &'static str {
    let text = body.to_string();
    let failed = ["\"Failed\"", "\"failed\"", "\"Regressed\"", "\"regressed\""]
        .iter()
        .any(|word| text.contains(word));
    if failed || kind.ends_with("rolled_back") || kind.ends_with("quarantined") {
        "bad"
    } else if kind == "incident.planned" {
        "warning"
    } else {
        "neutral"
    }
}
