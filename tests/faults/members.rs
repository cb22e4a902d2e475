//! What a scene is made of: workers, and servers of its own.

use std::ops::{Deref, DerefMut};

use serde_json::Value;

use super::Setting;
use crate::faults_database::get;
use crate::support::database::{Server, TestDatabase};
use crate::support::process::Node;
use crate::support::servers::{Mariadb, Postgres, PostgresOptions, Rabbitmq, RabbitmqOptions};
use crate::support::worker::Worker;

/// A worker and the port of its admin listener.
pub struct Member {
    pub(super) worker: Worker,
    pub(super) port: u16,
}

impl Member {
    /// Status code and body of a GET on the admin listener; 0 where nobody listens.
    pub async fn get(&self, path: &str) -> (u16, String) {
        get(self.port, path).await
    }

    /// What `/status` says of the pipeline; null while nothing answers.
    pub async fn status(&self) -> Value {
        let (_, body) = self.get("/status").await;
        serde_json::from_str::<Value>(&body).map_or(Value::Null, |report| report["pipelines"][0].clone())
    }

    /// Waits until `/status` says that it is in this state.
    pub async fn is(&mut self, state: &str) {
        let port = self.port;
        let check = async || {
            let (_, body) = get(port, "/status").await;
            serde_json::from_str::<Value>(&body).is_ok_and(|report| report["pipelines"][0]["state"] == state)
        };
        self.worker.eventually(&format!("it says {state}"), check).await;
    }
}

impl Deref for Member {
    type Target = Worker;
    fn deref(&self) -> &Worker {
        &self.worker
    }
}

impl DerefMut for Member {
    fn deref_mut(&mut self) -> &mut Worker {
        &mut self.worker
    }
}

/// A database server that the run has for itself.
pub enum DatabaseServer {
    Postgres(Postgres),
    Mariadb(Mariadb),
}

impl DatabaseServer {
    /// Starts it again, after `stop` or `kill`, and waits until it answers.
    pub async fn restart(&mut self) {
        match self {
            DatabaseServer::Postgres(server) => server.restart().await,
            DatabaseServer::Mariadb(server) => server.restart().await,
        }
    }
}

impl Deref for DatabaseServer {
    type Target = Node;
    fn deref(&self) -> &Node {
        match self {
            DatabaseServer::Postgres(server) => server,
            DatabaseServer::Mariadb(server) => server,
        }
    }
}

impl DerefMut for DatabaseServer {
    fn deref_mut(&mut self) -> &mut Node {
        match self {
            DatabaseServer::Postgres(server) => server,
            DatabaseServer::Mariadb(server) => server,
        }
    }
}

pub(super) async fn own_broker(conf: &[&str]) -> Rabbitmq {
    let conf = conf.iter().map(ToString::to_string).collect();
    Rabbitmq::start_with(RabbitmqOptions { conf, ..RabbitmqOptions::default() }).await
}

pub(super) async fn own_database(setting: &Setting, server: Server) -> (Option<DatabaseServer>, TestDatabase) {
    let own = match (setting.own_database, server) {
        (true, Server::Postgres) => {
            let settings = setting.postgres.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            DatabaseServer::Postgres(Postgres::start_with(PostgresOptions { settings }).await)
        }
        (true, Server::Mysql) => DatabaseServer::Mariadb(Mariadb::start_with(setting.mariadb).await),
        _ => return (None, TestDatabase::fresh(server).await),
    };
    let url = match &own {
        DatabaseServer::Postgres(server) => server.url(),
        DatabaseServer::Mariadb(server) => server.url(),
    };
    let database = TestDatabase::on(&url).await;
    (Some(own), database)
}
