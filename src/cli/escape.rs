//! Makes text from messages and servers safe to print: a terminal must not be driven by it.

/// One line: every control and direction character is shown as an escape.
pub fn escape(text: &str) -> String {
    escape_with(text, false)
}

/// Several lines: like [`escape`], but line feeds stay.
pub fn escape_lines(text: &str) -> String {
    escape_with(text, true)
}

fn escape_with(text: &str, keep_lines: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' if keep_lines => escaped.push(char),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            char if char.is_control() || is_invisible(char) => {
                escaped.push_str(&format!("\\u{{{:x}}}", u32::from(char)));
            }
            char => escaped.push(char),
        }
    }
    escaped
}

/// Characters that reorder or hide others: zero-width ones, marks and overrides of direction,
/// separators, the byte order mark, interlinear annotations, tags.
fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_is_left() {
        let hostile = "\u{1b}[2J\u{9b}31m\u{7}\u{7f}\r\u{202e}gnp.exe\u{2066}\u{200b}\u{0}\n";
        let shown = escape(hostile);
        assert!(shown.chars().all(|char| !char.is_control() && !is_invisible(char)), "{shown:?}");
        assert!(shown.starts_with("\\u{1b}[2J\\u{9b}31m"), "{shown}");
        assert!(shown.ends_with("\\u{0}\\n"), "{shown}");
    }

    #[test]
    fn other_text_stays_as_it_is() {
        let text = "Größe 大 🦀 \\ \"quoted\"";
        assert_eq!(escape(text), text);
    }

    #[test]
    fn lines_stay_lines_only_where_asked() {
        assert_eq!(escape_lines("a\nb\tc\r"), "a\nb\\tc\\r");
        assert_eq!(escape("a\nb"), "a\\nb");
    }
}
