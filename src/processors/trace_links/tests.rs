//! What becomes of made samples. `tests/it/trace_links.rs` does the same with recordings.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::formats::{Format, otlp};
use crate::pipeline::batch::Received;
use crate::pipeline::{Origin, Permit};
use crate::profile::trace_ids::{LINK_SPAN, to_hex};
use crate::profile::{Interner, Link, LinkId, Observations, Profile, Profiles, Samples, Value, ValueType};
use crate::telemetry::Metrics;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";
const SPAN: &str = "eee19b7ec3c1b174";
const DECIMAL: &str = "17213210219539181940";

/// A sample to make: labels of text, and the ids of its link.
#[derive(Clone, Debug, Default)]
struct Row {
    labels: Vec<(String, String)>,
    link: Option<(u128, u64)>,
}

fn row(labels: &[(&str, &str)]) -> Row {
    Row {
        labels: labels
            .iter()
            .map(|(key, text)| (key.to_string(), text.to_string()))
            .collect(),
        link: None,
    }
}

fn linked(labels: &[(&str, &str)], trace: &str, span: &str) -> Row {
    let number = |hex| u128::from_str_radix(hex, 16).unwrap();
    Row {
        link: Some((number(trace), number(span) as u64)),
        ..row(labels)
    }
}

/// A profile of these samples, worth 1, 2, 4 ..., all in one place.
fn made(rows: &[Row]) -> Profiles {
    let mut interner = Interner::new();
    let mut samples = Samples::default();
    let location = interner.location(
        crate::profile::Location {
            address: 7,
            ..Default::default()
        },
        &[],
    );
    let stack = interner.stack(&[location]);
    let mut values = Vec::new();
    let kind = interner.string("samples");
    for (at, row) in rows.iter().enumerate() {
        let labels: Vec<_> = row
            .labels
            .iter()
            .map(|(key, text)| interner.text_attribute(key, text))
            .collect();
        samples.stacks.push(stack);
        samples.attributes.push(interner.attribute_set(&labels));
        samples.links.push(row.link.map_or(LinkId::UNSET, |(trace, span)| {
            interner.link(Link {
                trace_id: trace.to_be_bytes(),
                span_id: span.to_be_bytes(),
            })
        }));
        values.push(1 << (at % 40));
    }
    samples.observations = Observations::Totals(values);
    let profile = Profile {
        sample_types: vec![ValueType { kind, unit: kind }],
        samples: Arc::new(samples),
        time_unix_nano: 1,
        ..Profile::default()
    };
    Profiles::of(interner.finish(), vec![profile])
}

fn context(metrics: &Arc<Metrics>) -> BuildContext {
    BuildContext::new("trace_links", metrics.clone())
}

fn passed(config: Json, batch: Batch, metrics: &Arc<Metrics>) -> Batch {
    let processor = build(config, &context(metrics)).unwrap();
    let now = std::time::SystemTime::now();
    match processor.process(batch, &Context { now }) {
        Verdict::Pass { batch, rejected: None } => batch,
        other => panic!("{other:?}"),
    }
}

/// What a configuration makes of a profile, and the counts by dialect and result.
fn run(config: Json, profiles: &Profiles) -> (Profiles, BTreeMap<(String, String), u64>) {
    let metrics: Arc<Metrics> = Arc::default();
    let origin = Arc::new(Origin::local("test"));
    let batch = Batch::made(profiles.clone(), 1, origin, Permit::unlimited());
    let mut batch = passed(config, batch, &metrics);
    batch.compact();
    let mut counts = BTreeMap::new();
    for line in metrics
        .text()
        .lines()
        .filter(|line| line.starts_with("flamegate_trace_links_samples_total"))
    {
        let words: Vec<&str> = line.split('"').collect();
        let count = line.rsplit(' ').next().unwrap().parse().unwrap();
        counts.insert((words[3].to_owned(), words[5].to_owned()), count);
    }
    (batch.as_profiles().unwrap().clone(), counts)
}

