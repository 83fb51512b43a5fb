//! What `docs/redaction.md` promises, held to recordings with planted secrets in every format that leaves the gate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flamegate::app;
use flamegate::config::Sources;
use flamegate::formats::{Format, Limits, any};
use flamegate::pipeline::spec::parse;
use flamegate::processors::redaction::Policy;
use flamegate::profile::Profiles;
use serde_json::{Value, json};

use crate::leaks::needles::{self, Needle};
use crate::support::{corpus, data, files};

/// Planted strings that `docs/redaction.md` names as not found yet: whoever makes the gate find one takes it out here and there.
pub const NOT_FOUND_YET: &[&str] = &[
    // the name of a person
    "山田太郎",
];

/// Planted strings of whole classes that are promised: credentials, persons, and whose home it is.
fn planted() -> Vec<Needle> {
    let promised = |needle: &Needle| match needle.class.as_str() {
        "credential" | "pii" => true,
        "infra" => ["/home/", "/Users/", "C:\\Users"]
            .iter()
            .any(|home| needle.text.starts_with(home)),
        _ => false,
    };
    let mut all = needles::all();
    all.retain(promised);
    all
}

/// Every profile that can be read of the planted ones, by name.
fn recordings(folder: &Path) -> Vec<(String, Profiles)> {
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        // formats that are not read do not pass
        let read = any::decode_any(bytes.into(), &Limits::default()).ok()?;
        name.starts_with("planted-").then_some((name, read.decoded.profiles))
    };
    files(folder).into_iter().filter_map(read).collect()
}

/// All that the profiles are written as: the bytes, and what they say when their escapes and encodings are taken off.
fn written(profiles: &Profiles) -> Vec<(Format, Vec<u8>)> {
    let d = profiles.dictionary();
    let mut all = Vec::new();
    for format in [Format::Otlp, Format::OtlpJson] {
        all.push((format, any::encode(format, profiles, usize::MAX).unwrap()));
    }
    for at in profiles.iter() {
        for format in [Format::Pprof, Format::Collapsed, Format::Speedscope] {
            for column in 0..at.profile.sample_types.len() {
                // speedscope refuses negative values
                all.extend(
                    any::encode_one(format, d, at, column, usize::MAX)
                        .ok()
                        .map(|bytes| (format, bytes)),
                );
            }
        }
    }
    for (format, bytes) in &mut all {
        if matches!(format, Format::OtlpJson | Format::Speedscope) {
            let json: Value = serde_json::from_slice(bytes).unwrap();
            unescape(&json, bytes);
        }
    }
    all
}

