//! Batches become requests: merged, cut to the exporter's unit and to a number of samples, halved when too large. Weight is
//! never lost or made, and every part holds the memory that it takes.

use std::collections::VecDeque;

use crate::pipeline::batch::Batch;
use crate::pipeline::chain::samples;
use crate::pipeline::spec::Unit;
use crate::profile::Profiles;

/// One batch of all of them. None if there is no memory to hold the merged one: then each goes on its own.
pub fn merge(batches: &[Batch]) -> Option<Batch> {
    let first = batches.first()?;
    let merged = Profiles::merge(batches.iter().filter_map(Batch::as_profiles));
    let permit = first.permit().sibling();
    // the ones it is made of are still held
    permit.grow(merged.heap_bytes()).ok()?;
    let weight = batches.iter().map(Batch::weight).sum();
    Some(Batch::made(merged, weight, first.origin().clone(), permit))
}

/// The requests that a batch becomes.
pub fn cut(batch: Batch, unit: Unit) -> Vec<Batch> {
    let parts = match (batch.as_profiles(), unit) {
        (Some(profiles), Unit::Resource) if profiles.resources().len() > 1 => profiles.by_resource(),
        (Some(profiles), Unit::Profile) if profiles.profile_count() > 1 => profiles.by_profile(),
        _ => return vec![batch],
    };
    share(&batch, parts)
}

/// The batch in parts of at most so many samples; 0 for no such bound.
pub fn cut_to_samples(batch: Batch, most: usize) -> Vec<Batch> {
    let fits = |batch: &Batch| most == 0 || samples(batch) <= most as u64;
    let (mut done, mut waiting) = (Vec::new(), VecDeque::from([batch]));
    while let Some(next) = waiting.pop_front() {
        match if fits(&next) { None } else { halve(&next) } {
            Some(halves) => halves.into_iter().rev().for_each(|half| waiting.push_front(half)),
            None => done.push(next),
        }
    }
    done
}

/// Two parts; none if it cannot be cut any more. They are numbered as the leaves of a tree: below `n` are `2n + 1` and `2n + 2`.
pub fn halve(batch: &Batch) -> Option<Vec<Batch>> {
    let (left, right) = batch.as_profiles()?.halve()?;
    let first = batch.piece().saturating_mul(2).saturating_add(1);
    let halves = share(batch, vec![left, right]).into_iter();
    let pieces = [first, first.saturating_add(1)];
    Some(halves.zip(pieces).map(|(half, piece)| half.with_piece(piece)).collect())
}

/// Shares the weight by the number of profiles as received; the parts add up to the whole, and are the piece that it is.
fn share(whole: &Batch, parts: Vec<Profiles>) -> Vec<Batch> {
    let total: u64 = parts.iter().map(Profiles::received_count).sum();
    if total == 0 {
        return vec![whole.clone()];
    }
    let (mut seen, mut given) = (0, 0);
    let mut shared = Vec::with_capacity(parts.len());
    for part in parts {
        seen += part.received_count();
        let up_to_here = u128::from(whole.weight()) * u128::from(seen) / u128::from(total);
        let up_to_here = u64::try_from(up_to_here).unwrap_or(u64::MAX);
        let permit = whole.permit().sibling();
        permit.hold(part.heap_bytes());
        let batch = Batch::made(part, up_to_here - given, whole.origin().clone(), permit).with_piece(whole.piece());
        given = up_to_here;
        shared.push(batch);
    }
    shared
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::formats::{Limits, any};
    use crate::pipeline::{Origin, Permit};

    #[test]
    fn parts_share_the_weight_by_what_came_as_each() {
        let by_otlp = crate::testing::heap_by_otlp();
        let Ok(by_pprof) = any::decode_any(crate::testing::data("go123-heap.pb.gz").into(), &Limits::default()) else {
            panic!("a recording of our own")
        };
        let merged = Profiles::merge([&by_otlp, &by_pprof.decoded.profiles]);
        let whole = Batch::made(merged, 5, Arc::new(Origin::local("test")), Permit::unlimited());
        let weights: Vec<u64> = cut(whole, Unit::Profile).iter().map(Batch::weight).collect();
        assert_eq!(weights, [4, 1]);
        let half = Batch::made(by_otlp, 4, Arc::new(Origin::local("test")), Permit::unlimited());
        let halves: Vec<u64> = halve(&half).unwrap().iter().map(Batch::weight).collect();
        assert_eq!(halves.iter().sum::<u64>(), 4);
    }

    #[test]
    fn pieces_of_a_whole_can_be_told_apart() {
        let Ok(read) = any::decode_any(crate::testing::data("go123-heap.pb.gz").into(), &Limits::default()) else {
            panic!("a recording of our own")
        };
        let profiles = read.decoded.profiles;
        let whole = Batch::made(profiles, 1, Arc::new(Origin::local("test")), Permit::unlimited());
        assert_eq!(whole.piece(), 0);
        let pieces = cut_to_samples(whole, 5);
        let numbers: BTreeSet<u32> = pieces.iter().map(Batch::piece).collect();
        assert!(pieces.len() > 28 && numbers.len() == pieces.len(), "{numbers:?}");
        assert!(!numbers.contains(&0));
    }
}
