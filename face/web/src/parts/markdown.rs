//! A small, safe Markdown: headings, paragraphs, lists, tables, code, quotes, emphasis and links to
//! our own pages. Whatever else a text holds, tags included, is shown as it is written.

use maud::{Markup, PreEscaped, html};

use super::link;

/// Lines that are rendered; longer texts are cut.
const LINES_MAX: usize = 5_000;

/// Renders a text.
pub(crate) fn markdown(text: &str) -> Markup {
    let lines: Vec<&str> = text.lines().take(LINES_MAX).collect();
    let mut out = String::new();
    let mut at = 0;
    while at < lines.len() {
        let (block, next) = block(&lines, at);
        out.push_str(&block.into_string());
        at = next.max(at + 1);
    }
    html! { div.prose { (PreEscaped(out)) } }
}

/// The block that begins at `at`, and where the next one does.
fn block(lines: &[&str], at: usize) -> (Markup, usize) {
    let line = lines[at].trim_end();
    let run = |test: &dyn Fn(&str) -> bool| at + lines[at..].iter().take_while(|line| test(line)).count();
    if line.trim().is_empty() {
        return (html! {}, at + 1);
    }
    if line.trim_start().starts_with("```") {
        let end = lines[at + 1..]
            .iter()
            .position(|l| l.trim_start().starts_with("```"))
            .map_or(lines.len(), |n| at + 1 + n);
        return (
            html! { pre { code { (lines[at + 1..end].join("\n")) } } },
            end + 1,
        );
    }
    if let Some((level, title)) = heading(line) {
        let title = inline(title);
        let block = match level {
            1 => html! { h2 { (title) } },
            2 => html! { h3 { (title) } },
            _ => html! { h4 { (title) } },
        };
        return (block, at + 1);
    }
    if matches!(line.trim(), "---" | "***" | "___") {
        return (html! { hr; }, at + 1);
    }
    if line.starts_with('|') {
        let end = run(&|line| line.starts_with('|'));
        return (table(&lines[at..end]), end);
    }
    if bullet(line).is_some() {
        let end = run(&|line| bullet(line).is_some());
        let items = lines[at..end].iter().filter_map(|line| bullet(line));
        return (html! { ul { @for item in items { li { (inline(item)) } } } }, end);
    }
    if numbered(line).is_some() {
        let end = run(&|line| numbered(line).is_some());
        let items = lines[at..end].iter().filter_map(|line| numbered(line));
        return (html! { ol { @for item in items { li { (inline(item)) } } } }, end);
    }
    if line.starts_with('>') {
        let end = run(&|line| line.starts_with('>'));
        let text = lines[at..end]
            .iter()
            .map(|l| l.trim_start_matches(['>', ' ']))
            .collect::<Vec<_>>()
            .join(" ");
        return (html! { blockquote { (inline(&text)) } }, end);
    }
    let end = run(&|line| {
        let line = line.trim();
        !line.is_empty()
            && !line.starts_with(['|', '>', '#'])
            && !line.starts_with("```")
            && bullet(line).is_none()
    });
    let end = end.max(at + 1);
    (html! { p { (inline(&lines[at..end].join(" "))) } }, end)
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let level = line.bytes().take_while(|b| *b == b'#').count();
    (1..=6)
        .contains(&level)
        .then(|| line[level..].strip_prefix(' '))
        .flatten()
        .map(|title| (level, title))
}

fn bullet(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("- ").or_else(|| line.strip_prefix("* "))
}

fn numbered(line: &str) -> Option<&str> {
    let (number, rest) = line.trim_start().split_once(". ")?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
}

