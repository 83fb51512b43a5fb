//! Requests of spans that wait for profiles, in the order in which they came. None overtakes another, and none is dropped: what there is
//! no room for sends the oldest on its way.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::pipeline::Batch;
use crate::telemetry::SpanProfilesMetrics;

/// Requests that go on at once when they are due: exporters have to make room for them.
const AT_ONCE: usize = 256;

/// The requests that wait.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    metrics: SpanProfilesMetrics,
}

/// What may wait at once.
pub(super) struct Room {
    pub(super) bytes: usize,
    pub(super) spans: u64,
}

/// A request whose wait is over.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) batch: Batch,
    /// Before its time.
    pub(super) is_early: bool,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    bytes: usize,
    spans: u64,
}

struct Request {
    due: Instant,
    batch: Batch,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(metrics: SpanProfilesMetrics) -> Self {
        Self {
            waiting: Mutex::default(),
            metrics,
        }
    }

    /// Lets a request wait. What it makes too much goes on, the oldest first.
    pub(super) fn push(&self, batch: Batch, due: Instant, room: &Room) -> Vec<Leaving> {
        let waiting = &mut *lock(&self.waiting);
        let (bytes, spans) = (batch.held_bytes(), batch.items());
        waiting.bytes += bytes;
        waiting.spans += spans;
        self.metrics.held_bytes.add(bytes as u64);
        self.metrics.held_spans.add(spans);
        waiting.requests.push_back(Request { due, batch, bytes });
        let mut leaving = Vec::new();
        while waiting.bytes > room.bytes || waiting.spans > room.spans {
            let Some(request) = self.pop(waiting) else { break };
            leaving.push(request.leaves(true));
        }
        leaving
    }

    /// When the oldest is due.
    pub(super) fn due(&self) -> Option<Instant> {
        lock(&self.waiting).requests.front().map(|request| request.due)
    }

    /// Those that are due, or all.
    pub(super) fn take(&self, all: bool, now: Instant) -> Vec<Leaving> {
        let waiting = &mut *lock(&self.waiting);
        let mut leaving = Vec::new();
        while all || leaving.len() < AT_ONCE {
            let next = waiting.requests.front().filter(|request| all || request.due <= now);
            let Some(request) = next.is_some().then(|| self.pop(waiting)).flatten() else {
                break;
            };
            let is_early = request.due > now;
            leaving.push(request.leaves(is_early));
        }
        leaving
    }

    fn pop(&self, waiting: &mut Waiting) -> Option<Request> {
        let request = waiting.requests.pop_front()?;
        let spans = request.batch.items();
        waiting.bytes -= request.bytes;
        waiting.spans -= spans;
        self.metrics.held_bytes.sub(request.bytes as u64);
        self.metrics.held_spans.sub(spans);
        Some(request)
    }
}

impl Request {
    fn leaves(self, is_early: bool) -> Leaving {
        Leaving {
            batch: self.batch,
            is_early,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
