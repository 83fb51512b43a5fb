//! Batches become requests: merged, cut to the exporter's unit and to a number of samples, halved when too large. Weight is
//! never lost or made.
//!
//! A part is a range of a whole until its turn comes: only then it becomes a batch of its own, with memory of its own. A
//! dictionary that all parts refer to would else be there as often as there are parts.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::formats::otlp::Traces;
use crate::pipeline::batch::Batch;
use crate::pipeline::budget::Permit;
use crate::pipeline::follow::Followers;
use crate::pipeline::spec::Unit;
use crate::profile::{Profiles, Scratch, Splitter};
use crate::telemetry::Signal;

/// One batch of all of them. None if there is no memory to hold the merged one: then each goes on its own.
pub fn merge(batches: &[Batch]) -> Option<Batch> {
    match batches.first()?.signal() {
        Signal::Profiles => merge_profiles(batches),
        Signal::Traces => merge_traces(batches),
    }
}

fn merge_profiles(batches: &[Batch]) -> Option<Batch> {
    let first = batches.first()?;
    let parts = || batches.iter().filter_map(Batch::as_profiles);
    let permit = first.permit().sibling();
    // what is merged is no larger than what it is made of, which is still held
    let most = parts().map(Profiles::heap_bytes).sum();
    permit.grow(most).ok()?;
    let merged = Profiles::merge(parts());
    permit.shrink(most.saturating_sub(merged.heap_bytes()));
    let weight = batches.iter().map(Batch::weight).sum();
    let followers = Followers::union(batches.iter().map(Batch::followers));
    Some(Batch::made(merged, weight, first.origin().clone(), permit).followed_by(followers))
}

fn merge_traces(batches: &[Batch]) -> Option<Batch> {
    let first = batches.first()?;
    let parts = || batches.iter().filter_map(Batch::as_traces);
    let permit = first.permit().sibling();
    permit.grow(parts().map(|traces| traces.bytes().len()).sum()).ok()?;
    let weight = batches.iter().map(Batch::weight).sum();
    let followers = Followers::union(batches.iter().map(Batch::followers));
    let merged = first.clone().with_traces(Traces::concatenated(parts()), weight);
    Some(merged.held_by(permit).followed_by(followers))
}

/// A batch of which parts are sent.
struct Whole {
    batch: Batch,
    splitter: Splitter,
    /// Whoever has it cuts, and counts the memory for that.
    scratch: Arc<Mutex<Scratch>>,
    /// The memory of splitter and scratch, from the first cut on.
    permit: Permit,
    /// Bytes that its parts were encoded to.
    encoded: AtomicU64,
}

/// How many times its own size a batch may become in all its parts. Text formats write a name wherever a stack has it, and a part
/// all that it refers to; no honest profile is near.
const MOST_GROWTH: u64 = 64;
/// Smaller batches count as this large.
const SMALL: usize = 1 << 20;

/// Some samples of a batch, perhaps all.
#[derive(Clone)]
pub struct Part {
    whole: Arc<Whole>,
    steps: Range<usize>,
    weight: u64,
    piece: u32,
}

/// The requests that a batch becomes.
pub fn cut(batch: Batch, unit: Unit) -> Vec<Part> {
    let splitter = Splitter::new(batch.as_profiles().cloned().unwrap_or_default());
    let units = match unit {
        Unit::Batch => Vec::new(),
        Unit::Resource => splitter.resources(),
        Unit::Profile => splitter.profiles(),
    };
    let whole = Part {
        steps: 0..splitter.steps(),
        weight: batch.weight(),
        piece: batch.piece(),
        whole: Arc::new(Whole {
            splitter,
            scratch: Arc::default(),
            permit: batch.permit().sibling(),
            encoded: AtomicU64::new(0),
            batch,
        }),
    };
    match units.len() {
        0 | 1 => vec![whole],
        _ => whole.share(units),
    }
}

impl Part {
    /// Parts of it. Its weight is shared by the number of profiles as received; they add up to the whole.
    fn share(&self, parts: Vec<Range<usize>>) -> Vec<Self> {
        let profiles = |steps: &Range<usize>| self.whole.splitter.received_in(steps);
        let total: u64 = parts.iter().map(profiles).sum();
        let (mut seen, mut given) = (0, 0);
        let shared = parts.into_iter().map(|steps| {
            seen += profiles(&steps);
            let up_to_here = u128::from(self.weight) * u128::from(seen) / u128::from(total.max(1));
            let up_to_here = u64::try_from(up_to_here).unwrap_or(u64::MAX);
            let weight = up_to_here - given;
            given = up_to_here;
            Self {
                steps,
                weight,
                ..self.clone()
            }
        });
        shared.collect()
    }

