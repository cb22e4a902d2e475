//! What a message costs before it reaches a database, without any server: `cargo bench --bench micro`.
//!
//! ```text
//! micro --count BENCHMARK CASE BATCHES   for whoever counts the instructions; at most 3 batches
//! micro --cases                          which cases there are
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

// Nothing is looked up in tables here.
#[allow(dead_code)]
mod shapes;

use std::fmt;

use divan::counter::ItemsCount;
use rabbit_sink::cases::{self, CaseFile};
use rabbit_sink::config::{self, DatabaseKind};
use rabbit_sink::mapping::Plan;
use rabbit_sink::message::{Delivery, Envelope, Headers, Properties, Unit};
use rabbit_sink::sink;
use shapes::Shape;
use support::database::Server;

// The program's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A batch, by default.
const BATCH: u64 = 1_000;

/// Batches that are made for a count.
const MADE: usize = 3;

/// Messages of a shape on their way into a database's table.
#[derive(Clone, Copy, Debug)]
struct Case {
    shape: Shape,
    server: Server,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.shape.name(), format!("{:?}", self.server).to_lowercase())
    }
}

fn all() -> impl Iterator<Item = Case> {
    let shapes = [Shape::Small, Shape::Order, Shape::Large];
    Server::ALL.into_iter().flat_map(move |server| shapes.map(|shape| Case { shape, server }))
}

impl Case {
    /// As the worker makes it when it starts, with the table's DDL in the place of its catalogue. Without a ledger:
    /// Valgrind knows no SHA instructions of a processor, and would count the body's hash many times over.
    fn plan(self) -> Plan {
        let config = format!(
            "[pipelines.bench]\nqueue = \"bench\"\ntable = \"{}\"\ndeduplicate = \"column:{}\"\n{}",
            self.shape.table(),
            self.shape.key(),
            self.shape.columns()
        );
        let config = config::load_str("bench.toml", &config, &[]).expect("a right config");
        let ddl = self.shape.ddl(self.server);
        let (_, columns) = ddl.trim_end_matches(')').split_once('(').expect("CREATE TABLE");
        let columns: Vec<String> = columns
            .split(", ")
            .map(|column| column.split_once(' ').expect("name and type"))
            .map(|(name, declared)| format!("{name} = \"{declared}\""))
            .collect();
        let file = format!("case = []\n[columns]\n{}", columns.join("\n"));
        let file: CaseFile = toml::from_str(&file).expect("a file of cases");
        cases::plan(&file, &config.pipelines["bench"], self.kind()).expect("a plan")
    }

    fn kind(self) -> DatabaseKind {
        match self.server {
            Server::Postgres => DatabaseKind::Postgres,
            Server::Mysql => DatabaseKind::Mysql,
            Server::Sqlite => DatabaseKind::Sqlite,
        }
    }

    fn delivery(self, nth: u64) -> Delivery {
        let message = self.shape.message(nth);
        let message_id = message.properties.message_id().as_ref().map(ToString::to_string);
        let envelope = Envelope {
            body: message.body.into(),
            exchange: String::new(),
            routing_key: "bench".to_owned(),
            redelivered: false,
            properties: Properties { message_id, ..Properties::default() },
            headers: Headers::default(),
        };
        Delivery { tag: nth, arrived: tokio::time::Instant::now(), envelope: Box::new(envelope) }
    }

    fn deliveries(self) -> Vec<Delivery> {
        (0..BATCH).map(|nth| self.delivery(nth)).collect()
    }
}

fn map(plan: &Plan, deliveries: Vec<Delivery>) -> Vec<Unit> {
    let units = deliveries.into_iter().map(|delivery| plan.map(delivery).map_err(|refused| refused.1));
    units.collect::<Result<_, _>>().expect("a good message")
}

/// A batch of bodies into rows.
#[divan::bench(args = all())]
fn decode_and_map(bencher: divan::Bencher<'_, '_>, case: Case) {
    let plan = case.plan();
    let bencher = bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| case.deliveries());
    bencher.bench_local_values(|deliveries| map(&plan, deliveries));
}

/// Rows into a statement's text and its bound values, as the driver takes them.
#[divan::bench(args = all())]
fn build_a_batch(bencher: divan::Bencher<'_, '_>, case: Case) {
    let plan = case.plan();
    let units = map(&plan, case.deliveries());
    let units: Vec<&Unit> = units.iter().collect();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| built(case, &plan, &units));
}

fn built(case: Case, plan: &Plan, units: &[&Unit]) -> Vec<(String, usize)> {
    sink::build(case.kind(), &plan.write, units).expect("rows that can be bound")
}

/// Makes the same messages whatever is done with them, so that two counts differ by what they do alone.
fn count(what: &str, name: &str, batches: usize) {
    let case = all().find(|case| case.to_string() == name).expect("a case; --cases lists them");
    let plan = case.plan();
    let made: Vec<_> = (0..MADE).map(|_| case.deliveries()).collect();
    match what {
        "decode_and_map" => {
            for deliveries in made.into_iter().take(batches) {
                drop(std::hint::black_box(map(&plan, deliveries)));
            }
        }
        "build_a_batch" => {
            let units = map(&plan, case.deliveries());
            let units: Vec<&Unit> = units.iter().collect();
            for _ in 0..batches {
                std::hint::black_box(built(case, &plan, &units));
            }
        }
        other => panic!("{other} is no benchmark"),
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--cases", ..] => all().for_each(|case| println!("{case}")),
        ["--count", what, name, batches, ..] => count(what, name, batches.parse().expect("a number")),
        _ => divan::main(),
    }
}
