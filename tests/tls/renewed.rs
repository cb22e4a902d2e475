//! Certificates that expire are replaced while the worker runs.

use std::path::PathBuf;

use crate::support::database::TestDatabase;
use crate::support::process::new_folder;
use crate::support::worker::Worker;

use super::Authority;

/// Copies of an authority's certificate, and of a client's with its key, under names that stay.
pub struct Files {
    folder: PathBuf,
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Files {
    pub fn of(authority: &Authority, client: &str) -> Files {
        let files = Files { folder: new_folder("renewed") };
        files.put(authority, client);
        files
    }

    /// In place of those that are there.
    pub fn put(&self, authority: &Authority, client: &str) {
        let pair = authority.client(client);
        for (from, name) in [(authority.file(), "ca.pem"), (pair.certificate, "cert.pem"), (pair.key, "key.pem")] {
            std::fs::copy(from, self.folder.join(name)).expect("files in own folders");
        }
    }

    /// As the config's keys.
    pub fn keys(&self) -> String {
        let path = |name| self.folder.join(name).display().to_string();
        let (ca, certificate, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
        format!("ca_file = \"{ca}\"\ncert_file = \"{certificate}\"\nkey_file = \"{key}\"")
    }
}

/// A worker whose certificates are another authority's, as after they were replaced on the server, is
/// refused; with the files replaced it moves its message, without a restart.
pub async fn are_taken(config: &str, files: &Files, authority: &Authority, client: &str, database: &TestDatabase) {
    let mut worker = Worker::run(config);
    worker.logs("invalid peer certificate").await;
    assert_eq!(database.count("orders").await, 0);
    files.put(authority, client);
    worker.eventually("the message is there", async || database.count("orders").await == 1).await;
    worker.stop().await.expect(0);
}
