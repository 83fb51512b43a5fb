//! Batches that wait for what others tell of them, in the order in which they came: all of a queue wait for the same time. None overtakes
//! another, and none is dropped: what there is no room for sends the oldest on its way.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::pipeline::Batch;
use crate::telemetry::Number;

/// Batches that go on at once when they are due: exporters have to make room for them.
const AT_ONCE: usize = 256;

/// The batches that wait, and gauges of what they have received, and of their bytes.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    received: Number,
    bytes: Number,
}

/// What may wait at once.
pub(super) struct Room {
    pub(super) bytes: usize,
    /// Profiles or spans, as received.
    pub(super) received: u64,
}

/// A batch whose wait is over.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) batch: Batch,
    /// Before its time.
    pub(super) is_early: bool,
}

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Held>,
    bytes: usize,
    received: u64,
}

struct Held {
    due: Instant,
    batch: Batch,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(received: Number, bytes: Number) -> Self {
        Self {
            waiting: Mutex::default(),
            received,
            bytes,
        }
    }

    /// Lets a batch wait. What it makes too much goes on, the oldest first.
    pub(super) fn push(&self, batch: Batch, due: Instant, room: &Room) -> Vec<Leaving> {
        let waiting = &mut *lock(&self.waiting);
        let (bytes, received) = (batch.held_bytes(), batch.weight());
        waiting.bytes += bytes;
        waiting.received += received;
        self.bytes.add(bytes as u64);
        self.received.add(received);
        waiting.batches.push_back(Held { due, batch, bytes });
        let mut leaving = Vec::new();
        while waiting.bytes > room.bytes || waiting.received > room.received {
            let Some(held) = self.pop(waiting) else { break };
            leaving.push(held.leaves(true));
        }
        leaving
    }

    /// When the oldest is due.
    pub(super) fn due(&self) -> Option<Instant> {
        lock(&self.waiting).batches.front().map(|held| held.due)
    }

    /// Those that are due, or all.
    pub(super) fn take(&self, all: bool, now: Instant) -> Vec<Leaving> {
        let waiting = &mut *lock(&self.waiting);
        let mut leaving = Vec::new();
        while all || leaving.len() < AT_ONCE {
            let next = waiting.batches.front().filter(|held| all || held.due <= now);
            let Some(held) = next.is_some().then(|| self.pop(waiting)).flatten() else {
                break;
            };
            let is_early = held.due > now;
            leaving.push(held.leaves(is_early));
        }
        leaving
    }

    fn pop(&self, waiting: &mut Waiting) -> Option<Held> {
        let held = waiting.batches.pop_front()?;
        let received = held.batch.weight();
        waiting.bytes -= held.bytes;
        waiting.received -= received;
        self.bytes.sub(held.bytes as u64);
        self.received.sub(received);
        Some(held)
    }
}

impl Held {
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
