//! From the labels of an agent to the links of a Collector and the labels of Pyroscope, by recordings: what leaves is compared with what
//! prost and the project's crate for OpenTelemetry read, not with what the gate reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flamegate::formats::{Format, Limits, any};
use flamegate::pipeline::spec::BuildContext;
use flamegate::pipeline::{Batch, Context, Origin, Permit, Verdict};
use flamegate::processors;
use flamegate::profile::Profiles;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use serde_json::{Value, json};

use crate::push::Server;
use crate::support::{Gate, config, corpus, data, files, free_port, http, wait_for};
use crate::told_otlp::{self, Request};
use crate::told_pprof::{Says, gunzip, relabelled, spelt};

/// What samples amount to, by type, frames, labels that are no ids, trace and span.
pub type Sums = BTreeMap<(String, Vec<String>, BTreeMap<String, String>, String, String), i64>;

const IDS: [&str; 2] = ["trace_id", "span_id"];

fn without_ids(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = labels.clone();
    labels.retain(|key, _| !IDS.contains(&key.as_str()));
    labels
}

/// What a pprof says whose ids are labels under OpenTelemetry's names.
pub fn told_by_labels(plain: &[u8]) -> Sums {
    let (types, samples) = spelt(plain);
    let mut sums = Sums::new();
    for sample in samples {
        let [trace, span] = IDS.map(|key| sample.labels.get(key).cloned().unwrap_or_default());
        for (kind, value) in types.iter().zip(&sample.values) {
            let labels = without_ids(&sample.labels);
            let key = (kind.clone(), sample.frames.clone(), labels, trace.clone(), span.clone());
            *sums.entry(key).or_default() += value;
        }
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What OTLP says by its links, once its link table is what the protocol demands.
pub fn told_by_links(request: &Request) -> Sums {
    let d = request.dictionary.as_ref().unwrap();
    let text = |index: i32| d.string_table[index as usize].clone();
    let (zero, links) = d.link_table.split_first().unwrap();
    assert!(
        zero.trace_id.iter().chain(&zero.span_id).all(|byte| *byte == 0),
        "entry 0 is none"
    );
    for link in links {
        assert_eq!((link.trace_id.len(), link.span_id.len()), (16, 8));
        assert!(link.trace_id != [0; 16] && link.span_id != [0; 8]);
    }
    let distinct: BTreeSet<_> = links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
    assert_eq!(distinct.len(), links.len(), "each stands there once");
    let frames = |stack: i32| {
        let mut frames = Vec::new();
        for location in &d.stack_table[stack as usize].location_indices {
            let location = &d.location_table[*location as usize];
            if location.lines.is_empty() {
                frames.push(format!("{:x}", location.address));
            }
            let names = location
                .lines
                .iter()
                .map(|line| &d.function_table[line.function_index as usize]);
            frames.extend(names.map(|function| text(function.name_strindex)));
        }
        frames
    };
    let label = |index: i32| {
        let attribute = &d.attribute_table[index as usize];
        let value = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Any::StringValue(text)) => text.clone(),
            Some(Any::StringValueStrindex(index)) => text(*index),
            Some(Any::IntValue(number)) => number.to_string(),
            other => panic!("{other:?}"),
        };
        (text(attribute.key_strindex), value)
    };
    let (mut sums, mut used) = (Sums::new(), BTreeSet::new());
    let scopes = request
        .resource_profiles
        .iter()
        .flat_map(|resource| &resource.scope_profiles);
    for profile in scopes.flat_map(|scope| &scope.profiles) {
        let kind = text(profile.sample_type.as_ref().unwrap().type_strindex);
        for sample in &profile.samples {
            let link = &d.link_table[sample.link_index as usize];
            let is_linked = sample.link_index != 0;
            used.extend(is_linked.then_some(sample.link_index));
            let [trace, span] =
                [&link.trace_id, &link.span_id].map(|id| if is_linked { hex(id) } else { String::new() });
            let labels = sample.attribute_indices.iter().map(|index| label(*index)).collect();
            let key = (kind.clone(), frames(sample.stack_index), labels, trace, span);
            *sums.entry(key).or_default() += sample.values.iter().sum::<i64>();
        }
    }
    assert_eq!(used.len(), links.len(), "none stands there that no sample has");
    sums.retain(|_, sum| *sum != 0);
    sums
}

fn read(bytes: Vec<u8>) -> Profiles {
    any::decode_any(bytes.into(), &Limits::default())
        .unwrap()
        .decoded
        .profiles
}

