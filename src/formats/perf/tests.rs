use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::formats::any::decode_any;
use crate::formats::compress::Inflation;
use crate::formats::room::Unlimited;
use crate::formats::{DecodeError, Decoded, Fault, Format, Limit, Limits, collapsed, sniff};
use crate::profile::{Observations, Profile, Profiles, Value};
use crate::testing;

fn read(text: &str) -> Decoded {
    decode_within(text.as_bytes(), &Limits::default(), &Unlimited).unwrap_or_else(|error| panic!("{error}"))
}

fn error(text: &str, limits: &Limits) -> DecodeError {
    decode_within(text.as_bytes(), limits, &Unlimited)
        .map(|_| ())
        .unwrap_err()
}

fn profiles(decoded: &Decoded) -> Vec<&Profile> {
    decoded.profiles.iter().map(|at| at.profile).collect()
}

fn stacks(decoded: &Decoded, profile: &Profile) -> String {
    collapsed::encode(decoded.profiles.dictionary(), profile, 0, usize::MAX).unwrap()
}

fn types(decoded: &Decoded, profile: &Profile) -> Vec<(String, String)> {
    let text = |id| decoded.profiles.dictionary().str(id).to_owned();
    let types = profile.sample_types.iter().map(|of| (text(of.kind), text(of.unit)));
    types.collect()
}

/// Type and unit, as they are compared with.
fn of(types: &[(&str, &str)]) -> Vec<(String, String)> {
    let types = types
        .iter()
        .map(|(kind, unit)| ((*kind).to_owned(), (*unit).to_owned()));
    types.collect()
}

fn values(profile: &Profile) -> &[i64] {
    match &profile.samples.observations {
        Observations::Totals(values) => values,
        Observations::Series(_) => panic!("no series"),
    }
}

/// The labels of a sample as text.
fn labels(profiles: &Profiles, profile: &Profile, row: usize) -> BTreeMap<String, String> {
    let dictionary = profiles.dictionary();
    let of = dictionary.attributes_of(profile.samples.attributes[row]);
    let text = |value: &Value| match value {
        Value::String(id) => dictionary.str(*id).to_owned(),
        other => format!("{other:?}"),
    };
    of.map(|label| (dictionary.str(label.key).to_owned(), text(&label.value)))
        .collect()
}

const TEXT: &str = "\
# captured on    : Sat Nov 21 12:00:00 2026
# hostname : db-7.internal.example
# cmdline : /usr/bin/perf record --password=hunter2
shop 17/17 [001] 10.0: PERF_RECORD_MMAP2 17/17: [0x1000(0x1000) @ 0 00:00 0 0]: r-xp /srv/hidden
shop 17/17 [001] 10.1: PERF_RECORD_NAMESPACES 17/17 - nr_namespaces: 1
\t\t[0/net: 4/0xf0000098]

web 1: x 17/18 [001] 10.500000001:   100 cycles:u: 
\t    7f01 small+0x1 (inlined)
\t    7f01 mid+0x2 (inlined)
\t    7f01 work+0x20 (/srv/shop)
\t    7f09 main+0x9 (/srv/shop)

web 1: x 17/18 [000] 11.500000001:   300 cycles:u: 
\tffffffff81000130 entry+0x76 ([kernel.kallsyms])
\t    7f09 main+0x9 (/srv/shop)
\tffffffffffffffff [unknown] ([unknown])

shop 17/17 [001] 12.0:  2000000 cpu-clock: 
\t    49c0 [unknown] (/srv/shop)
  shop[49c0]
\t    7f09 main+0x9 (/srv/shop)
  src/main.rs:80

shop 17/17 [001] 12.0: sched:sched_switch: prev_comm=hidden prev_pid=17 ==> next_comm=other
\t    7f09 main (/srv/shop)

swapper 0/0 [000] 12.25: sched:sched_switch: prev_comm=hidden prev_pid=0
";

#[test]
fn each_event_is_a_profile_of_what_it_counts() {
    assert_eq!(sniff(TEXT.as_bytes()), Ok(Format::PerfScript));
    let decoded = read(TEXT);
    let [cycles, clock, switches] = profiles(&decoded)[..] else {
        panic!("three events")
    };
    assert_eq!(
        types(&decoded, cycles),
        of(&[("samples", "count"), ("cycles", "count")])
    );
    assert_eq!(
        types(&decoded, clock),
        of(&[("samples", "count"), ("cpu", "nanoseconds")])
    );
    assert_eq!(types(&decoded, switches), of(&[("samples", "count")]));
    assert_eq!(values(cycles), [1, 100, 1, 300]);
    assert_eq!(values(clock), [1, 2_000_000]);
    assert_eq!(values(switches), [1, 1]);
    assert_eq!((cycles.period, clock.period), (0, 2_000_000));
    assert_eq!(cycles.duration_nano, 1_749_999_999);
    let dictionary = decoded.profiles.dictionary();
    let Some(Value::String(event)) = dictionary.attribute(cycles.attributes, EVENT) else {
        panic!("an event")
    };
    assert_eq!(dictionary.str(*event), "cycles:u");
    assert_eq!(
        stacks(&decoded, cycles),
        "[unknown];main;entry 1\nmain;work;mid;small 1\n"
    );
    assert_eq!(stacks(&decoded, clock), "main;0x49c0 [shop] 1\n");
    assert_eq!(stacks(&decoded, switches), "[unknown] 1\nmain 1\n");
}

