//! Recordings of JDK Flight Recorder, as the JDK, async-profiler and what grew from that write them.
//!
//! A recording is a diary of a process: besides the samples of profilers it holds system properties, the environment, the command
//! lines of all processes of the host, and what the application logs. Only the events of [`events`] are decoded, and of those only
//! what becomes a stack, a value or a label; everything else is passed over and is nowhere in what comes out.
//!
//! It comes in chunks, each with its own types and constants, so no more than one chunk and the next need to be in memory: [`Recording`]
//! takes them one by one, and equal samples of all of them become one.

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
mod spans;
mod symbols;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use std::io::Read;

use super::room::{Room, Tab, Unlimited};
use super::{DecodeError, Decoded, Format, Limit, Limits};
use chunk::{HEADER_BYTES, Header, MAGIC};
use defect::Defect;
use recording::Recording;

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
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        at = match recording.chunk(rest, at)? {
            Some(size) => at.saturating_add(size),
            None => break,
        };
    }
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

/// Reads an uncompressed recording of any length, two chunks in memory at a time.
pub fn decode_stream(source: &mut dyn Read, options: &Options<'_>, limits: &Limits) -> Result<Streamed, StreamError> {
    decode_stream_within(source, options, limits, &Unlimited)
}

/// The same, with memory from `room`.
pub fn decode_stream_within(
    source: &mut dyn Read,
    options: &Options<'_>,
    limits: &Limits,
    room: &dyn Room,
) -> Result<Streamed, StreamError> {
    let mut recording = Recording::new(options, limits, room)?;
    // the chunk to be read, and the next one behind it
    let (mut chunks, mut bytes) = (Vec::new(), 0);
    let mut memory = Tab::new(room);
    read_chunk(source, limits, bytes, &mut chunks, &mut memory)?;
    while !chunks.is_empty() {
        let size = chunks.len();
        read_chunk(source, limits, bytes + size, &mut chunks, &mut memory)?;
        if recording.chunk(&chunks, bytes)?.is_none() {
            break;
        }
        chunks.drain(..size);
        bytes += size;
    }
    let decoded = recording.finish()?;
    Ok(Streamed { decoded, bytes })
}

/// Adds the chunk that begins at `at` in the recording, or what there is of it.
fn read_chunk(
    source: &mut dyn Read,
    limits: &Limits,
    at: usize,
    into: &mut Vec<u8>,
    memory: &mut Tab<'_>,
) -> Result<(), StreamError> {
    let begin = into.len();
    read_some(source, HEADER_BYTES, into)?;
    // what is no header is for the recording to tell
    let header = Header::read(into.get(begin..).unwrap_or_default());
    let rest = header.map_or(0, |header| header.size - HEADER_BYTES);
    if rest > limits.decompressed_bytes {
        return Err(Defect::TooLarge(Limit::Decompressed).told(at).into());
    }
    let held = memory.hold(into.capacity().max(begin + HEADER_BYTES + rest));
    held.map_err(|why| DecodeError::no_room(Format::Jfr, why))?;
    read_some(source, rest, into)?;
    Ok(())
}

/// Reads so many bytes more, or fewer if there are no more: memory is taken as they come, whatever was announced.
fn read_some(source: &mut dyn Read, bytes: usize, into: &mut Vec<u8>) -> std::io::Result<usize> {
    source.take(bytes as u64).read_to_end(into)
}
