//! Recordings of JDK Flight Recorder, as the JDK, async-profiler and what grew from that write them.
//!
//! A recording is a diary of a process: besides the samples of profilers it holds system properties, the environment, the command
//! lines of all processes of the host, and what the application logs. Only the events of [`events`] are decoded, and of those only
//! what becomes a stack, a value or a label; everything else is passed over and is nowhere in what comes out.
//!
//! It comes in chunks, each with its own types and constants, so no more than one chunk needs to be in memory: [`Recording`] takes them
//! one by one, and equal samples of all of them become one. What ends in one chunk may tell of samples in chunks before it, so there is a
//! look [`ahead`] first, where the types of events say that it may be so.

mod ahead;
mod chunk;
mod columns;
mod context;
mod defect;
mod events;
mod heap;
mod labels;
mod layout;
mod memory;
mod metadata;
#[cfg(test)]
pub(super) mod outline;
mod pools;
mod primitives;
mod recording;
mod samples;
mod schema;
mod settings;
mod sorts;
mod source;
mod spans;
mod symbols;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use std::io::{Read, Seek};

use super::room::{Room, Unlimited};
use super::{DecodeError, Decoded, Limits};
use chunk::MAGIC;
use recording::Recording;
use source::Stream;

/// The attribute of a profile that counts the samples that the profiler could not keep.
pub const LOST_SAMPLES: &str = "jfr.lost_samples";

/// What besides its bytes tells how to read a recording.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The message `LabelsSnapshot` that Pyroscope's agent sends beside it, uncompressed.
    pub labels: &'a [u8],
    /// Whether waits in `sleep`, `wait`, and for files and sockets become a profile too.
    pub off_cpu: bool,
}

/// Whether bytes begin as a recording does.
pub fn is_recording(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads an uncompressed recording.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, DecodeError> {
    decode_within(bytes, &Options::default(), limits, &Unlimited)
}

/// The same, with memory from `room`.
pub fn decode_within(
    bytes: &[u8],
    options: &Options<'_>,
    limits: &Limits,
    room: &dyn Room,
) -> Result<Decoded, DecodeError> {
    let mut recording = Recording::new(options, limits, room)?;
    source::read_all(&mut { bytes }, &mut recording)?;
    recording.finish()
}

/// A recording that was read from a file.
#[derive(Debug)]
pub struct Streamed {
    /// What was in it.
    pub decoded: Decoded,
    /// Bytes that were read.
    pub bytes: usize,
}

/// Why a recording does not come out of a file.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What is in it.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Reads an uncompressed recording of any length, one chunk in memory at a time. Where events may tell of samples in chunks before their
/// own, it is read twice.
pub fn decode_stream(file: impl Read + Seek, options: &Options<'_>, limits: &Limits) -> Result<Streamed, StreamError> {
    decode_stream_within(file, options, limits, &Unlimited)
}

/// The same, with memory from `room`.
pub fn decode_stream_within(
    file: impl Read + Seek,
    options: &Options<'_>,
    limits: &Limits,
    room: &dyn Room,
) -> Result<Streamed, StreamError> {
    let mut recording = Recording::new(options, limits, room)?;
    let bytes = source::read_all(&mut Stream::new(file, limits, room)?, &mut recording)?;
    let decoded = recording.finish()?;
    Ok(Streamed { decoded, bytes })
}
