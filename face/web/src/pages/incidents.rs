//! Incidents: the list, and one with its causes, actions, postmortem and learning.

use axum::extract::Path;
use axum::response::{Html, IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use maud::{Markup, html};
use trimtab_api::{
    Cause, Fault, Impact, Incident, IncidentQuery, IncidentSummary, LearningChange, Proposal, TakenAction,
};

use super::Page;
use crate::failure::Failed;
use crate::parts::acts::{Weight, act, act_with, quick};
use crate::parts::badges::{State as _, Tone, badge, dot};
use crate::parts::markdown::markdown;
use crate::parts::shell::Section;
use crate::parts::{link, nothing, times};
use crate::text::{Language, count, duration_ms, percent, say};

/// `GET /incidents`.
pub(crate) async fn incidents(page: Page) -> Result<Html<String>, Failed> {
    let incidents = page.app.backend.incidents(IncidentQuery::default()).await?;
    let (open, past): (Vec<_>, Vec<_>) = incidents.iter().partition(|incident| incident.state.is_open());
    let language = page.language();
    let body = html! {
        header.page-head { h1 { (page.say(say::INCIDENTS)) } }
        div data-region="incidents" {
            @if incidents.is_empty() { (nothing(page.say(say::NO_INCIDENTS))) }
            @for (title, list) in [(say::OPEN_INCIDENTS, &open), (say::PAST_INCIDENTS, &past)] {
                @if !list.is_empty() {
                    section { h2 { (page.say(title)) } ul.rows { @for incident in list { li { (row(incident, language)) } } } }
                }
            }
        }
    };
    Ok(page.render(page.say(say::INCIDENTS), Section::Incidents, &["incidents"], body))
}

fn row(incident: &IncidentSummary, language: Language) -> Markup {
    html! {
        div.row {
            div.row-main {
                p.row-title { (incident.severity.badge(language)) " " a href={ "/incidents/" (incident.id) } { (incident.title) } }
                p.small.muted {
                    (incident.id) " · " (incident.service) " · " (incident.environment) " · " (language.say(incident.class.tone_and_word().1))
                    @if let Some(release) = &incident.release { " · " a href={ "/releases/" (release) } { (release) } }
                }
                p.small { (incident.state_text) }
            }
            div.row-side {
                (incident.state.badge(language))
                p.small.muted { (times::date(incident.opened_at)) " · " (times::took(Some(incident.opened_at), incident.resolved_at, language)) }
            }
        }
    }
}

/// An open incident on the overview.
pub(crate) fn row_short(incident: &IncidentSummary, language: Language) -> Markup {
    html! {
        (incident.severity.badge(language)) " " a href={ "/incidents/" (incident.id) } { (incident.title) } " "
        span.muted.small { (incident.state_text) }
    }
}

/// `GET /incidents/{id}`.
pub(crate) async fn incident(page: Page, Path(id): Path<String>) -> Result<Html<String>, Failed> {
    let incident = page.app.backend.incident(&id).await?;
    let language = page.language();
    let summary = &incident.summary;
    let body = html! {
        header.page-head data-region="head" {
            div {
                p.crumbs { a href="/incidents" { (page.say(say::INCIDENTS)) } " / " (summary.id) }
                h1 { (summary.title) }
                p.badges {
                    (summary.severity.badge(language)) (summary.state.badge(language))
                    (badge(Tone::Quiet, language.say(summary.class.tone_and_word().1)))
                }
                p { (summary.state_text) }
                p.small.muted {
                    (summary.service) " · " (summary.environment) " · " (times::date(summary.opened_at)) " · " (times::took(Some(summary.opened_at), summary.resolved_at, language))
                    @if let Some(release) = &summary.release { " · " a href={ "/releases/" (release) } { (release) } }
                    @if let Some(rollout) = &summary.rollout { " · " a href={ "/rollouts/" (rollout) } { (rollout) } }
                }
            }
            (buttons(&page, &incident))
        }
        div data-region="impact" { (impact(&incident.impact, language)) (silences(&page, &incident)) }
        div.columns.columns-even {
            div {
                section.panel data-region="causes" { h2 { (page.say(say::CAUSES)) } (causes(&incident.causes, language)) }
                section.panel data-region="actions" { h2 { (page.say(say::TAKEN_ACTIONS)) } (actions(&incident.actions, language)) }
                @if !incident.proposals.is_empty() { section.panel data-region="proposals" { h2 { (page.say(say::PROPOSALS)) } (proposals(&incident.proposals)) } }
                section.panel data-region="learning" { h2 { (page.say(say::LEARNING)) } (learning(incident.learning.as_ref(), language)) }
            }
            section data-region="timeline" { h2 { (page.say(say::TIMELINE)) } (times::timeline(&incident.timeline, false)) }
        }
        section.panel.postmortem data-region="postmortem" {
            header { h2 { (page.say(say::POSTMORTEM)) }
                @if incident.postmortem.is_some() { a.small href={ "/incidents/" (summary.id) "/postmortem.md" } { (page.say(say::DOWNLOAD)) } } }
            @match &incident.postmortem { Some(text) => (markdown(text)), None => (nothing(page.say(say::NO_POSTMORTEM))) }
        }
    };
    let topic = format!("incident:{id}");
    Ok(page.render(&summary.title, Section::Incidents, &[&topic], body))
}

/// `GET /incidents/{id}/postmortem.md`.
pub(crate) async fn postmortem(page: Page, Path(id): Path<String>) -> Result<Response, Failed> {
    let incident = page.app.backend.incident(&id).await?;
    let Some(text) = incident.postmortem else {
        return Err(Fault::not_found("postmortem of incident", &id).into());
    };
    let headers = [
        (CONTENT_TYPE, "text/markdown; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"postmortem.md\""),
    ];
    Ok((headers, text).into_response())
}

fn buttons(page: &Page, incident: &Incident) -> Markup {
    let summary = &incident.summary;
    let minutes = html! { label { (page.say(say::SILENCE_MINUTES)) input type="number" name="minutes" value="60" min="1" max="10080" required; } };
    html! {
        div.acts {
            @if summary.state.is_open() {
                @if summary.acknowledged_by.is_none() { (act(page, "acknowledge", &summary.id, say::ACKNOWLEDGE, Weight::Primary)) }
                (act(page, "take-over", &summary.id, say::TAKE_OVER, Weight::Plain))
                (act(page, "fix-applied", &summary.id, say::FIX_APPLIED, Weight::Plain))
                (act_with(page, "silence", &summary.id, say::SILENCE, Weight::Plain, minutes))
                (act(page, "resolve", &summary.id, say::RESOLVE, Weight::Grave))
            }
        }
    }
}

fn impact(impact: &Impact, language: Language) -> Markup {
    let no_data = || language.say(say::NO_DATA).to_owned();
    let felt = impact
        .duration_ms
        .map(|ms| duration_ms(ms as f64, language))
        .map(|shown| format!("{}\u{202f}{}", shown.value, shown.unit));
    let facts = [
        (say::REQUESTS_FAILED, impact.requests_failed.map(count)),
        (say::USERS_AFFECTED, impact.users.map(count)),
        (
            say::BUDGET_BURNT,
            impact.budget_percent.map(|value| percent(value, language)),
        ),
        (say::USERS_FELT_IT, felt),
    ];
    html! {
        dl.impact { @for (name, value) in facts { div { dt { (language.say(name)) } dd.num { (value.unwrap_or_else(no_data)) } } } }
    }
}

fn silences(page: &Page, incident: &Incident) -> Markup {
    html! {
        @for silence in &incident.silences {
            div.note { (page.language().fill(say::SILENCED_BY, &[&silence.author, ""])) (times::date(silence.until)) ": " (silence.reason) " " (quick(page, "end-silence", &silence.id, say::END_SILENCE)) }
        }
    }
}

fn causes(causes: &[Cause], language: Language) -> Markup {
    html! {
        @if causes.is_empty() { (nothing(language.say(say::NOTHING_YET))) }
        ol.causes {
            @for cause in causes {
                li {
                    p { span.kind { (cause.kind) } " " b { (link(cause.link.as_deref(), &cause.subject)) } }
                    p { (cause.text) }
                    p.cause-figure.num { (cause.figure)
                        @if let Some(confidence) = cause.confidence { span.muted.small { " · " (language.fill(say::CONFIDENCE, &[&percent(confidence * 100.0, language)])) } } }
                }
            }
        }
    }
}

fn actions(actions: &[TakenAction], language: Language) -> Markup {
    html! {
        @if actions.is_empty() { (nothing(language.say(say::NOTHING_YET))) }
        ul.actions {
            @for action in actions {
                @let (tone, word) = match action.succeeded { Some(true) => (Tone::Good, say::PASSED), Some(false) => (Tone::Warning, say::FAILED), None => (Tone::Active, say::UNDER_WAY) };
                li { (dot(tone, language.say(word))) div { p { (action.text) } @if !action.outcome.is_empty() { p.small.muted { (action.outcome) } } } span.small.muted { (times::time(action.at)) " · " (action.by) } }
            }
        }
    }
}

fn proposals(proposals: &[Proposal]) -> Markup {
    html! {
        ul.proposals { @for proposal in proposals { li { p { b { (proposal.text) } } p.small.muted { (proposal.reason) } @if let Some(command) = &proposal.command { pre { code { (command) } } } } } }
    }
}

fn learning(change: Option<&LearningChange>, language: Language) -> Markup {
    let Some(change) = change else {
        return nothing(language.say(say::NOTHING_YET));
    };
    let (tone, word) = if change.accepted {
        (Tone::Good, say::LEARNT)
    } else {
        (Tone::Warning, say::LEARNING_REFUSED)
    };
    let of_all = |found: Option<u64>| {
        found.map(|found| match change.episodes {
            Some(all) => format!("{} / {}", count(found), count(all)),
            None => count(found),
        })
    };
    let delay = |ms: Option<f64>| {
        ms.map(|ms| duration_ms(ms, language))
            .map(|shown| format!("{}\u{202f}{}", shown.value, shown.unit))
    };
    let measured = [
        (
            language.say(say::FOUND_VARIANTS).to_owned(),
            of_all(change.found_before),
            of_all(change.found_after),
        ),
        (
            language.say(say::DETECTION_DELAY).to_owned(),
            delay(change.delay_before_ms),
            delay(change.delay_after_ms),
        ),
        (
            language.say(say::FALSE_ALARMS).to_owned(),
            change.false_alarms_before.map(count),
            change.false_alarms_after.map(count),
        ),
    ];
    let stated = change
        .changes
        .iter()
        .map(|(what, before, after)| (what.clone(), Some(before.clone()), Some(after.clone())));
    html! {
        p { (badge(tone, language.say(word))) " " (change.text) }
        div.scroll { table {
            thead { tr { th {} th.num { (language.say(say::BEFORE)) } th.num { (language.say(say::AFTER)) } } }
            tbody { @for (what, before, after) in stated.chain(measured.into_iter().filter(|(_, b, a)| b.is_some() || a.is_some())) {
                tr { th { (what) } td.num { (before.unwrap_or_else(|| "–".to_owned())) } td.num { (after.unwrap_or_else(|| "–".to_owned())) } }
            } }
        } }
    }
}
