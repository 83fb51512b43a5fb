//! Keys of the Collector's that have no meaning here: each is taken out before a component sees it, with a word on why, or
//! refused with our own way to do it. A value that says what is done anyway passes without a word.

use serde_json::{Value, json};

use super::error::ConfigError;
use super::tree::{Entry, Node, Tree};

/// What becomes of a foreign key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It has no effect, and that is all.
    Ignored,
    /// Whoever wrote it counts on what would not happen.
    Refused,
}
use Fate::{Ignored, Refused};

/// One foreign key.
struct Rule {
    /// `*` is any one key, `**` any number of them; the second key is the type of a component.
    path: &'static str,
    /// The value that says what is done anyway, as JSON; empty for none.
    usual: &'static str,
    fate: Fate,
    word: &'static str,
}

const fn rule(path: &'static str, usual: &'static str, fate: Fate, word: &'static str) -> Rule {
    Rule {
        path,
        usual,
        fate,
        word,
    }
}

const BUFFERS: &str = "buffers are as large as what is in them";
const OTHER_SIGNALS: &str = "only profiles and traces are taken and sent here";
const UNREAD_SPANS: &str = "spans pass unread; filter them in a Collector before or behind";
const POOL: &str = "connections are kept while they are used, few at a time";
const CONDITIONS: &str =
    "conditions in OTTL are not spoken; list what is dropped, as in `drop: [{ resource.service.name: \"test-*\" }]`";
const LOGS: &str =
    "logs go to the standard error stream, at most ten lines of a kind in ten seconds and then one in a hundred";

