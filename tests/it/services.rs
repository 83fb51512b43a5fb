//! `services_dir` of the real binary: files come, go wrong and go while profiles pass.

use crate::support::{Gate, config, free_port, http, run, wait_for};

#[test]
fn files_of_services_are_taken_while_the_gate_runs() {
    let (ingest, metrics) = (free_port(), free_port());
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
processors: {{budget: {{services_dir: services, bounds: {{target_hz: {{max: 50}}}}}}}}
exporters: {{file: {{directory: ./kept, format: collapsed}}}}
service:
  pipelines: {{profiles: {{receivers: [pyroscope], processors: [budget], exporters: [file]}}}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    );
    let (folder, path) = config(&text);
    let services = folder.path().join("services");
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    let shown = |what: &str, line: &str| {
        wait_for(what, || {
            http("GET", metrics, "/metrics", b"").1.contains(line).then_some(())
        });
    };
    shown(
        "the missing directory",
        "flamegate_services_dir_broken{processor=\"budget\"} 1",
    );
    std::fs::create_dir(&services).unwrap();
    std::fs::write(
        services.join("shop.yaml"),
        "match: { service.name: app }\ntarget_hz: 99\n",
    )
    .unwrap();
    shown(
        "a file",
        "flamegate_service_files{processor=\"budget\",state=\"good\"} 1",
    );
    shown(
        "its bounds",
        "flamegate_service_numbers_held_total{processor=\"budget\",number=\"target_hz\"} 1",
    );
    std::fs::write(
        services.join("team.yaml"),
        "match: { service.name: x }\ntarget_hz: fast\n",
    )
    .unwrap();
    shown(
        "a wrong file",
        "flamegate_service_files{processor=\"budget\",state=\"wrong\"} 1",
    );
    // the metrics of rules say which one counted
    let ingested = "/ingest?name=app&format=folded&from=1700000000&until=1700000010";
    assert_eq!(http("POST", ingest, ingested, b"main;work 35\n").0, 200);
    shown("the rule", "rule=\"services_dir\"");
    std::fs::remove_file(services.join("team.yaml")).unwrap();
    shown(
        "no wrong file",
        "flamegate_service_files{processor=\"budget\",state=\"wrong\"} 0",
    );
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let said = gate.err();
    assert!(said.contains("team.yaml:2:12: target_hz"), "{said}");
}

#[test]
fn validate_reads_the_directory_and_says_where_it_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let services = folder.path().join("services");
    std::fs::create_dir(&services).unwrap();
    std::fs::write(
        services.join("a.yaml"),
        "match: { service.name: a }\nbytes_per_s: much\n",
    )
    .unwrap();
    for name in ["b.yaml", "c.yaml"] {
        std::fs::write(services.join(name), "match: { service.name: b }\ntarget_hz: 19\n").unwrap();
    }
    let (_config, path) = config(&format!(
        "receivers: {{pyroscope: {{}}}}
processors: {{budget: {{services_dir: \"{}\"}}}}
exporters: {{debug: {{}}}}
service: {{pipelines: {{profiles: {{receivers: [pyroscope], processors: [budget], exporters: [debug]}}}}}}
",
        services.display()
    ));
    let done = run(&["validate", "--config", &path]);
    assert_eq!(done.code(), 0, "a team's mistake stops nobody: {}", done.err());
    let told = format!("{}{}", done.out(), done.err());
    assert!(told.contains("a.yaml:2:14: bytes_per_s"), "{told}");
    assert!(
        told.contains("c.yaml: about the same as") && told.contains("b.yaml, which counts"),
        "{told}"
    );
}
