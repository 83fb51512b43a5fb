//! The model to pprof, in the normal form that Go writes and Pyroscope demands.

use std::borrow::Cow;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::super::arrange::{Stacks, alike_together, often_first, pays};
use super::super::wire::Writer;
use super::super::{EncodeError, Format};
use super::identity::Used;
use super::labels::{Labels, plain_text};
use super::{BUILD_ID_GNU, BUILD_ID_GO, BUILD_ID_HTLHASH, IS_FOLDED, MAPPING_FLAGS};
use crate::profile::{
    AttributeSetId, Dictionary, Function, Id, Location, LocationId, Mapping, MappingId, Observations, Profile,
    ResourceProfiles, Samples, StackId, StringId, Table, Value, ValueType,
};

/// Where the attributes of the resource go, as pprof has no place for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResourceText {
    /// Into comments, `key=value` each.
    #[default]
    Comments,
    /// Into labels of every sample.
    Labels,
    /// Nowhere: another part of the request carries them.
    None,
}

/// How a pprof is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EncodeOptions {
    /// Where the attributes of the resource go.
    pub resource: ResourceText,
    /// Most bytes of it: every sample has all frames of its stack, so little may become very much.
    pub most: usize,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            resource: ResourceText::default(),
            most: usize::MAX,
        }
    }
}

/// Writes one profile.
///
/// Ids count from 1, locations and samples have an order of our own (see `arrange`), strings are numbered by first use, and only what a
/// sample refers to is written; but all mappings that the profile lists are, in that order and in front of the others. Attributes of
/// samples become labels, as [`Labels`] tells; a link becomes the labels `trace_id` and `span_id`. A series of values becomes its sum,
/// timestamps alone their count. What has no place is left out: the scope, attributes of the profile, profile ids, attributes of
/// mappings and locations other than those the decoder makes, and timestamps.
pub fn encode(
    dictionary: &Dictionary,
    resource: &ResourceProfiles,
    profile: &Profile,
    options: &EncodeOptions,
) -> Result<Vec<u8>, EncodeError> {
    check(profile)?;
    let too_large = || EncodeError::too_large(Format::Pprof);
    let referenced = Referenced::by(dictionary, profile, options.most).ok_or_else(too_large)?;
    let mut encoder = Encoder {
        dictionary,
        profile,
        writer: Writer::within(options.most, estimate(dictionary, profile, &referenced)),
        texts: Texts::new(dictionary),
    };
    for sample_type in &profile.sample_types {
        encoder.value_type(1, *sample_type);
    }
    let resource_labels = options.resource == ResourceText::Labels;
    encoder.samples(&referenced, resource_labels.then_some(resource), options.most);
    encoder.mappings(&referenced);
    encoder.locations(&referenced);
    encoder.functions(&referenced);
    encoder.header();
    encoder.comments(
        (options.resource == ResourceText::Comments).then_some(resource),
        options.most,
    );
    encoder.finish().ok_or_else(too_large)
}

fn check(profile: &Profile) -> Result<(), EncodeError> {
    let types = profile.sample_types.len();
    let rows = profile.samples.len();
    let fits = match &profile.samples.observations {
        Observations::Totals(values) => values.len() == rows * types,
        Observations::Series(series) => types == 1 && series.value_ends.len() == rows,
    };
    let problem = match (types, fits) {
        (0, _) => "the profile has no sample type",
        (_, false) => "the samples do not have one value for each sample type",
        _ => return Ok(()),
    };
    Err(EncodeError::new(Format::Pprof, problem))
}

/// Bytes that will do for most profiles, so that the buffer seldom grows.
fn estimate(dictionary: &Dictionary, profile: &Profile, referenced: &Referenced) -> usize {
    let tables = referenced.functions.rows.len() * 20 + referenced.locations.rows.len() * 28;
    let texts = dictionary.strings.text_bytes() + dictionary.strings.len() * 3;
    let samples = profile.samples.len() * (12 + profile.sample_types.len() * 4);
    // a stack of very many samples is written as often, and so is not foreseen
    let frames = referenced.frames.min(dictionary.stacks.items().len()) * 3 / 2;
    tables + texts + samples + frames
}

