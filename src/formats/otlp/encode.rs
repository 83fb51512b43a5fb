//! Writes proto 1.10, which is also that of 1.11.

use std::borrow::Cow;

use super::lift::{DEFAULT_SAMPLE_TYPE, SAMPLE_TYPE_ORDER};
use super::lower::lower;
use crate::formats::arrange::{Stacks, alike_together, by_key, often_first, pays};
use crate::formats::wire::Writer;
use crate::formats::{EncodeError, Format};
use crate::profile::{
    Attribute, AttributeSetId, Dictionary, Id, KeyValue, Location, Mapping, Observations, Profile, Profiles,
    ResourceProfiles, Samples, ScopeProfiles, Stack, StackId, StringId, Text, Value, ValueType,
};

/// Writes an `ExportProfilesServiceRequest`, which is also a `ProfilesData`.
///
/// Entry 0 of every table is its zero value, nothing stands twice and nothing is unused, and locations, stacks and samples have an
/// order of our own (see `arrange`). OTLP has no list of mappings, so those in which no location lies are left out. Texts of attributes
/// stand where they are used, because not every reader looks them up. A profile of several types becomes as many profiles, the one to
/// show first in front, and its scope says what the order was.
pub fn encode(profiles: &Profiles) -> Vec<u8> {
    write(profiles, usize::MAX).finish()
}

/// The same in `most` bytes: a text is written wherever it is used, so little may become very much.
pub fn encode_within(profiles: &Profiles, most: usize) -> Result<Vec<u8>, EncodeError> {
    let out = write(profiles, most);
    match out.is_full() {
        true => Err(EncodeError::too_large(Format::Otlp)),
        false => Ok(out.finish()),
    }
}

fn write(profiles: &Profiles, most: usize) -> Writer {
    let lowered = lower(profiles);
    let dictionary = lowered.dictionary();
    let mut out = Writer::within(most, expected_bytes(&lowered));
    let is_arranged = pays(dictionary, dictionary.stacks.len());
    let locations = Numbers::of(
        dictionary.locations.len(),
        often_first(dictionary, dictionary.locations.ids().skip(1), |_| 1),
    );
    let mut encoder = Encoder {
        dictionary,
        most,
        stacks: stacks(dictionary, &locations, is_arranged),
        is_arranged,
        locations,
        strings: Numbers::new(dictionary.strings.len()),
        attributes: Numbers::new(dictionary.attributes.len()),
    };
    for resource in lowered.resources() {
        out.message(1, |out| encoder.resource(out, resource));
    }
    out.message(2, |out| encoder.tables(out));
    out
}

/// A guess that is seldom too small.
fn expected_bytes(profiles: &Profiles) -> usize {
    let d = profiles.dictionary();
    let samples: usize = profiles
        .iter()
        .map(|p| p.profile.samples.len() * p.profile.sample_types.len())
        .sum();
    let lists = d.stacks.items().len() * 2 + d.lines.items().len() * 8 + d.locations.len() * 12;
    d.strings.text_bytes() + d.strings.len() * 3 + lists + samples * 16 + 1024
}

fn stacks(dictionary: &Dictionary, locations: &Numbers<Location>, is_arranged: bool) -> Numbers<Stack> {
    let stacks = &dictionary.stacks;
    let ids: Vec<StackId> = stacks.ids().collect();
    if !is_arranged {
        return Numbers::of(stacks.len(), ids);
    }
    let order = alike_together(dictionary, &locations.numbers, &ids);
    Numbers::of(stacks.len(), order.iter().filter_map(|place| ids.get(*place).copied()))
}

struct Encoder<'a> {
    dictionary: &'a Dictionary,
    /// Bytes that may be written.
    most: usize,
    locations: Numbers<Location>,
    stacks: Numbers<Stack>,
    /// Whether stacks have an order of their own, which samples follow.
    is_arranged: bool,
    /// Those that stand where they are used are not among them.
    strings: Numbers<Text>,
    attributes: Numbers<Attribute>,
}

