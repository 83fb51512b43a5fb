//! The decompression of one request: one budget of bytes and of layers, whoever named the layers.

use bytes::Bytes;

use super::inflate::{Failure, Output, inflate};
use super::{CompressError, CompressProblem, ContentEncoding};
use crate::formats::Limits;
use crate::formats::limits::RATIO_FLOOR;
use crate::formats::room::{Room, Unlimited};

/// What one request may still decompress to. Every layer draws on the same budget.
pub struct Inflation<'a> {
    room: &'a dyn Room,
    limit: usize,
    bytes_left: usize,
    ratio: usize,
    nesting: usize,
    layers_left: usize,
}

impl Inflation<'static> {
    /// The whole budget of a request, whatever memory it takes.
    pub fn new(limits: &Limits) -> Self {
        Self::within(limits, &Unlimited)
    }
}

impl<'a> Inflation<'a> {
    /// The whole budget of a request, which asks `room` for the memory of what comes out.
    pub fn within(limits: &Limits, room: &'a dyn Room) -> Self {
        Self {
            room,
            limit: limits.decompressed_bytes,
            bytes_left: limits.decompressed_bytes,
            ratio: limits.ratio,
            nesting: limits.nesting,
            layers_left: limits.nesting,
        }
    }

    /// Takes one layer off.
    pub fn inflate(&mut self, encoding: ContentEncoding, bytes: Bytes) -> Result<Bytes, CompressError> {
        if encoding == ContentEncoding::Identity {
            return Ok(bytes);
        }
        let error = |problem| CompressError {
            encoding: Some(encoding),
            problem,
        };
        let limit = self.nesting;
        self.layers_left = (self.layers_left.checked_sub(1)).ok_or(error(CompressProblem::TooNested { limit }))?;
        let by_ratio = bytes.len().saturating_mul(self.ratio).max(RATIO_FLOOR);
        let plain =
            inflate(encoding, &bytes, Output::new(self.bytes_left.min(by_ratio), self.room)).map_err(|failure| {
                error(match failure {
                    Failure::Corrupt { offset } => CompressProblem::Corrupt { offset },
                    Failure::TooLarge if by_ratio < self.bytes_left => {
                        CompressProblem::RatioTooLarge { limit: self.ratio }
                    }
                    Failure::TooLarge => CompressProblem::TooLarge { limit: self.limit },
                    Failure::NoRoom(why) => CompressProblem::NoRoom(why),
                    Failure::WindowTooLarge => CompressProblem::WindowTooLarge,
                })
            })?;
        self.bytes_left = self.bytes_left.saturating_sub(plain.len());
        Ok(plain.into())
    }

    /// Takes off the layers that the header `content-encoding` lists, the last one applied first.
    pub fn inflate_all(&mut self, encodings: &[ContentEncoding], bytes: Bytes) -> Result<Bytes, CompressError> {
        let mut bytes = bytes;
        for encoding in encodings.iter().rev() {
            bytes = self.inflate(*encoding, bytes)?;
        }
        Ok(bytes)
    }

    /// Takes off the layers that no header names, known by their magic numbers: gzip and Zstandard.
    pub fn unwrap_layers(&mut self, bytes: Bytes) -> Result<Bytes, CompressError> {
        let mut bytes = bytes;
        while let Some(encoding) = ContentEncoding::sniff(&bytes) {
            bytes = self.inflate(encoding, bytes)?;
        }
        Ok(bytes)
    }

    /// The same for one of several payloads side by side: their bytes add up, their layers do not.
    pub fn unwrap_sibling(&mut self, bytes: Bytes) -> Result<Bytes, CompressError> {
        let layers = self.layers_left;
        let plain = self.unwrap_layers(bytes);
        self.layers_left = layers;
        plain
    }
}
