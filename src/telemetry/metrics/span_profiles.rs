//! What a `span_profiles` counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, Names, Number, One, Two};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    spans: Family<Two, Counter>,
    samples: Family<One, Counter>,
    forgotten: Family<Two, Counter>,
    known: Family<One, Number>,
    held_spans: Family<One, Number>,
    held_bytes: Family<One, Number>,
}

/// The metrics of one `span_profiles`, looked up once.
#[derive(Clone)]
pub struct SpanProfilesMetrics {
    processor: Arc<str>,
    families: Families,
    /// Samples that name a span.
    pub samples: Counter,
    /// Spans with samples that are known now.
    pub known: Number,
    /// Spans held back now.
    pub held_spans: Number,
    /// Bytes of them.
    pub held_bytes: Number,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            spans: r.named(
                "flamegate_span_profiles_spans",
                "Spans that were to be told whether they have samples, by what came of it",
            ),
            samples: r.named("flamegate_span_profiles_samples", "Samples that name a span"),
            forgotten: r.named(
                "flamegate_span_profiles_forgotten_spans",
                "Spans with samples that are not known any more, by reason",
            ),
            known: r.named(
                "flamegate_span_profiles_known_spans",
                "Spans with samples that are known now",
            ),
            held_spans: r.named("flamegate_span_profiles_held_spans", "Spans that are held back now"),
            held_bytes: r.named(
                "flamegate_span_profiles_held_bytes",
                "Bytes of spans that are held back now",
            ),
        }
    }
}

impl Metrics {
    /// The metrics of one `span_profiles`.
    pub fn span_profiles(&self, processor: &Arc<str>) -> SpanProfilesMetrics {
        let key: One = [("processor", processor.clone())];
        let families = &self.span_profiles;
        SpanProfilesMetrics {
            processor: processor.clone(),
            samples: families.samples.get_or_create(&key).clone(),
            known: families.known.get_or_create(&key).clone(),
            held_spans: families.held_spans.get_or_create(&key).clone(),
            held_bytes: families.held_bytes.get_or_create(&key).clone(),
            families: families.clone(),
        }
    }
}

impl SpanProfilesMetrics {
    /// So many spans came to that. Results are enumerated where they arise.
    pub fn spans(&self, result: &'static str, spans: u64) {
        self.of(&self.families.spans, "result", result).inc_by(spans);
    }

    /// How many came to that so far.
    pub fn spans_count(&self, result: &'static str) -> u64 {
        self.of(&self.families.spans, "result", result).get()
    }

    /// So many spans with samples are not known any more, for this reason.
    pub fn forgotten(&self, why: &'static str, spans: u64) {
        if spans > 0 {
            self.of(&self.families.forgotten, "reason", why).inc_by(spans);
        }
    }

    /// How many for that reason so far.
    pub fn forgotten_count(&self, why: &'static str) -> u64 {
        self.of(&self.families.forgotten, "reason", why).get()
    }

    fn of(&self, family: &Family<Two, Counter>, label: &'static str, value: &'static str) -> Counter {
        let key = [("processor", self.processor.clone()), (label, value.into())];
        family.get_or_create(&key).clone()
    }
}
