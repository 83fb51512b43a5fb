//! The spans that have samples, of all processes, for as long as the spans themselves may still come: what pipelines of profiles note and
//! those of traces look up.
//!
//! The number of spans is bounded, and so is their age: the one that was noted longest ago goes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::sampled::{Sampled, Tally};
use crate::pipeline::Permit;
use crate::processors::processes::{Process, Processes};
use crate::processors::ring::{OfSpan, Ring, SpanId};
use crate::telemetry::SpanProfilesMetrics;

/// Processes that are told apart.
const MOST_PROCESSES: usize = 16_384;
/// Processes with a span of the same id that are told apart: more than ever meet by chance.
const MOST_ALIKE: usize = 16;

/// All that is known.
pub(super) struct Known {
    table: Mutex<Table>,
    max_spans: usize,
    /// In seconds.
    window: u32,
    begin: Instant,
    metrics: SpanProfilesMetrics,
}

#[derive(Default)]
struct Table {
    /// In the order in which they are to be forgotten, but for those that were noted again since.
    entries: Ring<Entry>,
    processes: Processes,
    /// For the memory of it, once there is any.
    permit: Option<Permit>,
    bytes: usize,
    /// The second in which processes without spans were last looked for because there was no room.
    swept: Option<u32>,
}

/// A span of a process.
struct Entry {
    span: SpanId,
    process: Arc<Process>,
    samples: u32,
    is_found: bool,
    /// When its place in the order was given, and when it was noted last: seconds.
    placed: u32,
    noted: u32,
}

impl OfSpan for Entry {
    fn span_id(&self) -> SpanId {
        self.span
    }
}

/// How many spans are forgotten, and why.
#[derive(Default)]
struct Forgotten {
    expired: u64,
    evicted: u64,
    crowded: u64,
}

impl Known {
    pub(super) fn new(max_spans: usize, window: Duration, metrics: SpanProfilesMetrics) -> Self {
        Self {
            table: Mutex::default(),
            max_spans,
            window: u32::try_from(window.as_secs()).unwrap_or(u32::MAX),
            begin: Instant::now(),
            metrics,
        }
    }

    /// Notes the samples of a request, whose permit says of which memory.
    pub(super) fn note(&self, sampled: Vec<Sampled>, permit: &Permit, now: Instant) {
        let now = self.seconds(now);
        let table = &mut *lock(&self.table);
        let before = table.entries.len();
        let mut forgotten = Forgotten {
            expired: table.expire(now, self.window),
            ..Forgotten::default()
        };
        for Sampled { process, spans } in sampled {
            let Some(process) = table.process(process, now) else {
                forgotten.crowded += spans.len() as u64;
                continue;
            };
            for (span, tally) in spans {
                if !table.note(span, &process, tally, now) {
                    forgotten.crowded += 1;
                }
                if table.entries.len() > self.max_spans {
                    forgotten.evicted += table.evict();
                }
            }
        }
        table.count_memory(permit);
        self.metrics.known.change(before, table.entries.len());
        self.metrics.forgotten("expired", forgotten.expired);
        self.metrics.forgotten("max_spans", forgotten.evicted);
        self.metrics.forgotten("crowded", forgotten.crowded);
    }

    /// The samples of a span, if it has any.
    pub(super) fn of(&self, process: &Process, span: SpanId, now: Instant) -> Option<Tally> {
        let now = self.seconds(now);
        let table = lock(&self.table);
        let is_it = |entry: &&Entry| now.saturating_sub(entry.noted) <= self.window && entry.process.is_same(process);
        let mut sum: Option<Tally> = None;
        for entry in table.entries.of(span).filter(is_it) {
            sum.get_or_insert_default().add(Tally {
                samples: entry.samples.into(),
                is_found: entry.is_found,
            });
        }
        sum
    }

    fn seconds(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(self.begin).as_secs();
        u32::try_from(since).unwrap_or(u32::MAX)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let table = self.table.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.metrics.known.sub(table.entries.len() as u64);
    }
}

impl Table {
    /// The one that stands for a process; none if there are too many others.
    fn process(&mut self, process: Process, now: u32) -> Option<Arc<Process>> {
        let known = self.processes.of(process.clone(), MOST_PROCESSES);
        // to look at all of them takes its time, and others wait for the table
        if known.is_some() || self.swept == Some(now) {
            return known;
        }
        self.swept = Some(now);
        self.processes.forget_unused();
        self.processes.of(process, MOST_PROCESSES)
    }

    /// False if too many processes have this id.
    fn note(&mut self, span: SpanId, process: &Arc<Process>, tally: Tally, now: u32) -> bool {
        let samples = u32::try_from(tally.samples).unwrap_or(u32::MAX);
        let of_it = |entry: &Entry| Arc::ptr_eq(&entry.process, process);
        if let Some(entry) = self.entries.find_mut(span, of_it) {
            entry.samples = entry.samples.saturating_add(samples);
            entry.is_found |= tally.is_found;
            entry.noted = now;
            return true;
        }
        if self.entries.of(span).count() >= MOST_ALIKE {
            return false;
        }
        self.entries.push(Entry {
            span,
            process: process.clone(),
            samples,
            is_found: tally.is_found,
            placed: now,
            noted: now,
        });
        true
    }

    /// Forgets what was noted last before the window.
    fn expire(&mut self, now: u32, window: u32) -> u64 {
        let mut expired = 0;
        let is_old = |then: u32| now.saturating_sub(then) > window;
        while self.entries.oldest().is_some_and(|entry| is_old(entry.placed)) {
            let Some(entry) = self.entries.pop() else { break };
            match is_old(entry.noted) {
                true => expired += 1,
                false => self.place_again(entry),
            }
        }
        if expired > 0 && self.entries.shrink() {
            self.processes.forget_unused();
        }
        expired
    }

    /// Forgets one: the first that was not noted again since it got its place.
    fn evict(&mut self) -> u64 {
        while let Some(entry) = self.entries.pop() {
            if entry.noted == entry.placed {
                return 1;
            }
            self.place_again(entry);
        }
        0
    }

    fn place_again(&mut self, entry: Entry) {
        let placed = entry.noted;
        self.entries.push(Entry { placed, ..entry });
    }

    fn count_memory(&mut self, of: &Permit) {
        let bytes = self.entries.heap_bytes() + self.processes.heap_bytes();
        let permit = self.permit.get_or_insert_with(|| of.sibling());
        permit.hold(bytes.saturating_sub(self.bytes));
        permit.shrink(self.bytes.saturating_sub(bytes));
        self.bytes = bytes;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
