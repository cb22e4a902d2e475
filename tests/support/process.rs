//! A server's processes: started, stopped, killed, frozen, started again, and gone in the end
//! whatever becomes of the test.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::wait::{PATIENCE, holds_within, random};

/// A new folder below the system's folder for temporary files. PostgreSQL refuses to run as root,
/// and its own user has to get through every folder above its data: hence 755, and hence not
/// below the project, which may lie in root's home.
pub fn new_folder(what: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("rabbit-sink-tests-{what}-{:012x}", random() & 0xffff_ffff_ffff));
    std::fs::create_dir(&path).unwrap_or_else(|e| panic!("cannot create {}: {e}", path.display()));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permissions of an own folder");
    path
}

/// A port that is free now and lies below those that the kernel hands out to outgoing
/// connections: else one of these could take it while a server is being restarted.
pub fn free_port() -> u16 {
    for _ in 0..1_000 {
        let port = 12_000 + u16::try_from(random() % 20_000).expect("below 20,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 12000 and 32000");
}

/// A user of this machine.
#[derive(Clone, Copy, Debug)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

impl User {
    /// The user of that name in a file like `/etc/passwd`.
    pub fn in_file(passwd: &Path, name: &str) -> User {
        let text = std::fs::read_to_string(passwd).unwrap_or_else(|e| panic!("{}: {e}", passwd.display()));
        let user = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next()? == name;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            found.then_some(User { uid, gid })
        });
        user.unwrap_or_else(|| {
            panic!("{} has no user {name}; ./tests/install.sh installs what is missing", passwd.display())
        })
    }
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Runs a command to its end; a failure shows what it said.
pub fn run(command: &mut Command) -> String {
    let said = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    assert!(
        said.status.success(),
        "{command:?} failed: {}\n{}{}",
        said.status,
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    String::from_utf8_lossy(&said.stdout).into_owned()
}

/// Sends a signal, by its name without SIG, to each of the processes that are still there.
pub fn signal(pids: &[u32], name: &str) {
    for pid in pids {
        // The shell's own `kill`: a bare Debian has no other. A process that is gone is no failure.
        Command::new("sh")
            .args(["-c", "kill -\"$1\" \"$2\" 2>/dev/null || :", "sh", name, &pid.to_string()])
            .status()
            .expect("sh");
    }
}

/// Process number, its parent and its group, of all processes of this machine.
fn processes() -> Vec<(u32, u32, u32)> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let (ppid, pgid, _) = stat(pid)?;
            Some((pid, ppid, pgid))
        })
        .collect()
}

