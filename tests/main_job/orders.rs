//! Orders: the table on each server, what producers send, and what must become of it.

use std::collections::BTreeMap;

use crate::support::Accountant;
use crate::support::broker::{Message, Taken};
use crate::support::database::{Server, TestDatabase};
use crate::support::servers::Flavour;

/// The table that most tests write to.
pub fn table(server: Server) -> &'static str {
    match server {
        Server::Postgres => {
            "CREATE TABLE orders (
               id text PRIMARY KEY, customer text NOT NULL, amount numeric(12,2) NOT NULL,
               quantity bigint NOT NULL CONSTRAINT positive CHECK (quantity > 0), paid boolean NOT NULL,
               placed_at timestamptz NOT NULL, note text DEFAULT 'none', extra jsonb)"
        }
        Server::Mysql => {
            "CREATE TABLE orders (
               id varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
               customer varchar(100) CHARACTER SET utf8mb4 NOT NULL, amount decimal(12,2) NOT NULL,
               quantity bigint NOT NULL, paid boolean NOT NULL, placed_at datetime(6) NOT NULL,
               note varchar(20) DEFAULT 'none', extra json, CONSTRAINT positive CHECK (quantity > 0))"
        }
        Server::Sqlite => {
            "CREATE TABLE orders (
               id text PRIMARY KEY, customer text NOT NULL, amount decimal(12,2) NOT NULL,
               quantity bigint NOT NULL CONSTRAINT positive CHECK (quantity > 0), paid boolean NOT NULL,
               placed_at datetime NOT NULL, note text DEFAULT 'none', extra json)"
        }
    }
}

/// The columns of [`table`] that [`Order::values`] gives, as expressions that read alike on all
/// servers.
pub fn columns(server: Server) -> [&'static str; 7] {
    let (paid, placed_at) = match server {
        Server::Postgres => ("paid::int", "to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"),
        Server::Mysql => ("paid", "placed_at"),
        Server::Sqlite => ("paid", "placed_at"),
    };
    // What SQLite keeps of a decimal is a number without trailing zeros.
    let amount = if server == Server::Sqlite { "printf('%.2f', amount)" } else { "amount" };
    ["id", "customer", amount, "quantity", paid, placed_at, "note"]
}

/// The pipeline of [`table`].
pub const PIPELINE: &str = r#"
message_id = ["property:message_id"]
[pipelines.orders.columns]
id = "message_id"
customer = { from = "/customer/name", required = true }
amount = "/amount"
quantity = "/quantity"
paid = "/paid"
placed_at = "/placed_at"
note = "/note"
extra = "/extra"
"#;

/// A config with one pipeline `orders` from this queue.
pub fn config(amqp: &str, database: &TestDatabase, queue: &str, options: &str) -> String {
    config_for(amqp, &database.url, queue, options)
}

/// As [`config`], for any database URL. `options` are keys of the pipeline and its tables.
pub fn config_for(amqp: &str, database_url: &str, queue: &str, options: &str) -> String {
    let (keys, tables) = options.split_at(options.find("\n[").map_or(options.len(), |at| at + 1));
    format!(
        "[rabbitmq]\nurl = \"{amqp}\"\n[database]\nurl = \"{database_url}\"\n[admin]\nlisten = \"off\"\n\
         [pipelines.orders]\nqueue = \"{queue}\"\ntable = \"orders\"\n{keys}\n{PIPELINE}\n{tables}\n"
    )
}

/// What the rejection of a bad order must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub class: &'static str,
    pub code: &'static str,
    pub column: Option<&'static str>,
}

/// The code by which a server says that a CHECK doesn't hold.
pub fn check_code(server: Server) -> &'static str {
    match server {
        Server::Postgres => "23514",
        Server::Mysql if Flavour::installed() == Flavour::Mysql => "3819",
        Server::Mysql => "4025",
        Server::Sqlite => "SQLITE_CONSTRAINT_CHECK",
    }
}

/// Published messages and what is expected of each.
pub struct Orders {
    pub messages: Vec<Message>,
    pub accountant: Accountant,
    pub causes: BTreeMap<String, Cause>,
}

