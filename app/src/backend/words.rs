//! Events of the journal in words.

use serde_json::Value;
use trimtab_journal::StoredEvent;

/// An event as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// `info`, `good`, `warning` or `critical`.
    pub(super) tone: &'static str,
    pub(super) text: String,
    pub(super) detail: String,
}

/// The words of an event; `weight` is the candidate's share in per cent after it, where it is known.
pub(super) fn words(event: &StoredEvent, weight: Option<f64>) -> Words {
    let (stream, id) = event.stream.split_once('/').unwrap_or((&event.stream, ""));
    let body = &event.body;
    let well = !failed(body);
    let (tone, text) = match stream {
        "run" => run(event, well),
        "rollout" => rollout(event, well, weight),
        "incident" | "report" => incident(event, well),
        "flags" => flags(event),
        "group" => group(event),
        _ => rest(event, stream),
    };
    let detail = if event.kind.ends_with(".planned") {
        text_of(body, "title").to_owned()
    } else {
        reason_of(body, 0).unwrap_or_default()
    };
    let text = match stream {
        "run" | "rollout" | "incident" | "report" | "comment" | "flags" | "group" => format!("{id}: {text}"),
        "release" | "token" | "silence" => format!("{id} {text}"),
        "entrance" | "scale" => format!("{}: {text}", id.replace('/', " in ")),
        _ => text,
    };
    Words {
        tone,
        detail: if text.contains(&detail) {
            String::new()
        } else {
            detail
        },
        text,
    }
}

/// Flags that one line names.
const FLAGS_NAMED_MAX: usize = 5;

fn flags(event: &StoredEvent) -> Told {
    let entries = event.body.get("entries").and_then(Value::as_array);
    let keys: Vec<&str> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("key").and_then(Value::as_str))
        .collect();
    let named = keys
        .iter()
        .take(FLAGS_NAMED_MAX)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    let more = if keys.len() > FLAGS_NAMED_MAX {
        " and more"
    } else {
        ""
    };
    let verb = if event.body.get("undoes").is_some_and(Value::is_number) {
        "put back"
    } else {
        "changed"
    };
    info(format!("{verb} {named}{more} (version {})", event.sequence))
}

