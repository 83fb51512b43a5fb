//! The receivers: components that bring profiles in. [`ALL`] is the table that everything else loops over.

use crate::pipeline::spec::ReceiverSpec;

/// Every receiver, sorted by name.
pub static ALL: &[ReceiverSpec] = &[];
