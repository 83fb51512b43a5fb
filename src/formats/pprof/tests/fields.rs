//! Every field of a pprof comes out again, whatever the gate does in between that changes nothing.

use proptest::prelude::*;
use prost::Message;

use super::oracle::{
    MappingMeaning, Meaning, RawFunction, RawLabel, RawLine, RawLocation, RawMapping, RawProfile, RawSample,
    RawValueType,
};
use super::*;
use crate::formats::otlp;
use crate::profile::{
    Attribute, Dictionary, Link, LinkId, Observations, Profile, Profiles, Samples, StackId, Value, ValueType,
};

const TEXTS: [&str; 8] = [
    "",
    "cpu",
    "count",
    "/bin/shop",
    "libc.so.6",
    "feedface",
    "go/build/id",
    "ü",
];

fn text() -> impl Strategy<Value = i64> {
    0..TEXTS.len() as i64
}

fn value_type() -> impl Strategy<Value = RawValueType> {
    (text(), text()).prop_map(|(kind, unit)| RawValueType { kind, unit })
}

fn mapping() -> impl Strategy<Value = RawMapping> {
    let numbers = (0u64..3, 0u64..3, 0u64..2);
    (numbers, text(), text(), any::<[bool; 4]>()).prop_map(|((start, limit, offset), filename, build_id, flags)| {
        let [has_functions, has_filenames, has_line_numbers, has_inline_frames] = flags;
        RawMapping {
            id: 0,
            memory_start: start,
            memory_limit: limit,
            file_offset: offset,
            filename,
            build_id,
            has_functions,
            has_filenames,
            has_line_numbers,
            has_inline_frames,
        }
    })
}

fn function() -> impl Strategy<Value = RawFunction> {
    (text(), text(), text(), -1i64..3).prop_map(|(name, system_name, filename, start_line)| RawFunction {
        id: 0,
        name,
        system_name,
        filename,
        start_line,
    })
}

fn location() -> impl Strategy<Value = RawLocation> {
    let line = (0u64..5, -1i64..3, 0i64..3);
    let line = line.prop_map(|(function_id, line, column)| RawLine {
        function_id,
        line,
        column,
    });
    let lines = proptest::collection::vec(line, 0..3);
    (0u64..5, 0u64..3, lines, any::<bool>()).prop_map(|(mapping_id, address, line, is_folded)| RawLocation {
        id: 0,
        mapping_id,
        address,
        line,
        is_folded,
    })
}

fn sample() -> impl Strategy<Value = RawSample> {
    let label = (text(), text(), -1i64..3, text());
    let label = label.prop_map(|(key, text, num, num_unit)| RawLabel {
        key,
        text,
        num,
        num_unit,
    });
    let locations = proptest::collection::vec(1u64..6, 0..4);
    let labels = proptest::collection::vec(label, 0..4);
    (locations, any::<[i32; 3]>(), labels).prop_map(|(location_id, values, label)| RawSample {
        location_id,
        value: values.map(i64::from).to_vec(),
        label,
    })
}

