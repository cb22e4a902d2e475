//! `[admin]`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::reader::{LISTEN, SOCKET, Section};
use super::secrets::read_secret;
use super::{Admin, Secret};

/// Characters of a token: fewer could be guessed, more have no use.
const TOKEN: std::ops::RangeInclusive<usize> = 16..=1024;
/// Bytes of a socket's path or name: what the system's address has room for.
const MAX_SOCKET: usize = 107;

/// A Unix socket's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminSocket {
    /// A file.
    Path(PathBuf),
    /// A name of Linux's, which is no file and goes with the process.
    Abstract(String),
}

/// As the config writes it.
impl fmt::Display for AdminSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminSocket::Path(path) => path.display().fmt(f),
            AdminSocket::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

pub(super) fn read(root: &Section<'_>) -> Admin {
    let section = root.section("admin");
    let listen = listen(&section);
    let (socket, socket_is_given) = match socket(&section) {
        Some(given) => (given, true),
        None => (default_socket(listen), false),
    };
    let token = token(&section);
    section.finish();
    Admin { listen, socket, socket_is_given, token }
}

fn listen(section: &Section<'_>) -> Option<SocketAddr> {
    let text = section.text("listen").unwrap_or_default();
    let listen = text.parse().ok();
    if listen.is_none()
        && text != "off"
        && let Some(field) = section.field("listen").filter(|field| !field.is_bad())
    {
        let help = text.strip_prefix(':').map(|port| format!("\"0.0.0.0:{port}\" listens on all addresses"));
        field.expected_with(LISTEN, help);
    }
    listen
}

/// What the config says of it; `Some(None)`: off.
fn socket(section: &Section<'_>) -> Option<Option<AdminSocket>> {
    let text = section.text("socket")?;
    let field = section.field("socket").filter(|field| !field.is_bad())?;
    if text == "off" {
        return Some(None);
    }
    if text.is_empty() || text == "@" || text.contains('\0') {
        field.expected_with(SOCKET, None);
        return None;
    }
    if text.len() > MAX_SOCKET {
        field.wrong(format!("at most {MAX_SOCKET} bytes: the system has no room for more"), None);
        return None;
    }
    match text.strip_prefix('@') {
        Some(_) if cfg!(not(target_os = "linux")) => {
            field.wrong("only Linux has sockets without a file: name a path", None);
            None
        }
        Some(name) => Some(Some(AdminSocket::Abstract(name.to_owned()))),
        None => Some(Some(AdminSocket::Path(PathBuf::from(text)))),
    }
}

/// Whoever has the config can tell it: it depends on nothing else.
fn default_socket(listen: Option<SocketAddr>) -> Option<AdminSocket> {
    listen
        .filter(|_| cfg!(target_os = "linux"))
        .map(|address| AdminSocket::Abstract(format!("{}/{address}", env!("CARGO_PKG_NAME"))))
}

fn token(section: &Section<'_>) -> Option<Secret> {
    let (key, field) = section.one_of(&["token", "token_file"])?;
    let text = if key == "token" { field.secret()? } else { read_secret(&field)? };
    let (fewest, most) = (TOKEN.start(), TOKEN.end());
    if !TOKEN.contains(&text.len()) || !text.chars().all(|c| c.is_ascii_graphic()) {
        let help = "`openssl rand -hex 32` prints one".to_owned();
        let message = format!("expected {fewest} to {most} printable ASCII characters without blanks");
        field.wrong(message, Some(help));
        return None;
    }
    Some(Secret::new(text))
}
