//! Tells OTLP and pprof apart: both begin with fields 1 and 2, and differ in what is inside the first.

use crate::formats::Format;
use crate::formats::wire::{Field, Reader};

/// The format of protobuf bytes; none if they are neither.
///
/// Field 1 is `resource_profiles` in OTLP, whose fields are all messages or text, and `sample_type` in pprof, whose fields are
/// all numbers. Field 2 is OTLP's dictionary and pprof's sample; every other field is pprof's. Letters are fields too, mostly those
/// that are numbers in pprof, so a number alone tells only where all of it is one message, and text is none.
pub(super) fn sniff(bytes: &[u8]) -> Option<Format> {
    if is_text(bytes) {
        return None;
    }
    let mut reader = Reader::new(bytes);
    let (mut has_dictionary, mut has_numbers) = (false, false);
    while let Ok(Some((number, field))) = reader.field() {
        match (number, field) {
            (1, Field::Bytes(mut inside)) => match inside.field() {
                Ok(Some((1..=2, Field::Varint(_)))) => return Some(Format::Pprof),
                Ok(Some((1..=3, Field::Bytes(_)))) => return Some(Format::Otlp),
                Ok(None) => {}
                _ => return None,
            },
            (2, Field::Bytes(_)) => has_dictionary = true,
            (3..=6 | 11, Field::Bytes(_)) => return Some(Format::Pprof),
            (7..=10 | 12..=15, Field::Varint(_)) => has_numbers = true,
            (13, Field::Bytes(_)) => return Some(Format::Pprof),
            _ => return None,
        }
    }
    match reader.is_empty() {
        true if has_numbers => Some(Format::Pprof),
        true if has_dictionary => Some(Format::Otlp),
        _ => None,
    }
}

/// How much is looked at to tell text.
const HEAD: usize = 512;

/// Whether bytes begin as text does: the lengths and small numbers of a message of profiles are no letters.
fn is_text(bytes: &[u8]) -> bool {
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    let strange = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    !head.iter().any(strange)
}
