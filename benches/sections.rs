//! What is measured. One base point for each database, then one thing varied at a time.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::drain::{Backlog, Measured, drain};
use crate::latency::latency;
use crate::page::{Curve, Section as Result};
use crate::series::Series;
use crate::shapes::Shape;
use crate::stage::Stage;
use crate::subject::Deduplicate::{Column, Ledger, None as Nothing};
use crate::subject::Subject;
use crate::support::broker::Kind;
use crate::support::database::Server;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Rounds, in each of which every subject has its turn.
    pub runs: usize,
    /// A backlog's messages, of the shape `order`; of others as many as take about as long.
    pub messages: u64,
}

type Measure = for<'a> fn(&'a Bench, &'a mut Stage) -> LocalBoxFuture<'a, Result>;

/// One section of the page.
pub struct Section {
    pub name: &'static str,
    pub title: &'static str,
    /// Without being asked for by its name.
    pub always: bool,
    run: Measure,
}

pub const SECTIONS: &[Section] = &[
    section("noise", "The floor against itself", |bench, stage| Box::pin(noise(bench, stage))),
    section("databases", "Databases and ways to recognise repeats", |bench, stage| Box::pin(databases(bench, stage))),
    section("queues", "Kinds of queue", |bench, stage| Box::pin(queues(bench, stage))),
    section("consumers", "Consumers", |bench, stage| Box::pin(consumers(bench, stage))),
    section("shapes", "Sizes of messages", |bench, stage| Box::pin(shapes(bench, stage))),
    section("latency", "From publishing to the row", |bench, stage| Box::pin(latencies(bench, stage))),
    section("bad", "Bad messages among good ones", |bench, stage| Box::pin(bad(bench, stage))),
    section("distance", "Round trips to the database", |bench, stage| Box::pin(distance(bench, stage))),
    section("batches", "Rows in a batch", |bench, stage| Box::pin(batches(bench, stage))),
    section("prefetch", "Messages on their way", |bench, stage| Box::pin(prefetch(bench, stage))),
    section("backlog", "Memory and the length of the queue", |bench, stage| Box::pin(backlog(bench, stage))),
    Section {
        name: "compare",
        title: "Against another commit",
        always: false,
        run: |bench, stage| Box::pin(compare(bench, stage)),
    },
];

const fn section(name: &'static str, title: &'static str, run: Measure) -> Section {
    Section { name, title, always: true, run }
}

impl Section {
    pub async fn measure(&self, bench: &Bench, stage: &mut Stage) -> Result {
        (self.run)(bench, stage).await
    }
}

pub fn names() -> String {
    SECTIONS.iter().map(|section| section.name).collect::<Vec<_>>().join(" ")
}

/// What a row of a table is about: a backlog and who drains it.
struct Point {
    /// What is varied, as it stands in the table.
    what: String,
    backlog: Backlog,
    subject: Subject,
}

/// The base point.
fn base(bench: &Bench, server: Server) -> Backlog {
    Backlog {
        server,
        kind: Kind::Quorum,
        shape: Shape::Order,
        messages: bench.messages,
        consumers: 1,
        bad_every: 0,
        round_trip: None,
        config: String::new(),
    }
}

fn worker() -> [Subject; 3] {
    [Subject::Worker(Column), Subject::Worker(Ledger), Subject::Worker(Nothing)]
}

/// All points in turn, round after round.
async fn rounds(bench: &Bench, stage: &mut Stage, points: &[Point]) -> Vec<Vec<Measured>> {
    let mut all = vec![Vec::with_capacity(bench.runs); points.len()];
    for round in 1..=bench.runs {
        for (point, measured) in points.iter().zip(&mut all) {
            let one = drain(stage, &point.backlog, &point.subject).await;
            eprintln!(
                "  {round}/{} {}, {}: {:.0}/s, {:.2} µs, {:.0} MiB",
                bench.runs,
                point.what,
                point.subject.name(),
                one.rate,
                one.cpu_us,
                one.peak_mib
            );
            measured.push(one);
        }
    }
    all
}

fn rates(measured: &[Measured]) -> Series {
    Series(measured.iter().map(|one| one.rate).collect())
}

fn cpu(measured: &[Measured]) -> Series {
    Series(measured.iter().map(|one| one.cpu_us).collect())
}

