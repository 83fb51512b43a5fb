//! Every real recording against `totals.json`: what an independent reader, of another hand and in another language, found in it.
//!
//! Each number is asserted of what our decoders make of the file. What is no number of a profile is listed in [`ELSEWHERE`] with the
//! reason; where the two readers differ, [`DISAGREEMENTS`] says who is right, and by which evidence.

mod recordings;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::any::{AnyError, Recognised, decode_any};
use super::{Decoded, Limits};
use crate::profile::{Dictionary, Observations, Profile, Profiles, Value};
use crate::testing;

/// Numbers by their place in `totals.json`: `counts:sample`.
type Numbers = BTreeMap<String, Json>;

/// What is no number of a profile: kind (of files, empty for all), key, why.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("", "kind", "says which of our numbers it is compared with"),
    ("", "file_bytes", "of the file as it is stored"),
    ("", "gzip_bytes", "of the file packed for comparison"),
    ("", "go_pprof", "what Go makes of it"),
    ("", "err", "what the other reader did not read"),
    ("jfr", "derived", "compared as sums of what becomes of the events"),
    ("jfr", "string_encodings", "how texts stand in the file"),
    (
        "pprof",
        "counts:string",
        "what has a field of its own has a key of ours",
    ),
    ("otlp", "counts:string", "texts in attributes stand in our table too"),
    ("speedscope", "types", "how samples stand in the file"),
    ("cpuprofile", "nodes", "of a tree; most have no samples"),
    ("heapprofile", "nodes", "of a tree; most have no memory"),
    ("heapprofile", "samples", "what V8 made the sums of its nodes from"),
    ("text", "lines", "of text, comments among them"),
    ("perf-script", "lines", "of text, comments among them"),
];

/// Numbers in which the readers differ: file, number, what ours says, why that is right.
const DISAGREEMENTS: &[(&str, &str, i64, &str)] = &[
    (
        "jfr/jdk17-multichunk.jfr.gz",
        "samples without a stack",
        6,
        "the event of jdk.JavaMonitorEnter at 02:06:51.687711973Z refers to a stack that its chunk does not have; to `jfr print` it has none",
    ),
    (
        "otlp/old-schema-1.9.otlp",
        "values",
        2469,
        "it is node20-wall-cpu-links.otlp, which has as many; read as 1.10 the field holds links instead, and 2421 samples have one",
    ),
    (
        "other/ext-duplicates.speedscope.json",
        "profiles",
        1,
        "three of one name, and names are the labels that tell profiles of one unit apart",
    ),
    (
        "other/ext-simple.speedscope.json",
        "samples",
        4,
        "its ten events open and close frames; between them the stack is four different ones for a while",
    ),
];

