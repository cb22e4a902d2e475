//! Starts the servers that most tests share, runs a command with their addresses in its
//! environment, and stops them, also after Ctrl-C.
//!
//! ```text
//! with-servers [--keep] [--minutes NUMBER] COMMAND ARGUMENT…
//! ```
//!
//! A command that runs for longer than `--minutes` (45) is taken to hang, and killed.
//! `--keep` leaves them running; the next call takes them over, and stops them unless it says
//! `--keep` again. What was kept is noted in `.servers` (a line each: process, start time, folder).
//!
//! The servers are this machine's, or those of other releases where variables name their folders
//! (`tests/matrix.sh`). Their versions stand in `RABBIT_SINK_TEST_VERSIONS` for the command.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// The parts of the tests' support that this needs.
#[path = "."]
#[allow(dead_code, unused_imports)]
mod support {
    pub mod process;
    pub mod servers;
    pub mod wait;
}

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use support::process::{kill_tree, new_folder, started};
use support::servers::{
    MYSQL_ROOT, Mysql, POSTGRES_ROOT, Postgres, RABBITMQ_ROOT, Rabbitmq, TEMPLATES, mysql, postgres, rabbitmq,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Variables for the tests, in the order: AMQP, rabbitmqctl, PostgreSQL, MySQL, templates, versions.
const VARIABLES: [&str; 6] = [
    "RABBIT_SINK_TEST_AMQP_URL",
    "RABBIT_SINK_TEST_RABBITMQCTL",
    "RABBIT_SINK_TEST_POSTGRES_URL",
    "RABBIT_SINK_TEST_MYSQL_URL",
    TEMPLATES,
    "RABBIT_SINK_TEST_VERSIONS",
];

/// Minutes after which a run is taken to hang: a test waits for something without a deadline.
const HANGS: u64 = 45;

/// What runs, by what is needed to use it and to end it.
#[derive(Default)]
struct Servers {
    /// Values of [`VARIABLES`].
    values: Vec<String>,
    /// Main processes with their start times: a number alone may be somebody else's by now.
    processes: Vec<(u32, u64)>,
    folders: Vec<PathBuf>,
    /// Whose programs they are: others are not to be taken over.
    roots: String,
    /// Those that we have started ourselves. They die with us until they are left to themselves.
    own: Option<(Rabbitmq, Postgres, Mysql)>,
}

impl Servers {
    /// Starts all, at the same time.
    async fn start(templates: PathBuf) -> Servers {
        postgres::init(&templates.join("postgres"));
        mysql::init(&templates.join("mysql"));
        let (rabbit, postgres, mysql) = tokio::join!(Rabbitmq::start(), Postgres::start(), Mysql::start());
        let ids = [Some(rabbit.epmd().id()), rabbit.id(), postgres.id(), mysql.id()];
        let folders = [rabbit.epmd().folder(), &rabbit.folder, &postgres.folder, &mysql.folder, &templates];
        let versions = [rabbit.version(), postgres.version().await, mysql.version().await];
        Servers {
            values: vec![
                rabbit.url(),
                rabbit.ctl_prefix(),
                postgres.url(),
                mysql.url(),
                templates.display().to_string(),
                versions.join(", "),
            ],
            processes: ids.into_iter().flatten().filter_map(|id| Some((id, started(id)?))).collect(),
            folders: folders.into_iter().map(|folder| folder.to_path_buf()).collect(),
            roots: roots(),
            own: Some((rabbit, postgres, mysql)),
        }
    }

    async fn answer(&self) -> bool {
        let [amqp, _, postgres_url, mysql_url, templates, _] = self.values.as_slice() else { return false };
        self.roots == roots()
            && Path::new(templates).is_dir()
            && rabbitmq::answers(amqp).await
            && postgres::answers(postgres_url).await
            && mysql::answers(mysql_url).await
    }

    fn stop(mut self) {
        drop(self.own.take());
        for &(id, start) in &self.processes {
            if started(id) == Some(start) {
                kill_tree(id);
            }
        }
        for folder in &self.folders {
            drop(std::fs::remove_dir_all(folder));
        }
    }

    /// Leaves them running, noted in the file.
    fn keep(mut self, file: &Path) {
        if let Some((rabbit, postgres, mysql)) = &mut self.own {
            rabbit.leave();
            postgres.leave();
            mysql.leave();
        }
        let mut lines: Vec<String> = self.values.iter().map(|value| format!("value {value}")).collect();
        lines.extend(self.processes.iter().map(|(id, start)| format!("process {id} {start}")));
        lines.extend(self.folders.iter().map(|folder| format!("folder {}", folder.display())));
        lines.push(format!("roots {}", self.roots));
        std::fs::write(file, lines.join("\n") + "\n").expect("the project's folder can be written");
    }

    fn read(file: &Path) -> Option<Servers> {
        let mut servers = Servers::default();
        for line in std::fs::read_to_string(file).ok()?.lines() {
            match line.split_once(' ')? {
                ("value", value) => servers.values.push(value.to_owned()),
                ("roots", roots) => servers.roots = roots.to_owned(),
                ("folder", folder) => servers.folders.push(folder.into()),
                ("process", process) => {
                    let (id, start) = process.split_once(' ')?;
                    servers.processes.push((id.parse().ok()?, start.parse().ok()?));
                }
                _ => return None,
            }
        }
        Some(servers)
    }
}

/// Where programs come from that aren't this machine's.
fn roots() -> String {
    [RABBITMQ_ROOT, POSTGRES_ROOT, MYSQL_ROOT].map(|variable| std::env::var(variable).unwrap_or_default()).join(":")
}

/// Those that an earlier call has kept, if they still answer.
async fn kept(file: &Path) -> Option<Servers> {
    let servers = Servers::read(file)?;
    std::fs::remove_file(file).expect("the project's folder can be written");
    if servers.answer().await {
        return Some(servers);
    }
    servers.stop();
    None
}

/// What ends us early.
struct Interrupts([Signal; 3]);

impl Interrupts {
    fn new() -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Interrupts(kinds.map(|kind| signal(kind).expect("a signal handler")))
    }

    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut words: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let keep = words.first().is_some_and(|word| word == "--keep");
    if keep {
        words.remove(0);
    }
    let mut minutes = Some(HANGS);
    if words.first().is_some_and(|word| word == "--minutes") {
        words.remove(0);
        minutes = if words.is_empty() { None } else { words.remove(0).to_str().and_then(|word| word.parse().ok()) };
    }
    let (Some((program, arguments)), Some(minutes)) = (words.split_first(), minutes) else {
        eprintln!("usage: with-servers [--keep] [--minutes NUMBER] COMMAND ARGUMENT…");
        return ExitCode::from(2);
    };
    let state = Path::new(env!("CARGO_MANIFEST_DIR")).join(".servers");
    let begin = Instant::now();
    let servers = match kept(&state).await {
        Some(servers) => servers,
        None => Servers::start(new_folder("templates")).await,
    };
    let versions = servers.values.last().map_or("servers", String::as_str);
    eprintln!("{versions} answer after {:.1} s", begin.elapsed().as_secs_f64());
    let mut interrupts = Interrupts::new();
    let mut command = tokio::process::Command::from({
        let mut command = Command::new(program);
        command.args(arguments).envs(VARIABLES.into_iter().zip(&servers.values));
        command
    });
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {}: {e}", program.display()));
    let code = tokio::select! {
        status = child.wait() => status.ok().and_then(|status| status.code()).map_or(1, |code| code.clamp(0, 255)),
        () = interrupts.any() => {
            kill_tree(child.id().expect("not waited for yet"));
            130
        }
        () = tokio::time::sleep(Duration::from_secs(minutes * 60)) => {
            eprintln!("still running after {minutes} minutes: killed");
            kill_tree(child.id().expect("not waited for yet"));
            124
        }
    };
    if keep && code != 130 {
        servers.keep(&state);
        eprintln!("servers stay; the next ./tests/run.sh takes them over");
    } else {
        servers.stop();
    }
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
