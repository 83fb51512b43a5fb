//! Texts of a chunk: five encodings, decoded only where a text is kept.

use std::borrow::Cow;

use super::primitives::{Cursor, Width};

/// A text as it stands in the chunk.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'a> {
    /// No text.
    Null,
    /// The text of this number in the pool of strings.
    Pooled(u64),
    /// UTF-8 as the JVM has it: what is beyond 16 bits as two surrogates of three bytes each.
    Utf8(&'a [u8]),
    /// UTF-16, one number for each unit.
    Chars { count: usize, from: Cursor<'a> },
    /// One byte for each character.
    Latin1(&'a [u8]),
}

impl<'a> Text<'a> {
    /// The text, unless it stands in the pool. What cannot be decoded becomes U+FFFD.
    pub fn plain(self) -> Cow<'a, str> {
        match self {
            Self::Null | Self::Pooled(_) => Cow::Borrowed(""),
            Self::Utf8(bytes) => utf8(bytes),
            Self::Chars { count, from } => Cow::Owned(chars(count, from)),
            Self::Latin1(bytes) if bytes.is_ascii() => String::from_utf8_lossy(bytes),
            Self::Latin1(bytes) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
        }
    }

    /// Bytes that it takes at most once decoded.
    pub fn most_bytes(self) -> usize {
        match self {
            Self::Null | Self::Pooled(_) => 0,
            Self::Utf8(bytes) => bytes.len(),
            Self::Chars { count, .. } => count.saturating_mul(3),
            Self::Latin1(bytes) => bytes.len().saturating_mul(2),
        }
    }
}

fn chars(count: usize, from: Cursor<'_>) -> String {
    let mut from = from;
    let units = (0..count).map_while(|_| from.integer(Width::Two).ok().map(|unit| unit as u16));
    char::decode_utf16(units)
        .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(of_surrogates(bytes)),
    }
}

/// Surrogates become the characters that they stand for, other wrong bytes U+FFFD.
fn of_surrogates(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        if let [
            0xed,
            a @ 0xa0..0xb0,
            b @ 0x80..0xc0,
            0xed,
            c @ 0xb0..0xc0,
            d @ 0x80..0xc0,
            after @ ..,
        ] = rest
        {
            let high = u32::from(a & 0x0f) << 6 | u32::from(b & 0x3f);
            let low = u32::from(c & 0x0f) << 6 | u32::from(d & 0x3f);
            let point = 0x1_0000 + (high << 10 | low);
            text.push(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
            rest = after;
            continue;
        }
        // up to the next surrogate it is as good UTF-8 as it is
        let next = rest.iter().skip(1).position(|byte| *byte == 0xed);
        let (head, after) = rest.split_at(next.map_or(rest.len(), |next| next + 1));
        text.push_str(&String::from_utf8_lossy(head));
        rest = after;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(bytes: &[u8]) -> String {
        let mut cursor = Cursor::new(bytes, true);
        let text = cursor.text().expect("a text").plain().into_owned();
        assert_eq!(cursor.left(), 0);
        text
    }

    #[test]
    fn every_encoding_is_read() {
        assert_eq!(plain(&[0]), "");
        assert_eq!(plain(&[1]), "");
        assert_eq!(plain(&[2, 9]), "");
        assert_eq!(plain(&[3, 3, b'a', 0xc3, 0xa9]), "a\u{e9}");
        assert_eq!(plain(&[4, 3, b'a', 0xbd, 0xb0, 0x03, 0x80, 0xbc, 0x03]), "a\u{1f600}");
        assert_eq!(plain(&[5, 2, b'a', 0xe9]), "a\u{e9}");
        assert!(Cursor::new(&[6, 0], true).text().is_err());
        assert!(Cursor::new(&[3, 5, b'a'], true).text().is_err());
    }

    #[test]
    fn the_utf8_of_the_jvm_is_repaired() {
        assert_eq!(plain(&[3, 7, b'x', 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]), "x\u{1f600}");
        // half a pair, and no UTF-8 at all
        assert_eq!(plain(&[3, 4, 0xed, 0xa0, 0xbd, b'x']), "\u{fffd}\u{fffd}\u{fffd}x");
        assert_eq!(plain(&[3, 2, 0xff, b'x']), "\u{fffd}x");
        // a surrogate alone in UTF-16
        assert_eq!(plain(&[4, 2, 0xbd, 0xb0, 0x03, b'x']), "\u{fffd}x");
    }
}
