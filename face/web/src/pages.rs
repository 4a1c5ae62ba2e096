//! The pages: rendered here, made livelier by small scripts, complete without them.

mod explore;
mod figures;
mod flags;
mod incidents;
mod login;
mod logs;
mod notifications;
mod overview;
mod pipelines;
mod releases;
mod rollout;
mod run;
mod services;
mod settings;
mod traces;

pub(crate) use explore::metrics;
pub(crate) use figures::{Moving, moving_figures};
pub(crate) use flags::flags;
pub(crate) use incidents::{incident, incidents, postmortem};
pub(crate) use login::{log_in, log_out, login, set_language};
pub(crate) use logs::logs;
pub(crate) use notifications::notifications;
pub(crate) use overview::{overview, timeline};
pub(crate) use pipelines::pipelines;
pub(crate) use releases::{release, releases};
pub(crate) use rollout::rollout;
pub(crate) use run::run;
pub(crate) use services::services;
pub(crate) use settings::{create_token, settings};
pub(crate) use traces::{trace, traces};

use axum::extract::FromRequestParts;
use axum::response::Html;
use http::HeaderMap;
use http::request::Parts;
use maud::{Markup, html};
use trimtab_api::{Fault, FaultCode, Health, HealthStatus, Principal};
use trimtab_model::Role;

use crate::auth::{Caller, cookie};
use crate::failure::Failed;
use crate::parts::shell;
use crate::state::App;
use crate::text::{Language, Text, say};

/// Name of the cookie that remembers light or dark.
const THEME_COOKIE: &str = "trimtab_theme";

/// How a page looks to whoever asked, also when it failed.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) language: Language,
    /// `light`, `dark`, or empty for the system's.
    pub(crate) theme: &'static str,
    /// Path and query of the request.
    pub(crate) target: String,
}

impl Look {
    pub(crate) fn of(headers: &HeaderMap, target: &str) -> Self {
        let theme = match cookie(headers, THEME_COOKIE) {
            Some("light") => "light",
            Some("dark") => "dark",
            _ => "",
        };
        Look {
            language: Language::of(headers),
            theme,
            target: target.to_owned(),
        }
    }
}

/// What every page of a signed-in person has at hand.
pub(crate) struct Page {
    pub(crate) app: App,
    pub(crate) look: Look,
    pub(crate) caller: Principal,
    pub(crate) csrf: String,
    health: Option<Health>,
    waiting: usize,
    /// What the last form answered.
    flash: Option<String>,
}

impl FromRequestParts<App> for Page {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failed> {
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(|| {
            Fault::new(
                FaultCode::Unauthenticated,
                "failed to tell who asks",
                "open /login",
            )
        })?;
        let target = parts
            .uri
            .path_and_query()
            .map(|target| target.as_str())
            .unwrap_or("/");
        let (health, approvals) = tokio::join!(app.backend.health(), app.backend.approvals());
        let answerable = |approval: &trimtab_api::Approval| caller.principal.role >= approval.role;
        Ok(Page {
            look: Look::of(&parts.headers, target),
            csrf: caller
                .session
                .as_ref()
                .map(|session| app.sessions.csrf(session))
                .unwrap_or_default(),
            health: health.ok(),
            waiting: approvals.map_or(0, |approvals| approvals.iter().filter(|a| answerable(a)).count()),
            flash: crate::forms::flash_of(&parts.headers),
            caller: caller.principal,
            app: app.clone(),
        })
    }
}

impl Page {
    pub(crate) fn language(&self) -> Language {
        self.look.language
    }

    pub(crate) fn say(&self, text: Text) -> &'static str {
        self.look.language.say(text)
    }

    /// Whether the caller's role is at least this one.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.caller.role >= role
    }

    /// The whole page; `topics` are what makes its regions render again.
    pub(crate) fn render(
        &self,
        title: &str,
        here: shell::Section,
        topics: &[&str],
        body: Markup,
    ) -> Html<String> {
        let frame = shell::Frame {
            title,
            here: Some(here),
            topics,
            csrf: &self.csrf,
            caller: Some(&self.caller),
            health: self
                .health
                .as_ref()
                .map(|health| (health.status, health.reason.as_str())),
            waiting: self.waiting,
            flash: self.flash.as_deref(),
        };
        Html(shell::document(&self.look, &frame, body).into_string())
    }
}

/// The page for what failed: what, and the mend.
pub(crate) fn failure_page(_: &App, look: &Look, fault: &Fault) -> Html<String> {
    let title = look.language.say(match fault.code {
        FaultCode::NotFound => say::NOT_FOUND_TITLE,
        FaultCode::Forbidden | FaultCode::Unauthenticated => say::FORBIDDEN_TITLE,
        _ => say::FAILED_TITLE,
    });
    let body = html! {
        section.failure {
            p.failure-code { (fault.code.status()) }
            h1 { (title) }
            p { (fault.message) }
            @if !fault.mend.is_empty() { p.muted { (fault.mend) } }
            p { a.button href="/" { (look.language.say(say::BACK_TO_OVERVIEW)) } }
        }
    };
    let frame = shell::Frame {
        title,
        ..shell::Frame::default()
    };
    Html(shell::document(look, &frame, body).into_string())
}

/// The word for overall health.
pub(crate) fn health_word(status: HealthStatus) -> Text {
    match status {
        HealthStatus::Unknown => say::UNKNOWN,
        HealthStatus::Healthy => say::HEALTHY,
        HealthStatus::Degraded => say::DEGRADED,
        HealthStatus::Critical => say::CRITICAL,
    }
}
