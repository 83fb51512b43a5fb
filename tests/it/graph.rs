//! What is wrong with a service as a whole, and how it is told.

use std::collections::BTreeMap;

use flamegate::app::TABLES;
use flamegate::pipeline::Common;
use flamegate::pipeline::graph::{Graph, GraphError, PipelineSpec, ServiceSpec};
use serde_json::{Value, json};

use crate::support::{config, run};

fn components(all: &[(&str, Value)]) -> BTreeMap<String, Value> {
    all.iter().map(|(id, raw)| ((*id).to_owned(), raw.clone())).collect()
}

fn ids(all: &[&str]) -> Vec<String> {
    all.iter().map(|id| (*id).to_owned()).collect()
}

/// A service with some of everything, and one pipeline.
fn service(id: &str, pipeline: PipelineSpec) -> ServiceSpec {
    let url = json!({ "endpoint": "http://localhost:1" });
    ServiceSpec {
        receivers: components(&[
            ("otlp", json!({ "protocols": { "http": {} } })),
            ("pyroscope", json!({})),
            ("pprof/two", json!({ "server": {} })),
        ]),
        processors: components(&[
            ("redaction", Value::Null),
            ("redaction/strict", json!({})),
            ("resource", json!({})),
            ("filter", json!({})),
            ("batch", json!({})),
            ("memory_limiter", json!({ "limit_mib": 100 })),
        ]),
        exporters: components(&[
            ("debug", Value::Null),
            ("otlp", url.clone()),
            ("pyroscope", url.clone()),
            ("otlphttp/a", url),
        ]),
        pipelines: vec![(id.to_owned(), pipeline)],
        ..ServiceSpec::default()
    }
}

fn pipeline(receivers: &[&str], processors: &[&str], exporters: &[&str]) -> PipelineSpec {
    PipelineSpec {
        receivers: ids(receivers),
        processors: ids(processors),
        exporters: ids(exporters),
        ..PipelineSpec::default()
    }
}

fn wrong(spec: &ServiceSpec) -> Option<GraphError> {
    Graph::build(spec, TABLES, &Common::default()).err()
}

fn told(spec: &ServiceSpec) -> String {
    wrong(spec).expect("an error").to_string()
}

#[tokio::test]
async fn names_and_aliases_of_types_are_found_with_and_without_a_name_behind_them() {
    let all = pipeline(
        &["pyroscope", "pprof/two"],
        &["resource", "filter", "redaction", "redaction/strict"],
        &["debug", "otlp", "otlphttp/a"],
    );
    assert_eq!(wrong(&service("profiles", all.clone())), None);
    assert_eq!(wrong(&service("profiles/second", all)), None);
}

#[tokio::test]
async fn retries_without_a_pause_are_refused() {
    let hot = |enabled: bool| {
        let mut spec = service("profiles", pipeline(&["pyroscope"], &[], &["otlp"]));
        let retry = json!({ "initial_interval": "0s", "enabled": enabled });
        spec.exporters.get_mut("otlp").unwrap()["retry_on_failure"] = retry;
        spec
    };
    let told = told(&hot(true));
    assert!(
        told.starts_with("exporters.otlp.retry_on_failure.initial_interval: "),
        "{told}"
    );
    assert_eq!(wrong(&hot(false)), None);
}

