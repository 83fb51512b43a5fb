//! The tables of a request, read in the order in which they refer to each other, whatever their order on the wire.

use std::collections::HashMap;

use super::WireVersion;
use super::decode::Decoder;
use super::defect::{Defect, Seen, message, number, numbers};
use super::outline::{Entries, Outline};
use super::sets::AttributeSets;
use crate::formats::wire::{Field, Reader};
use crate::profile::{
    Attribute, AttributeSetId, Dictionary, Function, Id, Line, Link, Lists, Location, Mapping, MappingId, StringId,
    Strings, Table, Value,
};

/// What a set takes beside its attributes, in attributes.
const SET_COST: usize = 4;

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
}

pub(super) fn zero_entry(table: &str, at: usize) -> Defect {
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
