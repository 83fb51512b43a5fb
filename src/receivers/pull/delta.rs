//! Counters become what was added to them since the scrape before.
//!
//! Go's heap, mutex and block profiles count from the start of the process on. Stacks are told apart by what they hold, for ids
//! mean something else in every answer; of the scrape before only hashes and numbers are kept.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use crate::pipeline::{OutOfBudget, Permit};
use crate::profile::{Attribute, COUNTERS, Dictionary, Observations, Profile, Profiles, Samples, Value};

/// The counters of one scrape.
#[derive(Debug)]
pub(super) struct Counters {
    /// When they were read, nanoseconds since the Unix epoch.
    time_unix_nano: u64,
    /// By the hash of stack, labels and type; sorted, without zeros.
    values: Vec<(u64, i64)>,
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// There was nothing to compare with.
    First,
    /// A counter shrank or is gone: the process is another one, and the comparison would be with a stranger.
    Restarted,
    /// Counters became what was added.
    Subtracted,
}

impl Compared {
    /// The metric label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Restarted => "restarted",
            Self::Subtracted => "subtracted",
        }
    }
}

impl Counters {
    /// Bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * size_of::<(u64, i64)>()
    }

    /// Sorts, and sums what has the same hash: Go may write one stack several times.
    fn of(time_unix_nano: u64, mut values: Vec<(u64, i64)>) -> Self {
        values.sort_unstable();
        values.dedup_by(|(key, value), (kept, sum)| {
            let same = key == kept;
            if same {
                *sum = sum.saturating_add(*value);
            }
            same
        });
        values.retain(|(_, value)| *value != 0);
        values.shrink_to_fit();
        Self { time_unix_nano, values }
    }

    fn get(&self, key: u64) -> i64 {
        let found = self.values.binary_search_by_key(&key, |(key, _)| *key);
        let value = found.ok().and_then(|at| self.values.get(at));
        value.map_or(0, |(_, value)| *value)
    }

    /// Whether these can be the counters of `before` after some time.
    fn go_on_from(&self, before: &Self) -> bool {
        before.values.iter().all(|(key, value)| self.get(*key) >= *value)
    }
}

/// Leaves in `profiles` what was added since `before`; without that, or if the process is another one, only what is no counter.
/// The answer holds the counters to remember; none if there are no counters here.
pub(super) fn subtract(
    profiles: &mut Profiles,
    before: Option<&Counters>,
    hasher: &RandomState,
    room: &Permit,
) -> Result<Option<(Compared, Counters)>, OutOfBudget> {
    let dictionary = profiles.dictionary();
    let is_counter = |of: &Profile| -> Vec<bool> {
        // a series has moments of its own, which no counter has
        let totals = matches!(of.samples.observations, Observations::Totals(_));
        let kinds = of.sample_types.iter().map(|one| dictionary.str(one.kind));
        kinds.map(|kind| totals && COUNTERS.contains(&kind)).collect()
    };
    let columns: Vec<Vec<bool>> = profiles.iter().map(|at| is_counter(at.profile)).collect();
    if !columns.iter().flatten().any(|counts| *counts) {
        return Ok(None);
    }
    let tables = dictionary.functions.len() + dictionary.locations.len() + dictionary.attributes.len();
    let cells: usize = profiles
        .iter()
        .zip(&columns)
        .map(|(at, columns)| at.profile.samples.len() * columns.len())
        .sum();
    // hashes of rows and cells, counters, and what is left of those
    let taken = tables * size_of::<u64>() + cells * 5 * size_of::<u64>();
    room.grow(taken)?;
    let hashes = Hashes::of(dictionary, hasher);
    let keys: Vec<Vec<u64>> = profiles.iter().map(|at| hashes.cells(dictionary, at.profile)).collect();
    let now = read(profiles, &columns, &keys);
    let (compared, mut added) = match before {
        None => (Compared::First, None),
        Some(before) if !now.go_on_from(before) => (Compared::Restarted, None),
        Some(before) => {
            let added = |(key, value): &(u64, i64)| (*key, value.saturating_sub(before.get(*key)));
            let added: Vec<(u64, i64)> = now.values.iter().map(added).collect();
            (Compared::Subtracted, Some((before.time_unix_nano, added)))
        }
    };
    let mut each = columns.iter().zip(&keys);
    for scope in profiles
        .edit_resources()
        .iter_mut()
        .flat_map(|resource| &mut resource.scopes)
    {
        for profile in &mut scope.profiles {
            let Some((columns, keys)) = each.next() else { break };
            if !columns.contains(&true) {
                continue;
            }
            match &mut added {
                Some((since, added)) => replace(profile, columns, keys, added, *since),
                None => leave_out(profile, columns),
            }
            let types = profile.sample_types.len();
            let samples = Arc::make_mut(&mut profile.samples);
            let zeros = rows_of_zeros(samples, types);
            samples.retain(types, |row| zeros.get(row).is_none_or(|zero| !*zero));
        }
        scope.profiles.retain(|profile| !profile.samples.is_empty());
    }
    room.shrink(taken);
    Ok(Some((compared, now)))
}

fn read(profiles: &Profiles, columns: &[Vec<bool>], keys: &[Vec<u64>]) -> Counters {
    let (mut values, mut time) = (Vec::new(), 0);
    for ((at, columns), keys) in profiles.iter().zip(columns).zip(keys) {
        let Observations::Totals(cells) = &at.profile.samples.observations else {
            continue;
        };
        if !columns.contains(&true) {
            continue;
        }
        time = at.profile.time_unix_nano;
        let counts = columns.iter().cycle().zip(keys.iter().zip(cells));
        values.extend(
            counts
                .filter(|(counts, _)| **counts)
                .map(|(_, (key, value))| (*key, *value)),
        );
    }
    Counters::of(time, values)
}

