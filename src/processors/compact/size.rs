//! How many samples a profile may have to take no more than so many bytes.

use super::{FEWEST, Leave};
use crate::formats::otlp;
use crate::profile::{Profiles, Scratch, Splitter};

/// How often a number of samples is tried.
const TRIES: usize = 8;

/// What was found for a profile that takes too many bytes.
pub(super) struct Found {
    /// So many samples.
    pub rows: usize,
    /// Whether they take few enough bytes.
    pub fits: bool,
}

/// Of each profile that takes more than `most` bytes how many samples take less, and no more than `max_rows`; none for the others.
pub(super) fn too_large(profiles: &Profiles, most: usize, max_rows: usize, leave: &Leave) -> Vec<Option<Found>> {
    // a part is never larger than the whole
    if otlp::encode(profiles).len() <= most {
        return Vec::new();
    }
    let (splitter, mut scratch) = (Splitter::new(profiles.clone()), Scratch::default());
    let parts = splitter.profiles().into_iter();
    let found = parts.map(|part| {
        let one = splitter.part(part, &mut scratch)?;
        let bytes = otlp::encode(&one).len();
        (bytes > most).then(|| search(&one, bytes, most, max_rows, leave))
    });
    found.collect()
}

/// Tries numbers of samples: bytes grow with them, though not in proportion, as names are used by many.
fn search(one: &Profiles, bytes: usize, most: usize, max_rows: usize, leave: &Leave) -> Found {
    let rows = one.sample_count().min(max_rows);
    // the largest that fits, and the least that does not
    let (mut fits, mut over) = (None, rows + 1);
    let mut next = in_proportion(rows, most, bytes);
    for _ in 0..TRIES {
        let lowest = fits.map_or(FEWEST, |fits| fits + 1);
        if lowest >= over {
            break;
        }
        let rows = next.clamp(lowest, over - 1);
        let bytes = bytes_of(one, rows, leave);
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
        Some(rows) => Found { rows, fits: true },
        None => Found {
            rows: FEWEST,
            fits: bytes_of(one, FEWEST, leave) <= most,
        },
    }
}

/// A little fewer: texts and tables take the same however few samples there are.
fn in_proportion(rows: usize, most: usize, bytes: usize) -> usize {
    (rows as f64 * 0.95 * most as f64 / bytes.max(1) as f64) as usize
}

/// The bytes of a profile of which so many samples are left.
fn bytes_of(one: &Profiles, rows: usize, leave: &Leave) -> usize {
    let mut left = one.clone();
    leave.apply(&mut left, &[Some(rows)]);
    left.compact();
    otlp::encode(&left).len()
}
