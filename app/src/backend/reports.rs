//! What was written down about an incident: causes, proposals, what was learnt.

use serde_json::Value;
use trimtab_api::{Cause, LearningChange, Proposal};
use trimtab_detection::causes::{CauseKind, CauseReport, Figure};

/// Changes of the models that are shown.
const CHANGES_MAX: usize = 30;

/// The ranked causes; the lines of the text when the structured report cannot be read.
pub(super) fn causes(body: &Value, release: Option<&str>, service: &str) -> Vec<Cause> {
    let report = body.get("report").cloned().unwrap_or_default();
    let Ok(report) = serde_json::from_value::<CauseReport>(report) else {
        return lines(body);
    };
    report
        .causes
        .into_iter()
        .map(|cause| Cause {
            rank: u32::try_from(cause.rank).unwrap_or(u32::MAX),
            kind: cause.kind.as_str().to_owned(),
            link: link(cause.kind, &cause.subject, release, service),
            subject: cause.subject,
            text: cause.text,
            figure: figure(&cause.figures),
            confidence: Some(cause.score),
        })
        .collect()
}

fn lines(body: &Value) -> Vec<Cause> {
    let text = body["text"].as_str().unwrap_or_default();
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

/// The page that shows more of a cause.
fn link(kind: CauseKind, subject: &str, release: Option<&str>, service: &str) -> Option<String> {
    let release = release?;
    let encoded = |text: &str| {
        let bytes = text.bytes().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        });
        bytes.collect::<String>()
    };
    let here = format!("service={}&release={}", encoded(service), encoded(release));
    match kind {
        CauseKind::Release => Some(format!("/releases/{}", encoded(subject))),
        CauseKind::LogTemplate => {
            // The longest piece without a variable is what every line of the template contains.
            let piece = subject
                .split("<*>")
                .max_by_key(|piece| piece.len())
                .unwrap_or_default();
            Some(format!("/explore/logs?{here}&text={}", encoded(piece.trim())))
        }
        CauseKind::Span => {
            let operation = subject.rsplit(" → ").next().unwrap_or(subject);
            Some(format!("/explore/traces?{here}&operation={}", encoded(operation)))
        }
        CauseKind::Endpoint => Some(format!("/explore/traces?{here}&errors=true")),
        CauseKind::Instance => Some("/services".to_owned()),
        CauseKind::Change | CauseKind::Series => None,
    }
}

/// `34 % against 0 %`: what was seen against what was to be expected.
fn figure(figures: &[Figure]) -> String {
    let named = |names: [&str; 2]| {
        figures
            .iter()
            .find(|figure| names.contains(&figure.name.as_str()))
    };
    let shown = |figure: &Figure| match figure.unit.as_str() {
        "share" => format!("{} %", rounded(figure.value * 100.0)),
        unit => format!("{} {unit}", rounded(figure.value)).trim_end().to_owned(),
    };
    match (named(["candidate", "observed"]), named(["baseline", "expected"])) {
        (Some(seen), Some(expected)) => format!("{} against {}", shown(seen), shown(expected)),
        (Some(seen), None) => shown(seen),
        (None, _) => figures.first().map(shown).unwrap_or_default(),
    }
}

