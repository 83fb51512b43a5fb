//! Protobuf's wire format, read with checks and written without intermediate buffers.
//!
//! The reader knows fields, not messages: each decoder walks the fields it is given and says what they mean.
//! Offsets are those of the whole request, so that an error names a place that a person can find.

/// Bytes that are not protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct WireError {
    /// Where in the whole request.
    pub offset: usize,
    /// What is wrong, lower case.
    pub problem: &'static str,
}

/// The value of a field, by its wire type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// int32, int64, uint32, uint64, bool, enum.
    Varint(u64),
    /// fixed64, sfixed64, double.
    Fixed64(u64),
    /// string, bytes, embedded message, packed list.
    Bytes(Reader<'a>),
    /// fixed32, sfixed32, float.
    Fixed32(u32),
}

/// Reads the fields of one message, or the items of one packed list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Where the last byte ends in the whole request: unlike the place of the next byte, it never changes.
    end: usize,
}

impl<'a> Reader<'a> {
    /// A reader of a whole request.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            end: bytes.len(),
        }
    }

    /// The bytes not read yet.
    pub fn bytes(&self) -> &'a [u8] {
        self.rest
    }

    /// The next bytes, if there are so many.
    pub fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    /// Where the next byte lies in the whole request.
    #[inline]
    pub fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// Whether all is read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A reader of the bytes `from..to` of a whole request, at their own offset; empty if there are no such bytes.
    pub fn part(request: &'a [u8], from: usize, to: usize) -> Self {
        Self {
            rest: request.get(from..to).unwrap_or_default(),
            end: to,
        }
    }

    /// An error at the place reached.
    pub fn error(&self, problem: &'static str) -> WireError {
        WireError {
            offset: self.offset(),
            problem,
        }
    }

    /// The next field with its number; none at the end.
    #[inline(always)]
    pub fn field(&mut self) -> Result<Option<(u32, Field<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = *self;
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| start.error("a field number above 2^29"))?;
        if number == 0 {
            return Err(start.error("field number 0"));
        }
        let value = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.fixed64()?),
            2 => Field::Bytes(self.delimited()?),
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            3 | 4 => return Err(start.error("a group, which nothing here uses")),
            _ => return Err(start.error("a wire type that does not exist")),
        };
        Ok(Some((number, value)))
    }

    /// The next field with its number, if it is a number with a key of one byte: most fields of small messages are.
    #[inline(always)]
    pub fn short_field(&mut self) -> Option<(u32, u64)> {
        let [key, rest @ ..] = self.rest else {
            return None;
        };
        // wire type 0 and a number from 1 to 15
        if key & 0x87 != 0 || *key == 0 {
            return None;
        }
        let mut value = Self { rest, end: self.end };
        let number = value.varint().ok()?;
        *self = value;
        Some((u32::from(key >> 3), number))
    }

    /// Reads numbers of a packed list until there are none left or no places for them, and says how many. What does not fit
    /// into 32 bits is `u32::MAX`.
    #[inline(always)]
    pub fn fill(&mut self, places: &mut [u32]) -> Result<usize, WireError> {
        let mut rest = self.rest;
        let mut filled = 0;
        for place in places {
            let (value, after) = match rest {
                [] => break,
                [a, after @ ..] if *a < 0x80 => (u32::from(*a), after),
                [a, b, after @ ..] if *b < 0x80 => (u32::from(*a & 0x7f) | u32::from(*b) << 7, after),
                [a, b, c, after @ ..] if *c < 0x80 => {
                    let low = u32::from(*a & 0x7f) | u32::from(*b & 0x7f) << 7;
                    (low | u32::from(*c) << 14, after)
                }
                bytes => {
                    let (value, after) = long_varint(bytes).map_err(|problem| WireError {
                        offset: self.end - bytes.len(),
                        problem,
                    })?;
                    (u32::try_from(value).unwrap_or(u32::MAX), after)
                }
            };
            *place = value;
            rest = after;
            filled += 1;
        }
        self.rest = rest;
        Ok(filled)
    }

    /// A base-128 number.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        // ids, lengths and string numbers seldom need more than three bytes
        let (value, rest) = match self.rest {
            [a, rest @ ..] if *a < 0x80 => (u64::from(*a), rest),
            [a, b, rest @ ..] if *b < 0x80 => (u64::from(*a & 0x7f) | u64::from(*b) << 7, rest),
            [a, b, c, rest @ ..] if *c < 0x80 => {
                let low = u64::from(*a & 0x7f) | u64::from(*b & 0x7f) << 7;
                (low | u64::from(*c) << 14, rest)
            }
            bytes => long_varint(bytes).map_err(|problem| self.error(problem))?,
        };
        self.rest = rest;
        Ok(value)
    }

    /// Eight bytes, least significant first.
    pub fn fixed64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.error("the message ends inside a fixed-size number"));
        };
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    fn delimited(&mut self) -> Result<Reader<'a>, WireError> {
        let start = *self;
        let len = self.varint()?;
        let split = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len));
        let Some((inside, rest)) = split else {
            return Err(start.error("a length that reaches past the end of the message"));
        };
        let end = self.end - rest.len();
        self.rest = rest;
        Ok(Reader { rest: inside, end })
    }
}