fn unescape(json: &Value, into: &mut Vec<u8>) {
    match json {
        Value::String(text) => {
            into.push(b'\n');
            into.extend(text.as_bytes());
            into.extend(STANDARD.decode(text).unwrap_or_default());
        }
        Value::Array(items) => items.iter().for_each(|item| unescape(item, into)),
        Value::Object(entries) => entries.iter().for_each(|(key, item)| {
            unescape(&Value::String(key.clone()), into);
            unescape(item, into);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

fn policy() -> Policy {
    Policy::new(parse(json!({ "detectors": ["secrets", "pii"], "paths": "home" })).unwrap()).unwrap()
}

fn redacted(mut profiles: Profiles) -> Profiles {
    policy().redact(&mut profiles);
    profiles.compact();
    profiles
}

#[test]
fn nothing_that_is_promised_leaves_in_any_format() {
    let (planted, mut found) = (planted(), BTreeSet::new());
    let corpus = corpus();
    let mut all = recordings(&data(""));
    assert!(all.len() >= 5, "{}", all.len());
    if let Some(corpus) = &corpus {
        all.extend(recordings(&corpus.join("planted")));
        assert!(all.len() >= 18, "{}", all.len());
    }
    for (name, profiles) in all {
        let before = written(&profiles);
        assert!(
            planted
                .iter()
                .any(|needle| before.iter().any(|(_, bytes)| holds(bytes, &needle.text))),
            "{name} holds nothing"
        );
        for (format, bytes) in written(&redacted(profiles)) {
            for Needle { text, class, line } in planted.iter().filter(|needle| holds(&bytes, &needle.text)) {
                let is_known = NOT_FOUND_YET.contains(&text.as_str());
                assert!(is_known, "line {line} ({class}) leaves {name} as {format}");
                found.insert(text.clone());
            }
        }
    }
    if corpus.is_some() {
        let known: BTreeSet<String> = NOT_FOUND_YET.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(found, known, "what is found by now is to be promised");
    }
}

#[test]
fn what_must_stay_stays() {
    let Some(corpus) = corpus() else { return };
    let keep = std::fs::read_to_string(corpus.join("planted-keep.tsv")).unwrap();
    let mut kept = 0;
    for (name, profiles) in recordings(&corpus.join("planted")) {
        let family = if name.contains(".otlp") {
            Format::Otlp
        } else if name.contains(".speedscope") {
            Format::Speedscope
        } else {
            Format::Pprof
        };
        let after = written(&redacted(profiles));
        let same = after.iter().filter(|(format, _)| *format == family);
        let bytes: Vec<u8> = same.flat_map(|(_, bytes)| bytes.clone()).collect();
        for (_, text) in keep
            .lines()
            .filter_map(|row| row.split_once('\t'))
            .filter(|(file, _)| *file == name)
        {
            assert!(holds(&bytes, text), "{text} is gone from {name}");
            kept += 1;
        }
    }
    assert!(kept >= 24, "{kept}");
}

/// The policy for a vendor, as it stands in the example.
fn external() -> Policy {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("configs/redaction-external.yaml");
    let loaded = app::load(&Sources::read(&[file], &[]).unwrap()).unwrap();
    let checked = app::check(&loaded).unwrap();
    let redaction = checked
        .processors
        .iter()
        .find(|component| component.type_name == "redaction");
    Policy::new(parse(redaction.unwrap().raw.clone()).unwrap()).unwrap()
}

/// What must still stand: for each profile and type its total, and the same with every sample counted once for each frame of
/// its stack; and how many samples have a link.
pub fn figures(profiles: &Profiles) -> Vec<(Vec<(i128, i128)>, i128)> {
    let d = profiles.dictionary();
    let depth = |stack| -> i128 {
        let lines = d.stacks[stack]
            .iter()
            .map(|location| d.lines[*location].len().max(1) as i128);
        lines.sum()
    };
    let of = |at: flamegate::profile::ProfileRef<'_>| {
        let (samples, types) = (&at.profile.samples, at.profile.sample_types.len());
        let column = |column| {
            let rows = 0..samples.len();
            let frames = rows.map(|row| i128::from(samples.total(row, column, types)) * depth(samples.stacks[row]));
            (samples.sum(column, types), frames.sum())
        };
        let linked = (0..samples.len()).filter(|row| samples.links[*row].is_set());
        let linked = linked.map(|row| i128::from(samples.total(row, 0, types))).sum();
        ((0..types).map(column).collect(), linked)
    };
    profiles.iter().map(of).collect()
}

#[test]
fn a_vendor_sees_nothing_that_was_planted_and_the_figures_stand() {
    let planted = needles::all();
    let policy = external();
    let mut all = recordings(&data(""));
    if let Some(corpus) = corpus() {
        all.extend(recordings(&corpus.join("planted")));
        assert!(all.len() >= 18, "{}", all.len());
    }
    for (name, mut profiles) in all {
        profiles.compact();
        let before = figures(&profiles);
        assert!(!policy.redact(&mut profiles).is_empty());
        profiles.compact();
        assert_eq!(figures(&profiles), before, "{name}");
        for (format, bytes) in written(&profiles) {
            let left = planted.iter().filter(|needle| holds(&bytes, &needle.text));
            let left: Vec<usize> = left.map(|needle| needle.line).collect();
            assert!(left.is_empty(), "lines {left:?} leave {name} as {format}");
        }
        let once = any::encode(Format::Otlp, &profiles, usize::MAX).unwrap();
        assert_eq!(
            policy.redact(&mut profiles).hits,
            Default::default(),
            "{name} is redacted twice"
        );
        profiles.compact();
        assert!(
            any::encode(Format::Otlp, &profiles, usize::MAX).unwrap() == once,
            "{name}"
        );
    }
}

/// So many functions, each with names and a file of its own that nothing is wrong with.
fn clean(functions: usize) -> Profiles {
    let lines = (0..functions).map(|i| {
        let name = format!("com.example.shop.Cart{i}.add{i};runtime.work{i} 1\n");
        name.into_bytes()
    });
    let text = lines.collect::<Vec<_>>().concat();
    any::decode_any(text.into(), &Limits::default())
        .unwrap()
        .decoded
        .profiles
}

#[test]
fn texts_that_nothing_matches_cost_no_allocation_each() {
    const FEW: usize = 2000;
    for cache in [json!({ "entries": 0 }), json!({})] {
        let policy = Policy::new(parse(json!({ "cache": cache })).unwrap()).unwrap();
        let allocations = |functions: usize| {
            let mut profiles = clean(functions);
            let mut report = policy.redact(&mut profiles);
            assert!(report.is_empty(), "{report:?}");
            // what is compiled or remembered once is there by now
            let cost = allocation_counter::measure(|| report = policy.redact(&mut profiles));
            cost.count_total
        };
        let (few, many) = (allocations(FEW), allocations(4 * FEW));
        assert!(
            many < few + 100,
            "{few} allocations for {FEW} functions, {many} for four times as many"
        );
    }
}
