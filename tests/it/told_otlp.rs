//! OTLP profiles as one would tell them, without an index, by the project's own crate for OpenTelemetry.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::profiles::v1development as wire;
use prost::Message;

/// A request as its sender or reader sees it.
pub type Request = ExportProfilesServiceRequest;

/// What samples of one identity amount to: the sum of their values, their timestamps, and how many values stand at those.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Amount {
    sum: i128,
    times: Vec<u64>,
    values_at_times: usize,
}

/// Amounts by resource and sample type, then by the hash of what stack, attributes and link say.
pub type Told = BTreeMap<(String, String), HashMap<u64, Amount>>;

/// The sum of all values, by resource and sample type.
pub fn sums(told: &Told) -> BTreeMap<(String, String), i128> {
    let sum = |amounts: &HashMap<u64, Amount>| amounts.values().map(|amount| amount.sum).sum();
    told.iter()
        .map(|(head, amounts)| (head.clone(), sum(amounts)))
        .collect()
}

/// The messages of a file that a Collector's file exporter writes: each behind its length.
pub fn messages(file: &Path) -> Vec<Request> {
    let bytes = std::fs::read(file).unwrap();
    let (mut rest, mut messages) = (&bytes[..], Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (message, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        messages.push(read(message));
        rest = tail;
    }
    messages
}

pub fn read(bytes: &[u8]) -> Request {
    Request::decode(bytes).expect("the oracle reads it")
}

fn profiles(request: &Request) -> impl Iterator<Item = (&wire::ResourceProfiles, &wire::Profile)> {
    request.resource_profiles.iter().flat_map(|resource| {
        let scopes = resource.scope_profiles.iter();
        scopes.flat_map(move |scope| scope.profiles.iter().map(move |profile| (resource, profile)))
    })
}

pub fn profile_count(request: &Request) -> usize {
    profiles(request).count()
}

/// How many values and timestamps all samples have.
pub fn counts(request: &Request) -> (usize, usize) {
    let samples = || profiles(request).flat_map(|(_, profile)| &profile.samples);
    let times = samples().map(|sample| sample.timestamps_unix_nano.len());
    (samples().map(|sample| sample.values.len()).sum(), times.sum())
}

/// `type/unit` of every sample type, sorted.
pub fn kinds(told: &Told) -> Vec<&str> {
    let mut kinds: Vec<&str> = told.keys().map(|(_, kind)| kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

pub fn tell<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Told {
    let mut told = Told::new();
    for request in requests {
        let empty = wire::ProfilesDictionary::default();
        let names = Names::of(request.dictionary.as_ref().unwrap_or(&empty));
        for (resource, profile) in profiles(request) {
            let amounts = told.entry(names.head(resource, profile)).or_default();
            for sample in &profile.samples {
                let amount = amounts.entry(names.identity(sample)).or_default();
                amount.sum += sample.values.iter().map(|value| i128::from(*value)).sum::<i128>();
                amount.times.extend(&sample.timestamps_unix_nano);
                amount.times.sort_unstable();
                if !sample.timestamps_unix_nano.is_empty() {
                    amount.values_at_times += sample.values.len();
                }
            }
        }
    }
    told
}

/// The rows of a dictionary, each as the hash of what it says.
struct Names<'a> {
    d: &'a wire::ProfilesDictionary,
    attributes: Vec<u64>,
    stacks: Vec<u64>,
    links: Vec<u64>,
}

impl<'a> Names<'a> {
    fn of(d: &'a wire::ProfilesDictionary) -> Self {
        let attributes = d.attribute_table.iter().map(|a| {
            let unit = text(d, a.unit_strindex);
            hash((text(d, a.key_strindex), value(d, a.value.as_ref()), unit))
        });
        let attributes: Vec<u64> = attributes.collect();
        let locations: Vec<u64> = d.location_table.iter().map(|l| location(d, l, &attributes)).collect();
        let frames = |stack: &wire::Stack| hash(rows(&stack.location_indices, &locations));
        let zero = |link: &wire::Link| link.trace_id.iter().chain(&link.span_id).all(|byte| *byte == 0);
        let link = |link: &wire::Link| {
            if zero(link) {
                0
            } else {
                hash((&link.trace_id, &link.span_id))
            }
        };
        Self {
            d,
            stacks: d.stack_table.iter().map(frames).collect(),
            links: d.link_table.iter().map(link).collect(),
            attributes,
        }
    }

    fn head(&self, resource: &wire::ResourceProfiles, profile: &wire::Profile) -> (String, String) {
        let attributes = resource.resource.as_ref().map(|r| r.attributes.as_slice());
        let attributes = attributes.unwrap_or_default().iter();
        let mut attributes: Vec<_> = attributes.map(|kv| key_value(self.d, kv)).collect();
        attributes.sort();
        let t = profile.sample_type.unwrap_or_default();
        let kind = format!("{}/{}", text(self.d, t.type_strindex), text(self.d, t.unit_strindex));
        (attributes.join(","), kind)
    }

    fn identity(&self, sample: &wire::Sample) -> u64 {
        let stack = self.stacks[sample.stack_index as usize];
        let link = self.links[sample.link_index as usize];
        hash((stack, set(&sample.attribute_indices, &self.attributes), link))
    }
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn rows(indices: &[i32], hashes: &[u64]) -> Vec<u64> {
    indices.iter().map(|index| hashes[*index as usize]).collect()
}

/// Attributes have no order.
fn set(indices: &[i32], hashes: &[u64]) -> Vec<u64> {
    let mut set = rows(indices, hashes);
    set.sort_unstable();
    set
}

fn location(d: &wire::ProfilesDictionary, location: &wire::Location, attributes: &[u64]) -> u64 {
    let mapping = &d.mapping_table[location.mapping_index as usize];
    let lines: Vec<_> = location
        .lines
        .iter()
        .map(|line| {
            let f = &d.function_table[line.function_index as usize];
            (text(d, f.name_strindex), text(d, f.filename_strindex), line.line)
        })
        .collect();
    let binary = text(d, mapping.filename_strindex);
    hash((
        binary,
        location.address,
        lines,
        set(&location.attribute_indices, attributes),
    ))
}

fn text(d: &wire::ProfilesDictionary, index: i32) -> &str {
    &d.string_table[index as usize]
}

fn key_value(d: &wire::ProfilesDictionary, kv: &KeyValue) -> String {
    let key = if kv.key.is_empty() {
        text(d, kv.key_strindex)
    } else {
        &kv.key
    };
    format!("{key}={}", value(d, kv.value.as_ref()))
}

fn value(d: &wire::ProfilesDictionary, value_of: Option<&AnyValue>) -> String {
    match value_of.and_then(|v| v.value.as_ref()) {
        None => String::new(),
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::StringValueStrindex(index)) => text(d, *index).to_owned(),
        Some(Any::ArrayValue(array)) => format!(
            "{:?}",
            array.values.iter().map(|v| value(d, Some(v))).collect::<Vec<_>>()
        ),
        Some(Any::KvlistValue(list)) => format!(
            "{:?}",
            list.values.iter().map(|kv| key_value(d, kv)).collect::<Vec<_>>()
        ),
        Some(other) => format!("{other:?}"),
    }
}

/// Entry 0 of every table is its zero value.
pub fn assert_zero_rows(name: &str, request: &Request) {
    let d = request.dictionary.as_ref().expect("a dictionary");
    assert_eq!(d.string_table[0], "", "{name}");
    assert_eq!(d.mapping_table[0], wire::Mapping::default(), "{name}");
    assert_eq!(d.location_table[0], wire::Location::default(), "{name}");
    assert_eq!(d.function_table[0], wire::Function::default(), "{name}");
    assert_eq!(d.attribute_table[0], wire::KeyValueAndUnit::default(), "{name}");
    assert_eq!(d.stack_table[0], wire::Stack::default(), "{name}");
    let link = &d.link_table[0];
    assert!(
        link.trace_id.iter().chain(&link.span_id).all(|byte| *byte == 0),
        "{name}"
    );
}
