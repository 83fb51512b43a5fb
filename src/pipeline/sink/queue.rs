//! What waits for one exporter: bounded as configured and in bytes, and room is reserved before anything is put in. Bytes on their
//! way count until they are through: else a dead backend would hold the memory of the whole process, and close the door for all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::config::{BatchConfig, QueueConfig};
use crate::pipeline::batch::Batch;
use crate::telemetry::ExporterMetrics;

/// The queue of one sink.
pub struct Queue {
    config: QueueConfig,
    /// What may wait, as the sizer counts, and bytes that may wait or be on their way.
    room: (usize, usize),
    metrics: ExporterMetrics,
    state: Mutex<State>,
    changed: Notify,
    /// There may be more room than before.
    freed: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// What waits, and what room is reserved for; its bytes also while it is taken out and not yet finished.
    used: Share,
    /// Taken out and not yet finished.
    under_way: usize,
    /// What the metrics know of.
    observed: Share,
    closed: bool,
}

struct Waiting {
    batch: Batch,
    share: Share,
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
    share: Share,
}

/// What batches take of a queue.
#[derive(Clone, Copy, Default)]
struct Share {
    requests: usize,
    /// As the sizer counts.
    size: usize,
    bytes: usize,
}

impl Share {
    fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.size = self.size.saturating_add(other.size);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn at_most(self, other: Self) -> Self {
        Self {
            requests: self.requests.min(other.requests),
            size: self.size.min(other.size),
            bytes: self.bytes.min(other.bytes),
        }
    }

    fn sub(&mut self, other: Self) {
        self.requests = self.requests.saturating_sub(other.requests);
        self.size = self.size.saturating_sub(other.size);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
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
            freed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what changed: after a reload the old queue and the new one of an exporter count together.
    fn observe(&self, state: &mut State) {
        let before = std::mem::replace(&mut state.observed, state.used);
        self.metrics.queue_size.change(before.size, state.used.size);
        self.metrics.queue_bytes.change(before.bytes, state.used.bytes);
        self.freed.notify_waiters();
    }

    /// Nothing is left, and nothing comes: until then its room stands against what waits in it, also while it drains.
    pub fn retire(&self) {
        self.metrics.queue_capacity.change(self.room.0, 0);
    }

    /// What a batch takes of it.
    fn share(&self, batch: &Batch) -> Share {
        Share {
            requests: 1,
            size: self.config.sizer().of(batch),
            bytes: batch.held_bytes(),
        }
    }

    /// Whether nothing more finds room until something goes.
    pub fn is_full(&self) -> bool {
        let state = self.state();
        state.closed || state.used.size >= self.room.0 || state.used.bytes >= self.room.1
    }

    /// Reserves room for some batches. What is larger than the whole queue gets in when there is nothing else.
    pub fn reserve(self: &Arc<Self>, batches: &[Batch]) -> Option<Room> {
        let mut share = Share::default();
        batches.iter().for_each(|batch| share.add(self.share(batch)));
        let mut state = self.state();
        let used = state.used;
        let idle_needed = !self.config.enabled && (state.under_way > 0 || used.requests > 0);
        let fits = |used: usize, more: usize, room: usize| used == 0 || used.saturating_add(more) <= room;
        let fits = fits(used.size, share.size, self.room.0) && fits(used.bytes, share.bytes, self.room.1);
        if state.closed || idle_needed || !fits {
            return None;
        }
        state.used.add(share);
        self.observe(&mut state);
        Some(Room {
            queue: self.clone(),
            share,
        })
    }

    /// The same, and waits for room until then, or until there is no more input.
    pub async fn reserve_until(self: &Arc<Self>, until: Instant, batches: &[Batch]) -> Option<Room> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let room = self.reserve(batches);
            if room.is_some() || self.state().closed {
                return room;
            }
            timeout_at(until, freed).await.ok()?;
        }
    }

    /// No more input: what waits is still handed out.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
        self.freed.notify_waiters();
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
                    Next::Nothing if state.closed && state.used.requests == 0 => return None,
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
        state.used.bytes = state.used.bytes.saturating_sub(bytes);
        self.observe(&mut state);
    }

    /// Empties it, for the deadline.
    pub fn drain(&self) -> Vec<Batch> {
        let mut state = self.state();
        state.closed = true;
        let all: Vec<usize> = (0..state.waiting.len()).collect();
        let drained = take_out(&mut state, &all);
        state.used.bytes = state.used.bytes.saturating_sub(drained.bytes);
        self.observe(&mut state);
        self.changed.notify_waiters();
        drained.batches
    }

    fn next(&self, state: &mut State) -> Next {
        let Some(first) = state.waiting.front() else {
            return Next::Nothing;
        };
        let Some(merge) = &self.config.batch else {
            return Next::Take(take_out(state, &[0]));
        };
        let longest = merge.flush_timeout.0;
        let is_ready = |group: &Group| {
            let is_large = group.is_full || group.size >= merge.min_size as u64;
            is_large || group.since.elapsed() >= longest || state.closed
        };
        // a tenant that sends little keeps no other one waiting
        match groups(&state.waiting, merge).into_iter().find(is_ready) {
            Some(ready) => Next::Take(take_out(state, &ready.positions)),
            None => Next::Wait(longest.saturating_sub(first.since.elapsed())),
        }
    }
}

