//! A body for people: JSON indented, other text as it is, anything else in hexadecimal.

use serde::de::IgnoredAny;

/// Bytes of a body that is neither JSON nor text of which the hexadecimal form is shown.
const MAX_HEX: usize = 4096;

/// Several lines, not yet safe for a terminal.
pub(super) fn readable(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => indented(text),
        Ok(text) => text.to_owned(),
        Err(_) => hexadecimal(body),
    }
}

/// Indents valid JSON without reading it: the order of fields, repeated fields, digits and escapes
/// stay as they were sent, since they may be what was wrong.
fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut chars = json.chars().peekable();
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(char) = chars.next() {
        if in_string {
            out.push(char);
            (in_string, escaped) = (escaped || char != '"', !escaped && char == '\\');
            continue;
        }
        match char {
            ' ' | '\t' | '\r' | '\n' => {}
            '"' => {
                out.push(char);
                in_string = true;
            }
            '{' | '[' => {
                out.push(char);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                match chars.next_if(|next| matches!(next, '}' | ']')) {
                    Some(close) => out.push(close),
                    None => {
                        depth += 1;
                        new_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(char);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            char => out.push(char),
        }
    }
    out
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
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let sextet = (group >> (18 - 6 * digit)) & 63;
            out.push(if digit <= chunk.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_otherwise_untouched() {
        let sent = r#"{"b":1.50,"a":[1, 2,{}],"a":[ ],"t":"x\"{,:}\\","u":"\u00e9 é"}"#;
        let shown = "{\n  \"b\": 1.50,\n  \"a\": [\n    1,\n    2,\n    {}\n  ],\n  \"a\": [],\n  \"t\": \"x\\\"{,:}\\\\\",\n  \"u\": \"\\u00e9 é\"\n}";
        assert_eq!(readable(sent.as_bytes()), shown);
        assert_eq!(readable(b" 17 "), "17");
    }

    #[test]
    fn what_is_no_json_is_shown_as_text() {
        assert_eq!(readable(b"{\"a\":}"), "{\"a\":}");
        assert_eq!(readable(b""), "");
    }

    #[test]
    fn what_is_no_text_is_shown_in_hexadecimal() {
        assert_eq!(readable(b"\xffAB\n"), "00000000  ff 41 42 0a                                      .AB.\n");
        let long = readable(&vec![0xff; MAX_HEX + 3]);
        assert!(long.ends_with("… 3 more bytes; --json shows them all, in Base64\n"));
    }

    #[test]
    fn base64_agrees_with_the_rfc() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
