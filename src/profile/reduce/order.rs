//! An order of rows in which all that was called from one place stands together, at every depth.
//!
//! Stacks are compared from the root, frame by frame, by the names of the functions (those that a frame inlines belong to it); then by all that
//! their frames say; then by attributes and link. Only what is said counts and no id does, so the same profile has the same order
//! whichever format it came in.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::content::{self, ODD, mix, quick};
use crate::profile::{
    Attribute, AttributeSetId, Dictionary, LocationId, Observations, ProfileRef, Samples, StackId, StringId, Table,
};

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
        let stacks = rank(d, &places, used.map(|(stack, _)| stack));
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
        let mut sorted = sorted_by_key(samples.stacks.iter().map(rank));
        let beside = |(_, row): &(u32, u32)| {
            let (set, link) = (samples.attributes.get(*row as usize), samples.links.get(*row as usize));
            let set = set.map_or(0, |set| at(&self.sets, set.index()));
            (mix(set, link.map_or(0, |link| at(&self.links, link.index()))), *row)
        };
        for same in sorted.chunk_by_mut(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            same.sort_unstable_by_key(beside);
        }
        sorted.into_iter().map(|(_, row)| row as usize).collect()
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
            let leaf = d.stacks[*stack].first().map_or(0, |leaf| self.places.said(*leaf));
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

/// What the locations say.
struct Places {
    /// By the names of their functions alone: equal for equal names, and those that inline the same function side by side.
    names: Vec<u32>,
    /// Hash of all they say.
    said: Vec<u64>,
}

impl Places {
    fn of(d: &Dictionary) -> Self {
        let name_of = |table: &Table<_>| -> Vec<u64> {
            let rows = table.rows().iter();
            rows.map(|row: &crate::profile::Function| {
                let name = if row.name.is_set() { row.name } else { row.system_name };
                content::text(d.str(name))
            })
            .collect()
        };
        let functions = name_of(&d.functions);
        let files: Vec<u64> = d
            .mappings
            .rows()
            .iter()
            .map(|row| content::text(d.str(row.filename)))
            .collect();
        let said = d.locations.ids().map(|id| {
            let place = d.locations[id];
            let hash = mix(at(&files, place.mapping.index()), place.address);
            d.lines[id].iter().fold(hash, |hash, line| {
                let name = at(&functions, line.function.index());
                mix(mix(hash, name), mix(line.line as u64, line.column as u64))
            })
        });
        let said: Vec<u64> = said.collect();
        // the outermost first
        let names_of = |id: LocationId| {
            d.lines[id]
                .iter()
                .rev()
                .map(|line| at(&functions, line.function.index()))
        };
        let unnamed = |id: LocationId| mix(at(&files, d.locations[id].mapping.index()), d.locations[id].address);
        let first_of = |id| names_of(id).next().unwrap_or_else(|| unnamed(id));
        let mut sorted: Vec<(u64, LocationId)> = d.locations.ids().map(|id| (first_of(id), id)).collect();
        let further = |id| names_of(id).skip(1);
        sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| further(a.1).cmp(further(b.1))));
        let mut names = vec![0; d.locations.len()];
        let (mut rank, mut before) = (0, None);
        for (first, id) in sorted {
            if before.is_some_and(|(b_first, b)| b_first != first || !further(b).eq(further(id))) {
                rank += 1;
            }
            before = Some((first, id));
            if let Some(slot) = names.get_mut(id.index()) {
                *slot = rank;
            }
        }
        Self { names, said }
    }

    /// The hashes of the names and of all that these frames say.
    fn hashes(&self, frames: &[LocationId]) -> (u64, u64) {
        // four at a time, as there are very many; what goes in is spread over all bits already, or small
        let (mut names, mut said) = ([frames.len() as u64; 4], [0u64; 4]);
        let (fours, rest) = frames.as_chunks::<4>();
        for four in fours {
            for ((id, name), said) in four.iter().zip(&mut names).zip(&mut said) {
                *name = quick(*name, u64::from(self.name(*id)));
                *said = quick(*said, self.said(*id));
            }
        }
        for ((id, name), said) in rest.iter().zip(&mut names).zip(&mut said) {
            *name = quick(*name, u64::from(self.name(*id)));
            *said = quick(*said, self.said(*id));
        }
        (names.into_iter().fold(0, mix), said.into_iter().fold(0, mix))
    }

    fn name(&self, id: LocationId) -> u32 {
        self.names.get(id.index()).copied().unwrap_or_default()
    }

    fn said(&self, id: LocationId) -> u64 {
        at(&self.said, id.index())
    }
}

