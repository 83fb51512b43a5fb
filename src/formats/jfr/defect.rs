//! What is wrong with a chunk, small enough to travel through the innermost loops.

use crate::formats::room::OutOfBudget;
use crate::formats::{DecodeError, Fault, Format, Limit};

/// Why a chunk, or one event of it, cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// Wrong bytes, so many bytes behind the start of the chunk.
    Malformed { at: usize, problem: &'static str },
    /// More of something than there may be.
    TooLarge(Limit),
    /// No memory for it.
    NoRoom(OutOfBudget),
}

impl Defect {
    /// For the sender; `start` is where the chunk begins.
    pub fn told(self, start: usize) -> DecodeError {
        match self {
            Self::Malformed { at, problem } => {
                DecodeError::malformed(Format::Jfr, start.saturating_add(at), problem).with_remedy(REMEDY)
            }
            Self::TooLarge(limit) => {
                let problem = "more stacks, frames, types or text than a recording may have";
                DecodeError::too_large(Format::Jfr, limit, problem, "record for a shorter time")
            }
            Self::NoRoom(why) => DecodeError::no_room(Format::Jfr, why),
        }
    }
}

const REMEDY: &str = "check the file with jfr summary; it may be cut or still being written";

/// Whether what is wrong is wrong with one chunk, so that the next may still be read.
pub(super) fn is_of_one_chunk(error: &DecodeError) -> bool {
    matches!(error.fault, Fault::Malformed | Fault::Unsupported)
}
