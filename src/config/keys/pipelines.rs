//! `[pipelines.NAME]` and what is below it.

use super::kinds::Absent::{Is, Means, Nothing, Required, Words};
use super::kinds::Kind::{
    self, Columns, Constant, Duration, Flag, IdPlaces, Integer, Name, Place, Reference, Share, Size, Table, Tables,
    Text, Zone,
};
use super::{GIB, HOUR, Keys, MINUTE, MS, below, days, key, later, ms};

const fn words(now: &'static [&'static str]) -> Kind {
    choice(now, &[])
}

const fn choice(now: &'static [&'static str], later: &'static [&'static str]) -> Kind {
    Kind::Choice { now, later, or_column: false }
}

const fn words_or_column(now: &'static [&'static str]) -> Kind {
    Kind::Choice { now, later: &[], or_column: true }
}

const QUEUE: Kind = Name("a queue's name of 1 to 255 bytes");

/// AMQP counts unacked messages in 16 bits, and two batches must fit into them.
const MAX_ROWS: i64 = 32_767;

pub(in crate::config) static PIPELINE: Keys = Keys {
    path: "pipelines.NAME",
    about: "One way from one queue into one table. NAME is 1 to 48 of `a-z`, `0-9`, `_`, without `__`. It is the key \
            of the ledger's entries: a pipeline under a new name knows no earlier messages.",
    keys: &[
        key("queue", QUEUE, Required, "The queue. Classic or quorum.", "\"orders\""),
        key("table", Table, Required, "Where the rows go.", "\"shop.orders\""),
        key(
            "mode",
            choice(&["insert"], &["upsert", "upsert_newer", "delete", "apply"]),
            Is("\"insert\""),
            "What a message does to the table: each makes a row.",
            "\"insert\"",
        ),
        key(
            "format",
            choice(&["json"], &["debezium", "cloudevents"]),
            Is("\"json\""),
            "How bodies are read.",
            "\"json\"",
        ),
        key(
            "consumers",
            Integer(1, 64),
            Is("1"),
            "Consumers on the queue in this process, each with a channel, a writer and a database connection. More \
             than one gives up the queue's order.",
            "4",
        ),
        key(
            "single_active_consumer",
            Flag,
            Is("false"),
            "The queue has a single active consumer (`x-single-active-consumer`): processes take turns on it, and \
             [keep its order](scaling.md#in-order-by-turns). Goes with `consumers = 1`. The prefetch then stays at \
             `limits.max_unacked_bytes` / `limits.max_body`, as far as `prefetch` allows.",
            "true",
        ),
        key(
            "prefetch",
            Integer(1, u16::MAX as i64),
            Words("2000, or 2 × `batch.max_rows` if that is more"),
            "The most unacked messages per consumer. At least 2 × `batch.max_rows`. The worker begins with few and \
             widens as far as `limits.max_unacked_bytes` allows, and to no more full batches of large messages than of \
             small ones (`batch.max_bytes`).",
            "5000",
        ),
        key(
            "message_id",
            IdPlaces,
            Is("[\"property:message_id\", \"header:message-id\"]"),
            "Where the ID may stand: the first place that has one. `{ all = [\"header:source\", \"/sequence\"] }` \
             puts several together; `\"sha256:body\"` makes the body its own ID.",
            "[\"/event_id\"]",
        ),
        key(
            "deduplicate",
            words_or_column(&["ledger", "none", "column"]),
            Is("\"ledger\""),
            "How repeats are recognised: `\"ledger\"`; `\"column:NAME\"`, a unique column of the table itself; \
             `\"column\"`, the one that the message ID is mapped to; `\"none\"`: at least once.",
            "\"column:event_id\"",
        ),
        key(
            "id_conflict",
            words(&["dead_letter", "ignore"]),
            Is("\"dead_letter\""),
            "The same ID with another body: `\"dead_letter\"`, or `\"ignore\"` (counted as a duplicate).",
            "\"ignore\"",
        ),
        key(
            "unknown_fields",
            words_or_column(&["ignore", "reject"]),
            Is("\"ignore\""),
            "Top-level fields that no column takes: `\"ignore\"`, `\"reject\"` the message, or `\"column:NAME\"`: \
             collected there as one JSON object.",
            "\"column:extra\"",
        ),
        key(
            "guarantee",
            words(&["exactly_once_effect", "none"]),
            Is("\"none\""),
            "`\"exactly_once_effect\"`: [check](check.md#check) and start refuse what can't keep it.",
            "\"exactly_once_effect\"",
        ),
        key("broker", Reference("brokers"), Is("\"default\""), "Which `[brokers.NAME]`.", "\"shop\""),
        key("database", Reference("databases"), Is("\"default\""), "Which `[databases.NAME]`.", "\"lake\""),
        below("declare", &DECLARE),
        key("columns", Columns(&COLUMN), Nothing, COLUMN.about, ""),
        below("batch", &BATCH),
        below("limits", &LIMITS),
        below("retry", &RETRY),
        below("storm", &STORM),
        below("dead_letter", &DEAD_LETTER),
        later("key"),
        later("version"),
        later("on_reject"),
        later("operation"),
        later("absent"),
        later("rows"),
        later("lanes"),
        later("order"),
        later("schema"),
    ],
    exclusive: &[],
};