/// Samples as one would tell them: labels, link and value.
fn told(profiles: &Profiles) -> BTreeMap<(Vec<String>, String), i64> {
    let d = profiles.dictionary();
    let mut told = BTreeMap::new();
    for at in profiles.iter() {
        let samples = &at.profile.samples;
        for row in 0..samples.len() {
            let labels = d.attributes_of(samples.attributes[row]);
            let mut labels: Vec<String> = labels
                .map(|label| format!("{}={}", d.str(label.key), text(profiles, &label.value)))
                .collect();
            labels.sort();
            let link = d.links[samples.links[row]];
            let link = match samples.links[row].is_set() {
                true => format!("{}-{}", to_hex(&link.trace_id), to_hex(&link.span_id)),
                false => String::new(),
            };
            *told.entry((labels, link)).or_insert(0) += samples.total(row, 0, 1);
        }
    }
    told
}

fn text(profiles: &Profiles, value: &Value) -> String {
    match value {
        Value::String(id) => profiles.dictionary().str(*id).to_owned(),
        other => format!("{other:?}"),
    }
}

/// What the profile says of its links.
fn mark(profiles: &Profiles) -> Option<String> {
    let at = profiles.iter().next().unwrap();
    let value = profiles.dictionary().attribute(at.profile.attributes, LINK_SPAN);
    value.map(|value| text(profiles, value))
}

fn one(labels: &[&str], link: &str, value: i64) -> ((Vec<String>, String), i64) {
    (
        (labels.iter().map(|label| label.to_string()).collect(), link.to_owned()),
        value,
    )
}

fn count(counts: &BTreeMap<(String, String), u64>) -> Vec<(&str, &str, u64)> {
    counts
        .iter()
        .map(|((dialect, result), n)| (dialect.as_str(), result.as_str(), *n))
        .collect()
}

fn link() -> String {
    format!("{TRACE}-{SPAN}")
}

#[test]
fn labels_become_a_link_and_what_is_then_equal_becomes_one() {
    let whole = [("trace_id", TRACE), ("span_id", SPAN)];
    let (after, counts) = run(
        json!({}),
        &made(&[
            row(&whole),
            row(&[whole[1], whole[0]]),
            row(&[whole[0], whole[1], ("worker", "a")]),
            row(&[("worker", "a")]),
            linked(&[], TRACE, SPAN),
            // another link is another sample, though nothing else is left to tell them apart
            row(&[("trace_id", TRACE), ("span_id", "0000000000000007")]),
        ]),
    );
    let other = format!("{TRACE}-0000000000000007");
    assert_eq!(
        told(&after),
        BTreeMap::from([
            one(&[], &link(), 1 + 2 + 16),
            one(&["worker=a"], &link(), 4),
            one(&["worker=a"], "", 8),
            one(&[], &other, 32),
        ])
    );
    assert_eq!(after.sample_count(), 4);
    assert_eq!(count(&counts), [("otel", "lifted", 4)]);
    assert_eq!(mark(&after), None, "nobody says which span it is");
}

#[test]
fn half_an_id_waits_as_a_label() {
    let rows = [
        row(&[("span id", DECIMAL), ("local root span id", "7")]),
        row(&[("otel.traceid", TRACE)]),
        row(&[("trace_id", "00000000000000000000000000000000"), ("span_id", "")]),
        row(&[("trace_id", "nothing of the kind")]),
        row(&[
            ("span_id", SPAN),
            ("profile_id", "0000000000000007"),
            ("trace_id", TRACE),
        ]),
    ];
    let before = made(&rows);
    let (after, counts) = run(json!({}), &before);
    assert_eq!(told(&after), told(&before));
    assert_eq!(
        count(&counts),
        [
            ("datadog", "no_trace", 1),
            ("otel", "conflicting", 1),
            ("otel", "unreadable", 1),
            ("otel", "zero", 1),
            ("parca", "no_span", 1),
        ]
    );
}

