//! The processors: components that change, split or drop batches. [`ALL`] is the table that everything else loops over.

pub mod redaction;

use crate::pipeline::spec::ProcessorSpec;

/// Every processor, sorted by name.
pub static ALL: &[ProcessorSpec] = &[redaction::SPEC];
