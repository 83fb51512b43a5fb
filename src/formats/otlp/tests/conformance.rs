//! What is written keeps the rules of profiles.proto, MUST and SHOULD alike, whatever the profiles were.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue as WireKeyValue;
use opentelemetry_proto::tonic::profiles::v1development as wire;
use proptest::prelude::*;
use prost::Message;

use super::told::by_model;
use super::*;
use crate::profile::testing::any_profiles;
use crate::profile::{Attribute, Id, Profile, Value};

/// Which rows of each table are referred to.
#[derive(Default)]
struct Used(BTreeMap<&'static str, HashSet<usize>>);

impl Used {
    fn index(&mut self, table: &'static str, index: i32, rows: usize) -> usize {
        let index = usize::try_from(index).expect("not negative");
        assert!(index < rows, "{table}[{index}] of {rows}");
        self.0.entry(table).or_default().insert(index);
        index
    }

    fn assert_all(&self, table: &'static str, rows: usize) {
        let used = self
            .0
            .get(table)
            .map_or(0, |rows| rows.iter().filter(|i| **i > 0).count());
        assert_eq!(used + 1, rows, "orphans in {table}");
    }
}

fn assert_unique<Row: Hash + Eq>(table: &str, rows: impl IntoIterator<Item = Row>) {
    let mut known = HashSet::new();
    for row in rows {
        assert!(known.insert(row), "a row of {table} stands twice");
    }
}

fn assert_conformant(bytes: &[u8]) {
    let request = ExportProfilesServiceRequest::decode(bytes).expect("the oracle reads it");
    let d = request.dictionary.as_ref().expect("a dictionary");
    assert_eq!(d.string_table[0], "");
    assert_eq!(d.mapping_table[0], wire::Mapping::default());
    assert_eq!(d.location_table[0], wire::Location::default());
    assert_eq!(d.function_table[0], wire::Function::default());
    assert_eq!(d.attribute_table[0], wire::KeyValueAndUnit::default());
    assert_eq!(d.stack_table[0], wire::Stack::default());
    assert_eq!(
        (d.link_table[0].trace_id.as_slice(), d.link_table[0].span_id.as_slice()),
        (&[0; 16][..], &[0; 8][..])
    );
    assert_unique("string_table", &d.string_table);
    assert_unique("mapping_table", d.mapping_table.iter().map(Message::encode_to_vec));
    assert_unique("location_table", d.location_table.iter().map(Message::encode_to_vec));
    assert_unique("function_table", d.function_table.iter().map(Message::encode_to_vec));
    assert_unique("link_table", d.link_table.iter().map(Message::encode_to_vec));
    assert_unique("attribute_table", d.attribute_table.iter().map(Message::encode_to_vec));
    assert_unique("stack_table", d.stack_table.iter().map(Message::encode_to_vec));
    let mut used = Used::default();
    for resource in &request.resource_profiles {
        for scope in &resource.scope_profiles {
            assert_inline(&scope.scope.clone().unwrap_or_default().attributes);
            for profile in &scope.profiles {
                assert_profile(d, &mut used, profile);
            }
        }
        assert_inline(&resource.resource.clone().unwrap_or_default().attributes);
    }
    assert_tables(d, &mut used);
}

fn assert_inline(attributes: &[WireKeyValue]) {
    assert!(attributes.iter().all(|kv| kv.key_strindex == 0));
}

fn assert_attributes(d: &wire::ProfilesDictionary, used: &mut Used, indices: &[i32]) {
    let rows = d.attribute_table.len();
    assert_unique(
        "a list of attributes",
        indices
            .iter()
            .map(|i| d.attribute_table[used.index("attribute", *i, rows)].key_strindex),
    );
}

fn assert_profile(d: &wire::ProfilesDictionary, used: &mut Used, profile: &wire::Profile) {
    for t in [profile.sample_type, profile.period_type].into_iter().flatten() {
        used.index("string", t.type_strindex, d.string_table.len());
        used.index("string", t.unit_strindex, d.string_table.len());
    }
    assert_attributes(d, used, &profile.attribute_indices);
    let mut shapes = HashSet::new();
    for sample in &profile.samples {
        used.index("stack", sample.stack_index, d.stack_table.len());
        used.index("link", sample.link_index, d.link_table.len());
        assert_attributes(d, used, &sample.attribute_indices);
        let (values, timestamps) = (sample.values.len(), sample.timestamps_unix_nano.len());
        assert!(values == 1 && timestamps == 0 || timestamps > 0 && (values == 0 || values == timestamps));
        shapes.insert((values > 0, timestamps > 0));
    }
    assert!(shapes.len() <= 1, "two shapes");
    assert_unique(
        "the identities of a profile",
        profile.samples.iter().map(|s| {
            let mut attributes = s.attribute_indices.clone();
            attributes.sort_unstable();
            (s.stack_index, attributes, s.link_index)
        }),
    );
}

fn assert_tables(d: &wire::ProfilesDictionary, used: &mut Used) {
    for stack in &d.stack_table {
        for i in &stack.location_indices {
            used.index("location", *i, d.location_table.len());
        }
    }
    for location in &d.location_table {
        used.index("mapping", location.mapping_index, d.mapping_table.len());
        assert_attributes(d, used, &location.attribute_indices);
        for line in &location.lines {
            used.index("function", line.function_index, d.function_table.len());
            assert!(line.line >= 0 && line.column >= 0);
        }
    }
    for mapping in &d.mapping_table {
        used.index("string", mapping.filename_strindex, d.string_table.len());
        assert_attributes(d, used, &mapping.attribute_indices);
    }
    for (i, function) in d.function_table.iter().enumerate() {
        let names = [
            function.name_strindex,
            function.system_name_strindex,
            function.filename_strindex,
        ];
        for name in names {
            used.index("string", name, d.string_table.len());
        }
        assert!(
            i == 0 || names.iter().any(|name| *name > 0),
            "a function without a name"
        );
        assert!(function.start_line >= 0);
    }
    for attribute in &d.attribute_table {
        used.index("string", attribute.key_strindex, d.string_table.len());
        used.index("string", attribute.unit_strindex, d.string_table.len());
    }
    used.assert_all("string", d.string_table.len());
    used.assert_all("mapping", d.mapping_table.len());
    used.assert_all("location", d.location_table.len());
    used.assert_all("function", d.function_table.len());
    used.assert_all("link", d.link_table.len());
    used.assert_all("attribute", d.attribute_table.len());
    used.assert_all("stack", d.stack_table.len());
}

/// Random profiles with all that OTLP has no field for: comments and patterns, negative lines, functions without names, text values.
fn odd_profiles() -> impl Strategy<Value = Profiles> {
    (any_profiles(), proptest::collection::vec(0u8..6, 1..8)).prop_map(|(mut profiles, oddities)| {
        let (d, resources) = profiles.edit();
        let mut oddities = oddities.into_iter().cycle();
        let mut next = || oddities.next().unwrap_or_default();
        for line in d.lines.items_mut() {
            line.line = i64::from(next()) - 3;
        }
        for function in d.functions.rows_mut().iter_mut().skip(1) {
            function.start_line = i64::from(next()) - 2;
            if next() == 5 {
                (function.name, function.filename) = (Id::UNSET, Id::UNSET);
            }
        }
        let text = d.strings.push("file.rs");
        for profile in resources
            .iter_mut()
            .flat_map(|r| &mut r.scopes)
            .flat_map(|s| &mut s.profiles)
        {
            make_odd(d, profile, text, next());
        }
        profiles
    })
}

fn make_odd(d: &mut crate::profile::Dictionary, profile: &mut Profile, text: crate::profile::StringId, oddity: u8) {
    match oddity {
        0 => profile.comments = vec![d.strings.push("a comment"), text],
        1 => profile.drop_frames = d.strings.push("pprof.profile.comment"),
        2 => profile.doc_url = text,
        3 => profile.default_sample_type = profile.sample_types[0].kind,
        4 => profile.ids = vec![[7; 16]; profile.sample_types.len()],
        _ => {
            let key = d.strings.push("pprof.profile.keep_frames");
            let attribute = d.attributes.push(Attribute {
                key,
                value: Value::Int(1),
                unit: Id::UNSET,
            });
            profile.attributes = d.attribute_sets.push(&[attribute]);
            profile.keep_frames = text;
        }
    }
}

#[test]
fn real_files_leave_conformant() {
    for (name, bytes) in good_files() {
        let written = encode(&read(&bytes).profiles);
        assert_conformant(&written);
        eprintln!("{name}: {} bytes became {}", bytes.len(), written.len());
    }
}

#[test]
fn no_profiles_are_a_request_too() {
    let written = encode(&Profiles::default());
    assert_conformant(&written);
    assert!(read(&written).profiles.is_empty());
}

proptest! {
    #[test]
    fn prop_whatever_is_written_conforms(profiles in odd_profiles()) {
        let written = encode(&profiles);
        assert_conformant(&written);
        // writing what was read writes the same: nothing is lost on the way round
        let read_back = read(&written).profiles;
        prop_assert_eq!(by_model(&read(&encode(&read_back)).profiles), by_model(&compacted(&read_back)));
        // a part has a dictionary of its own
        for part in read_back.by_profile() {
            assert_conformant(&encode(&part));
        }
    }
}
