//! Typed positions in the tables of a [`Dictionary`](super::Dictionary).
//!
//! Only a table hands out ids, and tables never shrink while rows point at them, so whoever holds an id may index with it:
//! the decoder checked the number once, and nobody after it has to.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// A row of the table whose rows are `Row`. Zero means "not set" in every table.
pub struct Id<Row> {
    position: u32,
    row: PhantomData<fn() -> Row>,
}

impl<Row> Id<Row> {
    /// The zero value of the table: "not set".
    pub const UNSET: Self = Self {
        position: 0,
        row: PhantomData,
    };

    /// For the tables alone: they know that the row exists.
    pub(super) const fn at(position: u32) -> Self {
        Self {
            position,
            row: PhantomData,
        }
    }

    /// The position in the table.
    pub const fn index(self) -> usize {
        self.position as usize
    }

    /// The position as the wire formats write it.
    pub const fn raw(self) -> u32 {
        self.position
    }

    /// Whether it points at a row other than the zero value.
    pub const fn is_set(self) -> bool {
        self.position != 0
    }
}

// Derives would ask the same of `Row`, which is only a name here.
impl<Row> Clone for Id<Row> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Row> Copy for Id<Row> {}
impl<Row> PartialEq for Id<Row> {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
    }
}
impl<Row> Eq for Id<Row> {}
impl<Row> PartialOrd for Id<Row> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<Row> Ord for Id<Row> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.position.cmp(&other.position)
    }
}
impl<Row> Hash for Id<Row> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.position.hash(state);
    }

    // stacks are long, and hashers take sixteen bytes as fast as four
    fn hash_slice<H: Hasher>(ids: &[Self], state: &mut H) {
        let (fours, rest) = ids.as_chunks::<4>();
        for [a, b, c, d] in fours {
            let pair = |low: &Self, high: &Self| u64::from(high.position) << 32 | u64::from(low.position);
            state.write_u128(u128::from(pair(c, d)) << 64 | u128::from(pair(a, b)));
        }
        for id in rest {
            id.hash(state);
        }
    }
}
impl<Row> Default for Id<Row> {
    fn default() -> Self {
        Self::UNSET
    }
}
impl<Row> fmt::Debug for Id<Row> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.position)
    }
}
