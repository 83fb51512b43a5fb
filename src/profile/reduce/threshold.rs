//! Threshold sampling: the few rows that tell most of a profile, and of the others some that stand for all.

use std::borrow::Cow;

use super::content::mix;
use super::order::{Order, Placed};
use super::pairing::Pairing;
use crate::profile::{AttributeSetId, LinkId, Observations, Samples, Series, StackId};

#[cfg(test)]
mod tests;

/// A profile of fewer rows, and how wrong it may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Fewer {
    /// What is left, in the order in which it stood.
    pub samples: Samples,
    /// For each type the value below which rows were left out by chance, of those without a link where these have another. A function of which
    /// the profile says `s` has a standard deviation of at most `sqrt(threshold * s)`, and what is called from one place is off by less than
    /// a threshold, or two where functions are inlined.
    pub thresholds: Vec<f64>,
}

/// How a profile comes to have fewer rows: those above a threshold stay as they are, and of the others some stay by chance.
///
/// A row counts by the largest share that it has in the sum of a type. Those below the threshold are kept with the chance that their share has
/// in it, as evenly as the call tree allows ([`Pairing`]), and all values of one that is are scaled up by the inverse of its chance. The values so
/// scaled are then brought to the exact sum of their type: a factor that is as close to one as the type's error in all, and the same for all of
/// them.
///
/// Rows that stay as they are need no place in that tree: whatever is called from one place is off by what its other rows are off.
pub struct Choice<'a> {
    samples: &'a Samples,
    columns: Columns<'a>,
    levels: Levels,
    by_chance: Vec<usize>,
}

impl<'a> Choice<'a> {
    /// Of at most `most` rows. None if there are no more than that, or if a value is below zero: such have no share in a whole.
    ///
    /// With `keep_linked` rows with a link have a threshold of their own: as low as leaves the others half of the rows that they would have.
    pub fn of(samples: &'a Samples, types: usize, most: usize, keep_linked: bool) -> Option<Self> {
        if samples.len() <= most || most <= types {
            return None;
        }
        let columns = Columns::of(samples, types)?;
        let levels = columns.levels(most, keep_linked);
        let mut by_chance = Vec::with_capacity(samples.len());
        for (row, share) in columns.shares.iter().enumerate() {
            if *share > 0.0 && *share < columns.level_of(row, levels) {
                by_chance.push(row);
            }
        }
        Some(Self {
            samples,
            columns,
            levels,
            by_chance,
        })
    }

    /// The rows of which some stay by chance.
    pub fn by_chance(&self) -> &[usize] {
        &self.by_chance
    }

    /// With what chance each row stays.
    pub(super) fn chances(&self) -> Vec<f64> {
        let chance = |(row, share): (usize, &f64)| match self.columns.level_of(row, self.levels) {
            level if *share >= level => 1.0,
            level => share / level,
        };
        self.columns.shares.iter().enumerate().map(chance).collect()
    }

    /// What is left. The order knows the stacks of the rows that stay by chance.
    pub fn take(&self, order: &Order, seed: u64) -> Fewer {
        let mut kept = Vec::new();
        for (row, share) in self.columns.shares.iter().enumerate() {
            if *share > 0.0 && *share >= self.columns.level_of(row, self.levels) {
                kept.push(Kept { row, scale: 1.0 });
            }
        }
        kept.extend(self.choose(order, seed));
        let values = self.columns.balance(&kept, seed);
        let highest = self.levels.linked.max(self.levels.others);
        Fewer {
            samples: write(self.samples, self.columns.types, &kept, &values),
            thresholds: self.columns.sums.iter().map(|sum| highest * *sum as f64).collect(),
        }
    }

