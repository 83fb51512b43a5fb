//! What single profiles would take, without writing them.

use super::lift::{COMMENT, DOC_URL, DROP_FRAMES, KEEP_FRAMES};
use crate::formats::arrange::frame_bytes;
use crate::profile::{
    Attribute, AttributeSetId, Dictionary, Function, Id, KeyValue, Link, Location, Mapping, Observations, Profile,
    ProfileRef, Samples, Stack, StackId, StringId, Text, Value, ValueType,
};

/// Weighs profiles of one dictionary: each as if it were sent alone. Takes time in proportion to what a profile refers to.
///
/// It comes within a few hundredths of what [`encode`](super::encode) writes: rows are taken as they stand, so equal ones count twice.
pub struct Scale<'a> {
    d: &'a Dictionary,
    strings: Marks<Text>,
    functions: Marks<Function>,
    mappings: Marks<Mapping>,
    locations: Marks<Location>,
    /// How often each location on the scale is in its stacks, by its number; that without one is at 0.
    frames: Vec<u32>,
    stacks: Marks<Stack>,
    attributes: Marks<Attribute>,
    links: Marks<Link>,
    /// Of the dictionary of the profile on the scale.
    tables: usize,
}

impl<'a> Scale<'a> {
    /// A scale for profiles of this dictionary.
    pub fn new(d: &'a Dictionary) -> Self {
        Self {
            d,
            strings: Marks::new(d.strings.len()),
            functions: Marks::new(d.functions.len()),
            mappings: Marks::new(d.mappings.len()),
            locations: Marks::new(d.locations.len()),
            frames: Vec::new(),
            stacks: Marks::new(d.stacks.len()),
            attributes: Marks::new(d.attributes.len()),
            links: Marks::new(d.links.len()),
            tables: 0,
        }
    }

    /// Bytes of a profile as OTLP, alone and without compression.
    pub fn bytes(&mut self, at: ProfileRef<'_>) -> usize {
        self.clear();
        let attributes = |all: &[KeyValue]| -> usize {
            let each = all
                .iter()
                .map(|row| message(self.text(row.key) + message(self.value(&row.value))));
            each.sum()
        };
        let resource = attributes(&at.resource.attributes) + self.text(at.resource.schema_url);
        let scope = attributes(&at.scope.attributes) + self.text(at.scope.name) + self.text(at.scope.version);
        let head = message(resource) + message(scope) + self.text(at.scope.schema_url);
        let types = at.profile.sample_types.len().max(1);
        let columns: usize = (0..types).map(|column| message(self.profile(at.profile, column))).sum();
        let frames = self.frames.split_first_mut();
        let frames = frames.map_or(0, |(none, frames)| *none as usize + frame_bytes(frames));
        message(message(message(head + columns))) + message(self.tables + frames)
    }

    fn clear(&mut self) {
        self.strings.clear();
        self.functions.clear();
        self.mappings.clear();
        self.locations.clear();
        self.frames.clear();
        self.frames.push(0);
        self.stacks.clear();
        self.attributes.clear();
        self.links.clear();
        // of each table its first row, which says nothing
        self.tables = 14;
    }

    fn profile(&mut self, profile: &Profile, column: usize) -> usize {
        let sample_type = profile.sample_types.get(column).copied().unwrap_or_default();
        let types = self.value_type(sample_type) + self.value_type(profile.period_type);
        let set = self.set(profile.attributes);
        let payload = profile.original_payload.as_ref().filter(|_| column == 0);
        let payload = payload.map_or(0, |payload| self.text(payload.format) + message(payload.bytes.len()));
        let said: usize = [
            (COMMENT, profile.comments.as_slice()),
            (DROP_FRAMES, &[profile.drop_frames]),
            (KEEP_FRAMES, &[profile.keep_frames]),
            (DOC_URL, &[profile.doc_url]),
        ]
        .iter()
        .filter(|(_, texts)| texts.iter().any(|text| text.is_set()))
        .map(|(key, texts)| key.len() + 12 + texts.iter().map(|text| 2 + self.text(*text)).sum::<usize>())
        .sum();
        if column == 0 {
            self.tables += said;
        }
        let numbers = 9 + field(profile.duration_nano) + field(profile.period as u64) + 18;
        let samples = &profile.samples;
        let rows: usize = (0..samples.len())
            .map(|row| message(self.sample(samples, row, column, profile.sample_types.len())))
            .sum();
        types + set + payload + numbers + rows
    }

