//! Every metric of the process, and the only place where one gets its name.
//!
//! Names that the OpenTelemetry Collector has are spelt as it spells them: without `_total`, which the Prometheus client would
//! add to a counter. Such numbers are therefore [`Number`]s, exposed with type `unknown`; rates over them work all the same.

mod aggregate;
mod budget;
mod exporter;
mod files;
mod ledger;
mod number;
mod rate_limit;
mod recent;
mod reduction;
mod scrape;
mod server;
mod services;
mod span_profiles;
mod trace_join;
mod trace_links;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use super::component::{Component, Signal};
use super::targets::Targets;
pub use aggregate::AggregateMetrics;
pub use budget::BudgetMetrics;
pub use exporter::ExporterMetrics;
pub use files::FileMetrics;
pub use ledger::LedgerMetrics;
pub use number::Number;
pub use rate_limit::RateLimitMetrics;
pub use recent::RecentMetrics;
pub use reduction::ReductionMetrics;
pub use scrape::ScrapeMetrics;
pub use server::{Opened, ServerMetrics};
pub use services::ServiceFileMetrics;
pub use span_profiles::SpanProfilesMetrics;
pub use trace_join::TraceJoinMetrics;
pub use trace_links::TraceLinksMetrics;

/// What a kill may be about.
const KILL_SCOPES: [&str; 8] = [
    "all",
    "tenant",
    "service",
    "receiver",
    "exporter",
    "profile_type",
    "label",
    "several",
];

