//! Spans that are told that they have a profile, from outside: by a recording, and with no span lost or changed besides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message;

use crate::messages::{ExportTraceServiceRequest, Span, request};
use crate::push::Server;
use crate::support::{Gate, config, data, files, free_port, http, http_with, run, wait_for};
use crate::told_otlp;
use crate::told_pprof::{gunzip, spelt};
use crate::traces::{Backend, HTTP, PROTOBUF, metric};

/// The attributes that are written.
const OURS: [&str; 2] = ["pyroscope.profile.id", "flamegate.profile.samples"];

fn spans(request: &mut ExportTraceServiceRequest) -> impl Iterator<Item = &mut Span> {
    let scopes = request.resource_spans.iter_mut().flat_map(|of| &mut of.scope_spans);
    scopes.flat_map(|scope| &mut scope.spans)
}

fn read(body: &Bytes) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(body.clone()).unwrap()
}

/// What spans were told, taken off them: the value under each of our keys by span id.
fn taken_off(request: &mut ExportTraceServiceRequest) -> BTreeMap<String, [Option<Any>; 2]> {
    let mut told = BTreeMap::new();
    for span in spans(request) {
        let mut take = |key: &str| {
            let at = span.attributes.iter().position(|of| of.key == key)?;
            span.attributes.remove(at).value?.value
        };
        let taken = OURS.map(&mut take);
        assert!(OURS.iter().all(|key| take(key).is_none()), "each stands there once");
        if taken.iter().any(Option::is_some) {
            told.insert(hex(&span.span_id), taken);
        }
    }
    told
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many samples a recording has of each span, read by prost.
fn counts(plain: &[u8]) -> BTreeMap<String, i64> {
    let (types, samples) = spelt(plain);
    let column = types.iter().position(|kind| kind == "samples").unwrap();
    let mut counts = BTreeMap::new();
    for sample in samples {
        if let Some(span) = sample.labels.get("span_id") {
            *counts.entry(span.clone()).or_default() += sample.values[column];
        }
    }
    counts
}

/// Spans of these ids in the service of the recording, all local roots but the last, and the same in another service.
fn traced(ids: &[String], tenant: &str) -> ExportTraceServiceRequest {
    let mut made = request(2, 1);
    for (resource, service) in made.resource_spans.iter_mut().zip(["shop", "cart"]) {
        resource.schema_url = tenant.to_owned();
        resource.resource.as_mut().unwrap().attributes[0]
            .value
            .as_mut()
            .unwrap()
            .value = Some(Any::StringValue(service.to_owned()));
        let template = resource.scope_spans[0].spans[0].clone();
        resource.scope_spans[0].spans = ids
            .iter()
            .map(|id| Span {
                span_id: u64::from_str_radix(id, 16).unwrap().to_be_bytes().into(),
                ..template.clone()
            })
            .collect();
        let last = resource.scope_spans[0].spans.last_mut().unwrap();
        last.parent_span_id = vec![1; 8];
    }
    made
}

#[test]
fn spans_of_a_recording_are_told_whichever_comes_first() {
    let pprof = std::fs::read(data("go123-cpu-labels.pb.gz")).unwrap();
    let counts = counts(&gunzip(&pprof));
    assert!(counts.len() >= 40, "{}", counts.len());
    let mut ids: Vec<String> = counts.keys().cloned().collect();
    // one that no sample has, and at the end one that samples have but that is no local root
    ids.insert(0, "00000000000000aa".to_owned());
    let mut expected: BTreeMap<String, [Option<Any>; 2]> = BTreeMap::new();
    for id in &ids[1..ids.len() - 1] {
        expected.insert(
            id.clone(),
            [Some(Any::StringValue(id.clone())), Some(Any::IntValue(counts[id]))],
        );
    }
    for profile_first in [true, false] {
        let (backend, pyroscope) = (Backend::start(), Server::start());
        let [web, ingest] = [(); 2].map(|()| free_port());
        let (folder, path) = config(&format!(
            "receivers:
  otlp: {{protocols: {{http: {{endpoint: \"localhost:{web}\"}}}}}}
  pyroscope: {{endpoint: \"localhost:{ingest}\"}}
processors: {{trace_links: {{}}, redaction: {{}}, span_profiles: {{hold: 30s}}}}
exporters:
  otlp_http: {{endpoint: \"http://127.0.0.1:{}\", compression: none}}
  pyroscope: {{endpoint: \"http://127.0.0.1:{}\", max_age: 0s}}
  file: {{directory: ./otlp, format: otlp}}
service:
  pipelines:
    profiles: {{receivers: [pyroscope], processors: [trace_links, redaction, span_profiles], exporters: [pyroscope, file]}}
    traces: {{receivers: [otlp], processors: [span_profiles], exporters: [otlp_http]}}
  telemetry: {{metrics: {{level: none}}}}
",
            backend.port, pyroscope.port
        ));
        let mut gate = Gate::start(folder.path(), &["--config", &path]);
        let send_profile = || {
            let tenant = [("x-scope-orgid", "a")];
            let sent = http_with("POST", ingest, "/ingest?name=shop&format=pprof", &tenant, &pprof);
            assert_eq!(sent.0, 200, "{}", sent.1);
        };
        if profile_first {
            send_profile();
        }
        for tenant in ["a", "b"] {
            let headers = [PROTOBUF, ("x-scope-orgid", tenant)];
            let body = traced(&ids, tenant).encode_to_vec();
            assert_eq!(http_with("POST", web, HTTP, &headers, &body).0, 200);
        }
        if !profile_first {
            send_profile();
        }
        // what is held goes on then
        gate.signal("TERM");
        assert_eq!(gate.code(), 0, "{}", gate.err());
        for body in backend.bodies(HTTP, PROTOBUF.1, 2) {
            let mut arrived = read(&body);
            let tenant = arrived.resource_spans[0].schema_url.clone();
            let sent = traced(&ids, &tenant);
            if tenant == "b" {
                assert_eq!(
                    body,
                    sent.encode_to_vec(),
                    "another tenant has no samples of these spans"
                );
                continue;
            }
            let cart = arrived.resource_spans.pop().unwrap();
            assert_eq!(cart, sent.resource_spans[1], "nor has another service");
            assert_eq!(taken_off(&mut arrived), expected);
            assert_eq!(
                arrived.resource_spans,
                sent.resource_spans[..1],
                "nothing else is changed"
            );
        }
        // and the profile is where links and labels are looked for
        let pushed = pyroscope.seen();
        let [pushed] = &pushed[..] else {
            panic!("{} series", pushed.len())
        };
        let series: BTreeSet<&str> = pushed.labels.keys().map(String::as_str).collect();
        assert!(
            !series.contains("span_id") && !series.contains("trace_id"),
            "{series:?}"
        );
        assert_eq!(self::counts(&pushed.plain), counts);
        let otlp = told_otlp::read(&gunzip(&std::fs::read(&files(&folder.path().join("otlp"))[0]).unwrap()));
        let links = &otlp.dictionary.as_ref().unwrap().link_table[1..];
        let linked: BTreeSet<String> = links.iter().map(|link| hex(&link.span_id)).collect();
        assert_eq!(linked, counts.keys().cloned().collect());
        assert!(
            links
                .iter()
                .all(|link| link.trace_id.len() == 16 && link.trace_id != [0; 16])
        );
    }
}

/// A gate to a backend of traces that lives and one of profiles that does not; another processor in each version.
fn version(ports: [u16; 2], alive: u16, dead: u16, n: usize) -> String {
    let [web, metrics] = ports;
    let held = [10, 1_000, 200_000][n % 3];
    let again = "retry_on_failure: {initial_interval: 50ms, max_interval: 100ms, max_elapsed_time: 500ms}";
    format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"localhost:{web}\"}}}}}}}}
processors: {{span_profiles: {{hold: {n}s, max_spans_held: {held}}}}}
exporters:
  otlp_http: {{endpoint: \"http://127.0.0.1:{alive}\", profiles_endpoint: \"http://127.0.0.1:{dead}\", compression: none, {again},
    sending_queue: {{queue_size: 100000}}}}
service:
  reload_interval: 0s
  drain_timeout: 200s
  pipelines:
    traces: {{receivers: [otlp], processors: [span_profiles], exporters: [otlp_http]}}
    profiles: {{receivers: [otlp], processors: [span_profiles], exporters: [otlp_http]}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    )
}

/// The links of a recording name spans of the service that it is of.
fn of_recording(profile: &[u8]) -> ExportTraceServiceRequest {
    let read = told_otlp::read(profile);
    let links = &read.dictionary.as_ref().unwrap().link_table[1..];
    let ids: Vec<String> = links.iter().map(|link| hex(&link.span_id)).collect();
    let mut made = traced(&ids, "with samples");
    let resource = read.resource_profiles[0].resource.as_ref().unwrap();
    let service = resource.attributes.iter().find(|of| of.key == "service.name").cloned();
    let of_spans = &mut made.resource_spans[0].resource.as_mut().unwrap().attributes[0];
    *of_spans = service.expect("a recording with a service");
    made
}

#[test]
fn a_full_queue_reloads_and_a_dead_backend_of_profiles_cost_no_span() {
    let backend = Backend::start();
    let ports = [free_port(), free_port()];
    // nobody listens there
    let dead = free_port();
    let (folder, path) = config(&version(ports, backend.port, dead, 0));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let profile = std::fs::read(data("go123-cpu-links.otlp")).unwrap();
    let with_samples = of_recording(&profile);
    let bodies = [with_samples.encode_to_vec(), request(2, 5).encode_to_vec()];
    let sent = [AtomicU64::new(0), AtomicU64::new(0)];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (body, sent) in bodies.iter().zip(&sent) {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(http_with("POST", ports[0], HTTP, &[PROTOBUF], body).0, 200);
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for n in 1..=9 {
            // so few that they never fill the memory of all
            let taken = http_with("POST", ports[0], "/v1development/profiles", &[PROTOBUF], &profile).0;
            assert!([200, 503].contains(&taken), "{taken}");
            std::fs::write(&path, version(ports, backend.port, dead, n)).unwrap();
            gate.signal("HUP");
            let reloads = "flamegate_config_reloads_total{result=\"success\"}";
            wait_for("the reload", || (metric(ports[1], reloads) == n as u64).then_some(()));
        }
        let taken = http_with("POST", ports[0], "/v1development/profiles", &[PROTOBUF], &profile).0;
        assert!([200, 503].contains(&taken), "{taken}");
        // one more of each behind the profile
        let before = [0, 1].map(|of: usize| sent[of].load(Ordering::SeqCst));
        wait_for("more spans", || {
            let more = |of: usize| sent[of].load(Ordering::SeqCst) > before[of] + 1;
            (more(0) && more(1)).then_some(())
        });
        stop.store(true, Ordering::SeqCst);
    });
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let sent = sent.map(AtomicU64::into_inner);
    let arrived = backend.bodies(HTTP, PROTOBUF.1, (sent[0] + sent[1]) as usize);
    let (mut told, mut untold) = (0, [0, 0]);
    for body in arrived {
        if let Some(of) = bodies.iter().position(|sent| *sent == body) {
            untold[of] += 1;
            continue;
        }
        let mut changed = read(&body);
        assert!(!taken_off(&mut changed).is_empty());
        assert_eq!(changed, with_samples, "nothing else is changed");
        told += 1;
    }
    assert!(told > 0);
    assert_eq!([untold[0] + told, untold[1]], sent, "each arrived once");
    let spans = |of: usize| {
        read(&bodies[of].clone().into())
            .resource_spans
            .iter()
            .map(|r| r.scope_spans[0].spans.len() as u64)
            .sum::<u64>()
    };
    let accepted = sent[0] * spans(0) + sent[1] * spans(1);
    let books =
        format!("spans since the start exporter=otlp_http accepted={accepted} sent={accepted} dropped=0 in_flight=0");
    assert!(gate.err().contains(&books), "{}", gate.err());
}

#[test]
fn where_it_stands_and_what_is_not_served_is_told() {
    let text = "receivers: {otlp: {protocols: {http: {}}}}
processors: {span_profiles: {}, trace_links: {}, aggregate: {}, downsample: {}}
exporters: {file: {directory: ./profiles}, debug: {}}
service:
  pipelines:
    profiles: {receivers: [otlp], processors: [trace_links, span_profiles], exporters: [file]}
    traces: {receivers: [otlp], processors: [span_profiles], exporters: [debug]}
";
    let validate = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let (_folder, path) = config(&text.replace(from, to));
        let checked = run(&["validate", "--config", &path]);
        (checked.code(), checked.err())
    };
    let (code, told) = validate("", "");
    assert!(code == 0 && !told.contains("`span_profiles`"), "{told}");
    for (from, to, code, word) in [
        (
            "[trace_links, span_profiles]",
            "[span_profiles, trace_links]",
            0,
            "in front of `trace_links`",
        ),
        (
            "[trace_links, span_profiles]",
            "[aggregate, span_profiles]",
            0,
            "`aggregate` stands in front of `span_profiles`",
        ),
        (
            "[trace_links, span_profiles]",
            "[span_profiles, downsample]",
            0,
            "`span_profiles` stands in front of `downsample`",
        ),
        (
            "[trace_links, span_profiles]",
            "[trace_links]",
            0,
            "no pipeline of profiles names it",
        ),
        (
            "processors: [span_profiles], exporters: [debug]",
            "exporters: [debug]",
            0,
            "no pipeline of traces names it",
        ),
        (
            "exporters: [debug]",
            "exporters: [debug], ack: durable",
            1,
            "`span_profiles` holds traces back",
        ),
        (
            "exporters: [file]",
            "exporters: [file], ack: durable",
            1,
            "needs the durable log",
        ),
        ("span_profiles: {}", "span_profiles: {hold: 1m}", 1, "write 0s to 30s"),
    ] {
        let (answer, told) = validate(from, to);
        assert!(answer == code && told.contains(word), "{to}: {told}");
    }

    for (pipelines, statuses) in [
        ("profiles: {receivers: [otlp], exporters: [debug]}", [405, 404]),
        ("traces: {receivers: [otlp], exporters: [debug]}", [404, 405]),
    ] {
        let web = free_port();
        let (folder, path) = config(&format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"localhost:{web}\"}}}}}}}}
exporters: {{debug: {{}}}}
service: {{pipelines: {{{pipelines}}}, telemetry: {{metrics: {{level: none}}}}}}
"
        ));
        let _gate = Gate::start(folder.path(), &["--config", &path]);
        let answers = ["/v1development/profiles", HTTP].map(|route| http("GET", web, route, b"").0);
        assert_eq!(answers, statuses, "{pipelines}");
    }
}
