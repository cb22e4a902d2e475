//! What addresses and logins are made of, so that what stands in files can be read again: passwords are
//! rotated while a worker runs.

use std::fmt;
use std::path::PathBuf;

use super::Secret;
use super::secrets::{Login, secret_of};

/// A secret as the config gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// In its own text, or in a variable.
    Here(Secret),
    /// In a file.
    File(PathBuf),
}

impl Kept {
    /// As it is now.
    fn read(&self) -> Result<String, String> {
        match self {
            Kept::Here(secret) => Ok(secret.reveal().to_owned()),
            Kept::File(path) => {
                secret_of(path).map_err(|error| format!("{} can't be read again: {error}", path.display()))
            }
        }
    }

    fn is_file(&self) -> bool {
        matches!(self, Kept::File(_))
    }
}

/// Where a server's addresses and its login come from. Its default comes from nowhere, and stays as it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub(super) urls: Vec<Kept>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Kept>,
    pub(super) management_url: Option<Kept>,
}

/// Only the files: the rest stands in the config itself.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.urls.iter().chain(&self.password).chain(&self.management_url).filter(|kept| kept.is_file());
        f.debug_list().entries(files).finish()
    }
}

/// A server's config with its secrets as their files have them now.
#[derive(Debug)]
pub struct Fresh<T> {
    /// As it was, where something can't be read: a login that worked may still do.
    pub config: T,
    /// What that was. It holds no secret.
    pub unread: Option<String>,
}

impl<T: Clone> Fresh<T> {
    pub(super) fn of(config: &T, credentials: &Credentials, read: impl FnOnce() -> Result<T, String>) -> Self {
        if !credentials.in_files() {
            return Fresh { config: config.clone(), unread: None };
        }
        match read() {
            Ok(config) => Fresh { config, unread: None },
            Err(unread) => Fresh { config: config.clone(), unread: Some(unread) },
        }
    }
}

impl<T> Fresh<T> {
    /// Adds to a failure why its login may be an old one.
    pub(crate) fn explain(&self, mut failure: crate::error::Failure) -> crate::error::Failure {
        if let Some(unread) = &self.unread {
            failure.message = format!("{} ({unread}; what was read before was tried)", failure.message).into();
        }
        failure
    }
}

impl Credentials {
    fn in_files(&self) -> bool {
        self.urls.iter().chain(&self.password).chain(&self.management_url).any(Kept::is_file)
    }

    pub(super) fn login(&self) -> Result<Login, String> {
        let password = self.password.as_ref().map(Kept::read).transpose()?;
        Ok(Login { username: self.username.clone(), password })
    }

    pub(super) fn addresses(&self) -> Result<Vec<String>, String> {
        self.urls.iter().map(Kept::read).collect()
    }

    pub(super) fn management(&self) -> Result<Option<String>, String> {
        self.management_url.as_ref().map(Kept::read).transpose()
    }
}
