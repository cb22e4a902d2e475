//! What goes to stdout (data) and stderr (messages).

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::escape::escape;
use super::exit::CliError;

/// Stdout. Once its reader has gone, everything else is dropped in silence, as other tools do
/// that die of SIGPIPE; any other error is kept until [`Out::finish`].
#[derive(Debug)]
pub(super) struct Out {
    /// An object a line instead of text for people.
    pub json: bool,
    error: Option<io::Error>,
}

impl Out {
    pub(super) fn new(json: bool) -> Self {
        Out { json, error: None }
    }

    /// A line of text, or several.
    pub(super) fn line(&mut self, text: &str) {
        self.attempt(|stdout| writeln!(stdout, "{text}"));
    }

    /// One object as one line of JSON.
    pub(super) fn object(&mut self, object: &impl Serialize) {
        match serde_json::to_string(object) {
            Ok(line) => self.line(&line),
            Err(error) => self.error = self.error.take().or(Some(error.into())),
        }
    }

    /// A table for people, every cell made safe for terminals.
    pub(super) fn table(&mut self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(header.iter().copied());
        // Wrapped to a terminal's width; whole lines where another tool reads them.
        let arrangement =
            if io::stdout().is_terminal() { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
        table.set_content_arrangement(arrangement);
        for row in rows {
            table.add_row(row.iter().map(|cell| escape(cell)));
        }
        self.line(&table.trim_fmt());
    }

    fn attempt(&mut self, write: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) {
        if self.error.is_none() {
            self.error = write(&mut io::stdout().lock()).err();
        }
    }

    /// Whether everything was printed, as far as somebody wanted it.
    pub(super) fn finish(&mut self) -> Result<(), CliError> {
        self.attempt(|stdout| stdout.flush());
        match self.error.take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CliError::failed(format!("stdout can't be written: {error}")))
            }
            _ => Ok(()),
        }
    }
}

/// A message on stderr, its lines as they are. Nothing is left to do where that is closed, too.
pub(super) fn complain(message: &str) {
    drop(writeln!(io::stderr().lock(), "rabbit-sink: {}", super::escape::escape_lines(message.trim_end())));
}
