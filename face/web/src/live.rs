//! Live updates: one stream of server-sent events per tab.

mod hub;
mod stream;

pub(crate) use hub::{Hub, listen};
pub(crate) use stream::live;
