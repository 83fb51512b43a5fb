//! Spans through a pipeline of traces, as many as it takes: from OTLP over HTTP to OTLP over HTTP, each request as the bytes that came.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use flamegate::net::client::{Client, ClientSettings, Protocol};
use http::{HeaderMap, HeaderValue};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::gate::{self, Gate};
use crate::messages;

const RESOURCES: u8 = 4;
const SPANS: u8 = 128;
/// Spans a second where as many come as should pass.
const RATE: f64 = 50_000.0;

/// Spans a second, and what one costs the gate: as many as pass, and so many for each of which there is time to wait.
pub async fn measure(senders: usize, span: Duration) {
    let ways = [
        ("alone", None, None),
        ("span_profiles that holds nothing", Some("{hold: 0s}"), None),
        ("span_profiles", Some("{hold: 1s}"), None),
        ("span_profiles, at a rate", Some("{hold: 1s}"), Some(RATE)),
    ];
    for (name, processor, rate) in ways {
        let body = Bytes::from(messages::request(RESOURCES, SPANS).encode_to_vec());
        let (port, arrived) = backend(body.clone()).await;
        let config = gate::traces_config(port, processor);
        let gate = Gate::start(&config).await;
        let warm = push(&body, gate.ingest, senders, rate, Duration::from_secs(1)).await;
        let (work, begin) = (gate.processor_time(), Instant::now());
        let sent = push(&body, gate.ingest, senders, rate, span).await;
        let took = begin.elapsed();
        let all = warm + sent;
        let patience = Instant::now() + Duration::from_secs(20);
        while arrived.load(Ordering::Relaxed) < all && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let work = gate.processor_time() - work;
        gate.books_balance().await;
        let each = u64::from(RESOURCES) * u64::from(SPANS);
        println!(
            "traces, {name}: {:.0} spans/s, {:.0} MB/s, {:.2?} of processor time a span, {} of {all} requests arrived, unchanged; {} MiB at most",
            (sent * each) as f64 / took.as_secs_f64(),
            (sent * body.len() as u64) as f64 / took.as_secs_f64() / 1e6,
            work / u32::try_from(sent * each).unwrap().max(1),
            arrived.load(Ordering::Relaxed),
            gate.status("VmHWM") >> 20
        );
    }
}

/// A backend that holds what comes to what was sent.
async fn backend(expected: Bytes) -> (u16, Arc<AtomicU64>) {
    let arrived: Arc<AtomicU64> = Arc::default();
    let counter = arrived.clone();
    let take = async move |body: Bytes| {
        assert!(body == expected, "a request was changed on the way");
        counter.fetch_add(1, Ordering::Relaxed);
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/v1/traces", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (port, arrived)
}

/// So many senders at once, or as many as make that many spans a second; requests that were accepted.
async fn push(body: &Bytes, port: u16, senders: usize, rate: Option<f64>, span: Duration) -> u64 {
    let client = Client::new(Protocol::Http, &ClientSettings::default()).unwrap();
    let begin = Instant::now();
    let mut running = JoinSet::new();
    let pause = rate.map(|rate| senders as f64 * f64::from(RESOURCES) * f64::from(SPANS) / rate);
    for _ in 0..senders {
        let (client, body) = (client.clone(), body.clone());
        running.spawn(async move {
            let uri = format!("http://127.0.0.1:{port}/v1/traces").parse().unwrap();
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
            let (mut accepted, mut number) = (0, 0.0);
            while begin.elapsed() < span {
                if let Some(pause) = pause {
                    let due = Duration::from_secs_f64(number * pause);
                    tokio::time::sleep(due.saturating_sub(begin.elapsed())).await;
                    number += 1.0;
                }
                let answer = client.post(&uri, headers.clone(), body.clone()).await.unwrap();
                accepted += u64::from(answer.status.is_success());
            }
            accepted
        });
    }
    running.join_all().await.into_iter().sum()
}
