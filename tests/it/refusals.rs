//! What is said of requests that are refused: to whoever sends them, and to whoever runs the gate.

use crate::support::{Gate, config, free_port, http, wait_for};

fn gate(port: u16) -> (tempfile::TempDir, Gate) {
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"127.0.0.1:{port}\"}}}}
exporters: {{debug: }}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [debug]}}}}
"
    );
    let (folder, path) = config(&text);
    let gate = Gate::start(folder.path(), &["run", "--config", &path]);
    (folder, gate)
}

#[test]
fn refused_requests_are_told_once_a_minute_for_each_reason_and_never_quoted() {
    let port = free_port();
    let (_folder, gate) = gate(port);
    for _ in 0..5 {
        assert_eq!(http("POST", port, "/ingest?name=a.cpu", b"plantedEXAMPLE").0, 400);
        assert_eq!(http("GET", port, "/plantedEXAMPLE", b"").0, 404);
    }
    assert_eq!(http("plantedEXAMPLE", port, "/ingest?name=plantedEXAMPLE", b"").0, 405);
    wait_for("lines of three reasons", || {
        let told = gate.err();
        (told.matches("refused").count() == 3).then_some(())
    });
    let told = gate.err();
    let line = |reason: &str| told.lines().find(|line| line.contains(reason)).unwrap_or_default();
    let invalid = line("reason=\"invalid\"");
    for part in [
        "WARN",
        "receiver=\"pyroscope\"",
        "method=\"POST\"",
        "route=\"/ingest\"",
        "status=400",
        "peer=\"127.0.0.1\"",
        "requests=1",
    ] {
        assert!(invalid.contains(part), "{part}\n{told}");
    }
    assert!(line("reason=\"not_found\"").contains("route=\"(none)\""), "{told}");
    assert!(line("reason=\"method\"").contains("method=\"other\""), "{told}");
    assert!(!told.contains("plantedEXAMPLE"), "{told}");
}

#[test]
fn whoever_looks_at_the_port_of_pyroscope_is_told_where_profiles_go() {
    let port = free_port();
    let (_folder, _gate) = gate(port);
    for (method, path, status) in [("GET", "/", 200), ("GET", "/ui", 404), ("GET", "/ingest", 405)] {
        let (answered, text) = http(method, port, path, b"");
        assert_eq!(answered, status, "{path}: {text}");
        assert!(text.contains("POST a pprof to /ingest?name=APP&format=pprof"), "{text}");
    }
}
