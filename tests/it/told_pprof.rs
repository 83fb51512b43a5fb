//! pprof as one would tell it, without an id, by prost.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    string_table: Vec<Vec<u8>>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
    #[prost(int64, tag = "3")]
    number: i64,
    #[prost(int64, tag = "4")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// A profile as it means.
#[derive(Debug, Default, PartialEq)]
pub struct Told {
    /// `type/unit` in order.
    pub types: Vec<String>,
    pub comments: Vec<String>,
    /// Sums of each type by the hash of what stack and labels say.
    pub samples: HashMap<u64, Vec<i64>>,
}

impl Told {
    /// The sum of each type.
    pub fn sums(&self) -> BTreeMap<&str, i64> {
        let sum = |column: usize| self.samples.values().map(|values| values[column]).sum();
        let types = self.types.iter().enumerate();
        types.map(|(column, kind)| (kind.as_str(), sum(column))).collect()
    }
}

/// Bytes without gzip around them, however often and of however many members.
// another decompressor than ours, over files that we wrote or chose
#[allow(clippy::disallowed_types)]
pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = bytes.to_vec();
    while plain.starts_with(&[0x1f, 0x8b]) {
        let mut inner = Vec::new();
        flate2::read::MultiGzDecoder::new(&plain[..])
            .read_to_end(&mut inner)
            .unwrap();
        plain = inner;
    }
    plain
}

/// How many frames a sample has, and the names of its labels of text.
pub struct Row {
    pub frames: usize,
    pub labels: Vec<String>,
}

pub fn samples(bytes: &[u8]) -> Vec<Row> {
    let wire = Wire::decode(bytes).expect("prost reads it");
    let text = |index: i64| String::from_utf8_lossy(&wire.string_table[index as usize]).into_owned();
    let labels = |sample: &Sample| {
        sample
            .label
            .iter()
            .filter(|l| l.text != 0)
            .map(|l| text(l.key))
            .collect()
    };
    let row = |sample: &Sample| Row {
        frames: sample.location_id.len(),
        labels: labels(sample),
    };
    wire.sample.iter().map(row).collect()
}

/// When it was taken, in nanoseconds.
pub fn time(bytes: &[u8]) -> i64 {
    Wire::decode(bytes).expect("prost reads it").time_nanos
}

pub fn tell(bytes: &[u8]) -> Told {
    let wire = Wire::decode(bytes).expect("prost reads it");
    let text = |index: i64| String::from_utf8_lossy(&wire.string_table[index as usize]);
    let functions: HashMap<u64, u64> = wire
        .function
        .iter()
        .map(|f| (f.id, hash((text(f.name), text(f.filename)))))
        .collect();
    let frame = |location: &Location| {
        let lines = location.line.iter();
        let lines: Vec<_> = lines.map(|l| (functions.get(&l.function_id), l.line)).collect();
        hash((location.address, lines))
    };
    let frames: HashMap<u64, u64> = wire.location.iter().map(|l| (l.id, frame(l))).collect();
    let mut told = Told {
        types: wire
            .sample_type
            .iter()
            .map(|t| format!("{}/{}", text(t.kind), text(t.unit)))
            .collect(),
        comments: wire.comment.iter().map(|c| text(*c).into_owned()).collect(),
        samples: HashMap::new(),
    };
    for sample in &wire.sample {
        let stack: Vec<u64> = sample.location_id.iter().map(|id| frames[id]).collect();
        let mut labels: Vec<_> = sample
            .label
            .iter()
            .map(|l| (text(l.key), text(l.text), l.number, text(l.unit)))
            .collect();
        labels.sort();
        let sums = told
            .samples
            .entry(hash((stack, labels)))
            .or_insert_with(|| vec![0; told.types.len()]);
        for (sum, value) in sums.iter_mut().zip(&sample.value) {
            *sum += value;
        }
    }
    told
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// A sample with everything spelt out.
#[derive(Clone, Debug)]
pub struct Spelt {
    /// Names of functions, the leaf first; an address where a frame has none.
    pub frames: Vec<String>,
    /// Labels, numbers in decimal.
    pub labels: BTreeMap<String, String>,
    pub values: Vec<i64>,
}

/// Names of types and the samples of a pprof.
pub fn spelt(bytes: &[u8]) -> (Vec<String>, Vec<Spelt>) {
    let wire = Wire::decode(bytes).expect("prost reads it");
    let text = |index: i64| String::from_utf8_lossy(&wire.string_table[index as usize]).into_owned();
    let functions: HashMap<u64, String> = wire.function.iter().map(|f| (f.id, text(f.name))).collect();
    let frames = |location: &Location| -> Vec<String> {
        match location.line.as_slice() {
            [] => vec![format!("{:x}", location.address)],
            lines => lines.iter().map(|line| functions[&line.function_id].clone()).collect(),
        }
    };
    let frames: HashMap<u64, Vec<String>> = wire.location.iter().map(|l| (l.id, frames(l))).collect();
    let label = |l: &Label| match l.text {
        0 => (text(l.key), l.number.to_string()),
        index => (text(l.key), text(index)),
    };
    let sample = |sample: &Sample| Spelt {
        frames: sample.location_id.iter().flat_map(|id| frames[id].clone()).collect(),
        labels: sample.label.iter().map(label).collect(),
        values: sample.value.clone(),
    };
    let types = wire.sample_type.iter().map(|kind| text(kind.kind)).collect();
    (types, wire.sample.iter().map(sample).collect())
}

/// What a label of a made payload says.
pub enum Says {
    Text(String),
    Number(i64),
}

/// The same pprof with other labels on its samples, made of theirs.
pub fn relabelled(bytes: &[u8], change: impl Fn(&BTreeMap<String, String>) -> Vec<(String, Says)>) -> Vec<u8> {
    let mut wire = Wire::decode(bytes).expect("prost reads it");
    let (_, before) = spelt(bytes);
    for (sample, spelt) in wire.sample.iter_mut().zip(before) {
        sample.label.clear();
        for (key, says) in change(&spelt.labels) {
            let mut put = |text: String| {
                wire.string_table.push(text.into_bytes());
                wire.string_table.len() as i64 - 1
            };
            let key = put(key);
            let (text, number) = match says {
                Says::Text(text) => (put(text), 0),
                Says::Number(number) => (0, number),
            };
            sample.label.push(Label {
                key,
                text,
                number,
                unit: 0,
            });
        }
    }
    wire.encode_to_vec()
}