type One = [(&'static str, Arc<str>); 1];
type Two = [(&'static str, Arc<str>); 2];
type Three = [(&'static str, Arc<str>); 3];

/// How much went by: the three sizes that every edge counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Profiles as received; or spans.
    pub profiles: u64,
    /// Samples; or spans.
    pub samples: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The metrics of the process. Labels come from the configuration or are enumerated: nothing of a payload becomes one.
pub struct Metrics {
    /// The audit trail beside them: whoever counts a removal tells it there too.
    pub audit: super::Audit,
    /// What the ledger of a month shows.
    pub ledger: LedgerMetrics,
    registry: Registry,
    aggregate: aggregate::Families,
    budget: budget::Families,
    exporter: exporter::Families,
    files: files::Families,
    rate_limit: rate_limit::Families,
    recent: recent::Families,
    reduction: reduction::Families,
    scrape: scrape::Families,
    server: server::Families,
    services: services::Families,
    span_profiles: span_profiles::Families,
    trace_join: trace_join::Families,
    trace_links: trace_links::Families,
    accepted: Amounts,
    accepted_spans: Family<One, Number>,
    refused: Family<Two, Counter>,
    refused_samples: Family<One, Number>,
    refused_spans: Family<One, Number>,
    repairs: Family<One, Counter>,
    limits: Family<Two, Counter>,
    incoming: Family<One, Number>,
    outgoing: Family<One, Number>,
    dropped: Family<Three, Counter>,
    dropped_spans: Family<Three, Counter>,
    redactions: Family<Two, Counter>,
    redaction_trials: Family<[(&'static str, &'static str); 3], Counter>,
    redaction_texts: Family<One, Number>,
    redaction_text_bytes: Family<One, Number>,
    escrowed: Family<[(&'static str, &'static str); 1], Counter>,
    panics: Family<Three, Counter>,
    memory_used: Number,
    memory_soft_limit: Number,
    memory_limit: Number,
    kills: Family<[(&'static str, &'static str); 1], Number>,
    kill_switch_broken: Family<[(&'static str, &'static str); 1], Number>,
    reloads: Family<[(&'static str, &'static str); 1], Counter>,
    /// Labels of `dropped`, which cannot be listed otherwise.
    drops: Mutex<BTreeSet<(Signal, Component, &'static str)>>,
    /// Labels of the exporters' metrics.
    exporters: Mutex<BTreeSet<(Signal, Arc<str>)>>,
    /// The targets of receivers that run.
    targets: Mutex<Vec<(Arc<str>, Weak<Targets>)>>,
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

impl Default for Metrics {
    fn default() -> Self {
        let mut names = Names(Registry::default());
        let r = &mut names;
        // the client appends `_info` to the name and `_total` to that of a counter
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.0.register("flamegate_build", "What runs", version);
        Self {
            audit: super::Audit::default(),
            ledger: LedgerMetrics::named(r),
            aggregate: aggregate::Families::named(r),
            budget: budget::Families::named(r),
            exporter: exporter::Families::named(r),
            files: files::Families::named(r),
            rate_limit: rate_limit::Families::named(r),
            recent: recent::Families::named(r),
            reduction: reduction::Families::named(r),
            scrape: scrape::Families::named(r),
            server: server::Families::named(r),
            services: services::Families::named(r),
            span_profiles: span_profiles::Families::named(r),
            trace_join: trace_join::Families::named(r),
            trace_links: trace_links::Families::named(r),
            accepted: Amounts {
                samples: r.named("otelcol_receiver_accepted_profile_samples", "Samples taken on"),
                profiles: r.named("flamegate_receiver_accepted_profiles", "Profiles taken on"),
                bytes: r.named("flamegate_receiver_accepted_bytes", "Bytes taken on, decompressed"),
            },
            accepted_spans: r.named("otelcol_receiver_accepted_spans", "Spans taken on"),
            refused_samples: r.named(
                "otelcol_receiver_refused_profile_samples",
                "Samples that the pipeline refused",
            ),
            refused_spans: r.named("otelcol_receiver_refused_spans", "Spans that the pipeline refused"),
            refused: r.named("flamegate_receiver_refused_requests", "Requests refused, by reason"),
            repairs: r.named("flamegate_repairs", "Defects mended on the way in"),
            limits: r.named("flamegate_limits", "How often a limit held, by receiver and limit"),
            incoming: r.named(
                "otelcol_processor_incoming_items",
                "Samples, or spans, into a processor",
            ),
            outgoing: r.named(
                "otelcol_processor_outgoing_items",
                "Samples, or spans, out of a processor",
            ),
            dropped: r.named(
                "flamegate_dropped",
                "Profiles dropped, by component, its kind, and reason",
            ),
            dropped_spans: r.named(
                "flamegate_dropped_spans",
                "Spans dropped, by component, its kind, and reason",
            ),
            redactions: r.named("flamegate_redactions", "Strings removed, by rule and carrier"),
            redaction_trials: r.named(
                "flamegate_redaction_trials",
                "Strings that a policy on trial would have removed, by policy, rule and carrier",
            ),
            redaction_texts: r.named("flamegate_redaction_cache_texts", "Texts that a redaction remembers"),
            redaction_text_bytes: r.named(
                "flamegate_redaction_cache_bytes",
                "Memory in which a redaction remembers texts",
            ),
            escrowed: r.named(
                "flamegate_escrow_names",
                "Names that pseudonyms stand for: kept, deferred to the next batch, failed, too_long",
            ),
            panics: r.named(
                "flamegate_panics",
                "Panics caught, by component, its kind, and fingerprint",
            ),
            memory_used: r.named("flamegate_memory_used_bytes", "Memory that batches hold"),
            memory_soft_limit: r.named(
                "flamegate_memory_soft_limit_bytes",
                "Memory from which on new requests are refused",
            ),
            memory_limit: r.named("flamegate_memory_limit_bytes", "Memory that batches may hold"),
            kills: r.named("flamegate_kills", "Kills in force, by scope"),
            kill_switch_broken: r.named(
                "flamegate_kill_switch_broken",
                "1 where the file of kills or their storage cannot be read or written",
            ),
            reloads: r.named("flamegate_config_reloads", "Reloads of the configuration, by result"),
            drops: Mutex::default(),
            exporters: Mutex::default(),
            targets: Mutex::default(),
            registry: names.0,
        }
    }
}

/// Where metrics get their names.
struct Names(Registry);

impl Names {
    fn named<M: Metric + Default + Clone>(&mut self, name: &str, help: &str) -> M {
        self.of(name, help, M::default())
    }

    fn of<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}

impl Metrics {
    /// All of them as Prometheus (OpenMetrics) text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // writing to a string does not fail
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// A receiver took on a request.
    pub fn accepted(&self, receiver: &Arc<str>, signal: Signal, amount: Amount) {
        let key = [("receiver", receiver.clone())];
        match signal {
            Signal::Profiles => self.accepted.add(&key, amount),
            Signal::Traces => {
                self.accepted_spans.get_or_create(&key).add(amount.profiles);
                self.accepted.bytes.get_or_create(&key).add(amount.bytes);
            }
        }
    }

    /// A receiver's request was refused.
    pub fn refused(&self, receiver: &Arc<str>, reason: &'static str) {
        let key = [("receiver", receiver.clone()), ("reason", reason.into())];
        self.refused.get_or_create(&key).inc();
    }

    /// So many samples, or spans, were in it, as far as it was decoded.
    pub fn refused_items(&self, receiver: &Arc<str>, signal: Signal, items: u64) {
        let refused = match signal {
            Signal::Profiles => &self.refused_samples,
            Signal::Traces => &self.refused_spans,
        };
        refused.get_or_create(&[("receiver", receiver.clone())]).add(items);
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

    /// Profiles, or spans, were dropped.
    pub fn dropped(&self, component: &Component, signal: Signal, reason: &'static str, number: u64) {
        let key = of_component(component, ("reason", reason));
        let dropped = self.drops_of(signal);
        if let Some(count) = dropped.get(&key) {
            count.inc_by(number);
            return;
        }
        dropped.get_or_create(&key).inc_by(number);
        let mut known = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((signal, component.clone(), reason));
    }

    fn drops_of(&self, signal: Signal) -> &Family<Three, Counter> {
        match signal {
            Signal::Profiles => &self.dropped,
            Signal::Traces => &self.dropped_spans,
        }
    }

    /// How many profiles, or spans, a component dropped for a reason so far.
    pub fn dropped_count(&self, component: &Component, signal: Signal, reason: &'static str) -> u64 {
        let key = of_component(component, ("reason", reason));
        self.drops_of(signal).get(&key).map_or(0, |count| count.get())
    }

    /// What was dropped so far of one kind of data: component, reason, profiles or spans.
    pub fn drops(&self, signal: Signal) -> Vec<(Component, &'static str, u64)> {
        let known = self.drops.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let own = known.into_iter().filter(|(of, _, _)| *of == signal);
        let count = |(_, component, reason): (Signal, Component, &'static str)| {
            let number = self.dropped_count(&component, signal, reason);
            (component, reason, number)
        };
        own.map(count).collect()
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

    /// So many kills are in force of each scope, and none of the others.
    pub fn killed(&self, scopes: &BTreeMap<&'static str, u64>) {
        for scope in KILL_SCOPES {
            let kills = scopes.get(scope).copied().unwrap_or_default();
            self.kills.get_or_create(&[("scope", scope)]).set(kills);
        }
    }

    /// Whether a `part` of the kill switch, its `file` or its `storage`, cannot be used.
    pub fn kill_switch_broken(&self, part: &'static str, is_broken: bool) {
        let number = self.kill_switch_broken.get_or_create(&[("part", part)]);
        number.set(u64::from(is_broken));
    }

    /// The memory that batches hold, and the levels of it.
    pub fn memory(&self, used: usize, soft: usize, limit: usize) {
        self.memory_used.set(used as u64);
        self.memory_soft_limit.set(soft as u64);
        self.memory_limit.set(limit as u64);
    }
}

/// The labels of what a component did. Its id alone would not do: a receiver and an exporter may have the same.
fn of_component(component: &Component, (label, value): (&'static str, &str)) -> Three {
    [
        ("component", component.id.clone()),
        ("kind", component.kind.label().into()),
        (label, value.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Kind;

    #[test]
    fn collector_names_carry_no_suffix_and_ours_do() {
        let metrics = Metrics::default();
        let otlp: Arc<str> = "otlp".into();
        let amount = Amount {
            profiles: 1,
            samples: 7,
            bytes: 9,
        };
        metrics.accepted(&otlp, Signal::Profiles, amount);
        metrics.dropped(&Kind::Receiver.named(otlp), Signal::Profiles, "defective", 2);
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