/// A number of any length and what follows it. Takes and returns values only, so that a reader can stay in registers.
#[inline(never)]
fn long_varint(bytes: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if *byte < 0x80 {
            if i == 9 && *byte > 1 {
                return Err("a number of more than 64 bits");
            }
            return Ok((value, bytes.get(i + 1..).unwrap_or_default()));
        }
    }
    Err(match bytes.len() {
        0..10 => "the message ends inside a number",
        _ => "a number of more than 10 bytes",
    })
}

/// Writes messages into one buffer.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    most: usize,
    is_full: bool,
}

impl Default for Writer {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Writer {
    /// A writer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
            most: usize::MAX,
            is_full: false,
        }
    }

    /// The same for `most` bytes: texts beyond them stay out, and whoever writes many numbers asks [`is_full`](Self::is_full)
    /// now and then. What came out full is of no use.
    pub fn within(most: usize, bytes: usize) -> Self {
        Self {
            most,
            ..Self::with_capacity(bytes.min(most))
        }
    }

    /// Lets it be full: something too large for it stayed out.
    pub fn fill(&mut self) {
        self.is_full = true;
    }

    /// Whether more was written than may be.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.is_full || self.out.len() > self.most
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// What was written behind the first `start` bytes.
    pub fn since(&self, start: usize) -> &[u8] {
        self.out.get(start..).unwrap_or_default()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// A number without a key: an item of a packed list.
    #[inline]
    pub fn raw_varint(&mut self, value: u64) {
        match value {
            ..0x80 => self.out.push(value as u8),
            0x80..=ShortVarint::MAX => self.raw_short(ShortVarint::new(value)),
            _ => self.raw_longest(value),
        }
    }

    #[inline(never)]
    fn raw_longest(&mut self, value: u64) {
        let mut rest = value;
        while rest > ShortVarint::MAX {
            self.out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.raw_short(ShortVarint::new(rest));
    }

    /// Eight bytes are copied whatever it is, so that nothing waits for its length.
    #[inline]
    fn raw_short(&mut self, number: ShortVarint) {
        let end = self.out.len() + number.len();
        self.out.extend_from_slice(&number.bytes());
        self.out.truncate(end);
    }

    /// Eight bytes without a key: an item of a packed list.
    pub fn raw_fixed64(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn key(&mut self, number: u32, wire_type: u64) {
        self.raw_varint(u64::from(number) << 3 | wire_type);
    }

    /// A number, left out if 0.
    #[inline]
    pub fn uint(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.uint_always(number, value);
        }
    }

    /// A number, written also if 0: members of a oneof.
    pub fn uint_always(&mut self, number: u32, value: u64) {
        self.key(number, 0);
        self.raw_varint(value);
    }

    /// A signed number (int64, not zigzag), left out if 0.
    pub fn int(&mut self, number: u32, value: i64) {
        self.uint(number, value as u64);
    }

    /// A fixed64 number, left out if 0.
    pub fn fixed64(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.fixed64_always(number, value);
        }
    }

    /// A fixed64 number or double, written also if 0.
    pub fn fixed64_always(&mut self, number: u32, value: u64) {
        self.key(number, 1);
        self.raw_fixed64(value);
    }

    /// A fixed32 number, written also if 0.
    pub fn fixed32_always(&mut self, number: u32, value: u32) {
        self.key(number, 5);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// Fields as they were read, keys and all.
    pub fn raw(&mut self, fields: &[u8]) {
        self.out.extend_from_slice(fields);
    }

    /// Bytes or text, left out if empty.
    pub fn bytes(&mut self, number: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes_always(number, value);
        }
    }

    /// Bytes or text, written also if empty: items of a repeated field, members of a oneof.
    pub fn bytes_always(&mut self, number: u32, value: &[u8]) {
        self.key(number, 2);
        self.raw_varint(value.len() as u64);
        if self.out.len().saturating_add(value.len()) > self.most {
            self.is_full = true;
            return;
        }
        self.out.extend_from_slice(value);
    }

    /// An embedded message or packed list, written also if empty.
    #[inline]
    pub fn message(&mut self, number: u32, write: impl FnOnce(&mut Self)) {
        self.key(number, 2);
        self.out.push(0);
        let start = self.out.len();
        write(self);
        self.close_length(start);
    }

    /// A packed list of numbers, left out if empty.
    #[inline]
    pub fn packed(&mut self, number: u32, values: impl Iterator<Item = u64>) {
        let before = self.out.len();
        self.key(number, 2);
        self.out.push(0);
        let start = self.out.len();
        for value in values {
            // of values, too, it cannot be foretold which are long
            match value {
                ..=ShortVarint::MAX => self.raw_short(ShortVarint::new(value)),
                _ => self.raw_longest(value),
            }
        }
        if self.out.len() == start {
            self.out.truncate(before);
        } else {
            self.close_length(start);
        }
    }

    /// The same of numbers whose bytes are known, as those of ids are that repeat: which of them are long cannot be foretold, so
    /// nothing here depends on it but where the next one goes.
    #[inline]
    pub fn packed_ids(&mut self, number: u32, ids: impl Iterator<Item = ShortVarint>) {
        let before = self.out.len();
        self.key(number, 2);
        self.out.push(0);
        let start = self.out.len();
        let mut chunk = [0; 256];
        let mut filled = 0;
        for id in ids {
            if let Some(slot) = chunk.get_mut(filled..).and_then(|rest| rest.first_chunk_mut()) {
                *slot = id.bytes();
            }
            filled += id.len();
            if filled > chunk.len() - size_of::<ShortVarint>() {
                self.out.extend_from_slice(chunk.get(..filled).unwrap_or_default());
                filled = 0;
            }
        }
        self.out.extend_from_slice(chunk.get(..filled).unwrap_or_default());
        if self.out.len() == start {
            self.out.truncate(before);
        } else {
            self.close_length(start);
        }
    }

    /// Most messages are shorter than 128 bytes, whose length fits the one byte kept free; longer ones move over.
    #[inline]
    fn close_length(&mut self, start: usize) {
        let len = self.out.len() - start;
        if let (true, Some(slot)) = (len < 0x80, self.out.get_mut(start - 1)) {
            *slot = len as u8;
            return;
        }
        self.move_over(start, len);
    }

    fn move_over(&mut self, start: usize, len: usize) {
        let prefix = ShortVarint::new(len as u64);
        let place = start - 1..start - 1 + prefix.len();
        self.out.resize(place.end + len, 0);
        self.out.copy_within(start..start + len, place.end);
        if let Some((slot, bytes)) = self.out.get_mut(place).zip(prefix.bytes().get(..prefix.len())) {
            slot.copy_from_slice(bytes);
        }
    }
}

