//! `debug`: tells in the log what passes.

mod text;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::Boundary;
use crate::pipeline::batch::{Batch, Payload};
use crate::pipeline::component::{Encoded, ExportError, Exporter, Sent};
use crate::pipeline::sink::{QueueConfig, SinkConfig};
use crate::pipeline::spec::{
    About, BuildContext, BuildError, BuiltExporter, ExporterSpec, RawConfig, Stability, Unit, parse,
};
use crate::telemetry::logs::SAMPLED_BY_ITSELF;

/// Length of the window that messages are counted in: the Collector's.
const TICK: Duration = Duration::from_secs(1);

const DOCS: &str = "\
Writes a message to the log for every batch: resources, profiles and samples; of traces, spans and bytes, and nothing else. `normal` adds the types of each profile with
their totals; `detailed` adds everything: attributes, and of every sample its values, labels, link and stack, up to 1 MiB a
batch. It shows what the pipeline gives it, names and labels too: stand it behind `redaction`.

In each second the first `sampling_initial` messages are written, and then every `sampling_thereafter`th; 0 writes no more.
The rate limit of the log does not hold for it.
";

pub(super) const SPEC: ExporterSpec = ExporterSpec {
    about: About {
        name: "debug",
        aliases: &[],
        summary: "writes a message to the log for every batch",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles", "traces"],
        example: "debug:\n  verbosity: normal\n  sampling_initial: 5\n  sampling_thereafter: 200\n",
        schema: || schemars::schema_for!(Config),
    },
    unit: Unit::Batch,
    build,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// How much to tell.
    verbosity: Verbosity,
    /// Messages of each second that are written whatever else there is.
    sampling_initial: u64,
    /// After those, one in so many; 0 for none.
    sampling_thereafter: u64,
    /// What waits to be told.
    sending_queue: QueueConfig,
    /// `external` if somebody takes the log out of the house: then it must pass `redaction`. Otherwise `internal`.
    boundary: Option<Boundary>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            verbosity: Verbosity::default(),
            sampling_initial: 2,
            sampling_thereafter: 1,
            sending_queue: QueueConfig::default(),
            boundary: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Verbosity {
    /// One line.
    #[default]
    Basic,
    /// Types and totals too.
    Normal,
    /// Everything.
    Detailed,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<BuiltExporter, BuildError> {
    let config: Config = parse(raw)?;
    Ok(BuiltExporter {
        boundary: config.boundary.unwrap_or(Boundary::Internal),
        exporter: Arc::new(Debug {
            id: cx.id.clone(),
            verbosity: config.verbosity,
            sampler: Mutex::new(Sampler::new(
                config.sampling_initial,
                config.sampling_thereafter,
                Instant::now(),
            )),
        }),
        sink: SinkConfig {
            queue: config.sending_queue,
            ..SinkConfig::default()
        },
    })
}

struct Debug {
    id: Arc<str>,
    verbosity: Verbosity,
    sampler: Mutex<Sampler>,
}

/// Which messages are written.
struct Sampler {
    initial: u64,
    thereafter: u64,
    since: Instant,
    seen: u64,
}

impl Sampler {
    fn new(initial: u64, thereafter: u64, since: Instant) -> Self {
        Self {
            initial,
            thereafter,
            since,
            seen: 0,
        }
    }

    fn admits(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= TICK {
            (self.since, self.seen) = (now, 0);
        }
        self.seen += 1;
        match self.seen.checked_sub(self.initial) {
            None | Some(0) => true,
            Some(over) => self.thereafter != 0 && over.is_multiple_of(self.thereafter),
        }
    }
}

#[async_trait]
impl Exporter for Debug {
    /// The text; empty for a message that is not to be written, which costs nothing then.
    fn encode(&self, part: &Batch) -> Result<Encoded, ExportError> {
        let is_wanted = tracing::enabled!(target: SAMPLED_BY_ITSELF, tracing::Level::INFO)
            && self
                .sampler
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .admits(Instant::now());
        let text = match part.payload() {
            _ if !is_wanted => String::new(),
            Payload::Profiles(profiles) => text::tell(profiles, self.verbosity),
            Payload::Traces(traces) => format!("traces: {} spans, {} bytes", traces.count(), traces.bytes().len()),
        };
        Ok(Encoded {
            body: text.into(),
            plain_bytes: 0,
        })
    }

    async fn export(&self, _part: &Batch, encoded: Encoded) -> Result<Sent, ExportError> {
        if !encoded.body.is_empty() {
            let text = String::from_utf8_lossy(&encoded.body);
            tracing::info!(target: SAMPLED_BY_ITSELF, exporter = %self.id, "{text}");
        }
        Ok(Sent::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_second_pass_then_one_in_so_many() {
        let start = Instant::now();
        for (initial, thereafter, expected) in [(2, 1, 10), (2, 4, 4), (0, 5, 2), (3, 0, 3), (0, 0, 0)] {
            let mut sampler = Sampler::new(initial, thereafter, start);
            let passed = (0..10).filter(|_| sampler.admits(start)).count();
            assert_eq!(passed, expected, "{initial} {thereafter}");
            let next = (0..10).filter(|_| sampler.admits(start + TICK)).count();
            assert_eq!(next, expected, "{initial} {thereafter}");
        }
    }
}
