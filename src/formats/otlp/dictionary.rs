//! The tables of a request, read in the order in which they refer to each other, whatever their order on the wire.

use std::collections::HashMap;

use super::WireVersion;
use super::decode::Decoder;
use super::defect::{Defect, Seen, message, number, numbers};
use super::sets::AttributeSets;
use crate::formats::wire::{Field, Reader};
use crate::formats::{Limit, Limits};
use crate::profile::{
    Attribute, AttributeSetId, Dictionary, Function, Id, Line, Link, Lists, Location, LocationId, Mapping, MappingId,
    Stack, StringId, Strings, Table, Value,
};

/// Where the tables are and how long.
pub(super) struct Outline<'a> {
    pub mappings: Entries<'a>,
    pub locations: Entries<'a>,
    pub functions: Entries<'a>,
    pub links: Entries<'a>,
    pub strings: Entries<'a>,
    pub attributes: Entries<'a>,
    /// Before 1.8: units of attributes.
    pub stacks: Entries<'a>,
    has_unknown: bool,
}

/// Whether a string is used, and the number of its text as a key.
const STRING_EXTRA_BYTES: usize = 9;
/// What an attribute takes in [`AttributeSets`].
const ATTRIBUTE_EXTRA_BYTES: usize = 52;
/// What a set takes beside its attributes, in attributes.
const SET_COST: usize = 4;

/// The entries of one table.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    number: u32,
    rest: Reader<'a>,
    left: usize,
}

impl<'a> Entries<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        self.left
    }

    /// How many numbers they have: never too few, and few too many where they stand one behind the other, as they do.
    fn most_numbers(&self) -> usize {
        let from = self.rest.bytes();
        let mut behind = *self;
        behind.by_ref().for_each(drop);
        let run = from.get(..from.len() - behind.rest.bytes().len()).unwrap_or_default();
        // beside its numbers each has a key and a length of its own
        count_numbers(run).saturating_sub(2 * self.left)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Reader<'a>;

    fn next(&mut self) -> Option<Reader<'a>> {
        while self.left > 0 {
            match self.rest.field() {
                Ok(Some((number, Field::Bytes(entry)))) if number == self.number => {
                    self.left -= 1;
                    return Some(entry);
                }
                Ok(Some(_)) => {}
                // the outline walked over the same bytes without an error
                Ok(None) | Err(_) => return None,
            }
        }
        None
    }
}

impl<'a> Outline<'a> {
    pub fn of(dictionary: Reader<'a>, limits: &Limits) -> Result<Self, Defect> {
        let table = |number| Entries {
            number,
            rest: dictionary,
            left: 0,
        };
        let mut outline = Self {
            mappings: table(1),
            locations: table(2),
            functions: table(3),
            links: table(4),
            strings: table(5),
            attributes: table(6),
            stacks: table(7),
            has_unknown: false,
        };
        let mut reader = dictionary;
        loop {
            let before = reader;
            let Some((number, field)) = reader.field()? else {
                return Ok(outline);
            };
            let table = match number {
                1 => &mut outline.mappings,
                2 => &mut outline.locations,
                3 => &mut outline.functions,
                4 => &mut outline.links,
                5 => &mut outline.strings,
                6 => &mut outline.attributes,
                7 => &mut outline.stacks,
                _ => {
                    outline.has_unknown = true;
                    continue;
                }
            };
            let Field::Bytes(_) = field else {
                return Err(Defect::wire_type(before.offset()));
            };
            if table.left == 0 {
                table.rest = before;
            }
            table.left += 1;
            if table.left > limits.elements {
                return Err(Defect::too_large(
                    Limit::Elements,
                    "too many entries in a table of the dictionary",
                ));
            }
        }
    }

