//! What a recording is made of, in numbers that any other reader gives too: chunks, events by name, constants by type. For tests.

use std::collections::{BTreeMap, BTreeSet};

use super::chunk::Header;
use super::defect::Defect;
use super::layout::{SLOTS, skip};
use super::memory::Memory;
use super::metadata::Types;
use super::pools::Pools;
use super::primitives::Cursor;
use super::schema::{PoolName, Schema, slot};
use super::walk::{Events, event_at};
use crate::formats::Limits;
use crate::formats::room::Unlimited;

/// The numbers of all chunks together.
#[derive(Debug, Default, PartialEq)]
pub(in crate::formats) struct Outline {
    pub chunks: usize,
    pub checkpoints: usize,
    /// `2.1`, by the first chunk.
    pub version: String,
    /// Of the first chunk: whether it was finished.
    pub state: u8,
    /// Of the first chunk and of the last.
    pub flags: [u8; 2],
    pub ticks_per_second: BTreeSet<u64>,
    /// How many events of each name there are, read or not.
    pub events: BTreeMap<String, usize>,
    /// How many constants of each type there are, those that come again counted again.
    pub constants: BTreeMap<String, usize>,
    pub most_frames: usize,
    pub truncated_stacks: usize,
}

impl Outline {
    /// Of an uncompressed recording without a defect.
    pub fn of(recording: &[u8]) -> Self {
        let mut outline = Self::default();
        let mut rest = recording;
        while !rest.is_empty() {
            let header = Header::read(rest).expect("a header");
            let (chunk, after) = rest.split_at(header.size);
            outline.chunk(&header, chunk).expect("a chunk");
            rest = after;
        }
        outline
    }

    fn chunk(&mut self, header: &Header, bytes: &[u8]) -> Result<(), Defect> {
        if self.chunks == 0 {
            self.version = format!("{}.{}", bytes[5], bytes[7]);
            (self.state, self.flags[0]) = (bytes[64], bytes[67]);
        }
        self.chunks += 1;
        self.flags[1] = bytes[67];
        self.ticks_per_second.insert(header.clock.ticks_per_second);
        let chunk = Cursor::new(bytes, header.compressed);
        let (_, mut metadata) = event_at(chunk.moved_to(header.metadata))?;
        metadata.skip_integers(3, 24)?;
        let types = Types::read(metadata)?;
        let mut events = Events::of(chunk);
        while let Some((type_id, _)) = events.next()? {
            match type_id {
                0 => {}
                1 => self.checkpoints += 1,
                _ => {
                    let name = types.get(type_id).map_or("?", |of| &*of.name);
                    *self.events.entry(name.to_owned()).or_default() += 1;
                }
            }
        }
        let schema = Schema::read(metadata)?;
        let mut memory = Memory::new(&Unlimited);
        let pools = Pools::read(chunk, header, &schema, Limits::USUAL.string_bytes, &mut memory)?;
        self.stacks(&pools)?;
        let mut at = header.checkpoint;
        loop {
            match self.checkpoint(chunk.moved_to(at), &types, &schema)? {
                0 => return Ok(()),
                delta => at = (at as i64 + delta) as usize,
            }
        }
    }

    /// Counts the constants of a checkpoint; how far the one before it is away.
    fn checkpoint(&mut self, at: Cursor<'_>, types: &Types, schema: &Schema) -> Result<i64, Defect> {
        let (_, mut cursor) = event_at(at)?;
        cursor.skip_integers(2, 16)?;
        let delta = cursor.long()? as i64;
        cursor.byte()?;
        for _ in 0..cursor.count()? {
            let type_id = cursor.long()?;
            let count = cursor.count()?;
            let over = &schema.constants(type_id).expect("a type").over;
            for _ in 0..count {
                cursor.long()?;
                skip(&mut cursor, over)?;
            }
            let name = types.get(type_id).expect("a type").name.to_string();
            *self.constants.entry(name).or_default() += count;
        }
        Ok(delta)
    }

    fn stacks(&mut self, pools: &Pools<'_>) -> Result<(), Defect> {
        let mut kept = [0; SLOTS];
        for number in pools.numbers(PoolName::StackTrace) {
            let stack = pools.get(PoolName::StackTrace, number).unwrap_or(kept);
            let mut frames = pools.frames(stack[slot::FRAMES])?;
            self.most_frames = self.most_frames.max(frames.left());
            self.truncated_stacks += usize::from(stack[slot::TRUNCATED] != 0);
            while frames.next(&mut kept)? {}
        }
        Ok(())
    }
}
