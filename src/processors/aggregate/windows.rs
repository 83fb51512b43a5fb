//! What is held: for each resource and window what its profiles have become so far, the oldest first.
//!
//! The lock over all is held to find a window; while profiles are added, only that of the window.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::identity::Identity;
use crate::pipeline::follow::Followers;
use crate::pipeline::{Batch, Origin, Permit};
use crate::profile::Aggregate;
use crate::telemetry::AggregateMetrics;

/// Windows that are closed at once when they are due: exporters have to make room for what comes of them.
const AT_ONCE: usize = 256;

/// All that is held.
pub(super) struct Windows {
    open: Mutex<Open>,
    profiles: AtomicUsize,
    bytes: AtomicUsize,
    metrics: AggregateMetrics,
}

#[derive(Default)]
struct Open {
    by_identity: HashMap<Identity, Arc<Mutex<Slot>>>,
    /// When each is due, in order: all stay open for the same time.
    due: VecDeque<(Instant, Identity)>,
}

/// A window; none once it is closed.
type Slot = Option<Window>;

/// What the profiles of a resource in one window have become so far.
struct Window {
    aggregate: Aggregate,
    /// Profiles as received.
    weight: u64,
    followers: Vec<Followers>,
    origin: Arc<Origin>,
    permit: Permit,
    bytes: usize,
}

/// A share of a batch that goes into one window.
pub(super) struct Share<'a> {
    pub(super) batch: &'a Batch,
    /// As how many profiles it was received.
    pub(super) weight: u64,
}

impl Windows {
    pub(super) fn new(metrics: AggregateMetrics) -> Self {
        Self {
            open: Mutex::default(),
            profiles: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            metrics,
        }
    }

    /// Adds a share of a batch to a window, which is due then if it is a new one.
    pub(super) fn add(&self, identity: Identity, due: Instant, share: &Share<'_>, add: impl FnOnce(&mut Aggregate)) {
        loop {
            let slot = self.open(identity, due, share.batch);
            let mut slot = lock(&slot);
            // else it was closed before its lock was free, and the next one is a new one
            if let Some(window) = slot.as_mut() {
                return self.add_to(window, share, add);
            }
        }
    }

    fn open(&self, identity: Identity, due: Instant, batch: &Batch) -> Arc<Mutex<Slot>> {
        let open = &mut *lock(&self.open);
        let order = &mut open.due;
        let slot = open.by_identity.entry(identity).or_insert_with(|| {
            order.push_back((due, identity));
            Arc::new(Mutex::new(Some(Window::new(batch))))
        });
        slot.clone()
    }

    fn add_to(&self, window: &mut Window, share: &Share<'_>, add: impl FnOnce(&mut Aggregate)) {
        let profiles = window.aggregate.profiles();
        add(&mut window.aggregate);
        window.weight += share.weight;
        let followers = share.batch.followers();
        if followers.is_any() || window.followers.iter().all(Followers::is_any) {
            window.followers.push(followers.clone());
        }
        let (before, now) = (window.bytes, window.heap_bytes());
        hold(&window.permit, before, now);
        window.bytes = now;
        self.profiles
            .fetch_add(window.aggregate.profiles() - profiles, Ordering::Relaxed);
        // a window never shrinks by much: the difference may be below zero, and wraps around and back
        self.bytes.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
        self.metrics.held_bytes().change(before, now);
        self.metrics.held_profiles().add(share.weight);
    }

    /// Closes the oldest windows until no more is held than that.
    pub(super) fn make_room(&self, max_profiles: usize, max_bytes: usize) -> Vec<Batch> {
        let mut gone = Vec::new();
        loop {
            let why = match (
                self.profiles.load(Ordering::Relaxed),
                self.bytes.load(Ordering::Relaxed),
            ) {
                (profiles, _) if profiles > max_profiles => "max_profiles",
                (_, bytes) if bytes > max_bytes => "max_bytes",
                _ => return gone,
            };
            let Some(slot) = self.oldest(|_| true) else { return gone };
            gone.extend(self.close(&slot, why));
        }
    }

    /// When the oldest is due.
    pub(super) fn due(&self) -> Option<Instant> {
        lock(&self.open).due.front().map(|(due, _)| *due)
    }

    /// Closes windows that are due, or all of them.
    pub(super) fn flush(&self, all: bool, now: Instant) -> Vec<Batch> {
        let mut gone = Vec::new();
        while all || gone.len() < AT_ONCE {
            let Some(slot) = self.oldest(|due| all || due <= now) else {
                break;
            };
            gone.extend(self.close(&slot, if all { "end" } else { "due" }));
        }
        gone
    }

    /// Takes out the oldest window, if it is one of these.
    fn oldest(&self, is_wanted: impl FnOnce(Instant) -> bool) -> Option<Arc<Mutex<Slot>>> {
        let open = &mut *lock(&self.open);
        let (due, _) = open.due.front()?;
        if !is_wanted(*due) {
            return None;
        }
        let (_, identity) = open.due.pop_front()?;
        open.by_identity.remove(&identity)
    }

    fn close(&self, slot: &Mutex<Slot>, why: &'static str) -> Option<Batch> {
        let window = lock(slot).take()?;
        let (profiles, bytes) = (window.aggregate.profiles(), window.bytes);
        self.profiles.fetch_sub(profiles, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.metrics.held_bytes().sub(bytes as u64);
        self.metrics.held_profiles().sub(window.weight);
        self.metrics.profiles("made", profiles as u64);
        self.metrics.closed(why);
        Some(window.finish())
    }
}

impl Window {
    fn new(first: &Batch) -> Self {
        Self {
            aggregate: Aggregate::default(),
            weight: 0,
            followers: Vec::new(),
            origin: first.origin().clone(),
            permit: first.permit().sibling(),
            bytes: 0,
        }
    }

    fn heap_bytes(&self) -> usize {
        let lists = self.followers.capacity() * size_of::<Followers>();
        // it stands in a map and in a queue
        size_of::<Self>() + 4 * size_of::<Identity>() + lists + self.aggregate.heap_bytes()
    }

    fn finish(self) -> Batch {
        let profiles = self.aggregate.finish();
        hold(&self.permit, self.bytes, profiles.heap_bytes());
        let followers = Followers::union(self.followers.iter());
        Batch::made(profiles, self.weight, self.origin, self.permit).followed_by(followers)
    }
}

/// Trues a permit up to what is there already.
fn hold(permit: &Permit, before: usize, now: usize) {
    permit.hold(now.saturating_sub(before));
    permit.shrink(before.saturating_sub(now));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