/// The place of each stack of the dictionary in the order, where it is used.
fn rank(d: &Dictionary, places: &Places, used: impl Iterator<Item = StackId>) -> Vec<u32> {
    let (mut paths, mut known) = (Paths::default(), HashMap::with_hasher(FixedState::default()));
    // of each stack which path it is, and the hash of all that its frames say
    let mut stacks: Vec<(StackId, u32, u64)> = Vec::new();
    for stack in used {
        let frames = &d.stacks[stack];
        let (names, said) = places.hashes(frames);
        let path = *known.entry(names).or_insert_with(|| paths.add(places, frames));
        stacks.push((stack, path, said));
    }
    let place_of = paths.sorted_places();
    let place = |path: u32| place_of.get(path as usize).copied().unwrap_or_default();
    let stack_at = |index: u32| stacks.get(index as usize).copied().unwrap_or_default();
    let mut sorted = sorted_by_key(stacks.iter().map(|(_, path, _)| place(*path)));
    let said = |(_, index): &(u32, u32)| stack_at(*index).2;
    let mut ranks = vec![0; d.stacks.len()];
    let mut rank = 0;
    for same in sorted.chunk_by_mut(|a, b| a.0 == b.0) {
        same.sort_unstable_by_key(said);
        for equal in same.chunk_by(|a, b| said(a) == said(b)) {
            rank += 1;
            for (_, index) in equal {
                if let Some(slot) = ranks.get_mut(stack_at(*index).0.index()) {
                    *slot = rank;
                }
            }
        }
    }
    ranks
}

/// Lists of names, the root first, each once.
#[derive(Default)]
struct Paths {
    /// `ends[i]` is where path `i` ends and path `i + 1` begins.
    ends: Vec<usize>,
    names: Vec<u32>,
}

/// So few paths are compared with each other at once.
const FEW: usize = 24;

impl Paths {
    fn add(&mut self, places: &Places, frames: &[LocationId]) -> u32 {
        self.names.extend(frames.iter().rev().map(|id| places.name(*id)));
        self.ends.push(self.names.len());
        self.ends.len() as u32 - 1
    }

    /// The frames of a path from a depth on.
    fn below(&self, path: u32, depth: usize) -> &[u32] {
        let path = path as usize;
        let start = path.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(path).copied().unwrap_or_default();
        let start = start.unwrap_or_default() + depth;
        self.names.get(start..end).unwrap_or_default()
    }

    /// Of each path its place among the sorted ones.
    fn sorted_places(&self) -> Vec<u32> {
        let mut sorted: Vec<u32> = (0..self.ends.len() as u32).collect();
        self.sort(&mut sorted);
        let mut places = vec![0; sorted.len()];
        for (path, place) in sorted.into_iter().zip(0..) {
            if let Some(slot) = places.get_mut(path as usize) {
                *slot = place;
            }
        }
        places
    }

    /// Two frames at a time, so that what many have in common is read once for each.
    fn sort(&self, paths: &mut [u32]) {
        let mut keys: Vec<(u64, u32)> = Vec::new();
        let mut open = vec![(0..paths.len(), 0)];
        while let Some((range, depth)) = open.pop() {
            let Some(group) = paths.get_mut(range.clone()) else {
                continue;
            };
            if group.len() <= FEW {
                group.sort_unstable_by(|a, b| self.below(*a, depth).cmp(self.below(*b, depth)));
                continue;
            }
            let depth = depth + self.in_common(group, depth);
            // 0 for those that end here
            let key = |path: &u32| match self.below(*path, depth) {
                [] => 0,
                [one] => (u64::from(*one) + 1) << 32,
                [one, two, ..] => (u64::from(*one) + 1) << 32 | (u64::from(*two) + 1),
            };
            keys.clear();
            keys.extend(group.iter().map(|path| (key(path), *path)));
            keys.sort_unstable();
            let mut start = range.start;
            for run in keys.chunk_by(|a, b| a.0 == b.0) {
                let end = start + run.len();
                if run.len() > 1 {
                    open.push((start..end, depth + 2));
                }
                start = end;
            }
            for (slot, (_, path)) in group.iter_mut().zip(&keys) {
                *slot = *path;
            }
        }
    }

    /// How many frames from a depth on all of them have in common.
    fn in_common(&self, group: &[u32], depth: usize) -> usize {
        let Some((first, others)) = group.split_first() else {
            return 0;
        };
        let mut common = self.below(*first, depth);
        for other in others {
            if common.is_empty() {
                break;
            }
            let same = same(common, self.below(*other, depth));
            common = common.get(..same).unwrap_or_default();
        }
        common.len()
    }
}

/// How long the common beginning of two lists is.
fn same(a: &[u32], b: &[u32]) -> usize {
    let eights = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let whole = eights.take_while(|(a, b)| a == b).count() * 8;
    let (a, b) = (a.get(whole..).unwrap_or_default(), b.get(whole..).unwrap_or_default());
    whole + a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The numbers of the keys, sorted by key.
fn sorted_by_key(keys: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    // as one number each: much faster to sort
    let mut keys: Vec<u64> = keys
        .zip(0u64..)
        .map(|(key, number)| u64::from(key) << 32 | number)
        .collect();
    keys.sort_unstable();
    keys.into_iter().map(|key| ((key >> 32) as u32, key as u32)).collect()
}
