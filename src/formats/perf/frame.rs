//! The line of a frame.

use crate::formats::collapsed::matching_parenthesis;

/// What the line of a frame says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Frame<'a> {
    /// 0 if it is not told.
    pub address: u64,
    /// Empty if it is not known.
    pub symbol: &'a str,
    /// Path of the binary, or a name in brackets; empty if it is not known.
    pub binary: &'a str,
    /// Whether the function was put into the one of the next line.
    pub is_inlined: bool,
}

/// How perf writes what it does not know.
const UNKNOWN: &str = "[unknown]";

impl<'a> Frame<'a> {
    /// `311023 grow<A>+0xb3 (/srv/shop)`: offset and binary may be missing, and so may the address.
    pub fn parse(text: &'a str) -> Self {
        Self::with_address(text).unwrap_or_else(|| Self::named(text))
    }

    /// The same, which must begin with an address.
    pub fn with_address(text: &'a str) -> Option<Self> {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        let is_hex = (1..=16).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_hexdigit());
        let rest = rest.trim_start();
        // `add (/srv/shop)` is a function called add
        let is_name = rest.starts_with('(') && !first.bytes().any(|byte| byte.is_ascii_digit());
        if !is_hex || is_name {
            return None;
        }
        Some(Self {
            address: u64::from_str_radix(first, 16).ok()?,
            ..Self::named(rest)
        })
    }

    fn named(text: &'a str) -> Self {
        let (symbol, binary) = split_binary(text);
        let symbol = without_offset(symbol);
        Self {
            address: 0,
            symbol: if symbol == UNKNOWN { "" } else { symbol },
            binary: match without_offset(binary) {
                UNKNOWN | "inlined" => "",
                binary => binary,
            },
            is_inlined: binary == "inlined",
        }
    }

    /// Whether the kernel runs it. Its addresses are the upper half of all, but for a page that it lends to programs.
    pub fn is_kernel(&self) -> bool {
        let is_high = self.address >> 63 == 1 && !matches!(self.binary, "" | "[vsyscall]");
        is_high || self.binary.starts_with("[kernel.") || self.binary.starts_with("[guest.kernel.")
    }
}

/// The symbol, and what stands in parentheses at the end: paths hold parentheses too.
fn split_binary(text: &str) -> (&str, &str) {
    let split = || {
        let (symbol, inside) = text.split_at_checked(matching_parenthesis(text)?)?;
        let inside = inside.strip_prefix('(')?.strip_suffix(')')?;
        // `work(int)` has no binary behind it
        let symbol = symbol.strip_suffix(' ').or(symbol.is_empty().then_some(""))?;
        Some((symbol.trim_end(), inside))
    };
    split().unwrap_or((text, ""))
}

/// `work` of `work+0x1f`.
fn without_offset(text: &str) -> &str {
    match text.rsplit_once("+0x") {
        Some((name, digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => text,
    }
}

/// `src/main.rs:12`, which `-F +srcline` puts below a frame; none where perf does not know.
pub(super) fn source(text: &str) -> Option<(&str, i64)> {
    let (file, line) = text.rsplit_once(':')?;
    let line = line.parse().ok().filter(|line| *line > 0)?;
    (!file.is_empty() && file != "??").then_some((file, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_may_be_missing_or_odd() {
        let frame = |address, symbol, binary| Frame {
            address,
            symbol,
            binary,
            is_inlined: false,
        };
        for (text, expected) in [
            (
                "f82ad read+0xd (/usr/lib/libc.so.6)",
                frame(0xf82ad, "read", "/usr/lib/libc.so.6"),
            ),
            ("49c0 [unknown] (/srv/shop)", frame(0x49c0, "", "/srv/shop")),
            ("ffffffffffffffff [unknown] ([unknown])", frame(u64::MAX, "", "")),
            (
                "7f00 [unknown] (/dev/zero (deleted))",
                frame(0x7f00, "", "/dev/zero (deleted)"),
            ),
            (
                "1f std::f(int, char) const+0x33 (/srv/a b.so)",
                frame(0x1f, "std::f(int, char) const", "/srv/a b.so"),
            ),
            ("1f f(int)", frame(0x1f, "f(int)", "")),
            ("1f work+0x10", frame(0x1f, "work", "")),
            ("work (/srv/shop)", frame(0, "work", "/srv/shop")),
            ("add (/srv/shop)", frame(0, "add", "/srv/shop")),
            ("7f01 (/srv/shop)", frame(0x7f01, "", "/srv/shop")),
            ("7f01", frame(0x7f01, "", "")),
            ("7f01 work+0x1 (/srv/shop+0x7001)", frame(0x7f01, "work", "/srv/shop")),
            ("1f a+0xzz (x)", frame(0x1f, "a+0xzz", "x")),
        ] {
            assert_eq!(Frame::parse(text), expected, "{text}");
        }
        let inlined = Frame::parse("7f01 small+0x4 (inlined)");
        assert!(inlined.is_inlined && inlined.symbol == "small" && inlined.binary.is_empty());
    }

    #[test]
    fn the_kernel_is_known_by_name_and_by_address() {
        let is_kernel = |text| Frame::parse(text).is_kernel();
        assert!(is_kernel("ffffffff821e86a9 clear_page_erms+0x9 ([kernel.kallsyms])"));
        assert!(is_kernel("ffffffffc0a01234 nf_hook+0x9 ([nf_tables])"));
        assert!(is_kernel("clear_page_erms ([guest.kernel.kallsyms])"));
        for text in [
            "ffffffffff600000 gettimeofday+0x0 ([vsyscall])",
            "ffffffffffffffff [unknown] ([unknown])",
            "7ffd1234 clock_gettime+0x1 ([vdso])",
        ] {
            assert!(!is_kernel(text), "{text}");
        }
    }

    #[test]
    fn places_in_source_files_are_known() {
        assert_eq!(source("src/main.rs:12"), Some(("src/main.rs", 12)));
        for text in ["??:0", "??:7", "main.c:0", "main.c", ":3", "main.c:x"] {
            assert_eq!(source(text), None, "{text}");
        }
    }
}
