//! Numbers and texts as they stand in a chunk.
//!
//! Whole numbers of more than a byte are compressed in all recordings seen: seven bits a byte, the lowest first, the ninth byte
//! with eight of them. Without the flag for that they are big-endian and of fixed width.

use super::defect::Defect;
use super::text::Text;

/// The bytes of a chunk and a place in them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    compressed: bool,
}

/// How many bytes a whole number has where it is not compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

/// Most bytes of a compressed number.
const MOST_BYTES: usize = 9;

impl<'a> Cursor<'a> {
    /// At the beginning of a chunk.
    pub fn new(bytes: &'a [u8], compressed: bool) -> Self {
        Self {
            bytes,
            at: 0,
            compressed,
        }
    }

    /// The same bytes, another place.
    pub fn moved_to(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// The same place, with the bytes ending earlier.
    pub fn until(self, end: usize) -> Self {
        Self {
            bytes: self.bytes.get(..end).unwrap_or(self.bytes),
            ..self
        }
    }

    /// How far it is.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Where the bytes end.
    pub fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes left.
    pub fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// Wrong bytes, here.
    pub fn malformed(&self, problem: &'static str) -> Defect {
        Defect::Malformed { at: self.at, problem }
    }

    #[cold]
    fn cut(&self) -> Defect {
        self.malformed("a value runs past its end")
    }

    /// The next byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Defect> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.cut())?;
        self.at += 1;
        Ok(byte)
    }

    /// The next so many bytes.
    #[inline]
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Defect> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let bytes = rest.get(..count).ok_or_else(|| self.cut())?;
        self.at += count;
        Ok(bytes)
    }

    /// All bytes that are left.
    pub fn bytes_left(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// A whole number, with its sign where it has one.
    #[inline]
    pub fn integer(&mut self, width: Width) -> Result<i64, Defect> {
        let pattern = match self.compressed {
            true => self.varint()?,
            false => self.fixed(width)?,
        };
        Ok(match width {
            Width::Two => i64::from(pattern as u16),
            Width::Four => i64::from(pattern as i32),
            Width::Eight => pattern as i64,
        })
    }

    /// A whole number that numbers or refers to something.
    #[inline]
    pub fn long(&mut self) -> Result<u64, Defect> {
        Ok(self.integer(Width::Eight)? as u64)
    }

    /// How many of something follow: never more than there are bytes left for, if each takes one.
    #[inline]
    pub fn count(&mut self) -> Result<usize, Defect> {
        let at = self.at;
        let count = self.integer(Width::Four)?;
        match usize::try_from(count) {
            Ok(count) if count <= self.left() => Ok(count),
            _ => Err(Defect::Malformed {
                at,
                problem: "a count of more than there is",
            }),
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Defect> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if let [byte @ 0..0x80, ..] = rest {
            self.at += 1;
            return Ok(u64::from(*byte));
        }
        let mut value = 0;
        for (index, byte) in rest.iter().take(MOST_BYTES).enumerate() {
            let is_last = index + 1 == MOST_BYTES || *byte < 0x80;
            let bits = if index + 1 == MOST_BYTES { *byte } else { byte & 0x7f };
            value |= u64::from(bits) << (7 * index);
            if is_last {
                self.at += index + 1;
                return Ok(value);
            }
        }
        Err(self.cut())
    }

    fn fixed(&mut self, width: Width) -> Result<u64, Defect> {
        let bytes = self.bytes(width as usize)?;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// Passes over so many numbers, which take so many bytes where they are not compressed.
    #[inline]
    pub fn skip_integers(&mut self, count: usize, fixed_bytes: usize) -> Result<(), Defect> {
        if !self.compressed {
            return self.bytes(fixed_bytes).map(|_| ());
        }
        for _ in 0..count {
            self.varint()?;
        }
        Ok(())
    }

    /// A single, as a double.
    pub fn float(&mut self) -> Result<f64, Defect> {
        let bytes = self.bytes(4)?.try_into().map_err(|_| self.cut())?;
        Ok(f32::from_be_bytes(bytes).into())
    }

    /// A double.
    pub fn double(&mut self) -> Result<f64, Defect> {
        let bytes = self.bytes(8)?.try_into().map_err(|_| self.cut())?;
        Ok(f64::from_be_bytes(bytes))
    }

    /// A text in whichever encoding.
    pub fn text(&mut self) -> Result<Text<'a>, Defect> {
        let at = self.at;
        Ok(match self.byte()? {
            0 => Text::Null,
            1 => Text::Utf8(b""),
            2 => Text::Pooled(self.long()?),
            3 => Text::Utf8(self.counted()?),
            4 => {
                let count = self.count()?;
                let from = *self;
                self.skip_integers(count, count.saturating_mul(2))?;
                Text::Chars { count, from }
            }
            5 => Text::Latin1(self.counted()?),
            _ => {
                return Err(Defect::Malformed {
                    at,
                    problem: "a text in an unknown encoding",
                });
            }
        })
    }

    fn counted(&mut self) -> Result<&'a [u8], Defect> {
        let count = self.count()?;
        self.bytes(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<i64, Defect> {
        Cursor::new(bytes, true).integer(Width::Eight)
    }

    /// As the JDK writes them, also with more bytes than needed.
    fn varint(value: u64, at_least: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = value;
        for index in 0..MOST_BYTES {
            if index + 1 == MOST_BYTES {
                bytes.push(rest as u8);
            } else if rest < 0x80 && index + 1 >= at_least {
                bytes.push(rest as u8);
                break;
            } else {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
        }
        bytes
    }

    #[test]
    fn numbers_are_read_in_both_forms() {
        assert_eq!(read(&[0x7f]), Ok(127));
        assert_eq!(read(&[0x80, 0x01]), Ok(128));
        // padded, as sizes of events are
        assert_eq!(read(&[0x81, 0x80, 0x80, 0x00]), Ok(1));
        // the ninth byte has eight bits and no successor
        assert_eq!(read(&[0xff; 9]), Ok(-1));
        assert_eq!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).integer(Width::Four),
            Ok(-1)
        );
        assert!(read(&[0x80]).is_err() && read(&[]).is_err());
        let mut fixed = Cursor::new(&[0, 0, 1, 0, 0xff, 0xff], false);
        assert_eq!(fixed.integer(Width::Four), Ok(256));
        assert_eq!(fixed.integer(Width::Two), Ok(65_535));
        assert!(fixed.integer(Width::Two).is_err());
    }

    #[test]
    fn counts_end_where_the_bytes_do() {
        assert!(Cursor::new(&[3, 0, 0], true).count().is_err());
        assert_eq!(Cursor::new(&[2, 0, 0], true).count(), Ok(2));
        // minus one
        assert!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).count().is_err());
    }

    proptest! {
        #[test]
        fn prop_numbers_come_back(value: u64, at_least in 1usize..9) {
            let bytes = varint(value, at_least);
            prop_assert_eq!(read(&bytes), Ok(value as i64));
            let mut cursor = Cursor::new(&bytes, true);
            prop_assert!(cursor.skip_integers(1, 0).is_ok() && cursor.left() == 0);
        }

        #[test]
        fn prop_texts_of_any_bytes_do_no_harm(bytes: Vec<u8>, compressed: bool) {
            let mut cursor = Cursor::new(&bytes, compressed);
            while let Ok(text) = cursor.text() {
                let _ = text.plain();
            }
        }
    }
}
