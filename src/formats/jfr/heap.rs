//! Native memory that was taken and not given back: what `malloc` was seen to take, without what `free` was seen to give back.

use hashbrown::HashMap;

use super::columns::{Columns, Identity};
use super::sorts::Sort;

/// The blocks in use, as far as the recording tells.
#[derive(Debug, Default)]
pub(super) struct Heap {
    blocks: HashMap<u64, Block, foldhash::fast::RandomState>,
    /// Those of the chunk that is being read: threads write them out of order.
    changes: Vec<Change>,
    /// Whether giving back was recorded at all.
    has_free: bool,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    identity: Identity,
    size: i64,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    time: i64,
    address: u64,
    /// None where the block was given back.
    block: Option<Block>,
}

impl Heap {
    /// A block was taken.
    pub fn malloc(&mut self, time: i64, address: u64, identity: Identity, size: i64) {
        let block = Some(Block { identity, size });
        self.changes.push(Change { time, address, block });
    }

    /// A block was given back.
    pub fn free(&mut self, time: i64, address: u64) {
        self.has_free = true;
        self.changes.push(Change {
            time,
            address,
            block: None,
        });
    }

    /// About the bytes that it takes.
    pub fn bytes(&self) -> usize {
        let changes = self.changes.capacity() * size_of::<Change>();
        changes + 2 * self.blocks.capacity() * size_of::<(u64, Block)>()
    }

    /// How many blocks and changes there are.
    pub fn len(&self) -> usize {
        self.blocks.len() + self.changes.len()
    }

    /// All changes of a chunk were seen.
    pub fn end_of_chunk(&mut self) {
        self.changes.sort_by_key(|change| change.time);
        for change in self.changes.drain(..) {
            match change.block {
                Some(block) => self.blocks.insert(change.address, block),
                None => self.blocks.remove(&change.address),
            };
        }
    }

    /// Adds the blocks that are left. Without `free` nobody knows which those are.
    pub fn write_to(&self, columns: &mut Columns) {
        for block in self.blocks.values().filter(|_| self.has_free) {
            columns.add(Sort::MallocInUse, block.identity, [1, block.size]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Id, Interner};

    #[test]
    fn blocks_are_in_use_until_they_are_given_back() {
        let identity = Identity {
            stack: Id::UNSET,
            attributes: Id::UNSET,
            link: Id::UNSET,
        };
        let in_use = |heap: &Heap| {
            let mut columns = Columns::new();
            heap.write_to(&mut columns);
            let profiles = columns.profiles(&mut Interner::new());
            profiles
                .first()
                .map(|profile| [0, 1].map(|of| profile.samples.sum(of, 2)))
        };
        let mut heap = Heap::default();
        heap.malloc(5, 1, identity, 100);
        heap.malloc(1, 1, identity, 10);
        heap.malloc(2, 2, identity, 20);
        heap.end_of_chunk();
        assert_eq!(in_use(&heap), None, "nothing is known of what was given back");
        // block 1 was given back before it was taken again, though that was written later
        heap.free(6, 2);
        heap.free(7, 3);
        heap.end_of_chunk();
        assert_eq!(in_use(&heap), Some([1, 100]));
        heap.malloc(8, 2, identity, 7);
        heap.end_of_chunk();
        assert_eq!(in_use(&heap), Some([2, 107]));
    }
}
