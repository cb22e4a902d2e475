//! `[worker]`, `[admin]`, `[traces]`, `[rabbitmq]`, `[database]`.

use super::kinds::Absent::{Is, Nothing, Words};
use super::kinds::Kind::{
    Duration, Integer, List, Listen, Name, PemFile, Secret, SecretFile, Share, Socket, Table, Text, Url,
};
use super::{HOUR, Keys, MINUTE, SECOND, days, key, ms};

pub(super) static WORKER: Keys = Keys {
    path: "worker",
    about: "The process.",
    keys: &[
        key(
            "shutdown_timeout",
            Duration(ms(100), HOUR),
            Is("\"25s\""),
            "From SIGTERM or SIGINT to the end. What isn't settled by then goes back to the broker. Keep it below the \
             orchestrator's own limit.",
            "\"55s\"",
        ),
        key(
            "pause_poll",
            Duration(ms(100), HOUR),
            Is("\"10s\""),
            "How often each database is asked whether `rabbit-sink pause --all` holds, over a connection that is opened \
             for it.",
            "\"1m\"",
        ),
        key(
            "watch_config",
            Duration(std::time::Duration::ZERO, HOUR),
            Is("\"0s\""),
            "How often the content of this file, and of those that it names (secrets, certificates), is compared with what \
             was read; a change [reloads](operations.md#reload) it. `0s`: only SIGHUP does.",
            "\"10s\"",
        ),
    ],
    exclusive: &[],
};

pub(super) static ADMIN: Keys = Keys {
    path: "admin",
    about: "What the worker serves about itself, and where it takes orders: `pause` and `resume`.",
    keys: &[
        key(
            "listen",
            Listen,
            Is("\"127.0.0.1:9464\""),
            "Where `/livez`, `/readyz`, `/metrics` and `/status` are served, and what `status` and `health` ask. Plain \
             HTTP, read by whoever gets there; orders need the token. `\"0.0.0.0:9464\"` for probes from outside a \
             container.",
            "\"0.0.0.0:9464\"",
        ),
        key(
            "socket",
            Socket,
            Words("on Linux `\"@rabbit-sink/LISTEN\"`"),
            "A Unix socket that serves the same and takes orders without a token, from the worker's own user and root. \
             A path makes a file with mode 0600; `@NAME` is a name of Linux's without a file, which works in a \
             read-only container, too. `\"off\"`: none.",
            "\"/run/rabbit-sink/admin.sock\"",
        ),
        key(
            "token",
            Secret,
            Words("no orders over TCP"),
            "16 to 1024 printable characters that orders over TCP must bring (`Authorization: Bearer …`). Better kept \
             in a file or a variable.",
            "\"${RABBIT_SINK_TOKEN}\"",
        ),
        key(
            "token_file",
            SecretFile,
            Nothing,
            "A file with the token alone. Not beside `token`.",
            "\"/run/secrets/token\"",
        ),
    ],
    exclusive: &[&["token", "token_file"]],
};

pub(super) static TRACES: Keys = Keys {
    path: "traces",
    about: "Spans for [batches and their commits](operations.md#traces), sent to an OpenTelemetry collector. Without \
            `endpoint` there are none, and nothing is paid for them.",
    keys: &[
        key(
            "endpoint",
            Url(&["http", "https"]),
            Nothing,
            "Where OTLP over HTTP is taken (protobuf), `/v1/traces` left out. The system's certificates are trusted.",
            "\"http://127.0.0.1:4318\"",
        ),
        key(
            "headers",
            List(&Secret, "texts"),
            Nothing,
            "Sent with each request, `NAME: VALUE` each.",
            "[\"authorization: Bearer ${OTLP_TOKEN}\"]",
        ),
        key(
            "service_name",
            Text("a name for this service"),
            Is("\"rabbit-sink\""),
            "What backends show.",
            "\"orders-sink\"",
        ),
        key(
            "share",
            Share,
            Is("1.0"),
            "Of batches whose messages carry no trace context. With a context, the publisher has decided: a batch is \
             traced where one of its messages is.",
            "0.1",
        ),
        key("timeout", Duration(ms(100), MINUTE), Is("\"10s\""), "For one request.", "\"3s\""),
    ],
    exclusive: &[],
};

