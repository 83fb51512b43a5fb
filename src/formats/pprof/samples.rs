//! The samples of a pprof: nearly all of its bytes, so little here is allocated.

use super::super::wire::{Field, Reader};
use super::super::{DecodeError, Limit, Limits};
use super::decode::Decoder;
use super::identity::Identities;
use super::known_stacks::{KnownStacks, NewList};
use super::outline::{Once, Section};
use super::{excess, malformed, not_protobuf, too_large, wrong_type};
use crate::profile::{
    Attribute, AttributeId, AttributeSetId, Dictionary, Id, Observations, Samples, StackId, StringId, Value,
};

/// Positions of locations, as many as are looked at together.
type Positions = [u32; 128];

/// Of so many samples or more the first quarter tells about how many frames the others have (stacks that come again come later on), and
/// somewhat more is made room for.
const MANY: usize = 4096;
const MORE_THAN_FORESEEN: f64 = 1.0 + 1.0 / 16.0;

/// What decoding samples needs beside the tables.
struct Scratch<'a> {
    positions: Positions,
    known_stacks: KnownStacks<'a>,
    values: Vec<i64>,
    labels: Vec<AttributeId>,
    last_set: AttributeSetId,
    recent: Recent,
}

/// The frames of a sample, as far as they were read.
enum Frames<'a> {
    None,
    /// Those of a stack that came before: they are not read again.
    Known(StackId),
    /// One list.
    List(NewList<'a>),
    /// Any others.
    Others,
}

