//! The pages in a real browser: they move, they keep to their policy, they fit a phone.

use serde_json::json;
use trimtab_api::Command;

use crate::backend::Asked;
use crate::client::Server;
use crate::driver::Browser;
use crate::shown::pages;

/// Logs in by the one-time link, as a person after the first start.
async fn signed_in(server: &Server) -> Browser {
    let mut browser = Browser::start().await;
    browser
        .open(&format!("{}/login?code={}", server.base, server.code()))
        .await;
    browser
        .wait_for("location.pathname === '/' && document.readyState === 'complete'")
        .await;
    browser
}

#[tokio::test]
async fn the_overview_moves_and_the_roll_back_appears() {
    let server = Server::start().await;
    let mut browser = signed_in(&server).await;
    browser
        .wait_for("document.querySelector('[data-live-mark]').dataset.live === 'on'")
        .await;
    browser
        .wait_for("document.querySelectorAll('.chart canvas').length >= 7")
        .await;
    browser
        .evaluate("window.first = document.querySelector('[data-figure=\"D.A1\"] [data-value]').textContent")
        .await;
    browser
        .wait_for(
            "document.querySelector('[data-figure=\"D.A1\"] [data-value]').textContent !== window.first",
        )
        .await;
    let empty = browser
        .evaluate("document.querySelector('[data-figure=\"D.B5\"] [data-value]').textContent")
        .await;
    assert_eq!(empty, "no data");
    browser
        .wait_for("document.querySelector('[data-rollout-state]').dataset.rolloutState === 'Watching'")
        .await;
    server.demo.roll_back();
    browser
        .wait_for("document.querySelector('[data-rollout-state]').dataset.rolloutState === 'Rolled back'")
        .await;
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[tokio::test]
async fn a_person_approves_with_the_keyboard() {
    let server = Server::start().await;
    let mut browser = signed_in(&server).await;
    browser.open(&format!("{}/pipelines", server.base)).await;
    browser.evaluate("document.querySelector('form[action=\"/do/approve/run-4\"]').closest('details').querySelector('summary').focus()").await;
    let key = |kind: &str| json!({"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"});
    browser.call("Input.dispatchKeyEvent", key("keyDown")).await;
    browser.call("Input.dispatchKeyEvent", key("keyUp")).await;
    browser
        .wait_for("document.activeElement.name === 'comment'")
        .await;
    browser
        .call("Input.insertText", json!({"text": "seen on staging"}))
        .await;
    browser.call("Input.dispatchKeyEvent", key("keyDown")).await;
    browser.call("Input.dispatchKeyEvent", key("keyUp")).await;
    browser
        .wait_for("document.querySelector('.flash')?.textContent.includes('Accepted')")
        .await;
    assert_eq!(browser.evaluate("location.pathname").await, "/pipelines");
    let command = Command::Approve {
        run: "run-4".to_owned(),
        comment: "seen on staging".to_owned(),
    };
    assert_eq!(
        server.demo.asked(),
        [Asked {
            by: "admin".to_owned(),
            command
        }]
    );
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[tokio::test]
async fn every_page_fits_a_phone_and_keeps_to_the_policy() {
    let server = Server::start().await;
    let mut browser = signed_in(&server).await;
    browser
        .evaluate("document.cookie = 'trimtab_language=ru; Path=/'")
        .await;
    browser.resize(360, 740).await;
    for path in pages().into_iter().filter(|path| path != "/login") {
        browser.open(&format!("{}{path}", server.base)).await;
        let width = browser.evaluate("document.documentElement.scrollWidth").await;
        assert!(width.as_u64().unwrap() <= 360, "{path} is {width} wide");
        let unnamed = "[...document.querySelectorAll('button, a, input:not([type=hidden]), select')].filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label') || e.closest('label'))).map((e) => e.outerHTML).join()";
        assert_eq!(
            browser.evaluate(unnamed).await,
            "",
            "{path} has controls without names"
        );
        assert_eq!(
            browser.evaluate("document.querySelectorAll('h1').length").await,
            1,
            "{path}"
        );
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[tokio::test]
async fn the_theme_and_the_tail() {
    let server = Server::start().await;
    let mut browser = signed_in(&server).await;
    let color = "getComputedStyle(document.body).backgroundColor";
    let light = browser.evaluate(color).await;
    browser
        .evaluate("document.querySelector('[data-theme-toggle]').click()")
        .await;
    let dark = browser.evaluate(color).await;
    assert_ne!(light, dark);
    browser.open(&format!("{}/explore/logs", server.base)).await;
    assert_eq!(browser.evaluate(color).await, dark, "the server remembers");
    let before = browser
        .evaluate("document.querySelectorAll('.log-row').length")
        .await
        .as_u64()
        .unwrap();
    browser
        .wait_for("!document.querySelector('[data-tail]').hidden")
        .await;
    browser
        .evaluate("document.querySelector('[data-tail]').click()")
        .await;
    browser
        .wait_for(&format!(
            "document.querySelectorAll('.log-row').length >= {}",
            before + 3
        ))
        .await;
    assert_eq!(
        browser
            .evaluate("document.querySelectorAll('.log-row img, .log-row script').length")
            .await,
        0
    );
    assert_eq!(browser.complaints, Vec::<String>::new());
}