/// The rows that the samples reach, with their ids to be.
struct Referenced<'a> {
    /// In the order in which they are written.
    samples: Cow<'a, Samples>,
    /// Those of all samples.
    frames: usize,
    stacks: Stacks<'a>,
    locations: Ordered<Location>,
    functions: Ordered<Function>,
    mappings: Ordered<Mapping>,
}

/// Rows in the order in which they are written, which is that of their ids.
struct Ordered<Row> {
    rows: Vec<Id<Row>>,
    /// By row; 0 for those that are not written.
    ids: Vec<u32>,
}

impl<Row> Ordered<Row> {
    /// These rows of a table, each where it comes first.
    fn new(table: &Table<Row>, these: impl IntoIterator<Item = Id<Row>>) -> Self {
        let mut ordered = Self {
            rows: Vec::new(),
            ids: vec![0; table.len()],
        };
        for row in these {
            if let Some(id @ 0) = ordered.ids.get_mut(row.index()) {
                ordered.rows.push(row);
                *id = ordered.rows.len() as u32;
            }
        }
        ordered
    }

    #[inline]
    fn id(&self, row: Id<Row>) -> u64 {
        u64::from(self.ids.get(row.index()).copied().unwrap_or_default())
    }

    fn with_ids(&self) -> impl Iterator<Item = (Id<Row>, u64)> {
        self.rows.iter().copied().zip(1..)
    }
}

impl<'a> Referenced<'a> {
    /// None if their stacks alone are more than may be written.
    fn by(dictionary: &'a Dictionary, profile: &'a Profile, most: usize) -> Option<Self> {
        let counts = samples_of_stacks(dictionary, profile);
        let of_stack = |stack: StackId| counts.get(stack.index()).copied().unwrap_or_default();
        // a frame at location 0 says nothing, but it is a frame: it needs a location of its own
        let locations = often_first(dictionary, dictionary.locations.ids(), of_stack);
        let locations = Ordered::new(&dictionary.locations, locations);
        let mut functions = Used::new(dictionary.functions.len());
        let mut mappings = Used::new(dictionary.mappings.len());
        // readers of pprof pass over a line without a function: what has no name gets a function without one, as Go writes it
        let mut has_nameless = false;
        for row in &locations.rows {
            mappings.mark(dictionary.locations[*row].mapping.index());
            for line in &dictionary.lines[*row] {
                functions.mark(line.function.index());
                has_nameless |= !line.function.is_set();
            }
        }
        let functions = dictionary
            .functions
            .ids()
            .filter(|row| functions.has(row.index()) && (row.is_set() || has_nameless));
        let frames_of = |stack: StackId| dictionary.stacks[stack].len().saturating_mul(of_stack(stack) as usize);
        let frames = dictionary.stacks.ids().map(frames_of).fold(0, usize::saturating_add);
        let mut stacks = Stacks::new(dictionary, &locations.ids);
        let mut samples = Cow::Borrowed(&*profile.samples);
        if pays(dictionary, profile.samples.len()) {
            if !stacks.make(most, |stack| of_stack(stack) > 0) {
                return None;
            }
            let order = alike_together(dictionary, &locations.ids, &profile.samples.stacks);
            samples = profile.samples.in_order(profile.sample_types.len(), &order);
        }
        Some(Self {
            samples,
            frames,
            stacks,
            locations,
            functions: Ordered::new(&dictionary.functions, functions),
            mappings: in_order(dictionary, &profile.mappings, &mappings),
        })
    }
}

fn samples_of_stacks(dictionary: &Dictionary, profile: &Profile) -> Vec<u32> {
    let mut samples = vec![0; dictionary.stacks.len()];
    for stack in &profile.samples.stacks {
        if let Some(samples) = samples.get_mut(stack.index()) {
            *samples += 1;
        }
    }
    samples
}

/// The mappings: those that the profile lists, and then the others in use.
fn in_order(dictionary: &Dictionary, listed: &[MappingId], used: &Used) -> Ordered<Mapping> {
    let used = dictionary.mappings.ids().filter(|row| used.has(row.index()));
    let rows = listed.iter().copied().chain(used).filter(|row| row.is_set());
    // where nothing is said of the main binary no other takes its place
    let nothing = (listed.first() == Some(&Id::UNSET)).then_some(Id::UNSET);
    let mut ordered = Ordered::new(&dictionary.mappings, nothing.into_iter().chain(rows));
    // but nobody refers to it
    ordered.ids.iter_mut().take(1).for_each(|id| *id = 0);
    ordered
}

