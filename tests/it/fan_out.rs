//! One input, four backends at once: OTLP over gRPC, OTLP over HTTP, Pyroscope, a directory. What each of them holds is read
//! by other decoders than ours.

use std::collections::BTreeMap;
use std::path::Path;

use crate::push::Server;
use crate::support::{Gate, config, data, files, free_port, http, http_with, wait_for};
use crate::{told_otlp, told_pprof};

/// What Pyroscope's SDKs and `curl` would send; the last one has a sample without a stack.
const RECORDINGS: [&str; 7] = [
    "go123-cpu-labels.pb.gz",
    "go123-heap.pb.gz",
    "go123-block.pb.gz",
    "go123-mutex.pb.gz",
    "node20-wall-cpu-labels.pb.gz",
    "rust-cpu.pb.gz",
    "go123-threadcreate.pb.gz",
];

/// The sum of each type of each service.
type Totals = BTreeMap<(String, String), i128>;

fn service(recording: &str) -> String {
    format!("shop.{}", recording.split('.').next().unwrap())
}

fn send(port: u16, recording: &str) {
    let body = std::fs::read(data(recording)).unwrap();
    let path = format!("/ingest?name={}%7Benv%3Dprod%7D&format=pprof", service(recording));
    let (status, answer) = http_with("POST", port, &path, &[], &body);
    assert_eq!(status, 200, "{recording}: {answer}");
}

fn add(totals: &mut Totals, service: &str, sums: BTreeMap<&str, i64>) {
    for (kind, sum) in sums {
        *totals.entry((service.to_owned(), kind.to_owned())).or_default() += i128::from(sum);
    }
}

/// What went in.
fn expected() -> Totals {
    let mut totals = Totals::new();
    for recording in RECORDINGS {
        let plain = told_pprof::gunzip(&std::fs::read(data(recording)).unwrap());
        add(&mut totals, &service(recording), told_pprof::tell(&plain).sums());
    }
    totals
}

/// What an OTLP backend wrote down.
fn at_otlp(file: &Path) -> Totals {
    let mut totals = Totals::new();
    for ((resource, kind), sum) in told_otlp::sums(&told_otlp::tell(&told_otlp::messages(file))) {
        let service = resource.split(',').find_map(|pair| pair.strip_prefix("service.name="));
        *totals
            .entry((service.unwrap_or_default().to_owned(), kind))
            .or_default() += sum;
    }
    totals
}

fn at_directory(folder: &Path) -> Totals {
    let mut totals = Totals::new();
    for file in files(folder) {
        let told = told_pprof::tell(&told_pprof::gunzip(&std::fs::read(file).unwrap()));
        let service = told
            .comments
            .iter()
            .find_map(|comment| comment.strip_prefix("service.name="));
        add(&mut totals, service.unwrap_or_default(), told.sums());
    }
    totals
}

fn at_pyroscope(server: &Server) -> Totals {
    let mut totals = Totals::new();
    for pushed in server.seen().iter() {
        assert_eq!(pushed.labels["env"], "prod");
        add(&mut totals, &pushed.labels["service_name"], pushed.profile.sums());
    }
    totals
}

/// Another gate as an OTLP backend: it writes down what it gets.
fn backend(protocol: &str) -> (Gate, tempfile::TempDir, u16) {
    let port = free_port();
    let (folder, path) = config(&format!(
        "receivers: {{otlp: {{protocols: {{{protocol}: {{endpoint: \"localhost:{port}\"}}}}}}}}
exporters: {{file: {{path: ./out.otlp, format: proto}}}}
service:
  pipelines: {{profiles: {{receivers: [otlp], exporters: [file]}}}}
  telemetry: {{metrics: {{level: none}}}}
"
    ));
    (Gate::start(folder.path(), &["--config", &path]), folder, port)
}

