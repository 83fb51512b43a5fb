//! Snapshots of the outside, kept fresh for components that may not wait: a file, a list, a ledger is read again and again beside the
//! pipelines, on threads that may be kept waiting.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, spawn_blocking};

use super::compute::guard;
use crate::telemetry::{Component, Metrics};

/// Pause between two refreshments at least: a feeder must not keep a thread busy.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// What refreshes a snapshot.
pub(super) struct Feeder {
    every: Duration,
    refresh: Box<dyn Fn() + Send + Sync>,
}

/// Where a component registers its feeders while it is built. They run while the component does: `validate` runs none.
#[derive(Clone, Default)]
pub struct Feeders(Arc<Mutex<Vec<Feeder>>>);

impl Feeders {
    /// Has the engine call `refresh` when the component starts, and again after every pause. It may wait, and is never called
    /// twice at once; a panic in it costs one refreshment.
    pub fn register(&self, every: Duration, refresh: impl Fn() + Send + Sync + 'static) {
        let feeder = Feeder {
            every: every.max(SHORTEST_PAUSE),
            refresh: Box::new(refresh),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(feeder);
    }

    /// What was registered.
    pub(super) fn take(&self) -> Vec<Feeder> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Feeders at work, until this is dropped.
#[derive(Default)]
pub(super) struct Feeding(Vec<AbortHandle>);

impl Feeding {
    /// Lets the feeders of components work. Call inside a runtime.
    pub(super) fn start(feeders: impl IntoIterator<Item = (Component, Vec<Feeder>)>, metrics: &Arc<Metrics>) -> Self {
        let mut tasks = Vec::new();
        for (component, feeders) in feeders {
            for feeder in feeders {
                let work = feed(Arc::new(feeder), component.clone(), metrics.clone());
                tasks.push(tokio::spawn(work).abort_handle());
            }
        }
        Self(tasks)
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn feed(feeder: Arc<Feeder>, component: Component, metrics: Arc<Metrics>) {
    loop {
        let work = feeder.clone();
        match spawn_blocking(move || guard(|| (work.refresh)())).await {
            Ok(Ok(())) => {}
            Ok(Err(panicked)) => {
                metrics.panicked(&component, &panicked.fingerprint);
                let fingerprint = panicked.fingerprint;
                tracing::error!(component = %component.id, fingerprint, "a feeder panicked; its snapshot stays as it was");
            }
            // the runtime ends
            Err(_) => return,
        }
        tokio::time::sleep(feeder.every).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::telemetry::Kind;

    fn processor() -> Component {
        Kind::Processor.named("budget")
    }

    async fn until(is_so: impl Fn() -> bool) {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_feeder_works_at_once_again_after_a_panic_and_until_it_is_dropped() {
        let (feeders, times, metrics) = (Feeders::default(), Arc::new(AtomicUsize::new(0)), Arc::default());
        let counted = times.clone();
        feeders.register(Duration::ZERO, move || {
            let before = counted.fetch_add(1, Ordering::SeqCst);
            assert_ne!(before, 1, "hunter2");
        });
        let all = feeders.take();
        assert_eq!((all.len(), feeders.take().len()), (1, 0));
        assert_eq!(times.load(Ordering::SeqCst), 0, "registered is not started");
        let feeding = Feeding::start([(processor(), all)], &metrics);
        until(|| times.load(Ordering::SeqCst) > 2).await;
        drop(feeding);
        // whatever was at work ends, and takes its counter along
        until(|| Arc::strong_count(&times) == 1).await;
        assert!(metrics.text().contains("flamegate_panics_total{component=\"budget\""));
    }
}
