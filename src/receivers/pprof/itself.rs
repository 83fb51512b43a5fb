//! Flamegate's own CPU, as a profile like any other.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::pprof::{Frames, ProfilerGuard, ProfilerGuardBuilder, Report, Symbol};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use crate::formats::{Decoded, Format};
use crate::pipeline::kill;
use crate::pipeline::outlet::{Arrival, Content};
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::Span;
use crate::pipeline::{Origin, Outlet, Received, Refusal, Stop};
use crate::profile::{
    Function, Id, Interner, KeyValue, Line, Location, LocationId, Observations, Profile, Profiles, ResourceProfiles,
    Samples, ScopeProfiles, Value, ValueType,
};

/// Code that must not be unwound from inside a signal handler.
const NOT_UNWOUND: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// A process can be sampled once at a time: after a reload the new receiver takes its turn when the old one has ended.
static TURN: Mutex<()> = Mutex::const_new(());

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SelfConfig {
    /// Length of one profile.
    collection_interval: Span,
    /// Samples in a second of CPU time.
    frequency: i32,
}

impl Default for SelfConfig {
    fn default() -> Self {
        Self {
            collection_interval: Span::secs(60),
            frequency: 19,
        }
    }
}

/// Samples this process, again and again.
pub(super) struct SelfProfiler {
    interval: Duration,
    frequency: i32,
}

/// This process being sampled.
struct Sampling {
    // dropped in this order: the turn ends when the profiler has stopped
    profiler: ProfilerGuard<'static>,
    _turn: MutexGuard<'static, ()>,
}

impl SelfProfiler {
    pub(super) fn new(config: SelfConfig) -> Result<Self, BuildError> {
        if config.collection_interval < Span::secs(1) {
            return Err(BuildError::at(
                "self.collection_interval",
                "too short; write 1s or more",
            ));
        }
        if !(1..=1_000).contains(&config.frequency) {
            return Err(BuildError::at("self.frequency", "not a usable rate; write 1 to 1000"));
        }
        Ok(Self {
            interval: config.collection_interval.0,
            frequency: config.frequency,
        })
    }

    /// Sends a profile for every interval until `stop` is asked; the last one is shorter. Without a profiler there is no
    /// profile, but everything else goes on.
    pub(super) async fn run(&self, out: &Outlet, stop: &Stop) {
        let kills = out.kills();
        while !stop.is_asked() {
            let turn = tokio::select! {
                turn = self.turn(out) => turn,
                () = stop.asked() => return,
            };
            let began = SystemTime::now();
            let sampling = self.start(turn).await;
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = stop.asked() => {}
                // nobody wants what was measured so far
                () = kills.until(|| is_killed(out)) => continue,
            }
            match sampling {
                Ok(sampling) => self.send(sampling, began, out).await,
                Err(why) => tracing::warn!(receiver = %out.receiver(), why, "no profile of this process"),
            }
        }
    }

    /// The turn to sample, when the profile of this process is not killed.
    async fn turn(&self, out: &Outlet) -> MutexGuard<'static, ()> {
        out.kills().until(|| !is_killed(out)).await;
        TURN.lock().await
    }

    async fn send(&self, sampling: Sampling, began: SystemTime, out: &Outlet) {
        let (permit, frequency) = (out.budget().permit(), self.frequency);
        let origin = Arc::new(Origin::local(out.receiver()));
        let sent = out.receive(move || {
            let profiles = finish(sampling, began, frequency)?;
            Ok(vec![Arrival {
                content: Content::Profiles(Decoded {
                    profiles,
                    ..Decoded::default()
                }),
                received: Received {
                    format: Format::Pprof,
                    bytes: Bytes::new(),
                },
                origin,
                permit,
            }])
        });
        if let Err(refusal) = sent.await {
            tracing::warn!(receiver = %out.receiver(), why = refusal.label(), "own profile not taken");
        }
    }

    /// The first start of a process fills the table of stacks, which takes a moment.
    async fn start(&self, turn: MutexGuard<'static, ()>) -> Result<Sampling, String> {
        let frequency = self.frequency;
        let started = tokio::task::spawn_blocking(move || {
            let profiler = ProfilerGuardBuilder::default()
                .frequency(frequency)
                .blocklist(&NOT_UNWOUND)
                .build();
            profiler.map(|profiler| Sampling { profiler, _turn: turn })
        });
        match started.await {
            Ok(started) => started.map_err(|error| error.to_string()),
            Err(_) => Err("stopped while starting".to_owned()),
        }
    }
}

