//! Spans and profiles through the real binary: what leaves is compared with what prost and the project's crate for OpenTelemetry read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::messages::{Event, ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span};
use crate::push::Server;
use crate::support::{Gate, config, data, files, free_port, http, http_with, run, wait_for};
use crate::told_otlp;
use crate::told_pprof::{Says, gunzip, relabelled, spelt, time};
use crate::trace_links::{Sums, told_by_labels, told_by_links};

const SECOND: u64 = 1_000_000_000;
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// The recording of Go whose samples have trace and span ids.
fn recording() -> Vec<u8> {
    gunzip(&std::fs::read(data("go123-cpu-labels.pb.gz")).unwrap())
}

/// The same as Datadog's tracer would have written it, in the name of a tenant: no trace.
fn by_datadog(plain: &[u8], tenant: &str) -> Vec<u8> {
    relabelled(plain, |labels| {
        let mut told = vec![("of".to_owned(), Says::Text(tenant.to_owned()))];
        for (key, value) in labels {
            match key.as_str() {
                "trace_id" => {}
                "span_id" => {
                    let id = u64::from_str_radix(value, 16).unwrap();
                    told.push(("span id".to_owned(), Says::Text(id.to_string())));
                }
                _ => told.push((key.clone(), Says::Text(value.clone()))),
            }
        }
        told
    })
}

/// What is to arrive of it, where the tenant has other traces for the same spans.
fn expected(plain: &[u8], tenant: &str, trace_of: impl Fn(&str) -> String) -> Sums {
    let mut sums = Sums::new();
    for ((kind, frames, mut labels, trace, span), sum) in told_by_labels(plain) {
        labels.insert("of".to_owned(), tenant.to_owned());
        let trace = if trace.is_empty() { trace } else { trace_of(&trace) };
        *sums.entry((kind, frames, labels, trace, span)).or_default() += sum;
    }
    sums
}

