//! Who may order: the token over TCP, the worker's user over its Unix socket, and no web page at all.

use std::net::SocketAddr;

use rabbit_sink::admin::{self, Listener, Socket};
use rabbit_sink::config::AdminSocket;
use rabbit_sink::status::{Pause, Resume, Scope, State};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::metrics::samples;
use super::{Answer, TOKEN, Worker, ask};

#[tokio::test]
async fn resume_reaches_a_paused_pipeline_only() {
    let worker = Worker::start().await;
    let orders = worker.orders();
    let running = worker.post("/pipelines/orders/resume").await;
    assert_eq!(running.code, 409, "{}", running.body);
    assert_eq!(orders.orders().borrow().number, 0);
    orders.update(1, |consumer| consumer.state = State::Paused);
    let resumed = worker.post("/pipelines/orders/resume").await;
    assert_eq!((resumed.code, resumed.json()), (200, json!({"pipeline": "orders", "resumed": "retry"})));
    assert_eq!((orders.orders().borrow().number, orders.orders().borrow().resume), (1, Some(Resume::Retry)));
    assert_eq!(worker.post("/pipelines/orders/resume?dead_letter=true").await.code, 200);
    assert_eq!((orders.orders().borrow().number, orders.orders().borrow().resume), (2, Some(Resume::DeadLetter)));
    for wrong in ["?dead_letter=perhaps", "?deadletter=true"] {
        let refused = worker.post(&format!("/pipelines/orders/resume{wrong}")).await;
        assert_eq!(refused.code, 400, "{wrong}: a slip must not be another order");
    }
    assert_eq!(worker.get("/pipelines/orders/resume").await.code, 405);
    assert_eq!(orders.orders().borrow().number, 2);
}