#[test]
fn a_link_that_came_stays() {
    let (after, counts) = run(
        json!({}),
        &made(&[
            linked(&[("trace_id", TRACE), ("span_id", SPAN)], TRACE, SPAN),
            linked(&[("span id", DECIMAL)], TRACE, SPAN),
            // the link is to the root, and the label beside it says so
            linked(&[("span id", "7"), ("local root span id", DECIMAL)], TRACE, SPAN),
            linked(&[("trace_id", TRACE), ("span_id", "0000000000000007")], TRACE, SPAN),
            linked(&[("trace_id", "nothing of the kind")], TRACE, SPAN),
        ]),
    );
    assert_eq!(
        told(&after),
        BTreeMap::from([
            one(&[], &link(), 1 + 2),
            one(&["local root span id=17213210219539181940", "span id=7"], &link(), 4),
            one(&["span_id=0000000000000007", &format!("trace_id={TRACE}")], &link(), 8),
            one(&["trace_id=nothing of the kind"], &link(), 16),
        ])
    );
    assert_eq!(
        count(&counts),
        [
            ("datadog", "already_linked", 2),
            ("otel", "already_linked", 1),
            ("otel", "conflicting", 1),
            ("otel", "unreadable", 1),
        ]
    );
}

#[test]
fn the_mark_stands_where_all_links_are_alike_or_else_on_samples() {
    let active = row(&[("trace id", TRACE), ("span id", DECIMAL)]);
    let root = row(&[("trace id", TRACE), ("local root span id", "7")]);
    let unsaid = row(&[("trace_id", TRACE), ("span_id", "0000000000000009")]);
    let bare = row(&[("worker", "a")]);
    let seventh = format!("{TRACE}-0000000000000007");
    let (after, _) = run(json!({}), &made(&[active.clone(), bare.clone()]));
    assert_eq!(mark(&after).as_deref(), Some("active"));
    assert_eq!(
        told(&after),
        BTreeMap::from([one(&[], &link(), 1), one(&["worker=a"], "", 2)])
    );
    let (after, _) = run(json!({}), &made(&[root.clone(), bare, root.clone()]));
    assert_eq!(mark(&after).as_deref(), Some("local_root"));
    assert_eq!(
        told(&after),
        BTreeMap::from([one(&[], &seventh, 1 + 4), one(&["worker=a"], "", 2)])
    );
    let (after, _) = run(json!({}), &made(&[active.clone(), root.clone(), unsaid.clone()]));
    assert_eq!(mark(&after), None);
    assert_eq!(
        told(&after),
        BTreeMap::from([
            one(&["flamegate.link.span=active"], &link(), 1),
            one(&["flamegate.link.span=local_root"], &seventh, 2),
            one(&[], &format!("{TRACE}-0000000000000009"), 4),
        ])
    );
    // of links that came nobody knows which they are
    let (after, _) = run(
        json!({}),
        &made(&[active.clone(), linked(&[], TRACE, "0000000000000009")]),
    );
    assert_eq!(mark(&after), None);
    // a gate before this one marked the profile: what differs says so itself
    let mut marked = made(&[root, unsaid, active]);
    let (d, resources) = marked.edit();
    let word = Value::String(d.strings.push("active"));
    let set = d.with_attribute(Default::default(), LINK_SPAN, word);
    resources[0].scopes[0].profiles[0].attributes = set;
    let (after, _) = run(json!({}), &marked);
    assert_eq!(mark(&after).as_deref(), Some("active"));
    assert_eq!(
        told(&after),
        BTreeMap::from([
            one(&["flamegate.link.span=local_root"], &seventh, 1),
            one(
                &["flamegate.link.span=unknown"],
                &format!("{TRACE}-0000000000000009"),
                2
            ),
            one(&[], &link(), 4),
        ])
    );
}

#[test]
fn labels_may_stay() {
    let whole = [("trace_id", TRACE), ("span_id", SPAN)];
    let (after, counts) = run(
        json!({ "labels": "keep" }),
        &made(&[row(&whole), linked(&whole, TRACE, SPAN)]),
    );
    let labels = [format!("span_id={SPAN}"), format!("trace_id={TRACE}")];
    assert_eq!(
        told(&after),
        BTreeMap::from([one(&[&labels[0], &labels[1]], &link(), 3)])
    );
    assert_eq!(count(&counts), [("otel", "already_linked", 1), ("otel", "lifted", 1)]);
}