/// Random pprofs that Go would accept, with rows that nothing refers to.
fn any_pprof() -> impl Strategy<Value = RawProfile> {
    let tables = (
        proptest::collection::vec(mapping(), 0..5),
        proptest::collection::vec(location(), 1..6),
        proptest::collection::vec(function(), 0..5),
        proptest::collection::vec(sample(), 0..8),
    );
    let numbers = (-1i64..3, -1i64..3, -1i64..3, proptest::option::of(value_type()));
    let texts = (text(), text(), text(), text(), proptest::collection::vec(text(), 0..3));
    let types = proptest::collection::vec(value_type(), 1..4);
    (tables, numbers, texts, types, any::<bool>()).prop_map(|(tables, numbers, texts, sample_type, is_counted)| {
        let (mut mapping, mut location, mut function, mut sample) = tables;
        // ids are any numbers but 0, in any order
        let id = |n: usize| if is_counted { n as u64 } else { 90 - 7 * n as u64 };
        let known = |n: u64, rows: usize| match n as usize % (rows + 1) {
            0 => 0,
            n => id(n),
        };
        for location in &mut location {
            location.mapping_id = known(location.mapping_id, mapping.len());
            for line in &mut location.line {
                line.function_id = known(line.function_id, function.len());
            }
        }
        for sample in &mut sample {
            sample.value.truncate(sample_type.len());
            for n in &mut sample.location_id {
                *n = id(1 + *n as usize % location.len());
            }
        }
        mapping.iter_mut().zip(1..).for_each(|(row, n)| row.id = id(n));
        location.iter_mut().zip(1..).for_each(|(row, n)| row.id = id(n));
        function.iter_mut().zip(1..).for_each(|(row, n)| row.id = id(n));
        let (time_nanos, duration_nanos, period, period_type) = numbers;
        let (drop_frames, keep_frames, default_sample_type, doc_url, comment) = texts;
        RawProfile {
            sample_type,
            sample,
            mapping,
            location,
            function,
            string_table: TEXTS.map(Vec::from).to_vec(),
            drop_frames,
            keep_frames,
            time_nanos,
            duration_nanos,
            period_type,
            period,
            comment,
            default_sample_type,
            doc_url,
        }
    })
}

/// What is left when what is equal is one, and what says nothing is none.
fn compacted(meaning: Meaning) -> Meaning {
    let mut joined = Meaning {
        samples: Vec::new(),
        mappings: Vec::new(),
        ..meaning
    };
    for (place, mapping) in meaning.mappings.into_iter().enumerate() {
        let is_said = place == 0 || mapping != MappingMeaning::default();
        if is_said && !joined.mappings.contains(&mapping) {
            joined.mappings.push(mapping);
        }
    }
    for sample in meaning.samples {
        let mut known = joined.samples.iter_mut();
        match known.find(|known| known.stack == sample.stack && known.labels == sample.labels) {
            Some(known) => known
                .values
                .iter_mut()
                .zip(sample.values)
                .for_each(|(sum, value)| *sum += value),
            None => joined.samples.push(sample),
        }
    }
    joined
}

fn meaning_of(profiles: Profiles) -> Meaning {
    let decoded = Decoded {
        profiles,
        ..Decoded::default()
    };
    RawProfile::read(&encoded(&decoded)).meaning()
}

proptest! {
    #[test]
    fn prop_every_field_survives(raw in any_pprof()) {
        let decoded = decode(&raw.encode_to_vec());
        let before = raw.meaning();
        prop_assert_eq!(&oracle::of_model(&decoded), &before);
        prop_assert_eq!(meaning_of(decoded.profiles.clone()).in_any_order(), before.clone().in_any_order());
        let before = compacted(before).in_any_order();
        let mut compact = decoded.profiles.clone();
        compact.compact();
        let parts = decoded.profiles.by_profile();
        for after in [compact, Profiles::merge([&decoded.profiles]), parts[0].clone()] {
            prop_assert_eq!(&compacted(meaning_of(after)).in_any_order(), &before);
        }
    }
}

/// A pprof that lists mappings of these files; a frame lies in the last one.
fn mapped(files: &[&str]) -> RawProfile {
    let mut raw = hostile::small();
    raw.mapping.clear();
    for (file, id) in files.iter().zip((1..=files.len() as u64).rev()) {
        raw.string_table.push(file.as_bytes().to_vec());
        raw.mapping.push(RawMapping {
            id,
            filename: if file.is_empty() {
                0
            } else {
                raw.string_table.len() as i64 - 1
            },
            ..RawMapping::default()
        });
    }
    raw.location[0].mapping_id = 1;
    raw
}

fn files(profiles: Profiles) -> Vec<String> {
    meaning_of(profiles)
        .mappings
        .into_iter()
        .map(|mapping| mapping.3)
        .collect()
}