static RULES: &[Rule] = &[
    rule(
        "receivers.**.transport",
        "\"tcp\"",
        Refused,
        "only tcp is listened on; leave it out",
    ),
    rule("receivers.**.read_buffer_size", "", Ignored, BUFFERS),
    rule("receivers.**.write_buffer_size", "", Ignored, BUFFERS),
    rule(
        "receivers.**.write_timeout",
        "",
        Ignored,
        "answers are small, and a connection without a request ends by `idle_timeout`",
    ),
    rule(
        "receivers.**.keep_alives_enabled",
        "true",
        Ignored,
        "connections are kept until `idle_timeout`",
    ),
    rule(
        "receivers.**.compression_algorithms",
        "",
        Ignored,
        "every compression that is known here is taken",
    ),
    rule(
        "receivers.**.include_metadata",
        "false",
        Ignored,
        "headers of requests are not passed on; the tenant is that of the credential or of `X-Scope-OrgID`",
    ),
    rule(
        "receivers.**.response_headers",
        "{}",
        Ignored,
        "answers carry no headers of your own",
    ),
    rule(
        "receivers.**.cors",
        "null",
        Refused,
        "profilers are no browsers, and no browser is let in; leave it out",
    ),
    rule(
        "receivers.**.middlewares",
        "[]",
        Refused,
        "there are no middlewares; use `auth`, the limits of the server, and processors",
    ),
    rule(
        "receivers.**.auth.request_params",
        "[]",
        Refused,
        "credentials are taken from headers alone, because addresses end in logs",
    ),
    rule(
        "receivers.pprof.remote.compression",
        "",
        Ignored,
        "what is fetched has no body to compress",
    ),
    rule("receivers.pprof.remote.max_idle_conns", "", Ignored, POOL),
    rule("receivers.pprof.remote.max_idle_conns_per_host", "", Ignored, POOL),
    rule(
        "receivers.pprof.remote.max_conns_per_host",
        "",
        Ignored,
        "one profile is fetched at a time",
    ),
    rule("receivers.pprof.remote.disable_keep_alives", "false", Ignored, POOL),
    rule(
        "receivers.pprof.remote.force_attempt_http2",
        "true",
        Ignored,
        "over TLS the server chooses",
    ),
    rule(
        "receivers.pprof.remote.cookies",
        "{\"enabled\":false}",
        Ignored,
        "cookies are not kept",
    ),
    rule(
        "receivers.otlp.protocols.http.traces_url_path",
        "\"/v1/traces\"",
        Refused,
        "spans are taken at `/v1/traces`",
    ),
    rule(
        "receivers.otlp.protocols.http.metrics_url_path",
        "",
        Ignored,
        OTHER_SIGNALS,
    ),
    rule(
        "receivers.otlp.protocols.http.logs_url_path",
        "",
        Ignored,
        OTHER_SIGNALS,
    ),
    rule(
        "processors.filter.error_mode",
        "",
        Ignored,
        "what `drop` lists is checked at the start, and cannot fail later",
    ),
    rule("processors.filter.profiles", "{}", Refused, CONDITIONS),
    rule("processors.filter.profile_conditions", "[]", Refused, CONDITIONS),
    rule("processors.filter.traces", "{}", Ignored, UNREAD_SPANS),
    rule("processors.filter.trace_conditions", "[]", Ignored, UNREAD_SPANS),
    rule("processors.filter.spans", "{}", Ignored, UNREAD_SPANS),
    rule("processors.filter.metrics", "{}", Ignored, OTHER_SIGNALS),
    rule("processors.filter.metric_conditions", "[]", Ignored, OTHER_SIGNALS),
    rule("processors.filter.logs", "{}", Ignored, OTHER_SIGNALS),
    rule("processors.filter.log_conditions", "[]", Ignored, OTHER_SIGNALS),
    rule("exporters.*.metrics_endpoint", "", Ignored, OTHER_SIGNALS),
    rule("exporters.*.logs_endpoint", "", Ignored, OTHER_SIGNALS),
    rule("exporters.*.read_buffer_size", "", Ignored, BUFFERS),
    rule("exporters.*.write_buffer_size", "", Ignored, BUFFERS),
    rule("exporters.*.max_idle_conns", "", Ignored, POOL),
    rule("exporters.*.max_idle_conns_per_host", "", Ignored, POOL),
    rule(
        "exporters.*.max_conns_per_host",
        "",
        Ignored,
        "requests at once are bounded by `sending_queue.num_consumers`",
    ),
    rule("exporters.*.disable_keep_alives", "false", Ignored, POOL),
    rule(
        "exporters.*.force_attempt_http2",
        "true",
        Ignored,
        "over TLS the server chooses",
    ),
    rule(
        "exporters.*.cookies",
        "{\"enabled\":false}",
        Ignored,
        "cookies of backends are not kept",
    ),
    rule(
        "exporters.*.wait_for_ready",
        "false",
        Ignored,
        "a failed attempt is repeated by `retry_on_failure`",
    ),
    rule(
        "exporters.*.balancer_name",
        "",
        Ignored,
        "one connection carries everything; spread it by a load balancer in front of the backends",
    ),
    rule(
        "exporters.*.authority",
        "\"\"",
        Refused,
        "name the host in `endpoint`, and the name in its certificate in `tls.server_name_override`",
    ),
    rule(
        "exporters.*.user_agent",
        "\"\"",
        Refused,
        "write it as `headers: { user-agent: ... }`",
    ),
    rule(
        "exporters.*.middlewares",
        "[]",
        Refused,
        "there are no middlewares; use `headers`, `auth` and `proxy_url`",
    ),
    rule(
        "exporters.*.sending_queue.block_on_overflow",
        "false",
        Ignored,
        "a full queue blocks nobody; with `required: true` senders hear 503 and come again",
    ),
    rule(
        "exporters.*.sending_queue.wait_for_result",
        "false",
        Refused,
        "senders hear OK when their profiles wait in the queue; leave it out",
    ),
    rule(
        "exporters.*.sending_queue.storage",
        "null",
        Refused,
        "queues are kept in memory, bounded by `sending_queue.queue_bytes`; leave it out",
    ),
    rule(
        "exporters.*.sending_queue.batch.partition",
        "{}",
        Ignored,
        "what belongs to several tenants is never merged",
    ),
    rule(
        "exporters.file.append",
        "true",
        Ignored,
        "the file of `path` is always appended to",
    ),
    rule(
        "exporters.file.create_directory",
        "true",
        Ignored,
        "directories are made where they are missing",
    ),
    rule(
        "exporters.file.directory_permissions",
        "",
        Ignored,
        "directories are made for their owner",
    ),
    rule(
        "exporters.file.group_by",
        "{\"enabled\":false}",
        Refused,
        "write one file for each profile with `directory`, or several exporters behind `when:`",
    ),
    rule("exporters.file.encoding", "\"\"", Refused, "choose `format`"),
    rule("exporters.debug.use_internal_logger", "true", Ignored, LOGS),
    rule("exporters.debug.output_paths", "", Ignored, LOGS),
    rule(
        "extensions.health_check.response_body",
        "null",
        Ignored,
        "the answer says the state in JSON",
    ),
    rule(
        "extensions.health_check.check_collector_pipeline",
        "{\"enabled\":false}",
        Ignored,
        "a part that is broken or keeps panicking makes the answer 503 by itself",
    ),
    rule(
        "extensions.zpages.expvar",
        "{\"enabled\":false}",
        Ignored,
        "there are no expvars; look at `/debug/servicez` and the metrics",
    ),
    rule(
        "service.telemetry.resource",
        "{}",
        Ignored,
        "metrics carry no resource; the scraper adds it",
    ),
    rule(
        "service.telemetry.traces",
        "{}",
        Ignored,
        "the gate makes no traces of itself",
    ),
    rule("service.telemetry.logs.development", "false", Ignored, LOGS),
    rule("service.telemetry.logs.disable_caller", "", Ignored, LOGS),
    rule("service.telemetry.logs.disable_stacktrace", "", Ignored, LOGS),
    rule("service.telemetry.logs.sampling", "", Ignored, LOGS),
    rule("service.telemetry.logs.output_paths", "[\"stderr\"]", Ignored, LOGS),
    rule(
        "service.telemetry.logs.error_output_paths",
        "[\"stderr\"]",
        Ignored,
        LOGS,
    ),
    rule("service.telemetry.logs.initial_fields", "{}", Ignored, LOGS),
    rule("service.telemetry.logs.processors", "[]", Ignored, LOGS),
    rule(
        "service.telemetry.metrics.views",
        "[]",
        Ignored,
        "choose metrics where they are scraped",
    ),
    rule(
        "service.telemetry.metrics.readers.*.periodic",
        "",
        Refused,
        "metrics are fetched and not pushed: use `pull`, and scrape it",
    ),
    rule(
        "service.telemetry.metrics.readers.*.pull.exporter.prometheus.with_resource_constant_labels",
        "",
        Ignored,
        "metrics carry no resource",
    ),
    rule(
        "service.telemetry.metrics.readers.*.pull.exporter.prometheus.translation_strategy",
        "",
        Ignored,
        "names are as the Collector's",
    ),
];

