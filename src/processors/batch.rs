//! `batch`: taken so that a Collector's configuration loads; the sinks merge.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::units::Span;
use crate::pipeline::{Batch, Context, Processor, Verdict};

/// What the log and `validate` say about one.
pub const NOTE: &str =
    "has no effect: every exporter merges on its own; set `sending_queue.batch` at the exporter and leave this out";

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "batch",
        aliases: &[],
        summary: "does nothing: exporters merge on their own",
        docs: "Taken with the Collector's keys, and does nothing. Batches are merged behind the queue of each exporter, where one \
that is slow holds back nobody else: set `sending_queue.batch` there. `validate` and the log say so.",
        stability: Stability::Stable,
        signals: &["profiles", "traces"],
        example: "batch: { timeout: 200ms, send_batch_size: 8192 }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    removes_text: None,
    holds: None,
    build,
};

/// Configuration of `batch`: the Collector's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Taken and not used.
    pub timeout: Span,
    /// Taken and not used.
    pub send_batch_size: u64,
    /// Taken and not used.
    pub send_batch_max_size: u64,
    /// Taken and not used: batches of different tenants are never merged.
    pub metadata_keys: Vec<String>,
    /// Taken and not used.
    pub metadata_cardinality_limit: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Span::millis(200),
            send_batch_size: 8_192,
            send_batch_max_size: 0,
            metadata_keys: Vec::new(),
            metadata_cardinality_limit: 1_000,
        }
    }
}

struct Nothing;

fn build(raw: RawConfig, _: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    let _: Config = parse(raw)?;
    Ok(Box::new(Nothing))
}

impl Processor for Nothing {
    fn process(&self, batch: Batch, _: &Context) -> Verdict {
        Verdict::pass(batch)
    }
}
