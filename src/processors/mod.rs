//! The processors: components that change, split or drop batches. [`ALL`] is the table that everything else loops over.

pub mod aggregate;
pub mod batch;
#[cfg(test)]
mod bench;
pub mod budget;
pub mod compact;
mod dialects;
pub mod downsample;
pub mod filter;
pub mod memory_limiter;
pub mod processes;
pub mod rate_limit;
pub mod redaction;
pub mod resource;
mod ring;
pub mod span_links;
pub mod span_profiles;
pub mod trace_join;
pub mod trace_links;
mod waiting;

use crate::pipeline::spec::ProcessorSpec;

/// Every processor, sorted by name.
pub static ALL: &[ProcessorSpec] = &[
    aggregate::SPEC,
    batch::SPEC,
    budget::SPEC,
    compact::SPEC,
    downsample::SPEC,
    filter::SPEC,
    memory_limiter::SPEC,
    rate_limit::SPEC,
    redaction::SPEC,
    resource::SPEC,
    span_profiles::SPEC,
    trace_join::SPEC,
    trace_links::SPEC,
];
