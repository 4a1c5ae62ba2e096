//! Incidents: group, escalate, act, verify, resolve, write up, learn.
