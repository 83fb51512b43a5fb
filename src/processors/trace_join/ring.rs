//! Spans in the order in which they came, found by their ids. The oldest go first.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::processors::processes::Process;

/// Spans of one segment: memory comes and goes by segments, so that few spans need little of it.
const SEGMENT: usize = 256;
/// Spans that may have one id: by chance there is hardly a second one, so more are somebody's mistake or intent.
const MOST_OF_ONE_ID: usize = 16;

/// What is known of a span.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    /// All zero for a span that has no parent.
    pub(super) parent_span_id: [u8; 8],
    /// Nanoseconds since 1970.
    pub(super) start: u64,
    /// Nanoseconds since 1970.
    pub(super) end: u64,
    pub(super) process: Arc<Process>,
    pub(super) name: Option<Arc<str>>,
    pub(super) route: Option<Arc<str>>,
    /// Seconds since the index began.
    pub(super) arrived: u32,
    pub(super) is_local_root: bool,
}

impl Entry {
    fn is_again(&self, other: &Self) -> bool {
        self.span_id == other.span_id && self.trace_id == other.trace_id && self.process == other.process
    }
}

/// What becomes of a span that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    New,
    Again,
    /// Too many have its id.
    Crowded,
}

/// A part of the spans. Whoever asks it hands in the hash of the span's id.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// All but the first and the last have [`SEGMENT`] entries.
    segments: VecDeque<VecDeque<Entry>>,
    /// The number of the oldest one; they are numbered in the order in which they came, around the end of the numbers.
    first: u32,
    len: usize,
    by_id: HashTable<u32>,
}

impl Ring {
    /// Adds a span as the youngest.
    pub(super) fn push(&mut self, entry: Entry, hash: impl Fn(&[u8; 8]) -> u64) -> Came {
        let of_entry = hash(&entry.span_id);
        let mut of_its_id = 0;
        for known in self.of(of_entry, entry.span_id) {
            if known.is_again(&entry) {
                return Came::Again;
            }
            of_its_id += 1;
        }
        if of_its_id >= MOST_OF_ONE_ID {
            return Came::Crowded;
        }
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
        let (segments, first) = (&self.segments, self.first);
        let rehash = |number: &u32| get(segments, first, *number).map_or(0, |entry| hash(&entry.span_id));
        self.by_id.insert_unique(of_entry, number, rehash);
        Came::New
    }

    /// Takes the oldest out.
    pub(super) fn pop(&mut self, hash: impl Fn(&[u8; 8]) -> u64) -> Option<Entry> {
        let segment = self.segments.front_mut()?;
        let entry = segment.pop_front()?;
        if segment.is_empty() {
            self.segments.pop_front();
        }
        let number = self.first;
        if let Ok(known) = self.by_id.find_entry(hash(&entry.span_id), |known| *known == number) {
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

    /// Those of an id, of which `hash` is the hash.
    pub(super) fn of(&self, hash: u64, span_id: [u8; 8]) -> impl Iterator<Item = &Entry> {
        let numbers = self.by_id.iter_hash(hash);
        let entries = numbers.filter_map(|number| get(&self.segments, self.first, *number));
        entries.filter(move |entry| entry.span_id == span_id)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Gives back what a table of many has kept when there are few.
    pub(super) fn shrink(&mut self, hash: impl Fn(&[u8; 8]) -> u64) {
        if self.by_id.capacity() > 4 * self.len + SEGMENT {
            let (segments, first) = (&self.segments, self.first);
            let rehash = |number: &u32| get(segments, first, *number).map_or(0, |entry| hash(&entry.span_id));
            self.by_id.shrink_to(2 * self.len, rehash);
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let lists = self.segments.capacity() * size_of::<VecDeque<Entry>>();
        lists + self.segments.len() * SEGMENT * size_of::<Entry>() + self.by_id.allocation_size()
    }
}

fn get(segments: &VecDeque<VecDeque<Entry>>, first: u32, number: u32) -> Option<&Entry> {
    let place = number.wrapping_sub(first) as usize;
    let of_first = segments.front()?.len();
    match place.checked_sub(of_first) {
        None => segments.front()?.get(place),
        Some(rest) => segments.get(1 + rest / SEGMENT)?.get(rest % SEGMENT),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(trace: u8, span: u8) -> Entry {
        Entry {
            trace_id: [trace; 16],
            span_id: [span; 8],
            parent_span_id: [0; 8],
            start: 0,
            end: 0,
            process: Arc::default(),
            name: None,
            route: None,
            arrived: 0,
            is_local_root: true,
        }
    }

    /// Half of the ids have the hash of another one.
    fn hash(id: &[u8; 8]) -> u64 {
        u64::from(id[0] / 2).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn told<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<u8> {
        let mut traces: Vec<u8> = entries.map(|entry| entry.trace_id[0]).collect();
        traces.sort_unstable();
        traces
    }

    proptest! {
        #[test]
        fn prop_a_ring_is_a_queue_that_is_searched(
            begin in prop_oneof![Just(0_u32), Just(u32::MAX - 300)],
            steps in prop::collection::vec((0_u8..20, 0_u8..40, 0_usize..3), 0..1500),
        ) {
            let mut ring = Ring { first: begin, ..Ring::default() };
            let mut naive: VecDeque<Entry> = VecDeque::new();
            for (trace, span, pops) in steps {
                let entry = entry(trace, span);
                let same: Vec<&Entry> = naive.iter().filter(|known| known.span_id == entry.span_id).collect();
                let expected = match same.iter().any(|known| known.trace_id == entry.trace_id) {
                    true => Came::Again,
                    false if same.len() >= MOST_OF_ONE_ID => Came::Crowded,
                    false => Came::New,
                };
                if expected == Came::New {
                    naive.push_back(entry.clone());
                }
                prop_assert_eq!(ring.push(entry, hash), expected);
                // now and then the ring gets shorter
                for _ in 0..pops.saturating_sub(1) {
                    let (popped, expected) = (ring.pop(hash), naive.pop_front());
                    prop_assert_eq!(popped.map(|e| (e.trace_id, e.span_id)), expected.map(|e| (e.trace_id, e.span_id)));
                }
                ring.shrink(hash);
                let id = [span; 8];
                prop_assert_eq!(
                    told(ring.of(hash(&id), id)),
                    told(naive.iter().filter(|entry| entry.span_id == id))
                );
                prop_assert_eq!(ring.len(), naive.len());
            }
        }
    }

    #[test]
    fn an_empty_ring_needs_nothing() {
        let mut ring = Ring::default();
        assert_eq!(ring.heap_bytes(), 0);
        let of = |n: u32| Entry {
            span_id: u64::from(n).to_be_bytes(),
            ..entry(1, 0)
        };
        let spread = |id: &[u8; 8]| u64::from_be_bytes(*id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for n in 0..100_000 {
            assert_eq!(ring.push(of(n), spread), Came::New);
        }
        let full = ring.heap_bytes();
        assert!(full / 100_000 < 130, "{} bytes each", full / 100_000);
        while ring.pop(spread).is_some() {}
        ring.shrink(spread);
        assert!(ring.heap_bytes() < full / 10);
    }
}
