//! Versions before 1.10: one small profile written as each release has it.

use std::sync::Arc;

use proptest::prelude::*;

use super::told::by_model;
use super::*;
use crate::formats::Fault;
use crate::formats::wire::Writer;
use crate::profile::{Dictionary, Observations, Profile};
use WireVersion::{V1_7, V1_8, V1_9, V1_10};

/// Leaves the first attribute of every sample and, where shapes mix, the total of every sample.
pub fn make_simple(dictionary: &mut Dictionary, profile: &mut Profile) {
    let types = profile.sample_types.len();
    let samples = Arc::make_mut(&mut profile.samples);
    for set in &mut samples.attributes {
        let first: Vec<_> = dictionary.attribute_sets[*set].iter().take(1).copied().collect();
        *set = dictionary.attribute_sets.push(&first);
    }
    if let Observations::Series(_) = &samples.observations {
        let totals = (0..samples.len()).map(|row| samples.total(row, 0, types)).collect();
        samples.observations = Observations::Totals(totals);
    }
}

const STRINGS: [&str; 11] = [
    "",
    "cpu",
    "nanoseconds",
    "main",
    "/bin/shop",
    "thread.name",
    "size",
    "bytes",
    "a comment",
    "pprof.profile.comment.0",
    "pprof.mapping.has_functions",
];
const ID: [u8; 16] = [7; 16];
const TRACE: [u8; 16] = [1; 16];
const SPAN: [u8; 8] = [2; 8];

/// What a sample of the small profile holds.
#[derive(Clone, Debug)]
struct Sample {
    attributes: Vec<u64>,
    link: bool,
    values: Vec<i64>,
    timestamps: Vec<u64>,
}

fn samples() -> Vec<Sample> {
    vec![
        Sample {
            attributes: vec![0, 1],
            link: true,
            values: vec![5],
            timestamps: Vec::new(),
        },
        Sample {
            attributes: Vec::new(),
            link: false,
            values: vec![-7],
            timestamps: Vec::new(),
        },
    ]
}

/// The same request in any version. Tables of 1.7 have no entry for "not set".
fn request(version: WireVersion, samples: &[Sample]) -> Vec<u8> {
    let mut out = Writer::default();
    out.message(1, |out| {
        out.message(2, |out| out.message(2, |out| profile(out, version, samples)));
    });
    out.message(2, |out| tables(out, version));
    out.finish()
}

fn profile(out: &mut Writer, version: WireVersion, samples: &[Sample]) {
    let old = u32::from(version == V1_7);
    let value_type = |out: &mut Writer| {
        out.uint(1, 1);
        out.uint(2, 2);
        out.uint(3, u64::from(version <= V1_8));
    };
    out.message(1, value_type);
    for sample in samples {
        out.message(2, |out| write_sample(out, version, sample));
    }
    match version {
        V1_7 => {
            out.packed(3, [1, 0].into_iter());
            out.uint(4, 1000);
        }
        _ => out.fixed64(3, 1000),
    }
    out.uint(4 + old, 50);
    out.message(5 + old, value_type);
    out.uint(6 + old, 10);
    // comments are fields in 1.7 and 1.8, and 1.7 has a default type besides
    let shift = match version {
        V1_7 => 3,
        V1_8 => 1,
        _ => 0,
    };
    if version <= V1_8 {
        out.packed(7 + old, [8].into_iter());
    }
    out.bytes(7 + shift, &ID);
    out.uint(8 + shift, 4);
    if version >= V1_9 {
        out.packed(11, [3].into_iter());
    }
}

fn write_sample(out: &mut Writer, version: WireVersion, sample: &Sample) {
    let values = sample.values.iter().map(|value| *value as u64);
    let attributes = |first: u64| sample.attributes.clone().into_iter().map(move |a| a + first);
    match version {
        V1_7 => {
            out.uint(2, 2);
            out.packed(3, values);
            out.packed(4, attributes(0));
            if sample.link {
                out.uint_always(5, 0);
            }
            out.packed(6, sample.timestamps.iter().copied());
            return;
        }
        V1_8 | V1_9 => {
            out.uint(1, 1);
            out.packed(2, values);
            out.packed(3, attributes(1));
            out.uint(4, u64::from(sample.link));
        }
        V1_10 => {
            out.uint(1, 1);
            out.packed(2, attributes(1));
            out.uint(3, u64::from(sample.link));
            out.packed(4, values);
        }
    }
    if !sample.timestamps.is_empty() {
        out.message(5, |out| {
            sample.timestamps.iter().for_each(|time| out.raw_fixed64(*time))
        });
    }
}

