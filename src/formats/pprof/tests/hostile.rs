//! Bytes that no profiler should send, each with its answer.

use prost::Message;

use super::oracle::{RawFunction, RawLine, RawLocation, RawMapping, RawProfile, RawSample, RawValueType};
use super::*;
use crate::formats::{DecodeError, Fault};

/// A profile of one sample of value 7 at location 1, in function 1, in mapping 1.
pub fn small() -> RawProfile {
    RawProfile {
        sample_type: vec![RawValueType { kind: 1, unit: 2 }],
        sample: vec![RawSample {
            location_id: vec![1],
            value: vec![7],
            label: Vec::new(),
        }],
        mapping: vec![RawMapping {
            id: 1,
            ..RawMapping::default()
        }],
        location: vec![RawLocation {
            mapping_id: 1,
            ..location(1, 1)
        }],
        function: vec![function(1, 1)],
        string_table: vec![Vec::new(), b"cpu".to_vec(), b"nanoseconds".to_vec()],
        ..RawProfile::default()
    }
}

pub fn location(id: u64, function_id: u64) -> RawLocation {
    RawLocation {
        id,
        line: vec![RawLine {
            function_id,
            line: 1,
            column: 0,
        }],
        ..RawLocation::default()
    }
}

pub fn function(id: u64, name: i64) -> RawFunction {
    RawFunction {
        id,
        name,
        ..RawFunction::default()
    }
}

fn changed(change: impl FnOnce(&mut RawProfile)) -> Vec<u8> {
    let mut raw = small();
    change(&mut raw);
    raw.encode_to_vec()
}

fn refused(bytes: &[u8], limits: &Limits) -> DecodeError {
    super::super::decode(bytes, limits).map(|_| ()).expect_err("refused")
}

#[test]
fn each_defect_has_its_error() {
    assert!(decode(&small().encode_to_vec()).exact);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("no string_table", changed(|p| p.string_table.clear())),
        ("string_table[0]", changed(|p| p.string_table[0] = b"x".to_vec())),
        ("samples without a sample_type", changed(|p| p.sample_type.clear())),
        ("a sample of 2 values", changed(|p| p.sample[0].value.push(1))),
        ("a sample of 0 values", changed(|p| p.sample[0].value.clear())),
        ("sample.location_id is 9", changed(|p| p.sample[0].location_id.push(9))),
        ("sample.location_id is 0", changed(|p| p.sample[0].location_id.push(0))),
        ("location.mapping_id is 8", changed(|p| p.location[0].mapping_id = 8)),
        (
            "line.function_id is 7",
            changed(|p| p.location[0].line[0].function_id = 7),
        ),
        ("function.name is string 3", changed(|p| p.function[0].name = 3)),
        (
            "function.name is string 18446744073709551615",
            changed(|p| p.function[0].name = -1),
        ),
        ("comment is string 5", changed(|p| p.comment.push(5))),
        ("doc_url is string 6", changed(|p| p.doc_url = 6)),
        // the first string behind the table is a key of our own
        (
            "doc_url is string 3",
            changed(|p| {
                p.location[0].is_folded = true;
                p.doc_url = 3;
            }),
        ),
        ("location.id is 0", changed(|p| p.location.push(location(0, 1)))),
        ("mapping.id is 0", changed(|p| p.mapping.push(RawMapping::default()))),
        (
            "function.id is 0 for some",
            changed(|p| p.function.push(function(0, 1))),
        ),
        (
            "function.id is 0 for some",
            changed(|p| p.function.insert(0, function(0, 1))),
        ),
        (
            "function.id is 0 for all",
            changed(|p| p.function = vec![function(0, 1); 2]),
        ),
        ("an id that an earlier", changed(|p| p.location.push(location(1, 1)))),
        (
            "an id that an earlier",
            changed(|p| p.function = [5, 1, 5].map(|id| function(id, 1)).to_vec()),
        ),
        ("an id that an earlier", changed(|p| p.mapping.push(p.mapping[0]))),
        ("wrong wire type", [small().encode_to_vec(), vec![0x10, 1]].concat()),
        ("wrong wire type", [small().encode_to_vec(), vec![0x4a, 0]].concat()),
        ("past the end", [small().encode_to_vec(), vec![0x12, 0x7f]].concat()),
    ];
    for (problem, bytes) in cases {
        let error = refused(&bytes, &Limits::default());
        assert!(error.problem.contains(problem), "{problem}: {error}");
        assert_eq!(error.fault, Fault::Malformed, "{error}");
        assert!(error.offset.is_some(), "{error}");
    }
}

#[test]
fn errors_name_the_byte() {
    let bytes = changed(|p| p.sample[0].location_id.push(9));
    let place = refused(&bytes, &Limits::default()).offset.expect("a place");
    assert_eq!(bytes[place], 9);
}

