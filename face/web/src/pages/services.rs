//! Services, their environments and instances.

use axum::response::Html;
use maud::{Markup, html};
use trimtab_api::{EntranceMode, Environment, Instance, Service};

use super::Page;
use crate::failure::Failed;
use crate::parts::acts::{Weight, act_with};
use crate::parts::badges::{State as _, Tone, dot};
use crate::parts::shell::Section;
use crate::parts::{nothing, outside_link, short_commit, times};
use crate::text::{Language, Text, percent, say};

/// `GET /services`.
pub(crate) async fn services(page: Page) -> Result<Html<String>, Failed> {
    let services = page.app.backend.services().await?;
    let body = html! {
        header.page-head { h1 { (page.say(say::SERVICES)) } }
        div data-region="services" {
            @if services.is_empty() { (nothing(page.say(say::NO_SERVICES))) }
            @for service in &services { (one(&page, service)) }
        }
    };
    Ok(page.render(page.say(say::SERVICES), Section::Services, &["services"], body))
}

fn one(page: &Page, service: &Service) -> Markup {
    let language = page.language();
    html! {
        section {
            h2 { (service.name) }
            p.small.muted {
                @if let Some(repository) = &service.repository { (language.say(say::REPOSITORY)) ": " code { (repository) } }
                @if let Some(branch) = &service.branch { " · " code { (branch) } }
            }
            div.columns.columns-even { @for environment in &service.environments { (one_environment(page, &service.name, environment)) } }
        }
    }
}

fn one_environment(page: &Page, service: &str, environment: &Environment) -> Markup {
    let language = page.language();
    html! {
        section.panel {
            header { h3 { (environment.name) } (environment.health.badge(language)) }
            p {
                @match &environment.release {
                    Some(release) => {
                        a href={ "/releases/" (release) } { (release) }
                        @if let Some(commit) = &environment.commit { " " code { (short_commit(commit)) } }
                        @if let Some(since) = environment.since { " " span.muted.small { (language.fill(say::SINCE, &[""])) (times::date(since)) } }
                    }
                    None => span.muted { (language.say(say::SERVES_NOTHING)) },
                }
                @if let Some(rollout) = &environment.rollout { " · " a href={ "/rollouts/" (rollout) } { (rollout) } }
            }
            (steering(page, service, environment))
            @if let Some(url) = &environment.url { p.small { (outside_link(url, url)) } }
            @if !environment.instances.is_empty() { (instances(&environment.instances, language)) }
        }
    }
}

/// Whether users get through, how many instances a person wants, and the buttons that change it.
fn steering(page: &Page, service: &str, environment: &Environment) -> Markup {
    let to = |mode: &str, more: Markup| {
        html! {
            input type="hidden" name="mode" value=(mode);
            input type="hidden" name="environment" value=(environment.name);
            (more)
        }
    };
    let seconds = |usual: u32, most: u32| {
        html! { label { (page.say(say::FOR_SECONDS)) input type="number" name="seconds" value=(usual) min="1" max=(most) required; } }
    };
    html! {
        @if let Some(state) = &environment.entrance {
            p { (dot(Tone::Warning, page.say(mode_word(state.mode)))) " " b { (page.say(mode_word(state.mode))) } " · " (state.by) " · " (times::date(state.since))
                @if let Some(until) = state.until { " → " (times::time(until)) }
                @if !state.reason.is_empty() { " · " (state.reason) }
            }
        }
        @if let Some(scale) = &environment.scale {
            p { (page.language().fill(say::SCALED_TO, &[&scale.instances.to_string()])) " · " (scale.by) " · " (times::date(scale.since))
                @if !scale.reason.is_empty() { " · " (scale.reason) }
            }
        }
        @if environment.release.is_some() {
            div.acts {
                @if environment.rollout.is_none() { (act_with(page, "scale", service, say::SCALE, Weight::Plain, instances_wanted(page, environment))) }
                @if environment.entrance.is_some() { (act_with(page, "entrance", service, say::OPEN_ENTRANCE, Weight::Primary, to("open", html! {}))) }
                (act_with(page, "entrance", service, say::HOLD_ENTRANCE, Weight::Plain, to("held", seconds(30, 120))))
                (act_with(page, "entrance", service, say::CLOSE_ENTRANCE, Weight::Grave, to("closed", seconds(60, 86_400))))
            }
        }
    }
}

/// The fields of a form that scales.
fn instances_wanted(page: &Page, environment: &Environment) -> Markup {
    let serving = environment.instances.iter();
    let serving = serving.filter(|instance| environment.release.as_ref() == Some(&instance.release));
    let wanted = match &environment.scale {
        Some(scale) => scale.instances as usize,
        None => serving.count().max(1),
    };
    html! {
        input type="hidden" name="environment" value=(environment.name);
        label { (page.say(say::INSTANCES)) input type="number" name="instances" value=(wanted) min="1" max="100"; }
        p.muted.small { (page.say(say::SCALE_HINT)) }
    }
}

fn mode_word(mode: EntranceMode) -> Text {
    match mode {
        EntranceMode::Open => say::ENTRANCE_OPEN,
        EntranceMode::Held => say::ENTRANCE_HELD,
        EntranceMode::Closed => say::ENTRANCE_CLOSED,
    }
}

fn instances(instances: &[Instance], language: Language) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th { (language.say(say::INSTANCE)) } th { (language.say(say::STATE)) } th.num { (language.say(say::CPU)) } th.num { (language.say(say::MEMORY)) } th.num { (language.say(say::RESTARTS)) } } }
            tbody { @for instance in instances {
                @let memory = crate::parts::charts::shown(instance.memory_bytes.map(|bytes| bytes as f64), "bytes", language);
                tr {
                    td { (instance.id) br; span.small.muted { (instance.address) @if let Some(probe) = &instance.last_probe { " · " (probe) } } }
                    td { (instance.state.badge(language)) }
                    td.num { @match instance.cpu_percent { Some(cpu) => (percent(cpu, language)), None => (language.say(say::NO_DATA)) } }
                    td.num { (memory) }
                    td.num { (instance.restarts) }
                }
            } }
        } }
    }
}
