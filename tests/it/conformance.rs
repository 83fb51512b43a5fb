//! What every component keeps to, whichever it is: the tests loop over the tables.

use std::sync::Arc;

use flamegate::app::CATALOG;
use flamegate::config::Kind;
use flamegate::formats::otlp::Traces;
use flamegate::formats::{Format, Limits, any};
use flamegate::pipeline::spec::{About, BuildContext};
use flamegate::pipeline::{Batch, Context, Origin, Permit, Received, Verdict};
use flamegate::profile::Profiles;
use flamegate::telemetry::Metrics;
use flamegate::{exporters, processors};
use prost::Message;
use serde_json::{Value, json};

use crate::messages::request;
use crate::schema::{Step, places, with};
use crate::support::run;

fn context(about: &About) -> BuildContext {
    BuildContext::new(about.name, Arc::new(Metrics::default()))
}

/// Every row of every table.
pub fn rows() -> impl Iterator<Item = (Kind, &'static About)> {
    let rows = |kind| CATALOG.rows(kind).into_iter().map(move |about| (kind, about));
    Kind::ALL.into_iter().flat_map(rows)
}

/// The configuration in a row's example.
pub fn example(about: &About) -> Value {
    let tree: Value = serde_saphyr::from_str(about.example).unwrap();
    let (id, config) = tree.as_object().unwrap().iter().next().unwrap();
    assert_eq!(
        id.split('/').next(),
        Some(about.name),
        "the example is of the component"
    );
    config.clone()
}

#[tokio::test]
async fn every_example_builds() {
    for (kind, about) in rows() {
        let built = CATALOG.check(kind, about.name, example(about), &context(about));
        assert!(built.is_ok(), "{}: {built:?}", about.name);
    }
}

#[tokio::test]
async fn an_unknown_key_is_refused_by_name() {
    for (kind, about) in rows() {
        let refused = CATALOG.check(kind, about.name, json!({ "no_such_key": 1 }), &context(about));
        let error = refused.expect_err(about.name);
        let said = format!("{} {}", error.path, error.message);
        assert!(said.contains("no_such_key"), "{}: {said}", about.name);
    }
}

#[tokio::test]
async fn an_unknown_key_is_refused_at_every_depth() {
    let mut maps = 0;
    for (kind, about) in rows() {
        for place in places(&(about.schema)().to_value()) {
            if !place.is_closed_map {
                continue;
            }
            let path = [place.path.as_slice(), &[Step::Key("no_such_key".to_owned())]].concat();
            let config = with(&example(about), &path, json!(1));
            let error = CATALOG.check(kind, about.name, config, &context(about));
            let error = error.expect_err(&format!("{} {path:?}", about.name));
            let said = format!("{} {}", error.path, error.message);
            assert!(said.contains("no_such_key"), "{} {path:?}: {said}", about.name);
            maps += 1;
        }
    }
    assert!(maps > 30, "only {maps} maps");
}

#[tokio::test]
async fn a_list_is_no_map() {
    for (kind, about) in rows() {
        for place in places(&(about.schema)().to_value()) {
            if place.is_closed_map && !place.is_list {
                let config = with(&example(about), &place.path, json!([]));
                let taken = CATALOG.check(kind, about.name, config, &context(about));
                assert!(taken.is_err(), "{} {:?}", about.name, place.path);
            }
        }
    }
}

#[test]
fn every_row_tells_of_itself() {
    for (kind, about) in rows() {
        let schema = (about.schema)().to_value();
        assert_eq!(schema["type"], "object", "{}", about.name);
        assert!(
            !about.docs.trim().is_empty() && !about.summary.is_empty(),
            "{}",
            about.name
        );
        assert_eq!(about.signals.is_empty(), kind == Kind::Extension, "{}", about.name);
    }
}

#[test]
fn tables_are_sorted_and_names_unique() {
    for kind in Kind::ALL {
        let rows = CATALOG.rows(kind);
        assert!(rows.is_sorted_by(|a, b| a.name < b.name), "{}", kind.section());
        let mut names: Vec<_> = rows
            .iter()
            .flat_map(|row| row.aliases.iter().chain([&row.name]))
            .collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{}", kind.section());
    }
}

/// Batches that nobody should send: nothing at all, stacks of odd and of huge strings, and every recording.
fn hostile() -> Vec<(String, Profiles)> {
    let huge = format!("{};b 1\n", "x".repeat(1 << 20));
    let odd = "\u{0};\u{202e}\u{feff};e\u{301}\u{1f469}\u{200d}\u{1f680};\u{10ffff} 9223372036854775807\n";
    let mut batches = vec![("empty".to_owned(), Profiles::default())];
    for (name, text) in [("huge", huge.as_str()), ("odd", odd)] {
        let decoded = any::decode_as(Format::Collapsed, text.as_bytes(), &Limits::default()).unwrap();
        batches.push((name.to_owned(), decoded.profiles));
    }
    for entry in std::fs::read_dir(crate::support::data("")).unwrap() {
        let path = entry.unwrap().path();
        if let Ok(read) = any::decode_any(std::fs::read(&path).unwrap().into(), &Limits::default()) {
            batches.push((path.display().to_string(), read.decoded.profiles));
        }
    }
    assert!(batches.len() > 10);
    let mut without_samples = batches[batches.len() - 1].1.clone();
    for resource in without_samples.edit().1 {
        for scope in &mut resource.scopes {
            for profile in &mut scope.profiles {
                let types = profile.sample_types.len();
                Arc::make_mut(&mut profile.samples).retain(types, |_| false);
            }
        }
    }
    batches.push(("without samples".to_owned(), without_samples));
    batches
}

