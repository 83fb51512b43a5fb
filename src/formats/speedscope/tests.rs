use proptest::prelude::*;

use super::*;
use crate::formats::room::tests::Counted;
use crate::formats::{DecodeError, Decoded, Fault, Limit, Limits, collapsed};
use crate::profile::Value;
use crate::testing;

fn read(json: &[u8]) -> Decoded {
    decode(json, &Limits::default()).expect("a speedscope file")
}

fn error(json: &str) -> DecodeError {
    decode(json.as_bytes(), &Limits::default()).expect_err("a bad file")
}

/// A file with the frames a, b, c and the given profiles.
fn file(profiles: &str) -> String {
    format!(
        r#"{{"profiles":[{profiles}],"shared":{{"frames":[{{"name":"a","file":"x.c","line":3}},{{"name":"b"}},{{"name":"c"}}]}}}}"#
    )
}

/// Type, unit and sum of each profile.
fn sums(decoded: &Decoded) -> Vec<(String, String, i128)> {
    let dictionary = decoded.profiles.dictionary();
    let sum = |profile: &crate::profile::Profile| {
        let types = profile.sample_types.len();
        let column = |(column, t): (usize, &crate::profile::ValueType)| {
            (
                dictionary.str(t.kind).to_owned(),
                dictionary.str(t.unit).to_owned(),
                profile.samples.sum(column, types),
            )
        };
        profile.sample_types.iter().enumerate().map(column).collect::<Vec<_>>()
    };
    decoded.profiles.iter().flat_map(|one| sum(one.profile)).collect()
}

fn stacks(decoded: &Decoded) -> String {
    let profile = decoded.profiles.iter().next().expect("a profile").profile;
    collapsed::encode(decoded.profiles.dictionary(), profile, 0, usize::MAX).expect("type 0")
}

fn wall(sum: i128) -> (String, String, i128) {
    ("wall".into(), "nanoseconds".into(), sum)
}

#[test]
fn sampled_profiles_are_read() {
    let json = file(
        r#"{"type":"sampled","name":"t1","unit":"seconds","samples":[[0,1],[0],[]],"weights":[0.01,2,0.5]},
           {"type":"sampled","name":"t2","unit":"milliseconds","samples":[[0,1]],"weights":[3]},
           {"type":"sampled","name":"","unit":"bytes","samples":[[2]],"weights":[7]},
           {"type":"sampled","unit":"none","samples":[],"weights":[]}"#,
    );
    let decoded = read(json.as_bytes());
    let expected = [
        wall(2_513_000_000),
        ("space".into(), "bytes".into(), 7),
        ("samples".into(), "count".into(), 0),
    ];
    assert_eq!(sums(&decoded), expected);
    assert_eq!(stacks(&decoded), "[unknown] 500000000\na 2000000000\na;b 13000000\n");

    let dictionary = decoded.profiles.dictionary();
    let samples = &decoded.profiles.iter().next().expect("a profile").profile.samples;
    let name = dictionary.attribute(samples.attributes[3], PROFILE_NAME);
    let Some(Value::String(name)) = name else {
        panic!("{name:?}")
    };
    assert_eq!(dictionary.str(*name), "t2");
    let root = dictionary.lines[dictionary.stacks[samples.stacks[1]][0]][0];
    assert_eq!(root.line, 3);
    assert_eq!(dictionary.str(dictionary.functions[root.function].filename), "x.c");
}

#[test]
fn evented_profiles_are_read() {
    let json = file(
        r#"{"type":"evented","unit":"microseconds","startValue":5,"endValue":20,"events":[
            {"type":"O","at":5,"frame":0},{"type":"O","at":6.5,"frame":1},{"type":"C","at":8,"frame":1},
            {"type":"C","at":9,"frame":0},{"type":"O","at":12,"frame":2},{"type":"O","at":13,"frame":1},
            {"type":"C","at":14,"frame":1}]}"#,
    );
    assert_eq!(stacks(&read(json.as_bytes())), "a 2500\na;b 1500\nc 7000\nc;b 1000\n");
}

