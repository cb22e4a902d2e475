//! A body for people: JSON indented, other text as it is, anything else in hexadecimal.

use serde::de::IgnoredAny;

/// Bytes of a body that is neither JSON nor text of which the hexadecimal form is shown.
const MAX_HEX: usize = 4096;

/// What stands behind the line of the field that was refused.
pub(super) const MARK: &str = "    ◀ this one";

/// Several lines, not yet safe for a terminal. The value at `field`, a JSON Pointer's parts, is
/// marked.
pub(super) fn readable(body: &[u8], field: Option<&[String]>) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Indenter::new(text, field).run(),
        Ok(text) => text.to_owned(),
        Err(_) => hexadecimal(body),
    }
}

/// Indents valid JSON without reading it: the order of fields, repeated fields, digits and escapes
/// stay as they were sent, since they may be what was wrong.
struct Indenter<'a> {
    json: &'a str,
    out: String,
    field: Option<&'a [String]>,
    /// Where we are: a name or a place for each level.
    path: Vec<Step>,
    /// The mark is due at the end of this line.
    marking: bool,
}

enum Step {
    Name(String),
    Place(usize),
}

impl Step {
    fn is(&self, part: &str) -> bool {
        match self {
            Step::Name(name) => name == part,
            Step::Place(place) => part.parse() == Ok(*place),
        }
    }
}

impl<'a> Indenter<'a> {
    fn new(json: &'a str, field: Option<&'a [String]>) -> Self {
        let out = String::with_capacity(json.len() * 2);
        Indenter { json, out, field, path: Vec::new(), marking: false }
    }

    fn run(mut self) -> String {
        let bytes = self.json.as_bytes();
        let mut at = 0;
        self.mark();
        while let Some(&byte) = bytes.get(at) {
            let end = match byte {
                b' ' | b'\t' | b'\r' | b'\n' => at + 1,
                b'"' => self.string(at),
                b'{' | b'[' => self.open(at),
                b'}' | b']' => {
                    self.path.pop();
                    self.new_line();
                    self.out.push(char::from(byte));
                    at + 1
                }
                b',' => {
                    self.out.push(',');
                    self.new_line();
                    if let Some(Step::Place(place)) = self.path.last_mut() {
                        *place += 1;
                        self.mark();
                    }
                    at + 1
                }
                b':' => {
                    self.out.push_str(": ");
                    self.mark();
                    at + 1
                }
                _ => {
                    let rest = &self.json[at..];
                    let end =
                        rest.find([',', '}', ']', ' ', '\t', '\r', '\n', ':', '"', '{', '[']).unwrap_or(rest.len());
                    self.out.push_str(&rest[..end]);
                    at + end.max(1)
                }
            };
            at = end;
        }
        if self.marking {
            self.out.push_str(MARK);
        }
        self.out
    }

    /// A string from its quote on; returns what stands behind it. A name is remembered.
    fn string(&mut self, start: usize) -> usize {
        let (mut end, mut escaped) = (start + 1, false);
        for byte in self.json.as_bytes()[start + 1..].iter() {
            end += 1;
            match byte {
                b'"' if !escaped => break,
                byte => escaped = !escaped && *byte == b'\\',
            }
        }
        let text = &self.json[start..end];
        self.out.push_str(text);
        let is_name = self.json[end..].trim_start().starts_with(':');
        if let (true, Some(Step::Name(name))) = (is_name, self.path.last_mut()) {
            *name = serde_json::from_str(text).unwrap_or_default();
        }
        end
    }

    fn open(&mut self, at: usize) -> usize {
        let open = self.json.as_bytes()[at];
        self.out.push(char::from(open));
        let rest = &self.json[at + 1..];
        let inside = rest.trim_start();
        let skipped = rest.len() - inside.len();
        if let Some(close) = inside.chars().next().filter(|next| matches!(next, '}' | ']')) {
            self.out.push(close);
            return at + 1 + skipped + 1;
        }
        self.path.push(if open == b'{' { Step::Name(String::new()) } else { Step::Place(0) });
        self.new_line();
        if open == b'[' {
            self.mark();
        }
        at + 1 + skipped
    }

    /// A value begins here.
    fn mark(&mut self) {
        let Some(field) = self.field else { return };
        if field.len() == self.path.len() && field.iter().zip(&self.path).all(|(part, step)| step.is(part)) {
            self.marking = true;
        }
    }

    fn new_line(&mut self) {
        if std::mem::take(&mut self.marking) {
            self.out.push_str(MARK);
        }
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.path.len()));
    }
}

/// Offset, sixteen bytes, and what of them is ASCII.
fn hexadecimal(body: &[u8]) -> String {
    let mut out = String::new();
    for (line, bytes) in body[..body.len().min(MAX_HEX)].chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = bytes.iter().map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '.' });
        out.push_str(&format!("{:08x}  {:<47}  {}\n", line * 16, hex.join(" "), shown.collect::<String>()));
    }
    if body.len() > MAX_HEX {
        out.push_str(&format!("… {} more bytes; --json shows them all, in Base64\n", body.len() - MAX_HEX));
    }
    out
}

/// Base64 with padding (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_otherwise_untouched() {
        let sent = r#"{"b":1.50,"a":[1, 2,{}],"a":[ ],"t":"x\"{,:}\\","u":"\u00e9 é"}"#;
        let shown = "{\n  \"b\": 1.50,\n  \"a\": [\n    1,\n    2,\n    {}\n  ],\n  \"a\": [],\n  \"t\": \"x\\\"{,:}\\\\\",\n  \"u\": \"\\u00e9 é\"\n}";
        assert_eq!(readable(sent.as_bytes(), None), shown);
        assert_eq!(readable(b" 17 ", None), "17");
    }

    #[test]
    fn what_is_no_json_is_shown_as_text() {
        assert_eq!(readable(b"{\"a\":}", None), "{\"a\":}");
        assert_eq!(readable(b"", None), "");
    }

    #[test]
    fn what_is_no_text_is_shown_in_hexadecimal() {
        assert_eq!(readable(b"\xffAB\n", None), "00000000  ff 41 42 0a                                      .AB.\n");
        let long = readable(&vec![0xff; MAX_HEX + 3], None);
        assert!(long.ends_with("… 3 more bytes; --json shows them all, in Base64\n"));
    }

    #[test]
    fn the_field_that_was_refused_is_marked() {
        let json = br#"{"a":{"q\u0074y":1},"qty":[10,{"qty":"x,y"}, 3],"z":null}"#;
        let marked = |pointer: &[&str]| {
            let parts: Vec<String> = pointer.iter().map(|part| (*part).to_owned()).collect();
            let shown = readable(json, Some(&parts));
            assert_eq!(shown.replace(MARK, ""), readable(json, None));
            let lines: Vec<String> =
                shown.lines().filter_map(|line| line.strip_suffix(MARK)).map(|line| line.trim().to_owned()).collect();
            lines.join("|")
        };
        assert_eq!(marked(&["qty"]), "\"qty\": [");
        assert_eq!(marked(&["a", "qty"]), "\"q\\u0074y\": 1");
        assert_eq!(marked(&["qty", "0"]), "10,");
        assert_eq!(marked(&["qty", "1", "qty"]), "\"qty\": \"x,y\"");
        assert_eq!(marked(&["qty", "2"]), "3");
        assert_eq!(marked(&["z"]), "\"z\": null");
        assert_eq!(marked(&["nothing"]), "");
        assert_eq!(readable(b"17", Some(&[])), format!("17{MARK}"));
    }
}
