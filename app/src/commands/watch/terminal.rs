//! The terminal, taken for the live view and given back however it ends.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Assumed where the terminal does not say.
const SIZE: (usize, usize) = (24, 80);

/// The terminal without echo and line editing, on its second screen, until dropped.
pub(super) struct Terminal {
    before: String,
}

impl Terminal {
    pub(super) fn take() -> Result<Self> {
        let before = stty(&["-g"])?;
        let terminal = Self {
            before: before.trim().to_owned(),
        };
        stty(&["-icanon", "-echo", "min", "1"])?;
        write("\x1b[?1049h\x1b[?25l");
        Ok(terminal)
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> (usize, usize) {
        let said = stty(&["size"]).unwrap_or_default();
        let mut numbers = said.split_whitespace().filter_map(|word| word.parse().ok());
        match (numbers.next(), numbers.next()) {
            (Some(rows), Some(columns)) if rows > 0 && columns > 0 => (rows, columns),
            _ => SIZE,
        }
    }

    /// Replaces what is shown, in one write so that it does not flicker.
    pub(super) fn draw(&self, lines: &[String]) {
        write(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        write("\x1b[?25h\x1b[?1049l");
        if let Err(error) = stty(&[self.before.as_str()]) {
            eprintln!("trimtab: {error:#}; `stty sane` mends the terminal");
        }
    }
}

fn write(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// `stty` is part of every Linux and saves a dependency for three calls.
fn stty(words: &[&str]) -> Result<String> {
    let done = Command::new("stty")
        .args(words)
        .stdin(Stdio::inherit())
        .stderr(Stdio::null())
        .output()
        .context("failed to run stty")?;
    if !done.status.success() {
        bail!("failed to set up the terminal: stty ended with {}", done.status);
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
