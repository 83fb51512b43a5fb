//! The two shapes of table that a dictionary is made of: rows of one size, and lists of any length behind an offset array.
//!
//! Both are born with row 0, the zero value, so that [`Id::UNSET`] is always in range.

// The one place that indexes: every `Id` was handed out by the table it is used on.
#![allow(clippy::indexing_slicing)]

use std::collections::HashSet;
use std::hash::Hash;
use std::ops::Index;

use super::ids::Id;

/// Rows of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Table<Row> {
    rows: Vec<Row>,
}

impl<Row: Default> Default for Table<Row> {
    fn default() -> Self {
        Self {
            rows: vec![Row::default()],
        }
    }
}

impl<Row: Default> Table<Row> {
    /// A table with room for `rows` more rows.
    pub fn with_capacity(rows: usize) -> Self {
        let mut table = Self {
            rows: Vec::with_capacity(rows.saturating_add(1)),
        };
        table.rows.push(Row::default());
        table
    }
}

impl<Row> Table<Row> {
    /// Appends a row.
    pub fn push(&mut self, row: Row) -> Id<Row> {
        let id = next_id(self.rows.len());
        self.rows.push(row);
        id
    }

    /// Keeps the rows of which `stays`, asked of one after the other, says so.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(Id<Row>) -> bool) {
        let mut ids = self.ids();
        self.rows.retain(|_| ids.next().is_some_and(&mut stays));
    }

    /// Gives room for further rows back.
    pub(super) fn shrink(&mut self) {
        give_back(&mut self.rows);
    }

    /// The id of a position read from a wire, if the table has it.
    pub fn id(&self, position: u64) -> Option<Id<Row>> {
        known_id(position, self.rows.len())
    }

    /// Every id, the zero value first.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = Id<Row>> + use<Row> {
        (0..self.rows.len() as u32).map(Id::at)
    }

    /// All rows, the zero value first.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// All rows, to be changed in place.
    pub fn rows_mut(&mut self) -> &mut [Row] {
        &mut self.rows
    }

    /// Number of rows, the zero value included: never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes held, for the memory budget.
    pub fn heap_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
    }
}

impl<Row> Index<Id<Row>> for Table<Row> {
    type Output = Row;
    fn index(&self, id: Id<Row>) -> &Row {
        &self.rows[id.index()]
    }
}

/// Lists of `Item`, one for every `Id<Owner>`, flat behind an offset array.
#[derive(Debug)]
pub struct Lists<Owner, Item> {
    /// `ends[i]` is where list `i` ends and list `i + 1` begins.
    ends: Vec<u32>,
    items: Vec<Item>,
    are_distinct: bool,
    /// Of the table that items point into so many rows are pointed at, all but row 0; 0 if that is not known.
    reached: usize,
    owner: std::marker::PhantomData<fn() -> Owner>,
}

impl<Owner, Item: Clone> Clone for Lists<Owner, Item> {
    fn clone(&self) -> Self {
        Self {
            ends: self.ends.clone(),
            items: self.items.clone(),
            are_distinct: self.are_distinct,
            reached: self.reached,
            owner: self.owner,
        }
    }
}

impl<Owner, Item: PartialEq> PartialEq for Lists<Owner, Item> {
    fn eq(&self, other: &Self) -> bool {
        (&self.ends, &self.items) == (&other.ends, &other.items)
    }
}

impl<Owner, Item> Default for Lists<Owner, Item> {
    fn default() -> Self {
        Self::with_capacity(0, 0)
    }
}

impl<Owner, Item> Lists<Owner, Item> {
    /// Room for `lists` more lists with `items` items in all.
    pub fn with_capacity(lists: usize, items: usize) -> Self {
        let mut ends = Vec::with_capacity(lists.saturating_add(1));
        ends.push(0);
        Self {
            ends,
            items: Vec::with_capacity(items),
            are_distinct: false,
            reached: 0,
            owner: std::marker::PhantomData,
        }
    }

    /// Makes room for so many items, those that are there included.
    pub fn reserve_items(&mut self, items: usize) {
        self.items.reserve_exact(items.saturating_sub(self.items.len()));
    }

