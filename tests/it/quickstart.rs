//! `flamegate` without a configuration.

use std::net::TcpListener;
use std::path::Path;

use crate::support::{Gate, data, files, free_port, run, wait_for};

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
    let plain = folder.path().join("plain.pb");
    assert_eq!(
        run(&["convert", file.to_str().unwrap(), plain.to_str().unwrap()]).code(),
        0
    );
    let plain = String::from_utf8_lossy(&std::fs::read(plain).unwrap()).into_owned();
    for planted in std::fs::read_to_string(data("planted.txt"))
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("ghp_"))
    {
        assert!(!out.contains(planted) && !plain.contains(planted), "{planted}");
    }
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
fn the_recording_takes_the_other_door_where_the_first_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let _ingest = TcpListener::bind(("127.0.0.1", ports[2])).unwrap();
    let gate = quickstart(folder.path(), ports);
    wait_for("the greeting", || gate.out().contains("Ctrl-C").then_some(()));
    assert!(gate.err().contains("receivers.pyroscope.endpoint"), "{}", gate.err());
    assert!(gate.out().contains("Removed from it:"), "{}", gate.out());
    assert!(!files(&folder.path().join("profiles")).is_empty());
}
