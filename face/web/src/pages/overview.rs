//! The overview: health, the rollout, rate, errors and duration, then the rest of D, one timeline.

use axum::extract::Query;
use axum::response::Html;
use maud::{Markup, html};
use trimtab_api::{Chart, Dashboard, DashboardQuery, Figure, FigureGroup, TimelineQuery};

use super::figures::tile;
use super::rollout::strip;
use super::{Page, health_word};
use crate::failure::Failed;
use crate::parts::badges::{Tone, badge, icon};
use crate::parts::shell::{Section, encoded};
use crate::parts::{charts, link, nothing, times};
use crate::text::{Language, number, percent, say};

/// Time ranges to choose from, in minutes.
const RANGES: [u32; 5] = [5, 15, 60, 360, 1_440];

/// `GET /`.
pub(crate) async fn overview(
    page: Page,
    Query(query): Query<DashboardQuery>,
) -> Result<Html<String>, Failed> {
    let dashboard = page
        .app
        .dashboards
        .get(page.app.backend.as_ref(), query.clone())
        .await?;
    let language = page.language();
    let minutes = query.minutes.unwrap_or(15);
    let data = data_address(&dashboard, minutes);
    let body = html! {
        h1.unseen { (page.say(say::OVERVIEW)) }
        div data-region="banner" { (banner(&dashboard, language)) }
        div data-region="strip" { (rollouts(&page, &dashboard)) }
        div.toolbar { (ranges(&page, &dashboard, minutes)) (freshness(&dashboard, language)) }
        div data-charts=(data) data-figures {
            section.charts aria-label=(page.say(say::RATE)) {
                @for id in ["requests", "errors", "latency"] {
                    @if let Some(chart) = dashboard.charts.iter().find(|chart| chart.id == id) { (one_chart(chart, &dashboard, language)) }
                }
            }
            div data-region="lane" { (charts::lane(&dashboard.markers, (dashboard.from, dashboard.to), language)) }
            @for (group, title) in [(FigureGroup::Application, say::APPLICATION), (FigureGroup::System, say::SYSTEM), (FigureGroup::Business, say::BUSINESS), (FigureGroup::Quality, say::QUALITY)] {
                (group_of_tiles(&dashboard, group, language.say(title), language))
            }
            @let more: Vec<&Chart> = dashboard.charts.iter().filter(|chart| !matches!(chart.id.as_str(), "requests" | "errors" | "latency")).collect();
            @if !more.is_empty() {
                section.charts.charts-small { @for chart in more { (one_chart(chart, &dashboard, language)) } }
            }
        }
        section {
            h2 { a href="/timeline" { (page.say(say::TIMELINE)) } }
            div data-region="timeline" {
                @if dashboard.timeline.is_empty() { (nothing(page.say(say::NOTHING_YET))) } @else { (times::timeline(&dashboard.timeline, false)) }
            }
        }
    };
    let topics = ["rollouts", "incidents", "timeline", "services"];
    Ok(page.render(page.say(say::OVERVIEW), Section::Overview, &topics, body))
}

/// Address of the same data as JSON, for the scripts.
fn data_address(dashboard: &Dashboard, minutes: u32) -> String {
    let mut address = format!(
        "/api/v1/dashboard?minutes={minutes}&environment={}",
        encoded(&dashboard.environment)
    );
    if let Some(service) = &dashboard.service {
        address.push_str("&service=");
        address.push_str(&encoded(service));
    }
    address
}

/// Overall health with its reason, the error budget, and the counts of alerts (D.AL1 to D.AL3).
fn banner(dashboard: &Dashboard, language: Language) -> Markup {
    let health = &dashboard.health;
    let tone = Tone::of_health(health.status);
    html! {
        section class={ "banner tone-" (tone.as_str()) } data-health=(health.status.as_str()) role="status" {
            div.banner-state { (badge(tone, language.say(health_word(health.status)))) }
            div.banner-reason {
                p.banner-text { (health.reason) }
                @if health.reasons.len() > 1 {
                    ul.reasons {
                        @for reason in health.reasons.iter().skip(1).take(4) {
                            li class={ "tone-" (Tone::of_health(reason.status).as_str()) } { b { (link(reason.link.as_deref(), &reason.subject)) } " " (reason.text) }
                        }
                    }
                }
            }
            @if let Some(budget) = &health.budget {
                div.budget {
                    p.small.muted { (language.say(say::ERROR_BUDGET)) }
                    p.budget-value.num {
                        @match budget.left_percent { Some(left) => b { (percent(left, language)) }, None => b { (language.say(say::NO_DATA)) } }
                    }
                    @if let Some(left) = budget.left_percent { (charts::share_bar(left, charts::From::Left, &percent(left, language))) }
                    p.small.muted {
                        (language.fill(say::BUDGET_OF, &[&percent(budget.objective_percent, language), &budget.window]))
                        @if let Some(rate) = budget.burn_rate { " · " (language.fill(say::BURN_RATE, &[&number(rate, language)])) }
                    }
                }
            }
            (alerts(dashboard, language))
        }
        @if !dashboard.incidents.is_empty() {
            ul.open-incidents {
                @for incident in &dashboard.incidents {
                    li { (super::incidents::row_short(incident, language)) }
                }
            }
        }
    }
}

