//! How far off a profile would be once it is reduced, before anything is done to it.

use std::fmt;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::thinning::Thinning;
use super::{Choice, ContentHashes};
use crate::profile::{Dictionary, FunctionId, LocationId, Profile, StackId, StringId};

/// What a reduction is expected to leave of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// What is left of the counts, or of the rows, of one.
    pub kept: f64,
    /// What is expected of each type, in their order, of the first sixteen; of thinning, of the counts.
    pub types: Vec<Errors>,
}

/// How far off what a profile says is expected to be, in parts of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Errors {
    /// The most by which the sum can be off.
    pub total: f64,
    /// The functions with the most in themselves, the first of them first. Frames without a function are in none.
    pub top: Vec<Expected>,
}

/// One function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Its name.
    pub name: StringId,
    /// Of what was measured in itself.
    pub own: Estimate,
    /// Of that together with what it calls, each stack once however often it is in it.
    pub whole: Estimate,
}

/// A sum over some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Its true value.
    pub value: f64,
    /// The standard deviation once the profile is reduced, in parts of the value.
    pub error: f64,
}

impl Forecast {
    /// Of thinning: as if every look were kept by a chance of its own, which is about the most by which a function is off.
    pub fn of_thinning(d: &Dictionary, profile: &Profile, thinning: &Thinning, top: usize) -> Self {
        let (mut all, mut kept, mut step) = (0.0, 0.0, 0.0f64);
        let rows = (0..profile.samples.len()).map(|row| {
            let (count, ratio) = thinning.of_row(profile, row);
            all += count;
            kept += count * ratio;
            Row {
                value: count,
                variance: count * (1.0 - ratio) / ratio,
            }
        });
        let rows: Vec<Row> = rows.collect();
        for ratio in thinning.ratios().filter(|ratio| *ratio < 1.0) {
            step += 1.0 / ratio;
        }
        let all = f64::max(all, 1.0);
        Self {
            kept: kept / all,
            types: vec![Errors {
                total: step / all,
                top: largest(d, profile, &rows, top),
            }],
        }
    }

    /// Of leaving `most` rows by chance. None where that leaves the profile as it is.
    pub fn of_leaving(d: &Dictionary, profile: &Profile, most: usize, keep_linked: bool, top: usize) -> Option<Self> {
        let (samples, types) = (&profile.samples, profile.sample_types.len());
        let chances = Choice::of(samples, types, most, keep_linked)?.chances();
        let errors = (0..types.min(MOST_TYPES)).map(|column| {
            let rows = chances.iter().enumerate().map(|(row, chance)| {
                let value = samples.total(row, column, types) as f64;
                // a row without any chance has no value either
                let each = if *chance > 0.0 { (1.0 - chance) / chance } else { 0.0 };
                Row {
                    value,
                    variance: value * value * each,
                }
            });
            let rows: Vec<Row> = rows.collect();
            Errors {
                total: 0.0,
                top: largest(d, profile, &rows, top),
            }
        });
        Some(Self {
            kept: most as f64 / samples.len().max(1) as f64,
            types: errors.collect(),
        })
    }
}

/// The figures without any name, as logs may have them: of functions by their place among the largest.
impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} are kept", Percent(self.kept))?;
        for (number, errors) in (1..).zip(&self.types) {
            match self.types.len() {
                1 => write!(f, "; the total")?,
                _ => write!(f, "; type {number}: the total")?,
            }
            write!(f, " within {}, functions by rank", Percent(errors.total))?;
            for (rank, of) in (1..).zip(&errors.top) {
                let comma = if rank > 1 { "," } else { "" };
                write!(f, "{comma} {}", Percent(of.own.error))?;
            }
        }
        Ok(())
    }
}

struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", self.0 * 100.0)
    }
}

/// What a row adds to a sum, and to the variance of its estimate.
#[derive(Clone, Copy, Default)]
struct Row {
    value: f64,
    variance: f64,
}

impl Row {
    fn add(&mut self, other: Self) {
        self.value += other.value;
        self.variance += other.variance;
    }

    fn estimate(self) -> Estimate {
        let error = if self.value > 0.0 {
            self.variance.sqrt() / self.value
        } else {
            0.0
        };
        Estimate {
            value: self.value,
            error,
        }
    }
}

/// The sums of one function.
#[derive(Clone, Copy, Default)]
struct Sums {
    name: StringId,
    own: Row,
    whole: Row,
    /// The stack that was added last.
    last: StackId,
}

/// Of so many types is something told: no profiler has as many.
const MOST_TYPES: usize = 16;

/// Of a location so many functions are looked at, the innermost: no compiler inlines as many, and whoever says so may do so in every stack.
const MOST_INLINED: usize = 64;

/// The functions with the most in themselves.
fn largest(d: &Dictionary, profile: &Profile, rows: &[Row], top: usize) -> Vec<Expected> {
    let mut named = Named::new(d);
    let mut stacks = vec![Row::default(); d.stacks.len()];
    for (row, stack) in rows.iter().zip(&profile.samples.stacks) {
        if let Some(stack) = stacks.get_mut(stack.index()) {
            stack.add(*row);
        }
    }
    let stacks = d.stacks.ids().zip(stacks);
    for (stack, row) in stacks.filter(|(stack, row)| stack.is_set() && row.value > 0.0) {
        let functions_of = |place: &LocationId| d.lines[*place].iter().take(MOST_INLINED).map(|line| line.function);
        let frames = &d.stacks[stack];
        if let Some(leaf) = frames.first().and_then(|leaf| functions_of(leaf).next())
            && let Some(sums) = named.of(leaf)
        {
            sums.own.add(row);
        }
        for function in frames.iter().flat_map(functions_of) {
            if let Some(sums) = named.of(function).filter(|sums| sums.last != stack) {
                sums.last = stack;
                sums.whole.add(row);
            }
        }
    }
    let mut sums = named.sums;
    sums.retain(|sums| sums.name.is_set() && sums.own.value > 0.0);
    // of equal ones by name, so that the same are told every time
    sums.sort_unstable_by(|a, b| {
        let by_value = b.own.value.total_cmp(&a.own.value);
        by_value.then_with(|| d.str(a.name).cmp(d.str(b.name)))
    });
    sums.truncate(top);
    let expected = |sums: Sums| Expected {
        name: sums.name,
        own: sums.own.estimate(),
        whole: sums.whole.estimate(),
    };
    sums.into_iter().map(expected).collect()
}

/// The sums of the functions that were met, by name.
struct Named<'a> {
    hashes: ContentHashes<'a>,
    by_hash: HashMap<u64, usize, RandomState>,
    /// Of each function where its sums are; 0 where it was not met yet.
    known: Vec<usize>,
    /// The first are nobody's.
    sums: Vec<Sums>,
}

impl<'a> Named<'a> {
    fn new(d: &'a Dictionary) -> Self {
        Self {
            hashes: ContentHashes::of(d),
            by_hash: HashMap::default(),
            known: vec![0; d.functions.len()],
            sums: vec![Sums::default()],
        }
    }

    fn of(&mut self, function: FunctionId) -> Option<&mut Sums> {
        let known = self.known.get_mut(function.index())?;
        if *known == 0 {
            let next = self.sums.len();
            *known = *self.by_hash.entry(self.hashes.name(function)).or_insert(next);
            if *known == next {
                self.sums.push(Sums {
                    name: self.hashes.dictionary().functions[function].called(),
                    ..Sums::default()
                });
            }
        }
        self.sums.get_mut(*known)
    }
}

#[cfg(test)]
mod tests;
