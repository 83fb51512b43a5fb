//! The audit trail of the running gate.

use serde_json::Value;

use crate::support::{Gate, config, free_port, http, run, wait_for};

fn text(port: u16, audit: &str) -> String {
    format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{port}\"}}}}
processors: {{redaction: {{}}}}
exporters: {{file: {{directory: ./profiles}}}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], processors: [redaction], exporters: [file]}}}}
  telemetry:
    metrics: {{level: none}}
    audit: {audit}
"
    )
}

fn lines(folder: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("audit/trail.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_trail_says_what_ran_and_what_was_removed_from_whom_and_never_the_text() {
    let port = free_port();
    let (folder, path) = config(&text(port, "{path: ./audit/trail.jsonl, interval: 100ms}"));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let body = b"main;login?token=ghp_0123456789abcdefghijABCDEFGHIJ012345 7\n";
    let (code, _) = http(
        "POST",
        port,
        "/ingest?name=shop&format=folded&from=1700000000&until=1700000010",
        body,
    );
    assert_eq!(code, 200);
    gate.signal("HUP");
    wait_for("the reload", || gate.err().contains("reloaded").then_some(()));
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let lines = lines(folder.path());
    let events: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(events.first(), Some(&"started"));
    assert_eq!(events.last(), Some(&"stopped"));
    assert!(events.contains(&"reloaded"), "{events:?}");
    let removed = lines.iter().find(|line| line["event"] == "redacted").unwrap();
    assert_eq!(
        (&removed["service"], &removed["rule"]),
        (&"shop".into(), &"github".into())
    );
    assert_eq!(
        (&removed["carrier"], &removed["count"]),
        (&"function_name".into(), &1.into())
    );
    assert_eq!(removed["policy"].as_str().map(str::len), Some(16));
    let started = &lines[0]["pipelines"]["profiles"];
    assert_eq!(started["exporters"][0], "file");
    let text = std::fs::read_to_string(folder.path().join("audit/trail.jsonl")).unwrap();
    assert!(!text.contains("ghp_") && !text.contains("0123456789abcdef"), "{text}");
}

#[test]
fn a_trail_that_cannot_be_written_is_told_at_the_start_and_a_weak_key_by_validate() {
    let (folder, path) = config(&text(free_port(), "{path: ./taken/trail.jsonl}"));
    std::fs::write(folder.path().join("taken"), "").unwrap();
    let mut gate = Gate::spawn(folder.path(), &["--config", &path]);
    assert_eq!(gate.code(), 2);
    assert!(
        gate.err().contains("service.telemetry.audit.path: cannot be written"),
        "{}",
        gate.err()
    );
    for (audit, message) in [
        ("{}", "audit.path: missing"),
        ("{path: x, fingerprint_key: plantedEXAMPLE}", "at least 32 bytes"),
        ("{path: x, interval: 0s}", "at least 100ms"),
    ] {
        let (_folder, path) = config(&text(0, audit));
        let refused = run(&["validate", "--config", &path]);
        assert_eq!(refused.code(), 1);
        assert!(refused.err().contains(message), "{}", refused.err());
        assert!(!refused.err().contains("plantedEXAMPLE"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_running_gate_leaves_no_core() {
    let (folder, path) = config(&text(free_port(), "{path: ./audit/trail.jsonl}"));
    let gate = Gate::start(folder.path(), &["--config", &path]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gate.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let core: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(core, ["1", "1"]);
}
