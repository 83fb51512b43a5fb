//! Random profiles for property tests, and what must stay the same whatever is done to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// A profile as people would tell it: everything resolved to text, equal samples summed up, order forgotten.
pub type Told = BTreeMap<(String, String), Vec<i128>>;

/// One sample to generate.
#[derive(Clone, Debug)]
struct Draft {
    stack: Vec<u8>,
    labels: Vec<(u8, u8)>,
    link: u8,
    values: Vec<i64>,
    timestamps: Vec<u64>,
}

/// Random profiles: several resources, repeated rows, orphans, both shapes of observations.
pub fn any_profiles() -> impl Strategy<Value = Profiles> {
    let sample = (
        proptest::collection::vec(0u8..12, 0..6),
        proptest::collection::vec((0u8..3, 0u8..4), 0..3),
        0u8..3,
        proptest::collection::vec(-50i64..1000, 3),
        proptest::collection::vec(1u64..50, 0..3),
    )
        .prop_map(|(stack, labels, link, values, timestamps)| Draft {
            stack,
            labels,
            link,
            values,
            timestamps,
        });
    let samples = proptest::collection::vec(sample, 0..12);
    let profile = (
        1usize..4,
        any::<bool>(),
        samples,
        proptest::collection::vec(0u8..5, 0..6),
    );
    let resource = (0u8..3, proptest::collection::vec(profile, 0..3));
    proptest::collection::vec(resource, 0..4).prop_map(|resources| {
        let mut dictionary = Dictionary::default();
        let resources = resources
            .into_iter()
            .map(|(name, profiles)| draft_resource(&mut dictionary, name, profiles))
            .collect();
        draft_orphans(&mut dictionary);
        Profiles::new(dictionary, resources)
    })
}

/// A row of every table that only other such rows refer to, behind all that are in use.
fn draft_orphans(d: &mut Dictionary) {
    let name = d.strings.push("a last orphan");
    let key = d.strings.push("an orphaned key");
    let attribute = |value| Attribute {
        key,
        value,
        unit: Id::UNSET,
    };
    let labels = [Value::String(name), Value::Int(7)].map(|value| d.attributes.push(attribute(value)));
    let attributes = d.attribute_sets.push(&labels);
    let mapping = d.mappings.push(Mapping {
        filename: name,
        attributes,
        ..Mapping::default()
    });
    let function = d.functions.push(Function {
        name,
        ..Function::default()
    });
    let line = Line {
        function,
        line: 1,
        column: 0,
    };
    let location = Location {
        mapping,
        attributes,
        ..Location::default()
    };
    let location = d.push_location(location, &[line]);
    d.stacks.push(&[location, location]);
    d.links.push(Link {
        trace_id: [9; 16],
        span_id: [9; 8],
    });
}

fn draft_resource(d: &mut Dictionary, name: u8, profiles: Vec<(usize, bool, Vec<Draft>, Vec<u8>)>) -> ResourceProfiles {
    let key = d.strings.push("service.name");
    let value = Value::String(d.strings.push(&format!("service-{name}")));
    d.strings.push("an orphan");
    ResourceProfiles {
        attributes: vec![KeyValue { key, value }],
        scopes: vec![ScopeProfiles {
            name: d.strings.push("scope"),
            profiles: profiles
                .into_iter()
                .map(|(types, series, samples, mappings)| Profile {
                    mappings: mappings.into_iter().map(|n| draft_mapping(d, n)).collect(),
                    ..draft_profile(d, types, series, samples)
                })
                .collect(),
            ..ScopeProfiles::default()
        }],
        ..ResourceProfiles::default()
    }
}

fn draft_profile(d: &mut Dictionary, types: usize, series: bool, drafts: Vec<Draft>) -> Profile {
    let types = if series { 1 } else { types };
    let mut samples = Samples::default();
    let mut totals = Vec::new();
    let mut observed = Series::default();
    for draft in drafts {
        samples.stacks.push(draft_stack(d, &draft.stack));
        samples.attributes.push(draft_labels(d, &draft.labels));
        samples.links.push(match draft.link {
            0 => LinkId::UNSET,
            n => d.links.push(Link {
                trace_id: [n; 16],
                span_id: [n; 8],
            }),
        });
        totals.extend(draft.values.iter().take(types));
        match draft.timestamps.as_slice() {
            [] => observed.push(&draft.values[..1], &[]),
            [one] => observed.push(&[], &[*one]),
            several => observed.push(&draft.values[..several.len()], several),
        }
    }
    samples.observations = if series {
        Observations::Series(observed)
    } else {
        Observations::Totals(totals)
    };
    let mut value_type = |n: usize| ValueType {
        kind: d.strings.push(&format!("kind-{n}")),
        unit: d.strings.push("count"),
    };
    Profile {
        sample_types: (0..types).map(&mut value_type).collect(),
        samples: Arc::new(samples),
        time_unix_nano: 1,
        duration_nano: 100,
        period_type: value_type(9),
        period: 7,
        ..Profile::default()
    }
}

fn draft_stack(d: &mut Dictionary, frames: &[u8]) -> StackId {
    let frames: Vec<LocationId> = frames
        .iter()
        .map(|n| {
            let name = d.strings.push(&format!("function-{n}"));
            let filename = d.strings.push("file.rs");
            let function = d.functions.push(Function {
                name,
                filename,
                ..Function::default()
            });
            let mapping = draft_mapping(d, 1);
            let line = Line {
                function,
                line: i64::from(*n) + 1,
                column: 0,
            };
            let location = Location {
                mapping,
                address: 4096 + u64::from(*n),
                attributes: AttributeSetId::UNSET,
            };
            d.push_location(location, &[line])
        })
        .collect();
    d.stacks.push(&frames)
}

