//! Recordings of JDK Flight Recorder, as the JDK, async-profiler and what grew from that write them.
//!
//! A recording is a diary of a process: besides the samples of profilers it holds system properties, the environment, the command
//! lines of all processes of the host, and what the application logs. Only the events of [`events`] are decoded, and of those only
//! what becomes a stack, a value or a label; everything else is passed over and is nowhere in what comes out.
//!
//! It comes in chunks, each with its own types and constants, so no more than one chunk needs to be in memory: [`Recording`] takes
//! them one by one, and equal samples of all of them become one.

mod chunk;
mod columns;
mod context;
mod defect;
mod events;
mod labels;
mod layout;
mod memory;
mod metadata;
mod pools;
mod primitives;
mod recording;
mod samples;
mod schema;
mod settings;
mod sorts;
mod symbols;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use super::room::{Room, Unlimited};
use super::{DecodeError, Decoded, Limits};
use recording::Recording;

pub(super) use chunk::MAGIC;

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
