//! Listeners and scrapers.
