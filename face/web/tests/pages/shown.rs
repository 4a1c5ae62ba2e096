//! What pages show: in both languages, escaped, and honest when nothing is known.

use trimtab_api::routes::{self, Face, Method};

use crate::backend::Demo;
use crate::client::Server;

/// Every page with ids that exist in the story.
pub(crate) fn pages() -> Vec<String> {
    let id_of = |path: &str| match path {
        path if path.starts_with("/runs") => "run-5",
        path if path.starts_with("/releases") => "blocks-r2",
        path if path.starts_with("/rollouts") => "rollout-4",
        path if path.starts_with("/incidents") => "incident-1",
        _ => "4bf92f3577b34da6a3ce929d0e0e4736",
    };
    let listed = routes::all().filter(|r| r.face == Face::Page && r.method == Method::Get);
    let listed = listed.filter(|r| !r.path.starts_with("/language") && !r.path.ends_with(".md"));
    let mut pages: Vec<String> = listed.map(|r| routes::fill(r.path, &[id_of(r.path)])).collect();
    pages.extend([
        "/explore/metrics?query=up".to_owned(),
        "/explore/metrics?query=bad(".to_owned(),
        "/incidents/incident-2".to_owned(),
        "/runs/run-4".to_owned(),
    ]);
    pages
}

async fn page(server: &Server, path: &str, language: &str) -> String {
    let request = server
        .get(path)
        .bearer_auth("admin")
        .header("accept", "text/html")
        .header("accept-language", language);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn each_page_is_shown_in_both_languages() {
    let server = Server::start().await;
    for path in pages() {
        let english = page(&server, &path, "en").await;
        let russian = page(&server, &path, "ru-RU,ru;q=0.9").await;
        assert!(english.contains("<html lang=\"en\""), "{path}");
        assert!(russian.contains("<html lang=\"ru\""), "{path}");
        assert!(
            russian.chars().filter(|c| ('а'..='я').contains(c)).count() > 60,
            "{path} is hardly Russian"
        );
        let cyrillic: String = english
            .replace("Русский", "")
            .chars()
            .filter(|c| ('а'..='я').contains(c))
            .collect();
        assert_eq!(cyrillic, "", "{path} mixes languages");
    }
}

#[tokio::test]
async fn whatever_services_say_is_text() {
    let server = Server::start().await;
    let mut met = 0;
    for path in pages() {
        let page = page(&server, &path, "en").await;
        for tag in ["<script>", "<img", "onerror=alert(1)>", "href=\"javascript:"] {
            assert!(
                !page.contains(tag) || tag == "onerror=alert(1)>" && !page.contains("<img"),
                "{path} holds {tag}"
            );
        }
        met += usize::from(page.contains("&lt;script&gt;"));
    }
    assert!(met >= 6, "the hostile text was on {met} pages only");
}

#[tokio::test]
async fn pages_hold_nothing_inline() {
    let server = Server::start().await;
    for path in pages() {
        let page = page(&server, &path, "en").await;
        for script in page.split("<script").skip(1) {
            assert!(script.starts_with(" type=\"module\" src=\"/assets/"), "{path}");
        }
        assert!(!page.contains(" style=\"") && !page.contains("<style"), "{path}");
        for handler in [" onclick=", " onload=", " onsubmit="] {
            assert!(!page.contains(handler), "{path}");
        }
    }
}

#[tokio::test]
async fn every_asset_that_pages_name_is_there() {
    let server = Server::start().await;
    let page = page(&server, "/", "en").await;
    let mut names: Vec<&str> = page
        .split("=\"/assets/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    names.extend([
        "charts.js",
        "figures.js",
        "live.js",
        "logs.js",
        "theme.js",
        "login.js",
        "vendor/uPlot.esm.js",
        "vendor/uPlot.LICENSE",
        "fonts/Inter.LICENSE",
    ]);
    for name in names {
        let answer = server.get(&format!("/assets/{name}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{name}");
    }
    assert_eq!(
        server.get("/assets/../Cargo.toml").send().await.unwrap().status(),
        404
    );
}

/// Nothing known is "no data": never 0, never 100 %.
#[tokio::test]
async fn nothing_known_is_said() {
    let server = Server::over(Demo::new(true)).await;
    let overview = page(&server, "/", "en").await;
    assert!(overview.contains("data-health=\"unknown\""));
    assert!(overview.contains("No samples yet"));
    for id in ["D.S1", "D.S5", "D.A1", "D.A3", "D.Q1", "D.Q2", "D.B1", "D.AL3"] {
        let figure = overview.split(&format!("data-figure=\"{id}\"")).nth(1).unwrap();
        let value = figure
            .split("data-value")
            .nth(1)
            .unwrap()
            .split('<')
            .next()
            .unwrap();
        assert!(value.ends_with(">no data"), "{id} shows {value}");
    }
    let russian = page(&server, "/", "ru").await;
    assert!(russian.contains("нет данных"));
    for path in [
        "/pipelines",
        "/releases",
        "/incidents",
        "/timeline",
        "/explore/logs",
        "/explore/traces",
        "/explore/metrics?query=up",
        "/services",
        "/flags",
        "/notifications",
        "/settings",
    ] {
        let page = page(&server, path, "en").await;
        assert!(
            page.contains("class=\"nothing\"") || path == "/settings",
            "{path}"
        );
    }
}

#[tokio::test]
async fn language_and_postmortem() {
    let server = Server::start().await;
    let answer = server.get("/language/ru?back=%2Fincidents").send().await.unwrap();
    assert_eq!(answer.headers()["location"], "/incidents");
    assert!(
        answer.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .starts_with("trimtab_language=ru;")
    );
    let answer = server
        .get("/language/ru?back=https%3A%2F%2Fevil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["location"], "/");
    let answer = server
        .get("/incidents/incident-1/postmortem.md")
        .bearer_auth("viewer")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "text/markdown; charset=utf-8");
    assert!(answer.text().await.unwrap().starts_with("# Postmortem"));
}

#[tokio::test]
async fn prometheus_clients_are_understood() {
    let server = Server::start().await;
    let get = async |path: &str| {
        let answer = server.get(path).bearer_auth("viewer").send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<serde_json::Value>().await.unwrap(),
        )
    };
    let (status, answer) = get("/api/v1/query_range?query=up&start=1000&end=1060&step=15").await;
    assert_eq!((status, &answer["status"]), (200, &"success".into()));
    assert_eq!(answer["data"]["resultType"], "matrix");
    assert_eq!(answer["data"]["result"][0]["values"].as_array().unwrap().len(), 5);
    let (status, answer) = get("/api/v1/query_range?query=bad(&start=1&end=2&step=1").await;
    assert_eq!(
        (status, &answer["status"], &answer["errorType"]),
        (400, &"error".into(), &"bad_data".into())
    );
    let (status, _) = get("/api/v1/query_range?query=up&start=0&end=1000000000&step=1").await;
    assert_eq!(status, 400, "too many points");
    let posted = server
        .post("/api/v1/query")
        .bearer_auth("viewer")
        .form(&[("query", "1")])
        .send()
        .await
        .unwrap();
    let answer: serde_json::Value = posted.json().await.unwrap();
    assert_eq!(answer["data"]["resultType"], "scalar");
    let (_, answer) = get("/api/v1/label/__name__/values").await;
    assert!(answer["data"].as_array().unwrap().len() > 3);
}
