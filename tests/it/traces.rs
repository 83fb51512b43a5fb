//! Pipelines of traces, from outside: spans pass as the bytes that came, whatever happens beside them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use flamegate::formats::compress::{ContentEncoding, Inflation, compress};
use flamegate::formats::otlp::Traces;
use flamegate::formats::otlp::spans::Value;
use flamegate::formats::wire::Writer;
use flamegate::formats::{Compression, Limits};
use prost::Message;

use crate::grpc::Client;
use crate::messages::{ExportTraceServiceRequest, request};
use crate::support::{Gate, config, free_port, http, http_with, run, wait_for};

const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub const HTTP: &str = "/v1/traces";
pub const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// A backend that keeps what it gets, decompressed, by path and media type.
pub struct Backend {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone)]
pub struct Seen {
    path: String,
    media_type: String,
    body: Bytes,
}

impl Backend {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let kept = seen.clone();
        let keep = move |request: axum::extract::Request| {
            let kept = kept.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                let header = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().unwrap());
                let media_type = header("content-type").to_owned();
                let is_grpc = media_type == "application/grpc";
                let (encoding, body) = match is_grpc {
                    true => (header("grpc-encoding"), body.slice(5..)),
                    false => (header("content-encoding"), body),
                };
                let encodings = ContentEncoding::parse_list(encoding).unwrap();
                let body = Inflation::new(&Limits::default())
                    .inflate_all(&encodings, body)
                    .unwrap();
                let path = parts.uri.path().to_owned();
                let answer = if is_grpc { &[0; 5][..] } else { b"" };
                let answer = (
                    [("content-type", media_type.clone()), ("grpc-status", "0".to_owned())],
                    answer,
                );
                kept.lock().unwrap().push(Seen { path, media_type, body });
                answer
            }
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, axum::Router::new().fallback(keep)).await
            })
        });
        Self { port, seen }
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap()
    }

    /// Waits for so many requests of a path and media type; their bodies, sorted.
    pub fn bodies(&self, path: &str, media_type: &str, count: usize) -> Vec<Bytes> {
        let own = || {
            let seen = self.seen();
            let own = seen
                .iter()
                .filter(|seen| seen.path == path && seen.media_type == media_type);
            own.map(|seen| seen.body.clone()).collect::<Vec<Bytes>>()
        };
        let mut bodies = wait_for(path, || Some(own()).filter(|bodies| bodies.len() >= count));
        bodies.sort();
        bodies
    }
}