    /// Those that stay by chance, in the order of the call tree.
    fn choose(&self, order: &Order, seed: u64) -> Vec<Kept> {
        let rows = order.placed(self.samples, &self.by_chance);
        let draws = mix(seed, 0);
        let (mut of_linked, mut of_others) = (Drawing::new(mix(draws, 0)), Drawing::new(draws));
        let mut last = 0;
        for (position, Placed { row, place }) in rows.iter().enumerate() {
            let shared = order.shared(last, *place);
            of_linked.shared = of_linked.shared.min(shared);
            of_others.shared = of_others.shared.min(shared);
            last = *place;
            let row = *row as usize;
            let drawing = match self.levels.are_apart() && self.columns.is_linked(row) {
                true => &mut of_linked,
                false => &mut of_others,
            };
            let shared = std::mem::replace(&mut drawing.shared, u32::MAX);
            drawing.pairing.add(position, self.chance_of(row), shared);
        }
        let mut is_kept = vec![false; rows.len()];
        for position in [of_linked, of_others]
            .into_iter()
            .flat_map(|drawing| drawing.pairing.finish())
        {
            if let Some(is_kept) = is_kept.get_mut(position) {
                *is_kept = true;
            }
        }
        let kept = rows.into_iter().zip(is_kept).filter(|(_, is_kept)| *is_kept);
        let kept = kept.map(|(placed, _)| placed.row as usize).map(|row| Kept {
            row,
            scale: 1.0 / self.chance_of(row),
        });
        kept.collect()
    }

    /// With what chance a row of those below the threshold stays.
    fn chance_of(&self, row: usize) -> f64 {
        let share = self.columns.shares.get(row).copied().unwrap_or_default();
        share / self.columns.level_of(row, self.levels)
    }
}

/// The rows of one threshold among which is drawn.
struct Drawing {
    pairing: Pairing,
    /// How many frames all rows from the last of them on share.
    shared: u32,
}

impl Drawing {
    fn new(seed: u64) -> Self {
        Self {
            pairing: Pairing::new(seed),
            shared: u32::MAX,
        }
    }
}

/// Leaves the largest rows as they are, and puts the sum of all others on the stack `other`: `most` rows together.
///
/// Unlike a [`Choice`] by chance it is wrong in one direction: whatever is not among the largest is told to have nothing. None as there.
pub fn largest(samples: &Samples, types: usize, most: usize, other: StackId) -> Option<Samples> {
    if samples.len() <= most || most <= types {
        return None;
    }
    let columns = Columns::of(samples, types)?;
    let mut rows: Vec<usize> = (0..samples.len()).collect();
    let share = |row: &usize| columns.shares.get(*row).copied().unwrap_or_default();
    // of equal ones the first, so that the same are left every time
    rows.select_nth_unstable_by(most - 1, |a, b| share(b).total_cmp(&share(a)).then(a.cmp(b)));
    rows.truncate(most - 1);
    rows.sort_unstable();
    let kept = samples.pick(types, &rows);
    let rest = columns.sums.iter().enumerate().map(|(column, sum)| {
        let rest = sum - kept.sum(column, types);
        i64::try_from(rest).unwrap_or(i64::MAX)
    });
    let rest: Vec<i64> = rest.collect();
    Some(with_row(kept, other, &rest))
}

/// Some samples and one more, of which only the stack is known.
fn with_row(mut samples: Samples, stack: StackId, values: &[i64]) -> Samples {
    samples.stacks.push(stack);
    samples.attributes.push(AttributeSetId::UNSET);
    samples.links.push(LinkId::UNSET);
    match &mut samples.observations {
        Observations::Totals(all) => all.extend_from_slice(values),
        Observations::Series(series) => series.push(values, &[]),
    }
    samples
}

/// A row that stays.
#[derive(Clone, Copy)]
struct Kept {
    row: usize,
    /// The inverse of its chance; one for those that had to stay.
    scale: f64,
}

/// The share from which on rows stay for certain, of those with a link and of the others.
#[derive(Clone, Copy)]
struct Levels {
    linked: f64,
    others: f64,
}

impl Levels {
    fn are_apart(self) -> bool {
        self.linked != self.others
    }
}

/// What every row amounts to in every type.
struct Columns<'a> {
    links: &'a [LinkId],
    /// Row by row.
    values: Cow<'a, [i64]>,
    types: usize,
    sums: Vec<i128>,
    /// The largest share of each row; infinite for the largest of each type, so that each has a row that stays.
    shares: Vec<f64>,
}

