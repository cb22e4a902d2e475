//! A JSON reader of the test's own: it keeps all digits, double keys and lone surrogates, and knows
//! for each value how it was spelled.

/// A value and its spelling.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    pub raw: &'a str,
    pub value: Json<'a>,
}

#[derive(Clone, Debug)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    /// In UTF-16, as JSON's escapes are.
    Text(Vec<u16>),
    Array(Vec<Node<'a>>),
    Object(Vec<(Vec<u16>, Node<'a>)>),
}

/// Reads a whole text; `None` where it is no JSON.
pub fn parse(text: &str) -> Option<Node<'_>> {
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    let node = reader.node()?;
    reader.blanks();
    (reader.at == text.len()).then_some(node)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn takes(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        self.at += if there { token.len() } else { 0 };
        there
    }

    fn node(&mut self) -> Option<Node<'a>> {
        let start = self.at;
        let value = match self.rest().bytes().next()? {
            b'n' => self.takes("null").then_some(Json::Null)?,
            b't' => self.takes("true").then_some(Json::Bool(true))?,
            b'f' => self.takes("false").then_some(Json::Bool(false))?,
            b'"' => Json::Text(self.text()?),
            b'[' => Json::Array(self.list("[", "]", Self::node)?),
            b'{' => Json::Object(self.list("{", "}", |reader| {
                let key = reader.text()?;
                reader.blanks();
                reader.takes(":").then_some(())?;
                reader.blanks();
                Some((key, reader.node()?))
            })?),
            _ => {
                let rest = self.rest();
                let end = rest.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(rest.len());
                self.at += end;
                super::decimal::Decimal::parse(&rest[..end])?;
                Json::Number(&rest[..end])
            }
        };
        Some(Node { raw: &self.text[start..self.at], value })
    }

    fn list<T>(&mut self, open: &str, close: &str, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.takes(open).then_some(())?;
        let mut items = Vec::new();
        self.blanks();
        if self.takes(close) {
            return Some(items);
        }
        loop {
            self.blanks();
            items.push(item(self)?);
            self.blanks();
            if self.takes(close) {
                return Some(items);
            }
            self.takes(",").then_some(())?;
        }
    }

    fn text(&mut self) -> Option<Vec<u16>> {
        self.takes("\"").then_some(())?;
        let mut units = Vec::new();
        loop {
            let character = self.rest().chars().next()?;
            self.at += character.len_utf8();
            match character {
                '"' => return Some(units),
                '\\' => {
                    let escaped = self.rest().chars().next()?;
                    self.at += escaped.len_utf8();
                    units.push(match escaped {
                        'n' => 10,
                        'r' => 13,
                        't' => 9,
                        'b' => 8,
                        'f' => 12,
                        'u' => {
                            let hex = self.rest().get(..4)?;
                            self.at += 4;
                            u16::from_str_radix(hex, 16).ok()?
                        }
                        other => u16::try_from(u32::from(other)).ok()?,
                    });
                }
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
    }
}

/// The same document: numbers by value, objects as sets of fields, double keys one by one.
pub fn same(a: &Json<'_>, b: &Json<'_>) -> bool {
    match (a, b) {
        (Json::Null, Json::Null) => true,
        (Json::Bool(a), Json::Bool(b)) => a == b,
        (Json::Number(a), Json::Number(b)) => super::decimal::same(a, b),
        (Json::Text(a), Json::Text(b)) => a == b,
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.value, &b.value))
        }
        (Json::Object(a), Json::Object(b)) => {
            let (mut a, mut b): (Vec<_>, Vec<_>) = (a.iter().collect(), b.iter().collect());
            // Stable: fields of the same name stay in their order.
            a.sort_by_key(|(key, _)| key);
            b.sort_by_key(|(key, _)| key);
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(&a.value, &b.value))
        }
        _ => false,
    }
}
