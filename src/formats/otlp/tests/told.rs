//! Profiles as one would tell them, without an index: from the oracle's structs and from the model.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue as WireKeyValue};
use opentelemetry_proto::tonic::profiles::v1development as wire;

use crate::profile::*;

/// One profile of one sample type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    pub head: String,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub identity: String,
    pub values: Vec<i64>,
    pub times: Vec<u64>,
}

/// What the samples of each identity amount to together, with their timestamps.
type SumsOfOne = BTreeMap<String, (i128, Vec<u64>)>;

/// The same for every profile by its head.
pub type Sums = Vec<(String, SumsOfOne)>;

pub fn sums(told: &[Told]) -> Sums {
    let mut all: BTreeMap<String, Vec<SumsOfOne>> = BTreeMap::new();
    for profile in told {
        let mut sums = SumsOfOne::new();
        for row in &profile.rows {
            let (sum, times) = sums.entry(row.identity.clone()).or_default();
            *sum += match row.values.as_slice() {
                [] => row.times.len() as i128,
                values => values.iter().map(|v| i128::from(*v)).sum(),
            };
            times.extend(&row.times);
            times.sort_unstable();
        }
        all.entry(profile.head.clone()).or_default().push(sums);
    }
    all.into_iter()
        .flat_map(|(head, mut sums)| {
            sums.sort();
            sums.into_iter().map(move |sums| (head.clone(), sums))
        })
        .collect()
}

const SCOPE_KEYS: [&str; 2] = ["pprof.scope.default_sample_type", "pprof.scope.sample_type_order"];

/// The same with the samples in an order of their own: to write them puts them into another one.
pub fn in_any_order(mut told: Vec<Told>) -> Vec<Told> {
    told.iter_mut().for_each(|told| told.rows.sort());
    told.sort();
    told
}

pub fn by_oracle(request: &ExportProfilesServiceRequest) -> Vec<Told> {
    let none = wire::ProfilesDictionary::default();
    let d = request.dictionary.as_ref().unwrap_or(&none);
    let mut told = Vec::new();
    for resource in &request.resource_profiles {
        let about = resource.resource.clone().unwrap_or_default();
        for scope in &resource.scope_profiles {
            let instrument = scope.scope.clone().unwrap_or_default();
            let place = format!(
                "{} {} {} {} {} {} {} {}",
                key_values(d, &about.attributes),
                about.dropped_attributes_count,
                resource.schema_url,
                instrument.name,
                instrument.version,
                key_values(d, &instrument.attributes),
                instrument.dropped_attributes_count,
                scope.schema_url
            );
            told.extend(scope.profiles.iter().map(|profile| oracle_profile(d, &place, profile)));
        }
    }
    told.sort();
    told
}

fn oracle_profile(d: &wire::ProfilesDictionary, place: &str, p: &wire::Profile) -> Told {
    let kind = |t: &Option<wire::ValueType>| {
        let t = t.unwrap_or_default();
        format!("{}/{}", string(d, t.type_strindex), string(d, t.unit_strindex))
    };
    let id: String = match p.profile_id.iter().all(|b| *b == 0) {
        true => String::new(),
        false => format!("{:?}", p.profile_id),
    };
    let head = format!(
        "{place} {} {} {} {} {} {id} {} {:?} {} {}",
        kind(&p.sample_type),
        p.time_unix_nano,
        p.duration_nano,
        kind(&p.period_type),
        p.period,
        p.dropped_attributes_count,
        attributes(d, &p.attribute_indices),
        p.original_payload_format,
        p.original_payload.len(),
    );
    let rows = p.samples.iter().map(|s| oracle_row(d, s)).collect();
    Told { head, rows }
}

fn oracle_row(d: &wire::ProfilesDictionary, s: &wire::Sample) -> Row {
    let frames: Vec<String> = d.stack_table[s.stack_index as usize]
        .location_indices
        .iter()
        .map(|i| {
            let l = &d.location_table[*i as usize];
            let lines: Vec<String> = l
                .lines
                .iter()
                .map(|line| {
                    let f = &d.function_table[line.function_index as usize];
                    let names = [f.name_strindex, f.system_name_strindex, f.filename_strindex].map(|i| string(d, i));
                    format!("{names:?} {} {} {}", f.start_line, line.line, line.column)
                })
                .collect();
            let m = &d.mapping_table[l.mapping_index as usize];
            format!(
                "{:x} {lines:?} {} {:x}-{:x} {:x} {} {}",
                l.address,
                attributes(d, &l.attribute_indices),
                m.memory_start,
                m.memory_limit,
                m.file_offset,
                string(d, m.filename_strindex),
                attributes(d, &m.attribute_indices)
            )
        })
        .collect();
    let link = &d.link_table[s.link_index as usize];
    let id = |bytes: &[u8], len: usize| match bytes {
        [] => vec![0; len],
        bytes => bytes.to_vec(),
    };
    let link = (id(&link.trace_id, 16), id(&link.span_id, 8));
    Row {
        identity: format!("{frames:?} {} {link:?}", attributes(d, &s.attribute_indices)),
        values: s.values.clone(),
        times: s.timestamps_unix_nano.clone(),
    }
}

