//! What a Collector's operator writes: it runs, or the answer names our own way.

use crate::support::{Finished, Gate, config, data, flamegate, free_port, http, run, wait_for};

/// A pipeline with every processor that a Collector's one has, and keys that mean nothing here.
pub fn written(otlp: u16, metrics: u16, queue: &str) -> String {
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

pub const QUEUE: &str = "{enabled: true, num_consumers: 4, queue_size: 8000000, sizer: bytes, block_on_overflow: true, batch: {flush_timeout: 1s, min_size: 100, sizer: items}}";

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
            "{sizer: profiles}",
            "exporters.otlp.sending_queue.sizer: not an allowed value; allowed: requests, items, bytes",
        ),
        (
            "{batch: {sizer: requests}}",
            "exporters.otlp.sending_queue.batch.sizer: not an allowed value; allowed: items, bytes",
        ),
    ] {
        let checked = validate(&written(free_port(), free_port(), queue));
        assert_eq!(checked.code(), 1);
        assert!(checked.err().contains(word), "{}", checked.err());
    }
}

#[test]
fn queues_and_batches_count_as_the_collectors_do() {
    for queue in [
        "{sizer: requests, batch: {sizer: items, min_size: 100}}",
        "{sizer: items, queue_size: 100000, batch: {}}",
        "{sizer: bytes, queue_size: 8000000, batch: {sizer: bytes, min_size: 100000, max_size: 4000000}}",
    ] {
        let checked = validate(&written(free_port(), free_port(), queue));
        assert_eq!(checked.code(), 0, "{queue}: {}", checked.err());
    }
}

