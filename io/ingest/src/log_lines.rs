//! Lines that instances print.

use std::sync::Arc;

use trimtab_model::Identity;
use trimtab_telemetry::{Batch, identity_attributes, log_line};

use crate::intake::now_nanos;

/// Log records from the lines an instance printed; empty lines are left out. Lines without a time of
/// their own have the time now.
pub fn log_batch<'a>(lines: impl IntoIterator<Item = &'a str>, identity: &Identity) -> Batch {
    let now = now_nanos();
    let resource = Arc::new(identity_attributes(identity));
    let identity = Arc::new(identity.clone());
    let lines = lines.into_iter().filter(|line| !line.trim().is_empty());
    Batch {
        logs: lines
            .map(|line| {
                let mut record = log_line::parse(line, &identity, now);
                record.resource = Arc::clone(&resource);
                record
            })
            .collect(),
        ..Batch::default()
    }
}
