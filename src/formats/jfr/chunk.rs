//! A recording is chunks one after the other, each complete in itself.

use super::defect::Defect;
use super::primitives::Cursor;

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 68;
/// What every chunk begins with.
pub(super) const MAGIC: &[u8; 4] = b"FLR\0";

/// What the first bytes of a chunk say. Offsets are from the start of the chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// All of the chunk, in bytes.
    pub size: usize,
    /// Where the newest checkpoint begins.
    pub checkpoint: usize,
    /// Where the metadata begins.
    pub metadata: usize,
    /// When the chunk begins, nanoseconds since the Unix epoch.
    pub start_nanos: u64,
    /// How long it is.
    pub duration_nanos: u64,
    /// The same beginning by the clock of its events.
    start_ticks: u64,
    /// How its events tell time.
    pub clock: Clock,
    /// Whether whole numbers are compressed.
    pub compressed: bool,
}

/// How the events of a chunk tell time: in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// How fast it runs.
    pub ticks_per_second: u64,
}

impl Clock {
    /// A span of ticks in nanoseconds; a negative one is none.
    pub fn nanos(self, ticks: i64) -> i64 {
        let ticks = i128::from(ticks.max(0));
        let nanos = ticks * 1_000_000_000 / i128::from(self.ticks_per_second.max(1));
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }
}

const COMPRESSED: u32 = 1;
const COMPRESSED_TICKS: u32 = 4;

impl Header {
    /// Reads the header of a chunk.
    pub fn read(bytes: &[u8]) -> Result<Self, Defect> {
        let mut cursor = Cursor::new(bytes, false);
        let of_chunk = |problem| Defect::Malformed { at: 0, problem };
        if cursor.bytes(MAGIC.len()) != Ok(MAGIC) {
            return Err(of_chunk("no chunk begins here"));
        }
        if bytes.len() < HEADER_BYTES {
            return Err(of_chunk("a chunk that is cut in its header"));
        }
        let [_, major] = [cursor.byte()?, cursor.byte()?];
        if !(1..=2).contains(&major) {
            return Err(of_chunk(
                "a chunk of a version other than 1 and 2, as JDK 7 and 8 of Oracle wrote them",
            ));
        }
        cursor.bytes(2)?;
        let [
            size,
            checkpoint,
            metadata,
            start_nanos,
            duration_nanos,
            start_ticks,
            ticks_per_second,
        ] = [
            cursor.long()?,
            cursor.long()?,
            cursor.long()?,
            cursor.long()?,
            cursor.long()?,
            cursor.long()?,
            cursor.long()?,
        ];
        let flags = u32::from_be_bytes(cursor.bytes(4)?.try_into().unwrap_or_default());
        // the first byte of the four is the state; a file at rest whose header was being rewritten holds no true offsets
        if flags >> 24 == 0xff {
            return Err(of_chunk("a chunk whose header was being written"));
        }
        if flags & COMPRESSED_TICKS != 0 {
            return Err(of_chunk(
                "a chunk with compressed ticks, which no JDK is known to write",
            ));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let inside = |offset: u64| match usize::try_from(offset) {
            Ok(offset) if (HEADER_BYTES..size).contains(&offset) => Ok(offset),
            _ => Err(of_chunk("a chunk whose tables are not in it: it was never finished")),
        };
        if size < HEADER_BYTES {
            return Err(of_chunk("a chunk without a size: it was never finished"));
        }
        Ok(Self {
            size,
            checkpoint: inside(checkpoint)?,
            metadata: inside(metadata)?,
            start_nanos,
            duration_nanos,
            start_ticks,
            clock: Clock { ticks_per_second },
            compressed: flags & COMPRESSED != 0,
        })
    }

    /// When it begins, in nanoseconds of the clock of its events.
    pub fn begin(&self) -> i64 {
        self.clock.nanos(i64::try_from(self.start_ticks).unwrap_or(i64::MAX))
    }

    /// What must be added to times of this chunk for the clock of another one. It is one clock that counts on, unless how fast it
    /// runs was measured anew: then only the beginnings of the chunks tell.
    pub fn shift_to(&self, other: &Self) -> i64 {
        if self.clock.ticks_per_second == other.clock.ticks_per_second {
            return 0;
        }
        let between = i128::from(self.start_nanos) - i128::from(other.start_nanos);
        let shift = between - i128::from(self.begin()) + i128::from(other.begin());
        i64::try_from(shift).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds_without_overflow() {
        let clock = Clock {
            ticks_per_second: 2_500_000_000,
        };
        assert_eq!(clock.nanos(25), 10);
        assert_eq!(clock.nanos(-25), 0);
        assert_eq!(clock.nanos(i64::MAX), 3_689_348_814_741_910_322);
        let stopped = Clock { ticks_per_second: 0 };
        assert_eq!(stopped.nanos(i64::MAX), i64::MAX);
    }

    #[test]
    fn headers_that_point_nowhere_are_refused() {
        let mut good = Vec::from(*MAGIC);
        good.extend([0, 2, 0, 1]);
        for value in [100u64, 80, 70, 1, 2, 3, 1_000] {
            good.extend(value.to_be_bytes());
        }
        good.extend([7, 0, 0, 1]);
        let header = Header::read(&good).expect("a header");
        assert_eq!((header.size, header.checkpoint, header.metadata), (100, 80, 70));
        assert!(header.compressed);
        // (where, what to put there)
        let wrong: [(usize, &[u8]); 8] = [
            (0, b"x"),
            (5, &[3]),
            (5, &[0]),
            (8, &[0; 8]),
            (8, &[0xff; 8]),
            (16, &[0; 8]),
            (24, &[0, 0, 0, 0, 0, 0, 0, 100]),
            (64, &[0xff]),
        ];
        for (at, bytes) in wrong {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            let read = Header::read(&bad);
            // a size beyond the file is for those to see who know the file
            assert_eq!(read.is_err(), bytes != [0xff; 8], "{at}");
        }
        assert!(Header::read(&good[..67]).is_err());
    }
}
