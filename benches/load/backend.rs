//! Backends: one that takes everything and says how old it was, one that hardly reads.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use flamegate::formats::{Limits, otlp};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// A backend that takes OTLP over HTTP.
pub struct Backend {
    /// Where.
    pub port: u16,
    ages: Arc<Mutex<Vec<Duration>>>,
}

impl Backend {
    /// Starts it.
    pub async fn start() -> Self {
        let ages: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let seen = ages.clone();
        let take = async move |body: Bytes| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let sent = sent_at(&body);
            seen.lock().unwrap().push(now.saturating_sub(sent));
        };
        let router = Router::new().route("/v1development/profiles", post(take));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, ages }
    }

    /// The ages of what has arrived since the last call, `patience` from now.
    pub async fn arrived_within(&self, patience: Duration) -> Vec<Duration> {
        tokio::time::sleep(patience).await;
        std::mem::take(&mut *self.ages.lock().unwrap())
    }
}

/// When the sender sent it: the label `t`, in nanoseconds.
fn sent_at(body: &Bytes) -> Duration {
    let decoded = otlp::decode(body, &Limits::default(), otlp::WireVersion::default()).unwrap();
    let d = decoded.profiles.dictionary();
    let resource = &decoded.profiles.resources()[0];
    let nanos = resource.attribute_str(d, "t").unwrap().parse().unwrap();
    Duration::from_nanos(nanos)
}

/// A backend that reads a byte a second and never answers.
pub async fn slow() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while stream.read_u8().await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            });
        }
    });
    port
}