    fn sample(&mut self, samples: &Samples, row: usize, column: usize, types: usize) -> usize {
        let mut bytes = 0;
        if let (Some(stack), Some(set), Some(link)) = (
            samples.stacks.get(row),
            samples.attributes.get(row),
            samples.links.get(row),
        ) {
            bytes += self.stack(*stack) + self.set(*set);
            if link.is_set() {
                let (number, is_new) = self.links.number(*link);
                bytes += field(number);
                self.tables += if is_new { 30 } else { 0 };
            }
        }
        bytes
            + match &samples.observations {
                Observations::Totals(values) => {
                    let value = values.get(row * types + column).copied().unwrap_or_default();
                    message(varint(value as u64))
                }
                Observations::Series(series) => {
                    let values = series.values(row).iter().map(|value| varint(*value as u64));
                    some(values.sum()) + some(8 * series.timestamps(row).len())
                }
            }
    }

    /// The field of a sample that names its stack. What is new goes to the tables.
    fn stack(&mut self, stack: StackId) -> usize {
        if !stack.is_set() {
            return 0;
        }
        let (number, is_new) = self.stacks.number(stack);
        if is_new {
            let d = self.d;
            let frames = &d.stacks[stack];
            for location in frames {
                let number = self.location(*location) as usize;
                match self.frames.get_mut(number) {
                    Some(times) => *times += 1,
                    None => self.frames.push(1),
                }
            }
            // the frames themselves are weighed when it is known which of them have short numbers
            self.tables += message(some(frames.len())) - frames.len();
        }
        field(number)
    }

    fn location(&mut self, id: Id<Location>) -> u64 {
        let (number, is_new) = self.locations.number(id);
        if is_new && id.is_set() {
            let d = self.d;
            let row = d.locations[id];
            let lines: usize = d.lines[id]
                .iter()
                .map(|line| {
                    let function = self.function(line.function);
                    message(field(function) + field(line.line as u64) + field(line.column as u64))
                })
                .sum();
            let mapping = self.mapping(row.mapping);
            let set = self.set(row.attributes);
            self.tables += message(field(mapping) + field(row.address) + lines + set);
        }
        number
    }

    fn function(&mut self, id: Id<Function>) -> u64 {
        let (number, is_new) = self.functions.number(id);
        if is_new && id.is_set() {
            let row = self.d.functions[id];
            let texts = [row.name, row.system_name, row.filename];
            let texts: usize = texts.into_iter().map(|text| field(self.string(text))).sum();
            self.tables += message(texts + field(row.start_line as u64));
        }
        number
    }

    fn mapping(&mut self, id: Id<Mapping>) -> u64 {
        let (number, is_new) = self.mappings.number(id);
        if is_new && id.is_set() {
            let row = self.d.mappings[id];
            let numbers = field(row.memory_start) + field(row.memory_limit) + field(row.file_offset);
            let name = field(self.string(row.filename));
            let set = self.set(row.attributes);
            self.tables += message(numbers + name + set);
        }
        number
    }

    /// A list of the numbers of attributes.
    fn set(&mut self, set: AttributeSetId) -> usize {
        let d = self.d;
        let mut list = 0;
        for id in d.attribute_sets[set].iter().filter(|id| id.is_set()) {
            let (number, is_new) = self.attributes.number(*id);
            list += varint(number);
            if is_new {
                let row = &d.attributes[*id];
                let (key, unit) = (self.string(row.key), self.string(row.unit));
                self.tables += message(field(key) + message(self.value(&row.value)) + field(unit));
            }
        }
        some(list)
    }

    fn value_type(&mut self, of: ValueType) -> usize {
        message(field(self.string(of.kind)) + field(self.string(of.unit)))
    }

    /// The number of a text in the table of strings.
    fn string(&mut self, id: StringId) -> u64 {
        if !id.is_set() {
            return 0;
        }
        let (number, is_new) = self.strings.number(id);
        self.tables += if is_new { self.text(id) } else { 0 };
        number
    }

