//! A MariaDB server of one's own.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;

use sqlx::{Connection, MySqlConnection};

use super::{copy_template, program};
use crate::support::process::{Node, free_port, is_root, new_folder, run};

/// The size that both the install and the server have to agree on; the default is 96 MiB to copy.
const LOG_SIZE: &str = "--innodb-log-file-size=8M";

/// A MariaDB server; login `tester`, password `test`, may do everything.
pub struct Mariadb {
    node: Node,
    port: u16,
}

impl Mariadb {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further options of `mariadbd`, such as `--max-allowed-packet=1M`.
    pub async fn start_with(options: &[&str]) -> Self {
        let folder = new_folder("mariadb");
        let data = folder.join("data");
        if !copy_template("mariadb", &data) {
            init(&data);
        }
        // Read at every start, so that it needs no first start of its own.
        std::fs::write(
            folder.join("login.sql"),
            "CREATE USER IF NOT EXISTS 'tester'@'%' IDENTIFIED BY 'test';\nGRANT ALL ON *.* TO 'tester'@'%' WITH GRANT OPTION;\n",
        )
        .expect("a file in an own folder");
        let port = free_port();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let home = folder.clone();
        let node = Node::new("MariaDB", folder, "TERM", move || {
            let mut command = Command::new(program("mariadbd", &[]));
            command.arg("--no-defaults").arg(format!("--datadir={}", home.join("data").display()));
            command.arg(format!("--socket={}", home.join("socket").display()));
            command.arg(format!("--init-file={}", home.join("login.sql").display()));
            command.arg(format!("--port={port}")).args(["--bind-address=127.0.0.1", "--skip-name-resolve", LOG_SIZE]);
            command.args([
                "--innodb-buffer-pool-size=64M",
                "--innodb-flush-log-at-trx-commit=1",
                "--max-connections=200",
            ]);
            command.args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"]);
            if is_root() {
                command.arg("--user=root");
            }
            command.args(&options);
            command
        });
        let mut server = Mariadb { node, port };
        server.restart().await;
        server
    }

    /// Starts it again, after [`Node::stop`] or [`Node::kill`], and waits until it answers.
    pub async fn restart(&mut self) {
        let url = self.url();
        self.node.launch();
        self.node.await_answer(async || answers(&url).await).await;
    }

    /// With login, of its database `mysql`.
    pub fn url(&self) -> String {
        format!("mysql://tester:test@127.0.0.1:{}/mysql", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Deref for Mariadb {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.node
    }
}

impl DerefMut for Mariadb {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.node
    }
}

/// Whether a MariaDB server takes a login there.
pub async fn answers(url: &str) -> bool {
    match MySqlConnection::connect(url).await {
        Ok(connection) => connection.close().await.is_ok(),
        Err(_) => false,
    }
}

/// Makes a fresh data folder.
pub fn init(data: &Path) {
    let mut command = Command::new(program("mariadb-install-db", &[]));
    command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", LOG_SIZE]);
    command.arg(format!("--datadir={}", data.display()));
    if is_root() {
        command.arg("--user=root");
    }
    run(&mut command);
}
