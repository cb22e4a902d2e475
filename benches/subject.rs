//! What is measured: the worker, and the programs that it is compared with.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::peer::Peer;
use crate::shapes::Shape;
use crate::support::process::kill_tree;

/// How the worker recognises repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deduplicate {
    Column,
    Ledger,
    None,
}

/// A program that moves messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Written by hand for one table: `benches/floor`.
    Floor,
    /// The same once more.
    Again,
    /// rabbit-sink.
    Worker(Deduplicate),
    /// rabbit-sink as another commit has it.
    Other(Deduplicate),
    /// What people use today.
    Peer(Peer),
}

/// Where a subject works.
#[derive(Clone, Debug)]
pub struct Job {
    pub amqp: String,
    pub database: String,
    pub queue: String,
    pub shape: Shape,
    pub consumers: u32,
    /// Further lines of the pipeline's config.
    pub config: String,
    pub folder: PathBuf,
}

/// A running subject. Dropped, it is killed.
pub struct Running {
    child: Child,
    pub log: PathBuf,
}

impl Subject {
    pub fn name(&self) -> String {
        match self {
            Subject::Floor => "floor".to_owned(),
            Subject::Again => "floor again".to_owned(),
            Subject::Worker(how) => format!("rabbit-sink, {}", how.name()),
            Subject::Other(how) => format!("rabbit-sink before, {}", how.name()),
            Subject::Peer(peer) => peer.name().to_owned(),
        }
    }

    /// MiB of its file; `None` where there is more than one.
    pub fn size_mib(&self) -> Option<f64> {
        let file = self.variable().map(program)?;
        let bytes = std::fs::metadata(&file).unwrap_or_else(|error| panic!("{file}: {error}")).len();
        Some(bytes as f64 / f64::from(1 << 20))
    }

    fn variable(&self) -> Option<&'static str> {
        match self {
            Subject::Floor | Subject::Again => Some("RABBIT_SINK_BENCH_FLOOR"),
            Subject::Worker(_) => Some("RABBIT_SINK_BENCH_WORKER"),
            Subject::Other(_) => Some("RABBIT_SINK_BENCH_OTHER"),
            Subject::Peer(_) => None,
        }
    }

    /// `messages`: it ends when so many are written; 0: never.
    fn command(&self, job: &Job, messages: u64) -> Command {
        let mut command = Command::new(self.variable().map(program).unwrap_or_default());
        match self {
            Subject::Peer(peer) => return peer.command(job),
            Subject::Floor | Subject::Again => {
                command.args([&job.amqp, &job.database, &job.queue, job.shape.name()]);
                command.args([messages.to_string(), job.consumers.to_string()]);
            }
            Subject::Worker(how) | Subject::Other(how) => {
                command.arg("run").arg("--config").arg(config(*how, job));
                if messages > 0 {
                    command.arg("--until-empty");
                }
            }
        }
        command
    }

    /// How it is called so that it ends when so many messages are written.
    pub fn to_the_end(&self, job: &Job, messages: u64) -> Command {
        self.command(job, messages)
    }

    /// Starts it; it runs until it is killed.
    pub fn start(&self, job: &Job) -> Running {
        let mut command = self.command(job, 0);
        let log = job.folder.join(format!("{}.log", job.queue));
        let file = || std::fs::File::options().create(true).append(true).open(&log).expect("a file in an own folder");
        command.stdin(Stdio::null()).stdout(file()).stderr(file()).current_dir(&job.folder);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Running { child, log }
    }
}

impl Deduplicate {
    pub fn name(self) -> &'static str {
        match self {
            Deduplicate::Column => "column",
            Deduplicate::Ledger => "ledger",
            Deduplicate::None => "none",
        }
    }
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Panics with its log if it has ended.
    pub fn must_run(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            panic!("it has ended ({status}); its log:\n{log}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        kill_tree(self.child.id());
        self.child.wait().ok();
    }
}

/// Where a program is.
pub fn program(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; ./benches/run.sh builds it and sets it"))
}

/// Writes the worker's config.
fn config(how: Deduplicate, job: &Job) -> PathBuf {
    let (key, table) = (job.shape.key(), job.shape.table());
    let deduplicate = match how {
        Deduplicate::Column => format!("column:{key}"),
        other => other.name().to_owned(),
    };
    let config = format!(
        "[rabbitmq]\nurl = \"{}\"\n[database]\nurl = \"{}\"\n[admin]\nlisten = \"off\"\n\
         [pipelines.bench]\nqueue = \"{}\"\ntable = \"{table}\"\nconsumers = {}\ndeduplicate = \"{deduplicate}\"\n{}\n{}",
        job.amqp,
        job.database,
        job.queue,
        job.consumers,
        job.config,
        job.shape.columns()
    );
    let file = job.folder.join(format!("{}.toml", job.queue));
    std::fs::write(&file, config).expect("a file in an own folder");
    file
}
