//! The first walk over a pprof: where each table lies, how many rows it has, and the fields that stand alone.

use super::super::room::{Allowance, Room};
use super::super::wire::{Field, Reader};
use super::super::{DecodeError, Limits};
use super::known_stacks::KNOWN_STACK_BYTES;
use super::{excess, malformed, not_protobuf, wrong_type};
use crate::profile::{
    AttributeSetId, Function, Line, LinkId, Location, Mapping, MappingId, StackId, StringId, ValueType,
};

/// A table: the messages of one field number.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) name: &'static str,
    pub(super) request: &'a [u8],
    /// Where each message begins and ends; requests are far shorter than 4 GiB.
    places: Vec<(u32, u32)>,
    allowed: Allowance<'a>,
}

/// What one more place may take of a list that doubles.
const PLACE_BYTES: usize = 2 * size_of::<(u32, u32)>();
/// The same for a place in the string table.
const TEXT_BYTES: usize = 2 * size_of::<Text>();
/// What a row of a map from ids to rows takes; not every profile needs one.
const ID_BYTES: usize = 40;
/// What attributes of a mapping take beside it: a build id has a row with a key of its own.
const MAPPING_EXTRA_BYTES: usize = 160;

impl<'a> Section<'a> {
    fn new(name: &'static str, request: &'a [u8], limits: &Limits, room: &'a dyn Room) -> Self {
        Self {
            name,
            request,
            places: Vec::new(),
            allowed: Allowance::new(limits.elements, PLACE_BYTES, room),
        }
    }

    fn add(&mut self, limits: &Limits, message: Reader<'a>) -> Result<(), DecodeError> {
        let allowed = self.allowed.spend(1);
        allowed.map_err(|why| excess(why, limits, self.name))?;
        let start = message.offset();
        let end = start + message.bytes().len();
        self.places.push((start as u32, end as u32));
        Ok(())
    }

    /// How many messages the table has.
    pub(super) fn rows(&self) -> usize {
        self.places.len()
    }

    /// Bytes of the longest message.
    pub(super) fn longest(&self) -> usize {
        let lengths = self.places.iter().map(|(start, end)| end - start);
        lengths.max().unwrap_or_default() as usize
    }

    /// Bytes of the first so many messages.
    pub(super) fn bytes(&self, rows: usize) -> usize {
        let lengths = self.places.iter().take(rows).map(|(start, end)| (end - start) as usize);
        lengths.sum()
    }

    /// Every message of the table, in order.
    pub(super) fn messages(&self) -> impl ExactSizeIterator<Item = Reader<'a>> + use<'a, '_> {
        let request = self.request;
        let places = self.places.iter();
        places.map(move |(start, end)| Reader::part(request, *start as usize, *end as usize))
    }
}

/// A number that should be a position in the string table, and where it was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Text {
    pub(super) position: u64,
    pub(super) at: usize,
}

/// What the first walk finds.
#[derive(Debug)]
pub(super) struct Outline<'a> {
    pub(super) sample_types: Section<'a>,
    pub(super) samples: Section<'a>,
    pub(super) mappings: Section<'a>,
    pub(super) locations: Section<'a>,
    pub(super) functions: Section<'a>,
    pub(super) strings: Section<'a>,
    pub(super) text_bytes: usize,
    pub(super) drop_frames: Text,
    pub(super) keep_frames: Text,
    pub(super) time_nanos: i64,
    pub(super) duration_nanos: i64,
    pub(super) period_type: Option<Reader<'a>>,
    pub(super) period: i64,
    pub(super) comments: Vec<Text>,
    comments_allowed: Allowance<'a>,
    pub(super) default_sample_type: Text,
    pub(super) doc_url: Text,
    /// Whether every field so far is known and none is hidden behind a later one.
    pub(super) exact: bool,
}

impl<'a> Outline<'a> {
    /// Walks the fields of a whole profile, which may be 4 GiB long at most.
    pub(super) fn read(bytes: &'a [u8], limits: &Limits, room: &'a dyn Room) -> Result<Self, DecodeError> {
        let mut outline = Self::new(bytes, limits, room);
        let mut reader = Reader::new(bytes);
        let mut seen = Once::default();
        loop {
            let at = reader.offset();
            let Some((number, field)) = reader.field().map_err(not_protobuf)? else {
                break;
            };
            if matches!(number, 7..=12 | 14 | 15) {
                outline.alone(number, field, at, seen.again(number))?;
            } else {
                outline.row(number, field, at, limits)?;
            }
        }
        Ok(outline)
    }

    fn new(request: &'a [u8], limits: &Limits, room: &'a dyn Room) -> Self {
        let table = |name| Section::new(name, request, limits, room);
        Self {
            sample_types: table("sample_type"),
            samples: table("sample"),
            mappings: table("mapping"),
            locations: table("location"),
            functions: table("function"),
            strings: table("string_table"),
            text_bytes: 0,
            drop_frames: Text::default(),
            keep_frames: Text::default(),
            time_nanos: 0,
            duration_nanos: 0,
            period_type: None,
            period: 0,
            comments: Vec::new(),
            comments_allowed: Allowance::new(limits.elements, TEXT_BYTES, room),
            default_sample_type: Text::default(),
            doc_url: Text::default(),
            exact: true,
        }
    }

