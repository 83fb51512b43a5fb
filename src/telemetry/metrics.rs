//! Every metric of the process, and the only place where one gets its name.
//!
//! Names that the OpenTelemetry Collector has are spelt as it spells them: without `_total`, which the Prometheus client would
//! add to a counter. Such numbers are therefore [`Number`]s, exposed with type `unknown`; rates over them work all the same.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::component::Component;

type One = [(&'static str, Arc<str>); 1];
type Two = [(&'static str, Arc<str>); 2];
type OfComponent = [(&'static str, Arc<str>); 3];
type Three = [(&'static str, &'static str); 3];
type Ages = Family<One, Histogram, fn() -> Histogram>;

/// A number whose name is exposed exactly as registered.
#[derive(Clone, Debug, Default)]
pub struct Number(Arc<AtomicU64>);

impl Number {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Subtracts.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Adds the difference between what was and what is.
    pub fn change(&self, from: usize, to: usize) {
        self.add((to as u64).wrapping_sub(from as u64));
    }

    /// Replaces.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl EncodeMetric for Number {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&self.get())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Unknown
    }
}

impl prometheus_client::metrics::TypedMetric for Number {
    const TYPE: MetricType = MetricType::Unknown;
}

/// How much went by: the three sizes that every edge counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Profiles as received.
    pub profiles: u64,
    /// Samples.
    pub samples: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The metrics of the process. Labels come from the configuration or are enumerated: nothing of a payload becomes one.
pub struct Metrics {
    /// The audit trail beside them: whoever counts a removal tells it there too.
    pub audit: super::Audit,
    registry: Registry,
    accepted: Amounts,
    refused: Family<Two, Counter>,
    refused_samples: Family<One, Number>,
    repairs: Family<One, Counter>,
    limits: Family<Two, Counter>,
    incoming: Family<One, Number>,
    outgoing: Family<One, Number>,
    dropped: Family<OfComponent, Counter>,
    redactions: Family<Two, Counter>,
    redaction_trials: Family<Three, Counter>,
    redaction_texts: Family<One, Number>,
    redaction_text_bytes: Family<One, Number>,
    escrowed: Family<[(&'static str, &'static str); 1], Counter>,
    panics: Family<OfComponent, Counter>,
    exporter_accepted: Family<One, Number>,
    sent: Amounts,
    send_failed: Family<One, Number>,
    enqueue_failed: Family<One, Number>,
    queue_size: Family<One, Number>,
    queue_capacity: Family<One, Number>,
    queue_bytes: Family<One, Number>,
    in_flight_requests: Family<One, Number>,
    in_flight_profiles: Family<One, Number>,
    retries: Family<One, Counter>,
    delivery_age: Ages,
    memory_used: Number,
    memory_soft_limit: Number,
    memory_limit: Number,
    connections: Family<One, Number>,
    connections_cut: Family<Two, Counter>,
    reloads: Family<[(&'static str, &'static str); 1], Counter>,
    /// Labels of `dropped`, which cannot be listed otherwise.
    drops: Mutex<BTreeSet<(Component, &'static str)>>,
    /// Labels of the exporters' metrics.
    exporters: Mutex<BTreeSet<Arc<str>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Profiles, samples and bytes of one edge.
#[derive(Clone, Default)]
struct Amounts {
    profiles: Family<One, Number>,
    samples: Family<One, Number>,
    bytes: Family<One, Number>,
}

impl Amounts {
    fn add(&self, key: &One, amount: Amount) {
        self.profiles.get_or_create(key).add(amount.profiles);
        self.samples.get_or_create(key).add(amount.samples);
        self.bytes.get_or_create(key).add(amount.bytes);
    }
}

fn ages() -> Histogram {
    Histogram::new([0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            audit: super::Audit::default(),
            registry: Registry::default(),
            accepted: Amounts::default(),
            refused: Family::default(),
            refused_samples: Family::default(),
            repairs: Family::default(),
            limits: Family::default(),
            incoming: Family::default(),
            outgoing: Family::default(),
            dropped: Family::default(),
            redactions: Family::default(),
            redaction_trials: Family::default(),
            redaction_texts: Family::default(),
            redaction_text_bytes: Family::default(),
            escrowed: Family::default(),
            panics: Family::default(),
            exporter_accepted: Family::default(),
            sent: Amounts::default(),
            send_failed: Family::default(),
            enqueue_failed: Family::default(),
            queue_size: Family::default(),
            queue_capacity: Family::default(),
            queue_bytes: Family::default(),
            in_flight_requests: Family::default(),
            in_flight_profiles: Family::default(),
            retries: Family::default(),
            delivery_age: Family::new_with_constructor(ages),
            memory_used: Number::default(),
            memory_soft_limit: Number::default(),
            memory_limit: Number::default(),
            connections: Family::default(),
            connections_cut: Family::default(),
            reloads: Family::default(),
            drops: Mutex::default(),
            exporters: Mutex::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let Self { registry: r, .. } = self;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        // the client appends `_info` to the name and `_total` to that of a counter
        r.register("flamegate_build", "What runs", version);
        r.register(
            "otelcol_receiver_accepted_profile_samples",
            "Samples taken on",
            self.accepted.samples.clone(),
        );
        r.register(
            "flamegate_receiver_accepted_profiles",
            "Profiles taken on",
            self.accepted.profiles.clone(),
        );
        r.register(
            "flamegate_receiver_accepted_bytes",
            "Bytes taken on, decompressed",
            self.accepted.bytes.clone(),
        );
        r.register(
            "otelcol_receiver_refused_profile_samples",
            "Samples that the pipeline refused",
            self.refused_samples.clone(),
        );
        r.register(
            "flamegate_receiver_refused_requests",
            "Requests refused, by reason",
            self.refused.clone(),
        );
        r.register(
            "flamegate_repairs",
            "Defects mended on the way in",
            self.repairs.clone(),
        );
        r.register(
            "flamegate_limits",
            "How often a limit held, by receiver and limit",
            self.limits.clone(),
        );
        r.register(
            "otelcol_processor_incoming_items",
            "Samples into a processor",
            self.incoming.clone(),
        );
        r.register(
            "otelcol_processor_outgoing_items",
            "Samples out of a processor",
            self.outgoing.clone(),
        );
        r.register(
            "flamegate_dropped",
            "Profiles dropped, by component, its kind, and reason",
            self.dropped.clone(),
        );
        r.register(
            "flamegate_redactions",
            "Strings removed, by rule and carrier",
            self.redactions.clone(),
        );
        r.register(
            "flamegate_redaction_trials",
            "Strings that a policy on trial would have removed, by policy, rule and carrier",
            self.redaction_trials.clone(),
        );
        r.register(
            "flamegate_redaction_cache_texts",
            "Texts that a redaction remembers",
            self.redaction_texts.clone(),
        );
        r.register(
            "flamegate_redaction_cache_bytes",
            "Memory in which a redaction remembers texts",
            self.redaction_text_bytes.clone(),
        );
        r.register(
            "flamegate_escrow_names",
            "Names that pseudonyms stand for: kept, deferred to the next batch, failed, too_long",
            self.escrowed.clone(),
        );
        r.register(
            "flamegate_panics",
            "Panics caught, by component, its kind, and fingerprint",
            self.panics.clone(),
        );
        r.register(
            "flamegate_exporter_accepted_profiles",
            "Profiles offered to an exporter",
            self.exporter_accepted.clone(),
        );
        r.register(
            "otelcol_exporter_sent_profile_samples",
            "Samples delivered",
            self.sent.samples.clone(),
        );
        r.register(
            "flamegate_exporter_sent_profiles",
            "Profiles delivered",
            self.sent.profiles.clone(),
        );
        r.register(
            "flamegate_exporter_sent_bytes",
            "Bytes delivered, as sent",
            self.sent.bytes.clone(),
        );
        r.register(
            "otelcol_exporter_send_failed_profile_samples",
            "Samples given up",
            self.send_failed.clone(),
        );
        r.register(
            "otelcol_exporter_enqueue_failed_profile_samples",
            "Samples that found no room",
            self.enqueue_failed.clone(),
        );
        r.register(
            "otelcol_exporter_queue_size",
            "Requests waiting",
            self.queue_size.clone(),
        );
        r.register(
            "otelcol_exporter_queue_capacity",
            "Requests that may wait",
            self.queue_capacity.clone(),
        );
        r.register(
            "flamegate_exporter_queue_bytes",
            "Bytes waiting or on their way",
            self.queue_bytes.clone(),
        );
        r.register(
            "otelcol_exporter_in_flight_requests",
            "Requests on their way",
            self.in_flight_requests.clone(),
        );
        r.register(
            "flamegate_exporter_in_flight_profiles",
            "Profiles waiting or on their way",
            self.in_flight_profiles.clone(),
        );
        r.register("flamegate_exporter_retries", "Attempts repeated", self.retries.clone());
        r.register(
            "flamegate_delivery_age_seconds",
            "From arrival to delivery",
            self.delivery_age.clone(),
        );
        r.register(
            "flamegate_memory_used_bytes",
            "Memory that batches hold",
            self.memory_used.clone(),
        );
        r.register(
            "flamegate_memory_soft_limit_bytes",
            "Memory from which on new requests are refused",
            self.memory_soft_limit.clone(),
        );
        r.register(
            "flamegate_memory_limit_bytes",
            "Memory that batches may hold",
            self.memory_limit.clone(),
        );
        r.register("flamegate_connections", "Connections open", self.connections.clone());
        r.register(
            "flamegate_connections_cut",
            "Connections that a limit ended, by reason",
            self.connections_cut.clone(),
        );
        r.register(
            "flamegate_config_reloads",
            "Reloads of the configuration, by result",
            self.reloads.clone(),
        );
    }

    /// All of them as Prometheus (OpenMetrics) text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // writing to a string does not fail
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// A receiver took on a request.
    pub fn accepted(&self, receiver: &Arc<str>, amount: Amount) {
        self.accepted.add(&[("receiver", receiver.clone())], amount);
    }

    /// A receiver's request was refused; `samples` is 0 if it was not even decoded.
    pub fn refused(&self, receiver: &Arc<str>, reason: &'static str, samples: u64) {
        let key = [("receiver", receiver.clone()), ("reason", reason.into())];
        self.refused.get_or_create(&key).inc();
        let key = [("receiver", receiver.clone())];
        self.refused_samples.get_or_create(&key).add(samples);
    }

    /// A decoder mended something.
    pub fn repaired(&self, receiver: &Arc<str>, times: u64) {
        if times > 0 {
            self.repairs
                .get_or_create(&[("receiver", receiver.clone())])
                .inc_by(times);
        }
    }

    /// A limit held: a request was refused for it, or so many labels became `__overflow__`. Limits are enumerated.
    pub fn limited(&self, receiver: &Arc<str>, limit: &'static str, times: u64) {
        if times > 0 {
            let key = [("receiver", receiver.clone()), ("limit", limit.into())];
            self.limits.get_or_create(&key).inc_by(times);
        }
    }

    /// Samples went into a processor.
    pub fn incoming(&self, processor: &Arc<str>, samples: u64) {
        self.incoming
            .get_or_create(&[("processor", processor.clone())])
            .add(samples);
    }

    /// Samples came out of a processor.
    pub fn outgoing(&self, processor: &Arc<str>, samples: u64) {
        self.outgoing
            .get_or_create(&[("processor", processor.clone())])
            .add(samples);
    }

    /// Profiles were dropped.
    pub fn dropped(&self, component: &Component, reason: &'static str, profiles: u64) {
        let key = of_component(component, ("reason", reason));
        if let Some(count) = self.dropped.get(&key) {
            count.inc_by(profiles);
            return;
        }
        self.dropped.get_or_create(&key).inc_by(profiles);
        let mut known = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((component.clone(), reason));
    }

    /// How many profiles a component dropped for a reason so far.
    pub fn dropped_count(&self, component: &Component, reason: &'static str) -> u64 {
        let key = of_component(component, ("reason", reason));
        self.dropped.get(&key).map_or(0, |count| count.get())
    }

    /// What was dropped so far: component, reason, profiles.
    pub fn drops(&self) -> Vec<(Component, &'static str, u64)> {
        let known = self.drops.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let count = |(component, reason): (Component, &'static str)| {
            let profiles = self.dropped_count(&component, reason);
            (component, reason, profiles)
        };
        known.into_iter().map(count).collect()
    }

    /// The exporters that there were so far, with their metrics.
    pub fn exporters(&self) -> Vec<(Arc<str>, ExporterMetrics)> {
        let known = self.exporters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let metrics = |id: Arc<str>| (id.clone(), self.exporter(&id));
        known.into_iter().map(metrics).collect()
    }

    /// A redaction rule removed strings of one carrier (`function`, `label_value` ...). Both are configured or enumerated names.
    pub fn redacted(&self, rule: &Arc<str>, carrier: &'static str, strings: u64) {
        let key = [("rule", rule.clone()), ("carrier", carrier.into())];
        self.redactions.get_or_create(&key).inc_by(strings);
    }

    /// A policy on trial (`shadow`, `dry_run`) would have removed strings of one carrier.
    pub fn redaction_tried(&self, policy: &'static str, rule: &'static str, carrier: &'static str, strings: u64) {
        let key = [("policy", policy), ("rule", rule), ("carrier", carrier)];
        self.redaction_trials.get_or_create(&key).inc_by(strings);
    }

    /// What a redaction remembers of texts from batch to batch.
    pub fn redaction_remembers(&self, component: &Arc<str>, texts: usize, bytes: usize) {
        let key = [("component", component.clone())];
        self.redaction_texts.get_or_create(&key).set(texts as u64);
        self.redaction_text_bytes.get_or_create(&key).set(bytes as u64);
    }

    /// Names were handed to the escrow of pseudonyms; the result is `kept`, `deferred`, `failed` or `too_long`.
    pub fn escrowed(&self, result: &'static str, names: u64) {
        self.escrowed.get_or_create(&[("result", result)]).inc_by(names);
    }

    /// A component panicked at the place that `fingerprint` stands for.
    pub fn panicked(&self, component: &Component, fingerprint: &str) {
        self.panics
            .get_or_create(&of_component(component, ("fingerprint", fingerprint)))
            .inc();
    }

    /// A reload was asked for.
    pub fn reloaded(&self, succeeded: bool) {
        let result = if succeeded { "success" } else { "failure" };
        self.reloads.get_or_create(&[("result", result)]).inc();
    }

    /// The memory that batches hold, and the levels of it.
    pub fn memory(&self, used: usize, soft: usize, limit: usize) {
        self.memory_used.set(used as u64);
        self.memory_soft_limit.set(soft as u64);
        self.memory_limit.set(limit as u64);
    }

    /// The metrics of one server, looked up once. It is called as its receiver is.
    pub fn server(&self, server: &Arc<str>) -> ServerMetrics {
        ServerMetrics {
            open: self.connections.get_or_create(&[("server", server.clone())]).clone(),
            server: server.clone(),
            cut: self.connections_cut.clone(),
        }
    }

    /// The metrics of one exporter, looked up once.
    pub fn exporter(&self, exporter: &Arc<str>) -> ExporterMetrics {
        let key: One = [("exporter", exporter.clone())];
        let mut known = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(exporter.clone());
        drop(known);
        ExporterMetrics {
            accepted: self.exporter_accepted.get_or_create(&key).clone(),
            sent_profiles: self.sent.profiles.get_or_create(&key).clone(),
            sent_samples: self.sent.samples.get_or_create(&key).clone(),
            sent_bytes: self.sent.bytes.get_or_create(&key).clone(),
            send_failed: self.send_failed.get_or_create(&key).clone(),
            enqueue_failed: self.enqueue_failed.get_or_create(&key).clone(),
            queue_size: self.queue_size.get_or_create(&key).clone(),
            queue_capacity: self.queue_capacity.get_or_create(&key).clone(),
            queue_bytes: self.queue_bytes.get_or_create(&key).clone(),
            in_flight_requests: self.in_flight_requests.get_or_create(&key).clone(),
            in_flight_profiles: self.in_flight_profiles.get_or_create(&key).clone(),
            retries: self.retries.get_or_create(&key).clone(),
            age: self.delivery_age.get_or_create(&key).clone(),
        }
    }
}

/// The labels of what a component did. Its id alone would not do: a receiver and an exporter may have the same.
fn of_component(component: &Component, (label, value): (&'static str, &str)) -> OfComponent {
    [
        ("component", component.id.clone()),
        ("kind", component.kind.label().into()),
        (label, value.into()),
    ]
}

/// The metrics of one server.
#[derive(Clone, Debug, Default)]
pub struct ServerMetrics {
    open: Number,
    server: Arc<str>,
    cut: Family<Two, Counter>,
}

impl ServerMetrics {
    /// A connection is open until the answer is dropped.
    pub fn opened(&self) -> Opened {
        self.open.add(1);
        Opened(self.open.clone())
    }

    /// Connections open.
    pub fn open(&self) -> u64 {
        self.open.get()
    }

    /// A limit ended a connection, or kept it out. The reasons are enumerated where they arise.
    pub fn cut(&self, reason: &'static str) {
        self.cut_by(reason).inc();
    }

    /// How many connections ended for a reason so far.
    pub fn cut_count(&self, reason: &'static str) -> u64 {
        self.cut_by(reason).get()
    }

    fn cut_by(&self, reason: &'static str) -> Counter {
        let key = [("server", self.server.clone()), ("reason", reason.into())];
        self.cut.get_or_create(&key).clone()
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Opened(Number);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// The metrics of one exporter.
#[derive(Clone)]
pub struct ExporterMetrics {
    /// Profiles offered to it.
    pub accepted: Number,
    /// Profiles delivered.
    pub sent_profiles: Number,
    /// Samples delivered.
    pub sent_samples: Number,
    /// Bytes delivered, as sent.
    pub sent_bytes: Number,
    /// Samples given up.
    pub send_failed: Number,
    /// Samples that found no room in its queue.
    pub enqueue_failed: Number,
    /// Requests waiting.
    pub queue_size: Number,
    /// Requests that may wait.
    pub queue_capacity: Number,
    /// Bytes waiting or on their way.
    pub queue_bytes: Number,
    /// Requests on their way.
    pub in_flight_requests: Number,
    /// Profiles waiting or on their way.
    pub in_flight_profiles: Number,
    /// Attempts repeated.
    pub retries: Counter,
    age: Histogram,
}

impl ExporterMetrics {
    /// Something arrived at the backend, so long after it came.
    pub fn delivered(&self, amount: Amount, age: Duration) {
        self.sent_profiles.add(amount.profiles);
        self.sent_samples.add(amount.samples);
        self.sent_bytes.add(amount.bytes);
        self.age.observe(age.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Kind;

    #[test]
    fn collector_names_carry_no_suffix_and_ours_do() {
        let metrics = Metrics::default();
        let otlp: Arc<str> = "otlp".into();
        metrics.accepted(
            &otlp,
            Amount {
                profiles: 1,
                samples: 7,
                bytes: 9,
            },
        );
        metrics.dropped(&Kind::Receiver.named(otlp), "defective", 2);
        metrics.redacted(&"emails".into(), "label_value", 3);
        let text = metrics.text();
        assert!(
            text.contains("\notelcol_receiver_accepted_profile_samples{receiver=\"otlp\"} 7\n"),
            "{text}"
        );
        assert!(
            text.contains("flamegate_dropped_total{component=\"otlp\",kind=\"receiver\",reason=\"defective\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("flamegate_redactions_total{rule=\"emails\",carrier=\"label_value\"} 3\n"),
            "{text}"
        );
        assert!(text.contains("flamegate_build_info{version="), "{text}");
    }
}
