//! What the live view shows.

use trimtab_api as api;
use trimtab_api::Moment;

use super::keys::{Press, Verb};
use crate::commands::print::{Tone, ago, clean, columns, figure, paint, short, word};

/// Widest bar of weights.
const BAR_WIDTH: usize = 40;
/// Entries of the timeline that are shown at most.
const ENTRIES_MAX: usize = 8;

/// What the view remembers between two looks.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) rollout: Option<api::Rollout>,
    pub(super) notice: Option<(Tone, String)>,
    asking: Option<Verb>,
}

impl Seen {
    pub(super) fn take(&mut self, rollout: api::Rollout) {
        self.rollout = Some(rollout);
    }

    /// A key; what it asks for, once a second key has confirmed it.
    pub(super) fn press(&mut self, key: char) -> Option<Press> {
        self.notice = None;
        if let Some(verb) = self.asking.take() {
            if matches!(key, 'y' | 'Y') {
                return Some(Press::Act(verb));
            }
            self.notice = Some((Tone::Dim, format!("{} was not asked for", verb.label())));
            return None;
        }
        if matches!(key, 'q' | 'Q' | '\x03' | '\x04') {
            return Some(Press::Quit);
        }
        let verb = Verb::ALL.into_iter().find(|verb| verb.key() == key)?;
        let allowed = self
            .rollout
            .as_ref()
            .is_some_and(|rollout| verb.allowed(rollout.summary.allowed));
        if allowed {
            self.asking = Some(verb);
        } else {
            self.notice = Some((Tone::Warn, format!("{} is not possible now", verb.label())));
        }
        None
    }
}

/// How it is shown.
pub(super) struct Screen {
    /// Rows and columns.
    pub(super) size: (usize, usize),
    pub(super) colour: bool,
    pub(super) now: Moment,
}

/// A line with its colour.
type Line = (Option<Tone>, String);

impl Screen {
    /// The view as lines that fit the terminal; keys and questions are always among them.
    pub(super) fn lines(&self, rollout: &api::Rollout, seen: &Seen) -> Vec<String> {
        let (rows, columns) = self.size;
        let mut lines = self.head(rollout);
        lines.extend(arms(rollout));
        lines.extend(verdict(rollout));
        lines.extend(phases(rollout));
        let foot = foot(rollout, seen);
        let room = rows.saturating_sub(lines.len() + foot.len() + 2).min(ENTRIES_MAX);
        if room > 0 && !rollout.timeline.is_empty() {
            lines.push((None, String::new()));
            lines.extend(rollout.timeline.iter().take(room).map(|entry| self.entry(entry)));
        }
        lines.truncate(rows.saturating_sub(foot.len() + 1));
        lines.push((None, String::new()));
        lines.extend(foot);
        lines
            .into_iter()
            .take(rows)
            .map(|(tone, text)| {
                let text = clean(&text).replace(['\n', '\t'], " ");
                let text: String = text.trim_end().chars().take(columns).collect();
                match tone {
                    None => text,
                    Some(tone) => paint(self.colour, tone, &text),
                }
            })
            .collect()
    }

    fn head(&self, rollout: &api::Rollout) -> Vec<Line> {
        let summary = &rollout.summary;
        let tone = match summary.state {
            api::RolloutState::Deployed => Tone::Good,
            api::RolloutState::RolledBack | api::RolloutState::Failed | api::RolloutState::RollingBack => {
                Tone::Bad
            }
            api::RolloutState::Protected | api::RolloutState::Paused => Tone::Warn,
            _ => Tone::Bold,
        };
        let baseline = summary.baseline.as_deref().unwrap_or("nothing");
        let share = summary.candidate_percent.clamp(0.0, 100.0);
        let filled = (share / 100.0 * BAR_WIDTH as f64).round() as usize;
        let mut lines = vec![
            (
                Some(Tone::Bold),
                format!(
                    "{}  {} to {}, {}",
                    summary.id,
                    summary.service,
                    summary.environment,
                    summary.strategy.as_str()
                ),
            ),
            (Some(tone), summary.state_text.clone()),
            (
                None,
                format!(
                    "{baseline} {:.1} %  [{}{}]  {:.1} % {}",
                    100.0 - share,
                    "·".repeat(BAR_WIDTH.saturating_sub(filled)),
                    "█".repeat(filled),
                    share,
                    summary.candidate
                ),
            ),
        ];
        if let Some(flag) = &summary.flag {
            lines.push((None, format!("flag: {}", flag.words())));
        }
        if !summary.next_step.is_empty() {
            let when = summary
                .next_at
                .map(|at| format!(" ({})", ago(self.now, at)))
                .unwrap_or_default();
            lines.push((None, format!("next: {}{when}", summary.next_step)));
        }
        lines
    }

    fn entry(&self, entry: &api::TimelineEntry) -> Line {
        let tone = match entry.tone.as_str() {
            "bad" | "critical" => Tone::Bad,
            "warning" => Tone::Warn,
            "good" => Tone::Good,
            _ => Tone::Dim,
        };
        let text = format!(
            "{:>10}  {}  {}",
            ago(self.now, entry.at),
            entry.text,
            entry.detail
        );
        (Some(tone), text)
    }
}

