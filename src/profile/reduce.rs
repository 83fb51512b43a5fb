//! Fewer samples that tell the same: choosing among rows so that what is left is unbiased.
//!
//! Rows are walked in an order in which everything below a call stands together ([`Order`]), and a grid with a random start says
//! which are taken: whatever stands together is then off by less than one step of the grid. The start is a hash of what the
//! profile says, so the same profile is always reduced to the same one.

mod content;
mod grid;
mod notes;
mod order;
#[cfg(test)]
mod tests;
mod thin;
mod threshold;

pub use grid::Ratio;
pub use notes::{KEEP_RATIO, OTHER, SAMPLING_THRESHOLD};
pub use order::Order;
pub use thin::{Counts, thin};
pub use threshold::{Fewer, fewer, largest};
