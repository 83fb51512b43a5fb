//! Siblings that tell of the same samples become one profile of several sample types.

use std::sync::Arc;

use super::lift::ScopeTypes;
use super::twins::Received;
use crate::profile::{Dictionary, Observations, Profile, Samples, ValueType};

/// So many types at most become one profile; no profiler has near as many.
const MAX_TYPES: usize = 64;

/// Joins the neighbours among `profiles`, all of one scope, that differ in sample type and values only.
pub(super) fn join(profiles: Vec<Received>, scope: &ScopeTypes, dictionary: &Dictionary) -> Vec<Profile> {
    let most = match scope.order.len() {
        0 => MAX_TYPES,
        types => types.min(MAX_TYPES),
    };
    let mut joined = Vec::with_capacity(profiles.len());
    let mut group: Vec<Received> = Vec::new();
    for profile in profiles {
        if group.len() == most || !joins(&group, &profile, dictionary) {
            joined.extend(one(std::mem::take(&mut group), scope));
        }
        group.push(profile);
    }
    joined.extend(one(group, scope));
    joined
}

fn joins(group: &[Received], next: &Received, dictionary: &Dictionary) -> bool {
    let (Some(first), [kind]) = (group.first(), next.profile.sample_types.as_slice()) else {
        return false;
    };
    let name = |t: &ValueType| (dictionary.str(t.kind), dictionary.str(t.unit));
    let known = |one: &Received| one.profile.sample_types.iter().any(|t| name(t) == name(kind));
    let (first, next) = (&first.profile, &next.profile);
    first.sample_types.len() == 1
        && is_equal_but_for_type(first, next)
        && !group.iter().any(known)
        && (Arc::ptr_eq(&first.samples, &next.samples) || has_equal_identities(&first.samples, &next.samples))
}

fn is_equal_but_for_type(a: &Profile, b: &Profile) -> bool {
    a.time_unix_nano == b.time_unix_nano
        && a.duration_nano == b.duration_nano
        && a.period_type == b.period_type
        && a.period == b.period
        && a.attributes == b.attributes
        && a.dropped_attributes_count == b.dropped_attributes_count
        && a.comments == b.comments
        && (a.drop_frames, a.keep_frames, a.doc_url) == (b.drop_frames, b.keep_frames, b.doc_url)
        && (b.original_payload.is_none() || a.original_payload == b.original_payload)
}

fn has_equal_identities(a: &Samples, b: &Samples) -> bool {
    matches!(
        (&a.observations, &b.observations),
        (Observations::Totals(_), Observations::Totals(_))
    ) && a.stacks == b.stacks
        && a.attributes == b.attributes
        && a.links == b.links
}

/// The profile that a group amounts to, its types in the order of pprof.
fn one(group: Vec<Received>, scope: &ScopeTypes) -> Option<Profile> {
    let order = match scope.order.len() == group.len() {
        true => scope.order.clone(),
        false => (0..group.len()).collect(),
    };
    // pprof shows the last type first if it names no default, OTLP the first that was sent
    let first = group.first().map(|first| &first.profile);
    let shown = first.and_then(|profile| profile.sample_types.first()).copied();
    let is_implied = scope.order.len() == group.len() && order.first().is_some_and(|first| first + 1 == group.len());
    let default = match shown {
        _ if scope.default.is_set() => scope.default,
        Some(shown) if group.len() > 1 && !is_implied => shown.kind,
        _ => first?.default_sample_type,
    };
    let mut ordered: Vec<(usize, Received)> = order.into_iter().zip(group).collect();
    let siblings = u32::try_from(ordered.len().saturating_sub(1)).unwrap_or(u32::MAX);
    ordered.sort_by_key(|(position, _)| *position);
    let mut profiles: Vec<Received> = ordered.into_iter().map(|(_, profile)| profile).collect();
    let payload = profiles.iter_mut().find_map(|one| one.profile.original_payload.take());
    let joined = match profiles.len() {
        0 | 1 => alone(profiles.pop()?),
        _ => interleave(profiles)?,
    };
    Some(Profile {
        default_sample_type: default,
        original_payload: payload,
        siblings,
        ..joined
    })
}

/// A profile that no other joins, with samples of its own.
fn alone(received: Received) -> Profile {
    let mut profile = received.profile;
    if let Some(values) = received.twin_values {
        Arc::make_mut(&mut profile.samples).observations = Observations::Totals(values);
    }
    profile
}

fn interleave(mut profiles: Vec<Received>) -> Option<Profile> {
    let columns: Vec<&[i64]> = profiles
        .iter()
        .map(|one| match (&one.twin_values, &one.profile.samples.observations) {
            (Some(values), _) | (None, Observations::Totals(values)) => values.as_slice(),
            (None, Observations::Series(_)) => &[],
        })
        .collect();
    let rows = profiles.first()?.profile.samples.len();
    let mut values = vec![0; rows * columns.len()];
    for (i, column) in columns.iter().enumerate() {
        let cells = values.iter_mut().skip(i).step_by(columns.len());
        for (cell, value) in cells.zip(*column) {
            *cell = *value;
        }
    }
    let sample_types = profiles
        .iter()
        .flat_map(|one| one.profile.sample_types.clone())
        .collect();
    let mut ids: Vec<_> = profiles
        .iter()
        .map(|one| one.profile.ids.first().copied().unwrap_or_default())
        .collect();
    if ids.iter().all(|id| *id == [0; 16]) {
        ids.clear();
    }
    // twins share their samples: only the last that is left changes them without a copy
    profiles.truncate(1);
    let mut first = profiles.pop()?.profile;
    let samples = Arc::make_mut(&mut first.samples);
    samples.observations = Observations::Totals(values);
    Some(Profile {
        sample_types,
        ids,
        ..first
    })
}
