//! Texts, and what travels as text.

use crate::random_values::columns::Letters;
use crate::random_values::rng::Rng;

/// Pieces that quoting, escaping, counting or guessing at types could get wrong.
const PIECES: &[&str] = &[
    "a",
    "Z",
    "0",
    "7",
    " ",
    "  ",
    "\"",
    "'",
    "''",
    "\\",
    "\\\\",
    "\\x41",
    "\\N",
    "{",
    "}",
    "{}",
    "[",
    "]",
    ",",
    ";",
    "--",
    "/*",
    "$1",
    "$$",
    "?",
    ":x",
    "%s",
    "%",
    "_",
    "`",
    "NULL",
    "null",
    "true",
    "1e5",
    "007",
    "-1",
    "+",
    ".",
    "\t",
    "\n",
    "\r\n",
    "\u{1}",
    "\u{8}",
    "\u{c}",
    "\u{1f}",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "ä",
    "ß",
    "ÿ",
    "é",
    "e\u{301}",
    "€",
    "Ž",
    "中",
    "ไทย",
    "\u{200f}א",
    "\u{feff}",
    "\u{2028}",
    "\u{fffd}",
    "\u{ffff}",
    "🦊",
    "👩\u{200d}👧",
    "𝔘",
    "\u{10ffff}",
];

/// JSON for a text; which characters are escaped, and how, is chance.
pub fn quoted(rng: &mut Rng, text: &str) -> String {
    let escapes = [0, 0, 5, 100][rng.below(4)];
    let mut json = String::from("\"");
    for character in text.chars() {
        let short = match character {
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            '\u{8}' => Some("\\b"),
            '\u{c}' => Some("\\f"),
            '/' => Some("\\/"),
            _ => None,
        };
        let needed = character < ' ' || matches!(character, '"' | '\\');
        match short {
            Some(short) if (needed && rng.percent(70)) || rng.percent(escapes) => json.push_str(short),
            _ if needed || rng.percent(escapes) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    json.push_str(&if rng.percent(50) { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") });
                }
            }
            _ => json.push(character),
        }
    }
    json.push('"');
    json
}

fn takes(letters: Letters, piece: &str) -> bool {
    match letters {
        Letters::All => true,
        Letters::NoNul | Letters::Trimmed => !piece.contains('\0'),
        // MySQL's latin1 is Windows-1252.
        Letters::Latin1 => {
            piece.chars().all(|c| c < '\u{80}' || ('\u{a0}'..='\u{ff}').contains(&c) || "€Ž".contains(c))
        }
    }
}

fn pieces(rng: &mut Rng, most: usize, letters: Letters) -> String {
    let mut text = String::new();
    let wanted = match rng.below(5) {
        0 => most.min(2000),
        1 => 0,
        _ => rng.below(most.min(40) + 1),
    };
    let mut count = 0;
    while count < wanted {
        let piece = if rng.percent(1) && letters == Letters::All { "\0" } else { rng.pick(PIECES) };
        let length = piece.chars().count();
        if takes(letters, piece) && count + length <= wanted {
            text.push_str(piece);
        } else {
            text.push('x');
        }
        count = text.chars().count();
    }
    text
}

pub fn good(rng: &mut Rng, chars: usize, letters: Letters) -> String {
    let mut text = pieces(rng, chars, letters);
    if letters == Letters::Trimmed && text.ends_with(' ') {
        text.truncate(text.trim_end_matches(' ').len());
    }
    match rng.below(40) {
        0 if chars > 20 => number_or_list(rng, letters),
        _ => quoted(rng, &text),
    }
}

/// Text columns take them as they were spelled.
fn number_or_list(rng: &mut Rng, letters: Letters) -> String {
    let list = if letters == Letters::Latin1 { "[1.50, \"x\"]" } else { "[1.50, {\"ä\":\"\\u00e4\"} ]" };
    rng.pick(&["1.50", "-0", "1E+2", "true", "[]", "{ }", list]).to_owned()
}

pub fn odd(rng: &mut Rng, chars: usize, letters: Letters) -> String {
    let text = match rng.below(10) {
        _ if letters == Letters::Trimmed && rng.percent(20) => format!("x{}", " ".repeat(1 + rng.below(chars))),
        0 => format!("{}x", "🦊".repeat(chars.min(3000))),
        1 => "é".repeat(chars.min(3000) + 1),
        2 => format!("{}   ", "x".repeat(chars.min(3000).saturating_sub(rng.below(3)))),
        // Only the server refuses these.
        3 if rng.percent(20) => "a\0b".to_owned(),
        4 => return rng.pick(&["\"\\ud800\"", "\"\\udc00x\"", "\"x\\ud83e\"", "\"\\ud800\\ud800\""]).to_owned(),
        5 if letters == Letters::Latin1 => rng.pick(&["中", "\u{81}", "🦊", "Ł", "ﬁ", "‐", "\u{2028}"]).to_owned(),
        6 => return number_or_list(rng, letters),
        _ => {
            let chars = chars.min(300) + 5;
            pieces(rng, chars, letters)
        }
    };
    quoted(rng, &text)
}

