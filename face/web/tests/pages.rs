//! The server as browsers and programs meet it, over made-up data.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "pages/access.rs"]
mod access;
#[path = "../examples/demo_pages/backend.rs"]
mod backend;
#[path = "pages/browser.rs"]
mod browser;
#[path = "pages/client.rs"]
mod client;
#[path = "../examples/demo_pages/data.rs"]
mod data;
#[path = "pages/driver.rs"]
mod driver;
#[path = "../examples/demo_pages/figures.rs"]
mod figures;
#[path = "pages/forms.rs"]
mod forms;
#[path = "pages/live.rs"]
mod live;
#[path = "pages/shown.rs"]
mod shown;
#[path = "../examples/demo_pages/stories.rs"]
mod stories;
