//! OTLP/JSON. One table of names and numbers (`schema.rs`) carries JSON over to protobuf and back, so that both encodings pass the
//! same checks and say the same.
//!
//! Names are lowerCamelCase, and snake_case is read too; ids are hex, other bytes base64, 64-bit numbers strings (numbers are read
//! too); unknown names are ignored and what is absent has its default. The names of 1.8 (`sample`, `line`) are read. Since numbers
//! have names here, no version has to be guessed.

mod read;
mod schema;
mod spans;
mod write;

use super::version::Choice;
use super::{WireVersion, decode};
use crate::formats::room::{Room, Unlimited};
use crate::formats::{DecodeError, Decoded, EncodeError, Format, Limits, Rejected, overflow};
use crate::profile::Profiles;

/// Reads an `ExportProfilesServiceRequest` or `ProfilesData` in OTLP/JSON.
pub fn decode_json(text: &[u8], limits: &Limits) -> Result<Decoded, DecodeError> {
    decode_json_within(text, limits, &Unlimited)
}

/// The same, with memory from `room`.
pub fn decode_json_within(text: &[u8], limits: &Limits, room: &dyn Room) -> Result<Decoded, DecodeError> {
    let carried = read::to_protobuf(text, &schema::REQUEST, limits, room)?;
    let decoded = decode::request(&carried.bytes, limits, Choice::Known(WireVersion::V1_10), room);
    let decoded = decoded.map_err(|defect| of_json(defect.into()))?;
    let decoded = overflow::bound(decoded, limits);
    Ok(Decoded {
        rejected: Rejected {
            profiles: decoded.rejected.profiles,
            first: decoded.rejected.first.map(of_json),
        },
        exact: false,
        repairs: decoded.repairs + carried.repairs,
        ..decoded
    })
}

/// A defect found after the text became protobuf: its path holds for both, its offset does not.
pub(super) fn of_json(error: DecodeError) -> DecodeError {
    DecodeError {
        format: Format::OtlpJson,
        offset: None,
        ..error
    }
}

/// Writes an `ExportProfilesServiceRequest` in OTLP/JSON.
pub fn encode_json(profiles: &Profiles) -> Vec<u8> {
    write::from_protobuf(&super::encode(profiles), &schema::REQUEST, usize::MAX)
}

/// The same in `most` bytes.
pub fn encode_json_within(profiles: &Profiles, most: usize) -> Result<Vec<u8>, EncodeError> {
    let too_large = |_| EncodeError::too_large(Format::OtlpJson);
    let protobuf = super::encode_within(profiles, most).map_err(too_large)?;
    let json = write::from_protobuf(&protobuf, &schema::REQUEST, most);
    match json.len() > most {
        true => Err(EncodeError::too_large(Format::OtlpJson)),
        false => Ok(json),
    }
}

/// Carries a request of spans over to protobuf.
pub(super) fn spans_to_protobuf(text: &[u8], limits: &Limits, room: &dyn Room) -> Result<Vec<u8>, DecodeError> {
    Ok(read::to_protobuf(text, &spans::REQUEST, limits, room)?.bytes)
}

/// Carries a request of spans over from protobuf; somewhat more than `most` bytes where they do not suffice.
pub(super) fn spans_from_protobuf(request: &[u8], most: usize) -> Vec<u8> {
    write::from_protobuf(request, &spans::REQUEST, most)
}
