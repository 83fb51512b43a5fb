//! What passed lately: batches that an exporter keeps for whoever asks, the oldest out first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::budget::GivesWay;
use crate::telemetry::RecentMetrics;

/// Of the memory of all batches a ring keeps no more than one part in so many.
const PART: usize = 4;

/// The last batches that an exporter was given, bounded in bytes and in age. They count in the memory of the process, and give way when
/// that is short.
#[derive(Debug)]
pub struct Ring {
    id: Arc<str>,
    max_bytes: usize,
    max_age: Duration,
    metrics: RecentMetrics,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The newest last.
    batches: VecDeque<(Instant, Batch)>,
    bytes: usize,
}

impl Ring {
    /// An empty ring of this exporter.
    pub fn new(id: Arc<str>, max_bytes: usize, max_age: Duration, metrics: RecentMetrics) -> Self {
        Self {
            id,
            max_bytes,
            max_age,
            metrics,
            kept: Mutex::default(),
        }
    }

    /// Id of its exporter.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Keeps the profiles of a batch, and nothing else of it: nobody waits for what is looked at here.
    pub fn keep(&self, batch: &Batch, now: Instant) {
        let Some(profiles) = batch.as_profiles() else { return };
        let bytes = profiles.heap_bytes();
        let most = self.max_bytes.min(batch.permit().limit() / PART);
        if bytes > most {
            return self.metrics.left_out("too_large", 1);
        }
        let permit = batch.permit().sibling();
        permit.hold(bytes);
        let copy = Batch::made(profiles.clone(), batch.weight(), batch.origin().clone(), permit);
        let mut kept = self.lock();
        self.drop_old(&mut kept, now);
        self.drop_while(&mut kept, "full", |kept| kept.bytes + bytes > most);
        kept.bytes += bytes;
        kept.batches.push_back((now, copy));
        self.show(&kept);
    }

    /// What is kept, the newest first.
    pub fn batches(&self, now: Instant) -> Vec<Batch> {
        let mut kept = self.lock();
        self.drop_old(&mut kept, now);
        self.show(&kept);
        kept.batches.iter().rev().map(|(_, batch)| batch.clone()).collect()
    }

    /// Lets go of what is too old.
    pub fn expire(&self, now: Instant) {
        let mut kept = self.lock();
        self.drop_old(&mut kept, now);
        self.show(&kept);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_old(&self, kept: &mut Kept, now: Instant) {
        let is_old = |since: &Instant| now.saturating_duration_since(*since) > self.max_age;
        self.drop_while(kept, "age", |kept| {
            kept.batches.front().is_some_and(|(since, _)| is_old(since))
        });
    }

    /// Drops the oldest, as long as that is so.
    fn drop_while(&self, kept: &mut Kept, why: &'static str, is_so: impl Fn(&Kept) -> bool) {
        let mut dropped = 0;
        while is_so(kept) {
            let Some((_, batch)) = kept.batches.pop_front() else {
                break;
            };
            kept.bytes -= batch.held_bytes();
            dropped += 1;
        }
        if dropped > 0 {
            self.metrics.left_out(why, dropped);
        }
    }

    fn show(&self, kept: &Kept) {
        self.metrics.kept(kept.batches.len(), kept.bytes);
    }
}

impl GivesWay for Ring {
    fn give_way(&self, bytes: usize) -> usize {
        let mut kept = self.lock();
        let before = kept.bytes;
        self.drop_while(&mut kept, "memory", |kept| before - kept.bytes < bytes);
        self.show(&kept);
        before - kept.bytes
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.lock().bytes > 0 {
            self.metrics.kept(0, 0);
        }
    }
}

/// Where exporters register their rings while they are built.
#[derive(Clone, Default)]
pub struct Rings(Arc<Mutex<Vec<Arc<Ring>>>>);

impl Rings {
    /// Registers one. It is shown as long as the exporter runs.
    pub fn register(&self, ring: Arc<Ring>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ring);
    }

