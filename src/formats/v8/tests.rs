use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::formats::any::{decode_any, decode_as, encode_one};
use crate::formats::room::Unlimited;
use crate::formats::{DecodeError, Fault, Format, Limit, Limits, frames, sniff};
use crate::profile::Profiles;
use crate::testing;

/// Sums by stack (root first), of one sample type of the only profile.
type Sums = BTreeMap<String, i64>;

fn sums(profiles: &Profiles, kind: &str) -> Sums {
    let dictionary = profiles.dictionary();
    let mut sums = Sums::new();
    for at in profiles.iter() {
        let types = &at.profile.sample_types;
        let column = types
            .iter()
            .position(|of| dictionary.str(of.kind) == kind)
            .expect("the type");
        for (row, stack) in at.profile.samples.stacks.iter().enumerate() {
            let names = frames::root_first(dictionary, *stack).map(|(at, line)| frames::name(dictionary, at, line));
            let path = names.collect::<Vec<_>>().join(";");
            *sums.entry(path).or_default() += at.profile.samples.total(row, column, types.len());
        }
    }
    sums
}

fn read(format: Format, json: &Json) -> Profiles {
    let text = json.to_string();
    assert_eq!(sniff(text.as_bytes()), Ok(format));
    let decoded = decode_as(format, text.as_bytes(), &Limits::default());
    decoded.unwrap_or_else(|error| panic!("{error}")).profiles
}

fn error(format: Format, json: &Json) -> DecodeError {
    let text = json.to_string();
    let decoded = decode_as(format, text.as_bytes(), &Limits::default());
    decoded.map(|_| ()).expect_err("a bad file")
}

fn of(entries: &[(&str, i64)]) -> Sums {
    entries.iter().map(|(path, sum)| ((*path).to_owned(), *sum)).collect()
}

fn frame(name: &str) -> Json {
    let meta = name.starts_with('(');
    json!({"functionName": name, "scriptId": "0", "url": if meta { "" } else { "file:///srv/app.js" },
           "lineNumber": if meta { -1 } else { 0 }, "columnNumber": if meta { -1 } else { 4 }})
}

fn cpu(deltas: &Json) -> Json {
    json!({
        "nodes": [
            {"id": 1, "callFrame": frame("(root)"), "hitCount": 0, "children": [2, 4]},
            {"id": 2, "callFrame": frame("main"), "hitCount": 1, "children": [3]},
            {"id": 3, "callFrame": frame("work"), "hitCount": 2},
            {"id": 4, "callFrame": frame("(idle)"), "hitCount": 1},
        ],
        "startTime": 1000, "endTime": 1100,
        "samples": [2, 3, 4, 3],
        "timeDeltas": deltas,
    })
}

#[test]
fn a_sample_lasts_until_the_next_one() {
    let profiles = read(Format::CpuProfile, &cpu(&json!([10, 20, 30, 5])));
    assert_eq!(
        sums(&profiles, "samples"),
        of(&[("main", 1), ("main;work", 2), ("(idle)", 1)])
    );
    assert_eq!(
        sums(&profiles, "wall"),
        of(&[("main", 20_000), ("main;work", 30_000 + 35_000), ("(idle)", 5_000)])
    );
    let dictionary = profiles.dictionary();
    let profile = profiles.iter().next().unwrap().profile;
    assert_eq!((profile.duration_nano, profile.time_unix_nano), (100_000, 0));
    assert_eq!(profile.period, 30_000);
    let idle: Vec<_> = profile
        .samples
        .attributes
        .iter()
        .map(|set| dictionary.attribute(*set, "thread.state"))
        .collect();
    assert_eq!(idle.iter().filter(|state| state.is_some()).count(), 1);
    let main = dictionary
        .functions
        .rows()
        .iter()
        .find(|row| dictionary.str(row.name) == "main")
        .unwrap();
    assert_eq!((dictionary.str(main.filename), main.start_line), ("/srv/app.js", 1));
}

