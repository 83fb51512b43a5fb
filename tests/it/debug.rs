//! The `debug` exporter in a running gate.

use crate::support::{Gate, config, free_port, http, wait_for};

#[test]
fn every_batch_is_told_in_detail_and_the_log_lets_all_of_it_pass() {
    let ingest = free_port();
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
processors: {{redaction: }}
exporters: {{debug: {{verbosity: detailed}}}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], processors: [redaction], exporters: [debug]}}}}
  telemetry: {{metrics: {{level: none}}}}
"
    );
    let (folder, path) = config(&text);
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let recording = b"main;connect ghp_EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE0 7\nmain;work 35\n";
    // more than the log's own limit would let pass
    const BATCHES: usize = 30;
    for _ in 0..BATCHES {
        let query = "/ingest?name=app.cpu%7Benv%3Dprod%7D&format=folded";
        assert_eq!(http("POST", ingest, query, recording).0, 200);
    }
    wait_for("the messages", || {
        (gate.err().matches("ResourceProfiles #0").count() == BATCHES).then_some(())
    });
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let err = gate.err();
    for expected in [
        "     -> service.name: Str(app)\n     -> env: Str(prod)\n",
        "        Values: [350000000]\n",
        "        Stack, leaf first:\n            work\n            main\n",
        "            connect [REDACTED:github]\n",
    ] {
        assert!(err.contains(expected), "{expected}\n{err}");
    }
    assert!(!err.contains("ghp_EXAMPLE"));
}
