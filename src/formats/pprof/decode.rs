//! pprof to the model: strings first, then what names them, the samples last.

use std::sync::Arc;

use super::super::room::{Allowance, Room, Unlimited};
use super::super::wire::{Field, Reader};
use super::super::{DecodeError, Decoded, Limit, Limits, overflow};
use super::identity::{Identities, Used};
use super::outline::{Once, Outline, Section, Text};
use super::{
    BUILD_ID_GNU, BUILD_ID_GO, IS_FOLDED, MAPPING_FLAGS, excess, malformed, no_room, not_protobuf, too_large,
    wrong_type,
};
use crate::profile::{
    Attribute, AttributeId, AttributeSetId, Dictionary, Function, FunctionId, Id, Line, Lists, Location, LocationId,
    Mapping, MappingId, Profile, Profiles, StringId, Strings, Table, Value, ValueType,
};

/// Reads an uncompressed pprof into one resource without attributes, one scope and one profile.
///
/// An empty body is refused: no profiler writes one, and it would count as delivered although nothing was.
///
/// What real writers get wrong and what can be mended is mended and counted in `repairs`: invalid UTF-8 becomes U+FFFD,
/// a negative time or duration becomes 0, and functions that all lack their id (seen from .NET) are given to the
/// locations in order. Anything else that Go's reader refuses is refused here, and so is a reference to nothing.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, DecodeError> {
    decode_within(bytes, limits, &Unlimited)
}

/// The same, with memory from `room`.
pub fn decode_within(bytes: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    if bytes.is_empty() {
        return Err(malformed(0, "empty"));
    }
    if bytes.len() > 1 << 30 {
        return Err(too_large(Limit::Decompressed, "more than 1 GiB".to_owned()));
    }
    let outline = Outline::read(bytes, limits, room)?;
    room.take(outline.memory()).map_err(no_room)?;
    let mut decoder = Decoder::new(&outline, limits, room);
    decoder.strings(&outline.strings, outline.text_bytes)?;
    decoder.functions(&outline.functions)?;
    decoder.mappings(&outline.mappings)?;
    decoder.locations(&outline.locations)?;
    let mut profile = decoder.header(&outline)?;
    profile.samples = Arc::new(decoder.samples(&outline.samples, profile.sample_types.len())?);
    Ok(overflow::bound(decoder.finish(profile), limits))
}

/// The tables so far and what is known about them.
pub(super) struct Decoder<'l> {
    pub(super) limits: &'l Limits,
    pub(super) dictionary: Dictionary,
    functions: Identities<Function>,
    /// No function has an id: they belong to the locations in order.
    functions_lack_ids: bool,
    mappings: Identities<Mapping>,
    pub(super) locations: Identities<Location>,
    used_strings: Used,
    used_functions: Used,
    pub(super) used_locations: Used,
    folded: AttributeSetId,
    flags: [AttributeId; MAPPING_FLAGS.len()],
    pub(super) exact: bool,
    repairs: u64,
    lines: Allowance<'l>,
    pub(super) frames: Allowance<'l>,
    pub(super) labels: Allowance<'l>,
}

/// What one more may take of a table that doubles.
const LINE_BYTES: usize = 2 * size_of::<Line>();
const FRAME_BYTES: usize = 2 * size_of::<LocationId>();
const LABEL_BYTES: usize = 2 * (size_of::<Attribute>() + size_of::<AttributeId>());

impl<'l> Decoder<'l> {
    fn new(outline: &Outline<'_>, limits: &'l Limits, room: &'l dyn Room) -> Self {
        let dictionary = Dictionary {
            functions: Table::with_capacity(outline.functions.rows()),
            mappings: Table::with_capacity(outline.mappings.rows()),
            locations: Table::with_capacity(outline.locations.rows()),
            lines: Lists::with_capacity(outline.locations.rows(), outline.locations.rows()),
            stacks: Lists::with_capacity(outline.samples.rows(), 0),
            ..Dictionary::default()
        };
        Self {
            limits,
            dictionary,
            functions: Identities::Counted,
            functions_lack_ids: false,
            mappings: Identities::Counted,
            locations: Identities::Counted,
            used_strings: Used::new(outline.strings.rows()),
            used_functions: Used::new(outline.functions.rows() + 1),
            used_locations: Used::new(outline.locations.rows() + 1),
            folded: Id::UNSET,
            flags: [Id::UNSET; MAPPING_FLAGS.len()],
            exact: outline.exact,
            repairs: 0,
            lines: Allowance::new(limits.elements, LINE_BYTES, room),
            frames: Allowance::new(limits.elements, FRAME_BYTES, room),
            labels: Allowance::new(limits.elements, LABEL_BYTES, room),
        }
    }

