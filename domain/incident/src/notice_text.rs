//! What notices say.

use trimtab_model::Severity;

use crate::{Notice, Phase, Plan, State};

/// Longest text message in characters: two GSM segments.
const SMS_CHARS_MAX: usize = 306;

/// A notice in words, for each kind of channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeText {
    /// For a text message: at most 306 characters, one line.
    pub sms: String,
    /// For an email's subject and a Slack title: one line.
    pub subject: String,
    /// For an email and Slack: plain text of a few lines.
    pub body: String,
}

/// Words `what`. `link` is the incident's page.
pub fn notice_text(plan: &Plan, state: &State, what: Notice, link: &str) -> NoticeText {
    let place = format!("{} in {}", plan.service, plan.environment);
    let suspect = plan
        .suspect
        .as_ref()
        .map_or_else(|| "no release".to_owned(), ToString::to_string);
    let severity = state.severity;
    let (headline, next) = match what {
        Notice::Raised => (format!("CRITICAL: {place}: {}", plan.title), now(state)),
        Notice::Warning => (
            format!("{}: {place}: {}", kind(severity), plan.title),
            "Proposed fixes are on the incident's page.".to_owned(),
        ),
        Notice::RolledBack => (
            format!("Rolled back: {place} is off {suspect} and well again"),
            "The metrics improved. The report on the causes and the postmortem follow.".to_owned(),
        ),
        Notice::Restarted => (
            format!("Healed: a restart of {suspect} helped {place}"),
            "The metrics improved. The postmortem follows.".to_owned(),
        ),
        Notice::PeopleNeeded => (
            format!("PEOPLE NEEDED: {place}: {}", plan.title),
            format!(
                "{}. Trimtab does nothing more by itself: act, then resolve.",
                capital(&state.describe())
            ),
        ),
        Notice::Reminder => (
            format!("Still open: {place}: {}", plan.title),
            format!("{}. Fix, acknowledge or resolve it.", capital(&state.describe())),
        ),
        Notice::ProblemSolved => (
            format!("Problem solved: {place}: {}", plan.title),
            format!("{}.", capital(&state.describe())),
        ),
    };
    let incident = &plan.incident;
    let headline = one_line(&headline);
    let body = format!(
        "{headline}\n\n{}\n\nIncident: {incident} ({severity})\nKind: {}\nSuspect: {suspect}\nDetails: {link}\n",
        one_line(&next),
        plan.class,
    );
    NoticeText {
        sms: cut(&headline, SMS_CHARS_MAX - link.chars().count().min(200) - 1) + " " + link,
        subject: cut(&format!("[{incident}] {headline}"), 200),
        body,
    }
}

fn now(state: &State) -> String {
    match &state.phase {
        Phase::PeopleNeeded { reason } => format!("{}. Act now.", capital(reason)),
        _ => format!("Trimtab acts: {}.", state.describe()),
    }
}

fn kind(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "CRITICAL",
        Severity::High => "Important",
        Severity::Medium => "Warning",
        Severity::Low => "Information",
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// What a service says may hold anything: line breaks would forge lines and headers.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    short.push('…');
    short
}