#[test]
fn hashed_ids_stay_equal_and_say_nothing() {
    let key = "k".repeat(32);
    let config = |key: &str| json!({ "labels": "hash", "hmac_key": key });
    let before = made(&[
        row(&[("trace_id", TRACE), ("span_id", SPAN)]),
        linked(&[], TRACE, SPAN),
        row(&[("span id", DECIMAL)]),
        row(&[("span_id", SPAN)]),
        row(&[("trace id", DECIMAL)]),
        row(&[("span_id", "0000000000000000")]),
        row(&[("worker", SPAN)]),
    ]);
    let (after, _) = run(config(&key), &before);
    // made by Python's hmac, and written down: another release must make the same
    let (trace, span) = ("82f0d8e0c6bdd6862c3edffadb4dee5c", "8cd60398dae64b14");
    let decimal = u64::from_str_radix(span, 16).unwrap().to_string();
    let half = "b2ea4080fffb7e29f0442629cf89d0f1";
    assert_eq!(
        told(&after),
        BTreeMap::from([
            one(&[], &format!("{trace}-{span}"), 1 + 2),
            one(&[&format!("span id={decimal}")], "", 4),
            one(&[&format!("span_id={span}")], "", 8),
            one(&[&format!("trace id={half}")], "", 16),
            one(&["span_id=0000000000000000"], "", 32),
            one(&[&format!("worker={SPAN}")], "", 64),
        ])
    );
    let (other, _) = run(config(&"l".repeat(32)), &before);
    assert_ne!(told(&other), told(&after));
    let bytes = otlp::encode(&after);
    let trace: Vec<u8> = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().into();
    assert!(memchr::memmem::find(&bytes, &trace).is_none());
}

#[test]
fn dialects_of_ones_own_come_first_and_may_replace_built_in_ones() {
    let config = json!({ "dialects": [
        { "name": "acme", "trace": ["acme.trace"], "local_root": ["acme.request"], "digits": "decimal" },
        { "name": "otel", "trace": ["trace_id"], "local_root": ["span_id"], "lacks_zeros": true },
    ] });
    let (after, counts) = run(
        config,
        &made(&[
            row(&[("acme.trace", "18"), ("acme.request", "-1")]),
            row(&[("trace_id", "12"), ("span_id", "ffffffffffffffff")]),
        ]),
    );
    let link = format!("{}12-ffffffffffffffff", "0".repeat(30));
    assert_eq!(told(&after), BTreeMap::from([one(&[], &link, 3)]));
    assert_eq!(count(&counts), [("acme", "lifted", 1), ("otel", "lifted", 1)]);
    assert_eq!(mark(&after).as_deref(), Some("local_root"));
}