    fn strings(&mut self, section: &Section<'_>, text_bytes: usize) -> Result<(), DecodeError> {
        let mut strings = section.messages();
        match strings.next() {
            None => return Err(malformed(0, "no string_table")),
            Some(first) if !first.is_empty() => {
                return Err(malformed(first.offset(), "string_table[0] is not empty"));
            }
            Some(_) => {}
        }
        if section.longest() > self.limits.string_bytes {
            let problem = format!("a string of more than {} bytes", self.limits.string_bytes);
            return Err(too_large(Limit::String, problem));
        }
        let texts = strings.map(|string| string.bytes());
        match Strings::of(texts, text_bytes) {
            Some(strings) => self.dictionary.strings = strings,
            None => self.strings_one_by_one(section, text_bytes),
        }
        Ok(())
    }

    /// The same where some are to be repaired.
    fn strings_one_by_one(&mut self, section: &Section<'_>, text_bytes: usize) {
        let mut strings = Strings::with_capacity(section.rows(), text_bytes);
        for string in section.messages().skip(1) {
            match std::str::from_utf8(string.bytes()) {
                Ok(valid) => strings.push(valid),
                Err(_) => {
                    self.repairs += 1;
                    strings.push(&String::from_utf8_lossy(string.bytes()))
                }
            };
        }
        self.dictionary.strings = strings;
    }

    /// The string at a position that a field of the profile names.
    #[inline]
    pub(super) fn string(&mut self, position: u64, at: usize, field: &str) -> Result<StringId, DecodeError> {
        let row = usize::try_from(position).unwrap_or(usize::MAX);
        // keys of our own lie behind the strings of the profile: only the marks know how many those are
        match self.dictionary.strings.id(position) {
            Some(id) if self.used_strings.mark(row) => Ok(id),
            _ => Err(malformed(
                at,
                format!("{field} is string {position}, which is not in the string_table"),
            )),
        }
    }

    fn text(&mut self, text: Text, field: &str) -> Result<StringId, DecodeError> {
        self.string(text.position, text.at, field)
    }

    fn functions(&mut self, section: &Section<'_>) -> Result<(), DecodeError> {
        let mut without_id = 0;
        for mut message in section.messages() {
            let start = message.offset();
            let mut id = 0;
            let mut function = Function::default();
            let mut once = Once::default();
            while let Some((number, value, at)) = self.number(&mut message, &mut once, 5, "function")? {
                match number {
                    1 => id = value,
                    2 => function.name = self.string(value, at, "function.name")?,
                    3 => function.system_name = self.string(value, at, "function.system_name")?,
                    4 => function.filename = self.string(value, at, "function.filename")?,
                    _ => function.start_line = value as i64,
                }
            }
            let row = self.dictionary.functions.push(function);
            if id == 0 {
                without_id += 1;
            } else if without_id == 0 {
                self.functions.add(id, row, &self.dictionary.functions, start)?;
            }
            if without_id > 0 && (id != 0 || without_id != row.index()) {
                return Err(malformed(start, "function.id is 0 for some functions"));
            }
        }
        self.functions_lack_ids = without_id > 0;
        self.repairs += without_id as u64;
        Ok(())
    }

    fn mappings(&mut self, section: &Section<'_>) -> Result<(), DecodeError> {
        for mut message in section.messages() {
            let start = message.offset();
            let mut id = 0;
            let mut mapping = Mapping::default();
            let mut build_id = Id::UNSET;
            let mut flags = [false; MAPPING_FLAGS.len()];
            let mut once = Once::default();
            while let Some((number, value, at)) = self.number(&mut message, &mut once, 10, "mapping")? {
                match number {
                    1 => id = value,
                    2 => mapping.memory_start = value,
                    3 => mapping.memory_limit = value,
                    4 => mapping.file_offset = value,
                    5 => mapping.filename = self.string(value, at, "mapping.filename")?,
                    6 => build_id = self.string(value, at, "mapping.build_id")?,
                    _ => {
                        self.exact &= value <= 1;
                        for (flag, (field, _)) in flags.iter_mut().zip(MAPPING_FLAGS) {
                            *flag = if field == number { value != 0 } else { *flag };
                        }
                    }
                }
            }
            mapping.attributes = self.mapping_attributes(build_id, flags);
            let row = self.dictionary.mappings.push(mapping);
            not_zero(id, start, "mapping.id")?;
            self.mappings.add(id, row, &self.dictionary.mappings, start)?;
        }
        Ok(())
    }

