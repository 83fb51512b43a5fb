//! Keeping some rows by chance, as evenly as the call tree allows.
//!
//! Two rows at a time settle whose chance it is: one takes what the other had, in proportion to what both have, until it is sure to
//! be kept, or is out. Those that share the most frames settle first, so below every call path all are settled but one, and the number kept
//! there differs from what is expected by less than one. And no two are kept together more often than if each were kept by itself,
//! so no sum over rows, wherever in the tree they stand, varies more than it would then. It is the structure-aware
//! sampling of Cohen, Cormode and Duffield (2011).

use super::content::mix;

/// Rows on their way to being kept or not, known by their positions in the order of the call tree.
pub(super) struct Pairing {
    seed: u64,
    draws: u64,
    /// Those that are not settled: the first has all before it, and each further one branches off deeper than the one before it.
    open: Vec<Open>,
    kept: Vec<usize>,
}

/// The one row below a call path that is not settled.
struct Open {
    position: usize,
    chance: f64,
    /// The frames that it shares with the one before it.
    shared: u32,
}

impl Pairing {
    /// What is drawn follows from the seed alone.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            draws: 0,
            open: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Adds the next row in the order, with a chance below one, which shares so many frames with the one that was added before it.
    pub(super) fn add(&mut self, position: usize, chance: f64, shared: u32) {
        while self.open.last().is_some_and(|last| last.shared >= shared) && self.open.len() > 1 {
            self.settle();
        }
        self.open.push(Open {
            position,
            chance,
            shared,
        });
    }

    /// The positions of those that are kept, in no order.
    pub(super) fn finish(mut self) -> Vec<usize> {
        while self.open.len() > 1 {
            self.settle();
        }
        let draw = self.draw();
        if let Some(last) = self.open.pop().filter(|last| draw < last.chance) {
            self.kept.push(last.position);
        }
        self.kept
    }

    /// Lets the last two settle which of them stays open.
    fn settle(&mut self) {
        let draw = self.draw();
        let Some(b) = self.open.pop() else { return };
        let Some(a) = self.open.last_mut() else { return };
        let both = a.chance + b.chance;
        // of two that are less than one together one is out, else one is kept; without branches, as nobody can predict them
        let is_enough = both >= 1.0;
        let (whole, of_a) = if is_enough {
            (2.0 - both, 1.0 - b.chance)
        } else {
            (both, a.chance)
        };
        let is_a = draw * whole < of_a;
        let (drawn, other) = if is_a {
            (a.position, b.position)
        } else {
            (b.position, a.position)
        };
        (a.position, a.chance) = if is_enough { (other, both - 1.0) } else { (drawn, both) };
        if is_enough {
            self.kept.push(drawn);
        }
    }

    /// A number from 0 to below 1.
    fn draw(&mut self) -> f64 {
        self.draws += 1;
        (mix(self.seed, self.draws) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows of a tree in its order: for each its chance, and what it shares with the one before.
    fn rows() -> impl Strategy<Value = Vec<(f64, u32)>> {
        prop::collection::vec((0.001f64..0.999, 0u32..8), 1..200)
    }

    fn kept(rows: &[(f64, u32)], seed: u64) -> Vec<bool> {
        let mut pairing = Pairing::new(seed);
        for (position, (chance, shared)) in rows.iter().enumerate() {
            pairing.add(position, *chance, *shared);
            assert!(pairing.open.len() <= 9, "more than the tree is deep");
        }
        let mut kept = vec![false; rows.len()];
        for position in pairing.finish() {
            assert!(!kept[position], "kept twice");
            kept[position] = true;
        }
        kept
    }

    proptest! {
        #[test]
        fn prop_below_every_call_path_the_number_is_off_by_less_than_one(rows in rows(), seed: u64) {
            let kept = kept(&rows, seed);
            let paths = |depth| rows.iter().zip(&kept).enumerate().fold(Vec::<(f64, f64)>::new(), |mut paths, (at, (row, kept))| {
                if at == 0 || row.1 < depth {
                    paths.push((0.0, 0.0));
                }
                let path = paths.last_mut().unwrap();
                *path = (path.0 + row.0, path.1 + f64::from(u8::from(*kept)));
                paths
            });
            for (expected, found) in (0..9).flat_map(paths) {
                prop_assert!((found - expected).abs() < 1.0 + 1e-9, "{} of {}", found, expected);
            }
        }
    }

    /// How often each is kept, and each two together, in parts of many rounds.
    fn shares(rows: &[(f64, u32)], rounds: u64) -> Vec<Vec<f64>> {
        let mut shares = vec![vec![0.0; rows.len()]; rows.len()];
        for seed in 0..rounds {
            let kept = kept(rows, mix(seed, 1));
            for (a, shares) in shares.iter_mut().enumerate().filter(|(a, _)| kept[*a]) {
                for (b, share) in shares.iter_mut().enumerate() {
                    *share += f64::from(u8::from(kept[a] && kept[b])) / rounds as f64;
                }
            }
        }
        shares
    }

    #[test]
    fn each_has_its_chance_and_no_two_are_kept_together_more_often() {
        let depths = [0, 3, 3, 1, 4, 2, 2, 0, 5, 5, 5, 1, 3, 2];
        let rows: Vec<(f64, u32)> = depths
            .iter()
            .enumerate()
            .map(|(at, shared)| (0.05 + 0.9 * ((at * 5 % 14) as f64 / 14.0), *shared))
            .collect();
        let rounds = 20_000;
        let shares = shares(&rows, rounds);
        // five standard deviations of a share of that many rounds
        let off = |share: f64| 5.0 * (share * (1.0 - share) / rounds as f64).sqrt();
        for (a, (chance, _)) in rows.iter().enumerate() {
            assert!(
                (shares[a][a] - chance).abs() < off(*chance),
                "{a}: {} of {chance}",
                shares[a][a]
            );
            for (b, (other, _)) in rows.iter().enumerate().filter(|(b, _)| *b != a) {
                let alone = chance * other;
                assert!(
                    shares[a][b] < alone + off(alone),
                    "{a} and {b}: {} of {alone}",
                    shares[a][b]
                );
            }
        }
    }

    #[test]
    fn what_comes_back_at_even_distances_is_kept_as_evenly() {
        // a grid over these keeps all that come at one of its steps, or none
        let rows = vec![(0.2, 0); 1_000];
        let rounds = 400;
        let variance = (0..rounds).map(|seed| {
            let found = kept(&rows, mix(seed, 2))
                .iter()
                .step_by(5)
                .filter(|kept| **kept)
                .count();
            (found as f64 - 40.0).powi(2) / rounds as f64
        });
        let (variance, by_chance) = (variance.sum::<f64>(), 200.0 * 0.2 * 0.8);
        let slack = 1.0 + 5.0 * (2.0 / rounds as f64).sqrt();
        assert!(
            variance < by_chance * slack,
            "{variance} where {by_chance} is by chance"
        );
    }

    #[test]
    fn of_none_none_is_kept() {
        assert!(Pairing::new(1).finish().is_empty());
    }
}