/// The one that says nothing, that of all frames, or one in which no frame lies.
fn draft_mapping(d: &mut Dictionary, n: u8) -> MappingId {
    let (filename, attributes) = match n {
        0 => return MappingId::UNSET,
        1 => ("binary".to_owned(), AttributeSetId::UNSET),
        n => (format!("library-{n}"), draft_labels(d, &[(n, 0), (7, n)])),
    };
    let filename = d.strings.push(&filename);
    d.mappings.push(Mapping {
        memory_start: 4096 * u64::from(n),
        filename,
        attributes,
        ..Mapping::default()
    })
}

fn draft_labels(d: &mut Dictionary, labels: &[(u8, u8)]) -> AttributeSetId {
    let set: Vec<AttributeId> = labels
        .iter()
        .map(|(key, value)| {
            let key = d.strings.push(&format!("key-{key}"));
            let value = match value {
                0 => Value::Int(7),
                n => Value::String(d.strings.push(&format!("value-{n}"))),
            };
            d.attributes.push(Attribute {
                key,
                value,
                unit: StringId::UNSET,
            })
        })
        .collect();
    d.attribute_sets.push(&set)
}

/// Tells profiles so that two of them can be compared whatever their ids and order are.
pub fn tell(profiles: &Profiles) -> Told {
    let d = profiles.dictionary();
    let mut told = Told::new();
    for p in profiles.iter() {
        let attributes: Vec<String> = p
            .resource
            .attributes
            .iter()
            .map(|kv| tell_value(d, kv.key, &kv.value))
            .collect();
        let types: Vec<String> = p
            .profile
            .sample_types
            .iter()
            .map(|t| format!("{}/{}", d.str(t.kind), d.str(t.unit)))
            .collect();
        let head = format!(
            "{attributes:?} {} {types:?} {} {} {} {}",
            d.str(p.scope.name),
            p.profile.time_unix_nano,
            p.profile.duration_nano,
            p.profile.period,
            d.str(p.profile.period_type.kind),
        );
        for row in 0..p.profile.samples.len() {
            let sums = told
                .entry((head.clone(), tell_sample(d, &p.profile.samples, row)))
                .or_default();
            sums.resize(types.len(), 0);
            for (column, sum) in sums.iter_mut().enumerate() {
                *sum += i128::from(p.profile.samples.total(row, column, types.len()));
            }
        }
    }
    told
}

/// The lists of mappings of all profiles, in any order, with what repeats and what says nothing left out as compacting does.
pub fn tell_mappings(profiles: &Profiles) -> Vec<Vec<String>> {
    let d = profiles.dictionary();
    let tell = |id: &MappingId| {
        let row = d.mappings[*id];
        let mut attributes: Vec<_> = d
            .attributes_of(row.attributes)
            .map(|a| tell_value(d, a.key, &a.value))
            .collect();
        attributes.sort();
        format!("{:x} {} {attributes:?}", row.memory_start, d.str(row.filename))
    };
    let nothing = tell(&MappingId::UNSET);
    let mut told: Vec<Vec<String>> = Vec::new();
    for p in profiles.iter() {
        let mut list = Vec::new();
        for (place, mapping) in p.profile.mappings.iter().map(tell).enumerate() {
            if !list.contains(&mapping) && (place == 0 || mapping != nothing) {
                list.push(mapping);
            }
        }
        told.push(list);
    }
    told.sort();
    told
}

fn tell_value(d: &Dictionary, key: StringId, value: &Value) -> String {
    match value {
        Value::String(id) => format!("{}={}", d.str(key), d.str(*id)),
        other => format!("{}={other:?}", d.str(key)),
    }
}

fn tell_sample(d: &Dictionary, samples: &Samples, row: usize) -> String {
    let frames: Vec<String> = d.stacks[samples.stacks[row]]
        .iter()
        .map(|id| {
            let location = d.locations[*id];
            let lines: Vec<String> = d.lines[*id]
                .iter()
                .map(|l| {
                    let f = d.functions[l.function];
                    format!("{} {}:{}", d.str(f.name), d.str(f.filename), l.line)
                })
                .collect();
            let mapping = d.mappings[location.mapping];
            format!("{:x} {} {lines:?}", location.address, d.str(mapping.filename))
        })
        .collect();
    let mut labels: Vec<String> = d
        .attributes_of(samples.attributes[row])
        .map(|a| tell_value(d, a.key, &a.value))
        .collect();
    // between keys order has no meaning; between the values of one key it has, and a stable sort by key would keep it
    labels.sort_by(|a, b| a.split('=').next().cmp(&b.split('=').next()));
    format!("{frames:?} {labels:?} {:?}", d.links[samples.links[row]])
}

/// Attaches to each profile an original that tells how many samples it holds.
pub fn attach_originals(profiles: &mut Profiles) {
    let scopes = profiles
        .edit_resources()
        .iter_mut()
        .flat_map(|resource| &mut resource.scopes);
    for profile in scopes.flat_map(|scope| &mut scope.profiles) {
        profile.original_payload = Some(OriginalPayload {
            format: StringId::UNSET,
            bytes: profile.samples.len().to_string().into(),
        });
    }
}

/// Whether no original holds more samples than its profile.
pub fn has_no_more(profile: &Profile) -> bool {
    let original = profile.original_payload.as_ref();
    original.is_none_or(|original| *original.bytes == *profile.samples.len().to_string().as_bytes())
}