/// The trace and the span of each sample that has them, each once.
fn traced(plain: &[u8]) -> Vec<(String, String)> {
    let samples = spelt(plain).1.into_iter();
    let ids = samples.filter_map(|sample| {
        Some((
            sample.labels.get("trace_id")?.clone(),
            sample.labels.get("span_id")?.clone(),
        ))
    });
    ids.collect::<BTreeSet<_>>().into_iter().collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

/// An id with every bit turned.
fn turned(hex: &str) -> String {
    bytes(hex).iter().map(|byte| format!("{:02x}", !byte)).collect()
}

fn attribute(key: &str, text: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Any::StringValue(text.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// A span of three seconds around a moment.
fn span(trace: &str, id: &str, moment: u64) -> Span {
    Span {
        trace_id: bytes(trace),
        span_id: bytes(id),
        name: "GET /cart".to_owned(),
        kind: 2,
        start_time_unix_nano: moment - SECOND,
        end_time_unix_nano: moment + 2 * SECOND,
        ..Span::default()
    }
}

fn request(service: &str, spans: Vec<Span>) -> Vec<u8> {
    let resource = ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", service)],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource],
    }
    .encode_to_vec()
}

struct Ports {
    web: u16,
    ingest: u16,
    metrics: u16,
}

impl Ports {
    fn new() -> Self {
        let [web, ingest, metrics] = [(); 3].map(|()| free_port());
        Self { web, ingest, metrics }
    }

    fn spans(&self, tenant: &str, request: &[u8]) {
        let headers = [PROTOBUF, ("x-scope-orgid", tenant)];
        assert_eq!(http_with("POST", self.web, "/v1/traces", &headers, request).0, 200);
    }

    fn profile(&self, tenant: &str, pprof: &[u8]) {
        let path = "/ingest?name=shop&format=pprof";
        let headers = [("x-scope-orgid", tenant)];
        assert_eq!(http_with("POST", self.ingest, path, &headers, pprof).0, 200);
    }

    fn metric(&self, name: &str, labels: &str) -> u64 {
        let text = http("GET", self.metrics, "/metrics", b"").1;
        let name = format!("{name}{{processor=\"trace_join\"{labels}}}");
        let value = |line: &str| line.strip_prefix(&name)?.trim().parse().ok();
        text.lines().find_map(value).unwrap_or(0)
    }

    fn samples(&self, result: &str) -> u64 {
        self.metric("flamegate_trace_join_samples_total", &format!(",result=\"{result}\""))
    }
}

fn gate_config(ports: &Ports, trace_join: &str, exporters: &str) -> String {
    let Ports { web, ingest, metrics } = ports;
    let names: Vec<&str> = exporters
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    format!(
        "receivers:
  otlp: {{protocols: {{http: {{endpoint: \"localhost:{web}\"}}}}}}
  pyroscope: {{endpoint: \"localhost:{ingest}\"}}
processors:
  trace_links: {{}}
  trace_join: {{{trace_join}}}
  redaction: {{detectors: [secrets, pii]}}
exporters:
{exporters}
service:
  reload_interval: 0s
  pipelines:
    profiles: {{receivers: [otlp, pyroscope], processors: [trace_links, trace_join, redaction], exporters: [{}]}}
    traces: {{receivers: [otlp], processors: [trace_join]}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
",
        names.join(", ")
    )
}

const TO_FILES: &str = "  file: {directory: ./otlp, format: otlp}";

/// What was written, all of it.
fn written(folder: &Path) -> Vec<u8> {
    let files = files(&folder.join("otlp"));
    files
        .iter()
        .flat_map(|file| gunzip(&std::fs::read(file).unwrap()))
        .collect()
}

fn sums(folder: &Path) -> Sums {
    let mut all = Sums::new();
    for file in files(&folder.join("otlp")) {
        let request = told_otlp::read(&gunzip(&std::fs::read(file).unwrap()));
        for (key, sum) in told_by_links(&request) {
            *all.entry(key).or_default() += sum;
        }
    }
    all
}

/// How spans and profiles come to the gate.
#[derive(Clone, Copy, Debug)]
enum Order {
    SpansFirst,
    ProfilesFirst,
    Interleaved,
}

/// Two tenants whose spans have the same ids and other traces, by clocks that are two seconds off, one this way and one the other.
fn every_span_is_found(order: Order) {
    let ports = Ports::new();
    let (folder, path) = config(&gate_config(&ports, "attributes: [], hold: 30s", TO_FILES));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let plain = recording();
    let begin = u64::try_from(time(&plain)).unwrap();
    let of = |tenant: &str| -> Vec<Span> {
        let (skew, trace_of): (_, fn(&str) -> String) = match tenant {
            "a" => (begin - 2 * SECOND, str::to_owned),
            _ => (begin + 2 * SECOND, turned),
        };
        let spans = traced(&plain).into_iter();
        spans.map(|(trace, id)| span(&trace_of(&trace), &id, skew)).collect()
    };
    let requests = ["a", "b"].map(|tenant| {
        let spans = of(tenant);
        // few requests, so that all are there long before the profiles have waited
        let parts = spans
            .chunks(spans.len().div_ceil(3))
            .map(|part| request("shop", part.to_vec()));
        (tenant, parts.collect::<Vec<_>>())
    });
    let profiles = ["a", "b"].map(|tenant| (tenant, by_datadog(&plain, tenant)));
    let all_spans = || {
        for (tenant, parts) in &requests {
            parts.iter().for_each(|part| ports.spans(tenant, part));
        }
    };
    let all_profiles = || profiles.iter().for_each(|(tenant, pprof)| ports.profile(tenant, pprof));
    match order {
        Order::SpansFirst => {
            all_spans();
            all_profiles();
        }
        Order::ProfilesFirst => {
            all_profiles();
            assert_eq!(ports.metric("flamegate_trace_join_held_profiles", ""), 2);
            all_spans();
        }
        Order::Interleaved => std::thread::scope(|scope| {
            scope.spawn(all_spans);
            scope.spawn(all_profiles);
        }),
    }
    let spans = 2 * traced(&plain).len() as u64;
    let indexed = ports.metric("flamegate_trace_join_spans_total", ",result=\"indexed\"");
    let live = ports.metric("flamegate_trace_join_live_spans", "");
    assert_eq!((indexed, live), (spans, spans), "{order:?}");
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
    let mut everything = expected(&plain, "a", str::to_owned);
    everything.extend(expected(&plain, "b", turned));
    assert!(sums(folder.path()) == everything, "{order:?}");
}

#[test]
fn spans_that_come_first_are_found() {
    every_span_is_found(Order::SpansFirst);
}

#[test]
fn spans_that_come_after_their_profile_are_found() {
    every_span_is_found(Order::ProfilesFirst);
}

#[test]
fn spans_that_come_meanwhile_are_found() {
    every_span_is_found(Order::Interleaved);
}

#[test]
fn what_cannot_be_known_stays_as_it_is_and_is_counted() {
    let ports = Ports::new();
    let (folder, path) = config(&gate_config(&ports, "", TO_FILES));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let plain = recording();
    let moment = u64::try_from(time(&plain)).unwrap();
    let ids = traced(&plain);
    let parts: Vec<&[(String, String)]> = ids.chunks(ids.len() / 4).collect();
    let spans = |part: usize, moment: u64| -> Vec<Span> {
        parts[part].iter().map(|(trace, id)| span(trace, id, moment)).collect()
    };
    ports.spans("a", &request("shop", spans(0, moment)));
    ports.spans("a", &request("cart", spans(1, moment)));
    ports.spans("b", &request("shop", spans(2, moment)));
    ports.spans("a", &request("shop", spans(3, moment + 1_000 * SECOND)));
    ports.profile("a", &by_datadog(&plain, "a"));
    let results = [
        "joined",
        "process_mismatch",
        "tenant_mismatch",
        "time_mismatch",
        "no_span_yet",
    ];
    let counts = results.map(|result| ports.samples(result));
    let with_ids = spelt(&plain)
        .1
        .iter()
        .filter(|sample| sample.labels.contains_key("span_id"))
        .count() as u64;
    assert_eq!(counts.iter().sum::<u64>(), with_ids, "{counts:?}");
    assert!(counts[..4].iter().all(|count| *count > 0), "{counts:?}");
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let known: BTreeSet<&String> = parts[0].iter().map(|(_, span)| span).collect();
    for ((_, _, labels, trace, span), _) in sums(folder.path()) {
        assert_eq!(
            known.contains(&span),
            !span.is_empty(),
            "no link but to a span that is known"
        );
        assert_eq!(trace.is_empty(), span.is_empty());
        assert_eq!(labels.contains_key("span.name"), !span.is_empty());
        assert!(span.is_empty() || !labels.contains_key("span id"));
    }
}

const PLANTED: [&str; 6] = [
    "ghp_1aB2cD3eF4gH5iJ6kL7mN8oP9qR0sT1uV2wX",
    "jane.doe@example.org",
    "4111111111111111",
    "quiet-attribute-9f31",
    "quiet-event-9f31",
    "quiet-state-9f31",
];

#[test]
fn secrets_in_spans_are_in_no_profile_that_leaves() {
    let (ports, server) = (Ports::new(), Server::start());
    let exporters = format!(
        "{TO_FILES}\n  pyroscope: {{endpoint: \"http://localhost:{}\", max_age: 0s}}",
        server.port
    );
    let (folder, path) = config(&gate_config(&ports, "", &exporters));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let plain = recording();
    let moment = u64::try_from(time(&plain)).unwrap();
    let [token, mail, card, quiet, event, state] = PLANTED;
    let spans = traced(&plain).into_iter().enumerate().map(|(n, (trace, id))| Span {
        name: [
            format!("GET /login?token={token}"),
            format!("mail {mail}"),
            "GET /cart".to_owned(),
        ][n % 3]
            .clone(),
        trace_state: format!("vendor={state}"),
        attributes: vec![
            attribute("http.route", &format!("/pay/{card}")),
            attribute("note", quiet),
        ],
        events: vec![Event {
            name: event.to_owned(),
            attributes: vec![attribute("said", event)],
            ..Event::default()
        }],
        ..span(&trace, &id, moment)
    });
    ports.spans("a", &request("shop", spans.collect()));
    ports.profile("a", &by_datadog(&plain, "a"));
    wait_for("the server", || (!server.seen().is_empty()).then_some(()));
    assert!(ports.samples("joined") > 500);
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let (written, seen) = (written(folder.path()), server.seen());
    let [pushed] = &seen[..] else {
        panic!("{} series", seen.len())
    };
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|found| found == text.as_bytes());
    for (place, bytes) in [("the file", &written), ("the push", &pushed.plain)] {
        for (n, planted) in PLANTED.iter().enumerate() {
            assert!(!has(bytes, planted), "{place}: number {n}");
        }
    }
    // names arrive, where nothing is to be hidden, and Pyroscope makes no series of them
    assert!(has(&written, "GET /cart") && has(&written, "span.duration"));
    assert!(!has(&pushed.plain, "GET /cart"));
    let labels: BTreeSet<String> = spelt(&pushed.plain)
        .1
        .into_iter()
        .flat_map(|sample| sample.labels.into_keys())
        .collect();
    assert!(labels.contains("trace_id") && labels.contains("span_id"), "{labels:?}");
    let named = ["span.name", "http.route", "span.duration"];
    assert!(
        named
            .iter()
            .all(|name| !labels.contains(*name) && !pushed.labels.contains_key(*name)),
        "{labels:?}"
    );
}

#[test]
fn what_waits_is_not_lost_over_reloads() {
    let ports = Ports::new();
    let version = |hold: u32| gate_config(&ports, &format!("attributes: [], hold: {hold}s"), TO_FILES);
    let (folder, path) = config(&version(30));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let plain = recording();
    ports.profile("a", &by_datadog(&plain, "a"));
    ports.profile("b", &by_datadog(&plain, "b"));
    assert_eq!(ports.metric("flamegate_trace_join_held_profiles", ""), 2);
    std::fs::write(&path, version(29)).unwrap();
    gate.signal("HUP");
    let sent = || files(&folder.path().join("otlp")).len() == 2;
    wait_for("both profiles", || sent().then_some(()));
    assert_eq!(ports.metric("flamegate_trace_join_held_profiles", ""), 0);
    let with_ids = spelt(&plain)
        .1
        .iter()
        .filter(|sample| sample.labels.contains_key("span_id"))
        .count() as u64;
    assert_eq!(ports.samples("no_span_yet"), 2 * with_ids);
    ports.profile("a", &by_datadog(&plain, "c"));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
    let mut totals = BTreeMap::<String, i64>::new();
    for ((kind, ..), sum) in sums(folder.path()) {
        *totals.entry(kind).or_default() += sum;
    }
    for ((kind, ..), sum) in told_by_labels(&plain) {
        *totals.entry(kind).or_default() -= 3 * sum;
    }
    assert!(totals.values().all(|sum| *sum == 0), "{totals:?}");
}

#[test]
fn what_does_less_than_it_seems_is_told() {
    let told = |processors: &str, profiles: &str, traces: &str| {
        let text = format!(
            "receivers: {{otlp: {{protocols: {{http: {{}}}}}}}}
processors: {processors}
exporters: {{debug: {{}}}}
service:
  pipelines:
    profiles: {{receivers: [otlp], processors: [{profiles}], exporters: [debug]}}
    traces: {{receivers: [otlp], processors: [{traces}]}}
"
        );
        let (_folder, path) = config(&text);
        let ran = run(&["validate", "--config", &path]);
        format!("{}{}", ran.out(), ran.err())
    };
    let both = "{trace_links: {}, trace_join: {}, redaction: {}, batch: {}}";
    let good = told(both, "trace_links, trace_join, redaction", "trace_join");
    assert!(!good.contains("trace_join"), "{good}");
    for (processors, profiles, traces, expected) in [
        (
            both,
            "trace_links, trace_join, redaction",
            "batch",
            "no pipeline of traces names it",
        ),
        (
            both,
            "trace_links, redaction",
            "trace_join",
            "no pipeline of profiles names it",
        ),
        (
            both,
            "trace_join, trace_links, redaction",
            "trace_join",
            "stands in front of `trace_links`",
        ),
        (
            "{trace_links: {labels: hash, hmac_key: a1234567890123456789012345678901}, trace_join: {}, redaction: {}}",
            "trace_links, trace_join, redaction",
            "trace_join",
            "finds none of them",
        ),
        (
            both,
            "redaction, trace_join",
            "trace_join",
            "move it before `redaction`",
        ),
        (
            "{trace_join: {links: only_exported}, redaction: {}}",
            "trace_join, redaction",
            "trace_join",
            "processors.trace_join.hold: a link goes",
        ),
        (
            "{trace_join: {hold: 10s, window: 10s}, redaction: {}}",
            "trace_join, redaction",
            "trace_join",
            "processors.trace_join.window: spans are forgotten",
        ),
    ] {
        let warned = told(processors, profiles, traces);
        assert!(warned.contains(expected), "{expected}: {warned}");
    }
    let waits = "{trace_join: {hold: 5s}}";
    let text = |ack: &str| {
        format!(
            "receivers: {{otlp: {{protocols: {{http: {{}}}}}}}}
processors: {waits}
exporters: {{debug: {{}}}}
service: {{pipelines: {{profiles: {{receivers: [otlp], processors: [trace_join], exporters: [debug], ack: {ack}}}}}}}
"
        )
    };
    let (_folder, path) = config(&text("delivered"));
    let refused = run(&["validate", "--config", &path]);
    assert_eq!(refused.code(), 1);
    assert!(
        refused.err().contains("`trace_join` holds profiles back"),
        "{}",
        refused.err()
    );
}
