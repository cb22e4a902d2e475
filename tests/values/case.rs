//! The format of the tables: what is sent to a column, and what must become of it.

/// A server of the MySQL family, where it matters which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Mariadb,
    Mysql,
}

/// What must become of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The column then reads so; `None`: NULL.
    Stored(Option<String>),
    /// A row is there, and what the column holds is the database's own choice.
    Anything,
    /// By us, before any server sees it: class `mapping`, this code, and the column is named.
    Refused(&'static str),
    /// By the database, or for what only its driver knows: class `row_rejected`, this code.
    Rejected { code: &'static str, column: bool },
}

/// A value sent to a section's column.
#[derive(Clone, Debug)]
pub struct Case {
    /// JSON, as it stands in the body.
    pub sent: String,
    pub expect: Expect,
    /// Only where this server is at work.
    pub on: Option<Flavour>,
}

impl Case {
    pub fn applies(&self, flavour: Option<Flavour>) -> bool {
        self.on.is_none() || flavour.is_none() || self.on == flavour
    }

    /// What is sent, shortened where it is long.
    pub fn shown(&self) -> String {
        shortened(&self.sent)
    }
}

/// Short enough for a page.
pub fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let length = text.chars().count();
    if length <= MOST {
        return text.to_owned();
    }
    let start: String = text.chars().take(9).collect();
    // Without the quotes of a JSON string.
    let length = if text.starts_with('"') { length - 2 } else { length };
    format!("{start}… ({length} characters)")
}

/// What the JSON says, as text: strings without quotes and escapes, everything else as it stands.
pub fn text_of(json: &str) -> String {
    if json.starts_with('"') { serde_json::from_str(json).expect("a JSON string") } else { json.to_owned() }
}

/// A JSON string of one part, many times.
pub fn long(part: &str, times: usize) -> String {
    format!("\"{}\"", part.repeat(times))
}

/// A column and all that is sent to it. To each, `null` and nothing at all are sent as well.
#[derive(Clone, Debug)]
pub struct Section {
    /// The page's heading that it stands under.
    pub about: &'static str,
    /// The column as it is declared: `numeric(10,2) DEFAULT 7`.
    pub column: String,
    /// Further keys of the column in the config: `time = "epoch_ms"`.
    pub options: &'static str,
    /// The SQL that reads the column as text, `{}` for its name; else the database's usual one.
    pub reads: Option<&'static str>,
    /// A sentence for the page.
    pub note: &'static str,
    pub null: Expect,
    pub absent: Expect,
    /// JSON that other cases' messages send to this column, which can't be left out.
    pub filler: Option<&'static str>,
    /// Only where this server is at work.
    pub on: Option<Flavour>,
    pub cases: Vec<Case>,
    /// Of the cases that are added next.
    only: Option<Flavour>,
}

/// A column that takes NULL and has no DEFAULT.
pub fn column(about: &'static str, declared: &str) -> Section {
    Section {
        about,
        column: declared.to_owned(),
        options: "",
        reads: None,
        note: "",
        null: Expect::Stored(None),
        absent: Expect::Stored(None),
        filler: None,
        on: None,
        cases: Vec::new(),
        only: None,
    }
}

impl Section {
    pub fn options(mut self, options: &'static str) -> Section {
        self.options = options;
        self
    }

    pub fn reads(mut self, sql: &'static str) -> Section {
        self.reads = Some(sql);
        self
    }

    pub fn note(mut self, sentence: &'static str) -> Section {
        self.note = sentence;
        self
    }

    /// What the column's DEFAULT reads as.
    pub fn default(mut self, reads: &str) -> Section {
        self.absent = Expect::Stored(Some(reads.to_owned()));
        self
    }

    /// NOT NULL: what becomes of `null`, of nothing, and what other cases have to send.
    pub fn not_null(mut self, null: Expect, absent: Expect, filler: Option<&'static str>) -> Section {
        (self.null, self.absent, self.filler) = (null, absent, filler);
        self
    }

    /// The whole column only where this server is at work.
    pub fn on(mut self, flavour: Flavour) -> Section {
        self.on = Some(flavour);
        self
    }

    /// The cases that follow only where this server is at work.
    pub fn only(mut self, flavour: Flavour) -> Section {
        self.only = Some(flavour);
        self
    }

    fn add(mut self, sent: impl Into<String>, expect: Expect) -> Section {
        self.cases.push(Case { sent: sent.into(), expect, on: self.only });
        self
    }

    /// These read back exactly as they were sent.
    pub fn same<S: Into<String>>(self, sent: impl IntoIterator<Item = S>) -> Section {
        sent.into_iter().map(Into::into).fold(self, |section, sent: String| {
            let text = text_of(&sent);
            section.add(sent, Expect::Stored(Some(text)))
        })
    }

    /// What is sent, and how it reads.
    pub fn stored<S: Into<String>>(self, cases: impl IntoIterator<Item = (S, S)>) -> Section {
        cases.into_iter().fold(self, |section, (sent, reads)| section.add(sent, Expect::Stored(Some(reads.into()))))
    }

    /// Class `mapping`, with the column's name.
    pub fn refused<S: Into<String>>(self, code: &'static str, sent: impl IntoIterator<Item = S>) -> Section {
        sent.into_iter().fold(self, |section, sent| section.add(sent, Expect::Refused(code)))
    }

    /// Class `row_rejected`; nobody says for which column.
    pub fn rejected<S: Into<String>>(self, code: &'static str, sent: impl IntoIterator<Item = S>) -> Section {
        sent.into_iter().fold(self, |section, sent| section.add(sent, Expect::Rejected { code, column: false }))
    }

    /// Class `row_rejected`, with the column's name.
    pub fn rejected_here<S: Into<String>>(self, code: &'static str, sent: impl IntoIterator<Item = S>) -> Section {
        sent.into_iter().fold(self, |section, sent| section.add(sent, Expect::Rejected { code, column: true }))
    }

    pub fn applies(&self, flavour: Option<Flavour>) -> bool {
        self.on.is_none() || flavour.is_none() || self.on == flavour
    }

    /// The explicit cases and the two that every column gets; the latter's JSON is empty for
    /// nothing at all.
    pub fn all_cases(&self, flavour: Option<Flavour>) -> Vec<Case> {
        let own = self.cases.iter().filter(|case| case.applies(flavour)).cloned();
        let case = |sent: &str, expect: &Expect| Case { sent: sent.to_owned(), expect: expect.clone(), on: None };
        own.chain([case("null", &self.null), case("", &self.absent)]).collect()
    }
}

/// Columns that stand in one table, which has a pipeline of its own.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: &'static str,
    /// What follows the columns: `STRICT`.
    pub suffix: &'static str,
    pub sections: Vec<Section>,
}