#[test]
fn retries_that_end_before_they_begin_are_told() {
    let text = written(free_port(), free_port(), "{}").replace("max_elapsed_time: 0", "max_elapsed_time: 500ms");
    let checked = validate(&text);
    assert_eq!(checked.code(), 0, "{}", checked.err());
    let told = checked.err();
    assert!(
        told.contains("exporters.otlp.retry_on_failure.max_elapsed_time: is over before the first repetition, which comes after about 1s"),
        "{told}"
    );
    assert!(
        !validate(&written(free_port(), free_port(), "{}"))
            .err()
            .contains("repetition")
    );
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

#[test]
fn a_memory_budget_of_nothing_is_refused() {
    for key in ["memory_budget", "memory_soft_limit"] {
        let sized = format!("service:\n  {key}: 0\n");
        let text = written(free_port(), free_port(), "{}").replace("service:\n", &sized);
        let checked = validate(&text);
        assert_eq!(checked.code(), 1);
        let told = checked.err();
        assert!(
            told.contains(&format!("service.{key}: nothing would be let in")),
            "{told}"
        );
    }
}

#[test]
fn only_the_first_reader_of_metrics_is_served_and_that_is_told() {
    let other = "readers: [{pull: {exporter: {prometheus: {host: localhost, port: 0}}}}, {pull";
    let text = written(free_port(), free_port(), "{}").replace("readers: [{pull", other);
    let told = validate(&text).err();
    assert!(
        told.contains("service.telemetry.metrics.readers: only the first is served"),
        "{told}"
    );
}

/// A configuration as a Collector would run it.
fn published(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/collector");
    path.join(name).display().to_string()
}

#[test]
fn three_published_configurations_validate_and_run_one_behind_the_other() {
    let folder = tempfile::tempdir().unwrap();
    crate::tls::issue(folder.path(), "server");
    let token = folder.path().join("token").display().to_string();
    std::fs::write(&token, "plantedEXAMPLE-token\n").unwrap();
    let mut env = vec![
        ("TOKEN_FILE", token),
        ("CERTIFICATES", folder.path().display().to_string()),
        ("GRPC_USER", "agent".to_owned()),
        ("GRPC_PASSWORD", "plantedEXAMPLE-password".to_owned()),
    ];
    let names = [
        "PROFILER_GRPC",
        "PROFILER_HEALTH",
        "GATEWAY_GRPC",
        "GATEWAY_HTTP",
        "GATEWAY_HEALTH",
        "GATEWAY_PAGES",
        "GATEWAY_METRICS",
        "BACKEND_GRPC",
        "BACKEND_HTTP",
    ];
    let ports: Vec<u16> = names.iter().map(|_| free_port()).collect();
    env.extend(names.iter().zip(&ports).map(|(name, port)| (*name, port.to_string())));
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for name in ["ebpf-profiler.yaml", "gateway.yaml", "auth-tls.yaml"] {
        let mut checking = flamegate();
        checking
            .args(["validate", "--config", &published(name)])
            .envs(env.iter().copied());
        let checked = Finished(checking.output().unwrap());
        assert_eq!(checked.code(), 0, "{name}: {}", checked.err());
        assert!(!checked.err().contains("is not set"), "{name}: {}", checked.err());
    }
    let start = |name: &str, more: &[&str]| {
        let own = folder.path().join(name);
        std::fs::create_dir(&own).unwrap();
        let path = published(name);
        let args = [
            &["run", "--config", &path, "--feature-gates=+service.profilesSupport"],
            more,
        ]
        .concat();
        (Gate::start_with(&own, &args, &env), own)
    };
    // a second file on top, as operators do
    let on_top = folder.path().join("on-top.yaml");
    std::fs::write(&on_top, "service: {telemetry: {logs: {level: debug}}}\n").unwrap();
    let (gateway, _) = start("gateway.yaml", &["--config", on_top.to_str().unwrap()]);
    let (_profiler, _) = start("ebpf-profiler.yaml", &["--set", "exporters.debug.verbosity=basic"]);
    let profile = data("go123-heap.pb.gz");
    let sent = run(&[
        "send",
        profile.to_str().unwrap(),
        "--to",
        &format!("grpc://localhost:{}", ports[0]),
    ]);
    assert_eq!(sent.code(), 0, "{}", sent.err());
    // the backend comes last: until then the queue holds it and the retry tries
    wait_for("a retry", || {
        let metrics = http("GET", ports[6], "/metrics", b"").1;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("flamegate_exporter_retries_total{"))?
            .to_owned();
        (!line.ends_with(" 0")).then_some(())
    });
    let (_backend, own) = start("auth-tls.yaml", &[]);
    let file = own.join("received.jsonl");
    wait_for("the file", || {
        std::fs::metadata(&file).ok().filter(|file| file.len() > 0)
    });
    let types = |file: &std::path::Path| {
        let shown = run(&["inspect", file.to_str().unwrap(), "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&shown.out()).unwrap();
        json["profiles"][0]["types"].clone()
    };
    assert_eq!(types(&file), types(&profile));
    assert!(std::fs::read_to_string(&file).unwrap().contains("node-1"));
    assert_eq!(http("GET", ports[4], "/health/status", b"").0, 200);
    assert!(
        http("GET", ports[5], "/debug/pipelinez", b"")
            .1
            .contains("otlphttp/backend: queue 0 of 5000 (")
    );
    assert!(!gateway.err().contains("plantedEXAMPLE"), "{}", gateway.err());
}

#[test]
fn what_runs_inside_the_collector_for_ebpf_is_named_with_our_own_way() {
    let (_folder, path) = config(
        "receivers: {profiling: {samples_per_second: 20}}
processors: {k8sattributes: {}, resourcedetection: {}}
extensions: {file_storage: {}, pprof: {}, opamp: {}, no_such: {}}
exporters: {nop: {}}
service: {pipelines: {profiles: {receivers: [profiling], exporters: [nop]}}}",
    );
    let checked = run(&["validate", "--config", &path]);
    assert_eq!(checked.code(), 1);
    for way in [
        "run the eBPF profiler beside the gate and point it at the otlp receiver",
        "downward API",
        "${env:HOSTNAME}",
        "queues are kept in memory",
        "use the receiver `pprof` with `self`",
        "reloaded by itself",
        "unknown extension; allowed: basicauth, bearertokenauth, health_check, zpages",
        "use `debug`",
    ] {
        assert!(checked.err().contains(way), "{way}: {}", checked.err());
    }
}

#[test]
fn configurations_come_from_files_variables_and_arguments() {
    let (_folder, path) = config(&written(free_port(), free_port(), "{}"));
    let printed = |more: &[&str]| {
        let mut command = flamegate();
        command
            .args([
                "print-config",
                "--validate",
                "false",
                "--config",
                &format!("file:{path}"),
            ])
            .args(more)
            .env("ON_TOP", "exporters: {debug: {verbosity: detailed}}");
        Finished(command.output().unwrap())
    };
    let merged = printed(&[
        "--config",
        "env:ON_TOP",
        "--config",
        "yaml:receivers::otlp::protocols::grpc::endpoint: localhost:1717",
        "--config",
        "yaml:exporters::debug::verbosity: basic",
    ]);
    assert_eq!(merged.code(), 0, "{}", merged.err());
    let shown = merged.out();
    assert!(
        shown.contains("localhost:1717") && shown.contains("verbosity: basic") && shown.contains("include_metadata"),
        "{shown}"
    );
    let fetched = printed(&["--config", "https://user:plantedEXAMPLE@h/gate.yaml"]);
    assert_eq!(fetched.code(), 2);
    assert!(
        fetched.err().contains("is not fetched over the network"),
        "{}",
        fetched.err()
    );
    assert!(!fetched.err().contains("plantedEXAMPLE"));
    let wrong = printed(&["--config", "yaml:exporters::otlp: [plantedEXAMPLE"]);
    assert!(
        wrong.code() == 1 && !wrong.err().contains("plantedEXAMPLE"),
        "{}",
        wrong.err()
    );
}

#[test]
fn conditions_and_hashes_of_the_collector_are_named_with_our_own_way() {
    let processors = |text: &str| {
        let processors = format!("processors:\n{text}");
        let text = written(free_port(), free_port(), "{}").replace("processors:\n", &processors);
        validate(&text)
    };
    let wrong = processors(
        "  filter: {error_mode: ignore, traces: {span: [x]}, profiles: {profile: ['name == \"x\"']}}
  filter/new: {profile_conditions: ['name == \"x\"']}
  resource: {attributes: [{key: a, value: b, action: upsert}, {key: host.name, action: hash}]}
",
    );
    assert_eq!(wrong.code(), 1);
    let told = wrong.err();
    for way in [
        "processors.filter.profiles: there is no such key here: conditions in OTTL are not spoken; list what is dropped, as in `drop:",
        "processors.filter/new.profile_conditions: there is no such key here: conditions in OTTL",
        "processors.resource.attributes[1].action: there is no action \"hash\" here: a `redaction` behind this processor hashes",
    ] {
        assert!(told.contains(way), "{way}\n{told}");
    }
    let fine = processors("  filter: {error_mode: ignore, metrics: {metric: [x]}, drop: []}\n");
    assert_eq!(fine.code(), 0, "{}", fine.err());
    assert!(
        fine.err().contains("processors.filter.error_mode: has no effect"),
        "{}",
        fine.err()
    );
}
