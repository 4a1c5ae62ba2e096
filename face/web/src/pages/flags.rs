//! Feature flags: who gets what, who is compared, and what changed last.

use axum::response::Html;
use maud::{Markup, html};
use trimtab_api::{FlagDetail, FlagKind, FlagSetDetail, FlagsPast};

use super::Page;
use crate::failure::Failed;
use crate::parts::badges::{Tone, badge};
use crate::parts::shell::Section;
use crate::parts::{nothing, times};
use crate::text::{Language, percent, say};

/// Changes shown of each set.
const CHANGES_MAX: usize = 5;

/// `GET /flags`.
pub(crate) async fn flags(page: Page) -> Result<Html<String>, Failed> {
    let language = page.language();
    let mut sets = Vec::new();
    for summary in page.app.backend.flag_sets().await? {
        let (service, environment) = (&summary.service, &summary.environment);
        let set = page.app.backend.flag_set(service, environment).await?;
        let past = page.app.backend.flag_history(service, environment).await?;
        sets.push((set, past));
    }
    let topics: Vec<String> = sets
        .iter()
        .map(|(set, _)| format!("flags:{}/{}", set.summary.service, set.summary.environment))
        .collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let body = html! {
        header.page-head { h1 { (page.say(say::FLAGS)) } }
        div data-region="flags" {
            @if sets.is_empty() { (nothing(page.say(say::NO_FLAGS))) }
            @for (set, past) in &sets { (one(set, past, language)) }
        }
    };
    Ok(page.render(page.say(say::FLAGS), Section::Flags, &topics, body))
}

fn one(set: &FlagSetDetail, past: &[FlagsPast], language: Language) -> Markup {
    let summary = &set.summary;
    html! {
        section {
            h2 { (summary.service) " · " (summary.environment) }
            p.small.muted { (language.fill(say::FLAGS_VERSION, &[&summary.version.to_string()])) }
            div.scroll { table {
                thead { tr {
                    th { (language.say(say::FLAG)) } th { (language.say(say::STATE)) }
                    th.num { (language.say(say::FLAG_EXPOSED)) } th.num { (language.say(say::FLAG_CONTROL)) }
                    th { (language.say(say::FLAG_ASKED)) } th { (language.say(say::FLAG_CHANGED)) }
                } }
                tbody { @for flag in &set.by_key { (row(flag, language)) } }
            } }
            @if !past.is_empty() { (changes(past, language)) }
        }
    }
}

fn row(flag: &FlagDetail, language: Language) -> Markup {
    let compared = flag.share.is_some() || flag.users.exposed + flag.users.control > 0;
    html! {
        tr {
            td { code { (flag.key) } }
            td { (state(flag, language)) }
            td.num { @if compared { (flag.users.exposed) } @else { "–" } }
            td.num { @if compared { (flag.users.control) } @else { "–" } }
            td { @match flag.asked_at { Some(at) => (times::date(at)), None => span.muted { (language.say(say::NEVER)) } } }
            td { @if let Some(at) = flag.changed_at { (times::date(at)) }
                 @if let Some(by) = &flag.changed_by { " " span.muted { (by) } } }
        }
    }
}

fn state(flag: &FlagDetail, language: Language) -> Markup {
    let default = flag.default_variant.as_deref().unwrap_or("–");
    match (&flag.share, flag.kind) {
        (_, FlagKind::Disabled) => badge(Tone::Quiet, language.say(say::FLAG_DISABLED)),
        (Some(share), _) => html! {
            (badge(Tone::Active, &share.on)) " " (percent(share.percent, language))
        },
        (None, FlagKind::Static) => html! { (language.say(say::FLAG_EVERYBODY)) " " code { (default) } },
        (None, FlagKind::Targeting) => html! { (language.say(say::FLAG_TARGETING)) },
        (None, FlagKind::Split) => html! { (language.say(say::FLAG_SPLIT)) },
    }
}

fn changes(past: &[FlagsPast], language: Language) -> Markup {
    html! {
        details {
            summary { (language.say(say::FLAG_CHANGES)) }
            ul { @for change in past.iter().take(CHANGES_MAX) {
                li {
                    (times::date(change.at)) " · " (change.by) ": " (change.reason) " "
                    span.small.muted {
                        @for entry in &change.entries { code { (entry.section) "." (entry.key) } " " }
                    }
                }
            } }
        }
    }
}
