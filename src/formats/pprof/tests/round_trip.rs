//! What goes in comes out.

use proptest::prelude::*;

use super::oracle::{self, RawProfile};
use super::*;
use crate::formats::pprof::ResourceText;
use crate::profile::{
    Attribute, Dictionary, Id, KeyValue, Link, Observations, Profile, Profiles, ResourceProfiles, Samples, Series,
    Strings, Value, ValueType,
};
use std::sync::Arc;

fn check_meaning(name: &str, bytes: &[u8]) {
    let before = RawProfile::read(bytes).meaning();
    let decoded = decode(bytes);
    assert!(
        oracle::of_model(&decoded) == before,
        "{name}: the model says something else"
    );
    let again = encoded(&decoded);
    assert!(
        RawProfile::read(&again).meaning().in_any_order() == before.in_any_order(),
        "{name}: the bytes say something else"
    );
    assert!(encoded(&decode(&again)) == again, "{name}: a second round differs");
}

#[test]
fn own_recordings_keep_every_field() {
    for name in OWN {
        check_meaning(name, &own(name));
    }
}

#[test]
fn a_function_without_a_name_stays_one() {
    let mut decoded = decode(&own("go123-threadcreate.pb.gz"));
    decoded.profiles.compact();
    let raw = RawProfile::read(&encoded(&decoded));
    let ids: Vec<u64> = raw.function.iter().map(|function| function.id).collect();
    assert_eq!(ids, [1]);
    assert_eq!(raw.location[0].line[0].function_id, 1);
}

#[test]
fn corpus_keeps_every_field() {
    for (name, bytes, _) in accepted() {
        check_meaning(&name, &bytes);
    }
}

#[test]
fn corpus_totals_are_exact() {
    for (name, bytes, facts) in accepted() {
        let decoded = decode(&bytes);
        let dictionary = decoded.profiles.dictionary();
        let profile = decoded.profiles.iter().next().expect("one profile").profile;
        let types = profile.sample_types.len();
        for (column, t) in profile.sample_types.iter().enumerate() {
            let type_name = format!("{}/{}", dictionary.str(t.kind), dictionary.str(t.unit));
            let expected = facts["sums"][&type_name].as_i64().map(i128::from);
            assert_eq!(Some(profile.samples.sum(column, types)), expected, "{name} {type_name}");
        }
        assert_eq!(
            profile.samples.len() as u64,
            facts["counts"]["sample"].as_u64().unwrap_or(0)
        );
    }
}

#[test]
fn our_own_output_is_exact() {
    for name in OWN {
        let again = encoded(&decode(&own(name)));
        assert!(decode(&again).exact, "{name}");
    }
}

#[test]
fn orphans_do_not_survive() {
    let bytes = own("planted-everywhere.pb");
    let decoded = decode(&bytes);
    assert!(!decoded.exact);
    let again = encoded(&decoded);
    for orphan in ["orphan_fn_EXAMPLE_SECRET_ALGORITHM", "EXAMPLE-SECRET-IN-UNKNOWN-FIELD"] {
        let holds = |bytes: &[u8]| memchr::memmem::find(bytes, orphan.as_bytes()).is_some();
        assert!(holds(&bytes), "{orphan} was planted");
        assert!(!holds(&again), "{orphan} survived");
    }
}

/// Functions without ids, as a .NET agent sends them: they belong to the locations in order.
#[test]
fn functions_without_ids_are_given_to_the_locations() {
    let mut raw = hostile::small();
    raw.location = (1..=2).map(|id| hostile::location(id, 0)).collect();
    raw.function = (1..=2).map(|name| hostile::function(0, name)).collect();
    raw.sample[0].location_id = vec![2, 1];
    let decoded = decode(&prost::Message::encode_to_vec(&raw));
    assert_eq!(decoded.repairs, 2);
    assert!(!decoded.exact);
    let again = RawProfile::read(&encoded(&decoded));
    let names: Vec<i64> = again.function.iter().map(|f| f.name).collect();
    let ids: Vec<u64> = again.location.iter().map(|l| l.line[0].function_id).collect();
    assert_eq!(ids, [1, 2]);
    assert_eq!(again.string_table[names[1] as usize], raw.string_table[2]);
    if let Some(bytes) = testing::corpus_file("pprof/ext-dotnet-pprof-3.pb.gz") {
        assert_eq!(decode(&gunzip(bytes)).repairs, 41);
    }
}