impl<'a> Columns<'a> {
    fn of(samples: &'a Samples, types: usize) -> Option<Self> {
        let values = match &samples.observations {
            Observations::Totals(values) => Cow::from(values),
            Observations::Series(series) => (0..samples.len()).map(|row| series.total(row)).collect(),
        };
        if types == 0 || samples.has_negative() {
            return None;
        }
        let mut sums = vec![0i128; types];
        let mut largest = vec![(0, 0); types];
        for (row, values) in values.chunks_exact(types).enumerate() {
            for ((sum, largest), value) in sums.iter_mut().zip(&mut largest).zip(values) {
                *sum += i128::from(*value);
                if *value >= largest.0 {
                    *largest = (*value, row);
                }
            }
        }
        let of_sum: Vec<f64> = sums.iter().map(|sum| 1.0 / (*sum).max(1) as f64).collect();
        let share = |values: &[i64]| {
            let shares = values.iter().zip(&of_sum).map(|(value, of_sum)| *value as f64 * of_sum);
            shares.fold(0.0, f64::max)
        };
        let mut shares: Vec<f64> = values.chunks_exact(types).map(share).collect();
        for (value, row) in largest {
            if let Some(share) = shares.get_mut(row).filter(|_| value > 0) {
                *share = f64::INFINITY;
            }
        }
        Some(Self {
            links: &samples.links,
            values,
            types,
            sums,
            shares,
        })
    }

    fn row(&self, row: usize) -> &[i64] {
        self.values
            .get(row * self.types..(row + 1) * self.types)
            .unwrap_or_default()
    }

    fn is_linked(&self, row: usize) -> bool {
        self.links.get(row).is_some_and(|link| link.is_set())
    }

    /// The share from which on a row stays for certain.
    fn level_of(&self, row: usize, levels: Levels) -> f64 {
        match levels.are_apart() && self.is_linked(row) {
            true => levels.linked,
            false => levels.others,
        }
    }

    /// The levels at which `most` rows are left together. With `keep_linked` rows with a link get all the places they need, down to
    /// half of those that the others would have.
    fn levels(&self, most: usize, keep_linked: bool) -> Levels {
        let level = Self::level(&self.shares, most);
        let alike = Levels {
            linked: level,
            others: level,
        };
        if !keep_linked || self.links.iter().all(|link| !link.is_set()) {
            return alike;
        }
        let rows = self.shares.iter().enumerate().filter(|(_, share)| **share > 0.0);
        let (linked, others): (Vec<_>, Vec<_>) = rows.partition(|(row, _)| self.is_linked(*row));
        let [linked, others] =
            [linked, others].map(|rows| rows.into_iter().map(|(_, share)| *share).collect::<Vec<f64>>());
        let places: f64 = others.iter().map(|share| (share / level).min(1.0)).sum();
        let least = (places / 2.0).ceil() as usize;
        let for_linked = most.saturating_sub(least).min(linked.len());
        let for_others = most - for_linked;
        let is_forced = |share: &&f64| share.is_infinite();
        // those that have to stay anyway need a place beside them that stands for the rest
        let is_room = |shares: &[f64], places: usize| places > shares.iter().filter(is_forced).count();
        if others.is_empty() || !is_room(&others, for_others) || !is_room(&linked, for_linked) {
            return alike;
        }
        Levels {
            linked: match for_linked == linked.len() {
                true => 0.0,
                false => Self::level(&linked, for_linked),
            },
            others: Self::level(&others, for_others),
        }
    }

    /// The share from which on of some rows those stay for certain: those below, in parts of it, and those above are `most` together.
    fn level(shares: &[f64], most: usize) -> f64 {
        let forced = shares.iter().filter(|share| share.is_infinite()).count();
        let with_share = |share: &f64| *share > 0.0 && share.is_finite();
        let mut shares: Vec<f64> = shares.iter().copied().filter(with_share).collect();
        let (mut open, mut light, mut places) = (shares.as_mut_slice(), 0.0, most.saturating_sub(forced));
        while !open.is_empty() {
            let middle = open.len() / 2;
            open.select_nth_unstable_by(middle, f64::total_cmp);
            let (lower, upper) = open.split_at_mut(middle);
            let least = upper.first().copied().unwrap_or_default();
            let below: f64 = light + lower.iter().sum::<f64>();
            if places > upper.len() && below <= least * (places - upper.len()) as f64 {
                places -= upper.len();
                open = lower;
            } else if lower.is_empty() {
                light += least;
                open = lower;
            } else {
                light = below;
                open = upper;
            }
        }
        // a trifle more, so that no sum of fractions comes out above `most`
        light / places.max(1) as f64 * (1.0 + 1e-9)
    }