/// What processors make of profiles, one after the other.
fn through(chain: &[(&str, Value)], profiles: Profiles) -> Profiles {
    let weight = profiles.received_count();
    let mut batch = Batch::made(profiles, weight, Arc::new(Origin::local("test")), Permit::unlimited());
    for (name, config) in chain {
        let spec = processors::ALL.iter().find(|spec| spec.about.name == *name).unwrap();
        let cx = BuildContext::new(*name, Arc::default());
        let processor = (spec.build)(config.clone(), &cx).unwrap();
        let now = std::time::SystemTime::now();
        batch = match processor.process(batch, &Context { now }) {
            Verdict::Pass { batch, .. } => batch,
            other => panic!("{other:?}"),
        };
    }
    batch.compact();
    batch.as_profiles().unwrap().clone()
}

fn lifted(bytes: Vec<u8>) -> Profiles {
    through(&[("trace_links", json!({}))], read(bytes))
}

fn as_otlp(profiles: &Profiles) -> Vec<u8> {
    any::encode(Format::Otlp, profiles, usize::MAX).unwrap()
}

fn own(name: &str) -> Vec<u8> {
    gunzip(&std::fs::read(data(name)).unwrap())
}

#[test]
fn labels_of_recordings_become_links_of_the_same_samples() {
    let mut recordings = vec![own("go123-cpu-labels.pb.gz"), own("node20-wall-cpu-labels.pb.gz")];
    if let Some(corpus) = corpus() {
        recordings.push(gunzip(
            &std::fs::read(corpus.join("pprof/go123-large-cpu-traces.pb.gz")).unwrap(),
        ));
    }
    for plain in recordings {
        let expected = told_by_labels(&plain);
        assert!(expected.keys().filter(|key| !key.3.is_empty()).count() > 500);
        let linked = lifted(plain.clone());
        let otlp = as_otlp(&linked);
        assert_eq!(told_by_links(&told_otlp::read(&otlp)), expected);
        // and back, over OTLP
        let back = any::encode(Format::Pprof, &read(otlp), usize::MAX).unwrap();
        assert_eq!(told_by_labels(&gunzip(&back)), expected);
    }
}

/// The links of a converter that is not ours are those that we make of the same recording.
#[test]
fn links_are_those_that_another_converter_makes() {
    for (ours, others) in [
        ("go123-cpu-labels.pb.gz", "go123-cpu-links.otlp"),
        ("node20-wall-cpu-labels.pb.gz", "node20-wall-cpu-links.otlp"),
    ] {
        let links = |profiles: &Profiles| {
            let rows = profiles.dictionary().links.rows().iter().skip(1);
            rows.map(|link| (link.trace_id, link.span_id)).collect::<BTreeSet<_>>()
        };
        let ours = links(&lifted(own(ours)));
        assert!(ours.len() >= 40);
        assert_eq!(ours, links(&read(own(others))));
    }
}

