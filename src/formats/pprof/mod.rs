//! pprof: the protobuf profile of google/pprof, uncompressed.
//!
//! [`decode`] walks the bytes several times, one table after the other, because the tables may come in any order and the
//! string table often comes last. [`encode`] writes the normal form: ids from 1 in order, strings numbered by first use,
//! nothing that no sample refers to but the mappings, which are listed as they were.
//!
//! What pprof says and the model has no field for travels as attributes: `pprof.location.is_folded` on locations,
//! `pprof.mapping.has_functions`, `.has_filenames`, `.has_line_numbers`, `.has_inline_frames` and
//! `process.executable.build_id.gnu` (or `.go`, for ids with a slash) on mappings.

mod decode;
mod encode;
mod identity;
mod known_stacks;
mod labels;
mod outline;
mod samples;
#[cfg(test)]
mod tests;

pub use decode::{decode, decode_within};
pub use encode::{EncodeOptions, ResourceText, encode};

use super::room::Excess;
use super::wire::WireError;
use super::{DecodeError, Format, Limit, Limits, OutOfBudget};

const IS_FOLDED: &str = "pprof.location.is_folded";
const BUILD_ID_GNU: &str = "process.executable.build_id.gnu";
const BUILD_ID_GO: &str = "process.executable.build_id.go";
const BUILD_ID_HTLHASH: &str = "process.executable.build_id.htlhash";

/// The flags of a mapping with their field numbers.
const MAPPING_FLAGS: [(u32, &str); 4] = [
    (7, "pprof.mapping.has_functions"),
    (8, "pprof.mapping.has_filenames"),
    (9, "pprof.mapping.has_line_numbers"),
    (10, "pprof.mapping.has_inline_frames"),
];

fn malformed(offset: usize, problem: impl Into<String>) -> DecodeError {
    DecodeError::malformed(Format::Pprof, offset, problem)
}

fn too_large(limit: Limit, problem: String) -> DecodeError {
    DecodeError::too_large(
        Format::Pprof,
        limit,
        problem,
        "send profiles of shorter time or raise the limit",
    )
}

fn excess(excess: Excess, limits: &Limits, what: &str) -> DecodeError {
    match excess {
        Excess::TooMany => too_large(Limit::Elements, format!("more than {} {what}", limits.elements)),
        Excess::NoRoom(why) => no_room(why),
    }
}

fn no_room(why: OutOfBudget) -> DecodeError {
    DecodeError::no_room(Format::Pprof, why)
}

fn not_protobuf(error: WireError) -> DecodeError {
    malformed(error.offset, error.problem)
}

fn wrong_type(offset: usize, field: &str) -> DecodeError {
    malformed(offset, format!("{field} has the wrong wire type"))
}
