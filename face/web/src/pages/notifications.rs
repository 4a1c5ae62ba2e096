//! What was sent to whom, and what could not be.

use axum::extract::Query;
use axum::response::Html;
use maud::{Markup, html};
use trimtab_api::{Delivery, DeliveryState, NotificationQuery};

use super::Page;
use crate::failure::Failed;
use crate::parts::acts::quick;
use crate::parts::badges::State as _;
use crate::parts::shell::Section;
use crate::parts::{link, nothing, times};
use crate::text::say;

/// `GET /notifications`.
pub(crate) async fn notifications(
    page: Page,
    Query(query): Query<NotificationQuery>,
) -> Result<Html<String>, Failed> {
    let dead = query.dead == Some(true);
    let deliveries = page.app.backend.notifications(query).await?;
    let body = html! {
        header.page-head { h1 { (page.say(say::NOTIFICATIONS)) } }
        div.choices {
            a href="/notifications" aria-current=[(!dead).then_some("true")] { (page.say(say::ALL)) }
            a href="/notifications?dead=true" aria-current=[dead.then_some("true")] { (page.say(say::DEAD_LETTERS)) }
        }
        div data-region="notifications" {
            @if deliveries.is_empty() { (nothing(page.say(say::NO_NOTIFICATIONS))) } @else {
                div.scroll { table {
                    thead { tr { th { (page.say(say::TIME)) } th { (page.say(say::CHANNEL)) } th { (page.say(say::TITLE)) } th { (page.say(say::STATE)) } th.num { (page.say(say::ATTEMPTS)) } th {} } }
                    tbody { @for delivery in &deliveries { (row(&page, delivery)) } }
                } }
            }
        }
    };
    Ok(page.render(
        page.say(say::NOTIFICATIONS),
        Section::Notifications,
        &["notifications"],
        body,
    ))
}

fn row(page: &Page, delivery: &Delivery) -> Markup {
    let language = page.language();
    html! {
        tr {
            td { (times::date(delivery.created_at)) }
            td { (delivery.channel) br; span.small.muted { (delivery.receiver) } }
            td {
                @if let Some(severity) = delivery.severity { (severity.dot(language)) " " }
                (link(delivery.link.as_deref(), &delivery.title))
                @if let Some(error) = &delivery.last_error { br; span.small.muted { (error) } }
            }
            td { (delivery.state.badge(language)) }
            td.num { (delivery.attempts) }
            td { @if delivery.state == DeliveryState::Dead { (quick(page, "retry", &delivery.id, say::RETRY)) } }
        }
    }
}