impl Decoder<'_> {
    /// Reads all samples; each has `types` values.
    pub(super) fn samples(&mut self, section: &Section<'_>, types: usize) -> Result<Samples, DecodeError> {
        let rows = section.rows();
        let values = rows.saturating_mul(types);
        limit_elements(values, self.limits, "values")?;
        let mut stacks = Vec::with_capacity(rows);
        let mut attributes = Vec::with_capacity(rows);
        let mut scratch = Scratch {
            positions: [0; 128],
            known_stacks: KnownStacks::new(section.request, rows),
            values: Vec::with_capacity(values),
            labels: Vec::new(),
            last_set: Id::UNSET,
            recent: Recent::default(),
        };
        for message in section.messages() {
            if rows >= MANY && stacks.len() == rows / 4 {
                self.foresee_frames(section);
            }
            stacks.push(self.sample(message, types, &mut scratch)?);
            attributes.push(self.attribute_set(&mut scratch)?);
        }
        if scratch.known_stacks.are_distinct() {
            self.dictionary.stacks.be_distinct();
        }
        Ok(Samples {
            stacks,
            attributes,
            links: vec![Id::UNSET; rows],
            observations: Observations::Totals(scratch.values),
        })
    }

    /// Makes room for all frames at once, judged by those of the first quarter: a table that doubles is touched twice.
    #[inline(never)]
    fn foresee_frames(&mut self, section: &Section<'_>) {
        let (read, all) = (section.bytes(section.rows() / 4), section.bytes(section.rows()));
        let so_far = self.dictionary.stacks.items().len();
        let frames = so_far as f64 * all as f64 / read.max(1) as f64 * MORE_THAN_FORESEEN;
        let frames = (frames as usize).min(self.limits.elements);
        // a frame is paid for twice, as tables double
        if self.frames.prepay(frames.saturating_sub(so_far) / 2) {
            self.dictionary.stacks.reserve_items(frames);
        }
    }

    fn sample<'a>(
        &mut self,
        mut message: Reader<'a>,
        types: usize,
        scratch: &mut Scratch<'a>,
    ) -> Result<StackId, DecodeError> {
        let start = message.offset();
        let first = scratch.values.len();
        let before = self.dictionary.stacks.items().len();
        let mut frames = Frames::None;
        scratch.labels.clear();
        loop {
            let at = message.offset();
            match message.field().map_err(not_protobuf)? {
                Some((1, Field::Bytes(packed))) => frames = self.list(frames, packed, before, scratch)?,
                Some((1, Field::Varint(id))) => {
                    frames = self.go_on(frames);
                    self.check_depth(before, Reader::new(&[0]))?;
                    let frame = self.frame(id, at)?;
                    self.used_locations.mark(frame.index());
                    self.dictionary.stacks.add(frame);
                }
                Some((2, Field::Bytes(mut packed))) => {
                    while !packed.is_empty() {
                        // the memory for one too many was not asked for
                        if scratch.values.len() - first > types {
                            break;
                        }
                        scratch.values.push(packed.varint().map_err(not_protobuf)? as i64);
                    }
                }
                Some((2, Field::Varint(value))) if scratch.values.len() - first <= types => {
                    scratch.values.push(value as i64);
                }
                Some((2, Field::Varint(_))) => {}
                Some((3, Field::Bytes(label))) => {
                    // one too many is enough for `overflow` to see
                    if scratch.labels.len() <= self.limits.labels {
                        let label = self.label(label, &mut scratch.recent)?;
                        scratch.labels.push(label);
                    }
                }
                Some((1..=3, _)) => return Err(wrong_type(at, "a field of sample")),
                Some(_) => self.exact = false,
                None => break,
            }
        }
        let found = scratch.values.len() - first;
        if found != types {
            let problem = format!("a sample of {found} values in a profile of {types} sample types");
            return Err(malformed(start, problem));
        }
        self.stack(frames, before, &mut scratch.known_stacks)
    }

    /// Reads a list of ids, unless it is all of a stack that came before.
    #[inline(always)]
    fn list<'a>(
        &mut self,
        so_far: Frames<'a>,
        packed: Reader<'a>,
        before: usize,
        scratch: &mut Scratch<'a>,
    ) -> Result<Frames<'a>, DecodeError> {
        let frames = match so_far {
            Frames::None => match scratch.known_stacks.find(packed) {
                Ok(stack) => return Ok(Frames::Known(stack)),
                Err(new) => Frames::List(new),
            },
            some => self.go_on(some),
        };
        self.check_depth(before, packed)?;
        self.frames(packed, &mut scratch.positions)?;
        Ok(frames)
    }

    /// What frames are to which more are added.
    #[inline(never)]
    fn go_on<'a>(&mut self, so_far: Frames<'a>) -> Frames<'a> {
        if let Frames::Known(stack) = so_far {
            let stacks = &mut self.dictionary.stacks;
            let frames = stacks[stack].to_vec();
            stacks.add_all(&frames);
        }
        Frames::Others
    }

    /// The stack of the frames that were added since `before`, if it did not come before.
    fn stack<'a>(
        &mut self,
        frames: Frames<'a>,
        before: usize,
        known: &mut KnownStacks<'a>,
    ) -> Result<StackId, DecodeError> {
        if let Frames::Known(stack) = frames {
            return Ok(stack);
        }
        let stacks = &mut self.dictionary.stacks;
        let added = stacks.items().len() - before;
        // a stack has few frames: it does no harm that they are there already
        let spent = self.frames.spend(added);
        spent.map_err(|why| excess(why, self.limits, "frames"))?;
        Ok(match frames {
            _ if added == 0 => Id::UNSET,
            Frames::List(list) => known.add(list, stacks),
            _ => known.add_other(stacks),
        })
    }

    /// Whether the ids of a packed list may be added to the stack whose frames were added since `before`. There are never more
    /// than bytes, so they seldom need to be counted.
    fn check_depth(&self, before: usize, packed: Reader<'_>) -> Result<(), DecodeError> {
        let so_far = self.dictionary.stacks.items().len() - before;
        let most = self.limits.stack_depth.saturating_sub(so_far);
        let count = |bytes: &[u8]| bytes.iter().filter(|byte| **byte < 0x80).count();
        if packed.bytes().len() > most && count(packed.bytes()) > most {
            let problem = format!("a stack of more than {} frames", self.limits.stack_depth);
            return Err(too_large(Limit::StackDepth, problem));
        }
        Ok(())
    }

    fn frames(&mut self, mut packed: Reader<'_>, positions: &mut Positions) -> Result<(), DecodeError> {
        let Dictionary { locations, stacks, .. } = &mut self.dictionary;
        let Identities::Counted = &self.locations else {
            return self.frames_one_by_one(packed);
        };
        while !packed.is_empty() {
            let before = packed;
            let filled = packed.fill(positions).map_err(not_protobuf)?;
            let positions = positions.get(..filled).unwrap_or_default();
            if !stacks.add_positions(positions, 1, locations) {
                return self.frames_one_by_one(before);
            }
            self.used_locations.mark_all(positions);
        }
        Ok(())
    }

    /// The same for ids of any kind, which also finds the one that no location has.
    fn frames_one_by_one(&mut self, mut packed: Reader<'_>) -> Result<(), DecodeError> {
        while !packed.is_empty() {
            let at = packed.offset();
            let id = packed.varint().map_err(not_protobuf)?;
            let frame = self.frame(id, at)?;
            self.used_locations.mark(frame.index());
            self.dictionary.stacks.add(frame);
        }
        Ok(())
    }

    /// Neighbours often carry the same labels.
    fn attribute_set(&mut self, scratch: &mut Scratch) -> Result<AttributeSetId, DecodeError> {
        if scratch.labels.is_empty() {
            return Ok(Id::UNSET);
        }
        if self.dictionary.attribute_sets[scratch.last_set] != *scratch.labels {
            let spent = self.labels.spend(scratch.labels.len());
            spent.map_err(|why| excess(why, self.limits, "labels"))?;
            scratch.last_set = self.dictionary.attribute_sets.push(&scratch.labels);
        }
        Ok(scratch.last_set)
    }

    /// As in Go's reader a text wins over a number, and only a number has a unit; a label with neither is the empty text.
    fn label(&mut self, mut message: Reader<'_>, recent: &mut Recent) -> Result<AttributeId, DecodeError> {
        let mut label = Label::default();
        let mut once = Once::default();
        while let Some((number, value, at)) = self.number(&mut message, &mut once, 4, "label")? {
            match number {
                1 => label.key = self.string(value, at, "label.key")?,
                2 => label.text = self.string(value, at, "label.str")?,
                3 => label.number = value as i64,
                _ => label.unit = self.string(value, at, "label.num_unit")?,
            }
        }
        if label.text.is_set() && (label.number != 0 || label.unit.is_set()) {
            self.exact = false;
            (label.number, label.unit) = (0, Id::UNSET);
        }
        Ok(recent.find_or(label, || self.dictionary.attributes.push(label.attribute())))
    }
}

