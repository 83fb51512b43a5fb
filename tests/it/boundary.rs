//! What leaves the house has passed redaction, or the configuration says that it does not leave.

use crate::support::{Gate, config, free_port, run, wait_for};

const EXPORTER: &str = "otlp_http/vendor: {endpoint: \"https://otlp.example.com\"}";

fn gate(exporters: &str, id: &str, processors: &str) -> String {
    format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"localhost:0\"}}}}}}}}
processors: {{redaction: {{}}, resource: {{attributes: [{{key: a, value: b, action: upsert}}]}}}}
exporters:
  {exporters}
service:
  pipelines:
    profiles:
      receivers: [otlp]
      processors: [{processors}]
      exporters: [{id}]
  telemetry: {{metrics: {{level: none}}}}
"
    )
}

#[test]
fn an_external_exporter_without_redaction_is_refused_with_its_place_and_both_ways_out() {
    let (_folder, path) = config(&gate(EXPORTER, "otlp_http/vendor", "resource"));
    let refused = run(&["validate", "--config", &path]);
    assert_eq!(refused.code(), 1);
    let err = refused.err();
    for part in [
        &format!("{path}:10:19: service.pipelines.profiles.exporters[0]: `otlp_http/vendor`"),
        "add `redaction` to its `processors`",
        "`boundary: internal` at exporters.otlp_http/vendor",
    ] {
        assert!(err.contains(part), "{part}\n{err}");
    }
    assert!(!err.contains("example.com"), "{err}");
    let refused = run(&["run", "--config", &path]);
    assert_eq!((refused.code(), refused.err().contains("add `redaction`")), (1, true));
}

#[test]
fn redaction_or_a_word_of_the_operator_lets_it_pass() {
    let internal = "otlp_http/vendor: {endpoint: \"https://otlp.example.com\", boundary: internal}";
    for text in [
        gate(EXPORTER, "otlp_http/vendor", "redaction"),
        gate(EXPORTER, "otlp_http/vendor", "resource, redaction"),
        gate(internal, "otlp_http/vendor", ""),
        gate("otlp_grpc: {endpoint: \"profiles.internal:4317\"}", "otlp_grpc", ""),
        gate("pyroscope: {endpoint: \"http://10.0.0.7:4040\"}", "pyroscope", ""),
        gate("file: {directory: ./profiles}", "file", ""),
        gate("debug: {}", "debug", ""),
    ] {
        let (_folder, path) = config(&text);
        let valid = run(&["validate", "--config", &path]);
        assert_eq!(valid.code(), 0, "{text}\n{}", valid.err());
    }
}

#[test]
fn a_word_of_the_operator_makes_anything_external() {
    for exporter in [
        "file: {directory: ./profiles, boundary: external}",
        "debug: {boundary: external}",
        "otlp_grpc: {endpoint: \"localhost:4317\", boundary: external}",
        "otlp_grpc: {endpoint: \"otlp.example.com:443\"}",
        "pyroscope: {endpoint: \"https://8.8.8.8\", proxy_url: \"http://localhost:3128\"}",
        "otlp_http: {profiles_endpoint: \"https://otlp.example.com/x\"}",
    ] {
        let id = exporter.split(':').next().unwrap();
        let (_folder, path) = config(&gate(exporter, id, ""));
        let refused = run(&["validate", "--config", &path]);
        assert!(
            refused.err().contains("sends out of the house"),
            "{exporter}\n{}",
            refused.err()
        );
        assert_eq!(refused.code(), 1);
    }
}

#[test]
fn an_address_of_the_environment_is_judged_as_it_stands_there() {
    let text = gate("otlp_http: {endpoint: \"${env:BACKEND}\"}", "otlp_http", "");
    let (_folder, path) = config(&text);
    for (address, code) in [("http://localhost:4318", 0), ("https://otlp.example.com", 1)] {
        let mut command = crate::support::flamegate();
        let output = command
            .args(["validate", "--config", &path])
            .env("BACKEND", address)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{address}");
    }
}

#[test]
fn each_pipeline_is_judged_by_its_own_processors() {
    let text = gate(EXPORTER, "otlp_http/vendor", "redaction").replace(
        "    profiles:\n",
        "    profiles/bare: {receivers: [otlp], exporters: [otlp_http/vendor]}\n    profiles:\n",
    );
    let (_folder, path) = config(&text);
    let refused = run(&["validate", "--config", &path]);
    assert!(
        refused.err().contains("service.pipelines.profiles/bare.exporters[0]"),
        "{}",
        refused.err()
    );
}

#[test]
fn the_item_of_the_list_is_named() {
    let text = gate(&format!("debug: {{}}\n  {EXPORTER}"), "debug, otlp_http/vendor", "");
    let (_folder, path) = config(&text);
    let err = run(&["validate", "--config", &path]).err();
    let expected = format!("{path}:11:26: service.pipelines.profiles.exporters[1]: `otlp_http/vendor`");
    assert!(err.contains(&expected), "{err}");
}

#[test]
fn a_reload_that_would_leak_changes_nothing() {
    let metrics = free_port();
    let text =
        gate("debug: {}", "debug", "").replace("{level: none}", &format!("{{address: \"localhost:{metrics}\"}}"));
    let (folder, path) = config(&text);
    let mut gate_of = Gate::start(folder.path(), &["--config", &path]);
    std::fs::write(&path, text.replace("debug: {}", "debug: {boundary: external}")).unwrap();
    gate_of.signal("HUP");
    wait_for("the refusal", || gate_of.err().contains("not reloaded").then_some(()));
    assert!(gate_of.err().contains("sends out of the house"), "{}", gate_of.err());
    gate_of.signal("TERM");
    assert_eq!(gate_of.code(), 0);
}

#[test]
fn a_redaction_that_only_counts_keeps_nothing_inside() {
    let counting = |exporter: &str, id: &str| {
        gate(exporter, id, "redaction").replace("redaction: {}", "redaction: {dry_run: true}")
    };
    let (_folder, path) = config(&counting(EXPORTER, "otlp_http/vendor"));
    let refused = run(&["validate", "--config", &path]);
    assert_eq!(refused.code(), 1);
    assert!(
        refused
            .err()
            .contains("`redaction` removes nothing as it is configured"),
        "{}",
        refused.err()
    );
    let (_folder, path) = config(&counting("debug: {}", "debug"));
    assert_eq!(run(&["validate", "--config", &path]).code(), 0);
}
