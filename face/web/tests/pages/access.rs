//! Who may do what, and how others are turned away.

use reqwest::Method;
use trimtab_api::routes::{self, Access, Face, Route};
use trimtab_api::{Fault, FaultCode};
use trimtab_model::Role;

use crate::client::{Server, session_of};

fn method(route: &Route) -> Method {
    route.method.as_str().parse().unwrap()
}

fn path(route: &Route) -> String {
    let filled = routes::fill(route.path, &["nothing-1", "nothing"]);
    filled.replace("%7B%2Apath%7D", "nothing")
}

/// Every route, from the one list: without credentials nothing but the allow-list answers.
#[tokio::test]
async fn nobody_passes_without_credentials() {
    let server = Server::start().await;
    for route in routes::all() {
        let answer = server.request(method(route), &path(route)).send().await.unwrap();
        let status = answer.status().as_u16();
        match route.access {
            Access::Role(_) => {
                assert_eq!(status, 401, "{} {}", route.method.as_str(), route.path);
                let fault: Fault = answer.json().await.unwrap();
                assert_eq!(fault.code, FaultCode::Unauthenticated);
                assert!(!fault.mend.is_empty());
            }
            Access::Public(reason) => {
                assert!(status != 401, "{} is public: {reason}", route.path);
            }
        }
        let wrong = server
            .request(method(route), &path(route))
            .bearer_auth("wrong")
            .send()
            .await
            .unwrap();
        assert_eq!(wrong.status(), 401, "{} with a wrong token", route.path);
    }
}

/// Every route with every role: below the least role it is 403, from it on it is something else.
#[tokio::test]
async fn each_route_takes_its_role_and_no_less() {
    let server = Server::start().await;
    for route in routes::all() {
        let Access::Role(least) = route.access else {
            continue;
        };
        for role in Role::ALL {
            let stream = route.path == "/live" || route.path.ends_with("/tail");
            let request = server
                .request(method(route), &path(route))
                .bearer_auth(role.as_str());
            let request = if route.face == Face::Form {
                request.form(&[("minutes", "5")])
            } else {
                request
            };
            let status = request.send().await.unwrap().status().as_u16();
            if role < least {
                assert_eq!(status, 403, "{} as {role}", route.path);
            } else {
                assert!(
                    ![401, 403, 405].contains(&status),
                    "{} as {role}: {status}",
                    route.path
                );
                assert!(status < 500, "{} as {role}: {status}", route.path);
                assert!(!stream || status == 200);
            }
        }
    }
}

#[tokio::test]
async fn browsers_are_led_to_the_login_page_and_back() {
    let server = Server::start().await;
    let answer = server
        .get("/runs/run-1?stage=unit")
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 303);
    assert_eq!(
        answer.headers()["location"],
        "/login?next=%2Fruns%2Frun-1%3Fstage%3Dunit"
    );
    let form = [("token", "viewer"), ("next", "/runs/run-1")];
    let answer = server.post("/login").form(&form).send().await.unwrap();
    assert_eq!(answer.headers()["location"], "/runs/run-1");
    let form = [("token", "viewer"), ("next", "//evil.example")];
    let answer = server.post("/login").form(&form).send().await.unwrap();
    assert_eq!(answer.headers()["location"], "/", "never to another site");
}

#[tokio::test]
async fn a_one_time_code_opens_one_admin_session() {
    let server = Server::start().await;
    let code = server.code();
    let page = server
        .get(&format!("/login?code={code}"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(page.contains(&code), "the page offers to use it");
    let first = server
        .post("/login")
        .form(&[("code", &code)])
        .send()
        .await
        .unwrap();
    assert_eq!(first.status(), 303, "a look at the page did not spend it");
    let cookie = session_of(&first);
    let who = server
        .get("/api/v1/whoami")
        .header("cookie", cookie)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(who.contains("\"role\":\"admin\""), "{who}");
    let second = server
        .post("/login")
        .form(&[("code", &code)])
        .send()
        .await
        .unwrap();
    assert_eq!(second.status(), 403, "it was spent");
    assert!(second.headers().get("set-cookie").is_none());
}

#[tokio::test]
async fn a_wrong_token_makes_no_session_and_logging_out_ends_it() {
    let server = Server::start().await;
    let wrong = server
        .post("/login")
        .header("accept", "text/html")
        .form(&[("token", "guess")])
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), 403);
    assert!(wrong.headers().get("set-cookie").is_none());
    assert!(
        wrong
            .text()
            .await
            .unwrap()
            .contains("unknown, revoked or expired")
    );
    let (cookie, csrf) = server.log_in("viewer").await;
    let out = server
        .post("/logout")
        .header("cookie", &cookie)
        .form(&[("csrf", &csrf)])
        .send()
        .await
        .unwrap();
    assert_eq!(out.status(), 303);
    let again = server
        .get("/api/v1/health")
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 401, "the old cookie is worth nothing");
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused() {
    let server = Server::start().await;
    for (host, status) in [
        ("evil.example", 403),
        ("localhost.evil.example:80", 403),
        ("trimtab.example.org", 200),
        ("localhost:1", 200),
    ] {
        let answer = server
            .get("/api/v1/health")
            .bearer_auth("viewer")
            .header("host", host)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{host}");
    }
    for origin in ["http://evil.example", "null"] {
        let answer = server
            .post("/login")
            .header("origin", origin)
            .form(&[("token", "admin")])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403, "{origin}");
    }
    let own = server
        .post("/login")
        .header("origin", &server.base)
        .form(&[("token", "admin")])
        .send()
        .await
        .unwrap();
    assert_eq!(own.status(), 303);
}

#[tokio::test]
async fn every_answer_carries_the_policy_and_pages_keep_to_it() {
    let server = Server::start().await;
    let (cookie, _) = server.log_in("admin").await;
    for path in [
        "/",
        "/login",
        "/assets/app.js",
        "/api/v1/health",
        "/nowhere",
        "/incidents/incident-1",
    ] {
        let answer = server
            .get(path)
            .header("cookie", &cookie)
            .header("accept", "text/html")
            .send()
            .await
            .unwrap();
        let headers = answer.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{path}"
        );
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["x-frame-options"], "DENY");
    }
}

#[tokio::test]
async fn bodies_have_a_limit_and_failures_say_what_to_do() {
    let server = Server::start().await;
    let big = "x".repeat(64 * 1024);
    let answer = server
        .post("/api/v1/deploy")
        .bearer_auth("admin")
        .body(big)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 413);
    for (path, body) in [
        ("/api/v1/deploy", "{"),
        ("/api/v1/deploy", "{}"),
        ("/api/v1/feedback", "{\"service\":\"x\",\"score\":9}"),
    ] {
        let answer = server
            .post(path)
            .bearer_auth("admin")
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{path} {body}");
        let fault: Fault = answer.json().await.unwrap();
        assert!(!fault.mend.is_empty(), "{fault:?}");
    }
    let odd = server
        .get("/api/v1/logs?limit=many")
        .bearer_auth("viewer")
        .send()
        .await
        .unwrap();
    let fault: Fault = odd.json().await.unwrap();
    assert_eq!(fault.code, FaultCode::Invalid);
    assert!(fault.message.contains("limit"), "{fault:?}");
    let missing = server
        .get("/nowhere")
        .bearer_auth("admin")
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(missing.status(), 404);
    assert!(missing.text().await.unwrap().contains("There is no such page"));
}
