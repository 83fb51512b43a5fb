//! Stacks in the order of the call tree.
//!
//! What several frames are called makes one word that compares as they do, so a few words tell the whole path of a stack. Paths are
//! sorted word by word from the root on: only those that are alike so far are compared further.

use super::names::Names;
use crate::profile::{Dictionary, LocationId, StackId};

/// The paths of some stacks.
pub(super) struct Paths {
    /// What their frames are called, one path after the other, in as many bits for each frame as names need. The rest of a last word is
    /// zeros; a path that fills its words has one more.
    words: Vec<u64>,
    /// Where the words of each path begin.
    starts: Vec<usize>,
    /// Bits of a name.
    bits: u32,
    /// Names in a word.
    width: u32,
}

/// Paths in their order.
pub(super) struct Sorted {
    /// The place of each path: the number of those before it, so that equal ones share theirs.
    pub(super) places: Vec<u32>,
    /// How many frames the path in each place shares with the one before it; the most there is for the first, and where there is no path.
    pub(super) shared: Vec<u32>,
}

/// A path on its way to its place.
#[derive(Clone, Copy)]
struct Sorting {
    /// What it is compared by; at last its place.
    key: u64,
    path: u32,
}

/// Paths that stand beside each other and go on.
struct Alike {
    from: usize,
    to: usize,
    /// In how many words they are alike.
    words: usize,
}

impl Paths {
    /// Those of these stacks.
    pub(super) fn of(d: &Dictionary, names: &Names, stacks: &[StackId]) -> Self {
        let bits = u32::BITS - names.last().leading_zeros();
        Self::in_bits(bits, d, names, stacks)
    }

    fn in_bits(bits: u32, d: &Dictionary, names: &Names, stacks: &[StackId]) -> Self {
        match u64::BITS / bits {
            ..3 => Self::in_words::<2>(bits, d, names, stacks),
            3 => Self::in_words::<3>(bits, d, names, stacks),
            4 => Self::in_words::<4>(bits, d, names, stacks),
            5 => Self::in_words::<5>(bits, d, names, stacks),
            6..8 => Self::in_words::<6>(bits, d, names, stacks),
            _ => Self::in_words::<8>(bits, d, names, stacks),
        }
    }

    /// With so many names in each word, which the compiler knows: there are very many words. Not all that there is room for, as each number of them is code
    /// of its own.
    fn in_words<const WIDTH: usize>(bits: u32, d: &Dictionary, names: &Names, stacks: &[StackId]) -> Self {
        let word = |frames: &[LocationId]| {
            let names = frames.iter().rev().map(|id| u64::from(names.at(*id)));
            names.fold(0, |word, name| word << bits | name)
        };
        let words = stacks.iter().map(|stack| d.stacks[*stack].len() / WIDTH + 1);
        let mut paths = Self {
            words: Vec::with_capacity(words.sum()),
            starts: Vec::with_capacity(stacks.len()),
            bits,
            width: WIDTH as u32,
        };
        for stack in stacks {
            paths.starts.push(paths.words.len());
            let (last, full) = d.stacks[*stack].as_rchunks::<WIDTH>();
            paths.words.extend(full.iter().rev().map(|frames| word(frames)));
            let room = WIDTH - last.len();
            paths.words.push(word(last).unbounded_shl(bits * room as u32));
        }
        paths
    }

    /// Sorts the paths.
    pub(super) fn sort(&self) -> Sorted {
        let mut sorting: Vec<Sorting> = (0..self.starts.len() as u32)
            .map(|path| Sorting { key: 0, path })
            .collect();
        let mut shared = vec![u32::MAX; sorting.len()];
        let mut open = vec![Alike {
            from: 0,
            to: sorting.len(),
            words: 0,
        }];
        while let Some(mut alike) = open.pop() {
            let these = sorting.get_mut(alike.from..alike.to).unwrap_or_default();
            self.compare(these, &mut alike);
            these.sort_unstable_by_key(|path| path.key);
            let (mut from, mut before) = (alike.from, None);
            for same in these.chunk_by_mut(|a, b| a.key == b.key) {
                let to = from + same.len();
                let key = same.first().map_or(0, |path| path.key);
                if let Some(before) = before.replace(key)
                    && let Some(shared) = shared.get_mut(from)
                {
                    *shared = self.shared(alike.words, before ^ key);
                }
                if same.len() == 1 || self.is_last(key) {
                    same.iter_mut().for_each(|path| path.key = from as u64);
                } else {
                    open.push(Alike {
                        from,
                        to,
                        words: alike.words + 1,
                    });
                }
                from = to;
            }
        }
        let mut places = vec![0; sorting.len()];
        for Sorting { key, path } in sorting {
            if let Some(place) = places.get_mut(path as usize) {
                *place = key as u32;
            }
        }
        Sorted { places, shared }
    }

