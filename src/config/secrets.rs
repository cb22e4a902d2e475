//! Logins and the files that they are kept in.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::TlsFiles;
use super::credentials::{Credentials, Kept};
use super::field::Field;
use super::reader::Section;
use super::tree::Value;
use crate::digest::sha256;

/// A password or a URL with one in it: printing it shows nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from logs.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text, for whoever logs in with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What a file of secrets may hold.
const MAX_BYTES: u64 = 64 * 1024;

/// User name and password that stand beside a URL; they replace the URL's own.
#[derive(Default)]
pub(super) struct Login {
    pub username: Option<String>,
    pub password: Option<String>,
}

impl Login {
    /// `username`, `password`, `password_file`: as they are now, and where they come from.
    pub fn read(section: &Section<'_>) -> (Login, Credentials) {
        let username = section.text("username");
        let given = match section.one_of(&["password", "password_file"]) {
            Some(("password", field)) => kept_here(&field),
            Some((_, field)) => kept_in_file(&field),
            None => None,
        };
        let (password, kept) = given.unzip();
        (
            Login { username: username.clone(), password },
            Credentials { username, password: kept, ..Credentials::default() },
        )
    }

    pub fn is_empty(&self) -> bool {
        self.username.is_none() && self.password.is_none()
    }

    /// Puts the login into a URL, percent-encoded. `false`: the URL has no host to log in at.
    pub fn put_into(&self, url: &mut Url) -> bool {
        let encode = |text: &String| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let user = self.username.as_ref().is_none_or(|user| url.set_username(&encode(user)).is_ok());
        let password = self.password.as_ref().is_none_or(|password| url.set_password(Some(&encode(password))).is_ok());
        user && password
    }
}

/// A secret that stands in the config itself, or in a variable.
pub(super) fn kept_here(field: &Field<'_>) -> Option<(String, Kept)> {
    let text = field.secret()?;
    Some((text.clone(), Kept::Here(Secret::new(text))))
}

/// A secret in the file that a key names.
pub(super) fn kept_in_file(field: &Field<'_>) -> Option<(String, Kept)> {
    let text = read_secret(field)?;
    let Value::Text(path) = field.value() else { return None };
    Some((text, Kept::File(PathBuf::from(path))))
}

/// The content of the file that a key names, without one trailing line break.
pub(super) fn read_secret(field: &Field<'_>) -> Option<String> {
    opened(field, "the path of a file", "the secret", secret_of)
}

/// Bytes of a PEM file that are compared.
const MAX_PEM: u64 = 1 << 20;

/// The path of a file that must be readable now, rather than fail at the first connection; and what stands in it.
pub(super) fn readable(field: &Field<'_>) -> Option<(PathBuf, Vec<u8>)> {
    opened(field, "the path of a PEM file", "the file", |path| {
        let mut content = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_PEM).read_to_end(&mut content));
        read.map_err(|error| error.to_string())?;
        Ok((path.to_owned(), content))
    })
}

/// Does something with the file that a key names. Who mistakes the key for the secret's own place shall not see the
/// secret in a log: what is no file is shown only where it can't be anything but a path.
fn opened<T>(
    field: &Field<'_>,
    expected: &str,
    what: &str,
    read: impl FnOnce(&Path) -> Result<T, String>,
) -> Option<T> {
    let Value::Text(text) = field.value() else {
        field.expected_kind(&format!("{expected} in quotes"), None);
        return None;
    };
    let path = Path::new(text);
    let is_path = ["/", "./", "../"].iter().any(|start| text.starts_with(start)) || path.exists();
    if is_path {
        field.show();
    }
    match read(path) {
        Ok(content) => Some(content),
        Err(error) if is_path => {
            field.wrong(format!("can't read {what} from {text}: {error}"), None);
            None
        }
        Err(_) => {
            let help = "the key names a file with it, as in \"/run/secrets/password\" or \"./password\"".to_owned();
            field.wrong(format!("can't read {what}: no file has this name"), Some(help));
            None
        }
    }
}

pub(super) fn secret_of(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if read as u64 > MAX_BYTES {
        return Err("it is larger than 64 KiB".into());
    }
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if secret.is_empty() {
        return Err("it is empty".into());
    }
    Ok(secret.to_owned())
}

/// `ca_file`, `cert_file`, `key_file`.
pub(super) fn read_tls(section: &Section<'_>) -> TlsFiles {
    let files = ["ca_file", "cert_file", "key_file"].map(|key| section.readable(key));
    let contents = files.each_ref().map(|file| file.as_ref().map_or(&[][..], |(_, content)| content));
    let contents = sha256(&contents);
    let [ca_file, cert_file, key_file] = files.map(|file| file.map(|(path, _)| path));
    let tls = TlsFiles { ca_file, cert_file, key_file, contents };
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => section.contradiction(&["cert_file"], "needs key_file beside it".into(), None),
        (None, Some(_)) => section.contradiction(&["key_file"], "needs cert_file beside it".into(), None),
        _ => {}
    }
    tls
}

/// TLS files where nothing would use them make believe that the connection is encrypted.
pub(super) fn refuse_tls(section: &Section<'_>, tls: &TlsFiles, because: &str) {
    for (key, file) in [("ca_file", &tls.ca_file), ("cert_file", &tls.cert_file), ("key_file", &tls.key_file)] {
        if file.is_some() {
            section.contradiction(&[key], format!("no use for it: {because}"), None);
        }
    }
}

/// The part of an address before `://`, if it can't be anything secret.
pub(super) fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    (scheme.len() <= 16 && scheme.chars().all(|c| c.is_ascii_alphabetic())).then_some(scheme)
}

/// What to do about an address that can't be read, or is read in a way that nobody means.
pub(super) const ENCODED: &str = "in a user name or password, `#`, `/`, `?` and `@` are written %23, %2F, %3F and %40; or the \
                                  password stands beside, as it is: password = …";

/// A part that no address of ours has: a `#` in a password begins it, and what is behind is lost.
pub(super) fn has_fragment(url: &Url) -> bool {
    url.fragment().is_some()
}

/// What an address without such a part is, in words that give nothing of it away.
pub(super) fn without_scheme(text: &str) -> &'static str {
    match text {
        "" => "nothing",
        text if text.contains("://") => "something else before the ://",
        _ => "no ://",
    }
}

/// The first parameter of a URL's query that isn't known. Drivers ignore such, or log them with their value.
pub(super) fn unknown_parameter(url: &Url, known: &[&str]) -> Option<String> {
    let strange = |name: &str| !known.contains(&name) && !name.starts_with("options[");
    url.query_pairs().map(|(name, _)| name.into_owned()).find(|name| strange(name))
}
