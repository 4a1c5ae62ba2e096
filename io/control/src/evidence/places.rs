//! What is seen of places, rollout or not, and what changed around them.

use std::collections::BTreeMap;

use trimtab_detection::Scope;
use trimtab_detection::changes::ChangeEvent;
use trimtab_detection::learning::RecordedLine;
use trimtab_detection::steady::{Found, Objectives};
use trimtab_model::{ReleaseId, Timestamp, Weight};
use trimtab_telemetry::Batch;

use super::{Books, Evidence, Place};

/// Changes that are kept in mind.
const CHANGES_MAX: usize = 500;

impl Evidence {
    /// What users had until `at` was dealt with, and is no new trouble.
    pub fn forgive(&self, place: &Place, at: Timestamp) {
        if let Some(known) = self.lock().known.of(place) {
            known.forgive(at);
        }
    }

    /// Takes what instances and the host sent, as it was stored.
    pub fn take_signals(&self, batch: &Batch) {
        let mut books = self.lock();
        let Books { trials, known, .. } = &mut *books;
        for log in &batch.logs {
            let told = known.of_identity(&log.identity).and_then(|known| known.line(log));
            let Some((arm, rollout)) = told else { continue };
            if let Some(trial) = trials.get_mut(&rollout) {
                let weight = known
                    .get(&trial.subject.place)
                    .map_or(Weight::ZERO, |known| known.weight);
                trial.episode.push_line(RecordedLine {
                    at: Timestamp::from_nanos(log.at_nanos),
                    arm: Some(arm),
                    weight_basis_points: weight.basis_points(),
                    severity: log.level.severity_number(),
                    text: log.body.clone(),
                });
            }
        }
        let roots: BTreeMap<_, String> = batch
            .spans
            .iter()
            .filter(|span| span.kind == trimtab_telemetry::SpanKind::Server)
            .map(|span| (span.trace_id, span.name.clone()))
            .collect();
        for span in &batch.spans {
            let operation = roots
                .get(&span.trace_id)
                .map_or(span.name.as_str(), String::as_str);
            if let Some(known) = known.of_identity(&span.identity) {
                known.span(span, operation);
            }
        }
        known.samples(&batch.samples);
    }

    /// What a service promises in a place.
    pub fn promise(&self, place: &Place, objectives: Objectives) {
        self.lock().known.promise(place, objectives);
    }

    /// The levels of an instance that should live.
    pub fn instance(
        &self,
        place: &Place,
        at: Timestamp,
        instance: &str,
        cpu_percent: Option<f64>,
        rss_bytes: u64,
    ) {
        self.lock()
            .known
            .instance(place, at, instance, cpu_percent, rss_bytes);
    }

    /// Time goes on in a place where these instances should live, each with how often it was restarted.
    pub fn tick(&self, place: &Place, now: Timestamp, living: &BTreeMap<String, u32>) {
        if let Some(known) = self.lock().known.of(place) {
            known.steady.instances(now, living);
            known.steady.tick(now);
        }
    }

    /// What is amiss and odd in a place now.
    pub fn found(&self, place: &Place, now: Timestamp, release: Option<&ReleaseId>) -> Found {
        let books = self.lock();
        let Some(known) = books.known.get(place) else {
            return Found::default();
        };
        let scope = Scope {
            service: Some(place.0.clone()),
            environment: Some(place.1.clone()),
            release: release.cloned(),
        };
        let mut found = known.steady.found(now, &scope);
        // Lines say what is wrong, not that this release is at fault: nothing else is compared with.
        let unsuspected = Scope {
            release: None,
            ..scope
        };
        found.signs.extend(known.templates.signs(now, &unsuspected));
        found
    }

    /// Whether nothing is amiss in a place now.
    pub fn is_well(&self, place: &Place, now: Timestamp) -> bool {
        let books = self.lock();
        books.known.get(place).is_none_or(|known| {
            known.steady.is_well(now) && known.templates.signs(now, &Scope::default()).is_empty()
        })
    }

    /// Keeps a change in mind, as something that trouble may come from.
    pub fn note_change(&self, change: ChangeEvent) {
        let mut books = self.lock();
        if books.changes.len() >= CHANGES_MAX {
            books.changes.pop_front();
        }
        books.changes.push_back(change);
    }

    /// The latest changes.
    pub fn latest_changes(&self) -> Vec<ChangeEvent> {
        self.lock().changes.iter().cloned().collect()
    }

    /// Telemetry that was left out because a limit was reached.
    pub fn rejected(&self) -> u64 {
        self.lock().known.rejected()
    }

    /// Writes down what is known of each place.
    pub fn save_known(&self) -> std::io::Result<()> {
        let files = self.lock().known.files();
        for (path, bytes) in files {
            crate::files::replace(&path, &bytes)?;
        }
        Ok(())
    }
}
