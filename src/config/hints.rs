//! Components of the Collector that Flamegate does not have, and its own way to do what they do.

use super::catalog::Kind;

/// Our way to do what the Collector's component does.
pub fn instead_of(kind: Kind, type_name: &str) -> Option<&'static str> {
    let rows = match kind {
        Kind::Receiver => RECEIVERS,
        Kind::Processor => PROCESSORS,
        Kind::Exporter => EXPORTERS,
        Kind::Extension => EXTENSIONS,
    };
    rows.iter().find(|(name, _)| *name == type_name).map(|(_, way)| *way)
}

static RECEIVERS: &[(&str, &str)] = &[
    ("nop", "leave the pipeline out"),
    ("kafka", "send to the otlp receiver instead"),
    ("otlpjsonfile", "use `flamegate send FILE... --to URL`"),
    (
        "profiling",
        "run the eBPF profiler beside the gate and point it at the otlp receiver",
    ),
    ("receiver_creator", "list the receivers one by one"),
];

static PROCESSORS: &[(&str, &str)] = &[
    (
        "queuebatch",
        "every exporter has its queue: set `sending_queue` and `sending_queue.batch` at the exporter",
    ),
    ("groupbytrace", "leave it out: samples keep their trace links"),
    (
        "transform",
        "use `resource` to edit resource attributes, `redaction` to rewrite text, `filter` to drop",
    ),
    (
        "attributes",
        "use `resource` for resource attributes, `redaction` to remove sample attributes by key",
    ),
    (
        "resourcedetection",
        "use `resource` with values such as ${env:HOSTNAME}",
    ),
    (
        "k8sattributes",
        "use `resource` with values from the downward API such as ${env:POD_NAME}",
    ),
    ("probabilistic_sampler", "thin out at the profiler"),
    (
        "tail_sampling",
        "use `filter` to drop by resource, profile type or sample attribute",
    ),
];

static EXPORTERS: &[(&str, &str)] = &[
    ("logging", "use `debug`"),
    ("nop", "use `debug` with `verbosity: basic`"),
    ("kafka", "use `otlp_grpc` to a Collector that writes to Kafka"),
    ("elasticsearch", "use `otlp_grpc` to the vendor's OTLP endpoint"),
    ("clickhouse", "use `otlp_grpc` to a Collector that writes to ClickHouse"),
    (
        "coralogix",
        "use `otlp_grpc` with the vendor's endpoint and an `authorization` header",
    ),
    ("splunk_hec", "use `otlp_http` with the vendor's endpoint"),
    ("loadbalancing", "give `otlp_grpc` the address of a load balancer"),
];

static EXTENSIONS: &[(&str, &str)] = &[
    ("healthcheckv2", "use `health_check`"),
    ("pprof", "use the receiver `pprof` with `self`"),
    (
        "memory_limiter",
        "use the processor `memory_limiter`, or set `service.memory_budget`",
    ),
    (
        "file_storage",
        "queues are kept in memory, bounded by `sending_queue.queue_bytes`",
    ),
    (
        "oauth2client",
        "use `bearertokenauth` with `filename`, and let a sidecar keep the token fresh",
    ),
    (
        "oidc",
        "put a proxy that checks tokens in front, or use `bearertokenauth`",
    ),
    ("sigv4auth", "send through a proxy that signs requests"),
    ("opamp", "let your deployment change the file: it is reloaded by itself"),
    ("memory_ballast", "leave it out: there is no garbage to collect"),
    (
        "sd_notify",
        "use `Type=exec`, and `flamegate health` to see whether it is ready",
    ),
    ("headers_setter", "set `headers` at the exporter"),
];