    /// The values of the rows that stay, row by row: what stands for others is scaled so that each type has the sum it had.
    fn balance(&self, kept: &[Kept], seed: u64) -> Vec<i64> {
        let rows = kept.iter().flat_map(|kept| self.row(kept.row));
        let mut values: Vec<i64> = rows.copied().collect();
        for (column, sum) in self.sums.iter().enumerate() {
            self.scale(&mut values, kept, (column, *sum), mix(seed, 1 + column as u64));
            self.even_out(&mut values, (column, *sum));
        }
        values
    }

    /// Scales what stands for others, so that with the rest it comes to the sum of the type but for a unit. Fractions settle as chances do,
    /// so no function has more than its part of what is rounded up.
    fn scale(&self, values: &mut [i64], kept: &[Kept], (column, sum): (usize, i128), seed: u64) {
        let (mut certain, mut light) = (0i128, 0.0);
        for (kept, values) in kept.iter().zip(values.chunks_exact(self.types)) {
            let value = values.get(column).copied().unwrap_or_default();
            match kept.scale > 1.0 {
                true => light += value as f64 * kept.scale,
                false => certain += i128::from(value),
            }
        }
        let factor = if light > 0.0 {
            (sum - certain) as f64 / light
        } else {
            1.0
        };
        let mut fractions = Pairing::new(seed);
        for (at, (kept, values)) in kept.iter().zip(values.chunks_exact_mut(self.types)).enumerate() {
            if let Some(value) = values.get_mut(column).filter(|_| kept.scale > 1.0) {
                let exact = *value as f64 * kept.scale * factor;
                *value = exact as i64;
                // most values of a heap are none
                let fraction = exact.fract();
                if fraction > 0.0 {
                    fractions.add(at, fraction, 0);
                }
            }
        }
        for at in fractions.finish() {
            if let Some(value) = values.get_mut(at * self.types + column) {
                *value = value.saturating_add(1);
            }
        }
    }

    /// Adds to the largest what a type lacks: what rounding left over; or all, where no row is left to stand for others.
    fn even_out(&self, values: &mut [i64], (column, sum): (usize, i128)) {
        let of_column = values.iter_mut().skip(column).step_by(self.types);
        let (mut left, mut largest) = (sum, None);
        for value in of_column {
            left -= i128::from(*value);
            if largest.as_ref().is_none_or(|largest: &&mut i64| **largest <= *value) {
                largest = Some(value);
            }
        }
        if let Some(largest) = largest {
            let exact = i128::from(*largest) + left;
            *largest = i64::try_from(exact.max(0)).unwrap_or(i64::MAX);
        }
    }
}

/// The rows that stay with these values, as they stood in the profile.
fn write(samples: &Samples, types: usize, kept: &[Kept], values: &[i64]) -> Samples {
    // which of the kept each row is, from 1 on
    let mut places = vec![0u32; samples.len()];
    for (kept, place) in kept.iter().zip(1..) {
        if let Some(slot) = places.get_mut(kept.row) {
            *slot = place;
        }
    }
    let found = places.iter().enumerate().filter(|(_, place)| **place > 0);
    let (rows, places): (Vec<usize>, Vec<usize>) = found.map(|(row, place)| (row, *place as usize)).unzip();
    let values = places
        .iter()
        .filter_map(|place| values.get((place - 1) * types..place * types));
    let observations = match &samples.observations {
        Observations::Totals(_) => Observations::Totals(values.flatten().copied().collect()),
        Observations::Series(series) => Observations::Series(write_series(series, &rows, values.flatten())),
    };
    samples.pick_measured(&rows, observations)
}

/// What stands for others has one value, and no times: it was not seen so often at those.
fn write_series<'a>(series: &Series, rows: &[usize], values: impl Iterator<Item = &'a i64>) -> Series {
    let mut written = Series::default();
    for (row, value) in rows.iter().zip(values) {
        match *value == series.total(*row) {
            true => written.push(series.values(*row), series.timestamps(*row)),
            false => written.push(&[*value], &[]),
        }
    }
    written
}
