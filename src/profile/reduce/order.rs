//! An order of rows in which all that was called from one place stands together, at every depth.
//!
//! Stacks are compared from the root, frame by frame, by the names of the functions (those that a frame inlines belong to it); then by all that
//! their frames say; then by attributes and link. Only what is said counts and no id does, so the same profile has the same order
//! whichever format it came in.

use super::content::{self, ODD, mix};
use super::counting;
use super::paths::Paths;
use super::places::Places;
use crate::profile::{
    Attribute, AttributeSetId, Dictionary, Link, Observations, ProfileRef, Samples, StackId, StringId,
};

/// The order of some stacks of a dictionary.
pub struct Order {
    /// The place of each stack in the order; equal ones share it.
    places: Vec<u32>,
    /// How many frames the stack in each place shares with the one before it.
    shared: Vec<u32>,
    /// Hash of what the frames of each stack say.
    said: Vec<u64>,
    /// Hash of each set of attributes.
    sets: Vec<u64>,
    links: Vec<u64>,
}

impl Order {
    /// Puts stacks in order, each of which may come several times. Takes time in proportion to what the dictionary holds, however often they do.
    pub fn of(d: &Dictionary, stacks: impl Iterator<Item = StackId>) -> Self {
        let mut used = vec![false; d.stacks.len()];
        for stack in stacks {
            if let Some(used) = used.get_mut(stack.index()) {
                *used = true;
            }
        }
        let used = d.stacks.ids().zip(&used).filter(|(_, used)| **used);
        let used: Vec<StackId> = used.map(|(stack, _)| stack).collect();
        let paths = Paths::of(d, &Places::of(d), &used);
        let sorted = paths.sort();
        let (mut places, mut said) = (vec![0; d.stacks.len()], vec![0; d.stacks.len()]);
        for (stack, (place, hash)) in used.iter().zip(sorted.places.into_iter().zip(paths.said())) {
            if let (Some(known), Some(told)) = (places.get_mut(stack.index()), said.get_mut(stack.index())) {
                (*known, *told) = (place, *hash);
            }
        }
        Self {
            places,
            shared: sorted.shared,
            said,
            sets: sets(d),
            links: d.links.rows().iter().map(link).collect(),
        }
    }

    /// Some rows of a profile in this order.
    pub fn rows(&self, samples: &Samples, rows: &[usize]) -> Vec<usize> {
        let place = |row: &usize| {
            samples
                .stacks
                .get(*row)
                .and_then(|stack| self.places.get(stack.index()))
        };
        let places: Vec<u32> = rows.iter().map(|row| place(row).copied().unwrap_or_default()).collect();
        let mut sorted = counting::sorted(&places);
        let place = |at: &u32| places.get(*at as usize);
        let row = |at: u32| rows.get(at as usize).copied().unwrap_or_default();
        let mut beside: Vec<(u64, u32)> = Vec::new();
        for same in sorted
            .chunk_by_mut(|a, b| place(a) == place(b))
            .filter(|same| same.len() > 1)
        {
            beside.clear();
            beside.extend(same.iter().map(|at| (self.beside(samples, row(*at)), *at)));
            beside.sort_unstable();
            for (slot, (_, at)) in same.iter_mut().zip(&beside) {
                *slot = *at;
            }
        }
        sorted.into_iter().map(row).collect()
    }

    /// The place of a stack.
    pub(super) fn place(&self, stack: StackId) -> usize {
        self.places.get(stack.index()).map_or(0, |place| *place as usize)
    }

    /// How many frames the stacks in two places share from the root on, of which the first is not behind the second; more than there are where
    /// all are called the same, and the most there is where it is one place.
    pub(super) fn shared(&self, first: usize, second: usize) -> u32 {
        let between = self.shared.get(first + 1..=second).unwrap_or_default();
        between.iter().copied().min().unwrap_or(u32::MAX)
    }

    /// The hash of what a row says beside its stack.
    fn beside(&self, samples: &Samples, row: usize) -> u64 {
        let set = samples.attributes.get(row).map_or(0, |set| at(&self.sets, set.index()));
        let link = samples.links.get(row).map_or(0, |link| at(&self.links, link.index()));
        mix(set, link)
    }

    /// A number that differs with what the profile says and with `key`, and is always the same for the same of both. What stacks say counts
    /// where they are in this order.
    pub fn seed(&self, key: &str, d: &Dictionary, at_profile: ProfileRef<'_>) -> u64 {
        let profile = at_profile.profile;
        let types = profile.sample_types.iter().chain([&profile.period_type]);
        let words = types
            .flat_map(|of| [of.kind, of.unit])
            .map(|id| content::text(d.str(id)));
        let numbers = [profile.time_unix_nano, profile.duration_nano, profile.period as u64];
        let head = [content::text(key), content::resource(d, at_profile.resource)];
        let head = head.into_iter().chain(words).chain(numbers).fold(0, mix);
        mix(head, self.samples(&profile.samples, profile.sample_types.len()))
    }

    /// What the rows say, whatever their order, and whether or not equal ones were joined: values are added up.
    fn samples(&self, samples: &Samples, types: usize) -> u64 {
        let mut sum = 0u64;
        let columns = samples.stacks.iter().zip(&samples.attributes).enumerate();
        for (row, (stack, set)) in columns {
            let identity = mix(at(&self.said, stack.index()), at(&self.sets, set.index()));
            let mut add = |hash: u64, value: u64| sum = sum.wrapping_add(hash.wrapping_mul(value));
            match &samples.observations {
                Observations::Totals(values) => {
                    let values = values.get(row * types..(row + 1) * types).unwrap_or_default();
                    // a sum of products as well, so that it adds up
                    let values = values.iter().zip(1u64..).fold(0u64, |sum, (value, column)| {
                        sum.wrapping_add((*value as u64).wrapping_mul(ODD.wrapping_mul(2 * column + 1)))
                    });
                    add(identity, values);
                }
                Observations::Series(series) => {
                    add(mix(identity, 0), series.total(row) as u64);
                    let times = series.timestamps(row).iter();
                    times.for_each(|time| add(mix(identity, *time), 1));
                }
            }
        }
        sum
    }
}

fn at(hashes: &[u64], index: usize) -> u64 {
    hashes.get(index).copied().unwrap_or_default()
}

/// The hash of each set of attributes.
fn sets(d: &Dictionary) -> Vec<u64> {
    // many formats have an attribute for each sample, of few keys
    let mut key = (StringId::UNSET, content::text(""));
    let mut attribute_of = |a: &Attribute| {
        if a.key != key.0 {
            key = (a.key, content::text(d.str(a.key)));
        }
        content::attribute(d, key.1, &a.value)
    };
    let attributes: Vec<u64> = d.attributes.rows().iter().map(&mut attribute_of).collect();
    let set_of = |set: AttributeSetId| {
        let attributes = d.attribute_sets[set].iter().map(|id| at(&attributes, id.index()));
        attributes.fold(0, u64::wrapping_add)
    };
    d.attribute_sets.ids().map(set_of).collect()
}

/// The hash of a link.
fn link(link: &Link) -> u64 {
    let [high, low] = [0, 8].map(|at| {
        let eight = link.trace_id.iter().skip(at).take(8);
        eight.fold(0, |n, b| n << 8 | u64::from(*b))
    });
    mix(mix(high, low), u64::from_be_bytes(link.span_id))
}
