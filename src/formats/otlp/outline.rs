//! Where the tables of a request are, found by one walk over it before any of them is read.

use super::defect::Defect;
use crate::formats::wire::{Field, Reader};
use crate::formats::{Limit, Limits};
use crate::profile::{Attribute, Function, Line, Link, Location, Mapping};

/// Whether a string is used, and the number of its text as a key.
const STRING_EXTRA_BYTES: usize = 9;
/// What an attribute takes in [`AttributeSets`](super::sets::AttributeSets).
const ATTRIBUTE_EXTRA_BYTES: usize = 52;

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
    /// There are fields that no version has.
    pub has_unknown: bool,
}

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
    pub fn most_numbers(&self) -> usize {
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
    pub fn is_complete(&self) -> bool {
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

/// How many numbers are in a packed list: each ends with a byte below 128.
pub(super) fn count_numbers(packed: &[u8]) -> usize {
    // in short runs the count fits a byte, and the processor counts many at once
    let count = |run: &[u8]| usize::from(run.iter().map(|byte| u8::from(*byte < 0x80)).sum::<u8>());
    packed.chunks(240).map(count).sum()
}