fn string(d: &wire::ProfilesDictionary, index: i32) -> &str {
    match index {
        0 => "",
        index => &d.string_table[index as usize],
    }
}

fn key_values(d: &wire::ProfilesDictionary, list: &[WireKeyValue]) -> String {
    let told: Vec<String> = list
        .iter()
        .filter(|kv| !SCOPE_KEYS.contains(&kv.key.as_str()))
        .map(|kv| oracle_key_value(d, kv))
        .collect();
    format!("{told:?}")
}

fn oracle_key_value(d: &wire::ProfilesDictionary, kv: &WireKeyValue) -> String {
    let key = match kv.key.as_str() {
        "" => string(d, kv.key_strindex),
        key => key,
    };
    format!("{key}={}", any(d, kv.value.as_ref()))
}

fn any(d: &wire::ProfilesDictionary, value: Option<&AnyValue>) -> String {
    match value.and_then(|v| v.value.as_ref()) {
        None => "empty".to_owned(),
        Some(Any::StringValue(text)) => format!("{text:?}"),
        Some(Any::StringValueStrindex(index)) => format!("{:?}", string(d, *index)),
        Some(Any::BoolValue(bit)) => bit.to_string(),
        Some(Any::IntValue(number)) => number.to_string(),
        Some(Any::DoubleValue(number)) => format!("{number:?}"),
        Some(Any::BytesValue(bytes)) => format!("bytes {bytes:?}"),
        Some(Any::ArrayValue(array)) => {
            let items: Vec<String> = array.values.iter().map(|v| any(d, Some(v))).collect();
            format!("{items:?}")
        }
        Some(Any::KvlistValue(list)) => {
            let entries: Vec<String> = list.values.iter().map(|kv| oracle_key_value(d, kv)).collect();
            format!("map {entries:?}")
        }
    }
}

fn attributes(d: &wire::ProfilesDictionary, indices: &[i32]) -> String {
    let mut told: Vec<String> = indices
        .iter()
        .filter(|i| **i != 0)
        .map(|i| {
            let a = &d.attribute_table[*i as usize];
            let key = string(d, a.key_strindex);
            let value = any(d, a.value.as_ref());
            // the older form of a lone comment means the same
            let (key, value) = match key {
                "pprof.profile.comment.0" => ("pprof.profile.comment", format!("{:?}", [value])),
                _ => (key, value),
            };
            format!("{key}={value} {}", string(d, a.unit_strindex))
        })
        .collect();
    told.sort();
    format!("{told:?}")
}

pub fn by_model(profiles: &Profiles) -> Vec<Told> {
    let d = profiles.dictionary();
    let mut told = Vec::new();
    for p in profiles.iter() {
        let place = format!(
            "{} {} {} {} {} {} {} {}",
            model_key_values(d, &p.resource.attributes),
            p.resource.dropped_attributes_count,
            d.str(p.resource.schema_url),
            d.str(p.scope.name),
            d.str(p.scope.version),
            model_key_values(d, &p.scope.attributes),
            p.scope.dropped_attributes_count,
            d.str(p.scope.schema_url)
        );
        for column in 0..p.profile.sample_types.len() {
            told.push(model_profile(d, &place, p.profile, column));
        }
    }
    told.sort();
    told
}