/// The example, nothing at all, and the example with every word, truth and falsehood that a key allows: those that build.
fn configs(kind: Kind, about: &About) -> Vec<Value> {
    let example = example(about);
    let mut configs = vec![example.clone(), json!({})];
    for place in places(&(about.schema)().to_value()) {
        for choice in place.choices {
            configs.push(with(&example, &place.path, choice));
        }
    }
    configs.retain(|config| CATALOG.check(kind, about.name, config.clone(), &context(about)).is_ok());
    configs
}

fn batch(profiles: Profiles) -> Batch {
    let weight = profiles.received_count();
    Batch::made(profiles, weight, Arc::new(Origin::local("test")), Permit::unlimited())
}

#[tokio::test]
async fn processors_survive_what_nobody_should_send() {
    let now = std::time::SystemTime::now();
    let hostile = hostile();
    for row in processors::ALL {
        for config in configs(Kind::Processor, &row.about) {
            let processor = (row.build)(config.clone(), &context(&row.about)).unwrap();
            for (name, profiles) in &hostile {
                let what = format!("{} {config} on {name}", row.about.name);
                let batch = batch(profiles.clone());
                let weight = batch.weight();
                let (mut after, gone) = match processor.process(batch, &Context { now }) {
                    Verdict::Pass { batch, rejected } => (vec![batch], rejected.map_or(0, |(gone, _)| gone)),
                    Verdict::Split(batches) | Verdict::Hold(batches) => (batches, 0),
                    Verdict::Drop(_) | Verdict::Refuse(_) => (Vec::new(), weight),
                };
                after.extend(processor.flush(true));
                let passed: u64 = after.iter().map(Batch::weight).sum();
                assert_eq!(passed + gone, weight, "{what}: profiles vanish or appear");
                for mut batch in after {
                    batch.compact();
                    let encoded = any::encode(Format::Otlp, batch.as_profiles().unwrap(), usize::MAX);
                    assert!(encoded.is_ok(), "{what}: {encoded:?}");
                }
            }
        }
    }
}

/// Requests of spans that nobody should send: of nothing, of empty messages, with what no version knows.
fn hostile_spans() -> Vec<Traces> {
    let mut odd = request(3, 4);
    odd.resource_spans[0].resource = None;
    odd.resource_spans[1].scope_spans.clear();
    let spans = &mut odd.resource_spans[2].scope_spans[0].spans;
    spans[1].attributes = vec![Default::default(); 1_000];
    (spans[2].trace_id, spans[2].span_id, spans[2].name) = (vec![], vec![], "x".repeat(1 << 20));
    let unknown = b"\x0a\x10\x12\x0e\x12\x0c\x4a\x02\xff\xff\x9a\x06\x02hi\x98\x06\x01";
    let bodies = [
        Vec::new(),
        vec![0x0a, 0],
        unknown.to_vec(),
        odd.encode_to_vec(),
        request(2, 200).encode_to_vec(),
    ];
    bodies
        .map(|body| Traces::new(body.into(), &Limits::default()).unwrap())
        .into()
}

#[tokio::test]
async fn processors_of_traces_survive_what_nobody_should_send() {
    let now = std::time::SystemTime::now();
    let hostile = hostile_spans();
    for row in processors::ALL
        .iter()
        .filter(|row| row.about.signals.contains(&"traces"))
    {
        for config in configs(Kind::Processor, &row.about) {
            let processor = (row.build)(config.clone(), &context(&row.about)).unwrap();
            for (number, traces) in hostile.iter().enumerate() {
                let what = format!("{} {config} on request {number}", row.about.name);
                let (format, bytes) = (Format::Otlp, traces.bytes().clone());
                let origin = Arc::new(Origin::local("test"));
                let batch = Batch::traces(traces.clone(), Received { format, bytes }, origin, Permit::unlimited());
                let mut after = match processor.process(batch, &Context { now }) {
                    Verdict::Pass { batch, rejected: None } => vec![batch],
                    Verdict::Split(batches) | Verdict::Hold(batches) => batches,
                    other => panic!("{what}: {other:?}"),
                };
                after.extend(processor.flush(true));
                let passed: u64 = after.iter().map(Batch::weight).sum();
                assert_eq!(passed, traces.count(), "{what}: spans vanish or appear");
                for batch in after {
                    let left = batch.as_traces().unwrap().bytes().clone();
                    assert!(Traces::new(left, &Limits::default()).is_ok(), "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn exporters_encode_what_nobody_should_send_or_say_why_not() {
    let hostile = hostile();
    for row in exporters::ALL {
        for config in configs(Kind::Exporter, &row.about) {
            let built = (row.build)(config.clone(), &context(&row.about)).unwrap();
            for (name, profiles) in &hostile {
                if let Err(error) = built.exporter.encode(&batch(profiles.clone())) {
                    let said = error.to_string();
                    assert!(!said.is_empty(), "{} {config} on {name}", row.about.name);
                }
            }
        }
    }
}

#[test]
fn reference_pages_are_fresh() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let checked = run(&["docs", "--check", "--dir", folder.to_str().unwrap()]);
    assert_eq!(checked.code(), 0, "{}", checked.err());
}
