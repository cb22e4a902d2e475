//! The Unix socket: bound so that nobody but the worker's own user and root can order anything
//! through it, whatever the umask is.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net as std_net;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::config::AdminSocket;

/// A socket that is listened at. Its file goes with it.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    /// This process's user: besides root, the only one who may order.
    pub(super) uid: u32,
    file: Option<(PathBuf, (u64, u64))>,
}

impl Socket {
    /// Listens. A file that a killed worker has left is replaced. Needs a runtime.
    ///
    /// # Errors
    /// The system's; `AddrInUse` where another process answers there.
    pub fn bind(at: &AdminSocket) -> io::Result<Self> {
        let uid = own_uid()?;
        let (listener, file) = match at {
            AdminSocket::Path(path) => {
                let listener = bind_file(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
                (listener, Some((path.clone(), identity(path)?)))
            }
            AdminSocket::Abstract(name) => (std_net::UnixListener::bind_addr(&abstract_address(name)?)?, None),
        };
        listener.set_nonblocking(true)?;
        Ok(Socket { listener: UnixListener::from_std(listener)?, uid, file })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some((path, own)) = &self.file
            && identity(path).is_ok_and(|found| found == *own)
        {
            std::fs::remove_file(path).ok();
        }
    }
}

/// Connects to where a worker listens.
///
/// # Errors
/// The system's.
pub(crate) async fn connect(at: &AdminSocket) -> io::Result<UnixStream> {
    match at {
        AdminSocket::Path(path) => UnixStream::connect(path).await,
        AdminSocket::Abstract(name) => {
            let stream = std_net::UnixStream::connect_addr(&abstract_address(name)?)?;
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        }
    }
}

fn bind_file(path: &Path) -> io::Result<std_net::UnixListener> {
    match std_net::UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
            std::fs::remove_file(path)?;
            std_net::UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// A socket that nobody listens at any more. Any other file stays what it is.
fn is_left_over(path: &Path) -> bool {
    let socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    socket && std_net::UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Which file it is: another worker may have made one of the same name since.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// By a connection to ourselves: what the system says of its other end.
fn own_uid() -> io::Result<u32> {
    let (one, _other) = UnixStream::pair()?;
    Ok(one.peer_cred()?.uid())
}

/// A socket's name that is no file.
///
/// # Errors
/// Too long, or a system that has none.
#[cfg(target_os = "linux")]
pub(crate) fn abstract_address(name: &str) -> io::Result<std_net::SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    std_net::SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn abstract_address(_name: &str) -> io::Result<std_net::SocketAddr> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_for_its_owner_and_goes_with_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let at = AdminSocket::Path(path.clone());
        let socket = Socket::bind(&at).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Socket::bind(&at).unwrap_err().kind(), io::ErrorKind::AddrInUse, "somebody answers there");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_killed_worker_left_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let at = AdminSocket::Path(path.clone());
        drop(std_net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener leaves its file");
        let socket = Socket::bind(&at).unwrap();
        // Another worker's by now: it isn't ours to remove.
        std::fs::remove_file(&path).unwrap();
        let other = std_net::UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(other);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "a file of somebody's").unwrap();
        assert_eq!(Socket::bind(&at).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file of somebody's");
    }
}
