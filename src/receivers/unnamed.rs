//! Bytes that nobody named a format for: compression comes off, the content tells what they are, and that is decoded.

use bytes::Bytes;

use super::jfr::JfrConfig;
use crate::formats::any::{AnyError, decode_as_asked, decode_file};
use crate::formats::compress::{ContentEncoding, Inflation};
use crate::formats::{DecodeError, Decoded, Limits, sniff};
use crate::pipeline::{Permit, Received};

/// How profiles are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// What one may hold.
    pub limits: Limits,
    /// What is taken of recordings of the JVM.
    pub jfr: JfrConfig,
}

/// Where bytes come from, which decides what they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// One message.
    Body,
    /// A file, which may hold many messages of OTLP.
    File,
}

/// Decodes what came with these encodings, within the memory that `permit` is given.
pub(super) fn decode(
    source: Source,
    sent: Bytes,
    encodings: &[ContentEncoding],
    reading: &Reading,
    permit: &Permit,
) -> Result<(Decoded, Received), AnyError> {
    let (limits, jfr) = (&reading.limits, reading.jfr.options(&[]));
    let mut inflation = Inflation::within(limits, permit);
    let body = inflation.inflate_all(encodings, sent)?;
    let bytes = inflation.unwrap_layers(body)?;
    let format = sniff(&bytes)?;
    permit
        .set(bytes.len())
        .map_err(|why| DecodeError::no_room(format, why))?;
    let decoded = match source {
        Source::Body => decode_as_asked(format, &bytes, &jfr, limits, permit)?,
        Source::File => decode_file(format, &bytes, &jfr, limits, permit)?,
    };
    Ok((decoded, Received { format, bytes }))
}
