//! Serves the pages over made-up, lively data: `cargo run --release -p trimtab-web --example demo_pages`.
//!
//! Prints an address with a one-time code. With `EMPTY=1` nothing is known yet.

#[path = "demo_pages/backend.rs"]
mod backend;
#[path = "demo_pages/data.rs"]
mod data;
#[path = "demo_pages/figures.rs"]
mod figures;
#[path = "demo_pages/stories.rs"]
mod stories;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use trimtab_model::Timestamp;
use trimtab_web::{OneTimeCodes, WebConfig, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "7799".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let codes = Arc::new(OneTimeCodes::new());
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    for _ in 0..8 {
        println!(
            "http://127.0.0.1:{port}/login?code={}",
            codes.issue(Timestamp(now))?
        );
    }
    let demo = backend::Demo::new(std::env::var("EMPTY").is_ok());
    serve(
        listener,
        Arc::new(demo),
        WebConfig::new([7; 32], codes),
        std::future::pending(),
    )
    .await?;
    Ok(())
}
