//! The stacks of a pprof that came before: a heap profile has a sample for each size of block that one stack allocates.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::super::wire::Reader;
use crate::profile::{Lists, LocationId, Stack, StackId};

/// After so many lists it shows whether they come more than once.
const TRIED: usize = 1024;

/// A smaller part than one of so many is not worth looking for.
const WORTH_LOOKING: usize = 16;

/// Finds stacks again: lists of ids by the bytes they were read from, so that these are read once, and any others by their frames.
pub(super) struct KnownStacks<'a> {
    hasher: RandomState,
    lists: HashTable<StackId>,
    /// By stack, the list it was read from.
    bytes: Vec<&'a [u8]>,
    others: HashTable<StackId>,
    looked: usize,
    found: usize,
    most: usize,
    /// Frames of the shortest list, and of the longest of the others.
    shortest_list: usize,
    longest_other: usize,
    /// Whether lists of other bytes were other stacks so far.
    are_plain: bool,
}

/// What one stack may take.
pub(super) const KNOWN_STACK_BYTES: usize = size_of::<&[u8]>() + 2 * (size_of::<StackId>() + 1);

/// A list that has not come before.
#[derive(Clone, Copy)]
pub(super) struct NewList<'a> {
    bytes: &'a [u8],
    hash: u64,
}

impl<'a> KnownStacks<'a> {
    /// None yet of at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            lists: HashTable::new(),
            bytes: Vec::new(),
            others: HashTable::new(),
            looked: 0,
            found: 0,
            most,
            shortest_list: usize::MAX,
            longest_other: 0,
            are_plain: true,
        }
    }

    /// The stack of a list of ids, if it came before.
    #[inline]
    pub(super) fn find(&mut self, list: Reader<'a>) -> Result<StackId, NewList<'a>> {
        let bytes = list.bytes();
        if self.is_in_vain() {
            return Err(NewList { bytes, hash: 0 });
        }
        let hash = self.hasher.hash_one(bytes);
        let known = self.lists.find(hash, |stack| bytes_of(&self.bytes, *stack) == bytes);
        self.looked += 1;
        self.found += usize::from(known.is_some());
        known.copied().ok_or(NewList { bytes, hash })
    }

    fn is_in_vain(&self) -> bool {
        self.looked >= TRIED && self.found < self.looked / WORTH_LOOKING
    }

    /// Closes the stack that was read from a list.
    pub(super) fn add(&mut self, list: NewList<'a>, stacks: &mut Lists<Stack, LocationId>) -> StackId {
        self.shortest_list = self.shortest_list.min(stacks.open().len());
        let stack = stacks.close();
        if self.is_in_vain() {
            return stack;
        }
        self.are_plain &= is_plain(list.bytes);
        self.bytes.resize(stack.index(), &[]);
        self.bytes.push(list.bytes);
        let (hasher, bytes) = (&self.hasher, &self.bytes);
        let hash = |stack: &StackId| hasher.hash_one(bytes_of(bytes, *stack));
        if self.looked == TRIED {
            self.lists.reserve(self.most.saturating_sub(self.lists.len()), hash);
        }
        self.lists.insert_unique(list.hash, stack, hash);
        stack
    }

    /// Closes a stack that was not read from one list, or finds it.
    pub(super) fn add_other(&mut self, stacks: &mut Lists<Stack, LocationId>) -> StackId {
        self.longest_other = self.longest_other.max(stacks.open().len());
        let hash = self.hasher.hash_one(stacks.open());
        let is_equal = |stack: &StackId| stacks[*stack] == *stacks.open();
        let rehash = |stack: &StackId| self.hasher.hash_one(&stacks[*stack]);
        match self.others.entry(hash, is_equal, rehash) {
            Entry::Occupied(known) => {
                let known = *known.get();
                stacks.abandon();
                known
            }
            Entry::Vacant(place) => {
                let stack = stacks.close();
                place.insert(stack);
                stack
            }
        }
    }

    /// Whether no two of the stacks can be equal. Go writes one or two ids alone and more as a list: no stack of one kind is equal to one
    /// of the other as long as their lengths tell them apart.
    pub(super) fn are_distinct(&self) -> bool {
        self.are_plain && !self.is_in_vain() && self.longest_other < self.shortest_list
    }
}

/// Whether no number is longer than need be: it would end with such a byte, as no other does.
fn is_plain(list: &[u8]) -> bool {
    // no early end, so that many are compared at once
    !list.iter().fold(false, |any, byte| any | (*byte == 0))
}

fn bytes_of<'a>(bytes: &[&'a [u8]], stack: StackId) -> &'a [u8] {
    bytes.get(stack.index()).copied().unwrap_or_default()
}
