//! Bytes that nobody named a format for: compression comes off, the content tells what they are, and that is decoded.

use bytes::Bytes;

use super::jfr::JfrConfig;
use crate::formats::any::decode_as_asked;
use crate::formats::compress::{ContentEncoding, Inflation};
use crate::formats::{Decoded, Limits, sniff};
use crate::pipeline::{Permit, Received, Refusal};

/// How profiles are read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// What one may hold.
    pub limits: Limits,
    /// What is taken of recordings of the JVM.
    pub jfr: JfrConfig,
}

/// Decodes a body that came with these encodings, within the memory that `permit` is given.
pub(super) fn decode(
    sent: Bytes,
    encodings: &[ContentEncoding],
    reading: &Reading,
    permit: &Permit,
) -> Result<(Decoded, Received), Refusal> {
    let mut inflation = Inflation::within(&reading.limits, permit);
    let body = inflation.inflate_all(encodings, sent)?;
    let bytes = inflation.unwrap_layers(body)?;
    permit.set(bytes.len())?;
    let format = sniff(&bytes)?;
    let decoded = decode_as_asked(format, &bytes, &reading.jfr.options(&[]), &reading.limits, permit)?;
    Ok((decoded, Received { format, bytes }))
}
