//! File systems of the run's own. They need root.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::{is_root, run};

/// A mounted file system; unmounted with the value.
pub struct Mount {
    point: PathBuf,
}

impl Mount {
    /// A file system of so many MiB in memory.
    pub fn tmpfs(point: &Path, mebibytes: u32) -> Mount {
        assert!(is_root(), "only root may mount a file system: run this fault as root");
        std::fs::create_dir_all(point).expect("an own folder");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=755"), "none"])
            .arg(point));
        Mount { point: point.to_owned() }
    }

    /// The same folder seen at another place, or at its own, where it then can be read-only.
    pub fn bind(from: &Path, to: &Path) -> Mount {
        assert!(is_root(), "only root may mount a file system: run this fault as root");
        run(Command::new("mount").arg("--bind").args([from, to]));
        Mount { point: to.to_owned() }
    }

    /// Makes it read-only, or not. `false`: somebody has a file open to write.
    pub fn read_only(&self, read_only: bool) -> bool {
        let options = if read_only { "remount,bind,ro" } else { "remount,bind,rw" };
        let done = Command::new("mount").args(["-o", options]).arg(&self.point).output();
        done.expect("mount").status.success()
    }

    /// Fills it with one file, to the last byte.
    pub fn fill(&self) -> PathBuf {
        use std::io::Write;
        let ballast = self.point.join("ballast");
        let mut file = std::fs::File::create(&ballast).expect("a file");
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        ballast
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: whoever has a file open keeps it.
        drop(Command::new("umount").arg("--lazy").arg(&self.point).status());
    }
}
