//! A PostgreSQL server of one's own.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;

use sqlx::{Connection, PgConnection};

use super::{POSTGRES_ROOT, Programs, copy_template, not_installed};
use crate::support::process::{Node, free_port, new_folder, run};

/// Where Debian puts it.
const VERSIONS: &str = "/usr/lib/postgresql";

/// What a test wants different from a fresh server.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Lines `name = value` for postgresql.conf; the last one of a name holds.
    pub settings: Vec<(String, String)>,
}

impl PostgresOptions {
    /// Syncs to disk as a production server does. Otherwise fsync is off: a killed *process* loses
    /// nothing by that, only a machine that loses power would.
    pub fn durable() -> Self {
        PostgresOptions { settings: vec![("fsync".into(), "on".into())] }
    }
}

/// A PostgreSQL server; login `tester`, password `test`, a superuser.
pub struct Postgres {
    node: Node,
    port: u16,
}

impl Postgres {
    pub async fn start() -> Self {
        Self::start_with(PostgresOptions::default()).await
    }

    pub async fn start_with(options: PostgresOptions) -> Self {
        let folder = new_folder("postgres");
        let data = folder.join("data");
        if !copy_template("postgres", &data) {
            init(&data);
        }
        Self::launch_in(folder, options).await
    }

    /// A hot standby of another server: it follows, answers what reads, and takes no writes.
    pub async fn standby_of(primary: &Postgres) -> Self {
        let folder = new_folder("standby");
        if let Some(user) = Programs::of(POSTGRES_ROOT).user("postgres") {
            std::os::unix::fs::chown(&folder, Some(user.uid), Some(user.gid)).expect("root may");
        }
        let mut command = as_server_user("pg_basebackup");
        command.env("PGPASSWORD", "test").args(["-h", "127.0.0.1", "-p", &primary.port.to_string(), "-U", "tester"]);
        // -R: what makes it a standby, and where its primary is.
        command.args(["-X", "stream", "-c", "fast", "-R", "-D"]).arg(folder.join("data"));
        run(&mut command);
        Self::launch_in(folder, PostgresOptions::default()).await
    }

    async fn launch_in(folder: std::path::PathBuf, options: PostgresOptions) -> Self {
        let data = folder.join("data");
        let port = free_port();
        let mut conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nfsync = off\n\
             dynamic_shared_memory_type = mmap\n\
             max_connections = 200\nshared_buffers = 64MB\nmax_wal_size = 256MB\nlog_line_prefix = '%m [%p] %a '\n"
        );
        for (name, value) in &options.settings {
            conf.push_str(&format!("{name} = '{value}'\n"));
        }
        std::fs::write(data.join("postgresql.conf"), conf).expect("postgresql.conf");
        let node = Node::new("PostgreSQL", folder, "INT", move || {
            let mut command = as_server_user("postgres");
            command.arg("-D").arg(&data);
            command
        });
        let mut server = Postgres { node, port };
        server.restart().await;
        server
    }

    /// Starts it again, after [`Node::stop`] or [`Node::kill`], and waits until it answers.
    pub async fn restart(&mut self) {
        let url = self.url();
        self.node.launch();
        self.node.await_answer(async || answers(&url).await).await;
    }

    /// What it says of itself: `PostgreSQL 15.13`.
    pub async fn version(&self) -> String {
        let mut connection = PgConnection::connect(&self.url()).await.expect("it answers");
        let said: String =
            sqlx::query_scalar("SHOW server_version").fetch_one(&mut connection).await.expect("its version");
        // Debian adds its own: `15.13 (Debian 15.13-0+deb12u1)`.
        format!("PostgreSQL {}", said.split(' ').next().unwrap_or_default())
    }

    /// With login, of its database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://tester:test@127.0.0.1:{}/postgres", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Deref for Postgres {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.node
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.node
    }
}

/// Whether a PostgreSQL server takes a login there.
pub async fn answers(url: &str) -> bool {
    match PgConnection::connect(url).await {
        Ok(connection) => connection.close().await.is_ok(),
        Err(_) => false,
    }
}

/// Makes a fresh data folder.
pub fn init(data: &Path) {
    let passwords = data.with_extension("password");
    std::fs::write(&passwords, "test\n").expect("a file in an own folder");
    std::fs::create_dir(data).expect("an own folder");
    if let Some(user) = Programs::of(POSTGRES_ROOT).user("postgres") {
        std::os::unix::fs::chown(data, Some(user.uid), Some(user.gid)).expect("root may");
    }
    let mut command = as_server_user("initdb");
    command.args(["--username=tester", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
    command.arg(format!("--pwfile={}", passwords.display())).arg("-D").arg(data);
    run(&mut command);
}

/// Debian keeps each version in a folder of its own, the newest first here.
fn folders(programs: &Programs) -> Vec<String> {
    let versions = std::fs::read_dir(programs.outside(Path::new(VERSIONS))).into_iter().flatten();
    let mut numbers: Vec<u32> = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.iter().rev().map(|number| format!("{VERSIONS}/{number}/bin")).collect()
}

/// PostgreSQL refuses to run as root.
fn as_server_user(name: &str) -> Command {
    let programs = Programs::of(POSTGRES_ROOT);
    let folders = folders(&programs);
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let program = programs.find(name, &folders).unwrap_or_else(|| not_installed(name));
    // The caller's folder may be closed to that user.
    let mut command = programs.command(&program, Path::new("/"), programs.user("postgres"));
    command.env("LC_ALL", "C.UTF-8");
    command
}
