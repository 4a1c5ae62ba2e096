//! Verdicts and anomalies from series, logs, traces and changes.