fn limit_elements(count: usize, limits: &Limits, what: &str) -> Result<(), DecodeError> {
    // tables count in 32 bits
    let most = limits.elements.min(u32::MAX as usize >> 1);
    if count > most {
        return Err(too_large(Limit::Elements, format!("more than {most} {what}")));
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Label {
    key: StringId,
    text: StringId,
    number: i64,
    unit: StringId,
}

impl Label {
    fn attribute(self) -> Attribute {
        let is_number = self.number != 0 || self.unit.is_set();
        let value = match is_number {
            true => Value::Int(self.number),
            false => Value::String(self.text),
        };
        Attribute {
            key: self.key,
            value,
            unit: self.unit,
        }
    }

    /// Spreads labels over the slots of [`Recent`].
    fn slot(&self) -> usize {
        let ids = u64::from(self.key.raw()) << 32 ^ u64::from(self.text.raw()) << 8 ^ u64::from(self.unit.raw());
        let mixed = (ids ^ (self.number as u64).rotate_left(17)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - SLOT_BITS)) as usize
    }
}

const SLOT_BITS: u32 = 10;

/// The labels seen lately, so that most equal labels share one row; what it forgets is stored again, which is no harm.
#[derive(Default)]
struct Recent {
    slots: Vec<(Label, AttributeId)>,
}

impl Recent {
    fn find_or(&mut self, label: Label, store: impl FnOnce() -> AttributeId) -> AttributeId {
        if self.slots.is_empty() {
            self.slots.resize(1 << SLOT_BITS, (Label::default(), Id::UNSET));
        }
        let Some(slot) = self.slots.get_mut(label.slot()) else {
            return store();
        };
        if !slot.1.is_set() || slot.0 != label {
            *slot = (label, store());
        }
        slot.1
    }
}
