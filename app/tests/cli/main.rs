//! The commands against a server of made-up data: what people and programs read, what reaches the server, and
//! what is said when it does not work.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../../../face/web/examples/demo_pages/backend.rs"]
mod backend;
mod commands;
#[path = "../../../face/web/examples/demo_pages/data.rs"]
mod data;
mod errors;
#[path = "../../../face/web/examples/demo_pages/figures.rs"]
mod figures;
mod server;
#[path = "../../../face/web/examples/demo_pages/stories.rs"]
mod stories;
mod watching;
mod whole;
