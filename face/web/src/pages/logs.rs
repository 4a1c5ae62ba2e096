//! Log search with a live tail.

use std::time::Duration;

use axum::extract::Query;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use trimtab_api::{LogLine, LogQuery, Moment};

use super::Page;
use crate::failure::Failed;
use crate::parts::shell::{Section, encoded};
use crate::parts::{nothing, plain_line, times};
use crate::state::now;
use crate::text::{Language, say};

/// Levels, least first.
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];

/// What a person asks; empty fields mean "any".
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    service: String,
    environment: String,
    release: String,
    level: String,
    text: String,
    trace_id: String,
    template: String,
    minutes: String,
}

/// A form's field as a query's: none when empty.
pub(crate) fn given(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The beginning of the time asked for, `minutes` back; an hour when it is no number.
pub(crate) fn minutes_back(minutes: &str) -> Moment {
    let minutes = minutes.trim().parse::<u64>().unwrap_or(60).clamp(1, 60 * 24 * 90);
    Moment(now().minus(Duration::from_secs(minutes * 60)))
}

impl Asked {
    fn query(&self) -> LogQuery {
        LogQuery {
            service: given(&self.service),
            environment: given(&self.environment),
            release: given(&self.release),
            level: given(&self.level),
            text: given(&self.text),
            trace_id: given(&self.trace_id),
            template: given(&self.template),
            from: Some(minutes_back(&self.minutes)),
            limit: Some(300),
            ..LogQuery::default()
        }
    }

    fn tail_address(&self) -> String {
        let fields = [
            ("service", &self.service),
            ("environment", &self.environment),
            ("release", &self.release),
            ("level", &self.level),
            ("text", &self.text),
            ("trace_id", &self.trace_id),
        ];
        let parts = fields.iter().filter(|(_, value)| !value.trim().is_empty());
        let pairs: Vec<String> = parts
            .map(|(name, value)| format!("{name}={}", encoded(value.trim())))
            .collect();
        format!("/api/v1/logs/tail?{}", pairs.join("&"))
    }
}

/// `GET /explore/logs`.
pub(crate) async fn logs(page: Page, Query(asked): Query<Asked>) -> Result<Html<String>, Failed> {
    let found = page.app.backend.logs(asked.query()).await?;
    let language = page.language();
    let field = |name: &str, text, value: &str| html! { label { (page.say(text)) input type="text" name=(name) value=(value) maxlength="400"; } };
    let minutes = if asked.minutes.is_empty() {
        "60"
    } else {
        &asked.minutes
    };
    let body = html! {
        header.page-head { h1 { (page.say(say::LOGS)) } }
        form.filters method="get" action="/explore/logs" role="search" {
            label.wide { (page.say(say::CONTAINS)) input type="search" name="text" value=(asked.text) maxlength="400"; }
            label { (page.say(say::LEVEL_FROM))
                select name="level" {
                    option value="" { (page.say(say::ALL)) }
                    @for level in LEVELS { option value=(level) selected[asked.level == level] { (level) } }
                }
            }
            (field("service", say::SERVICE, &asked.service))
            (field("release", say::RELEASE, &asked.release))
            (field("trace_id", say::TRACE, &asked.trace_id))
            label.narrow { (page.say(say::MINUTES)) input type="number" name="minutes" min="1" max="129600" value=(minutes); }
            button.button.primary type="submit" { (page.say(say::SEARCH)) }
            button.button type="button" hidden data-tail=(asked.tail_address()) data-stop=(page.say(say::STOP_TAIL)) { (page.say(say::TAIL)) }
        }
        @if found.lines.is_empty() { (nothing(page.say(say::NO_LINES))) }
        div.log-table data-lines role="log" tabindex="0" { @for line in &found.lines { (log_row(line, language)) } }
        @if found.truncated { p.muted { (page.say(say::TRUNCATED)) } }
    };
    Ok(page.render(page.say(say::LOGS), Section::Logs, &[], body))
}

/// One line, its attributes folded away.
pub(crate) fn log_row(line: &LogLine, language: Language) -> Markup {
    html! {
        details class={ "log-row level-" (level_class(&line.level)) } {
            summary {
                (times::time(line.at)) span.level { (line.level) }
                span.log-from { (line.release.as_deref().or(line.service.as_deref()).unwrap_or("–")) }
                span.log-body { (plain_line(&line.body)) }
            }
            dl.facts.small {
                @for (name, value) in [(say::SERVICE, &line.service), (say::ENVIRONMENT, &line.environment), (say::RELEASE, &line.release), (say::INSTANCE, &line.instance)] {
                    @if let Some(value) = value { dt { (language.say(name)) } dd { (value) } }
                }
                @if let Some(trace) = &line.trace_id { dt { (language.say(say::TRACE)) } dd { a href=(trimtab_api::routes::fill("/traces/{id}", &[trace])) { (trace) } } }
                @for (name, value) in &line.attributes { dt { (name) } dd { code { (value) } } }
            }
        }
    }
}

/// A level as a class: only those that are known.
fn level_class(level: &str) -> &'static str {
    match level {
        "error" | "fatal" => "error",
        "warn" => "warn",
        "debug" | "trace" => "debug",
        _ => "info",
    }
}
