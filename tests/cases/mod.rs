//! `rabbit-sink test`: cases out of files, with the real binary and no server.

use crate::support::worker::{Exit, Worker};

fn config(database: &str) -> String {
    format!(
        "[database]\nurl = \"{database}\"\n[pipelines.orders]\nqueue = \"q\"\ntable = \"orders\"\n\
         message_id = [\"property:message_id\", \"/event\"]\n[pipelines.orders.columns]\n\
         id = {{ from = \"/id\", required = true }}\nprice = \"/price\"\nplaced_at = {{ from = \"/at\", time = \"epoch_ms\" }}\n\
         tenant = \"header:tenant\"\ntags = \"/tags\"\nnote = \"/note\"\n"
    )
}

const COLUMNS: &str = "[columns]\nid = \"bigint NOT NULL PRIMARY KEY\"\nprice = \"numeric(10,2) NOT NULL\"\n\
                       placed_at = \"TIMESTAMP\"\ntenant = \"varchar(5)\"\ntags = \"json\"\nnote = \"varchar(40) DEFAULT 'x'\"\n";

const GOOD: &str = r#"
[[case]]
name = "everything"
properties = { message_id = "a" }
headers = { tenant = "north" }
body = '{"id": 1, "price": 9.50, "at": 1767225600000, "tags": ["x", 1], "note": null}'
row = { id = 1, price = "9.50", placed_at = 2026-01-01T00:00:00Z, tenant = "north", tags = ["x", 1] }
null = ["note"]
id = "a"

[[case]]
name = "a body as a table"
body = { event = "e", id = 2, price = 1 }
row = { id = 2, price = 1 }
default = ["note"]
id = "e"

[[case]]
name = "out of a file"
message = "message.json"
row = { id = 3, price = 0.5, tenant = "south" }

[[case]]
name = "too long"
headers = { tenant = "longer" }
body = { event = "e", id = 1, price = 1 }
rejected = { class = "mapping", code = "too_long", column = "tenant" }

[[case]]
name = "lossy"
body = { event = "e", id = 1, price = 1.005 }
rejected = { code = "lossy", column = "price" }

[[case]]
name = "not JSON"
body = "{"
rejected = { class = "decode" }
"#;

async fn run(config: &str, cases: &str, more: &[&str]) -> Exit {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cases.toml"), cases).unwrap();
    let message =
        r#"{"properties": {"message_id": "m"}, "headers": {"tenant": "south"}, "body": {"id": 3, "price": 0.50}}"#;
    std::fs::write(folder.path().join("message.json"), message).unwrap();
    // By its folder, which has a file in it that isn't one of cases.
    let path = folder.path().to_str().unwrap();
    Worker::command(config, [&["test", path], more].concat()).wait().await
}

#[tokio::test]
async fn cases_pass_alike_for_every_database_without_a_server() {
    for database in ["postgres://u@nowhere.invalid/d", "mysql://u@nowhere.invalid/d", "sqlite:///nowhere/at/all.db"] {
        // SQLite holds nobody to a text's length.
        let cases = match database.starts_with("sqlite") {
            false => format!("{COLUMNS}{GOOD}"),
            true => {
                let (before, rest) = GOOD.split_once("[[case]]\nname = \"too long\"").unwrap();
                format!("{COLUMNS}{before}{}", &rest[rest.find("[[case]]").unwrap()..])
            }
        };
        let exit = run(&config(database), &cases, &[]).await;
        assert_eq!(exit.code, Some(0), "{database}: {}{}", exit.stdout, exit.stderr);
        assert!(exit.stdout.contains(" passed, 0 failed"), "{}", exit.stdout);
    }
}