fn model_profile(d: &Dictionary, place: &str, p: &Profile, column: usize) -> Told {
    let kind = |t: ValueType| format!("{}/{}", d.str(t.kind), d.str(t.unit));
    let id = p.ids.get(column).filter(|id| **id != [0; 16]);
    let payload = p.original_payload.as_ref();
    let head = format!(
        "{place} {} {} {} {} {} {} {} {:?} {} {}",
        kind(p.sample_types[column]),
        p.time_unix_nano,
        p.duration_nano,
        kind(p.period_type),
        p.period,
        id.map_or(String::new(), |id| format!("{id:?}")),
        p.dropped_attributes_count,
        profile_attributes(d, p),
        payload.map_or("", |payload| d.str(payload.format)),
        payload.map_or(0, |payload| payload.bytes.len()),
    );
    let types = p.sample_types.len();
    let rows = (0..p.samples.len())
        .map(|row| {
            let (values, times) = match &p.samples.observations {
                Observations::Totals(values) => (vec![values[row * types + column]], Vec::new()),
                Observations::Series(series) => (series.values(row).to_vec(), series.timestamps(row).to_vec()),
            };
            Row {
                identity: model_identity(d, &p.samples, row),
                values,
                times,
            }
        })
        .collect();
    Told { head, rows }
}

fn model_identity(d: &Dictionary, samples: &Samples, row: usize) -> String {
    let frames: Vec<String> = d.stacks[samples.stacks[row]]
        .iter()
        .map(|id| {
            let l = d.locations[*id];
            let lines: Vec<String> = d.lines[*id]
                .iter()
                .map(|line| {
                    let f = d.functions[line.function];
                    let names = [f.name, f.system_name, f.filename].map(|id| d.str(id));
                    format!("{names:?} {} {} {}", f.start_line, line.line, line.column)
                })
                .collect();
            let m = d.mappings[l.mapping];
            format!(
                "{:x} {lines:?} {} {:x}-{:x} {:x} {} {}",
                l.address,
                model_attributes(d, l.attributes),
                m.memory_start,
                m.memory_limit,
                m.file_offset,
                d.str(m.filename),
                model_attributes(d, m.attributes)
            )
        })
        .collect();
    let link = d.links[samples.links[row]];
    let link = (link.trace_id.to_vec(), link.span_id.to_vec());
    format!("{frames:?} {} {link:?}", model_attributes(d, samples.attributes[row]))
}

fn model_key_values(d: &Dictionary, list: &[KeyValue]) -> String {
    let told: Vec<String> = list
        .iter()
        .map(|kv| format!("{}={}", d.str(kv.key), model_value(d, &kv.value)))
        .collect();
    format!("{told:?}")
}

fn model_value(d: &Dictionary, value: &Value) -> String {
    match value {
        Value::Empty => "empty".to_owned(),
        Value::String(id) => format!("{:?}", d.str(*id)),
        Value::Bool(bit) => bit.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => format!("{number:?}"),
        Value::Bytes(bytes) => format!("bytes {bytes:?}"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|v| model_value(d, v)).collect();
            format!("{items:?}")
        }
        Value::Map(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, v)| format!("{}={}", d.str(*key), model_value(d, v)))
                .collect();
            format!("map {entries:?}")
        }
    }
}

fn model_attribute(d: &Dictionary, a: &Attribute) -> String {
    format!("{}={} {}", d.str(a.key), model_value(d, &a.value), d.str(a.unit))
}

/// A repeated key is told as the array that OTLP makes of it.
fn model_attributes(d: &Dictionary, set: AttributeSetId) -> String {
    let mut by_key: BTreeMap<&str, Vec<&Attribute>> = BTreeMap::new();
    for a in d.attributes_of(set) {
        by_key.entry(d.str(a.key)).or_default().push(a);
    }
    let mut told: Vec<String> = by_key
        .iter()
        .map(|(key, same)| match same.as_slice() {
            [a] => model_attribute(d, a),
            several => {
                let items: Vec<String> = several.iter().map(|a| model_value(d, &a.value)).collect();
                format!("{key}={items:?} {}", d.str(several[0].unit))
            }
        })
        .collect();
    told.sort();
    format!("{told:?}")
}

fn profile_attributes(d: &Dictionary, p: &Profile) -> String {
    let mut told: Vec<String> = d.attributes_of(p.attributes).map(|a| model_attribute(d, a)).collect();
    if !p.comments.is_empty() {
        let comments: Vec<String> = p.comments.iter().map(|id| format!("{:?}", d.str(*id))).collect();
        told.push(format!("pprof.profile.comment={comments:?} "));
    }
    for (key, id) in [
        ("drop_frames", p.drop_frames),
        ("keep_frames", p.keep_frames),
        ("doc_url", p.doc_url),
    ] {
        if id.is_set() {
            told.push(format!("pprof.profile.{key}={:?} ", d.str(id)));
        }
    }
    told.sort();
    format!("{told:?}")
}