    fn mapping_attributes(&mut self, build_id: StringId, flags: [bool; MAPPING_FLAGS.len()]) -> AttributeSetId {
        let mut attributes = Vec::new();
        // GNU build ids are hexadecimal; Go's have four parts with slashes between
        match self.dictionary.str(build_id) {
            "" => {}
            go if go.contains('/') => attributes.push(self.own_attribute(BUILD_ID_GO, Value::String(build_id))),
            _ => attributes.push(self.own_attribute(BUILD_ID_GNU, Value::String(build_id))),
        }
        for (i, (_, key)) in MAPPING_FLAGS.iter().enumerate() {
            if flags.get(i) == Some(&true) {
                attributes.push(self.flag(i, key));
            }
        }
        match attributes.as_slice() {
            [] => Id::UNSET,
            some => self.dictionary.attribute_sets.push(some),
        }
    }

    /// Flags repeat from mapping to mapping: one attribute each is enough.
    fn flag(&mut self, i: usize, key: &str) -> AttributeId {
        if let Some(known) = self.flags.get(i).copied().filter(|id| id.is_set()) {
            return known;
        }
        let new = self.own_attribute(key, Value::Bool(true));
        if let Some(slot) = self.flags.get_mut(i) {
            *slot = new;
        }
        new
    }

    fn own_attribute(&mut self, key: &str, value: Value) -> AttributeId {
        let key = self.dictionary.strings.push(key);
        let unit = Id::UNSET;
        self.dictionary.attributes.push(Attribute { key, value, unit })
    }

    fn locations(&mut self, section: &Section<'_>) -> Result<(), DecodeError> {
        if self.functions_lack_ids && self.dictionary.functions.len() != section.rows() + 1 {
            return Err(malformed(0, "function.id is 0 for all functions"));
        }
        let mut lines = Vec::new();
        for message in section.messages() {
            lines.clear();
            let (id, location) = self.location(message, &mut lines)?;
            let spent = self.lines.spend(lines.len());
            spent.map_err(|why| excess(why, self.limits, "lines of locations"))?;
            let row = self.dictionary.push_location(location, &lines);
            not_zero(id, message.offset(), "location.id")?;
            self.locations
                .add(id, row, &self.dictionary.locations, message.offset())?;
        }
        Ok(())
    }

    fn location(&mut self, mut message: Reader<'_>, lines: &mut Vec<Line>) -> Result<(u64, Location), DecodeError> {
        let mut id = 0;
        let mut location = Location::default();
        let mut once = Once::default();
        loop {
            let at = message.offset();
            let Some((number, field)) = message.field().map_err(not_protobuf)? else {
                break;
            };
            match (number, field) {
                (4, Field::Bytes(line)) => {
                    if lines.len() >= self.limits.stack_depth {
                        let problem = format!("a location of more than {} lines", self.limits.stack_depth);
                        return Err(too_large(Limit::StackDepth, problem));
                    }
                    lines.push(self.line(line)?);
                }
                (1 | 2 | 3 | 5, Field::Varint(value)) => {
                    self.exact &= !once.again(number);
                    match number {
                        1 => id = value,
                        2 => location.mapping = self.mapping(value, at)?,
                        3 => location.address = value,
                        _ => {
                            self.exact &= value <= 1;
                            location.attributes = self.is_folded(value != 0);
                        }
                    }
                }
                (1..=5, _) => return Err(wrong_type(at, "a field of location")),
                _ => self.exact = false,
            }
        }
        Ok((id, location))
    }

    fn is_folded(&mut self, folded: bool) -> AttributeSetId {
        if !folded {
            return Id::UNSET;
        }
        if !self.folded.is_set() {
            let attribute = self.own_attribute(IS_FOLDED, Value::Bool(true));
            self.folded = self.dictionary.attribute_sets.push(&[attribute]);
        }
        self.folded
    }

    fn line(&mut self, mut message: Reader<'_>) -> Result<Line, DecodeError> {
        let mut line = Line::default();
        let mut once = Once::default();
        let mut function = (0, message.offset());
        while let Some((number, value, at)) = self.number(&mut message, &mut once, 3, "line")? {
            match number {
                1 => function = (value, at),
                2 => line.line = value as i64,
                _ => line.column = value as i64,
            }
        }
        line.function = self.function(function.0, function.1)?;
        Ok(line)
    }

    fn function(&mut self, id: u64, at: usize) -> Result<FunctionId, DecodeError> {
        let table = &self.dictionary.functions;
        let row = match id {
            // the location being read is not in its table yet, so the table is as long as that location's number
            0 if self.functions_lack_ids => table.id(self.dictionary.locations.len() as u64),
            0 => return Ok(Id::UNSET),
            _ => self.functions.find(id, table),
        };
        let row = row.ok_or_else(|| dangling(at, "line.function_id", id))?;
        self.used_functions.mark(row.index());
        Ok(row)
    }

    fn mapping(&self, id: u64, at: usize) -> Result<MappingId, DecodeError> {
        if id == 0 {
            return Ok(Id::UNSET);
        }
        let row = self.mappings.find(id, &self.dictionary.mappings);
        row.ok_or_else(|| dangling(at, "location.mapping_id", id))
    }

