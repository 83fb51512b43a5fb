//! More connections than the process may open files.

use std::net::TcpStream;
use std::process::Command;

use crate::support::{Gate, config, files, flamegate, free_port, http, wait_for};

#[test]
fn files_that_run_out_cost_idle_connections_first() {
    let (ingest, metrics) = (free_port(), free_port());
    let (folder, path) = config(&format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters: {{file: {{directory: ./profiles, format: collapsed}}}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], exporters: [file]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    ));
    let binary = flamegate();
    let binary = binary.get_program().display();
    let start = format!("ulimit -n 96; exec {binary} run --config {path}");
    let gate = Gate::of(Command::new("sh").args(["-c", &start]), folder.path());
    wait_for("ready", || gate.err().contains(" ready").then_some(()));
    let connect = |_| TcpStream::connect(("127.0.0.1", ingest)).unwrap();
    let idle: Vec<TcpStream> = (0..300).map(connect).collect();
    let target = "/ingest?name=app&format=folded&from=1700000000&until=1700000010";
    assert_eq!(http("POST", ingest, target, b"main;work 35\n").0, 200);
    let profiles = folder.path().join("profiles");
    wait_for("the file", || files(&profiles).first().cloned());
    assert!(gate.err().contains("cannot accept a connection"), "{}", gate.err());
    let (_, told) = http("GET", metrics, "/metrics", b"");
    assert!(
        told.contains("flamegate_connections_cut_total{server=\"pyroscope\",reason=\"crowded\"}"),
        "{told}"
    );
    drop(idle);
}