    /// About the bytes that the tables take. What hangs on their rows is asked for as it comes.
    pub fn memory(&self) -> usize {
        let rows = [
            (self.mappings, size_of::<Mapping>()),
            (
                self.locations,
                size_of::<Location>() + size_of::<Line>() + size_of::<u32>(),
            ),
            (self.functions, size_of::<Function>()),
            (self.links, size_of::<Link>()),
            (self.strings, STRING_EXTRA_BYTES),
            (self.attributes, size_of::<Attribute>() + ATTRIBUTE_EXTRA_BYTES),
            (self.stacks, size_of::<u32>()),
        ];
        let tables = rows.iter().map(|(table, bytes)| table.len().saturating_mul(*bytes));
        tables.fold(0, usize::saturating_add)
    }

    /// Every table has its entry 0.
    fn is_complete(&self) -> bool {
        let tables = [
            self.mappings,
            self.locations,
            self.functions,
            self.links,
            self.strings,
            self.attributes,
            self.stacks,
        ];
        tables.iter().all(|table| table.left > 0)
    }
}

/// Flags that 1.7 had as fields and that are attributes since.
const FLAGS: [&str; 5] = [
    "pprof.mapping.has_functions",
    "pprof.mapping.has_filenames",
    "pprof.mapping.has_line_numbers",
    "pprof.mapping.has_inline_frames",
    "pprof.location.is_folded",
];
const IS_FOLDED: usize = 4;