/// The samples of a profile with the numbers of their stacks.
struct NumberedSamples<'p> {
    stacks: Vec<u32>,
    samples: Cow<'p, Samples>,
}

/// A table to be.
struct Numbers<Row> {
    /// By id; 0 if not in the table.
    numbers: Vec<u32>,
    used: Vec<Id<Row>>,
}

impl<Row> Numbers<Row> {
    fn new(rows: usize) -> Self {
        Self {
            numbers: vec![0; rows],
            used: Vec::new(),
        }
    }

    /// These, of so many rows.
    fn of(rows: usize, these: impl IntoIterator<Item = Id<Row>>) -> Self {
        let mut numbers = Self::new(rows);
        for row in these {
            numbers.number(row);
        }
        numbers
    }

    /// The number of a row that has one; 0 for any other.
    #[inline]
    fn known(&self, id: Id<Row>) -> u32 {
        self.numbers.get(id.index()).copied().unwrap_or_default()
    }

    #[inline]
    fn number(&mut self, id: Id<Row>) -> u64 {
        let Some(number) = self.numbers.get_mut(id.index()).filter(|_| id.is_set()) else {
            return 0;
        };
        if *number == 0 {
            self.used.push(id);
            *number = self.used.len() as u32;
        }
        u64::from(*number)
    }
}