/// Throughput, processor time and memory, each beside the floor of the same point: the nearest one before.
async fn beside_the_floor(bench: &Bench, stage: &mut Stage, about: &str, points: Vec<Point>) -> Result {
    let all = rounds(bench, stage, &points).await;
    let mut floor = 0;
    let mut rows = Vec::new();
    for (at, (point, measured)) in points.iter().zip(&all).enumerate() {
        if point.subject == Subject::Floor {
            floor = at;
        }
        let ratio = rates(measured).over(&rates(&all[floor]));
        let time = cpu(measured).over(&cpu(&all[floor]));
        let of = |figure: fn(&Measured) -> f64| Series(measured.iter().map(figure).collect()).median();
        rows.push(vec![
            point.what.clone(),
            point.subject.name(),
            format!("{:.0}", rates(measured).median()),
            format!("**{:.2}** ({:.2}–{:.2})", ratio.median(), ratio.min(), ratio.max()),
            format!("{:.1}", cpu(measured).median()),
            format!("{:.2}", time.median()),
            format!("{:.1}", of(|one| one.servers_us)),
            format!("{:.0}", of(|one| one.peak_mib)),
            format!("{:.0}", of(|one| one.first_row_ms)),
        ]);
    }
    let header = [
        "",
        "program",
        "rows a second",
        "of the floor",
        "µs of CPU a message",
        "of the floor's",
        "µs of the servers",
        "MiB at most",
        "ms to the first row",
    ];
    Result { about: about.to_owned(), header: header.map(str::to_owned).to_vec(), rows, curves: Vec::new() }
}

fn points(what: &str, backlog: &Backlog, subjects: impl IntoIterator<Item = Subject>) -> Vec<Point> {
    let floor = std::iter::once(Subject::Floor);
    let point = |subject| Point { what: what.to_owned(), backlog: backlog.clone(), subject };
    floor.chain(subjects).map(point).collect()
}

pub fn server_name(server: Server) -> &'static str {
    match server {
        Server::Postgres => "PostgreSQL",
        Server::Mysql => "MariaDB",
        Server::Sqlite => "SQLite",
    }
}

async fn noise(bench: &Bench, stage: &mut Stage) -> Result {
    let of = |server| points(server_name(server), &base(bench, server), [Subject::Again]);
    let points = Server::ALL.into_iter().flat_map(of).collect();
    let about = "The same program twice: what a ratio may be off by chance.";
    beside_the_floor(bench, stage, about, points).await
}

async fn databases(bench: &Bench, stage: &mut Stage) -> Result {
    let of = |server| points(server_name(server), &base(bench, server), worker());
    let points = Server::ALL.into_iter().flat_map(of).collect();
    let about = "The base point: a quorum queue, one consumer, messages of the shape `order`.";
    beside_the_floor(bench, stage, about, points).await
}

async fn queues(bench: &Bench, stage: &mut Stage) -> Result {
    let of =
        |(kind, name)| points(name, &Backlog { kind, ..base(bench, Server::Postgres) }, worker().into_iter().take(2));
    let points = [(Kind::Classic, "classic"), (Kind::Quorum, "quorum")].into_iter().flat_map(of).collect();
    beside_the_floor(bench, stage, "PostgreSQL.", points).await
}

async fn consumers(bench: &Bench, stage: &mut Stage) -> Result {
    let of = |consumers| {
        let backlog = Backlog { consumers, ..base(bench, Server::Postgres) };
        points(&consumers.to_string(), &backlog, worker().into_iter().take(2))
    };
    let about = "PostgreSQL. With two cores for all, a second consumer only fills what the first leaves idle.";
    let points = [1, 2, 4].into_iter().flat_map(of).collect();
    beside_the_floor(bench, stage, about, points).await
}

async fn shapes(bench: &Bench, stage: &mut Stage) -> Result {
    let of = |(shape, part): (Shape, u64)| {
        let backlog = Backlog { shape, messages: bench.messages / part, ..base(bench, Server::Postgres) };
        points(shape.name(), &backlog, worker().into_iter().take(2))
    };
    let about = "PostgreSQL. `small`: 60 bytes, 3 columns; `order`: 207 bytes, 10 columns; `large`: 10 KB, 40 columns.";
    let points = [(Shape::Small, 1), (Shape::Order, 1), (Shape::Large, 20)].into_iter().flat_map(of).collect();
    beside_the_floor(bench, stage, about, points).await
}

