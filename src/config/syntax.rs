//! What isn't TOML: said in plain words, and how much of the rest can be read all the same.

use std::ops::Range;

use toml::de::DeTable;

use super::problems::Problems;
use super::tree::Table;

/// The document as far as it can be read; `None`: it can't be told what belongs where. Mistakes are noted, each with its
/// span.
pub(super) fn parse(text: &str, problems: &Problems) -> Option<Table> {
    let readable_text = with_equals_signs(text, problems);
    let (document, mistakes) = DeTable::parse_recoverable(&readable_text);
    let spans: Vec<Range<usize>> =
        mistakes.iter().map(|mistake| mistake.span().unwrap_or(text.len()..text.len())).collect();
    let mut readable = true;
    for (mistake, span) in mistakes.iter().zip(&spans) {
        let (said, contained) = Said::of(mistake.message(), &readable_text, span);
        readable &= contained;
        // The keys of a section that stands twice stand twice, too.
        let header = text[..span.start].rfind("\n[").map(|newline| newline + 1);
        let follows = mistake.message() == TWICE
            && header.is_some_and(|header| spans.iter().any(|other| line_of(text, other.start).start == header))
            && header != Some(line_of(text, span.start).start);
        // A line is one mistake where its key, too, is none.
        let line = line_of(text, span.start);
        let told = mistake.message().starts_with("invalid unquoted key") && text[line].trim_end().ends_with(':');
        if !follows && !told {
            problems.add_unparsed(span.clone(), format!("not TOML: {}", said.message), said.help);
        }
    }
    readable.then(|| Table::from_toml(document.get_ref(), None))
}

/// The text with `=` where `key: value` or `key "value"` stands, which is noted. Behind a key without `=` the parser reads
/// nothing more. Each byte keeps its place.
fn with_equals_signs(text: &str, problems: &Problems) -> String {
    let mut mended = text.to_owned();
    for mistake in DeTable::parse_recoverable(text).1 {
        let Some(span) = mistake.span().filter(|_| mistake.message().starts_with("key with no value")) else {
            continue;
        };
        let line = line_of(text, span.start);
        let content = text[line.clone()].trim_start();
        let indent = line.len() - content.len();
        let name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let key = content.find(|c| !name(c)).unwrap_or(content.len());
        let rest = &content[key..];
        let blanks = rest.len() - rest.trim_start().len();
        let begin = line.start + indent + key;
        let (at, message) = match rest.trim_start().strip_prefix(':') {
            Some(value) if !value.trim().is_empty() => {
                (begin + blanks, "`=` stands between a key and its value, not `:`")
            }
            None if rest.starts_with([' ', '\t']) && rest.trim_start().starts_with(['"', '\'']) => {
                (begin, "the `=` between key and value is missing")
            }
            _ => continue,
        };
        mended.replace_range(at..at + 1, "=");
        problems.add_unparsed(at..at + 1, format!("not TOML: {message}"), None);
    }
    mended
}

/// The bytes of the line that a place is on.
pub(super) fn line_of(text: &str, at: usize) -> Range<usize> {
    let at = at.min(text.len());
    let start = text.as_bytes()[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let end = text.as_bytes()[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |newline| at + newline);
    start..end
}

/// The parser's words for a key that is there already.
const TWICE: &str = "duplicate key";

/// Quotes that word processors and chats make of straight ones.
const TYPOGRAPHIC: [char; 7] = ['“', '”', '„', '‘', '’', '«', '`'];

struct Said {
    message: String,
    help: Option<String>,
}

impl Said {
    /// A mistake in plain words, and whether it is contained in one value, so that everything around it was understood.
    fn of(message: &str, text: &str, span: &Range<usize>) -> (Said, bool) {
        let said = |message: &str, help: Option<&str>| Said { message: message.into(), help: help.map(str::to_owned) };
        let line = &text[line_of(text, span.start)];
        match message {
            // A word without quotes; by its first letter the parser takes it for something else.
            "string values must be quoted, expected literal string"
            | "invalid boolean, expected `true`"
            | "invalid boolean, expected `false`"
            | "invalid float, expected `nan`"
            | "invalid float, expected `inf`" => {
                let ends = |c: char| c.is_whitespace() || ",]}#".contains(c);
                let word = text[span.start..].split(ends).next().unwrap_or_default();
                let told = match word.to_ascii_lowercase().as_str() {
                    _ if word.starts_with(TYPOGRAPHIC) => said("a text stands in straight quotes: \" or '", None),
                    "" if line.trim_end().ends_with('=') => said("nothing stands behind the `=`", None),
                    "true" | "false" => said("expected true or false, in small letters", None),
                    "null" | "nil" | "none" => said("there is no such value: leave the key out", None),
                    _ if word.starts_with(|first: char| first.is_ascii_digit()) => {
                        let units = "durations and sizes, too, as in \"10m\" or \"8MiB\"";
                        said("a text stands in quotes", Some(units))
                    }
                    _ => said("a text stands in quotes", None),
                };
                (told, true)
            }
            "missing opening quote, expected `\"`" => (said("the opening quote is missing", None), true),
            "invalid basic string, expected `\"`" | "invalid literal string, expected `'`" => {
                (said("the closing quote is missing", None), true)
            }
            behind if behind.starts_with("unexpected key or value") => {
                let rest = text[span.start..line_of(text, span.start).end].split('#').next().unwrap_or_default().trim();
                match rest {
                    "," | ";" => (said(&format!("a value ends with its line, without a `{rest}`"), None), true),
                    _ => (
                        said(
                            "more stands behind the value",
                            Some("each key has a line of its own; a text stands in quotes as a whole"),
                        ),
                        false,
                    ),
                }
            }
            nothing if nothing.starts_with("key with no value") && line.trim_end().ends_with(':') => {
                (said("a section's name stands in brackets, as in [rabbitmq]", None), false)
            }
            nothing if nothing.starts_with("key with no value") => (said("a key without `=` and a value", None), false),
            open if open.starts_with("unclosed table") => {
                (said("the closing `]` of the section's name is missing", None), false)
            }
            multi if multi.starts_with("invalid multi-line ") => {
                (said("a text over several lines has no end: three quotes are missing", None), false)
            }
            TWICE if line.trim_start().starts_with('[') => {
                (said("this section stands twice", Some("give it another name, or put the two together")), true)
            }
            TWICE => (said("this key stands twice", Some("keep one of them")), true),
            other => (said(other, None), false),
        }
    }
}
