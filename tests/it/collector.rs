//! What a Collector's operator writes: it runs, or the answer names our own way.

use crate::support::{Finished, Gate, config, free_port, http, run, wait_for};

/// A pipeline with every processor that a Collector's one has, and keys that mean nothing here.
fn written(otlp: u16, metrics: u16, queue: &str) -> String {
    format!(
        "receivers:
  otlp:
    protocols:
      grpc: {{endpoint: \"localhost:{otlp}\", transport: tcp, read_buffer_size: 524288, include_metadata: true}}
processors:
  memory_limiter: {{check_interval: 1s, limit_mib: 100, spike_limit_mib: 25}}
  batch: {{timeout: 10s, send_batch_size: 1024}}
exporters:
  otlp:
    endpoint: localhost:1
    tls: {{insecure: true}}
    wait_for_ready: true
    retry_on_failure: {{enabled: true, initial_interval: 1s, max_interval: 10s, max_elapsed_time: 0}}
    sending_queue: {queue}
service:
  pipelines: {{profiles: {{receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp]}}}}
  telemetry:
    resource: {{service.name: gate}}
    traces: {{processors: []}}
    logs: {{level: INFO, encoding: console, output_paths: [stderr], disable_caller: true}}
    metrics: {{level: detailed, readers: [{{pull: {{exporter: {{prometheus: {{host: localhost, port: {metrics}}}}}}}}}]}}
"
    )
}

const QUEUE: &str = "{enabled: true, num_consumers: 4, queue_size: 8000000, sizer: bytes, block_on_overflow: true, batch: {flush_timeout: 1s, min_size: 100, sizer: items}}";

fn validate(text: &str) -> Finished {
    let (_folder, path) = config(text);
    run(&[
        "validate",
        "--config",
        &path,
        "--feature-gates=+service.profilesSupport",
    ])
}

#[test]
fn what_has_no_effect_is_said_once_and_the_rest_runs() {
    let metrics = free_port();
    let text = written(free_port(), metrics, QUEUE);
    let checked = validate(&text);
    assert_eq!(checked.code(), 0, "{}", checked.err());
    let told = checked.err();
    for key in [
        "receivers.otlp.protocols.grpc.read_buffer_size: has no effect",
        "receivers.otlp.protocols.grpc.include_metadata: has no effect",
        "processors.batch: has no effect: every exporter merges on its own; set `sending_queue.batch`",
        "exporters.otlp.wait_for_ready: has no effect",
        "exporters.otlp.sending_queue.block_on_overflow: has no effect",
        "service.telemetry.resource: has no effect",
        "service.telemetry.traces: has no effect",
        "service.telemetry.logs.disable_caller: has no effect",
    ] {
        assert_eq!(told.matches(key).count(), 1, "{key}\n{told}");
    }
    assert_eq!(told.lines().count(), 8, "{told}");
    let (folder, path) = config(&text);
    let gate = Gate::start(
        folder.path(),
        &["run", "--config", &path, "--feature-gates", "+service.profilesSupport"],
    );
    assert!(gate.err().contains("processors.batch: has no effect"), "{}", gate.err());
    let levels = wait_for("metrics", || Some(http("GET", metrics, "/metrics", b"").1));
    assert!(levels.contains("flamegate_memory_limit_bytes 104857600"), "{levels}");
    assert!(
        levels.contains("flamegate_memory_soft_limit_bytes 78643200"),
        "{levels}"
    );
}

#[test]
fn what_would_not_happen_is_refused_with_our_own_way() {
    for (queue, word) in [
        (
            "{storage: file_storage/queue}",
            "exporters.otlp.sending_queue.storage: there is no such key here: queues are kept in memory",
        ),
        ("{wait_for_result: true}", "senders hear OK when their profiles wait"),
        (
            "{sizer: items}",
            "exporters.otlp.sending_queue.sizer: not an allowed value; allowed: requests, bytes",
        ),
    ] {
        let checked = validate(&written(free_port(), free_port(), queue));
        assert_eq!(checked.code(), 1);
        assert!(checked.err().contains(word), "{}", checked.err());
    }
}

#[test]
fn the_memory_budget_is_set_in_one_place() {
    let text = written(free_port(), free_port(), "{}").replace("service:\n", "service:\n  memory_budget: 64MiB\n");
    let checked = validate(&text);
    assert_eq!(checked.code(), 1);
    let told = checked.err();
    assert!(
        told.contains("service.memory_budget: the processor memory_limiter sets the memory budget too"),
        "{told}"
    );
    assert!(told.contains("drop this key"), "{told}");
}
