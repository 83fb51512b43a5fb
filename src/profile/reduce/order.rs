//! An order of rows in which all that was called from one place stands together, at every depth.
//!
//! Stacks are compared from the root, frame by frame, by the names of the functions (those that a frame inlines belong to it); then by all that
//! their frames say; then by attributes and link. Only what is said counts and no id does, so the same profile has the same order
//! whichever format it came in.

use super::content::{self, ODD, mix};
use super::counting;
use super::places::Places;
use super::tree::{End, Tree};
use crate::profile::{Attribute, AttributeSetId, Dictionary, Observations, ProfileRef, Samples, StackId, StringId};

/// The order of the stacks of a dictionary that some profiles use.
pub struct Order {
    /// The place of each stack in the order; equal ones share it.
    stacks: Vec<u32>,
    places: Places,
    /// Hash of each set of attributes.
    sets: Vec<u64>,
    links: Vec<u64>,
}

impl Order {
    /// Ranks the stacks that the profiles use. Takes time in proportion to what the dictionary holds, whatever the profiles are.
    pub fn of<'a>(d: &Dictionary, profiles: impl Iterator<Item = ProfileRef<'a>>) -> Self {
        let mut used = vec![false; d.stacks.len()];
        for stack in profiles.flat_map(|at| &at.profile.samples.stacks) {
            if let Some(used) = used.get_mut(stack.index()) {
                *used = true;
            }
        }
        let places = Places::of(d);
        let used = d.stacks.ids().zip(&used).filter(|(_, used)| **used);
        let used: Vec<StackId> = used.map(|(stack, _)| stack).collect();
        let stacks = rank(d, &places, &used);
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
        let link_of = |link: &crate::profile::Link| {
            let [high, low] = [0, 8].map(|at| {
                link.trace_id
                    .iter()
                    .skip(at)
                    .take(8)
                    .fold(0, |n, b| n << 8 | u64::from(*b))
            });
            mix(mix(high, low), u64::from_be_bytes(link.span_id))
        };
        Self {
            stacks,
            places,
            sets: d.attribute_sets.ids().map(set_of).collect(),
            links: d.links.rows().iter().map(link_of).collect(),
        }
    }

    /// The rows of a profile in this order.
    pub fn rows(&self, samples: &Samples) -> Vec<usize> {
        let rank = |stack: &StackId| self.stacks.get(stack.index()).copied().unwrap_or_default();
        let ranks: Vec<u32> = samples.stacks.iter().map(rank).collect();
        let mut sorted = counting::sorted(&ranks);
        let rank = |row: &u32| ranks.get(*row as usize);
        let mut beside: Vec<(u64, u32)> = Vec::new();
        for same in sorted
            .chunk_by_mut(|a, b| rank(a) == rank(b))
            .filter(|same| same.len() > 1)
        {
            beside.clear();
            beside.extend(same.iter().map(|row| (self.beside(samples, *row as usize), *row)));
            beside.sort_unstable();
            for (slot, (_, row)) in same.iter_mut().zip(&beside) {
                *slot = *row;
            }
        }
        sorted.into_iter().map(|row| row as usize).collect()
    }

    /// The hash of what a row says beside its stack.
    fn beside(&self, samples: &Samples, row: usize) -> u64 {
        let set = samples.attributes.get(row).map_or(0, |set| at(&self.sets, set.index()));
        let link = samples.links.get(row).map_or(0, |link| at(&self.links, link.index()));
        mix(set, link)
    }

    /// A number that differs with what the profile says and with `key`, and is always the same for the same of both.
    pub fn seed(&self, key: &str, d: &Dictionary, at_profile: ProfileRef<'_>) -> u64 {
        let profile = at_profile.profile;
        let types = profile.sample_types.iter().chain([&profile.period_type]);
        let words = types
            .flat_map(|of| [of.kind, of.unit])
            .map(|id| content::text(d.str(id)));
        let numbers = [profile.time_unix_nano, profile.duration_nano, profile.period as u64];
        let head = [content::text(key), content::resource(d, at_profile.resource)];
        let head = head.into_iter().chain(words).chain(numbers).fold(0, mix);
        mix(head, self.samples(d, &profile.samples, profile.sample_types.len()))
    }

    /// What the rows say, whatever their order, and whether or not equal ones were joined: values are added up.
    fn samples(&self, d: &Dictionary, samples: &Samples, types: usize) -> u64 {
        let mut sum = 0u64;
        let columns = samples.stacks.iter().zip(&samples.attributes).enumerate();
        for (row, (stack, set)) in columns {
            let leaf = d.stacks[*stack].first().map_or(0, |leaf| self.places.said_at(*leaf));
            let identity = mix(leaf, at(&self.sets, set.index()));
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

/// The place of each stack of the dictionary in the order, where it is used.
fn rank(d: &Dictionary, places: &Places, used: &[StackId]) -> Vec<u32> {
    let mut tree = Tree::new(d, places, used.len());
    let ends: Vec<End> = used.iter().map(|stack| tree.add(*stack)).collect();
    let tree = tree.places();
    let place_of = |end: &End| tree.get(end.node.index()).copied().unwrap_or_default();
    let keys: Vec<u32> = ends.iter().map(place_of).collect();
    let key = |at: &u32| keys.get(*at as usize);
    let said = |at: &u32| ends.get(*at as usize).map_or(0, |end| end.said);
    let mut sorted = counting::sorted(&keys);
    let mut ranks = vec![0; d.stacks.len()];
    let mut rank = 0;
    for same in sorted.chunk_by_mut(|a, b| key(a) == key(b)) {
        if same.len() > 1 {
            same.sort_unstable_by_key(said);
        }
        for equal in same.chunk_by(|a, b| said(a) == said(b)) {
            rank += 1;
            for stack in equal.iter().filter_map(|at| used.get(*at as usize)) {
                if let Some(slot) = ranks.get_mut(stack.index()) {
                    *slot = rank;
                }
            }
        }
    }
    ranks
}
