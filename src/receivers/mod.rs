//! The receivers: components that bring profiles in. [`ALL`] is the table that everything else loops over.

mod door;
mod file;
mod glob;
mod health;
mod jfr;
mod limits;
mod listen;
mod otlp;
mod otlp_routes;
mod pprof;
mod pull;
mod pyroscope;
mod regular;
mod scrape;
mod series;
mod settings;
#[cfg(test)]
mod testing;
mod unnamed;
pub mod watch;
mod window;

use crate::pipeline::spec::ReceiverSpec;

/// Every receiver, sorted by name.
pub static ALL: &[ReceiverSpec] = &[file::SPEC, otlp::SPEC, pprof::SPEC, pyroscope::SPEC, scrape::SPEC];