    /// How many frames two paths share that are alike in some words, and in the next differ by these bits.
    fn shared(&self, words: usize, differing: u64) -> u32 {
        let unused = u64::BITS - self.width * self.bits;
        words as u32 * self.width + (differing.leading_zeros() - unused) / self.bits
    }

    /// Gives paths the keys of the first word in which they are not alike, or of the last one.
    fn compare(&self, paths: &mut [Sorting], alike: &mut Alike) {
        loop {
            let (mut any, mut all) = (0, u64::MAX);
            for path in &mut *paths {
                path.key = self.word(path.path, alike.words);
                any |= path.key;
                all &= path.key;
            }
            if any != all || self.is_last(any) {
                return;
            }
            alike.words += 1;
        }
    }

    fn word(&self, path: u32, at: usize) -> u64 {
        let start = self.starts.get(path as usize).copied().unwrap_or_default();
        self.words.get(start + at).copied().unwrap_or_default()
    }

    /// Whether a path ends in a word.
    fn is_last(&self, word: u64) -> bool {
        word & ((1 << self.bits) - 1) == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::reduce::content::ContentHashes;
    use crate::profile::{Function, Line, Location};

    /// Stacks of few functions, of which many begin alike and some are the same; the numbers of their functions from the root on.
    fn paths() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let from_here = (
            any::<prop::sample::Index>(),
            0usize..40,
            prop::collection::vec(0u8..3, 0..24),
        );
        prop::collection::vec(from_here, 1..60).prop_map(|drafts| {
            let mut paths: Vec<Vec<u8>> = vec![Vec::new()];
            for (other, shared, more) in drafts {
                let other = other.get(&paths);
                let mut path = other[..shared.min(other.len())].to_vec();
                path.extend(more);
                paths.push(path);
            }
            paths
        })
    }

    proptest! {
        #[test]
        fn prop_places_are_in_the_order_of_paths(paths in paths(), bits in 3u32..=32) {
            let mut d = Dictionary::default();
            let mut locations = Vec::new();
            // each function at two lines
            for line in 0..6 {
                let name = d.strings.push(&(line / 2).to_string());
                let function = d.functions.push(Function { name, ..Function::default() });
                let line = Line { function, line, column: 0 };
                locations.push(d.push_location(Location::default(), &[line]));
            }
            let stacks: Vec<StackId> = paths.iter().enumerate().map(|(n, path)| {
                let lines = path.iter().enumerate().map(|(depth, of)| 2 * *of as usize + (n + depth) % 2);
                let mut frames: Vec<LocationId> = lines.map(|line| locations[line]).collect();
                frames.reverse();
                d.stacks.push(&frames)
            }).collect();
            let names = Names::of(&mut ContentHashes::of(&d));
            // as if there were more names, so that paths take several words
            let Sorted { places, shared } = Paths::in_bits(bits, &d, &names, &stacks).sort();
            let key = |stack: &StackId| d.stacks[*stack].iter().rev().map(|id| names.at(*id)).collect();
            let keys: Vec<Vec<u32>> = stacks.iter().map(key).collect();
            for a in 0..paths.len() {
                for b in 0..paths.len() {
                    prop_assert_eq!(places[a].cmp(&places[b]), keys[a].cmp(&keys[b]), "{:?} {:?}", paths[a], paths[b]);
                }
            }
            let mut sorted: Vec<&[u32]> = keys.iter().map(Vec::as_slice).collect();
            sorted.sort();
            for (place, shared) in (1..).zip(&shared[1..]) {
                let (a, b) = (sorted[place - 1], sorted[place]);
                let alike = a.iter().zip(b).take_while(|(a, b)| a == b).count() as u32;
                prop_assert_eq!(*shared, if a == b { u32::MAX } else { alike }, "{:?} {:?}", a, b);
            }
        }
    }
}
