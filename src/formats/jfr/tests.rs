//! Real recordings against what independent readers found in them.

mod collapsed;
mod context;
mod hostile;
mod writer;

use std::collections::BTreeMap;
use std::io;

use super::*;
use crate::formats::any::{decode_any, default_column};
use crate::formats::compress::Inflation;
use crate::formats::{Decoded, Fault, Format};
use crate::profile::{Profile, Role, Value};
use crate::testing;

fn read(bytes: Vec<u8>) -> Decoded {
    match decode_any(bytes.into(), &Limits::default()) {
        Ok(read) => {
            assert_eq!(read.format, Format::Jfr);
            read.decoded
        }
        Err(error) => panic!("{error}"),
    }
}

/// Sums of all values, by the name of their type.
fn sums(decoded: &Decoded) -> BTreeMap<String, i128> {
    let d = decoded.profiles.dictionary();
    let mut sums = BTreeMap::new();
    for at in decoded.profiles.iter() {
        let types = &at.profile.sample_types;
        for (column, of) in types.iter().enumerate() {
            // `samples` goes with the type beside it
            let name = match d.str(of.kind) {
                "samples" => format!("{} samples", d.str(types[1].kind)),
                name => name.to_owned(),
            };
            let sum = at.profile.samples.sum(column, types.len());
            assert!(sums.insert(name.clone(), sum).is_none(), "{name} twice");
        }
    }
    sums
}

#[test]
fn own_recordings_become_profiles_with_types_labels_and_periods() {
    let decoded = read(testing::data("ap-wall.jfr.gz"));
    let found = sums(&decoded);
    assert_eq!(found["wall samples"], 7_398);
    assert_eq!(found["wall"], 7_398 * 20_000_000);
    // where nothing else samples what runs, that is what was seen running
    assert_eq!(found["cpu samples"], 1_021);
    let d = decoded.profiles.dictionary();
    let wall = (decoded.profiles.iter().map(|at| at.profile))
        .find(|profile| d.str(profile.sample_types[1].kind) == "wall")
        .expect("a profile of time");
    assert_eq!((wall.period, d.str(wall.period_type.unit)), (20_000_000, "nanoseconds"));
    assert!(wall.time_unix_nano > 1_700_000_000_000_000_000 && wall.duration_nano > 1_000_000_000);
    for key in ["thread.name", "thread.id", "thread.state"] {
        let has = |set: &_| d.attribute(*set, key).is_some();
        assert!(wall.samples.attributes.iter().all(has), "{key}");
    }
}

#[test]
fn stacks_that_were_cut_say_so() {
    let decoded = read(testing::data("jdk17-deep.jfr.gz"));
    let d = decoded.profiles.dictionary();
    let name = |location| d.str(d.functions[d.lines[location][0].function].name);
    let mut cut = 0;
    for stack in d.stacks.ids().skip(1) {
        let frames = &d.stacks[stack];
        let is_cut = name(frames[frames.len() - 1]) == "[truncated]";
        assert_eq!(is_cut, frames.len() > 256, "{}", frames.len());
        cut += usize::from(is_cut);
    }
    assert!(cut > 10, "{cut}");
}

#[test]
fn damaged_recordings_are_refused_as_far_as_they_are_damaged() {
    let Some(corpus) = testing::corpus() else { return };
    for entry in std::fs::read_dir(corpus.join("jfr")).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("bad-") {
            continue;
        }
        let bytes = std::fs::read(entry.path()).expect("a file");
        let read = decode_any(bytes.into(), &Limits::default());
        // the first of its chunks is whole
        if name.starts_with("bad-second-chunk-cut") {
            let decoded = read.expect("one chunk").decoded;
            assert_eq!(decoded.rejected.profiles, 1);
            assert!(sums(&decoded)["cpu samples"] > 100);
        } else {
            assert!(read.is_err(), "{name}");
        }
    }
}

/// Where names of the program may stand; that is for redaction to judge.
const NAMES: [&str; 4] = ["thread.name", "object.class", "monitor.class", "exception.type"];