type Told = (&'static str, String);

fn either(well: bool, good: &str, bad: &str) -> Told {
    if well {
        ("good", good.to_owned())
    } else {
        ("warning", bad.to_owned())
    }
}

fn info(text: impl Into<String>) -> Told {
    ("info", text.into())
}

fn last(kind: &str) -> &str {
    kind.split_once('.').map_or(kind, |(_, last)| last)
}

fn run(event: &StoredEvent, well: bool) -> Told {
    let body = &event.body;
    match last(&event.kind) {
        "planned" => info(format!("run of {} asked for", short(text_of(body, "commit")))),
        "job_finished" => {
            let stage = text_of(body, "stage").replace('_', " ");
            let lost = outcome(body) == "lost";
            if well && lost {
                ("warning", format!("{stage} was interrupted and runs again"))
            } else {
                either(well, &format!("{stage} passed"), &format!("{stage} failed"))
            }
        }
        "artifact_recorded" => (
            "good",
            format!("{} is built and stored", text_of(body, "release")),
        ),
        "rollout_ended" => {
            let place = text_of(body, "environment");
            match outcome(body) {
                "deployed" => ("good", format!("deployed to {place}")),
                "rolled_back" => ("critical", format!("rolled back in {place}")),
                _ => ("critical", format!("not deployed to {place}")),
            }
        }
        "environment_rolled_back" => {
            let place = text_of(body, "environment");
            either(
                well,
                &format!("taken off {place} again"),
                &format!("could not be taken off {place}"),
            )
        }
        "approved" => ("good", format!("approved by {}", text_of(body, "by"))),
        "rejected" => ("warning", format!("rejected by {}", text_of(body, "by"))),
        "cancelled" => ("warning", format!("cancelled by {}", text_of(body, "by"))),
        other => common(body, other),
    }
}

fn rollout(event: &StoredEvent, well: bool, weight: Option<f64>) -> Told {
    let body = &event.body;
    let release = text_of(body, "release");
    let by = text_of(body, "by");
    match last(&event.kind) {
        "planned" => info(format!(
            "{} is to serve {}",
            text_of(body, "candidate"),
            text_of(body, "environment")
        )),
        "started" => either(
            well,
            &format!("{release} runs"),
            &format!("{release} did not start"),
        ),
        "tested" => either(well, "tests off traffic passed", "tests off traffic failed"),
        "shifted" => {
            let moved = match weight {
                Some(weight) => format!("{weight} % of traffic on the candidate"),
                None => "traffic moved".to_owned(),
            };
            if well {
                info(moved)
            } else {
                ("warning", "traffic could not be moved".to_owned())
            }
        }
        "health_checked" => either(well, "the candidate is healthy", "the candidate is not healthy"),
        "observed" => match body["verdict"]["is"].as_str() {
            Some("healthy") => ("good", "the verdict is healthy".to_owned()),
            Some("regressed") => ("critical", "the verdict is regressed".to_owned()),
            _ => match body["verdict"]["lack"].as_str() {
                Some("no_traffic") => ("warning", "no verdict: no traffic".to_owned()),
                Some("missing_metric") => ("warning", "no verdict: a metric is missing".to_owned()),
                Some("failed_query") => ("warning", "no verdict: a query failed".to_owned()),
                _ => info("no verdict yet"),
            },
        },
        "drained" => match body["in_flight"].as_u64() {
            Some(0) | None => info(format!("{release} has no request left in flight")),
            Some(left) => (
                "warning",
                format!("{release} was cut off with {left} requests in flight"),
            ),
        },
        "stopped" => either(
            well,
            &format!("{release} is stopped"),
            &format!("{release} did not stop"),
        ),
        "quarantined" => ("warning", "the candidate is quarantined".to_owned()),
        "paused" => ("warning", format!("paused by {by}")),
        "resumed" => info(format!("resumed by {by}")),
        "promoted" => ("good", format!("promoted by {by}")),
        "aborted" => ("warning", format!("aborted by {by}")),
        "rolled_back" => ("critical", format!("rolled back by {by}")),
        "protected" => (
            "critical",
            format!("traffic leaves the candidate for {}", text_of(body, "incident")),
        ),
        "condemned" => ("critical", format!("condemned by {}", text_of(body, "incident"))),
        "cleared" => ("good", format!("cleared by {}", text_of(body, "incident"))),
        "superseded" => info(format!("superseded by {by}")),
        other => steered(body, well, other),
    }
}

fn group(event: &StoredEvent) -> Told {
    let body = &event.body;
    let member = body["member"].as_u64().unwrap_or(0) + 1;
    match last(&event.kind) {
        "planned" => info("several services are to be released together"),
        "member_started" => info(format!("{} is under way", text_of(body, "rollout"))),
        "member_waits" => info(format!(
            "service {member} is at barrier {}",
            body["barrier"].as_u64().unwrap_or(0) + 1
        )),
        "member_turned" => ("critical", format!("service {member} turns back: all go back")),
        "member_ended" => info(format!("service {member} is over")),
        "aborted" => ("warning", format!("taken back by {}", text_of(body, "by"))),
        other => common(body, other),
    }
}

fn steered(body: &Value, well: bool, last: &str) -> Told {
    let by = text_of(body, "by");
    match last {
        "approved" => ("good", format!("approved by {by}")),
        "restarted" => ("warning", format!("begun anew by {by}")),
        "retried" => info(format!("tried again by {by}")),
        "hook_ran" => {
            let hook = body["hook"]["at"].as_str().unwrap_or_default();
            let said = body["said"].as_str().or(body["outcome"]["reason"].as_str());
            let said = said.and_then(|said| said.lines().next());
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            either(
                well,
                &format!("the job `{hook}` passed{said}"),
                &format!("the job `{hook}` failed{said}"),
            )
        }
        "recalled" => ("warning", format!("recalled by {}", text_of(body, "group"))),
        other => common(body, other),
    }
}

fn incident(event: &StoredEvent, well: bool) -> Told {
    let body = &event.body;
    let by = text_of(body, "by");
    match last(&event.kind) {
        "planned" => (
            "critical",
            format!("{} incident opened", text_of(body, "severity")),
        ),
        "protection_ended" => either(
            well,
            "users are off the suspect",
            "users could not be taken off the suspect",
        ),
        "health_checked" => either(well, "the health check passed", "the health check failed"),
        "restarted" => either(well, "restarted", "the restart failed"),
        "rollback_ended" => either(well, "rolled back", "the roll-back failed"),
        "metrics_verified" => either(well, "the metrics are well again", "the metrics are not well"),
        "fixes_proposed" => info("fixes are proposed"),
        "metrics_cleared" => ("good", "the metrics are back to normal".to_owned()),
        "causes_reported" => info("the causes are reported"),
        "postmortem_written" => info("the postmortem is written"),
        "learned" => info("the models have learnt"),
        "seen" => info("seen again"),
        "escalated" => ("critical", format!("grew to {}", text_of(body, "severity"))),
        "acknowledged" => info(format!("acknowledged by {by}")),
        "taken_over" => (
            "warning",
            format!("taken over by {by}: nothing is done by itself any more"),
        ),
        "fix_applied" => info(format!("{by} says that a fix is in")),
        "resolved" => ("good", format!("resolved by {by}")),
        "causes" => info("the report on the causes is there"),
        "postmortem" => info("the postmortem is there"),
        "proposals" => info("proposals are there"),
        "learning" => info("what was learnt is there"),
        other => common(body, other),
    }
}

fn common(body: &Value, last: &str) -> Told {
    match last {
        "notified" => info(format!(
            "the team was told: {}",
            text_of(body, "what").replace('_', " ")
        )),
        "timer_fired" => {
            let name = &body["name"];
            let name = name.as_str().or_else(|| name["is"].as_str()).unwrap_or("a limit");
            info(format!("the time for {} is over", name.replace('_', " ")))
        }
        other => info(other.replace('_', " ")),
    }
}

fn rest(event: &StoredEvent, stream: &str) -> Told {
    let body = &event.body;
    match (stream, last(&event.kind)) {
        ("release", "recorded") => info("is recorded"),
        ("release", "quarantined") => ("warning", "is quarantined".to_owned()),
        ("release", _) => info("is out of quarantine"),
        ("forge", "push") => info(format!(
            "{} pushed to {}",
            short(text_of(body, "commit")),
            text_of(body, "ref").trim_start_matches("refs/heads/")
        )),
        ("forge", "merge_request") => info(format!(
            "merge request {} {}",
            text_of(body, "id"),
            match text_of(body, "state") {
                "open" => "opened",
                other => other,
            }
        )),
        ("forge", "review") => info(format!(
            "merge request {}: {}",
            text_of(body, "merge_request"),
            text_of(body, "verdict").replace('_', " ")
        )),
        ("token", "created") => info(format!("is made for {}", text_of(body, "name"))),
        ("token", _) => ("warning", "is revoked".to_owned()),
        ("entrance", "held") => ("warning", "requests are held".to_owned()),
        ("entrance", "closed") => ("warning", "is closed to users".to_owned()),
        ("entrance", _) => info("is open to users"),
        ("scale", "set") => info(format!("instances wanted: {}", body["said"])),
        ("scale", _) => info("as many instances as its project file says"),
        ("silence", "begun") => ("warning", "holds notifications back".to_owned()),
        ("silence", _) => info("is over"),
        ("comment", _) => info(format!(
            "comment on {}",
            text_of(body, "command").replace('_', " ")
        )),
        ("feedback", _) => info(format!("a user gave {} of 5", body["score"])),
        ("audit", _) => info(text_of(body, "act")),
        _ => info(event.kind.replace(['.', '_'], " ")),
    }
}

fn text_of<'b>(body: &'b Value, name: &str) -> &'b str {
    body[name].as_str().unwrap_or_default()
}

