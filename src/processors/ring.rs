//! What is known of spans, in the order in which it came, and found by the spans' ids. The oldest goes first.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

/// Entries of one segment: memory comes and goes by segments, so that few entries need little of it.
const SEGMENT: usize = 256;

/// The id of a span, which may not be its own alone.
pub(super) type SpanId = [u8; 8];

/// Something about a span.
pub(super) trait OfSpan {
    fn span_id(&self) -> SpanId;
}

/// Entries in order.
#[derive(Debug)]
pub(super) struct Ring<Entry, Hasher = RandomState> {
    /// All but the first and the last have [`SEGMENT`] entries.
    segments: VecDeque<VecDeque<Entry>>,
    /// The number of the oldest one; they are numbered in the order in which they came, around the end of the numbers.
    first: u32,
    len: usize,
    by_id: HashTable<u32>,
    hasher: Hasher,
}

impl<Entry, Hasher: Default> Default for Ring<Entry, Hasher> {
    fn default() -> Self {
        Self {
            segments: VecDeque::new(),
            first: 0,
            len: 0,
            by_id: HashTable::new(),
            hasher: Hasher::default(),
        }
    }
}

impl<Entry: OfSpan, Hasher: BuildHasher> Ring<Entry, Hasher> {
    /// Adds the youngest.
    pub(super) fn push(&mut self, entry: Entry) {
        let hash = self.hasher.hash_one(entry.span_id());
        let number = self.first.wrapping_add(self.len as u32);
        match self.segments.back_mut() {
            Some(last) if last.len() < SEGMENT => last.push_back(entry),
            _ => {
                let mut segment = VecDeque::with_capacity(SEGMENT);
                segment.push_back(entry);
                self.segments.push_back(segment);
            }
        }
        self.len += 1;
        let (segments, first, hasher) = (&self.segments, self.first, &self.hasher);
        let rehash = |number: &u32| rehash(segments, first, hasher, *number);
        self.by_id.insert_unique(hash, number, rehash);
    }

    /// Takes the oldest out.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let segment = self.segments.front_mut()?;
        let entry = segment.pop_front()?;
        if segment.is_empty() {
            self.segments.pop_front();
        }
        let number = self.first;
        let hash = self.hasher.hash_one(entry.span_id());
        if let Ok(known) = self.by_id.find_entry(hash, |known| *known == number) {
            known.remove();
        }
        self.first = number.wrapping_add(1);
        self.len -= 1;
        Some(entry)
    }

    /// The oldest.
    pub(super) fn oldest(&self) -> Option<&Entry> {
        self.segments.front()?.front()
    }

    /// Those of an id.
    pub(super) fn of(&self, id: SpanId) -> impl Iterator<Item = &Entry> {
        let numbers = self.by_id.iter_hash(self.hasher.hash_one(id));
        let entries = numbers.filter_map(|number| get(&self.segments, self.first, *number));
        entries.filter(move |entry| entry.span_id() == id)
    }

    /// One of an id, to be changed.
    pub(super) fn find_mut(&mut self, id: SpanId, is_it: impl Fn(&Entry) -> bool) -> Option<&mut Entry> {
        let hash = self.hasher.hash_one(id);
        let (segments, first) = (&self.segments, self.first);
        let is_it = |number: &u32| {
            let entry = get(segments, first, *number);
            entry.is_some_and(|entry| entry.span_id() == id && is_it(entry))
        };
        let number = *self.by_id.find(hash, is_it)?;
        let (segment, place) = place(&self.segments, self.first, number)?;
        self.segments.get_mut(segment)?.get_mut(place)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Gives back what a table of many has kept when there are few. Says whether there was such.
    pub(super) fn shrink(&mut self) -> bool {
        let is_wide = self.by_id.capacity() > 4 * self.len + SEGMENT;
        if is_wide {
            let (segments, first, hasher) = (&self.segments, self.first, &self.hasher);
            let rehash = |number: &u32| rehash(segments, first, hasher, *number);
            self.by_id.shrink_to(2 * self.len, rehash);
        }
        is_wide
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let lists = self.segments.capacity() * size_of::<VecDeque<Entry>>();
        lists + self.segments.len() * SEGMENT * size_of::<Entry>() + self.by_id.allocation_size()
    }
}

