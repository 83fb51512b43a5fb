//! `debug`: tells in the log what passes.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::batch::Batch;
use crate::pipeline::component::{Encoded, ExportError, Exporter, Sent};
use crate::pipeline::sink::{QueueConfig, SinkConfig};
use crate::pipeline::spec::{
    About, BuildContext, BuildError, BuiltExporter, ExporterSpec, RawConfig, Stability, Unit, parse,
};
use crate::profile::Profiles;

const DOCS: &str = "\
Writes a line to the log for every batch: resources, profiles and samples. `normal` adds the types of each profile with their
totals. It shows what the pipeline gives it, so stand it behind `redaction`; it never writes labels or names of functions.
The log's own rate limit holds for it.
";

pub(super) const SPEC: ExporterSpec = ExporterSpec {
    about: About {
        name: "debug",
        aliases: &[],
        summary: "writes a line to the log for every batch",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "debug:\n  verbosity: normal\n",
        schema: || schemars::schema_for!(Config),
    },
    unit: Unit::Batch,
    build,
};

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// How much to tell.
    verbosity: Verbosity,
    /// What waits to be told.
    sending_queue: QueueConfig,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Verbosity {
    /// One line.
    #[default]
    Basic,
    /// Types and totals too.
    Normal,
    /// As `normal`.
    Detailed,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<BuiltExporter, BuildError> {
    let config: Config = parse(raw)?;
    Ok(BuiltExporter {
        exporter: Arc::new(Debug {
            id: cx.id.clone(),
            verbosity: config.verbosity,
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
}

#[async_trait]
impl Exporter for Debug {
    fn encode(&self, part: &Batch) -> Result<Encoded, ExportError> {
        let Some(profiles) = part.as_profiles() else {
            return Ok(Encoded::default());
        };
        Ok(Encoded {
            body: tell(profiles, self.verbosity).into(),
            plain_bytes: 0,
        })
    }

    async fn export(&self, _part: &Batch, encoded: Encoded) -> Result<Sent, ExportError> {
        let text = String::from_utf8_lossy(&encoded.body);
        tracing::info!(exporter = %self.id, "{text}");
        Ok(Sent::default())
    }
}

fn tell(profiles: &Profiles, verbosity: Verbosity) -> String {
    let mut text = format!(
        "profiles: {} resources, {} profiles, {} samples",
        profiles.resources().len(),
        profiles.profile_count(),
        profiles.sample_count()
    );
    if verbosity == Verbosity::Basic {
        return text;
    }
    let dictionary = profiles.dictionary();
    for (number, at) in profiles.iter().enumerate() {
        let types = &at.profile.sample_types;
        for (column, of) in types.iter().enumerate() {
            let total = at.profile.samples.sum(column, types.len());
            let (kind, unit) = (dictionary.str(of.kind), dictionary.str(of.unit));
            text.push_str(&format!("; profile {number} {kind} {total} {unit}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Limits, any};

    #[test]
    fn totals_are_told_and_names_are_not() {
        let Ok(read) = any::decode_any(crate::testing::data("go123-heap.pb.gz").into(), &Limits::default()) else {
            panic!("a recording of our own")
        };
        let profiles = read.decoded.profiles;
        assert_eq!(
            tell(&profiles, Verbosity::Basic),
            "profiles: 1 resources, 1 profiles, 142 samples"
        );
        let text = tell(&profiles, Verbosity::Normal);
        assert!(text.contains("; profile 0 inuse_space 3523748 bytes"), "{text}");
        assert!(!text.contains("main."), "{text}");
    }
}
