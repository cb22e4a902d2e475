//! What the service manager is told: real datagrams to a socket where systemd would listen.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as std_net;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use tokio::net::UnixDatagram;

use super::scene::Scene;
use crate::faults::broken::{Broken, broken};
use crate::support::Worker;
use crate::support::broker::Kind;
use crate::support::process::free_port;
use crate::support::wait::{PATIENCE, unique_name};

/// Stands where systemd would.
struct Manager(UnixDatagram);

impl Manager {
    fn at(file: &Path) -> Manager {
        Manager(UnixDatagram::bind(file).expect("a socket in an own folder"))
    }

    /// With a name that is no file.
    fn named(name: &str) -> Manager {
        let address = std_net::SocketAddr::from_abstract_name(name).expect("a name");
        let socket = std_net::UnixDatagram::bind_addr(&address).expect("a name of our own");
        socket.set_nonblocking(true).expect("a socket of our own");
        Manager(UnixDatagram::from_std(socket).expect("a runtime"))
    }

    /// The next message.
    async fn next(&self) -> String {
        let mut buffer = vec![0; 4096];
        let received = tokio::time::timeout(PATIENCE, self.0.recv(&mut buffer)).await;
        let length = received.expect("a message, not silence").expect("a socket of our own");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }

    /// Messages up to the first one with this in it.
    async fn until(&self, text: &str) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last: &String| !last.contains(text)) {
            heard.push(self.next().await);
            assert!(heard.len() < 2_000, "{text:?} is never said: {:?}", &heard[..20]);
        }
        heard
    }
}

fn monotonic() -> u128 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u128 * 1_000_000 + now.tv_nsec as u128 / 1000
}

#[tokio::test]
async fn it_says_that_it_is_ready_alive_reloading_and_stopping() {
    let mut scene = Scene::shared(Kind::Classic).await;
    let (file, config) = (scene.folder.join("notify"), scene.config(""));
    let manager = Manager::at(&file);
    let environment = [("NOTIFY_SOCKET", file.to_str().expect("text")), ("WATCHDOG_USEC", "90000")];
    let mut worker = Worker::command_with(&config, ["run"], environment);
    assert_eq!(manager.next().await, "READY=1");
    manager.until("STATUS=1 running\nWATCHDOG=1").await;
    scene.flows(&mut worker).await;
    for wrong in ["", "wrong = true\n"] {
        std::fs::write(worker.folder().join("rabbit-sink.toml"), format!("{wrong}{config}")).expect("its config");
        let before = monotonic();
        worker.signal("HUP");
        let heard = manager.until("RELOADING=1").await;
        let at = heard.last().and_then(|said| said.strip_prefix("RELOADING=1\nMONOTONIC_USEC="));
        let at: u128 = at.and_then(|at| at.parse().ok()).unwrap_or_else(|| panic!("{heard:?}"));
        assert!((before..=monotonic()).contains(&at), "{before} {at}");
        manager.until("READY=1").await;
    }
    manager.until("STATUS=1 running; the newest config can't be used, the one from before goes on\nWATCHDOG=1").await;
    worker.signal("TERM");
    manager.until("STOPPING=1").await;
    worker.wait().await.expect(0);
    scene.audit().await;
}

#[tokio::test]
async fn without_a_watchdog_it_tells_what_is_new() {
    let scene = Scene::shared(Kind::Classic).await;
    let name = unique_name("rabbit-sink-notify");
    let manager = Manager::named(&name);
    let worker = Worker::command_with(&scene.config(""), ["run"], [("NOTIFY_SOCKET", format!("@{name}").as_str())]);
    let mut heard = manager.until("STATUS=1 running").await;
    worker.signal("TERM");
    heard.extend(manager.until("STOPPING=1").await);
    worker.wait().await.expect(0);
    assert!(heard.iter().all(|said| !said.contains("WATCHDOG")), "{heard:?}");
    scene.broker.delete(&scene.queue).await;
    scene.broker.delete(&scene.dead()).await;
}

/// It would be restarted again and again, and wear messages out.
#[tokio::test]
async fn a_worker_whose_database_is_away_is_ready_and_alive() {
    let scene = Scene::shared(Kind::Classic).await;
    let file = scene.folder.join("notify");
    let manager = Manager::at(&file);
    let nobody = format!("postgres://nobody@127.0.0.1:{}/x", free_port());
    let config = scene.config("").replace(&scene.database.url, &nobody);
    let environment = [("NOTIFY_SOCKET", file.to_str().expect("text")), ("WATCHDOG_USEC", "90000")];
    let worker = Worker::command_with(&config, ["run"], environment);
    assert_eq!(manager.next().await, "READY=1");
    let heard = manager.until("STATUS=1 holding; orders: ").await;
    assert!(heard.last().is_some_and(|said| said.ends_with("\nWATCHDOG=1")), "{heard:?}");
    worker.stop().await.expect(0);
    scene.broker.delete(&scene.queue).await;
}

#[tokio::test]
async fn a_worker_that_stands_still_is_no_longer_called_alive() {
    let mut scene = Scene::shared(Kind::Classic).await;
    let file = scene.folder.join("notify");
    let manager = Manager::at(&file);
    let environment = [("NOTIFY_SOCKET", file.to_str().expect("text")), ("WATCHDOG_USEC", "90000")];
    let config = scene.config_retrying("", "hold = \"1s\"");
    let worker = Worker::spawn(broken(Broken::Wedged), &config, environment);
    manager.until("STATUS=1 running\nWATCHDOG=1").await;
    scene.publish(0..5).await;
    let mut heard = manager.until("says running, but").await.pop().into_iter().collect::<Vec<_>>();
    for _ in 0..20 {
        heard.push(manager.next().await);
    }
    assert!(heard.iter().all(|said| said.contains("says running, but") && !said.contains("WATCHDOG")), "{heard:?}");
    assert_eq!(scene.get("/livez").await.0, 503);
    assert!(worker.stderr().contains("is not told any more that this process lives"), "{}", worker.stderr());
    worker.kill().await;
    scene.broker.delete(&scene.queue).await;
}