#[test]
fn what_has_nothing_to_lift_leaves_as_it_came() {
    for (rows, config) in [
        (vec![row(&[("worker", "a")]), linked(&[], TRACE, SPAN)], json!({})),
        (vec![row(&[("span id", DECIMAL)])], json!({})),
        (
            vec![linked(&[("span id", DECIMAL)], TRACE, SPAN)],
            json!({ "labels": "keep" }),
        ),
    ] {
        let mut profiles = made(&rows);
        profiles.compact();
        let bytes = bytes::Bytes::from(otlp::encode(&profiles));
        let decoded = otlp::decode(&bytes, &Default::default(), otlp::WireVersion::default()).unwrap();
        let received = Received {
            format: Format::Otlp,
            bytes,
        };
        let batch = Batch::profiles(decoded, received, Arc::new(Origin::local("test")), Permit::unlimited());
        assert!(batch.received().is_some());
        assert!(passed(config, batch, &Arc::default()).received().is_some());
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let dialect = |dialect: Json| json!({ "dialects": [dialect] });
    let many: Vec<_> = (0..64)
        .map(|n| json!({ "name": format!("d{n}"), "trace": ["t"] }))
        .collect();
    for (config, path) in [
        (dialect(json!({ "trace": ["t"] })), "dialects[0].name"),
        (dialect(json!({ "name": "A b", "trace": ["t"] })), "dialects[0].name"),
        (dialect(json!({ "name": "a" })), "dialects[0]"),
        (dialect(json!({ "name": "a", "trace": [""] })), "dialects[0].trace"),
        (
            dialect(json!({ "name": "a", "trace": ["t"], "span": ["t"] })),
            "dialects[0].span",
        ),
        (
            dialect(json!({ "name": "a", "trace": ["t"], "digits": "decimal", "lacks_zeros": true })),
            "dialects[0].lacks_zeros",
        ),
        (
            json!({ "dialects": [{ "name": "a", "trace": ["t"] }, { "name": "a", "trace": ["u"] }] }),
            "dialects[1].name",
        ),
        (json!({ "dialects": many }), "dialects"),
        (json!({ "labels": "hash" }), "hmac_key"),
        (json!({ "labels": "hash", "hmac_key": "short" }), "hmac_key"),
        (json!({ "hmac_key": "k".repeat(32) }), "hmac_key"),
    ] {
        let refused = build(config.clone(), &context(&Arc::default()));
        assert_eq!(refused.err().map(|error| error.path).as_deref(), Some(path), "{config}");
    }
}

/// So many samples, each of a trace of its own, with a label besides.
fn of_many_traces(count: u64) -> Profiles {
    let label = |n: u64| {
        let (trace, span) = (format!("{:032x}", u128::from(n) << 64 | 1), format!("{n:016x}"));
        Row {
            labels: vec![
                ("trace_id".into(), trace),
                ("span_id".into(), span),
                ("worker".into(), (n % 8).to_string()),
            ],
            link: None,
        }
    };
    made(&(1..=count).map(label).collect::<Vec<_>>())
}

#[test]
fn work_grows_as_the_number_of_traces_does() {
    let work = |count: u64| {
        let profiles = of_many_traces(count);
        let before = crate::profile::trace_ids::reads();
        let origin = Arc::new(Origin::local("test"));
        let batch = Batch::made(profiles, 1, origin, Permit::unlimited());
        let batch = passed(json!({}), batch, &Arc::default());
        let reads = crate::profile::trace_ids::reads() - before;
        let after = batch.as_profiles().unwrap();
        let d = after.dictionary();
        assert_eq!(d.links.len() as u64, count + 1);
        (reads, d.attribute_sets.len() as u64, after.heap_bytes() as u64)
    };
    let (small, large) = (work(10_000), work(100_000));
    assert_eq!(large.0, 10 * small.0, "ids read");
    assert!(large.1 < 10 * small.1 + 10, "sets made");
    assert!(large.2 < 20 * small.2, "bytes held");
}

/// Ids as the strategy draws them: few, so that they meet.
fn any_row() -> impl Strategy<Value = Row> {
    let key = prop::sample::select(vec![
        "trace_id",
        "span_id",
        "profile_id",
        "trace id",
        "span id",
        "local root span id",
        "otel.traceid",
        "worker",
        "source.event.time",
        "process.context.label.span_id",
    ]);
    let text = prop::sample::select(vec![
        "",
        "0",
        "7",
        TRACE,
        SPAN,
        "0000000000000007",
        "00000000000000000000000000000000",
        "12",
        "a b",
    ]);
    let labels = prop::collection::btree_map(key, text, 0..5);
    let link = prop::option::of((0u128..3, 0u64..3));
    (labels, link).prop_map(|(labels, link)| Row {
        labels: labels
            .into_iter()
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .collect(),
        link,
    })
}

proptest! {
    #[test]
    fn prop_sums_stay_links_are_whole_and_a_second_time_changes_nothing(
        rows in prop::collection::vec(any_row(), 0..12),
        labels in prop::sample::select(vec!["keep", "remove"]),
    ) {
        let before = made(&rows);
        let config = json!({ "labels": labels });
        let (after, counts) = run(config.clone(), &before);
        let sum = |profiles: &Profiles| told(profiles).values().sum::<i64>();
        prop_assert_eq!(sum(&before), sum(&after));
        let with_ids = rows.iter().filter(|row| row.labels.iter().any(|(key, _)| TraceKeys::built_in().has(key))).count();
        prop_assert_eq!(counts.values().sum::<u64>(), with_ids as u64, "each sample has one result");
        let came: Vec<_> = rows.iter().filter_map(|row| row.link).collect();
        let d = after.dictionary();
        for link in d.links.rows().iter().skip(1) {
            let is_whole = link.trace_id != [0; 16] && link.span_id != [0; 8];
            let came = came.contains(&(u128::from_be_bytes(link.trace_id), u64::from_be_bytes(link.span_id)));
            prop_assert!(is_whole || came);
        }
        let (again, second) = run(config, &after);
        prop_assert_eq!(told(&again), told(&after));
        prop_assert!(!second.keys().any(|(_, result)| result == "lifted"));
    }
}