async fn latencies(bench: &Bench, stage: &mut Stage) -> Result {
    let mut rows = Vec::new();
    for server in Server::ALL {
        for rate in [200, 2_000, 8_000] {
            let subjects = [Subject::Floor, Subject::Worker(Column), Subject::Worker(Ledger)];
            let mut all = vec![(Series::default(), Series::default(), Series::default()); subjects.len()];
            for _ in 0..bench.runs {
                for (subject, series) in subjects.iter().zip(&mut all) {
                    let one = latency(stage, server, subject, rate, 5).await;
                    eprintln!("  {}, {rate}/s, {}: {one:?}", server_name(server), subject.name());
                    series.0.0.push(one.p50);
                    series.1.0.push(one.p99);
                    series.2.0.push(one.p999);
                }
            }
            for (subject, series) in subjects.iter().zip(&all) {
                rows.push(vec![
                    server_name(server).to_owned(),
                    rate.to_string(),
                    subject.name(),
                    format!("{:.1}", series.0.median()),
                    format!("{:.1}", series.1.median()),
                    format!("{:.1}", series.2.median()),
                    format!("**{:.2}**", series.1.over(&all[0].1).median()),
                ]);
            }
        }
    }
    let header = ["database", "messages a second", "program", "p50 ms", "p99 ms", "p99.9 ms", "p99 of the floor's"];
    let about = "One consumer, a quorum queue, five seconds after one second to warm up. The table is looked at \
                 about once a millisecond.";
    Result { about: about.to_owned(), header: header.map(str::to_owned).to_vec(), rows, curves: Vec::new() }
}

async fn bad(bench: &Bench, stage: &mut Stage) -> Result {
    let points: Vec<Point> = [0, 100, 10]
        .into_iter()
        .map(|bad_every| Point {
            what: if bad_every == 0 { "none".to_owned() } else { format!("1 in {bad_every}") },
            // A tenth of bad ones is no storm by the defaults, which begin at 95 %.
            backlog: Backlog { bad_every, ..base(bench, Server::Postgres) },
            subject: Subject::Worker(Ledger),
        })
        .collect();
    let all = rounds(bench, stage, &points).await;
    let rows = points.iter().zip(&all).map(|(point, measured)| {
        let ratio = rates(measured).over(&rates(&all[0]));
        vec![
            point.what.clone(),
            format!("{:.0}", rates(measured).median()),
            format!("**{:.2}** ({:.2}–{:.2})", ratio.median(), ratio.min(), ratio.max()),
            format!("{:.1}", cpu(measured).median()),
        ]
    });
    let rows = rows.collect();
    let header = ["bad", "messages a second", "of what it is without", "µs of CPU a message"];
    let about = "PostgreSQL, ledger. Bad ones aren't JSON; each is dead-lettered with its reason, confirmed and acked.";
    Result { about: about.to_owned(), header: header.map(str::to_owned).to_vec(), rows, curves: Vec::new() }
}

/// One figure that is varied: a row and a point of a curve for each value.
async fn curve(bench: &Bench, stage: &mut Stage, about: &str, axis: &str, points: Vec<(String, f64, Point)>) -> Result {
    let (labels, points): (Vec<(String, f64)>, Vec<Point>) =
        points.into_iter().map(|(line, x, point)| ((line, x), point)).unzip();
    let all = rounds(bench, stage, &points).await;
    let mut curves: Vec<Curve> = Vec::new();
    let mut rows = Vec::new();
    for ((line, x), measured) in labels.into_iter().zip(&all) {
        let rate = rates(measured);
        let spread = format!("{:.0} ({:.0}–{:.0})", rate.median(), rate.min(), rate.max());
        rows.push(vec![line.clone(), x.to_string(), spread]);
        match curves.iter_mut().find(|curve| curve.name == line) {
            Some(curve) => curve.points.push((x, rate.median())),
            None => curves.push(Curve { name: line, points: vec![(x, rate.median())] }),
        }
    }
    let header = vec!["program".to_owned(), axis.to_owned(), "rows a second".to_owned()];
    Result { about: about.to_owned(), header, rows, curves }
}

async fn distance(bench: &Bench, stage: &mut Stage) -> Result {
    let mut points = Vec::new();
    for milliseconds in [0.1, 1.0, 2.5, 12.0] {
        for consumers in [1, 4] {
            for subject in [Subject::Floor, Subject::Worker(Column), Subject::Worker(Ledger)] {
                let line = format!("{}, {consumers} consumer{}", subject.name(), if consumers > 1 { "s" } else { "" });
                let round_trip = Some(Duration::from_secs_f64(milliseconds / 1e3));
                let messages = bench.messages / 2;
                let backlog = Backlog { consumers, round_trip, messages, ..base(bench, Server::Postgres) };
                points.push((line, milliseconds, Point { what: format!("{milliseconds} ms"), backlog, subject }));
            }
        }
    }
    let about = "PostgreSQL behind a relay that delays every byte. A batch that is all new is one round trip.";
    curve(bench, stage, about, "ms of round trip", points).await
}

