//! A PostgreSQL server of one's own.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{Connection, PgConnection};

use super::{copy_template, program};
use crate::support::process::{Node, User, free_port, new_folder, run};

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
            as_server_user(&postgres_program("postgres"), |command| {
                command.arg("-D").arg(&data);
            })
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
    if let Some(user) = User::instead_of_root("postgres") {
        std::os::unix::fs::chown(data, Some(user.uid), Some(user.gid)).expect("root may");
    }
    let mut command = as_server_user(&postgres_program("initdb"), |command| {
        command.args(["--username=tester", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
        command.arg(format!("--pwfile={}", passwords.display())).arg("-D").arg(data);
    });
    run(&mut command);
}

/// Debian keeps each version in a folder of its own.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut folders: Vec<(u32, String)> = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin").to_str()?.to_owned()))
        })
        .collect();
    folders.sort();
    let newest: Vec<&str> = folders.iter().rev().map(|(_, folder)| folder.as_str()).collect();
    program(name, &newest)
}

/// PostgreSQL refuses to run as root.
fn as_server_user(program: &Path, arguments: impl FnOnce(&mut Command)) -> Command {
    let mut command = Command::new(program);
    // The caller's folder may be closed to that user.
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    arguments(&mut command);
    if let Some(user) = User::instead_of_root("postgres") {
        user.runs(&mut command);
    }
    command
}
