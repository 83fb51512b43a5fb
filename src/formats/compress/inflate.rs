//! The raw decoders, each held to `room` bytes of output, and to memory in proportion to what the input has proved so far.

use std::io::Read;

use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

use super::ContentEncoding;

/// Why a layer does not come off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Wrong or missing bytes, and how far the decoder got.
    Corrupt { offset: usize },
    /// More than `room` bytes.
    TooLarge,
    /// Zstandard's window.
    WindowTooLarge,
}

/// Deflate turns at most 1032 bytes into one.
const DEFLATE_RATIO: usize = 1032;
/// Snappy's best instruction copies 64 bytes and takes 3.
const SNAPPY_RATIO: usize = 22;
/// Zstandard's window, as a power of two: 8 MiB, which every decoder is asked to support and level 19 does not exceed.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Output grows by doubling from here.
const FIRST_STEP: usize = 64 << 10;

pub(super) fn inflate(encoding: ContentEncoding, bytes: &[u8], room: usize) -> Result<Vec<u8>, Failure> {
    match encoding {
        ContentEncoding::Identity => Ok(bytes.to_vec()),
        ContentEncoding::Gzip => match gzip_of_known_size(bytes, room) {
            Some(plain) => Ok(plain),
            None => gzip(bytes, room),
        },
        ContentEncoding::Deflate => deflate(bytes, room),
        ContentEncoding::Zstd => zstd(bytes, room),
        ContentEncoding::Snappy if bytes.starts_with(b"\xff\x06\x00\x00sNaPpY") => snappy_frames(bytes, room),
        ContentEncoding::Snappy => snappy_block(bytes, room),
        ContentEncoding::Lz4 => lz4(bytes, room),
    }
}

/// A gzip file of one member says in its last four bytes how large it is, and libdeflate is twice as fast when it knows.
///
/// The claim is a hint: none, rather than an error, whenever it does not hold, and the streaming decoder has the last word.
fn gzip_of_known_size(bytes: &[u8], room: usize) -> Option<Vec<u8>> {
    let trailer = bytes.last_chunk::<8>()?;
    let [c0, c1, c2, c3, size @ ..] = *trailer;
    let size = usize::try_from(u32::from_le_bytes(size)).ok()?;
    if size == 0 || size > room || size / DEFLATE_RATIO > bytes.len() {
        return None;
    }
    let mut plain = vec![0; size];
    let written = libdeflater::Decompressor::new()
        .gzip_decompress(bytes, &mut plain)
        .ok()?;
    let crc = u32::from_le_bytes([c0, c1, c2, c3]);
    // libdeflate stops after the first member without saying where. That member ends in its own checksum and size, so it is the
    // only one if those are the last eight bytes and stand nowhere else.
    let only_member = written == size
        && libdeflater::crc32(&plain) == crc
        && memchr::memmem::find(bytes, trailer) == Some(bytes.len() - trailer.len());
    only_member.then_some(plain)
}

fn gzip(bytes: &[u8], room: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let mut decoder = GzDecoder::new(bytes);
    loop {
        if read_all(&mut decoder, &mut out, room).is_err() {
            return Err(corrupt(bytes, decoder.get_ref()));
        }
        if out.len() > room {
            return Err(Failure::TooLarge);
        }
        let rest = *decoder.get_ref();
        if is_padding(rest) {
            return Ok(out);
        }
        if !rest.starts_with(&[0x1f, 0x8b]) {
            return Err(corrupt(bytes, rest));
        }
        decoder.reset(rest);
    }
}

/// zlib, or bare deflate if there is no zlib header. Driven by hand, because flate2's readers take a cut stream for a whole one.
fn deflate(bytes: &[u8], room: usize) -> Result<Vec<u8>, Failure> {
    let mut decoder = Decompress::new(has_zlib_header(bytes));
    let mut out = Vec::new();
    loop {
        grow(&mut out, room);
        let rest = usize::try_from(decoder.total_in())
            .ok()
            .and_then(|read| bytes.get(read..));
        let rest = rest.unwrap_or_default();
        let status = decoder.decompress_vec(rest, &mut out, FlushDecompress::None);
        let rest = usize::try_from(decoder.total_in())
            .ok()
            .and_then(|read| bytes.get(read..));
        let rest = rest.unwrap_or_default();
        if out.len() > room {
            return Err(Failure::TooLarge);
        }
        match status {
            Ok(Status::StreamEnd) if is_padding(rest) => return Ok(out),
            Ok(Status::Ok | Status::BufError) if out.len() == out.capacity() => {}
            _ => return Err(corrupt(bytes, rest)),
        }
    }
}

