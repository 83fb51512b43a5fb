//! pprof by prost, and what a profile means: every reference followed, every number of ours gone.

use std::collections::HashMap;
use std::rc::Rc;

use prost::Message;

use crate::formats::Decoded;
use crate::profile::{AttributeSetId, Dictionary, LocationId, MappingId, Profile, Value};

#[derive(Clone, PartialEq, Message)]
pub struct RawProfile {
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<RawValueType>,
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<RawSample>,
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<RawMapping>,
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<RawLocation>,
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<RawFunction>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub string_table: Vec<Vec<u8>>,
    #[prost(int64, tag = "7")]
    pub drop_frames: i64,
    #[prost(int64, tag = "8")]
    pub keep_frames: i64,
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<RawValueType>,
    #[prost(int64, tag = "12")]
    pub period: i64,
    #[prost(int64, repeated, tag = "13")]
    pub comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
    #[prost(int64, tag = "15")]
    pub doc_url: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct RawValueType {
    #[prost(int64, tag = "1")]
    pub kind: i64,
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct RawSample {
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<RawLabel>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct RawLabel {
    #[prost(int64, tag = "1")]
    pub key: i64,
    #[prost(int64, tag = "2")]
    pub text: i64,
    #[prost(int64, tag = "3")]
    pub num: i64,
    #[prost(int64, tag = "4")]
    pub num_unit: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct RawMapping {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub memory_start: u64,
    #[prost(uint64, tag = "3")]
    pub memory_limit: u64,
    #[prost(uint64, tag = "4")]
    pub file_offset: u64,
    #[prost(int64, tag = "5")]
    pub filename: i64,
    #[prost(int64, tag = "6")]
    pub build_id: i64,
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
    #[prost(bool, tag = "8")]
    pub has_filenames: bool,
    #[prost(bool, tag = "9")]
    pub has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    pub has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct RawLocation {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    #[prost(uint64, tag = "3")]
    pub address: u64,
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<RawLine>,
    #[prost(bool, tag = "5")]
    pub is_folded: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct RawLine {
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    #[prost(int64, tag = "2")]
    pub line: i64,
    #[prost(int64, tag = "3")]
    pub column: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct RawFunction {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "2")]
    pub name: i64,
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    #[prost(int64, tag = "4")]
    pub filename: i64,
    #[prost(int64, tag = "5")]
    pub start_line: i64,
}

/// Start, limit, offset, file, build id, the four flags.
pub type MappingMeaning = (u64, u64, u64, String, String, [bool; 4]);
/// Name, system name, file, start line; then line and column.
type LineMeaning = (String, String, String, i64, i64, i64);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocationMeaning {
    mapping: MappingMeaning,
    address: u64,
    folded: bool,
    lines: Vec<LineMeaning>,
}

/// Whether it is a number, key, text, number, unit: in Go's order.
pub type LabelMeaning = (bool, String, String, i64, String);

#[derive(Clone, Debug, PartialEq)]
pub struct SampleMeaning {
    pub stack: Vec<Rc<LocationMeaning>>,
    pub values: Vec<i64>,
    pub labels: Vec<LabelMeaning>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    pub types: Vec<(String, String)>,
    pub mappings: Vec<MappingMeaning>,
    pub samples: Vec<SampleMeaning>,
    pub period_type: (String, String),
    pub period: i64,
    pub time: i64,
    pub duration: i64,
    pub comments: Vec<String>,
    /// Drop frames, keep frames, default sample type, doc url.
    pub texts: [String; 4],
}

impl Meaning {
    /// The same with the samples in an order of their own: to write them puts them into another one.
    pub fn in_any_order(mut self) -> Self {
        self.samples.sort_by_cached_key(|sample| format!("{sample:?}"));
        self
    }
}

fn label(key: String, text: String, num: i64, unit: String) -> LabelMeaning {
    let is_number = text.is_empty() && (num != 0 || !unit.is_empty());
    match is_number {
        true => (true, key, text, num, unit),
        false => (false, key, text, 0, String::new()),
    }
}

fn in_order(mut labels: Vec<LabelMeaning>) -> Vec<LabelMeaning> {
    labels.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    labels
}

impl RawProfile {
    pub fn read(bytes: &[u8]) -> Self {
        Self::decode(bytes).expect("prost reads it")
    }

    fn text(&self, position: i64) -> String {
        String::from_utf8_lossy(&self.string_table[position as usize]).into_owned()
    }

    fn pair(&self, value_type: RawValueType) -> (String, String) {
        (self.text(value_type.kind), self.text(value_type.unit))
    }

    pub fn meaning(&self) -> Meaning {
        let functions = self.function.iter().map(|f| (f.id, *f)).collect();
        let meaning = |l: &RawLocation| (l.id, Rc::new(self.location_meaning(l, &functions)));
        let locations: HashMap<u64, Rc<LocationMeaning>> = self.location.iter().map(meaning).collect();
        let sample = |sample: &RawSample| SampleMeaning {
            stack: sample.location_id.iter().map(|id| locations[id].clone()).collect(),
            values: sample.value.clone(),
            labels: in_order(sample.label.iter().map(|l| self.label_meaning(l)).collect()),
        };
        Meaning {
            types: self.sample_type.iter().map(|t| self.pair(*t)).collect(),
            mappings: self.mapping.iter().map(|m| self.mapping_meaning(m)).collect(),
            samples: self.sample.iter().map(sample).collect(),
            period_type: self.pair(self.period_type.unwrap_or_default()),
            period: self.period,
            time: self.time_nanos.max(0),
            duration: self.duration_nanos.max(0),
            comments: self.comment.iter().map(|c| self.text(*c)).collect(),
            texts: [
                self.drop_frames,
                self.keep_frames,
                self.default_sample_type,
                self.doc_url,
            ]
            .map(|t| self.text(t)),
        }
    }

    fn label_meaning(&self, l: &RawLabel) -> LabelMeaning {
        label(self.text(l.key), self.text(l.text), l.num, self.text(l.num_unit))
    }

    fn location_meaning(&self, location: &RawLocation, functions: &HashMap<u64, RawFunction>) -> LocationMeaning {
        let mapping = self.mapping.iter().find(|m| m.id == location.mapping_id);
        LocationMeaning {
            mapping: mapping.map(|m| self.mapping_meaning(m)).unwrap_or_default(),
            address: location.address,
            folded: location.is_folded,
            lines: location.line.iter().map(|l| self.line_meaning(l, functions)).collect(),
        }
    }

    fn mapping_meaning(&self, m: &RawMapping) -> MappingMeaning {
        let flags = [
            m.has_functions,
            m.has_filenames,
            m.has_line_numbers,
            m.has_inline_frames,
        ];
        let (file, build_id) = (self.text(m.filename), self.text(m.build_id));
        (m.memory_start, m.memory_limit, m.file_offset, file, build_id, flags)
    }

    fn line_meaning(&self, line: &RawLine, functions: &HashMap<u64, RawFunction>) -> LineMeaning {
        let f = functions.get(&line.function_id).copied().unwrap_or_default();
        let (name, system_name, file) = (self.text(f.name), self.text(f.system_name), self.text(f.filename));
        (name, system_name, file, f.start_line, line.line, line.column)
    }
}

/// What the model says a profile means.
pub fn of_model(decoded: &Decoded) -> Meaning {
    let dictionary = decoded.profiles.dictionary();
    let profile = decoded.profiles.iter().next().expect("one profile").profile;
    let text = |id| dictionary.str(id).to_owned();
    let pair = |t: crate::profile::ValueType| (text(t.kind), text(t.unit));
    let locations = dictionary
        .locations
        .ids()
        .map(|id| Rc::new(location_of_model(dictionary, id)));
    let locations: Vec<_> = locations.collect();
    let rows = 0..profile.samples.len();
    Meaning {
        types: profile.sample_types.iter().map(|t| pair(*t)).collect(),
        mappings: profile
            .mappings
            .iter()
            .map(|id| mapping_of_model(dictionary, *id))
            .collect(),
        samples: rows
            .map(|row| sample_of_model(dictionary, &locations, profile, row))
            .collect(),
        period_type: pair(profile.period_type),
        period: profile.period,
        time: profile.time_unix_nano as i64,
        duration: profile.duration_nano as i64,
        comments: profile.comments.iter().map(|id| text(*id)).collect(),
        texts: [
            profile.drop_frames,
            profile.keep_frames,
            profile.default_sample_type,
            profile.doc_url,
        ]
        .map(text),
    }
}

fn sample_of_model(
    dictionary: &Dictionary,
    locations: &[Rc<LocationMeaning>],
    profile: &Profile,
    row: usize,
) -> SampleMeaning {
    let types = profile.sample_types.len();
    let stack = &dictionary.stacks[profile.samples.stacks[row]];
    SampleMeaning {
        stack: stack.iter().map(|id| locations[id.index()].clone()).collect(),
        values: (0..types)
            .map(|column| profile.samples.total(row, column, types))
            .collect(),
        labels: labels_of_model(dictionary, profile.samples.attributes[row]),
    }
}

fn labels_of_model(dictionary: &Dictionary, set: AttributeSetId) -> Vec<LabelMeaning> {
    let meaning = dictionary.attributes_of(set).map(|attribute| {
        let key = dictionary.str(attribute.key).to_owned();
        match attribute.value {
            Value::String(id) => (false, key, dictionary.str(id).to_owned(), 0, String::new()),
            Value::Int(n) => (true, key, String::new(), n, dictionary.str(attribute.unit).to_owned()),
            ref other => panic!("pprof has no {other:?}"),
        }
    });
    in_order(meaning.collect())
}

fn location_of_model(dictionary: &Dictionary, id: LocationId) -> LocationMeaning {
    let location = dictionary.locations[id];
    LocationMeaning {
        mapping: mapping_of_model(dictionary, location.mapping),
        address: location.address,
        folded: is_true(dictionary, location.attributes, "pprof.location.is_folded"),
        lines: dictionary.lines[id]
            .iter()
            .map(|l| line_of_model(dictionary, l))
            .collect(),
    }
}

fn is_true(dictionary: &Dictionary, set: AttributeSetId, key: &str) -> bool {
    dictionary.attribute(set, key) == Some(&Value::Bool(true))
}

fn mapping_of_model(dictionary: &Dictionary, id: MappingId) -> MappingMeaning {
    let mapping = dictionary.mappings[id];
    let build_id = ["gnu", "go"].into_iter().find_map(|kind| {
        let key = format!("process.executable.build_id.{kind}");
        match dictionary.attribute(mapping.attributes, &key)? {
            Value::String(id) => Some(dictionary.str(*id).to_owned()),
            _ => None,
        }
    });
    let flags = ["functions", "filenames", "line_numbers", "inline_frames"];
    (
        mapping.memory_start,
        mapping.memory_limit,
        mapping.file_offset,
        dictionary.str(mapping.filename).to_owned(),
        build_id.unwrap_or_default(),
        flags.map(|name| is_true(dictionary, mapping.attributes, &format!("pprof.mapping.has_{name}"))),
    )
}

fn line_of_model(dictionary: &Dictionary, line: &crate::profile::Line) -> LineMeaning {
    let function = dictionary.functions[line.function];
    let text = |id| dictionary.str(id).to_owned();
    (
        text(function.name),
        text(function.system_name),
        text(function.filename),
        function.start_line,
        line.line,
        line.column,
    )
}
