//! Texts line by line.

use std::borrow::Cow;

/// The lines of a text.
#[derive(Clone)]
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    offset: usize,
    number: usize,
}

/// A line without its end.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub bytes: &'a [u8],
    /// Bytes before it.
    pub offset: usize,
    /// From 1.
    pub number: usize,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Self {
            rest: text,
            offset: 0,
            number: 0,
        }
    }

    /// Those of as much of a text as is looked at to tell what it is.
    pub fn of_head(text: &'a [u8]) -> Self {
        Self::new(text.get(..HEAD).unwrap_or(text))
    }
}

/// The most that is looked at to tell what a text is.
const HEAD: usize = 64 << 10;

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let (bytes, rest) = self.rest.split_at_checked(end)?;
        let offset = self.offset;
        self.rest = rest.get(1..).unwrap_or_default();
        self.offset += bytes.len() + 1;
        self.number += 1;
        Some(Line {
            bytes: bytes.strip_suffix(b"\r").unwrap_or(bytes),
            offset,
            number: self.number,
        })
    }
}

impl<'a> Line<'a> {
    /// As text, wrong bytes replaced.
    pub fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_know_where_they_begin() {
        let lines: Vec<_> = Lines::new(b"a\r\n\nbc\nd")
            .map(|line| (line.number, line.offset, line.text()))
            .collect();
        let expected = [(1, 0, "a"), (2, 3, ""), (3, 4, "bc"), (4, 7, "d")];
        assert_eq!(
            lines,
            expected.map(|(number, offset, text)| (number, offset, text.into()))
        );
    }
}