fn has_zlib_header(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

fn zstd(bytes: &[u8], room: usize) -> Result<Vec<u8>, Failure> {
    let corrupt_at_start = Failure::Corrupt { offset: 0 };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(|_| corrupt_at_start)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| corrupt_at_start)?;
    let mut out = Vec::new();
    if let Err(error) = read_all(&mut decoder, &mut out, room) {
        // the crate hands on the library's own text and nothing else
        return Err(match error.to_string().contains("too much memory") {
            true => Failure::WindowTooLarge,
            false => corrupt(bytes, decoder.get_ref()),
        });
    }
    within(out, room)
}

fn snappy_block(bytes: &[u8], room: usize) -> Result<Vec<u8>, Failure> {
    snappy_size(bytes, room)?;
    let plain = snap::raw::Decoder::new().decompress_vec(bytes);
    plain.map_err(|_| Failure::Corrupt { offset: 0 })
}

/// The size that a block claims in its first bytes, if the rest of it can be that much: the decoder takes the memory at once.
pub(super) fn snappy_size(bytes: &[u8], room: usize) -> Result<usize, Failure> {
    match snap::raw::decompress_len(bytes) {
        Ok(size) if size > room => Err(Failure::TooLarge),
        Ok(size) if !bytes.is_empty() && size / SNAPPY_RATIO <= bytes.len() => Ok(size),
        _ => Err(Failure::Corrupt { offset: 0 }),
    }
}

fn snappy_frames(bytes: &[u8], room: usize) -> Result<Vec<u8>, Failure> {
    let mut decoder = snap::read::FrameDecoder::new(bytes);
    let mut out = Vec::new();
    if read_all(&mut decoder, &mut out, room).is_err() {
        return Err(corrupt(bytes, decoder.get_ref()));
    }
    within(out, room)
}

fn lz4(bytes: &[u8], room: usize) -> Result<Vec<u8>, Failure> {
    let mut decoder = lz4_flex::frame::FrameDecoder::new(Endless(bytes));
    let mut out = Vec::new();
    // the reader pauses after each frame
    loop {
        let read = read_all(&mut decoder, &mut out, room);
        let rest = decoder.get_ref().0;
        if read.is_err() {
            return Err(corrupt(bytes, rest));
        }
        if out.len() > room {
            return Err(Failure::TooLarge);
        }
        if rest.is_empty() {
            return Ok(out);
        }
    }
}

/// Input whose end is an error: the LZ4 reader takes a frame that lacks its end mark for a whole one.
struct Endless<'a>(&'a [u8]);

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(std::io::ErrorKind::InvalidData.into()),
            read => Ok(read),
        }
    }
}

fn within(out: Vec<u8>, room: usize) -> Result<Vec<u8>, Failure> {
    if out.len() > room {
        Err(Failure::TooLarge)
    } else {
        Ok(out)
    }
}

fn corrupt(bytes: &[u8], rest: &[u8]) -> Failure {
    Failure::Corrupt {
        offset: bytes.len() - rest.len(),
    }
}

/// Tapes and block devices pad with zeros.
fn is_padding(rest: &[u8]) -> bool {
    rest.iter().all(|byte| *byte == 0)
}

/// Reads to the end, or until `out` holds one byte more than `room`.
pub(super) fn read_all(from: &mut impl Read, out: &mut Vec<u8>, room: usize) -> std::io::Result<()> {
    while out.len() <= room {
        grow(out, room);
        let free = out.capacity() - out.len();
        let read = from.by_ref().take(free as u64).read_to_end(out)?;
        if read < free {
            return Ok(());
        }
    }
    Ok(())
}

/// Doubles the capacity if it is used up, to `room` and one byte at most: the byte that tells full from too much.
fn grow(out: &mut Vec<u8>, room: usize) {
    if out.len() == out.capacity() {
        let most = room.saturating_add(1).saturating_sub(out.len());
        out.reserve_exact(out.len().max(FIRST_STEP).min(most));
    }
}
