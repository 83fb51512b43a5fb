//! An order of rows in which all that was called from one place stands together, at every depth.
//!
//! Stacks are compared from the root, frame by frame, by the names of the functions (those that a frame inlines belong to it); then by all that
//! their frames say; then by attributes and link. Only what is said counts and no id does, so the same profile has the same order
//! whichever format it came in.

use super::content::{self, mix};
use crate::profile::{
    AttributeSetId, Dictionary, LocationId, Observations, ProfileRef, Samples, Stack, StackId, Table,
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
        let stacks = Paths::of(d, &places, used.map(|(stack, _)| stack)).rank(d, &places);
        let set_of = |set: AttributeSetId| {
            let attributes = d.attributes_of(set);
            attributes.fold(0, |sum: u64, a| {
                sum.wrapping_add(content::attribute(d, d.str(a.key), &a.value))
            })
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
        let columns = samples.stacks.iter().zip(&samples.attributes).zip(&samples.links);
        let keys = columns.enumerate().map(|(row, ((stack, set), link))| {
            let rank = self.stacks.get(stack.index()).copied().unwrap_or_default();
            (
                rank,
                mix(at(&self.sets, set.index()), at(&self.links, link.index())),
                row,
            )
        });
        let mut keys: Vec<(u32, u64, usize)> = keys.collect();
        keys.sort_unstable();
        keys.into_iter().map(|(.., row)| row).collect()
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
            let mut add = |hash: u64, value: i64| sum = sum.wrapping_add(hash.wrapping_mul(value as u64));
            match &samples.observations {
                Observations::Totals(values) => {
                    let values = values.get(row * types..(row + 1) * types).unwrap_or_default();
                    for (column, value) in values.iter().enumerate() {
                        add(mix(identity, column as u64), *value);
                    }
                }
                Observations::Series(series) => {
                    add(mix(identity, 0), series.total(row));
                    series
                        .timestamps(row)
                        .iter()
                        .for_each(|time| add(mix(identity, *time), 1));
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

    fn name(&self, id: LocationId) -> u32 {
        self.names.get(id.index()).copied().unwrap_or_default()
    }

    fn said(&self, id: LocationId) -> u64 {
        at(&self.said, id.index())
    }
}

/// Stacks as lists of names, the root first.
struct Paths {
    stacks: Vec<StackId>,
    /// `ends[i]` is where path `i` ends and path `i + 1` begins.
    ends: Vec<usize>,
    names: Vec<u32>,
}

/// Paths up to so many are compared with each other at once.
const FEW: usize = 12;

impl Paths {
    fn of(d: &Dictionary, places: &Places, stacks: impl Iterator<Item = crate::profile::Id<Stack>>) -> Self {
        let mut paths = Self {
            stacks: Vec::new(),
            ends: Vec::new(),
            names: Vec::new(),
        };
        for stack in stacks {
            let frames = d.stacks[stack].iter().rev();
            paths.names.extend(frames.map(|id| places.name(*id)));
            paths.ends.push(paths.names.len());
            paths.stacks.push(stack);
        }
        paths
    }

    /// The frames of a path from a depth on.
    fn below(&self, path: u32, depth: usize) -> &[u32] {
        let path = path as usize;
        let start = path.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(path).copied().unwrap_or_default();
        self.names
            .get(start.unwrap_or_default() + depth..end)
            .unwrap_or_default()
    }

    /// The place of every stack of the dictionary in the order.
    fn rank(&self, d: &Dictionary, places: &Places) -> Vec<u32> {
        let mut sorted: Vec<u32> = (0..self.stacks.len() as u32).collect();
        self.sort(&mut sorted);
        let said = |path: u32| {
            let stack = self.stacks.get(path as usize).copied().unwrap_or_default();
            d.stacks[stack].iter().fold(0, |hash, id| mix(hash, places.said(*id)))
        };
        let mut ranks = vec![0; d.stacks.len()];
        let mut rank = 0;
        for same in sorted.chunk_by(|a, b| self.below(*a, 0) == self.below(*b, 0)) {
            let mut same: Vec<(u64, u32)> = match same {
                [one] => vec![(0, *one)],
                several => several.iter().map(|path| (said(*path), *path)).collect(),
            };
            same.sort_unstable();
            for equal in same.chunk_by(|a, b| a.0 == b.0) {
                rank += 1;
                for (_, path) in equal {
                    let stack = self.stacks.get(*path as usize).copied().unwrap_or_default();
                    if let Some(slot) = ranks.get_mut(stack.index()) {
                        *slot = rank;
                    }
                }
            }
        }
        ranks
    }

    /// Frame by frame, so that what many have in common is read once for each.
    fn sort(&self, paths: &mut [u32]) {
        let mut keys: Vec<(u32, u32)> = Vec::new();
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
            let key = |path: &u32| self.below(*path, depth).first().map_or(0, |name| name + 1);
            keys.clear();
            keys.extend(group.iter().map(|path| (key(path), *path)));
            keys.sort_unstable();
            let mut start = range.start;
            for run in keys.chunk_by(|a, b| a.0 == b.0) {
                let end = start + run.len();
                if run.len() > 1 && run.first().is_some_and(|(key, _)| *key > 0) {
                    open.push((start..end, depth + 1));
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
            let same = common
                .iter()
                .zip(self.below(*other, depth))
                .take_while(|(a, b)| a == b)
                .count();
            common = common.get(..same).unwrap_or_default();
        }
        common.len()
    }
}