/// Parent, group and start time (in ticks since boot) of a process that isn't a zombie.
fn stat(pid: u32) -> Option<(u32, u32, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if *fields.first()? == "Z" {
        return None;
    }
    Some((fields.get(1)?.parse().ok()?, fields.get(2)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

/// When a process started; `None` if it is gone. Together with its number this names it for good.
pub fn started(pid: u32) -> Option<u64> {
    stat(pid).map(|(_, _, started)| started)
}

/// A process, its group, and all descendants (PostgreSQL's leave the group).
pub fn tree(root: u32) -> Vec<u32> {
    let all = processes();
    let mut found: Vec<u32> =
        all.iter().filter(|(pid, _, pgid)| *pid == root || *pgid == root).map(|(pid, ..)| *pid).collect();
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children: Vec<u32> = all.iter().filter(|(_, ppid, _)| *ppid == parent).map(|(pid, ..)| *pid).collect();
        for child in children {
            if !found.contains(&child) {
                found.push(child);
            }
        }
        next += 1;
    }
    found
}

/// `kill -9` for a process and all of its descendants, frozen first so that none escapes. Returns
/// when they are gone: a port or a lock of theirs may be wanted next.
pub fn kill_tree(root: u32) {
    signal(&[root], "STOP");
    let pids = tree(root);
    signal(&pids, "KILL");
    let end = Instant::now() + PATIENCE;
    while pids.iter().any(|&pid| started(pid).is_some()) {
        assert!(Instant::now() < end, "processes {pids:?} don't die");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills the group and the children of process `$1` and deletes the folder `$2`
/// as soon as its stdin ends without a word: as soon as the test process is gone.
const WATCHDOG: &str = r#"
read -r word && exit 0
kill -STOP "$1"
for stat in /proc/[0-9]*/stat; do
    line=$(cat "$stat" 2>/dev/null) || continue
    pid=${line%% *}
    set -- "$1" "$2" ${line##*) }
    [ "$4" = "$1" ] && kill -KILL "$pid"
done
kill -KILL -"$1"
# What is dying may still write.
for attempt in 1 2 3 4 5 6 7 8 9; do
    rm -rf "$2" && exit 0
    sleep 1
done
"#;

/// A running process with everything it starts.
#[derive(Debug)]
pub struct Process {
    child: Child,
    watchdog: Option<Child>,
}

impl Process {
    /// Starts it in a process group of its own (so that Ctrl-C reaches us alone), its output
    /// appended to `log`. It dies with the test process, however that ends, and its `folder` is
    /// deleted.
    pub fn spawn(mut command: Command, log: &Path, folder: &Path) -> Process {
        let open = || File::options().create(true).append(true).open(log).expect("the log of a server");
        command.stdin(Stdio::null()).stdout(open()).stderr(open()).process_group(0);
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "sh", &child.id().to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh");
        Process { child, watchdog: Some(watchdog) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether its main process still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9` for all of it.
    pub fn kill(&mut self) {
        kill_tree(self.id());
        self.child.wait().expect("an own child");
        self.dismiss_watchdog();
    }

    /// It outlives this process from now on; whoever ends it then uses [`kill_tree`].
    pub fn leave(&mut self) {
        self.dismiss_watchdog();
    }

    fn dismiss_watchdog(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            if let Some(mut stdin) = watchdog.stdin.take() {
                // It may have been killed by hand: then there is nobody left to tell.
                drop(stdin.write_all(b"done\n"));
            }
            watchdog.wait().expect("an own child");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.watchdog.is_some() {
            self.kill();
        }
    }
}

/// One server: how it is started, and its process while it runs. Dropped, it is killed and its
/// folder deleted, unless it was left to itself.
pub struct Node {
    /// Everything it has on disk.
    pub folder: PathBuf,
    name: &'static str,
    stop_signal: &'static str,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    process: Option<Process>,
    stays: bool,
}

impl Node {
    /// A server that is not started yet; `stop_signal` asks it for a clean stop.
    pub fn new(
        name: &'static str,
        folder: PathBuf,
        stop_signal: &'static str,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Node {
        Node { folder, name, stop_signal, command: Box::new(command), process: None, stays: false }
    }

    /// It outlives this process from now on; whoever ends it then uses [`kill_tree`].
    pub fn leave(&mut self) {
        self.stays = true;
        if let Some(process) = &mut self.process {
            process.leave();
        }
    }

    /// Starts the process; whether it answers is asked by the server's own `start`.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "{} is running already", self.name);
        self.process = Some(Process::spawn((self.command)(), &self.log(), &self.folder));
    }

    /// Number of the main process.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Waits until `answers`; a server that ends instead fails the test and shows its log.
    pub async fn await_answer(&mut self, mut answers: impl AsyncFnMut() -> bool) {
        let process = self.process.as_mut().expect("launched");
        let mut ended = false;
        let fine = holds_within(PATIENCE, async || {
            ended = !process.alive();
            ended || answers().await
        })
        .await;
        assert!(fine && !ended, "{} didn't start (ended: {ended}); its log:\n{}", self.name, self.log_tail());
    }

    /// A clean stop.
    pub async fn stop(&mut self) {
        let mut process = self.process.take().unwrap_or_else(|| panic!("{} isn't running", self.name));
        signal(&[process.id()], self.stop_signal);
        let stopped = holds_within(PATIENCE, async || !process.alive()).await;
        assert!(stopped, "{} doesn't stop; its log:\n{}", self.name, self.log_tail());
        process.dismiss_watchdog();
    }

    /// `kill -9`, all of its processes at once.
    pub fn kill(&mut self) {
        self.process.take().unwrap_or_else(|| panic!("{} isn't running", self.name)).kill();
    }

    /// Freezes all of its processes: connections stay open, nothing answers.
    pub fn pause(&self) {
        let id = self.id().unwrap_or_else(|| panic!("{} isn't running", self.name));
        signal(&[id], "STOP");
        signal(&tree(id), "STOP");
    }

    /// Lets them go on.
    pub fn resume(&self) {
        let id = self.id().unwrap_or_else(|| panic!("{} isn't running", self.name));
        signal(&tree(id), "CONT");
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
        // Best effort: a folder that stays in /tmp spoils no test.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The last 60 lines of a file.
pub fn tail(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
