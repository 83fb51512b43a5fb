//! The raw decoders, each held to a number of bytes, and to memory in proportion to what the input has proved so far.

use std::io::Read;

use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

use super::ContentEncoding;
use crate::formats::room::{OutOfBudget, Room};

/// Why a layer does not come off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Wrong or missing bytes, and how far the decoder got.
    Corrupt { offset: usize },
    /// More than may come out.
    TooLarge,
    /// No memory for what comes out.
    NoRoom(OutOfBudget),
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

/// What comes out of a layer. Its memory is asked for before it is taken.
pub(super) struct Output<'a> {
    bytes: Vec<u8>,
    most: usize,
    room: &'a dyn Room,
}

impl<'a> Output<'a> {
    /// For `most` bytes at most.
    pub fn new(most: usize, room: &'a dyn Room) -> Self {
        Self {
            bytes: Vec::new(),
            most,
            room,
        }
    }

    /// Doubles the capacity if it is used up, to one byte above the most: the byte that tells full from too much.
    fn grow(&mut self) -> Result<(), Failure> {
        let len = self.bytes.len();
        if len == self.bytes.capacity() {
            let left = self.most.saturating_add(1).saturating_sub(len);
            let step = len.max(FIRST_STEP).min(left);
            self.room.take(step).map_err(Failure::NoRoom)?;
            self.bytes.reserve_exact(step);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.bytes.len() > self.most
    }

    /// What came out, if it is no more than it may be.
    fn finish(self) -> Result<Vec<u8>, Failure> {
        match self.is_full() {
            true => Err(Failure::TooLarge),
            false => Ok(self.bytes),
        }
    }

    /// Reads to the end, or until it is full; whether all was well with the input.
    pub fn read_all(&mut self, from: &mut impl Read) -> Result<std::io::Result<()>, Failure> {
        while !self.is_full() {
            self.grow()?;
            let free = self.bytes.capacity() - self.bytes.len();
            match from.by_ref().take(free as u64).read_to_end(&mut self.bytes) {
                Ok(read) if read < free => break,
                Ok(_) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }
}

pub(super) fn inflate(encoding: ContentEncoding, bytes: &[u8], out: Output<'_>) -> Result<Vec<u8>, Failure> {
    match encoding {
        ContentEncoding::Identity => Ok(bytes.to_vec()),
        ContentEncoding::Gzip => match gzip_of_known_size(bytes, &out)? {
            Some(plain) => Ok(plain),
            None => gzip(bytes, out),
        },
        ContentEncoding::Deflate => deflate(bytes, out),
        ContentEncoding::Zstd => zstd(bytes, out),
        ContentEncoding::Snappy if bytes.starts_with(b"\xff\x06\x00\x00sNaPpY") => snappy_frames(bytes, out),
        ContentEncoding::Snappy => snappy_block(bytes, &out),
        ContentEncoding::Lz4 => lz4(bytes, out),
    }
}

/// A gzip file of one member says in its last four bytes how large it is, and libdeflate is twice as fast when it knows.
///
/// The claim is a hint: none, rather than an error, whenever it does not hold, and the streaming decoder has the last word.
fn gzip_of_known_size(bytes: &[u8], out: &Output<'_>) -> Result<Option<Vec<u8>>, Failure> {
    let Some(size) = claimed_size(bytes).filter(|size| *size <= out.most) else {
        return Ok(None);
    };
    out.room.take(size).map_err(Failure::NoRoom)?;
    let plain = gzip_of_one_member(bytes, size);
    if plain.is_none() {
        out.room.give_back(size);
    }
    Ok(plain)
}

/// The size in the last bytes, if the others can be that much.
fn claimed_size(bytes: &[u8]) -> Option<usize> {
    let size = usize::try_from(u32::from_le_bytes(*bytes.last_chunk()?)).ok()?;
    (size > 0 && size / DEFLATE_RATIO <= bytes.len()).then_some(size)
}

fn gzip_of_one_member(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let trailer = bytes.last_chunk::<8>()?;
    let [c0, c1, c2, c3, ..] = *trailer;
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

fn gzip(bytes: &[u8], mut out: Output<'_>) -> Result<Vec<u8>, Failure> {
    let mut decoder = GzDecoder::new(bytes);
    loop {
        if out.read_all(&mut decoder)?.is_err() {
            return Err(corrupt(bytes, decoder.get_ref()));
        }
        let rest = *decoder.get_ref();
        if out.is_full() || is_padding(rest) {
            return out.finish();
        }
        if !rest.starts_with(&[0x1f, 0x8b]) {
            return Err(corrupt(bytes, rest));
        }
        decoder.reset(rest);
    }
}

/// zlib, or bare deflate if there is no zlib header. Driven by hand, because flate2's readers take a cut stream for a whole one.
fn deflate(bytes: &[u8], mut out: Output<'_>) -> Result<Vec<u8>, Failure> {
    let mut decoder = Decompress::new(has_zlib_header(bytes));
    let rest = |decoder: &Decompress| {
        let read = usize::try_from(decoder.total_in()).ok();
        read.and_then(|read| bytes.get(read..)).unwrap_or_default()
    };
    loop {
        out.grow()?;
        let status = decoder.decompress_vec(rest(&decoder), &mut out.bytes, FlushDecompress::None);
        if out.is_full() {
            return out.finish();
        }
        match status {
            Ok(Status::StreamEnd) if is_padding(rest(&decoder)) => return out.finish(),
            Ok(Status::Ok | Status::BufError) if out.bytes.len() == out.bytes.capacity() => {}
            _ => return Err(corrupt(bytes, rest(&decoder))),
        }
    }
}

fn has_zlib_header(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

fn zstd(bytes: &[u8], mut out: Output<'_>) -> Result<Vec<u8>, Failure> {
    let corrupt_at_start = Failure::Corrupt { offset: 0 };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(|_| corrupt_at_start)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| corrupt_at_start)?;
    if let Err(error) = out.read_all(&mut decoder)? {
        // the crate hands on the library's own text and nothing else
        return Err(match error.to_string().contains("too much memory") {
            true => Failure::WindowTooLarge,
            false => corrupt(bytes, decoder.get_ref()),
        });
    }
    out.finish()
}

fn snappy_block(bytes: &[u8], out: &Output<'_>) -> Result<Vec<u8>, Failure> {
    let size = snappy_size(bytes, out.most)?;
    out.room.take(size).map_err(Failure::NoRoom)?;
    let plain = snap::raw::Decoder::new().decompress_vec(bytes);
    plain.map_err(|_| Failure::Corrupt { offset: 0 })
}

/// The size that a block claims in its first bytes, if the rest of it can be that much: the decoder takes the memory at once.
pub(super) fn snappy_size(bytes: &[u8], most: usize) -> Result<usize, Failure> {
    match snap::raw::decompress_len(bytes) {
        Ok(size) if size > most => Err(Failure::TooLarge),
        Ok(size) if !bytes.is_empty() && size / SNAPPY_RATIO <= bytes.len() => Ok(size),
        _ => Err(Failure::Corrupt { offset: 0 }),
    }
}

fn snappy_frames(bytes: &[u8], mut out: Output<'_>) -> Result<Vec<u8>, Failure> {
    let mut decoder = snap::read::FrameDecoder::new(bytes);
    if out.read_all(&mut decoder)?.is_err() {
        return Err(corrupt(bytes, decoder.get_ref()));
    }
    out.finish()
}

fn lz4(bytes: &[u8], mut out: Output<'_>) -> Result<Vec<u8>, Failure> {
    let mut decoder = lz4_flex::frame::FrameDecoder::new(Endless(bytes));
    // the reader pauses after each frame
    loop {
        let read = out.read_all(&mut decoder)?;
        let rest = decoder.get_ref().0;
        if read.is_err() {
            return Err(corrupt(bytes, rest));
        }
        if out.is_full() || rest.is_empty() {
            return out.finish();
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

fn corrupt(bytes: &[u8], rest: &[u8]) -> Failure {
    Failure::Corrupt {
        offset: bytes.len() - rest.len(),
    }
}

/// Tapes and block devices pad with zeros.
fn is_padding(rest: &[u8]) -> bool {
    rest.iter().all(|byte| *byte == 0)
}
