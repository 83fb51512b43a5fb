//! `redaction`: takes secrets, addresses and names of users out of every text that a profile carries.

mod arguments;
mod cache;
mod carriers;
mod commands;
mod config;
mod detectors;
mod encoded;
pub mod escrow;
#[cfg(test)]
mod fail_closed;
mod frames;
mod joins;
mod keys;
mod literals;
mod marks;
mod masks;
mod measures;
mod names;
mod pass;
mod paths;
mod patterns;
mod policy;
mod pseudonym;
mod report;
#[cfg(test)]
mod scenarios;
mod sql;
mod summary;
#[cfg(test)]
mod tests;
mod texts;
#[cfg(test)]
mod useful;
mod values;

use std::path::PathBuf;
use std::sync::Arc;

pub use arguments::Arguments;
pub use config::{Config, Summary};
pub use detectors::Detector;
pub use paths::PathMode;
use policy::Done;
pub use policy::Policy;
pub use report::Report;

use crate::pipeline::place;
use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Processor, Refusal, Verdict};
use crate::telemetry::Metrics;

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "redaction",
        aliases: &[],
        summary: "removes secrets, personal data and argument values from every text of a profile",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "redaction: { detectors: [secrets, emails], paths: home }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    removes_text: Some(removes_text),
    holds: None,
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

Names of functions also lose the values they carry (`arguments`): `connect(host='db', password='x')` becomes
`connect(host=?, password=?)`, SQL keeps its shape, routes, queries of URLs and command lines keep their names; signatures stay.
A text of more than 64 KiB is masked whole.

Not detected: names of persons and customers, and secrets that neither shape nor context reveals, such as a random word.
";

/// Whether this configuration takes anything out: the check of what leaves for an external exporter asks it.
fn removes_text(raw: &RawConfig) -> bool {
    parse::<Config>(raw.clone()).is_ok_and(|config| !config.dry_run)
}

struct Redaction {
    id: Arc<str>,
    policy: Policy,
    metrics: Arc<Metrics>,
    escrow_directory: Option<PathBuf>,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    let config: Config = parse(raw)?;
    let escrow = config.escrow.clone();
    let mut policy = Policy::new(config)?;
    if let Some(escrow) = &escrow {
        policy.keep_in(escrow, &cx.metrics)?;
    }
    Ok(Box::new(Redaction {
        id: cx.id.clone(),
        policy,
        metrics: cx.metrics.clone(),
        escrow_directory: escrow.map(|escrow| escrow.directory),
    }))
}

impl Redaction {
    fn count(&self, service: &str, report: Report) {
        let (audit, digest) = (&self.metrics.audit, self.policy.digest());
        for ((rule, carrier), hits) in report.hits {
            self.metrics.redacted(&rule.into(), carrier, hits);
            audit.redacted(digest, service, rule, carrier, hits);
        }
        for ((rule, carrier), marks) in report.marks {
            audit.marked(digest, service, rule, carrier, marks);
        }
    }

    fn count_trial(&self, policy: &'static str, report: Report) {
        for ((rule, carrier), hits) in report.hits {
            self.metrics.redaction_tried(policy, rule, carrier, hits);
        }
    }
}

impl Processor for Redaction {
    fn process(&self, mut batch: Batch, _cx: &Context) -> Verdict {
        let origin = batch.origin().clone();
        let Some(profiles) = batch.as_profiles() else {
            return Verdict::pass(batch);
        };
        // what is made on the way is no larger than what came, and is counted before it is there
        let most = profiles.heap_bytes();
        let working = batch.permit().sibling();
        if let Some(shadow) = self.policy.shadow() {
            working.hold(most);
            self.count_trial("shadow", shadow.trial(profiles, &origin));
            working.shrink(most);
        }
        if self.policy.is_dry_run() {
            working.hold(most);
            self.count_trial("dry_run", self.policy.trial(profiles, &origin));
            return Verdict::pass(batch);
        }
        if let Some(rule) = self.policy.objects_to(&origin.tenant) {
            let why = format!("the name of the tenant holds what redaction removes ({rule}); give it another name");
            return Verdict::Refuse(Refusal::Invalid(why));
        }
        let mut work = self.policy.look(profiles, &origin, self.metrics.audit.is_on());
        work.mark_with(self.metrics.audit.marker().as_ref());
        if let Some((texts, bytes)) = work.remembered {
            self.metrics.redaction_remembers(&self.id, texts, bytes);
        }
        if work.changes()
            && let Some(profiles) = batch.edit()
        {
            working.hold(most);
            for Done { service, report } in work.apply(profiles) {
                self.count(&service, report);
            }
        }
        Verdict::pass(batch)
    }

    fn check_machine(&self) -> Result<(), BuildError> {
        let directory = self.escrow_directory.as_deref().map_or(Ok(()), place::check_directory);
        directory.map_err(|why| BuildError::at("escrow.directory", why))
    }
}
