//! The least of any run of numbers, without a look at each of them.

/// So many numbers have one in the level above.
const BLOCK: usize = 32;

/// Numbers, and the least of each block of them, of each block of these, and so on.
pub(super) struct Minima {
    levels: Vec<Vec<u32>>,
}

impl Minima {
    pub(super) fn of(numbers: Vec<u32>) -> Self {
        let mut levels = vec![numbers];
        while let Some(last) = levels.last().filter(|last| last.len() > BLOCK) {
            let above = last.chunks(BLOCK).map(least).collect();
            levels.push(above);
        }
        Self { levels }
    }

    /// The least of those in a run; the largest there can be if it is empty.
    #[inline]
    pub(super) fn of_run(&self, mut from: usize, mut to: usize) -> u32 {
        let mut found = u32::MAX;
        for level in &self.levels {
            let of = |from, to| least(level.get(from..to).unwrap_or_default());
            if to <= from.saturating_add(BLOCK) {
                return found.min(of(from, to));
            }
            let (first, last) = (from.next_multiple_of(BLOCK), to / BLOCK * BLOCK);
            found = found.min(of(from, first)).min(of(last, to));
            (from, to) = (first / BLOCK, last / BLOCK);
        }
        found
    }
}

#[inline]
fn least(numbers: &[u32]) -> u32 {
    numbers.iter().copied().min().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn prop_it_is_what_a_look_at_each_finds(
            numbers in prop::collection::vec(0u32..50_000, 0..5_000),
            runs in prop::collection::vec(any::<[prop::sample::Index; 2]>(), 20),
        ) {
            let minima = Minima::of(numbers.clone());
            for run in runs {
                let [from, to] = run.map(|end| end.index(numbers.len() + 1));
                let found = numbers.get(from..to).map(least);
                prop_assert_eq!(minima.of_run(from, to), found.unwrap_or(u32::MAX), "{}..{}", from, to);
            }
        }
    }
}
