//! The memory of the process, counted in bytes: every batch holds a permit that grows with it and frees what it held when its
//! last clone drops.
//!
//! There are two levels. From the soft one on the door is closed: new requests are refused before their bodies are read, until
//! use has fallen well below it. Up to the hard one what is under way may still grow; beyond it that is refused as well. Before
//! anything is refused, whoever holds what can be done without is asked to [give way](GivesWay).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub use crate::formats::OutOfBudget;
use crate::formats::Room;

/// The door opens again when use has fallen to so many hundredths of the soft level: else it would flap.
const REOPEN_PERCENT: usize = 90;

/// Whoever holds memory that can be done without.
pub trait GivesWay: Send + Sync {
    /// Gives back so many bytes, or what there is; says how many.
    fn give_way(&self, bytes: usize) -> usize;
}

/// The bytes that all batches together may hold.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    soft: AtomicUsize,
    hard: AtomicUsize,
    used: AtomicUsize,
    closed: AtomicBool,
    give_way: Mutex<Vec<Weak<dyn GivesWay>>>,
}

/// The levels of a budget, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// From here on no new request is let in.
    pub soft: usize,
    /// Up to here what is under way may grow.
    pub hard: usize,
}

impl Levels {
    /// A fifth is kept for what is under way, as the Collector's memory limiter does.
    pub fn of(hard: usize) -> Self {
        Self {
            soft: hard - hard / 5,
            hard,
        }
    }
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let levels = Levels::of(limit);
        Self(Arc::new(Shared {
            soft: AtomicUsize::new(levels.soft),
            hard: AtomicUsize::new(levels.hard),
            used: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            give_way: Mutex::default(),
        }))
    }

    /// A permit that holds nothing yet.
    pub fn permit(&self) -> Permit {
        Permit(Arc::new(Held {
            budget: self.clone(),
            bytes: AtomicUsize::new(0),
        }))
    }

    /// Bytes held by all permits.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The levels.
    pub fn levels(&self) -> Levels {
        Levels {
            soft: self.0.soft.load(Ordering::Relaxed),
            hard: self.0.hard.load(Ordering::Relaxed),
        }
    }

    /// Changes the levels; what is held already stays.
    pub fn set_levels(&self, levels: Levels) {
        self.0.soft.store(levels.soft.min(levels.hard), Ordering::Relaxed);
        self.0.hard.store(levels.hard, Ordering::Relaxed);
    }

    /// Whether new requests are let in.
    pub fn is_open(&self) -> bool {
        let soft = self.levels().soft;
        let reopens = soft / 100 * REOPEN_PERCENT;
        let closed = self.0.closed.load(Ordering::Relaxed);
        let is_short = |used: usize| if closed { used > reopens } else { used >= soft };
        let mut used = self.used();
        if is_short(used) && self.make_room(used - reopens) {
            used = self.used();
        }
        let closes = is_short(used);
        if closes != closed && self.0.closed.swap(closes, Ordering::Relaxed) == closed {
            match closes {
                true => tracing::warn!(used, soft, "memory is short: new requests are refused"),
                false => tracing::info!(used, soft, "there is memory again: new requests are let in"),
            }
        }
        !closes
    }

    fn take(&self, bytes: usize) -> Result<(), OutOfBudget> {
        let hard = self.levels().hard;
        let room = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= hard);
        let take = || self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        let taken = match take() {
            Err(used) if self.make_room(used.saturating_add(bytes) - hard) => take(),
            taken => taken,
        };
        taken.map(drop).map_err(|_| OutOfBudget::Full)
    }

    /// From now on this holder is asked to give way where memory is short, as long as it is there.
    pub fn may_ask(&self, holder: &Arc<dyn GivesWay>) {
        let mut holders = self.0.give_way.lock().unwrap_or_else(PoisonError::into_inner);
        holders.retain(|holder| holder.strong_count() > 0);
        holders.push(Arc::downgrade(holder));
    }

    /// Asks one holder after the other, and says whether any gave something back.
    fn make_room(&self, bytes: usize) -> bool {
        let holders = self.0.give_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut given = 0;
        for holder in holders.iter().filter_map(Weak::upgrade) {
            if given < bytes {
                given += holder.give_way(bytes - given);
            }
        }
        given > 0
    }

    fn count(&self, bytes: usize) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The bytes that one batch holds of the budget. Clones share them; the last one to drop gives them back.
#[derive(Clone, Debug)]
pub struct Permit(Arc<Held>);

#[derive(Debug)]
struct Held {
    budget: Budget,
    bytes: AtomicUsize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(*self.bytes.get_mut());
    }
}

impl Permit {
    /// A permit of a budget without limit: files on the command line, tests.
    pub fn unlimited() -> Self {
        Budget::new(usize::MAX).permit()
    }

    /// Holds `bytes` more.
    pub fn grow(&self, bytes: usize) -> Result<(), OutOfBudget> {
        let limit = self.0.budget.levels().hard;
        if self.bytes().saturating_add(bytes) > limit {
            return Err(OutOfBudget::TooLarge { limit });
        }
        self.0.budget.take(bytes)?;
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Counts `bytes` that are there already, even past the limit: then nothing new finds room until some are given back.
    pub fn hold(&self, bytes: usize) {
        self.0.budget.count(bytes);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Trues the permit up to what is really held now, more or less.
    pub fn set(&self, bytes: usize) -> Result<(), OutOfBudget> {
        let held = self.bytes();
        if bytes > held {
            return self.grow(bytes - held);
        }
        self.shrink(held - bytes);
        Ok(())
    }

    /// Gives back `bytes` of what is held.
    pub fn shrink(&self, bytes: usize) {
        let bytes = bytes.min(self.bytes());
        self.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.0.budget.give_back(bytes);
    }

    /// Another permit of the same budget, for a part that lives on its own.
    pub fn sibling(&self) -> Self {
        self.0.budget.permit()
    }

    /// Bytes of the whole budget.
    pub fn limit(&self) -> usize {
        self.0.budget.levels().hard
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

impl Room for Permit {
    fn take(&self, bytes: usize) -> Result<(), OutOfBudget> {
        self.grow(bytes)
    }

    fn give_back(&self, bytes: usize) {
        self.shrink(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_closes_at_the_soft_level_and_opens_well_below() {
        let budget = Budget::new(1000);
        let permit = budget.permit();
        permit.grow(799).unwrap();
        assert!(budget.is_open());
        permit.grow(1).unwrap();
        assert!(!budget.is_open());
        permit.set(730).unwrap();
        assert!(!budget.is_open(), "still near the level");
        permit.set(720).unwrap();
        assert!(budget.is_open());
        budget.set_levels(Levels::of(100));
        assert!(!budget.is_open());
    }

    #[test]
    fn what_is_under_way_grows_to_the_hard_level() {
        let budget = Budget::new(1000);
        let (one, other) = (budget.permit(), budget.permit());
        one.grow(900).unwrap();
        assert_eq!(other.grow(101), Err(OutOfBudget::Full));
        assert_eq!(other.grow(1001), Err(OutOfBudget::TooLarge { limit: 1000 }));
        assert_eq!(one.set(1001), Err(OutOfBudget::TooLarge { limit: 1000 }));
        other.grow(100).unwrap();
        other.hold(50);
        assert_eq!(budget.used(), 1050, "what is there already is counted past the level");
        drop((one, other));
        assert_eq!(budget.used(), 0);
    }
}
