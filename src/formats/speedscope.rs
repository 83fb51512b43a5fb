//! speedscope's JSON: a table of frames, and profiles that are `sampled` (stacks with weights) or `evented` (frames that open
//! and close).
//!
//! The format knows units and no types, so what a number counts follows from its unit: time is `wall`, bytes are `space`, the
//! rest `samples`; files that Flamegate wrote name the type. Profiles of equal type become one, and keep their names (py-spy: one
//! for each thread) as the sample attribute `speedscope.profile.name`. Time leaves and arrives in nanoseconds.

mod decode;
mod encode;
mod schema;
#[cfg(test)]
mod tests;

pub use decode::{decode, decode_within};
pub use encode::encode;

/// The sample attribute that keeps the name of a speedscope profile.
pub const PROFILE_NAME: &str = "speedscope.profile.name";

const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";
const EXPORTER: &str = concat!("flamegate@", env!("CARGO_PKG_VERSION"));

/// Our (type, unit) for a unit of speedscope, and how many of ours make one of it.
fn unit_in(unit: &str) -> Option<(&'static str, &'static str, i64)> {
    match unit {
        "none" => Some(("samples", "count", 1)),
        "bytes" => Some(("space", "bytes", 1)),
        "nanoseconds" => Some(("wall", "nanoseconds", 1)),
        "microseconds" => Some(("wall", "nanoseconds", 1_000)),
        "milliseconds" => Some(("wall", "nanoseconds", 1_000_000)),
        "seconds" => Some(("wall", "nanoseconds", 1_000_000_000)),
        _ => None,
    }
}

/// The unit of speedscope for one of ours.
fn unit_out(unit: &str) -> &'static str {
    match unit {
        "nanoseconds" => "nanoseconds",
        "microseconds" => "microseconds",
        "milliseconds" => "milliseconds",
        "seconds" => "seconds",
        "bytes" => "bytes",
        _ => "none",
    }
}