fn table(names: &[&str], rows: &[Vec<String>]) -> Vec<Line> {
    let (head, body) = columns(names, rows);
    let body = body.into_iter().map(|row| (None, row));
    [(None, String::new()), (Some(Tone::Dim), head)]
        .into_iter()
        .chain(body)
        .collect()
}

fn arms(rollout: &api::Rollout) -> Vec<Line> {
    let row = |name: &str, arm: &api::ArmFigures| {
        vec![
            name.to_owned(),
            arm.release.clone(),
            figure(arm.requests_per_second, ""),
            arm.requests.to_string(),
            arm.errors.to_string(),
            figure(arm.error_percent, " %"),
            figure(arm.p50_ms, " ms"),
            figure(arm.p95_ms, " ms"),
            figure(arm.p99_ms, " ms"),
        ]
    };
    let arms = [
        ("baseline", &rollout.baseline_figures),
        ("candidate", &rollout.candidate_figures),
    ];
    let rows: Vec<_> = arms
        .into_iter()
        .filter_map(|(name, arm)| arm.as_ref().map(|arm| row(name, arm)))
        .collect();
    if rows.is_empty() {
        return vec![];
    }
    let names = [
        "ARM", "RELEASE", "PER S", "REQUESTS", "ERRORS", "SHARE", "P50", "P95", "P99",
    ];
    table(&names, &rows)
}

