//! Siblings join, and what pprof has comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue as WireKeyValue};
use opentelemetry_proto::tonic::profiles::v1development as wire;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::profile::{Interner, LinkId, Observations, Profile, Samples, StackId, StringId, ValueType};

const STRINGS: [&str; 7] = [
    "",
    "a",
    "b",
    "c",
    "count",
    "pprof.profile.comment.10",
    "pprof.profile.comment.9",
];

/// One profile for each type, by its position in [`STRINGS`], all with the same two samples.
fn siblings(types: &[i32]) -> ExportProfilesServiceRequest {
    let profile = |kind: &i32| wire::Profile {
        sample_type: Some(wire::ValueType {
            type_strindex: *kind,
            unit_strindex: 4,
        }),
        samples: [1, 2]
            .map(|value| wire::Sample {
                values: vec![value * i64::from(*kind)],
                ..Default::default()
            })
            .to_vec(),
        ..Default::default()
    };
    ExportProfilesServiceRequest {
        resource_profiles: vec![wire::ResourceProfiles {
            scope_profiles: vec![wire::ScopeProfiles {
                scope: Some(InstrumentationScope::default()),
                profiles: types.iter().map(profile).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }],
        dictionary: Some(wire::ProfilesDictionary {
            string_table: STRINGS.map(str::to_owned).to_vec(),
            ..Default::default()
        }),
    }
}

fn scope(request: &mut ExportProfilesServiceRequest) -> &mut wire::ScopeProfiles {
    &mut request.resource_profiles[0].scope_profiles[0]
}

/// For every profile its types and values.
fn shapes(request: &ExportProfilesServiceRequest) -> Vec<(Vec<String>, Vec<i64>)> {
    let decoded = read(&request.encode_to_vec());
    assert_eq!(decoded.rejected.profiles, 0);
    let d = decoded.profiles.dictionary();
    decoded
        .profiles
        .iter()
        .map(|p| {
            let types = p
                .profile
                .sample_types
                .iter()
                .map(|t| d.str(t.kind).to_owned())
                .collect();
            let Observations::Totals(values) = &p.profile.samples.observations else {
                panic!("a series");
            };
            (types, values.clone())
        })
        .collect()
}

fn types(request: &ExportProfilesServiceRequest) -> Vec<String> {
    shapes(request).into_iter().map(|(types, _)| types.concat()).collect()
}

#[test]
fn siblings_are_one_profile() {
    let joined = shapes(&siblings(&[1, 2, 3]));
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    assert_eq!(joined, [(names, vec![1, 2, 3, 2, 4, 6])]);
}

#[test]
fn what_differs_stays_apart() {
    assert_eq!(types(&siblings(&[1, 1])), ["a", "a"], "the same type");
    type Change = fn(&mut wire::Profile);
    let changes: [Change; 7] = [
        |p| p.time_unix_nano = 9,
        |p| p.duration_nano = 9,
        |p| p.period = 9,
        |p| p.dropped_attributes_count = 9,
        |p| p.samples.truncate(1),
        |p| p.samples[0].timestamps_unix_nano = vec![7],
        |p| {
            (p.original_payload_format, p.original_payload) = ("jfr".to_owned(), vec![1]);
        },
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut request = siblings(&[1, 2]);
        change(&mut scope(&mut request).profiles[1]);
        assert_eq!(read(&request.encode_to_vec()).profiles.profile_count(), 2, "change {i}");
    }
}

#[test]
fn an_order_says_how_many_belong_together() {
    let mut request = siblings(&[1, 2, 3, 1]);
    let order = [1, 0].map(|position| AnyValue {
        value: Some(Any::IntValue(position)),
    });
    scope(&mut request).scope.as_mut().expect("a scope").attributes = vec![WireKeyValue {
        key: "pprof.scope.sample_type_order".to_owned(),
        value: Some(AnyValue {
            value: Some(Any::ArrayValue(opentelemetry_proto::tonic::common::v1::ArrayValue {
                values: order.to_vec(),
            })),
        }),
        ..Default::default()
    }];
    assert_eq!(types(&request), ["ba", "ac"]);
}

#[test]
fn a_rejected_sibling_counts_once_and_the_others_join() {
    let mut request = siblings(&[1, 2, 3]);
    scope(&mut request).profiles[1].samples[0].stack_index = 5;
    let decoded = read(&request.encode_to_vec());
    assert_eq!(decoded.rejected.profiles, 1);
    assert_eq!(decoded.profiles.profile_count(), 1);
    assert_eq!(decoded.profiles.iter().next().unwrap().profile.sample_types.len(), 2);
}

#[test]
fn numbered_comments_are_put_in_order() {
    let mut request = siblings(&[1]);
    let comment = |key: i32, text: &str| wire::KeyValueAndUnit {
        key_strindex: key,
        value: Some(AnyValue {
            value: Some(Any::StringValue(text.to_owned())),
        }),
        ..Default::default()
    };
    let table = vec![Default::default(), comment(5, "ten"), comment(6, "nine")];
    request.dictionary.as_mut().expect("a dictionary").attribute_table = table;
    scope(&mut request).profiles[0].attribute_indices = vec![1, 2];
    let decoded = read(&request.encode_to_vec());
    let profile = decoded.profiles.iter().next().unwrap().profile;
    let d = decoded.profiles.dictionary();
    let comments: Vec<&str> = profile.comments.iter().map(|id| d.str(*id)).collect();
    assert_eq!(comments, ["nine", "ten"]);
    assert!(!profile.attributes.is_set());
}

#[test]
fn no_index_reaches_texts_behind_the_table() {
    let mut request = siblings(&[STRINGS.len() as i32]);
    request.resource_profiles[0].schema_url = "https://example.com".to_owned();
    // the resource's text is read first: fields may come in any order
    let mut bytes = Vec::new();
    let resource = request.resource_profiles[0].encode_to_vec();
    let (url, rest) = resource.split_at(resource.len() - 21);
    let turned = [rest, url].concat();
    prost::encoding::bytes::encode(1, &turned, &mut bytes);
    bytes.extend(
        ExportProfilesServiceRequest {
            resource_profiles: Vec::new(),
            ..request
        }
        .encode_to_vec(),
    );
    let why = rejection(&bytes);
    assert!(
        why.contains("sample_type.type_strindex is 7, but string_table has 7 entries"),
        "{why}"
    );
}

/// A profile of three types, as pprof has it, with this default.
fn of_three_types(default: &str) -> Profiles {
    let mut interner = Interner::new();
    let sample_types = ["a", "b", "c"].map(|kind| ValueType {
        kind: interner.string(kind),
        unit: interner.string("count"),
    });
    let profile = Profile {
        sample_types: sample_types.to_vec(),
        default_sample_type: interner.string(default),
        samples: Arc::new(Samples {
            stacks: vec![StackId::UNSET],
            attributes: vec![Default::default()],
            links: vec![LinkId::UNSET],
            observations: Observations::Totals(vec![1, 2, 3]),
        }),
        ids: vec![[1; 16], [2; 16], [0; 16]],
        ..Profile::default()
    };
    Profiles::of(interner.finish(), vec![profile])
}

#[test]
fn the_default_type_is_sent_first_and_comes_back() {
    for (default, first) in [("", "c"), ("a", "a"), ("b", "b"), ("c", "c"), ("unknown", "c")] {
        let profiles = of_three_types(default);
        let bytes = encode(&profiles);
        let sent = ExportProfilesServiceRequest::decode(bytes.as_slice()).unwrap();
        let kind = sent.resource_profiles[0].scope_profiles[0].profiles[0]
            .sample_type
            .unwrap();
        let strings = &sent.dictionary.as_ref().unwrap().string_table;
        assert_eq!(strings[kind.type_strindex as usize], first, "{default}");
        let read_back = read(&bytes).profiles;
        let profile = read_back.iter().next().unwrap().profile;
        let d = read_back.dictionary();
        assert_eq!(d.str(profile.default_sample_type), default);
        assert_eq!(
            profile.samples.observations,
            Observations::Totals(vec![1, 2, 3]),
            "{default}"
        );
        assert_eq!(profile.ids, [[1; 16], [2; 16], [0; 16]]);
        let kinds: Vec<&str> = profile.sample_types.iter().map(|t| d.str(t.kind)).collect();
        assert_eq!(kinds, ["a", "b", "c"]);
    }
}

#[test]
fn without_an_order_the_first_that_was_sent_is_the_default() {
    let decoded = read(&siblings(&[1, 2]).encode_to_vec());
    let profile = decoded.profiles.iter().next().unwrap().profile;
    assert_eq!(decoded.profiles.dictionary().str(profile.default_sample_type), "a");
    let alone = read(&siblings(&[1]).encode_to_vec());
    assert_eq!(
        alone.profiles.iter().next().unwrap().profile.default_sample_type,
        StringId::UNSET
    );
}

/// What a sample says: stack, attributes, link, values and timestamps.
type Told = (usize, Vec<usize>, usize, Vec<i64>, Vec<u64>);

/// The samples of every type.
fn told(decoded: &Decoded) -> BTreeMap<String, Vec<Told>> {
    let d = decoded.profiles.dictionary();
    let mut told = BTreeMap::new();
    for at in decoded.profiles.iter() {
        let (samples, types) = (&at.profile.samples, &at.profile.sample_types);
        for (column, kind) in types.iter().enumerate() {
            let rows = (0..samples.len()).map(|row| {
                let attributes = &d.attribute_sets[samples.attributes[row]];
                let (values, times) = match &samples.observations {
                    Observations::Totals(values) => (vec![values[row * types.len() + column]], Vec::new()),
                    Observations::Series(series) => (series.values(row).to_vec(), series.timestamps(row).to_vec()),
                };
                let attributes = attributes.iter().map(|id| id.index()).collect();
                let (stack, link) = (samples.stacks[row].index(), samples.links[row].index());
                (stack, attributes, link, values, times)
            });
            told.insert(d.str(kind.kind).to_owned(), rows.collect());
        }
    }
    told
}

/// Three stacks, attributes and links to choose from.
fn with_tables(mut request: ExportProfilesServiceRequest) -> ExportProfilesServiceRequest {
    let dictionary = request.dictionary.as_mut().expect("a dictionary");
    dictionary.mapping_table = vec![Default::default()];
    dictionary.function_table = vec![Default::default()];
    dictionary.location_table = (0..3)
        .map(|address| wire::Location {
            address,
            ..Default::default()
        })
        .collect();
    dictionary.stack_table = (0..3)
        .map(|depth| wire::Stack {
            location_indices: vec![1; depth],
        })
        .collect();
    dictionary.attribute_table = (0..3)
        .map(|key| wire::KeyValueAndUnit {
            key_strindex: key,
            ..Default::default()
        })
        .collect();
    dictionary.link_table = (0..3)
        .map(|byte| wire::Link {
            trace_id: vec![byte; 16],
            span_id: vec![byte; 8],
        })
        .collect();
    request
}

fn any_sample() -> impl Strategy<Value = wire::Sample> {
    // without values it could be of another version
    let values = prop_oneof![20 => vec(-1..200i64, 1), 1 => vec(0..9i64, 1..3)];
    let times = prop_oneof![20 => Just(Vec::new()), 1 => vec(1..9u64, 1..3)];
    let attributes = prop_oneof![Just(Vec::new()), Just(vec![1]), Just(vec![1, 2])];
    // the last one does not exist
    let stack = prop_oneof![20 => 0..3i32, 1 => Just(3)];
    (stack, attributes, 0..3i32, values, times).prop_map(
        |(stack_index, attribute_indices, link_index, values, timestamps_unix_nano)| wire::Sample {
            stack_index,
            attribute_indices,
            link_index,
            values,
            timestamps_unix_nano,
        },
    )
}

/// The same samples with other values, and perhaps one that is another, one more or fewer.
fn any_sibling(base: Vec<wire::Sample>) -> impl Strategy<Value = Vec<wire::Sample>> {
    let change = prop_oneof![1 => Just(0u8), 1 => 1..4u8];
    let place = any::<prop::sample::Index>();
    (vec(any::<i64>(), base.len()), change, any_sample(), place).prop_map(move |(values, change, other, place)| {
        let mut samples = base.clone();
        for (sample, value) in samples.iter_mut().zip(values) {
            sample.values.iter_mut().for_each(|old| *old = value);
        }
        let place = place.index(samples.len() + 1);
        match change {
            1 => samples.insert(place, other),
            2 => samples.truncate(place),
            3 => samples.splice(place.., [other]).for_each(drop),
            _ => {}
        }
        samples
    })
}

fn any_siblings() -> impl Strategy<Value = Vec<Vec<wire::Sample>>> {
    vec(any_sample(), 0..6).prop_flat_map(|base| vec(any_sibling(base), 3))
}

proptest! {
    #[test]
    fn prop_a_profile_says_the_same_beside_its_siblings_and_apart(samples in any_siblings()) {
        let mut together = with_tables(siblings(&[1, 2, 3]));
        for (profile, samples) in scope(&mut together).profiles.iter_mut().zip(samples) {
            profile.samples = samples;
        }
        let mut apart = together.clone();
        let scopes = scope(&mut apart).profiles.drain(..).map(|profile| wire::ScopeProfiles {
            profiles: vec![profile],
            ..Default::default()
        });
        apart.resource_profiles[0].scope_profiles = scopes.collect();
        let (together, apart) = (read(&together.encode_to_vec()), read(&apart.encode_to_vec()));
        prop_assert_eq!(told(&together), told(&apart));
        prop_assert_eq!(together.rejected.profiles, apart.rejected.profiles);
        prop_assert_eq!(together.repairs, apart.repairs);
        prop_assert_eq!(together.exact, apart.exact);
    }
}

#[test]
fn what_stands_behind_a_value_is_read_where_the_front_is_as_before() {
    let value_first = |value: u8, attribute: u8| vec![0x22, 1, value, 0x12, 1, attribute];
    let mut request = with_tables(siblings(&[1, 2]));
    scope(&mut request)
        .profiles
        .iter_mut()
        .for_each(|profile| profile.samples.clear());
    let mut profiles = Vec::new();
    for (profile, sample) in scope(&mut request)
        .profiles
        .iter()
        .zip([value_first(5, 1), value_first(7, 2)])
    {
        let mut bytes = profile.encode_to_vec();
        prost::encoding::bytes::encode(2, &sample, &mut bytes);
        prost::encoding::bytes::encode(2, &bytes, &mut profiles);
    }
    scope(&mut request).profiles.clear();
    let mut bytes = request.encode_to_vec();
    let mut resource = Vec::new();
    prost::encoding::bytes::encode(2, &profiles, &mut resource);
    prost::encoding::bytes::encode(1, &resource, &mut bytes);
    let expected = [("a", 1, 5), ("b", 2, 7)]
        .map(|(kind, attribute, value)| (kind.to_owned(), vec![(0, vec![attribute], 0, vec![value], Vec::new())]));
    assert_eq!(told(&read(&bytes)), BTreeMap::from(expected));
}

#[test]
fn samples_behind_those_of_the_sibling_are_read() {
    let sample = |stack_index: i32, value: i64| wire::Sample {
        stack_index,
        attribute_indices: vec![1, 2],
        values: vec![value],
        ..Default::default()
    };
    let mut request = with_tables(siblings(&[1, 2, 3]));
    let rows = [
        vec![sample(1, 1), sample(2, 2)],
        vec![sample(1, 3), sample(2, 4), sample(1, 5)],
        vec![sample(1, 6)],
    ];
    for (profile, samples) in scope(&mut request).profiles.iter_mut().zip(rows) {
        profile.samples = samples;
    }
    let told = told(&read(&request.encode_to_vec()));
    let row = |stack, value| (stack, vec![1, 2], 0, vec![value], Vec::new());
    assert_eq!(told["a"], [row(1, 1), row(2, 2)]);
    assert_eq!(told["b"], [row(1, 3), row(2, 4), row(1, 5)]);
    assert_eq!(told["c"], [row(1, 6)]);
}