#[test]
fn nothing_but_frames_threads_and_classes_comes_out() {
    let Some(corpus) = testing::corpus() else { return };
    let classes = String::from_utf8(std::fs::read(corpus.join("planted-classes.tsv")).expect("a list")).expect("text");
    let planted: Vec<&str> = (classes.lines().skip(1))
        .filter_map(|line| Some(line.split_once('\t')?.1))
        .collect();
    assert!(planted.len() > 50);
    let mut in_names = 0;
    for file in [
        "planted-jdk17.jfr",
        "planted-jdk25-multichunk.jfr.gz",
        "planted-async-profiler.jfr",
    ] {
        for off_cpu in [false, true] {
            let plain = Inflation::new(&Limits::default())
                .unwrap_layers(
                    std::fs::read(corpus.join("planted").join(file))
                        .expect("a recording")
                        .into(),
                )
                .expect("a recording");
            let options = Options {
                off_cpu,
                ..Options::default()
            };
            let decoded = decode_within(&plain, &options, &Limits::default(), &Unlimited).expect("a recording");
            let d = decoded.profiles.dictionary();
            let attributes = d.attributes.rows().iter();
            let names: Vec<&Value> = attributes
                .filter(|attribute| NAMES.contains(&d.str(attribute.key)))
                .map(|attribute| &attribute.value)
                .collect();
            decoded.profiles.strings_by_role(|role, id| {
                let text = d.str(id);
                for secret in planted.iter().filter(|secret| text.contains(**secret)) {
                    let is_name = match role {
                        Role::FunctionName | Role::SystemName => true,
                        Role::LabelValue => names.contains(&&Value::String(id)),
                        _ => false,
                    };
                    assert!(is_name, "{file}: {secret} as {role:?}");
                    in_names += 1;
                }
            });
            // properties, arguments, the environment and messages are in no name
            for id in d.strings.ids() {
                for never in [
                    "SYSPROP",
                    "DB-PASSWORD",
                    "ARG-PASSWORD",
                    "BEARER",
                    "RESET-TOKEN",
                    "corp.example.internal",
                ] {
                    assert!(!d.str(id).contains(never), "{file}: {never}");
                }
            }
        }
    }
    assert!(in_names > 10, "{in_names}");
}

#[test]
fn files_are_read_chunk_by_chunk() {
    let plain = |name: &str| {
        let inflated = Inflation::new(&Limits::default()).unwrap_layers(testing::data(name).into());
        inflated.expect("a recording").to_vec()
    };
    let (deep, wall) = (plain("jdk17-deep.jfr.gz"), plain("ap-wall.jfr.gz"));
    let whole = [&deep[..], &wall, &deep].concat();
    let options = Options::default();
    let read = decode_stream(io::Cursor::new(&whole[..]), &options, &Limits::default()).expect("a recording");
    assert_eq!(read.bytes, whole.len());
    let in_memory = decode(&whole, &Limits::default()).expect("a recording");
    assert_eq!(sums(&read.decoded), sums(&in_memory));
    // equal samples of both are one
    let stacks = |decoded: &Decoded| decoded.profiles.dictionary().stacks.len();
    assert_eq!(
        stacks(&read.decoded),
        stacks(&decode(&[deep.clone(), wall].concat(), &Limits::default()).expect("two"))
    );
    let cut = &whole[..whole.len() - 1];
    let read = decode_stream(io::Cursor::new(cut), &options, &Limits::default()).expect("two chunks");
    assert_eq!(read.decoded.rejected.profiles, 1);
    assert!(decode_stream(io::Cursor::new(b""), &options, &Limits::default()).is_err());
    let small = Limits {
        decompressed_bytes: 1_000,
        ..Limits::default()
    };
    let error = decode_stream(io::Cursor::new(&whole[..]), &options, &small).expect_err("a chunk too long");
    assert!(matches!(error, StreamError::Decode(error) if matches!(error.fault, Fault::TooLarge(_))));
}

#[test]
fn contexts_become_labels() {
    let Some(corpus) = testing::corpus() else { return };
    let file = |name: &str| {
        let stored = std::fs::read(corpus.join("jfr").join(name)).expect("a file");
        Inflation::new(&Limits::default())
            .unwrap_layers(stored.into())
            .expect("a file")
    };
    let labels = file("ext-new_spancontext.labels.gz");
    let options = Options {
        labels: &labels,
        ..Options::default()
    };
    let recording = file("ext-new_spancontext.jfr.gz");
    let decoded = decode_within(&recording, &options, &Limits::default(), &Unlimited).expect("a recording");
    let d = decoded.profiles.dictionary();
    let profile = decoded.profiles.iter().next().expect("a profile").profile;
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (row, set) in profile.samples.attributes.iter().enumerate() {
        let labels = ["dyn1", "dyn2", "span_name"].map(|key| match d.attribute(*set, key) {
            Some(Value::String(text)) => d.str(*text),
            _ => "-",
        });
        *counts.entry(labels.join(" ")).or_default() += profile.samples.total(row, 0, 2);
        if let Some(Value::String(id)) = d.attribute(*set, "profile_id") {
            assert_eq!(d.str(*id).len(), 16);
        }
    }
    // 470 of 472 samples ran in a span
    assert_eq!(counts.values().sum::<i64>(), 472);
    assert_eq!(counts["- - -"], 2, "{counts:?}");
    assert!(counts.len() > 1, "{counts:?}");
    assert!(
        decode_within(
            &recording,
            &Options {
                labels: b"\x0a\xff",
                ..options
            },
            &Limits::default(),
            &Unlimited
        )
        .is_err()
    );
}

