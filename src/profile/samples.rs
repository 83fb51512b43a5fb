//! The samples of one profile, as columns.

use std::borrow::Cow;

use super::dictionary::{AttributeSetId, LinkId, StackId};

/// The samples of one profile: row `i` of every column is sample `i`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Where the program was.
    pub stacks: Vec<StackId>,
    /// What else is known: thread, labels.
    pub attributes: Vec<AttributeSetId>,
    /// Which span was running.
    pub links: Vec<LinkId>,
    /// What was measured.
    pub observations: Observations,
}

/// What was measured, in one of the two shapes that profilers use.
#[derive(Clone, Debug, PartialEq)]
pub enum Observations {
    /// One value for each sample type of the profile, row by row: sample `i` has
    /// `values[i * types .. (i + 1) * types]`. This is pprof, and OTLP without timestamps.
    Totals(Vec<i64>),
    /// For profiles of one sample type: each sample has a series of values, of timestamps, or of both.
    Series(Series),
}

impl Default for Observations {
    fn default() -> Self {
        Self::Totals(Vec::new())
    }
}

/// Values and timestamps, flat behind offset arrays. Timestamps without values count 1 each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// `value_ends[i]` is where the values of sample `i` end and those of sample `i + 1` begin.
    pub value_ends: Vec<u32>,
    /// The values of all samples.
    pub values: Vec<i64>,
    /// `time_ends[i]` is where the timestamps of sample `i` end.
    pub time_ends: Vec<u32>,
    /// The timestamps of all samples, nanoseconds since the Unix epoch.
    pub timestamps: Vec<u64>,
}

impl Series {
    /// Appends one sample.
    pub fn push(&mut self, values: &[i64], timestamps: &[u64]) {
        self.values.extend_from_slice(values);
        self.value_ends.push(self.values.len() as u32);
        self.timestamps.extend_from_slice(timestamps);
        self.time_ends.push(self.timestamps.len() as u32);
    }

    /// Values of one sample.
    pub fn values(&self, row: usize) -> &[i64] {
        slice(&self.values, &self.value_ends, row)
    }

    /// Timestamps of one sample.
    pub fn timestamps(&self, row: usize) -> &[u64] {
        slice(&self.timestamps, &self.time_ends, row)
    }

    /// What one sample amounts to: the sum of its values, or the count of its timestamps if it has no values.
    pub fn total(&self, row: usize) -> i64 {
        match self.values(row) {
            [] => self.timestamps(row).len() as i64,
            values => values.iter().fold(0i64, |sum, v| sum.saturating_add(*v)),
        }
    }
}

fn slice<'a, T>(items: &'a [T], ends: &[u32], row: usize) -> &'a [T] {
    let start = match row {
        0 => 0,
        _ => ends.get(row - 1).map_or(0, |e| *e as usize),
    };
    let end = ends.get(row).map_or(start, |e| *e as usize);
    items.get(start..end).unwrap_or_default()
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// What sample `row` amounts to in sample type `column` of `types`.
    pub fn total(&self, row: usize, column: usize, types: usize) -> i64 {
        match &self.observations {
            Observations::Totals(values) => values.get(row * types + column).copied().unwrap_or_default(),
            Observations::Series(series) => series.total(row),
        }
    }

    /// The sum over all samples in sample type `column` of `types`.
    pub fn sum(&self, column: usize, types: usize) -> i128 {
        (0..self.len())
            .map(|row| i128::from(self.total(row, column, types)))
            .sum()
    }

    /// Whether some value is below zero, as in the difference of two profiles.
    pub fn has_negative(&self) -> bool {
        let values = match &self.observations {
            Observations::Totals(values) => values,
            Observations::Series(series) => &series.values,
        };
        values.iter().any(|value| *value < 0)
    }

    /// Keeps the rows for which `keep` says yes.
    pub fn retain(&mut self, types: usize, mut keep: impl FnMut(usize) -> bool) {
        let rows: Vec<usize> = (0..self.len()).filter(|row| keep(*row)).collect();
        if rows.len() < self.len() {
            *self = self.pick(types, &rows);
        }
    }

    /// The given rows, in the given order.
    pub fn pick(&self, types: usize, rows: &[usize]) -> Self {
        let observations = match &self.observations {
            Observations::Totals(values) => {
                let mut picked = Vec::with_capacity(rows.len() * types);
                for row in rows {
                    picked.extend_from_slice(values.get(row * types..(row + 1) * types).unwrap_or_default());
                }
                Observations::Totals(picked)
            }
            Observations::Series(series) => {
                let mut picked = Series::default();
                for row in rows {
                    picked.push(series.values(*row), series.timestamps(*row));
                }
                Observations::Series(picked)
            }
        };
        self.pick_measured(rows, observations)
    }

    /// All rows, in the given order.
    pub fn in_order(&self, types: usize, order: &[usize]) -> Cow<'_, Self> {
        match order.is_sorted() {
            true => Cow::Borrowed(self),
            false => Cow::Owned(self.pick(types, order)),
        }
    }

    /// The given rows, at which this was measured.
    pub(super) fn pick_measured(&self, rows: &[usize], observations: Observations) -> Self {
        Self {
            stacks: pick(&self.stacks, rows),
            attributes: pick(&self.attributes, rows),
            links: pick(&self.links, rows),
            observations,
        }
    }

    /// Bytes held, for the memory budget.
    pub fn heap_bytes(&self) -> usize {
        let ids = self.stacks.capacity() + self.attributes.capacity() + self.links.capacity();
        let observed = match &self.observations {
            Observations::Totals(values) => values.capacity() * 8,
            Observations::Series(s) => {
                (s.value_ends.capacity() + s.time_ends.capacity()) * 4
                    + (s.values.capacity() + s.timestamps.capacity()) * 8
            }
        };
        ids * 4 + observed
    }
}

fn pick<T: Copy>(column: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().filter_map(|row| column.get(*row)).copied().collect()
}