    /// What was registered.
    pub(super) fn take(&self) -> Vec<Arc<Ring>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Limits, any};
    use crate::pipeline::{Budget, Origin};
    use crate::profile::Profiles;
    use crate::telemetry::Metrics;

    const AGE: Duration = Duration::from_secs(300);

    fn recording() -> Profiles {
        let read = any::decode_any(crate::testing::data("go123-heap.pb.gz").into(), &Limits::default());
        read.expect("a recording of our own").decoded.profiles
    }

    /// A ring in a budget that knows it, and what it was given so far: batches of one size, told apart by weight.
    struct Bench {
        budget: Budget,
        ring: Arc<Ring>,
        metrics: Arc<Metrics>,
        profiles: Profiles,
        start: Instant,
    }

    impl Bench {
        /// With room for so many batches in the ring, and in the budget.
        fn of(in_ring: usize, in_budget: usize) -> Self {
            let (profiles, metrics) = (recording(), Arc::<Metrics>::default());
            let one = profiles.heap_bytes();
            let budget = Budget::new(one * in_budget);
            let id: Arc<str> = "recent".into();
            let ring = Arc::new(Ring::new(id.clone(), one * in_ring, AGE, metrics.recent(&id)));
            let known: Arc<dyn GivesWay> = ring.clone();
            budget.may_ask(&known);
            Self {
                budget,
                ring,
                metrics,
                profiles,
                start: Instant::now(),
            }
        }

        fn keep(&self, weight: u64, seconds: u64) {
            let origin = Arc::new(Origin::local("test"));
            let batch = Batch::made(self.profiles.clone(), weight, origin, self.budget.permit());
            self.ring.keep(&batch, self.start + Duration::from_secs(seconds));
        }

        fn kept(&self, seconds: u64) -> Vec<u64> {
            let batches = self.ring.batches(self.start + Duration::from_secs(seconds));
            batches.iter().map(Batch::weight).collect()
        }

        fn left_out(&self, why: &str) -> bool {
            let line = format!("flamegate_recent_left_out_total{{exporter=\"recent\",reason=\"{why}\"}}");
            self.metrics.text().contains(&line)
        }
    }

    #[test]
    fn the_oldest_make_room_and_all_of_it_is_counted() {
        let bench = Bench::of(3, 100);
        let one = bench.profiles.heap_bytes();
        (1..=5).for_each(|weight| bench.keep(weight, weight));
        assert_eq!(bench.kept(5), [5, 4, 3]);
        assert_eq!(bench.budget.used(), 3 * one);
        assert!(bench.left_out("full"));
        let text = bench.metrics.text();
        assert!(
            text.contains(&format!("flamegate_recent_bytes{{exporter=\"recent\"}} {}", 3 * one)),
            "{text}"
        );
        drop(bench.ring);
        assert_eq!(bench.budget.used(), 0);
        assert!(
            bench
                .metrics
                .text()
                .contains("flamegate_recent_bytes{exporter=\"recent\"} 0")
        );
    }

    #[test]
    fn nothing_is_kept_longer_than_it_may() {
        let bench = Bench::of(10, 100);
        (0..3).for_each(|weight| bench.keep(weight, weight * 100));
        assert_eq!(bench.kept(300), [2, 1, 0]);
        assert_eq!(bench.kept(301), [2, 1]);
        bench.ring.expire(bench.start + Duration::from_secs(501));
        assert_eq!((bench.budget.used(), bench.left_out("age")), (0, true));
    }

    #[test]
    fn a_ring_has_no_more_than_its_part_of_all_memory() {
        let bench = Bench::of(100, 9);
        (0..10).for_each(|weight| bench.keep(weight, 0));
        assert_eq!(bench.kept(0), [9, 8]);
        let small = Bench::of(100, 3);
        small.keep(1, 0);
        assert!(small.kept(0).is_empty() && small.left_out("too_large"));
    }

    #[test]
    fn what_is_kept_gives_way_before_a_request_is_refused() {
        let bench = Bench::of(100, 20);
        (0..5).for_each(|weight| bench.keep(weight, 0));
        let one = bench.profiles.heap_bytes();
        let others = bench.budget.permit();
        others.hold(12 * one);
        // seventeen are held, and at sixteen the door would close
        assert!(bench.budget.is_open());
        assert_eq!(bench.kept(0), [4, 3], "no more goes than must");
        assert!(
            others.grow(8 * one).is_ok(),
            "nor is growth refused that has room without it"
        );
        assert!(bench.kept(0).is_empty() && bench.left_out("memory"));
        assert!(others.grow(one).is_err());
        assert!(!bench.budget.is_open());
    }
}
