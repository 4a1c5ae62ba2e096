//! One rollout: weights, both arms' figures and charts, the verdict with its evidence.

use axum::extract::Path;
use axum::response::Html;
use maud::{Markup, html};
use trimtab_api::{
    ArmFigures, Evidence, Group, Moment, RollBackRequest, Rollout, RolloutFlag, RolloutForecast,
    RolloutState, RolloutSummary, Stage, Verdict,
};

use super::Page;
use crate::failure::Failed;
use crate::parts::acts::{Weight, act};
use crate::parts::badges::{State as _, Tone, dot, strategy};
use crate::parts::charts::{From, chart, share_bar, shown};
use crate::parts::shell::Section;
use crate::parts::{link, nothing, outside_link, times};
use crate::state::now;
use crate::text::{Language, count, number, percent, say};

/// `GET /rollouts/{id}`.
pub(crate) async fn rollout(page: Page, Path(id): Path<String>) -> Result<Html<String>, Failed> {
    let rollout = page.app.backend.rollout(&id).await?;
    let language = page.language();
    let summary = &rollout.summary;
    let forecast = way_back(&page, summary).await;
    let title = format!("{} → {}", summary.candidate, summary.environment);
    let body = html! {
        header.page-head data-region="head" {
            div {
                p.crumbs { a href="/releases" { (page.say(say::RELEASES)) } " / " (summary.id) }
                h1 { (title) }
                p { (summary.state.badge(language)) " " (summary.state_text) }
            }
            div {
                (buttons(&page, summary))
                @if let Some(forecast) = &forecast { p.small.muted { (page.say(say::ROLL_BACK)) ": " (forecast) } }
            }
        }
        div data-region="strip" { (body_of_strip(summary, language)) (phases(&rollout.phases, language)) }
        @if let Some(group) = &rollout.group { (together(&page, group)) }
        div.columns.columns-wide data-region="verdict" {
            section.panel { h2 { (page.say(say::VERDICT)) } (verdict(rollout.verdict.as_ref(), language)) }
            section.panel { h2 { (page.say(say::BASELINE)) " / " (page.say(say::CANDIDATE)) } (arms(&rollout, language)) }
        }
        @if let Some(told) = &rollout.forecast { (forecast_before(told, language)) }
        div data-charts={ "/api/v1/rollouts/" (trimtab_api::routes::fill("{}", &[&summary.id])) } {
            section.charts.charts-small {
                @let range = range(&rollout);
                @for one in &rollout.charts { (chart(one, &chart_title(&one.id, &one.title, language), range, &rollout.markers, language)) }
            }
        }
        div.columns.columns-even {
            section data-region="timeline" { h2 { (page.say(say::TIMELINE)) } (times::timeline(&rollout.timeline, false)) }
            section data-region="weights" {
                h2 { (page.say(say::WEIGHTS)) }
                div.scroll { table {
                    thead { tr { th { (page.say(say::TIME)) } th.num { (page.say(say::CANDIDATE)) } th {} } }
                    tbody { @for step in &rollout.weights { tr { td { (times::time(step.at)) } td.num { (percent(step.candidate_percent, language)) } td { (step.reason) } } } }
                } }
                (facts(&rollout, language))
            }
        }
    };
    let topic = format!("rollout:{id}");
    Ok(page.render(&title, Section::Releases, &[&topic], body))
}

/// What its steps were expected to tell, by the traffic before it.
fn forecast_before(told: &RolloutForecast, language: Language) -> Markup {
    let seconds = |seconds: Option<f64>| shown(seconds, "s", language);
    let typical = percent(told.typical_percent, language);
    html! {
        section.panel data-region="forecast" {
            h2 { (language.say(say::FORECAST_BEFORE)) }
            p.small.muted { (told.text) }
            div.scroll { table {
                thead { tr {
                    th.num { (language.say(say::CANDIDATE)) } th.num { (language.say(say::WATCHED_FOR)) } th.num { (language.say(say::REQUESTS_COUNT)) }
                    th.num { (language.say(say::FORECAST_FINDS)) } th.num { (language.fill(say::FORECAST_TYPICAL, &[&typical])) } th {}
                } }
                tbody { @for step in &told.steps { tr {
                    td.num { (percent(step.percent, language)) }
                    td.num { (seconds(Some(step.watch_seconds))) }
                    td.num { @match step.candidate_requests { Some(requests) => (count(requests)), None => "–" } }
                    td.num { @match step.least_percent { Some(least) => (percent(least, language)), None => "–" } }
                    td.num { (seconds(step.typical_seconds)) }
                    td.small { (step.text) }
                } } }
            } }
        }
    }
}