#[test]
fn times_that_go_back_are_put_in_order() {
    let profiles = read(Format::CpuProfile, &cpu(&json!([10, 40, -20, 5])));
    // node 2 at 1010, 4 at 1030, 3 at 1035 and 1050
    assert_eq!(
        sums(&profiles, "wall"),
        of(&[("main", 20_000), ("(idle)", 5_000), ("main;work", 65_000)])
    );
}

#[test]
fn without_times_or_samples_all_last_as_long() {
    let mut file = cpu(&Json::Null);
    let even = of(&[("main", 25_000), ("main;work", 50_000), ("(idle)", 25_000)]);
    assert_eq!(sums(&read(Format::CpuProfile, &file), "wall"), even);
    file["samples"] = Json::Null;
    assert_eq!(sums(&read(Format::CpuProfile, &file), "wall"), even);
    assert_eq!(
        sums(&read(Format::CpuProfile, &file), "samples"),
        of(&[("main", 1), ("main;work", 2), ("(idle)", 1)])
    );
}

#[test]
fn the_first_generation_is_a_tree_of_seconds_and_lines_from_one() {
    let file = json!({
        "typeId": "CPU", "uid": "1", "title": "Profile 1",
        "head": {"functionName": "(root)", "url": "", "lineNumber": 0, "callUID": 1, "hitCount": 0, "children": [
            {"functionName": "main", "url": "/srv/app.js", "lineNumber": 7, "hitCount": 1, "children": [
                {"functionName": "", "url": "/srv/app.js", "lineNumber": 9, "hitCount": 3, "children": [], "id": 3}
            ], "id": 2}
        ], "id": 1},
        "startTime": 12.5, "endTime": 12.9,
        "samples": [2, 3, 3, 3],
        "timestamps": [500_000, 600_000, 700_000, 800_000],
    });
    let profiles = read(Format::CpuProfile, &file);
    assert_eq!(
        sums(&profiles, "wall"),
        of(&[("main", 100_000_000), ("main;(anonymous)", 300_000_000)])
    );
    let dictionary = profiles.dictionary();
    let lines: Vec<i64> = dictionary.functions.rows().iter().map(|row| row.start_line).collect();
    assert!(lines.contains(&7) && lines.contains(&9), "{lines:?}");
}

#[test]
fn a_heap_is_what_is_in_use() {
    let file = json!({"head": {"callFrame": frame("(root)"), "selfSize": 0, "id": 1, "children": [
        {"callFrame": frame("main"), "selfSize": 100, "id": 2, "children": [
            {"callFrame": frame("work"), "selfSize": 23, "id": 3, "children": []}]}]},
        "samples": [{"size": 100, "nodeId": 2, "ordinal": 1}]});
    let profiles = read(Format::HeapProfile, &file);
    assert_eq!(sums(&profiles, "inuse_space"), of(&[("main", 100), ("main;work", 23)]));
}

#[test]
fn trees_of_any_depth_have_an_end() {
    let deep = |depth: usize| {
        let open = r#"{"callFrame":{"functionName":"f","url":"a.js","lineNumber":1},"selfSize":1,"children":["#;
        format!("{{\"head\":{}{}}}", open.repeat(depth), "]}".repeat(depth))
    };
    let limits = Limits::default();
    let read = |depth| decode_heap(deep(depth).as_bytes(), &limits, &Unlimited).map_err(|error| error.fault);
    let profiles = read(1000).expect("deep, and allowed").profiles;
    assert_eq!(sums(&profiles, "inuse_space").values().sum::<i64>(), 1000);
    assert_eq!(read(100_000).map(|_| ()), Err(Fault::TooLarge(Limit::StackDepth)));
}