    fn text(&self, id: StringId) -> usize {
        some(self.d.str(id).len())
    }

    fn value(&self, value: &Value) -> usize {
        match value {
            Value::Empty => 0,
            Value::String(id) => message(self.d.str(*id).len()),
            Value::Bool(_) => 2,
            Value::Int(number) => 1 + varint(*number as u64),
            Value::Double(_) => 9,
            Value::Bytes(bytes) => message(bytes.len()),
            Value::Array(items) => message(items.iter().map(|item| message(self.value(item))).sum()),
            Value::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, item)| message(self.text(*key) + message(self.value(item))));
                message(entries.sum())
            }
        }
    }
}

/// Rows of one table in the order of their first use, and which profile used them last.
struct Marks<Row> {
    rows: Vec<(u32, u32)>,
    profile: u32,
    used: u32,
    of: std::marker::PhantomData<fn() -> Row>,
}

impl<Row> Marks<Row> {
    fn new(rows: usize) -> Self {
        Self {
            rows: vec![(0, 0); rows],
            profile: 0,
            used: 0,
            of: std::marker::PhantomData,
        }
    }

    fn clear(&mut self) {
        self.profile += 1;
        self.used = 0;
    }

    /// The number of a row in its table, and whether nothing referred to it before.
    #[inline]
    fn number(&mut self, id: Id<Row>) -> (u64, bool) {
        let Some((profile, number)) = self.rows.get_mut(id.index()).filter(|_| id.is_set()) else {
            return (0, false);
        };
        let is_new = *profile != self.profile;
        if is_new {
            self.used += 1;
            (*profile, *number) = (self.profile, self.used);
        }
        (u64::from(*number), is_new)
    }
}

#[inline]
fn varint(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// A number with its key, left out if 0.
#[inline]
fn field(value: u64) -> usize {
    match value {
        0 => 0,
        value => 1 + varint(value),
    }
}

/// So many bytes with their key and their length.
#[inline]
fn message(bytes: usize) -> usize {
    1 + varint(bytes as u64) + bytes
}

/// The same, left out if there are none.
#[inline]
fn some(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        bytes => message(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Limits, any, otlp};
    use crate::testing::{corpus_file, data};

    /// Each profile weighs what is written of it, give or take a few hundredths.
    fn check(name: &str, bytes: Vec<u8>) {
        let Ok(read) = any::decode_any(bytes.into(), &Limits::default()) else {
            panic!("{name}")
        };
        let mut profiles = read.decoded.profiles;
        profiles.compact();
        let mut scale = Scale::new(profiles.dictionary());
        for (one, at) in profiles.by_profile().iter().zip(profiles.iter()) {
            let (weighed, written) = (scale.bytes(at) as f64, otlp::encode(one).len() as f64);
            let off = (weighed - written).abs();
            assert!(off <= 0.03 * written + 64.0, "{name}: {weighed} for {written}");
        }
    }

    #[test]
    fn recordings_weigh_what_is_written_of_them() {
        for name in [
            "go123-heap.pb.gz",
            "go123-cpu-labels.pb.gz",
            "go123-cpu-links.otlp",
            "node20-wall-cpu-labels.pb.gz",
            "rust-cpu.pb.gz",
            "rust-jemalloc-heap.pb.gz",
            "ap-cpu.jfrconv.otlp",
            "ap-cpu-native.otlp",
            "ap-wall.jfr.gz",
        ] {
            check(name, data(name));
        }
    }

    #[test]
    fn large_recordings_weigh_what_is_written_of_them() {
        for name in [
            "pprof/go123-large-heap.pb.gz",
            "otlp/go123-large-heap.otlp.gz",
            "pprof/go123-large-cpu-traces.pb.gz",
            "legacy-pprof/ext-large.cpu.gz",
        ] {
            if let Some(bytes) = corpus_file(name) {
                check(name, bytes);
            }
        }
    }

    #[test]
    fn numbers_take_what_the_wire_says() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX >> 1,
            u64::MAX,
        ] {
            let mut out = crate::formats::wire::Writer::default();
            out.raw_varint(value);
            assert_eq!(varint(value), out.len(), "{value}");
        }
    }
}