async fn batches(bench: &Bench, stage: &mut Stage) -> Result {
    let mut points = Vec::new();
    for server in Server::ALL {
        for rows in [100, 250, 500, 1_000, 2_000, 4_000] {
            let config = format!("prefetch = {}\n[pipelines.bench.batch]\nmax_rows = {rows}", (2 * rows).max(2_000));
            let backlog = Backlog { config, messages: bench.messages / 2, ..base(bench, server) };
            let what = format!("{}, {rows} rows", server_name(server));
            let point = Point { what, backlog, subject: Subject::Worker(Ledger) };
            points.push((server_name(server).to_owned(), f64::from(rows), point));
        }
    }
    curve(bench, stage, "`batch.max_rows` with a `prefetch` of twice as many.", "rows in a batch", points).await
}

async fn prefetch(bench: &Bench, stage: &mut Stage) -> Result {
    let mut points = Vec::new();
    for server in Server::ALL {
        for prefetch in [2_000, 4_000, 8_000] {
            let config = format!("prefetch = {prefetch}");
            let backlog = Backlog { config, messages: bench.messages / 2, ..base(bench, server) };
            let what = format!("{}, prefetch {prefetch}", server_name(server));
            let point = Point { what, backlog, subject: Subject::Worker(Ledger) };
            points.push((server_name(server).to_owned(), f64::from(prefetch), point));
        }
    }
    curve(bench, stage, "`prefetch` with batches of 1,000.", "messages on their way", points).await
}

async fn compare(bench: &Bench, stage: &mut Stage) -> Result {
    let mut rows = Vec::new();
    for server in Server::ALL {
        for how in [Column, Ledger] {
            let point = |subject| Point { what: server_name(server).to_owned(), backlog: base(bench, server), subject };
            let points = [point(Subject::Other(how)), point(Subject::Worker(how))];
            let all = rounds(bench, stage, &points).await;
            let (ratio, time) = (rates(&all[1]).over(&rates(&all[0])), cpu(&all[1]).over(&cpu(&all[0])));
            rows.push(vec![
                server_name(server).to_owned(),
                how.name().to_owned(),
                format!("**{:.2}** ({:.2}–{:.2})", ratio.median(), ratio.min(), ratio.max()),
                format!("{:.2}", time.median()),
            ]);
            eprintln!("{}", rows.last().map(|row| row.join(", ")).unwrap_or_default());
        }
    }
    let header = ["database", "deduplicate", "rows a second of what they were", "CPU of what it was"];
    let about = "This tree beside the commit that was named.".to_owned();
    Result { about, header: header.map(str::to_owned).to_vec(), rows, curves: Vec::new() }
}

async fn backlog(bench: &Bench, stage: &mut Stage) -> Result {
    let sizes = [bench.messages / 20, bench.messages, bench.messages * 5];
    let points: Vec<Point> = sizes
        .into_iter()
        .map(|messages| Point {
            what: messages.to_string(),
            backlog: Backlog { messages, ..base(bench, Server::Postgres) },
            subject: Subject::Worker(Ledger),
        })
        .chain(std::iter::once(Point {
            what: format!("{} of 10 KB", bench.messages / 10),
            backlog: Backlog { shape: Shape::Large, messages: bench.messages / 10, ..base(bench, Server::Postgres) },
            subject: Subject::Worker(Ledger),
        }))
        .collect();
    // Memory isn't noisy.
    let all = rounds(&Bench { runs: 1, ..*bench }, stage, &points).await;
    let rows = points.iter().zip(&all).map(|(point, measured)| {
        let peak = measured.iter().map(|one| one.peak_mib).fold(0.0, f64::max);
        vec![point.what.clone(), format!("{peak:.0}")]
    });
    let rows = rows.collect();
    let header = vec!["messages in the queue".to_owned(), "MiB at most".to_owned()];
    let about = "PostgreSQL, ledger, everything else by default: the resident memory at its highest.";
    Result { about: about.to_owned(), header, rows, curves: Vec::new() }
}