#[test]
fn spans_that_applications_write_become_links() {
    let Some(recording) = testing::corpus_file("jfr/jdk17-profile.jfr") else {
        return;
    };
    let decoded = decode(&recording, &Limits::default()).expect("a recording");
    let d = decoded.profiles.dictionary();
    let profile = decoded.profiles.iter().next().expect("a profile").profile;
    let linked = profile.samples.links.iter().filter(|link| link.is_set()).count();
    assert!(linked > 10, "{linked} of {}", profile.samples.len());
    assert!(d.links.len() > linked / 2);
}

#[test]
fn waits_are_counted_when_asked_for() {
    let stored = testing::data("jdk17-deep.jfr.gz");
    let plain = Inflation::new(&Limits::default())
        .unwrap_layers(stored.into())
        .expect("a recording");
    let options = Options {
        off_cpu: true,
        ..Options::default()
    };
    let without = decode(&plain, &Limits::default()).expect("a recording");
    let with = decode_within(&plain, &options, &Limits::default(), &Unlimited).expect("a recording");
    assert!(!sums(&without).contains_key("off_cpu"));
    assert!(sums(&with)["off_cpu"] > sums(&with)["off_cpu_count"]);
    let d = with.profiles.dictionary();
    let waits = (with.profiles.iter().map(|at| at.profile))
        .find(|profile| d.str(profile.sample_types[0].kind) == "off_cpu_count")
        .expect("waits");
    let has_reason = |set: &_| d.attribute(*set, "off_cpu.reason").is_some();
    assert!(waits.samples.attributes.iter().all(has_reason));
}

/// Before JDK 21 an old object has no size: what is shown of it is how many there are.
#[test]
fn what_was_only_counted_is_shown_by_its_count() {
    for (file, shown) in [
        ("jfr/jdk17-profile.jfr", "old_objects"),
        ("jfr/jdk25-cputime.jfr", "old_space"),
    ] {
        let Some((decoded, at)) = corpus_profile(file, "old_space") else {
            return;
        };
        let (d, profile) = (
            decoded.profiles.dictionary(),
            decoded.profiles.iter().nth(at).expect("a profile").profile,
        );
        let column = default_column(d, profile);
        assert_eq!(d.str(profile.sample_types[column].kind), shown, "{file}");
        assert!(profile.samples.sum(column, profile.sample_types.len()) > 0, "{file}");
    }
}

/// The recording, and the profile with a type in it.
fn corpus_profile(file: &str, kind: &str) -> Option<(Decoded, usize)> {
    let decoded = read(testing::corpus_file(file)?);
    let d = decoded.profiles.dictionary();
    let has = |profile: &Profile| profile.sample_types.iter().any(|of| d.str(of.kind) == kind);
    let at = decoded
        .profiles
        .iter()
        .position(|at| has(at.profile))
        .expect("a profile of the type");
    Some((decoded, at))
}

/// How many events are of virtual threads and how many of others, as the JDK's own tool counts them.
#[test]
fn virtual_threads_are_of_a_kind_and_have_no_number() {
    for (kind, counted) in [
        ("alloc_objects", [1_243, 466]),
        ("park_count", [311, 351]),
        ("contentions", [72, 22]),
        ("cpu", [69, 29]),
    ] {
        let Some((decoded, at)) = corpus_profile("jfr/jdk21-virtual.jfr.gz", kind) else {
            return;
        };
        let d = decoded.profiles.dictionary();
        let samples = &decoded.profiles.iter().nth(at).expect("it").profile.samples;
        let mut found = [0, 0];
        for (row, set) in samples.attributes.iter().enumerate() {
            let is_virtual = d.attribute(*set, "thread.kind").is_some();
            assert_ne!(is_virtual, d.attribute(*set, "thread.id").is_some());
            found[usize::from(!is_virtual)] += samples.total(row, 0, 2);
        }
        assert_eq!(found, counted, "{kind}");
    }
}

#[test]
fn methods_that_are_traced_are_on_top_of_their_callers() {
    let Some((decoded, at)) = corpus_profile("jfr/jdk25-methodtrace.jfr.gz", "method_time") else {
        return;
    };
    let d = decoded.profiles.dictionary();
    let samples = &decoded.profiles.iter().nth(at).expect("it").profile.samples;
    for stack in &samples.stacks {
        let name = |location| d.str(d.functions[d.lines[location][0].function].name);
        let frames = &d.stacks[*stack];
        assert_eq!(name(frames[0]), "com.acme.shop.Workload.contendLock");
        assert!(frames.len() > 2 && name(frames[1]) != name(frames[0]));
    }
}

#[test]
fn samples_that_the_jvm_lost_are_told() {
    let Some((decoded, at)) = corpus_profile("jfr/jdk25-cputime.jfr", "cpu") else {
        return;
    };
    let d = decoded.profiles.dictionary();
    let profile = decoded.profiles.iter().nth(at).expect("it").profile;
    assert_eq!(d.attribute(profile.attributes, LOST_SAMPLES), Some(&Value::Int(28)));
}