#[test]
fn mappings_without_frames_stay_and_the_main_binary_is_first() {
    let order = ["/bin/shop", "[vdso]", "libc.so.6"];
    let decoded = decode(&mapped(&order).encode_to_vec());
    assert!(decoded.exact);
    let other = decode(&mapped(&["libc.so.6", "/bin/shop"]).encode_to_vec());
    let merged = Profiles::merge([&decoded.profiles, &other.profiles]);
    let parts = merged.by_profile();
    for profiles in [decoded.profiles, parts[0].clone()] {
        assert_eq!(files(profiles), order);
    }
    assert_eq!(files(parts[1].clone()), ["libc.so.6", "/bin/shop"]);
}

#[test]
fn nothing_takes_the_place_of_a_main_binary_that_is_not_known() {
    let mut profiles = decode(&mapped(&["", "[vdso]", "", "libc.so.6"]).encode_to_vec()).profiles;
    profiles.compact();
    assert_eq!(files(profiles), ["", "[vdso]", "libc.so.6"]);
}

#[test]
fn otlp_has_no_mappings_without_frames() {
    let profiles = decode(&mapped(&["/bin/shop", "[vdso]", "libc.so.6"]).encode_to_vec()).profiles;
    let mut compact = profiles.clone();
    compact.compact();
    for profiles in [profiles, compact] {
        let bytes = otlp::encode(&profiles);
        let holds = |text: &str| memchr::memmem::find(&bytes, text.as_bytes()).is_some();
        assert!(holds("libc.so.6") && !holds("[vdso]") && !holds("/bin/shop"));
    }
}

#[test]
fn the_main_binary_stays_first_through_otlp() {
    let order = ["/bin/shop", "libc.so.6"];
    let mut raw = mapped(&order);
    raw.location.push(RawLocation {
        mapping_id: 2,
        ..hostile::location(2, 1)
    });
    raw.sample[0].location_id = vec![1, 2];
    let profiles = Profiles::merge([&decode(&raw.encode_to_vec()).profiles]);
    let carried = otlp::decode(
        &otlp::encode(&profiles),
        &Limits::default(),
        otlp::WireVersion::default(),
    );
    assert_eq!(files(carried.expect("our own").profiles), order);
}

#[test]
fn labels_that_samples_share_are_those_of_each_with_its_own_link() {
    const ROWS: usize = 64;
    let mut d = Dictionary::default();
    let sets = ["shop", "cart"].map(|name| {
        let attribute = Attribute {
            key: d.strings.push("service"),
            value: Value::String(d.strings.push(name)),
            ..Attribute::default()
        };
        let attribute = d.attributes.push(attribute);
        d.attribute_sets.push(&[attribute])
    });
    let link = d.links.push(Link {
        trace_id: [7; 16],
        span_id: [9; 8],
    });
    let samples = Samples {
        stacks: vec![StackId::UNSET; ROWS],
        attributes: (0..ROWS).map(|row| sets[row % 2]).collect(),
        links: (0..ROWS)
            .map(|row| if row % 3 == 1 { link } else { LinkId::UNSET })
            .collect(),
        observations: Observations::Totals(vec![1; ROWS]),
    };
    let profile = Profile {
        sample_types: vec![ValueType::default()],
        samples: samples.into(),
        ..Profile::default()
    };
    let profiles = Profiles::of(d, vec![profile]);
    let at = profiles.iter().next().unwrap();
    let bytes = encode(
        profiles.dictionary(),
        at.resource,
        at.profile,
        &EncodeOptions::default(),
    )
    .unwrap();

    let raw = RawProfile::decode(bytes.as_slice()).unwrap();
    let text = |position: i64| String::from_utf8(raw.string_table[position as usize].clone()).unwrap();
    assert_eq!(raw.sample.len(), ROWS);
    for (row, sample) in raw.sample.iter().enumerate() {
        let labels: Vec<String> = sample
            .label
            .iter()
            .map(|label| format!("{}={}", text(label.key), text(label.text)))
            .collect();
        let service = ["service=shop", "service=cart"][row % 2].to_owned();
        let ids = [
            format!("span_id={}", "09".repeat(8)),
            format!("trace_id={}", "07".repeat(16)),
        ];
        let expected = match row % 3 {
            1 => vec![service, ids[0].clone(), ids[1].clone()],
            _ => vec![service],
        };
        assert_eq!(labels, expected, "{row}");
    }
}
