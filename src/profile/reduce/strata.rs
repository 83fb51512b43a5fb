//! Who is thinned first: samples that point at a span are worth more than others, so they go last.

use super::Counts;
use crate::profile::Profile;

/// How much of a profile points at spans, in counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Counts of samples with a link.
    pub linked: u64,
    /// Counts of all samples.
    pub all: u64,
}

impl Linked {
    /// Counts them.
    pub fn of(profile: &Profile, counts: Counts) -> Self {
        let samples = &profile.samples;
        let mut found = Self { linked: 0, all: 0 };
        for (row, link) in samples.links.iter().enumerate() {
            let count = counts.of_row(samples, row, profile.sample_types.len());
            found.all = found.all.saturating_add(count);
            if link.is_set() {
                found.linked = found.linked.saturating_add(count);
            }
        }
        found
    }

    /// The ratios for samples with a link and for those without that together keep `ratio` of all.
    ///
    /// Those without give way first, but to no less than half of their share: without them the rest of the flame graph would be told by
    /// too few. So all links stay where about half of `ratio` of the samples or fewer have one.
    pub fn ratios(self, ratio: f64) -> (f64, f64) {
        let linked = self.linked as f64 / self.all.max(1) as f64;
        let unlinked = 1.0 - linked;
        if self.linked == 0 || self.linked == self.all {
            return (ratio, ratio);
        }
        let others = ((ratio - linked) / unlinked).max(ratio / 2.0);
        let with_link = ((ratio - unlinked * others) / linked).min(1.0);
        (with_link, others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_and_the_sum_holds() {
        for (linked, kept) in [
            (0, 0.192),
            (1, 1.0),
            (5, 1.0),
            (10, 1.0),
            (30, 0.416),
            (99, 0.1929),
            (100, 0.192),
        ] {
            let (with_link, others) = Linked { linked, all: 100 }.ratios(0.192);
            assert!((with_link - kept).abs() < 1e-3, "{linked}: {with_link}");
            let sum = with_link * linked as f64 + others * (100 - linked) as f64;
            assert!((sum - 19.2).abs() < 1e-9, "{linked}: {sum}");
            assert!(others > 0.09 && with_link >= others);
        }
    }
}
