//! The whole way: texts in, a configuration or errors with their places out.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
use crate::pipeline::component::{Context, Processor, Receiver, ReceiverError, Verdict};
use crate::pipeline::spec::{About, BuildError, ProcessorSpec, RawConfig, ReceiverSpec, Stability, parse};
use crate::pipeline::units::{ByteSize, Secret, Span};
use crate::pipeline::{Batch, Outlet, Stop};

#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Fake {
    endpoint: String,
    name: String,
    token: Option<Secret>,
    timeout: Span,
    size: ByteSize,
    port: u16,
    list: Vec<String>,
    headers: std::collections::BTreeMap<String, String>,
    inner: Inner,
}

#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Inner {
    mode: Mode,
    deep: Option<Secret>,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Gzip,
    Zstd,
}

struct Nothing;

#[async_trait::async_trait]
impl Receiver for Nothing {
    async fn run(self: Box<Self>, _: Outlet, _: Stop) -> Result<(), ReceiverError> {
        Ok(())
    }
}

impl Processor for Nothing {
    fn process(&self, batch: Batch, _: &Context) -> Verdict {
        Verdict::pass(batch)
    }
}

fn check(raw: RawConfig) -> Result<(), BuildError> {
    let config: Fake = parse(raw)?;
    let token = config.token.as_ref().map(Secret::expose);
    if config.name == "exact" && !["0x1f2e", "+4912345", "1e5", "0042"].map(Some).contains(&token) {
        return Err(BuildError::at("token", "not the text that it was"));
    }
    if config.name == "wrong" || config.endpoint.contains(' ') {
        // as careless as a component may be
        let token = config.token.map(|token| token.expose().to_owned()).unwrap_or_default();
        return Err(BuildError::at(
            "endpoint",
            format!("cannot use \"{}\" with {token}", config.endpoint),
        ));
    }
    Ok(())
}

const fn about(name: &'static str) -> About {
    About {
        name,
        aliases: &[],
        summary: "",
        docs: "",
        stability: Stability::Alpha,
        signals: &["profiles"],
        example: "",
        schema: || schemars::schema_for!(Fake),
    }
}

static RECEIVERS: &[ReceiverSpec] = &[ReceiverSpec {
    about: about("otlp"),
    build: |raw, _| check(raw).map(|()| Box::new(Nothing) as Box<dyn Receiver>),
}];
static PROCESSORS: &[ProcessorSpec] = &[ProcessorSpec {
    about: about("redaction"),
    adds_text: false,
    removes_text: None,
    holds: None,
    build: |raw, _| check(raw).map(|()| Box::new(Nothing) as Box<dyn Processor>),
}];
static CATALOG: Catalog = Catalog {
    receivers: RECEIVERS,
    processors: PROCESSORS,
    exporters: &[],
    extensions: &[],
};

fn env(name: &str) -> Option<String> {
    match name {
        "DIGITS" => Some("0042".to_owned()),
        "HEX" => Some("0x1f2e".to_owned()),
        "PLUS" => Some("+4912345".to_owned()),
        "FLOAT" => Some("1e5".to_owned()),
        "PORT" => Some("4317".to_owned()),
        "PLANTED" => Some("hunter2EXAMPLE".to_owned()),
        _ => None,
    }
}

fn load_text(text: &str) -> Loaded {
    let sources = Sources {
        texts: vec![("f.yaml".to_owned(), text.to_owned())],
        sets: Vec::new(),
    };
    load(&sources, &env).unwrap()
}

fn resolve_text(text: &str) -> Result<Config, ConfigErrors> {
    let cx = BuildContext::new("check", Arc::default());
    load_text(text).resolve(&CATALOG, &cx)
}

fn errors(text: &str) -> Vec<String> {
    // the rest of these configurations is missing on purpose
    let about_pipelines = |error: &&ConfigError| !error.path.starts_with("service");
    match resolve_text(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .0
            .iter()
            .filter(about_pipelines)
            .map(ToString::to_string)
            .collect(),
    }
}