/// The services that are released with it: how far each is, and what they say together.
fn together(page: &Page, group: &Group) -> Markup {
    let language = page.language();
    html! {
        section.panel data-region="group" {
            header.page-head {
                div { h2 { (page.say(say::TOGETHER)) " · " (group.id) } p { (group.state_text) } }
                @if !group.over { div.acts { (act(page, "abort-group", &group.id, say::ALL_BACK, Weight::Grave)) } }
            }
            div.scroll { table {
                thead { tr { th { (page.say(say::SERVICE)) } th { (page.say(say::RELEASE)) } th.num { (page.say(say::BARRIER)) } th.num { (page.say(say::SHARE)) } th { (page.say(say::STATE)) } } }
                tbody { @for member in &group.members { tr {
                    td { (member.service) }
                    td { @match &member.rollout { Some(rollout) => a href={ "/rollouts/" (rollout) } { (member.release) }, None => (member.release) } }
                    td.num { @match member.barrier { Some(barrier) => (barrier), None => "–" } }
                    td.num { (percent(member.share * 100.0, language)) }
                    td { (member.state_text) }
                } } }
            } }
            @if let Some(value) = group.e_value {
                p.small.muted { (page.say(say::E_VALUE)) " " (e_value(value, language)) " · " (language.fill(say::DECIDES_AT, &[&number(1.0 / group.alpha, language)])) }
            }
        }
    }
}

/// What rolling back would take, for those who may; nothing where it is not possible.
async fn way_back(page: &Page, summary: &RolloutSummary) -> Option<String> {
    if !summary.allowed.roll_back {
        return None;
    }
    let query = RollBackRequest {
        rollout: Some(summary.id.clone()),
        ..RollBackRequest::default()
    };
    let forecast = page.app.backend.roll_back_forecast(query).await.ok()?;
    Some(forecast.text)
}

/// The rollout as a strip on the overview.
pub(crate) fn strip(page: &Page, rollout: &RolloutSummary) -> Markup {
    let language = page.language();
    let name = if rollout.state.is_over() {
        say::LAST_ROLLOUT
    } else {
        say::CURRENT_ROLLOUT
    };
    html! {
        section class={ "strip tone-" (rollout.state.tone_and_word().0.as_str()) } data-rollout=(rollout.id) data-rollout-state=(rollout.state.tone_and_word().1.en) {
            div.strip-head {
                h2.small { (page.say(name)) " · " a href={ "/rollouts/" (rollout.id) } { (rollout.id) } }
                (rollout.state.badge(language))
                p { (rollout.state_text) }
                @if !rollout.state.is_over() { (buttons(page, rollout)) }
            }
            (body_of_strip(rollout, language))
        }
    }
}

/// Both releases with the share of traffic between them.
fn body_of_strip(rollout: &RolloutSummary, language: Language) -> Markup {
    let candidate = percent(rollout.candidate_percent, language);
    let baseline = percent(100.0 - rollout.candidate_percent, language);
    html! {
        div.split {
            div.split-arm {
                span.small.muted { (language.say(say::BASELINE)) }
                @match &rollout.baseline { Some(release) => a href={ "/releases/" (release) } { (release) }, None => span { "–" } }
                b.num { (baseline) }
            }
            div.split-bar { (share_bar(rollout.candidate_percent, From::Right, &format!("{} {candidate}", language.say(say::CANDIDATE)))) }
            div.split-arm.split-candidate {
                span.small.muted { (language.say(say::CANDIDATE)) }
                a href={ "/releases/" (rollout.candidate) } { (rollout.candidate) }
                b.num { (candidate) }
            }
        }
        @if let Some(flag) = &rollout.flag { (body_of_flag(flag, language)) }
        p.small.muted {
            (rollout.service) " → " (rollout.environment) " · " (strategy(rollout.strategy)) " · " (times::date(rollout.created_at))
            @if !rollout.next_step.is_empty() {
                " · " (language.say(say::NEXT)) ": " (rollout.next_step)
                @if let Some(at) = rollout.next_at { " (" (times::time(at)) ")" }
            }
            @if let Some(incident) = &rollout.incident { " · " a href={ "/incidents/" (incident) } { (incident) } }
        }
    }
}

