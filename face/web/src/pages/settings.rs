//! Preferences, tokens and checks.

use axum::Extension;
use axum::response::Html;
use maud::{Markup, html};
use trimtab_api::{CheckState, Doctor, Fault, NewToken, Token, TokenCreated};
use trimtab_model::Role;

use super::Page;
use crate::auth::{Caller, Fields};
use crate::failure::Failed;
use crate::parts::acts::quick;
use crate::parts::badges::State as _;
use crate::parts::shell::{Section, encoded};
use crate::parts::times;
use crate::text::{Language, say};

/// `GET /settings`.
pub(crate) async fn settings(page: Page) -> Result<Html<String>, Failed> {
    show(page, None).await
}

/// `POST /do/create-token`: the secret is shown in the answer itself, and nowhere again.
pub(crate) async fn create_token(
    page: Page,
    Extension(caller): Extension<Caller>,
    Extension(fields): Extension<Fields>,
) -> Result<Html<String>, Failed> {
    let role = fields
        .text("role")
        .parse()
        .map_err(|problem: String| Fault::invalid(problem, ""))?;
    let days = match fields.text("days") {
        "" => None,
        days => Some(
            days.parse()
                .map_err(|_| Fault::invalid("failed to read the days", "give a whole number"))?,
        ),
    };
    let new = NewToken {
        name: fields.text("name").to_owned(),
        role,
        days,
    };
    let created = crate::forms::make_token(&page.app, &caller, new).await?;
    show(page, Some(created)).await
}

async fn show(page: Page, created: Option<TokenCreated>) -> Result<Html<String>, Failed> {
    let doctor = page.app.backend.doctor().await.ok();
    let tokens = if page.may(Role::Admin) {
        Some(page.app.backend.tokens().await?)
    } else {
        None
    };
    let language = page.language();
    let body = html! {
        header.page-head { h1 { (page.say(say::SETTINGS)) } }
        @if let Some(created) = &created {
            section.panel.tone-good role="status" {
                p { (page.say(say::TOKEN_ONCE)) }
                pre.secret { code { (created.secret) } }
                p.small.muted { (created.token.name) " · " (created.token.role) }
            }
        }
        section.panel {
            h2 { (page.say(say::PREFERENCES)) }
            p.choices { (page.say(say::LANGUAGE)) ": " @for other in Language::ALL { a href={ "/language/" (other.code()) "?back=" (encoded("/settings")) } aria-current=[(other == language).then_some("true")] lang=(other.code()) { (other.name()) } } }
        }
        @if let Some(tokens) = &tokens { section.panel data-region="tokens" { h2 { (page.say(say::TOKENS)) } (list(&page, tokens)) } (new_token(&page)) }
        @if let Some(doctor) = &doctor { section.panel { h2 { (page.say(say::CHECKS)) } (checks(doctor, language)) } }
    };
    Ok(page.render(page.say(say::SETTINGS), Section::Settings, &["tokens"], body))
}

fn list(page: &Page, tokens: &[Token]) -> Markup {
    let or_never = |at| html! { @match at { Some(at) => (times::date(at)), None => (page.say(say::NEVER)) } };
    html! {
        div.scroll { table {
            thead { tr { th { (page.say(say::NAME)) } th { (page.say(say::ROLE)) } th { (page.say(say::CREATED)) } th { (page.say(say::EXPIRES)) } th { (page.say(say::LAST_USED)) } th {} } }
            tbody { @for token in tokens {
                tr {
                    td { (token.name) } td { (token.role) }
                    td { (times::date(token.created_at)) " " span.muted.small { (token.created_by) } }
                    td { (or_never(token.expires_at)) } td { (or_never(token.last_used_at)) }
                    td { (quick(page, "revoke-token", &token.id, say::REVOKE)) }
                }
            } }
        } }
    }
}

fn new_token(page: &Page) -> Markup {
    html! {
        form.filters.panel method="post" action="/do/create-token" {
            input type="hidden" name="csrf" value=(page.csrf);
            label { (page.say(say::NAME)) input type="text" name="name" required maxlength="63" pattern="[a-z0-9][a-z0-9._\\-]*"; }
            label { (page.say(say::ROLE)) select name="role" { @for role in Role::ALL { option value=(role) { (role) } } } }
            label { (page.say(say::TOKEN_DAYS)) input type="number" name="days" min="1" max="3650"; }
            button.button.primary type="submit" { (page.say(say::CREATE_TOKEN)) }
        }
    }
}

fn checks(doctor: &Doctor, language: Language) -> Markup {
    html! {
        ul.actions { @for check in &doctor.checks {
            li { (check.state.dot(language)) div { p { b { (check.name) } " " (check.text) } @if check.state != CheckState::Ok && !check.mend.is_empty() { p.small.muted { (check.mend) } } } }
        } }
    }
}
