//! Passwords are changed on the server first, then in their file: the worker is refused in between, and goes on
//! by itself with the new one. Nothing is lost and nothing is restarted.

use std::path::PathBuf;

use crate::support::Worker;
use crate::support::broker::Kind;
use crate::support::database::{Server, TestDatabase};
use crate::support::wait::unique_name;
use crate::worker::scene::Scene;

const NEXT: &str = "n€xt:p@ss/'w\"";

/// A login of the database for the worker alone, whose password stands in a file.
struct Login {
    user: String,
    file: PathBuf,
}

impl Login {
    async fn new(scene: &mut Scene) -> Login {
        let (user, file) = (unique_name("u"), scene.folder.join("database-password"));
        std::fs::write(&file, "f1rst\n").expect("a file in an own folder");
        match scene.database.server {
            Server::Postgres => {
                scene.database.execute(&format!("CREATE ROLE {user} LOGIN SUPERUSER PASSWORD 'f1rst'")).await;
            }
            _ => {
                let sql = format!("CREATE USER {user} IDENTIFIED BY 'f1rst'; GRANT ALL ON *.* TO {user}");
                scene.database.execute(&sql).await;
            }
        }
        Login { user, file }
    }

    /// The worker's config with it.
    fn config(&self, scene: &Scene) -> String {
        let mut url = url::Url::parse(&scene.database.url).expect("a URL");
        url.set_username(&self.user).expect("a host");
        url.set_password(None).expect("a host");
        let by_file = format!("{url}\"\npassword_file = \"{}", self.file.display());
        scene.config("consumers = 2").replacen(&scene.database.url, &by_file, 1)
    }

    /// Changes it, and ends the sessions that were let in by the old one.
    async fn change(&self, database: &TestDatabase) {
        let quoted = NEXT.replace('\'', "''");
        let user = &self.user;
        if database.server == Server::Postgres {
            database.execute(&format!("ALTER ROLE {user} PASSWORD '{quoted}'")).await;
            let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'");
            database.execute(&sql).await;
        } else {
            database.execute(&format!("ALTER USER {user} IDENTIFIED BY '{quoted}'; KILL USER {user}")).await;
        }
    }

    fn write(&self) {
        // As Kubernetes and careful people do it: another file takes the name.
        let next = self.file.with_extension("next");
        std::fs::write(&next, NEXT).expect("a file in an own folder");
        std::fs::rename(next, &self.file).expect("a file in an own folder");
    }

    async fn drop(&self, database: &TestDatabase) {
        match database.server {
            Server::Postgres => database.execute(&format!("DROP OWNED BY {0}; DROP ROLE {0}", self.user)).await,
            _ => database.execute(&format!("DROP USER {}", self.user)).await,
        }
    }
}

async fn a_database_password_is_rotated(server: Server) {
    let mut scene = Scene::with(Kind::Quorum, server).await;
    let login = Login::new(&mut scene).await;
    let mut worker = Worker::run(&login.config(&scene));
    scene.flows(&mut worker).await;
    login.change(&scene.database).await;
    let known = scene.expected_rows();
    scene.publish(known..known + 20).await;
    // It must be mended by somebody: a pause, not a hold.
    scene.ready_says(&mut worker, 503, "\"state\":\"paused\"").await;
    let (_, status) = scene.get("/status").await;
    assert!(status.contains("sink_misconfigured") && !status.contains("f1rst"), "{status}");
    assert_eq!(scene.rows().await, Some(known));
    login.write();
    scene.all_written(&mut worker).await;
    scene.ready_says(&mut worker, 200, "").await;
    let exit = worker.stop().await.expect(0);
    assert!(!exit.stderr.contains(NEXT) && !exit.stderr.contains("f1rst"), "{}", exit.stderr);
    scene.audit().await;
    login.drop(&scene.database).await;
}

#[tokio::test]
async fn a_password_of_postgres_is_rotated() {
    a_database_password_is_rotated(Server::Postgres).await;
}

#[tokio::test]
async fn a_password_of_mysql_is_rotated() {
    a_database_password_is_rotated(Server::Mysql).await;
}

/// A file that is gone for a moment says so, beside the refusal.
#[tokio::test]
async fn a_worker_that_was_refused_before_its_first_message_goes_on_too() {
    let mut scene = Scene::with(Kind::Classic, Server::Postgres).await;
    let login = Login::new(&mut scene).await;
    let config = login.config(&scene);
    login.change(&scene.database).await;
    scene.publish(0..20).await;
    let mut worker = Worker::run(&config);
    scene.ready_says(&mut worker, 503, "\"state\":\"paused\"").await;
    std::fs::remove_file(&login.file).expect("the file");
    scene.ready_says(&mut worker, 503, "can't be read again").await;
    login.write();
    scene.all_written(&mut worker).await;
    worker.stop().await.expect(0);
    scene.audit().await;
    login.drop(&scene.database).await;
}

#[tokio::test]
async fn a_password_of_rabbitmq_is_rotated() {
    let mut scene = Scene::shared(Kind::Quorum).await;
    let user = scene.user("rotated").await;
    let mut worker = Worker::run(&scene.config(""));
    scene.flows(&mut worker).await;
    // With a dead letter, whose connection logs in, too.
    scene.publish_bad(0..1).await;
    scene.dead_lettered(1).await;
    scene.ctl(&["change_password", &user, NEXT]).await;
    scene.ctl(&["close_all_user_connections", &user, "rotated"]).await;
    scene.ready_says(&mut worker, 503, "refuses the login of user").await;
    let known = scene.expected_rows();
    scene.publish(known..known + 20).await;
    let file = scene.folder.join("password");
    std::fs::write(&file, NEXT).expect("a file in an own folder");
    scene.all_written(&mut worker).await;
    scene.publish_bad(1..2).await;
    scene.dead_lettered(2).await;
    worker.stop().await.expect(0);
    scene.audit().await;
    scene.drop_user(&user).await;
}
