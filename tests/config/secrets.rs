//! Logins get where they belong, and nowhere else.

use std::io::Write as _;

use rabbit_sink::config::Config;

use crate::{bad, bad_env, good, good_env, with};

fn file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

fn urls(config: &Config) -> Vec<&str> {
    config.brokers["default"].urls.iter().map(|url| url.reveal()).collect()
}

#[test]
fn virtual_hosts() {
    let of = |url: &str| {
        let config = good(&with(&format!("[rabbitmq]\nurl = \"{url}\"")));
        config.brokers["default"].urls[0].reveal().to_owned()
    };
    assert_eq!(of("amqp://h"), "amqp://h/%2f");
    assert_eq!(of("amqp://h/"), "amqp://h/%2f");
    assert_eq!(of("amqp://h/%2f"), "amqp://h/%2f");
    assert_eq!(of("amqps://u:p@h:1/shop?frame_max=9000"), "amqps://u:p@h:1/shop?frame_max=9000");
    // As the client library reads them.
    for (url, vhost) in [("amqp://h", "/"), ("amqp://h/", "/"), ("amqp://h/%2F", "/"), ("amqp://h/a%20b", "a b")] {
        let parsed: lapin::uri::AMQPUri = of(url).parse().unwrap();
        assert_eq!(parsed.vhost, vhost, "{url}");
    }
    // Why IPv6 addresses are refused: the library would log in elsewhere.
    let parsed: lapin::uri::AMQPUri = "amqp://u:p@[fe80::1]/".parse().unwrap();
    assert_eq!(parsed.authority.host, "localhost");
}

#[test]
fn logins_are_encoded_for_the_drivers() {
    let hard = "p@s:s/w?o#r%41d ü$";
    let password = file(&format!("{hard}\n"));
    let path = password.path().display();
    let text = with(&format!(
        "[rabbitmq]\nurls = [\"amqp://guest:guest@a\", \"amqp://b/v\"]\nusername = \"a@b\"\npassword_file = \"{path}\"\n\
         management_url = \"http://m:15672\"\n\
         [database]\nurl = \"postgres://u@h/d\"\npassword_file = \"{path}\"\n\
         [databases.my]\nurl = \"mysql://h/d\"\nusername = \"u/1\"\npassword_file = \"{path}\"\n\
         [databases.socket]\nurl = \"postgres:///d?host=/run/postgresql\"\nusername = \"u\"\npassword_file = \"{path}\""
    ));
    let config = good(&text);
    for url in urls(&config) {
        let parsed: lapin::uri::AMQPUri = url.parse().unwrap();
        assert_eq!(parsed.authority.userinfo.username, "a@b");
        assert_eq!(parsed.authority.userinfo.password, hard);
    }
    let management = url::Url::parse(config.brokers["default"].management_url.as_ref().unwrap().reveal()).unwrap();
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    assert_eq!((decode(management.username()), decode(management.password().unwrap())), ("a@b".into(), hard.into()));
    for (name, user) in [("default", "u"), ("my", "u/1")] {
        let url = url::Url::parse(config.databases[name].url.reveal()).unwrap();
        assert_eq!((decode(url.username()), decode(url.password().unwrap())), (user.into(), hard.into()), "{name}");
    }
    let socket = url::Url::parse(config.databases["socket"].url.reveal()).unwrap();
    let query: Vec<(String, String)> = socket.query_pairs().into_owned().collect();
    assert_eq!(query[1..], [("user".into(), "u".into()), ("password".into(), hard.into())]);
    use sqlx::ConnectOptions as _;
    let options: sqlx::postgres::PgConnectOptions = config.databases["default"].url.reveal().parse().unwrap();
    let back = options.to_url_lossy();
    assert_eq!(decode(back.password().unwrap()), hard, "as the driver reads it");
}

#[test]
fn files_lose_one_line_break_only() {
    for (content, expected) in [("x\n", "x"), ("x\r\n", "x"), ("x", "x"), ("x\n\n", "x%0A"), (" x ", "%20x%20")] {
        let password = file(content);
        let text = format!("[rabbitmq]\nurl = \"amqp://u@h/v\"\npassword_file = \"{}\"", password.path().display());
        assert_eq!(urls(&good(&with(&text))), [format!("amqp://u:{expected}@h/v")], "{content:?}");
    }
    let url = file("amqp://u:p@h/v\n");
    let config = good(&with(&format!("[rabbitmq]\nurl_file = \"{}\"", url.path().display())));
    assert_eq!(urls(&config), ["amqp://u:p@h/v"]);
}

#[test]
fn unreadable_files_are_named() {
    let said = bad(&with("[database]\nurl = \"mysql://h/d\"\npassword_file = \"/nope/pw\"")).to_string();
    assert!(
        said.contains("test.toml:6:17: database.password_file: can't read the secret from /nope/pw: No such"),
        "{said}"
    );
    let empty = file("\n");
    let said = bad(&with(&format!("[database]\nurl_file = \"{}\"", empty.path().display()))).to_string();
    assert!(said.contains("it is empty"), "{said}");
    let large = file(&"x".repeat(70_000));
    let said = bad(&with(&format!("[database]\nurl_file = \"{}\"", large.path().display()))).to_string();
    assert!(said.contains("larger than 64 KiB"), "{said}");
    let said =
        bad(&with("[database]\nurl = \"mysql://h/d\"\npassword = \"hunter2\"\npassword_file = \"/x\"")).to_string();
    assert!(said.contains("excludes `password`") && !said.contains("hunter2"), "{said}");
}

