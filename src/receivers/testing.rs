//! An engine that remembers what it was handed, and a way to run a receiver on free ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::listen::Service;
use crate::net::client::{Answer, Client, ClientSettings, Protocol};
use crate::net::server::{Listener, serve};
use crate::pipeline::follow::Followed;
use crate::pipeline::outlet::{Intake, Job};
use crate::pipeline::spec::BuildContext;
use crate::pipeline::{Batch, Budget, Outlet, Receipt, Refusal, Signal, Stop};
use crate::profile::{Dictionary, Profiles, Value};
use crate::telemetry::Metrics;

/// What the engine was handed.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) batches: Vec<Batch>,
    pub(super) refused: Vec<Refusal>,
    /// What somebody follows: delivered when these are dropped.
    pub(super) followed: Vec<Followed>,
}

/// An engine without pipelines.
pub(super) struct Engine {
    receiver: Arc<str>,
    budget: Budget,
    seen: Mutex<Seen>,
    /// What it answers instead of taking anything.
    answer: Option<Refusal>,
    /// What there are pipelines for.
    signals: Vec<Signal>,
}

#[async_trait::async_trait]
impl Intake for Arc<Engine> {
    fn receiver(&self) -> &Arc<str> {
        &self.receiver
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn admit(&self) -> Result<(), Refusal> {
        Ok(())
    }

    async fn receive(&self, job: Job, followed: Option<Followed>) -> Result<Receipt, Refusal> {
        let arrivals = job()?;
        if let Some(refusal) = &self.answer {
            return Err(refusal.clone());
        }
        let mut receipt = Receipt::default();
        let mut batches = Vec::new();
        for arrival in arrivals {
            if let Some(decoded) = arrival.decoded() {
                receipt.rejected += decoded.rejected.profiles;
                if let Some(first) = &decoded.rejected.first {
                    receipt.message = first.to_string();
                }
            }
            let batch = arrival.into_batch();
            if !batch.is_empty() {
                batches.push(batch);
            }
        }
        if batches.is_empty() && receipt.rejected > 0 {
            return Err(Refusal::Invalid(receipt.message));
        }
        let mut seen = self.seen.lock().unwrap();
        if !batches.is_empty() {
            seen.followed.extend(followed);
        }
        seen.batches.extend(batches);
        Ok(receipt)
    }

    fn refused(&self, refusal: &Refusal) {
        self.seen.lock().unwrap().refused.push(refusal.clone());
    }

    fn feeds(&self, signal: Signal) -> bool {
        self.signals.contains(&signal)
    }

    fn ready(&self) {}

    fn is_ready(&self) -> bool {
        true
    }
}

impl Engine {
    pub(super) fn new() -> Arc<Self> {
        Self::answering(None)
    }

    pub(super) fn answering(answer: Option<Refusal>) -> Arc<Self> {
        Self::feeding(vec![Signal::Profiles], answer)
    }

    pub(super) fn feeding(signals: Vec<Signal>, answer: Option<Refusal>) -> Arc<Self> {
        Arc::new(Self {
            receiver: "test".into(),
            budget: Budget::new(256 << 20),
            seen: Mutex::default(),
            answer,
            signals,
        })
    }

    pub(super) fn outlet(self: &Arc<Self>) -> Outlet {
        Outlet::new(Arc::new(self.clone()))
    }

    /// What came since the last look.
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// Bytes of the budget in use.
    pub(super) fn held(&self) -> usize {
        self.budget.used()
    }
}

pub(super) fn context() -> BuildContext {
    BuildContext::new("test", Arc::new(Metrics::default()))
}

/// Serves a service on a free port until the test ends.
pub(super) async fn start(service: Service) -> SocketAddr {
    let listener = Listener::bind("test", &"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.addresses()[0];
    tokio::spawn(serve(listener, service.router, Stop::new(), service.server));
    address
}

/// One POST, over HTTP/1.1.
pub(super) async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let client = Client::new(Protocol::Http, &ClientSettings::default()).unwrap();
    let uri = format!("http://{address}{path}").parse().unwrap();
    client.post(&uri, header_map(headers), body.into()).await.unwrap()
}

/// One unary call, over HTTP/2: the answer with its `grpc-status`.
pub(super) async fn call(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
    frame: impl Into<Bytes>,
) -> (u16, Answer) {
    let client = Client::new(Protocol::Http2, &ClientSettings::default()).unwrap();
    let uri = format!("http://{address}{path}").parse().unwrap();
    let mut headers = header_map(headers);
    headers.insert("content-type", "application/grpc".parse().unwrap());
    let answer = client.post(&uri, headers, frame.into()).await.unwrap();
    let status = answer.trailers.get("grpc-status").or(answer.headers.get("grpc-status"));
    (status.unwrap().to_str().unwrap().parse().unwrap(), answer)
}

fn header_map(headers: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = headers.iter();
    pairs
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect()
}

/// The names of all sample types that came since the last look.
pub(super) fn sample_types(engine: &Engine) -> Vec<String> {
    let batches = engine.take().batches;
    let profiles = batches.iter().filter_map(|batch| batch.as_profiles());
    let types = profiles.flat_map(|profiles| {
        let types = profiles.iter().flat_map(|at| &at.profile.sample_types);
        types.map(|of| profiles.dictionary().str(of.kind).to_owned())
    });
    types.collect()
}

/// The text attributes of the only resource.
pub(super) fn resource(profiles: &Profiles) -> BTreeMap<String, String> {
    let [resource] = profiles.resources() else {
        panic!("{} resources", profiles.resources().len())
    };
    let d = profiles.dictionary();
    let pairs = resource.attributes.iter();
    pairs.map(|kv| (d.str(kv.key).to_owned(), text(d, &kv.value))).collect()
}

/// The text attributes of the first profile.
pub(super) fn profile_attributes(profiles: &Profiles) -> BTreeMap<String, String> {
    let d = profiles.dictionary();
    let profile = profiles.iter().next().unwrap().profile;
    let pairs = d.attributes_of(profile.attributes);
    pairs.map(|a| (d.str(a.key).to_owned(), text(d, &a.value))).collect()
}

fn text(dictionary: &Dictionary, value: &Value) -> String {
    match value {
        Value::String(id) => dictionary.str(*id).to_owned(),
        other => format!("{other:?}"),
    }
}

pub(super) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    use crate::formats::Limits;
    use crate::formats::compress::Inflation;
    let bytes = Bytes::copy_from_slice(bytes);
    Inflation::new(&Limits::default())
        .unwrap_layers(bytes)
        .unwrap()
        .to_vec()
}
