//! Whole profiles of fewer rows, and what they say of it.

use std::sync::Arc;

use super::{Choice, ContentHashes, Fewer, OTHER, Order, Reduced, SAMPLING_THRESHOLD, largest};
use crate::profile::{Dictionary, Profile, Profiles, Samples, Value};

/// The function that all but the largest samples become.
pub const OTHER_NAME: &str = "other";

/// How rows beyond a number are left out.
#[derive(Clone, Copy, Debug)]
pub enum Leaving<'a> {
    /// Some are kept by chance and stand for the others: unbiased.
    ByChance {
        /// Tells apart who leaves out, so that two who leave out of the same do not choose alike.
        key: &'a str,
        /// Rows with a link are left out last.
        keep_linked: bool,
    },
    /// The largest are kept, and all others become one of the function `other`: biased.
    AllButLargest,
}

/// What is left of a profile, and what is to be written down of that.
struct Left {
    samples: Samples,
    key: &'static str,
    note: Value,
}

impl Leaving<'_> {
    /// Leaves of each profile as many rows as are said in the same order; those of which nothing is said stay as they are. Says of how many
    /// rows how many are left, in the profiles that changed.
    pub fn apply(self, profiles: &mut Profiles, rows: &[Option<usize>]) -> Reduced {
        let left = match self {
            Self::ByChance { key, keep_linked } => by_chance(profiles, rows, key, keep_linked),
            Self::AllButLargest => largest_of(profiles, rows),
        };
        if left.iter().all(Option::is_none) {
            return Reduced::default();
        }
        let (d, resources) = profiles.edit();
        let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
        let mut reduced = Reduced::default();
        for (profile, left) in scopes.flat_map(|scope| &mut scope.profiles).zip(left) {
            let Some(Left { samples, key, note }) = left else {
                continue;
            };
            reduced.from += profile.samples.len() as u64;
            reduced.to += samples.len() as u64;
            profile.samples = Arc::new(samples);
            // it holds all of the samples
            profile.original_payload = None;
            profile.attributes = d.with_attribute(profile.attributes, key, note);
        }
        reduced
    }
}

fn by_chance(profiles: &Profiles, rows: &[Option<usize>], key: &str, keep_linked: bool) -> Vec<Option<Left>> {
    let d = profiles.dictionary();
    let choices = profiles.iter().zip(rows).map(|(at, rows)| {
        let profile = at.profile;
        Choice::of(&profile.samples, profile.sample_types.len(), (*rows)?, keep_linked)
    });
    let choices: Vec<Option<Choice>> = choices.collect();
    if choices.iter().all(Option::is_none) {
        return Vec::new();
    }
    let changing = profiles.iter().zip(&choices);
    let changing = changing.filter_map(|(at, choice)| Some((&at.profile.samples.stacks, choice.as_ref()?)));
    let stacks = changing.flat_map(|(stacks, choice)| choice.by_chance().iter().filter_map(|row| stacks.get(*row)));
    let mut hashes = ContentHashes::of(d);
    let order = Order::of(&mut hashes, stacks.copied());
    let left = profiles.iter().zip(&choices).map(|(at, choice)| {
        let choice = choice.as_ref()?;
        let Fewer { samples, thresholds } = choice.take(&order, hashes.seed(key, at));
        let thresholds = thresholds.into_iter().enumerate().map(|(column, threshold)| {
            // errors that are independent add up by their squares, and these are in proportion to the threshold
            Value::Double(threshold + threshold_so_far(d, at.profile, column))
        });
        Some(Left {
            samples,
            key: SAMPLING_THRESHOLD,
            note: Value::Array(thresholds.collect()),
        })
    });
    left.collect()
}

fn largest_of(profiles: &mut Profiles, rows: &[Option<usize>]) -> Vec<Option<Left>> {
    let (d, _) = profiles.edit();
    let name = d.strings.push(OTHER_NAME);
    let place = d.push_named(name);
    let other = d.stacks.push(&[place]);
    let left = profiles.iter().zip(rows).map(|(at, rows)| {
        Some(Left {
            samples: largest(&at.profile.samples, at.profile.sample_types.len(), (*rows)?, other)?,
            key: OTHER,
            note: Value::String(name),
        })
    });
    left.collect()
}

fn threshold_so_far(d: &Dictionary, profile: &Profile, column: usize) -> f64 {
    match d.attribute(profile.attributes, SAMPLING_THRESHOLD) {
        Some(Value::Array(thresholds)) => match thresholds.get(column) {
            Some(Value::Double(threshold)) if *threshold > 0.0 && threshold.is_finite() => *threshold,
            _ => 0.0,
        },
        _ => 0.0,
    }
}