const USERNAME: &str = "Replaces the URL's; encoded for you.";
const PASSWORD: &str = "Likewise. Better kept in a file or a variable: `\"${NAME}\"`.";
const PASSWORD_FILE: &str = "A file with the password alone. Not beside `password`.";

pub(super) static BROKER: Keys = Keys {
    path: "rabbitmq",
    about: "A RabbitMQ broker. `[rabbitmq]` is the broker `default`; others stand in `[brokers.NAME]` with the same \
            keys, and pipelines choose one by `broker`. Without any such section: \
            `amqp://guest:guest@127.0.0.1:5672/%2f`.",
    keys: &[
        key(
            "url",
            Url(&["amqp", "amqps"]),
            Words("*required*: one of these three"),
            "`amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps://` for TLS. `%2f`, or nothing, is the virtual host \
             `/`. An IPv6 address needs a host name. Parameters: `frame_max`, `channel_max`, `auth_mechanism` \
             (`plain`, `amqplain`, `external`).",
            "\"amqp://guest:guest@127.0.0.1:5672/%2f\"",
        ),
        key(
            "urls",
            List(&Url(&["amqp", "amqps"]), "texts"),
            Nothing,
            "A cluster: tried in random order, names resolved anew each time.",
            "[\"amqps://rabbit-1/shop\", \"amqps://rabbit-2/shop\"]",
        ),
        key("url_file", SecretFile, Nothing, "A file with the URL.", "\"/run/secrets/rabbitmq-url\""),
        key("username", Text("a user name"), Words("the URL's"), USERNAME, "\"rabbit-sink\""),
        key("password", Secret, Words("the URL's"), PASSWORD, "\"${RABBITMQ_PASSWORD}\""),
        key("password_file", SecretFile, Nothing, PASSWORD_FILE, "\"/run/secrets/rabbitmq-password\""),
        key(
            "heartbeat",
            Duration(SECOND, HOUR),
            Is("\"30s\""),
            "Asked of the broker. A connection that is silent for twice as long is closed.",
            "\"10s\"",
        ),
        key(
            "connect_timeout",
            Duration(ms(100), MINUTE.saturating_mul(10)),
            Is("\"10s\""),
            "For one address: TCP, TLS and login together.",
            "\"3s\"",
        ),
        key(
            "consumer_timeout",
            Duration(SECOND, days(365)),
            Is("\"30m\""),
            "What the broker's own consumer timeout is: say so here if yours differs. `retry.hold` must be less. \
             [check](check.md#check) compares the true one where the HTTP API tells it.",
            "\"2h\"",
        ),
        key(
            "ca_file",
            PemFile,
            Words("the system's"),
            "Certificates to trust instead. For `amqps://` only, like the next two.",
            "\"/etc/ssl/rabbitmq-ca.pem\"",
        ),
        key(
            "cert_file",
            PemFile,
            Nothing,
            "Our own certificate. Without a password in the URL it is also the login (EXTERNAL).",
            "\"/etc/ssl/rabbit-sink.pem\"",
        ),
        key("key_file", PemFile, Nothing, "The key of `cert_file`.", "\"/etc/ssl/rabbit-sink.key\""),
        key(
            "connection_name",
            Name("a name for the connection, at most 255 bytes"),
            Words("made of `rabbit-sink/HOST/PIPELINE`"),
            "What operators see in the broker's list of connections.",
            "\"shop-orders\"",
        ),
        key(
            "management_url",
            Url(&["http", "https"]),
            Nothing,
            "RabbitMQ's HTTP API. Without a login of its own it gets the broker's; the user needs the tag `management`. \
             The [checks](check.md#check) ask it what AMQP doesn't tell: the queue's type, limits and policies; and, \
             with the tag `administrator`, the node's consumer timeout.",
            "\"http://rabbit-1:15672\"",
        ),
        key("management_url_file", SecretFile, Nothing, "A file with that URL.", "\"/run/secrets/management-url\""),
    ],
    exclusive: &[
        &["url", "urls", "url_file"],
        &["password", "password_file"],
        &["management_url", "management_url_file"],
    ],
};

