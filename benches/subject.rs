//! What is measured: the worker, and the programs that it is compared with.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

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
        }
    }

    /// MiB of its file.
    pub fn size_mib(&self) -> f64 {
        let file = self.program();
        let bytes = std::fs::metadata(&file).unwrap_or_else(|error| panic!("{file}: {error}")).len();
        bytes as f64 / f64::from(1 << 20)
    }

    fn program(&self) -> String {
        let variable = match self {
            Subject::Floor | Subject::Again => "RABBIT_SINK_BENCH_FLOOR",
            Subject::Worker(_) => "RABBIT_SINK_BENCH_WORKER",
            Subject::Other(_) => "RABBIT_SINK_BENCH_OTHER",
        };
        program(variable)
    }

    fn command(&self, job: &Job, messages: u64) -> Command {
        let mut command = Command::new(self.program());
        match self {
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
        let mut command = self.command(job, messages);
        command.stdin(Stdio::null()).current_dir(&job.folder);
        command
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
