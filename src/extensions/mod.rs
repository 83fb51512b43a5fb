//! The extensions: what stands beside the pipelines. [`ALL`] is the table that everything else loops over.

pub mod authenticators;
pub mod health_check;
pub mod zpages;

use crate::pipeline::spec::ExtensionSpec;

/// Every extension, sorted by name.
pub static ALL: &[ExtensionSpec] = &[
    authenticators::BASIC,
    authenticators::BEARER,
    health_check::SPEC,
    zpages::SPEC,
];
