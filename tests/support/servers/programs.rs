//! Where a server's programs come from: this machine, or a folder with another release of Debian
//! in it, as `tests/matrix.sh` makes them. There they run with that folder as their root.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::{User, is_root};

/// What a shell of root's finds its programs by.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One release's programs.
#[derive(Clone, Debug)]
pub struct Programs {
    root: Option<PathBuf>,
}

impl Programs {
    /// `variable` names the folder; without it they are this machine's own.
    pub fn of(variable: &str) -> Programs {
        Programs { root: std::env::var_os(variable).filter(|root| !root.is_empty()).map(PathBuf::from) }
    }

    /// In one of these folders, in PATH, or where Debian puts what is not meant to be called by
    /// hand: its path as the programs themselves see it.
    pub fn find(&self, name: &str, folders: &[&str]) -> Option<PathBuf> {
        let path = match self.root {
            Some(_) => PATH.into(),
            None => std::env::var_os("PATH").unwrap_or_default(),
        };
        let mut candidates: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
        candidates.extend(std::env::split_paths(&path));
        candidates.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
        candidates.into_iter().map(|folder| folder.join(name)).find(|file| self.has(file))
    }

    /// A link is not followed: it leads to another place from inside.
    fn has(&self, file: &Path) -> bool {
        match self.root {
            Some(_) => self.outside(file).symlink_metadata().is_ok(),
            None => file.is_file(),
        }
    }

    /// Where something that the programs see at this path really lies.
    pub fn outside(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// The user of that name who runs a server, if we are root and so have to become somebody else.
    pub fn user(&self, name: &str) -> Option<User> {
        is_root().then(|| User::in_file(&self.outside(Path::new("/etc/passwd")), name))
    }

    /// A program in a folder of its own, as that user.
    pub fn command(&self, program: &Path, folder: &Path, user: Option<User>) -> Command {
        let Some(root) = &self.root else {
            let mut command = Command::new(program);
            command.current_dir(folder);
            if let Some(user) = user {
                command.uid(user.uid).gid(user.gid);
            }
            return command;
        };
        let mut command = Command::new("chroot");
        if let Some(user) = user {
            command.arg(format!("--userspec={}:{}", user.uid, user.gid));
        }
        // `chroot` goes to the new root's top folder; each of these replaces itself by the next one,
        // so that the process that we start is the server.
        command.arg(root).args(["env", "-C"]).arg(folder).arg(program).env("PATH", PATH);
        command
    }

    /// The words that run a program, for who has to put a command line together.
    pub fn words(&self, program: &Path) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(root) = &self.root {
            words.extend(["chroot".to_owned(), root.display().to_string()]);
        }
        words.push(program.display().to_string());
        words
    }
}
