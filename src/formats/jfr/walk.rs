//! From event to event: each begins with its size and the number of its type.

use super::chunk::HEADER_BYTES;
use super::defect::Defect;
use super::primitives::{Cursor, Width};

/// The events of a chunk, one after the other.
#[derive(Debug)]
pub(super) struct Events<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Events<'a> {
    /// All of a chunk.
    pub fn of(chunk: Cursor<'a>) -> Self {
        Self {
            cursor: chunk.moved_to(HEADER_BYTES),
        }
    }

    /// The type of the next event, and what is in that.
    #[inline]
    pub fn next(&mut self) -> Result<Option<(u64, Cursor<'a>)>, Defect> {
        if self.cursor.left() == 0 {
            return Ok(None);
        }
        let (type_id, event) = event_at(self.cursor)?;
        self.cursor = self.cursor.moved_to(event.end());
        Ok(Some((type_id, event)))
    }
}

/// The type of the event that a cursor is at, and what is in that.
#[inline]
pub(super) fn event_at(start: Cursor<'_>) -> Result<(u64, Cursor<'_>), Defect> {
    let mut event = start;
    let size = usize::try_from(event.integer(Width::Four)?).unwrap_or_default();
    let type_id = event.long()?;
    let header = event.at() - start.at();
    // so that each is behind the one before it
    if size < header || size > start.left() {
        return Err(start.malformed("an event of a size that it cannot have"));
    }
    Ok((type_id, event.until(start.at() + size)))
}
