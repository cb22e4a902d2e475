//! PgBouncer in front of a PostgreSQL server.

use std::ops::Deref;
use std::path::Path;
use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::programs::Programs;
use super::{POSTGRES_ROOT, not_installed};
use crate::support::process::{Node, free_port, new_folder};

/// A pooler. All of its clients share one connection to each database: what one leaves behind, the
/// next one finds.
pub struct Pgbouncer {
    node: Node,
    port: u16,
}

impl Pgbouncer {
    /// `pool_mode`: `session` or `transaction`. `server`: a URL of the PostgreSQL server, login `tester`.
    pub async fn start(server: &str, pool_mode: &str) -> Self {
        let folder = new_folder("pgbouncer");
        let (port, server) = (free_port(), url::Url::parse(server).expect("a URL"));
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = {pool_mode}\n\
             default_pool_size = {}\n",
            server.port().unwrap_or(5432),
            folder.join("users").display(),
            if pool_mode == "transaction" { 1 } else { 20 },
        );
        std::fs::write(folder.join("pgbouncer.ini"), ini).expect("a file in an own folder");
        std::fs::write(folder.join("users"), "\"tester\" \"test\"\n").expect("a file in an own folder");
        // Always this machine's, whichever release the server is of. It refuses to run as root.
        let programs = Programs::of("");
        let program = programs.find("pgbouncer", &["/usr/sbin"]).unwrap_or_else(|| not_installed("pgbouncer"));
        let user = Programs::of(POSTGRES_ROOT).user("postgres");
        let home = folder.clone();
        let node = Node::new("PgBouncer", folder, "INT", move || {
            let mut command = programs.command(&program, Path::new("/"), user);
            command.arg(home.join("pgbouncer.ini"));
            command
        });
        let mut pooler = Pgbouncer { node, port };
        pooler.node.launch();
        let url = pooler.in_front_of(server.as_str());
        // It refuses what the driver asks for by default.
        let options = PgConnectOptions::from_str(&url).expect("a URL").extra_float_digits(None);
        pooler.node.await_answer(async || options.connect().await.is_ok()).await;
        pooler
    }

    /// The URL of a database of that server, by way of the pooler.
    pub fn in_front_of(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).expect("a URL");
        url.set_port(Some(self.port)).expect("a URL with a host");
        url.into()
    }
}

impl Deref for Pgbouncer {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.node
    }
}
