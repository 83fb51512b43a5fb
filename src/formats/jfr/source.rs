//! Where the chunks of a recording come from: memory, or a file of any length of which one chunk is in memory at a time.

use std::io::{Read, Seek, SeekFrom};

use super::StreamError;
use super::chunk::{HEADER_BYTES, Header};
use super::defect::Defect;
use super::recording::Recording;
use crate::formats::room::{Room, Tab};
use crate::formats::{DecodeError, Format, Limit, Limits};

/// A recording, of which any chunk can be had, and had again.
pub(super) trait Source {
    /// Why a chunk cannot be had, or read.
    type Error: From<DecodeError>;

    /// What begins `at` so many bytes behind the start of the recording: a chunk, or what there is of it; nothing behind the last.
    fn chunk(&mut self, at: usize) -> Result<&[u8], Self::Error>;
}

/// Reads all chunks; says how many bytes they were.
pub(super) fn read_all<S: Source>(source: &mut S, recording: &mut Recording<'_>) -> Result<usize, S::Error> {
    let mut at = 0;
    loop {
        let chunk = source.chunk(at)?;
        if chunk.is_empty() {
            return Ok(at);
        }
        if recording.must_look_ahead(chunk) {
            let mut ahead = at;
            while let Some(size) = recording.look_ahead(source.chunk(ahead)?, ahead)? {
                ahead = ahead.saturating_add(size);
            }
            recording.looked_ahead();
        }
        match recording.chunk(source.chunk(at)?, at)? {
            Some(size) => at = at.saturating_add(size),
            None => return Ok(at),
        }
    }
}

impl Source for &[u8] {
    type Error = DecodeError;

    fn chunk(&mut self, at: usize) -> Result<&[u8], DecodeError> {
        Ok(self.get(at..).unwrap_or_default())
    }
}

/// A recording in a file.
pub(super) struct Stream<'a, F> {
    file: F,
    /// Where the recording begins in it.
    start: u64,
    limits: &'a Limits,
    memory: Tab<'a>,
    /// The chunk that was read last, and where in the recording it begins.
    chunk: Vec<u8>,
    at: Option<usize>,
}

impl<'a, F: Read + Seek> Stream<'a, F> {
    /// From where the file stands.
    pub fn new(mut file: F, limits: &'a Limits, room: &'a dyn Room) -> std::io::Result<Self> {
        Ok(Self {
            start: file.stream_position()?,
            file,
            limits,
            memory: Tab::new(room),
            chunk: Vec::new(),
            at: None,
        })
    }

    /// Reads the chunk that begins there, or what there is of it.
    fn read(&mut self, at: usize) -> Result<(), StreamError> {
        let behind = self.at.map(|begin| begin.saturating_add(self.chunk.len()));
        if behind.unwrap_or_default() != at {
            self.file.seek(SeekFrom::Start(self.start.saturating_add(at as u64)))?;
        }
        self.at = None;
        self.chunk.clear();
        self.read_some(HEADER_BYTES)?;
        // what is no header is for the recording to tell, and so is a chunk that is not whole
        let announced = Header::read(&self.chunk).map_or(0, |header| header.size - HEADER_BYTES);
        let rest = announced.min(self.left()?);
        if rest > self.limits.decompressed_bytes {
            return Err(Defect::TooLarge(Limit::Decompressed).told(at).into());
        }
        let held = self.memory.hold(self.chunk.capacity().max(HEADER_BYTES + rest));
        held.map_err(|why| DecodeError::no_room(Format::Jfr, why))?;
        self.read_some(rest)?;
        self.at = Some(at);
        Ok(())
    }

    /// How much of the file is behind what was read.
    fn left(&mut self) -> std::io::Result<usize> {
        let here = self.file.stream_position()?;
        let end = self.file.seek(SeekFrom::End(0))?;
        self.file.seek(SeekFrom::Start(here))?;
        Ok(usize::try_from(end.saturating_sub(here)).unwrap_or(usize::MAX))
    }

    /// Reads so many bytes more, or fewer if there are no more: memory is taken as they come, whatever was announced.
    fn read_some(&mut self, bytes: usize) -> std::io::Result<usize> {
        self.file.by_ref().take(bytes as u64).read_to_end(&mut self.chunk)
    }
}

impl<F: Read + Seek> Source for Stream<'_, F> {
    type Error = StreamError;

    fn chunk(&mut self, at: usize) -> Result<&[u8], StreamError> {
        if self.at != Some(at) {
            self.read(at)?;
        }
        Ok(&self.chunk)
    }
}
