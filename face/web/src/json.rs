//! The API's handlers.

pub(crate) mod commands;
pub(crate) mod prometheus;
pub(crate) mod reads;
pub(crate) mod tail;
