//! Rollout machines, one file per strategy.
