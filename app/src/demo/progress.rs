//! Progress for the person who watches: one line for each thing done, and on a terminal one that lives.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::commands::print::{Tone, clean, colours_wanted, paint};

/// Width of a line's text before its time.
const TEXT_WIDTH: usize = 64;
const WHEEL: [char; 4] = ['◐', '◓', '◑', '◒'];

/// Where lines go: standard output, or standard error when a program reads the figures from the former.
pub(super) struct Progress {
    aside: bool,
    terminal: bool,
    colour: bool,
    living: Option<(String, Instant)>,
}

impl Progress {
    pub(super) fn new(aside: bool) -> Self {
        let terminal = if aside {
            std::io::stderr().is_terminal()
        } else {
            std::io::stdout().is_terminal()
        };
        Progress {
            aside,
            terminal,
            colour: terminal && colours_wanted(),
            living: None,
        }
    }

    fn write(&self, text: &str) {
        // Nobody may be reading any more; the story goes on.
        let _ = if self.aside {
            let mut err = std::io::stderr();
            err.write_all(text.as_bytes()).and_then(|()| err.flush())
        } else {
            let mut out = std::io::stdout();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
    }

    /// A line as it is.
    pub(super) fn line(&mut self, text: &str) {
        let clear = if self.living.is_some() && self.terminal {
            "\r\x1b[K"
        } else {
            ""
        };
        self.write(&format!("{clear}{}\n", clean(text)));
    }

    pub(super) fn title(&mut self, text: &str) {
        let text = paint(self.colour, Tone::Bold, text);
        self.write(&format!("\n{text}\n"));
    }

    /// What is under way, shown on a terminal with its age until something is done.
    pub(super) fn under_way(&mut self, text: &str) {
        if self.living.as_ref().is_none_or(|(now, _)| now != text) {
            self.living = Some((text.to_owned(), Instant::now()));
        }
        if !self.terminal {
            return;
        }
        if let Some((text, since)) = &self.living {
            let age = since.elapsed();
            let turn = usize::try_from(age.as_millis() / 250).unwrap_or(0) % WHEEL.len();
            let text = format!("  {} {}  {} s", WHEEL[turn], clean(text), age.as_secs());
            self.write(&format!("\r\x1b[K{}", paint(self.colour, Tone::Dim, &text)));
        }
    }

    /// Something ended: well or not, in what time.
    pub(super) fn done(&mut self, well: bool, text: &str, took: Option<Duration>) {
        let (tone, mark) = if well {
            (Tone::Good, "✔")
        } else {
            (Tone::Bad, "✘")
        };
        let mark = paint(self.colour, tone, mark);
        let text = clean(text);
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let time = took
            .map(|took| {
                let padding = TEXT_WIDTH.saturating_sub(text.chars().count());
                let time = format!("{:>7.1} s", took.as_secs_f64());
                format!("{}{}", " ".repeat(padding), paint(self.colour, Tone::Dim, &time))
            })
            .unwrap_or_default();
        self.living = None;
        self.write(&format!("{clear}  {mark} {text}{time}\n"));
    }
}