#[test]
fn unpacked_lists_are_read() {
    let raw = hostile::small();
    let mut unpacked = Vec::new();
    let mut without_samples = raw.clone();
    without_samples.sample.clear();
    prost::Message::encode(&without_samples, &mut unpacked).unwrap();
    unpacked.extend([0x12, 4, 0x08, 1, 0x10, 7]);
    assert_eq!(oracle::of_model(&decode(&unpacked)), raw.meaning());
}

#[test]
fn a_stack_may_come_in_pieces() {
    let mut raw = hostile::small();
    let mut bytes = prost::Message::encode_to_vec(&raw);
    // two lists; a list and a number; a number and a list; a list that is empty, and one; one, and a list that is empty
    for (frames, pieces) in [
        (2, &[0x0a, 1, 1, 0x0a, 1, 1][..]),
        (2, &[0x0a, 1, 1, 0x08, 1]),
        (2, &[0x08, 1, 0x0a, 1, 1]),
        (1, &[0x0a, 0, 0x0a, 1, 1]),
        (1, &[0x0a, 1, 1, 0x0a, 0]),
        (3, &[0x0a, 1, 1, 0x0a, 1, 1, 0x0a, 1, 1]),
        (2, &[0x0a, 2, 1, 1]),
    ] {
        let sample = [pieces, &[0x10, 7]].concat();
        prost::encoding::bytes::encode(2, &sample, &mut bytes);
        raw.sample.push(oracle::RawSample {
            location_id: vec![1; frames],
            value: vec![7],
            ..Default::default()
        });
    }
    assert_eq!(oracle::of_model(&decode(&bytes)), raw.meaning());
}

#[test]
fn a_character_split_over_two_strings_is_mended_in_both() {
    let mut bytes = prost::Message::encode_to_vec(&hostile::small());
    for half in [b"\xc3", b"\xa9"] {
        prost::encoding::bytes::encode(6, &half.to_vec(), &mut bytes);
    }
    let decoded = decode(&bytes);
    assert_eq!(decoded.repairs, 2);
    let strings = &decoded.profiles.dictionary().strings;
    assert_eq!(strings.ids().filter(|id| &strings[*id] == "\u{fffd}").count(), 2);
}

#[test]
fn labels_keep_zeros_empties_and_repeats() {
    let mut raw = hostile::small();
    let label = |key, text, num, num_unit| oracle::RawLabel {
        key,
        text,
        num,
        num_unit,
    };
    raw.sample[0].label = vec![
        label(1, 2, 0, 0),
        label(2, 0, 0, 1),
        label(1, 1, 0, 0),
        label(2, 0, -9, 0),
        label(2, 0, 0, 0),
    ];
    let bytes = prost::Message::encode_to_vec(&raw);
    assert_eq!(oracle::of_model(&decode(&bytes)).samples[0].labels.len(), 5);
    check_meaning("labels", &bytes);
}

/// One sample at stack 0 of type `cpu/nanoseconds`, to be dressed up.
struct Made {
    dictionary: Dictionary,
    resource: ResourceProfiles,
    profile: Profile,
}

impl Made {
    fn new() -> Self {
        let mut dictionary = Dictionary::default();
        let sample_type = ValueType {
            kind: dictionary.strings.push("cpu"),
            unit: dictionary.strings.push("nanoseconds"),
        };
        let profile = Profile {
            sample_types: vec![sample_type],
            ..Profile::default()
        };
        let mut made = Self {
            dictionary,
            resource: ResourceProfiles::default(),
            profile,
        };
        made.sample(Vec::new(), None);
        made
    }

