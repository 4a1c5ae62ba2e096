//! Routes for people: pages, their forms, assets.

use trimtab_model::Role;

use super::{Access, Face, Method, Route, route};

const fn page(path: &'static str, doc: &'static str) -> Route {
    route(Method::Get, path, Access::Role(Role::Viewer), Face::Page, doc)
}

const fn form(path: &'static str, role: Role, doc: &'static str) -> Route {
    route(Method::Post, path, Access::Role(role), Face::Form, doc)
}

pub(super) const PAGES: &[Route] = &[
    route(
        Method::Get,
        "/login",
        Access::Public("whoever has no session yet begins here"),
        Face::Page,
        "Asks for a token, or takes a one-time code.",
    ),
    route(
        Method::Get,
        "/assets/{*path}",
        Access::Public("styles and scripts are the same for everyone and hold no data"),
        Face::Other,
        "Styles, scripts and images.",
    ),
    route(
        Method::Get,
        "/favicon.ico",
        Access::Public("browsers ask for it everywhere"),
        Face::Other,
        "The icon.",
    ),
    page("/", "The overview."),
    page("/pipelines", "Pipeline runs."),
    page("/runs/{id}", "One run."),
    page("/releases", "Releases and rollouts."),
    page("/releases/{id}", "One release."),
    page("/rollouts/{id}", "One rollout."),
    page("/incidents", "Incidents."),
    page("/incidents/{id}", "One incident."),
    page(
        "/incidents/{id}/postmortem.md",
        "An incident's postmortem as Markdown.",
    ),
    page("/timeline", "The timeline."),
    page("/explore/logs", "Log search."),
    page("/explore/metrics", "Metrics by PromQL."),
    page("/explore/traces", "Trace search."),
    page("/traces/{id}", "One trace."),
    page("/services", "Services and their instances."),
    page("/flags", "Feature flags and their use."),
    page("/notifications", "What was sent to whom."),
    page("/settings", "Preferences, tokens and checks."),
];

pub(super) const FORMS: &[Route] = &[
    route(
        Method::Post,
        "/login",
        Access::Public("it makes the session; the token or one-time code is the proof"),
        Face::Form,
        "Begins a session.",
    ),
    route(
        Method::Get,
        "/language/{code}",
        Access::Public("the login page can be read in either language"),
        Face::Page,
        "Remembers the language and returns.",
    ),
    form("/logout", Role::Viewer, "Ends the session."),
    form("/do/deploy/{id}", Role::Developer, "Starts a run of a service."),
    form(
        "/do/approve/{id}",
        Role::Approver,
        "Answers a run's gate with yes.",
    ),
    form("/do/reject/{id}", Role::Approver, "Answers a run's gate with no."),
    form("/do/cancel/{id}", Role::Developer, "Stops a run."),
    form("/do/promote/{id}", Role::Operator, "Promotes a rollout."),
    form("/do/abort/{id}", Role::Operator, "Aborts a rollout."),
    form("/do/pause/{id}", Role::Operator, "Pauses a rollout."),
    form("/do/resume/{id}", Role::Operator, "Resumes a rollout."),
    form(
        "/do/approve-step/{id}",
        Role::Approver,
        "Says yes to a rollout's step.",
    ),
    form("/do/retry-rollout/{id}", Role::Operator, "Tries a rollout again."),
    form("/do/restart/{id}", Role::Operator, "Begins a rollout anew."),
    form(
        "/do/entrance/{id}",
        Role::Operator,
        "Holds, closes or opens a service.",
    ),
    form(
        "/do/scale/{id}",
        Role::Operator,
        "Runs so many instances of a service.",
    ),
    form("/do/abort-group/{id}", Role::Operator, "Takes a group back."),
    form("/do/roll-back/{id}", Role::Operator, "Rolls a rollout back."),
    form("/do/return-to/{id}", Role::Operator, "Goes back to a release."),
    form(
        "/do/acknowledge/{id}",
        Role::Developer,
        "Acknowledges an incident.",
    ),
    form("/do/take-over/{id}", Role::Operator, "Takes an incident over."),
    form("/do/fix-applied/{id}", Role::Developer, "Says that a fix is in."),
    form("/do/resolve/{id}", Role::Operator, "Resolves an incident."),
    form("/do/silence/{id}", Role::Operator, "Silences an incident."),
    form("/do/end-silence/{id}", Role::Operator, "Ends a silence."),
    form(
        "/do/lift-quarantine/{id}",
        Role::Operator,
        "Clears a quarantined release.",
    ),
    form("/do/retry/{id}", Role::Operator, "Retries a dead letter."),
    form("/do/create-token", Role::Admin, "Makes a token."),
    form("/do/revoke-token/{id}", Role::Admin, "Revokes a token."),
];