enum Next {
    Nothing,
    Wait(Duration),
    Take(Taken),
}

/// Batches of one tenant that may be merged.
struct Group {
    positions: Vec<usize>,
    size: u64,
    /// When the first of them came.
    since: Instant,
    /// Another one of the tenant waits, and does not fit.
    is_full: bool,
}

/// The first group of each tenant; the one whose first batch came first stands first.
fn groups(waiting: &VecDeque<Waiting>, merge: &BatchConfig) -> Vec<Group> {
    let has_room = |group: &Group, size: u64| match merge.max_size {
        0 => group.size < merge.min_size as u64,
        most => group.size.saturating_add(size) <= most as u64,
    };
    let mut groups: Vec<Group> = Vec::new();
    let mut of_tenant = HashMap::new();
    for (position, Waiting { batch, since, .. }) in waiting.iter().enumerate() {
        let at = *of_tenant.entry(&batch.origin().tenant).or_insert(groups.len());
        let size = merge.size(batch);
        match groups.get_mut(at) {
            None => groups.push(Group {
                positions: vec![position],
                size,
                since: *since,
                is_full: false,
            }),
            Some(group) if group.is_full => {}
            Some(group) if has_room(group, size) => {
                group.positions.push(position);
                group.size += size;
            }
            Some(group) => group.is_full = true,
        }
    }
    groups
}

fn take_out(state: &mut State, positions: &[usize]) -> Taken {
    let (mut batches, mut bytes) = (Vec::with_capacity(positions.len()), 0);
    for at in positions.iter().rev() {
        if let Some(waiting) = state.waiting.remove(*at) {
            // its bytes stay until it is done
            state.used.sub(Share {
                bytes: 0,
                ..waiting.share
            });
            bytes += waiting.share.bytes;
            batches.push(waiting.batch);
        }
    }
    batches.reverse();
    Taken { batches, bytes }
}

impl Room {
    /// Puts in a batch that room was reserved for. Gives it back if the queue was closed meanwhile.
    pub fn put(&mut self, batch: Batch) -> Result<(), Box<Batch>> {
        let mut state = self.queue.state();
        if state.closed || self.share.requests == 0 {
            return Err(Box::new(batch));
        }
        let share = self.queue.share(&batch).at_most(self.share);
        self.share.sub(share);
        state.waiting.push_back(Waiting {
            batch,
            share,
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
        state.used.sub(self.share);
        self.queue.observe(&mut state);
        let closed = state.closed;
        drop(state);
        if closed {
            self.queue.changed.notify_waiters();
        }
    }
}