/// What was found on the way.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Keys without effect, each with its place.
    pub(super) warnings: Vec<String>,
    /// Keys that are refused.
    pub(super) errors: Vec<ConfigError>,
}

/// The tree without foreign keys.
pub(super) fn settle(tree: &Node) -> (Node, Settled) {
    let mut settled = Settled::default();
    let node = settled.node(tree, &mut Vec::new());
    (node, settled)
}

impl Settled {
    fn node(&mut self, node: &Node, path: &mut Vec<String>) -> Node {
        let tree = match &node.tree {
            Tree::Map(entries) => Tree::Map(entries.iter().filter_map(|entry| self.entry(entry, path)).collect()),
            Tree::List(items) => {
                let mut kept = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    kept.push(self.node(item, path));
                    path.pop();
                }
                Tree::List(kept)
            }
            scalar => scalar.clone(),
        };
        Node { tree, ..node.clone() }
    }

    /// The entry without foreign keys; none if it is one itself.
    fn entry(&mut self, entry: &Entry, path: &mut Vec<String>) -> Option<Entry> {
        path.push(entry.key.clone());
        let kept = match RULES.iter().find(|rule| rule.is_about(path)) {
            Some(rule) => {
                self.tell(rule, entry, path);
                None
            }
            None => Some(Entry {
                node: self.node(&entry.node, path),
                ..entry.clone()
            }),
        };
        path.pop();
        kept
    }

    fn tell(&mut self, rule: &Rule, entry: &Entry, path: &[String]) {
        let value = entry.node.to_json();
        let usual: Value = serde_json::from_str(rule.usual).unwrap_or(json!({ "no": "usual value" }));
        if value == usual || value.is_null() {
            return;
        }
        let dotted = path.join(".");
        match rule.fate {
            Ignored => self
                .warnings
                .push(format!("{}: {dotted}: has no effect: {}", entry.place, rule.word)),
            Refused => self.errors.push(ConfigError::new(
                entry.place.clone(),
                dotted,
                format!("there is no such key here: {}", rule.word),
            )),
        }
    }
}

/// The foreign keys that pass below the key `path`, with the JSON Schema of what they may hold.
pub(super) fn keys_at(path: &[String]) -> Vec<(&'static str, Value)> {
    let mut keys = Vec::new();
    for rule in RULES {
        let key = rule.path.rsplit('.').next().unwrap_or_default();
        let whole: Vec<String> = path.iter().cloned().chain([key.to_owned()]).collect();
        if !rule.is_about(&whole) {
            continue;
        }
        let mut schema = json!({ "description": format!("Foreign. Has no effect: {}", rule.word) });
        if rule.fate == Refused {
            let usual: Option<Value> = serde_json::from_str(rule.usual)
                .ok()
                .filter(|usual: &Value| !usual.is_null());
            let passes: Vec<Value> = usual.into_iter().chain([Value::Null]).collect();
            schema = json!({ "description": format!("Foreign. Not here: {}", rule.word), "enum": passes });
        }
        keys.push((key, schema));
    }
    keys
}

