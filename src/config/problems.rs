//! Mistakes, collected while reading and reported all at once.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use super::snippet::{self, Snippet};
use super::syntax::line_of;
use super::tree::At;

/// All mistakes of one config. `Display` prints the full report, a block for each.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    problems: Vec<ConfigProblem>,
    /// It isn't TOML in a way that nothing else can be told of it.
    unread: bool,
}

/// One mistake. It holds no secret: values of secret or unknown keys are left out of `message` and of the line shown.
#[derive(Clone, Debug)]
pub struct ConfigProblem {
    /// The file as it was named.
    pub file: String,
    /// Line and column (in characters), from 1; `None`: the file as a whole, or a variable.
    pub position: Option<(usize, usize)>,
    /// The environment variable, where one is the cause.
    pub variable: Option<String>,
    /// The key's full path; empty where no key is known.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
    /// What to do, or the nearest known name.
    pub help: Option<String>,
    snippet: Option<Snippet>,
}

impl ConfigErrors {
    /// The mistakes, in the order of the file; those of the environment come last.
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        match self.problems.len() {
            1 => write!(f, "1 mistake in the config")?,
            count => write!(f, "{count} mistakes in the config")?,
        }
        if self.unread { write!(f, "; what else may be wrong is told once it is TOML") } else { Ok(()) }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.variable, self.position) {
            (Some(variable), _) => write!(f, "environment variable {variable}: ")?,
            (None, Some((line, column))) => write!(f, "{}:{line}:{column}: ", self.file)?,
            (None, None) => write!(f, "{}: ", self.file)?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        writeln!(f, "{}", self.message)?;
        if let (Some(snippet), Some((line, _))) = (&self.snippet, self.position) {
            let number = line.to_string();
            let gap = " ".repeat(number.len());
            writeln!(f, " {gap} |\n {number} | {}\n {gap} | {}", snippet.line, snippet.marks)?;
        }
        match &self.help {
            Some(help) => writeln!(f, "   = help: {help}"),
            None => Ok(()),
        }
    }
}

/// The collection. Shared by all readers, hence the cells.
#[derive(Default)]
pub(super) struct Problems {
    found: RefCell<Vec<Found>>,
    plain: RefCell<Vec<Range<usize>>>,
    /// Where it isn't TOML.
    unparsed: RefCell<Vec<Range<usize>>>,
}

#[derive(PartialEq)]
struct Found {
    at: At,
    key: String,
    message: String,
    help: Option<String>,
    /// The value itself was understood: it goes with another one's badly.
    contradiction: bool,
}

impl Found {
    fn is_about(&self, key: &str) -> bool {
        self.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

impl Problems {
    /// Notes a mistake at a key. The same one again changes nothing.
    pub fn add(&self, at: At, key: &str, message: impl Into<String>, help: Option<String>) {
        self.note(Found { at, key: key.to_owned(), message: message.into(), help, contradiction: false });
    }

    /// Notes that a key, right by itself, contradicts another one.
    pub fn add_contradiction(&self, at: At, key: &str, message: String, help: Option<String>) {
        self.note(Found { at, key: key.to_owned(), message, help, contradiction: true });
    }

    fn note(&self, found: Found) {
        let mut all = self.found.borrow_mut();
        if !all.contains(&found) {
            all.push(found);
        }
    }

    /// Notes what isn't TOML, at no key. What is said of keys on the same line is left out: it is about a guess.
    pub fn add_unparsed(&self, span: Range<usize>, message: String, help: Option<String>) {
        self.unparsed.borrow_mut().push(span.clone());
        self.add(At::File(span), "", message, help);
    }

    /// The value that stands there may be shown. All others are taken for secrets.
    pub fn may_show(&self, at: &At) {
        if let At::File(span) = at {
            self.plain.borrow_mut().push(span.clone());
        }
    }

    /// Something was said about this key already, or about what is inside it.
    pub fn is_bad(&self, key: &str) -> bool {
        self.found.borrow().iter().any(|found| found.is_about(key))
    }

    /// The same, and its value is none that could be compared with others.
    pub fn is_unusable(&self, key: &str) -> bool {
        self.found.borrow().iter().any(|found| !found.contradiction && found.is_about(key))
    }

    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// The report. `scalars`: where the file's values stand; `None`: that can't be told.
    pub fn report(self, file: &str, text: &str, scalars: Option<Vec<Range<usize>>>) -> ConfigErrors {
        let plain = self.plain.into_inner();
        let unread = scalars.is_none() && !text.is_empty();
        let hidden = scalars
            .map(|scalars| scalars.into_iter().filter(|span| !plain.contains(span)).collect::<Vec<Range<usize>>>());
        let unparsed = self.unparsed.into_inner();
        let mut found = self.found.into_inner();
        let guessed = |found: &Found| match &found.at {
            At::File(span) => {
                let line = line_of(text, span.start);
                !found.key.is_empty() && unparsed.iter().any(|broken| line_of(text, broken.start) == line)
            }
            At::Whole | At::Variable(_) => false,
        };
        found.retain(|found| !guessed(found));
        found.sort_by_key(|found| match &found.at {
            At::Whole => (0, 0),
            At::File(span) => (1, span.start),
            At::Variable(_) => (2, 0),
        });
        let problems = found
            .into_iter()
            .map(|Found { at, key, message, help, contradiction: _ }| {
                let (position, variable, snippet) = match at {
                    At::File(span) => {
                        // Where it isn't TOML, any part of the line could be a secret.
                        let hidden = hidden.as_deref().filter(|_| !unparsed.contains(&span));
                        let (position, snippet) = snippet::show(text, span, hidden);
                        (Some(position), None, Some(snippet))
                    }
                    At::Variable(variable) => (None, Some(variable), None),
                    At::Whole => (None, None, None),
                };
                ConfigProblem { file: file.to_owned(), position, variable, key, message, help, snippet }
            })
            .collect();
        ConfigErrors { problems, unread }
    }
}

/// `path.key`, quoted where TOML would quote it.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// The known name that is most like the one typed, or else the longest that one of the two begins with: `prefetch` for
/// `prefetch_count`.
pub(super) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = plain(typed);
    let known: Vec<(String, &'a str)> = known.into_iter().map(|name| (plain(name), name)).collect();
    let like = known
        .iter()
        .map(|(plain, name)| (strsim::damerau_levenshtein(&typed, plain), name))
        .filter(|(distance, name)| *distance <= (name.len().max(typed.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, name)) = like {
        return Some(name);
    }
    let related = known.iter().filter(|(plain, _)| adds_a_word(&typed, plain) || adds_a_word(plain, &typed));
    related.max_by_key(|(plain, _)| plain.len()).map(|(_, name)| *name)
}

/// Whether a name is another one and more: `username_password`, which may mean something else altogether.
pub(super) fn adds_a_word(name: &str, to: &str) -> bool {
    plain(name).strip_prefix(&plain(to)).is_some_and(|rest| rest.starts_with('_'))
}

fn plain(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}
