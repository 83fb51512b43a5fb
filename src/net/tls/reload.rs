//! What is made of files, and made anew when they change.
//!
//! Files are looked at when a connection is about to use what was made of them, so nothing runs while nothing connects. They
//! are compared by content: rotation may swap a symbolic link, replace a file or write into it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::TlsError;
use super::pem::Source;

/// How something is made of files.
pub(super) trait Recipe: Send + Sync + 'static {
    /// What is made.
    type Product: Send + Sync;

    /// What it is made of.
    fn sources(&self) -> Vec<&Source>;

    /// Reads and makes it.
    fn make(&self) -> Result<Self::Product, TlsError>;
}

/// The newest usable product of a recipe.
pub(super) struct Reloading<R: Recipe> {
    recipe: R,
    current: ArcSwap<R::Product>,
    /// None where nothing is read again.
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
    pub(super) fn new(recipe: R, interval: Option<Duration>) -> Result<Self, TlsError> {
        let has_files = recipe.sources().iter().any(|source| source.is_file());
        let hasher = RandomState::new();
        let looked = Looked {
            at: Instant::now(),
            fingerprint: fingerprint(&recipe, &hasher),
        };
        Ok(Self {
            current: ArcSwap::from_pointee(recipe.make()?),
            interval: interval.filter(|_| has_files),
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
        let now = fingerprint(&self.recipe, &self.hasher);
        if now != before {
            match self.recipe.make() {
                Ok(product) => {
                    self.current.store(Arc::new(product));
                    tracing::info!("certificates have changed; new connections use the new ones");
                }
                Err(error) => {
                    tracing::warn!(
                        key = error.key,
                        "changed certificates are not used, the old ones stay: {error}"
                    );
                }
            }
        }
        now
    }
}

/// Of the contents of all files; what cannot be read has one too, so that it is told once.
fn fingerprint(recipe: &impl Recipe, hasher: &RandomState) -> u64 {
    let contents: Vec<_> = recipe
        .sources()
        .into_iter()
        .filter(|source| source.is_file())
        .map(|source| source.read().map_err(|error| error.message))
        .collect();
    hasher.hash_one(contents)
}
