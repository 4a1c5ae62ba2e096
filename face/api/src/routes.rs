//! Every route of the server: the one list from which the server registers them, checks roles, and
//! writes the OpenAPI document, and from which clients take paths.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use trimtab_model::Role;

mod api;
mod flags;
mod pages;

/// Method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Changes.
    Post,
    /// Ends something.
    Delete,
}

impl Method {
    /// The method in upper case.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, for the reason given: these routes are the allow-list.
    Public(&'static str),
    /// Whoever has at least this role.
    Role(Role),
}

/// What a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// JSON for programs.
    Api,
    /// HTML for people.
    Page,
    /// A form of a page.
    Form,
    /// Everything else: assets, the live stream.
    Other,
}

/// How the schema of a body is made.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, with `{name}` for what varies.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    /// What for.
    pub face: Face,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// Schema of the query string or, for `POST`, of the body.
    pub takes: Option<SchemaOf>,
    /// Schema of the answer.
    pub gives: Option<SchemaOf>,
}

/// Every route, API first.
pub const ROUTES: &[&[Route]] = &[
    api::READS,
    api::COMMANDS,
    flags::FLAGS,
    pages::PAGES,
    pages::FORMS,
];

/// Every route, one after the other.
pub fn all() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().copied().flatten()
}

/// The route with this method and path pattern.
pub fn find(method: Method, path: &str) -> Option<&'static Route> {
    all().find(|route| route.method == method && route.path == path)
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn route(method: Method, path: &'static str, access: Access, face: Face, doc: &'static str) -> Route {
    Route {
        method,
        path,
        access,
        face,
        doc,
        takes: None,
        gives: None,
    }
}

impl Route {
    const fn takes(mut self, takes: SchemaOf) -> Self {
        self.takes = Some(takes);
        self
    }

    const fn gives(mut self, gives: SchemaOf) -> Self {
        self.gives = Some(gives);
        self
    }

    /// The path with its first `{…}` replaced by `id`, percent-encoded where needed.
    pub fn with(&self, id: &str) -> String {
        fill(self.path, &[id])
    }
}

/// A path pattern with its `{…}` replaced by `values` in order, percent-encoded.
pub fn fill(pattern: &str, values: &[&str]) -> String {
    let mut path = String::with_capacity(pattern.len() + 32);
    let mut rest = pattern;
    let mut values = values.iter();
    while let Some((before, after)) = rest.split_once('{') {
        path.push_str(before);
        let Some((_, after)) = after.split_once('}') else {
            break;
        };
        for byte in values.next().copied().unwrap_or_default().bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    path.push(byte as char)
                }
                _ => path.push_str(&format!("%{byte:02X}")),
            }
        }
        rest = after;
    }
    path.push_str(rest);
    path
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_route_is_listed_twice_and_each_says_what_it_does() {
        let mut seen = BTreeSet::new();
        for route in all() {
            assert!(seen.insert((route.method, route.path)), "{} twice", route.path);
            assert!(route.doc.ends_with('.'), "{}: {:?}", route.path, route.doc);
            assert!(route.path.starts_with('/'));
        }
    }

    #[test]
    fn the_public_routes_are_these() {
        let public: Vec<_> = all()
            .filter(|r| matches!(r.access, Access::Public(_)))
            .map(|r| r.path)
            .collect();
        assert_eq!(
            public,
            [
                "/livez",
                "/ofrep/v1/stream",
                "/login",
                "/assets/{*path}",
                "/favicon.ico",
                "/login",
                "/language/{code}"
            ]
        );
    }

    #[test]
    fn changes_need_more_than_a_viewer() {
        for route in all().filter(|r| r.method != Method::Get) {
            let reads = ["/api/v1/query", "/api/v1/query_range", "/logout"].contains(&route.path)
                || route.path.starts_with("/ofrep/v1/evaluate/");
            if let Access::Role(role) = route.access {
                assert!(reads || role > Role::Viewer, "{}", route.path);
            }
        }
    }

    #[test]
    fn paths_are_filled_and_encoded() {
        assert_eq!(
            fill("/api/v1/runs/{id}/stages/{stage}/log", &["run-3", "a/b"]),
            "/api/v1/runs/run-3/stages/a%2Fb/log"
        );
    }
}
