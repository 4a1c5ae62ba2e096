//! Styles, scripts, fonts and images: part of the program, so that it needs nothing beside it.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $kind:expr;)*) => {
        const ASSETS: &[(&str, &str, &[u8])] = &[
            $(($name, $kind, include_bytes!(concat!("../assets/", $name)))),*
        ];
    };
}

assets! {
    "base.css": STYLE;
    "layout.css": STYLE;
    "parts.css": STYLE;
    "pages.css": STYLE;
    "app.js": SCRIPT;
    "charts.js": SCRIPT;
    "figures.js": SCRIPT;
    "live.js": SCRIPT;
    "login.js": SCRIPT;
    "logs.js": SCRIPT;
    "theme.js": SCRIPT;
    "logo.svg": "image/svg+xml";
    "fonts/inter-latin-wght-normal.woff2": "font/woff2";
    "fonts/inter-cyrillic-wght-normal.woff2": "font/woff2";
    "fonts/Inter.LICENSE": "text/plain; charset=utf-8";
    "vendor/uPlot.esm.js": SCRIPT;
    "vendor/uPlot.min.css": STYLE;
    "vendor/uPlot.LICENSE": "text/plain; charset=utf-8";
}

/// `GET /assets/{*path}`.
pub(crate) async fn asset(Path(path): Path<String>) -> Response {
    match ASSETS.iter().find(|(name, _, _)| *name == path) {
        Some((_, kind, bytes)) => {
            // Not "immutable": names carry no hash, and a revalidation by age is cheap here.
            let keep = if path.starts_with("fonts/") || path.starts_with("vendor/") {
                "max-age=86400"
            } else {
                "no-cache"
            };
            ([(CONTENT_TYPE, *kind), (CACHE_CONTROL, keep)], *bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// `GET /favicon.ico`.
pub(crate) async fn favicon() -> Response {
    asset(Path("logo.svg".to_owned())).await
}