#[test]
fn every_recording_has_the_numbers_of_an_independent_reader() {
    let Some(corpus) = testing::corpus() else { return };
    let totals = std::fs::read(corpus.join("totals.json")).expect("totals");
    let totals: BTreeMap<String, Json> = serde_json::from_slice(&totals).expect("totals");
    let mut told = Told::default();
    for (name, total) in &totals {
        let stored = std::fs::read(corpus.join(name)).expect("a file that is listed");
        match (decode_any(stored.into(), &Limits::default()), name.contains("/bad-")) {
            (Ok(read), true) => told.damaged(name, &read.decoded),
            (Err(AnyError::Decode(_)), true) => {}
            (Ok(read), false) => told.compare(name, total, &read),
            (Err(error), _) => told.wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(told.wrong.is_empty(), "\n{}", told.wrong.join("\n"));
    assert_eq!(
        told.settled,
        DISAGREEMENTS.len(),
        "a disagreement that is none any more"
    );
    eprintln!("{} numbers of {} files", told.numbers, told.files);
    assert!(
        told.files > 120 && told.numbers > 3_500,
        "{} of {}",
        told.numbers,
        told.files
    );
}

/// What came of the comparison.
#[derive(Default)]
struct Told {
    files: usize,
    numbers: usize,
    /// Disagreements that were met.
    settled: usize,
    wrong: Vec<String>,
}

impl Told {
    fn damaged(&mut self, name: &str, decoded: &Decoded) {
        if decoded.rejected.profiles == 0 {
            self.wrong.push(format!("{name}: nothing of it is rejected"));
        }
    }

    fn compare(&mut self, name: &str, total: &Json, read: &Recognised) {
        self.files += 1;
        let kind = total["kind"].as_str().expect("a kind");
        if (read.decoded.rejected.profiles, read.decoded.repairs) != (0, 0) && kind == "jfr" {
            self.wrong.push(format!("{name}: not all of it is read"));
        }
        let mut ours = numbers(kind, &read.decoded);
        ours.insert("raw_bytes".to_owned(), json!(read.plain.len()));
        if kind == "jfr" {
            ours.extend(recordings::outline(&read.plain));
            for (sum, found, expected) in recordings::sums(name, total, &read.decoded) {
                self.sum(name, &sum, found, expected);
            }
        }
        for (key, theirs) in flat(total) {
            let is_elsewhere = |(of, elsewhere, _): &&(&str, &str, &str)| {
                (of.is_empty() || *of == kind) && (key == *elsewhere || key.split(':').next() == Some(elsewhere))
            };
            if ELSEWHERE.iter().any(|row| is_elsewhere(&row)) {
                continue;
            }
            self.numbers += 1;
            let ours = ours.get(&key).cloned().unwrap_or(Json::Null);
            let expected = self.settled(name, &key).map_or(theirs, |ours| json!(ours));
            if ours != expected {
                let told = [key.as_str(), &ours.to_string(), &expected.to_string()];
                // keys and texts may be planted
                let [key, ours, expected] = match name.starts_with("planted/") {
                    true => told.map(|text| text.split([':', '"']).next().unwrap_or_default()),
                    false => told,
                };
                self.wrong.push(format!("{name}: {key}: {ours}, not {expected}"));
            }
        }
    }

    fn sum(&mut self, name: &str, sum: &str, found: i128, expected: Option<recordings::Sum>) {
        self.numbers += 1;
        let settled = self.settled(name, sum).map(|ours| (i128::from(ours), 0));
        match settled.or(expected) {
            Some((expected, off)) if (found - expected).abs() <= off => {}
            Some((expected, _)) => self.wrong.push(format!("{name}: {sum}: {found}, not {expected}")),
            None => self
                .wrong
                .push(format!("{name}: {sum}: {found}, and nobody says what it should be")),
        }
    }

    /// What ours says of a number in which the readers differ.
    fn settled(&mut self, name: &str, number: &str) -> Option<i64> {
        let (_, _, ours, _) = DISAGREEMENTS.iter().find(|row| (row.0, row.1) == (name, number))?;
        self.settled += 1;
        Some(*ours)
    }
}

/// The numbers of a file, maps among them laid flat.
fn flat(total: &Json) -> Numbers {
    let mut numbers = Numbers::new();
    for (key, value) in total.as_object().expect("a file's numbers") {
        match value.as_object() {
            Some(map) => numbers.extend(
                map.iter()
                    .map(|(below, value)| (format!("{key}:{below}"), value.clone())),
            ),
            None => drop(numbers.insert(key.clone(), value.clone())),
        }
    }
    numbers
}

/// What our decoder says of the same.
fn numbers(kind: &str, decoded: &Decoded) -> Numbers {
    let profiles = &decoded.profiles;
    match kind {
        "pprof" => pprof(profiles),
        "otlp" => otlp(profiles),
        "collapsed" => [("lines".to_owned(), json!(profiles.sample_count()))].into(),
        "speedscope" => speedscope(profiles),
        "cpuprofile" | "perf-script" => samples(profiles),
        _ => Numbers::new(),
    }
}

fn tables(d: &Dictionary) -> Numbers {
    let rows = [
        ("function", d.functions.len()),
        ("location", d.locations.len()),
        ("mapping", d.mappings.len()),
        ("string", d.strings.len()),
        ("attr", d.attributes.len()),
        ("link", d.links.len()),
        ("stack", d.stacks.len()),
    ];
    rows.map(|(name, rows)| (format!("counts:{name}"), json!(rows))).into()
}

/// Names of sample types with their units, in order.
fn types(d: &Dictionary, profile: &Profile) -> Vec<String> {
    let types = profile.sample_types.iter();
    types
        .map(|of| format!("{}/{}", d.str(of.kind), d.str(of.unit)))
        .collect()
}

fn pprof(profiles: &Profiles) -> Numbers {
    let d = profiles.dictionary();
    let mut numbers = tables(d);
    // row 0 of a table is none, and no row of pprof's
    for table in ["function", "location", "mapping"] {
        let rows = numbers.get_mut(&format!("counts:{table}")).expect("a table");
        *rows = json!(rows.as_u64().expect("a number") - 1);
    }
    let profile = profiles.iter().next().expect("one profile").profile;
    let types = types(d, profile);
    for (column, name) in types.iter().enumerate() {
        numbers.insert(
            format!("sums:{name}"),
            json!(profile.samples.sum(column, types.len()) as i64),
        );
    }
    let mut labels = Labels::default();
    for set in &profile.samples.attributes {
        let of_sample = d.attributes_of(*set);
        labels.count(of_sample.map(|label| (d.str(label.key), &label.value)));
    }
    let lines = |location| d.lines[location].len();
    let stacks = profile.samples.stacks.iter().map(|stack| &d.stacks[*stack]);
    let locations = || d.locations.ids().skip(1);
    numbers.extend(
        [
            ("sample_types", json!(types)),
            ("counts:sample", json!(profile.samples.len())),
            ("counts:label", json!(labels.all)),
            ("label_keys", json!(labels.keys)),
            ("numeric_labels", json!(labels.numeric)),
            ("multi_value_label_samples", json!(labels.samples_of_several)),
            ("max_depth", json!(stacks.map(|frames| frames.len()).max())),
            (
                "inlined_locations",
                json!(locations().filter(|at| lines(*at) > 1).count()),
            ),
            (
                "unsymbolized_locations",
                json!(locations().filter(|at| lines(*at) == 0).count()),
            ),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    numbers
}

/// The labels of the samples of a pprof.
#[derive(Default)]
struct Labels {
    all: usize,
    numeric: usize,
    samples_of_several: usize,
    keys: BTreeSet<String>,
}

impl Labels {
    /// Counts the labels of a sample: several values of a key are several labels.
    fn count<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a Value)>) {
        let mut keys = BTreeSet::new();
        let before = self.all;
        for (key, value) in labels {
            self.all += 1;
            self.numeric += usize::from(matches!(value, Value::Int(_)));
            keys.insert(key.to_owned());
        }
        self.samples_of_several += usize::from(self.all - before > keys.len());
        self.keys.extend(keys);
    }
}

fn otlp(profiles: &Profiles) -> Numbers {
    let d = profiles.dictionary();
    let mut numbers = tables(d);
    let (mut samples, mut values, mut timestamps, mut kinds) = (0, 0, 0, BTreeSet::new());
    for at in profiles.iter() {
        // on the wire each type has its own profile, whose samples are the same
        samples += at.profile.samples.len() * at.profile.sample_types.len();
        kinds.extend(types(d, at.profile));
        match &at.profile.samples.observations {
            Observations::Totals(totals) => values += totals.len(),
            Observations::Series(series) => {
                values += series.values.len();
                timestamps += series.timestamps.len();
            }
        }
    }
    numbers.extend(
        [
            ("resources", json!(profiles.resources().len())),
            ("counts:profile", json!(profiles.received_count())),
            ("counts:sample", json!(samples)),
            ("sample_types", json!(kinds)),
            ("values", json!(values)),
            ("timestamps", json!(timestamps)),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    numbers
}

fn speedscope(profiles: &Profiles) -> Numbers {
    let d = profiles.dictionary();
    let samples = || profiles.iter().map(|at| &at.profile.samples);
    // those of one unit are one profile, whose labels tell them apart
    let labels: BTreeSet<usize> = samples().flat_map(|of| &of.attributes).map(|set| set.index()).collect();
    [
        ("frames", json!(d.locations.len() - 1)),
        ("profiles", json!(labels.len())),
        ("samples", json!(profiles.sample_count())),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// The sum of the type that counts samples.
fn samples(profiles: &Profiles) -> Numbers {
    let profile = profiles.iter().next().expect("one profile").profile;
    let samples = profile.samples.sum(0, profile.sample_types.len());
    [("samples".to_owned(), json!(samples as i64))].into()
}