    /// The next field of a message that has numbers only, from 1 to `last`; skips what is unknown.
    #[inline(always)]
    pub(super) fn number(
        &mut self,
        message: &mut Reader<'_>,
        once: &mut Once,
        last: u32,
        name: &str,
    ) -> Result<Option<(u32, u64, usize)>, DecodeError> {
        let at = message.offset();
        let mut next = *message;
        match next.short_field() {
            Some((number, value)) if number <= last => {
                *message = next;
                self.exact &= !once.again(number);
                Ok(Some((number, value, at)))
            }
            None if message.is_empty() => Ok(None),
            _ => {
                let (rest, found) = self.any_number(*message, last, name)?;
                *message = rest;
                self.exact &= !found.is_some_and(|(number, ..)| once.again(number));
                Ok(found)
            }
        }
    }

    /// The same for keys of any length. Takes and returns values only, so that the reader can stay in registers.
    #[inline(never)]
    #[allow(clippy::type_complexity)]
    fn any_number<'a>(
        &mut self,
        mut message: Reader<'a>,
        last: u32,
        name: &str,
    ) -> Result<(Reader<'a>, Option<(u32, u64, usize)>), DecodeError> {
        loop {
            let at = message.offset();
            let Some((number, field)) = message.field().map_err(not_protobuf)? else {
                return Ok((message, None));
            };
            if number > last {
                self.exact = false;
                continue;
            }
            let Field::Varint(value) = field else {
                return Err(wrong_type(at, &format!("field {number} of {name}")));
            };
            return Ok((message, Some((number, value, at))));
        }
    }

    fn header(&mut self, outline: &Outline<'_>) -> Result<Profile, DecodeError> {
        let mut profile = Profile {
            drop_frames: self.text(outline.drop_frames, "drop_frames")?,
            keep_frames: self.text(outline.keep_frames, "keep_frames")?,
            default_sample_type: self.text(outline.default_sample_type, "default_sample_type")?,
            doc_url: self.text(outline.doc_url, "doc_url")?,
            time_unix_nano: self.not_negative(outline.time_nanos),
            duration_nano: self.not_negative(outline.duration_nanos),
            period: outline.period,
            mappings: self.dictionary.mappings.ids().skip(1).collect(),
            ..Profile::default()
        };
        for message in outline.sample_types.messages() {
            profile.sample_types.push(self.value_type(message, "sample_type")?);
        }
        if let Some(message) = outline.period_type {
            profile.period_type = self.value_type(message, "period_type")?;
        }
        for comment in &outline.comments {
            profile.comments.push(self.text(*comment, "comment")?);
        }
        if profile.sample_types.is_empty() && outline.samples.rows() > 0 {
            return Err(malformed(0, "samples without a sample_type"));
        }
        Ok(profile)
    }

    fn value_type(&mut self, mut message: Reader<'_>, name: &str) -> Result<ValueType, DecodeError> {
        let mut value_type = ValueType::default();
        let mut once = Once::default();
        while let Some((number, value, at)) = self.number(&mut message, &mut once, 2, name)? {
            let string = self.string(value, at, name)?;
            match number {
                1 => value_type.kind = string,
                _ => value_type.unit = string,
            }
        }
        Ok(value_type)
    }

    fn not_negative(&mut self, value: i64) -> u64 {
        u64::try_from(value).unwrap_or_else(|_| {
            self.repairs += 1;
            0
        })
    }

    /// The row of a location that a sample names.
    #[inline]
    pub(super) fn frame(&mut self, id: u64, at: usize) -> Result<LocationId, DecodeError> {
        let row = self.locations.find(id, &self.dictionary.locations);
        row.ok_or_else(|| dangling(at, "sample.location_id", id))
    }

    fn finish(mut self, profile: Profile) -> Decoded {
        let are_locations_used = self.used_locations.all();
        if are_locations_used {
            self.dictionary.stacks.reach_all_of(self.dictionary.locations.len());
        }
        let no_orphans = self.used_strings.all() && self.used_functions.all() && are_locations_used;
        Decoded {
            profiles: Profiles::of(self.dictionary, vec![profile]),
            exact: self.exact && no_orphans && self.repairs == 0,
            repairs: self.repairs,
            ..Decoded::default()
        }
    }
}

fn not_zero(id: u64, at: usize, field: &str) -> Result<(), DecodeError> {
    if id == 0 {
        return Err(malformed(at, format!("{field} is 0, which means none")));
    }
    Ok(())
}

#[cold]
pub(super) fn dangling(at: usize, field: &str, id: u64) -> DecodeError {
    malformed(at, format!("{field} is {id}, which no message has"))
}