/// Texts that no one takes for a number.
pub fn wordy(rng: &mut Rng) -> String {
    let rest = pieces(rng, 20, Letters::All);
    let text = format!("{}{rest}", rng.pick(&["x", "_", "#", "ä", "🦊", "{", "(", "x-", "e", "\"", "'"]));
    quoted(rng, &text)
}

/// Exactly `max` bytes in UTF-8 if `fixed`, else at most.
pub fn bytes(rng: &mut Rng, max: usize, fixed: bool) -> String {
    let wanted = if fixed { max } else { rng.below(max.min(300) + 1) };
    let mut text = String::new();
    while text.len() < wanted {
        let piece = if rng.percent(10) { "\0" } else { rng.pick(PIECES) };
        text.push_str(if text.len() + piece.len() <= wanted { piece } else { "y" });
    }
    quoted(rng, &text)
}

fn hex(rng: &mut Rng) -> String {
    format!("{:016x}{:016x}", rng.next(), rng.next())
}

/// Of a version and variant that MariaDB takes, too.
pub fn uuid(rng: &mut Rng) -> String {
    let mut hex = hex(rng);
    hex.replace_range(12..13, rng.pick(&["1", "4", "7"]));
    hex.replace_range(16..17, rng.pick(&["8", "9", "a", "b"]));
    hyphened(&if rng.percent(15) { hex.to_ascii_uppercase() } else { hex })
}

fn hyphened(hex: &str) -> String {
    format!("\"{}-{}-{}-{}-{}\"", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

pub fn odd_uuid(rng: &mut Rng) -> String {
    let uuid = uuid(rng);
    match rng.below(9) {
        5 => hyphened(&hex(rng)),
        6 => hyphened(&"0".repeat(32)),
        7 => hyphened(&"f".repeat(32)),
        0 => uuid.replace('-', ""),
        1 => format!("\"{{{}}}\"", uuid.trim_matches('"')),
        2 => uuid.replacen('"', "\"urn:uuid:", 1),
        3 => uuid.replacen(|c: char| c.is_ascii_hexdigit(), "g", 1),
        4 => uuid.replacen('"', "\" ", 1),
        _ => uuid.replacen('-', "", 1),
    }
}

pub fn set(rng: &mut Rng, labels: &[&str]) -> String {
    let members: Vec<&str> = labels.iter().copied().filter(|_| rng.percent(50)).collect();
    quoted(rng, &members.join(","))
}

pub fn odd_label(rng: &mut Rng, labels: &[&str]) -> String {
    let label = rng.pick(labels);
    match rng.below(10) {
        0 => quoted(rng, &format!("{label} ")),
        1 => quoted(rng, &label.to_uppercase()),
        2 => quoted(rng, &label[..1]),
        3 => quoted(rng, &format!("{label},{label}")),
        4 => {
            let first = rng.pick(labels);
            quoted(rng, &format!("{first},{label}"))
        }
        5 => rng.pick(&["\"\"", "\"1\"", "\"3\"", "\"0\"", "1", "2", "\",\"", "\"a,\"", "\"Zoe\""]).to_owned(),
        6 => format!("[{}]", quoted(rng, label)),
        _ => quoted(rng, &format!("{label}x")),
    }
}

fn bare_address(rng: &mut Rng) -> String {
    if rng.percent(50) {
        return std::net::Ipv4Addr::from_bits(rng.next() as u32).to_string();
    }
    let mut address = u128::from(rng.next()) << 64 | u128::from(rng.next());
    if rng.percent(50) {
        address &= !(0xffff_ffff_ffff << rng.below(80));
    }
    let text = std::net::Ipv6Addr::from_bits(address).to_string();
    if rng.percent(20) { text.to_uppercase() } else { text }
}

pub fn address(rng: &mut Rng) -> String {
    let address = bare_address(rng);
    let bits = if address.contains(':') { 128 } else { 32 };
    match rng.below(3) {
        0 => format!("\"{address}/{}\"", rng.below(bits + 1)),
        _ => format!("\"{address}\""),
    }
}

pub fn odd_address(rng: &mut Rng) -> String {
    let address = bare_address(rng);
    match rng.below(5) {
        0 => format!("\"{address}/129\""),
        1 => format!("\"{}\"", address.replace('.', ":")),
        2 => rng.pick(&["\"::ffff:1.2.3.4\"", "\"1.2.3.256\"", "\"localhost\"", "\"\"", "\"1.2.3.4%eth0\""]).to_owned(),
        3 => format!("\"{address}/\""),
        _ => format!("\"{address}\\u0000\""),
    }
}
