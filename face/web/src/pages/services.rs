//! Services, their environments and instances.

use axum::response::Html;
use maud::{Markup, html};
use trimtab_api::{Environment, Instance, Service};

use super::Page;
use crate::failure::Failed;
use crate::parts::badges::State as _;
use crate::parts::shell::Section;
use crate::parts::{nothing, outside_link, short_commit, times};
use crate::text::{Language, percent, say};

/// `GET /services`.
pub(crate) async fn services(page: Page) -> Result<Html<String>, Failed> {
    let services = page.app.backend.services().await?;
    let language = page.language();
    let body = html! {
        header.page-head { h1 { (page.say(say::SERVICES)) } }
        div data-region="services" {
            @if services.is_empty() { (nothing(page.say(say::NO_SERVICES))) }
            @for service in &services { (one(service, language)) }
        }
    };
    Ok(page.render(page.say(say::SERVICES), Section::Services, &["services"], body))
}

fn one(service: &Service, language: Language) -> Markup {
    html! {
        section {
            h2 { (service.name) }
            p.small.muted {
                @if let Some(repository) = &service.repository { (language.say(say::REPOSITORY)) ": " code { (repository) } }
                @if let Some(branch) = &service.branch { " · " code { (branch) } }
            }
            div.columns.columns-even { @for environment in &service.environments { (one_environment(environment, language)) } }
        }
    }
}

fn one_environment(environment: &Environment, language: Language) -> Markup {
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
            @if let Some(url) = &environment.url { p.small { (outside_link(url, url)) } }
            @if !environment.instances.is_empty() { (instances(&environment.instances, language)) }
        }
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
