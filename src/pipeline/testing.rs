//! Fakes to run the engine with, and the equation that must hold whatever happens.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::chain::Stage;
use super::graph::{Graph, NamedExporter, NamedReceiver, Wiring};
use super::routing::{Mode, Route};
use super::sink::SinkConfig;
use super::spec::{BuiltExporter, RawConfig, Unit};
use super::*;
use crate::formats::{Decoded, Format};
use crate::profile::{AttributeSetId, ValueType};
use crate::profile::{Dictionary, Observations, Profile, Profiles, ResourceProfiles, Samples, ScopeProfiles, StackId};
use crate::telemetry::{Kind, Metrics, Signal};

/// Profiles of four samples each, each under a resource of its own.
pub fn profiles(count: usize) -> Profiles {
    let mut d = Dictionary::default();
    let kind = d.strings.push("cpu");
    let rows = 4;
    let mut samples = Samples::default();
    for row in 0..rows {
        samples.stacks.push(StackId::UNSET);
        samples.attributes.push(AttributeSetId::UNSET);
        let link = d.links.push(crate::profile::Link {
            trace_id: [row + 1; 16],
            span_id: [row + 1; 8],
        });
        samples.links.push(link);
    }
    samples.observations = Observations::Totals(vec![1; usize::from(rows)]);
    let profile = Profile {
        sample_types: vec![ValueType { kind, unit: kind }],
        samples: Arc::new(samples),
        ..Profile::default()
    };
    let resources = (0..count)
        .map(|n| ResourceProfiles {
            dropped_attributes_count: n as u32,
            scopes: vec![ScopeProfiles {
                profiles: vec![profile.clone()],
                ..ScopeProfiles::default()
            }],
            ..ResourceProfiles::default()
        })
        .collect();
    Profiles::new(d, resources)
}

/// A receiver that lends its outlet to the test.
pub struct Door(tokio::sync::oneshot::Sender<Outlet>);

#[async_trait]
impl Receiver for Door {
    async fn run(self: Box<Self>, out: Outlet, stop: Stop) -> Result<(), ReceiverError> {
        out.ready();
        let _ = self.0.send(out);
        stop.asked().await;
        Ok(())
    }
}

/// What an exporter is told to do, call by call; afterwards it succeeds.
#[derive(Default)]
pub struct Fake {
    pub script: Mutex<VecDeque<Step>>,
    pub calls: AtomicUsize,
    pub weights: Mutex<Vec<u64>>,
    pub bodies: Mutex<Vec<bytes::Bytes>>,
    pub closed: AtomicBool,
    pub encode_panics: bool,
    /// What the backend's limit is about, where it is not 100 bytes for each sample.
    pub sample_bytes: Option<usize>,
}

pub enum Step {
    Fail(ExportError),
    Panic,
    Hang,
    Slow,
    Reject(u64),
}

#[async_trait]
impl Exporter for Fake {
    fn encode(&self, part: &Batch) -> Result<Encoded, ExportError> {
        assert!(!self.encode_panics, "hunter2");
        if let Some(traces) = part.as_traces() {
            let body = traces.bytes().clone();
            let plain_bytes = body.len();
            return Ok(Encoded { body, plain_bytes });
        }
        let samples = part.as_profiles().map_or(0, Profiles::sample_count);
        Ok(Encoded {
            body: vec![0; samples * 100].into(),
            plain_bytes: samples * self.sample_bytes.unwrap_or(100),
        })
    }

    async fn export(&self, part: &Batch, encoded: Encoded) -> Result<Sent, ExportError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let step = self.script.lock().unwrap().pop_front();
        let rejected = match step {
            Some(Step::Fail(error)) => return Err(error),
            Some(Step::Panic) => panic!("hunter2"),
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::Slow) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                0
            }
            Some(Step::Reject(n)) => n,
            None => 0,
        };
        self.weights.lock().unwrap().push(part.weight());
        self.bodies.lock().unwrap().push(encoded.body);
        Ok(Sent { rejected })
    }

    async fn close(&self) {
        assert!(!self.closed.swap(true, Ordering::SeqCst), "closed twice");
    }
}

pub fn fake(script: impl IntoIterator<Item = Step>) -> Arc<Fake> {
    Arc::new(Fake {
        script: Mutex::new(script.into_iter().collect()),
        ..Fake::default()
    })
}

