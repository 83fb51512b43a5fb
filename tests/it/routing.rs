//! `when:`, `routing` and the default pipeline, with the real binary.

use std::path::Path;

use crate::support::{Gate, config, files, free_port, http, run, wait_for};

/// Three pipelines from one receiver into three folders.
fn three(ingest: u16, routing: &str) -> String {
    format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters:
  file/checkout: {{directory: ./checkout, format: collapsed}}
  file/main: {{directory: ./main, format: collapsed}}
  file/rest: {{directory: ./rest, format: collapsed}}
service:
  routing: {routing}
  pipelines:
    profiles/checkout:
      when: [{{resource.service.name: \"checkout-*\"}}]
      receivers: [pyroscope]
      exporters: [file/checkout]
    profiles/again:
      when: [{{resource.service.name: {{regex: \"-eu$\"}}, tenant: default}}]
      receivers: [pyroscope]
      exporters: [file/main]
    profiles/rest: {{default: true, receivers: [pyroscope], exporters: [file/rest]}}
  telemetry: {{metrics: {{level: none}}}}
"
    )
}

/// How many files each folder holds after three services have sent one profile each.
fn spread(routing: &str) -> [usize; 3] {
    let ingest = free_port();
    let (folder, path) = config(&three(ingest, routing));
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    for service in ["checkout-us", "checkout-eu", "billing"] {
        let path = format!("/ingest?name={service}&format=folded&from=1700000000&until=1700000010");
        assert_eq!(http("POST", ingest, &path, b"main;work 35\n").0, 200);
    }
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    ["checkout", "main", "rest"].map(|name| files(&folder.path().join(name)).len())
}

#[test]
fn profiles_take_every_pipeline_that_matches_or_the_first() {
    assert_eq!(spread("all"), [2, 1, 1]);
    assert_eq!(spread("first"), [2, 0, 1]);
}

#[test]
fn what_no_pipeline_takes_is_counted_and_the_sender_hears_ok() {
    let (ingest, metrics) = (free_port(), free_port());
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
exporters: {{debug: }}
service:
  pipelines:
    profiles: {{when: [{{resource.service.name: shop}}], receivers: [pyroscope], exporters: [debug]}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
"
    );
    let (folder, path) = config(&text);
    let _gate = Gate::start(folder.path(), &["--config", &path]);
    let other = "/ingest?name=other&format=folded&from=1700000000&until=1700000010";
    assert_eq!(http("POST", ingest, other, b"main;work 35\n").0, 200);
    let dropped = "flamegate_dropped_total{component=\"pyroscope\",kind=\"receiver\",reason=\"unrouted\"} 1";
    wait_for("the count", || {
        http("GET", metrics, "/metrics", b"").1.contains(dropped).then_some(())
    });
}

#[test]
fn conditions_are_checked_and_pipelines_that_nothing_reaches_are_told() {
    let wrong = three(1, "first").replace("tenant: default", "tennant: default");
    let (_folder, path) = config(&wrong);
    let checked = run(&["validate", "--config", &path]);
    assert_eq!(checked.code(), 1);
    assert!(
        checked.err().contains(":14:") && checked.err().contains("`tennant`: allowed are"),
        "{}",
        checked.err()
    );
    let hidden = three(1, "first").replace("      when: [{resource.service.name: \"checkout-*\"}]\n", "");
    let (_folder, path) = config(&hidden);
    let checked = run(&["validate", "--config", Path::new(&path).to_str().unwrap()]);
    assert_eq!(checked.code(), 0, "{}", checked.err());
    assert!(
        checked
            .err()
            .contains("service.pipelines.profiles/again: nothing reaches"),
        "{}",
        checked.err()
    );
    assert!(
        checked
            .err()
            .contains("service.pipelines.profiles/rest: nothing reaches"),
        "{}",
        checked.err()
    );
}
