//! `trace_links`: trace and span ids in labels become links to spans, whoever wrote them.

mod config;
mod lift;
mod pseudonyms;
#[cfg(test)]
mod tests;

use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Processor, Verdict};
use crate::profile::trace_ids::TraceKeys;
use crate::telemetry::TraceLinksMetrics;
use config::{Config, Labels};
use lift::{Lift, Tally};
use pseudonyms::Pseudonyms;

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "trace_links",
        aliases: &[],
        summary: "makes links to spans of the trace and span ids in labels, in every dialect",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "trace_links: { dialects: [{ name: acme, trace: [acme.trace], active: [acme.span] }] }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    removes_text: None,
    holds: None,
    build,
};

const DOCS: &str = "\
Agents write the trace and the span of a sample into labels, each under keys of its own and in its own digits. This makes OTLP links of
them, which every backend reads alike. `docs/trace-join.md` tells what each agent sends and how to wire it.

| dialect | trace | span | digits |
|---|---|---|---|
| `splunk`, beside `source.event.time` or `source.event.period` | `trace_id` | `span_id` (active) | hexadecimal, lost zeros put back |
| `otel`: Pyroscope's agents, New Relic, Go by hand | `trace_id` | `span_id`, `profile_id` | hexadecimal |
| `parca` | `otel.traceid` | | hexadecimal |
| `datadog` | `trace id` | `span id` (active), else `local root span id` | decimal, as text or number, also signed; 32 digits of a trace are hexadecimal |
| `elastic` | `trace.id` | `span.id` (active), else `transaction.id` (local root) | hexadecimal |

Each key also counts as the eBPF profiler passes it on: behind `process.context.label.`, cut to 16 bytes. `dialects` come before these, and
one with the name of a built-in one stands in its place.

Ids of two dialects are never put together, nor is one without the other made a link: half an id waits as a label. Links that came with a
sample stay. `flamegate_trace_links_samples_total` counts samples by `dialect` and `result`:

| result | what was there | labels |
|---|---|---|
| `lifted` | both ids | as `labels` says |
| `already_linked` | a link that says the same | as `labels` says |
| `conflicting` | a link that says something else, or two labels that do: the link stays | stay |
| `no_trace`, `no_span` | half of the ids | stay |
| `zero` | zeros or nothing, which mean none | stay |
| `unreadable` | no id of this dialect: a wrong length, other characters | stay, and `redaction` looks at them |

`labels: remove` takes the labels that the link repeats, and samples that then are equal become one; pprof that leaves has them as `trace_id`
and `span_id`. `keep` leaves them. `hash` does as `remove` and puts a keyed hash in the place of every id, in links and labels: samples of one trace
stay together, and nobody without `hmac_key` finds the trace. Nothing joins spans behind that, and a second gate would hash again.

The attribute `flamegate.link.span` says which span a link points at where the dialect does: `active` or `local_root`, on the profile where
all of its links are alike, else on the samples; a sample's own counts before that of its profile, `unknown` included.

It stands before `redaction`, so that what is no id is looked at as text, and before `downsample`, which thins samples with links last.
";

struct TraceLinks {
    keys: TraceKeys,
    labels: Labels,
    pseudonyms: Option<Pseudonyms>,
    metrics: TraceLinksMetrics,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    let config: Config = parse(raw)?;
    let keys = TraceKeys::new(config.dialects()?);
    Ok(Box::new(TraceLinks {
        metrics: cx.metrics.trace_links(&cx.id, keys.names()),
        keys,
        labels: config.labels,
        pseudonyms: Pseudonyms::of(&config)?,
    }))
}

impl Processor for TraceLinks {
    fn process(&self, mut batch: Batch, _cx: &Context) -> Verdict {
        let Some(profiles) = batch.as_profiles() else {
            return Verdict::pass(batch);
        };
        let mut lift = Lift::new(&self.keys, self.labels != Labels::Keep, profiles);
        let tally = lift.look(profiles);
        self.count(&tally);
        let hashes = self.pseudonyms.as_ref().filter(|_| lift.has_ids(profiles));
        if !tally.changes && hashes.is_none() {
            return Verdict::pass(batch);
        }
        // what is made on the way is no larger than what came, and is counted before it is there
        let working = batch.permit().sibling();
        working.hold(profiles.heap_bytes());
        if let Some(profiles) = batch.edit() {
            if tally.changes {
                lift.apply(profiles);
            }
            if let Some(pseudonyms) = hashes {
                pseudonyms.replace(&self.keys, profiles);
            }
        }
        Verdict::pass(batch)
    }
}

impl TraceLinks {
    fn count(&self, tally: &Tally) {
        for (dialect, result, samples) in tally.iter() {
            self.metrics.samples(dialect, result, samples);
        }
    }
}
