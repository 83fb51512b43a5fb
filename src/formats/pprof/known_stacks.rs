//! The stacks of a pprof that came before: a heap profile has a sample for each size of block that one stack allocates.

use std::hash::{BuildHasher, Hasher};

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
    request: &'a [u8],
    /// By stack, where the list lies that it was read from; requests are far shorter than 4 GiB.
    places: Vec<(u32, u32)>,
    others: HashTable<StackId>,
    looked: usize,
    found: usize,
    most: usize,
    /// Frames of the shortest list, and of the longest of the others.
    shortest_list: usize,
    longest_other: usize,
    /// Whether every stack that came again was found.
    all_found: bool,
}

/// What one stack may take; tables may have somewhat more than twice as many places as they need.
pub(super) const KNOWN_STACK_BYTES: usize = size_of::<(u32, u32)>() + 5 * (size_of::<StackId>() + 1) / 2;

/// So many others are remembered: profilers write short stacks this way, if any.
const MOST_OTHERS: usize = 4096;

/// A list that has not come before.
#[derive(Clone, Copy)]
pub(super) struct NewList<'a> {
    list: Reader<'a>,
    hash: u64,
}

impl<'a> KnownStacks<'a> {
    /// None yet of at most so many in a request.
    pub(super) fn new(request: &'a [u8], most: usize) -> Self {
        Self {
            hasher: RandomState::default(),
            lists: HashTable::new(),
            request,
            places: Vec::new(),
            others: HashTable::new(),
            looked: 0,
            found: 0,
            most,
            shortest_list: usize::MAX,
            longest_other: 0,
            all_found: true,
        }
    }

    /// The stack of a list of ids, if it came before.
    #[inline]
    pub(super) fn find(&mut self, list: Reader<'a>) -> Result<StackId, NewList<'a>> {
        if self.is_in_vain() {
            return Err(NewList { list, hash: 0 });
        }
        let hash = hash_of(&self.hasher, list.bytes());
        let is_equal = |stack: &StackId| list_of(self.request, &self.places, *stack) == list.bytes();
        let known = self.lists.find(hash, is_equal);
        self.looked += 1;
        self.found += usize::from(known.is_some());
        known.copied().ok_or(NewList { list, hash })
    }

    fn is_in_vain(&self) -> bool {
        self.looked >= TRIED && self.found < self.looked / WORTH_LOOKING
    }

    /// Closes the stack that was read from a list.
    pub(super) fn add(&mut self, new: NewList<'a>, stacks: &mut Lists<Stack, LocationId>) -> StackId {
        self.shortest_list = self.shortest_list.min(stacks.open().len());
        let stack = stacks.close();
        if self.is_in_vain() {
            return stack;
        }
        self.all_found &= is_plain(new.list.bytes());
        let start = new.list.offset();
        let end = start + new.list.bytes().len();
        if self.looked >= TRIED && self.lists.len() == self.lists.capacity() {
            self.make_room();
        }
        self.places.resize(stack.index(), (0, 0));
        self.places.push((start as u32, end as u32));
        let (hasher, request, places) = (&self.hasher, self.request, &self.places);
        let hash = |stack: &StackId| hash_of(hasher, list_of(request, places, *stack));
        self.lists.insert_unique(new.hash, stack, hash);
        stack
    }

    /// Makes room for all that may come: it pays to look for them.
    #[inline(never)]
    fn make_room(&mut self) {
        let (hasher, request, places) = (&self.hasher, self.request, &self.places);
        let hash = |stack: &StackId| hash_of(hasher, list_of(request, places, *stack));
        self.lists.reserve(self.most.saturating_sub(self.lists.len()), hash);
        let places = self.most.saturating_add(1);
        self.places.reserve_exact(places.saturating_sub(self.places.len()));
    }

    /// Closes a stack that was not read from one list, or finds it.
    pub(super) fn add_other(&mut self, stacks: &mut Lists<Stack, LocationId>) -> StackId {
        self.longest_other = self.longest_other.max(stacks.open().len());
        if self.others.len() == MOST_OTHERS {
            self.all_found = false;
            return stacks.close();
        }
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
        self.all_found && !self.is_in_vain() && self.longest_other < self.shortest_list
    }
}

/// Whether no number is longer than need be: it would end with such a byte, as no other does.
fn is_plain(list: &[u8]) -> bool {
    // no early end, so that many are compared at once
    !list.iter().fold(false, |any, byte| any | (*byte == 0))
}

/// Of the bytes alone: whoever hashes a slice hashes its length as well, which a list of numbers does not need.
fn hash_of(hasher: &RandomState, list: &[u8]) -> u64 {
    let mut hash = hasher.build_hasher();
    hash.write(list);
    hash.finish()
}

fn list_of<'a>(request: &'a [u8], places: &[(u32, u32)], stack: StackId) -> &'a [u8] {
    let (start, end) = places.get(stack.index()).copied().unwrap_or_default();
    request.get(start as usize..end as usize).unwrap_or_default()
}