/// Puts what was added in the place of the counters. Of several rows with one key the first gets it all.
fn replace(profile: &mut Profile, columns: &[bool], keys: &[u64], added: &mut [(u64, i64)], since: u64) {
    if let Observations::Totals(cells) = &mut Arc::make_mut(&mut profile.samples).observations {
        let counters = columns.iter().cycle().zip(keys.iter().zip(cells));
        for (_, (key, cell)) in counters.filter(|(counts, _)| **counts) {
            let found = added.binary_search_by_key(key, |(key, _)| *key);
            let left = found.ok().and_then(|at| added.get_mut(at));
            *cell = left.map_or(0, |(_, value)| std::mem::take(value));
        }
    }
    if (1..profile.time_unix_nano).contains(&since) {
        profile.duration_nano = profile.time_unix_nano - since;
        profile.time_unix_nano = since;
    }
}

/// Takes the counters out: since when they count is not known.
fn leave_out(profile: &mut Profile, columns: &[bool]) {
    let is_kept = |at: usize| columns.get(at).is_none_or(|counts| !*counts);
    let samples = Arc::make_mut(&mut profile.samples);
    if let Observations::Totals(cells) = &mut samples.observations {
        let types = columns.len().max(1);
        let mut at = 0;
        cells.retain(|_| {
            at += 1;
            is_kept((at - 1) % types)
        });
    }
    let gone = |kept: &mut usize| {
        *kept += 1;
        is_kept(*kept - 1)
    };
    let (mut of_type, mut of_id) = (0, 0);
    let before = profile.sample_types.clone();
    profile.sample_types.retain(|_| gone(&mut of_type));
    profile.ids.retain(|_| gone(&mut of_id));
    let default = profile.default_sample_type;
    let is_left = profile.sample_types.iter().any(|of| of.kind == default);
    if !is_left && before.iter().any(|of| of.kind == default) {
        profile.default_sample_type = crate::profile::Id::UNSET;
    }
    if profile.sample_types.is_empty() {
        *samples = Samples::default();
    }
}

/// For every row whether it holds nothing but zeros.
fn rows_of_zeros(samples: &Samples, types: usize) -> Vec<bool> {
    let rows = 0..samples.len();
    rows.map(|row| (0..types).all(|column| samples.total(row, column, types) == 0))
        .collect()
}

/// Hashes of rows by what they hold.
struct Hashes<'a> {
    hasher: &'a RandomState,
    locations: Vec<u64>,
    attributes: Vec<u64>,
}

impl<'a> Hashes<'a> {
    fn of(dictionary: &Dictionary, hasher: &'a RandomState) -> Self {
        let function = |row: &crate::profile::Function| {
            let texts = [row.name, row.system_name, row.filename].map(|id| dictionary.str(id));
            hasher.hash_one((texts, row.start_line))
        };
        let functions: Vec<u64> = dictionary.functions.rows().iter().map(function).collect();
        let location = |id| {
            let mut state = hasher.build_hasher();
            dictionary.locations[id].address.hash(&mut state);
            for line in &dictionary.lines[id] {
                functions.get(line.function.index()).hash(&mut state);
                (line.line, line.column).hash(&mut state);
            }
            state.finish()
        };
        let attribute = |row: &Attribute| {
            let mut state = hasher.build_hasher();
            (dictionary.str(row.key), dictionary.str(row.unit)).hash(&mut state);
            hash_value(dictionary, &row.value, &mut state);
            state.finish()
        };
        Self {
            hasher,
            locations: dictionary.locations.ids().map(location).collect(),
            attributes: dictionary.attributes.rows().iter().map(attribute).collect(),
        }
    }

    /// One key for every value of every sample, in the order of the values.
    fn cells(&self, dictionary: &Dictionary, profile: &Profile) -> Vec<u64> {
        let kinds = profile
            .sample_types
            .iter()
            .map(|of| self.hasher.hash_one(dictionary.str(of.kind)));
        let kinds: Vec<u64> = kinds.collect();
        let mut keys = Vec::with_capacity(profile.samples.len() * kinds.len());
        for (stack, labels) in profile.samples.stacks.iter().zip(&profile.samples.attributes) {
            let mut state = self.hasher.build_hasher();
            for location in &dictionary.stacks[*stack] {
                self.locations.get(location.index()).hash(&mut state);
            }
            // labels come in any order
            let hash = |id: &crate::profile::AttributeId| self.attributes.get(id.index()).copied().unwrap_or_default();
            let labels = dictionary.attribute_sets[*labels].iter().map(hash);
            labels.fold(0_u64, u64::wrapping_add).hash(&mut state);
            let row = state.finish();
            keys.extend(kinds.iter().map(|kind| self.hasher.hash_one((row, kind))));
        }
        keys
    }
}

fn hash_value(dictionary: &Dictionary, value: &Value, state: &mut impl Hasher) {
    match value {
        Value::String(id) => dictionary.str(*id).hash(state),
        Value::Array(values) => values.iter().for_each(|value| hash_value(dictionary, value, state)),
        Value::Map(entries) => entries.iter().for_each(|(key, value)| {
            dictionary.str(*key).hash(state);
            hash_value(dictionary, value, state);
        }),
        plain => plain.hash(state),
    }
}

#[cfg(test)]
mod tests;