fn alerts(dashboard: &Dashboard, language: Language) -> Markup {
    let figures = dashboard
        .figures
        .iter()
        .filter(|figure| figure.group == FigureGroup::Alerts && figure.id != "D.AL1");
    html! {
        dl.alerts {
            @for of in figures {
                @let count = of.value.unwrap_or_default();
                @let tone = if of.value.is_none() || count == 0.0 { Tone::Quiet } else if of.id == "D.AL3" { Tone::Critical } else { Tone::Warning };
                div class={ "tone-" (tone.as_str()) } data-figure=(of.id) {
                    dt { (icon(if of.id == "D.AL3" { "octagon" } else { "triangle" })) (super::figures::title(of, language)) }
                    dd.num data-value { (super::figures::value(of, language).value) }
                }
            }
        }
    }
}

fn rollouts(page: &Page, dashboard: &Dashboard) -> Markup {
    html! {
        @if dashboard.rollouts.is_empty() { (nothing(page.say(say::NO_ROLLOUT))) }
        @for rollout in &dashboard.rollouts { (strip(page, rollout)) }
    }
}

fn ranges(page: &Page, dashboard: &Dashboard, minutes: u32) -> Markup {
    let address = |service: Option<&str>, environment: &str, minutes: u32| {
        let service = service
            .map(|service| format!("&service={}", encoded(service)))
            .unwrap_or_default();
        format!(
            "/?minutes={minutes}&environment={}{service}",
            encoded(environment)
        )
    };
    let (here, service) = (&dashboard.environment, dashboard.service.as_deref());
    let label = |minutes: u32| match minutes {
        m if m < 60 => format!("{m}\u{202f}{}", page.say(say::MINUTES)),
        m => format!("{}\u{202f}{}", m / 60, page.say(say::HOURS)),
    };
    html! {
        div.choices role="group" aria-label=(page.say(say::SERVICE)) {
            @for service in &dashboard.services {
                a href=(address(Some(service), here, minutes)) aria-current=[(dashboard.service.as_ref() == Some(service)).then_some("true")] { (service) }
            }
        }
        div.choices role="group" aria-label=(page.say(say::ENVIRONMENT)) {
            @for environment in &dashboard.environments {
                a href=(address(service, environment, minutes)) aria-current=[(environment == here).then_some("true")] { (environment) }
            }
        }
        div.choices role="group" aria-label=(page.say(say::RANGE)) {
            @for range in RANGES {
                a href=(address(service, here, range)) aria-current=[(range == minutes).then_some("true")] { (label(range)) }
            }
        }
    }
}

fn freshness(dashboard: &Dashboard, language: Language) -> Markup {
    html! {
        p.freshness.small {
            @match dashboard.data_as_of {
                Some(at) => { span data-fresh=(at) { (language.fill(say::FRESH, &[&crate::text::clock(at)])) } }
                None => { span data-fresh="" { (language.say(say::NO_SAMPLES)) } }
            }
        }
    }
}

fn one_chart(chart: &Chart, dashboard: &Dashboard, language: Language) -> Markup {
    let title = match chart.id.as_str() {
        "requests" => language.say(say::RATE),
        "errors" => language.say(say::ERRORS),
        "latency" => language.say(say::RESPONSE),
        "cpu" => language.say(say::CPU),
        "memory" => language.say(say::MEMORY),
        "disk" => language.say(say::DISK),
        "network" => language.say(say::NETWORK),
        _ => &chart.title,
    };
    charts::chart(
        chart,
        title,
        (dashboard.from, dashboard.to),
        &dashboard.markers,
        language,
    )
}

fn group_of_tiles(dashboard: &Dashboard, group: FigureGroup, title: &str, language: Language) -> Markup {
    let figures: Vec<&Figure> = dashboard
        .figures
        .iter()
        .filter(|figure| figure.group == group)
        .collect();
    html! {
        @if !figures.is_empty() {
            section.tiles-group {
                h2 { (title) }
                div.tiles { @for figure in figures { (tile(figure, language)) } }
            }
        }
    }
}

/// `GET /timeline`.
pub(crate) async fn timeline(page: Page, Query(query): Query<TimelineQuery>) -> Result<Html<String>, Failed> {
    let limit = query.limit.unwrap_or(100).min(500);
    let entries = page
        .app
        .backend
        .timeline(TimelineQuery {
            limit: Some(limit),
            ..query
        })
        .await?;
    let body = html! {
        header.page-head { h1 { (page.say(say::TIMELINE)) } }
        section data-region="timeline" {
            @if entries.is_empty() { (nothing(page.say(say::NOTHING_YET))) } @else { (times::timeline(&entries, true)) }
            @if let Some(before) = entries.last().and_then(|entry| entry.position).filter(|_| entries.len() >= limit) {
                p { a.button href={ "/timeline?before=" (before) } { "…" } }
            }
        }
    };
    Ok(page.render(page.say(say::TIMELINE), Section::Timeline, &["timeline"], body))
}
