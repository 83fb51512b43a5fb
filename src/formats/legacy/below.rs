//! What Go writes below a stack: names of functions and labels.
//!
//! ```text
//! 20 @ 0x46acee 0x5275b9
//! # labels: {"pool":"idle"}
//! #   0x5275b8    main.work+0x18  /srv/shop/main.go:80
//! ```

use std::str::Chars;

use super::draft::Draft;
use crate::formats::DecodeError;

/// Reads a line that begins with `#`; what is neither is left alone.
pub(super) fn read(line: &str, draft: &mut Draft<'_>) -> Result<(), DecodeError> {
    let Some(comment) = line.trim_start().strip_prefix('#') else {
        return Ok(());
    };
    if let Some(labels) = comment.trim_start().strip_prefix("labels: ") {
        for (key, value) in labels_of(labels) {
            draft.label(&key, &value)?;
        }
        return Ok(());
    }
    match name_of(comment) {
        Some((address, name, file, line)) => draft.name(address, name, file, line),
        None => Ok(()),
    }
}

/// Address, name, file and line, between tabs.
fn name_of(comment: &str) -> Option<(u64, &str, &str, i64)> {
    let mut columns = comment.split('\t').map(str::trim).filter(|column| !column.is_empty());
    let address = columns.next()?.strip_prefix("0x")?;
    let (name, _offset) = columns.next()?.rsplit_once("+0x")?;
    let (file, line) = columns.next()?.rsplit_once(':')?;
    Some((u64::from_str_radix(address, 16).ok()?, name, file, line.parse().ok()?))
}

/// `{"key":"value", "key":"value"}` in the quotes of Go; as far as it is that.
fn labels_of(text: &str) -> impl Iterator<Item = (String, String)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (key, after) = unquoted(rest.get(rest.find('"')?..)?)?;
        let (value, after) = unquoted(after.strip_prefix(':')?)?;
        rest = after;
        Some((key, value))
    })
}

/// A text in quotes, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut letters = text.strip_prefix('"')?.chars();
    let mut out = String::new();
    loop {
        match letters.next()? {
            '"' => return Some((out, letters.as_str())),
            '\\' => out.push(escaped(&mut letters)?),
            letter => out.push(letter),
        }
    }
}

/// What the letters behind a backslash stand for.
fn escaped(letters: &mut Chars<'_>) -> Option<char> {
    let digits = match letters.next()? {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'a' => return Some('\u{7}'),
        'b' => return Some('\u{8}'),
        'v' => return Some('\u{b}'),
        'f' => return Some('\u{c}'),
        letter => return Some(letter),
    };
    let text = letters.as_str();
    let number = u32::from_str_radix(text.get(..digits)?, 16).ok()?;
    *letters = text.get(digits..)?.chars();
    // a byte that is not of a letter
    let is_letter = digits > 2 || number < 0x80;
    let letter = char::from_u32(number).filter(|_| is_letter);
    Some(letter.unwrap_or(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unquoted_as_far_as_they_are_labels() {
        let labels = |text| labels_of(text).collect::<Vec<_>>();
        let of = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        assert_eq!(
            labels(r#"{"pool":"idle-0", "a\"b":"c\\, {d}:\n\u00e9\x7f\xff"}"#),
            of(&[("pool", "idle-0"), ("a\"b", "c\\, {d}:\n\u{e9}\u{7f}\u{fffd}"),])
        );
        assert_eq!(labels(r#"{"a":"b", "c":7}"#), of(&[("a", "b")]));
        assert_eq!(labels(r#"{"a":"b\u12"}"#), of(&[]));
    }

    #[test]
    fn names_stand_between_tabs() {
        assert_eq!(
            name_of("\t0x5275b8\tmain.main.func2+0x18\t\t/srv/a b/main.go:80"),
            Some((0x5275b8, "main.main.func2", "/srv/a b/main.go", 80))
        );
        for text in ["\t0x5275b8", " Alloc = 3", "\tx\ty+0x1\tz:1"] {
            assert_eq!(name_of(text), None, "{text}");
        }
    }
}