#[tokio::test]
async fn a_pause_says_who_and_why_until_it_is_lifted() {
    let worker = Worker::start().await;
    let orders = worker.orders();
    let paused = worker.post_body("/pipelines/orders/pause", r#"{"by": "ann", "reason": "new index\nsoon"}"#).await;
    assert_eq!(paused.code, 200, "{}", paused.body);
    let order = orders.pauses().borrow().worker.clone().unwrap();
    assert_eq!((order.by.as_str(), order.reason.as_str()), ("ann", "new index soon"));
    let report = &worker.get("/status").await.json()["pipelines"][1]["pauses"][0];
    assert_eq!(
        (&report["scope"], &report["by"], &report["reason"]),
        (&json!("worker"), &json!("ann"), &json!("new index soon"))
    );
    assert!(report["since"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{report}");
    let info = r#"rabbit_sink_pause_info{pipeline="orders",scope="worker",by="ann",reason="new index soon"}"#;
    assert!(samples(&worker.get("/metrics").await.body).contains(&(info.to_owned(), 1.0)));
    // Also while it still settles what is in hand.
    assert_eq!(worker.post("/pipelines/orders/resume").await.code, 200);
    assert_eq!(orders.pauses().borrow().worker, None);
    assert!(!worker.get("/metrics").await.body.contains("rabbit_sink_pause_info{"));
    assert_eq!(worker.post("/pipelines/orders/pause").await.code, 200);
    assert_eq!(orders.pauses().borrow().worker.clone().unwrap().by, "127.0.0.1", "who doesn't say");
    for wrong in ["pause", "{\"until\": \"noon\"}", "{\"by\": 7}"] {
        assert_eq!(worker.post_body("/pipelines/customers/pause", wrong).await.code, 400, "{wrong}");
    }
    assert_eq!(worker.post("/pipelines/ordres/pause").await.code, 404);
    assert_eq!(worker.get("/pipelines/orders/pause").await.code, 405);
}

#[tokio::test]
async fn orders_over_tcp_need_the_token_as_it_is_now() {
    let worker = Worker::start().await;
    let port = worker.address.port();
    let order = async |authorization: &str| {
        let head = format!("POST /pipelines/orders/pause HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n");
        worker.ask(&format!("{head}{authorization}\r\n")).await
    };
    for wrong in [
        "",
        "Authorization: Bearer \r\n",
        "Authorization: Basic x\r\n",
        "Authorization: Bearer a-token-of-the-test\r\n",
    ] {
        let refused = order(wrong).await;
        assert_eq!(refused.code, 401, "{wrong}");
        assert!(refused.head.contains("www-authenticate: bearer") && !refused.body.contains(TOKEN), "{}", refused.body);
    }
    assert_eq!(order(&format!("Authorization: bearer {TOKEN}\r\n")).await.code, 200);
    worker.token.send_replace(Some(rabbit_sink::config::Secret::new("the-next-one-of-them")));
    assert_eq!(order(&format!("Authorization: Bearer {TOKEN}\r\n")).await.code, 401, "an old one");
    worker.token.send_replace(None);
    let refused = order("Authorization: Bearer \r\n").await;
    assert_eq!(refused.code, 403);
    assert!(refused.body.contains("token_file") && refused.body.contains("socket"), "{}", refused.body);
    assert_eq!(worker.get("/status").await.code, 200, "reading needs none");
}

async fn ask_socket(at: &AdminSocket, request: &str) -> Answer {
    let AdminSocket::Path(path) = at else { panic!("no path") };
    let mut stream = UnixStream::connect(path).await.unwrap();
    let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { code, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

#[tokio::test]
async fn the_socket_takes_orders_of_its_own_user_without_a_token() {
    let worker = Worker::start().await;
    let folder = tempfile::tempdir().unwrap();
    let at = AdminSocket::Path(folder.path().join("admin.sock"));
    let (_, token) = watch::channel(None);
    let socket = Listener::Unix(Socket::bind(&at).unwrap());
    let served = tokio::spawn(admin::serve(socket, worker.status.clone(), token, std::future::pending()));
    assert_eq!(ask_socket(&at, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.code, 200);
    let order = "POST /pipelines/orders/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask_socket(&at, order).await.code, 200);
    assert!(worker.orders().pauses().borrow().worker.clone().unwrap().by.starts_with("uid "));
    served.abort();
    assert!(served.await.unwrap_err().is_cancelled());
    let AdminSocket::Path(path) = &at else { panic!("no path") };
    assert!(!path.exists(), "the file is gone with it");
}

/// What a page can make a browser send without asking first: a form, or a script's simple request.
#[tokio::test]
async fn a_page_cannot_order_anything_whatever_it_sends() {
    let worker = Worker::start().await;
    worker.orders().update(0, |consumer| consumer.state = State::Paused);
    let port = worker.address.port();
    for token in [None, Some(rabbit_sink::config::Secret::new(TOKEN))] {
        worker.token.send_replace(token);
        for path in ["/pipelines/orders/resume", "/pipelines/orders/resume?dead_letter=true", "/pipelines/orders/pause"]
        {
            for kind in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"] {
                for page in [
                    "Origin: http://other.example",
                    "Origin: null",
                    "Origin: http://localhost:3000",
                    "Referer: http://other.example/",
                ] {
                    let head =
                        format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{page}\r\nContent-Type: {kind}");
                    let answer = worker.ask(&format!("{head}\r\nCookie: a=b\r\nContent-Length: 2\r\n\r\n{{}}")).await;
                    assert!(matches!(answer.code, 401 | 403), "{path} {kind} {page}: {}", answer.code);
                }
            }
            // What a browser asks before it would send a header of the page's: nobody says yes.
            let ask = format!(
                "OPTIONS {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://localhost:3000\r\nAccess-Control-Request-Headers: authorization\r\n\r\n"
            );
            let answer = worker.ask(&ask).await;
            assert!(!answer.head.contains("access-control-allow"), "{}", answer.head);
        }
    }
    assert_eq!(worker.orders().orders().borrow().number, 0, "no order got through");
    assert_eq!(worker.orders().pauses().borrow().worker, None, "no order got through");
}

#[tokio::test]
async fn a_page_of_another_site_is_refused() {
    let worker = Worker::start().await;
    worker.orders().update(0, |consumer| consumer.state = State::Paused);
    let port = worker.address.port();
    for path in ["GET /status", "GET /metrics", "GET /livez", "POST /pipelines/orders/resume"] {
        for host in ["rebound.example", &format!("rebound.example:{port}"), "127.0.0.1.example"] {
            let answer = worker.ask(&format!("{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n")).await;
            assert_eq!(answer.code, 403, "{path} {host}");
            assert!(!answer.body.contains("orders"), "{}", answer.body);
        }
        let origin = format!("Origin: http://other.example\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0");
        let answer = worker.ask(&format!("{path} HTTP/1.1\r\nHost: localhost:{port}\r\n{origin}\r\n\r\n")).await;
        assert_eq!(answer.code, 403, "{path}");
    }
    assert_eq!(worker.ask("GET /status HTTP/1.0\r\n\r\n").await.code, 403, "no host at all");
    assert_eq!(worker.orders().orders().borrow().number, 0, "no order got through");
    let own = format!("GET /status HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n\r\n");
    assert_eq!(worker.ask(&own).await.code, 200);
}

#[tokio::test]
async fn a_listener_on_all_addresses_is_read_by_any_name_and_ordered_with_the_token() {
    let worker = Worker::start_on("0.0.0.0:0").await;
    worker.orders().update(0, |consumer| consumer.state = State::Paused);
    assert_eq!(worker.ask("GET /livez HTTP/1.1\r\nHost: pod-7.example\r\n\r\n").await.code, 200);
    let order = "POST /pipelines/orders/resume HTTP/1.1\r\nContent-Length: 0\r\nHost: pod-7.example\r\n";
    let with_token = format!("{order}Authorization: Bearer {TOKEN}\r\n\r\n");
    assert_eq!(worker.ask(&format!("{order}\r\n")).await.code, 401);
    assert_eq!(worker.ask(&with_token).await.code, 200);
    // The same from another address of this machine, where it has one: not a loopback peer.
    let Some(own) = other_address() else { return };
    let outside = SocketAddr::new(own, worker.address.port());
    assert_eq!(ask(outside, &format!("{order}\r\n")).await.code, 401);
    assert_eq!(ask(outside, &with_token).await.code, 200);
    assert_eq!(ask(outside, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.code, 200);
}

/// The address that this machine would send from; nothing is sent.
fn other_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[tokio::test]
async fn what_is_paused_everywhere_is_not_resumed_here() {
    let worker = Worker::start().await;
    let pause = Pause::new(Scope::All, "ann", "audit", jiff::Timestamp::now());
    worker.orders().pause_everywhere(Some(pause));
    let refused = worker.post("/pipelines/orders/resume").await;
    assert_eq!(refused.code, 409);
    assert!(
        refused.body.contains("paused on every replica by ann: audit") && refused.body.contains("--all"),
        "{}",
        refused.body
    );
    assert_eq!(worker.get("/status").await.json()["pipelines"][1]["pauses"][0]["scope"], "all");
    worker.orders().pause_everywhere(None);
    assert_eq!(worker.post("/pipelines/orders/resume").await.code, 409, "it isn't paused");
}
