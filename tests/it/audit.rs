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

/// What came and went, by the first 80 bits of its HMAC.
fn mark(key: &str, text: &[u8]) -> Value {
    use ring::hmac;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text);
    let tag = tag.as_ref().iter().take(10).map(|byte| format!("{byte:02x}"));
    tag.collect::<String>().into()
}

/// The trail of a gate that removes secrets and an address of a person, and refuses a body.
fn removed_and_refused(key: &str) -> Vec<Value> {
    let port = free_port();
    let (folder, path) = config(&text(port, &format!("{{path: ./audit/trail.jsonl{key}}}")));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let path = "/ingest?name=shop%7Buser%3Dann.planted%40example.com%2Cdb_password%3Dhunter2EXAMPLE%2Capi_key%3Dbob.planted%40example.com%7D";
    let body = format!("main;login?token={TOKEN} 7\n");
    let folded = format!("{path}&format=folded");
    assert_eq!(http("POST", port, &folded, body.as_bytes()).0, 200);
    assert_eq!(http("POST", port, &format!("{path}&format=pprof"), BROKEN).0, 400);
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let trail = std::fs::read_to_string(folder.path().join("audit/trail.jsonl")).unwrap();
    for text in [TOKEN, "EXAMPLE", "planted"] {
        assert!(!trail.contains(text) && !gate.err().contains(text));
    }
    lines(folder.path())
}

const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
/// A string table that goes beyond its end.
const BROKEN: &[u8] = b"\x32\x7fplantedEXAMPLE";

#[test]
fn fingerprints_are_made_with_a_key_alone_of_secrets_alone() {
    const KEY: &str = "a key of thirty-two bytes, planted";
    let lines = removed_and_refused(&format!(", fingerprint_key: \"{KEY}\""));
    let of = |rule: &str| {
        let line = lines.iter().find(|line| line["rule"] == rule);
        &line.unwrap_or_else(|| panic!("nothing by {rule}"))["fingerprints"]
    };
    assert_eq!(of("github")[0], mark(KEY, TOKEN.as_bytes()));
    // the other value behind a telling key is the address of a person
    assert_eq!(of("sensitive_key").as_array().unwrap().len(), 1);
    assert_eq!(of("sensitive_key")[0], mark(KEY, b"hunter2EXAMPLE"));
    assert!(of("email").is_null());
    let refused = lines.iter().find(|line| line["event"] == "refused").unwrap();
    assert_eq!(
        (&refused["component"], &refused["bytes"]),
        (&"pyroscope".into(), &BROKEN.len().into())
    );
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("pprof") && reason.contains("at byte 1"), "{reason}");
    assert_eq!(refused["fingerprint"], mark(KEY, BROKEN));

    let lines = removed_and_refused("");
    assert!(lines.iter().any(|line| line["event"] == "refused"));
    let is_bare = |line: &Value| line.get("fingerprint").is_none() && line.get("fingerprints").is_none();
    assert!(lines.iter().all(is_bare));
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
