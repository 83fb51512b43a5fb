//! Chunks as nobody should write them: whatever they say, an answer comes soon and takes little memory.

use super::writer::Value;
use super::writer::*;
use super::*;
use crate::formats::room::tests::Counted;
use crate::formats::{DecodeError, Limit};
use How::{List, Plain};
use Value::{Byte, Int, Long, Text};

/// A chunk with one stack of two frames, one thread and three samples: one as it should be, one of a stack and one of a thread that
/// there is not.
fn chunk(compressed: bool) -> Chunk {
    let mut chunk = Chunk::new(compressed);
    let v = |values: &[Value<'_>]| Chunk::new(compressed).values(values);
    let symbols = [
        (1, v(&[Text("com/acme/Main")])),
        (2, v(&[Text("main")])),
        (1 << 40, v(&[Text("work")])),
    ];
    let methods = [(1, v(&[Long(7), Long(2)])), (2, v(&[Long(7), Long(1 << 40)]))];
    let stacks = [(
        5,
        v(&[Byte(0), Int(2), Long(2), Int(42), Long(1), Int(u32::MAX.into())]),
    )];
    let threads = [(3, v(&[Text("worker")]))];
    chunk.metadata(TYPES);
    for (thread, stack) in [(3, 5), (3, 6), (4, 5)] {
        chunk.event(SAMPLE, &v(&[Long(1), Long(thread), Long(stack)]));
    }
    // types that nobody described, and metadata in the stream
    chunk.event(999, b"whatever").event(0, b"").event(1, b"");
    chunk.checkpoint(
        0,
        &[
            (SYMBOL, &symbols),
            (CLASS, &[(7, v(&[Long(1)]))]),
            (METHOD, &methods),
            (STACK, &stacks),
            (THREAD, &threads),
        ],
    );
    chunk
}

fn decoded(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    decode(bytes, &Limits::default())
}

fn told(decoded: &Decoded) -> Vec<String> {
    let d = decoded.profiles.dictionary();
    let profile = decoded.profiles.iter().next().expect("a profile").profile;
    let mut rows = Vec::new();
    for (row, stack) in profile.samples.stacks.iter().enumerate() {
        let frames = d.stacks[*stack].iter().map(|location| {
            let line = d.lines[*location][0];
            format!("{}:{}", d.str(d.functions[line.function].name), line.line)
        });
        let frames: Vec<String> = frames.collect();
        let thread = d.attribute(profile.samples.attributes[row], "thread.name");
        let thread = match thread {
            Some(crate::profile::Value::String(name)) => d.str(*name),
            _ => "-",
        };
        rows.push(format!("{thread} {}", frames.join(" ")));
    }
    rows
}

#[test]
fn both_forms_of_numbers_and_all_versions_say_the_same() {
    let expected = [
        "worker com.acme.Main.work:42 com.acme.Main.main:0",
        "worker [unknown]:0",
        "- com.acme.Main.work:42 com.acme.Main.main:0",
    ];
    for compressed in [true, false] {
        for version in [1, 2] {
            let mut chunk = chunk(compressed);
            chunk.version = version;
            let decoded = decoded(&chunk.finish()).expect("a chunk");
            assert_eq!(told(&decoded), expected);
            assert_eq!((decoded.rejected.profiles, decoded.repairs), (0, 0));
        }
    }
}

#[test]
fn numbers_mean_something_in_their_own_chunk_only() {
    let mut other = Chunk::new(true);
    other.metadata(TYPES);
    let payload = other.values(&[Long(1), Long(3), Long(5)]);
    other.event(SAMPLE, &payload).checkpoint(0, &[]);
    let both = [chunk(true).finish(), other.finish()].concat();
    let rows = told(&decoded(&both).expect("two chunks"));
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[3], "- [unknown]:0");
}

