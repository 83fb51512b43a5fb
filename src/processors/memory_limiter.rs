//! `memory_limiter`: the Collector's way to set the memory budget of the process.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::units::{ByteSize, Span};
use crate::pipeline::{Batch, Context, Levels, Processor, Verdict};

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "memory_limiter",
        aliases: &[],
        summary: "sets the memory budget of the process",
        docs: "Taken with the Collector's keys, and sets the memory budget of the whole process wherever it stands in a pipeline: \
the limit is the hard level, the limit less the spike is the soft one, from which on senders hear 503 before their bodies are read. \
Percentages are of the container's memory limit, or of the machine's memory without one. The bytes that profiles hold are counted as \
they come and go, so nothing is checked at intervals. Where several stand in pipelines the smallest limit counts. \
It is the same as `service.memory_budget` and `service.memory_soft_limit`, and cannot stand beside them.",
        stability: Stability::Stable,
        signals: &["profiles", "traces"],
        example: "memory_limiter: { check_interval: 1s, limit_mib: 512, spike_limit_mib: 128 }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    removes_text: None,
    holds: None,
    build,
};

/// Configuration of `memory_limiter`: the Collector's.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Taken and not used: bytes are counted as they come and go.
    pub check_interval: Span,
    /// Hard level in MiB; wins over `limit_percentage`.
    pub limit_mib: u64,
    /// How far the soft level lies below it, in MiB; a fifth of the limit unless set.
    pub spike_limit_mib: u64,
    /// Hard level in hundredths of the memory there is.
    pub limit_percentage: u64,
    /// How far the soft level lies below it, in hundredths of the memory there is.
    pub spike_limit_percentage: u64,
    /// Taken and not used: there is no garbage to collect.
    pub min_gc_interval_when_soft_limited: Span,
    /// Taken and not used: there is no garbage to collect.
    pub min_gc_interval_when_hard_limited: Span,
}

impl Config {
    /// Reads and checks.
    pub fn read(raw: RawConfig) -> Result<Self, BuildError> {
        let config: Self = parse(raw)?;
        let at = |key: &str, message: &str| Err(BuildError::at(key, message));
        if config.limit_mib == 0 && config.limit_percentage == 0 {
            return at("", "no limit is set; write `limit_mib` or `limit_percentage`");
        }
        if config.limit_percentage > 100 {
            return at("limit_percentage", "not a percentage; write 1 to 100");
        }
        if config.limit_mib > 0 && config.spike_limit_mib >= config.limit_mib {
            return at("spike_limit_mib", "must be smaller than `limit_mib`");
        }
        if config.limit_mib == 0 && config.spike_limit_percentage >= config.limit_percentage {
            return at("spike_limit_percentage", "must be smaller than `limit_percentage`");
        }
        Ok(config)
    }

    /// The levels, where the process has so many bytes of memory.
    pub fn levels(&self, memory: usize) -> Levels {
        let mib = |n: u64| ByteSize(n.saturating_mul(1 << 20)).as_usize();
        let percent = |n: u64| (memory / 100).saturating_mul(usize::try_from(n).unwrap_or(100));
        let (hard, spike) = match self.limit_mib {
            0 => (percent(self.limit_percentage), percent(self.spike_limit_percentage)),
            limit => (mib(limit), mib(self.spike_limit_mib)),
        };
        match spike {
            0 => Levels::of(hard),
            spike => Levels {
                soft: hard.saturating_sub(spike),
                hard,
            },
        }
    }
}

struct Nothing;

fn build(raw: RawConfig, _: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    Config::read(raw)?;
    Ok(Box::new(Nothing))
}

impl Processor for Nothing {
    fn process(&self, batch: Batch, _: &Context) -> Verdict {
        Verdict::pass(batch)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn levels(config: serde_json::Value) -> (usize, usize) {
        let levels = Config::read(config).unwrap().levels(1_000 << 20);
        (levels.soft >> 20, levels.hard >> 20)
    }

    #[test]
    fn the_limit_is_the_hard_level_and_the_spike_lies_below_it() {
        assert_eq!(levels(json!({ "limit_mib": 500, "spike_limit_mib": 200 })), (300, 500));
        assert_eq!(levels(json!({ "limit_mib": 500 })), (400, 500));
        assert_eq!(
            levels(json!({ "limit_percentage": 50, "spike_limit_percentage": 10 })),
            (400, 500)
        );
        // mebibytes win
        assert_eq!(levels(json!({ "limit_mib": 10, "limit_percentage": 50 })), (8, 10));
    }

    #[test]
    fn limits_that_cannot_hold_are_refused_by_key() {
        for (config, key) in [
            (json!({}), ""),
            (json!({ "limit_percentage": 101 }), "limit_percentage"),
            (json!({ "limit_mib": 5, "spike_limit_mib": 5 }), "spike_limit_mib"),
            (
                json!({ "limit_percentage": 5, "spike_limit_percentage": 9 }),
                "spike_limit_percentage",
            ),
        ] {
            assert_eq!(Config::read(config).unwrap_err().path, key);
        }
    }
}
