//! The journal as people read it: the timeline, and the topics of what changed.

use std::collections::BTreeMap;

use tokio::sync::{broadcast, watch};
use trimtab_api::{Delivery, DeliveryState, Fault, NotificationQuery};
use trimtab_api::{TimelineEntry, TimelineKind, TimelineQuery, Topic};
use trimtab_journal::{Journal, StoredEvent};

use super::phases::passed;
use super::scores::{Scores, score_of};
use super::words::words;
use super::{AppBackend, EVENTS_PER_READ, moment, rows, unavailable};

/// Journal events looked through at most for one page of the timeline.
const LOOKED_THROUGH_MAX: usize = 10_000;
/// The event after which a weight is in force.
const SHIFTED: &str = "rollout.shifted";
/// Events that the common timeline leaves out: each machine's own page has them.
const QUIET: [&str; 7] = [
    ".settled",
    ".notified",
    ".timer_fired",
    "incident.causes_reported",
    "incident.postmortem_written",
    "incident.learned",
    "audit.act",
];
/// Events of an incident that tell of something done.
const ACTIONS: [&str; 5] = [
    "incident.protection_ended",
    "incident.restarted",
    "incident.rollback_ended",
    "incident.fix_applied",
    "incident.taken_over",
];

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
        "comment" => vec![
            Topic::Run(id.clone()),
            Topic::Rollout(id.clone()),
            Topic::Incident(id),
        ],
        "forge" => vec![Topic::MergeRequests],
        "token" => vec![Topic::Tokens],
        "flags" => vec![Topic::Flags(id)],
        "release" | "entrance" | "scale" => vec![Topic::Services],
        "group" => vec![Topic::Rollouts],
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
        let mut scores = Scores::default();
        while entries.len() < wanted && looked < LOOKED_THROUGH_MAX {
            let page = self.world.journal.read_back(before, EVENTS_PER_READ).await;
            let page = page.map_err(unavailable)?;
            let Some(last) = page.iter().map(|event| event.position).min() else {
                break;
            };
            before = last;
            looked += page.len();
            let shown = |event: &&StoredEvent| !QUIET.iter().any(|quiet| event.kind.ends_with(quiet));
            for event in page.iter().filter(shown) {
                let entry = self.entry(event, self.weight_after(event).await);
                if query.service.is_none() || entry.service == query.service {
                    scores.fold(&mut entries, entry, score_of(event));
                }
            }
        }
        entries.truncate(wanted);
        Ok(entries)
    }

    /// The timeline of one machine with the comments of people about it, newest first.
    pub(super) async fn timeline_of(
        &self,
        id: &str,
        events: Vec<StoredEvent>,
    ) -> Result<Vec<TimelineEntry>, Fault> {
        let comments = self.stream(&format!("comment/{id}")).await?;
        let weights = self.weights_after(id, &events);
        let mut entries: Vec<TimelineEntry> = events
            .iter()
            .map(|event| self.entry(event, weights.get(&event.sequence).copied()))
            .chain(comments.iter().map(|event| self.entry(event, None)))
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.position));
        Ok(entries)
    }

    /// The candidate's share after a shift of traffic; none for other events.
    async fn weight_after(&self, event: &StoredEvent) -> Option<f64> {
        if event.kind != SHIFTED {
            return None;
        }
        let events = self.stream(&event.stream).await.ok()?;
        let (_, id) = split(&event.stream);
        self.weights_after(id, &events).get(&event.sequence).copied()
    }

    fn weights_after(&self, id: &str, events: &[StoredEvent]) -> BTreeMap<u64, f64> {
        let Some(rollout) = self.world.machines().rollouts.get(id) else {
            return BTreeMap::new();
        };
        let passes = passed(&rollout, events);
        let shares = passes.iter().map(|pass| pass.state.traffic.weight.percent());
        events.iter().map(|event| event.sequence).zip(shares).collect()
    }

    pub(super) fn entry(&self, event: &StoredEvent, weight: Option<f64>) -> TimelineEntry {
        let (stream, id) = split(&event.stream);
        let (kind, link) = kind_and_link(stream, id, &event.kind);
        let words = words(event, weight);
        TimelineEntry {
            at: moment(event.at),
            kind,
            tone: words.tone.to_owned(),
            text: words.text,
            detail: words.detail,
            actor: event.actor.0.clone(),
            service: self.service_of(stream, id),
            link,
            position: Some(event.position),
        }
    }

    fn service_of(&self, stream: &str, id: &str) -> Option<String> {
        let machines = self.world.machines();
        match stream {
            "run" => machines.runs.get(id).map(|run| run.plan.service.to_string()),
            "rollout" => machines
                .rollouts
                .get(id)
                .map(|rollout| rollout.plan.service.to_string()),
            "incident" | "report" => machines
                .incidents
                .get(id)
                .map(|found| found.plan.service.to_string()),
            "comment" => ["run", "rollout", "incident"]
                .iter()
                .find_map(|kind| self.service_of(kind, id)),
            "forge" | "feedback" => Some(id.to_owned()),
            "release" => id.rsplit_once("-r").map(|(service, _)| service.to_owned()),
            "flags" | "entrance" | "scale" => Some(split(id).0.to_owned()),
            _ => None,
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

/// What an event is, and the page that shows more.
fn kind_and_link(stream: &str, id: &str, event: &str) -> (TimelineKind, Option<String>) {
    let page = |folder: &str| Some(format!("/{folder}/{id}"));
    match stream {
        "run" if event.ends_with("approved") || event.ends_with("rejected") => {
            (TimelineKind::Approval, page("runs"))
        }
        "run" => (TimelineKind::Pipeline, page("runs")),
        "rollout" if event == SHIFTED => (TimelineKind::Traffic, page("rollouts")),
        "rollout" => (TimelineKind::Rollout, page("rollouts")),
        "incident" if ACTIONS.contains(&event) => (TimelineKind::Action, page("incidents")),
        "incident" => (TimelineKind::Incident, page("incidents")),
        "report" => (TimelineKind::Learning, page("incidents")),
        "release" => (TimelineKind::Pipeline, page("releases")),
        "forge" => (TimelineKind::Code, Some("/pipelines".to_owned())),
        "token" | "silence" => (TimelineKind::Configuration, None),
        "group" => (TimelineKind::Rollout, Some("/releases".to_owned())),
        "entrance" => (TimelineKind::Traffic, Some("/services".to_owned())),
        "scale" => (TimelineKind::Configuration, Some("/services".to_owned())),
        "flags" => (TimelineKind::Configuration, Some("/flags".to_owned())),
        "comment" => {
            let folder = match id.split('-').next() {
                Some("run") => "runs",
                Some("rollout") => "rollouts",
                _ => "incidents",
            };
            (TimelineKind::Other, page(folder))
        }
        _ => (TimelineKind::Other, None),
    }
}
