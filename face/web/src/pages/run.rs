//! One run: its stages with their logs.

use axum::extract::{Path, Query};
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use trimtab_api::{Run, RunLog, RunLogQuery, RunState, Stage, StageState};

use super::Page;
use super::pipelines::gate;
use crate::failure::Failed;
use crate::parts::acts::{Weight, act};
use crate::parts::badges::State as _;
use crate::parts::shell::Section;
use crate::parts::{link, nothing, plain_line, short_commit, times};
use crate::text::{Language, say};

/// Lines of a log that the page holds; the rest is behind the API.
const LOG_LINES: usize = 2_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    /// Whose log to show.
    stage: Option<String>,
}

/// `GET /runs/{id}`.
pub(crate) async fn run(
    page: Page,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Html<String>, Failed> {
    let run = page.app.backend.run(&id).await?;
    let language = page.language();
    let chosen = wanted
        .stage
        .or_else(|| interesting(&run).map(|stage| stage.name.clone()));
    let log = match &chosen {
        Some(stage) => {
            let query = RunLogQuery {
                limit: Some(LOG_LINES),
                ..RunLogQuery::default()
            };
            page.app.backend.run_log(&id, stage, query).await.ok()
        }
        None => None,
    };
    let summary = &run.summary;
    let body = html! {
        header.page-head data-region="head" {
            div {
                p.crumbs { a href="/pipelines" { (page.say(say::PIPELINES)) } " / " (summary.id) }
                h1 { (summary.title) }
                p { (summary.state.badge(language)) " " (summary.state_text) }
            }
            div.acts {
                @if matches!(summary.state, RunState::Queued | RunState::Running | RunState::Waiting) { (act(&page, "cancel", &summary.id, say::CANCEL, Weight::Grave)) }
            }
        }
        div data-region="gate" { @if let Some(approval) = &run.approval { (gate(&page, approval)) } }
        div.columns {
            div {
                div data-region="stages" {
                    @for (group, title) in [("build", say::BUILD_AND_TEST), ("staging", say::STAGING_GROUP), ("production", say::PRODUCTION_GROUP)] {
                        (stages(&run, group, page.say(title), chosen.as_deref(), language))
                    }
                }
                dl.facts data-region="facts" { (facts(&run, language)) }
            }
            div {
                section.log-panel data-region="log" {
                    h2 { (page.say(say::STAGE_LOG)) @if let Some(stage) = &chosen { " · " (stage) } }
                    (log_lines(log.as_ref(), language))
                }
                section data-region="timeline" {
                    h2 { (page.say(say::TIMELINE)) }
                    (times::timeline(&run.timeline, false))
                }
            }
        }
    };
    let topics = [format!("run:{id}"), format!("run-log:{id}")];
    Ok(page.render(
        &summary.title,
        Section::Pipelines,
        &[&topics[0], &topics[1]],
        body,
    ))
}

/// The stage to look at first: what failed, else what runs, else what ended last.
fn interesting(run: &Run) -> Option<&Stage> {
    let stages = || run.summary.stages.iter().filter(|stage| stage.command.is_some());
    stages()
        .find(|stage| stage.state == StageState::Failed)
        .or_else(|| stages().find(|stage| stage.state == StageState::Running))
        .or_else(|| stages().rfind(|stage| stage.state == StageState::Passed))
}

fn stages(run: &Run, group: &str, title: &str, chosen: Option<&str>, language: Language) -> Markup {
    let stages: Vec<&Stage> = run
        .summary
        .stages
        .iter()
        .filter(|stage| stage.group == group)
        .collect();
    html! {
        @if !stages.is_empty() {
            section.stages {
                h2 { (title) }
                ol {
                    @for stage in stages {
                        li aria-current=[(chosen == Some(&stage.name)).then_some("true")] {
                            (stage.state.dot(language))
                            div {
                                p {
                                    a href={ "/runs/" (run.summary.id) "?stage=" (crate::parts::shell::encoded(&stage.name)) } { (stage.name.replace('_', " ")) }
                                    @if stage.attempt > 1 { span.muted.small { " ×" (stage.attempt) } }
                                    @if let Some(rollout) = &stage.rollout { " · " a href={ "/rollouts/" (rollout) } { (rollout) } }
                                }
                                @if let Some(command) = &stage.command { p.small.muted.clip { code { (command) } } }
                                @if !stage.detail.is_empty() { p.small { (stage.detail) } }
                            }
                            span.small.muted { @if stage.started_at.is_some() { (times::took(stage.started_at, stage.finished_at, language)) } }
                        }
                    }
                }
            }
        }
    }
}

fn facts(run: &Run, language: Language) -> Markup {
    let summary = &run.summary;
    html! {
        dt { (language.say(say::SERVICE)) } dd { (summary.service) }
        dt { (language.say(say::COMMIT)) } dd { code title=(summary.commit) { (short_commit(&summary.commit)) } }
        @if let Some(branch) = &summary.branch { dt { (language.say(say::BRANCH)) } dd { (branch) } }
        @if let Some(author) = &summary.author { dt { (language.say(say::AUTHOR)) } dd { (author) } }
        @if let Some(request) = &run.merge_request { dt { (language.say(say::MERGE_REQUEST)) } dd { (request) } }
        @if let Some(release) = &summary.release { dt { (language.say(say::RELEASE)) } dd { (link(Some(&format!("/releases/{release}")), release)) } }
        dt { (language.say(say::TRIGGERED_BY)) } dd { (summary.trigger) }
        dt { (language.say(say::STARTED)) } dd { (times::date(summary.created_at)) }
        dt { (language.say(say::DURATION)) } dd { (times::took(Some(summary.created_at), summary.finished_at, language)) }
    }
}

fn log_lines(log: Option<&RunLog>, language: Language) -> Markup {
    let Some(log) = log.filter(|log| !log.lines.is_empty()) else {
        return nothing(language.say(say::NO_LOG));
    };
    html! {
        div.log tabindex="0" role="log" data-follow[!log.complete] {
            @for line in &log.lines {
                p.log-line.stderr[line.stderr] { span.log-number aria-hidden="true" { (line.number) } span { (plain_line(&line.text)) } }
            }
        }
    }
}
