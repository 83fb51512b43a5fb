//! Whether a connection has a request under way, and since when it has none.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Counts the requests of one connection that are being answered.
#[derive(Debug, Default)]
pub(super) struct Activity {
    under_way: AtomicUsize,
    changed: Notify,
}

/// A request being answered; it ends when this is dropped, also by a client that goes away.
pub(super) struct Busy(std::sync::Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &std::sync::Arc<Self>) -> Busy {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
        Busy(self.clone())
    }

    /// Returns once a request is under way, or after `pause` without one.
    pub(super) async fn begun_within(&self, pause: Duration) {
        let changed = self.changed.notified();
        if self.under_way.load(Ordering::Acquire) == 0 {
            let _ = tokio::time::timeout(pause, changed).await;
        }
    }

    /// Returns once no request was under way for as long as `pause`.
    pub(super) async fn idle_for(&self, pause: Duration) {
        loop {
            let changed = self.changed.notified();
            if self.under_way.load(Ordering::Acquire) > 0 {
                changed.await;
            } else if tokio::time::timeout(pause, changed).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idle_begins_when_the_last_request_ends() {
        let activity = Arc::new(Activity::default());
        let start = tokio::time::Instant::now();
        let (first, second) = (activity.begin(), activity.begin());
        let ends = async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            drop(first);
            tokio::time::sleep(Duration::from_secs(50)).await;
            drop(second);
        };
        tokio::join!(activity.idle_for(Duration::from_secs(10)), ends);
        assert_eq!(start.elapsed(), Duration::from_secs(110));
    }
}
