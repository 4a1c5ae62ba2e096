//! Job processes: a commit is checked out, its steps are run, what they built is kept by its digest.
//!
//! Deliberately absent: which step comes next, and what a failure means. `trimtab-pipeline` decides that.

mod artifacts;
mod checkout;
mod provenance;
mod splitter;
mod step;

pub use artifacts::{ArtifactError, ArtifactInfo, ArtifactLimits, Artifacts, Unpacked};
pub use checkout::{CheckedOut, CheckoutError, checkout, checkout_keeping};
pub use provenance::{PROVENANCE_VERSION, Provenance, StepResult};
pub use step::{OutputLine, OutputStream, StepEnd, StepError, StepOutcome, StepSpec, reap_stale, run_step};

/// Longest line of a step's output in bytes; what is over is cut, counted and marked.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Most lines of one step that are passed on; later ones are counted only, and the last ones are still in the outcome.
pub const LINES_MAX: u64 = 200_000;