#[test]
fn a_trace_gives_its_profiles_by_thread() {
    let chunk = |nodes: Json, samples: Json, deltas: Json| {
        json!({"args": {"data": {"cpuProfile": {"nodes": nodes, "samples": samples}, "timeDeltas": deltas}},
               "cat": "disabled-by-default-v8.cpu_profiler", "id": "0x1", "name": "ProfileChunk", "ph": "P", "pid": 7, "tid": 9, "ts": 1})
    };
    let events = json!([
        {"args": {"name": "CrRendererMain"}, "cat": "__metadata", "name": "thread_name", "ph": "M", "pid": 7, "tid": 8, "ts": 0},
        {"args": {"data": {"url": "https://acme.example/secret", "startTime": 5}}, "name": "ResourceSendRequest", "ph": "I", "pid": 7, "tid": 8, "ts": 0},
        {"args": {"data": {"startTime": 1000}}, "id": "0x1", "name": "Profile", "ph": "P", "pid": 7, "tid": 8, "ts": 1},
        chunk(json!([{"id": 1, "callFrame": frame("(root)")}, {"id": 2, "parent": 1, "callFrame": frame("main")}]), json!([2]), json!([10])),
        chunk(json!([{"id": 3, "parent": 2, "callFrame": frame("work")}]), json!([3, 2]), json!([20, 30])),
    ]);
    let short = Limits {
        label_value_bytes: 8,
        ..Limits::default()
    };
    let bounded = decode_as(Format::ChromeTrace, events.to_string().as_bytes(), &short).expect("a trace");
    assert_eq!(bounded.overflows.values, 1, "the name of the thread");
    for file in [json!({"metadata": {"a": [1]}, "traceEvents": events}), events.clone()] {
        let text = file.to_string();
        let profiles = decode_as(Format::ChromeTrace, text.as_bytes(), &Limits::default())
            .expect("a trace")
            .profiles;
        assert_eq!(sums(&profiles, "wall"), of(&[("main", 20_000), ("main;work", 30_000)]));
        let dictionary = profiles.dictionary();
        let named = dictionary
            .attributes
            .rows()
            .iter()
            .any(|row| dictionary.str(row.key) == "thread.name");
        assert!(named && !format!("{dictionary:?}").contains("acme.example"));
    }
    assert_eq!(sniff(events.to_string().as_bytes()), Ok(Format::ChromeTrace));
}