impl Decoder<'_> {
    /// Fills the dictionary.
    pub(super) fn tables(&mut self, outline: &Outline<'_>) -> Result<(), Defect> {
        self.exact &= !outline.has_unknown && outline.is_complete();
        self.strings(outline.strings)?;
        if self.version == WireVersion::V1_7 {
            self.attributes_1_7(outline)?;
        } else {
            self.attributes(outline.attributes)?;
        }
        self.sets = AttributeSets::new(&self.dictionary);
        self.links(outline.links)?;
        self.functions(outline.functions)?;
        self.mappings(outline.mappings)?;
        self.locations(outline.locations)?;
        if self.version > WireVersion::V1_7 {
            self.stacks(outline.stacks)?;
        }
        Ok(())
    }

    /// Whether entry `index` is the one that means "not set". Before 1.8 a table had no such entry, and index 0 meant its first row.
    fn is_zero_entry(&self, index: usize) -> bool {
        index == 0 && self.version > WireVersion::V1_7
    }

    /// Where the model has what the wire has at `position`.
    fn shifted(&self, position: u64) -> u64 {
        position.saturating_add(u64::from(self.version == WireVersion::V1_7))
    }

    /// Appends a row, unless it is entry 0, which is there and must say nothing.
    fn put<Row: Default + PartialEq>(
        &mut self,
        table: impl Fn(&mut Dictionary) -> &mut Table<Row>,
        row: Row,
        name: &str,
        (index, at): (usize, usize),
    ) -> Result<(), Defect> {
        if !self.is_zero_entry(index) {
            table(&mut self.dictionary).push(row);
            return Ok(());
        }
        if row == Row::default() {
            return Ok(());
        }
        Err(zero_entry(name, at))
    }

    fn strings(&mut self, entries: Entries<'_>) -> Result<(), Defect> {
        let bytes = entries.map(|entry| entry.bytes().len()).sum();
        self.dictionary.strings = Strings::with_capacity(entries.len(), bytes);
        self.used_strings = vec![false; entries.len()];
        for (i, entry) in entries.enumerate() {
            match (i, entry.is_empty()) {
                (0, true) => {}
                (0, false) => return Err(zero_entry("string_table", entry.offset())),
                (_, true) => {
                    // a second empty string is one too many, yet the positions behind it must stay right
                    self.dictionary.strings.push("");
                }
                _ => {
                    self.text(entry)
                        .map_err(|defect| defect.within(format_args!("string_table[{i}]")))?;
                }
            }
        }
        Ok(())
    }

    fn attributes(&mut self, entries: Entries<'_>) -> Result<(), Defect> {
        self.dictionary.attributes = Table::with_capacity(entries.len());
        for (i, entry) in entries.enumerate() {
            let row = self
                .attribute(entry)
                .map_err(|defect| defect.within(format_args!("attribute_table[{i}]")))?;
            self.put(|d| &mut d.attributes, row, "attribute_table", (i, entry.offset()))?;
        }
        Ok(())
    }

    fn attribute(&mut self, mut reader: Reader<'_>) -> Result<Attribute, Defect> {
        let mut row = Attribute::default();
        let mut seen = Seen::default();
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                return Ok(row);
            };
            self.exact &= seen.first(field_number);
            match field_number {
                1 => row.key = self.string("key_strindex", number(field, at)?, at)?,
                2 => row.value = self.value(message(field, at)?, 1)?,
                3 => row.unit = self.string("unit_strindex", number(field, at)?, at)?,
                _ => self.exact = false,
            }
        }
    }

    /// Attributes with their keys as text, their units in a table by key, and the flags behind them.
    fn attributes_1_7(&mut self, outline: &Outline<'_>) -> Result<(), Defect> {
        let mut units: HashMap<String, StringId> = HashMap::new();
        for (i, entry) in outline.stacks.enumerate() {
            let (key, unit) = self
                .attribute_unit(entry)
                .map_err(|defect| defect.within(format_args!("attribute_units[{i}]")))?;
            units.insert(self.dictionary.str(key).to_owned(), unit);
        }
        self.dictionary.attributes = Table::with_capacity(outline.attributes.len() + FLAGS.len());
        for (i, entry) in outline.attributes.enumerate() {
            let row = self
                .key_value(entry, 1)
                .map_err(|defect| defect.within(format_args!("attribute_table[{i}]")))?;
            let unit = units.get(self.dictionary.str(row.key)).copied().unwrap_or_default();
            self.dictionary.attributes.push(Attribute {
                key: row.key,
                value: row.value,
                unit,
            });
        }
        for flag in FLAGS {
            let key = self.dictionary.strings.push(flag);
            self.dictionary.attributes.push(Attribute {
                key,
                value: Value::Bool(true),
                unit: StringId::UNSET,
            });
        }
        Ok(())
    }

    fn attribute_unit(&mut self, mut reader: Reader<'_>) -> Result<(StringId, StringId), Defect> {
        let (mut key, mut unit) = (StringId::UNSET, StringId::UNSET);
        loop {
            let at = reader.offset();
            match reader.field()? {
                None => return Ok((key, unit)),
                Some((1, field)) => key = self.string("attribute_key_strindex", number(field, at)?, at)?,
                Some((2, field)) => unit = self.string("unit_strindex", number(field, at)?, at)?,
                Some(_) => {}
            }
        }
    }

    /// Adds attributes by their indices to the set being read.
    #[inline]
    pub(super) fn attribute_indices(&mut self, field: Field<'_>, at: usize) -> Result<(), Defect> {
        numbers(field, at, |position, at| {
            let shifted = self.shifted(position);
            let Some(id) = self
                .dictionary
                .attributes
                .id(shifted)
                .filter(|_| self.is_attribute(position))
            else {
                let entries = self.attribute_entries();
                return Err(Defect::out_of_range(
                    at,
                    "attribute_indices",
                    position,
                    "attribute_table",
                    entries,
                ));
            };
            self.exact &= id.is_set();
            // one too many is enough for `overflow` to see
            if self.sets.len() <= self.limits.labels {
                self.sets.add(id);
            }
            Ok(())
        })
    }

    fn is_attribute(&self, position: u64) -> bool {
        self.version > WireVersion::V1_7 || position < self.attribute_entries() as u64
    }

    fn attribute_entries(&self) -> usize {
        let rows = self.dictionary.attributes.len();
        match self.version {
            WireVersion::V1_7 => rows.saturating_sub(FLAGS.len() + 1),
            _ => rows,
        }
    }

    /// Adds the attribute that stands for a flag of 1.7 to the set being read.
    fn flag(&mut self, flag: usize, field: Field<'_>, at: usize) -> Result<(), Defect> {
        if number(field, at)? != 0 {
            let position = (self.dictionary.attributes.len() + flag).saturating_sub(FLAGS.len());
            if let Some(id) = self.dictionary.attributes.id(position as u64) {
                self.sets.add(id);
            }
        }
        Ok(())
    }

    fn links(&mut self, entries: Entries<'_>) -> Result<(), Defect> {
        self.dictionary.links = Table::with_capacity(entries.len());
        for (i, entry) in entries.enumerate() {
            let row = self
                .link(entry)
                .map_err(|defect| defect.within(format_args!("link_table[{i}]")))?;
            self.put(|d| &mut d.links, row, "link_table", (i, entry.offset()))?;
        }
        Ok(())
    }

    fn link(&mut self, mut reader: Reader<'_>) -> Result<Link, Defect> {
        let mut row = Link::default();
        let mut seen = Seen::default();
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                return Ok(row);
            };
            self.exact &= seen.first(field_number);
            match field_number {
                1 => row.trace_id = fixed_size(message(field, at)?, "trace_id")?,
                2 => row.span_id = fixed_size(message(field, at)?, "span_id")?,
                _ => self.exact = false,
            }
        }
    }

    fn functions(&mut self, entries: Entries<'_>) -> Result<(), Defect> {
        self.dictionary.functions = Table::with_capacity(entries.len());
        for (i, entry) in entries.enumerate() {
            let row = self
                .function(entry)
                .map_err(|defect| defect.within(format_args!("function_table[{i}]")))?;
            self.put(|d| &mut d.functions, row, "function_table", (i, entry.offset()))?;
        }
        Ok(())
    }

    fn function(&mut self, mut reader: Reader<'_>) -> Result<Function, Defect> {
        let mut row = Function::default();
        let mut seen = Seen::default();
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                return Ok(row);
            };
            self.exact &= seen.first(field_number);
            match field_number {
                1 => row.name = self.string("name_strindex", number(field, at)?, at)?,
                2 => row.system_name = self.string("system_name_strindex", number(field, at)?, at)?,
                3 => row.filename = self.string("filename_strindex", number(field, at)?, at)?,
                4 => row.start_line = number(field, at)? as i64,
                _ => self.exact = false,
            }
        }
    }

    fn mappings(&mut self, entries: Entries<'_>) -> Result<(), Defect> {
        self.dictionary.mappings = Table::with_capacity(entries.len());
        for (i, entry) in entries.enumerate() {
            let row = self
                .mapping(entry)
                .map_err(|defect| defect.within(format_args!("mapping_table[{i}]")))?;
            self.put(|d| &mut d.mappings, row, "mapping_table", (i, entry.offset()))?;
        }
        Ok(())
    }

    fn mapping(&mut self, mut reader: Reader<'_>) -> Result<Mapping, Defect> {
        let start = reader.offset();
        let mut row = Mapping::default();
        let mut seen = Seen::default();
        self.sets.begin();
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                break;
            };
            self.exact &= field_number == 5 || seen.first(field_number);
            match field_number {
                1 => row.memory_start = number(field, at)?,
                2 => row.memory_limit = number(field, at)?,
                3 => row.file_offset = number(field, at)?,
                4 => row.filename = self.string("filename_strindex", number(field, at)?, at)?,
                5 => self.attribute_indices(field, at)?,
                6..=9 if self.version == WireVersion::V1_7 => self.flag(field_number as usize - 6, field, at)?,
                _ => self.exact = false,
            }
        }
        row.attributes = self.attribute_set(start)?;
        Ok(row)
    }

    /// The set that was read.
    pub(super) fn attribute_set(&mut self, at: usize) -> Result<AttributeSetId, Defect> {
        self.attribute_set_or(Id::UNSET, at)
    }

    /// The same where it may well be `likely`.
    #[inline]
    pub(super) fn attribute_set_or(&mut self, likely: AttributeSetId, at: usize) -> Result<AttributeSetId, Defect> {
        let before = self.dictionary.attribute_sets.items().len();
        let set = self.sets.finish(&mut self.dictionary, likely, at)?;
        let added = self.dictionary.attribute_sets.items().len() - before;
        if added > 0 {
            self.listed.spend(added + SET_COST)?;
        }
        Ok(set)
    }

    fn locations(&mut self, entries: Entries<'_>) -> Result<(), Defect> {
        self.dictionary.locations = Table::with_capacity(entries.len());
        self.dictionary.lines = Lists::with_capacity(entries.len(), entries.len());
        for (i, entry) in entries.enumerate() {
            let row = self
                .location(entry)
                .map_err(|defect| defect.within(format_args!("location_table[{i}]")))?;
            if self.is_zero_entry(i) && !self.dictionary.lines.items().is_empty() {
                return Err(zero_entry("location_table", entry.offset()));
            }
            self.put(|d| &mut d.locations, row, "location_table", (i, entry.offset()))?;
            if !self.is_zero_entry(i) {
                self.dictionary.lines.close();
            }
        }
        Ok(())
    }

    fn location(&mut self, mut reader: Reader<'_>) -> Result<Location, Defect> {
        let start = reader.offset();
        let mut row = Location::default();
        let mut seen = Seen::default();
        let attributes = match self.version {
            WireVersion::V1_7 => 5,
            _ => 4,
        };
        self.sets.begin();
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                break;
            };
            match field_number {
                1 => {
                    self.exact &= seen.first(1);
                    row.mapping = self.mapping_index(number(field, at)?, at)?;
                }
                2 => {
                    self.exact &= seen.first(2);
                    row.address = number(field, at)?;
                }
                3 => {
                    let line = self
                        .line(message(field, at)?)
                        .map_err(|defect| defect.within("lines"))?;
                    self.lines.spend(1)?;
                    self.dictionary.lines.add(line);
                }
                n if n == attributes => self.attribute_indices(field, at)?,
                4 => self.flag(IS_FOLDED, field, at)?,
                _ => self.exact = false,
            }
        }
        row.attributes = self.attribute_set(start)?;
        Ok(row)
    }

    fn mapping_index(&self, position: u64, at: usize) -> Result<MappingId, Defect> {
        let mappings = &self.dictionary.mappings;
        mappings.id(self.shifted(position)).ok_or_else(|| {
            let entries = mappings.len();
            Defect::out_of_range(at, "mapping_index", position, "mapping_table", entries)
        })
    }

    fn line(&mut self, mut reader: Reader<'_>) -> Result<Line, Defect> {
        let mut row = Line::default();
        let mut seen = Seen::default();
        let mut function = (0, reader.offset());
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                break;
            };
            self.exact &= seen.first(field_number);
            match field_number {
                1 => function = (number(field, at)?, at),
                2 => row.line = number(field, at)? as i64,
                3 => row.column = number(field, at)? as i64,
                _ => self.exact = false,
            }
        }
        let (position, at) = function;
        let functions = &self.dictionary.functions;
        row.function = match functions.id(self.shifted(position)) {
            Some(id) => id,
            None if position == 0 => Default::default(),
            None => {
                let entries = functions.len();
                return Err(Defect::out_of_range(
                    at,
                    "function_index",
                    position,
                    "function_table",
                    entries,
                ));
            }
        };
        Ok(row)
    }

    fn stacks(&mut self, entries: Entries<'_>) -> Result<(), Defect> {
        let most = entries.most_numbers().min(self.limits.elements);
        self.room
            .take(most * size_of::<LocationId>())
            .map_err(Defect::no_room)?;
        self.dictionary.stacks = Lists::with_capacity(entries.len(), most);
        for (i, entry) in entries.enumerate() {
            self.stack(entry)
                .map_err(|defect| defect.within(format_args!("stack_table[{i}]")))?;
            if i > 0 {
                self.dictionary.stacks.close();
            } else if !self.dictionary.stacks.items().is_empty() {
                return Err(zero_entry("stack_table", entry.offset()));
            }
        }
        Ok(())
    }

    fn stack(&mut self, mut reader: Reader<'_>) -> Result<(), Defect> {
        let before = self.dictionary.stacks.items().len();
        loop {
            let at = reader.offset();
            let Some((number, field)) = reader.field()? else {
                return Ok(());
            };
            if number != 1 {
                self.exact = false;
                continue;
            }
            let in_all = self.dictionary.stacks.items().len();
            if !has_room(field, self.limits.stack_depth - (in_all - before)) {
                return Err(Defect::too_large(Limit::StackDepth, "a stack too deep"));
            }
            if !has_room(field, self.limits.elements - in_all) {
                return Err(Defect::too_large(Limit::Elements, "too many frames in all"));
            }
            let Dictionary { locations, stacks, .. } = &mut self.dictionary;
            match field {
                Field::Bytes(packed) => add_frames(packed, stacks, locations)?,
                Field::Varint(position) => stacks.add(frame(locations, position, at)?),
                _ => return Err(Defect::wire_type(at)),
            }
        }
    }
}