    /// Two halves; none if it cannot be cut any more. They are numbered as the leaves of a tree: below `n` are `2n + 1` and
    /// `2n + 2`.
    pub fn halve(&self) -> Option<Vec<Self>> {
        if let Some(traces) = self.whole.batch.as_traces() {
            return self.halve_traces(traces);
        }
        let half = self.steps.len() / 2;
        if half == 0 {
            return None;
        }
        let middle = self.steps.start + half;
        let halves = self.share(vec![self.steps.start..middle, middle..self.steps.end]);
        let first = self.piece.saturating_mul(2).saturating_add(1);
        let pieces = [first, first.saturating_add(1)];
        let numbered = halves.into_iter().zip(pieces);
        Some(numbered.map(|(half, piece)| Self { piece, ..half }).collect())
    }

    /// Requests of spans are cut between resources, and one resource between its spans. Each half is a batch from the start: it has
    /// bytes of the whole, or memory of its own.
    fn halve_traces(&self, traces: &Traces) -> Option<Vec<Self>> {
        let between = traces.halves();
        let is_shared = between.is_some();
        let [first, second] = between.or_else(|| traces.halves_of_resource())?;
        let all = u128::from(traces.count().max(1));
        let weight = u128::from(self.weight) * u128::from(first.count()) / all;
        let weight = u64::try_from(weight).unwrap_or(self.weight);
        let halves = [(first, weight), (second, self.weight - weight)];
        let part = |(traces, weight): (Traces, u64)| {
            let mut half = self.whole.batch.clone();
            if !is_shared {
                let own = half.permit().sibling();
                // it was accepted, and cannot be refused any more
                own.hold(traces.bytes().len());
                half = half.held_by(own);
            }
            cut(half.with_traces(traces, weight), Unit::Batch)
        };
        Some(halves.into_iter().flat_map(part).collect())
    }

    /// How many received profiles, or spans, it stands for.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// Samples in it, and profiles without any; or spans.
    pub fn items(&self) -> usize {
        match self.whole.batch.as_traces() {
            Some(traces) => usize::try_from(traces.count()).unwrap_or(usize::MAX),
            None => self.steps.len(),
        }
    }

    /// Samples in it; or spans.
    pub fn samples(&self) -> u64 {
        match self.whole.batch.as_traces() {
            Some(traces) => traces.count(),
            None => self.whole.splitter.samples_in(&self.steps) as u64,
        }
    }

    /// When it came.
    pub fn arrived(&self) -> SystemTime {
        self.whole.batch.origin().arrived
    }

    /// Whose it is.
    pub fn tenant(&self) -> &Arc<str> {
        &self.whole.batch.origin().tenant
    }

    /// Who waits to hear what becomes of it.
    pub fn followers(&self) -> &Followers {
        self.whole.batch.followers()
    }

    /// The batch that it is, if it is all of one.
    pub fn whole(&self) -> Option<&Batch> {
        let is_all = self.steps.len() == self.whole.splitter.steps();
        is_all.then_some(&self.whole.batch)
    }

    /// Most bytes that it may take as a batch of its own.
    pub fn most_bytes(&self) -> usize {
        self.whole.splitter.whole().heap_bytes()
    }

    /// A permit for it, which holds nothing yet.
    pub fn permit(&self) -> Permit {
        self.whole.permit.sibling()
    }

    /// The turn to cut the whole that it belongs to.
    pub async fn turn(&self) -> OwnedMutexGuard<Scratch> {
        self.whole.scratch.clone().lock_owned().await
    }

    /// The part as a batch of its own. `permit` holds [`most_bytes`](Self::most_bytes), and what it takes afterwards.
    pub fn batch(&self, scratch: &mut Scratch, permit: Permit) -> Option<Batch> {
        let whole = &self.whole;
        if whole.permit.bytes() == 0 {
            whole.permit.hold(whole.splitter.heap_bytes());
        }
        let profiles = whole.splitter.part(self.steps.clone(), scratch)?;
        permit.shrink(self.most_bytes().saturating_sub(profiles.heap_bytes()));
        let batch = Batch::made(profiles, self.weight, whole.batch.origin().clone(), permit);
        let followers = whole.batch.followers().clone();
        Some(batch.with_piece(self.piece).followed_by(followers))
    }

