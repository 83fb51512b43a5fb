//! Fewer samples that tell the same: choosing among rows so that what is left is unbiased.
//!
//! Rows are walked in an order in which everything below a call stands together ([`Order`]). Counts are thinned by a grid with a
//! random start, so whatever stands together is off by less than one of its steps; rows are left out by chances that settle up the
//! call tree two by two. The start is a hash of the profile's head and sums, so the same profile, sent again, is reduced to the same one.

mod content;
mod counting;
mod fit;
mod forecast;
mod grid;
mod leaving;
mod minima;
mod names;
mod notes;
mod order;
mod pairing;
mod paths;
mod rate;
mod seed;
mod strata;
#[cfg(test)]
mod tests;
mod thin;
mod thinning;
mod threshold;
mod totals;

pub use content::ContentHashes;
pub use fit::{FEWEST_ROWS, Fit, Fitting};
pub use forecast::{Errors, Estimate, Expected, Forecast};
pub use grid::Ratio;
pub use leaving::{Leaving, OTHER_NAME};
pub use notes::{KEEP_RATIO, OTHER, SAMPLING_THRESHOLD, TOTALS_ONLY};
pub use order::Order;
pub use rate::{Sampling, Unsampled};
pub use strata::Linked;
pub use thin::{Counts, thin};
pub use thinning::{Thinned, Thinning, thin_profiles};
pub use threshold::{Choice, Fewer, largest};
pub use totals::totals_only;

/// Of how many counts or rows how many are left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reduced {
    /// So many there were.
    pub from: u64,
    /// So many are left.
    pub to: u64,
}