struct Encoder<'a> {
    dictionary: &'a Dictionary,
    profile: &'a Profile,
    writer: Writer,
    texts: Texts<'a>,
}

impl<'a> Encoder<'a> {
    fn value_type(&mut self, number: u32, value_type: ValueType) {
        let kind = self.texts.id(value_type.kind);
        let unit = self.texts.id(value_type.unit);
        self.writer.message(number, |w| {
            w.uint(1, kind);
            w.uint(2, unit);
        });
    }

    fn samples(&mut self, referenced: &Referenced, resource: Option<&'a ResourceProfiles>, most: usize) {
        let samples = &referenced.samples;
        let types = self.profile.sample_types.len();
        let mut labels = Labels::new(self.dictionary, samples.len(), resource, most);
        let texts = &mut self.texts;
        for row in 0..samples.len() {
            if self.writer.is_full() {
                break;
            }
            let stack = samples.stacks.get(row).copied().unwrap_or_default();
            let attributes = samples.attributes.get(row).copied().unwrap_or_default();
            let link = samples.links.get(row).copied().unwrap_or_default();
            self.writer.message(2, |w| {
                referenced.stacks.write(stack, w);
                match &samples.observations {
                    Observations::Totals(values) => {
                        let values = values.get(row * types..(row + 1) * types).unwrap_or_default();
                        w.packed(2, values.iter().map(|value| *value as u64));
                    }
                    Observations::Series(series) => w.packed(2, std::iter::once(series.total(row) as u64)),
                }
                labels.write(attributes, link, w, texts);
            });
        }
    }

    fn mappings(&mut self, referenced: &Referenced) {
        let dictionary = self.dictionary;
        for (row, id) in referenced.mappings.with_ids() {
            self.mapping(id, &dictionary.mappings[row]);
        }
    }

    fn mapping(&mut self, id: u64, mapping: &Mapping) {
        let filename = self.texts.id(mapping.filename);
        let build_id = self.build_id(mapping.attributes);
        self.writer.message(3, |w| {
            w.uint(1, id);
            w.uint(2, mapping.memory_start);
            w.uint(3, mapping.memory_limit);
            w.uint(4, mapping.file_offset);
            w.uint(5, filename);
            w.uint(6, build_id);
            for (number, key) in MAPPING_FLAGS {
                w.uint(number, u64::from(is_true(self.dictionary, mapping.attributes, key)));
            }
        });
    }

    fn build_id(&mut self, attributes: AttributeSetId) -> u64 {
        for key in [BUILD_ID_GNU, BUILD_ID_GO, BUILD_ID_HTLHASH] {
            if let Some(Value::String(id)) = self.dictionary.attribute(attributes, key) {
                return self.texts.id(*id);
            }
        }
        0
    }

    fn locations(&mut self, referenced: &Referenced) {
        let dictionary = self.dictionary;
        for (row, id) in referenced.locations.with_ids() {
            self.location(id, row, &dictionary.locations[row], referenced);
        }
    }

    fn location(&mut self, id: u64, row: LocationId, location: &Location, referenced: &Referenced) {
        let folded = is_true(self.dictionary, location.attributes, IS_FOLDED);
        self.writer.message(4, |w| {
            w.uint(1, id);
            w.uint(2, referenced.mappings.id(location.mapping));
            w.uint(3, location.address);
            for line in &self.dictionary.lines[row] {
                w.message(4, |w| {
                    w.uint(1, referenced.functions.id(line.function));
                    w.int(2, line.line);
                    w.int(3, line.column);
                });
            }
            w.uint(5, u64::from(folded));
        });
    }

    fn functions(&mut self, referenced: &Referenced) {
        let dictionary = self.dictionary;
        for (row, id) in referenced.functions.with_ids() {
            self.function(id, &dictionary.functions[row]);
        }
    }

    fn function(&mut self, id: u64, function: &Function) {
        let name = self.texts.id(function.name);
        let system_name = self.texts.id(function.system_name);
        let filename = self.texts.id(function.filename);
        self.writer.message(5, |w| {
            w.uint(1, id);
            w.uint(2, name);
            w.uint(3, system_name);
            w.uint(4, filename);
            w.int(5, function.start_line);
        });
    }

