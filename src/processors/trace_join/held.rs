//! Batches that wait for spans, in the order in which they came: all wait for the same time.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Instant;

use super::index::lock;
use crate::pipeline::Batch;
use crate::telemetry::TraceJoinMetrics;

/// Batches that go on at once when they are due: exporters have to make room for them.
const AT_ONCE: usize = 256;

pub(super) struct Held {
    waiting: Mutex<Waiting>,
    metrics: TraceJoinMetrics,
}

#[derive(Default)]
struct Waiting {
    batches: VecDeque<(Instant, Batch)>,
    bytes: usize,
}

/// A batch that goes on.
pub(super) struct Released {
    pub(super) batch: Batch,
    /// Whether it waited for as long as it may.
    pub(super) has_waited: bool,
}

impl Held {
    pub(super) fn new(metrics: TraceJoinMetrics) -> Self {
        Self {
            waiting: Mutex::default(),
            metrics,
        }
    }

    /// Holds a batch. The answer are those for which there is no room any more.
    pub(super) fn push(&self, batch: Batch, due: Instant, most_bytes: usize) -> Vec<Released> {
        let waiting = &mut *lock(&self.waiting);
        let bytes = batch.held_bytes();
        self.metrics.held_profiles().add(batch.weight());
        self.metrics.held_bytes().add(bytes as u64);
        waiting.bytes += bytes;
        waiting.batches.push_back((due, batch));
        let mut gone = Vec::new();
        while waiting.bytes > most_bytes {
            gone.extend(self.pop(waiting, false));
        }
        gone
    }

    /// When the oldest is due.
    pub(super) fn due(&self) -> Option<Instant> {
        lock(&self.waiting).batches.front().map(|(due, _)| *due)
    }

    /// Those that are due, or all of them.
    pub(super) fn release(&self, all: bool, now: Instant) -> Vec<Released> {
        let waiting = &mut *lock(&self.waiting);
        let mut gone = Vec::new();
        while all || gone.len() < AT_ONCE {
            match waiting.batches.front() {
                Some((due, _)) if all || *due <= now => gone.extend(self.pop(waiting, *due <= now)),
                _ => break,
            }
        }
        gone
    }

    fn pop(&self, waiting: &mut Waiting, has_waited: bool) -> Option<Released> {
        let (_, batch) = waiting.batches.pop_front()?;
        let bytes = batch.held_bytes();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        self.metrics.held_profiles().sub(batch.weight());
        self.metrics.held_bytes().sub(bytes as u64);
        Some(Released { batch, has_waited })
    }
}
