//! The pools of constants of a chunk: where each constant stands. What it says is read when somebody asks.

use std::borrow::Cow;
use std::cell::Cell;

use hashbrown::HashMap;

use super::chunk::{Clock, Header};
use super::defect::Defect;
use super::events::{Plan, Slot};
use super::layout::{self, Kept, SLOTS, skip};
use super::memory::Memory;
use super::primitives::Cursor;
use super::schema::{POOLS, PoolName, Schema, slot};
use super::text::Text;
use super::walk::event_at;
use crate::formats::Limit;

/// Where the constants of a chunk stand, by pool and number.
///
/// A number may come again in another checkpoint; what it stands for then says the same in other words, and the newest stays.
#[derive(Debug)]
pub(super) struct Pools<'a> {
    bytes: Cursor<'a>,
    schema: &'a Schema,
    clock: Clock,
    places: [HashMap<u64, u32, foldhash::fast::RandomState>; POOLS],
    /// Bytes of the longest text that is read.
    most_text: usize,
    /// Bytes of texts that may still be read: few bytes can name a long one again and again.
    texts_left: Cell<usize>,
}

/// So many times the bytes of a chunk, and somewhat more, may be read as texts.
const TEXTS_FOR_BYTE: usize = 32;
const TEXTS_MORE: usize = 4 << 20;

/// What a constant takes in a map that is never more than seven eighths and seldom less than half full.
const PLACE_BYTES: usize = 3 * size_of::<(u64, u32)>();
/// Constants are paid for in steps.
const STEP: usize = 1 << 10;

impl<'a> Pools<'a> {
    /// Walks the checkpoints of a chunk, from the newest to the oldest.
    pub fn read(
        bytes: Cursor<'a>,
        header: &Header,
        schema: &'a Schema,
        most_text: usize,
        memory: &mut Memory<'_>,
    ) -> Result<Self, Defect> {
        let mut pools = Self {
            bytes,
            schema,
            clock: header.clock,
            places: Default::default(),
            most_text,
            texts_left: Cell::new(bytes.end().saturating_mul(TEXTS_FOR_BYTE).saturating_add(TEXTS_MORE)),
        };
        let (mut at, mut end) = (header.checkpoint, bytes.end());
        loop {
            let delta = pools.checkpoint(at, end, memory)?;
            if delta == 0 {
                return Ok(pools);
            }
            // only ever backwards, so that there is an end
            let next = i64::try_from(at).ok().and_then(|at| at.checked_add(delta));
            end = at;
            at = match next.and_then(|next| usize::try_from(next).ok()) {
                Some(next) if next < at && next >= super::chunk::HEADER_BYTES => next,
                _ => {
                    return Err(Defect::Malformed {
                        at,
                        problem: "a checkpoint that does not name an older one",
                    });
                }
            };
        }
    }

    /// Notes the constants of one checkpoint, which ends where the newer one begins: none is read twice. Gives how far the one before
    /// it is away.
    fn checkpoint(&mut self, at: usize, end: usize, memory: &mut Memory<'_>) -> Result<i64, Defect> {
        let (type_id, mut cursor) = event_at(self.bytes.until(end).moved_to(at))?;
        if type_id != 1 {
            return Err(Defect::Malformed {
                at,
                problem: "no checkpoint where one should be",
            });
        }
        let [_start, _duration, delta] = [cursor.long()?, cursor.long()?, cursor.long()?];
        cursor.byte()?;
        for _ in 0..cursor.count()? {
            self.pool(&mut cursor, memory)?;
        }
        Ok(delta as i64)
    }

    fn pool(&mut self, cursor: &mut Cursor<'a>, memory: &mut Memory<'_>) -> Result<(), Defect> {
        let type_id = cursor.long()?;
        let count = cursor.count()?;
        let Some(constants) = self.schema.constants(type_id) else {
            return Err(cursor.malformed("constants of a type that the metadata does not have"));
        };
        let mut places = constants.pool.and_then(|pool| self.places.get_mut(pool as usize));
        for index in 0..count {
            if index.is_multiple_of(STEP) && places.is_some() {
                memory.take(STEP.min(count - index) * PLACE_BYTES)?;
            }
            let number = cursor.long()?;
            if let Some(places) = &mut places {
                // chunks are shorter than 4 GiB
                places.entry(number).or_insert(cursor.at() as u32);
            }
            skip(cursor, &constants.over)?;
        }
        Ok(())
    }

