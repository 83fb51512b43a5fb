//! The exporters: components that take profiles out. [`ALL`] is the table that everything else loops over.

use crate::pipeline::spec::ExporterSpec;

/// Every exporter, sorted by name.
pub static ALL: &[ExporterSpec] = &[];
