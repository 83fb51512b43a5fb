//! How many rows a profile may have to take no more than so many bytes.

use super::Leaving;
use crate::profile::{Profiles, Scratch, Splitter};

/// So few rows are left in any case: fewer tell nothing of a program.
pub const FEWEST_ROWS: usize = 16;

/// How often a number of rows is tried.
const TRIES: usize = 8;

/// What was found for a profile that takes too many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// So many rows.
    pub rows: usize,
    /// Whether they take few enough bytes.
    pub fits: bool,
}

/// Limits of a profile, and how it comes to keep them.
pub struct Fitting<'a, Bytes> {
    /// Most bytes.
    pub most: usize,
    /// Most rows.
    pub max_rows: usize,
    /// How rows are left out.
    pub leaving: Leaving<'a>,
    /// What profiles take.
    pub bytes: Bytes,
}

impl<Bytes: Fn(&Profiles) -> usize> Fitting<'_, Bytes> {
    /// Of each profile that takes too many bytes how many rows take few enough; none for the others. Empty if all of them take few enough.
    pub fn too_large(&self, profiles: &Profiles) -> Vec<Option<Fit>> {
        // a part is never larger than the whole
        if (self.bytes)(profiles) <= self.most {
            return Vec::new();
        }
        let (splitter, mut scratch) = (Splitter::new(profiles.clone()), Scratch::default());
        let parts = splitter.profiles().into_iter();
        let found = parts.map(|part| {
            let one = splitter.part(part, &mut scratch)?;
            let bytes = (self.bytes)(&one);
            (bytes > self.most).then(|| self.search(&one, bytes))
        });
        found.collect()
    }

    /// Tries numbers of rows: bytes grow with them, though not in proportion, as names are used by many.
    fn search(&self, one: &Profiles, bytes: usize) -> Fit {
        let most = self.most;
        let rows = one.sample_count().min(self.max_rows);
        // the largest that fits, and the least that does not
        let (mut fits, mut over) = (None, rows + 1);
        let mut next = in_proportion(rows, most, bytes);
        for _ in 0..TRIES {
            let lowest = fits.map_or(FEWEST_ROWS, |fits| fits + 1);
            if lowest >= over {
                break;
            }
            let rows = next.clamp(lowest, over - 1);
            let bytes = self.bytes_of(one, rows);
            next = in_proportion(rows, most, bytes);
            if bytes > most {
                over = rows;
            } else {
                fits = Some(rows);
                // close enough
                if bytes > most - most / 10 {
                    break;
                }
            }
        }
        match fits {
            Some(rows) => Fit { rows, fits: true },
            None => Fit {
                rows: FEWEST_ROWS,
                fits: self.bytes_of(one, FEWEST_ROWS) <= most,
            },
        }
    }

    /// The bytes of a profile of which so many rows are left.
    fn bytes_of(&self, one: &Profiles, rows: usize) -> usize {
        let mut left = one.clone();
        self.leaving.apply(&mut left, &[Some(rows)]);
        left.compact();
        (self.bytes)(&left)
    }
}

/// A little fewer: texts and tables take the same however few rows there are.
fn in_proportion(rows: usize, most: usize, bytes: usize) -> usize {
    (rows as f64 * 0.95 * most as f64 / bytes.max(1) as f64) as usize
}