#[test]
fn threads_and_binaries_are_kept_and_nothing_beside_samples_is() {
    let decoded = read(TEXT);
    let all = profiles(&decoded);
    let expected = [
        ("process.pid", "Int(17)"),
        ("thread.id", "Int(18)"),
        ("thread.name", "web 1: x"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(labels(&decoded.profiles, all[0], 0), BTreeMap::from(expected));
    let dictionary = decoded.profiles.dictionary();
    let stack = &dictionary.stacks[all[0].samples.stacks[0]];
    assert_eq!(stack.len(), 2);
    assert_eq!(dictionary.lines[stack[0]].len(), 3);
    let leaf = dictionary.locations[stack[0]];
    assert_eq!(leaf.address, 0x7f01);
    assert_eq!(dictionary.str(dictionary.mappings[leaf.mapping].filename), "/srv/shop");
    let kind = |stack: usize, frame: usize| {
        let location = dictionary.stacks[all[0].samples.stacks[stack]][frame];
        dictionary.attribute(dictionary.locations[location].attributes, "profile.frame.type")
    };
    let Some(Value::String(kernel)) = kind(1, 0) else {
        panic!("a kind")
    };
    assert_eq!(dictionary.str(*kernel), "kernel");
    let main = dictionary.lines[dictionary.stacks[all[1].samples.stacks[0]][1]][0];
    assert_eq!(main.line, 80);
    assert_eq!(
        dictionary.str(dictionary.functions[main.function].filename),
        "src/main.rs"
    );
    for text in ["hidden", "hunter2", "internal", "sched_switch: ", "next_comm"] {
        let is_there = dictionary.strings.ids().any(|id| dictionary.str(id).contains(text));
        assert!(!is_there, "{text}");
    }
}

#[test]
fn fewer_parts_are_enough() {
    for (text, kind, values_of) in [
        ("shop 17 cycles:\n\t7f09 main (/srv/shop)\n", "samples", &[1][..]),
        ("shop 17 1.5:  7f09 main (/srv/shop)\n", "samples", &[1]),
        (
            "shop 17 5 cycles:\n\tmain\n\nshop 17 7 cycles:\n\tmain\n",
            "cycles",
            &[1, 5, 1, 7],
        ),
        ("  shop 17 1.5: 5 task-clock:u:\r\n\t7f09 main\r\n\r\n", "cpu", &[1, 5]),
    ] {
        let decoded = read(text);
        let [profile] = profiles(&decoded)[..] else {
            panic!("{text}")
        };
        assert_eq!(types(&decoded, profile).last().unwrap().0, kind, "{text}");
        assert_eq!(values(profile), values_of, "{text}");
        let expected = values_of.len() / profile.sample_types.len();
        assert_eq!(stacks(&decoded, profile), format!("main {expected}\n"), "{text}");
        assert_eq!(sniff(text.as_bytes()), Ok(Format::PerfScript), "{text}");
    }
}

#[test]
fn bad_lines_are_named_and_never_quoted() {
    let text = "shop 17 1.5: 5 cycles:\n\tmain\n\nsecret words\n";
    let bad = error(text, &Limits::default());
    assert_eq!((bad.offset, bad.fault), (Some(30), Fault::Malformed));
    assert!(bad.problem.starts_with("line 4:"), "{bad}");
    assert!(!bad.to_string().contains("secret"), "{bad}");
    assert_eq!(error("\tmain\n", &Limits::default()).offset, Some(0));
    assert_eq!(error("# nothing\n", &Limits::default()).fault, Fault::Malformed);
    for text in [
        "goroutine 1 [running]:\nmain.main()\n",
        "404 page not found",
        "error 12 here: x\n",
    ] {
        assert_ne!(sniff(text.as_bytes()), Ok(Format::PerfScript), "{text}");
    }
}

#[test]
fn what_tracepoints_say_is_no_record() {
    let text = "shop 17 [000] 1.5: sched:sched_wakeup: comm= PERF_RECORD_X pid=1\n\t7f main\n\n\
                shop 17 [000] 1.6: PERF_RECORD_COMM: shop:17/17\n";
    let decoded = read(text);
    assert_eq!(stacks(&decoded, profiles(&decoded)[0]), "main 1\n");
    assert_eq!(decoded.profiles.sample_count(), 1);
}

#[test]
fn limits_hold() {
    let limits = Limits {
        stack_depth: 3,
        elements: 8,
        string_bytes: 40,
        ..Limits::default()
    };
    let sample = |frames: usize| format!("shop 17 1.5: 5 cycles:\n{}\n", "\t7f main\n".repeat(frames));
    let fault = |text: &str| {
        let read = decode_within(text.as_bytes(), &limits, &Unlimited);
        read.map(|_| ()).map_err(|error| error.fault)
    };
    assert_eq!(fault(&sample(3)), Ok(()));
    assert_eq!(fault(&sample(4)), Err(Fault::TooLarge(Limit::StackDepth)));
    assert_eq!(fault(&sample(0).repeat(9)), Err(Fault::TooLarge(Limit::Elements)));
    let long = format!("{} 17 1.5: 5 cycles:\n", "x".repeat(40));
    assert_eq!(fault(&long), Err(Fault::TooLarge(Limit::String)));
}

#[test]
fn names_of_threads_are_bounded_as_all_labels_are() {
    let text = format!("{} 17 1.5: 5 cycles:\n\tmain\n", "x".repeat(5_000));
    let decoded = read(&text);
    let labels = labels(&decoded.profiles, profiles(&decoded)[0], 0);
    assert_eq!(labels["thread.name"], "__overflow__");
}

/// What the lines of samples say, read in another way than the decoder's.
fn told(text: &[u8]) -> (i128, i128) {
    let text = String::from_utf8_lossy(text);
    let periods = text.lines().filter_map(|line| {
        let before = line.strip_suffix(" cpu-clock: ")?;
        before.split_whitespace().next_back()?.parse::<i128>().ok()
    });
    periods.fold((0, 0), |(count, sum), period| (count + 1, sum + period))
}

#[test]
fn real_recordings_keep_their_sums() {
    let mut files = vec![("own", testing::data("planted-linux.perf.txt.gz"), 223)];
    let of_corpus = testing::corpus_file("other/rust-perf-dwarf.perf.txt.gz");
    files.extend(of_corpus.map(|bytes| ("rust-perf-dwarf", bytes, 1_260)));
    for (name, bytes, samples) in files {
        let plain = Inflation::new(&Limits::default())
            .unwrap_layers(bytes.clone().into())
            .unwrap();
        let read = decode_any(bytes.into(), &Limits::default()).unwrap();
        assert_eq!(read.format, Format::PerfScript, "{name}");
        let [profile] = profiles(&read.decoded)[..] else {
            panic!("{name}: one event")
        };
        let sums = (profile.samples.sum(0, 2), profile.samples.sum(1, 2));
        assert_eq!(sums, told(&plain), "{name}");
        assert_eq!(sums.0, samples, "{name}");
        assert_eq!(
            types(&read.decoded, profile)[1],
            ("cpu".to_owned(), "nanoseconds".to_owned()),
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn prop_any_text_is_read_or_told_why(text in "([a-c 0-9/:\\[\\].()\t\n#]|cycles: |\n\t7f a \\(b\\)\n|a 1 1.5: 3 c:\n){0,60}") {
        let _ = decode_within(text.as_bytes(), &Limits::default(), &Unlimited);
        let _ = is_script(text.as_bytes());
    }

    #[test]
    fn prop_sums_per_stack_survive(
        samples in proptest::collection::vec(("[a-c]{1,3}", proptest::collection::vec("[a-c]", 1..5), 0i64..1_000), 1..30)
    ) {
        let mut text = String::new();
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        for (thread, stack, period) in &samples {
            text += &format!("{thread} 7 1.5: {period} cycles:\n");
            for frame in stack {
                text += &format!("\t{frame}f1 f{frame}+0x1 (/srv/x)\n");
            }
            text.push('\n');
            let path: Vec<String> = stack.iter().rev().map(|frame| format!("f{frame}")).collect();
            *expected.entry(path.join(";")).or_default() += period;
        }
        let decoded = read(&text);
        let profile = profiles(&decoded)[0];
        let written = collapsed::encode(decoded.profiles.dictionary(), profile, 1, usize::MAX).unwrap();
        let expected: String = expected.iter().filter(|(_, sum)| **sum != 0).map(|(path, sum)| format!("{path} {sum}\n")).collect();
        prop_assert_eq!(written, expected);
    }
}
