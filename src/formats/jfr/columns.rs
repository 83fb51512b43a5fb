//! The samples of a recording by sort of profile; those that say the same about where and who are summed as they come.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::sorts::{CPU_PERIOD, SORTS, Sort, Types};
use crate::formats::attributes;
use crate::profile::{AttributeSetId, Id, Interner, LinkId, Observations, Profile, Samples, StackId, ValueType};

/// Values of one sample: as many as the sort has types, the rest is not looked at.
pub(super) type Values = [i64; 2];

/// Where and who a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub stack: StackId,
    pub attributes: AttributeSetId,
    pub link: LinkId,
}

/// All samples.
#[derive(Debug)]
pub(super) struct Columns {
    /// By sort.
    list: Vec<Column>,
    hasher: RandomState,
    rows: usize,
}

#[derive(Debug, Default)]
struct Column {
    identities: Vec<Identity>,
    values: Vec<Values>,
    index: HashTable<u32>,
    period: i64,
    lost: i64,
}

/// What a row takes in lists that double, in the index, and in the columns that it ends in.
const ROW_BYTES: usize = 3 * (size_of::<Identity>() + size_of::<Values>()) + 2 * size_of::<u32>();

impl Columns {
    /// None yet.
    pub fn new() -> Self {
        Self {
            list: SORTS.iter().map(|_| Column::default()).collect(),
            hasher: RandomState::default(),
            rows: 0,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About the bytes that they take.
    pub fn bytes(&self) -> usize {
        self.rows * ROW_BYTES
    }

    /// Adds a sample.
    #[inline]
    pub fn add(&mut self, sort: Sort, identity: Identity, values: Values) {
        let Some(column) = self.list.get_mut(sort as usize) else {
            return;
        };
        let hasher = &self.hasher;
        let hash = hasher.hash_one(identity);
        let identities = &column.identities;
        let known = column
            .index
            .find(hash, |row| identities.get(*row as usize) == Some(&identity));
        if let Some(sums) = known.and_then(|row| column.values.get_mut(*row as usize)) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = sum.saturating_add(value);
            }
            return;
        }
        let row = column.identities.len() as u32;
        column.identities.push(identity);
        column.values.push(values);
        let identities = &column.identities;
        column.index.insert_unique(hash, row, |row| {
            identities
                .get(*row as usize)
                .map_or(0, |identity| hasher.hash_one(identity))
        });
        self.rows += 1;
    }

    /// What lies between two samples.
    pub fn period(&mut self, sort: Sort, period: i64) {
        if let Some(column) = self.list.get_mut(sort as usize) {
            column.period = period;
        }
    }

    /// Counts samples that the profiler could not keep.
    pub fn lose(&mut self, sort: Sort, samples: i64) {
        if let Some(column) = self.list.get_mut(sort as usize) {
            column.lost = column.lost.saturating_add(samples.max(0));
        }
    }

    /// One profile for each sort that has samples.
    pub fn profiles(mut self, interner: &mut Interner) -> Vec<Profile> {
        let mut told: Vec<Types> = Vec::new();
        let mut profiles = Vec::new();
        for spec in &SORTS {
            let column = self.list.get_mut(spec.sort as usize).map(std::mem::take);
            let Some(column) = column.filter(|column| !column.identities.is_empty()) else {
                continue;
            };
            let is_beside = told.contains(&spec.types);
            let types = spec.beside.filter(|_| is_beside).unwrap_or(spec.types);
            told.push(types);
            let period_type = match (is_beside, types) {
                (true, [.., last]) if spec.period_type == CPU_PERIOD => *last,
                _ => spec.period_type,
            };
            let default_sample_type = match types {
                [first, _] if column.only_counts() => interner.string(first.0),
                _ => Id::UNSET,
            };
            profiles.push(Profile {
                sample_types: types.iter().map(|of| value_type(*of, interner)).collect(),
                default_sample_type,
                period_type: value_type(period_type, interner),
                attributes: column.attributes(interner),
                period: column.period,
                samples: Arc::new(column.samples(types.len())),
                ..Profile::default()
            });
        }
        profiles
    }
}

impl Column {
    /// Whether nothing was measured beside the count: no size of an old object before JDK 21. What is shown by default would be empty.
    fn only_counts(&self) -> bool {
        self.values.iter().all(|[_, measured]| *measured == 0)
    }

    fn attributes(&self, interner: &mut Interner) -> AttributeSetId {
        if self.lost == 0 {
            return Id::UNSET;
        }
        let lost = attributes::number(interner, super::LOST_SAMPLES, self.lost);
        interner.attribute_set(&[lost])
    }

    fn samples(self, types: usize) -> Samples {
        let of_row = |values: &Values| values.map(|value| value);
        let values = self
            .values
            .iter()
            .flat_map(|values| of_row(values).into_iter().take(types));
        Samples {
            stacks: self.identities.iter().map(|identity| identity.stack).collect(),
            attributes: self.identities.iter().map(|identity| identity.attributes).collect(),
            links: self.identities.iter().map(|identity| identity.link).collect(),
            observations: Observations::Totals(values.collect()),
        }
    }
}

fn value_type((kind, unit): (&str, &str), interner: &mut Interner) -> ValueType {
    ValueType {
        kind: interner.string(kind),
        unit: interner.string(unit),
    }
}
