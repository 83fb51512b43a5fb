//! Small pieces of text: numbers and addresses.

/// What is read from the beginning of a text.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a>(pub &'a str);

impl<'a> Scan<'a> {
    /// A whole number, after blanks.
    pub fn number(&mut self) -> Option<i64> {
        let text = self.0.trim_start();
        let sign = usize::from(text.starts_with('-'));
        let digits = text.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at_checked(sign + digits)?;
        let number = number.parse().ok()?;
        self.0 = rest;
        Some(number)
    }

    /// The given text, after blanks.
    pub fn expect(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(text)?;
        Some(())
    }
}

/// Hexadecimal numbers with `0x` before them, as far as there is nothing else between; none if one is beyond 64 bits.
pub(super) fn addresses(text: &str) -> Option<Vec<u64>> {
    let words = text.split_ascii_whitespace().map_while(|word| word.strip_prefix("0x"));
    words.map(|digits| u64::from_str_radix(digits, 16).ok()).collect()
}

/// Every hexadecimal number with `0x` before it, wherever it stands; none if one is beyond 64 bits.
pub(super) fn addresses_anywhere(text: &str) -> Option<Vec<u64>> {
    let mut found = Vec::new();
    for at in memchr::memmem::find_iter(text.as_bytes(), b"0x") {
        let digits = text.get(at + 2..)?;
        let length = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
        if length > 0 {
            found.push(u64::from_str_radix(digits.get(..length)?, 16).ok()?);
        }
    }
    Some(found)
}

/// An address behind a call, moved into it.
pub(super) fn call(address: u64) -> u64 {
    address.saturating_sub(1)
}

pub(super) fn is_empty_or_comment(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), None | Some(b'#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_end_where_something_else_stands() {
        assert_eq!(addresses(" 0x10 0xff # 0x3"), Some(vec![16, 255]));
        assert_eq!(addresses(""), Some(vec![]));
        assert_eq!(addresses("0xfffffffffffffffff"), None);
        assert_eq!(addresses_anywhere("PC:  0x10: f(0x7) 0x 0xzz"), Some(vec![16, 7]));
    }
}
