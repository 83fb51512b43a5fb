//! `recent`: keeps what passed lately, to be looked at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::Boundary;
use crate::pipeline::batch::Batch;
use crate::pipeline::component::{Encoded, ExportError, Exporter, Sent};
use crate::pipeline::recent::Ring;
use crate::pipeline::sink::SinkConfig;
use crate::pipeline::spec::{
    About, BuildContext, BuildError, BuiltExporter, ExporterSpec, RawConfig, Stability, Unit, parse,
};
use crate::pipeline::units::{ByteSize, Span};

const DOCS: &str = "\
Keeps the last profiles in memory, so that the page `/debug/tracez` of the extension `zpages` shows the flame graph of one trace, one span or one route. It sends
nothing anywhere. What it keeps is what the pipeline gives it, names and labels too: stand it behind `redaction`.

The oldest make room for the newest, in `max_bytes` and in a quarter of all memory that batches may hold, and nothing is kept longer than `max_age`.
What is kept counts in that memory; where it is short, what is kept goes before a request is refused. `flamegate_recent_bytes` and `flamegate_recent_batches`
say what there is, `flamegate_recent_left_out_total` what went, by `reason`: `age`, `full`, `memory`, `too_large` (one batch alone is).

A reload that leaves the exporter as it is leaves what it keeps.
";

pub(super) const SPEC: ExporterSpec = ExporterSpec {
    about: About {
        name: "recent",
        aliases: &[],
        summary: "keeps the last profiles in memory, for `/debug/tracez`",
        docs: DOCS,
        stability: Stability::Alpha,
        signals: &["profiles"],
        example: "recent: { max_bytes: 32MiB, max_age: 5m }",
        schema: || schemars::schema_for!(Config),
    },
    unit: Unit::Batch,
    build,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Most memory.
    max_bytes: ByteSize,
    /// Longest time.
    max_age: Span,
    /// `external` if others than the house see the page: then what is kept must pass `redaction`. Otherwise `internal`.
    boundary: Option<Boundary>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::mib(32),
            max_age: Span::secs(300),
            boundary: None,
        }
    }
}

/// Pauses between looks for what is too old.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

fn build(raw: RawConfig, cx: &BuildContext) -> Result<BuiltExporter, BuildError> {
    let config: Config = parse(raw)?;
    let (most, age) = (config.max_bytes.as_usize(), config.max_age.0);
    for (key, is_nothing) in [("max_bytes", most == 0), ("max_age", age.is_zero())] {
        if is_nothing {
            return Err(BuildError::at(
                key,
                "nothing would be kept; leave the exporter out, or write more than 0",
            ));
        }
    }
    let ring = Arc::new(Ring::new(cx.id.clone(), most, age, cx.metrics.recent(&cx.id)));
    cx.rings.register(ring.clone());
    let old = Arc::downgrade(&ring);
    let look = move || {
        if let Some(ring) = old.upgrade() {
            ring.expire(Instant::now());
        }
    };
    let (shortest, longest) = PAUSES;
    cx.feeders.register((age / 10).clamp(shortest, longest), look);
    Ok(BuiltExporter {
        boundary: config.boundary.unwrap_or(Boundary::Internal),
        exporter: Arc::new(Recent { ring }),
        sink: SinkConfig::default(),
    })
}

struct Recent {
    ring: Arc<Ring>,
}

#[async_trait]
impl Exporter for Recent {
    /// It is looked at as it is.
    fn encode(&self, _part: &Batch) -> Result<Encoded, ExportError> {
        Ok(Encoded::default())
    }

    async fn export(&self, part: &Batch, _encoded: Encoded) -> Result<Sent, ExportError> {
        self.ring.keep(part, Instant::now());
        Ok(Sent::default())
    }
}
