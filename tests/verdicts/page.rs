//! docs/errors.md, made of the tables.

use std::fmt::Write;
use std::path::Path;

use super::broker::Refusal;
use super::verdict::{On, Verdict};
use super::{broker, mysql, postgres, sqlite};

/// Writes the page anew instead of comparing it.
const WRITE: &str = "RABBIT_SINK_WRITE_DOCS";

const HEAD: &str = "\
# What happens for which error

Each line is provoked on the real server by `tests/verdicts/` (those of the last section by the test that they name),
which then looks at class, code, column and constraint, and at what became of each message. This page is made of the
same tables: `RABBIT_SINK_WRITE_DOCS=1 ./tests/run.sh errors_page` writes it anew.

The class decides what follows: see [what went wrong](guarantees.md). Code, column and constraint stand in the dead
letter's headers, in the log and, while a pipeline isn't running, in `rabbit-sink status`. What is known of a code
without a line here: its class is that of its group (PostgreSQL's first two characters, SQLite's primary code), else
`unknown`.
";

/// Errors of whole servers, and others that have a test of their own: database or broker, code, when, class, what
/// happens next, what ends it, and the test.
const ELSEWHERE: [[&str; 7]; 9] = [
    [
        "MySQL, MariaDB",
        "too_large",
        "the row is above `max_allowed_packet`; it is never sent",
        "row_rejected",
        "that message is dead-lettered, its neighbours are written",
        "raise `max_allowed_packet`, then publish the dead letter again",
        "faults_database/rows.rs a_row_above_max_allowed_packet_goes_alone",
    ],
    [
        "MySQL, MariaDB",
        "engine",
        "the table's engine can't roll back (MyISAM, Aria)",
        "sink_misconfigured",
        "the pipeline pauses, nothing is taken",
        "`ALTER TABLE … ENGINE = InnoDB`",
        "faults_database/setup.rs a_table_that_cannot_roll_back_is_refused",
    ],
    [
        "PostgreSQL",
        "P0001",
        "a trigger refuses every row: from `storm.min` messages on that is a storm",
        "unknown",
        "the pipeline pauses; up to `storm.min` messages are dead-lettered before",
        "`rabbit-sink resume PIPELINE`, or a change of the pipeline's table",
        "faults_database/rows.rs a_trigger_that_refuses_every_row_pauses_as_a_storm",
    ],
    [
        "all",
        "23505, 1062, SQLITE_CONSTRAINT_UNIQUE",
        "a new message ID with the value of another row in a second unique key",
        "row_rejected",
        "that message is dead-lettered; it is never taken for a duplicate",
        "correct the message, then publish the dead letter again",
        "faults_database/rows.rs another_unique_key_rejects_in_mysql_and_never_swallows",
    ],
    [
        "PostgreSQL, MySQL",
        "55P03, 1205",
        "another session keeps the table locked for more than a minute",
        "sink_contention",
        "retried, then held; nothing is dead-lettered",
        "the lock's end",
        "verdicts/mod.rs slow_a_lock_held_for_a_minute_dead_letters_nothing",
    ],
    [
        "RabbitMQ",
        "(none)",
        "a memory or disk alarm blocks connections that publish",
        "(none)",
        "rows are written and acked; dead letters wait",
        "the alarm's end",
        "faults_broker/alarms.rs slow_during_alarms_acks_go_on_and_dead_letters_wait",
    ],
    [
        "RabbitMQ",
        "heartbeat",
        "the network is silent for twice `heartbeat`",
        "source_lost",
        "reconnects; what was unsettled is delivered again",
        "ends by itself",
        "faults_broker/gone.rs slow_a_silent_network_is_noticed_by_heartbeats",
    ],
    [
        "RabbitMQ",
        "404",
        "the node that has the queue is down",
        "source_lost",
        "reconnects; the queue is neither called missing nor declared anew",
        "the node",
        "faults_broker/gone.rs slow_with_two_urls_the_surviving_node_is_used_when_the_other_is_killed",
    ],
    [
        "RabbitMQ",
        "406",
        "the queue has other arguments than `declare` says",
        "(none)",
        "it is taken as it is",
        "nothing to end",
        "faults_broker/queues.rs a_queue_with_other_arguments_than_declared_is_taken_as_it_is",
    ],
];

fn line(page: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    writeln!(page, "| {} |", cells.join(" | ")).expect("a String takes everything");
}

fn head(page: &mut String, title: &str, columns: &[&str]) {
    write!(page, "\n## {title}\n\n").expect("a String takes everything");
    line(page, columns);
    writeln!(page, "|{}", "---|".repeat(columns.len())).expect("a String takes everything");
}

fn database(page: &mut String, title: &str, table: &[Verdict]) {
    head(page, title, &["code", "when", "class", "what happens next", "what ends it"]);
    let mut table = table.to_vec();
    table.sort_by_key(|verdict| (verdict.next, verdict.code));
    for verdict in table {
        let server = match verdict.on {
            On::All => "",
            On::Mariadb => " (MariaDB)",
            On::Mysql => " (MySQL)",
        };
        let ends = if verdict.ends.is_empty() { verdict.next.ends() } else { verdict.ends };
        let code = format!("`{}`{server}", verdict.code);
        line(page, &[&code, verdict.means, &format!("`{}`", verdict.class), verdict.next.words(), ends]);
    }
}

fn refusals(page: &mut String, table: &[Refusal]) {
    head(page, "RabbitMQ", &["code", "when", "class", "state meanwhile", "what ends it"]);
    for refusal in table {
        let (code, class) = (format!("`{}`", refusal.code), format!("`{}`", refusal.class));
        let state = refusal.state.unwrap_or("reconnecting, for a moment");
        line(page, &[&code, refusal.means, &class, state, refusal.ends]);
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    database(&mut page, "PostgreSQL", postgres::TABLE);
    database(&mut page, "MySQL and MariaDB", mysql::TABLE);
    database(&mut page, "SQLite", sqlite::TABLE);
    refusals(&mut page, broker::TABLE);
    let columns = ["where", "code", "when", "class", "what happens next", "what ends it", "test"];
    head(&mut page, "Held by tests of their own", &columns);
    for cells in ELSEWHERE {
        let [place, code, when, class, next, ends, test] = cells;
        let (file, name) = test.split_once(' ').expect("file and test");
        let test = format!("[{name}](../tests/{file})");
        line(&mut page, &[place, code, when, class, next, ends, &test]);
    }
    page
}

#[test]
fn errors_page_says_what_the_tables_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for test in ELSEWHERE.map(|cells| cells[6]) {
        let (file, name) = test.split_once(' ').expect("file and test");
        let text = std::fs::read_to_string(root.join("tests").join(file)).expect("a file of tests");
        assert!(text.contains(&format!("async fn {name}()")), "{file} has no test {name}");
    }
    let file = root.join("docs/errors.md");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, page()).expect("docs/errors.md can be written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == page(), "docs/errors.md is stale: {WRITE}=1 ./tests/run.sh errors_page writes it anew");
}