#[tokio::test]
async fn what_is_otherwise_than_expected_is_told() {
    let config = config("postgres://u@nowhere.invalid/d");
    for (case, said) in [
        ("row = { id = 2, price = 1 }", "column id: expected 2, found 1"),
        ("row = { id = 1 }", "column price: expected nothing, found 1"),
        ("row = { id = 1, price = 1, nothing = 1 }", "column nothing: nothing is mapped to it"),
        ("row = { id = 1, price = 1 }\nnull = [\"note\"]", "column note: expected NULL, found DEFAULT"),
        ("row = { id = 1, price = 1 }\nid = \"other\"", "message ID: expected \"other\", found e"),
        ("rejected = {}", "expected a rejection, found a row"),
        ("", "it expects nothing"),
    ] {
        let cases = format!("{COLUMNS}[[case]]\nname = \"c\"\nbody = {{ event = \"e\", id = 1, price = 1 }}\n{case}\n");
        let exit = run(&config, &cases, &[]).await.expect(1);
        assert!(exit.stdout.contains(said) && exit.stdout.contains("0 passed, 1 failed"), "{case}: {}", exit.stdout);
        let json = run(&config, &cases, &["--json"]).await.expect(1);
        let line: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!((&line["passed"], &line["case"]), (&false.into(), &"c".into()), "{line}");
    }
    let refused = format!("{COLUMNS}[[case]]\nname = \"c\"\nbody = \"[\"\nrow = {{ id = 1 }}\n");
    let exit = run(&config, &refused, &[]).await.expect(1);
    assert!(exit.stdout.contains("expected a row, found a rejection: decode not_json: "), "{}", exit.stdout);
    assert_eq!(exit.stdout.matches("not JSON").count(), 1, "said once: {}", exit.stdout);
    let wrong = "[[case]]\nname = \"c\"\nbody = \"{}\"\nrejected = { class = \"mapping\", code = \"required\", column = \"x\" }\n";
    let exit = run(&config, &format!("{COLUMNS}{wrong}"), &[]).await.expect(1);
    assert!(exit.stdout.contains("code: expected required, found no_message_id"), "{}", exit.stdout);
}

#[tokio::test]
async fn what_is_no_case_ends_with_2() {
    let config = config("postgres://u@nowhere.invalid/d");
    for (cases, said) in [
        ("[columns]\nid = \"bigint\"\n", "case"),
        ("[columns]\nid = \"bigimt\"\n[[case]]\nname = \"c\"\n", "column id: the type \"bigimt\" isn't known here"),
        ("[columns]\nid = \"bigint\"\n[[case]]\nname = \"c\"\n", "column price is not in table orders"),
        ("pipeline = \"ordres\"\n[columns]\n[[case]]\nname = \"c\"\n", "orders"),
        ("[columns]\n[[case]]\nname = \"c\"\nrwo = {}\n", "cases.toml:4:1: unknown field `rwo`"),
        ("[columns]\n[[case]]\nname = \"c\"\nrejectd = {}\n", "did you mean `rejected`?"),
    ] {
        let exit = run(&config, cases, &[]).await.expect(2);
        assert!(exit.stderr.contains(said), "{cases}: {}", exit.stderr);
    }
}

/// Enums and domains of the users' own, by what they stand for.
#[tokio::test]
async fn types_of_ones_own_are_judged_by_what_they_stand_for() {
    let config = "[database]\nurl = \"postgres://u@nowhere.invalid/d\"\n[pipelines.orders]\nqueue = \"q\"\n\
                  table = \"orders\"\ndeduplicate = \"none\"\n";
    let columns = "[types]\nOrder_State = \"enum('open', 'paid')\"\nemail = \"varchar(5)\"\n\
                   [columns]\nstate = \"order_state NOT NULL\"\nemail = \"email\"\n";
    let cases = "[[case]]\nname = \"fits\"\nbody = { state = \"paid\", email = \"a@b.c\" }\nrow = { state = \"paid\", email = \"a@b.c\" }\n\
                 [[case]]\nname = \"no label\"\nbody = { state = \"lost\" }\nrejected = { class = \"mapping\", column = \"state\" }\n\
                 [[case]]\nname = \"too long\"\nbody = { state = \"open\", email = \"a@b.cd\" }\nrejected = { code = \"too_long\" }\n";
    run(config, &format!("{columns}{cases}"), &[]).await.expect(0);
    let unknown = columns.replace("Order_State", "other");
    let exit = run(config, &format!("{unknown}{cases}"), &[]).await.expect(2);
    assert!(
        exit.stderr.contains("the type \"order_state\" isn't known here") && exit.stderr.contains("[types]"),
        "{}",
        exit.stderr
    );
}

/// The page's own example does what it says.
#[tokio::test]
async fn the_documented_cases_pass() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/check.md")).unwrap();
    let start = page.find("```text\npipeline").unwrap() + "```text\n".len();
    let cases = &page[start..start + page[start..].find("```").unwrap()];
    let config = "[database]\nurl = \"postgres://u@h/d\"\n[pipelines.orders]\nqueue = \"q\"\ntable = \"orders\"\n";
    let exit = run(config, cases, &[]).await;
    assert_eq!((exit.code, exit.stdout.lines().last()), (Some(0), Some("2 passed, 0 failed")), "{exit:?}");
}
