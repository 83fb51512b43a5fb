//! What is made of files, and made anew when they change: credentials and certificates are rotated while everything runs.
//!
//! Files are looked at when what was made of them is about to be used, so nothing runs while nobody comes. They are compared
//! by content: rotation may swap a symbolic link, replace a file or write into it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

/// How something is made of files.
pub(super) trait Recipe: Send + Sync + 'static {
    /// What is made.
    type Product: Send + Sync;
    /// Why it cannot be made.
    type Error;

    /// What its files hold now. What cannot be read says why, so that it is told once.
    fn contents(&self) -> Vec<Result<Vec<u8>, String>>;

    /// Reads and makes it.
    fn make(&self) -> Result<Self::Product, Self::Error>;

    /// Tells the log that the files have changed, and whether what they hold now is used.
    fn tell(&self, changed: Result<(), Self::Error>);
}

/// The newest usable product of a recipe.
pub(super) struct Reloading<R: Recipe> {
    recipe: R,
    current: ArcSwap<R::Product>,
    /// Least time between two looks; none where nothing is read again.
    interval: Option<Duration>,
    hasher: RandomState,
    looked: Mutex<Looked>,
}

struct Looked {
    at: Instant,
    /// Of the contents then, usable or not.
    fingerprint: u64,
}

impl<R: Recipe> Reloading<R> {
    pub(super) fn new(recipe: R, interval: Option<Duration>) -> Result<Self, R::Error> {
        let hasher = RandomState::new();
        let contents = recipe.contents();
        let looked = Looked {
            at: Instant::now(),
            fingerprint: hasher.hash_one(&contents),
        };
        Ok(Self {
            current: ArcSwap::from_pointee(recipe.make()?),
            interval: interval.filter(|_| !contents.is_empty()),
            recipe,
            hasher,
            looked: Mutex::new(looked),
        })
    }

    /// The product, made anew if it is time to look and the files have changed.
    pub(super) async fn current(self: &Arc<Self>) -> Arc<R::Product> {
        if let Some(interval) = self.interval
            // whoever comes while another one looks takes what is there
            && let Ok(mut looked) = self.looked.try_lock()
            && looked.at.elapsed() >= interval
        {
            let (this, before) = (self.clone(), looked.fingerprint);
            let now = tokio::task::spawn_blocking(move || this.look(before)).await;
            looked.fingerprint = now.unwrap_or(before);
            looked.at = Instant::now();
        }
        self.current.load_full()
    }

    fn look(&self, before: u64) -> u64 {
        let now = self.hasher.hash_one(self.recipe.contents());
        if now != before {
            let made = self.recipe.make();
            self.recipe
                .tell(made.map(|product| self.current.store(Arc::new(product))));
        }
        now
    }
}
