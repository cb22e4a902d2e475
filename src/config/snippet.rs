//! The line of the file with the mistake, its spot marked and its secrets left out.

use std::ops::Range;

/// A line to show, and the marks below it.
#[derive(Clone, Debug)]
pub(super) struct Snippet {
    pub line: String,
    pub marks: String,
}

const HIDDEN: &str = "(hidden)";
const MAX_CHARS: usize = 160;

/// Line and column (from 1, in characters) of a spot and how to show it. `hidden`: values not to
/// show; `None`: the text isn't TOML, so any could be one.
pub(super) fn show(text: &str, spot: Range<usize>, hidden: Option<&[Range<usize>]>) -> ((usize, usize), Snippet) {
    let start = floor(text, spot.start);
    let from = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let to = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let to = if text[from..to].ends_with('\r') { to - 1 } else { to };
    let start = start.min(to);
    let position = (text[..from].matches('\n').count() + 1, text[from..start].chars().count() + 1);
    let line = &text[from..to];
    let spot = start - from..floor(text, spot.end.clamp(start, to)) - from;
    let snippet = match hidden {
        Some(hidden) => {
            let mut on_line: Vec<Range<usize>> = hidden
                .iter()
                .filter(|span| span.start < to && span.end > from)
                .map(|span| span.start.max(from) - from..span.end.min(to) - from)
                .collect();
            on_line.sort_by_key(|span| span.start);
            hide_spans(line, &on_line, spot)
        }
        None => mark(&hide_all(line), spot),
    };
    (position, snippet)
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn hide_spans(line: &str, hidden: &[Range<usize>], spot: Range<usize>) -> Snippet {
    let (mut shown, mut at) = (String::new(), 0);
    let (mut start, mut end) = (None, None);
    for span in hidden {
        start = start.or_else(|| (spot.start < span.start).then(|| shown.len() + spot.start.saturating_sub(at)));
        end = end.or_else(|| (spot.end <= span.start).then(|| shown.len() + spot.end.saturating_sub(at)));
        shown.push_str(&line[at..span.start]);
        start = start.or_else(|| (spot.start < span.end).then_some(shown.len()));
        shown.push_str(HIDDEN);
        end = end.or_else(|| (spot.end <= span.end).then_some(shown.len()));
        at = span.end;
    }
    // A comment beside a secret may well repeat it.
    let rest = line[at..].split('#').next().filter(|_| !hidden.is_empty()).unwrap_or(&line[at..]);
    let start = start.unwrap_or(shown.len() + spot.start.saturating_sub(at));
    let end = end.unwrap_or(shown.len() + spot.end.saturating_sub(at));
    shown.push_str(rest);
    mark(shown.trim_end(), start..end)
}

/// Text that can't be parsed: what stands right of the first word or `=` keeps its shape only.
fn hide_all(line: &str) -> String {
    let after = match line.find('=') {
        Some(equals) => equals,
        None if line.trim_start().starts_with('[') && !line.contains(['"', '\'']) => return line.to_owned(),
        None => line.trim_start().find(' ').map_or(0, |space| line.len() - line.trim_start().len() + space),
    };
    let hide = |c: char| if c.is_alphanumeric() { "*".repeat(c.len_utf8()) } else { c.to_string() };
    line[..after].chars().map(String::from).chain(line[after..].chars().map(hide)).collect()
}

fn mark(line: &str, spot: Range<usize>) -> Snippet {
    let start = line.len().min(floor(line, spot.start));
    let end = floor(line, spot.end).max(start);
    let before = " ".repeat(line[..start].chars().count());
    let width = line[start..end].chars().count().max(1);
    // A tab is one character here: its width would depend on the terminal.
    let shown = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => '�',
        c => c,
    };
    let cut: String = line.chars().take(MAX_CHARS).map(shown).collect();
    let width = width.min(MAX_CHARS.saturating_sub(before.chars().count()).max(1));
    Snippet { line: cut, marks: format!("{before}{}", "^".repeat(width)) }
}