/// A base-128 number of up to 49 bits as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortVarint {
    /// Its bytes, the first lowest, and in the highest byte how many they are.
    bytes_and_len: u64,
}

impl Default for ShortVarint {
    fn default() -> Self {
        Self::new(0)
    }
}

impl ShortVarint {
    const MAX: u64 = (1 << 49) - 1;

    /// The bytes of a number; of a larger one those of its lowest 49 bits.
    #[inline]
    pub fn new(value: u64) -> Self {
        let value = value & Self::MAX;
        let bits = u64::BITS - (value | 1).leading_zeros();
        let len = bits.div_ceil(7);
        // groups of 28, 14 and at last 7 bits move to where their bytes begin
        let x = value & 0x0fff_ffff | (value & 0x00ff_ffff_f000_0000) << 4;
        let x = x & 0x0000_3fff_0000_3fff | (x & 0x0fff_c000_0fff_c000) << 2;
        let x = x & 0x007f_007f_007f_007f | (x & 0x3f80_3f80_3f80_3f80) << 1;
        let more = 0x0080_8080_8080_8080 & ((1 << (8 * (len - 1))) - 1);
        Self {
            bytes_and_len: x | more | u64::from(len) << 56,
        }
    }

    /// How many bytes.
    #[allow(clippy::len_without_is_empty)]
    #[inline]
    pub fn len(self) -> usize {
        (self.bytes_and_len >> 56) as usize
    }

