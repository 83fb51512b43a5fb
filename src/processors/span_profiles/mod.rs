//! `span_profiles`: spans are told that they have a profile.

mod config;
mod known;
mod sampled;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::config::Config;
use self::known::Known;
use self::sampled::{Dialects, Tally};
use super::processes::Process;
use super::waiting::{Leaving, Queue, Room};
use crate::formats::otlp::span_edit::{NewValue, Setting, There};
use crate::formats::otlp::spans::Span;
use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Processor, Verdict};
use crate::profile::trace_ids::to_hex;
use crate::telemetry::{Signal, SpanProfilesMetrics};

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "span_profiles",
        aliases: &[],
        summary: "tells spans that have samples so, where Grafana looks for it",
        docs: DOCS,
        stability: Stability::Beta,
        signals: &["profiles", "traces"],
        example: "span_profiles: { hold: 15s, max_bytes: 256MiB }",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    removes_text: None,
    holds: Some(holds),
    build,
};

const DOCS: &str = "\
Stands in a pipeline of profiles and, under the same id, in one of traces. Of profiles it notes which spans their samples are of, by links and by
labels in the dialects of `trace_links`, and changes nothing. Spans wait for `hold`, in the order in which they came; then local roots that have
samples leave with attributes that say so. `docs/trace-join.md` tells how to wire it and how long to hold.

| attribute | value |
|---|---|
| `pyroscope.profile.id` | the id of the span, 16 hexadecimal digits: where samples carry that very id as their span, so that Grafana finds them under \"Profiles for this span\". One that an agent wrote stays |
| `flamegate.profile.samples` | how many samples are known of it, also where they name it only as their local root |

A local root has no parent, or one in another process by its flags, or is of kind server or consumer where flags do not say. Samples are counted as
the profiler counted looks, else each row once, in profiles of all types together. Spans and profiles meet where tenant and process are the same: by
`service.instance.id`, else `container.id`, else host and `process.pid`, else `service.name`, the first of which both say something. What says nothing
of its process is told nothing.

No span is lost by waiting: beyond `max_bytes` or `max_spans_held` the oldest request goes on at once, with what is known, and may overtake only those
that wait for room at exporters already; a profile that is late finds its span gone, which then has no attribute; at the end, and when a reload changes
the processors, all goes on. Only spans that get an attribute
are written anew, and the lengths around them; a request without any leaves as the bytes that came.

Requests that wait are answered already: `ack` can only be `enqueued`, and what an exporter that filled up meanwhile has no room for within five
seconds is dropped there and counted; while all are full nothing more is taken. With `hold: 0s` nothing waits: spans are told what is known when they come. Up to `max_spans` spans with samples are known, for `window`;
the one that was noted longest ago is forgotten first.

In a pipeline of profiles it stands behind `trace_links` and `trace_join`, and behind what leaves out samples (`filter`, `downsample`, `budget`), so
that what it counts arrives; but before `aggregate`, which holds profiles for longer than spans wait. Behind `labels: hash` no id is that of a span
any more. Where one profile takes two pipelines, it stands in one of them. A profile that an exporter refuses, and its sender sends again, counts
twice.

`flamegate_span_profiles_spans_total` counts by `result`: `stamped`; `no_samples`, known to have none by the time it left; `forwarded_early`, left
before its time without any; `not_root`. `flamegate_span_profiles_samples_total` counts samples noted by span;
`flamegate_span_profiles_forgotten_spans_total` spans by `reason`: `expired`, `max_spans`, `crowded` (too many processes);
`flamegate_span_profiles_known_spans`, `_held_spans` and `_held_bytes` say what there is now.
";

/// What Grafana looks for.
const PROFILE_ID: &str = "pyroscope.profile.id";
/// How many samples there are.
const SAMPLES: &str = "flamegate.profile.samples";
/// Of the memory of the process no more than this part waits.
const PART_OF_MEMORY: usize = 4;

struct SpanProfiles {
    hold: Duration,
    max_bytes: usize,
    max_spans_held: u64,
    dialects: Dialects,
    /// What all of one id know together.
    known: Arc<Known>,
    queue: Queue,
    metrics: SpanProfilesMetrics,
}