pub(super) static DATABASE: Keys = Keys {
    path: "database",
    about: "A database. `[database]` is the database `default`; others stand in `[databases.NAME]` with the same \
            keys, and pipelines choose one by `database`. Without any such section: `sqlite://rabbit-sink.db`.",
    keys: &[
        key(
            "url",
            Url(&["postgres", "postgresql", "mysql", "mariadb", "sqlite"]),
            Words("*required*: this or `url_file`"),
            "`postgres://USER:PASSWORD@HOST:PORT/DATABASE`, `mysql://…` (MariaDB, too; `mariadb://` means the same) \
             or `sqlite://FILE`.",
            "\"postgres://rabbit_sink@db.example.com/shop\"",
        ),
        key("url_file", SecretFile, Nothing, "A file with the URL.", "\"/run/secrets/database-url\""),
        key(
            "username",
            Text("a user name"),
            Words("the URL's"),
            "Replaces the URL's; encoded for you. Not for SQLite.",
            "\"rabbit_sink\"",
        ),
        key("password", Secret, Words("the URL's"), PASSWORD, "\"${DATABASE_PASSWORD}\""),
        key("password_file", SecretFile, Nothing, PASSWORD_FILE, "\"/run/secrets/database-password\""),
        key(
            "max_connections",
            Integer(1, 10_000),
            Words("no check"),
            "What you grant: at least the consumers on this database and two more, or the config is refused. Each \
             consumer has one connection; checks and pruning open others for a moment.",
            "10",
        ),
        key(
            "connect_timeout",
            Duration(ms(100), HOUR),
            Is("\"10s\""),
            "For a connection with login and session settings.",
            "\"3s\"",
        ),
        key(
            "statement_timeout",
            Duration(ms(100), HOUR),
            Is("\"30s\""),
            "After which the server cancels a statement. The worker gives up on the connection some time later, for \
             when the link is dead.",
            "\"1m\"",
        ),
        key(
            "lock_timeout",
            Duration(ms(100), HOUR),
            Is("\"10s\""),
            "After which the server (SQLite: the library) gives up waiting for a lock.",
            "\"5s\"",
        ),
        key(
            "application_name",
            Text("a name for the database's list of sessions"),
            Is("\"rabbit-sink\""),
            "What operators see in PostgreSQL's list of sessions.",
            "\"orders-sink\"",
        ),
        key(
            "on_connect",
            List(&Text("a statement of SQL, as in \"SET ROLE sink\""), "SQL"),
            Is("[]"),
            "Run in each new session, after the worker's own settings.",
            "[\"SET ROLE sink\"]",
        ),
        key(
            "ca_file",
            PemFile,
            Words("the system's"),
            "Certificates to trust beside the system's. Not for SQLite, like the next two.",
            "\"/etc/ssl/db-ca.pem\"",
        ),
        key(
            "cert_file",
            PemFile,
            Nothing,
            "Our own certificate, for servers that ask for one.",
            "\"/etc/ssl/rabbit-sink.pem\"",
        ),
        key("key_file", PemFile, Nothing, "The key of `cert_file`.", "\"/etc/ssl/rabbit-sink.key\""),
        key(
            "ledger_table",
            Table,
            Is("\"rabbit_sink_ledger\""),
            "Where message IDs are kept, in this database. `NAME_pipelines` stands beside it, and `NAME_pauses` for \
             `rabbit-sink pause --all`. They are created where they are missing; `rabbit-sink init --ledger` prints \
             their DDL.",
            "\"shop.rabbit_sink_ledger\"",
        ),
        key(
            "ledger_keep",
            Duration(HOUR, days(36_500)),
            Is("\"30d\""),
            "For how long. A repeat that comes later is written again.",
            "\"7d\"",
        ),
    ],
    exclusive: &[&["url", "url_file"], &["password", "password_file"]],
};