/// How an agent writes the ids of a sample.
type Agent = fn(trace: &str, span: &str) -> Vec<(&'static str, Says)>;

fn decimal(span: &str) -> u64 {
    u64::from_str_radix(span, 16).unwrap()
}

fn text(text: impl ToString) -> Says {
    Says::Text(text.to_string())
}

fn no_zeros(id: &str) -> Says {
    text(id.trim_start_matches('0'))
}

/// Agents that name both ids.
const AGENTS: [(&str, Agent); 8] = [
    ("pyroscope, older", |trace, span| {
        vec![("trace_id", text(trace)), ("profile_id", text(span))]
    }),
    ("datadog go", |trace, span| {
        vec![("trace id", text(trace)), ("span id", text(decimal(span)))]
    }),
    ("datadog root", |trace, span| {
        vec![
            ("trace id", text(trace)),
            ("local root span id", text(decimal(span))),
            ("span id", Says::Number(0)),
        ]
    }),
    ("libdatadog", |trace, span| {
        vec![
            ("trace id", text(trace)),
            ("span id", Says::Number(decimal(span) as i64)),
        ]
    }),
    ("signed", |trace, span| {
        vec![("trace id", text(trace)), ("span id", text(decimal(span) as i64))]
    }),
    ("splunk", |trace, span| {
        let time = Says::Number(1_795_000_000_000);
        vec![
            ("trace_id", no_zeros(trace)),
            ("span_id", no_zeros(span)),
            ("source.event.time", time),
        ]
    }),
    ("ebpf, go", |trace, span| {
        vec![
            ("process.context.label.trace_id", text(trace)),
            ("process.context.label.span_id", text(span)),
        ]
    }),
    ("ebpf, datadog", |trace, span| {
        let root = "process.context.label.local root span ";
        vec![
            ("process.context.label.trace id", text(trace)),
            (root, text(decimal(span))),
        ]
    }),
];

/// The recording of Go as an agent would have written its labels. Some ids get zeros in front.
fn by_agent(plain: &[u8], agent: Agent) -> Vec<u8> {
    relabelled(plain, |labels| {
        let others = without_ids(labels).into_iter().map(|(key, value)| (key, text(value)));
        let ids = match (labels.get("trace_id"), labels.get("span_id")) {
            (Some(trace), Some(span)) => agent(trace, span),
            _ => Vec::new(),
        };
        others
            .chain(ids.into_iter().map(|(key, says)| (key.to_owned(), says)))
            .collect()
    })
}

/// The recording of Go with zeros in front of every third trace and span.
fn with_zeros() -> Vec<u8> {
    relabelled(&own("go123-cpu-labels.pb.gz"), |labels| {
        let is_third = |id: &str| u8::from_str_radix(&id[..2], 16).unwrap().is_multiple_of(3);
        let zeros = |(key, id): (&String, &String)| match IDS.contains(&key.as_str()) && is_third(id) {
            true => (key.clone(), text(format!("00{}", &id[2..]))),
            false => (key.clone(), text(id)),
        };
        labels.iter().map(zeros).collect()
    })
}

/// Without what is beside the ids because of the dialect alone.
fn bare(sums: Sums) -> Sums {
    let mut bare = Sums::new();
    for ((kind, frames, mut labels, trace, span), sum) in sums {
        for key in ["source.event.time", "span id"] {
            labels.remove(key);
        }
        *bare.entry((kind, frames, labels, trace, span)).or_default() += sum;
    }
    bare
}

#[test]
fn every_agent_ends_with_the_same_links_on_the_same_samples() {
    let plain = with_zeros();
    let expected = told_by_labels(&plain);
    let zeros = expected.keys().filter(|key| key.3.starts_with("00")).count();
    assert!(zeros > 100, "{zeros}");
    for (agent, write) in AGENTS {
        let written = by_agent(&plain, write);
        // as it comes by pprof, and as it comes by OTLP
        for came in [written.clone(), as_otlp(&read(written))] {
            let told = bare(told_by_links(&told_otlp::read(&as_otlp(&lifted(came)))));
            assert!(told == expected, "{agent}");
        }
    }
}

#[test]
fn half_an_id_is_no_link() {
    let plain = own("go123-cpu-labels.pb.gz");
    let agents: [Agent; 3] = [
        |_, span| vec![("span id", text(decimal(span)))],
        |_, span| vec![("span_id", text(span))],
        |trace, _| vec![("otel.traceid", text(trace))],
    ];
    for agent in agents {
        let written = read(by_agent(&plain, agent));
        let before = told_by_links(&told_otlp::read(&as_otlp(&written)));
        let after = through(&[("trace_links", json!({}))], written);
        assert_eq!(told_by_links(&told_otlp::read(&as_otlp(&after))), before);
    }
}

#[test]
fn what_is_lifted_is_thinned_last() {
    let chain = [("trace_links", json!({})), ("downsample", json!({ "target_hz": 19 }))];
    let before = own("go123-cpu-labels.pb.gz");
    let linked = |profiles: &Profiles| {
        let samples = profiles.iter().map(|at| at.profile.samples.clone());
        samples
            .map(|samples| samples.links.iter().filter(|link| link.is_set()).count())
            .sum::<usize>()
    };
    // one sample in sixteen keeps its ids
    let few = relabelled(&before, |labels| {
        let keeps = labels.get("span_id").is_some_and(|span| span.starts_with('0'));
        labels
            .iter()
            .filter(|_| keeps)
            .map(|(key, value)| (key.clone(), text(value)))
            .collect()
    });
    let all = linked(&through(&chain[..1], read(few.clone())));
    assert!(all > 20, "{all}");
    assert_eq!(linked(&through(&chain, read(few.clone()))), all, "every link is left");
    assert_eq!(linked(&through(&chain[1..], read(few))), 0, "labels are no links");
}

/// What a Pyroscope server sees: the series, and what samples say.
fn pushed(processors: &str, format: &str, profile: &[u8]) -> (BTreeMap<String, String>, Sums, Request) {
    let server = Server::start();
    let (ingest, metrics) = (free_port(), free_port());
    let text = format!(
        "receivers: {{pyroscope: {{endpoint: \"localhost:{ingest}\"}}}}
processors: {{trace_links: {{}}, redaction: {{}}}}
exporters:
  pyroscope: {{endpoint: \"http://localhost:{}\", max_age: 0s}}
  file: {{directory: ./otlp, format: otlp}}
service:
  pipelines:
    profiles: {{receivers: [pyroscope], processors: [{processors}], exporters: [pyroscope, file]}}
  telemetry: {{metrics: {{address: \"localhost:{metrics}\"}}}}
",
        server.port
    );
    let (folder, path) = config(&text);
    let mut gate = Gate::start(folder.path(), &["--config", &path]);
    assert_eq!(
        http("POST", ingest, &format!("/ingest?name=shop&format={format}"), profile).0,
        200
    );
    let counted = wait_for("both exporters", || {
        let metrics = http("GET", metrics, "/metrics", b"").1;
        let sent = |exporter: &str| {
            metrics.contains(&format!(
                "flamegate_exporter_sent_profiles{{exporter=\"{exporter}\"}} 1"
            ))
        };
        (sent("pyroscope") && sent("file")).then_some(metrics)
    });
    let lifted = "flamegate_trace_links_samples_total{processor=\"trace_links\",dialect=";
    assert_eq!(
        counted.contains(lifted),
        processors.contains("trace_links"),
        "{counted}"
    );
    gate.signal("TERM");
    assert_eq!(gate.code(), 0);
    let seen = server.seen();
    let [one] = &seen[..] else {
        panic!("{} series", seen.len())
    };
    let otlp = files(&folder.path().join("otlp"));
    let otlp = told_otlp::read(&gunzip(&std::fs::read(&otlp[0]).unwrap()));
    (one.labels.clone(), told_by_labels(&one.plain), otlp)
}

#[test]
fn pyroscope_and_a_collector_find_ids_where_they_look() {
    let plain = own("go123-cpu-labels.pb.gz");
    let expected = told_by_labels(&plain);
    let (series, sums, otlp) = pushed("trace_links, redaction", "pprof", &plain);
    assert_eq!(sums, expected, "labels of samples");
    assert_eq!(told_by_links(&otlp), expected, "links");
    let (before, ..) = pushed("redaction", "pprof", &plain);
    assert_eq!(series, before, "no series got a label");
    // ids of Datadog without their traces: Pyroscope finds spans all the same, and no series for each of them
    for processors in ["trace_links, redaction", "redaction"] {
        let datadog = by_agent(&plain, |_, span| {
            vec![
                ("span id", text(decimal(span))),
                ("local root span id", Says::Number(7)),
            ]
        });
        let (series, sums, _) = pushed(processors, "pprof", &datadog);
        assert_eq!(series, before);
        let mut spans = Sums::new();
        for ((kind, frames, labels, _, span), sum) in &expected {
            let key = (
                kind.clone(),
                frames.clone(),
                labels.clone(),
                String::new(),
                span.clone(),
            );
            *spans.entry(key).or_default() += sum;
        }
        assert_eq!(sums, spans);
    }
}

/// What a type amounts to, by span.
fn by_span(sums: &Sums, kind: &str) -> BTreeMap<String, i64> {
    let mut spans = BTreeMap::new();
    for ((of, _, _, trace, span), sum) in sums {
        assert_eq!(trace, "", "nobody named a trace");
        if of == kind {
            *spans.entry(span.clone()).or_default() += sum;
        }
    }
    spans
}

#[test]
fn pyroscope_finds_spans_of_agents_that_name_no_trace() {
    let Some(corpus) = corpus() else { return };
    let stored = |name: &str| gunzip(&std::fs::read(corpus.join(name)).unwrap());
    // Go by hand, with `profile_id`
    let plain = stored("pprof/ext-go.cpu.labels.pprof");
    let (types, samples) = spelt(&plain);
    let mut expected = BTreeMap::new();
    for sample in samples {
        let span = sample.labels.get("profile_id").cloned().unwrap_or_default();
        *expected.entry(span).or_default() += sample.values[0];
    }
    assert!(expected.len() > 100, "{}", expected.len());
    let (_, sums, otlp) = pushed("trace_links, redaction", "pprof", &plain);
    assert_eq!(by_span(&sums, &types[0]), expected);
    assert!(
        told_by_links(&otlp).keys().all(|key| key.4.is_empty()),
        "half an id is no link"
    );
    // Pyroscope's agent for Java
    let (_, sums, otlp) = pushed(
        "trace_links, redaction",
        "jfr",
        &stored("jfr/ext-new_spancontext.jfr.gz"),
    );
    assert!(
        told_by_links(&otlp).keys().all(|key| key.4.is_empty()),
        "half an id is no link"
    );
    let totals: Value = serde_json::from_slice(&std::fs::read(corpus.join("totals.json")).unwrap()).unwrap();
    let counted = &totals["jfr/ext-new_spancontext.jfr.gz"]["derived"]["jdk.ExecutionSample"];
    let spans = by_span(&sums, "samples");
    let all: i64 = spans.values().sum();
    let (none, other) = (spans.get("").copied().unwrap_or_default(), spans.len() - 1);
    assert_eq!(
        (json!(all), json!(all - none), other),
        (counted["n"].clone(), counted["nonzero_spanId"].clone(), 2)
    );
}
