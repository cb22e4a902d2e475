//! A server of one's own that speaks MySQL's protocol: MariaDB, or MySQL where there is no MariaDB.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;

use sqlx::{Connection, MySqlConnection};

use super::{MYSQL_ROOT, Programs, copy_template, not_installed};
use crate::support::process::{Node, free_port, is_root, new_folder, run};

/// Two products with options of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Mariadb,
    Mysql,
}

impl Flavour {
    /// Which of the two is installed; MariaDB where both are.
    pub fn installed() -> Flavour {
        let programs = Programs::of(MYSQL_ROOT);
        let there = |flavour: &Flavour| programs.find(flavour.program(), &[]).is_some();
        [Flavour::Mariadb, Flavour::Mysql].into_iter().find(there).unwrap_or_else(|| not_installed("mariadbd"))
    }

    fn program(self) -> &'static str {
        match self {
            Flavour::Mariadb => "mariadbd",
            Flavour::Mysql => "mysqld",
        }
    }

    /// A log of 8 MiB: the default is 96 to 100 MiB, to be copied for each server. The install and
    /// the server have to agree on it.
    fn log_size(self) -> &'static str {
        match self {
            Flavour::Mariadb => "--innodb-log-file-size=8M",
            Flavour::Mysql => "--innodb-redo-log-capacity=8M",
        }
    }
}

/// A MariaDB or MySQL server; login `tester`, password `test`, may do everything.
pub struct Mysql {
    node: Node,
    port: u16,
}

impl Mysql {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further options of the server, such as `--max-allowed-packet=1M`.
    pub async fn start_with(options: &[&str]) -> Self {
        Self::start_as("root", options).await
    }

    /// As the user of Debian's package, not as root: programs that it starts to copy its data to another
    /// server give up root's rights.
    pub async fn start_as_mysql(options: &[&str]) -> Self {
        Self::start_as("mysql", options).await
    }

    async fn start_as(user: &'static str, options: &[&str]) -> Self {
        let folder = new_folder("mysql");
        let data = folder.join("data");
        if !copy_template("mysql", &data) {
            init(&data);
        }
        // Read at every start, so that it needs no first start of its own.
        std::fs::write(
            folder.join("login.sql"),
            "CREATE USER IF NOT EXISTS 'tester'@'%' IDENTIFIED BY 'test';\nGRANT ALL ON *.* TO 'tester'@'%' WITH GRANT OPTION;\n",
        )
        .expect("a file in an own folder");
        if user != "root" && is_root() {
            run(Command::new("chown").args(["-R", user]).arg(&folder));
        }
        let port = free_port();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let home = folder.clone();
        let node = Node::new("MySQL", folder, "TERM", move || {
            let flavour = Flavour::installed();
            let mut command = command(flavour.program(), &home, user);
            command.arg(format!("--datadir={}", home.join("data").display()));
            command.arg(format!("--socket={}", home.join("socket").display()));
            command.arg(format!("--init-file={}", home.join("login.sql").display()));
            command.arg(format!("--port={port}")).args(["--bind-address=127.0.0.1", "--skip-name-resolve"]);
            command.args([
                flavour.log_size(),
                "--innodb-buffer-pool-size=64M",
                "--innodb-flush-log-at-trx-commit=1",
                "--max-connections=200",
            ]);
            command.args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"]);
            if flavour == Flavour::Mysql {
                // Tests remember what happened in tables that no rollback reaches: with GTIDs, MySQL
                // refuses these in a transaction (1785).
                command.args(["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]);
                // No other protocol on a port of its own, no folder for files that isn't there.
                command.args(["--mysqlx=OFF", "--secure-file-priv=NULL"]);
                // Tests read tables sorted by long columns, for which its own 256 KiB are too few.
                command.arg("--sort-buffer-size=16M");
            }
            command.args(&options);
            command
        });
        let mut server = Mysql { node, port };
        server.restart().await;
        server
    }

    /// Starts it again, after [`Node::stop`] or [`Node::kill`], and waits until it answers.
    pub async fn restart(&mut self) {
        let url = self.url();
        self.node.launch();
        self.node.await_answer(async || answers(&url).await).await;
    }

    /// What it says of itself: `MariaDB 10.11.11`, `MySQL 9.7.0`.
    pub async fn version(&self) -> String {
        let mut connection = MySqlConnection::connect(&self.url()).await.expect("it answers");
        let said: String =
            sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection).await.expect("its version");
        let name = if said.contains("MariaDB") { "MariaDB" } else { "MySQL" };
        // What follows is Debian's: `10.11.11-MariaDB-0+deb12u1`.
        format!("{name} {}", said.split('-').next().unwrap_or_default())
    }

    /// With login, of its database `mysql`.
    pub fn url(&self) -> String {
        format!("mysql://tester:test@127.0.0.1:{}/mysql", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Deref for Mysql {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.node
    }
}

impl DerefMut for Mysql {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.node
    }
}

/// Whether a server takes a login there.
pub async fn answers(url: &str) -> bool {
    match MySqlConnection::connect(url).await {
        Ok(connection) => connection.close().await.is_ok(),
        Err(_) => false,
    }
}

/// Makes a fresh data folder.
pub fn init(data: &Path) {
    let flavour = Flavour::installed();
    let home = data.parent().expect("a folder in another one");
    let mut command = match flavour {
        Flavour::Mariadb => {
            let mut command = command("mariadb-install-db", home, "root");
            command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
            command
        }
        Flavour::Mysql => {
            let mut command = command("mysqld", home, "root");
            command.arg("--initialize-insecure");
            command
        }
    };
    command.arg(flavour.log_size()).arg(format!("--datadir={}", data.display()));
    run(&mut command);
}

/// A program with nothing of this machine's settings; the option for that has to be the first one.
/// Its temporary tables are in its own folder: a server that starts removes all that it finds, its
/// neighbours' as well.
fn command(name: &str, folder: &Path, user: &str) -> Command {
    let programs = Programs::of(MYSQL_ROOT);
    let program = programs.find(name, &[]).unwrap_or_else(|| not_installed(name));
    let mut command = programs.command(&program, folder, None);
    command.arg("--no-defaults").env("TMPDIR", folder);
    if is_root() {
        command.arg(format!("--user={user}"));
    }
    command
}
