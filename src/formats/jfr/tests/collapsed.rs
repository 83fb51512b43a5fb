//! Stacks against those that Pyroscope's reader finds in six files, which are kept beside them.
//!
//! That reader names classes with slashes, native frames as `library.function` and lines that are none 4294967295, counts CPU by a
//! period of 10 ms that it is told, gives locks and parks in ticks, and makes one class of all that the JVM generated.

use std::collections::BTreeMap;

use super::*;
use crate::formats::compress::Inflation;
use crate::profile::{Dictionary, Profile, StackId};

type Stacks = BTreeMap<String, Vec<i64>>;

/// File, type of ours, which of its values times what, and the files that are expected.
type Case<'a> = (&'a str, &'a str, &'a [(usize, i64)], &'a [&'a str]);

const PERIOD: i64 = 10_000_000;

fn expected(folder: &std::path::Path, files: &[&str]) -> Stacks {
    let mut stacks = Stacks::new();
    for file in files {
        let packed = std::fs::read(folder.join(format!("{file}_expected_collapsed.txt.gz"))).expect("expected stacks");
        let text = Inflation::new(&Limits::default())
            .unwrap_layers(packed.into())
            .expect("text");
        for line in String::from_utf8_lossy(&text).lines() {
            let (stack, values) = line.rsplit_once(" [").expect("values");
            let frames: Vec<String> = stack.split(';').map(their_frame).collect();
            let values = values
                .trim_end_matches(']')
                .split(' ')
                .map(|value| value.parse().expect("a value"));
            add(&mut stacks, frames.join(";"), values.collect());
        }
    }
    stacks
}

fn their_frame(frame: &str) -> String {
    let (name, line) = frame.rsplit_once(':').expect("a line");
    let line = if line == "4294967295" { "0" } else { line };
    format!("{}:{line}", comparable(name))
}

