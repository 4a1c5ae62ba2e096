//! The list of runs, with the gates that wait and the merge requests.

use axum::extract::Query;
use axum::response::Html;
use maud::{Markup, html};
use trimtab_api::{Approval, MergeRequest, RunQuery, RunSummary, Stage};
use trimtab_model::Role;

use super::Page;
use crate::failure::Failed;
use crate::parts::acts::{Weight, act, act_with};
use crate::parts::badges::State as _;
use crate::parts::shell::Section;
use crate::parts::{nothing, outside_link, short_commit, times};
use crate::text::{Language, say};

/// `GET /pipelines`.
pub(crate) async fn pipelines(page: Page, Query(query): Query<RunQuery>) -> Result<Html<String>, Failed> {
    let backend = &page.app.backend;
    let limit = query.limit.unwrap_or(50).min(200);
    let (runs, approvals, merge_requests, services) = tokio::try_join!(
        backend.runs(RunQuery {
            limit: Some(limit),
            ..query
        }),
        backend.approvals(),
        backend.merge_requests(),
        backend.services(),
    )?;
    let body = html! {
        header.page-head {
            h1 { (page.say(say::PIPELINES)) }
            div.acts {
                @for service in &services {
                    @let field = html! { label { (page.say(say::COMMIT)) input type="text" name="commit" maxlength="200" placeholder=(page.say(say::DEPLOY_HINT)); } };
                    (act_with(&page, "deploy", &service.name, say::DEPLOY, Weight::Plain, field))
                }
            }
        }
        div data-region="approvals" { @for approval in &approvals { (gate(&page, approval)) } }
        section data-region="runs" {
            @if runs.is_empty() { (nothing(page.say(say::NO_RUNS))) }
            ul.rows { @for run in &runs { li { (row(run, page.language())) } } }
        }
        @if !merge_requests.is_empty() {
            section data-region="merge-requests" {
                h2 { (page.say(say::MERGE_REQUESTS)) }
                ul.rows { @for request in &merge_requests { li { (merge_request(request, page.language())) } } }
            }
        }
    };
    let topics = ["runs", "merge-requests"];
    Ok(page.render(page.say(say::PIPELINES), Section::Pipelines, &topics, body))
}

/// A gate that waits for a person, with its answers.
pub(crate) fn gate(page: &Page, approval: &Approval) -> Markup {
    html! {
        section.gate {
            div {
                p.small.muted { (page.say(say::APPROVALS_WAIT)) " · " a href={ "/runs/" (approval.run) } { (approval.run) } }
                p.gate-question { (approval.question) }
                p.small {
                    @if let Some(url) = &approval.url { (page.say(say::TRY_IT)) ": " (outside_link(url, url)) " · " }
                    @if let Some(until) = approval.until { (page.say(say::UNTIL).replace("{}", "")) (times::date(until)) }
                    @if !page.may(approval.role.max(Role::Approver)) { " " (page.language().fill(say::NEEDS_ROLE, &[approval.role.as_str()])) }
                }
            }
            @if page.may(approval.role) {
                div.acts {
                    (act(page, "approve", &approval.run, say::APPROVE, Weight::Primary))
                    (act(page, "reject", &approval.run, say::REJECT, Weight::Grave))
                }
            }
        }
    }
}

/// A run as a row.
fn row(run: &RunSummary, language: Language) -> Markup {
    html! {
        div.row {
            div.row-main {
                p.row-title { a href={ "/runs/" (run.id) } { (run.title) } }
                p.small.muted {
                    (run.service) " · " (run.id) " · " code { (short_commit(&run.commit)) }
                    @if let Some(author) = &run.author { " · " (author) }
                    @if let Some(release) = &run.release { " · " a href={ "/releases/" (release) } { (release) } }
                }
                p.small { (run.state_text) }
            }
            (stage_strip(&run.stages, language))
            div.row-side { (run.state.badge(language)) p.small.muted { (times::date(run.created_at)) " · " (times::took(Some(run.created_at), run.finished_at, language)) } }
        }
    }
}

/// Stages as a row of dots.
pub(crate) fn stage_strip(stages: &[Stage], language: Language) -> Markup {
    html! {
        ol.stage-strip {
            @for stage in stages {
                @let (tone, word) = stage.state.tone_and_word();
                li { (crate::parts::badges::dot(tone, &format!("{}: {}", stage.name.replace('_', " "), language.say(word)))) }
            }
        }
    }
}

fn merge_request(request: &MergeRequest, language: Language) -> Markup {
    html! {
        div.row {
            div.row-main {
                p.row-title { (request.title) }
                p.small.muted { (request.id) " · " (request.author) " · " code { (request.source) } " → " code { (request.target) } " · " code { (short_commit(&request.commit)) } }
                @for review in &request.reviews {
                    p.small { (language.say(say::REVIEWED_BY)) " " b { (review.author) } ": " (review_word(review.verdict)) @if !review.comment.is_empty() { " “" (review.comment) "”" } }
                }
            }
            div.row-side { (request.state.badge(language)) p.small.muted { (times::date(request.opened_at)) } }
        }
    }
}

fn review_word(verdict: trimtab_api::ReviewVerdict) -> &'static str {
    match verdict {
        trimtab_api::ReviewVerdict::Approved => "✓",
        trimtab_api::ReviewVerdict::ChangesRequested => "✗",
        trimtab_api::ReviewVerdict::Commented => "…",
    }
}
