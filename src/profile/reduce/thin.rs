//! Thinning: a profile as it would be, had the profiler looked less often.

use super::content::mix;
use super::grid::{Grid, Ratio, Rounding};
use crate::profile::{Observations, Samples, Series};

/// Where a profile has how often each of its stacks was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// In this column. Of a series, each value is a count, and a timestamp without a value is one.
    Column(usize),
    /// In its only values, each of them a count times this.
    Times(i64),
}

impl Counts {
    /// What a value of the column of counts counts.
    fn of(self, value: i64) -> u64 {
        let count = match self {
            Self::Column(_) => value,
            Self::Times(step) => value.checked_div(step).unwrap_or_default(),
        };
        u64::try_from(count).unwrap_or_default()
    }

    fn column(self) -> usize {
        match self {
            Self::Column(column) => column,
            Self::Times(_) => 0,
        }
    }

    /// How often the stack of a row was seen.
    pub fn of_row(self, samples: &Samples, row: usize, types: usize) -> u64 {
        match &samples.observations {
            Observations::Totals(values) => {
                let value = values.get(row * types + self.column()).copied();
                self.of(value.unwrap_or_default())
            }
            Observations::Series(series) => match series.values(row) {
                [] => series.timestamps(row).len() as u64,
                values => values
                    .iter()
                    .fold(0, |sum: u64, value| sum.saturating_add(self.of(*value))),
            },
        }
    }

    /// How often all stacks were seen.
    pub fn of_all(self, samples: &Samples, types: usize) -> u64 {
        (0..samples.len()).fold(0, |sum, row| sum.saturating_add(self.of_row(samples, row, types)))
    }

    /// Where the counts are once they are thinned.
    pub fn thinned(self, ratio: Ratio) -> Self {
        match self {
            Self::Times(step) => Self::Times(ratio.longer(step).unwrap_or(step)),
            column => column,
        }
    }

    /// The value that says a count of which each stands for more.
    fn value(self, count: u64, ratio: Ratio) -> i64 {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        match self {
            Self::Column(_) => count,
            Self::Times(step) => match ratio.longer(step) {
                Some(longer) => count.saturating_mul(longer),
                None => (count as f64 * step as f64 / ratio.as_f64()).round() as i64,
            },
        }
    }
}

/// Keeps of the counts of `rows` a share, and all else that was measured in proportion.
///
/// Counts are the kept ones; other columns are what they were for each count, divided by the ratio, so they still estimate the
/// whole. A row that was never counted stays as it is. `rows` are in root-first order, as [`Order::rows_in_full`](super::Order::rows_in_full) gives them,
/// all or some; what is left stands in the order in which it stood.
pub fn thin(samples: &Samples, types: usize, counts: Counts, ratio: Ratio, rows: &[usize], seed: u64) -> Samples {
    if ratio.is_one() {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        return samples.pick(types, &rows);
    }
    let thinning = Thinning { types, counts, ratio };
    let grid = Grid::new(ratio, mix(seed, 0));
    match &samples.observations {
        Observations::Totals(values) => {
            let (kept, values) = thinning.totals(values, rows, grid, seed);
            samples.pick_measured(&kept, Observations::Totals(values))
        }
        Observations::Series(series) => {
            let (kept, series) = thinning.series(series, rows, grid);
            samples.pick_measured(&kept, Observations::Series(series))
        }
    }
}

struct Thinning {
    types: usize,
    counts: Counts,
    ratio: Ratio,
}

impl Thinning {
    /// The rows that are left, and their values.
    fn totals(&self, values: &[i64], rows: &[usize], mut grid: Grid, seed: u64) -> (Vec<usize>, Vec<i64>) {
        let starts = (0..self.types as u64).map(|column| mix(seed, 1 + column));
        let mut roundings: Vec<Rounding> = starts.map(Rounding::new).collect();
        let mut thinned = Vec::with_capacity(rows.len() * self.types);
        let mut kept = Vec::with_capacity(rows.len());
        for row in rows {
            let old = values.get(row * self.types..(row + 1) * self.types).unwrap_or_default();
            let count = self
                .counts
                .of(old.get(self.counts.column()).copied().unwrap_or_default());
            let left = grid.keep(count);
            if count == 0 && old.iter().any(|value| *value != 0) {
                kept.push((*row, thinned.len()));
                thinned.extend_from_slice(old);
            } else if left > 0 {
                kept.push((*row, thinned.len()));
                for (column, (value, rounding)) in old.iter().zip(&mut roundings).enumerate() {
                    thinned.push(match column == self.counts.column() {
                        true => self.counts.value(left, self.ratio),
                        false => self.share(*value, count, left, rounding),
                    });
                }
            }
        }
        kept.sort_unstable();
        let values = kept
            .iter()
            .filter_map(|(_, start)| thinned.get(*start..start + self.types));
        let values = values.flatten().copied().collect();
        (kept.into_iter().map(|(row, _)| row).collect(), values)
    }

    /// What `left` of `count` stand for that measured `value` together.
    fn share(&self, value: i64, count: u64, left: u64, rounding: &mut Rounding) -> i64 {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let whole = (value % count == 0).then(|| self.ratio.longer(value / count)).flatten();
        match whole {
            Some(each) => each.saturating_mul(i64::try_from(left).unwrap_or(i64::MAX)),
            None => rounding.round(value as f64 * (left as f64 / count as f64) / self.ratio.as_f64()),
        }
    }

    /// The rows that are left, and their series.
    fn series(&self, series: &Series, rows: &[usize], mut grid: Grid) -> (Vec<usize>, Series) {
        let mut kept: Vec<(usize, Vec<u64>)> = Vec::with_capacity(rows.len());
        for row in rows {
            let counts: Vec<u64> = match series.values(*row) {
                [] => series.timestamps(*row).iter().map(|_| grid.keep(1)).collect(),
                values => values.iter().map(|value| grid.keep(self.counts.of(*value))).collect(),
            };
            if counts.iter().any(|count| *count > 0) {
                kept.push((*row, counts));
            }
        }
        kept.sort_unstable_by_key(|(row, _)| *row);
        let mut thinned = Series::default();
        for (row, counts) in &kept {
            let has_values = !series.values(*row).is_empty();
            let timestamps = series.timestamps(*row).iter().zip(counts);
            let timestamps: Vec<u64> = timestamps
                .filter(|(_, left)| **left > 0)
                .map(|(time, _)| *time)
                .collect();
            let values = counts.iter().filter(|left| has_values && **left > 0);
            let values: Vec<i64> = values.map(|left| self.counts.value(*left, self.ratio)).collect();
            thinned.push(&values, &timestamps);
        }
        (kept.into_iter().map(|(row, _)| row).collect(), thinned)
    }
}