/// A number that the gate tells of itself, 0 if it does not.
pub fn metric(port: u16, name: &str) -> u64 {
    let text = http("GET", port, "/metrics", b"").1;
    let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

fn post(port: u16, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    http_with("POST", port, HTTP, headers, body)
}

fn json(protobuf: &[u8]) -> Vec<u8> {
    let traces = Traces::new(protobuf.to_vec().into(), &Limits::default()).unwrap();
    traces.to_json(usize::MAX).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_leaves_as_the_same_bytes_by_every_way() {
    let backend = Backend::start();
    let [grpc, web, metrics, pages] = [(); 4].map(|()| free_port());
    let to = format!("\"http://127.0.0.1:{}\"", backend.port);
    let (folder, path) = config(&format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"localhost:{grpc}\"}}, http: {{endpoint: \"localhost:{web}\"}}}}}}}}
exporters:
  otlp_grpc: {{endpoint: {to}, compression: gzip}}
  otlp_http: {{endpoint: {to}, compression: zstd}}
  otlp_http/json: {{endpoint: {to}, encoding: json, compression: none}}
  debug: {{}}
extensions: {{zpages: {{endpoint: \"localhost:{pages}\"}}}}
service:
  extensions: [zpages]
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp_grpc, otlp_http, otlp_http/json, debug]}}
    profiles: {{receivers: [otlp], exporters: [otlp_http]}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    ));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    assert!(gate.err().contains("nothing here redacts them"), "{}", gate.err());
    let mut sent = Vec::new();
    let mut client = Client::connect(grpc).await;
    let ways = [
        ("", Compression::None),
        ("gzip", Compression::Gzip(6)),
        ("zstd", Compression::Zstd(1)),
        ("deflate", Compression::Deflate(6)),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
    ];
    for (n, (encoding, compression)) in ways.into_iter().enumerate() {
        let body = request(1 + n as u8, 7).encode_to_vec();
        let headers = [PROTOBUF, ("content-encoding", encoding)];
        let headers = if encoding.is_empty() { &headers[..1] } else { &headers };
        assert_eq!(
            post(web, headers, &compress(&body, compression)),
            (200, String::new()),
            "{encoding}"
        );
        sent.push(Bytes::from(body));
    }
    let body = request(2, 30).encode_to_vec();
    assert_eq!(client.call(GRPC, &body).await.unwrap(), Bytes::new());
    sent.push(body.into());
    // protobuf that no encoder of ours would write: fields out of order, sent twice, unknown
    let mut odd = Writer::default();
    odd.message(1, |resource| {
        resource.bytes(3, b"schema");
        resource.message(2, |scope| scope.message(2, |span| span.bytes(99, b"new")));
        resource.message(1, |_| {});
        resource.uint_always(77, 0);
    });
    let odd = odd.finish();
    assert_eq!(post(web, &[PROTOBUF], &odd).0, 200);
    sent.push(odd.into());
    let expected_json: Vec<Bytes> = sent.iter().map(|body| json(body).into()).collect();
    // written as no writer of ours would
    let text = br#" {"resourceSpans" : [ {"scopeSpans":[{"spans":[{"name":"a","new":1}]}]} ]} "#;
    let (status, answer) = post(web, &[("content-type", "application/json")], text);
    assert_eq!((status, answer.as_str()), (200, "{}"));
    let mut expected_json = [expected_json, vec![Bytes::from_static(text)]].concat();
    expected_json.sort();
    let spans = sent
        .iter()
        .map(|body| ExportTraceServiceRequest::decode(body.clone()).unwrap());
    let spans: usize = spans
        .flat_map(|request| request.resource_spans)
        .flat_map(|r| r.scope_spans)
        .map(|s| s.spans.len())
        .sum();
    let carried = Traces::from_json(text, &Limits::default(), &flamegate::formats::room::Unlimited).unwrap();
    sent.push(carried.bytes().clone());
    sent.sort();
    assert_eq!(backend.bodies(GRPC, "application/grpc", sent.len()), sent);
    assert_eq!(backend.bodies(HTTP, PROTOBUF.1, sent.len()), sent);
    assert_eq!(backend.bodies(HTTP, "application/json", sent.len()), expected_json);
    let spans = spans as u64 + 1;
    assert_eq!(
        metric(metrics, "otelcol_receiver_accepted_spans{receiver=\"otlp\"}"),
        spans
    );
    for exporter in ["otlp_grpc", "otlp_http", "otlp_http/json", "debug"] {
        let name = format!("otelcol_exporter_sent_spans{{exporter=\"{exporter}\"}}");
        wait_for(exporter, || (metric(metrics, &name) == spans).then_some(()));
    }
    let page = http("GET", pages, "/debug/pipelinez", b"").1;
    assert!(
        page.contains(&format!("{spans} spans sent")) && page.contains("0 profiles sent"),
        "{page}"
    );
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let told = gate.err();
    assert!(told.contains("nothing was lost"), "{told}");
    let books = format!("spans since the start exporter=otlp_grpc accepted={spans} sent={spans} dropped=0 in_flight=0");
    assert!(told.contains(&books), "{told}");
    assert!(told.contains("traces: 1 spans, "), "{told}");
    assert!(!told.contains("/orders/"), "names of spans stay out of the log");
}

/// An interpreter with OpenTelemetry's SDK and exporters, `python3` or the one at `FLAMEGATE_PYTHON`; where there is none, the test
/// says so and passes.
fn python() -> Option<String> {
    let python = std::env::var("FLAMEGATE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let imports = "import opentelemetry.sdk.trace, opentelemetry.exporter.otlp.proto.http, opentelemetry.exporter.otlp.proto.grpc";
    let tried = Command::new(&python).args(["-c", imports]).output();
    if tried.is_ok_and(|tried| tried.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: {python} has no OpenTelemetry");
    None
}

#[test]
fn what_pythons_sdk_sends_arrives_whole() {
    let Some(python) = python() else { return };
    let backend = Backend::start();
    let [grpc, web] = [(); 2].map(|()| free_port());
    let (folder, path) = config(&format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"localhost:{grpc}\"}}, http: {{endpoint: \"localhost:{web}\"}}}}}}}}
exporters: {{otlp_grpc: {{endpoint: \"http://127.0.0.1:{}\"}}}}
service:
  pipelines: {{traces: {{receivers: [otlp], exporters: [otlp_grpc]}}}}
  telemetry: {{metrics: {{level: none}}}}
",
        backend.port
    ));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let mut expected = Vec::new();
    for (kind, port) in [("grpc", grpc), ("http", web)] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sdk_traces.py");
        let sent = Command::new(&python)
            .arg(script)
            .args([kind, &port.to_string()])
            .output()
            .unwrap();
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
        let told = String::from_utf8(sent.stdout).unwrap();
        expected.extend(told.lines().map(str::to_owned));
    }
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let mut arrived = Vec::new();
    for seen in backend.seen().iter() {
        let traces = Traces::new(seen.body.clone(), &Limits::default()).unwrap();
        for resource in traces.resources() {
            assert_eq!(resource.attribute("service.name"), Some(Value::Text(b"shop")));
            for span in resource.spans().filter(|span| span.name.starts_with(b"step-")) {
                let (trace, id) = (u128::from_be_bytes(span.trace_id), u64::from_be_bytes(span.span_id));
                arrived.push(format!("{trace:032x} {id:016x}"));
                assert!(span.start > 0 && span.end >= span.start && span.parent_span_id != [0; 8]);
            }
        }
    }
    arrived.sort();
    expected.sort();
    assert_eq!((arrived.len(), &arrived), (20, &expected));
}

/// A gate to a backend of traces that lives and one of profiles that does not, in one of many versions.
fn version(ports: [u16; 2], alive: u16, dead: u16, n: usize) -> String {
    let [web, metrics] = ports;
    let (limit, consumers) = (1 + n % 3, 1 + n % 2);
    let processors = ["[]", "[memory_limiter]"][n / 2 % 2];
    format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"localhost:{web}\", max_request_body_size: {limit}MiB}}}}}}}}
processors: {{memory_limiter: {{limit_mib: 200}}}}
exporters:
  otlp_http: {{endpoint: \"http://127.0.0.1:{alive}\", profiles_endpoint: \"http://127.0.0.1:{dead}\", compression: none,
    retry_on_failure: {{initial_interval: 50ms, max_interval: 100ms, max_elapsed_time: 500ms}},
    sending_queue: {{queue_size: 100000, num_consumers: {consumers}}}}}
  otlp_http/dead: {{endpoint: \"http://127.0.0.1:{dead}\", sending_queue: {{queue_size: 1}},
    retry_on_failure: {{initial_interval: 50ms, max_interval: 100ms, max_elapsed_time: 500ms}}}}
service:
  reload_interval: 0s
  drain_timeout: 200s
  pipelines:
    traces: {{receivers: [otlp], processors: {processors}, exporters: [otlp_http, otlp_http/dead]}}
    profiles: {{receivers: [otlp], exporters: [otlp_http, otlp_http/dead]}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    )
}

#[test]
fn reloads_dead_backends_and_full_queues_beside_them_cost_no_span() {
    let backend = Backend::start();
    let ports = [free_port(), free_port()];
    // nobody listens there
    let dead = free_port();
    let (folder, path) = config(&version(ports, backend.port, dead, 0));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let body = request(2, 5).encode_to_vec();
    let profiles = std::fs::read(crate::support::data("ap-cpu-native.otlp")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(post(ports[0], &[PROTOBUF], &body).0, 200);
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            // so few that they never fill the memory of all
            for _ in 0..20 {
                let status = http_with("POST", ports[0], "/v1development/profiles", &[PROTOBUF], &profiles).0;
                assert!([200, 503].contains(&status), "{status}");
            }
        });
        for n in 1..=12 {
            std::fs::write(&path, version(ports, backend.port, dead, n)).unwrap();
            gate.signal("HUP");
            let reloads = "flamegate_config_reloads_total{result=\"success\"}";
            wait_for("the reload", || (metric(ports[1], reloads) == n as u64).then_some(()));
        }
        stop.store(true, Ordering::SeqCst);
    });
    let count = sent.load(Ordering::SeqCst);
    assert!(count > 0);
    let bodies = backend.bodies(HTTP, PROTOBUF.1, count as usize);
    assert_eq!(bodies.len() as u64, count);
    assert!(bodies.iter().all(|arrived| *arrived == body));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let accepted = count * 10;
    let books =
        format!("spans since the start exporter=otlp_http accepted={accepted} sent={accepted} dropped=0 in_flight=0");
    assert!(gate.err().contains(&books), "{}", gate.err());
    // and of what the dead one was offered, everything is accounted for
    let line = gate
        .err()
        .lines()
        .find(|line| line.contains("spans since the start exporter=otlp_http/dead"))
        .unwrap()
        .to_owned();
    let numbers: BTreeMap<&str, u64> = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .filter_map(|(key, value)| Some((key, value.parse().ok()?)))
        .collect();
    assert_eq!((numbers["accepted"], numbers["sent"]), (accepted, 0), "{line}");
    assert_eq!(numbers["accepted"], numbers["dropped"] + numbers["in_flight"], "{line}");
}

/// What it is, its headers, its body, and the statuses that answer it.
type Bomb<'a> = (&'a str, &'a [(&'a str, &'a str)], Vec<u8>, &'a [u16]);

#[test]
fn hostile_spans_are_answered_within_bounds() {
    let [web, metrics] = [(); 2].map(|()| free_port());
    let (folder, path) = config(&format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"localhost:{web}\"}}}}}}}}
exporters: {{debug: {{}}}}
service:
  memory_budget: 128MiB
  pipelines: {{traces: {{receivers: [otlp], exporters: [debug]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    ));
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let honest = request(1, 1).encode_to_vec();
    let mut deep = Writer::default();
    nested(&mut deep, 2_000);
    let deep = deep.finish();
    let spans = |count: usize| {
        let mut request = Writer::default();
        request.message(1, |resource| {
            resource.message(2, |scope| (0..count).for_each(|_| scope.message(2, |_| {})));
        });
        request.finish()
    };
    let json = "application/json";
    let deep_json = "{\"resourceSpans\":[".repeat(5_000);
    let values = "{\"arrayValue\":{\"values\":[".repeat(5_000);
    let values = format!("{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{{\"value\":{values}");
    let resources = [0x0a, 0].repeat(20 << 20);
    let gzip = ("content-encoding", "gzip");
    let bombs: [Bomb<'_>; 9] = [
        ("cut", &[PROTOBUF], honest[..honest.len() - 3].to_vec(), &[400]),
        ("garbage", &[PROTOBUF], vec![0xff; 1 << 20], &[400]),
        ("deep", &[PROTOBUF], deep, &[200, 400]),
        (
            "deep JSON",
            &[("content-type", json)],
            deep_json.into_bytes(),
            &[400, 413],
        ),
        (
            "deep values",
            &[("content-type", json)],
            values.into_bytes(),
            &[400, 413],
        ),
        (
            "resources",
            &[PROTOBUF, gzip],
            compress(&resources, Compression::Gzip(6)),
            &[200, 413],
        ),
        (
            "spans",
            &[PROTOBUF, gzip],
            compress(&spans(9 << 20), Compression::Gzip(6)),
            &[413],
        ),
        (
            "bomb",
            &[PROTOBUF, gzip],
            compress(&vec![0x0a; 256 << 20], Compression::Gzip(9)),
            &[413],
        ),
        ("empty spans", &[PROTOBUF], spans(1 << 20), &[200]),
    ];
    gate.forget_peak();
    for (what, headers, body, allowed) in &bombs {
        let (status, answer) = post(web, headers, body);
        assert!(allowed.contains(&status), "{what}: {status} {answer}");
        assert_eq!(post(web, &[PROTOBUF], &honest).0, 200, "after {what}");
    }
    let peak = gate.peak_memory();
    assert!(peak <= 180 << 20, "{} MiB at the peak", peak >> 20);
    assert_eq!(metric(metrics, "flamegate_panics_total"), 0);
}

/// Lists of lists as the value of an attribute of a resource.
fn nested(request: &mut Writer, levels: usize) {
    let mut value = Writer::default();
    for _ in 0..levels {
        let inner = std::mem::take(&mut value).finish();
        value.message(5, |list| list.bytes_always(1, &inner));
    }
    let value = value.finish();
    request.message(1, |resource| {
        resource.message(1, |of| of.message(1, |attribute| attribute.bytes_always(2, &value)));
        resource.message(2, |scope| {
            scope.message(2, |span| span.message(9, |attribute| attribute.bytes_always(2, &value)))
        });
    });
}

#[test]
fn a_collectors_pipeline_of_traces_loads_and_is_told_what_it_does_not_do() {
    let text = "receivers: {otlp: {protocols: {grpc: {}, http: {traces_url_path: /v1/traces}}}}
processors: {batch: {}, memory_limiter: {limit_mib: 100}}
exporters: {otlp: {endpoint: \"localhost:4319\"}, otlphttp: {traces_endpoint: \"http://localhost:4320/v1/traces\"}}
service:
  pipelines:
    traces: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp, otlphttp]}
    profiles: {receivers: [otlp], exporters: [otlp]}
    traces/join: {receivers: [otlp]}
";
    let validate = |text: &str| {
        let (_folder, path) = config(text);
        let checked = run(&["validate", "--config", &path]);
        (checked.code(), checked.err())
    };
    let (code, told) = validate(text);
    assert_eq!(code, 0, "{told}");
    let warning = "service.pipelines.traces: traces leave as they came";
    assert_eq!(told.matches(warning).count(), 1, "{told}");
    assert!(
        !told.contains("service.pipelines.traces/join"),
        "nothing leaves there: {told}"
    );
    for (from, to, word) in [
        (
            "exporters: [otlp]",
            "exporters: []",
            "needs at least one of `exporters`",
        ),
        (
            "exporters: [otlp]",
            "exporters: [otlphttp]",
            "`traces_endpoint` is not for them",
        ),
        ("/v1/traces}", "/spans}", "spans are taken at `/v1/traces`"),
        ("traces/join:", "metrics:", "only profiles and traces"),
        (
            "{receivers: [otlp]}",
            "{receivers: [otlp], when: [{resource.service.name: a}]}",
            "`tenant` and `receiver` alone",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let (code, told) = validate(&text.replace(from, to));
        assert!(code == 1 && told.contains(word), "{to}: {told}");
    }
}
