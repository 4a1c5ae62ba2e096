//! Users' scores on the timeline: those that follow one another are one entry, or they would bury the rest.

use trimtab_api::TimelineEntry;
use trimtab_journal::StoredEvent;

/// The score that an event tells of; none for any other event.
pub(super) fn score_of(event: &StoredEvent) -> Option<f64> {
    if event.stream.starts_with("feedback/") {
        return event.body["score"].as_f64();
    }
    None
}

/// What the newest entry of a list has folded into it.
#[derive(Default)]
pub(super) struct Scores {
    users: u32,
    sum: f64,
}

impl Scores {
    /// Appends the next older entry, or folds it into the last one when both are scores for one service.
    pub(super) fn fold(
        &mut self,
        entries: &mut Vec<TimelineEntry>,
        entry: TimelineEntry,
        score: Option<f64>,
    ) {
        let Some(score) = score else {
            *self = Scores::default();
            entries.push(entry);
            return;
        };
        match entries.last_mut() {
            Some(last) if self.users > 0 && last.service == entry.service => {
                self.users += 1;
                self.sum += score;
                last.text = format!(
                    "{} users gave {:.1} of 5 on average",
                    self.users,
                    self.sum / f64::from(self.users)
                );
                // The next page goes on below the oldest.
                last.position = entry.position;
            }
            _ => {
                *self = Scores { users: 1, sum: score };
                entries.push(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimtab_api::{Moment, TimelineKind};

    fn entry(position: u64, service: &str, text: &str) -> TimelineEntry {
        TimelineEntry {
            at: Moment::from_millis(0),
            kind: TimelineKind::Other,
            tone: "info".to_owned(),
            text: text.to_owned(),
            detail: String::new(),
            actor: "dev".to_owned(),
            service: Some(service.to_owned()),
            link: None,
            position: Some(position),
        }
    }

    #[test]
    fn scores_in_a_row_are_one_entry() {
        let mut entries = Vec::new();
        let mut scores = Scores::default();
        for (position, service, score) in [
            (9, "shop", Some(5.0)),
            (8, "shop", Some(4.0)),
            (7, "shop", None),
            (6, "shop", Some(2.0)),
            (5, "mail", Some(3.0)),
            (4, "mail", Some(4.0)),
        ] {
            scores.fold(&mut entries, entry(position, service, "one"), score);
        }
        let told: Vec<_> = entries.iter().map(|e| (e.text.as_str(), e.position)).collect();
        assert_eq!(
            told,
            [
                ("2 users gave 4.5 of 5 on average", Some(8)),
                ("one", Some(7)),
                ("one", Some(6)),
                ("2 users gave 3.5 of 5 on average", Some(4)),
            ]
        );
    }
}