/// In a pipeline of profiles nothing waits.
fn holds(raw: &RawConfig, signal: Signal) -> bool {
    let config = parse::<Config>(raw.clone());
    signal == Signal::Traces && config.is_ok_and(|config| !config.hold.0.is_zero())
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    let config: Config = parse(raw.clone())?;
    config.check()?;
    let metrics = cx.metrics.span_profiles(&cx.id);
    let known = || Known::new(config.max_spans, config.window.0, metrics.clone());
    let known = cx.shared.get_or_make(&cx.id, &raw, known);
    Ok(Box::new(SpanProfiles::new(&config, known, metrics)?))
}

impl Processor for SpanProfiles {
    fn process(&self, batch: Batch, _: &Context) -> Verdict {
        self.process_at(batch, Instant::now())
    }

    fn due(&self) -> Option<Instant> {
        self.queue.due()
    }

    fn flush(&self, all: bool) -> Vec<Batch> {
        self.flush_at(all, Instant::now())
    }
}

impl SpanProfiles {
    fn new(config: &Config, known: Arc<Known>, metrics: SpanProfilesMetrics) -> Result<Self, BuildError> {
        Ok(Self {
            hold: config.hold.0,
            max_bytes: config.max_bytes.as_usize(),
            max_spans_held: config.max_spans_held as u64,
            dialects: Dialects::new(&config.dialects)?,
            known,
            queue: Queue::new(metrics.held_spans.clone(), metrics.held_bytes.clone()),
            metrics,
        })
    }

    fn process_at(&self, batch: Batch, now: Instant) -> Verdict {
        match batch.signal() {
            Signal::Profiles => {
                self.note(&batch, now);
                Verdict::pass(batch)
            }
            Signal::Traces if self.hold.is_zero() => {
                let is_early = false;
                Verdict::pass(self.stamped(Leaving { batch, is_early }, now))
            }
            Signal::Traces => {
                let room = Room {
                    bytes: self.max_bytes.min(batch.permit().limit() / PART_OF_MEMORY),
                    received: self.max_spans_held,
                };
                let leaving = self.queue.push(batch, now + self.hold, &room);
                Verdict::Hold(leaving.into_iter().map(|one| self.stamped(one, now)).collect())
            }
        }
    }

    fn flush_at(&self, all: bool, now: Instant) -> Vec<Batch> {
        let leaving = self.queue.take(all, now).into_iter();
        leaving.map(|one| self.stamped(one, now)).collect()
    }

    /// Notes the spans of samples.
    fn note(&self, batch: &Batch, now: Instant) {
        let Some(profiles) = batch.as_profiles() else { return };
        let sampled = self.dialects.sampled(&batch.origin().tenant, profiles);
        if sampled.is_empty() {
            return;
        }
        let spans = sampled.iter().flat_map(|of| of.spans.values());
        let samples = spans.fold(0_u64, |sum, tally| sum.saturating_add(tally.samples));
        self.metrics.samples.inc_by(samples);
        self.known.note(sampled, batch.permit(), now);
    }

    /// A request with what is known of its spans.
    fn stamped(&self, leaving: Leaving, now: Instant) -> Batch {
        let Leaving { batch, is_early } = leaving;
        let Some(traces) = batch.as_traces() else { return batch };
        let tenant = &batch.origin().tenant;
        let (mut stamped, mut missed) = (0, 0);
        let mut choose = |process: &Process, span: &Span<'_>, settings: &mut Vec<Setting>| {
            if !span.is_local_root() {
                return;
            }
            match self.known.of(process, span.span_id, now) {
                None => missed += 1,
                Some(tally) => {
                    stamped += 1;
                    stamp(span, tally, settings);
                }
            }
        };
        let told = traces.with_attributes(|resource| Process::of_spans(tenant, resource), &mut choose);
        let without = if is_early { "forwarded_early" } else { "no_samples" };
        self.metrics.spans(without, missed);
        self.metrics.spans("stamped", stamped);
        self.metrics.spans("not_root", traces.count() - stamped - missed);
        match told {
            Some(traces) => batch.rewritten(traces),
            None => batch,
        }
    }
}

/// What is written on a span that has samples.
fn stamp(span: &Span<'_>, tally: Tally, settings: &mut Vec<Setting>) {
    if tally.is_found {
        settings.push(Setting {
            key: PROFILE_ID,
            value: NewValue::Text(to_hex(&span.span_id)),
            there: There::Stays,
        });
    }
    settings.push(Setting {
        key: SAMPLES,
        value: NewValue::Int(i64::try_from(tally.samples).unwrap_or(i64::MAX)),
        there: There::GivesWay,
    });
}