#[test]
fn debug_prints_show_none() {
    let text = with(
        "[rabbitmq]\nurl = \"amqp://u:hunter2@h\"\nmanagement_url = \"http://u:hunter2@h\"\n\
         [database]\nurl = \"mysql://h/d\"\npassword = \"hunter2\"",
    );
    let config = good(&text);
    assert!(config.databases["default"].url.reveal().contains("hunter2"));
    let printed = format!("{config:?} {config:#?}");
    assert!(!printed.contains("hunter2") && printed.contains("(secret)"), "{printed}");
}

#[test]
fn mistakes_show_none() {
    let cases = [
        "[rabbitmq]\nurl = \"http://u:hunter2@h\"",
        "[rabbitmq]\nurl = \"u:hunter2@h\"",
        "[rabbitmq]\nurl = \"amqp://u:hunter2@h:99999\" # was u:hunter2",
        "[rabbitmq]\nurls = [\"amqp://u:hunter2@h\", \"hunter2\"]",
        "[rabbitmq]\nurls = [\n\"amqp://u:hunter2@h?x=hunter2\",\n\"hunter2\"]",
        "[database]\nurl = \"postgres://u:hunter2@h/d?passwd=hunter2\"",
        "[database]\npasswrod = \"hunter2\"\nurl = \"mysql://h/d\"",
        "[database]\npassword = [\"hunter2\"]\nurl = \"mysql://h/d\"",
        "[database]\npassword = { a = \"hunter2\" }\nurl = \"mysql://h/d\"",
        "[databse]\npassword = \"hunter2\"",
        "rabbitmq = { url = \"amqp://u:hunter2@h\", hearbeat = 3 }",
        "[database]\nurl = \"mysql://h/d\"\npassword = \"hunter2",
        "[database]\nurl = \"mysql://h/d\"\npassword = hunter2",
        "[database]\nurl = \"mysql://h/d\"\npassword = \"\"\"\nhunter2",
        "[database]\npassword hunter2",
        "[database]\nurl = \"x://u:hunter2@h\" url = 1",
        "prefetch = \"${SECRET}\"",
        "storm.action = \"${SECRET}\"",
        "deduplicate = \"${SECRET}\"",
        "columns.a = \"${SECRET}\"",
        "message_id = [\"${SECRET}\"]",
        "broker = \"${SECRET}\"",
    ];
    for case in cases {
        let said = bad_env(&with(case), &[("SECRET", "hunter2")]).to_string();
        assert!(!said.contains("hunter2"), "for {case:?}\n{said}");
    }
    for (name, value) in [
        ("RABBIT_SINK__DATABASE__URL", "hunter2"),
        ("RABBIT_SINK__DATABASE__URL", "http://hunter2@x"),
        ("RABBIT_SINK__RABBITMQ__URLS", "[\"hunter2\", \"x://hunter2\"]"),
        ("RABBIT_SINK__DATABASE__PASSWRD", "hunter2"),
    ] {
        let said = bad_env(&with(""), &[(name, value)]).to_string();
        assert!(!said.contains("hunter2"), "for {name}\n{said}");
    }
    let url = file("hunter2\n");
    let said = bad(&with(&format!("[database]\nurl_file = \"{}\"", url.path().display()))).to_string();
    assert!(!said.contains("hunter2"), "{said}");
    good_env(&with(""), &[("SECRET", "hunter2")]);
}

/// A password that is rotated while the worker runs.
#[test]
fn logins_in_files_are_read_again_and_what_cannot_be_read_stays() {
    let (password, url, management) = (file("one\n"), file("postgres://u@h/d"), file("http://m:15672"));
    let text = with(&format!(
        "[rabbitmq]\nurl = \"amqp://u@h\"\npassword_file = \"{0}\"\nmanagement_url_file = \"{2}\"\n\
         [database]\nurl_file = \"{1}\"\npassword_file = \"{0}\"\n[databases.fixed]\nurl = \"mysql://u:p@h/d\"",
        password.path().display(),
        url.path().display(),
        management.path().display()
    ));
    let config = good(&text);
    let (broker, database) = (&config.brokers["default"], &config.databases["default"]);
    let login = |broker: &rabbit_sink::config::Broker| {
        let management = broker.management_url.as_ref().unwrap().reveal().to_owned();
        (broker.urls[0].reveal().to_owned(), management)
    };
    let one = ("amqp://u:one@h/%2f".to_owned(), "http://u:one@m:15672/".to_owned());
    assert_eq!((login(broker), database.url.reveal()), (one.clone(), "postgres://u:one@h/d"));
    let told = |unread: &Option<String>, words: &str| {
        let unread = unread.as_deref().unwrap();
        assert!(unread.contains(words) && !unread.contains("two"), "{unread}");
    };
    std::fs::write(password.path(), "t/wo").unwrap();
    assert_eq!(login(&broker.fresh().config), ("amqp://u:t%2Fwo@h/%2f".into(), "http://u:t%2Fwo@m:15672/".into()));
    assert_eq!(database.fresh().config.url.reveal(), "postgres://u:t%2Fwo@h/d");
    assert_eq!(config.databases["fixed"].fresh().config, config.databases["fixed"]);
    for (content, words) in [("mysql://u@h/d", "another kind"), ("postgers://two", "url_file"), ("", "it is empty")] {
        std::fs::write(url.path(), content).unwrap();
        let fresh = database.fresh();
        told(&fresh.unread, words);
        assert_eq!(fresh.config.url.reveal(), "postgres://u:one@h/d", "as it was");
    }
    std::fs::remove_file(password.path()).unwrap();
    let fresh = broker.fresh();
    told(&fresh.unread, &password.path().display().to_string());
    assert_eq!(login(&fresh.config), one);
}
