//! Every compression that profiles travel in, and the only place with raw encoders and decoders.
//!
//! Outwards: [`compress`] by a [`Compression`]. Inwards: an [`Inflation`] holds the byte budget of one request, and every layer
//! of that request draws on it, whether a header named the layer or its magic number did.

mod error;
#[allow(clippy::disallowed_types)] // the raw decoders are banned everywhere else: see clippy.toml
mod inflate;
mod inflation;

use std::io::Write;

pub use error::{CompressError, CompressProblem, CompressionError};
pub use inflation::Inflation;

/// How bytes are compressed on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, level 0 to 9.
    Gzip(u32),
    /// zlib, level 0 to 9 (HTTP calls it `deflate`).
    Deflate(u32),
    /// Zstandard, level 1 to 19.
    Zstd(i32),
    /// Snappy block format.
    Snappy,
    /// LZ4 frame format.
    Lz4,
}

/// What gzip and zlib take where nobody names a level.
const DEFLATE_LEVEL: i32 = 6;
/// What Zstandard takes where nobody names a level: about gzip 6 in size, at a tenth of its cost.
const ZSTD_LEVEL: i32 = 1;

impl Compression {
    /// Reads the name and level of a configuration; no level, or -1 as in the Collector, is the usual one.
    pub fn parse(name: &str, level: Option<i32>) -> Result<Self, CompressionError> {
        let level = level.filter(|level| *level != -1);
        let within = |lowest: i32, usual: i32, highest: i32| match level.unwrap_or(usual) {
            level if (lowest..=highest).contains(&level) => Ok(level),
            _ => Err(CompressionError::Level { lowest, highest }),
        };
        let plain = |compression| match level {
            None | Some(0) => Ok(compression),
            Some(_) => Err(CompressionError::NoLevels),
        };
        match name {
            "" | "none" => plain(Self::None),
            "gzip" => Ok(Self::Gzip(within(0, DEFLATE_LEVEL, 9)?.unsigned_abs())),
            "deflate" | "zlib" => Ok(Self::Deflate(within(0, DEFLATE_LEVEL, 9)?.unsigned_abs())),
            "zstd" => Ok(Self::Zstd(within(1, ZSTD_LEVEL, 19)?)),
            "snappy" => plain(Self::Snappy),
            "lz4" => plain(Self::Lz4),
            _ => Err(CompressionError::Name),
        }
    }

    /// The token of the HTTP header `content-encoding`; none for bytes as they are.
    pub const fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip(_) => Some("gzip"),
            Self::Deflate(_) => Some("deflate"),
            Self::Zstd(_) => Some("zstd"),
            Self::Snappy => Some("snappy"),
            Self::Lz4 => Some("lz4"),
        }
    }
}

/// How bytes are compressed on the way in: one token of the HTTP header `content-encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentEncoding {
    /// Not at all.
    Identity,
    /// gzip, of one member or several.
    Gzip,
    /// zlib, or bare deflate, which HTTP clients send under the same name.
    Deflate,
    /// Zstandard, of one frame or several.
    Zstd,
    /// Snappy, as a block or as a stream of frames.
    Snappy,
    /// LZ4 frames.
    Lz4,
}

impl ContentEncoding {
    /// Reads the value of the header `content-encoding`: the encodings in the order in which they were applied.
    pub fn parse_list(header: &str) -> Result<Vec<Self>, CompressError> {
        let tokens = header.split(',').map(str::trim).filter(|token| !token.is_empty());
        tokens.map(Self::parse).collect()
    }

    fn parse(token: &str) -> Result<Self, CompressError> {
        let known = [
            ("identity", Self::Identity),
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("deflate", Self::Deflate),
            ("zlib", Self::Deflate),
            ("zstd", Self::Zstd),
            ("snappy", Self::Snappy),
            ("x-snappy-framed", Self::Snappy),
            ("lz4", Self::Lz4),
        ];
        let found = known.iter().find(|(name, _)| token.eq_ignore_ascii_case(name));
        found.map(|(_, encoding)| *encoding).ok_or(CompressError {
            encoding: None,
            problem: CompressProblem::Unsupported,
        })
    }

    /// The encoding whose magic number `bytes` begin with. Only those that no profile format can begin with.
    fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The name in error texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
        }
    }
}

/// Compresses a whole body. Levels mean what they mean to zlib and Zstandard: more is smaller and slower.
pub fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip(level) => {
            let mut encoder = deflater(level);
            let room = encoder.gzip_compress_bound(bytes.len());
            one_shot(room, |out| encoder.gzip_compress(bytes, out).ok())
        }
        Compression::Deflate(level) => {
            let mut encoder = deflater(level);
            let room = encoder.zlib_compress_bound(bytes.len());
            one_shot(room, |out| encoder.zlib_compress(bytes, out).ok())
        }
        Compression::Zstd(level) => {
            let room = zstd::zstd_safe::compress_bound(bytes.len());
            one_shot(room, |out| zstd::bulk::compress_to_buffer(bytes, out, level).ok())
        }
        Compression::Snappy => {
            let room = snap::raw::max_compress_len(bytes.len());
            one_shot(room, |out| snap::raw::Encoder::new().compress(bytes, out).ok())
        }
        Compression::Lz4 => lz4(bytes),
    }
}

fn deflater(level: u32) -> libdeflater::Compressor {
    let level = i32::try_from(level)
        .ok()
        .and_then(|level| libdeflater::CompressionLvl::new(level).ok());
    libdeflater::Compressor::new(level.unwrap_or_default())
}

/// Encoders that are given the room they ask for have no way to fail but that of every allocation.
fn one_shot(room: usize, encode: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut out = vec![0; room];
    let Some(written) = encode(&mut out) else {
        unreachable!("an encoder with all the room it asked for");
    };
    out.truncate(written);
    out.shrink_to_fit(); // bodies wait in queues that count bytes
    out
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    let written = encoder.write_all(bytes).map_err(Into::into);
    match written.and_then(|()| encoder.finish()) {
        Ok(out) => out,
        Err(_) => unreachable!("a write into memory"),
    }
}

#[cfg(test)]
mod tests;
