//! The exporters: components that take profiles out. [`ALL`] is the table that everything else loops over.

mod contention;
mod debug;
mod file;
mod otlp;
mod otlp_grpc;
mod otlp_http;
mod pyroscope;
mod recent;
mod settings;
#[cfg(test)]
mod testing;

pub use file::kind::kind;

use crate::pipeline::spec::ExporterSpec;

/// Every exporter, sorted by name.
pub static ALL: &[ExporterSpec] = &[
    debug::SPEC,
    file::SPEC,
    otlp_grpc::SPEC,
    otlp_http::SPEC,
    pyroscope::SPEC,
    recent::SPEC,
];
