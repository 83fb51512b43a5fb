//! Batches become requests: merged, cut to the exporter's unit, halved when too large. Weight is never lost or made.

use crate::pipeline::batch::Batch;
use crate::pipeline::spec::Unit;
use crate::profile::Profiles;

/// One batch of all of them. None if there is no memory to hold the merged one: then each goes on its own.
pub fn merge(batches: &[Batch]) -> Option<Batch> {
    let first = batches.first()?;
    let merged = Profiles::merge(batches.iter().filter_map(Batch::as_profiles));
    let permit = first.permit().sibling();
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

/// Two parts; none if it cannot be cut any more.
pub fn halve(batch: &Batch) -> Option<Vec<Batch>> {
    let (left, right) = batch.as_profiles()?.halve()?;
    Some(share(batch, vec![left, right]))
}

/// Shares the weight by the number of profiles; the parts add up to the whole. They live under the permit of the whole.
fn share(whole: &Batch, parts: Vec<Profiles>) -> Vec<Batch> {
    let total: u64 = parts.iter().map(|part| part.profile_count() as u64).sum();
    if total == 0 {
        return vec![whole.clone()];
    }
    let (mut seen, mut given) = (0, 0);
    let mut shared = Vec::with_capacity(parts.len());
    for part in parts {
        seen += part.profile_count() as u64;
        let up_to_here = u128::from(whole.weight()) * u128::from(seen) / u128::from(total);
        let up_to_here = u64::try_from(up_to_here).unwrap_or(u64::MAX);
        let batch = Batch::made(part, up_to_here - given, whole.origin().clone(), whole.permit().clone());
        given = up_to_here;
        shared.push(batch);
    }
    shared
}
