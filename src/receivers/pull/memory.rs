//! The counters of earlier scrapes, in so many bytes.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::delta::Counters;
use super::schedule::Id;
use crate::telemetry::ScrapeMetrics;

/// A target, and which of its profiles.
pub(super) type Key = (Id, usize);

/// What an entry takes beside the counters.
const ENTRY_BYTES: usize = 96;

/// Remembers counters. What was not asked for the longest gives way, but nothing that will be asked for in its next turn: with
/// too little memory for all targets, some have all their deltas, and the others none.
pub(super) struct Memory {
    most: usize,
    /// After so long a time without use an entry gives way.
    stale: Duration,
    /// Hashes are comparable only if made by this.
    pub hasher: RandomState,
    entries: Mutex<Entries>,
    metrics: ScrapeMetrics,
}

#[derive(Default)]
struct Entries {
    bytes: usize,
    by_key: HashMap<Key, Entry>,
}

struct Entry {
    counters: Arc<Counters>,
    used: Instant,
}

impl Memory {
    pub(super) fn new(most: usize, stale: Duration, metrics: ScrapeMetrics) -> Self {
        Self {
            most,
            stale,
            hasher: RandomState::new(),
            entries: Mutex::default(),
            metrics,
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of the scrape before.
    pub(super) fn recall(&self, key: Key) -> Option<Arc<Counters>> {
        let entries = self.entries();
        entries.by_key.get(&key).map(|entry| entry.counters.clone())
    }

    /// Keeps the counters of this scrape in the place of those before; false if there is no room for them.
    pub(super) fn keep(&self, key: Key, counters: Counters, now: Instant) -> bool {
        let mut entries = self.entries();
        let before = entries.bytes;
        entries.drop_one(key);
        let bytes = ENTRY_BYTES + counters.heap_bytes();
        let fits = entries.make_room(bytes, self.most, |used| now.duration_since(used) > self.stale);
        if fits {
            entries.bytes += bytes;
            let counters = Arc::new(counters);
            entries.by_key.insert(key, Entry { counters, used: now });
        }
        self.metrics.counters(before, entries.bytes);
        fits
    }

    /// Keeps nothing of a target any more.
    pub(super) fn forget(&self, target: Id) {
        let mut entries = self.entries();
        let before = entries.bytes;
        let keys: Vec<Key> = entries.by_key.keys().filter(|(id, _)| *id == target).copied().collect();
        keys.into_iter().for_each(|key| entries.drop_one(key));
        self.metrics.counters(before, entries.bytes);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let bytes = self.entries().bytes;
        self.metrics.counters(bytes, 0);
    }
}

impl Entries {
    fn drop_one(&mut self, key: Key) {
        if let Some(gone) = self.by_key.remove(&key) {
            self.bytes -= ENTRY_BYTES + gone.counters.heap_bytes();
        }
    }

    fn make_room(&mut self, bytes: usize, most: usize, is_stale: impl Fn(Instant) -> bool) -> bool {
        while self.bytes + bytes > most {
            let oldest = self.by_key.iter().min_by_key(|(_, entry)| entry.used);
            match oldest.filter(|(_, entry)| is_stale(entry.used)).map(|(key, _)| *key) {
                Some(key) => self.drop_one(key),
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn held(memory: &Memory) -> usize {
        memory
            .entries()
            .by_key
            .values()
            .map(|entry| ENTRY_BYTES + entry.counters.heap_bytes())
            .sum()
    }

    fn memory(entries: usize, metrics: ScrapeMetrics) -> Memory {
        let one = ENTRY_BYTES + Counters::of_test(100).heap_bytes();
        Memory::new(entries * one, 2 * MINUTE, metrics)
    }

    #[tokio::test]
    async fn what_is_used_stays_and_what_is_not_gives_way() {
        let (memory, now) = (memory(2, ScrapeMetrics::default()), Instant::now());
        assert!(memory.keep((1, 0), Counters::of_test(100), now));
        assert!(memory.keep((2, 0), Counters::of_test(100), now));
        assert!(
            !memory.keep((3, 0), Counters::of_test(100), now + MINUTE),
            "the others come again"
        );
        assert!(memory.keep((1, 0), Counters::of_test(100), now + MINUTE));
        // the second one did not come again
        assert!(memory.keep((3, 0), Counters::of_test(100), now + 3 * MINUTE));
        let known = [1, 2, 3].map(|id| memory.recall((id, 0)).is_some());
        assert_eq!(known, [true, false, true]);
    }

    #[tokio::test]
    async fn bytes_are_counted_as_they_come_and_go() {
        let metrics = ScrapeMetrics::default();
        let (memory, now) = (memory(9, metrics.clone()), Instant::now());
        for (id, size) in [(1, 100), (2, 300), (1, 7), (3, 0), (4, 100_000)] {
            memory.keep((id, 0), Counters::of_test(size), now);
            memory.keep((id, 1), Counters::of_test(size), now);
            let bytes = memory.entries().bytes;
            assert!(bytes <= memory.most);
            assert_eq!(bytes, held(&memory));
        }
        assert!(memory.recall((4, 0)).is_none(), "larger than everything together");
        memory.forget(2);
        assert!(memory.recall((2, 1)).is_none() && memory.recall((1, 1)).is_some());
        assert_eq!(metrics.counters_bytes(), held(&memory) as u64);
        drop(memory);
        assert_eq!(metrics.counters_bytes(), 0);
    }
}