#[test]
fn errors_name_file_line_column_path_and_what_is_allowed() {
    let cases = [
        (
            "receivers:\n  otlp:\n    endpont: x\n",
            "f.yaml:3:5: receivers.otlp.endpont: unknown key; did you mean \"endpoint\"?; allowed: endpoint, name,",
        ),
        (
            "receivers:\n  otlp/a:\n    inner:\n      mod: x\n",
            "f.yaml:4:7: receivers.otlp/a.inner.mod: unknown key; did you mean \"mode\"?; allowed: mode, deep",
        ),
        (
            "receivers:\n  otlp: {inner: {mode: gzp}}\n",
            "f.yaml:2:24: receivers.otlp.inner.mode: not an allowed value; did you mean \"gzip\"?; allowed: gzip, zstd",
        ),
        (
            "receivers:\n  otlp: {list: [a, {}]}\n",
            "f.yaml:2:20: receivers.otlp.list[1]: expected text, found a map",
        ),
        (
            "receivers: {otlp: {timeout: soon}}",
            "f.yaml:1:29: receivers.otlp.timeout: expected a duration such as 1m30s or 200ms, found text",
        ),
        (
            "receivers: {otlp: {headers: {a.b: [1]}}}",
            "f.yaml:1:35: receivers.otlp.headers.a.b: expected text, found a list",
        ),
        (
            "receivers: {otlp: {port: 99999}}",
            "f.yaml:1:26: receivers.otlp.port: expected a whole number from 0 to 65535, found a number",
        ),
        (
            "receivers: {otlp: 7}",
            "f.yaml:1:19: receivers.otlp: expected a map, found a number",
        ),
        (
            "recievers: {otlp: }",
            "f.yaml:1:1: recievers: unknown key; did you mean \"receivers\"?; allowed: receivers,",
        ),
        (
            "processors:\n  redacton: {}\n",
            "f.yaml:2:3: processors.redacton: unknown processor; did you mean \"redaction\"?; allowed: redaction",
        ),
        (
            "processors:\n  transform: {}\n",
            "f.yaml:2:3: processors.transform: there is no processor \"transform\" here: use `resource` to edit",
        ),
        (
            "extensions:\n  pprof: {}\n",
            "f.yaml:2:3: extensions.pprof: there is no extension \"pprof\" here",
        ),
        (
            "receivers: [otlp]",
            "f.yaml:1:12: receivers: expected a map, found a list",
        ),
        (
            "receivers: {\"otlp/\": }",
            "f.yaml:1:13: receivers.otlp/: not an id; allowed: TYPE or TYPE/NAME",
        ),
        (
            "receivers: {otlp: {port: \"${env:NOT_SET}\"}}",
            "f.yaml:1:26: receivers.otlp.port: expected a whole number from 0 to 65535, found text; the environment variable NOT_SET is not set",
        ),
    ];
    for (text, expected) in cases {
        let errors = errors(text);
        assert!(
            errors.iter().any(|error| error.starts_with(expected)),
            "{text}\n{errors:#?}"
        );
    }
}