static DECLARE: Keys = Keys {
    path: "pipelines.NAME.declare",
    about: "Declare the queue where it is missing. Off unless the section is there, be it empty: `declare = {}`.",
    keys: &[
        key(
            "type",
            choice(&["quorum", "classic"], &["stream"]),
            Is("\"quorum\""),
            "What kind of queue. One that is there stays as it is.",
            "\"classic\"",
        ),
        key(
            "bind",
            Tables(&BINDING),
            Nothing,
            "Bindings that are made at each start, also where the queue is there.",
            "",
        ),
    ],
    exclusive: &[],
};

pub(in crate::config) static BINDING: Keys = Keys {
    path: "pipelines.NAME.declare.bind",
    about: "One binding of the queue.",
    keys: &[
        key("exchange", Name("the name of an exchange, 1 to 255 bytes"), Required, "It must exist.", "\"shop\""),
        key(
            "routing_key",
            Text("a routing key, at most 255 bytes"),
            Is("\"\""),
            "With the wildcards of a topic exchange, if it is one.",
            "\"order.*\"",
        ),
    ],
    exclusive: &[],
};

/// `{ all = [ … ] }` in `message_id`.
pub(in crate::config) static ALL: Keys = Keys {
    path: "pipelines.NAME.message_id",
    about: "Several values that are the ID together.",
    keys: &[key("all", IdPlaces, Required, "Each must be there.", "[\"header:source\", \"/sequence\"]")],
    exclusive: &[],
};

pub(in crate::config) static COLUMN: Keys = Keys {
    path: "pipelines.NAME.columns",
    about: "Column = place in the message. Without this section, every column is filled from the top-level field of \
            its name.",
    keys: &[
        key("from", Place, Words("*required*: this or `value`"), "Where the value stands.", "\"/customer/name\""),
        key("value", Constant, Nothing, "A constant instead. Takes no other key beside it.", "\"web\""),
        key("required", Flag, Is("false"), "A message without it is rejected. `null` is not absent.", "true"),
        key(
            "default",
            Constant,
            Words("the column's own DEFAULT, else NULL"),
            "What an absent value becomes.",
            "\"EUR\"",
        ),
        key(
            "time",
            words(&["epoch_s", "epoch_ms", "epoch_us"]),
            Nothing,
            "How a number stands for a time: seconds, milliseconds or microseconds since 1970.",
            "\"epoch_ms\"",
        ),
        key(
            "zone",
            Zone,
            Words("UTC for columns without a zone"),
            "An IANA name or an offset: the clock that a zone-less column shows, and that zone-less texts are read by.",
            "\"Europe/Berlin\"",
        ),
        key("lossy", Flag, Is("false"), "Let the value be cut or rounded to what the column holds.", "true"),
        later("sql"),
        later("type"),
    ],
    exclusive: &[&["from", "value"]],
};

static BATCH: Keys = Keys {
    path: "pipelines.NAME.batch",
    about: "What is written in one transaction.",
    keys: &[
        key("max_rows", Integer(1, MAX_ROWS), Is("1000"), "Messages in one transaction at most.", "500"),
        key(
            "max_bytes",
            Size(1, GIB),
            Is("\"8MiB\""),
            "Bytes of their bodies at most; a larger one is a batch by itself.",
            "\"1MiB\"",
        ),
        key(
            "linger",
            Duration(ms(0), MINUTE.saturating_mul(10)),
            Is("\"0ms\""),
            "How long an incomplete batch waits for more. At 0 it doesn't: while one batch commits, the next one \
             collects.",
            "\"20ms\"",
        ),
    ],
    exclusive: &[],
};

