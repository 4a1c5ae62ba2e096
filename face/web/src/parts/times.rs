//! Times and the timeline.

use maud::{Markup, html};
use trimtab_api::{Moment, TimelineEntry, TimelineKind};

use super::badges::{Tone, icon};
use super::link;
use crate::text::{Language, clock, day_and_clock, duration_ms};

/// A time of day; the script turns it into local time.
pub(crate) fn time(at: Moment) -> Markup {
    html! { time datetime=(at) title={ (at) } data-local="clock" { (clock(at)) } }
}

/// A day with its time.
pub(crate) fn date(at: Moment) -> Markup {
    html! { time datetime=(at) title={ (at) } data-local="day" { (day_and_clock(at)) } }
}

/// How long something took, or takes so far.
pub(crate) fn took(from: Option<Moment>, to: Option<Moment>, language: Language) -> Markup {
    let Some(from) = from else { return html! { "–" } };
    match to {
        Some(to) => {
            let shown = duration_ms((to.millis() - from.millis()).max(0) as f64, language);
            html! { span.num { (shown.value) "\u{202f}" (shown.unit) } }
        }
        None => html! { span.num data-since=(from) { "…" } },
    }
}

/// Entries of the timeline as a list.
pub(crate) fn timeline(entries: &[TimelineEntry], days: bool) -> Markup {
    html! {
        ol.timeline {
            @for entry in entries {
                li class={ "tone-" (Tone::of_text(&entry.tone).as_str()) } {
                    span.timeline-mark { (icon(kind_icon(entry.kind))) }
                    @if days { (date(entry.at)) } @else { (time(entry.at)) }
                    div {
                        p { (link(entry.link.as_deref(), &entry.text)) }
                        @if !entry.detail.is_empty() { p.muted.small { (entry.detail) } }
                    }
                    span.muted.small.timeline-actor { (entry.actor) }
                }
            }
        }
    }
}

fn kind_icon(kind: TimelineKind) -> &'static str {
    match kind {
        TimelineKind::Pipeline => "flow",
        TimelineKind::Rollout => "box",
        TimelineKind::Traffic => "arrow",
        TimelineKind::Anomaly => "triangle",
        TimelineKind::Incident => "bell",
        TimelineKind::Action => "cog",
        TimelineKind::Notification => "send",
        TimelineKind::Approval => "check",
        TimelineKind::Code => "lines",
        TimelineKind::Learning => "chart",
        TimelineKind::Configuration => "server",
        TimelineKind::Other => "dash",
    }
}
