//! From the ids of a pprof table, any numbers but 0, to rows of the dictionary.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::super::DecodeError;
use super::malformed;
use crate::profile::{Id, Table};

/// The ids of one table. Nearly every writer counts from 1: then an id is its row and no map is needed.
#[derive(Debug)]
pub(super) enum Identities<Row> {
    /// Every id so far is the number of its row.
    Counted,
    /// Any other ids.
    Mapped(HashMap<u64, Id<Row>, RandomState>),
}

impl<Row> Identities<Row> {
    /// Notes the id of the newest row.
    pub(super) fn add(&mut self, id: u64, row: Id<Row>, table: &Table<Row>, at: usize) -> Result<(), DecodeError> {
        if let Self::Counted = self {
            if id == u64::from(row.raw()) {
                return Ok(());
            }
            let earlier = table.ids().skip(1).filter(|other| *other != row);
            *self = Self::Mapped(earlier.map(|row| (u64::from(row.raw()), row)).collect());
        }
        if let Self::Mapped(rows) = self
            && rows.insert(id, row).is_some()
        {
            return Err(malformed(at, "an id that an earlier message of the same table has"));
        }
        Ok(())
    }

    /// The row of an id.
    #[inline]
    pub(super) fn find(&self, id: u64, table: &Table<Row>) -> Option<Id<Row>> {
        match self {
            Self::Counted => counted(id, table),
            Self::Mapped(rows) => rows.get(&id).copied(),
        }
    }
}

/// The row of an id that is the number of its row.
#[inline]
pub(super) fn counted<Row>(id: u64, table: &Table<Row>) -> Option<Id<Row>> {
    table.id(id).filter(|row| row.is_set())
}

/// Which rows of a table something refers to.
#[derive(Debug, Default)]
pub(super) struct Used {
    marks: Vec<bool>,
    /// All rows below this one are marked: writers number rows in the order of their first use, so most marks are there already.
    first_open: u32,
}

impl Used {
    /// A table of `rows` rows; row 0 needs no one who refers to it.
    pub(super) fn new(rows: usize) -> Self {
        let mut used = Self {
            marks: vec![false; rows],
            first_open: 0,
        };
        used.mark(0);
        used
    }

    /// Marks a row; false if there is no such row.
    #[inline]
    pub(super) fn mark(&mut self, row: usize) -> bool {
        match self.marks.get_mut(row) {
            Some(mark) => {
                *mark = true;
                true
            }
            None => false,
        }
    }

    /// Marks many rows.
    pub(super) fn mark_all(&mut self, rows: &[u32]) {
        // no early end, so that many are compared at once
        let any_open = rows.iter().fold(false, |any, row| any | (*row >= self.first_open));
        if any_open {
            for row in rows {
                self.mark(*row as usize);
            }
            while self.has(self.first_open as usize) {
                self.first_open += 1;
            }
        }
    }

    /// Whether something refers to the row.
    pub(super) fn has(&self, row: usize) -> bool {
        self.marks.get(row).copied().unwrap_or_default()
    }

    /// Whether every row is referred to.
    pub(super) fn all(&self) -> bool {
        self.marks.iter().all(|mark| *mark)
    }
}
