//! The HTTP API, pages and live updates.