    fn header(&mut self) {
        let profile = self.profile;
        let drop_frames = self.texts.id(profile.drop_frames);
        self.writer.uint(7, drop_frames);
        let keep_frames = self.texts.id(profile.keep_frames);
        self.writer.uint(8, keep_frames);
        self.writer.int(9, to_signed(profile.time_unix_nano));
        self.writer.int(10, to_signed(profile.duration_nano));
        if profile.period_type != ValueType::default() {
            self.value_type(11, profile.period_type);
        }
        self.writer.int(12, profile.period);
        let default_sample_type = self.texts.id(profile.default_sample_type);
        self.writer.uint(14, default_sample_type);
        let doc_url = self.texts.id(profile.doc_url);
        self.writer.uint(15, doc_url);
    }

    fn comments(&mut self, resource: Option<&ResourceProfiles>, most: usize) {
        let mut comments: Vec<u64> = self.profile.comments.iter().map(|id| self.texts.id(*id)).collect();
        let attributes = resource.map(|r| r.attributes.as_slice()).unwrap_or_default();
        let mut copied = 0usize;
        for attribute in attributes {
            let key = self.dictionary.str(attribute.key);
            let Some(value) = plain_text(self.dictionary, &attribute.value, most) else {
                self.writer.fill();
                return;
            };
            copied += key.len() + value.len();
            if copied > most {
                self.writer.fill();
                return;
            }
            let comment = self.texts.text(Cow::Owned(format!("{key}={value}")));
            if !comments.contains(&comment) {
                comments.push(comment);
            }
        }
        self.writer.packed(13, comments.into_iter());
    }

    /// None if it became too large.
    fn finish(mut self) -> Option<Vec<u8>> {
        self.writer.bytes_always(6, b"");
        for text in &self.texts.order {
            self.writer.bytes_always(6, text.as_bytes());
        }
        (!self.writer.is_full()).then(|| self.writer.finish())
    }
}

fn is_true(dictionary: &Dictionary, attributes: AttributeSetId, key: &str) -> bool {
    dictionary.attribute(attributes, key) == Some(&Value::Bool(true))
}

fn to_signed(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

/// The string table to be: equal texts once, numbered by first use.
pub(super) struct Texts<'a> {
    dictionary: &'a Dictionary,
    /// The number of each string of the dictionary, 0 until it is used.
    numbers: Vec<u32>,
    /// Every text but the empty one at 0.
    order: Vec<Cow<'a, str>>,
    /// The number of each text; none as long as all are strings of a dictionary in which no two are equal.
    known: Option<HashMap<Cow<'a, str>, u32, RandomState>>,
}

impl<'a> Texts<'a> {
    fn new(dictionary: &'a Dictionary) -> Self {
        Self {
            dictionary,
            numbers: vec![0; dictionary.strings.len()],
            order: Vec::new(),
            known: (!dictionary.strings.are_distinct()).then(HashMap::default),
        }
    }

    /// The number of a string of the dictionary.
    #[inline]
    pub(super) fn id(&mut self, id: StringId) -> u64 {
        match self.numbers.get(id.index()) {
            Some(0) | None => self.first_use(id),
            Some(known) => u64::from(*known),
        }
    }

    fn first_use(&mut self, id: StringId) -> u64 {
        let text = Cow::Borrowed(self.dictionary.str(id));
        let number = match self.known {
            None if !text.is_empty() => self.append(text),
            _ => self.text(text),
        };
        if let Some(slot) = self.numbers.get_mut(id.index()) {
            *slot = number as u32;
        }
        number
    }

    /// The number of any text.
    pub(super) fn text(&mut self, text: Cow<'a, str>) -> u64 {
        if text.is_empty() {
            return 0;
        }
        let order = &self.order;
        let known = self
            .known
            .get_or_insert_with(|| order.iter().cloned().zip(1..).collect());
        if let Some(known) = known.get(&text) {
            return u64::from(*known);
        }
        known.insert(text.clone(), order.len() as u32 + 1);
        self.append(text)
    }

    fn append(&mut self, text: Cow<'a, str>) -> u64 {
        self.order.push(text);
        self.order.len() as u64
    }
}