impl Encoder<'_> {
    fn resource(&mut self, out: &mut Writer, resource: &ResourceProfiles) {
        out.message(1, |out| {
            for attribute in &resource.attributes {
                out.message(1, |out| self.key_value(out, attribute));
            }
            out.uint(2, u64::from(resource.dropped_attributes_count));
        });
        for scope in &resource.scopes {
            self.scope(out, scope);
        }
        self.text(out, 3, resource.schema_url);
    }

    /// One scope, or several where its profiles differ in what the scope has to say about sample types.
    fn scope(&mut self, out: &mut Writer, scope: &ScopeProfiles) {
        let like =
            |a: &Profile, b: &Profile| a.default_sample_type == b.default_sample_type && self.order(a) == self.order(b);
        let runs: Vec<&[Profile]> = scope.profiles.chunk_by(like).collect();
        for run in runs {
            out.message(2, |out| {
                out.message(1, |out| self.about_scope(out, scope, run));
                for profile in run {
                    let samples = self.samples(profile);
                    for column in self.order(profile) {
                        out.message(2, |out| self.profile(out, profile, &samples, column));
                    }
                }
                self.text(out, 3, scope.schema_url);
            });
        }
    }

    fn about_scope(&mut self, out: &mut Writer, scope: &ScopeProfiles, run: &[Profile]) {
        self.text(out, 1, scope.name);
        self.text(out, 2, scope.version);
        for attribute in &scope.attributes {
            out.message(3, |out| self.key_value(out, attribute));
        }
        let Some(profile) = run.first() else {
            return;
        };
        if profile.default_sample_type.is_set() {
            let value = Value::String(profile.default_sample_type);
            out.message(3, |out| self.named_value(out, DEFAULT_SAMPLE_TYPE, &value));
        }
        let order = self.order(profile);
        if order.len() > 1 {
            let value = Value::Array(order.iter().map(|column| Value::Int(*column as i64)).collect());
            out.message(3, |out| self.named_value(out, SAMPLE_TYPE_ORDER, &value));
        }
        out.uint(4, u64::from(scope.dropped_attributes_count));
    }

    /// The sample types in the order in which they are sent: first the one to show, which for pprof is the last if not said otherwise.
    fn order(&self, profile: &Profile) -> Vec<usize> {
        let types = &profile.sample_types;
        let default = types
            .iter()
            .position(|t| profile.default_sample_type.is_set() && t.kind == profile.default_sample_type);
        let first = default.unwrap_or(types.len().saturating_sub(1));
        let rest = (0..types.len()).filter(|column| *column != first);
        let first = (first < types.len()).then_some(first);
        first.into_iter().chain(rest).collect()
    }

    /// The samples in the order in which they are written.
    fn samples<'p>(&self, profile: &'p Profile) -> NumberedSamples<'p> {
        let numbers = profile.samples.stacks.iter().map(|stack| self.stacks.known(*stack));
        if !self.is_arranged {
            return NumberedSamples {
                stacks: numbers.collect(),
                samples: Cow::Borrowed(&profile.samples),
            };
        }
        let (stacks, order): (Vec<u32>, Vec<usize>) = by_key(numbers)
            .into_iter()
            .map(|(number, place)| (number, place as usize))
            .unzip();
        NumberedSamples {
            stacks,
            samples: profile.samples.in_order(profile.sample_types.len(), &order),
        }
    }

    fn profile(&mut self, out: &mut Writer, profile: &Profile, samples: &NumberedSamples<'_>, column: usize) {
        let types = profile.sample_types.len();
        if let Some(sample_type) = profile.sample_types.get(column) {
            out.message(1, |out| self.value_type(out, *sample_type));
        }
        for (row, stack) in samples.stacks.iter().enumerate() {
            if out.is_full() {
                break;
            }
            out.message(2, |out| self.sample(out, &samples.samples, row, *stack, column, types));
        }
        out.fixed64(3, profile.time_unix_nano);
        out.uint(4, profile.duration_nano);
        if profile.period_type != ValueType::default() {
            out.message(5, |out| self.value_type(out, profile.period_type));
        }
        out.int(6, profile.period);
        if let Some(id) = profile.ids.get(column).filter(|id| **id != [0; 16]) {
            out.bytes(7, id);
        }
        out.uint(8, u64::from(profile.dropped_attributes_count));
        if let Some(payload) = &profile.original_payload
            && payload.format.is_set()
            && !payload.bytes.is_empty()
            && self.order(profile).first() == Some(&column)
        {
            self.text(out, 9, payload.format);
            out.bytes(10, &payload.bytes);
        }
        out.packed(11, self.attribute_indices(profile.attributes));
    }

    #[inline]
    fn sample(&mut self, out: &mut Writer, samples: &Samples, row: usize, stack: u32, column: usize, types: usize) {
        if let (Some(attributes), Some(link)) = (samples.attributes.get(row), samples.links.get(row)) {
            out.uint(1, u64::from(stack));
            out.packed(2, self.attribute_indices(*attributes));
            out.uint(3, u64::from(link.raw()));
        }
        match &samples.observations {
            Observations::Totals(values) => {
                let value = values.get(row * types + column).copied().unwrap_or_default();
                out.packed(4, [value as u64].into_iter());
            }
            Observations::Series(series) => {
                out.packed(4, series.values(row).iter().map(|value| *value as u64));
                let timestamps = series.timestamps(row);
                if !timestamps.is_empty() {
                    out.message(5, |out| timestamps.iter().for_each(|time| out.raw_fixed64(*time)));
                }
            }
        }
    }

    fn attribute_indices(&mut self, set: AttributeSetId) -> impl Iterator<Item = u64> {
        let attributes = self.dictionary.attribute_sets[set].iter().filter(|id| id.is_set());
        attributes.map(|id| self.attributes.number(*id))
    }

    fn value_type(&mut self, out: &mut Writer, value_type: ValueType) {
        out.uint(1, self.strings.number(value_type.kind));
        out.uint(2, self.strings.number(value_type.unit));
    }

    /// A string that stands where it is used, left out if empty.
    fn text(&self, out: &mut Writer, number: u32, id: StringId) {
        out.bytes(number, self.dictionary.str(id).as_bytes());
    }

    fn key_value(&self, out: &mut Writer, row: &KeyValue) {
        self.named_value(out, self.dictionary.str(row.key), &row.value);
    }

    fn named_value(&self, out: &mut Writer, key: &str, value: &Value) {
        out.bytes(1, key.as_bytes());
        out.message(2, |out| self.value(out, value));
    }

    fn value(&self, out: &mut Writer, value: &Value) {
        match value {
            Value::Empty => {}
            Value::String(id) => out.bytes_always(1, self.dictionary.str(*id).as_bytes()),
            Value::Bool(bit) => out.uint_always(2, u64::from(*bit)),
            Value::Int(number) => out.uint_always(3, *number as u64),
            Value::Double(number) => out.fixed64_always(4, number.to_bits()),
            Value::Bytes(bytes) => out.bytes_always(7, bytes),
            Value::Array(items) => out.message(5, |out| {
                for item in items {
                    out.message(1, |out| self.value(out, item));
                }
            }),
            Value::Map(entries) => out.message(6, |out| {
                for (key, item) in entries {
                    out.message(1, |out| self.named_value(out, self.dictionary.str(*key), item));
                }
            }),
        }
    }

    /// The dictionary. The string table comes last, when it is known which strings it needs.
    fn tables(&mut self, out: &mut Writer) {
        let d = self.dictionary;
        let mut mappings = self.mappings();
        out.message(1, |_| {});
        for id in &mappings.used {
            if out.is_full() {
                break;
            }
            let row = d.mappings[*id];
            out.message(1, |out| {
                out.uint(1, row.memory_start);
                out.uint(2, row.memory_limit);
                out.uint(3, row.file_offset);
                out.uint(4, self.strings.number(row.filename));
                out.packed(5, self.attribute_indices(row.attributes));
            });
        }
        out.message(2, |_| {});
        for id in std::mem::take(&mut self.locations.used) {
            if out.is_full() {
                break;
            }
            let row = d.locations[id];
            out.message(2, |out| {
                out.uint(1, mappings.number(row.mapping));
                out.uint(2, row.address);
                for line in &d.lines[id] {
                    out.message(3, |out| {
                        out.uint(1, u64::from(line.function.raw()));
                        out.int(2, line.line);
                        out.int(3, line.column);
                    });
                }
                out.packed(4, self.attribute_indices(row.attributes));
            });
        }
        for row in d.functions.rows() {
            out.message(3, |out| {
                out.uint(1, self.strings.number(row.name));
                out.uint(2, self.strings.number(row.system_name));
                out.uint(3, self.strings.number(row.filename));
                out.int(4, row.start_line);
            });
        }
        for row in d.links.rows() {
            out.message(4, |out| {
                out.bytes(1, &row.trace_id);
                out.bytes(2, &row.span_id);
            });
        }
        self.attribute_and_stack_tables(out);
        out.bytes_always(5, b"");
        for id in &self.strings.used {
            out.bytes_always(5, d.str(*id).as_bytes());
        }
    }

    /// Those in which a location lies. They keep their order, in which a pprof has the main binary first.
    fn mappings(&self) -> Numbers<Mapping> {
        let d = self.dictionary;
        let mut is_used = vec![false; d.mappings.len()];
        for location in d.locations.rows() {
            if let Some(is_used) = is_used.get_mut(location.mapping.index()) {
                *is_used = true;
            }
        }
        let mut mappings = Numbers::new(d.mappings.len());
        for (id, _) in d.mappings.ids().zip(is_used).filter(|(_, is_used)| *is_used) {
            mappings.number(id);
        }
        mappings
    }

    fn attribute_and_stack_tables(&mut self, out: &mut Writer) {
        let d = self.dictionary;
        out.message(6, |_| {});
        for id in std::mem::take(&mut self.attributes.used) {
            let row = &d.attributes[id];
            out.message(6, |out| {
                out.uint(1, self.strings.number(row.key));
                out.message(2, |out| self.value(out, &row.value));
                out.uint(3, self.strings.number(row.unit));
            });
        }
        let mut stacks = Stacks::new(d, &self.locations.numbers);
        if self.is_arranged && !stacks.make(self.most, |_| true) {
            out.fill();
            return;
        }
        out.message(7, |_| {});
        for stack in &self.stacks.used {
            out.message(7, |out| stacks.write(*stack, out));
        }
    }
}
