//! The HTTP API, pages and live updates.
//!
//! Everything shown comes through [`Backend`]; nothing here knows how it is made. Deliberately
//! absent: inline scripts and styles, client-side rendering of what the server can render, state in
//! the browser beyond cookies and the address.

mod assets;
mod auth;
mod backend;
mod config;
mod dashboards;
mod failure;
mod flags;
mod forms;
mod json;
mod live;
mod ofrep;
mod pages;
mod parts;
mod registration;
mod server;
mod state;
mod text;

use std::future::Future;
use std::sync::Arc;

pub use auth::OneTimeCodes;
pub use backend::{Backend, TokenHash};
pub use config::WebConfig;
pub use flags::{FlagAnswers, FlagAsking, FlagBackend};

/// Why the web server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener failed.
    #[error("failed to serve the web interface: {0}")]
    Listener(#[from] std::io::Error),
}

/// 256 random bits as 64 hex digits: tokens, codes and session ids.
pub fn random_text() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// Serves API and pages on `listener` until `shutdown` resolves; then lets requests under way end.
pub async fn serve(
    listener: tokio::net::TcpListener,
    backend: Arc<dyn Backend>,
    config: WebConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (close, closing) = tokio::sync::watch::channel(false);
    let changes = backend.changes();
    let app = state::App::new(backend, config, closing.clone());
    let listening = tokio::spawn(live::listen(Arc::clone(&app.hub), changes, closing));
    let stop = async move {
        shutdown.await;
        // Streams have no end of their own; they end here, so that the server can.
        close.send_replace(true);
    };
    axum::serve(listener, server::router(app))
        .with_graceful_shutdown(stop)
        .await?;
    listening.abort();
    Ok(())
}
