//! Which handler serves which route of the list.

use axum::handler::Handler;
use axum::routing::{self as to, MethodRouter};
use trimtab_api::routes::Method;

use crate::state::App;
use crate::{assets, flags, forms, json, live, ofrep, pages};

pub(crate) type Registration = (Method, &'static str, MethodRouter<App>);

fn get<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Registration {
    (Method::Get, path, to::get(handler))
}

fn post<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Registration {
    (Method::Post, path, to::post(handler))
}

fn delete<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Registration {
    (Method::Delete, path, to::delete(handler))
}

/// Every route with its handler; a test compares it with the list of routes.
pub(crate) fn registrations() -> Vec<Registration> {
    let mut all = reads();
    all.extend(commands());
    all.extend(for_flags());
    all.extend(for_people());
    all
}

fn reads() -> Vec<Registration> {
    use json::{prometheus, reads, tail};
    vec![
        get("/livez", reads::livez),
        get("/api/v1/openapi.json", reads::openapi),
        get("/api/v1/whoami", reads::whoami),
        get("/api/v1/health", reads::health),
        get("/api/v1/status", reads::status),
        get("/api/v1/doctor", reads::doctor),
        get("/api/v1/dashboard", reads::dashboard),
        get("/api/v1/markers", reads::markers),
        get("/api/v1/services", reads::services),
        get("/api/v1/services/{id}", reads::service),
        get("/api/v1/runs", reads::runs),
        get("/api/v1/runs/{id}", reads::run),
        get("/api/v1/runs/{id}/stages/{stage}/log", reads::run_log),
        get("/api/v1/releases", reads::releases),
        get("/api/v1/releases/{id}", reads::release),
        get("/api/v1/rollouts", reads::rollouts),
        get("/api/v1/rollouts/{id}", reads::rollout),
        get("/api/v1/rollback", reads::roll_back_forecast),
        get("/api/v1/forecast", reads::forecast),
        get("/api/v1/groups", reads::groups),
        get("/api/v1/groups/{id}", reads::group),
        get("/api/v1/incidents", reads::incidents),
        get("/api/v1/incidents/{id}", reads::incident),
        get("/api/v1/silences", reads::silences),
        get("/api/v1/approvals", reads::approvals),
        get("/api/v1/notifications", reads::notifications),
        get("/api/v1/timeline", reads::timeline),
        get("/api/v1/merge-requests", reads::merge_requests),
        get("/api/v1/logs", reads::logs),
        get("/api/v1/logs/tail", tail::tail),
        get("/api/v1/spans", reads::spans),
        get("/api/v1/traces/{id}", reads::trace),
        get("/api/v1/query", prometheus::query_get),
        post("/api/v1/query", prometheus::query_post),
        get("/api/v1/query_range", prometheus::range_get),
        post("/api/v1/query_range", prometheus::range_post),
        get("/api/v1/labels", prometheus::labels),
        get("/api/v1/label/{name}/values", prometheus::label_values),
        get("/api/v1/tokens", reads::tokens),
        get("/live", live::live),
    ]
}

fn commands() -> Vec<Registration> {
    use json::commands as c;
    vec![
        post("/api/v1/deploy", c::deploy),
        post("/api/v1/runs/{id}/approve", c::approve),
        post("/api/v1/runs/{id}/reject", c::reject),
        post("/api/v1/runs/{id}/cancel", c::cancel),
        post("/api/v1/rollouts/{id}/promote", c::promote),
        post("/api/v1/rollouts/{id}/abort", c::abort),
        post("/api/v1/rollouts/{id}/pause", c::pause),
        post("/api/v1/rollouts/{id}/resume", c::resume),
        post("/api/v1/rollouts/{id}/approve", c::approve_step),
        post("/api/v1/rollouts/{id}/retry", c::retry_rollout),
        post("/api/v1/rollouts/{id}/restart", c::restart),
        post("/api/v1/services/{id}/entrance", c::entrance),
        post("/api/v1/services/{id}/scale", c::scale),
        post("/api/v1/groups", c::release_together),
        post("/api/v1/groups/{id}/abort", c::abort_group),
        post("/api/v1/rollback", c::roll_back),
        post("/api/v1/incidents/{id}/acknowledge", c::acknowledge),
        post("/api/v1/incidents/{id}/take-over", c::take_over),
        post("/api/v1/incidents/{id}/fix-applied", c::fix_applied),
        post("/api/v1/incidents/{id}/resolve", c::resolve),
        post("/api/v1/incidents/{id}/silence", c::silence),
        delete("/api/v1/silences/{id}", c::end_silence),
        post("/api/v1/releases/{id}/lift-quarantine", c::lift_quarantine),
        post("/api/v1/proxy/upgrade", c::upgrade_proxy),
        post("/api/v1/notifications/{id}/retry", c::retry),
        post("/api/v1/tokens", c::create_token),
        delete("/api/v1/tokens/{id}", c::revoke_token),
        post("/api/v1/hooks/git", c::git_hook),
        post("/api/v1/feedback", c::feedback),
    ]
}

fn for_flags() -> Vec<Registration> {
    vec![
        get("/api/v1/flags", flags::sets),
        get("/api/v1/flags/{service}/{environment}", flags::set),
        get("/api/v1/flags/{service}/{environment}/history", flags::history),
        get("/api/v1/flags/{service}/{environment}/stale", flags::stale),
        post("/api/v1/flags/{service}/{environment}", flags::change),
        post("/api/v1/flags/{service}/{environment}/undo", flags::undo),
        post("/ofrep/v1/evaluate/flags", ofrep::evaluate_all),
        post("/ofrep/v1/evaluate/flags/{key}", ofrep::evaluate),
        get("/ofrep/v1/configuration", ofrep::configuration),
        get("/ofrep/v1/stream", ofrep::stream),
    ]
}

fn for_people() -> Vec<Registration> {
    let mut all = vec![
        get("/login", pages::login),
        post("/login", pages::log_in),
        post("/logout", pages::log_out),
        get("/language/{code}", pages::set_language),
        get("/assets/{*path}", assets::asset),
        get("/favicon.ico", assets::favicon),
        get("/", pages::overview),
        get("/pipelines", pages::pipelines),
        get("/runs/{id}", pages::run),
        get("/releases", pages::releases),
        get("/releases/{id}", pages::release),
        get("/rollouts/{id}", pages::rollout),
        get("/incidents", pages::incidents),
        get("/incidents/{id}", pages::incident),
        get("/incidents/{id}/postmortem.md", pages::postmortem),
        get("/timeline", pages::timeline),
        get("/explore/logs", pages::logs),
        get("/explore/metrics", pages::metrics),
        get("/explore/traces", pages::traces),
        get("/traces/{id}", pages::trace),
        get("/services", pages::services),
        get("/flags", pages::flags),
        get("/notifications", pages::notifications),
        get("/settings", pages::settings),
        post("/do/create-token", pages::create_token),
    ];
    let acts = trimtab_api::routes::all().filter(|route| {
        route.method == Method::Post && route.path.starts_with("/do/") && route.path.ends_with("/{id}")
    });
    all.extend(acts.map(|route| post(route.path, forms::act)));
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_served_is_what_is_listed() {
        let served: BTreeSet<_> = registrations()
            .into_iter()
            .map(|(method, path, _)| (method, path))
            .collect();
        let listed: BTreeSet<_> = trimtab_api::routes::all()
            .map(|route| (route.method, route.path))
            .collect();
        assert_eq!(served, listed);
    }
}
