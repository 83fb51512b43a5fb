//! `redaction`: takes secrets, addresses and names of users out of every text that a profile carries.

mod arguments;
mod config;
mod detectors;
pub mod escrow;
mod keys;
mod names;
mod pass;
mod paths;
mod policy;
mod report;
mod summary;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use arguments::Arguments;
pub use config::{Config, Summary};
pub use detectors::Detector;
pub use paths::PathMode;
pub use policy::Policy;
pub use report::Report;

use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Processor, Verdict};
use crate::telemetry::Metrics;

/// How every mask begins; what follows is the rule and a closing bracket.
pub(crate) const MARKER: &str = "[REDACTED:";

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "redaction",
        aliases: &[],
        summary: "removes secrets, e-mail addresses and user names from every text of a profile",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "redaction: { detectors: [secrets, emails], paths: home }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    removes_text: Some(removes_text),
    build,
};

const DOCS: &str = "\
Looks at every text of a profile: names and files of functions and binaries, labels and their keys and units, attributes of
resources and scopes (nested values and bytes too), comments, links, frame patterns, names of types. A hit of a detector is
replaced by `[REDACTED:<rule>]`; the rest of the text stays. `original_payload` is always removed.

Attributes are judged by key in the order of the Collector's redaction processor: ignored (passes as it is, the detectors
too), not allowed (deleted), allowed value, blocked key (value becomes `****`), blocked values (matches become `****`), and then
by the detectors. Identity and join keys (`service.name`, trace and span ids, frame types, build ids, `pprof.*`) survive an
allow-list unless a pattern blocks them, and `blocked_values` spares those of them that are hexadecimal or whole numbers.

Keys that masking makes equal stay apart: `[REDACTED:email]`, `[REDACTED:email]#2` and so on, in the order in which they stand.

`summary` is the Collector's: attributes `redaction.{redacted,masked,allowed}.{keys,count}` and `redaction.ignored.count`, on a
resource for its own attributes, on a profile for those of its samples. Keys are named as they leave.

Not detected yet: card numbers, IBANs, social security numbers, telephone numbers, IP addresses, host names, names of
persons and customers, and secrets that neither shape nor key reveals, such as a random word in a unit or a bare AWS secret key.
";

/// Whether this configuration takes anything out: the check of what leaves for an external exporter asks it.
fn removes_text(_raw: &RawConfig) -> bool {
    true
}

struct Redaction {
    policy: Policy,
    metrics: Arc<Metrics>,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    let policy = Policy::new(parse(raw)?)?;
    Ok(Box::new(Redaction {
        policy,
        metrics: cx.metrics.clone(),
    }))
}

impl Processor for Redaction {
    fn process(&self, mut batch: Batch, _cx: &Context) -> Verdict {
        let mut pass = pass::Pass::new(&self.policy);
        let Some(profiles) = batch.as_profiles() else {
            return Verdict::pass(batch);
        };
        if pass.would_change(profiles)
            && let Some(profiles) = batch.edit()
        {
            for ((rule, carrier), hits) in pass.apply(profiles).hits {
                self.metrics.redacted(&rule.into(), carrier, hits);
            }
        }
        Verdict::pass(batch)
    }
}