/// Processors of one pipeline and the names of its exporters.
type Line<'a> = (Vec<Stage>, Vec<&'a str>);

/// A stage that holds nothing back.
pub fn step(processor: impl Processor + 'static) -> Stage {
    Stage {
        id: "step".into(),
        processor: Box::new(processor),
        holds: false,
    }
}

/// One that does.
pub fn holding(processor: impl Processor + 'static) -> Stage {
    Stage {
        holds: true,
        ..step(processor)
    }
}

/// An exporter with its name, the script it follows, and how it is set.
pub type Output<'a> = (&'a str, Arc<Fake>, Unit, SinkConfig);

/// An engine over fakes.
pub struct Bench {
    pub running: Running,
    pub out: Outlet,
    pub metrics: Arc<Metrics>,
    pub budget: Budget,
    pub kills: Kills,
    pub decoded: Arc<AtomicUsize>,
}

/// Pipelines of processors and names of exporters, all fed by one receiver, which lends its outlet. `version` stands for all
/// configurations: of the same one, components count as equal.
pub fn graph(
    pipelines: Vec<Line<'_>>,
    exporters: Vec<Output<'_>>,
    metrics: &Arc<Metrics>,
    version: [u64; 3],
) -> (Graph, tokio::sync::oneshot::Receiver<Outlet>) {
    let (door, opened) = tokio::sync::oneshot::channel();
    let [receiver, processor, exporter] = version.map(RawConfig::from);
    let wirings = pipelines.into_iter().enumerate().map(|(n, (stages, to))| Wiring {
        id: n.to_string().into(),
        signal: Signal::Profiles,
        processors: vec![("step".into(), processor.clone())],
        route: Route::Everything,
        receivers: vec!["door".into()],
        stages,
        feeders: Vec::new(),
        plans: Vec::new(),
        exporters: to.into_iter().map(Into::into).collect(),
    });
    let built = exporters.into_iter().map(|(id, fake, unit, sink)| {
        let fake: Arc<dyn Exporter> = fake;
        NamedExporter {
            id: id.into(),
            signal: Signal::Profiles,
            raw: exporter.clone(),
            unit,
            built: BuiltExporter {
                exporter: fake,
                sink,
                boundary: Boundary::Internal,
            },
            feeders: Vec::new(),
            rings: Vec::new(),
        }
    });
    let graph = Graph {
        exporters: built.collect(),
        pipelines: wirings.collect(),
        routing: Mode::All,
        receivers: vec![NamedReceiver {
            id: "door".into(),
            raw: receiver,
            receiver: Box::new(Door(door)),
            feeders: Vec::new(),
        }],
        metrics: metrics.clone(),
    };
    (graph, opened)
}

/// Holds everything back until there are so many batches, or until the end.
pub struct Holder {
    held: Mutex<Vec<Batch>>,
    due_at: usize,
}

impl Holder {
    pub fn until(due_at: usize) -> Self {
        let held = Mutex::default();
        Self { held, due_at }
    }
}

impl Processor for Holder {
    fn process(&self, batch: Batch, _: &Context) -> Verdict {
        self.held.lock().unwrap().push(batch);
        Verdict::Hold(Vec::new())
    }

    fn due(&self) -> Option<std::time::Instant> {
        (self.held.lock().unwrap().len() >= self.due_at).then(std::time::Instant::now)
    }

    fn flush(&self, all: bool) -> Vec<Batch> {
        match all || self.due().is_some() {
            true => std::mem::take(&mut *self.held.lock().unwrap()),
            false => Vec::new(),
        }
    }
}

/// A running graph.
pub async fn bench(pipelines: Vec<Line<'_>>, exporters: Vec<Output<'_>>) -> Bench {
    bench_of(pipelines, exporters, |_| {}).await
}

/// The same with a change to the graph.
pub async fn bench_of(pipelines: Vec<Line<'_>>, exporters: Vec<Output<'_>>, change: impl FnOnce(&mut Graph)) -> Bench {
    let metrics = Arc::new(Metrics::default());
    let (mut graph, opened) = graph(pipelines, exporters, &metrics, [0; 3]);
    change(&mut graph);
    let budget = Budget::new(64 << 20);
    let kills = Kills::default();
    let running = graph.start(budget.clone(), kills.clone(), &tokio::runtime::Handle::current());
    let out = opened.await.unwrap();
    Bench {
        running,
        out,
        metrics,
        budget,
        kills,
        decoded: Arc::default(),
    }
}