/// Good order number `n`: body and the row's values without its ID.
pub fn good(n: usize) -> (String, Vec<Option<String>>) {
    let customer = format!("Zoë 🦊 {n}");
    let amount = format!("{}.{:02}", n % 1_000_000, n % 100);
    let quantity = if n.is_multiple_of(3) { 9_223_372_036_854_775_807 } else { n as i64 + 1 };
    let paid = n.is_multiple_of(2);
    let micros = 1 + n % 999_999;
    // Absent: the column's DEFAULT; null: NULL.
    let (note, stored) = match n % 3 {
        0 => (String::new(), Some("none".to_owned())),
        1 => (",\"note\":null".to_owned(), None),
        _ => (format!(",\"note\":\"n{n}\""), Some(format!("n{n}"))),
    };
    let body = format!(
        "{{\"customer\":{{\"name\":\"{customer}\"}},\"amount\":{amount},\"quantity\":{quantity},\"paid\":{paid},\
         \"placed_at\":\"2026-03-04T07:06:07.{micros:06}+02:00\",\"extra\":{{\"n\":{n}}}{note}}}"
    );
    let row = vec![
        Some(customer),
        Some(amount),
        Some(quantity.to_string()),
        Some(u8::from(paid).to_string()),
        Some(format!("2026-03-04 05:06:07.{micros:06}")),
        stored,
    ];
    (body, row)
}

/// Bad order number `n`, of one of four kinds.
pub fn bad(n: usize, server: Server) -> (String, Cause) {
    let (body, _) = good(n);
    let refused = |class, code, column| Cause { class, code, column };
    match n % 4 {
        0 => (body[..body.len() - 3].to_owned(), refused("decode", "not_json", None)),
        1 => (body.replace("\"name\"", "\"nom\""), refused("mapping", "required", Some("customer"))),
        2 => {
            let body = body.replace("\"quantity\":", "\"quantity\":1");
            let body = body.replace("\"quantity\":1", "\"quantity\":99999999999999999999");
            (body, refused("mapping", "out_of_range", Some("quantity")))
        }
        _ => (body.replace("\"quantity\":", "\"quantity\":-"), refused("row_rejected", check_code(server), None)),
    }
}

impl Orders {
    /// `count` different orders, every tenth sent twice, one in 500 bad.
    pub fn mixed(count: usize, server: Server) -> Orders {
        let mut orders = Orders { messages: Vec::new(), accountant: Accountant::default(), causes: BTreeMap::new() };
        for n in 0..count {
            let id = format!("order-{n}");
            // Not every 500th exactly, so that each of the four kinds comes.
            let body = if n % 499 == 7 {
                let (body, cause) = bad(n / 499, server);
                orders.accountant.expect_dead(&id);
                orders.causes.insert(id.clone(), cause);
                body
            } else {
                let (body, row) = good(n);
                orders.accountant.expect_row(&id, row);
                body
            };
            if n % 10 == 3 {
                orders.messages.push(Message::json(&id, body.clone()));
            }
            orders.messages.push(Message::json(&id, body));
        }
        orders
    }

    /// Good ones only.
    pub fn good(numbers: std::ops::Range<usize>) -> Orders {
        let mut orders = Orders { messages: Vec::new(), accountant: Accountant::default(), causes: BTreeMap::new() };
        for n in numbers {
            let (body, row) = good(n);
            let id = format!("order-{n}");
            orders.accountant.expect_row(&id, row);
            orders.messages.push(Message::json(&id, body));
        }
        orders
    }

    /// Fails the test unless table and dead letters hold exactly what they must.
    pub async fn audit(&self, database: &TestDatabase, letters: &[Taken]) {
        let rows = database.table("orders", &columns(database.server)).await;
        let dead: Vec<String> = letters.iter().map(|letter| letter.message_id().expect("an ID")).collect();
        self.accountant.audit(&rows, dead).assert_clean();
        for letter in letters {
            let id = letter.message_id().expect("an ID");
            let expected = &self.causes[&id];
            let found = ["x-sink-error-class", "x-sink-error-code", "x-sink-column"].map(|name| letter.header(name));
            let expected =
                [Some(expected.class), Some(expected.code), expected.column].map(|text| text.map(str::to_owned));
            assert_eq!(found, expected, "the cause of {id}");
        }
    }
}
