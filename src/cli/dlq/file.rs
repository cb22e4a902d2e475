//! Files of dead letters: what `export` and the archive of `discard` write and `import` reads.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::letter::Letter;
use crate::cli::exit::CliError;
use crate::dead_letter::Line;

/// Bytes of a line: room for any message that a broker takes unless it was told to take larger ones.
const LINE_MAX: u64 = 1 << 30;

/// A file that is written, or stdout.
pub(super) struct Writer {
    out: BufWriter<Box<dyn Write>>,
    file: Option<File>,
    name: String,
    /// Whoever read stdout has seen enough: the rest is dropped in silence, as other tools do it.
    unread: bool,
}

impl Writer {
    /// A new file, readable by its owner only: there are values in it. One that is there already
    /// is left alone. `-` is stdout.
    pub(super) fn create(path: &Path) -> Result<Self, CliError> {
        if path == Path::new("-") {
            let (out, name) = (BufWriter::new(Box::new(io::stdout()) as Box<dyn Write>), "stdout".to_owned());
            return Ok(Writer { out, file: None, name, unread: false });
        }
        let name = path.display().to_string();
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => CliError::usage(format!("{name} is there already; name another file")),
            _ => CliError::usage(format!("{name} can't be written: {error}")),
        })?;
        let twin = file.try_clone().map_err(|error| CliError::failed(format!("{name}: {error}")))?;
        let writer = Writer { out: BufWriter::new(Box::new(twin)), file: Some(file), name, unread: false };
        // A file whose name isn't on the disk is lost with the power.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| writer.failed(&error))?;
        Ok(writer)
    }

    /// One letter, one line.
    pub(super) fn write(&mut self, letter: &Letter) -> Result<(), CliError> {
        if self.unread {
            return Ok(());
        }
        let line = Line::new(&letter.info, &letter.envelope);
        let written = serde_json::to_writer(&mut self.out, &line).map_err(io::Error::from);
        let written = written.and_then(|()| self.out.write_all(b"\n"));
        self.unless_unread(written)
    }

    /// Everything that was written is on the disk.
    pub(super) fn sync(&mut self) -> Result<(), CliError> {
        if self.unread {
            return Ok(());
        }
        let synced = self.out.flush().and_then(|()| self.file.as_ref().map_or(Ok(()), File::sync_all));
        self.unless_unread(synced)
    }

    fn unless_unread(&mut self, done: io::Result<()>) -> Result<(), CliError> {
        match done {
            Err(error) if self.file.is_none() && error.kind() == io::ErrorKind::BrokenPipe => {
                self.unread = true;
                Ok(())
            }
            done => done.map_err(|error| self.failed(&error)),
        }
    }

    fn failed(&self, error: &io::Error) -> CliError {
        CliError::failed(format!("{} can't be written: {error}", self.name))
    }
}

/// A file that is read.
pub(super) struct Lines {
    lines: BufReader<File>,
    name: String,
    number: u64,
}

impl Lines {
    /// From where the file is; `name` is for messages.
    pub(super) fn new(file: File, name: &str) -> Self {
        Lines { lines: BufReader::new(file), name: name.to_owned(), number: 0 }
    }

    /// The next letter; empty lines are passed over.
    pub(super) fn next(&mut self) -> Result<Option<Letter>, CliError> {
        loop {
            let mut line = String::new();
            let place = |what: &dyn std::fmt::Display| format!("{}, line {}: {what}", self.name, self.number + 1);
            let bounded = self.lines.by_ref().take(LINE_MAX).read_line(&mut line);
            let read = bounded.map_err(|error| CliError::failed(place(&error)))?;
            if read == 0 {
                return Ok(None);
            }
            if read as u64 == LINE_MAX {
                return Err(CliError::failed(place(&"longer than any dead letter")));
            }
            if !line.trim().is_empty() {
                let envelope = Line::parse(&line).map_err(|bad| CliError::failed(place(&bad)))?;
                self.number += 1;
                return Ok(Some(Letter::new(&envelope, None)));
            }
            self.number += 1;
        }
    }

    /// Where the letter that was read last stands.
    pub(super) fn place(&self) -> String {
        format!("{}, line {}", self.name, self.number)
    }
}

/// `orders-discarded-20260131T080000Z.ndjson`, in the working folder.
pub(super) fn archive_name(pipeline: &str) -> PathBuf {
    let now = jiff::Timestamp::now();
    PathBuf::from(format!("{pipeline}-discarded-{}.ndjson", now.strftime("%Y%m%dT%H%M%SZ")))
}