#[test]
fn profiles_written_one_behind_the_other_are_refused() {
    let dressed = |time, period, kind| {
        changed(|p| {
            p.time_nanos = time;
            p.period = period;
            p.period_type = Some(RawValueType { kind, unit: 2 });
        })
    };
    let first = dressed(5, 6, 1);
    for second in [dressed(4, 6, 1), dressed(5, 7, 1), dressed(5, 6, 2)] {
        let error = refused(&[first.clone(), second].concat(), &Limits::default());
        assert!(error.problem.contains("several profiles in one"), "{error}");
    }
}

#[test]
fn limits_are_kept() {
    type Tighten = fn(&mut Limits);
    let cases: [(&str, Tighten, Vec<u8>); 6] = [
        (
            "3 sample",
            |l| l.elements = 3,
            changed(|p| p.sample = vec![p.sample[0].clone(); 4]),
        ),
        (
            "values",
            |l| l.elements = 3,
            changed(|p| {
                p.sample_type = vec![p.sample_type[0]; 2];
                p.sample[0].value = vec![1, 2];
                p.sample = vec![p.sample[0].clone(); 2];
            }),
        ),
        (
            "frames",
            |l| l.elements = 3,
            changed(|p| p.sample[0].location_id = vec![1; 4]),
        ),
        ("3 comment", |l| l.elements = 3, changed(|p| p.comment = vec![1; 4])),
        (
            "stack of more than 5",
            |l| l.stack_depth = 5,
            changed(|p| p.sample[0].location_id = vec![1; 6]),
        ),
        (
            "more than 20 bytes",
            |l| l.string_bytes = 20,
            changed(|p| p.string_table.push(vec![b'x'; 21])),
        ),
    ];
    for (problem, tighten, bytes) in cases {
        let mut limits = Limits::default();
        decode(&bytes);
        tighten(&mut limits);
        let error = refused(&bytes, &limits);
        assert!(error.problem.contains(problem), "{problem}: {error}");
        assert!(matches!(error.fault, Fault::TooLarge(_)), "{error}");
    }
}

#[test]
fn ids_may_be_any_numbers() {
    let huge = u64::MAX;
    let bytes = changed(|p| {
        p.mapping[0].id = huge;
        p.function = vec![function(7, 2), function(1, 1), function(huge - 1, 1)];
        p.location = vec![location(1, 7), location(huge, 1), location(3, huge - 1)];
        p.location[1].mapping_id = huge;
        p.sample[0].location_id = vec![huge, 3, 1];
    });
    let decoded = decode(&bytes);
    assert!(decoded.exact);
    let expected = RawProfile::read(&bytes).meaning();
    assert_eq!(super::oracle::of_model(&decoded), expected);
    assert_eq!(RawProfile::read(&encoded(&decoded)).meaning(), expected);
}

#[test]
fn build_ids_are_told_apart() {
    for (id, kind) in [("5f0e", "gnu"), ("a/b/c/d", "go")] {
        let bytes = changed(|p| {
            p.string_table.push(id.into());
            p.mapping[0].build_id = 3;
        });
        let decoded = decode(&bytes);
        let dictionary = decoded.profiles.dictionary();
        let attributes = dictionary.mappings.rows()[1].attributes;
        let key = format!("process.executable.build_id.{kind}");
        assert!(dictionary.attribute(attributes, &key).is_some(), "{key}");
        assert_eq!(dictionary.attribute_sets[attributes].len(), 1);
    }
}

#[test]
fn what_is_mended_is_counted() {
    for change in [
        (|p: &mut RawProfile| p.time_nanos = -1) as fn(&mut RawProfile),
        |p| p.duration_nanos = -1,
        |p| p.string_table[1] = vec![b'a', 0xff],
    ] {
        let decoded = decode(&changed(change));
        assert_eq!(decoded.repairs, 1);
        assert!(!decoded.exact);
    }
}

#[test]
fn bytes_outside_the_model_are_not_exact() {
    let bytes = small().encode_to_vec();
    let cases: Vec<Vec<u8>> = vec![
        // an unknown field, a singular field twice, an unknown field in a sample
        [bytes.clone(), vec![0xa2, 6, 1, b'x']].concat(),
        [bytes.clone(), vec![0x50, 1, 0x50, 2]].concat(),
        [bytes, vec![0x12, 9, 0x0a, 1, 1, 0x12, 1, 7, 0x22, 1, b'x']].concat(),
        changed(|p| p.string_table.push(b"orphan".to_vec())),
        changed(|p| p.function.push(function(2, 1))),
        changed(|p| p.location.push(location(2, 1))),
        changed(|p| {
            p.sample[0].label = vec![super::oracle::RawLabel {
                key: 1,
                text: 1,
                num: 1,
                num_unit: 0,
            }];
        }),
    ];
    for bytes in cases {
        let decoded = decode(&bytes);
        assert!(!decoded.exact);
        assert_eq!(decoded.repairs, 0);
        assert!(decode(&encoded(&decoded)).exact);
    }
}