fn verdict(rollout: &api::Rollout) -> Vec<Line> {
    let Some(verdict) = &rollout.verdict else {
        let mut lines = vec![
            (None, String::new()),
            (Some(Tone::Dim), "verdict: none yet".to_owned()),
        ];
        lines.extend(rollout.forecast.as_ref().into_iter().flat_map(before));
        return lines;
    };
    let tone = match verdict.decision {
        api::VerdictDecision::Healthy => Tone::Good,
        api::VerdictDecision::Regressed => Tone::Bad,
        _ => Tone::Bold,
    };
    let said = format!("verdict: {}: {}", word(&verdict.decision), verdict.reason);
    let mut lines = vec![(None, String::new()), (Some(tone), said)];
    let rows: Vec<_> = verdict
        .evidence
        .iter()
        .map(|one| {
            let unit = if one.unit.is_empty() {
                String::new()
            } else {
                format!(" {}", one.unit)
            };
            let interval = one.interval.map_or_else(String::new, |(low, high)| {
                format!("{} to {}{unit}", short(low), short(high))
            });
            vec![
                one.metric.clone(),
                figure(one.baseline, &unit),
                figure(one.candidate, &unit),
                interval,
                format!("{} of {}", odds(one.e_value), figure(one.threshold, "")),
                word(&one.decision),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let names = [
            "METRIC",
            "BASELINE",
            "CANDIDATE",
            "DIFFERENCE",
            "EVIDENCE",
            "SAYS",
        ];
        lines.extend(table(&names, &rows).into_iter().skip(1));
    }
    lines.extend(verdict.evidence.iter().flat_map(details));
    lines.push((
        Some(Tone::Dim),
        format!(
            "alpha {} (chance of a false rollback), left {}; worse by more than {} % counts",
            verdict.alpha,
            short(verdict.alpha_left),
            short(verdict.tolerance_percent)
        ),
    ));
    if let Some(forecast) = &verdict.forecast {
        lines.push((None, format!("forecast: {}", forecast.text)));
    }
    lines
}

/// What the steps are expected to tell.
fn before(told: &api::RolloutForecast) -> Vec<Line> {
    let step = |step: &api::StepForecast| (None, format!("  {}%: {}", short(step.percent), step.text));
    [(None, format!("forecast: {}", told.text))]
        .into_iter()
        .chain(told.steps.iter().map(step))
        .collect()
}

/// What was counted for one metric, and the query that was asked.
fn details(one: &api::Evidence) -> Vec<Line> {
    let texts = one.counts.iter().chain(&one.query);
    texts
        .map(|text| (Some(Tone::Dim), format!("  {}: {text}", one.metric)))
        .collect()
}

/// Evidence of any size: of what is beyond all doubt the power of ten says enough.
fn odds(value: Option<f64>) -> String {
    match value {
        Some(value) if value >= 1e6 => format!("> 10^{}", value.log10().floor()),
        other => figure(other, ""),
    }
}

fn phases(rollout: &api::Rollout) -> Vec<Line> {
    if rollout.phases.is_empty() {
        return vec![];
    }
    let marks = rollout.phases.iter().map(|phase| {
        let mark = match phase.state {
            api::StageState::Passed => "✔",
            api::StageState::Failed | api::StageState::RolledBack => "✘",
            api::StageState::Running | api::StageState::Waiting => "▸",
            api::StageState::Skipped | api::StageState::Cancelled => "–",
            api::StageState::Pending => "○",
        };
        format!("{mark} {}", phase.name.replace('_', " "))
    });
    vec![
        (None, String::new()),
        (None, marks.collect::<Vec<_>>().join("  ")),
    ]
}

fn foot(rollout: &api::Rollout, seen: &Seen) -> Vec<Line> {
    let mut lines: Vec<Line> = seen
        .notice
        .iter()
        .map(|(tone, text)| (Some(*tone), text.clone()))
        .collect();
    if let Some(verb) = seen.asking {
        let question = format!(
            "{} {}? y for yes, any other key for no",
            verb.label(),
            rollout.summary.id
        );
        lines.push((Some(Tone::Warn), question));
        return lines;
    }
    let mut keys: Vec<String> = Verb::ALL
        .into_iter()
        .filter(|verb| verb.allowed(rollout.summary.allowed))
        .map(|verb| format!("{} {}", verb.key(), verb.label()))
        .collect();
    keys.push("q quit".to_owned());
    lines.push((Some(Tone::Dim), format!("keys: {}", keys.join("   "))));
    lines
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn rollout() -> api::Rollout {
        serde_json::from_value(serde_json::json!({
            "id": "rollout-4", "service": "blocks", "environment": "production", "strategy": "blue_green",
            "baseline": "blocks-r1", "candidate": "blocks-r2", "state": "watching",
            "state_text": "watched until 12:00:30", "candidate_percent": 95.0, "next_step": "the watch ends",
            "next_at": "2026-01-31T12:00:30Z", "created_at": "2026-01-31T11:59:00Z", "finished_at": null,
            "allowed": {"promote": true, "abort": true, "pause": true, "resume": false, "roll_back": true},
            "baseline_figures": null,
            "candidate_figures": {"release": "blocks-r2", "requests": 1200, "errors": 3, "error_percent": 0.25,
                "requests_per_second": 59.4, "p50_ms": 1.2, "p95_ms": 8.0, "p99_ms": null, "instances": 1},
            "verdict": {"decision": "collecting", "reason": "nothing points to worse", "alpha": 0.01,
                "alpha_left": 0.008, "tolerance_percent": 25.0, "as_of": "2026-01-31T12:00:00Z",
                "evidence": [{"metric": "errors", "decision": "collecting", "e_value": 1.5, "threshold": 100.0,
                    "baseline": 0.1, "candidate": 0.25, "unit": "%", "effect": 0.15, "interval": [-0.1, 0.4],
                    "units_needed": 300}],
                "forecast": {"units": 300, "seconds": 5.0, "text": "about 300 more requests decide"}},
            "timeline": [{"at": "2026-01-31T11:59:50Z", "kind": "traffic", "tone": "info",
                "text": "95 % of traffic to blocks-r2", "detail": "", "actor": "trimtab"}]
        }))
        .unwrap()
    }

    fn screen(rows: usize, columns: usize) -> Screen {
        Screen {
            size: (rows, columns),
            colour: false,
            now: "2026-01-31T12:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn the_view_shows_weights_figures_evidence_forecast_and_keys() {
        let text = screen(40, 120).lines(&rollout(), &Seen::default()).join("\n");
        let expected = "\
rollout-4  blocks to production, blue-green
watched until 12:00:30
blocks-r1 5.0 %  [··██████████████████████████████████████]  95.0 % blocks-r2
next: the watch ends (in 30 s)

  ARM        RELEASE    PER S  REQUESTS  ERRORS  SHARE   P50      P95      P99
  candidate  blocks-r2  59.4   1200      3       0.25 %  1.20 ms  8.00 ms  –

verdict: collecting: nothing points to worse
  METRIC  BASELINE  CANDIDATE  DIFFERENCE       EVIDENCE     SAYS
  errors  0.10 %    0.25 %     -0.10 to 0.40 %  1.50 of 100  collecting
alpha 0.01 (chance of a false rollback), left 0.01; worse by more than 25.0 % counts
forecast: about 300 more requests decide

  10 s ago  95 % of traffic to blocks-r2

keys: p promote   h hold   a abort   b roll back   q quit";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_small_terminal_keeps_the_keys_and_no_line_is_too_wide() {
        for (rows, columns) in [(6, 30), (3, 10), (1, 1)] {
            let lines = screen(rows, columns).lines(&rollout(), &Seen::default());
            assert!(lines.len() <= rows, "{rows}: {lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns));
        }
        let lines = screen(6, 30).lines(&rollout(), &Seen::default());
        assert!(lines.last().unwrap().starts_with("keys:"), "{lines:?}");
    }

    #[test]
    fn what_moves_traffic_is_asked_twice_and_only_what_is_possible_is_asked() {
        let mut seen = Seen::default();
        seen.take(rollout());
        assert_eq!(seen.press('p'), None);
        let asked = screen(40, 120).lines(&rollout(), &seen);
        assert_eq!(
            asked.last().unwrap(),
            "promote rollout-4? y for yes, any other key for no"
        );
        assert_eq!(seen.press('y'), Some(Press::Act(Verb::Promote)));
        assert_eq!(seen.press('b'), None);
        assert_eq!(seen.press('n'), None);
        assert_eq!(seen.press('y'), None, "the question was answered");
        assert_eq!(seen.press('r'), None);
        assert_eq!(seen.notice.as_ref().unwrap().1, "resume is not possible now");
        assert_eq!(seen.press('q'), Some(Press::Quit));
    }
}
