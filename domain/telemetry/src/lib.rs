//! Samples, logs, spans, events: decoding and query languages.
