use proptest::prelude::*;

use super::*;
use crate::formats::any::decode_any;
use crate::formats::compress::Inflation;
use crate::formats::room::Unlimited;
use crate::formats::{Fault, Limit, any, sniff};
use crate::profile::{Profile, Profiles, Value};
use crate::testing;

fn read(bytes: &[u8]) -> Profiles {
    assert_eq!(sniff(bytes), Ok(Format::PprofLegacy));
    let decoded = decode_within(bytes, &Limits::default(), &Unlimited);
    decoded.unwrap_or_else(|error| panic!("{error}")).profiles
}

fn error(bytes: &[u8], limits: &Limits) -> DecodeError {
    decode_within(bytes, limits, &Unlimited).map(|_| ()).unwrap_err()
}

fn profile(profiles: &Profiles) -> &Profile {
    profiles.iter().next().expect("a profile").profile
}

/// Every type with its unit and sum.
fn sums(profiles: &Profiles) -> Vec<String> {
    let (dictionary, profile) = (profiles.dictionary(), profile(profiles));
    let types = profile.sample_types.len();
    let told = profile.sample_types.iter().enumerate().map(|(column, of)| {
        let sum = profile.samples.sum(column, types);
        format!("{}/{} {sum}", dictionary.str(of.kind), dictionary.str(of.unit))
    });
    told.collect()
}

/// The stacks of a profile, the leaf first: names where there are some, else addresses with their binaries.
fn stacks(profiles: &Profiles) -> Vec<String> {
    let dictionary = profiles.dictionary();
    let frame = |location: &crate::profile::LocationId| {
        let names = dictionary.lines[*location]
            .iter()
            .map(|line| dictionary.str(dictionary.functions[line.function].name));
        let names: Vec<&str> = names.collect();
        let row = dictionary.locations[*location];
        let binary = dictionary.str(dictionary.mappings[row.mapping].filename);
        match names.is_empty() {
            true => format!("{:x}{binary}", row.address),
            false => names.join("+"),
        }
    };
    let stack = |id: &crate::profile::StackId| dictionary.stacks[*id].iter().map(frame).collect::<Vec<_>>().join(" ");
    profile(profiles).samples.stacks.iter().map(stack).collect()
}

