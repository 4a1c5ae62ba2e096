//! Keys of the live view.

use std::io::Read as _;

use tokio::sync::mpsc;
use trimtab_api::Allowed;

/// Keys kept while the view is busy.
const KEYS_MAX: usize = 64;

/// What a rollout can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Promote,
    Abort,
    Pause,
    Resume,
    Approve,
    Retry,
    Restart,
    RollBack,
}

/// What a key asks for, once confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Press {
    Act(Verb),
    Quit,
}

impl Verb {
    pub(super) const ALL: [Verb; 8] = [
        Verb::Approve,
        Verb::Promote,
        Verb::Pause,
        Verb::Resume,
        Verb::Retry,
        Verb::Restart,
        Verb::Abort,
        Verb::RollBack,
    ];

    pub(super) fn key(self) -> char {
        match self {
            Verb::Promote => 'p',
            Verb::Abort => 'a',
            Verb::Pause => 'h',
            Verb::Resume => 'r',
            Verb::Approve => 'y',
            Verb::Retry => 't',
            Verb::Restart => 'n',
            Verb::RollBack => 'b',
        }
    }

    /// The last word of its path.
    pub(super) fn path(self) -> &'static str {
        match self {
            Verb::Promote => "promote",
            Verb::Abort => "abort",
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::Approve => "approve",
            Verb::Retry => "retry",
            Verb::Restart => "restart",
            Verb::RollBack => "rollback",
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Verb::Promote => "promote",
            Verb::Abort => "abort",
            Verb::Pause => "hold",
            Verb::Resume => "resume",
            Verb::Approve => "approve",
            Verb::Retry => "retry",
            Verb::Restart => "restart",
            Verb::RollBack => "roll back",
        }
    }

    pub(super) fn allowed(self, allowed: Allowed) -> bool {
        match self {
            Verb::Promote => allowed.promote,
            Verb::Abort => allowed.abort,
            Verb::Pause => allowed.pause,
            Verb::Resume => allowed.resume,
            Verb::Approve => allowed.approve,
            Verb::Retry => allowed.retry,
            Verb::Restart => allowed.restart,
            Verb::RollBack => allowed.roll_back,
        }
    }
}

/// Keys as they are pressed. The thread ends with the program: a read of a terminal cannot be called off.
pub(super) fn listen() -> mpsc::Receiver<char> {
    let (keys, pressed) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        let mut pressed = [0; KEYS_MAX];
        while let Ok(length) = std::io::stdin().read(&mut pressed) {
            let sent = |byte: &u8| keys.blocking_send(char::from(*byte)).is_ok();
            if length == 0 || !pressed.iter().take(length).all(sent) {
                return;
            }
        }
    });
    pressed
}