#[test]
fn what_is_wrong_is_told() {
    let told = |file: &Json| error(Format::CpuProfile, file).to_string();
    let mut stray = cpu(&json!([1, 1, 1, 1]));
    stray["samples"] = json!([2, 3, 4, 9]);
    assert!(told(&stray).contains("a node that is not there"));
    let mut circle = cpu(&json!([1, 1, 1, 1]));
    circle["nodes"][2]["children"] = json!([2]);
    assert!(told(&circle).contains("circle"));
    assert!(told(&json!({"nodes": {}})).contains("something else than a list"));
    assert!(told(&json!({"startTime": 1})).contains("no node"));
    assert!(
        error(Format::ChromeTrace, &json!([{"ph": "X", "name": "Task"}]))
            .to_string()
            .contains("no profile")
    );
    let snapshot = sniff(br#"{"snapshot":{"meta":{}},"nodes":[],"strings":["a secret"]}"#);
    assert!(snapshot.unwrap_err().to_string().contains("every string"));
    let cut = cpu(&Json::Null).to_string();
    let cut = decode_cpu(&cut.as_bytes()[..cut.len() - 9], &Limits::default(), &Unlimited).unwrap_err();
    assert!(cut.to_string().contains("cut short") && cut.offset.is_some(), "{cut}");
}

#[test]
fn real_recordings_keep_their_sums() {
    let Some(corpus) = testing::corpus() else { return };
    for (name, samples) in [
        ("other/node20-cpu.cpuprofile", 1761),
        ("planted/planted-node20.cpuprofile", 3860),
    ] {
        let text = std::fs::read(corpus.join(name)).expect("a recording");
        let json: Json = serde_json::from_slice(&text).expect("JSON");
        let read = decode_any(text.into(), &Limits::default()).expect("a recording");
        assert_eq!(read.format, Format::CpuProfile, "{name}");
        let profiles = read.decoded.profiles;
        assert_eq!(sums(&profiles, "samples").values().sum::<i64>(), samples, "{name}");
        let first = json["timeDeltas"][0].as_i64().unwrap();
        let whole = json["endTime"].as_i64().unwrap() - json["startTime"].as_i64().unwrap() - first;
        assert_eq!(sums(&profiles, "wall").values().sum::<i64>(), whole * 1000, "{name}");
    }
    for name in ["other/node20-heap.heapprofile", "planted/planted-node20.heapprofile"] {
        let text = std::fs::read(corpus.join(name)).expect("a recording");
        let json: Json = serde_json::from_slice(&text).expect("JSON");
        let read = decode_any(text.into(), &Limits::default()).expect("a recording");
        fn bytes(node: &Json) -> i64 {
            node["selfSize"].as_i64().unwrap() + node["children"].as_array().unwrap().iter().map(bytes).sum::<i64>()
        }
        let sum = sums(&read.decoded.profiles, "inuse_space").values().sum::<i64>();
        assert_eq!(sum, bytes(&json["head"]), "{name}");
    }
    let text = std::fs::read(corpus.join("other/py-spy-gil.chrometrace.json.gz")).expect("a recording");
    let read = decode_any(text.into(), &Limits::default()).expect("a recording");
    assert_eq!(read.format, Format::ChromeTrace);
    assert!(sums(&read.decoded.profiles, "wall").values().sum::<i64>() > 1_000_000_000);
}

/// Ticks of code, which V8's own tool writes with much beside them.
fn ticks() -> Json {
    json!({
        "code": [
            {"name": "/usr/lib/libc.so.6", "type": "SHARED_LIB"},
            {"name": "uv_run", "type": "CPP"},
            {"name": "work file:///srv/app.js:3:13", "type": "JS", "kind": "Unopt", "func": 0, "source": {"script": 0}},
            {"name": "ArrayMap", "type": "CODE", "kind": "Builtin"},
            {"name": "work file:///srv/app.js:3:13", "type": "JS", "kind": "Opt", "func": 0},
        ],
        "functions": [{"name": "work file:///srv/app.js:3:13", "codes": [2, 4]}],
        "ticks": [
            {"tm": 1000, "vm": 0, "s": [3, 17, 2, 5, 1, 9]},
            {"tm": 2000, "vm": 0, "s": [4, 17, 1, 9]},
            {"tm": 3000, "vm": 1, "s": [2, 17, 1, 9]},
            {"tm": 5500, "vm": 6, "s": [-1, 19295192]},
            {"tm": 6500, "vm": 5, "s": [0, 40]},
        ],
        "scripts": [{"url": "file:///srv/app.js", "source": "const secret = 'hunter2'"}],
    })
}

#[test]
fn ticks_last_to_the_next_one() {
    let profiles = read(Format::V8Prof, &ticks());
    let expected = [
        ("uv_run;work;ArrayMap", 1_000_000),
        ("uv_run;work", 1_000_000),
        ("uv_run;work;(garbage collector)", 2_500_000),
        ("[unknown]", 1_000_000),
        ("[libc.so.6]", 1_000_000),
    ];
    assert_eq!(sums(&profiles, "wall"), of(&expected));
    assert_eq!(sums(&profiles, "samples"), of(&expected.map(|(path, _)| (path, 1))));
    let profile = profiles.iter().next().unwrap().profile;
    assert_eq!((profile.duration_nano, profile.period), (6_500_000, 1_000_000));
    let dictionary = profiles.dictionary();
    let work = dictionary
        .functions
        .rows()
        .iter()
        .find(|row| dictionary.str(row.name) == "work")
        .unwrap();
    assert_eq!((dictionary.str(work.filename), work.start_line), ("/srv/app.js", 3));
    assert!(!format!("{dictionary:?}").contains("hunter2"));
    assert!(
        error(Format::V8Prof, &json!({"code": [], "ticks": []}))
            .to_string()
            .contains("no tick")
    );
}

#[test]
fn logs_of_node_keep_their_ticks() {
    let read = decode_any(testing::data("node20.v8prof.json.gz").into(), &Limits::default()).unwrap();
    assert_eq!(read.format, Format::V8Prof);
    let profiles = read.decoded.profiles;
    // as counted in the file by another program
    let samples = sums(&profiles, "samples");
    let holding = |frame: &str| -> i64 {
        let holding = samples
            .iter()
            .filter(|(path, _)| path.split(';').any(|name| name == frame));
        holding.map(|(_, count)| count).sum()
    };
    assert_eq!((samples.values().sum::<i64>(), holding("fib")), (303, 45));
    assert_eq!(holding("(garbage collector)"), 28);
    assert_eq!(sums(&profiles, "wall").values().sum::<i64>(), (622_767 + 1_110) * 1_000);
}

#[test]
fn out_and_in_keeps_stacks_and_totals() {
    for name in ["go123-heap.pb.gz", "rust-cpu.pb.gz", "py-spy-native.speedscope.json"] {
        let profiles = decode_any(testing::data(name).into(), &Limits::default())
            .unwrap()
            .decoded
            .profiles;
        let at = profiles.iter().next().unwrap();
        for (column, of) in at.profile.sample_types.iter().enumerate() {
            let written = encode_one(Format::CpuProfile, profiles.dictionary(), at, column, 64 << 20).expect(name);
            let again = decode_any(written.into(), &Limits::default()).expect(name);
            assert_eq!(again.format, Format::CpuProfile);
            let kind = profiles.dictionary().str(of.kind);
            let mut one = profiles.clone();
            one.edit_resources().truncate(1);
            one.edit_resources()[0].scopes.truncate(1);
            one.edit_resources()[0].scopes[0].profiles.truncate(1);
            let mut expected = sums(&one, kind);
            expected.retain(|_, sum| *sum != 0);
            assert_eq!(sums(&again.decoded.profiles, kind), expected, "{name} {kind}");
        }
    }
}

proptest! {
    #[test]
    fn prop_any_json_decodes_or_says_why(at in 0usize..2000, byte in any::<u8>()) {
        for (format, file) in [
            (Format::CpuProfile, cpu(&json!([1, 2, 3, 4])).to_string()),
            (Format::V8Prof, ticks().to_string()),
            (Format::HeapProfile, json!({"head": {"callFrame": frame("f"), "selfSize": 3, "children": []}}).to_string()),
            (Format::ChromeTrace, json!([{"ph": "B", "cat": "py-spy", "name": "f", "ts": 1, "tid": 2}, {"ph": "E", "cat": "py-spy", "name": "f", "ts": 3, "tid": 2}]).to_string()),
        ] {
            let mut bytes = file.into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode_as(format, &bytes, &Limits::default());
            let _ = decode_as(format, &bytes[..at], &Limits::default());
        }
    }
}

#[test]
fn equal_leaves_far_from_the_root_are_only_so_many() {
    let chain = 1..=400_u64;
    let mut nodes: Vec<Json> = chain
        .clone()
        .map(|id| json!({"id": id, "callFrame": frame("deep"), "hitCount": 0, "children": [id + 1]}))
        .collect();
    let leaves: Vec<u64> = (401..=430).collect();
    nodes[399]["children"] = json!(leaves);
    nodes.extend(
        leaves
            .iter()
            .map(|id| json!({"id": id, "callFrame": frame("leaf"), "hitCount": 1})),
    );
    let file = json!({"nodes": nodes, "startTime": 0, "endTime": 9, "samples": [], "timeDeltas": []}).to_string();
    let read = |elements| {
        let limits = Limits {
            elements,
            ..Limits::default()
        };
        decode_as(Format::CpuProfile, file.as_bytes(), &limits).map(|_| ())
    };
    assert!(read(4_000).is_ok());
    let error = read(2_000).unwrap_err();
    assert!(error.to_string().contains("too far from their roots"), "{error}");
}