/// Three significant digits.
fn rounded(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Proposed fixes: those written down for people first, then those that follow from the causes.
pub(super) fn proposals(written: Option<&Value>, causes: Option<&Value>) -> Vec<Proposal> {
    let items = written.and_then(|body| body.get("items")?.as_array());
    let mut all: Vec<Proposal> = items.into_iter().flatten().map(proposal).collect();
    let from_causes = causes.and_then(|body| body.get("report")?.get("proposals")?.as_array());
    for item in from_causes.into_iter().flatten() {
        let found = proposal(item);
        if !all.iter().any(|known| known.text == found.text) {
            all.push(found);
        }
    }
    all
}

fn proposal(item: &Value) -> Proposal {
    let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
    match item {
        Value::String(text) => Proposal {
            text: text.clone(),
            reason: String::new(),
            command: None,
        },
        item => Proposal {
            text: ["title", "what", "text"]
                .into_iter()
                .map(text)
                .find(|text| !text.is_empty())
                .unwrap_or_default(),
            reason: [text("why"), text("reason")].concat(),
            command: item["command"]
                .as_str()
                .filter(|command| !command.is_empty())
                .map(str::to_owned),
        },
    }
}

/// What was learnt, with the figures of the replay before and after.
pub(super) fn learning(body: &Value) -> LearningChange {
    let accepted = body["outcome"].get("accepted");
    let outcome = accepted.or_else(|| body["outcome"].get("refused"));
    let outcome = outcome.cloned().unwrap_or_default();
    let (before, after) = (&outcome["before"], &outcome["after"]);
    let changes = body["changes"].as_array();
    let changed = |change: &Value| {
        let number = |name: &str| change[name].as_f64().map(rounded).unwrap_or_default();
        (
            change["what"].as_str().unwrap_or_default().to_owned(),
            number("before"),
            number("after"),
        )
    };
    let text = ["gain", "reason"]
        .into_iter()
        .find_map(|name| outcome[name].as_str());
    LearningChange {
        accepted: accepted.is_some(),
        text: text.unwrap_or_default().to_owned(),
        changes: changes
            .into_iter()
            .flatten()
            .take(CHANGES_MAX)
            .map(changed)
            .collect(),
        found_before: before["detected"].as_u64(),
        found_after: after["detected"].as_u64(),
        episodes: after["incidents"].as_u64(),
        delay_before_ms: before["delay_ms_mean"].as_f64(),
        delay_after_ms: after["delay_ms_mean"].as_f64(),
        false_alarms_before: outcome["false_alarms"][0].as_u64(),
        false_alarms_after: outcome["false_alarms"][1].as_u64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn causes_carry_their_number_and_a_way_to_see_more() {
        let body = json!({"text": "x", "report": {
        "summary": "s", "class": "bad_release", "confidence": 0.98, "reasons": [], "proposals": ["profile it"],
        "causes": [
            {"rank": 1, "kind": "release", "subject": "blocks-r2", "score": 1.0, "text": "it fails",
             "figures": [{"name": "candidate", "value": 0.3384, "unit": "share"}, {"name": "baseline", "value": 0.0, "unit": "share"}]},
            {"rank": 2, "kind": "log_template", "subject": "sync failed: <*> at <*>", "score": 0.9, "text": "new",
             "figures": [{"name": "observed", "value": 43.0, "unit": "lines"}]},
            {"rank": 3, "kind": "span", "subject": "GET /search → blocks.search", "score": 0.9, "text": "slow",
             "figures": [{"name": "observed", "value": 3342.336, "unit": "ms"}, {"name": "expected", "value": 0.688, "unit": "ms"}]},
        ]}});
        let found = causes(&body, Some("blocks-r2"), "blocks");
        let told: Vec<(&str, &str, Option<&str>)> = found
            .iter()
            .map(|cause| (cause.kind.as_str(), cause.figure.as_str(), cause.link.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("release", "33.8 % against 0 %", Some("/releases/blocks-r2")),
                (
                    "log template",
                    "43 lines",
                    Some("/explore/logs?service=blocks&release=blocks-r2&text=sync%20failed%3A")
                ),
                (
                    "span",
                    "3342 ms against 0.688 ms",
                    Some("/explore/traces?service=blocks&release=blocks-r2&operation=blocks.search")
                ),
            ]
        );
        let proposed = proposals(
            Some(
                &json!({"items": [{"title": "Return to blocks-r1", "why": "It served.", "command": "trimtab rollback blocks"}]}),
            ),
            Some(&body),
        );
        assert_eq!(proposed.len(), 2);
        assert_eq!(proposed[0].command.as_deref(), Some("trimtab rollback blocks"));
        assert_eq!(proposed[1].text, "profile it");
    }

    #[test]
    fn a_report_of_an_unknown_form_is_shown_by_its_lines() {
        let found = causes(&json!({"text": "first\n\n second"}), None, "blocks");
        assert_eq!(
            (found.len(), found[1].text.as_str(), found[1].rank),
            (2, "second", 2)
        );
        assert!(causes(&json!({}), None, "blocks").is_empty());
    }

    #[test]
    fn learning_tells_before_and_after_or_why_not() {
        let replay =
            |found: u64, delay: f64| json!({"detected": found, "incidents": 6, "delay_ms_mean": delay});
        let accepted = learning(&json!({
            "changes": [{"what": "share of alpha on errors", "before": 0.55, "after": 0.684919}],
            "outcome": {"accepted": {"gain": "sooner", "before": replay(4, 900.0), "after": replay(6, 700.0), "false_alarms": [0, 0]}},
        }));
        assert!(accepted.accepted);
        assert_eq!(
            (
                accepted.text.as_str(),
                accepted.found_before,
                accepted.found_after
            ),
            ("sooner", Some(4), Some(6))
        );
        assert_eq!(
            (
                accepted.episodes,
                accepted.delay_after_ms,
                accepted.false_alarms_after
            ),
            (Some(6), Some(700.0), Some(0))
        );
        assert_eq!(
            accepted.changes,
            [(
                "share of alpha on errors".to_owned(),
                "0.55".to_owned(),
                "0.685".to_owned()
            )]
        );
        let refused = learning(
            &json!({"changes": [], "outcome": {"refused": {"reason": "more false alarms", "before": replay(4, 1.0), "after": replay(4, 1.0)}}}),
        );
        assert_eq!(
            (refused.accepted, refused.text.as_str()),
            (false, "more false alarms")
        );
        assert_eq!(refused.false_alarms_before, None);
    }
}