fn add(stacks: &mut Stacks, stack: String, values: Vec<i64>) {
    let sums = stacks.entry(stack).or_insert_with(|| vec![0; values.len()]);
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// The stacks of the profile that has a type.
fn found(decoded: &Decoded, kind: &str) -> Stacks {
    let d = decoded.profiles.dictionary();
    let has = |profile: &&Profile| profile.sample_types.iter().any(|of| d.str(of.kind) == kind);
    let mut profiles = decoded.profiles.iter().map(|at| at.profile);
    let profile = profiles.find(has).expect("a profile of the type");
    let types = profile.sample_types.len();
    let mut stacks = Stacks::new();
    for (row, stack) in profile.samples.stacks.iter().enumerate() {
        // it leaves out what has no stack
        let stack = our_stack(d, *stack);
        if stack == "[unknown]:0" {
            continue;
        }
        let values = (0..types).map(|column| profile.samples.total(row, column, types));
        add(&mut stacks, stack, values.collect());
    }
    stacks
}

fn our_stack(d: &Dictionary, stack: StackId) -> String {
    let frames = d.stacks[stack].iter().rev().map(|location| {
        let line = d.lines[*location][0];
        let library = d.str(d.mappings[d.locations[*location].mapping].filename);
        let name = d.str(d.functions[line.function].name);
        let name = match library {
            "" => name.to_owned(),
            library => format!("{library}.{name}"),
        };
        format!("{}:{}", comparable(&name), line.line)
    });
    let frames: Vec<String> = frames.filter(|frame| frame != "[truncated]:0").collect();
    frames.join(";")
}

fn comparable(name: &str) -> String {
    let dotted = name.replace('/', ".");
    without_numbers(dotted.trim_start_matches('.'))
}

/// `App$$Lambda$14/0x00c.call` without what tells one class of a lambda from another, and the like.
fn without_numbers(name: &str) -> String {
    for generated in ["GeneratedMethodAccessor", "GeneratedConstructorAccessor"] {
        if let Some((before, after)) = name.split_once(generated) {
            let method = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
            return format!("{before}{generated}_{method}");
        }
    }
    let Some((before, after)) = name.split_once("$$Lambda") else {
        return name.to_owned();
    };
    let method = after.rsplit_once('.').map_or("", |(_, method)| method);
    format!("{before}$$Lambda_.{method}")
}

/// Only some of the values, each times something.
fn pick(stacks: Stacks, values: &[(usize, i64)]) -> Stacks {
    let pick = |all: Vec<i64>| values.iter().map(|(at, times)| all[*at] * times).collect();
    stacks.into_iter().map(|(stack, all)| (stack, pick(all))).collect()
}

fn recording(corpus: &std::path::Path, name: &str) -> Decoded {
    read(std::fs::read(corpus.join(format!("jfr/ext-{name}.jfr.gz"))).expect("a recording"))
}

fn assert_same(what: &str, ours: &Stacks, theirs: &Stacks) {
    let differs = |(stack, values): &(&String, &Vec<i64>), other: &Stacks| other.get(*stack) != Some(*values);
    let more: Vec<_> = ours.iter().filter(|row| differs(row, theirs)).take(3).collect();
    let less: Vec<_> = theirs.iter().filter(|row| differs(row, ours)).take(3).collect();
    assert!(
        more.is_empty() && less.is_empty(),
        "{what}: {more:#?} instead of {less:#?}"
    );
}

#[test]
fn six_files_have_the_stacks_that_pyroscope_finds() {
    let Some(corpus) = testing::corpus() else { return };
    let folder = corpus.join("jfr/ext-expected");

    let cases: [Case; 9] = [
        (
            "dd-trace-java",
            "alloc_space",
            &[(0, 1), (1, 1)],
            &[
                "1_memory_alloc_in_new_tlab_objects__count_alloc_in_new_tlab_bytes__bytes",
                "2_memory_alloc_outside_tlab_objects__count_alloc_outside_tlab_bytes__bytes",
            ],
        ),
        (
            "dd-trace-java",
            "cpu",
            &[(0, PERIOD)],
            &["3_process_cpu_cpu__nanoseconds"],
        ),
        (
            "dump2",
            "alloc_space",
            &[(0, 1), (1, 1)],
            &["0_memory_alloc_in_new_tlab_objects__count_alloc_in_new_tlab_bytes__bytes"],
        ),
        ("dump2", "inuse_objects", &[(0, 1)], &["1_memory_live__count"]),
        ("dump2", "cpu", &[(0, PERIOD)], &["2_process_cpu_cpu__nanoseconds"]),
        ("dump2", "wall", &[(0, PERIOD)], &["3_wall_wall__nanoseconds"]),
        (
            "nativemem",
            "malloc_bytes",
            &[(0, 1), (1, 1)],
            &["0_memory_malloc_objects__count_malloc_bytes__bytes"],
        ),
        (
            "new_spancontext",
            "cpu",
            &[(0, PERIOD)],
            &["0_process_cpu_cpu__nanoseconds"],
        ),
        (
            "object-allocation-sample",
            "alloc_space",
            &[(0, 1), (1, 1)],
            &["1_memory_alloc_sample_objects__count_alloc_sample_bytes__bytes"],
        ),
    ];
    for (file, kind, values, files) in cases {
        let decoded = recording(&corpus, file);
        let names: Vec<String> = files.iter().map(|name| format!("{file}_{name}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let theirs = expected(&folder, &names);
        assert_same(&format!("{file} {kind}"), &pick(found(&decoded, kind), values), &theirs);
    }
    let file = "object-allocation-sample";
    let theirs = expected(&folder, &[&format!("{file}_2_process_cpu_cpu__nanoseconds")]);
    let decoded = recording(&corpus, file);
    assert_same(file, &pick(found(&decoded, "cpu"), &[(0, PERIOD)]), &theirs);
    let wall = recording(&corpus, "wall_tick_sample");
    for (kind, name) in [
        ("wall", "0_wall_wall"),
        ("wall", "1_wall_wall"),
        ("cpu", "0_process_cpu_cpu"),
    ] {
        let theirs = expected(&folder, &[&format!("wall_tick_sample_{name}__nanoseconds")]);
        assert_same(kind, &pick(found(&wall, kind), &[(0, PERIOD)]), &theirs);
    }
}

#[test]
fn parks_are_those_that_pyroscope_finds_with_ticks_made_nanoseconds() {
    let Some(corpus) = testing::corpus() else { return };
    let folder = corpus.join("jfr/ext-expected");
    for file in ["dd-trace-java", "object-allocation-sample"] {
        let theirs = expected(
            &folder,
            &[&format!("{file}_0_block_contentions__count_delay__nanoseconds")],
        );
        let ours = found(&recording(&corpus, file), "park_duration");
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        for (stack, values) in &ours {
            let theirs = &theirs[stack];
            let nanos = theirs[1] as f64 / 1.8;
            assert_eq!(values[0], theirs[0], "{stack}");
            assert!((values[1] as f64 - nanos).abs() <= theirs[0] as f64, "{stack}");
        }
    }
}