fn table(lines: &[&str]) -> Markup {
    let cells = |line: &str| -> Vec<String> {
        line.trim()
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let rule = |line: &&&str| line.bytes().all(|b| matches!(b, b'|' | b'-' | b':' | b' '));
    let has_head = lines.get(1).is_some_and(|line| rule(&line));
    let body = lines
        .iter()
        .skip(usize::from(has_head))
        .filter(|line| !rule(line));
    html! {
        div.scroll { table {
            @if has_head { thead { tr { @for cell in cells(lines[0]) { th { (inline(&cell)) } } } } }
            tbody { @for line in body { tr { @for cell in cells(line) { td { (inline(&cell)) } } } } }
        } }
    }
}

/// Code, strong, emphasis and links; everything else is escaped text.
fn inline(text: &str) -> Markup {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*', '[', '\\', '&']) {
        push_text(&mut out, &rest[..at]);
        let (piece, used) = span(&rest[at..]);
        out.push_str(&piece.into_string());
        rest = &rest[at + used..];
    }
    push_text(&mut out, rest);
    PreEscaped(out)
}

fn push_text(out: &mut String, text: &str) {
    out.push_str(&html! { (text) }.into_string());
}

/// The marked piece at the beginning of `text`, and how many bytes it takes.
fn span(text: &str) -> (Markup, usize) {
    if let Some(escaped) = text.strip_prefix('\\')
        && let Some(sign) = escaped.chars().next().filter(char::is_ascii_punctuation)
    {
        return (html! { (sign) }, 1 + sign.len_utf8());
    }
    for (entity, sign) in [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&')] {
        if text.starts_with(entity) {
            return (html! { (sign) }, entity.len());
        }
    }
    for (mark, kind) in [("`", 0), ("**", 1), ("*", 2)] {
        if let Some(after) = text.strip_prefix(mark)
            && let Some(end) = after.find(mark)
            && end > 0
        {
            let inner = &after[..end];
            let piece = match kind {
                0 => html! { code { (inner) } },
                1 => html! { strong { (inline(inner)) } },
                _ => html! { em { (inner) } },
            };
            return (piece, end + 2 * mark.len());
        }
    }
    if let Some(after) = text.strip_prefix('[')
        && let Some((words, rest)) = after.split_once("](")
        && let Some((target, _)) = rest.split_once(')')
        && !words.contains('[')
    {
        return (link(Some(target), words), words.len() + target.len() + 4);
    }
    let first = text.chars().next().map_or(1, char::len_utf8);
    (html! { (text[..first]) }, first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        markdown(text)
            .into_string()
            .replace("<div class=\"prose\">", "")
            .trim_end_matches("</div>")
            .to_owned()
    }

    #[test]
    fn blocks() {
        assert_eq!(
            rendered("# A\n\ntext\nmore\n\n- x\n- y\n1. z"),
            "<h2>A</h2><p>text more</p><ul><li>x</li><li>y</li></ul><ol><li>z</li></ol>"
        );
        assert!(
            rendered("| a | b |\n|---|---|\n| 1 | 2 |")
                .contains("<th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td>2</td>")
        );
        assert_eq!(
            rendered("```\n<b>\n```\nx"),
            "<pre><code>&lt;b&gt;</code></pre><p>x</p>"
        );
        assert_eq!(
            rendered("```\nnever closed"),
            "<pre><code>never closed</code></pre>"
        );
    }

    #[test]
    fn spans() {
        assert_eq!(
            rendered("a `b` **c** *d* [e](/f)"),
            "<p>a <code>b</code> <strong>c</strong> <em>d</em> <a href=\"/f\">e</a></p>"
        );
        assert_eq!(rendered("2 * 3 ** 4 ` 5 [x"), "<p>2 <em> 3 </em>* 4 ` 5 [x</p>");
    }

    #[test]
    fn nothing_gets_through() {
        for bad in [
            "<script>alert(1)</script>",
            "# <img src=x onerror=alert(1)>",
            "- `<b>`",
            "| <i> |",
            "> <u>",
            "**<s>**",
            "[<q>](/x)",
        ] {
            let out = rendered(bad);
            for tag in ["<script", "<img", "<b>", "<i>", "<u>", "<s>", "<q>"] {
                assert!(!out.contains(tag), "{bad} gave {out}");
            }
        }
        assert!(!rendered("[x](javascript:alert(1))").contains("href"));
        assert!(!rendered("[x](//evil.example)").contains("href"));
    }

    #[test]
    fn odd_texts_do_not_panic() {
        for odd in [
            "", "#", "|", "||", "*", "**", "[", "[]()", "[](", "`", "ü*ü*", "1.", "-", ">", "\u{0}", "***",
        ] {
            let _ = markdown(odd);
        }
    }
}
