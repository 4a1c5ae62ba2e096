//! What one evaluation may cost.

use crate::{MADE_BYTES_MAX, STEPS_MAX};

/// Why an evaluation was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It took more steps than one may.
    Steps,
    /// It made more text or longer lists than one may.
    Made,
    /// A split needs a targeting key and the context has none.
    TargetingKeyMissing,
    /// A split whose parts are wrong once they are computed.
    Split(String),
}

/// What is left to spend.
#[derive(Debug)]
pub(crate) struct Budget {
    steps: u32,
    bytes: usize,
}

impl Budget {
    pub(crate) fn full() -> Self {
        Budget {
            steps: STEPS_MAX,
            bytes: MADE_BYTES_MAX,
        }
    }

    /// One operation.
    pub(crate) fn step(&mut self) -> Result<(), Stop> {
        self.steps = self.steps.checked_sub(1).ok_or(Stop::Steps)?;
        Ok(())
    }

    /// So many bytes are about to be made.
    pub(crate) fn make(&mut self, bytes: usize) -> Result<(), Stop> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Stop::Made)?;
        Ok(())
    }
}
