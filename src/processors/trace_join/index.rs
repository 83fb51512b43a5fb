//! The spans that came lately, by their ids: bounded in number, bytes and age, the oldest out first.
//!
//! Spans are spread over rings by their ids, each behind a lock of its own that is held for one span.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;

use super::entry::{Came, Entry};
use super::names::Names;
use crate::formats::otlp::Traces;
use crate::formats::otlp::spans::{Span, Value};
use crate::pipeline::Permit;
use crate::processors::processes::{Process, Processes};
use crate::processors::ring::{Ring, SpanId};
use crate::telemetry::TraceJoinMetrics;

/// Rings of an index that is to hold many.
const RINGS: usize = 16;
/// With less than this for each ring there is only one: a ring alone needs some.
const LEAST_OF_RING: (usize, usize) = (1_024, 1 << 20);
/// Processes that are known at once.
const MOST_PROCESSES: usize = 65_536;
/// At most so often all of them are looked at, to make room.
const SWEPT_EVERY: Duration = Duration::from_secs(1);
/// Of its memory an index spends no more than this part on names, and on routes.
const PART_OF_NAMES: usize = 16;
/// Of the memory of the process it takes no more than this part.
pub(super) const PART_OF_MEMORY: usize = 4;

/// How much is known, for how long, and of which spans.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) spans: usize,
    pub(super) bytes: usize,
    pub(super) window: Duration,
    pub(super) names_of_service: usize,
    pub(super) only_local_roots: bool,
    pub(super) names: bool,
    pub(super) routes: bool,
}

/// The spans that came lately.
pub(super) struct Index {
    limits: Limits,
    rings: Vec<Mutex<Ring<Entry>>>,
    words: Mutex<Words>,
    key: RandomState,
    began: Instant,
    bytes_of_spans: AtomicUsize,
    bytes_of_words: AtomicUsize,
    bytes_beside: AtomicUsize,
    /// Of the memory of the process.
    permit: OnceLock<Permit>,
    metrics: TraceJoinMetrics,
}

/// What many spans have in common.
struct Words {
    processes: Processes,
    names: Names,
    routes: Names,
    forgot: Instant,
    /// When processes that nothing is known of any more were last looked for because there was no room.
    swept: Option<Instant>,
}

/// What came of the spans of a request.
#[derive(Default)]
struct Tally {
    indexed: u64,
    repeated: u64,
    unusable: u64,
    left_out: u64,
    evicted: u64,
    expired: u64,
}

impl Index {
    pub(super) fn new(limits: Limits, metrics: TraceJoinMetrics, now: Instant) -> Self {
        let (spans, bytes) = LEAST_OF_RING;
        let is_large = limits.spans >= RINGS * spans && limits.bytes >= RINGS * bytes;
        let rings = if is_large { RINGS } else { 1 };
        let names = || Names::new(limits.names_of_service, limits.bytes / PART_OF_NAMES);
        Self {
            words: Mutex::new(Words {
                processes: Processes::default(),
                names: names(),
                routes: names(),
                forgot: now,
                swept: None,
            }),
            rings: (0..rings).map(|_| Mutex::default()).collect(),
            key: RandomState::default(),
            began: now,
            bytes_of_spans: AtomicUsize::new(0),
            bytes_of_words: AtomicUsize::new(0),
            bytes_beside: AtomicUsize::new(0),
            permit: OnceLock::new(),
            limits,
            metrics,
        }
    }

