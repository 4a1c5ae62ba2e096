//! Log templates: what lines have in common, and which templates a release brings or multiplies.

pub(crate) mod mask;
mod miner;
mod watch;

pub use miner::{Miner, OTHER, Template, TemplateId, similarity};
pub use watch::{Finding, Line, Watch};
