//! The frame around every page.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use trimtab_api::{HealthStatus, Principal};

use super::badges::{Tone, badge, icon};
use crate::pages::{Look, health_word};
use crate::text::{Language, Text, say};

/// The logo: a rudder with its trim tab.
pub(crate) const LOGO: &str = include_str!("../../assets/logo.svg");

/// Where a page belongs in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Pipelines,
    Releases,
    Incidents,
    Logs,
    Metrics,
    Traces,
    Services,
    Flags,
    Timeline,
    Notifications,
    Settings,
}

const NAVIGATION: &[(Section, &str, Text)] = &[
    (Section::Overview, "/", say::OVERVIEW),
    (Section::Pipelines, "/pipelines", say::PIPELINES),
    (Section::Releases, "/releases", say::RELEASES),
    (Section::Incidents, "/incidents", say::INCIDENTS),
    (Section::Timeline, "/timeline", say::TIMELINE),
    (Section::Logs, "/explore/logs", say::LOGS),
    (Section::Metrics, "/explore/metrics", say::METRICS),
    (Section::Traces, "/explore/traces", say::TRACES),
    (Section::Services, "/services", say::SERVICES),
    (Section::Flags, "/flags", say::FLAGS),
    (Section::Notifications, "/notifications", say::NOTIFICATIONS),
    (Section::Settings, "/settings", say::SETTINGS),
];

/// What the frame needs to know.
#[derive(Default)]
pub(crate) struct Frame<'a> {
    pub(crate) title: &'a str,
    pub(crate) here: Option<Section>,
    pub(crate) topics: &'a [&'a str],
    pub(crate) csrf: &'a str,
    pub(crate) caller: Option<&'a Principal>,
    pub(crate) health: Option<(HealthStatus, &'a str)>,
    pub(crate) waiting: usize,
    pub(crate) flash: Option<&'a str>,
}

/// The document.
pub(crate) fn document(look: &Look, frame: &Frame<'_>, body: Markup) -> Markup {
    let language = look.language;
    let topics = frame
        .topics
        .iter()
        .chain(&["health", "approvals"])
        .copied()
        .collect::<Vec<_>>()
        .join(",");
    html! {
        (DOCTYPE)
        html lang=(language.code()) data-theme=[(!look.theme.is_empty()).then_some(look.theme)] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="csrf" content=(frame.csrf);
                title { (frame.title) " · Trimtab" }
                link rel="icon" href="/assets/logo.svg" type="image/svg+xml";
                link rel="preload" href="/assets/fonts/inter-latin-wght-normal.woff2" as="font" type="font/woff2" crossorigin;
                @for sheet in ["vendor/uPlot.min", "base", "layout", "parts", "pages"] {
                    link rel="stylesheet" href={ "/assets/" (sheet) ".css" };
                }
                script type="module" src="/assets/app.js" {}
            }
            body data-topics=[frame.caller.map(|_| topics)]
                data-words-live=(language.say(say::LIVE))
                data-words-paused=(language.say(say::PAUSED_LIVE))
                data-words-reconnecting=(language.say(say::RECONNECTING)) {
                a.skip href="#content" { (language.say(say::SKIP_TO_CONTENT)) }
                @if let Some(caller) = frame.caller {
                    (side(look, frame, caller))
                }
                main #content tabindex="-1" {
                    @if let Some(flash) = frame.flash {
                        p.flash role="status" { (flash) }
                    }
                    (body)
                }
            }
        }
    }
}

fn side(look: &Look, frame: &Frame<'_>, caller: &Principal) -> Markup {
    let language = look.language;
    html! {
        header.side {
            a.brand href="/" { (PreEscaped(LOGO)) span { "Trimtab" } }
            div.side-health data-region="side-health" {
                @if let Some((status, reason)) = frame.health {
                    a href="/" title=(reason) { (badge(Tone::of_health(status), language.say(health_word(status)))) }
                }
            }
            nav aria-label=(language.say(say::MAIN_NAVIGATION)) {
                ul data-region="side-nav" {
                    @for (section, path, text) in NAVIGATION {
                        li {
                            a href=(path) aria-current=[(frame.here == Some(*section)).then_some("page")] {
                                (nav_icon(*section)) span { (language.say(*text)) }
                                @if *section == Section::Pipelines && frame.waiting > 0 {
                                    span.count title=(language.say(say::APPROVALS_WAIT)) { (frame.waiting) }
                                }
                            }
                        }
                    }
                }
            }
            div.side-foot {
                span.live-mark data-live-mark role="status" {}
                div.side-tools {
                    button.plain.icon-button type="button" data-theme-toggle hidden aria-label=(language.say(say::THEME)) title=(language.say(say::THEME)) { (icon("contrast")) }
                    @for other in Language::ALL.into_iter().filter(|other| *other != language) {
                        a href={ "/language/" (other.code()) "?back=" (encoded(&look.target)) } hreflang=(other.code()) lang=(other.code()) { (other.name()) }
                    }
                }
                p.muted.small { (language.say(say::YOU_ARE)) " " b { (caller.name) } " · " (caller.role) }
                form method="post" action="/logout" {
                    input type="hidden" name="csrf" value=(frame.csrf);
                    button.plain.small type="submit" { (language.say(say::LOG_OUT)) }
                }
            }
        }
    }
}

/// A text for use inside a query string.
pub(crate) fn encoded(text: &str) -> String {
    trimtab_api::routes::fill("{}", &[text])
}

fn nav_icon(section: Section) -> Markup {
    icon(match section {
        Section::Overview => "gauge",
        Section::Pipelines => "flow",
        Section::Releases => "box",
        Section::Incidents => "bell",
        Section::Timeline => "clock",
        Section::Logs => "lines",
        Section::Metrics => "chart",
        Section::Traces => "bars",
        Section::Services => "server",
        Section::Flags => "flag",
        Section::Notifications => "send",
        Section::Settings => "cog",
    })
}
