//! Recordings of the JVM: what they are made of, and the sums of what becomes of their events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::Numbers;
use crate::formats::compress::Inflation;
use crate::formats::jfr::outline::Outline;
use crate::formats::jfr::{self, Options};
use crate::formats::room::Unlimited;
use crate::formats::{Decoded, Limits};
use crate::profile::{Dictionary, Profile, StackId, Value};
use crate::testing;

/// Sums that `totals.json` has no number for: file, type, what the JDK's own tool says of the file (`jfr print --json` of JDK 25; what
/// is in use by running through its `profiler.Malloc` and `profiler.Free` in the order of their times).
const JUDGED: &[(&str, &str, i128)] = &[
    ("jfr/ap-all.jfr", "malloc_inuse_bytes", 66_488),
    ("jfr/ap-all.jfr", "malloc_inuse_objects", 3),
    ("jfr/ap-jfrsync.jfr.gz", "old_space", 0),
    ("jfr/ap-nativemem.jfr.gz", "malloc_inuse_bytes", 1_406_508),
    ("jfr/ap-nativemem.jfr.gz", "malloc_inuse_objects", 49),
    ("jfr/ext-cpool-uint64-constant-index.jfr.gz", "old_space", 0),
    ("jfr/ext-dd-trace-java.jfr.gz", "old_space", 0),
    (
        "jfr/ext-event-with-type-zero.jfr.gz",
        "datadog_alloc_objects",
        349_869_854,
    ),
    (
        "jfr/ext-event-with-type-zero.jfr.gz",
        "datadog_alloc_space",
        13_015_205_709,
    ),
    ("jfr/ext-event-with-type-zero.jfr.gz", "old_space", 1_669_544),
    ("jfr/ext-nativemem.jfr.gz", "malloc_inuse_bytes", 17_619),
    ("jfr/ext-nativemem.jfr.gz", "malloc_inuse_objects", 32),
    ("jfr/ext-uint64-ref-id.jfr.gz", "old_space", 4_952_440),
    ("jfr/jdk11-profile.jfr.gz", "old_space", 0),
    ("jfr/jdk17-deep.jfr.gz", "old_space", 0),
    ("jfr/jdk17-multichunk.jfr.gz", "old_space", 0),
    ("jfr/jdk17-profile.jfr", "old_space", 0),
    ("jfr/jdk21-virtual.jfr.gz", "old_space", 57_771_672),
    ("jfr/jdk25-cputime.jfr", "old_space", 41_178_496),
    ("jfr/jdk25-methodtrace.jfr.gz", "method_time", 4_514_622_383),
    ("jfr/jdk25-methodtrace.jfr.gz", "old_space", 63_974_992),
    ("planted/planted-jdk17.jfr", "old_space", 0),
    ("planted/planted-jdk25-multichunk.jfr.gz", "old_space", 262_344),
];

/// A sum, and how far it may be off: times were summed before they were rounded, and ours are rounded one by one.
pub(super) type Sum = (i128, i128);
type Sums = BTreeMap<String, Sum>;

/// All sums by name: ours, and what it should be if somebody says that.
pub(super) fn sums(name: &str, total: &Json, decoded: &Decoded) -> Vec<(String, i128, Option<Sum>)> {
    let found = found(decoded, total);
    let expected = expected(name, total);
    let names: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let of = |name: &String| {
        (
            name.clone(),
            found.get(name).copied().unwrap_or_default(),
            expected.get(name).copied(),
        )
    };
    names.into_iter().map(of).collect()
}

