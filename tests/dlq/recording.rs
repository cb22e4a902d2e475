//! The recording in docs/dead-letters.md: made by the program, checked here. After a change on
//! purpose: `UPDATE_RECORDING=1 ./tests/run.sh the_morning_after`.

use std::path::Path;

use super::scene::{Scene, text};
use crate::support::broker::{Kind, Message};
use crate::support::process::new_folder;
use crate::support::worker::Worker;

const PAGE: &str = "docs/dead-letters.md";
const BEGIN: &str = "```console\n";

/// What differs from run to run, and how the page shows it.
struct Shown(Vec<(String, String)>);

impl Shown {
    fn text(&self, text: &str) -> String {
        let mut text = self.0.iter().fold(text.to_owned(), |text, (real, shown)| text.replace(real, shown));
        while let Some(at) = time(&text) {
            text.replace_range(at.clone(), "2026-11-21 06:14");
        }
        text.lines().map(bisected).collect::<Vec<_>>().join("\n")
    }
}

/// How often a row was tried depends on the batches that it was in.
fn bisected(line: &str) -> String {
    let Some((before, rest)) = line.split_once("; attempts ") else { return line.to_owned() };
    let Some((attempts, after)) = rest.split_once(',') else { return line.to_owned() };
    let attempts = if attempts == "0" { "0" } else { "9 to 12" };
    format!("{before}; attempts {attempts},{after}")
}

/// Where an RFC 3339 time stands.
fn time(text: &str) -> Option<std::ops::Range<usize>> {
    let like = |at: usize| {
        let rest = &text.as_bytes()[at..];
        let shape = b"dddd-dd-ddTdd:dd:dd";
        rest.len() > shape.len()
            && shape.iter().zip(rest).all(|(kind, byte)| match kind {
                b'd' => byte.is_ascii_digit(),
                kind => kind == byte,
            })
    };
    let at = (0..text.len()).find(|&at| like(at))?;
    let end = text[at..].find('Z')? + at + 1;
    Some(at..end)
}

struct Recorder<'a> {
    scene: &'a Scene,
    shown: Shown,
    page: String,
}

impl Recorder<'_> {
    /// One command, as somebody types it.
    async fn run(&mut self, line: &str, code: i32) {
        let real = |word: &str| {
            let found = self.shown.0.iter().find(|(_, shown)| shown == word && word != "orders");
            found.map_or_else(|| word.to_owned(), |(real, _)| real.clone())
        };
        let args: Vec<String> = line.split(' ').skip(1).map(real).collect();
        let exit = Worker::command(&self.scene.config, args).wait().await.expect(code);
        let said = format!("{}{}", exit.stderr, exit.stdout);
        let said = self.shown.text(&said);
        let said: Vec<&str> = said.lines().map(str::trim_end).collect();
        self.page.push_str(&format!("$ {line}\n{}\n\n", said.join("\n")));
    }

    fn note(&mut self, line: &str) {
        self.page.push_str(&format!("{line}\n\n"));
    }
}

/// 1,290 orders; in 412 of 430 bad ones the customer's name is longer than the column.
fn morning() -> Vec<Message> {
    let order = |n: usize| {
        let quantity = n + 1;
        let id = format!("order-{n}");
        let name = "a company with a long name";
        match (n % 3, n / 3) {
            (0, bad) if bad % 36 == 5 => {
                Message::json(&id, format!("{{\"customer\":\"acme\",\"quantity\":-{quantity}}}"))
            }
            (0, bad) if bad % 72 == 7 => Message::json(&id, "{\"customer\":"),
            (0, _) => Message::json(&id, format!("{{\"customer\":\"{name}\",\"quantity\":{quantity}}}")),
            _ => Message::json(&id, format!("{{\"customer\":\"acme\",\"quantity\":{quantity}}}")),
        }
    };
    (0..1290).map(order).collect()
}

#[tokio::test]
async fn the_morning_after_goes_as_the_page_says() {
    let mut scene = Scene::new(Kind::Quorum).await;
    scene.database.execute("DROP TABLE orders").await;
    let table = "CREATE TABLE orders (id text PRIMARY KEY, customer varchar(12) NOT NULL, \
                 quantity int CONSTRAINT positive CHECK (quantity > 0))";
    scene.database.execute(table).await;
    let (head, _) = scene.config.split_once("[pipelines.orders.columns]").unwrap();
    let columns = "id = \"message_id\"\ncustomer = \"/customer\"\nquantity = \"/quantity\"\n";
    // A third is bad: no storm, but one bad row among them can make it look like one.
    let storm = "[pipelines.orders.storm]\naction = \"dead_letter\"\n";
    scene.config = format!("{head}[pipelines.orders.columns]\n{columns}{storm}");
    scene.work(morning()).await;

    let groups = scene.json("stats", &[]).await;
    let samples: Vec<String> = groups.iter().map(|group| text(group, "sample")).collect();
    assert_eq!(samples.len(), 3);
    // Names that differ from run to run.
    let folder = new_folder("recording");
    let archive = folder.join("orders.ndjson").display().to_string();
    let mut shown = vec![(archive, "orders.ndjson".to_owned()), (scene.queue.clone(), "orders".to_owned())];
    for (id, name) in samples.iter().zip(["5d1ec82b90af", "c07b3f6e2d18", "90ab44f1e6c3"]) {
        shown.push((id.clone(), format!("{name}…")));
        shown.push((id[..12].to_owned(), name.to_owned()));
    }
    let mut recorder = Recorder { scene: &scene, shown: Shown(shown), page: String::new() };
    recorder.run("rabbit-sink dlq stats orders", 0).await;
    recorder.run("rabbit-sink dlq show orders 5d1ec82b90af", 0).await;
    recorder.note("$ psql shop -c 'ALTER TABLE orders ALTER customer TYPE varchar(40)'\nALTER TABLE");
    scene.database.execute("ALTER TABLE orders ALTER customer TYPE varchar(40)").await;
    let group = text(&groups[0], "group");
    recorder.run(&format!("rabbit-sink dlq replay orders --group {group} --dry-run"), 0).await;
    let mut worker = Worker::run(&scene.config);
    worker.logs("guarantee").await;
    recorder.run(&format!("rabbit-sink dlq replay orders --group {group} --canary 5 --wait --yes"), 0).await;
    recorder.run("rabbit-sink dlq edit orders c07b3f6e2d18 --set /quantity=1", 0).await;
    recorder.run("rabbit-sink dlq replay orders --wait --yes", 5).await;
    worker.stop().await.expect(0);
    recorder.run("rabbit-sink dlq discard orders --archive orders.ndjson --yes", 0).await;
    recorder.run("rabbit-sink dlq stats orders", 0).await;

    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (old, after) = rest.split_once("```\n").unwrap();
    let new = format!("{}\n", recorder.page.trim_end());
    if std::env::var_os("UPDATE_RECORDING").is_some() {
        let page = format!("{before}{BEGIN}{new}```\n{after}");
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE), page).unwrap();
    } else {
        assert_eq!(new, old, "{PAGE} says something else");
    }
    scene.end().await;
}