fn tables(out: &mut Writer, version: WireVersion) {
    let zero = u64::from(version > V1_7);
    if version > V1_7 {
        for table in [1, 2, 3, 4, 6, 7] {
            out.message(table, |_| {});
        }
    }
    out.message(1, |out| {
        out.uint(1, 4096);
        out.uint(4, 4);
        match version {
            V1_7 => out.uint(6, 1),
            _ => out.packed(5, [4].into_iter()),
        }
    });
    for address in [5000, 6000] {
        out.message(2, |out| {
            out.uint_always(1, zero);
            out.uint(2, address);
            out.message(3, |out| {
                out.uint(1, zero);
                out.uint(2, 12);
            });
        });
    }
    out.message(3, |out| out.uint(1, 3));
    out.message(4, |out| {
        out.bytes(1, &TRACE);
        out.bytes(2, &SPAN);
    });
    for string in STRINGS {
        out.bytes_always(5, string.as_bytes());
    }
    match version {
        V1_7 => tables_1_7(out),
        _ => tables_since_1_8(out),
    }
}

fn tables_1_7(out: &mut Writer) {
    out.message(6, |out| {
        out.bytes(1, b"thread.name");
        out.message(2, |out| out.bytes(1, b"worker"));
    });
    out.message(6, |out| {
        out.bytes(1, b"size");
        out.message(2, |out| out.uint(3, 9));
    });
    out.message(7, |out| {
        out.uint(1, 6);
        out.uint(2, 7);
    });
}

fn tables_since_1_8(out: &mut Writer) {
    out.message(6, |out| {
        out.uint(1, 5);
        out.message(2, |out| out.bytes(1, b"worker"));
    });
    out.message(6, |out| {
        out.uint(1, 6);
        out.message(2, |out| out.uint(3, 9));
        out.uint(3, 7);
    });
    out.message(6, |out| {
        out.uint(1, 9);
        out.message(2, |out| out.bytes(1, b"a comment"));
    });
    out.message(6, |out| {
        out.uint(1, 10);
        out.message(2, |out| out.uint(2, 1));
    });
    out.message(7, |out| out.packed(1, [2, 1].into_iter()));
}

#[test]
fn every_version_says_the_same() {
    let told = |version| {
        let decoded = read(&request(version, &samples()));
        assert_eq!(decoded.rejected.first, None, "{version}");
        assert_eq!(decoded.repairs, 0, "{version}");
        assert!(!decoded.exact || version == V1_10, "{version}");
        by_model(&decoded.profiles)
    };
    let expected = told(V1_10);
    assert_eq!(expected[0].rows[0].values, [5]);
    assert!(expected[0].head.contains("a comment"), "{}", expected[0].head);
    for version in [V1_7, V1_8, V1_9] {
        assert_eq!(told(version), expected, "{version}");
    }
}

#[test]
fn old_numbers_mean_what_new_ones_do() {
    let mut old = read(&data("old-schema-1.9.otlp"));
    let mut new = read(&data("node20-wall-cpu-links.otlp"));
    assert_eq!(old.repairs, 0);
    assert_eq!(old.rejected.profiles, 0);
    assert!(!old.exact && new.exact);
    // how often a set of attributes is stored is left to chance until then
    old.profiles.compact();
    new.profiles.compact();
    assert_eq!(old.profiles.resources(), new.profiles.resources());
    assert_eq!(old.profiles.dictionary(), new.profiles.dictionary());
}

#[test]
fn what_fits_two_versions_is_read_as_assumed_and_counted() {
    // one attribute and one timestamp, or one value and one timestamp
    let ambiguous = request(
        V1_10,
        &[Sample {
            attributes: vec![0],
            link: false,
            values: Vec::new(),
            timestamps: vec![1001],
        }],
    );
    let rows = |assume| {
        let decoded = decode(&ambiguous, &Limits::default(), assume).unwrap();
        assert_eq!((decoded.repairs, decoded.exact), (1, false));
        by_model(&decoded.profiles).remove(0).rows
    };
    assert_eq!(rows(V1_9)[0].values, [1]);
    assert!(rows(V1_10)[0].values.is_empty());
    assert!(rows(V1_10)[0].identity.contains("worker"));
    assert!(!rows(V1_9)[0].identity.contains("worker"));
}

