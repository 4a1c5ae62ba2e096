//! What the answer to a hook's request leads to.

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// An answer.
    Answered {
        /// Its status.
        status: u16,
        /// True when the team takes that status for a yes.
        expected: bool,
        /// How long the receiver asked to wait, if it did.
        retry_after_ms: Option<u64>,
    },
    /// None: no connection, no end in time.
    Nothing,
}

/// How often a request is sent, and how long is waited between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Most attempts.
    pub attempts_max: u32,
    /// The pause after the first; it doubles with each further one.
    pub pause_ms_min: u64,
    /// The longest pause, also when the receiver asks for more.
    pub pause_ms_max: u64,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The hook passed.
    Passed,
    /// The hook failed.
    Failed,
    /// It is sent again after a pause.
    Again {
        /// So long.
        after_ms: u64,
    },
}

/// Decides after attempt number `attempt` (from 1). A yes passes. No answer, a server in trouble (5xx) and one that
/// asks for patience (408, 425, 429) are asked again while attempts are left. Anything else is a no, a redirect
/// among it: where that leads nobody has allowed.
pub fn decide(heard: Heard, attempt: u32, patience: Patience) -> Decision {
    let asked_for = match heard {
        Heard::Answered { expected: true, .. } => return Decision::Passed,
        Heard::Answered {
            status: 408 | 425 | 429 | 500..=599,
            retry_after_ms,
            ..
        } => retry_after_ms,
        Heard::Answered { .. } => return Decision::Failed,
        Heard::Nothing => None,
    };
    if attempt >= patience.attempts_max {
        return Decision::Failed;
    }
    let doubled = 2u64.saturating_pow(attempt.saturating_sub(1).min(32));
    let own = patience.pause_ms_min.saturating_mul(doubled);
    // Sooner than asked for is impolite, later than our limit would hold a rollout for a stranger.
    let after_ms = asked_for.unwrap_or(0).max(own).min(patience.pause_ms_max);
    Decision::Again { after_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        attempts_max: 4,
        pause_ms_min: 1000,
        pause_ms_max: 60_000,
    };

    fn answered(status: u16, retry_after_ms: Option<u64>) -> Heard {
        Heard::Answered {
            status,
            expected: (200..300).contains(&status),
            retry_after_ms,
        }
    }

    #[test]
    fn an_answer_passes_fails_or_is_asked_for_again() {
        use Decision::{Again, Failed, Passed};
        let table = [
            (answered(200, None), 1, Passed),
            (answered(202, Some(9)), 4, Passed),
            (answered(301, None), 1, Failed),
            (answered(304, None), 1, Failed),
            (answered(400, None), 1, Failed),
            (answered(403, Some(1)), 1, Failed),
            (answered(408, None), 1, Again { after_ms: 1000 }),
            (answered(429, Some(7000)), 1, Again { after_ms: 7000 }),
            (answered(429, Some(10)), 2, Again { after_ms: 2000 }),
            (answered(429, Some(u64::MAX)), 1, Again { after_ms: 60_000 }),
            (answered(503, None), 3, Again { after_ms: 4000 }),
            (answered(503, None), 4, Failed),
            (answered(600, None), 1, Failed),
            (Heard::Nothing, 1, Again { after_ms: 1000 }),
            (Heard::Nothing, 4, Failed),
        ];
        for (heard, attempt, wanted) in table {
            assert_eq!(decide(heard, attempt, PATIENCE), wanted, "{heard:?} {attempt}");
        }
        let team = Heard::Answered {
            status: 404,
            expected: true,
            retry_after_ms: None,
        };
        assert_eq!(decide(team, 1, PATIENCE), Passed);
    }

    #[test]
    fn it_ends_whatever_is_heard() {
        let heard = [Heard::Nothing, answered(500, Some(u64::MAX)), answered(429, None)];
        for heard in heard {
            for attempts_max in [0, 1, 20, u32::MAX] {
                let patience = Patience {
                    attempts_max,
                    ..PATIENCE
                };
                let last = decide(heard, attempts_max.max(1), patience);
                assert_eq!(last, Decision::Failed);
                if let Decision::Again { after_ms } = decide(heard, attempts_max.saturating_sub(1), patience)
                {
                    assert!(after_ms <= PATIENCE.pause_ms_max);
                }
            }
        }
    }
}
