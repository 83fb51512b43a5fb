//! A Pyroscope server as far as its Push API: it remembers what it was sent, and refuses what a real one refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use prost::Message;

use crate::told_pprof::{self, Told};

const PATH: &str = "/push.v1.PusherService/Push";

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(bytes = "vec", tag = "1")]
    raw_profile: Vec<u8>,
}

/// One profile with the labels of its series.
#[derive(Debug)]
pub struct Pushed {
    pub labels: BTreeMap<String, String>,
    pub profile: Told,
    /// The pprof as it came.
    pub plain: Vec<u8>,
    /// When it was taken.
    pub millis: i64,
}

/// The server; it ends with the test's process.
pub struct Server {
    pub port: u16,
    seen: Arc<Mutex<Vec<Pushed>>>,
}

impl Server {
    pub fn start() -> Self {
        Self::slow(Duration::ZERO)
    }

    /// One that takes so long for each request.
    pub fn slow(pause: Duration) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let memory = seen.clone();
        let push = move |body: Bytes| async move {
            tokio::time::sleep(pause).await;
            let mut seen = memory.lock().unwrap();
            match take(&body, &seen) {
                Ok(pushed) => {
                    seen.extend(pushed);
                    (StatusCode::OK, String::new())
                }
                Err(why) => {
                    let error = serde_json::json!({ "code": "invalid_argument", "message": why });
                    (StatusCode::BAD_REQUEST, error.to_string())
                }
            }
        };
        let app = Router::new().route(PATH, post(push)).layer(DefaultBodyLimit::disable());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await
            })
        });
        Self { port, seen }
    }

    /// What it kept so far.
    pub fn seen(&self) -> std::sync::MutexGuard<'_, Vec<Pushed>> {
        self.seen.lock().unwrap()
    }
}

fn take(body: &[u8], seen: &[Pushed]) -> Result<Vec<Pushed>, String> {
    let request = Request::decode(body).map_err(|error| error.to_string())?;
    let mut pushed = Vec::new();
    for series in request.series {
        let count = series.labels.len();
        let labels: BTreeMap<_, _> = series
            .labels
            .into_iter()
            .map(|label| (label.name, label.value))
            .collect();
        if labels.len() < count {
            return Err("a label name twice".to_owned());
        }
        for name in ["__name__", "service_name"] {
            if labels.get(name).is_none_or(String::is_empty) {
                return Err(format!("no {name}"));
            }
        }
        for sample in series.samples {
            let plain = told_pprof::gunzip(&sample.raw_profile);
            let profile = told_pprof::tell(&plain);
            check(&labels, &plain, &profile)?;
            let one = Pushed {
                labels: labels.clone(),
                profile,
                millis: told_pprof::time(&plain) / 1_000_000,
                plain,
            };
            let is_same = |other: &Pushed| other.millis == one.millis && other.labels == one.labels;
            if seen.iter().chain(&pushed).any(is_same) {
                return Err("a series and time twice".to_owned());
            }
            pushed.push(one);
        }
    }
    Ok(pushed)
}

/// What a real server refuses by default; and samples without a stack, which it loses without a word, as one before 2.0
/// loses a profile of the same series and time.
fn check(labels: &BTreeMap<String, String>, plain: &[u8], profile: &Told) -> Result<(), String> {
    if profile
        .types
        .iter()
        .any(|kind| kind.split('/').next().unwrap().contains('-'))
    {
        return Err("sample type contains -".to_owned());
    }
    for sample in told_pprof::samples(plain) {
        if sample.frames == 0 {
            return Err("a sample without a stack".to_owned());
        }
        let own: BTreeSet<_> = sample
            .labels
            .iter()
            .filter(|name| !["trace_id", "span_id"].contains(&name.as_str()))
            .collect();
        let names: BTreeSet<_> = labels.keys().chain(own).collect();
        if names.len() > 30 {
            return Err(format!("{} label names; limit 30", names.len()));
        }
    }
    Ok(())
}