#[tokio::test]
async fn what_a_pipeline_may_not_be_is_said_at_its_key() {
    let fine = || pipeline(&["pyroscope"], &["redaction"], &["debug"]);
    let acked = |ack: &str| PipelineSpec {
        ack: Some(ack.to_owned()),
        ..fine()
    };
    let routed = |when: serde_json::Value| PipelineSpec {
        when: Some(vec![serde_json::from_value(when).unwrap()]),
        ..pipeline(&["otlp"], &[], &["debug"])
    };
    assert_eq!(wrong(&service("profiles", acked("enqueued"))), None);
    for passes in [
        pipeline(&["otlp"], &["batch", "memory_limiter"], &["debug", "otlp"]),
        pipeline(&["otlp"], &[], &[]),
        routed(json!({ "tenant": "a", "receiver": "otlp" })),
    ] {
        assert_eq!(wrong(&service("traces", passes)), None);
    }
    for (id, pipeline, expected) in [
        (
            "metrics",
            fine(),
            "service.pipelines.metrics: no kind of data that is known here; pipelines are of profiles or traces",
        ),
        (
            "traces",
            fine(),
            "service.pipelines.traces.receivers: `pyroscope` does not handle traces",
        ),
        (
            "traces",
            pipeline(&["otlp"], &["redaction"], &["debug"]),
            "service.pipelines.traces.processors: `redaction` does not handle traces",
        ),
        (
            "traces/copy",
            pipeline(&["otlp"], &[], &["pyroscope"]),
            "service.pipelines.traces/copy.exporters: `pyroscope` does not handle traces",
        ),
        (
            "profiles",
            pipeline(&["pyroscope"], &["redaction"], &[]),
            "service.pipelines.profiles.exporters: profiles have to go somewhere",
        ),
        (
            "traces",
            routed(json!({ "tenant": "a", "resource.service.name": "shop" })),
            "service.pipelines.traces.when: item 1: traces are told apart by `tenant` and `receiver` alone",
        ),
        (
            "profiles",
            acked("delivered"),
            "profiles.ack: this needs the durable log, which does not exist yet",
        ),
        (
            "profiles",
            acked("sometimes"),
            "profiles.ack: only `enqueued` is accepted",
        ),
        (
            "profiles",
            pipeline(&["pyroscope"], &["redaction/unknown"], &["debug"]),
            "processors.redaction/unknown: a pipeline names it, and it is not configured",
        ),
        (
            "profiles",
            pipeline(&["pyroscope"], &["redaction/strict", "filter", "resource"], &["debug"]),
            "profiles.processors: `resource` adds text, which would leave unredacted; move it before `redaction`",
        ),
        (
            "profiles",
            pipeline(
                &["pyroscope"],
                &["redaction", "resource", "redaction/strict"],
                &["debug"],
            ),
            "profiles.processors: `resource` adds text",
        ),
    ] {
        let told = told(&service(id, pipeline));
        assert!(told.contains(expected), "{told}\n{expected}");
    }
}

#[test]
fn validate_checks_components_that_no_pipeline_uses() {
    for (kind, component, expected) in [
        (
            "receivers",
            "otlb: {}",
            "receivers.otlb: unknown receiver; did you mean \"otlp\"?",
        ),
        (
            "processors",
            "redacton/x: {}",
            "processors.redacton/x: unknown processor; did you mean \"redaction\"?",
        ),
        (
            "exporters",
            "kafka: {}",
            "exporters.kafka: there is no exporter \"kafka\" here: use",
        ),
        ("exporters", "debug/: {}", "exporters.debug/: not an id"),
        (
            "exporters",
            "otlp/x: {endpoint: \"\"}",
            "exporters.otlp/x.endpoint: missing",
        ),
        (
            "exporters",
            "otlp/x: {endpoint: \"h:1\", retry_on_failure: {initial_interval: 0s}}",
            "exporters.otlp/x.retry_on_failure.initial_interval: ",
        ),
        (
            "processors",
            "filter/x: {drop: [{}]}",
            "processors.filter/x.drop[0]: an empty condition",
        ),
        ("receivers", "pprof/x: {}", "receivers.pprof/x"),
    ] {
        let of = |section: &str, usual: &str| match kind == section {
            true => format!("{section}: {{{usual}, {component}}}\n"),
            false => format!("{section}: {{{usual}}}\n"),
        };
        let text = of("receivers", "pyroscope: {}")
            + &of("processors", "resource: {}")
            + &of("exporters", "debug: {}")
            + "service: {pipelines: {profiles: {receivers: [pyroscope], exporters: [debug]}}}\n";
        let (_folder, path) = config(&text);
        let checked = run(&["validate", "--config", &path]);
        assert_eq!(checked.code(), 1, "{component}");
        assert!(checked.err().contains(expected), "{}\n{expected}", checked.err());
    }
}

#[test]
fn validate_says_where_the_order_is_wrong() {
    let (_folder, path) = config(
        "receivers: {pyroscope: }
processors: {resource: , redaction: }
exporters: {debug: }
service:
  pipelines:
    profiles:
      receivers: [pyroscope]
      processors: [redaction, resource]
      exporters: [debug]
",
    );
    let checked = run(&["validate", "--config", &path]);
    assert_eq!(checked.code(), 1);
    let expected = format!("{path}:8:19: service.pipelines.profiles.processors: `resource` adds text");
    assert!(checked.err().contains(&expected), "{}", checked.err());
}