/// The flag's share of users, and what those with it met beside those without.
fn body_of_flag(flag: &RolloutFlag, language: Language) -> Markup {
    let share = language.fill(say::FLAG_ON_FOR, &[&percent(flag.percent, language)]);
    let failed = |failed: u64, of: u64| language.fill(say::FLAG_FAILED_OF, &[&count(failed), &count(of)]);
    html! {
        p.small data-flag=(flag.key) {
            (language.say(say::FLAG)) " " a href="/flags" { (flag.key) } " · " (share)
            @if let Some(seen) = &flag.verdict {
                " · " (language.say(say::FLAG_EXPOSED)) ": " (failed(seen.exposed_failed, seen.exposed))
                " · " (language.say(say::FLAG_CONTROL)) ": " (failed(seen.control_failed, seen.control))
                br; span.muted { (seen.reason) }
            }
        }
    }
}

fn buttons(page: &Page, rollout: &RolloutSummary) -> Markup {
    let allowed = rollout.allowed;
    html! {
        div.acts {
            @if allowed.approve { (act(page, "approve-step", &rollout.id, say::APPROVE, Weight::Primary)) }
            @if allowed.promote { (act(page, "promote", &rollout.id, say::PROMOTE, Weight::Primary)) }
            @if allowed.pause { (act(page, "pause", &rollout.id, say::PAUSE, Weight::Plain)) }
            @if allowed.resume { (act(page, "resume", &rollout.id, say::RESUME, Weight::Primary)) }
            @if allowed.retry { (act(page, "retry-rollout", &rollout.id, say::TRY_AGAIN, Weight::Plain)) }
            @if allowed.restart { (act(page, "restart", &rollout.id, say::BEGIN_ANEW, Weight::Grave)) }
            @if allowed.roll_back { (act(page, "roll-back", &rollout.id, say::ROLL_BACK, Weight::Grave)) }
            @if allowed.abort { (act(page, "abort", &rollout.id, say::ABORT, Weight::Grave)) }
        }
    }
}

fn phases(phases: &[Stage], language: Language) -> Markup {
    html! {
        @if !phases.is_empty() {
            ol.phases aria-label=(language.say(say::PHASES)) {
                @for phase in phases {
                    @let (tone, word) = phase.state.tone_and_word();
                    li class={ "tone-" (tone.as_str()) } title=(phase.detail) { (dot(tone, language.say(word))) span { (phase.name) } }
                }
            }
        }
    }
}

fn verdict(verdict: Option<&Verdict>, language: Language) -> Markup {
    let Some(verdict) = verdict else {
        return nothing(language.say(say::NO_VERDICT));
    };
    html! {
        p { (verdict.decision.badge(language)) " " (verdict.reason) }
        dl.inline-facts {
            div { dt { (language.say(say::ALPHA_LEFT)) } dd.num { (percent(verdict.alpha_left * 100.0, language)) " " span.muted { (language.fill(say::OF_ALPHA, &[&percent(verdict.alpha * 100.0, language)])) } } }
            div { dt { (language.say(say::TOLERANCE)) } dd.num { (percent(verdict.tolerance_percent, language)) } }
            @if let Some(forecast) = &verdict.forecast { div { dt { (language.say(say::FORECAST)) } dd { (forecast.text) } } }
        }
        div.scroll { table.evidence {
            thead { tr {
                th { (language.say(say::METRIC)) } th.num { (language.say(say::BASELINE)) } th.num { (language.say(say::CANDIDATE)) }
                th.num { (language.say(say::EFFECT)) } th.num { (language.say(say::E_VALUE)) } th.num { (language.say(say::UNITS_NEEDED)) }
            } }
            tbody { @for evidence in &verdict.evidence { (evidence_row(evidence, language)) } }
        } }
    }
}

fn evidence_row(evidence: &Evidence, language: Language) -> Markup {
    let in_unit = |value: Option<f64>| shown(value, &evidence.unit, language);
    html! {
        tr {
            td { (evidence.decision.dot(language)) " " span title=[evidence.query.as_deref()] { (evidence.metric) }
                @if let Some(counts) = &evidence.counts { br; span.small.muted { (counts) } }
                @if let Some(query) = &evidence.query { br; code.small.muted { (query) } }
            }
            td.num { (in_unit(evidence.baseline)) }
            td.num { (in_unit(evidence.candidate)) }
            td.num { (in_unit(evidence.effect)) @if let Some((low, high)) = evidence.interval { br; span.small.muted { (in_unit(Some(low))) " … " (in_unit(Some(high))) } } }
            td.num {
                @match evidence.e_value { Some(value) => (e_value(value, language)), None => "–" }
                @if let Some(threshold) = evidence.threshold { br; span.small.muted { (language.fill(say::DECIDES_AT, &[&number(threshold, language)])) } }
                @if let (Some(value), Some(threshold)) = (evidence.e_value, evidence.threshold) { (e_bar(value, threshold)) }
            }
            td.num { @match evidence.units_needed { Some(units) => (count(units)), None => "–" } }
        }
    }
}

