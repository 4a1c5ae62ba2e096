//! Pieces that pages are made of.

pub(crate) mod acts;
pub(crate) mod badges;
pub(crate) mod charts;
pub(crate) mod markdown;
pub(crate) mod shell;
pub(crate) mod times;

use maud::{Markup, html};

/// A line for where there is nothing to show.
pub(crate) fn nothing(text: &str) -> Markup {
    html! { p.nothing { (text) } }
}

/// A link to a page of ours, or plain text when `link` leads elsewhere: a service must not be able to
/// send people away.
pub(crate) fn link(target: Option<&str>, text: &str) -> Markup {
    match target.filter(|target| is_own_path(target)) {
        Some(target) => html! { a href=(target) { (text) } },
        None => html! { (text) },
    }
}

/// An address that a person configured: only http and https become links.
pub(crate) fn outside_link(target: &str, text: &str) -> Markup {
    if target.starts_with("http://") || target.starts_with("https://") {
        html! { a href=(target) rel="noreferrer noopener" { (text) } }
    } else {
        html! { (text) }
    }
}

/// Whether a text is a path on this server.
pub(crate) fn is_own_path(target: &str) -> bool {
    target.starts_with('/')
        && !target.starts_with("//")
        && target.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

/// The first eight digits of a commit.
pub(crate) fn short_commit(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

/// What a program wrote, without terminal escapes and control characters.
pub(crate) fn plain_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // CSI: ESC [ … final byte. Other sequences lose their first character alone.
            if chars.next_if_eq(&'[').is_some() {
                for c in chars.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
        } else if !c.is_control() || c == '\t' {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_taken_out() {
        assert_eq!(
            plain_line("\u{1b}[31mwarning\u{1b}[0m: \u{7}x\ty"),
            "warning: x\ty"
        );
        assert_eq!(plain_line("\u{1b}[12;"), "");
        assert_eq!(plain_line("\u{1b}"), "");
    }

    #[test]
    fn links_stay_on_this_server() {
        assert_eq!(
            link(Some("/runs/run-1"), "x").into_string(),
            "<a href=\"/runs/run-1\">x</a>"
        );
        for bad in [
            "javascript:alert(1)",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\nb",
        ] {
            assert_eq!(link(Some(bad), "x").into_string(), "x", "{bad}");
        }
        assert_eq!(outside_link("javascript:alert(1)", "x").into_string(), "x");
    }
}