    fn sample(&mut self, attributes: Vec<(&str, Value)>, link: Option<Link>) {
        let ids: Vec<_> = attributes
            .into_iter()
            .map(|(key, value)| {
                let key = self.dictionary.strings.push(key);
                let unit = Id::UNSET;
                self.dictionary.attributes.push(Attribute { key, value, unit })
            })
            .collect();
        let set = self.dictionary.attribute_sets.push(&ids);
        let link = link.map(|link| self.dictionary.links.push(link)).unwrap_or_default();
        self.profile.samples = Arc::new(Samples {
            stacks: vec![Id::UNSET],
            attributes: vec![set],
            links: vec![link],
            observations: Observations::Totals(vec![7]),
        });
    }

    fn encode(&self, options: EncodeOptions) -> Vec<u8> {
        encode(&self.dictionary, &self.resource, &self.profile, &options).expect("pprof can hold it")
    }

    fn meaning(&self, options: EncodeOptions) -> oracle::Meaning {
        let bytes = self.encode(options);
        assert!(decode(&bytes).exact);
        RawProfile::read(&bytes).meaning()
    }
}

fn text_label(key: &str, text: &str) -> oracle::LabelMeaning {
    (false, key.to_owned(), text.to_owned(), 0, String::new())
}

#[test]
fn values_that_pprof_lacks_become_text() {
    let mut made = Made::new();
    let inner = made.dictionary.strings.push("in\"ner");
    let map = Value::Map([(inner, Value::Bytes([0xab, 1].into()))].into());
    let array = Value::Array([Value::Int(3), Value::String(inner)].into());
    let attributes = vec![
        ("map", map),
        ("bool", Value::Bool(true)),
        ("array", array),
        ("double", Value::Double(0.5)),
        ("empty", Value::Empty),
    ];
    made.sample(attributes, None);
    let expected = vec![
        text_label("array", "in\"ner"),
        text_label("bool", "true"),
        text_label("double", "0.5"),
        text_label("empty", ""),
        text_label("map", r#"{"in\"ner":"ab01"}"#),
        (true, "array".to_owned(), String::new(), 3, String::new()),
    ];
    assert_eq!(made.meaning(EncodeOptions::default()).samples[0].labels, expected);
    // the meaning is sorted, the bytes must be
    let raw = RawProfile::read(&made.encode(EncodeOptions::default()));
    let keys: Vec<_> = raw.sample[0]
        .label
        .iter()
        .map(|l| raw.string_table[l.key as usize].clone())
        .collect();
    assert_eq!(
        keys,
        ["array", "bool", "double", "empty", "map", "array"].map(Vec::from)
    );
}

#[test]
fn every_text_stands_once() {
    let mut table = Strings::default();
    let known = Value::String(table.push("true"));
    for values in [[known.clone(), Value::Bool(true)], [Value::Bool(true), known]] {
        let mut made = Made::new();
        made.profile.sample_types = vec![ValueType::default()];
        made.dictionary.strings = table.clone();
        made.dictionary.strings.push("true");
        made.sample(["a", "b"].into_iter().zip(values).collect(), None);
        let mut profiles = Profiles::of(made.dictionary, vec![made.profile]);
        for strings_are_distinct in [false, true] {
            assert_eq!(profiles.dictionary().strings.are_distinct(), strings_are_distinct);
            let at = profiles.iter().next().expect("one profile");
            let bytes = encode(
                profiles.dictionary(),
                at.resource,
                at.profile,
                &EncodeOptions::default(),
            );
            let texts = RawProfile::read(&bytes.expect("pprof can hold it")).string_table;
            assert_eq!(texts.iter().filter(|text| *text == b"true").count(), 1);
            profiles.compact();
        }
    }
}

#[test]
fn links_become_labels_unless_the_sample_has_them() {
    let mut made = Made::new();
    let own = made.dictionary.strings.push("its own");
    let link = Link {
        trace_id: [0xab; 16],
        span_id: [1; 8],
    };
    made.sample(vec![("span_id", Value::String(own))], Some(link));
    let labels = &made.meaning(EncodeOptions::default()).samples[0].labels;
    let expected = [
        text_label("span_id", "its own"),
        text_label("trace_id", &"ab".repeat(16)),
    ];
    assert_eq!(labels[..], expected);
}

#[test]
fn the_resource_goes_where_the_options_say() {
    let mut made = Made::new();
    let mut add = |key: &str, value: &str| {
        let key = made.dictionary.strings.push(key);
        let value = Value::String(made.dictionary.strings.push(value));
        made.resource.attributes.push(KeyValue { key, value });
    };
    add("service.name", "shop");
    add("zone", "b");
    // as a label it would say of every sample that it is of this span
    add("span_id", "0000000000000007");
    made.profile.comments = vec![made.dictionary.strings.push("zone=b")];
    let value = Value::String(made.dictionary.strings.push("cart"));
    made.sample(vec![("service.name", value)], None);
    let with = |resource| EncodeOptions {
        resource,
        ..EncodeOptions::default()
    };
    let own = text_label("service.name", "cart");
    let comments = made.meaning(with(ResourceText::Comments));
    let said = ["zone=b", "service.name=shop", "span_id=0000000000000007"];
    assert_eq!(comments.comments, said);
    assert_eq!(comments.samples[0].labels, std::slice::from_ref(&own));
    let labels = made.meaning(with(ResourceText::Labels));
    assert_eq!(labels.comments, ["zone=b"]);
    assert_eq!(labels.samples[0].labels, [own.clone(), text_label("zone", "b")]);
    let none = made.meaning(with(ResourceText::None));
    assert_eq!(
        (none.comments, none.samples[0].labels.clone()),
        (vec!["zone=b".to_owned()], vec![own])
    );
}

#[test]
fn a_series_becomes_a_sum_or_a_count() {
    let mut made = Made::new();
    for (values, timestamps, total) in [(&[3, 4][..], &[1, 2][..], 7), (&[], &[1, 2, 3], 3)] {
        let mut series = Series::default();
        series.push(values, timestamps);
        Arc::make_mut(&mut made.profile.samples).observations = Observations::Series(series);
        assert_eq!(made.meaning(EncodeOptions::default()).samples[0].values, [total]);
    }
}

#[test]
fn what_pprof_cannot_hold_is_refused() {
    let mut made = Made::new();
    made.profile.sample_types.push(ValueType::default());
    let refused = |made: &Made| {
        let options = EncodeOptions::default();
        encode(&made.dictionary, &made.resource, &made.profile, &options).map_err(|e| e.problem)
    };
    assert!(refused(&made).is_err_and(|problem| problem.contains("one value")));
    made.profile.sample_types.clear();
    assert!(refused(&made).is_err_and(|problem| problem.contains("no sample type")));
}

fn is_stable(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(decoded) = super::super::decode(bytes, &Limits::default()) else {
        return Ok(());
    };
    let at = decoded.profiles.iter().next().expect("one profile");
    let options = EncodeOptions::default();
    let once = match encode(decoded.profiles.dictionary(), at.resource, at.profile, &options) {
        Ok(once) => once,
        Err(_) => {
            prop_assert!(at.profile.sample_types.is_empty());
            return Ok(());
        }
    };
    let again = decode(&once);
    prop_assert!(again.exact);
    prop_assert_eq!(encoded(&again), once);
    Ok(())
}

proptest! {
    #[test]
    fn prop_any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        is_stable(&bytes)?;
    }

    #[test]
    fn prop_damaged_recordings_end(
        file in 0..OWN.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut bytes = own(OWN[file]);
        for (place, byte) in edits {
            let i = place.index(bytes.len());
            bytes[i] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        is_stable(&bytes)?;
    }
}
