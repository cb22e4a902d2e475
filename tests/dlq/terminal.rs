//! On a terminal: questions, progress, Ctrl-C. `script` makes one.

use std::io::Write;
use std::process::Command;

use super::scene::{Bad, Scene};
use crate::support::broker::Kind;
use crate::support::process::new_folder;
use crate::support::worker::Worker;

/// A command that runs on a terminal, and what types there. What it says goes to its stdout.
struct Terminal {
    worker: Worker,
    keys: std::fs::File,
}

impl Terminal {
    fn new(scene: &Scene, command: &str) -> Terminal {
        let keys = new_folder("terminal").join("keys");
        assert!(Command::new("mkfifo").arg(&keys).status().unwrap().success());
        // `exec`: some shells stay between, and Ctrl-C would end them with a code of their own.
        let typed =
            format!("exec script -q -e -c 'exec {} dlq {command}' /dev/null <{}", Worker::program(), keys.display());
        let mut shell = Command::new("sh");
        shell.args(["-c", &typed]);
        let worker = Worker::spawn(shell, &scene.config, []);
        // Waits until the other end is open.
        let keys = std::fs::OpenOptions::new().write(true).open(keys).unwrap();
        Terminal { worker, keys }
    }

    async fn says(&mut self, text: &str) {
        let folder = self.worker.folder().to_owned();
        let said = async || String::from_utf8_lossy(&std::fs::read(folder.join("stdout")).unwrap()).contains(text);
        self.worker.eventually(&format!("it says {text:?}"), said).await;
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// All that stood on the terminal.
    async fn ends_with(self, code: i32) -> String {
        // Open until then: a closed one would be an end of file.
        let Terminal { worker, keys } = self;
        let said = worker.wait().await.expect(code).stdout;
        drop(keys);
        said
    }
}

#[tokio::test]
async fn slow_a_replay_and_a_discard_ask_first() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad(0..5, Bad::Quantity)).await;
    for (answer, code) in [("n\r", 1), ("\r", 1), ("\x03", 1)] {
        for (command, says) in [("replay orders", "nothing was sent"), ("discard orders", "nothing was discarded")] {
            let mut terminal = Terminal::new(&scene, command);
            terminal.says("Go on? [y/N]").await;
            terminal.types(answer);
            let said = terminal.ends_with(code).await;
            assert!(said.contains("5 dead letters of orders") && said.contains(says), "{answer:?}: {said}");
        }
    }
    assert_eq!((scene.settled_in(&scene.dead).await, scene.settled_in(&scene.queue).await), (5, 0));
    let mut terminal = Terminal::new(&scene, "replay orders --limit 2");
    terminal.says("2 dead letters of orders go back to queue").await;
    terminal.types("y\r");
    assert!(terminal.ends_with(0).await.contains("2 of 2 replayed"));
    let mut terminal = Terminal::new(&scene, "discard orders");
    terminal.says("archive: orders-discarded-").await;
    terminal.types("yes\r");
    assert!(terminal.ends_with(0).await.contains("3 of 3 discarded; archive: orders-discarded-"));
    assert_eq!((scene.settled_in(&scene.dead).await, scene.settled_in(&scene.queue).await), (0, 2));
    scene.end().await;
}

#[tokio::test]
async fn an_edit_that_would_still_be_rejected_is_kept_only_if_somebody_says_so() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad([1], Bad::Quantity)).await;
    let id = scene.only_id().await;
    for (answer, code, now) in [("\r", 1, "many"), ("\x03", 1, "many"), ("y\r", 0, "few")] {
        let mut terminal = Terminal::new(&scene, &format!("edit orders {id} --set /quantity=few"));
        terminal.says("it would still be rejected").await;
        terminal.says("Keep the edit all the same? [y/N]").await;
        terminal.types(answer);
        terminal.ends_with(code).await;
        assert_eq!(scene.json("list", &["--where", &format!("/quantity={now}")]).await.len(), 1, "{answer:?}");
    }
    scene.end().await;
}

/// How far, how fast, how long: on a terminal, and nowhere else.
#[tokio::test]
async fn slow_long_work_shows_progress_on_a_terminal_and_is_quiet_in_a_pipe() {
    let scene = Scene::new(Kind::Classic).await;
    scene.work(Scene::bad(0..30, Bad::Quantity)).await;
    let mut terminal = Terminal::new(&scene, "replay orders --yes --limit 20 --rate 10/s --wait --timeout 2s");
    terminal.says("waiting for what becomes of them: 0 of 20").await;
    let said = terminal.ends_with(5).await;
    // What is sent counts, not what waits for its turn.
    let shown = said.split("replaying: ").skip(1).map(|rest| rest.split(" of 30, ").next().unwrap().parse().unwrap());
    let shown: Vec<u64> = shown.collect();
    assert!(shown.len() > 1 && shown[0] < 20 && shown.is_sorted(), "{said:?}");
    assert!(said.contains("/s, 0:") && said.contains(" left"), "{said:?}");
    let last = said.rsplit("\x1b[K").next().unwrap();
    assert_eq!(last.trim(), "20 of 20 replayed: 0 written, 20 unknown", "the line is cleared before: {said:?}");
    let piped = scene.dlq("replay", &["--yes", "--limit", "10", "--rate", "10/s"]).await.expect(0);
    assert_eq!((piped.stdout.trim(), piped.stderr.trim()), ("10 of 10 replayed", ""));
    scene.end().await;
}
