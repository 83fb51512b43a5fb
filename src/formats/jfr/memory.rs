//! The memory of a recording that is being read: what its profiles take, and for as long as a chunk is read, what that takes.

use super::defect::Defect;
use crate::formats::room::Room;

/// Asks for memory as it is needed, and gives back what was of one chunk only.
#[derive(Debug)]
pub(super) struct Memory<'a> {
    room: &'a dyn Room,
    /// Asked for and kept.
    kept: usize,
    /// The same for the types of the last chunk.
    schema: usize,
    /// Asked for as long as a chunk is read.
    of_chunk: usize,
    /// How much of that is for what was looked up in it.
    looked_up: usize,
}

/// Memory that stays is asked for in steps.
const STEP: usize = 64 << 10;

impl<'a> Memory<'a> {
    /// From a room.
    pub fn new(room: &'a dyn Room) -> Self {
        Self {
            room,
            kept: 0,
            schema: 0,
            of_chunk: 0,
            looked_up: 0,
        }
    }

    /// Sees to it that so much was asked for to keep, in all.
    pub fn keep(&mut self, bytes: usize) -> Result<(), Defect> {
        if bytes > self.kept {
            let more = (bytes - self.kept).next_multiple_of(STEP);
            self.room.take(more).map_err(Defect::NoRoom)?;
            self.kept += more;
        }
        Ok(())
    }

    /// Sees to it that so much was asked for what follows from metadata.
    pub fn schema(&mut self, bytes: usize) -> Result<(), Defect> {
        if bytes > self.schema {
            self.room.take(bytes - self.schema).map_err(Defect::NoRoom)?;
            self.schema = bytes;
        }
        Ok(())
    }

    /// Asks for memory that is given back with the chunk.
    pub fn take(&mut self, bytes: usize) -> Result<(), Defect> {
        self.room.take(bytes).map_err(Defect::NoRoom)?;
        self.of_chunk += bytes;
        Ok(())
    }

    /// Sees to it that so much was asked for what was looked up in a chunk, in all.
    pub fn look_up(&mut self, bytes: usize) -> Result<(), Defect> {
        if bytes > self.looked_up {
            let more = (bytes - self.looked_up).next_multiple_of(STEP);
            self.take(more)?;
            self.looked_up += more;
        }
        Ok(())
    }

    /// A chunk was read.
    pub fn end_of_chunk(&mut self) {
        self.room.give_back(self.of_chunk);
        self.of_chunk = 0;
        self.looked_up = 0;
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        self.end_of_chunk();
        self.room.give_back(self.schema);
    }
}