/// The innermost loop: most bytes of many requests are read here, so many are compared with the table at once.
fn add_frames(
    mut packed: Reader<'_>,
    stacks: &mut Lists<Stack, LocationId>,
    locations: &Table<Location>,
) -> Result<(), Defect> {
    let mut positions = [0; 64];
    while !packed.is_empty() {
        let mut before = packed;
        let filled = packed.fill(&mut positions)?;
        if !stacks.add_positions(positions.get(..filled).unwrap_or_default(), 0, locations) {
            // one of them is missing: find it
            while !before.is_empty() {
                let at = before.offset();
                frame(locations, before.varint()?, at)?;
            }
        }
    }
    Ok(())
}

fn frame(locations: &Table<Location>, position: u64, at: usize) -> Result<LocationId, Defect> {
    locations.id(position).ok_or_else(|| {
        let entries = locations.len();
        Defect::out_of_range(at, "location_indices", position, "location_table", entries)
    })
}

/// Whether the numbers of a field are no more than `room`. There are never more than bytes, so they seldom need to be counted.
fn has_room(field: Field<'_>, room: usize) -> bool {
    match field {
        Field::Bytes(packed) => packed.bytes().len() <= room || count_numbers(packed.bytes()) <= room,
        _ => room > 0,
    }
}

/// How many numbers are in a packed list: each ends with a byte below 128.
fn count_numbers(packed: &[u8]) -> usize {
    // in short runs the count fits a byte, and the processor counts many at once
    let count = |run: &[u8]| usize::from(run.iter().map(|byte| u8::from(*byte < 0x80)).sum::<u8>());
    packed.chunks(240).map(count).sum()
}

fn zero_entry(table: &str, at: usize) -> Defect {
    Defect::at(at, format!("{table}[0] must be empty: index 0 means \"not set\""))
}

/// Bytes of a fixed size; none at all are all zero.
pub(super) fn fixed_size<const N: usize>(reader: Reader<'_>, field: &str) -> Result<[u8; N], Defect> {
    let bytes = reader.bytes();
    match bytes.try_into() {
        Ok(id) => Ok(id),
        Err(_) if bytes.is_empty() => Ok([0; N]),
        Err(_) => {
            let problem = format!("{field} has {} bytes instead of {N}", bytes.len());
            Err(Defect::at(reader.offset(), problem))
        }
    }
}