fn outcome(body: &Value) -> &str {
    body["outcome"]["is"].as_str().unwrap_or_default()
}

fn failed(body: &Value) -> bool {
    matches!(outcome(body), "failed" | "rolled_back")
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// The first reason, detail or comment in a body, at most three levels down.
fn reason_of(body: &Value, depth: u32) -> Option<String> {
    let fields = body.as_object()?;
    for name in ["reason", "detail", "comment", "title"] {
        if let Some(text) = fields
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
        {
            return Some(text.to_owned());
        }
    }
    let deeper = ["outcome", "verdict"]
        .into_iter()
        .filter_map(|name| fields.get(name));
    deeper
        .filter(|_| depth < 2)
        .find_map(|value| reason_of(value, depth + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trimtab_model::{Actor, Timestamp};

    use super::*;

    fn told(stream: &str, kind: &str, body: Value, weight: Option<f64>) -> String {
        let event = StoredEvent {
            position: 1,
            stream: stream.to_owned(),
            sequence: 1,
            kind: kind.to_owned(),
            version: 1,
            at: Timestamp(0),
            actor: Actor::trimtab(),
            body,
        };
        let words = words(&event, weight);
        format!("{} | {} | {}", words.tone, words.text, words.detail)
    }

    #[test]
    fn events_read_as_sentences() {
        let failed = json!({"stage": "unit", "outcome": {"is": "failed", "reason": "exit status 1"}});
        let cases = [
            (
                told("run/run-2", "run.job_finished", failed, None),
                "warning | run-2: unit failed | exit status 1",
            ),
            (
                told(
                    "run/run-2",
                    "run.approved",
                    json!({"by": "qa", "reason": "Tried."}),
                    None,
                ),
                "good | run-2: approved by qa | Tried.",
            ),
            (
                told(
                    "rollout/rollout-4",
                    "rollout.shifted",
                    json!({"outcome": {"is": "done"}}),
                    Some(95.0),
                ),
                "info | rollout-4: 95 % of traffic on the candidate | ",
            ),
            (
                told(
                    "rollout/rollout-4",
                    "rollout.observed",
                    json!({"verdict": {"is": "regressed", "reason": "5 of 9 fail"}}),
                    None,
                ),
                "critical | rollout-4: the verdict is regressed | 5 of 9 fail",
            ),
            (
                told(
                    "rollout/rollout-4",
                    "rollout.observed",
                    json!({"verdict": {"is": "inconclusive", "reason": "lag: no number", "lack": "missing_metric"}}),
                    None,
                ),
                "warning | rollout-4: no verdict: a metric is missing | lag: no number",
            ),
            (
                told(
                    "incident/incident-1",
                    "incident.planned",
                    json!({"severity": "critical", "title": "bad release"}),
                    None,
                ),
                "critical | incident-1: critical incident opened | bad release",
            ),
            (
                told(
                    "incident/incident-1",
                    "incident.notified",
                    json!({"what": "raised"}),
                    None,
                ),
                "info | incident-1: the team was told: raised | ",
            ),
            (
                told(
                    "comment/rollout-4",
                    "comment.made",
                    json!({"command": "roll_back", "comment": "Too slow."}),
                    None,
                ),
                "info | rollout-4: comment on roll back | Too slow.",
            ),
            (
                told(
                    "forge/blocks",
                    "forge.push",
                    json!({"ref": "refs/heads/main", "commit": "0123456789abcdef"}),
                    None,
                ),
                "info | 0123456789 pushed to main | ",
            ),
            (
                told("elsewhere/x", "some.new_thing", json!([1]), None),
                "info | some new thing | ",
            ),
        ];
        for (told, wanted) in cases {
            assert_eq!(told, wanted);
        }
    }
}