#[test]
fn fractions_add_up() {
    let weights = ["0.3"; 10].join(",");
    let samples = ["[0]"; 10].join(",");
    let json = file(&format!(
        r#"{{"type":"sampled","unit":"none","samples":[{samples}],"weights":[{weights}]}}"#
    ));
    assert_eq!(stacks(&read(json.as_bytes())), "a 3\n");
}

#[test]
fn bad_files_say_why_and_quote_nothing() {
    let sampled = |inside: &str| error(&file(&format!(r#"{{"type":"sampled","unit":"none",{inside}}}"#)));
    let evented = |events: &str| {
        error(&file(&format!(
            r#"{{"type":"evented","unit":"none","events":[{events}]}}"#
        )))
    };
    assert!(sampled(r#""samples":[[3]],"weights":[1]"#).problem.contains("outside"));
    assert!(sampled(r#""samples":[[0]],"weights":[]"#).problem.contains("length"));
    assert!(
        sampled(r#""samples":[[0]],"weights":[1e30]"#)
            .problem
            .contains("64 bits")
    );
    assert!(evented(r#"{"type":"C","at":1,"frame":0}"#).problem.contains("closes"));
    let back = evented(r#"{"type":"O","at":2,"frame":0},{"type":"C","at":1,"frame":0}"#);
    assert!(back.problem.contains("back in time"));
    assert!(
        error(&file(r#"{"type":"other","unit":"none"}"#))
            .problem
            .contains("neither")
    );
    assert!(
        error(&file(r#"{"type":"sampled","unit":"parsecs"}"#))
            .remedy
            .contains("seconds")
    );
    assert!(error(&file("")).problem.contains("no profile"));

    let wrong = error("{\"profiles\":[],\n\"shared\":\"secret\"}");
    assert!(!wrong.to_string().contains("secret"), "{wrong}");
    assert!(wrong.offset > Some(15), "{wrong}");
    assert!(error("{\"profiles\":[").problem.contains("cut short"));
}

#[test]
fn limits_hold() {
    let json = file(r#"{"type":"sampled","unit":"none","samples":[[0,1,2],[0]],"weights":[1,1]}"#);
    let fault = |limits: Limits| {
        decode(json.as_bytes(), &limits)
            .map_err(|error| error.fault)
            .map(|_| ())
    };
    let usual = Limits::default();
    assert_eq!(fault(Limits { elements: 4, ..usual }), Ok(()));
    assert_eq!(
        fault(Limits { elements: 3, ..usual }),
        Err(Fault::TooLarge(Limit::Elements))
    );
    assert_eq!(
        fault(Limits {
            stack_depth: 2,
            ..usual
        }),
        Err(Fault::TooLarge(Limit::StackDepth))
    );
    assert_eq!(
        fault(Limits {
            string_bytes: 2,
            ..usual
        }),
        Err(Fault::TooLarge(Limit::String))
    );
}

/// One frame opens and closes on top of a deep stack, many times: quadratic decoders take minutes.
#[test]
fn many_profiles_of_different_types_are_counted_and_stay_cheap() {
    let different = |count: usize| {
        let one = |i| format!(r#"{{"type":"sampled","name":"{i}","unit":"none","samples":[],"weights":[]}}"#);
        let profiles: Vec<String> = (0..count).map(one).collect();
        let ours = format!("{{\"exporter\":\"flamegate@1\",{}", &file(&profiles.join(","))[1..]);
        ours.into_bytes()
    };
    let few = Limits {
        elements: 10,
        ..Limits::default()
    };
    assert!(decode(&different(10), &few).is_ok());
    let fault = decode(&different(11), &few).map(|_| ()).map_err(|error| error.fault);
    assert_eq!(fault, Err(Fault::TooLarge(Limit::Elements)));

    let (json, room) = (different(60_000), Counted::new(usize::MAX));
    let started = std::time::Instant::now();
    let decoded = decode_within(&json, &Limits::default(), &room).expect("a speedscope file");
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    assert_eq!(decoded.profiles.profile_count(), 60_000);
    let (asked, held) = (room.used.get(), decoded.profiles.heap_bytes());
    assert!(asked >= 2 * held, "asked for {asked}, holds {held}");
}

#[test]
fn events_on_a_deep_stack_stay_cheap() {
    let mut events: Vec<_> = (0..10_000)
        .map(|at| format!(r#"{{"type":"O","at":{at},"frame":0}}"#))
        .collect();
    for at in 0..50_000 {
        let (open, close) = (10_000 + 2 * at, 10_001 + 2 * at);
        events.push(format!(
            r#"{{"type":"O","at":{open},"frame":1}},{{"type":"C","at":{close},"frame":1}}"#
        ));
    }
    let events = format!(r#"{{"type":"evented","unit":"none","events":[{}]}}"#, events.join(","));
    let limits = Limits {
        elements: 64 << 20,
        ..Limits::default()
    };
    let decoded = decode(file(&events).as_bytes(), &limits).expect("a deep stack");
    assert_eq!(sums(&decoded), [("samples".into(), "count".into(), 109_999)]);
}

#[test]
fn what_is_written_reads_the_same() {
    let decoded = read(&testing::data("py-spy-native.speedscope.json"));
    let dictionary = decoded.profiles.dictionary();
    let profile = decoded.profiles.iter().next().expect("a profile").profile;
    let json = encode(dictionary, profile, usize::MAX).expect("a speedscope file");
    let again = read(&json);
    assert_eq!(sums(&again), sums(&decoded));
    assert_eq!(stacks(&again), stacks(&decoded));
    let value: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(value["$schema"], SCHEMA);
    assert_eq!(value["exporter"], EXPORTER);
    assert_eq!(
        value["profiles"][0]["endValue"],
        serde_json::json!(sums(&decoded)[0].2 as i64)
    );
}

/// What the published schema and speedscope itself ask of a file of sampled profiles.
fn assert_valid(name: &str, file: &serde_json::Value) {
    let is_number = |value: &serde_json::Value| value.is_number();
    assert_eq!(file["$schema"], SCHEMA, "{name}");
    assert!(file["name"].is_string() && file["exporter"].is_string(), "{name}");
    let frames = file["shared"]["frames"].as_array().expect(name);
    for frame in frames {
        assert!(frame["name"].is_string(), "{name}");
        let object = frame.as_object().expect(name);
        assert!(object.get("file").is_none_or(serde_json::Value::is_string), "{name}");
        let places = ["line", "col"].map(|key| object.get(key));
        assert!(places.into_iter().flatten().all(is_number), "{name}");
    }
    let profiles = file["profiles"].as_array().expect(name);
    let shown = file["activeProfileIndex"].as_u64().expect(name);
    assert!((shown as usize) < profiles.len(), "{name}");
    const UNITS: [&str; 6] = [
        "none",
        "nanoseconds",
        "microseconds",
        "milliseconds",
        "seconds",
        "bytes",
    ];
    for profile in profiles {
        assert_eq!(profile["type"], "sampled", "{name}");
        assert!(profile["name"].is_string(), "{name}");
        assert!(UNITS.contains(&profile["unit"].as_str().expect(name)), "{name}");
        assert!(
            is_number(&profile["startValue"]) && is_number(&profile["endValue"]),
            "{name}"
        );
        let (samples, weights) = (profile["samples"].as_array(), profile["weights"].as_array());
        let (samples, weights) = (samples.expect(name), weights.expect(name));
        assert_eq!(samples.len(), weights.len(), "{name}");
        let known = |frame: &serde_json::Value| frame.as_u64().is_some_and(|frame| (frame as usize) < frames.len());
        let is_stack = |stack: &serde_json::Value| stack.as_array().is_some_and(|stack| stack.iter().all(known));
        assert!(samples.iter().all(is_stack), "{name}");
        let weights = weights.iter().map(|weight| weight.as_u64().expect(name));
        assert_eq!(Some(weights.sum::<u64>()), profile["endValue"].as_u64(), "{name}");
    }
}

#[test]
fn what_is_written_follows_the_published_schema() {
    for name in [
        "py-spy-native.speedscope.json",
        "py-spy-threads.collapsed",
        "go123-heap.pb.gz",
        "rust-cpu.pb.gz",
        "rust-jemalloc-heap.pb.gz",
        "node20-cpu.cpuprofile",
        "ap-wall.jfr.gz",
        "planted-linux.perf.txt.gz",
        "go123-goroutine-debug1.txt",
    ] {
        let read = crate::formats::any::decode_any(testing::data(name).into(), &Limits::default()).expect(name);
        let profiles = read.decoded.profiles;
        for at in profiles.iter() {
            let json = encode(profiles.dictionary(), at.profile, usize::MAX).expect(name);
            assert_valid(name, &serde_json::from_slice(&json).expect(name));
        }
    }
}

#[test]
fn negative_values_are_not_written() {
    let mut decoded = read(file(r#"{"type":"sampled","unit":"bytes","samples":[[0]],"weights":[-1]}"#).as_bytes());
    decoded.profiles.compact();
    let profile = decoded.profiles.iter().next().expect("a profile").profile;
    assert!(encode(decoded.profiles.dictionary(), profile, usize::MAX).is_err());
}

#[test]
fn real_recordings_keep_their_sums() {
    // sums worked out by hand from `weights`, and for the evented file from `at`
    let expected = [
        (
            "ext-simple.speedscope.json",
            vec![("samples".into(), "count".into(), 14)],
        ),
        ("ext-duplicates.speedscope.json", vec![wall(42_000_000_000)]),
        ("ext-two-sampled.speedscope.json", vec![wall(28_000_000_000)]),
        (
            "ext-two-sampled-bytes.speedscope.json",
            vec![("space".into(), "bytes".into(), 28)],
        ),
    ];
    for (name, sum) in expected {
        let Some(json) = testing::corpus_file(&format!("other/{name}")) else {
            return;
        };
        assert_eq!(sums(&read(&json)), sum, "{name}");
    }
    let decoded = read(&testing::data("py-spy-native.speedscope.json"));
    assert_eq!(decoded.profiles.sample_count(), 2_003);
    assert_eq!(sums(&decoded), [wall(10_015_000_000)]);
}

proptest! {
    #[test]
    fn prop_any_bytes_decode_or_say_why(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &Limits::default());
    }

    #[test]
    fn prop_damaged_files_decode_or_say_why(at: prop::sample::Index, byte: u8) {
        let mut json = file(
            r#"{"type":"evented","unit":"seconds","endValue":9,"events":[{"type":"O","at":1.5,"frame":0}]},
               {"type":"sampled","unit":"bytes","samples":[[0,1],[2]],"weights":[1,2]}"#,
        )
        .into_bytes();
        let at = at.index(json.len());
        json[at] = byte;
        let _ = decode(&json, &Limits::default());
    }

    #[test]
    fn prop_whole_weights_survive(weights in proptest::collection::vec(1i64..1 << 40, 1..20)) {
        let samples = vec!["[0,1,2]"; weights.len()].join(",");
        let json = file(&format!(r#"{{"type":"sampled","unit":"bytes","samples":[{samples}],"weights":{weights:?}}}"#));
        let sum: i64 = weights.iter().sum();
        prop_assert_eq!(stacks(&read(json.as_bytes())), format!("a;b;c {sum}\n"));
    }
}