#[test]
fn pipelines_are_checked_against_what_is_configured() {
    let text = "receivers: {otlp: }\nprocessors: {redaction: }\nservice:\n  pipelines:\n    profiles:\n      receivers: [otpl]\n      processors: [redaction, redaction]\n    metrics:\n      receivers: [otlp]\n    profile:\n      receivers: [otlp]\n";
    let errors = resolve_text(text).unwrap_err().to_string();
    for expected in [
        "f.yaml:6:19: service.pipelines.profiles.receivers[0]: no receiver \"otpl\" is configured under `receivers`; did you mean \"otlp\"?",
        "f.yaml:7:31: service.pipelines.profiles.processors[1]: stands twice",
        "service.pipelines.profiles: a pipeline needs at least one of `exporters`",
        "f.yaml:8:5: service.pipelines.metrics: only profiles and traces are taken and sent here; leave pipelines of metrics to the Collector",
        "f.yaml:10:5: service.pipelines.profile: unknown signal; did you mean \"profiles\"?; allowed: profiles, traces, and either with /NAME behind it",
    ] {
        assert!(errors.contains(expected), "{expected}\n{errors}");
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let text = "receivers: {otlp: {a: 1}, otlp/2: {b: 2}}\nprocessors: {nothing: }";
    assert_eq!(errors(text).len(), 3);
}

#[test]
fn substituted_digits_are_text_where_text_is_wanted_and_numbers_elsewhere() {
    let text = "receivers: {otlp: {name: \"${env:DIGITS}\", port: \"${env:PORT}\", list: [\"${DIGITS}\"], token: \"${DIGITS}\"}}";
    let loaded = load_text(text);
    assert_eq!(errors(text), Vec::<String>::new());
    assert!(loaded.warnings.is_empty());
}

#[test]
fn secrets_that_look_like_numbers_keep_their_text() {
    for name in ["HEX", "PLUS", "FLOAT", "DIGITS"] {
        let text = format!("receivers: {{otlp: {{name: exact, token: \"${{env:{name}}}\"}}}}");
        assert_eq!(errors(&text), Vec::<String>::new(), "{name}");
    }
    let told = errors("receivers: {otlp: {token: 4912345}}").concat();
    assert!(told.contains("in quotes") && !told.contains("4912345"), "{told}");
}

#[test]
fn unset_variables_are_empty_text() {
    let loaded = load_text("receivers: {otlp: {name: \"${env:NOT_SET}\"}}");
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(
        errors("receivers: {otlp: {name: \"${env:NOT_SET}\"}}"),
        Vec::<String>::new()
    );
}

#[test]
fn what_no_pipeline_uses_is_told() {
    let loaded = load_text("receivers: {otlp: }\nprocessors: {redaction: , redaction/spare: }\nexporters: {debug: }\n");
    let pipeline = service::Pipeline {
        receivers: vec!["otlp".to_owned()],
        processors: vec!["redaction".to_owned()],
        ..service::Pipeline::default()
    };
    assert_eq!(
        resolve::in_no_pipeline(&loaded.tree, &[("profiles".to_owned(), pipeline)]),
        [
            "f.yaml:2:27: processors.redaction/spare: is used by no pipeline, and does nothing",
            "f.yaml:3:13: exporters.debug: is used by no pipeline, and does nothing",
        ]
    );
}

#[test]
fn files_must_hold_a_map() {
    let sources = Sources {
        texts: vec![("f.yaml".to_owned(), "- a".to_owned())],
        sets: Vec::new(),
    };
    assert!(
        load(&sources, &env)
            .unwrap_err()
            .to_string()
            .starts_with("f.yaml:1:1: expected a map")
    );
}

/// A configuration with a value in every place; `{}` stands for one planted value at a time.
fn planted_everywhere(secret: &str) -> Vec<String> {
    let keys = ["endpoint", "name", "token", "timeout", "size", "port", "inner", "list"];
    let mut texts: Vec<String> = Vec::new();
    for kind in ["receivers: {otlp", "processors: {redaction"] {
        texts.extend(keys.iter().map(|key| format!("{kind}: {{{key}: \"{secret}\"}}}}")));
        texts.push(format!("{kind}: {{inner: {{mode: \"{secret}\"}}}}}}"));
        texts.push(format!("{kind}: {{inner: {{deep: [\"{secret}\"]}}}}}}"));
        texts.push(format!("{kind}: {{headers: {{a: \"{secret}\", b: [\"{secret}\"]}}}}}}"));
        texts.push(format!(
            "{kind}: {{name: wrong, endpoint: \"x {secret}\", token: \"{secret}\"}}}}"
        ));
        texts.push(format!("{kind}: {{endpoint: \"http://u:{secret}@h/ x\"}}}}"));
        texts.push(format!("{kind}: \"{secret}\"}}"));
    }
    for path in [
        "drain_timeout",
        "telemetry: {logs: {level",
        "telemetry: {metrics: {level",
        "routing",
        "pipelines",
    ] {
        let close = "}".repeat(path.matches('{').count() + 1);
        texts.push(format!("service: {{{path}: \"{secret}\"{close}"));
    }
    texts.push(format!(
        "service: {{pipelines: {{profiles: {{receivers: [\"{secret}\"]}}}}}}"
    ));
    texts.push(format!("service: {{extensions: [\"{secret}\"]}}"));
    texts
}

#[test]
fn prop_no_error_and_no_print_shows_what_came_from_the_environment() {
    for text in planted_everywhere("${env:PLANTED}") {
        let loaded = load_text(&text);
        let yaml = to_yaml(&loaded.redacted(&CATALOG)).unwrap();
        assert!(!yaml.contains("hunter2EXAMPLE"), "{text}\n{yaml}");
        assert!(yaml.contains("[REDACTED]"), "{text}\n{yaml}");
        let errors = resolve_text(&text).unwrap_err().to_string();
        assert!(!errors.contains("hunter2EXAMPLE"), "{text}\n{errors}");
    }
}

#[test]
fn prop_no_error_shows_a_value_of_a_secret_field() {
    for text in planted_everywhere("hunter2EXAMPLE") {
        let errors = resolve_text(&text).unwrap_err().to_string();
        // what names a component is no secret, unless it came from outside
        let names_component = text.contains("extensions") || text.contains("profiles: {receivers");
        let is_plain = text.contains("endpoint: \"x ") || names_component;
        assert!(is_plain || !errors.contains("hunter2EXAMPLE"), "{text}\n{errors}");
        let yaml = to_yaml(&load_text(&text).redacted(&CATALOG)).unwrap();
        let is_secret = ["token:", "headers:", "deep:", "http://u:"]
            .iter()
            .any(|key| text.contains(key));
        if is_secret && !text.contains("\"x ") {
            assert!(!yaml.contains("hunter2EXAMPLE"), "{text}\n{yaml}");
        }
    }
}

#[test]
fn printing_keeps_the_order_and_unredacted_values() {
    let loaded = load_text("service: {}\nreceivers: {otlp: {token: abc, port: 1}}");
    assert_eq!(
        to_yaml(&loaded.tree).unwrap(),
        "service: {}\nreceivers:\n  otlp:\n    token: abc\n    port: 1\n"
    );
    assert!(
        to_json(&loaded.redacted(&CATALOG))
            .unwrap()
            .contains("\"token\": \"[REDACTED]\"")
    );
}

#[test]
fn the_schema_names_every_component_and_resolves_every_reference() {
    let schema = schema(&CATALOG);
    let text = schema.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(schema.pointer(pointer).is_some(), "{pointer}");
    }
    assert!(
        schema
            .pointer("/properties/receivers/patternProperties/^otlp(~1.+)?$")
            .is_some(),
        "{text}"
    );
}

#[test]
fn what_the_system_has_no_kind_for_is_told_in_its_words() {
    let reason = |code| io_reason(&std::io::Error::from_raw_os_error(code));
    assert_eq!(reason(24), "Too many open files");
    assert_eq!(reason(13), "permission denied");
    assert_eq!(reason(2), "no such file or directory");
}
