//! The processors: components that change, split or drop batches. [`ALL`] is the table that everything else loops over.

pub mod filter;
pub mod redaction;
pub mod resource;

use crate::pipeline::spec::ProcessorSpec;

/// Every processor, sorted by name.
pub static ALL: &[ProcessorSpec] = &[filter::SPEC, redaction::SPEC, resource::SPEC];
