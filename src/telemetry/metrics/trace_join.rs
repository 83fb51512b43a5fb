//! What a `trace_join` counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, Names, Number, One, Two};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    samples: Family<Two, Counter>,
    unexported: Family<One, Counter>,
    spans: Family<Two, Counter>,
    gone: Family<Two, Counter>,
    live: Family<One, Number>,
    bytes: Family<One, Number>,
    held_profiles: Family<One, Number>,
    held_bytes: Family<One, Number>,
}

/// The metrics of one `trace_join`, looked up once.
#[derive(Clone)]
pub struct TraceJoinMetrics {
    processor: Arc<str>,
    samples: Family<Two, Counter>,
    unexported: Counter,
    spans: Family<Two, Counter>,
    gone: Family<Two, Counter>,
    live: Number,
    bytes: Number,
    held_profiles: Number,
    held_bytes: Number,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            samples: r.named(
                "flamegate_trace_join_samples",
                "Samples with ids of traces or spans, by what came of looking for the span",
            ),
            unexported: r.named(
                "flamegate_trace_join_unexported_samples",
                "Samples that lost their link, because nobody keeps the trace",
            ),
            spans: r.named(
                "flamegate_trace_join_spans",
                "Spans that came, by whether they are known from then on",
            ),
            gone: r.named("flamegate_trace_join_spans_gone", "Spans known no longer, by reason"),
            live: r.named("flamegate_trace_join_live_spans", "Spans that are known"),
            bytes: r.named(
                "flamegate_trace_join_index_bytes",
                "Memory in which spans are known, names and processes included",
            ),
            held_profiles: r.named(
                "flamegate_trace_join_held_profiles",
                "Profiles that wait for spans, as received",
            ),
            held_bytes: r.named(
                "flamegate_trace_join_held_bytes",
                "Memory of profiles that wait for spans",
            ),
        }
    }
}

impl Metrics {
    /// The metrics of one processor that joins profiles to spans, looked up once.
    pub fn trace_join(&self, processor: &Arc<str>) -> TraceJoinMetrics {
        let (families, key): (_, One) = (&self.trace_join, [("processor", processor.clone())]);
        TraceJoinMetrics {
            processor: processor.clone(),
            samples: families.samples.clone(),
            unexported: families.unexported.get_or_create(&key).clone(),
            spans: families.spans.clone(),
            gone: families.gone.clone(),
            live: families.live.get_or_create(&key).clone(),
            bytes: families.bytes.get_or_create(&key).clone(),
            held_profiles: families.held_profiles.get_or_create(&key).clone(),
            held_bytes: families.held_bytes.get_or_create(&key).clone(),
        }
    }
}

impl TraceJoinMetrics {
    /// So many samples came to that. Results are enumerated where they arise, as those of spans are.
    pub fn samples(&self, result: &'static str, samples: u64) {
        self.add(&self.samples, ("result", result), samples);
    }

    /// How many samples did so far.
    pub fn samples_count(&self, result: &'static str) -> u64 {
        self.of(&self.samples, ("result", result)).get()
    }

    /// So many samples lost a link to a trace that nobody keeps.
    pub fn unexported(&self, samples: u64) {
        self.unexported.inc_by(samples);
    }

    /// How many samples did so far.
    pub fn unexported_count(&self) -> u64 {
        self.unexported.get()
    }

    /// So many spans came to that.
    pub fn spans(&self, result: &'static str, spans: u64) {
        self.add(&self.spans, ("result", result), spans);
    }

    /// How many spans did so far.
    pub fn spans_count(&self, result: &'static str) -> u64 {
        self.of(&self.spans, ("result", result)).get()
    }

    /// So many spans are known no longer, for this reason.
    pub fn gone(&self, reason: &'static str, spans: u64) {
        self.add(&self.gone, ("reason", reason), spans);
    }

    /// How many spans so far.
    pub fn gone_count(&self, reason: &'static str) -> u64 {
        self.of(&self.gone, ("reason", reason)).get()
    }

    /// Spans that are known.
    pub fn live(&self) -> &Number {
        &self.live
    }

    /// Bytes in which they are.
    pub fn bytes(&self) -> &Number {
        &self.bytes
    }

    /// Profiles that wait, as received.
    pub fn held_profiles(&self) -> &Number {
        &self.held_profiles
    }

    /// Bytes of what waits.
    pub fn held_bytes(&self) -> &Number {
        &self.held_bytes
    }

    fn add(&self, family: &Family<Two, Counter>, label: (&'static str, &'static str), number: u64) {
        if number > 0 {
            self.of(family, label).inc_by(number);
        }
    }

    fn of(&self, family: &Family<Two, Counter>, (label, value): (&'static str, &'static str)) -> Counter {
        let key = [("processor", self.processor.clone()), (label, value.into())];
        family.get_or_create(&key).clone()
    }
}
