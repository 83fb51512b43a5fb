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

/// Spans a second, and what one costs the gate.
pub async fn measure(senders: usize, span: Duration) {
    let body = Bytes::from(messages::request(RESOURCES, SPANS).encode_to_vec());
    let (port, arrived) = backend(body.clone()).await;
    let config = gate::traces_config(port);
    let gate = Gate::start(&config).await;
    push(&body, gate.ingest, senders, Duration::from_secs(1)).await;
    let (work, begin) = (gate.processor_time(), Instant::now());
    let sent = push(&body, gate.ingest, senders, span).await;
    let took = begin.elapsed();
    let work = gate.processor_time() - work;
    gate.books_balance().await;
    let spans = sent * u64::from(RESOURCES) * u64::from(SPANS);
    println!(
        "traces: {:.0} spans/s, {:.0} MB/s, {:.2?} of processor time a span, {} requests arrived unchanged; {} MiB at most",
        spans as f64 / took.as_secs_f64(),
        (sent * body.len() as u64) as f64 / took.as_secs_f64() / 1e6,
        work / u32::try_from(spans).unwrap().max(1),
        arrived.load(Ordering::Relaxed),
        gate.status("VmHWM") >> 20
    );
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

/// So many senders at once; requests that were accepted.
async fn push(body: &Bytes, port: u16, senders: usize, span: Duration) -> u64 {
    let client = Client::new(Protocol::Http, &ClientSettings::default()).unwrap();
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..senders {
        let (client, body) = (client.clone(), body.clone());
        running.spawn(async move {
            let uri = format!("http://127.0.0.1:{port}/v1/traces").parse().unwrap();
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
            let mut accepted = 0;
            while begin.elapsed() < span {
                let answer = client.post(&uri, headers.clone(), body.clone()).await.unwrap();
                accepted += u64::from(answer.status.is_success());
            }
            accepted
        });
    }
    running.join_all().await.into_iter().sum()
}
