//! Logs, spans and events at rest.
