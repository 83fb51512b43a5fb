//! The memory of the process, counted in bytes: every batch holds a permit that grows with it and frees what it held when its last clone drops.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that all batches together may hold.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: AtomicUsize,
    used: AtomicUsize,
}

/// The budget has no room: the sender should come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room in the memory budget")]
pub struct OutOfBudget;

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared {
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
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

    /// Bytes that may be held.
    pub fn limit(&self) -> usize {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Changes how many bytes may be held; what is held already stays.
    pub fn set_limit(&self, limit: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) -> Result<(), OutOfBudget> {
        let room = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit());
        match self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room) {
            Ok(_) => Ok(()),
            Err(_) => Err(OutOfBudget),
        }
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
        self.0.bytes.fetch_sub(held - bytes, Ordering::Relaxed);
        self.0.budget.give_back(held - bytes);
        Ok(())
    }

    /// Another permit of the same budget, for a part that lives on its own.
    pub fn sibling(&self) -> Self {
        self.0.budget.permit()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}
