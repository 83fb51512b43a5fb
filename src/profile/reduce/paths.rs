//! Stacks in the order of the call tree.
//!
//! What several frames are called makes one word that compares as they do, so a few words tell the whole path of a stack. Paths are
//! sorted word by word from the root on: only those that are alike so far are compared further.

use super::places::Places;
use crate::profile::{Dictionary, StackId};

/// The paths of some stacks.
pub(super) struct Paths {
    /// What their frames are called, one path after the other, in as many bits for each frame as names need. The rest of a last word is
    /// zeros; a path that fills its words has one more.
    words: Vec<u64>,
    /// Where the words of each path begin.
    starts: Vec<usize>,
    /// The hash of all that the frames of each say.
    said: Vec<u64>,
    /// Bits of a name.
    bits: u32,
}

/// More frames than there are, and yet fewer than a path shares with itself.
const SAME_NAMES: u32 = u32::MAX - 1;

/// Paths in their order.
pub(super) struct Sorted {
    /// The place of each path: the number of those before it, so that equal ones share theirs.
    pub(super) places: Vec<u32>,
    /// How many frames the path in each place shares with the one before it; [`SAME_NAMES`] where they are called the same in all, and for the
    /// first.
    pub(super) shared: Vec<u32>,
}

/// A path on its way to its place.
#[derive(Clone, Copy)]
struct Sorting {
    /// What it is compared by; at last its place.
    key: u64,
    path: u32,
}

/// Paths that stand beside each other.
struct Alike {
    from: usize,
    to: usize,
    /// In how many words they are alike.
    words: usize,
    /// Whether these are all that they have, so that what they say besides decides.
    whole: bool,
}

impl Paths {
    /// Those of these stacks.
    pub(super) fn of(d: &Dictionary, places: &Places, stacks: &[StackId]) -> Self {
        let bits = u32::BITS - places.last_name().leading_zeros();
        Self::in_bits(bits, d, places, stacks)
    }

    fn in_bits(bits: u32, d: &Dictionary, places: &Places, stacks: &[StackId]) -> Self {
        let width = u64::BITS / bits;
        let words_of = |stack: &StackId| d.stacks[*stack].len() / width as usize + 1;
        let mut paths = Self {
            words: Vec::with_capacity(stacks.iter().map(words_of).sum()),
            starts: Vec::with_capacity(stacks.len()),
            said: Vec::with_capacity(stacks.len()),
            bits,
        };
        for stack in stacks {
            paths.starts.push(paths.words.len());
            let (mut word, mut room) = (0u64, width);
            let (mut said, mut odd) = (0u64, 1u64);
            for id in d.stacks[*stack].iter().rev() {
                let place = places.at(*id);
                said = said.wrapping_add(place.said.wrapping_mul(odd));
                odd += 2;
                word = word << bits | u64::from(place.name);
                room -= 1;
                if room == 0 {
                    paths.words.push(word);
                    (word, room) = (0, width);
                }
            }
            paths.words.push(word.unbounded_shl(bits * room));
            paths.said.push(said);
        }
        paths
    }

    /// The hash of all that the frames of each path say.
    pub(super) fn said(&self) -> &[u64] {
        &self.said
    }

    /// Sorts the paths.
    pub(super) fn sort(&self) -> Sorted {
        let mut sorting: Vec<Sorting> = (0..self.starts.len() as u32)
            .map(|path| Sorting { key: 0, path })
            .collect();
        let mut shared = vec![SAME_NAMES; sorting.len()];
        let mut open = vec![Alike {
            from: 0,
            to: sorting.len(),
            words: 0,
            whole: false,
        }];
        while let Some(mut alike) = open.pop() {
            let these = sorting.get_mut(alike.from..alike.to).unwrap_or_default();
            self.compare(these, &mut alike);
            these.sort_unstable_by_key(|path| path.key);
            let (mut from, mut before) = (alike.from, None);
            for same in these.chunk_by_mut(|a, b| a.key == b.key) {
                let to = from + same.len();
                let key = same.first().map_or(0, |path| path.key);
                if let Some(before) = before.replace(key).filter(|_| !alike.whole)
                    && let Some(shared) = shared.get_mut(from)
                {
                    *shared = self.shared(alike.words, before ^ key);
                }
                if alike.whole || same.len() == 1 {
                    same.iter_mut().for_each(|path| path.key = from as u64);
                } else {
                    open.push(Alike {
                        from,
                        to,
                        words: alike.words + 1,
                        whole: self.is_last(key),
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
        let width = u64::BITS / self.bits;
        let unused = u64::BITS - width * self.bits;
        words as u32 * width + (differing.leading_zeros() - unused) / self.bits
    }

    /// Gives paths the keys of the first word in which they are not alike; where there is none, of what they say besides.
    fn compare(&self, paths: &mut [Sorting], alike: &mut Alike) {
        loop {
            let (mut any, mut all) = (0, u64::MAX);
            for path in &mut *paths {
                path.key = match alike.whole {
                    false => self.word(path.path, alike.words),
                    true => self.said.get(path.path as usize).copied().unwrap_or_default(),
                };
                any |= path.key;
                all &= path.key;
            }
            if any != all || alike.whole {
                return;
            }
            alike.words += 1;
            alike.whole = self.is_last(any);
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
    use crate::profile::{Function, Line, Location, LocationId};

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
            let told = Places::of(&d);
            // as if there were more names, so that paths take several words
            let Sorted { places, shared } = Paths::in_bits(bits, &d, &told, &stacks).sort();
            // first what functions are called, then all that frames say
            let key = |stack: &StackId| {
                let frames = d.stacks[*stack].iter().rev();
                let frames = frames.map(|id| told.at(*id)).zip((1u64..).step_by(2));
                let said = frames.clone().fold(0u64, |sum, (place, odd)| sum.wrapping_add(place.said.wrapping_mul(odd)));
                (frames.map(|(place, _)| place.name).collect::<Vec<u32>>(), said)
            };
            let keys: Vec<_> = stacks.iter().map(key).collect();
            for a in 0..paths.len() {
                for b in 0..paths.len() {
                    prop_assert_eq!(places[a].cmp(&places[b]), keys[a].cmp(&keys[b]), "{:?} {:?}", paths[a], paths[b]);
                }
            }
            let mut sorted: Vec<&[u32]> = keys.iter().map(|(names, _)| names.as_slice()).collect();
            sorted.sort();
            for (place, shared) in (1..).zip(&shared[1..]) {
                let (a, b) = (sorted[place - 1], sorted[place]);
                let alike = a.iter().zip(b).take_while(|(a, b)| a == b).count() as u32;
                prop_assert_eq!(*shared, if a == b { SAME_NAMES } else { alike }, "{:?} {:?}", a, b);
            }
        }
    }
}