fn label(profiles: &Profiles, row: usize, key: &str) -> Option<String> {
    let dictionary = profiles.dictionary();
    let set = profile(profiles).samples.attributes[row];
    dictionary.attribute(set, key).map(|value| match value {
        Value::String(id) => dictionary.str(*id).to_owned(),
        Value::Int(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn goroutines_have_names_lines_and_labels() {
    let profiles = read(&testing::data("go123-goroutine-debug1.txt"));
    assert_eq!(sums(&profiles), ["goroutine/count 201"]);
    let stacks = stacks(&profiles);
    assert_eq!(stacks.len(), 11);
    assert_eq!(
        stacks[0],
        "46aced 4066fb 4062d1 main.main.func2 runtime/pprof.Do 472320"
    );
    assert_eq!(label(&profiles, 3, "pool").as_deref(), Some("idle-3"));
    assert_eq!(label(&profiles, 10, "pool"), None);
    let dictionary = profiles.dictionary();
    let main = dictionary
        .functions
        .rows()
        .iter()
        .find(|row| dictionary.str(row.name) == "main.main.func2")
        .unwrap();
    assert_eq!(dictionary.str(main.filename), "/srv/acme/goapp/main.go");
}

#[test]
fn heaps_of_go_stand_for_all_that_was_allocated() {
    let bytes = Inflation::new(&Limits::default())
        .unwrap_layers(testing::data("go123-heap-debug1.txt.gz").into())
        .unwrap();
    let profiles = read(&bytes);
    // as `go tool pprof` has it
    assert_eq!(
        sums(&profiles),
        [
            "alloc_objects/count 7793979",
            "alloc_space/bytes 3769700069",
            "inuse_objects/count 643",
            "inuse_space/bytes 2704726",
        ]
    );
    assert_eq!(
        (profile(&profiles).samples.len(), profile(&profiles).period),
        (214, 16_384)
    );
}

/// File, sums, samples and period, as `go tool pprof -raw` has them; it counts threads with the same stack as one sample.
type Told = (&'static str, &'static [&'static str], usize, i64);

const TOLD: &[Told] = &[
    (
        "ext-cppbench.contention",
        &["contentions/count 3500", "delay/nanoseconds 690508213"],
        6,
        100,
    ),
    (
        "ext-cppbench.cpu",
        &["samples/count 712", "cpu/nanoseconds 7120000000"],
        52,
        10000000,
    ),
    (
        "ext-cppbench.growth",
        &["objects/count 85", "space/bytes 178257920"],
        85,
        1,
    ),
    (
        "ext-cppbench.heap",
        &["objects/count 41063", "space/bytes 80935293"],
        31,
        524288,
    ),
    ("ext-cppbench.thread", &["thread/count 4"], 4, 1),
    (
        "ext-go.crc32.cpu",
        &["samples/count 211", "cpu/nanoseconds 2110000000"],
        69,
        10000000,
    ),
    ("ext-go.godoc.thread", &["threadcreate/count 7"], 7, 1),
    (
        "ext-gobench.cpu",
        &["samples/count 305", "cpu/nanoseconds 3050000000"],
        206,
        10000000,
    ),
    (
        "ext-gobench.heap",
        &[
            "alloc_objects/count 83134",
            "alloc_space/bytes 350314738",
            "inuse_objects/count 11445",
            "inuse_space/bytes 7721316",
        ],
        15,
        524288,
    ),
    (
        "ext-java.contention",
        &["contentions/count 700", "delay/microseconds 1900"],
        4,
        100,
    ),
    (
        "ext-java.cpu",
        &["samples/count 7", "cpu/nanoseconds 70000000"],
        8,
        10000000,
    ),
    (
        "ext-java.heap",
        &["inuse_objects/count 67347", "inuse_space/bytes 9968703"],
        7,
        0,
    ),
];

#[test]
fn the_corpus_has_the_sums_that_go_finds() {
    if testing::corpus().is_none() {
        return;
    }
    for (name, expected, samples, period) in TOLD {
        let bytes = testing::corpus_file(&format!("legacy-pprof/{name}")).unwrap();
        let read = decode_any(bytes.into(), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.format, Format::PprofLegacy, "{name}");
        let profiles = read.decoded.profiles;
        assert_eq!(sums(&profiles), *expected, "{name}");
        let profile = profile(&profiles);
        assert_eq!((profile.samples.len(), profile.period), (*samples, *period), "{name}");
    }
}

/// Words of a CPU profile as some machine writes them.
fn words(wide: bool, big: bool, words: &[u64]) -> Vec<u8> {
    let bytes = |word: &u64| match (wide, big) {
        (false, false) => (*word as u32).to_le_bytes().to_vec(),
        (false, true) => (*word as u32).to_be_bytes().to_vec(),
        (true, false) => word.to_le_bytes().to_vec(),
        (true, true) => word.to_be_bytes().to_vec(),
    };
    words.iter().flat_map(bytes).collect()
}

#[test]
fn words_of_every_machine_are_read() {
    let samples = [0, 3, 0, 10_000, 0, 3, 2, 0x1010, 0x2020, 1, 2, 0x1018, 0x3030, 0, 1, 0];
    let maps = b"1000-4000 r-xp 0 00:00 0 /srv/shop\n";
    for (wide, big) in [(false, false), (false, true), (true, false), (true, true)] {
        let profiles = read(&[&words(wide, big, &samples), &maps[..]].concat());
        assert_eq!(sums(&profiles), ["samples/count 4", "cpu/nanoseconds 40000000"]);
        assert_eq!(
            stacks(&profiles),
            ["1010/srv/shop 201f/srv/shop", "1018/srv/shop 302f/srv/shop"]
        );
        assert_eq!(profile(&profiles).period, 10_000_000);
    }
}

#[test]
fn frames_of_the_profiler_itself_are_taken_out() {
    // a handler below every leaf, and a leaf told twice
    let samples = [
        0, 3, 0, 1, 0, 1, 3, 0x10, 0x99, 0x20, 1, 4, 0x30, 0x99, 0x30, 0x40, 0, 1, 0,
    ];
    let profiles = read(&words(true, false, &samples));
    assert_eq!(stacks(&profiles), ["10 1f", "30 3f"]);
}

#[test]
fn threads_share_stacks_and_keep_their_names() {
    let text = b"--- threadz 1 ---\n\n\
        --- Thread 7f01 (name: main/14748) stack: ---\n  PC:  0x2010: Wait(int)\n  0x2021: main\n\
        --- Thread 7f02 (name: a b/14751) stack: ---\n  [same as previous thread]\n\
        --- Memory map: ---\n  00002000-00003000: /srv/shop\n";
    let profiles = read(text);
    assert_eq!(sums(&profiles), ["thread/count 2"]);
    assert_eq!(stacks(&profiles), ["Wait(int) main", "Wait(int) main"]);
    assert_eq!(label(&profiles, 1, "thread.name").as_deref(), Some("a b"));
    assert_eq!(label(&profiles, 1, "thread.id").as_deref(), Some("14751"));
}

#[test]
fn the_name_behind_several_addresses_is_that_of_the_last() {
    let name = "x".repeat(1 << 19);
    let text = format!(
        "--- Thread 7f01 (name: a/1) stack: ---\n  {}: {name}\n",
        "0x10 0x20 ".repeat(100)
    );
    let profiles = read(text.as_bytes());
    assert_eq!(profiles.dictionary().lines.items().len(), 1, "of the last");
    let long = format!("--- Thread 7f01 (name: a/1) stack: ---\n  0x1: {name}{name}x\n");
    assert_eq!(
        error(long.as_bytes(), &Limits::default()).fault,
        Fault::TooLarge(Limit::String)
    );
}

#[test]
fn binaries_without_frames_stay_and_the_main_binary_is_first() {
    let profiles = read(
        b"heap profile: 1: 8 [1: 8] @ heapprofile\n1: 8 [1: 8] @ 0x3010\n\nMAPPED_LIBRARIES:\n\
        00001000-00002000 r-xp 00000000 00:00 0 [vdso]\n\
        00002000-00003000 r-xp 00000000 00:00 0 /srv/shop\n\
        00003000-00004000 r-xp 00000000 00:00 0 /lib/libc.so.6\n",
    );
    let dictionary = profiles.dictionary();
    let list = profile(&profiles).mappings.iter();
    let files: Vec<&str> = list
        .map(|id| dictionary.str(dictionary.mappings[*id].filename))
        .collect();
    assert_eq!(files, ["/srv/shop", "[vdso]", "/lib/libc.so.6"]);
}

#[test]
fn waits_become_nanoseconds_of_all_waits() {
    let text = b"--- mutex:\ncycles/second=2000000000\nsampling period=5\n\
        4000 2 @ 0x11 0x21\n#\t0x10\tsync.Unlock+0x1\t/go/sync.go:3\n#\t0x20\tmain.main+0x2\t/srv/main.go:9\n";
    let profiles = read(text);
    assert_eq!(sums(&profiles), ["contentions/count 10", "delay/nanoseconds 10000"]);
    assert_eq!(stacks(&profiles), ["sync.Unlock main.main"]);
}

#[test]
fn functions_that_were_inlined_share_an_address_and_those_that_recurse_repeat_it() {
    let text = b"goroutine profile: total 2\n\
        1 @ 0x11 0x21\n#\t0x10\tsmall+0x1\ta.go:3\n#\t0x10\tbig+0x1\ta.go:9\n#\t0x20\tmain+0x1\ta.go:20\n\n\
        1 @ 0x31 0x31 0x21\n#\t0x30\tagain+0x1\ta.go:4\n#\t0x30\tagain+0x1\ta.go:4\n#\t0x20\tmain+0x1\ta.go:20\n";
    assert_eq!(stacks(&read(text)), ["small+big main", "again again main"]);
}

#[test]
fn stacks_of_java_are_numbers_with_a_list() {
    let text = b"--- heapz 1 ---\nformat = java\nresolution = bytes\n  524288 1 @ 0x4 0x3 0x9\n\n\
        \x20 0x3 com.example.main (Main.java:12)\n  0x4 com.example.work (Work.java:7)\n";
    let profiles = read(text);
    assert_eq!(sums(&profiles), ["inuse_objects/count 1", "inuse_space/bytes 829411"]);
    assert_eq!(stacks(&profiles), ["com.example.work com.example.main [unknown]"]);
    assert_eq!(label(&profiles, 0, "bytes").as_deref(), Some("524288"));
    let text = b"--- contentionz 1 ---\nformat = java\nresolution = microseconds\nsampling period = 100\n\
        ms since reset = 7\n 14 2 @ 0x3\n\n 0x3 GC\n";
    let profiles = read(text);
    assert_eq!(sums(&profiles), ["contentions/count 200", "delay/microseconds 1400"]);
    assert_eq!(profile(&profiles).duration_nano, 7_000_000);
}

#[test]
fn bad_bytes_are_named_and_never_quoted() {
    for (bytes, problem) in [
        (
            &b"heap profile: 1: 2 [3: 4] @ secret/1\n"[..],
            "line 1: no heading of a heap profile",
        ),
        (
            b"heap profile: 1: 2 [3: 4] @ heap/1\nsecret\n",
            "line 2: no sample of a heap",
        ),
        (
            b"heap profile: 1: 2 [3: 4] @ heap/1\n0: 7 [3: 4] @\n",
            "line 2: no sample of a heap",
        ),
        (b"heap profile: 1: 2 [3: 4] @ heap/1\n", "no sample in it"),
        (b"goroutine profile: total 2\nsecret\n", "line 2: no count with a stack"),
        (b"--- mutex:\nsecret\n", "line 2: no wait with a stack"),
        (b"--- threadz 1 ---\n", "no sample in it"),
    ] {
        let bad = error(bytes, &Limits::default());
        assert_eq!((bad.problem.as_str(), bad.fault), (problem, Fault::Malformed));
    }
    let cut = words(true, false, &[0, 3, 0, 1, 0, 1, 7, 0x10]);
    assert_eq!(error(&cut, &Limits::default()).offset, Some(64));
}

#[test]
fn limits_hold() {
    let limits = Limits {
        stack_depth: 3,
        elements: 5,
        ..Limits::default()
    };
    let fault = |bytes: &[u8]| {
        let read = decode_within(bytes, &limits, &Unlimited);
        read.map(|_| ()).map_err(|error| error.fault)
    };
    let text = |samples: &str| format!("x profile: total 1\n{samples}").into_bytes();
    assert_eq!(fault(&text("1 @ 0x1 0x2 0x3\n")), Ok(()));
    assert_eq!(
        fault(&text("1 @ 0x1 0x2 0x3 0x4\n")),
        Err(Fault::TooLarge(Limit::StackDepth))
    );
    assert_eq!(
        fault(&text(&"1 @ 0x1 0x2 0x3\n".repeat(2))),
        Err(Fault::TooLarge(Limit::Elements))
    );
    assert_eq!(fault(&text(&"1 @\n".repeat(6))), Err(Fault::TooLarge(Limit::Elements)));
    let thread = |lines: &str| format!("--- Thread 7f01 (name: a/1) stack: ---\n{lines}").into_bytes();
    assert_eq!(fault(&thread("0x1: a\n0x2 0x3\n")), Ok(()));
    assert_eq!(
        fault(&thread("0x1: a\n0x2 0x3 0x4: b\n")),
        Err(Fault::TooLarge(Limit::StackDepth))
    );
    let deep = words(true, false, &[0, 3, 0, 1, 0, 1, u64::MAX]);
    assert_eq!(fault(&deep), Err(Fault::TooLarge(Limit::StackDepth)));
}

#[test]
fn what_is_read_leaves_as_pprof_with_the_same_sums() {
    for name in ["go123-goroutine-debug1.txt", "go123-heap-debug1.txt.gz"] {
        let read = decode_any(testing::data(name).into(), &Limits::default()).unwrap();
        let pprof = any::encode(Format::Pprof, &read.decoded.profiles, usize::MAX).unwrap();
        let again = any::decode_as(Format::Pprof, &pprof, &Limits::default()).unwrap();
        assert_eq!(sums(&again.profiles), sums(&read.decoded.profiles), "{name}");
        let in_any_order = |profiles: &Profiles| {
            let mut stacks = stacks(profiles);
            stacks.sort();
            stacks
        };
        assert_eq!(
            in_any_order(&again.profiles),
            in_any_order(&read.decoded.profiles),
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn prop_any_text_is_read_or_told_why(
        heading in prop::sample::select(vec![
            "heap profile: 1: 2 [3: 4] @ heap/9\n", "x profile: total 1\n", "--- threadz 1 ---\n", "--- mutex:\n",
            "--- heapz 1 ---\n", "--- contentionz 1 ---\nformat = java\n",
        ]),
        text in "([a-c0-9x@:=#\\[\\]. \t\n-]|0x1|1 @ 0x2|MAPPED_LIBRARIES:\n|1000-2000 r-xp |--- Thread 1 \\(name: a/1\\) stack: ---\n){0,40}",
    ) {
        let _ = decode_within(format!("{heading}{text}").as_bytes(), &Limits::default(), &Unlimited);
    }

    #[test]
    fn prop_any_words_are_read_or_told_why(rest in proptest::collection::vec(any::<u8>(), 0..200), java in 0u64..2) {
        for (wide, big) in [(false, false), (true, true)] {
            let bytes = [words(wide, big, &[0, 3, java, 7, 0]), rest.clone()].concat();
            let _ = decode_within(&bytes, &Limits::default(), &Unlimited);
        }
    }
}