    fn row(&mut self, number: u32, field: Field<'a>, at: usize, limits: &Limits) -> Result<(), DecodeError> {
        let section = match number {
            1 => &mut self.sample_types,
            2 => &mut self.samples,
            3 => &mut self.mappings,
            4 => &mut self.locations,
            5 => &mut self.functions,
            6 => &mut self.strings,
            13 => return self.comment(field, at, limits),
            _ => {
                self.exact = false;
                return Ok(());
            }
        };
        let Field::Bytes(message) = field else {
            return Err(wrong_type(at, section.name));
        };
        if number == 6 {
            self.text_bytes += message.bytes().len();
        }
        section.add(limits, message)
    }

    fn comment(&mut self, field: Field<'a>, at: usize, limits: &Limits) -> Result<(), DecodeError> {
        match field {
            Field::Varint(position) => self.add_comment(Text { position, at }, limits),
            Field::Bytes(mut packed) => {
                while !packed.is_empty() {
                    let position = packed.varint().map_err(not_protobuf)?;
                    self.add_comment(Text { position, at }, limits)?;
                }
                Ok(())
            }
            _ => Err(wrong_type(at, "comment")),
        }
    }

    fn add_comment(&mut self, comment: Text, limits: &Limits) -> Result<(), DecodeError> {
        let allowed = self.comments_allowed.spend(1);
        allowed.map_err(|why| excess(why, limits, "comment"))?;
        self.comments.push(comment);
        Ok(())
    }

    /// About the bytes that the tables take, whose rows are all known now. What hangs on the rows is asked for as it comes.
    pub(super) fn memory(&self) -> usize {
        let ids = size_of::<StackId>() + size_of::<AttributeSetId>() + size_of::<LinkId>() + size_of::<u32>();
        let sample = ids + KNOWN_STACK_BYTES + self.sample_types.rows().saturating_mul(size_of::<i64>());
        let rows = [
            (self.strings.rows(), size_of::<u32>() + 1),
            (self.functions.rows(), size_of::<Function>() + ID_BYTES),
            (
                self.mappings.rows(),
                size_of::<Mapping>() + size_of::<MappingId>() + ID_BYTES + MAPPING_EXTRA_BYTES,
            ),
            (
                self.locations.rows(),
                size_of::<Location>() + size_of::<Line>() + ID_BYTES,
            ),
            (self.samples.rows(), sample),
            (self.sample_types.rows(), 2 * size_of::<ValueType>()),
            (self.comments.len(), size_of::<StringId>()),
        ];
        let tables = rows.iter().map(|(rows, bytes)| rows.saturating_mul(*bytes));
        tables.fold(self.text_bytes, usize::saturating_add)
    }

    fn alone(&mut self, number: u32, field: Field<'a>, at: usize, again: bool) -> Result<(), DecodeError> {
        self.exact &= !again;
        if number == 11 {
            return self.period_type(field, at, again);
        }
        let name = match number {
            7 => "drop_frames",
            8 => "keep_frames",
            9 => "time_nanos",
            10 => "duration_nanos",
            12 => "period",
            14 => "default_sample_type",
            _ => "doc_url",
        };
        let Field::Varint(value) = field else {
            return Err(wrong_type(at, name));
        };
        let text = Text { position: value, at };
        match number {
            7 => self.drop_frames = text,
            8 => self.keep_frames = text,
            9 => set_once(&mut self.time_nanos, value, again, at, name)?,
            10 => self.duration_nanos = value as i64,
            12 => set_once(&mut self.period, value, again, at, name)?,
            14 => self.default_sample_type = text,
            _ => self.doc_url = text,
        }
        Ok(())
    }

    fn period_type(&mut self, field: Field<'a>, at: usize, again: bool) -> Result<(), DecodeError> {
        let Field::Bytes(message) = field else {
            return Err(wrong_type(at, "period_type"));
        };
        if again && self.period_type.map(|r| r.bytes()) != Some(message.bytes()) {
            return Err(concatenated(at, "period_type"));
        }
        self.period_type = Some(message);
        Ok(())
    }
}

fn set_once(slot: &mut i64, value: u64, again: bool, at: usize, name: &str) -> Result<(), DecodeError> {
    if again && *slot != value as i64 {
        return Err(concatenated(at, name));
    }
    *slot = value as i64;
    Ok(())
}

/// Protobuf would merge profiles that are written one behind the other into one with ids that mean two things.
fn concatenated(at: usize, name: &str) -> DecodeError {
    malformed(
        at,
        format!("a second {name} of another value: these are several profiles in one"),
    )
    .with_remedy("send them one by one")
}

/// Tells whether a field that may stand once in a message came before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Once {
    seen: u32,
}

impl Once {
    /// Whether field `number` (below 32) was asked for before.
    #[inline]
    pub(super) fn again(&mut self, number: u32) -> bool {
        let bit = 1 << (number & 31);
        let again = self.seen & bit != 0;
        self.seen |= bit;
        again
    }
}