/// Sends a request of so many profiles.
pub async fn send(out: &Outlet, budget: &Budget, good: usize) -> Result<Receipt, Refusal> {
    let permit = budget.permit();
    out.receive(move || Ok(vec![arrival(good, 0, permit)])).await
}

/// A request of so many profiles, and so many defective ones.
pub fn arrival(good: usize, defective: u64, permit: Permit) -> Arrival {
    let mut rejected = crate::formats::Rejected::default();
    for _ in 0..defective {
        rejected.add(crate::formats::DecodeError::malformed(
            Format::Otlp,
            7,
            "a broken profile",
        ));
    }
    Arrival {
        content: Content::Profiles(Decoded {
            profiles: profiles(good),
            rejected,
            ..Decoded::default()
        }),
        received: Received {
            format: Format::Otlp,
            bytes: bytes::Bytes::from_static(b"bytes"),
        },
        origin: Arc::new(Origin::local("door")),
        permit,
    }
}

impl Bench {
    /// Sends a request of so many profiles of a tenant.
    pub async fn send_as(&self, tenant: &str, good: usize) -> Result<Receipt, Refusal> {
        let mut arrival = arrival(good, 0, self.budget.permit());
        arrival.origin = Arc::new(Origin {
            tenant: tenant.into(),
            ..Origin::local("door")
        });
        self.out.receive(move || Ok(vec![arrival])).await
    }

    /// Sends a request of spans.
    pub async fn send_traces(&self, traces: crate::formats::otlp::Traces) -> Result<Receipt, Refusal> {
        let permit = self.budget.permit();
        let arrival = Arrival {
            received: Received {
                format: Format::Otlp,
                bytes: traces.bytes().clone(),
            },
            content: Content::Traces(traces),
            origin: Arc::new(Origin::local("door")),
            permit,
        };
        self.out.receive(move || Ok(vec![arrival])).await
    }

    /// Sends a request of so many profiles, and so many defective ones.
    pub async fn send(&self, good: usize, defective: u64) -> Result<Receipt, Refusal> {
        let (permit, decoded) = (self.budget.permit(), self.decoded.clone());
        let job = move || {
            decoded.fetch_add(1, Ordering::SeqCst);
            Ok(vec![arrival(good, defective, permit)])
        };
        self.out.receive(job).await
    }

    /// Stops, and checks that nothing vanished and nothing is held.
    pub async fn stop(self, drain: Duration) -> Books {
        self.running.stop(drain).await;
        drop(self.out);
        assert_eq!(self.budget.used(), 0, "memory still held");
        Books { metrics: self.metrics }
    }
}

pub struct Books {
    pub metrics: Arc<Metrics>,
}

impl Books {
    /// Sent, and dropped by reason. Checks the equation.
    pub fn of(&self, exporter: &str) -> (u64, BTreeMap<&'static str, u64>) {
        self.of_signal(exporter, Signal::Profiles)
    }

    /// The same of one kind of data.
    pub fn of_signal(&self, exporter: &str, signal: Signal) -> (u64, BTreeMap<&'static str, u64>) {
        let id: Arc<str> = exporter.into();
        let numbers = self.metrics.exporter(&id, signal);
        let component = Kind::Exporter.named(id);
        use Reason::*;
        let reasons = [
            Killed,
            Panic,
            QueueFull,
            Permanent,
            RetriesExhausted,
            TooLarge,
            RejectedByBackend,
            Shutdown,
            ReadAgain,
            Unrepresentable,
        ];
        let dropped: BTreeMap<_, _> = reasons
            .map(|reason| {
                (
                    reason.label(),
                    self.metrics.dropped_count(&component, signal, reason.label()),
                )
            })
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(numbers.in_flight.get(), 0, "in flight after drain");
        let sum: u64 = dropped.values().sum();
        assert_eq!(
            numbers.accepted.get(),
            numbers.sent.get() + sum,
            "accepted = sent + dropped {dropped:?}"
        );
        (numbers.sent.get(), dropped)
    }
}