/// Evidence of any size: beyond a million its power of ten says enough.
fn e_value(value: f64, language: Language) -> String {
    if value < 1e6 {
        return number(value, language);
    }
    let power = value.log10().floor();
    if power >= 18.0 {
        let power = power.min(300.0);
        return format!("> 10^{power}");
    }
    format!("{}·10^{power}", number(value / 10f64.powf(power), language))
}

/// How far the evidence is, on a log scale from 1 to what decides.
fn e_bar(value: f64, threshold: f64) -> Markup {
    let far = if value > 1.0 && threshold > 1.0 {
        (value.ln() / threshold.ln()).clamp(0.0, 1.0) * 100.0
    } else {
        0.0
    };
    let tone = if far >= 100.0 {
        Tone::Critical
    } else if far > 50.0 {
        Tone::Warning
    } else {
        Tone::Quiet
    };
    html! {
        svg class={ "e-bar tone-" (tone.as_str()) } viewBox="0 0 100 3" preserveAspectRatio="none" aria-hidden="true" {
            rect.share-rest width="100" height="3" {}
            rect.e-part width=(far) height="3" {}
        }
    }
}

fn arms(rollout: &Rollout, language: Language) -> Markup {
    let (baseline, candidate) = (
        rollout.baseline_figures.as_ref(),
        rollout.candidate_figures.as_ref(),
    );
    type Read = fn(&ArmFigures, Language) -> String;
    let rows: [(&str, Read); 8] = [
        (language.say(say::RELEASE), |arm, _| arm.release.clone()),
        (language.say(say::REQUESTS_COUNT), |arm, _| count(arm.requests)),
        (language.say(say::PER_SECOND), |arm, language| {
            shown(arm.requests_per_second, "/s", language)
        }),
        (language.say(say::ERRORS_COUNT), |arm, _| count(arm.errors)),
        (language.say(say::ERRORS), |arm, language| {
            shown(arm.error_percent, "%", language)
        }),
        ("p50", |arm, language| shown(arm.p50_ms, "ms", language)),
        ("p95", |arm, language| shown(arm.p95_ms, "ms", language)),
        ("p99", |arm, language| shown(arm.p99_ms, "ms", language)),
    ];
    let cell = |arm: Option<&ArmFigures>, read: Read| match arm {
        Some(arm) => read(arm, language),
        None => language.say(say::NO_DATA).to_owned(),
    };
    html! {
        div.scroll { table.arms {
            thead { tr { th {} th.num { (language.say(say::BASELINE)) } th.num { (language.say(say::CANDIDATE)) } } }
            tbody { @for (name, read) in rows { tr { th { (name) } td.num { (cell(baseline, read)) } td.num { (cell(candidate, read)) } } } }
        } }
    }
}

fn chart_title(id: &str, title: &str, language: Language) -> String {
    match id {
        "requests" => language.say(say::RATE).to_owned(),
        "errors" => language.say(say::ERRORS).to_owned(),
        "latency" => language.say(say::RESPONSE).to_owned(),
        "weights" => language.say(say::TRAFFIC).to_owned(),
        _ => title.to_owned(),
    }
}

fn range(rollout: &Rollout) -> (Moment, Moment) {
    let times = || {
        rollout
            .charts
            .iter()
            .flat_map(|c| &c.series)
            .flat_map(|s| &s.points)
            .map(|(at, _)| *at)
    };
    let from = times().min().unwrap_or(rollout.summary.created_at.millis());
    let to = times()
        .max()
        .unwrap_or(rollout.summary.finished_at.map_or(now().0, Moment::millis));
    (Moment::from_millis(from), Moment::from_millis(to))
}

fn facts(rollout: &Rollout, language: Language) -> Markup {
    let summary = &rollout.summary;
    html! {
        dl.facts {
            dt { (language.say(say::STRATEGY)) } dd { (strategy(summary.strategy)) }
            @if let Some(run) = &summary.run { dt { (language.say(say::RUN)) } dd { (link(Some(&format!("/runs/{run}")), run)) } }
            @if let Some(url) = &rollout.preview_url { dt { (language.say(say::PREVIEW)) } dd { (outside_link(url, url)) } }
            dt { (language.say(say::DURATION)) } dd { (times::took(Some(summary.created_at), summary.finished_at, language)) }
            @if summary.state == RolloutState::RolledBack { dt { (language.say(say::STATE)) } dd { (summary.state_text) } }
        }
    }
}