impl Rule {
    fn is_about(&self, path: &[String]) -> bool {
        let pattern: Vec<&str> = self.path.split('.').collect();
        // an id stands for its type
        let keys: Vec<&str> = path
            .iter()
            .enumerate()
            .map(|(at, key)| match at {
                1 => key.split('/').next().unwrap_or_default(),
                _ => key.as_str(),
            })
            .collect();
        matches(&pattern, &keys)
    }
}

fn matches(pattern: &[&str], keys: &[&str]) -> bool {
    match (pattern.split_first(), keys.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            (0..=keys.len()).any(|skip| keys.get(skip..).is_some_and(|keys| matches(rest, keys)))
        }
        (Some((first, rest)), Some((key, keys))) => (*first == "*" || first == key) && matches(rest, keys),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(yaml: &str) -> (Value, Vec<String>, Vec<String>) {
        let (node, settled) = settle(&Node::parse(yaml, "f").unwrap());
        let errors = settled.errors.iter().map(ToString::to_string).collect();
        (node.to_json(), settled.warnings, errors)
    }

    #[test]
    fn foreign_keys_go_with_a_word_and_usual_values_without() {
        let (left, warnings, errors) = told(
            "receivers: {otlp/a: {protocols: {grpc: {transport: tcp, read_buffer_size: 9, endpoint: x}}}}
exporters: {otlp: {sending_queue: {sizer: requests, block_on_overflow: true, storage: file_storage/q}}}",
        );
        assert_eq!(
            left,
            json!({"receivers": {"otlp/a": {"protocols": {"grpc": {"endpoint": "x"}}}},
                "exporters": {"otlp": {"sending_queue": {"sizer": "requests"}}}})
        );
        assert!(
            warnings[0].starts_with("f:1:57: receivers.otlp/a.protocols.grpc.read_buffer_size: has no effect"),
            "{warnings:?}"
        );
        assert!(
            warnings[1].contains("required: true") && warnings.len() == 2,
            "{warnings:?}"
        );
        assert!(
            errors[0].contains("storage: there is no such key here") && errors.len() == 1,
            "{errors:?}"
        );
    }

    #[test]
    fn every_usual_value_is_json_and_every_rule_has_a_word() {
        for rule in RULES {
            assert!(
                rule.usual.is_empty() || serde_json::from_str::<Value>(rule.usual).is_ok(),
                "{}",
                rule.path
            );
            assert!(!rule.word.is_empty(), "{}", rule.path);
        }
    }

    /// Every key of a schema, as a path below `path`.
    fn keys(root: &Value, schema: &Value, path: &[String], found: &mut Vec<Vec<String>>) {
        if path.len() > 8 {
            return;
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix('#')) {
            keys(root, root.pointer(name).unwrap(), path, found);
        }
        for schema in ["anyOf", "oneOf"]
            .iter()
            .filter_map(|word| schema[word].as_array())
            .flatten()
        {
            keys(root, schema, path, found);
        }
        if schema["items"].is_object() {
            keys(root, &schema["items"], &[path, &["0".to_owned()]].concat(), found);
        }
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = [path, std::slice::from_ref(key)].concat();
            found.push(path.clone());
            keys(root, below, &path, found);
        }
    }

    #[test]
    fn no_rule_takes_a_key_away_that_a_component_has() {
        let catalog = crate::app::CATALOG;
        let mut found = Vec::new();
        for kind in super::super::Kind::ALL {
            for about in catalog.rows(kind) {
                let schema = (about.schema)().to_value();
                let names = about.aliases.iter().chain([&about.name]);
                for name in names {
                    keys(
                        &schema,
                        &schema,
                        &[kind.section().to_owned(), name.to_string()],
                        &mut found,
                    );
                }
            }
        }
        let service = schemars::schema_for!(super::super::Service).to_value();
        keys(&service, &service, &["service".to_owned()], &mut found);
        assert!(found.len() > 300, "{}", found.len());
        for path in found {
            assert!(!RULES.iter().any(|rule| rule.is_about(&path)), "{path:?}");
        }
    }
}
