//! Routes of feature flags: their management, and OpenFeature's remote evaluation protocol.

use trimtab_model::Role;

use super::{Access, Face, Method, Route, route, schema};
use crate as t;

const fn get(path: &'static str, doc: &'static str) -> Route {
    route(Method::Get, path, Access::Role(Role::Viewer), Face::Api, doc)
}

const fn post(path: &'static str, role: Role, doc: &'static str) -> Route {
    route(Method::Post, path, Access::Role(role), Face::Api, doc)
}

pub(super) const FLAGS: &[Route] = &[
    get("/api/v1/flags", "Flag sets of all services.").gives(schema::<Vec<t::FlagSetSummary>>),
    get(
        "/api/v1/flags/{service}/{environment}",
        "The flags of a service in an environment, with their use.",
    )
    .gives(schema::<t::FlagSetDetail>),
    get(
        "/api/v1/flags/{service}/{environment}/history",
        "Every change of a flag set, newest first.",
    )
    .gives(schema::<Vec<t::FlagsPast>>),
    get(
        "/api/v1/flags/{service}/{environment}/stale",
        "Flags that nobody needs any more.",
    )
    .takes(schema::<t::StaleQuery>)
    .gives(schema::<Vec<t::StaleFlag>>),
    post(
        "/api/v1/flags/{service}/{environment}",
        Role::Operator,
        "Changes one flag or the whole set.",
    )
    .takes(schema::<t::FlagsChange>)
    .gives(schema::<t::Done>),
    post(
        "/api/v1/flags/{service}/{environment}/undo",
        Role::Operator,
        "Takes a change of flags back.",
    )
    .takes(schema::<t::FlagsUndo>)
    .gives(schema::<t::Done>),
    route(
        Method::Post,
        "/ofrep/v1/evaluate/flags",
        Access::Role(Role::Viewer),
        Face::Other,
        "Evaluates every flag (OpenFeature's remote evaluation protocol).",
    ),
    route(
        Method::Post,
        "/ofrep/v1/evaluate/flags/{key}",
        Access::Role(Role::Viewer),
        Face::Other,
        "Evaluates one flag (OpenFeature's remote evaluation protocol).",
    ),
    route(
        Method::Get,
        "/ofrep/v1/configuration",
        Access::Role(Role::Viewer),
        Face::Other,
        "Tells OpenFeature's providers what is offered.",
    ),
    route(
        Method::Get,
        "/ofrep/v1/stream",
        Access::Public(
            "browsers' event streams send no token: its address carries a signed ticket of its own",
        ),
        Face::Other,
        "Tells of changes of flags, as server-sent events.",
    ),
];