/// What a recording is made of.
pub(super) fn outline(plain: &[u8]) -> Numbers {
    let outline = Outline::of(plain);
    let mut numbers: Numbers = [
        ("chunks", json!(outline.chunks)),
        ("checkpoints", json!(outline.checkpoints)),
        ("version", json!(outline.version)),
        ("file_state_first", json!(outline.state)),
        ("flags_first", json!(outline.flags[0])),
        ("flags_last", json!(outline.flags[1])),
        ("ticks_per_second", json!(outline.ticks_per_second)),
        ("max_frames", json!(outline.most_frames)),
        ("truncated_stacks", json!(outline.truncated_stacks)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    let events = outline.events.into_iter();
    numbers.extend(events.map(|(name, events)| (format!("events:{name}"), json!(events))));
    let constants = outline.constants.into_iter();
    numbers.extend(constants.map(|(name, constants)| (format!("pool:{name}"), json!(constants))));
    numbers
}

/// Sums of all values by the name of their type; `samples` go with the type beside them. Where each sample stands for one period, the
/// value must follow from the count. And how many samples have no stack, and which state they are in where one clock takes all.
fn found(decoded: &Decoded, total: &Json) -> BTreeMap<String, i128> {
    let d = decoded.profiles.dictionary();
    let of_execution = match (total["derived"]["jdk.ExecutionSample"].is_null(), has_better(total)) {
        (true, _) => "",
        (false, true) => "execution_samples",
        (false, false) => "cpu samples",
    };
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for at in decoded.profiles.iter() {
        let profile = at.profile;
        let types: Vec<&str> = profile.sample_types.iter().map(|of| d.str(of.kind)).collect();
        let sum = |column| profile.samples.sum(column, types.len());
        let name_of = |column: usize| match types[column] {
            "samples" => format!("{} samples", types[1]),
            name => name.to_owned(),
        };
        for column in 0..types.len() {
            let name = name_of(column);
            if column == 1 && profile.period > 0 {
                assert_eq!(sum(1), sum(0) * i128::from(profile.period), "{name}");
                continue;
            }
            let twice = sums.insert(name, sum(column));
            assert_eq!(twice, None, "a type twice");
        }
        for (row, stack) in profile.samples.stacks.iter().enumerate() {
            let samples = i128::from(profile.samples.total(row, 0, types.len()));
            if is_unknown(d, *stack) && !STACKS_UNTOLD.contains(&types[0]) {
                *sums.entry("samples without a stack".to_owned()).or_default() += samples;
            }
            let state = text(d, profile, row, "thread.state");
            let has_states = ["samples", "execution_samples", "native_samples"].contains(&types[0]);
            assert!(
                has_states || state.is_none(),
                "{}: a state that no event says",
                types[0]
            );
            if let Some(state) = state.filter(|_| name_of(0) == of_execution) {
                *sums.entry(format!("execution while {state}")).or_default() += samples;
            }
        }
    }
    sums
}

/// Types of events of which `totals.json` does not say how many have no stack.
const STACKS_UNTOLD: [&str; 6] = [
    "old_objects",
    "exceptions",
    "errors",
    "datadog_exceptions",
    "method_calls",
    "malloc_inuse_objects",
];

/// Whether something measures the same as `jdk.ExecutionSample` in a better way.
fn has_better(total: &Json) -> bool {
    ["jdk.CPUTimeSample", "datadog.ExecutionSample"]
        .iter()
        .any(|event| !total["events"][event].is_null())
}

fn is_unknown(d: &Dictionary, stack: StackId) -> bool {
    let frames = d.stacks[stack].iter();
    let names = frames.map(|location| d.str(d.functions[d.lines[*location][0].function].name));
    names.eq(["[unknown]"])
}

fn text<'d>(d: &'d Dictionary, profile: &Profile, row: usize, key: &str) -> Option<&'d str> {
    match d.attribute(profile.samples.attributes[row], key) {
        Some(Value::String(text)) => Some(d.str(*text)),
        _ => None,
    }
}

/// Events of which each is one sample with a value; names of the count and of the sum, field of the sum. Allocations that were sampled
/// have other names beside those by buffers.
const SIMPLE: &[(&str, [&str; 2], &str)] = &[
    (
        "jdk.ObjectAllocationInNewTLAB",
        ["alloc_objects", "alloc_space"],
        "tlabSize",
    ),
    (
        "jdk.ObjectAllocationOutsideTLAB",
        ["alloc_objects", "alloc_space"],
        "allocationSize",
    ),
    ("jdk.JavaMonitorEnter", ["contentions", "delay"], "duration_ns"),
    ("jdk.ThreadPark", ["park_count", "park_duration"], "duration_ns"),
    ("jdk.CPUTimeSample", ["cpu samples", "cpu"], "samplingPeriod_ns"),
    (
        "profiler.NativeLock",
        ["native_lock_count", "native_lock_time"],
        "duration_ns",
    ),
    ("profiler.Malloc", ["malloc_objects", "malloc_bytes"], "size"),
    (
        "profiler.LiveObject",
        ["inuse_objects", "inuse_space"],
        "allocationSize",
    ),
];