type Segments<Entry> = VecDeque<VecDeque<Entry>>;

/// In which segment the entry of a number is, and where.
fn place<Entry>(segments: &Segments<Entry>, first: u32, number: u32) -> Option<(usize, usize)> {
    let place = number.wrapping_sub(first) as usize;
    let of_first = segments.front()?.len();
    Some(match place.checked_sub(of_first) {
        None => (0, place),
        Some(rest) => (1 + rest / SEGMENT, rest % SEGMENT),
    })
}

fn get<Entry>(segments: &Segments<Entry>, first: u32, number: u32) -> Option<&Entry> {
    let (segment, place) = place(segments, first, number)?;
    segments.get(segment)?.get(place)
}

/// The hash of an entry, where the table of numbers is laid out anew.
fn rehash<Entry: OfSpan>(segments: &Segments<Entry>, first: u32, hasher: &impl BuildHasher, number: u32) -> u64 {
    get(segments, first, number).map_or(0, |entry| hasher.hash_one(entry.span_id()))
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Entry {
        span: SpanId,
        says: u8,
    }

    impl OfSpan for Entry {
        fn span_id(&self) -> SpanId {
            self.span
        }
    }

    /// Half of the ids have the hash of another one.
    #[derive(Default)]
    struct Coarse(u64);

    impl BuildHasher for Coarse {
        type Hasher = Self;

        fn build_hasher(&self) -> Self {
            Self(0)
        }
    }

    impl Hasher for Coarse {
        fn write(&mut self, bytes: &[u8]) {
            let half = bytes.last().map_or(0, |last| u64::from(*last) / 2);
            self.0 = half.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }

        fn finish(&self) -> u64 {
            self.0
        }
    }

    fn sorted<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = entries.copied().collect();
        entries.sort_unstable();
        entries
    }

    proptest! {
        #[test]
        fn prop_a_ring_is_a_queue_that_is_searched(
            begin in prop_oneof![Just(0_u32), Just(u32::MAX - 300)],
            steps in prop::collection::vec((0_u8..20, 0_u8..40, 0_usize..3), 0..1500),
        ) {
            let mut ring = Ring::<Entry, Coarse> { first: begin, ..Ring::default() };
            let mut naive: VecDeque<Entry> = VecDeque::new();
            for (says, span, pops) in steps {
                let entry = Entry { span: [span; 8], says };
                naive.push_back(entry);
                ring.push(entry);
                // now and then the ring gets shorter
                for _ in 0..pops {
                    prop_assert_eq!(ring.oldest(), naive.front());
                    prop_assert_eq!(ring.pop(), naive.pop_front());
                }
                ring.shrink();
                // one of those that say this says something else from now on
                let changed = ring.find_mut(entry.span, |known| known.says == says);
                prop_assert_eq!(changed.is_some(), naive.iter().any(|known| *known == entry));
                if let Some(changed) = changed {
                    changed.says = 100;
                }
                let mut theirs = sorted(naive.iter().filter(|known| known.span == entry.span));
                let ours = sorted(ring.of(entry.span));
                if let Some(one) = theirs.iter_mut().find(|known| **known == entry) {
                    one.says = 100;
                }
                theirs.sort_unstable();
                prop_assert_eq!(&ours, &theirs);
                // which of them it was is not said: let both have the same again
                if let Some(changed) = ring.find_mut(entry.span, |known| known.says == 100) {
                    changed.says = says;
                }
                prop_assert_eq!(ring.len(), naive.len());
            }
        }
    }

    #[test]
    fn an_empty_ring_needs_nothing() {
        let mut ring = Ring::<Entry>::default();
        assert_eq!(ring.heap_bytes(), 0);
        for n in 0..100_000_u64 {
            ring.push(Entry {
                span: n.to_be_bytes(),
                says: 0,
            });
        }
        let full = ring.heap_bytes();
        assert!(
            full / 100_000 < size_of::<Entry>() + 20,
            "{} bytes each",
            full / 100_000
        );
        while ring.pop().is_some() {}
        assert!(ring.shrink() && ring.heap_bytes() < full / 10);
    }
}
