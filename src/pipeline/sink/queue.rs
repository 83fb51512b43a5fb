//! What waits for one exporter: bounded in requests and in bytes, and room is reserved before anything is put in. Bytes on their
//! way count until they are through: else a dead backend would hold the memory of the whole process, and close the door for all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::config::{BatchConfig, QueueConfig};
use crate::pipeline::batch::Batch;
use crate::pipeline::chain::samples;
use crate::telemetry::ExporterMetrics;

/// The queue of one sink.
pub struct Queue {
    config: QueueConfig,
    /// Requests that may wait, and bytes that may wait or be on their way.
    room: (usize, usize),
    metrics: ExporterMetrics,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Waiting, and reserved.
    requests: usize,
    /// The same, and those of what was taken out and is not yet finished.
    bytes: usize,
    /// Taken out and not yet finished.
    under_way: usize,
    /// Requests and bytes that the metrics know of.
    observed: (usize, usize),
    closed: bool,
}

struct Waiting {
    batch: Batch,
    bytes: usize,
    since: Instant,
}

/// What is to be sent next: several batches if they are to be merged.
pub struct Taken {
    /// The batches.
    pub batches: Vec<Batch>,
    /// Bytes to give back with [`Queue::done`].
    pub bytes: usize,
}

/// Room in a queue, given back if it is dropped unused.
pub struct Room {
    queue: Arc<Queue>,
    requests: usize,
    bytes: usize,
}

impl Queue {
    /// An empty queue.
    pub fn new(config: QueueConfig, metrics: ExporterMetrics) -> Self {
        let room = config.room();
        metrics.queue_capacity.change(0, room.0);
        Self {
            config,
            room,
            metrics,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what changed: after a reload the old queue and the new one of an exporter count together.
    fn observe(&self, state: &mut State) {
        let (requests, bytes) = std::mem::replace(&mut state.observed, (state.requests, state.bytes));
        self.metrics.queue_size.change(requests, state.requests);
        self.metrics.queue_bytes.change(bytes, state.bytes);
    }

    /// Takes nothing any more, and has no room.
    fn end(&self, state: &mut State) {
        if !std::mem::replace(&mut state.closed, true) {
            self.metrics.queue_capacity.change(self.room.0, 0);
        }
    }

    /// Reserves room for some requests of so many bytes together. What is larger than the whole queue gets in
    /// when there is nothing else.
    pub fn reserve(self: &Arc<Self>, requests: usize, bytes: usize) -> Option<Room> {
        let mut state = self.state();
        let idle_needed = !self.config.enabled && (state.under_way > 0 || state.requests > 0);
        let fits = |used: usize, more: usize, room: usize| used == 0 || used.saturating_add(more) <= room;
        let fits = fits(state.requests, requests, self.room.0) && fits(state.bytes, bytes, self.room.1);
        if state.closed || idle_needed || !fits {
            return None;
        }
        state.requests += requests;
        state.bytes += bytes;
        self.observe(&mut state);
        Some(Room {
            queue: self.clone(),
            requests,
            bytes,
        })
    }

    /// No more input: what waits is still handed out.
    pub fn close(&self) {
        self.end(&mut self.state());
        self.changed.notify_waiters();
    }

    /// What is to be sent next; none when input has ended and nothing waits.
    pub async fn take(&self) -> Option<Taken> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let pause = {
                let mut state = self.state();
                match self.next(&mut state) {
                    Next::Take(taken) => {
                        state.under_way += 1;
                        self.observe(&mut state);
                        // whoever slept through several arrivals must not leave the rest lying
                        if !state.waiting.is_empty() {
                            self.changed.notify_one();
                        }
                        return Some(taken);
                    }
                    Next::Nothing if state.closed && state.requests == 0 => return None,
                    Next::Nothing => None,
                    Next::Wait(pause) => Some(pause),
                }
            };
            match pause {
                None => changed.await,
                Some(pause) => {
                    let _ = tokio::time::timeout(pause, changed).await;
                }
            }
        }
    }

    /// What was taken, so many bytes, is finished.
    pub fn done(&self, bytes: usize) {
        let mut state = self.state();
        state.under_way -= 1;
        state.bytes = state.bytes.saturating_sub(bytes);
        self.observe(&mut state);
    }

    /// Empties it, for the deadline.
    pub fn drain(&self) -> Vec<Batch> {
        let mut state = self.state();
        self.end(&mut state);
        state.bytes = state.bytes.saturating_sub(state.waiting.iter().map(|w| w.bytes).sum());
        state.requests = state.requests.saturating_sub(state.waiting.len());
        self.observe(&mut state);
        self.changed.notify_waiters();
        state.waiting.drain(..).map(|w| w.batch).collect()
    }

    fn next(&self, state: &mut State) -> Next {
        let Some(first) = state.waiting.front() else {
            return Next::Nothing;
        };
        let Some(merge) = &self.config.batch else {
            return Next::Take(take_out(state, &[0]));
        };
        let (chosen, size) = equals(&state.waiting, merge);
        let age = first.since.elapsed();
        if size < merge.min_size as u64 && age < merge.flush_timeout.0 && !state.closed {
            return Next::Wait(merge.flush_timeout.0 - age);
        }
        Next::Take(take_out(state, &chosen))
    }
}

enum Next {
    Nothing,
    Wait(Duration),
    Take(Taken),
}

/// Positions of the first batch and those that may be merged with it, and the samples of all.
fn equals(waiting: &VecDeque<Waiting>, merge: &BatchConfig) -> (Vec<usize>, u64) {
    let (mut chosen, mut size) = (Vec::new(), 0);
    let Some(first) = waiting.front() else {
        return (chosen, size);
    };
    for (at, other) in waiting.iter().enumerate() {
        let (mine, theirs) = (first.batch.origin(), other.batch.origin());
        if mine.tenant != theirs.tenant || mine.headers != theirs.headers || other.batch.as_profiles().is_none() {
            continue;
        }
        let more = samples(&other.batch);
        if !chosen.is_empty() && merge.max_size > 0 && size + more > merge.max_size as u64 {
            break;
        }
        chosen.push(at);
        size += more;
        if size >= merge.min_size as u64 && merge.max_size == 0 {
            break;
        }
    }
    if chosen.is_empty() {
        chosen.push(0);
    }
    (chosen, size)
}

fn take_out(state: &mut State, positions: &[usize]) -> Taken {
    let (mut batches, mut bytes) = (Vec::with_capacity(positions.len()), 0);
    for at in positions.iter().rev() {
        if let Some(waiting) = state.waiting.remove(*at) {
            state.requests = state.requests.saturating_sub(1);
            bytes += waiting.bytes;
            batches.push(waiting.batch);
        }
    }
    batches.reverse();
    Taken { batches, bytes }
}

impl Room {
    /// Puts in a batch that room was reserved for. Gives it back if the queue was closed meanwhile.
    pub fn put(&mut self, batch: Batch) -> Result<(), Batch> {
        let bytes = batch.held_bytes().min(self.bytes);
        let mut state = self.queue.state();
        if state.closed || self.requests == 0 {
            return Err(batch);
        }
        self.requests -= 1;
        self.bytes -= bytes;
        state.waiting.push_back(Waiting {
            batch,
            bytes,
            since: Instant::now(),
        });
        drop(state);
        self.queue.changed.notify_one();
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.requests = state.requests.saturating_sub(self.requests);
        state.bytes = state.bytes.saturating_sub(self.bytes);
        self.queue.observe(&mut state);
        let closed = state.closed;
        drop(state);
        if closed {
            self.queue.changed.notify_waiters();
        }
    }
}
