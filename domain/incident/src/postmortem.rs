//! What is written up once an incident is over (E.27).

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use trimtab_model::{
    Actor, EnvironmentName, IncidentId, ReleaseId, ServiceName, Severity, Timestamp, civil_from_days,
};

use crate::{Class, Proposal, Way, notice_text::one_line};

/// All that a postmortem tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The incident.
    pub incident: IncidentId,
    /// One line.
    pub title: String,
    /// Who suffered.
    pub service: ServiceName,
    /// Where.
    pub environment: EnvironmentName,
    /// How much it mattered in the end.
    pub severity: Severity,
    /// What kind.
    pub class: Class,
    /// The release at fault, or that served.
    pub suspect: Option<ReleaseId>,
    /// The release that was returned to.
    pub previous: Option<ReleaseId>,
    /// What healed it.
    pub way: Way,
    /// When what happened.
    pub moments: Moments,
    /// What it cost.
    pub impact: Impact,
    /// From the journal, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// Ranked, likeliest first.
    pub causes: Vec<CauseLine>,
    /// What is to be done.
    pub follow_ups: Vec<Proposal>,
    /// What the models learned, or why the change was refused; one line each.
    pub lessons: Vec<String>,
}

/// When what happened; none is not known or did not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moments {
    /// The first request that suffered.
    pub began_at: Option<Timestamp>,
    /// The incident was opened.
    pub detected_at: Timestamp,
    /// Nothing reached the suspect any more.
    pub traffic_off_at: Option<Timestamp>,
    /// The previous release served everything.
    pub rolled_back_at: Option<Timestamp>,
    /// The metrics were well again.
    pub healed_at: Option<Timestamp>,
}

/// What it cost; none is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    /// Requests that failed.
    pub requests_failed: Option<u64>,
    /// All requests in that time.
    pub requests: Option<u64>,
    /// Users who saw a failure.
    pub users: Option<u64>,
    /// No more users than this can have seen one, where users are not told apart.
    #[serde(default)]
    pub users_max: Option<u64>,
    /// The share of the error budget that it burnt, for example `12.5 %`.
    pub budget_burnt: Option<String>,
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub text: String,
    /// True when it was done to heal the incident.
    pub is_action: bool,
}

/// One ranked cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseLine {
    /// What.
    pub title: String,
    /// Its numbers.
    pub evidence: String,
}

/// Writes the postmortem as Markdown. What services say is escaped.
pub fn postmortem(record: &Record) -> String {
    let mut page = String::new();
    head(&mut page, record);
    impact(&mut page, record);
    times(&mut page, record);
    section(&mut page, "Causes");
    list(
        &mut page,
        record.causes.iter().enumerate().map(|(rank, cause)| {
            format!(
                "{}. **{}**: {}",
                rank + 1,
                escape(&cause.title),
                escape(&cause.evidence)
            )
        }),
        "No cause was found.",
    );
    section(&mut page, "Actions taken");
    list(
        &mut page,
        record
            .timeline
            .iter()
            .filter(|entry| entry.is_action)
            .map(|entry| format!("- {} {}", clock(entry.at), escape(&entry.text))),
        "None: it went by itself.",
    );
    section(&mut page, "Timeline");
    list(
        &mut page,
        record.timeline.iter().map(|entry| {
            format!(
                "- {} ({}) {}",
                clock(entry.at),
                escape(&entry.actor.0),
                escape(&entry.text)
            )
        }),
        "Nothing is on record.",
    );
    section(&mut page, "Follow-ups");
    list(
        &mut page,
        record.follow_ups.iter().map(|proposal| {
            let command = proposal
                .command
                .as_ref()
                .map_or_else(String::new, |command| format!(" `{}`", command.replace('`', "'")));
            format!(
                "- [ ] {}: {}{command}",
                escape(&proposal.title),
                escape(&proposal.why)
            )
        }),
        "None.",
    );
    section(&mut page, "What was learned");
    list(
        &mut page,
        record
            .lessons
            .iter()
            .map(|lesson| format!("- {}", escape(lesson))),
        "The models did not change.",
    );
    page
}

fn head(page: &mut String, record: &Record) {
    let _ = writeln!(page, "# {}: {}\n", record.incident, escape(&record.title));
    let suspect = name_or(record.suspect.as_ref(), "none");
    let _ = writeln!(
        page,
        "{} in {}, {}, {}. Release: {suspect}. Outcome: {}.",
        record.service,
        record.environment,
        record.severity,
        record.class,
        escape(&record.way.to_string()),
    );
    if let Some(previous) = &record.previous {
        let _ = writeln!(page, "The release before is {previous}.");
    }
}

fn impact(page: &mut String, record: &Record) {
    section(page, "Impact");
    let impact = &record.impact;
    let number = |value: Option<u64>| value.map_or_else(|| "no data".to_owned(), |n| n.to_string());
    let _ = writeln!(page, "| what | how much |\n| --- | --- |");
    let _ = writeln!(
        page,
        "| requests failed | {} of {} |",
        number(impact.requests_failed),
        number(impact.requests)
    );
    let users = match (impact.users, impact.users_max) {
        (None, Some(most)) => format!("at most {most}; users are not told apart"),
        (users, _) => number(users),
    };
    let _ = writeln!(page, "| users who saw a failure | {users} |");
    let burnt = impact.budget_burnt.as_deref().unwrap_or("no data");
    let _ = writeln!(page, "| error budget burnt | {} |", escape(burnt));
}

fn times(page: &mut String, record: &Record) {
    section(page, "Detection and response");
    let moments = &record.moments;
    let began = moments.began_at;
    let _ = writeln!(
        page,
        "| moment | when (UTC) | after the first failure |\n| --- | --- | --- |"
    );
    for (what, at) in [
        ("first failure", began),
        ("detected", Some(moments.detected_at)),
        ("traffic off the release", moments.traffic_off_at),
        ("rolled back", moments.rolled_back_at),
        ("metrics well again", moments.healed_at),
    ] {
        let after = match (began, at) {
            (Some(began), Some(at)) => format!("{} s", tenths(at.since(began).as_millis())),
            (_, _) => "no data".to_owned(),
        };
        let when = at.map_or_else(|| "not".to_owned(), clock);
        let _ = writeln!(page, "| {what} | {when} | {after} |");
    }
}

fn section(page: &mut String, title: &str) {
    let _ = write!(page, "\n## {title}\n\n");
}

fn list(page: &mut String, lines: impl Iterator<Item = String>, none: &str) {
    let before = page.len();
    for line in lines {
        let _ = writeln!(page, "{line}");
    }
    if page.len() == before {
        let _ = writeln!(page, "{none}");
    }
}

fn name_or(release: Option<&ReleaseId>, none: &str) -> String {
    release.map_or_else(|| none.to_owned(), ToString::to_string)
}

fn tenths(millis: u128) -> String {
    format!("{}.{}", millis / 1000, millis % 1000 / 100)
}

/// Date and time in UTC.
fn clock(at: Timestamp) -> String {
    let seconds = at.0.div_euclid(1000);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:03}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
        at.0.rem_euclid(1000)
    )
}

/// One line without anything that Markdown or HTML would act on.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' => {
                safe.push('\\');
                safe.push(c);
            }
            _ => safe.push(c),
        }
    }
    safe
}