    /// Takes the spans of a request in, and shows each.
    pub(super) fn add(
        &self,
        traces: &Traces,
        tenant: &str,
        permit: &Permit,
        now: Instant,
        mut show: impl FnMut(&Process, &Span<'_>),
    ) {
        let memory = permit.limit() / PART_OF_MEMORY;
        self.permit.get_or_init(|| permit.sibling());
        let mut tally = Tally::default();
        for resource in traces.resources() {
            let process = Process::of_spans(tenant, resource);
            let known = self.known(&process, now);
            for span in resource.spans() {
                show(&process, &span);
                match &known {
                    Some(process) => self.add_span(process, &span, memory, now, &mut tally),
                    None => tally.unusable += 1,
                }
            }
        }
        self.book_words();
        tally.count(&self.metrics);
    }

    /// The one that stands for a process; none if nothing is said of it, or if there are too many others.
    fn known(&self, process: &Process, now: Instant) -> Option<Arc<Process>> {
        if !process.is_known() {
            return None;
        }
        let words = &mut *lock(&self.words);
        let known = words.processes.of(process.clone(), MOST_PROCESSES);
        // to look at all of them takes its time, and others wait for the words
        let is_swept = words
            .swept
            .is_some_and(|swept| now.saturating_duration_since(swept) < SWEPT_EVERY);
        if known.is_some() || is_swept {
            return known;
        }
        words.swept = Some(now);
        words.processes.forget_unused();
        words.processes.of(process.clone(), MOST_PROCESSES)
    }

    fn add_span(&self, process: &Arc<Process>, span: &Span<'_>, memory: usize, now: Instant, tally: &mut Tally) {
        let has_ids = span.trace_id != [0; 16] && span.span_id != [0; 8];
        if !has_ids || span.start == 0 || span.end < span.start {
            tally.unusable += 1;
            return;
        }
        let is_local_root = span.is_local_root();
        if self.limits.only_local_roots && !is_local_root {
            tally.left_out += 1;
            return;
        }
        let (name, route) = self.words_of(process, span);
        let entry = Entry {
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_span_id: span.parent_span_id,
            start: span.start,
            end: span.end,
            process: process.clone(),
            name,
            route,
            arrived: self.second(now),
            is_local_root,
        };
        let all = self.limits.bytes.min(memory);
        let bytes = all.saturating_sub(self.bytes_besides_spans()) / self.rings.len();
        let spans = (self.limits.spans / self.rings.len()).max(1);
        self.change(span.span_id, |ring| {
            tally.expired += self.expire(ring, now);
            match entry.join(ring) {
                Came::New => tally.indexed += 1,
                Came::Again => tally.repeated += 1,
                Came::Crowded => tally.unusable += 1,
            }
            while ring.len() > spans || ring.len() > 1 && ring.heap_bytes() > bytes {
                tally.evicted += u64::from(ring.pop().is_some());
            }
        });
    }

    fn words_of(&self, process: &Process, span: &Span<'_>) -> (Option<Arc<str>>, Option<Arc<str>>) {
        let route = match self.limits.routes.then(|| span.attribute("http.route")).flatten() {
            Some(Value::Text(route)) => Some(route),
            _ => None,
        };
        if !self.limits.names && route.is_none() {
            return (None, None);
        }
        let service = process.service();
        let words = &mut *lock(&self.words);
        let name = self.limits.names.then(|| words.names.of(service, span.name)).flatten();
        (name, route.and_then(|route| words.routes.of(service, route)))
    }

    /// The spans of an id.
    pub(super) fn find(&self, span_id: SpanId, now: Instant, found: &mut Vec<Entry>) {
        found.clear();
        let Some(ring) = self.ring(span_id) else { return };
        let ring = lock(ring);
        let entries = ring.of(span_id);
        found.extend(entries.filter(|entry| !self.is_expired(entry, now)).cloned());
    }

    /// The span above one, of its trace and process.
    pub(super) fn parent_of(&self, entry: &Entry, now: Instant) -> Option<Entry> {
        let ring = lock(self.ring(entry.parent_span_id)?);
        let is_parent = |other: &&Entry| {
            other.trace_id == entry.trace_id && other.process.is_same(&entry.process) && !self.is_expired(other, now)
        };
        ring.of(entry.parent_span_id).find(is_parent).cloned()
    }

    /// Forgets what is too old, and gives back what is not needed any more. To be called now and then.
    pub(super) fn tidy(&self, now: Instant) {
        let mut tally = Tally::default();
        for ring in &self.rings {
            self.change_ring(ring, |ring| {
                tally.expired += self.expire(ring, now);
                ring.shrink();
            });
        }
        let words = &mut *lock(&self.words);
        words.processes.forget_unused();
        // not sooner: whoever makes up names shall not have room for others each time
        if now.saturating_duration_since(words.forgot) >= self.limits.window {
            words.names.forget_unused();
            words.routes.forget_unused();
            words.forgot = now;
        }
        self.book(&self.bytes_of_words, words.heap_bytes());
        tally.count(&self.metrics);
    }

    /// Spans that are known, those that are too old but not forgotten yet included.
    pub(super) fn len(&self) -> usize {
        self.rings.iter().map(|ring| lock(ring).len()).sum()
    }

    /// Bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes_of_spans.load(Ordering::Relaxed) + self.bytes_besides_spans()
    }

