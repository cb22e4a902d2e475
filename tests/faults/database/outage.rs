//! The whole database is away, or takes no writes: the worker holds, and goes on by itself.

use std::path::PathBuf;

use super::mounts::Mount;
use super::session::{Session, WORKER, disconnect, insist, log_in_as_worker};
use super::{OWN, Setting, setup, shows};
use crate::faults::scene::Scene;
use crate::faults_database::with_login;
use crate::support::database::Server;
use crate::support::process::User;
use crate::support::wait::{PATIENCE, eventually};

pub async fn stopped(scene: &mut Scene) {
    scene.database_server().stop().await;
    shows(scene, "holding", &["sink_unavailable"]).await;
    scene.database_server().restart().await;
    scene.mended().await;
}

pub async fn killed(scene: &mut Scene) {
    scene.database_server().kill();
    shows(scene, "holding", &["sink_unavailable"]).await;
    scene.database_server().restart().await;
    scene.mended().await;
}

/// It recovers for as long as the file `hold` is in its data folder.
pub const RECOVERS: Setting = Setting {
    postgres: &[("hot_standby", "off"), ("restore_command", "while [ -e hold ]; do sleep 0.1; done; false")],
    ..OWN
};

pub async fn recovering(scene: &mut Scene) {
    let data = scene.database_server().folder.join("data");
    scene.database_server().kill();
    for file in ["hold", "recovery.signal"] {
        std::fs::write(data.join(file), "").expect("the server's folder");
    }
    scene.database_server().launch();
    shows(scene, "holding", &["57P03"]).await;
    std::fs::remove_file(data.join("hold")).expect("an own file");
    scene.mended().await;
}

pub async fn read_only(scene: &mut Scene) {
    match scene.run.server {
        Server::Postgres => {
            scene.database.execute("ALTER SYSTEM SET default_transaction_read_only = on").await;
            scene.database.execute("SELECT pg_reload_conf()").await;
            shows(scene, "holding", &["25006", "read-only"]).await;
            scene.database.execute("ALTER SYSTEM RESET default_transaction_read_only").await;
            scene.database.execute("SELECT pg_reload_conf()").await;
        }
        _ => {
            // An administrator may write all the same.
            log_in_as_worker(scene).await;
            scene.database.execute("SET GLOBAL read_only = ON").await;
            shows(scene, "holding", &["1290", "read only"]).await;
            scene.database.execute("SET GLOBAL read_only = OFF").await;
        }
    }
    scene.mended().await;
}

/// The folder of the run's SQLite file.
fn folder_of_file(scene: &Scene) -> PathBuf {
    let url = &scene.database.url;
    let file = url.trim_start_matches("sqlite://").split('?').next().expect("a file");
    PathBuf::from(file).parent().expect("a folder").to_owned()
}

pub async fn file_read_only(scene: &mut Scene) {
    let folder = folder_of_file(scene);
    let mount = Mount::bind(&folder, &folder);
    scene.stop_worker().await;
    // The sampler opens the file now and then, too.
    eventually(PATIENCE, "the mount is read-only", async || mount.read_only(true)).await;
    scene.start_worker();
    shows(scene, "holding", &["sink_unavailable"]).await;
    assert!(mount.read_only(false), "a mount can always be made writable again");
    scene.mended().await;
}

pub async fn frozen(scene: &mut Scene) {
    scene.database_server().pause();
    shows(scene, "holding", &["sink_unavailable"]).await;
    scene.database_server().resume();
    scene.mended().await;
}

/// Some of them are for administrators alone: ours.
pub const FEW_CONNECTIONS: Setting = Setting {
    postgres: &[("max_connections", "20"), ("superuser_reserved_connections", "8")],
    mariadb: &["--max-connections=12"],
    ..OWN
};