    /// The fields of a constant that are of interest; none if there is no such constant.
    pub fn get(&self, pool: PoolName, number: u64) -> Option<Kept> {
        let mut cursor = self.bytes.moved_to(self.place(pool, number)?);
        let mut kept = [0; SLOTS];
        let read = layout::read(&mut cursor, self.schema.layout(pool), self.clock, &mut kept);
        read.is_ok().then_some(kept)
    }

    fn place(&self, pool: PoolName, number: u64) -> Option<usize> {
        let place = self.places.get(pool as usize)?.get(&number)?;
        Some(*place as usize)
    }

    /// All numbers of a pool.
    pub fn numbers(&self, pool: PoolName) -> impl Iterator<Item = u64> {
        let places = self.places.get(pool as usize).into_iter();
        places.flat_map(|places| places.keys().copied())
    }

    /// The frames of a stack, the leaf first, beginning where their list stands.
    pub fn frames(&self, place: i64) -> Result<Frames<'a>, Defect> {
        let mut cursor = self.bytes.moved_to(usize::try_from(place).unwrap_or(usize::MAX));
        let left = cursor.count()?;
        Ok(Frames {
            cursor,
            left,
            layout: &self.schema.frame,
            clock: self.clock,
        })
    }

    /// The text of a constant that is one, or holds one; empty if there is no such constant.
    pub fn constant(&self, pool: PoolName, number: u64) -> Result<Cow<'a, str>, Defect> {
        let place = match pool {
            PoolName::String => self.place(pool, number).map(|place| place as i64),
            _ => self.get(pool, number).and_then(|kept| kept.get(slot::NAME).copied()),
        };
        let place = place.filter(|place| *place > 0);
        place.map_or(Ok(Cow::Borrowed("")), |place| self.text(place))
    }

    /// The text that stands at a place. One that stands for another of the pool leads there, and no further.
    pub fn text(&self, place: i64) -> Result<Cow<'a, str>, Defect> {
        let text = match self.text_at(place)? {
            Text::Pooled(number) => match self.place(PoolName::String, number) {
                Some(place) => self.text_at(place as i64)?,
                None => Text::Null,
            },
            text => text,
        };
        if text.most_bytes() > self.most_text {
            return Err(Defect::TooLarge(Limit::String));
        }
        let left = self.texts_left.get().checked_sub(text.most_bytes());
        self.texts_left.set(left.ok_or(Defect::TooLarge(Limit::Decompressed))?);
        Ok(text.plain())
    }

    /// The text that an event tells in a slot, wherever it stands; empty if it tells none that can be read.
    pub fn told(&self, plan: &Plan, slot: Slot, kept: &Kept) -> Cow<'a, str> {
        let text = match plan.is_constant(slot) {
            true => self.constant(PoolName::String, slot.of(kept) as u64),
            false if slot.of(kept) > 0 => self.text(slot.of(kept)),
            false => return Cow::Borrowed(""),
        };
        text.unwrap_or_default()
    }

    fn text_at(&self, place: i64) -> Result<Text<'a>, Defect> {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        self.bytes.moved_to(place).text()
    }
}

/// The frames of one stack.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    cursor: Cursor<'a>,
    left: usize,
    layout: &'a [layout::Step],
    clock: Clock,
}

impl Frames<'_> {
    /// How many are left.
    pub fn left(&self) -> usize {
        self.left
    }

    /// The next one.
    #[inline]
    pub fn next(&mut self, kept: &mut Kept) -> Result<bool, Defect> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(false);
        };
        self.left = left;
        layout::read(&mut self.cursor, self.layout, self.clock, kept)?;
        Ok(true)
    }
}