    /// Adds an item to the list that [`close`](Self::close) will end. For decoders that meet items one by one.
    pub fn add(&mut self, item: Item) {
        self.items.push(item);
    }

    /// The items added after the last list.
    pub fn open(&self) -> &[Item] {
        &self.items[self.closed()..]
    }

    /// Removes the items added after the last list.
    pub fn abandon(&mut self) {
        self.items.truncate(self.closed());
    }

    /// How many items are in lists.
    fn closed(&self) -> usize {
        self.ends.last().map_or(0, |end| *end as usize)
    }

    /// Ends the list begun after the last one.
    pub fn close(&mut self) -> Id<Owner> {
        let id = next_id(self.ends.len());
        self.are_distinct = false;
        self.ends.push(next_position(self.items.len()));
        id
    }

    /// Whether it is known that each of so many rows, but for row 0, is in some list.
    pub fn do_reach_all_of(&self, rows: usize) -> bool {
        self.reached == rows
    }

    /// Whether it is known that no two lists are equal.
    pub fn are_distinct(&self) -> bool {
        self.are_distinct
    }

    /// Gives room for further lists and items back.
    pub(super) fn shrink(&mut self) {
        give_back(&mut self.ends);
        give_back(&mut self.items);
    }

    /// The id of a position read from a wire, if the table has it.
    pub fn id(&self, position: u64) -> Option<Id<Owner>> {
        known_id(position, self.ends.len())
    }

    /// Every id, the empty list first.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = Id<Owner>> + use<Owner, Item> {
        (0..self.ends.len() as u32).map(Id::at)
    }

    /// The items of all lists, to be changed in place.
    pub fn items_mut(&mut self) -> &mut [Item] {
        self.are_distinct = false;
        self.reached = 0;
        &mut self.items
    }

    /// The items of all lists, one list after the other.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Number of lists, the empty one at 0 included: never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes held, for the memory budget.
    pub fn heap_bytes(&self) -> usize {
        self.ends.capacity() * size_of::<u32>() + self.items.capacity() * size_of::<Item>()
    }
}

impl<Owner, Item: Clone> Lists<Owner, Item> {
    /// Adds several items as [`add`](Self::add) adds one.
    pub fn add_all(&mut self, items: &[Item]) {
        self.items.extend_from_slice(items);
    }

    /// Appends a whole list.
    pub fn push(&mut self, items: &[Item]) -> Id<Owner> {
        self.items.extend_from_slice(items);
        self.close()
    }
}

impl<Owner, Item: Hash + Eq> Lists<Owner, Item> {
    /// Notes that no two lists are equal; holds until a list is added or an item changed.
    pub fn be_distinct(&mut self) {
        self.are_distinct = true;
        debug_assert_eq!(
            self.ids().map(|id| &self[id]).collect::<HashSet<_>>().len(),
            self.len(),
            "equal lists"
        );
    }
}

impl<Owner, Item: Copy> Lists<Owner, Item> {
    /// Keeps the lists of which `stays`, asked of one after the other, says so.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(Id<Owner>) -> bool) {
        let (mut lists, mut items, mut start) = (0, 0, 0);
        for (position, id) in self.ids().enumerate() {
            let end = self.ends[position] as usize;
            if stays(id) {
                if items < start {
                    self.items.copy_within(start..end, items);
                }
                items += end - start;
                self.ends[lists] = items as u32;
                lists += 1;
            }
            start = end;
        }
        if lists < self.ends.len() {
            self.reached = 0;
        }
        self.ends.truncate(lists);
        self.items.truncate(items);
    }

    /// Changes the items of each list.
    pub(super) fn change(&mut self, mut change: impl FnMut(Id<Owner>, &mut [Item])) {
        let mut start = 0;
        self.are_distinct = false;
        self.reached = 0;
        for (id, end) in self.ids().zip(&self.ends) {
            let end = *end as usize;
            change(id, &mut self.items[start..end]);
            start = end;
        }
    }
}

