//! Senders: as an SDK pushes, by `/ingest`.

use std::ops::AddAssign;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use flamegate::net::client::{Client, ClientSettings, Protocol};
use http::{HeaderMap, HeaderValue};
use tokio::task::JoinSet;

/// A sender gives up after this.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Requests without an answer that a sender at a fixed rate may have.
const OUTSTANDING: usize = 900;

/// Sends one recording again and again.
#[derive(Clone)]
pub struct Sender {
    client: Client,
    port: u16,
    body: Bytes,
    sent: Arc<AtomicU64>,
    restless: bool,
}

/// What became of requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Answered with 200.
    pub accepted: u64,
    /// Refused, with the time to come again.
    pub hinted: u64,
    /// Refused without it.
    pub unhinted: u64,
    /// Not answered: the connection broke, or no answer came in time.
    pub failed: u64,
    /// Not sent: too many requests had no answer yet.
    pub unsent: u64,
    took: Duration,
}

impl Tally {
    /// Accepted requests per second.
    pub fn per_second(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64()
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.hinted += other.hinted;
        self.unhinted += other.unhinted;
        self.failed += other.failed;
        self.unsent += other.unsent;
        self.took += other.took;
    }
}

impl Sender {
    /// To the gate on this port.
    pub fn new(port: u16) -> Self {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/go123-cpu-labels.pb.gz");
        Self {
            client: Client::new(Protocol::Http, &ClientSettings::default()).unwrap(),
            port,
            body: std::fs::read(data).unwrap().into(),
            sent: Arc::default(),
            restless: false,
        }
    }

    /// With another tenant each time, and new connections all the time.
    pub fn restless(self) -> Self {
        Self { restless: true, ..self }
    }

    /// One request; whether it was accepted.
    pub async fn send_one(&self) -> bool {
        let mut tally = Tally::default();
        self.send(&mut tally).await;
        tally.accepted == 1
    }

    async fn send(&self, tally: &mut Tally) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let uri = format!(
            "http://127.0.0.1:{}/ingest?name=load%7Bt%3D{now}%7D&from=1700000000&until=1700000010&format=pprof",
            self.port
        );
        let mut headers = HeaderMap::new();
        let n = self.sent.fetch_add(1, Ordering::Relaxed);
        if self.restless {
            headers.insert(
                "x-scope-orgid",
                HeaderValue::try_from(format!("tenant-{}", n % 1_000)).unwrap(),
            );
            if n.is_multiple_of(5) {
                headers.insert("connection", HeaderValue::from_static("close"));
            }
        }
        let uri = uri.parse().unwrap();
        let answer = tokio::time::timeout(TIMEOUT, self.client.post(&uri, headers, self.body.clone())).await;
        match answer {
            Ok(Ok(answer)) if answer.status.is_success() => tally.accepted += 1,
            Ok(Ok(answer)) if answer.headers.contains_key("retry-after") => tally.hinted += 1,
            Ok(Ok(_)) => tally.unhinted += 1,
            _ => tally.failed += 1,
        }
    }

    /// So many at once, each sending its next request when the last is answered.
    pub async fn at_once(&self, senders: usize, span: Duration) -> Tally {
        let begin = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..senders {
            let sender = self.clone();
            running.spawn(async move {
                let mut tally = Tally::default();
                while begin.elapsed() < span {
                    sender.send(&mut tally).await;
                }
                tally
            });
        }
        collect(running, Tally::default(), begin).await
    }

    /// So many a second, whatever is answered; one that finds too many without an answer is not sent.
    pub async fn at_rate(&self, rate: f64, span: Duration) -> Tally {
        let begin = Instant::now();
        let (mut running, mut total) = (JoinSet::new(), Tally::default());
        let mut due = 0u64;
        while begin.elapsed() < span {
            while (due as f64) < begin.elapsed().as_secs_f64() * rate {
                due += 1;
                while let Some(done) = running.try_join_next() {
                    total += done.unwrap();
                }
                if running.len() >= OUTSTANDING {
                    total.unsent += 1;
                    continue;
                }
                let sender = self.clone();
                running.spawn(async move {
                    let mut tally = Tally::default();
                    sender.send(&mut tally).await;
                    tally
                });
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        collect(running, total, begin).await
    }
}

async fn collect(mut running: JoinSet<Tally>, mut total: Tally, begin: Instant) -> Tally {
    while let Some(done) = running.join_next().await {
        total += done.unwrap();
    }
    total.took = begin.elapsed();
    total
}