#[test]
fn what_means_the_same_in_two_versions_is_not_assumed() {
    let times_only = Sample {
        attributes: Vec::new(),
        link: false,
        values: Vec::new(),
        timestamps: vec![1001, 1002],
    };
    let decoded = read(&request(V1_10, &[times_only]));
    assert_eq!(decoded.repairs, 0);
    assert_eq!(decoded.profiles.iter().next().unwrap().profile.samples.sum(0, 1), 2);
}

#[test]
fn a_few_defective_samples_do_not_turn_the_version() {
    // without values, attribute indices look like the values of 1.9
    let mut all = vec![
        Sample {
            attributes: vec![0],
            link: false,
            values: Vec::new(),
            timestamps: Vec::new(),
        };
        3
    ];
    all.extend(std::iter::repeat_n(samples(), 5).flatten());
    let why = rejection(&request(V1_10, &all));
    assert!(
        why.contains("samples[0].values and timestamps_unix_nano are both empty"),
        "{why}"
    );
}

#[test]
fn several_types_of_1_7_are_one_profile() {
    let mut out = Writer::default();
    let profile = |out: &mut Writer| {
        for kind in [1, 3] {
            out.message(1, |out| out.uint(1, kind));
        }
        out.message(2, |out| {
            out.uint(2, 2);
            out.packed(3, [5, 6].into_iter());
        });
        out.packed(3, [1, 0].into_iter());
        out.uint(9, 1);
    };
    out.message(1, |out| out.message(2, |out| out.message(2, profile)));
    out.message(2, |out| tables(out, V1_7));
    let decoded = read(&out.finish());
    let profile = decoded.profiles.iter().next().unwrap().profile;
    let d = decoded.profiles.dictionary();
    assert_eq!(profile.samples.observations, Observations::Totals(vec![5, 6]));
    assert_eq!(d.str(profile.default_sample_type), "main");
    assert_eq!(read(&encode(&decoded.profiles)).profiles.sample_count(), 1);
}

#[test]
fn ranges_of_1_7_are_checked() {
    let mut bytes = request(V1_7, &samples());
    let good = read(&bytes);
    assert_eq!(good.rejected.profiles, 0);
    // the first sample's length: key 2 << 3, value 2
    let at = bytes.windows(2).position(|pair| pair == [0x10, 2]).expect("a length");
    let second = bytes[at + 2..]
        .windows(2)
        .position(|pair| pair == [0x10, 2])
        .expect("its unit is first");
    bytes[at + 2 + second + 1] = 3;
    let why = rejection(&bytes);
    assert!(
        why.contains("locations_start_index and locations_length are 0 and 3, but location_indices has 2 items"),
        "{why}"
    );
}

#[test]
fn older_versions_are_refused_by_name() {
    // 1.6: tables beside the profiles
    let tables_outside = b"\x0a\x00\x12\x00\x1a\x00\x22\x00";
    // 1.5 and what is left of 1.6 in a request: location indices, but no dictionary
    let no_tables = b"\x0a\x0a\x12\x08\x12\x06\x1a\x02\x01\x02\x20\x07";
    for bytes in [&tables_outside[..], no_tables] {
        let error = decode(bytes, &Limits::default(), V1_10).expect_err("too old");
        assert_eq!(error.fault, Fault::Unsupported);
        let text = error.to_string();
        assert!(
            text.contains("OTLP 1.6 or older") && text.contains("1.7, 1.8, 1.9, 1.10"),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn prop_damaged_old_requests_are_answered(version in 0usize..4, at: prop::sample::Index, byte: u8) {
        let mut bytes = request([V1_7, V1_8, V1_9, V1_10][version], &samples());
        let position = at.index(bytes.len());
        bytes[position] = byte;
        if let Ok(decoded) = decode(&bytes, &Limits::default(), V1_9) {
            let _ = encode(&decoded.profiles);
        }
    }
}