    /// Counts what it was encoded to.
    pub fn encoded(&self, bytes: usize) {
        self.whole.encoded.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether the parts of the same whole have become more than a batch may.
    pub fn is_outgrown(&self) -> bool {
        let profiles = self.whole.splitter.whole().heap_bytes();
        let traces = self.whole.batch.as_traces().map_or(0, |traces| traces.bytes().len());
        let held = profiles.max(traces).max(SMALL) as u64;
        self.whole.encoded.load(Ordering::Relaxed) > held.saturating_mul(MOST_GROWTH)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::formats::{Limits, any};
    use crate::pipeline::{Budget, Origin};

    fn recording(budget: &Budget) -> Batch {
        let Ok(read) = any::decode_any(crate::testing::data("go123-heap.pb.gz").into(), &Limits::default()) else {
            panic!("a recording of our own")
        };
        Batch::made(
            read.decoded.profiles,
            1,
            Arc::new(Origin::local("test")),
            budget.permit(),
        )
    }

    #[test]
    fn parts_share_the_weight_by_what_came_as_each() {
        let (budget, by_otlp) = (Budget::new(1 << 30), crate::testing::heap_by_otlp());
        let by_pprof = recording(&budget);
        let merged = Profiles::merge([&by_otlp, by_pprof.as_profiles().unwrap()]);
        let whole = Batch::made(merged, 5, by_pprof.origin().clone(), budget.permit());
        let weights: Vec<u64> = cut(whole, Unit::Profile).iter().map(Part::weight).collect();
        assert_eq!(weights, [4, 1]);
        let half = Batch::made(by_otlp, 4, by_pprof.origin().clone(), budget.permit());
        let halves = cut(half, Unit::Profile)[0].halve().unwrap();
        assert_eq!(halves.iter().map(Part::weight).sum::<u64>(), 4);
    }

    #[test]
    fn a_batch_becomes_so_many_times_its_size_and_no_more() {
        let parts = cut(recording(&Budget::new(1 << 30)), Unit::Batch)[0].halve().unwrap();
        parts[0].encoded(SMALL * MOST_GROWTH as usize);
        assert!(!parts[1].is_outgrown());
        parts[0].encoded(1);
        assert!(parts[1].is_outgrown());
    }

    #[test]
    fn pieces_of_a_whole_can_be_told_apart() {
        let [whole] = &cut(recording(&Budget::new(1 << 30)), Unit::Profile)[..] else {
            panic!("one profile")
        };
        assert_eq!((whole.piece, whole.weight), (0, 1));
        let (mut pieces, mut waiting) = (Vec::new(), vec![whole.clone()]);
        while let Some(next) = waiting.pop() {
            match next.halve().filter(|_| next.items() > 5) {
                Some(halves) => waiting.extend(halves),
                None => pieces.push(next),
            }
        }
        let numbers: BTreeSet<u32> = pieces.iter().map(|piece| piece.piece).collect();
        assert!(pieces.len() > 28 && numbers.len() == pieces.len(), "{numbers:?}");
        assert!(!numbers.contains(&0));
        assert_eq!(pieces.iter().map(Part::items).sum::<usize>(), whole.items());
        assert_eq!(pieces.iter().map(Part::weight).sum::<u64>(), 1);
    }

    #[tokio::test]
    async fn parts_take_memory_when_their_turn_comes() {
        let budget = Budget::new(1 << 30);
        let one = recording(&budget);
        let many = Profiles::merge(vec![one.as_profiles().unwrap(); 100]);
        let whole = Batch::made(many, 100, one.origin().clone(), budget.permit());
        let parts = cut(whole, Unit::Profile);
        assert_eq!((parts.len(), budget.used()), (100, 0));
        assert!(parts.iter().all(|part| part.weight() == 1 && part.whole().is_none()));
        let mut scratch = parts[7].turn().await;
        let permit = parts[7].permit();
        permit.grow(parts[7].most_bytes()).unwrap();
        let batch = parts[7].batch(&mut scratch, permit).unwrap();
        assert_eq!(batch.as_profiles().unwrap().profile_count(), 1);
        assert_eq!(batch.permit().bytes(), batch.held_bytes());
        drop((batch, scratch, parts));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_merged_is_paid_for_before_it_is_made() {
        let budget = Budget::new(100 << 10);
        let batches = vec![recording(&budget); 10];
        assert!(merge(&batches).is_none());
        assert_eq!(budget.used(), 0);
        let budget = Budget::new(10 << 20);
        let merged = merge(&vec![recording(&budget); 10]).unwrap();
        assert_eq!(budget.used(), merged.held_bytes());
    }
}
