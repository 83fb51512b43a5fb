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
use prometheus_client::metrics::histogram::Histogram;
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
type OfRateLimit = [(&'static str, Arc<str>); 3];
type OfTraceLinks = [(&'static str, Arc<str>); 3];
type OfBudget = [(&'static str, Arc<str>); 3];
type OfComponent = [(&'static str, Arc<str>); 3];
type Three = [(&'static str, &'static str); 3];
type Ages = Family<One, Histogram, fn() -> Histogram>;

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
    span_profiles: span_profiles::Families,
    accepted: Amounts,
    accepted_spans: Family<One, Number>,
    refused: Family<Two, Counter>,
    refused_samples: Family<One, Number>,
    refused_spans: Family<One, Number>,
    repairs: Family<One, Counter>,
    limits: Family<Two, Counter>,
    incoming: Family<One, Number>,
    outgoing: Family<One, Number>,
    dropped: Family<OfComponent, Counter>,
    dropped_spans: Family<OfComponent, Counter>,
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
    exporter_accepted_spans: Family<One, Number>,
    sent_spans: Family<One, Number>,
    send_failed_spans: Family<One, Number>,
    enqueue_failed_spans: Family<One, Number>,
    in_flight_spans: Family<One, Number>,
    retries: Family<One, Counter>,
    delivery_age: Ages,
    memory_used: Number,
    memory_soft_limit: Number,
    memory_limit: Number,
    files: Family<Two, Counter>,
    file_bytes: Family<One, Number>,
    files_waiting: Family<One, Number>,
    files_in_flight: Family<One, Number>,
    connections: Family<One, Number>,
    connections_cut: Family<Two, Counter>,
    scrapes: Family<Two, Counter>,
    scrape_targets: Family<Two, Number>,
    scrape_deltas: Family<Two, Counter>,
    scrape_counters: Family<One, Number>,
    reductions: Family<Two, Counter>,
    reduced: Family<Two, Counter>,
    aggregated: Family<Two, Counter>,
    aggregate_closed: Family<Two, Counter>,
    aggregate_profiles: Family<One, Number>,
    aggregate_bytes: Family<One, Number>,
    rate_limited: Family<OfRateLimit, Counter>,
    rate_limit_keys: Family<One, Number>,
    rate_limit_shared: Family<One, Counter>,
    recent_batches: Family<One, Number>,
    recent_bytes: Family<One, Number>,
    recent_left_out: Family<Two, Counter>,
    trace_links: Family<OfTraceLinks, Counter>,
    trace_join: trace_join::TraceJoins,
    service_files: Family<Two, Number>,
    services_broken: Family<One, Number>,
    services_held: Family<Two, Counter>,
    budget_profiles: Family<Two, Counter>,
    budget_bytes: Family<OfBudget, Counter>,
    budget_floor: Family<One, Counter>,
    budget_newcomers: Family<One, Counter>,
    budget_keys: Family<One, Number>,
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

fn ages() -> Histogram {
    Histogram::new([0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0])
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
            span_profiles: span_profiles::Families::named(r),
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
            exporter_accepted: r.named(
                "flamegate_exporter_accepted_profiles",
                "Profiles offered to an exporter",
            ),
            sent: Amounts {
                samples: r.named("otelcol_exporter_sent_profile_samples", "Samples delivered"),
                profiles: r.named("flamegate_exporter_sent_profiles", "Profiles delivered"),
                bytes: r.named("flamegate_exporter_sent_bytes", "Bytes delivered, as sent"),
            },
            send_failed: r.named("otelcol_exporter_send_failed_profile_samples", "Samples given up"),
            enqueue_failed: r.named(
                "otelcol_exporter_enqueue_failed_profile_samples",
                "Samples that found no room",
            ),
            queue_size: r.named("otelcol_exporter_queue_size", "Requests waiting"),
            queue_capacity: r.named("otelcol_exporter_queue_capacity", "Requests that may wait"),
            queue_bytes: r.named("flamegate_exporter_queue_bytes", "Bytes waiting or on their way"),
            in_flight_requests: r.named("otelcol_exporter_in_flight_requests", "Requests on their way"),
            in_flight_profiles: r.named(
                "flamegate_exporter_in_flight_profiles",
                "Profiles waiting or on their way",
            ),
            exporter_accepted_spans: r.named("flamegate_exporter_accepted_spans", "Spans offered to an exporter"),
            sent_spans: r.named("otelcol_exporter_sent_spans", "Spans delivered"),
            send_failed_spans: r.named("otelcol_exporter_send_failed_spans", "Spans given up"),
            enqueue_failed_spans: r.named("otelcol_exporter_enqueue_failed_spans", "Spans that found no room"),
            in_flight_spans: r.named("flamegate_exporter_in_flight_spans", "Spans waiting or on their way"),
            retries: r.named("flamegate_exporter_retries", "Attempts repeated"),
            delivery_age: r.of(
                "flamegate_delivery_age_seconds",
                "From arrival to delivery",
                Family::new_with_constructor(ages),
            ),
            memory_used: r.named("flamegate_memory_used_bytes", "Memory that batches hold"),
            memory_soft_limit: r.named(
                "flamegate_memory_soft_limit_bytes",
                "Memory from which on new requests are refused",
            ),
            memory_limit: r.named("flamegate_memory_limit_bytes", "Memory that batches may hold"),
            files: r.named("flamegate_files", "Files finished with, by receiver and result"),
            file_bytes: r.named("flamegate_file_bytes", "Bytes of the files taken, as stored"),
            files_waiting: r.named("flamegate_files_waiting", "Files seen and not taken yet"),
            files_in_flight: r.named(
                "flamegate_files_in_flight",
                "Files taken that not every exporter is through with",
            ),
            connections: r.named("flamegate_connections", "Connections open"),
            connections_cut: r.named("flamegate_connections_cut", "Connections that a limit ended, by reason"),
            scrapes: r.named("flamegate_scrapes", "Profiles that were to be fetched, by result"),
            scrape_targets: r.named("flamegate_scrape_targets", "Targets by how they fare"),
            scrape_deltas: r.named(
                "flamegate_scrape_deltas",
                "Profiles of counters compared with the one before, by result",
            ),
            scrape_counters: r.named(
                "flamegate_scrape_counters_bytes",
                "Memory in which counters are kept for the next comparison",
            ),
            reductions: r.named(
                "flamegate_reduction_profiles",
                "Profiles that were to be made smaller, by what came of it",
            ),
            reduced: r.named(
                "flamegate_reduction_observations",
                "Observations of profiles made smaller, before and after",
            ),
            aggregated: r.named(
                "flamegate_aggregate_profiles",
                "Profiles that were to become fewer: taken, made of them, or passed on at once, and why",
            ),
            aggregate_closed: r.named(
                "flamegate_aggregate_closed",
                "Times that what was held of a resource went on, by reason",
            ),
            aggregate_profiles: r.named(
                "flamegate_aggregate_held_profiles",
                "Profiles, as received, that are held back now",
            ),
            aggregate_bytes: r.named("flamegate_aggregate_held_bytes", "Memory that is held back now"),
            rate_limited: r.named(
                "flamegate_rate_limited_profiles",
                "Profiles over a rate limit, by action (refused, dropped) and limit",
            ),
            rate_limit_keys: r.named("flamegate_rate_limit_keys", "Keys that a rate limit knows"),
            rate_limit_shared: r.named(
                "flamegate_rate_limit_shared",
                "Times that a key shared a bucket, because there were too many",
            ),
            recent_batches: r.named("flamegate_recent_batches", "Batches kept to be looked at"),
            recent_bytes: r.named("flamegate_recent_bytes", "Memory of the batches kept to be looked at"),
            recent_left_out: r.named(
                "flamegate_recent_left_out",
                "Batches not kept to be looked at, or not any more, by reason",
            ),
            trace_links: r.named(
                "flamegate_trace_links_samples",
                "Samples whose labels have trace or span ids, by dialect and what came of it",
            ),
            trace_join: trace_join::TraceJoins::named(r),
            service_files: r.named(
                "flamegate_service_files",
                "Files of services_dir, by state (good, wrong)",
            ),
            services_broken: r.named(
                "flamegate_services_dir_broken",
                "1 where services_dir cannot be looked at",
            ),
            services_held: r.named(
                "flamegate_service_numbers_held",
                "Numbers in files of services_dir that were beyond their bounds",
            ),
            budget_profiles: r.named(
                "flamegate_budget_profiles",
                "Profiles that a budget judged, by what became of them",
            ),
            budget_bytes: r.named(
                "flamegate_budget_bytes",
                "Bytes of profiles, as OTLP without compression, that a budget was offered and kept, by rule",
            ),
            budget_floor: r.named(
                "flamegate_budget_floor",
                "Profiles that passed with stacks whatever the budget",
            ),
            budget_newcomers: r.named(
                "flamegate_budget_newcomers",
                "Profiles of keys that were not known, which share a budget",
            ),
            budget_keys: r.named("flamegate_budget_keys", "Keys that a budget knows"),
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

    fn drops_of(&self, signal: Signal) -> &Family<OfComponent, Counter> {
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

    /// The exporters that there were so far for one kind of data, with their metrics.
    pub fn exporters(&self, signal: Signal) -> Vec<(Arc<str>, ExporterMetrics)> {
        let known = self.exporters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let own = known.into_iter().filter(|(of, _)| *of == signal);
        let metrics = |(_, id): (Signal, Arc<str>)| (id.clone(), self.exporter(&id, signal));
        own.map(metrics).collect()
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

    /// The metrics of one `aggregate`, looked up once.
    pub fn aggregate(&self, processor: &Arc<str>) -> AggregateMetrics {
        let key: One = [("processor", processor.clone())];
        AggregateMetrics {
            processor: processor.clone(),
            profiles: self.aggregated.clone(),
            closed: self.aggregate_closed.clone(),
            held_profiles: self.aggregate_profiles.get_or_create(&key).clone(),
            held_bytes: self.aggregate_bytes.get_or_create(&key).clone(),
        }
    }

    /// The metrics of one rate limit, looked up once.
    pub fn rate_limit(&self, processor: &Arc<str>) -> RateLimitMetrics {
        let key: One = [("processor", processor.clone())];
        RateLimitMetrics {
            processor: processor.clone(),
            limited: self.rate_limited.clone(),
            keys: self.rate_limit_keys.get_or_create(&key).clone(),
            shared: self.rate_limit_shared.get_or_create(&key).clone(),
        }
    }

    /// The metrics of one budget. Rules are named by where they stand in the configuration.
    pub fn budget(&self, processor: &Arc<str>) -> BudgetMetrics {
        let key: One = [("processor", processor.clone())];
        BudgetMetrics {
            processor: processor.clone(),
            profiles: self.budget_profiles.clone(),
            bytes: self.budget_bytes.clone(),
            floor: self.budget_floor.get_or_create(&key).clone(),
            newcomers: self.budget_newcomers.get_or_create(&key).clone(),
            keys: self.budget_keys.get_or_create(&key).clone(),
        }
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

    /// The metrics of one server, looked up once. It is called as its receiver is.
    pub fn server(&self, server: &Arc<str>) -> ServerMetrics {
        ServerMetrics {
            open: self.connections.get_or_create(&[("server", server.clone())]).clone(),
            server: server.clone(),
            cut: self.connections_cut.clone(),
        }
    }

    /// The metrics of one processor that makes links of ids in these dialects.
    pub fn trace_links<'a>(&self, processor: &Arc<str>, dialects: impl Iterator<Item = &'a str>) -> TraceLinksMetrics {
        TraceLinksMetrics {
            processor: processor.clone(),
            dialects: dialects.map(Arc::from).collect(),
            samples: self.trace_links.clone(),
        }
    }

    /// The metrics of one processor that joins profiles to spans, looked up once.
    pub fn trace_join(&self, component: &Arc<str>) -> TraceJoinMetrics {
        self.trace_join.of(component)
    }

    /// The metrics of one processor that makes profiles smaller.
    pub fn reduction(&self, processor: &Arc<str>) -> ReductionMetrics {
        ReductionMetrics {
            processor: processor.clone(),
            profiles: self.reductions.clone(),
            observations: self.reduced.clone(),
        }
    }

    /// The metrics of one directory of services.
    pub fn service_files(&self, processor: &Arc<str>) -> ServiceFileMetrics {
        ServiceFileMetrics {
            processor: processor.clone(),
            files: self.service_files.clone(),
            broken: self.services_broken.clone(),
            held: self.services_held.clone(),
        }
    }

    /// The metrics of one receiver that fetches profiles, looked up once.
    pub fn scrape(&self, receiver: &Arc<str>) -> ScrapeMetrics {
        ScrapeMetrics {
            receiver: receiver.clone(),
            scrapes: self.scrapes.clone(),
            deltas: self.scrape_deltas.clone(),
            counters: self
                .scrape_counters
                .get_or_create(&[("receiver", receiver.clone())])
                .clone(),
        }
    }

    /// A list for the targets of one receiver; it is shown until it is dropped.
    pub fn targets(&self, receiver: &Arc<str>) -> Arc<Targets> {
        let count = |health: &'static str| {
            let key = [("receiver", receiver.clone()), ("health", health.into())];
            self.scrape_targets.get_or_create(&key).clone()
        };
        let targets = Targets::counting(["new", "up", "down", "left_out"].map(count));
        let targets = Arc::new(targets);
        let mut known = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, targets)| targets.strong_count() > 0);
        known.push((receiver.clone(), Arc::downgrade(&targets)));
        targets
    }

    /// The lists of all receivers that have one.
    pub fn all_targets(&self) -> Vec<(Arc<str>, Arc<Targets>)> {
        let known = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = |(receiver, targets): &(Arc<str>, Weak<Targets>)| Some((receiver.clone(), targets.upgrade()?));
        known.iter().filter_map(alive).collect()
    }

    /// The metrics of one receiver that watches files, looked up once.
    pub fn files(&self, receiver: &Arc<str>) -> FileMetrics {
        let key: One = [("receiver", receiver.clone())];
        FileMetrics {
            finished: self.files.clone(),
            bytes: self.file_bytes.get_or_create(&key).clone(),
            waiting: self.files_waiting.get_or_create(&key).clone(),
            in_flight: self.files_in_flight.get_or_create(&key).clone(),
            receiver: receiver.clone(),
        }
    }

    /// The metrics of one exporter for one kind of data, looked up once.
    pub fn exporter(&self, exporter: &Arc<str>, signal: Signal) -> ExporterMetrics {
        let key: One = [("exporter", exporter.clone())];
        let mut known = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((signal, exporter.clone()));
        drop(known);
        let (accepted, sent, in_flight, send_failed, enqueue_failed) = match signal {
            Signal::Profiles => (
                &self.exporter_accepted,
                &self.sent.profiles,
                &self.in_flight_profiles,
                &self.send_failed,
                &self.enqueue_failed,
            ),
            Signal::Traces => (
                &self.exporter_accepted_spans,
                &self.sent_spans,
                &self.in_flight_spans,
                &self.send_failed_spans,
                &self.enqueue_failed_spans,
            ),
        };
        let of = |family: &Family<One, Number>| family.get_or_create(&key).clone();
        ExporterMetrics {
            accepted: of(accepted),
            sent: of(sent),
            sent_samples: match signal {
                Signal::Profiles => of(&self.sent.samples),
                Signal::Traces => Number::default(),
            },
            sent_bytes: of(&self.sent.bytes),
            send_failed: of(send_failed),
            enqueue_failed: of(enqueue_failed),
            queue_size: of(&self.queue_size),
            queue_capacity: of(&self.queue_capacity),
            queue_bytes: of(&self.queue_bytes),
            in_flight_requests: of(&self.in_flight_requests),
            in_flight: of(in_flight),
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