const COUNT: Kind = Integer(0, 1_000_000_000);

static LIMITS: Keys = Keys {
    path: "pipelines.NAME.limits",
    about: "What a pipeline may take.",
    keys: &[
        key("max_body", Size(1, GIB), Is("\"16MiB\""), "A larger body is dead-lettered undecoded.", "\"1MiB\""),
        key("max_depth", Integer(1, 128), Is("128"), "Levels of nesting in a body.", "16"),
        key(
            "max_unacked_bytes",
            Size(1, 64 * GIB),
            Is("\"64MiB\""),
            "Unacked bodies per consumer. AMQP can't count bytes, so the prefetch follows the measured sizes; until \
             they are known it is `max_unacked_bytes` / `max_body`.",
            "\"256MiB\"",
        ),
        key(
            "max_rows_per_second",
            COUNT,
            Means("0", "no limit"),
            "Messages a second, all consumers of the pipeline in this process together. Lowers the prefetch to what \
             the rate takes in half of `retry.hold`.",
            "5000",
        ),
        key("max_replays", COUNT, Is("5"), "A dead letter that was replayed so often isn't replayed again.", "3"),
    ],
    exclusive: &[],
};

static RETRY: Keys = Keys {
    path: "pipelines.NAME.retry",
    about: "How long what goes wrong is tried again.",
    keys: &[
        key("initial", Duration(MS, HOUR), Is("\"100ms\""), "The first wait. Waits double, each ±50 %.", "\"1s\""),
        key("max", Duration(MS, HOUR), Is("\"30s\""), "The longest wait (plus its jitter).", "\"1m\""),
        key(
            "hold",
            Duration(ms(100), days(365)),
            Is("\"10m\""),
            "How long a delivery may stay unsettled, from its arrival, in whatever state. Then everything is given \
             back once, and the worker subscribes again when what kept it has passed. Less than the broker's \
             consumer timeout.",
            "\"5m\"",
        ),
        key(
            "missing_parent",
            Duration(ms(0), days(1)),
            Is("\"30s\""),
            "Less than `hold`; left out, at most half of it. How long a row waits for the row that its foreign key \
             names, before it is dead-lettered. Others go on.",
            "\"2m\"",
        ),
    ],
    exclusive: &[],
};

static STORM: Keys = Keys {
    path: "pipelines.NAME.storm",
    about: "A storm is a changed schema, not a bad message: nearly everything is rejected for the same reason.",
    keys: &[
        key("min", Integer(1, 1_000_000), Is("100"), "So many rejections of one class, code and column, …", "20"),
        key("share", Share, Is("0.95"), "… that are at least this share of the last outcomes, …", "0.9"),
        key(
            "action",
            words(&["pause", "dead_letter"]),
            Is("\"pause\""),
            "… pause the pipeline before one more dead letter is published. `\"dead_letter\"`: go on dead-lettering.",
            "\"dead_letter\"",
        ),
    ],
    exclusive: &[],
};

static DEAD_LETTER: Keys = Keys {
    path: "pipelines.NAME.dead_letter",
    about: "Where rejected messages go.",
    keys: &[
        key(
            "to",
            words(&["queue", "table"]),
            Is("\"queue\""),
            "`\"queue\"`; or `\"table\"`, in the pipeline's database: a letter is written in one transaction with rows, \
             and [exactly once](dead-letters.md#in-a-table).",
            "\"table\"",
        ),
        key(
            "table",
            Table,
            Words("the table's name and `_dead_letters`"),
            "With `to = \"table\"`: which. It is made at the start if it is missing. Pipelines may share one.",
            "\"shop.dead_letters\"",
        ),
        key(
            "queue",
            QUEUE,
            Words("the queue's name and `.dead`"),
            "Where dead letters go, through the default exchange. Pipelines may share one.",
            "\"orders.failed\"",
        ),
        key(
            "declare",
            Flag,
            Is("true"),
            "Declare it if it is missing: durable; from RabbitMQ 4.0 on a quorum queue without a delivery limit. \
             With `false`, a missing one pauses the pipeline.",
            "false",
        ),
    ],
    exclusive: &[],
};