/// The sums that follow from the numbers of a file.
fn expected(name: &str, total: &Json) -> Sums {
    let derived = &total["derived"];
    let number = |event: &str, field: &str| i128::from(derived[event][field].as_i64().unwrap_or_default());
    let events = |event: &str| i128::from(total["events"][event].as_i64().unwrap_or_default());
    let mut sums = Sums::new();
    let mut add = |name: &str, sum: i128, rounding: i128| {
        let (all, off) = sums.entry(name.to_owned()).or_default();
        (*all, *off) = (*all + sum, *off + rounding);
    };
    for (event, [count, sum], field) in SIMPLE.iter().filter(|row| events(row.0) > 0) {
        let rounding = if field.ends_with("_ns") { events(event) + 1 } else { 0 };
        add(count, events(event), 0);
        add(sum, number(event, field), rounding);
    }
    let by_buffers = events("jdk.ObjectAllocationInNewTLAB") + events("jdk.ObjectAllocationOutsideTLAB") > 0;
    let sampled = if by_buffers {
        ["alloc_sample_objects", "alloc_sample_space"]
    } else {
        ["alloc_objects", "alloc_space"]
    };
    let errors = if events("jdk.JavaExceptionThrow") > 0 {
        "errors"
    } else {
        "exceptions"
    };
    let states = |event: &str| derived[event]["states"].as_object().cloned().unwrap_or_default();
    let running = |event: &str| -> i128 {
        let running = states(event).into_iter().filter(|(state, _)| state != "STATE_SLEEPING");
        running
            .map(|(_, events)| i128::from(events.as_i64().unwrap_or_default()))
            .sum()
    };
    let has_idle = states("jdk.ExecutionSample").contains_key("STATE_SLEEPING");
    let is_alone = events("profiler.WallClockSample") > 0 && events("jdk.ExecutionSample") == 0;
    for (name, sum) in [
        (sampled[0], events("jdk.ObjectAllocationSample")),
        (sampled[1], number("jdk.ObjectAllocationSample", "weight")),
        ("exceptions", events("jdk.JavaExceptionThrow")),
        (errors, events("jdk.JavaErrorThrow")),
        // the one recording that has them has errors too
        ("datadog_exceptions", events("datadog.ExceptionSample")),
        ("old_objects", events("jdk.OldObjectSample")),
        ("method_calls", events("jdk.MethodTrace")),
        ("native_samples", events("jdk.NativeMethodSample")),
        (
            if has_better(total) {
                "execution_samples"
            } else {
                "cpu samples"
            },
            running("jdk.ExecutionSample"),
        ),
        ("cpu samples", number("datadog.ExecutionSample", "weight")),
        ("wall samples", number("profiler.WallClockSample", "samples")),
        // where one clock samples all threads, running or not
        ("wall samples", if has_idle { events("jdk.ExecutionSample") } else { 0 }),
        (
            "cpu samples",
            if is_alone {
                running("profiler.WallClockSample")
            } else {
                0
            },
        ),
    ] {
        if sum > 0 {
            add(name, sum, 0);
        }
    }
    for (state, events) in states("jdk.ExecutionSample") {
        let state = state.trim_start_matches("STATE_").to_lowercase();
        if state != "sleeping" {
            add(
                &format!("execution while {state}"),
                events.as_i64().unwrap_or_default().into(),
                0,
            );
        }
    }
    let derived = derived.as_object().into_iter().flatten();
    for (_, of) in derived.filter(|(event, _)| *event != "profiler.Free") {
        if let Some(events) = of["no_stack"].as_i64() {
            add("samples without a stack", events.into(), 0);
        }
    }
    for (_, kind, sum) in JUDGED.iter().filter(|(file, ..)| *file == name) {
        add(kind, *sum, 0);
    }
    sums
}

#[test]
fn as_many_samples_have_a_context_as_say_one() {
    let Some(corpus) = testing::corpus() else { return };
    let file = |name: &str| {
        let stored = std::fs::read(corpus.join("jfr").join(name)).expect("a file");
        let plain = Inflation::new(&Limits::default()).unwrap_layers(stored.into());
        plain.expect("a file")
    };
    let totals: Json =
        serde_json::from_slice(&std::fs::read(corpus.join("totals.json")).expect("totals")).expect("totals");
    for (name, labels) in [
        ("ext-dump1.jfr.gz", "ext-dump1.labels.pb.gz"),
        ("ext-dump2.jfr.gz", "ext-dump2.labels.pb.gz"),
        ("ext-new_spancontext.jfr.gz", "ext-new_spancontext.labels.gz"),
    ] {
        let options = Options {
            labels: &file(labels),
            ..Options::default()
        };
        let decoded = jfr::decode_within(&file(name), &options, &Limits::default(), &Unlimited).expect("a recording");
        let d = decoded.profiles.dictionary();
        let (mut contexts, mut spans) = (0, 0);
        // one clock takes all samples: of those that wait too, in the profile of time
        let all = decoded.profiles.iter().map(|at| at.profile);
        let all = all.filter(|profile| matches!(d.str(profile.sample_types[1].kind), "cpu" | "wall"));
        let profile = all.max_by_key(|profile| profile.samples.sum(0, 2)).expect("samples");
        for (row, set) in profile.samples.attributes.iter().enumerate() {
            let samples = profile.samples.total(row, 0, 2);
            let is_context = |key: &str| !key.starts_with("thread.") && key != "profile_id";
            if d.attributes_of(*set).any(|label| is_context(d.str(label.key))) {
                contexts += samples;
            }
            if text(d, profile, row, "profile_id").is_some() {
                spans += samples;
            }
        }
        let said = &totals[format!("jfr/{name}")]["derived"]["jdk.ExecutionSample"];
        let said = ["nonzero_contextId", "nonzero_spanId"].map(|field| said[field].as_i64().unwrap_or_default());
        // older forks have the ids of spans among the labels, and not in the events
        let spans = if said[1] > 0 { spans } else { 0 };
        assert_eq!([contexts, spans], said, "{name}");
    }
}