    /// Counts what is remembered beside the index in its memory.
    pub(super) fn book_beside(&self, bytes: usize) {
        self.book(&self.bytes_beside, bytes);
    }

    fn bytes_besides_spans(&self) -> usize {
        self.bytes_of_words.load(Ordering::Relaxed) + self.bytes_beside.load(Ordering::Relaxed)
    }

    fn expire(&self, ring: &mut Ring<Entry>, now: Instant) -> u64 {
        let mut expired = 0;
        while ring.oldest().is_some_and(|oldest| self.is_expired(oldest, now)) {
            expired += u64::from(ring.pop().is_some());
        }
        expired
    }

    fn is_expired(&self, entry: &Entry, now: Instant) -> bool {
        let age = self.second(now).saturating_sub(entry.arrived);
        u64::from(age) > self.limits.window.as_secs()
    }

    fn second(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.began).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    fn ring(&self, span_id: SpanId) -> Option<&Mutex<Ring<Entry>>> {
        self.rings.get(self.key.hash_one(span_id) as usize % self.rings.len())
    }

    fn change(&self, span_id: SpanId, change: impl FnOnce(&mut Ring<Entry>)) {
        if let Some(ring) = self.ring(span_id) {
            self.change_ring(ring, change);
        }
    }

    fn change_ring(&self, ring: &Mutex<Ring<Entry>>, change: impl FnOnce(&mut Ring<Entry>)) {
        let ring = &mut *lock(ring);
        let before = (ring.len(), ring.heap_bytes());
        change(ring);
        let (spans, bytes) = (ring.len(), ring.heap_bytes());
        self.metrics.live().change(before.0, spans);
        if before.1 != bytes {
            // the difference may be below zero, and wraps around and back
            self.bytes_of_spans
                .fetch_add(bytes.wrapping_sub(before.1), Ordering::Relaxed);
            self.show(before.1, bytes);
        }
    }

    fn book_words(&self) {
        let words = lock(&self.words);
        self.book(&self.bytes_of_words, words.heap_bytes());
    }

    fn book(&self, place: &AtomicUsize, bytes: usize) {
        let before = place.swap(bytes, Ordering::Relaxed);
        self.show(before, bytes);
    }

    fn show(&self, before: usize, now: usize) {
        self.metrics.bytes().change(before, now);
        if let Some(permit) = self.permit.get() {
            permit.hold(now.saturating_sub(before));
            permit.shrink(before.saturating_sub(now));
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let spans = self.len() as u64;
        self.metrics.gone("replaced", spans);
        self.metrics.live().sub(spans);
        self.metrics.bytes().sub(self.heap_bytes() as u64);
    }
}

impl Words {
    fn heap_bytes(&self) -> usize {
        self.processes.heap_bytes() + self.names.heap_bytes() + self.routes.heap_bytes()
    }
}

impl Tally {
    fn count(&self, metrics: &TraceJoinMetrics) {
        metrics.spans("indexed", self.indexed);
        metrics.spans("repeated", self.repeated);
        metrics.spans("unusable", self.unusable);
        metrics.spans("left_out", self.left_out);
        metrics.gone("evicted", self.evicted);
        metrics.gone("expired", self.expired);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