    /// The bytes, and behind them others that do not count.
    #[inline]
    fn bytes(self) -> [u8; 8] {
        self.bytes_and_len.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn only(bytes: &[u8]) -> Result<Option<(u32, Field<'_>)>, WireError> {
        Reader::new(bytes).field()
    }

    #[test]
    fn errors_name_the_place() {
        let cut = Reader::new(&[0x0a, 0x02, 0x08, 0x01, 0x12, 0x7f]);
        let mut reader = cut;
        assert!(reader.field().is_ok());
        let error = reader.field().expect_err("the length reaches past the end");
        assert_eq!(error.offset, 5);
        assert!(only(&[0x80]).is_err());
        assert!(only(&[0x00, 0x00]).is_err());
        assert!(only(&[0x0b]).is_err());
        assert!(only(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err());
    }

    #[test]
    fn padded_numbers_are_read() {
        assert_eq!(only(&[0x08, 0x81, 0x80, 0x00]), Ok(Some((1, Field::Varint(1)))));
    }

    proptest! {
        #[test]
        fn prop_numbers_survive(value: u64, number in 1u32..1000) {
            let mut writer = Writer::default();
            writer.uint_always(number, value);
            let bytes = writer.finish();
            prop_assert_eq!(only(&bytes), Ok(Some((number, Field::Varint(value)))));
        }

        #[test]
        fn prop_ids_are_written_as_numbers_are(ids in proptest::collection::vec(any::<u32>().prop_flat_map(|n| 0..=n), 0..300)) {
            let (mut one, mut other) = (Writer::default(), Writer::default());
            one.packed(1, ids.iter().map(|id| u64::from(*id)));
            other.packed_ids(1, ids.iter().map(|id| ShortVarint::new(u64::from(*id))));
            prop_assert_eq!(one.finish(), other.finish());
        }

        #[test]
        fn prop_messages_of_any_length_survive(body in proptest::collection::vec(any::<u8>(), 0..40_000)) {
            let mut writer = Writer::default();
            writer.message(3, |w| w.bytes_always(7, &body));
            writer.uint(4, 9);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            let Ok(Some((3, Field::Bytes(mut inside)))) = reader.field() else { panic!("field 3") };
            let Ok(Some((7, Field::Bytes(got)))) = inside.field() else { panic!("field 7") };
            prop_assert_eq!(got.bytes(), &body[..]);
            prop_assert_eq!(reader.field(), Ok(Some((4, Field::Varint(9)))));
        }

        #[test]
        fn prop_any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(Some(_)) = reader.field() {}
        }
    }
}
