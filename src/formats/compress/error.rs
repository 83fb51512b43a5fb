//! Why bytes do not decompress, and why a configured compression does not exist.

use std::fmt;

use super::ContentEncoding;
use crate::formats::{Fault, Limit, OutOfBudget};

/// A body that does not decompress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CompressError {
    /// The encoding that was tried; none if the sender named one that does not exist here.
    pub encoding: Option<ContentEncoding>,
    /// What is wrong.
    pub problem: CompressProblem,
}

/// What is wrong with a compressed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressProblem {
    /// Wrong or missing bytes.
    Corrupt {
        /// Where in the compressed bytes of this layer, as far as the decoder got.
        offset: usize,
    },
    /// More bytes than a request may hold.
    TooLarge {
        /// How many it may hold, over all layers.
        limit: usize,
    },
    /// Better compressed than profiles ever are.
    RatioTooLarge {
        /// How many times the compressed size it may come to.
        limit: usize,
    },
    /// No memory for what comes out.
    NoRoom(OutOfBudget),
    /// More memory needed to decode than we give.
    WindowTooLarge,
    /// More layers than a request may have.
    TooNested {
        /// How many it may have.
        limit: usize,
    },
    /// An encoding that is not spoken here.
    Unsupported,
}

impl CompressError {
    /// Which answer the sender gets.
    pub const fn fault(&self) -> Fault {
        match self.problem {
            CompressProblem::Corrupt { .. } => Fault::Malformed,
            CompressProblem::TooLarge { .. } => Fault::TooLarge(Limit::Decompressed),
            CompressProblem::RatioTooLarge { .. } => Fault::TooLarge(Limit::Ratio),
            CompressProblem::NoRoom(why) => Fault::NoRoom(why),
            CompressProblem::WindowTooLarge => Fault::TooLarge(Limit::Window),
            CompressProblem::TooNested { .. } => Fault::TooLarge(Limit::Nesting),
            CompressProblem::Unsupported => Fault::Unsupported,
        }
    }
}

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.encoding.map_or("content-encoding", ContentEncoding::name);
        match self.problem {
            CompressProblem::Corrupt { offset } => {
                write!(
                    f,
                    "{name}: corrupt or cut short at byte {offset}; send the whole body, compressed once more"
                )
            }
            CompressProblem::TooLarge { limit } => {
                write!(
                    f,
                    "{name}: more than {limit} bytes when decompressed; send less in one request"
                )
            }
            CompressProblem::RatioTooLarge { limit } => {
                write!(
                    f,
                    "{name}: more than {limit} times its compressed size, which no profile is; send less in one request"
                )
            }
            CompressProblem::NoRoom(why) => write!(f, "{name}: {why}"),
            CompressProblem::WindowTooLarge => {
                write!(
                    f,
                    "{name}: a window above 8 MiB; compress at level 19 or lower and without long mode"
                )
            }
            CompressProblem::TooNested { limit } => {
                write!(f, "{name}: more than {limit} layers of compression; compress once")
            }
            CompressProblem::Unsupported => {
                write!(
                    f,
                    "{name}: not spoken here; use gzip, zstd, deflate, snappy, lz4 or identity"
                )
            }
        }
    }
}

/// A configured compression that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// No such name.
    #[error("unknown compression; use gzip, zstd, deflate (or zlib), snappy, lz4 or none")]
    Name,
    /// A level outside the range.
    #[error("no such compression level; use {lowest} to {highest}")]
    Level {
        /// The fastest.
        lowest: i32,
        /// The smallest output.
        highest: i32,
    },
    /// A level for a compression that has none.
    #[error("this compression has no levels; leave the level out")]
    NoLevels,
}