#[test]
fn four_backends_hold_the_same_totals() {
    let (grpc, http_) = (backend("grpc"), backend("http"));
    let server = Server::start();
    let (ingest, metrics) = (free_port(), free_port());
    let (folder, path) = config(&format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters:
  otlp_grpc: {{endpoint: \"http://localhost:{}\"}}
  otlp_http: {{endpoint: \"http://localhost:{}\"}}
  pyroscope: {{endpoint: \"http://localhost:{}\", max_age: 0s, max_profile_size: 64KiB}}
  file: {{directory: ./profiles, format: pprof}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [otlp_grpc, otlp_http, pyroscope, file]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
",
        grpc.2, http_.2, server.port
    ));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    for recording in RECORDINGS {
        send(ingest, recording);
    }
    let count = RECORDINGS.len();
    let sent = |exporter: &str| format!("flamegate_exporter_sent_profiles{{exporter=\"{exporter}\"}} {count}\n");
    for exporter in ["otlp_grpc", "otlp_http", "pyroscope", "file"] {
        wait_for(exporter, || {
            let text = http("GET", metrics, "/metrics", b"").1;
            text.contains(&sent(exporter)).then_some(())
        });
    }
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
    let expected = expected();
    for (mut gate, folder, _) in [grpc, http_] {
        gate.signal("TERM");
        assert_eq!(gate.code(), 0);
        assert_eq!(at_otlp(&folder.path().join("out.otlp")), expected, "{}", gate.err());
    }
    assert_eq!(at_pyroscope(&server), expected);
    assert!(server.seen().len() > count, "nothing was cut");
    assert_eq!(at_directory(&folder.path().join("profiles")), expected);
    let names: BTreeMap<_, _> = server
        .seen()
        .iter()
        .map(|p| (p.labels["service_name"].clone(), p.labels["__name__"].clone()))
        .collect();
    for (recording, name) in [
        ("go123-block", "block"),
        ("go123-mutex", "mutex"),
        ("go123-heap", "memory"),
        ("rust-cpu", "process_cpu"),
    ] {
        assert_eq!(names[&service(recording)], name);
    }
}

/// What an agent sends that cannot be changed.
fn send_text(port: u16) {
    let answer = http(
        "POST",
        port,
        "/ingest?name=shop.cpu&format=folded",
        b"main;work 35\nmain 7\n",
    );
    assert_eq!(answer.0, 200, "{}", answer.1);
}

#[test]
fn switching_the_vendor_is_one_line() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/vendor-switch.yaml");
    let before = std::fs::read_to_string(example).unwrap();
    let after = before.replace("exporters: [pyroscope/old]", "exporters: [otlp_http/new]");
    let changed = before
        .lines()
        .zip(after.lines())
        .filter(|(before, after)| before != after);
    assert_eq!(changed.count(), 1);
    let old = Server::start();
    let (mut new, new_folder, new_port) = backend("http");
    let endpoints = [
        format!("http://localhost:{}", old.port),
        format!("http://localhost:{new_port}"),
    ];
    let env = [("OLD_BACKEND", endpoints[0].as_str()), ("NEW_BACKEND", &endpoints[1])];
    let out = new_folder.path().join("out.otlp");
    for (text, at_old, at_new) in [(before, 1, 0), (after, 1, 1)] {
        let ingest = free_port();
        let (folder, path) = config(&text);
        let sets = [
            format!("receivers.pyroscope.endpoint=localhost:{ingest}"),
            "service.telemetry.metrics.level=none".to_owned(),
        ];
        let args = ["--config", &path, "--set", &sets[0], "--set", &sets[1]];
        let mut gate = Gate::start_with(folder.path(), &args, &env);
        send_text(ingest);
        gate.signal("TERM");
        assert_eq!(gate.code(), 0);
        assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
        assert_eq!(old.seen().len(), at_old);
        if at_new > 0 {
            wait_for("the new vendor", || out.exists().then_some(()));
        }
    }
    new.signal("TERM");
    assert_eq!(new.code(), 0);
    let expected = Totals::from([(("shop".to_owned(), "cpu/nanoseconds".to_owned()), 420_000_000)]);
    assert_eq!(at_otlp(&out), expected);
    assert_eq!(
        old.seen()[0].profile.sums(),
        BTreeMap::from([("cpu/nanoseconds", 420_000_000)])
    );
}

#[test]
fn a_receiver_of_two_pipelines_takes_a_profile_once() {
    let (ingest, metrics) = (free_port(), free_port());
    let (folder, path) = config(&format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
processors: {{redaction: {{}}}}
exporters:
  file/internal: {{directory: ./internal, format: pprof}}
  file/vendor: {{directory: ./vendor, format: pprof}}
service:
  pipelines:
    profiles/internal: {{receivers: [pyroscope], exporters: [file/internal]}}
    profiles/vendor: {{receivers: [pyroscope], processors: [redaction], exporters: [file/vendor]}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    ));
    let gate = Gate::start(folder.path(), &["--config", &path]);
    send_text(ingest);
    for pipeline in ["internal", "vendor"] {
        wait_for(pipeline, || {
            (files(&folder.path().join(pipeline)).len() == 1).then_some(())
        });
    }
    let text = http("GET", metrics, "/metrics", b"").1;
    for line in [
        "flamegate_receiver_accepted_profiles{receiver=\"pyroscope\"} 1",
        "flamegate_exporter_accepted_profiles{exporter=\"file/internal\"} 1",
        "flamegate_exporter_accepted_profiles{exporter=\"file/vendor\"} 1",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
    drop(gate);
}