fn is_killed(out: &Outlet) -> bool {
    let kills = out.kills();
    kills.is_any() && kills.takes_source(&Origin::local(out.receiver()), &kill::unseen())
}

fn finish(sampling: Sampling, began: SystemTime, frequency: i32) -> Result<Profiles, Refusal> {
    let report = sampling.profiler.report().build();
    drop(sampling);
    let report = report.map_err(|_| Refusal::Invalid("self: the samples cannot be read back".to_owned()))?;
    Ok(profiles(&report, began, frequency))
}

fn profiles(report: &Report, began: SystemTime, frequency: i32) -> Profiles {
    let mut interner = Interner::new();
    let period = 1_000_000_000 / i64::from(frequency.max(1));
    let cpu = value_type(&mut interner, "cpu", "nanoseconds");
    let sample_types = vec![value_type(&mut interner, "samples", "count"), cpu];
    let (mut samples, mut values) = (Samples::default(), Vec::new());
    for (frames, count) in &report.data {
        let count = i64::try_from(*count).unwrap_or_default();
        if count <= 0 {
            continue;
        }
        let (stack, thread) = (stack(&mut interner, frames), thread(&mut interner, frames));
        samples.stacks.push(stack);
        samples.attributes.push(thread);
        samples.links.push(Id::UNSET);
        values.extend([count, count.saturating_mul(period)]);
    }
    samples.observations = Observations::Totals(values);
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or_default();
    let profile = Profile {
        sample_types,
        samples: Arc::new(samples),
        time_unix_nano: nanos(began.duration_since(UNIX_EPOCH).unwrap_or_default()),
        duration_nano: nanos(began.elapsed().unwrap_or_default()),
        period_type: cpu,
        period,
        ..Profile::default()
    };
    surrounded(interner, profile)
}

/// The profile in its resource and scope.
fn surrounded(mut interner: Interner, profile: Profile) -> Profiles {
    let name = interner.string("flamegate");
    let version = interner.string(env!("CARGO_PKG_VERSION"));
    let mut attribute = |key, value| KeyValue {
        key: interner.string(key),
        value: Value::String(value),
    };
    let resource = ResourceProfiles {
        attributes: vec![attribute("service.name", name), attribute("service.version", version)],
        scopes: vec![ScopeProfiles {
            name,
            version,
            profiles: vec![profile],
            ..ScopeProfiles::default()
        }],
        ..ResourceProfiles::default()
    };
    Profiles::new(interner.finish(), vec![resource])
}

fn value_type(interner: &mut Interner, kind: &str, unit: &str) -> ValueType {
    ValueType {
        kind: interner.string(kind),
        unit: interner.string(unit),
    }
}

fn thread(interner: &mut Interner, frames: &Frames) -> crate::profile::AttributeSetId {
    if frames.thread_name.is_empty() {
        return Id::UNSET;
    }
    let name = interner.text_attribute("thread.name", &frames.thread_name);
    interner.attribute_set(&[name])
}

fn stack(interner: &mut Interner, frames: &Frames) -> crate::profile::StackId {
    let own = frames.frames.iter().rposition(|frame| is_of_profiler(frame));
    let profiled = frames.frames.iter().skip(own.map_or(0, |last| last + 1));
    let locations: Vec<_> = profiled.map(|frame| location(interner, frame)).collect();
    interner.stack(&locations)
}

/// The profiler sees itself unwinding, at the leaf of every stack.
fn is_of_profiler(frame: &[Symbol]) -> bool {
    frame.iter().any(|symbol| symbol.name().contains("pprof::backtrace::"))
}

/// One frame; several symbols are functions inlined into each other, the innermost first.
fn location(interner: &mut Interner, symbols: &[Symbol]) -> LocationId {
    let lines: Vec<_> = symbols
        .iter()
        .map(|symbol| Line {
            function: function(interner, symbol),
            line: i64::from(symbol.lineno()),
            column: 0,
        })
        .collect();
    interner.location(Location::default(), &lines)
}

fn function(interner: &mut Interner, symbol: &Symbol) -> Id<Function> {
    let row = Function {
        name: interner.string(&symbol.name()),
        system_name: interner.string(&symbol.sys_name()),
        filename: interner.string(&symbol.filename()),
        start_line: 0,
    };
    interner.function(row)
}
