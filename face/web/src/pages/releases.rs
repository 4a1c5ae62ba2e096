//! Releases and rollouts.

use axum::extract::Path;
use axum::response::Html;
use maud::{Markup, html};
use trimtab_api::{Release, ReleaseState, RollBackRequest, RolloutQuery, RolloutSummary};

use super::Page;
use crate::failure::Failed;
use crate::parts::acts::{Weight, act};
use crate::parts::badges::{State as _, Tone, dot, strategy};
use crate::parts::shell::Section;
use crate::parts::{link, nothing, short_commit, times};
use crate::text::{Language, bytes, percent, say};

/// `GET /releases`.
pub(crate) async fn releases(page: Page) -> Result<Html<String>, Failed> {
    let backend = &page.app.backend;
    let (releases, rollouts) =
        tokio::try_join!(backend.releases(None), backend.rollouts(RolloutQuery::default()))?;
    let language = page.language();
    let body = html! {
        header.page-head { h1 { (page.say(say::RELEASES)) } }
        section data-region="releases" {
            @if releases.is_empty() { (nothing(page.say(say::NO_RELEASES))) }
            ul.rows { @for release in &releases { li { (row(release, language)) } } }
        }
        section data-region="rollouts" {
            h2 { (page.say(say::ROLLOUTS)) }
            @if rollouts.is_empty() { (nothing(page.say(say::NO_ROLLOUT))) }
            ul.rows { @for rollout in &rollouts { li { (rollout_row(rollout, language)) } } }
        }
    };
    Ok(page.render(
        page.say(say::RELEASES),
        Section::Releases,
        &["rollouts", "services"],
        body,
    ))
}

fn row(release: &Release, language: Language) -> Markup {
    html! {
        div.row {
            div.row-main {
                p.row-title { a href={ "/releases/" (release.id) } { (release.id) } " " span.muted { (release.title) } }
                p.small.muted { code { (short_commit(&release.commit)) } @if !release.state_text.is_empty() { " · " (release.state_text) } }
            }
            div.row-side { (release.state.badge(language)) p.small.muted { (times::date(release.created_at)) } }
        }
    }
}

fn rollout_row(rollout: &RolloutSummary, language: Language) -> Markup {
    html! {
        div.row {
            div.row-main {
                p.row-title {
                    a href={ "/rollouts/" (rollout.id) } { (rollout.id) } " "
                    span.muted { @if let Some(baseline) = &rollout.baseline { (baseline) " → " } (rollout.candidate) }
                }
                p.small.muted { (rollout.environment) " · " (strategy(rollout.strategy)) " · " (percent(rollout.candidate_percent, language)) }
                p.small { (rollout.state_text) }
            }
            div.row-side {
                (rollout.state.badge(language))
                p.small.muted { (times::date(rollout.created_at)) " · " (times::took(Some(rollout.created_at), rollout.finished_at, language)) }
            }
        }
    }
}

/// `GET /releases/{id}`.
pub(crate) async fn release(page: Page, Path(id): Path<String>) -> Result<Html<String>, Failed> {
    let release = page.app.backend.release(&id).await?;
    let language = page.language();
    let query = RollBackRequest {
        release: Some(release.id.clone()),
        ..RollBackRequest::default()
    };
    let forecast = match release.state {
        ReleaseState::Retired => page.app.backend.roll_back_forecast(query).await.ok(),
        _ => None,
    };
    let forecast = forecast.map(|forecast| forecast.text);
    let body = html! {
        header.page-head data-region="head" {
            div {
                p.crumbs { a href="/releases" { (page.say(say::RELEASES)) } " / " (release.service) }
                h1 { (release.id) }
                p.lead { (release.title) }
                p { (release.state.badge(language)) " " (release.state_text) }
            }
            div.acts {
                @match release.state {
                    ReleaseState::Quarantined => (act(&page, "lift-quarantine", &release.id, say::LIFT_QUARANTINE, Weight::Grave)),
                    ReleaseState::Retired => {
                        (act(&page, "return-to", &release.id, say::RETURN_TO, Weight::Grave))
                        @if let Some(forecast) = &forecast { p.small.muted { (forecast) } }
                    }
                    _ => {}
                }
            }
        }
        div.columns.columns-even data-region="facts" {
            section.panel { h2 { (page.say(say::PROVENANCE)) } (provenance(&release, language)) }
            section.panel {
                h2 { (page.say(say::ROLLOUTS)) }
                @if release.rollouts.is_empty() { (nothing("–")) }
                ul { @for rollout in &release.rollouts { li { (link(Some(&format!("/rollouts/{rollout}")), rollout)) } } }
                @if !release.incidents.is_empty() {
                    h2 { (page.say(say::INCIDENTS)) }
                    ul { @for incident in &release.incidents { li { (link(Some(&format!("/incidents/{incident}")), incident)) } } }
                }
            }
        }
    };
    Ok(page.render(&release.id, Section::Releases, &["services", "rollouts"], body))
}

fn provenance(release: &Release, language: Language) -> Markup {
    html! {
        dl.facts {
            dt { (language.say(say::COMMIT)) } dd { code { (release.commit) } }
            dt { (language.say(say::ARTIFACT)) } dd { code.clip title=(release.artifact) { "sha256:" (release.artifact.get(..16).unwrap_or(&release.artifact)) "…" }
                @if let Some(size) = release.artifact_bytes { @let size = bytes(size as f64, language); " " (size.value) "\u{202f}" (size.unit) } }
            dt { (language.say(say::CREATED)) } dd { (times::date(release.created_at)) }
            @if let Some(from) = &release.provenance {
                dt { (language.say(say::RUN)) } dd { (link(Some(&format!("/runs/{}", from.run)), &from.run)) }
                @if let Some(request) = &from.merge_request { dt { (language.say(say::MERGE_REQUEST)) } dd { (request) } }
                @if let Some(author) = &from.author { dt { (language.say(say::AUTHOR)) } dd { (author) } }
                @if !from.reviewers.is_empty() { dt { (language.say(say::REVIEWED_BY)) } dd { (from.reviewers.join(", ")) } }
                @if let Some(by) = &from.approved_by { dt { (language.say(say::APPROVED_BY)) } dd { (by) } }
                dt { (language.say(say::TESTS)) }
                dd { ul.plain-list { @for result in &from.results {
                    @let (tone, word) = if result.passed { (Tone::Good, say::PASSED) } else { (Tone::Critical, say::FAILED) };
                    @let took = crate::text::duration_ms(result.duration_ms as f64, language);
                    li { (dot(tone, language.say(word))) " " (result.stage) " " span.muted.small.num { (took.value) "\u{202f}" (took.unit) } }
                } } }
            }
        }
    }
}
