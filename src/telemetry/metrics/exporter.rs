//! The metrics of one exporter for one kind of data.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::super::component::Signal;
use super::{Amount, Metrics, Names, Number, One};

type Ages = Family<One, Histogram, fn() -> Histogram>;

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    profiles: Items,
    spans: Items,
    sent_samples: Family<One, Number>,
    sent_bytes: Family<One, Number>,
    queue_size: Family<One, Number>,
    queue_capacity: Family<One, Number>,
    queue_bytes: Family<One, Number>,
    in_flight_requests: Family<One, Number>,
    retries: Family<One, Counter>,
    age: Ages,
}

/// What is counted of each kind of data by itself.
#[derive(Clone)]
struct Items {
    accepted: Family<One, Number>,
    sent: Family<One, Number>,
    send_failed: Family<One, Number>,
    enqueue_failed: Family<One, Number>,
    in_flight: Family<One, Number>,
}

/// The metrics of one exporter. It counts profiles, and samples beside them; or spans, which are both. What waits, and what is
/// sent in bytes, is counted under one name for all that it sends.
#[derive(Clone)]
pub struct ExporterMetrics {
    /// Profiles, or spans, offered to it.
    pub accepted: Number,
    /// Profiles, or spans, delivered.
    pub sent: Number,
    /// Samples delivered; nobody sees this of spans.
    pub sent_samples: Number,
    /// Bytes delivered, as sent.
    pub sent_bytes: Number,
    /// Samples, or spans, given up.
    pub send_failed: Number,
    /// Samples, or spans, that found no room in its queue.
    pub enqueue_failed: Number,
    /// Requests waiting.
    pub queue_size: Number,
    /// Requests that may wait.
    pub queue_capacity: Number,
    /// Bytes waiting or on their way.
    pub queue_bytes: Number,
    /// Requests on their way.
    pub in_flight_requests: Number,
    /// Profiles, or spans, waiting or on their way.
    pub in_flight: Number,
    /// Attempts repeated.
    pub retries: Counter,
    age: Histogram,
}

fn ages() -> Histogram {
    Histogram::new([0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0])
}

impl Items {
    fn of_profiles(r: &mut Names) -> Self {
        Self {
            accepted: r.named(
                "flamegate_exporter_accepted_profiles",
                "Profiles offered to an exporter",
            ),
            sent: r.named("flamegate_exporter_sent_profiles", "Profiles delivered"),
            send_failed: r.named("otelcol_exporter_send_failed_profile_samples", "Samples given up"),
            enqueue_failed: r.named(
                "otelcol_exporter_enqueue_failed_profile_samples",
                "Samples that found no room",
            ),
            in_flight: r.named(
                "flamegate_exporter_in_flight_profiles",
                "Profiles waiting or on their way",
            ),
        }
    }

    fn of_spans(r: &mut Names) -> Self {
        Self {
            accepted: r.named("flamegate_exporter_accepted_spans", "Spans offered to an exporter"),
            sent: r.named("otelcol_exporter_sent_spans", "Spans delivered"),
            send_failed: r.named("otelcol_exporter_send_failed_spans", "Spans given up"),
            enqueue_failed: r.named("otelcol_exporter_enqueue_failed_spans", "Spans that found no room"),
            in_flight: r.named("flamegate_exporter_in_flight_spans", "Spans waiting or on their way"),
        }
    }
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            profiles: Items::of_profiles(r),
            spans: Items::of_spans(r),
            sent_samples: r.named("otelcol_exporter_sent_profile_samples", "Samples delivered"),
            sent_bytes: r.named("flamegate_exporter_sent_bytes", "Bytes delivered, as sent"),
            queue_size: r.named("otelcol_exporter_queue_size", "Requests waiting"),
            queue_capacity: r.named("otelcol_exporter_queue_capacity", "Requests that may wait"),
            queue_bytes: r.named("flamegate_exporter_queue_bytes", "Bytes waiting or on their way"),
            in_flight_requests: r.named("otelcol_exporter_in_flight_requests", "Requests on their way"),
            retries: r.named("flamegate_exporter_retries", "Attempts repeated"),
            age: r.of(
                "flamegate_delivery_age_seconds",
                "From arrival to delivery",
                Family::new_with_constructor(ages),
            ),
        }
    }
}

impl Metrics {
    /// The metrics of one exporter for one kind of data, looked up once.
    pub fn exporter(&self, exporter: &Arc<str>, signal: Signal) -> ExporterMetrics {
        let (families, key): (_, One) = (&self.exporter, [("exporter", exporter.clone())]);
        let mut known = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((signal, exporter.clone()));
        drop(known);
        let of = |family: &Family<One, Number>| family.get_or_create(&key).clone();
        let (items, sent_samples) = match signal {
            Signal::Profiles => (&families.profiles, of(&families.sent_samples)),
            Signal::Traces => (&families.spans, Number::default()),
        };
        ExporterMetrics {
            accepted: of(&items.accepted),
            sent: of(&items.sent),
            sent_samples,
            sent_bytes: of(&families.sent_bytes),
            send_failed: of(&items.send_failed),
            enqueue_failed: of(&items.enqueue_failed),
            queue_size: of(&families.queue_size),
            queue_capacity: of(&families.queue_capacity),
            queue_bytes: of(&families.queue_bytes),
            in_flight_requests: of(&families.in_flight_requests),
            in_flight: of(&items.in_flight),
            retries: families.retries.get_or_create(&key).clone(),
            age: families.age.get_or_create(&key).clone(),
        }
    }

    /// The exporters that there were so far for one kind of data, with their metrics.
    pub fn exporters(&self, signal: Signal) -> Vec<(Arc<str>, ExporterMetrics)> {
        let known = self.exporters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let own = known.into_iter().filter(|(of, _)| *of == signal);
        let metrics = |(_, id): (Signal, Arc<str>)| (id.clone(), self.exporter(&id, signal));
        own.map(metrics).collect()
    }
}

impl ExporterMetrics {
    /// Something arrived at the backend, so long after it came.
    pub fn delivered(&self, amount: Amount, age: Duration) {
        self.sent.add(amount.profiles);
        self.sent_samples.add(amount.samples);
        self.sent_bytes.add(amount.bytes);
        self.age.observe(age.as_secs_f64());
    }
}