pub async fn connection_limit(scene: &mut Scene) {
    log_in_as_worker(scene).await;
    let (create, code) = match scene.run.server {
        Server::Postgres => ("CREATE ROLE hoarder LOGIN PASSWORD 'right'", "53300"),
        _ => ("CREATE USER hoarder IDENTIFIED BY 'right'; GRANT SELECT ON orders TO hoarder", "1040"),
    };
    insist(&scene.database.url, create).await;
    let hoarder = with_login(&scene.database.url, "hoarder", "right");
    let mut hoard = Vec::new();
    // Whatever the worker gives up, the hoarder takes.
    eventually(PATIENCE, "the worker has no connection left", async || {
        disconnect(scene, WORKER).await;
        while let Ok(session) = Session::open(&hoarder).await {
            hoard.push(session);
        }
        let status = scene.workers[0].status().await;
        status["state"] == "holding" && status["reason"].as_str().is_some_and(|reason| reason.contains(code))
    })
    .await;
    shows(scene, "holding", &[code]).await;
    for session in hoard {
        session.close().await;
    }
    scene.mended().await;
}

pub async fn disk_full(scene: &mut Scene) {
    match scene.run.server {
        Server::Postgres => full_tablespace(scene).await,
        Server::Mysql => full_data_directory(scene).await,
        Server::Sqlite => full_file_system(scene).await,
    }
}

async fn full_tablespace(scene: &mut Scene) {
    let point = scene.folder.join("small");
    let mount = Mount::tmpfs(&point, 8);
    let data = point.join("data");
    std::fs::create_dir(&data).expect("an own folder");
    if let Some(user) = User::instead_of_root("postgres") {
        std::os::unix::fs::chown(&data, Some(user.uid), Some(user.gid)).expect("root may");
    }
    scene.database.execute(&format!("CREATE TABLESPACE small LOCATION '{}'", data.display())).await;
    move_table(scene, "small").await;
    scene.flowing(20).await;
    let ballast = mount.fill();
    shows(scene, "holding", &["53100"]).await;
    std::fs::remove_file(ballast).expect("an own file");
    scene.mended().await;
    // The file system goes before the audit.
    move_table(scene, "pg_default").await;
    insist(&scene.database.url, "CHECKPOINT").await;
    insist(&scene.database.url, "DROP TABLESPACE small").await;
}

async fn move_table(scene: &Scene, tablespace: &str) {
    insist(&scene.database.url, &format!("ALTER TABLE orders SET TABLESPACE {tablespace}")).await;
}

async fn full_data_directory(scene: &mut Scene) {
    let point = scene.folder.join("small");
    let mount = Mount::tmpfs(&point, 8);
    setup::rebuild(scene, &format!(" DATA DIRECTORY='{}'", point.display())).await;
    scene.flowing(20).await;
    let ballast = mount.fill();
    shows(scene, "holding", &["1114"]).await;
    std::fs::remove_file(ballast).expect("an own file");
    scene.mended().await;
    // The file system goes before the audit.
    setup::rebuild(scene, "").await;
}

async fn full_file_system(scene: &mut Scene) {
    let folder = folder_of_file(scene);
    let small = scene.folder.join("small");
    scene.stop_worker().await;
    let tmpfs = Mount::tmpfs(&small, 8);
    scene.database.execute(&format!("VACUUM INTO '{}'", small.join("test.db").display())).await;
    let mount = Mount::bind(&small, &folder);
    scene.start_worker();
    scene.flowing(20).await;
    let ballast = tmpfs.fill();
    shows(scene, "holding", &["SQLITE_FULL"]).await;
    std::fs::remove_file(ballast).expect("an own file");
    scene.mended().await;
    // Back, before the audit.
    scene.stop_worker().await;
    scene.sampler.pause();
    let copy = scene.folder.join("copy.db");
    scene.database.execute(&format!("VACUUM INTO '{}'", copy.display())).await;
    drop(mount);
    for name in ["test.db-wal", "test.db-shm"] {
        drop(std::fs::remove_file(folder.join(name)));
    }
    std::fs::copy(&copy, folder.join("test.db")).expect("an own file");
    scene.sampler.resume();
    scene.start_worker();
    scene.flowing(20).await;
}
