//! Webhooks, against a server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;

use super::*;
use crate::pipeline::plan::Webhook;
use crate::pipeline::units::Secret;

/// What a server got, and how often it still says no.
#[derive(Default)]
struct Server {
    got: Mutex<Vec<(HeaderMap, Value)>>,
    refuses: AtomicUsize,
    status: StatusCode,
}

async fn serve(server: Arc<Server>) -> SocketAddr {
    let hear = async |State(server): State<Arc<Server>>, headers: HeaderMap, body: String| {
        server
            .got
            .lock()
            .unwrap()
            .push((headers, serde_json::from_str(&body).unwrap()));
        let refuses = server.refuses.load(Ordering::SeqCst);
        if refuses > 0 {
            server.refuses.store(refuses - 1, Ordering::SeqCst);
            return server.status;
        }
        StatusCode::NO_CONTENT
    };
    let router = Router::new().route("/alerts", post(hear)).with_state(server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn webhook(url: &str) -> Webhook {
    Webhook {
        url: Secret::new(url),
        headers: BTreeMap::from([("authorization".to_owned(), Secret::new("Bearer hunter2"))]),
        ca_file: None,
        proxy_url: None,
        timeout: Duration::from_secs(60),
    }
}

fn alert() -> Alert {
    let bench = Bench::of(terms(AtCeiling::Thin));
    bench.sent("shop", 850);
    let telling = bench.ledger.look(&bench.spending, at("2026-06-30", 5.0));
    telling[0].alert.clone()
}

#[tokio::test]
async fn an_alert_arrives_with_its_numbers_and_the_secret_header() {
    let server = Arc::new(Server::default());
    let address = serve(server.clone()).await;
    let hook = Hook::new(&webhook(&format!("http://{address}/alerts"))).unwrap();
    hook.tell(&alert()).await.unwrap();
    let got = server.got.lock().unwrap();
    let [(headers, body)] = got.as_slice() else {
        panic!("{got:?}")
    };
    assert_eq!(headers["authorization"], "Bearer hunter2");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["idempotency-key"], body["id"].as_str().unwrap());
    let expected = serde_json::json!({
        "id": "budget/2026-06-01/1000 USD/actual/0.8",
        "alert": "actual",
        "at": 0.8,
        "processor": "budget",
        "tenant": null,
        "month": { "from": "2026-06-01", "until": "2026-07-01" },
        "unit": "USD",
        "ceiling": 1_000.0,
        "spent": 850.0,
        "forecast": null,
        "action": "free",
        "text": "budget: 80 % of the ceiling is spent: 850 of 1000 USD since 2026-06-01",
    });
    assert_eq!(*body, expected);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_again_while_that_may_help_and_not_for_ever() {
    for (status, refuses, requests, arrives) in [
        (StatusCode::SERVICE_UNAVAILABLE, 3, 4, true),
        (StatusCode::TOO_MANY_REQUESTS, 1, 2, true),
        (StatusCode::INTERNAL_SERVER_ERROR, 1_000, 10, false),
        (StatusCode::NOT_FOUND, 1, 1, false),
        (StatusCode::FOUND, 1, 1, false),
    ] {
        let refuses = AtomicUsize::new(refuses);
        let server = Arc::new(Server {
            refuses,
            status,
            ..Server::default()
        });
        let address = serve(server.clone()).await;
        let hook = Hook::new(&webhook(&format!("http://{address}/alerts"))).unwrap();
        let told = hook.tell(&alert()).await;
        assert_eq!(told.is_ok(), arrives, "{status}: {told:?}");
        let got = server.got.lock().unwrap();
        assert_eq!(got.len(), requests, "{status}");
        let ids: BTreeSet<&str> = got.iter().map(|(_, body)| body["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1, "the same alert goes by the same name");
    }
}

#[test]
fn addresses_that_no_webhook_has_are_refused_and_none_is_quoted() {
    for (url, why) in [
        ("alerts.example.com/hunter2", "not a URL"),
        ("ftp://example.com/hunter2", "begins with http"),
        ("https://hunter2@example.com/", "credentials"),
        ("http://169.254.169.254/latest/hunter2", "link-local"),
        ("http://[fd00:ec2::254]/hunter2", "link-local"),
        ("", "not a URL"),
    ] {
        let wrong = Hook::new(&webhook(url)).err().unwrap();
        assert_eq!(wrong.path, "url", "{url}");
        assert!(
            wrong.message.contains(why) && !wrong.message.contains("hunter2"),
            "{url}: {wrong}"
        );
    }
    assert!(Hook::new(&webhook("http://localhost:9093/api/v2/alerts")).is_ok());
    let mut with_file = webhook("https://alerts.example.com");
    with_file.ca_file = Some("/nowhere/ca.pem".into());
    assert_eq!(Hook::new(&with_file).err().unwrap().path, "ca_file");
    let mut with_header = webhook("https://alerts.example.com");
    with_header
        .headers
        .insert("not a name".to_owned(), Secret::new("hunter2"));
    assert_eq!(Hook::new(&with_header).err().unwrap().path, "headers.not a name");
}

#[test]
fn what_was_not_told_before_the_end_is_told_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let bench = Bench::of(Terms {
            storage: folder.path().to_owned(),
            webhook: Some(webhook("http://127.0.0.1:1")),
            ..terms(AtCeiling::Stop)
        });
        let plans = vec![bench.plan.clone()];
        bench.ledger.prepare(&plans, at("2026-06-10", 1.0)).unwrap();
        // as it is done at the start and at every reload
        bench.ledger.follow(plans, at("2026-06-10", 1.0));
        bench
    };
    let first = open();
    let raised = first.look(1_000, at("2026-06-10", 1.0));
    assert_eq!(raised.len(), 2);
    drop(first);
    let second = open();
    assert_eq!(second.look(0, at("2026-06-10", 2.0)), raised);
    assert_eq!(second.look(0, at("2026-06-10", 3.0)), [""; 0], "it is on its way");
}

#[test]
fn a_ceiling_that_is_lowered_below_what_is_spent_is_told() {
    let bench = Bench::of(terms(AtCeiling::AlertOnly));
    assert_eq!(bench.look(500, at("2026-06-28", 1.0)), [""; 0]);
    let lowered = Plan::new(
        "budget".into(),
        Terms {
            ceiling: usd(100.0),
            ..terms(AtCeiling::AlertOnly)
        },
    );
    bench.ledger.follow(vec![lowered.into()], at("2026-06-28", 1.1));
    assert_eq!(bench.look(0, at("2026-06-28", 1.2)).len(), 2);
}
