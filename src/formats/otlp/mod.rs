//! OTLP profiles: protobuf and OTLP/JSON; and requests of OTLP spans, which pass as they came (`traces.rs`).
//!
//! Writes what proto 1.10 and 1.11 say; reads 1.7, 1.8, 1.9 and 1.10. Field numbers moved between these without any mark on the
//! wire, so [`decode`] settles the version first (see `version.rs`) and only then trusts a number.
//!
//! On the wire a profile has one sample type. Siblings that tell of the same samples become one [`Profile`] of several types
//! here (`zip.rs`), and are split again when written (`encode.rs`). What pprof has and OTLP carries as `pprof.*` attributes lies
//! in the fields of [`Profile`] (`lift.rs`, `lower.rs`).
//!
//! A defective dictionary, resource or scope is an error of the whole request. A defective profile is left out and counted in
//! [`Decoded::rejected`], each profile as received counting 1, also where siblings would have been joined.
//!
//! [`Profile`]: crate::profile::Profile

mod attributes;
mod columns;
mod cut;
mod decode;
mod defect;
mod dictionary;
mod encode;
mod json;
mod lift;
mod lower;
mod outline;
mod profile;
mod response;
mod samples;
mod samples_1_7;
mod scale;
mod sets;
pub mod span_edit;
pub mod spans;
mod stacks;
#[cfg(test)]
mod tests;
mod traces;
mod twins;
mod version;
mod zip;

pub use encode::{encode, encode_within};
pub use json::{decode_json, decode_json_within, encode_json, encode_json_within};
pub use response::{response, response_json};
pub use scale::Scale;
pub use traces::Traces;

use std::fmt;

use super::room::{Room, Unlimited};
use super::{DecodeError, Decoded, Limits, overflow};

/// A release of opentelemetry-proto, as far as the wire of profiles differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WireVersion {
    /// 1.7: several sample types in a profile, locations by start and length.
    V1_7,
    /// 1.8: comments in the profile.
    V1_8,
    /// 1.9: the numbers of 1.8 in samples.
    V1_9,
    /// 1.10 and 1.11.
    #[default]
    V1_10,
}

impl fmt::Display for WireVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_7 => "1.7",
            Self::V1_8 => "1.8",
            Self::V1_9 => "1.9",
            Self::V1_10 => "1.10",
        })
    }
}

/// Reads an `ExportProfilesServiceRequest` or `ProfilesData`.
///
/// Where 1.9 and 1.10 both fit the bytes and mean different things, `assume` decides, and that counts as a repair.
pub fn decode(bytes: &[u8], limits: &Limits, assume: WireVersion) -> Result<Decoded, DecodeError> {
    decode_within(bytes, limits, assume, &Unlimited)
}

/// The same, with memory from `room`.
pub fn decode_within(
    bytes: &[u8],
    limits: &Limits,
    assume: WireVersion,
    room: &dyn Room,
) -> Result<Decoded, DecodeError> {
    let decoded = decode::request(bytes, limits, version::Choice::Detect { assume }, room)?;
    Ok(overflow::bound(decoded, limits))
}
