//! The servers that everything is measured against: private ones, which sync to disk as
//! production servers do.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row, SqliteConnection};

use crate::support::broker::{Broker, Kind};
use crate::support::database::{Server, TestDatabase, execute};
use crate::support::process::{new_folder, tree};
use crate::support::servers::{Mysql, Postgres, PostgresOptions, Rabbitmq, RabbitmqOptions, Schedulers};
use crate::usage;

/// Room for some hundreds of thousands of rows, as a server that is meant to be fast has it.
const MYSQL: [&str; 2] = ["--innodb-buffer-pool-size=512M", "--innodb-log-file-size=256M"];

/// The servers are calm when they take so much of one core, looked at so often at most.
const CALM: f64 = 0.1;
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: u32 = 40;

pub struct Stage {
    pub rabbit: Rabbitmq,
    pub broker: Broker,
    pub postgres: Postgres,
    pub mysql: Mysql,
    folder: PathBuf,
    runs: u32,
}

impl Stage {
    pub async fn start() -> Stage {
        let options = RabbitmqOptions { schedulers: Schedulers::EachCore, ..RabbitmqOptions::default() };
        let mut postgres = PostgresOptions::durable();
        for (name, value) in [("shared_buffers", "512MB"), ("max_wal_size", "4GB"), ("checkpoint_timeout", "30min")] {
            postgres.settings.push((name.into(), value.into()));
        }
        let (rabbit, postgres, mysql) =
            tokio::join!(Rabbitmq::start_with(options), Postgres::start_with(postgres), Mysql::start_with(&MYSQL));
        let broker = Broker::of(&rabbit).await;
        Stage { rabbit, broker, postgres, mysql, folder: new_folder("bench"), runs: 0 }
    }

    pub async fn versions(&self) -> String {
        let sqlite = "SELECT sqlite_version()";
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("memory");
        let sqlite: String = sqlx::query_scalar(sqlite).fetch_one(&mut connection).await.expect("a version");
        let servers = [self.rabbit.version(), self.postgres.version().await, self.mysql.version().await];
        format!("{}, SQLite {sqlite}", servers.join(", "))
    }

    /// A queue of its own for the next run.
    pub async fn queue(&mut self, kind: Kind) -> String {
        self.runs += 1;
        let queue = format!("bench-{}", self.runs);
        self.broker.declare(&queue, kind).await;
        queue
    }

    /// A fresh database for the next run.
    pub async fn database(&self, server: Server) -> TestDatabase {
        match server {
            Server::Postgres => TestDatabase::on(&self.postgres.url()).await,
            Server::Mysql => TestDatabase::on(&self.mysql.url()).await,
            Server::Sqlite => TestDatabase::fresh(Server::Sqlite).await,
        }
    }

    /// What was left to be written later must not be written during the next run: the broker goes on for a
    /// while after it has taken a backlog in.
    pub async fn settle(&self, server: Server) {
        if server == Server::Postgres {
            execute(&self.postgres.url(), "CHECKPOINT").await;
        }
        let servers = self.servers(server);
        for _ in 0..LOOKS {
            let before = usage::cpu(&servers);
            tokio::time::sleep(LOOK).await;
            if usage::cpu(&servers) - before < LOOK.as_secs_f64() * CALM {
                break;
            }
        }
    }

    /// The processes of the broker and of a database.
    pub fn servers(&self, server: Server) -> Vec<u32> {
        let database = match server {
            Server::Postgres => self.postgres.id(),
            Server::Mysql => self.mysql.id(),
            Server::Sqlite => None,
        };
        self.rabbit.id().into_iter().chain(database).flat_map(tree).collect()
    }

    /// A clean stop of a database's server.
    pub async fn stop(&mut self, server: Server) {
        match server {
            Server::Postgres => self.postgres.stop().await,
            Server::Mysql => self.mysql.stop().await,
            Server::Sqlite => panic!("SQLite has no server"),
        }
    }

    /// The same server with the same data; returns when it answers.
    pub async fn restart(&mut self, server: Server) {
        match server {
            Server::Postgres => self.postgres.restart().await,
            Server::Mysql => self.mysql.restart().await,
            Server::Sqlite => panic!("SQLite has no server"),
        }
    }

    /// Files of the runs.
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A connection that looks at a table while it is being written.
pub enum Eye {
    Postgres(PgConnection),
    Mysql(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl Eye {
    pub async fn open(url: &str) -> Eye {
        match Server::of(url) {
            Server::Postgres => {
                let mut connection = PgConnection::connect(url).await.expect("a connection");
                // A plan is made once, for the empty table, and would read all of it for its last rows ever after.
                sqlx::query("SET enable_seqscan = off").execute(&mut connection).await.expect("a setting");
                Eye::Postgres(connection)
            }
            Server::Mysql => Eye::Mysql(MySqlConnection::connect(url).await.expect("a connection")),
            Server::Sqlite => Eye::Sqlite(SqliteConnection::connect(url).await.expect("a connection")),
        }
    }

    /// One whole number.
    pub async fn number(&mut self, expression: &str, rest: &str) -> u64 {
        let whole = if matches!(self, Eye::Mysql(_)) { "SIGNED" } else { "bigint" };
        // As text: preparing each of them takes MariaDB's driver two packets, and the network 40 ms to send the second.
        let sql =
            sqlx::raw_sql(AssertSqlSafe(format!("SELECT CAST(coalesce({expression}, 0) AS {whole}) FROM {rest}")));
        let number: i64 = match self {
            Eye::Postgres(connection) => sql.fetch_one(connection).await.and_then(|row| row.try_get(0)),
            Eye::Mysql(connection) => sql.fetch_one(connection).await.and_then(|row| row.try_get(0)),
            Eye::Sqlite(connection) => sql.fetch_one(connection).await.and_then(|row| row.try_get(0)),
        }
        .expect("a number");
        u64::try_from(number).expect("not negative")
    }
}