impl<Owner, Row> Lists<Owner, Id<Row>> {
    /// Notes that each of so many rows, but for row 0, is in some list; holds until a list goes or an item is changed.
    pub fn reach_all_of(&mut self, rows: usize) {
        self.reached = rows;
        debug_assert_eq!(
            self.items.iter().filter(|id| id.is_set()).collect::<HashSet<_>>().len() + 1,
            rows,
            "rows in no list"
        );
    }

    /// Adds ids of rows of `table` by their positions as read from a wire: all, or none if one is below `lowest` or the table
    /// does not have it.
    pub fn add_positions(&mut self, positions: &[u32], lowest: u32, table: &Table<Row>) -> bool {
        let rows = (table.rows.len() as u32).saturating_sub(lowest);
        // no early end, so that many are compared at once
        let is_missing = |position: &u32| position.wrapping_sub(lowest) >= rows;
        let any_missing = positions.iter().fold(false, |any, position| any | is_missing(position));
        if !any_missing {
            self.items.extend(positions.iter().map(|position| Id::at(*position)));
        }
        !any_missing
    }
}

impl<Owner, Item> Index<Id<Owner>> for Lists<Owner, Item> {
    type Output = [Item];
    fn index(&self, id: Id<Owner>) -> &[Item] {
        let end = self.ends[id.index()] as usize;
        let start = match id.index() {
            0 => 0,
            i => self.ends[i - 1] as usize,
        };
        &self.items[start..end]
    }
}

/// Room for further rows, unless it is little: to move would cost more than it takes.
pub(super) fn give_back<Row>(rows: &mut Vec<Row>) {
    if rows.capacity() - rows.len() > rows.capacity() / 8 {
        rows.shrink_to_fit();
    }
}

fn known_id<Row>(position: u64, len: usize) -> Option<Id<Row>> {
    if position < len as u64 {
        Some(Id::at(position as u32))
    } else {
        None
    }
}

fn next_id<Row>(len: usize) -> Id<Row> {
    Id::at(next_position(len))
}

/// Tables are bounded far below 2^32 by the decoders' limits; a table that grew past it anyway must not alias its own rows.
fn next_position(len: usize) -> u32 {
    assert!(len < u32::MAX as usize, "a profile table holds 2^32 rows");
    len as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Location, Stack};

    /// Two stacks, of which all is known.
    fn known() -> (Table<Location>, Lists<Stack, Id<Location>>) {
        let mut locations = Table::default();
        let mut stacks = Lists::default();
        for _ in 0..2 {
            let location = locations.push(Location::default());
            stacks.push(&[location]);
        }
        stacks.be_distinct();
        stacks.reach_all_of(locations.len());
        (locations, stacks)
    }

    #[test]
    fn what_is_known_of_lists_holds_until_they_change() {
        let (mut locations, stacks) = known();
        let said = |stacks: &Lists<Stack, Id<Location>>, rows| (stacks.are_distinct(), stacks.do_reach_all_of(rows));
        assert_eq!(said(&stacks, 3), (true, true));
        assert_eq!(said(&stacks.clone(), 3), (true, true));
        locations.push(Location::default());
        assert_eq!(said(&stacks, locations.len()), (true, false));

        let after = |change: fn(&mut Lists<Stack, Id<Location>>)| {
            let mut stacks = known().1;
            change(&mut stacks);
            said(&stacks, 3)
        };
        assert_eq!(after(|stacks| _ = stacks.close()), (false, true));
        assert_eq!(after(|stacks| _ = stacks.items_mut()), (false, false));
        assert_eq!(after(|stacks| stacks.change(|_, _| {})), (false, false));
        assert_eq!(after(|stacks| stacks.retain(|_| true)), (true, true));
        assert_eq!(after(|stacks| stacks.retain(|id| !id.is_set())), (true, false));
    }

    #[test]
    fn what_is_abandoned_was_never_there() {
        let (locations, mut stacks) = known();
        let before = stacks.clone();
        locations.ids().for_each(|location| stacks.add(location));
        assert_eq!(stacks.open().len(), 3);
        stacks.abandon();
        assert_eq!(stacks, before);
        assert!(stacks.open().is_empty());
    }
}
