//! The daemon over loopback: quickstart, intake to file, signals.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Gate, config, data, files, free_port, http, run, wait_for};

/// A gate from /ingest to a folder, with everything on ports of its own.
struct Ports {
    ingest: u16,
    metrics: u16,
    health: u16,
}

fn to_folder() -> (tempfile::TempDir, String, Ports) {
    let ports = Ports {
        ingest: free_port(),
        metrics: free_port(),
        health: free_port(),
    };
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{}\"}}}}
processors: {{redaction: {{detectors: [secrets, emails], paths: home}}}}
exporters: {{file: {{directory: ./profiles, format: pprof}}}}
extensions: {{health_check: {{endpoint: \"localhost:{}\"}}}}
service:
  extensions: [health_check]
  pipelines: {{profiles: {{receivers: [pyroscope], processors: [redaction], exporters: [file]}}}}
  telemetry: {{metrics: {{address: \"localhost:{}\"}}}}
",
        ports.ingest, ports.health, ports.metrics
    );
    let (folder, path) = config(&text);
    (folder, path, ports)
}

const INGEST: &str = "/ingest?name=app&format=pprof&from=1700000000&until=1700000010";

fn recording() -> Vec<u8> {
    std::fs::read(data("planted-go123-cpu.pb.gz")).unwrap()
}

#[test]
fn a_profile_goes_through_the_gate_and_a_signal_ends_it_in_order() {
    let (folder, path, ports) = to_folder();
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    assert_eq!(http("GET", ports.health, "/", b"").0, 200);
    let health = run(&["health", "--endpoint", &format!("localhost:{}", ports.health)]);
    assert_eq!(health.code(), 0, "{}", health.err());
    assert_eq!(http("POST", ports.ingest, INGEST, &recording()).0, 200);
    let profiles = folder.path().join("profiles");
    wait_for("the file", || files(&profiles).first().cloned());
    let (status, metrics) = http("GET", ports.metrics, "/metrics", b"");
    assert_eq!(status, 200);
    assert!(metrics.contains("flamegate_redactions_total{"), "{metrics}");
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("nothing was lost"), "{}", gate.err());
    let health = run(&["health", "--endpoint", &format!("localhost:{}", ports.health)]);
    assert_eq!(health.code(), 1);
}

#[test]
fn a_busy_metrics_port_is_an_error_that_names_the_key() {
    let (folder, path, ports) = to_folder();
    let _busy = TcpListener::bind(("127.0.0.1", ports.metrics)).unwrap();
    let mut gate = Gate::spawn(folder.path(), &["run", "--config", &path]);
    assert_eq!(gate.code(), 2);
    assert!(
        gate.err().contains("service.telemetry.metrics.address"),
        "{}",
        gate.err()
    );
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let (folder, path, ports) = to_folder();
    let mut gate = Gate::start(folder.path(), &["run", "--dry-run", "--config", &path]);
    assert_eq!(http("POST", ports.ingest, INGEST, &recording()).0, 200);
    gate.signal("INT");
    assert_eq!(gate.code(), 0);
    assert!(gate.err().contains("would have been sent"), "{}", gate.err());
    assert_eq!(files(&folder.path().join("profiles")), Vec::<std::path::PathBuf>::new());
}

/// The quickstart on ports of its own.
fn quickstart(folder: &Path, ports: [u16; 4]) -> Gate {
    let [grpc, http, ingest, metrics] = ports;
    let sets = [
        format!("receivers.otlp.protocols.grpc.endpoint=localhost:{grpc}"),
        format!("receivers.otlp.protocols.http.endpoint=localhost:{http}"),
        format!("receivers.pyroscope.endpoint=localhost:{ingest}"),
        format!("service.telemetry.metrics.address=localhost:{metrics}"),
    ];
    let args: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    Gate::start(folder, &args)
}

#[test]
fn the_quickstart_shows_what_it_removed_and_where_the_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let mut gate = quickstart(folder.path(), ports);
    wait_for("the greeting", || gate.out().contains("Ctrl-C").then_some(()));
    let out = gate.out();
    let file = files(&folder.path().join("profiles")).pop().unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    assert!(out.contains(&name) && out.contains("Removed from it:"), "{out}");
    assert!(out.contains(&format!("localhost:{}/ingest", ports[2])), "{out}");
    let shown = run(&["inspect", file.to_str().unwrap(), "--format", "json"]).out();
    for secret in std::fs::read_to_string(data("planted.txt")).unwrap().lines() {
        let secret = secret.split('\t').next().unwrap_or_default().trim();
        assert!(secret.is_empty() || !out.contains(secret), "{secret}");
    }
    assert!(shown.contains("\"format\": \"pprof\""), "{shown}");
    gate.signal("INT");
    assert_eq!(gate.code(), 0);
}

#[test]
fn the_quickstart_leaves_out_what_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let _grpc = TcpListener::bind(("127.0.0.1", ports[0])).unwrap();
    let _metrics = TcpListener::bind(("127.0.0.1", ports[3])).unwrap();
    let gate = quickstart(folder.path(), ports);
    wait_for("the greeting", || gate.out().contains("Ctrl-C").then_some(()));
    let err = gate.err();
    assert!(err.contains("receivers.otlp.protocols.grpc.endpoint"), "{err}");
    assert!(err.contains("service.telemetry.metrics.address"), "{err}");
    assert!(!files(&folder.path().join("profiles")).is_empty());
}

#[test]
fn a_second_signal_leaves_at_once() {
    let (ingest, silent) = (free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
    let backend = silent.local_addr().unwrap().port();
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters: {{otlp_http: {{endpoint: \"http://localhost:{backend}\", timeout: 60s}}}}
service:
  drain_timeout: 60s
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [otlp_http]}}}}
  telemetry: {{metrics: {{level: none}}}}
"
    );
    let (folder, path) = config(&text);
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    assert_eq!(http("POST", ingest, INGEST, &recording()).0, 200);
    gate.signal("TERM");
    wait_for("the drain", || gate.err().contains("stopping").then_some(()));
    let begin = Instant::now();
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(gate.err().contains("second signal"), "{}", gate.err());
}

#[test]
fn every_example_configuration_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let examples = files(&folder);
    assert!(examples.len() >= 5);
    for example in examples {
        let checked = run(&["validate", "--config", example.to_str().unwrap()]);
        assert_eq!(checked.code(), 0, "{}: {}", example.display(), checked.err());
    }
}