#[test]
fn what_is_damaged_costs_its_chunk_only() {
    let (good, mut bad) = (chunk(true).finish(), chunk(true).finish());
    let at = good.len();
    // the first event after the metadata has no size
    let events = bad
        .windows(2)
        .rposition(|pair| pair == [SAMPLE as u8, 1])
        .expect("a sample")
        - 4;
    bad[events..events + 4].copy_from_slice(&[0x80, 0x80, 0x80, 0]);
    let read = decoded(&[good.clone(), bad, good.clone()].concat()).expect("two chunks");
    assert_eq!(read.rejected.profiles, 1);
    let first = read.rejected.first.expect("a reason");
    assert!(first.offset.is_some_and(|offset| offset > at), "{first}");
    // what follows no chunk is no chunk
    let read = decoded(&[&good[..], b"rest"].concat()).expect("a chunk");
    assert_eq!(read.rejected.profiles, 1);
    for cut in 1..good.len() {
        assert!(decoded(&good[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn chains_of_checkpoints_end() {
    for back in [1, i64::MAX, i64::MIN, -1, -60] {
        let mut chunk = Chunk::new(true);
        chunk.metadata(TYPES).checkpoint(back, &[]);
        assert!(decoded(&chunk.finish()).is_err(), "{back}");
    }
    // one that is its own successor's
    let mut chunk = Chunk::new(true);
    chunk.metadata(TYPES);
    let first = chunk.bytes.len() as i64;
    chunk.checkpoint(0, &[]);
    let second = chunk.bytes.len() as i64;
    chunk.checkpoint(first - second, &[]);
    assert!(decoded(&chunk.finish()).is_ok());
}

#[test]
fn texts_that_stand_for_each_other_end() {
    let mut chunk = Chunk::new(true);
    chunk.metadata(TYPES);
    let sample = chunk.values(&[Long(1), Long(3), Long(5)]);
    chunk.event(SAMPLE, &sample);
    // text 1 is text 2, and that is text 1; the thread is named by them
    chunk.checkpoint(
        0,
        &[
            (STRING, &[(1, vec![2, 2]), (2, vec![2, 1])]),
            (THREAD, &[(3, vec![2, 1])]),
        ],
    );
    assert_eq!(told(&decoded(&chunk.finish()).expect("a chunk")), ["- [unknown]:0"]);
}

#[test]
fn types_within_types_end() {
    let around: &[Type<'_>] = &[
        (LONG, "long", &[]),
        (40, "a", &[("b", 41, Plain)]),
        (41, "b", &[("a", 40, List)]),
    ];
    let mut chunk = Chunk::new(true);
    chunk.metadata(around).checkpoint(0, &[]);
    let error = decoded(&chunk.finish()).expect_err("a cycle");
    assert_eq!(error.fault, Fault::TooLarge(Limit::Depth));
    // eight times as many at each level
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let fields: Vec<Vec<(&str, u64, How)>> = (0..7).map(|level| vec![("x", 41 + level, List); 40]).collect();
    let mut types: Vec<Type<'_>> = fields
        .iter()
        .zip(names)
        .zip(40..)
        .map(|((of, name), id)| (id, name, &of[..]))
        .collect();
    types.push((47, "long", &[]));
    let mut chunk = Chunk::new(true);
    chunk.metadata(&types).checkpoint(0, &[]);
    let error = decoded(&chunk.finish()).expect_err("too many");
    assert_eq!(error.fault, Fault::TooLarge(Limit::Elements));
}

#[test]
fn types_of_nothing_end() {
    // forty fields of the type below at each of seven levels, and nothing at the bottom
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let fields: Vec<Vec<(&str, u64, How)>> = (0..7).map(|level| vec![("x", 41 + level, Plain); 40]).collect();
    let levels = fields.iter().zip(names).zip(40..);
    let mut types: Vec<Type<'_>> = levels.map(|((of, name), id)| (id, name, &of[..])).collect();
    types.push((47, "nothing", &[]));
    let mut chunk = Chunk::new(true);
    chunk.metadata(&types).checkpoint(0, &[]);
    let error = decoded(&chunk.finish()).expect_err("too many");
    assert_eq!(error.fault, Fault::TooLarge(Limit::Elements));
}

#[test]
fn checkpoints_do_not_lie_in_each_other() {
    let newer = |back: i64| {
        let mut alone = Chunk::new(true);
        alone.bytes.clear();
        alone.checkpoint(back, &[]).bytes.clone()
    };
    // all negative numbers are of one length
    let len = newer(-1).len();
    let mut chunk = Chunk::new(true);
    let around = chunk.metadata(TYPES).bytes.len();
    let text = [vec![3, len as u8], vec![0; len]].concat();
    chunk.checkpoint(0, &[(STRING, &[(1, text)])]);
    let within = chunk.bytes.len() - len;
    chunk.bytes[within..].copy_from_slice(&newer(around as i64 - within as i64));
    let mut bytes = chunk.finish();
    bytes[16..24].copy_from_slice(&(within as u64).to_be_bytes());
    assert!(decoded(&bytes).is_err());
}

#[test]
fn long_texts_are_not_read_for_each_that_names_them() {
    let long = "x".repeat(100_000);
    let methods: Vec<(u64, Vec<u8>)> = {
        let v = Chunk::new(true);
        (1..=2_000).map(|id| (id, v.values(&[Long(0), Long(1)]))).collect()
    };
    let mut chunk = Chunk::new(true);
    chunk.metadata(TYPES);
    let frames: Vec<Value<'_>> = methods.iter().flat_map(|(id, _)| [Long(*id), Int(1)]).collect();
    let mut stack = chunk.values(&[Byte(0), Int(methods.len() as u64)]);
    stack.extend(chunk.values(&frames));
    let sample = chunk.values(&[Long(1), Long(0), Long(5)]);
    chunk.event(SAMPLE, &sample);
    let symbol = chunk.values(&[Text(&long)]);
    chunk.checkpoint(
        0,
        &[(SYMBOL, &[(1, symbol)]), (METHOD, &methods), (STACK, &[(5, stack)])],
    );
    let limits = Limits {
        stack_depth: 4_000,
        ..Limits::default()
    };
    let error = decode(&chunk.finish(), &limits).expect_err("too much text");
    assert_eq!(error.fault, Fault::TooLarge(Limit::Decompressed));
}

#[test]
fn lists_of_nothing_end() {
    let types: &[Type<'_>] = &[(40, "nothing", &[]), (41, "list", &[("of", 40, List)])];
    let mut chunk = Chunk::new(true);
    let many = chunk.values(&[Int(i32::MAX as u64)]);
    chunk.metadata(types).checkpoint(0, &[(41, &[(1, many)])]);
    assert!(decoded(&chunk.finish()).is_ok());
}

#[test]
fn stacks_are_as_deep_as_the_limit_and_no_deeper() {
    let limits = Limits {
        stack_depth: 2,
        ..Limits::default()
    };
    let bytes = chunk(true).finish();
    assert!(decode(&bytes, &limits).is_ok());
    let shallow = Limits {
        stack_depth: 1,
        ..limits
    };
    let error = decode(&bytes, &shallow).expect_err("too deep");
    assert_eq!(error.fault, Fault::TooLarge(Limit::StackDepth));
    let short = Limits {
        string_bytes: 5,
        ..Limits::default()
    };
    let error = decode(&bytes, &short).expect_err("too long");
    assert_eq!(error.fault, Fault::TooLarge(Limit::String));
}

#[test]
fn many_constants_are_paid_for() {
    let mut chunk = Chunk::new(true);
    let constants: Vec<(u64, Vec<u8>)> = (0..100_000).map(|number| (number, vec![0])).collect();
    chunk.metadata(TYPES).checkpoint(0, &[(SYMBOL, &constants)]);
    let bytes = chunk.finish();
    let room = Counted::new(1 << 20);
    let options = Options::default();
    let error = decode_within(&bytes, &options, &Limits::default(), &room).expect_err("no room");
    assert!(matches!(error.fault, Fault::NoRoom(_)), "{error}");
    assert_eq!(room.used.get(), 0, "all of it is given back");
    let room = Counted::new(1 << 26);
    decode_within(&bytes, &options, &Limits::default(), &room).expect("a chunk");
    assert!(room.used.get() < 1 << 20, "a chunk is forgotten");
}

#[test]
fn what_an_error_says_is_no_payload() {
    let mut bytes = chunk(true).finish();
    bytes.truncate(200);
    let error = decoded(&bytes).expect_err("cut").to_string();
    assert!(
        error.starts_with("jfr: ") && error.contains("at byte") && !error.contains("acme"),
        "{error}"
    );
}
