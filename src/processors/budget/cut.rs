//! Takes the steps that were decided on.

use super::ladder::Step;
use crate::formats::otlp::Scale;
use crate::profile::{Leaving, Profiles, Thinning, thin_profiles, totals_only};

/// What is left of a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Left {
    /// Bytes, as OTLP without compression.
    pub(super) bytes: f64,
    pub(super) rows: f64,
    /// Profiles as received that are gone.
    pub(super) dropped: u64,
}

/// Takes a step with each profile in the same order. Says what is left of each.
pub(super) fn cut(profiles: &mut Profiles, steps: Vec<Step>, key: &str) -> Vec<Left> {
    for keep_linked in [true, false] {
        let rows: Vec<Option<usize>> = steps.iter().map(|step| rows_of(step, keep_linked)).collect();
        if rows.iter().any(Option::is_some) {
            Leaving::ByChance { key, keep_linked }.apply(profiles, &rows);
        }
    }
    let totals: Vec<bool> = steps.iter().map(|step| matches!(step, Step::Totals)).collect();
    if totals.contains(&true) {
        totals_only(profiles, &totals);
    }
    let mut left = drop_from(profiles, &steps);
    let stays = steps.into_iter().filter(|step| !matches!(step, Step::Drop));
    let plans: Vec<Option<Thinning>> = stays.map(plan_of).collect();
    let parts = match plans.iter().any(Option::is_some) {
        true => thin_profiles(profiles, &plans, key).parts,
        false => vec![1; plans.len()],
    };
    weigh(profiles, left.iter_mut().filter(|left| left.dropped == 0), &parts);
    left
}

fn rows_of(step: &Step, linked_last: bool) -> Option<usize> {
    match step {
        Step::Compact { rows, keep_linked } if *keep_linked == linked_last => Some(*rows),
        _ => None,
    }
}

fn plan_of(step: Step) -> Option<Thinning> {
    match step {
        Step::Thin(thinning) => Some(thinning),
        _ => None,
    }
}

fn drop_from(profiles: &mut Profiles, steps: &[Step]) -> Vec<Left> {
    let mut left = Vec::with_capacity(steps.len());
    let mut steps = steps.iter();
    let resources = profiles.edit_resources();
    for scope in resources.iter_mut().flat_map(|resource| &mut resource.scopes) {
        scope.profiles.retain(|profile| {
            let is_dropped = matches!(steps.next(), Some(Step::Drop));
            left.push(Left {
                dropped: if is_dropped { profile.received() } else { 0 },
                ..Left::default()
            });
            !is_dropped
        });
    }
    left
}

/// Weighs what is left of each, in so many parts.
fn weigh<'a>(profiles: &Profiles, left: impl Iterator<Item = &'a mut Left>, parts: &[usize]) {
    let mut scale = Scale::new(profiles.dictionary());
    let mut all = profiles.iter();
    for (left, parts) in left.zip(parts) {
        for at in all.by_ref().take(*parts) {
            left.bytes += scale.bytes(at) as f64;
            left.rows += at.profile.samples.len() as f64;
        }
    }
}
