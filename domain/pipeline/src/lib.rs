//! A pipeline run as a machine: which job may run next, gates, approvals, ends.
