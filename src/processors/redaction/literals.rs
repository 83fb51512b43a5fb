//! Literals of the languages that profiles come from: what is one, and what stands for one.

/// Whether all of it is a value: quoted, or a number.
pub(super) fn is_literal(text: &str) -> bool {
    let text = text
        .get(prefix_before_quote(text)..)
        .unwrap_or(text)
        .trim_end_matches('#');
    let bytes = text.as_bytes();
    let (first, last) = (bytes.first().copied(), bytes.last().copied());
    match first {
        Some(quote @ (b'"' | b'\'')) => {
            // `'lambda'(int)` and `'a` are types
            bytes.len() > 2 && last == Some(quote) && closing(bytes, 0) == Some(bytes.len()) && !is_compilers(text)
        }
        Some(b'0'..=b'9' | b'-' | b'+' | b'.') => {
            // few digits and addresses in memory are put there by compilers and virtual machines: `adapters(0xb)`
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            let is_private = digits > 3 && !text.starts_with("0x");
            let is_number = text.bytes().all(|b| {
                b.is_ascii_hexdigit() || matches!(b, b'-' | b'+' | b'.' | b'_' | b' ' | b'x' | b'X' | b'/' | b':')
            });
            is_private && is_number && !text.contains("::")
        }
        _ => false,
    }
}

/// Names that compilers make.
fn is_compilers(text: &str) -> bool {
    text.starts_with("'lambda") || text.starts_with("'unnamed") || text.starts_with("'block")
}

/// Behind the quote that closes the one at `at`.
pub(super) fn closing(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = bytes.get(at).copied()?;
    let mut end = at + 1;
    while let Some(byte) = bytes.get(end).copied() {
        match byte {
            b'\\' => end += 2,
            _ if byte == quote => return Some(end + 1),
            _ => end += 1,
        }
    }
    None
}

/// What may stand before a quote: of bytes, of formats, raw, wide, interpolated.
const PREFIXES: &[&str] = &[
    "b", "c", "f", "l", "r", "t", "u", "br", "cr", "fr", "rb", "rf", "u8", "lr", "ur", "u8r", "$", "@", "$@", "@$",
];

/// How long the prefix is with which the text ends: `b`, `u8`, and the `r#` of a raw literal.
fn prefix_length(text: &str) -> usize {
    let head = text.trim_end_matches('#');
    let of_prefix = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'$' | b'@');
    let length = head.bytes().rev().take_while(of_prefix).count();
    let prefix = head.get(head.len() - length..).unwrap_or_default();
    match prefix.is_empty() || PREFIXES.iter().any(|known| prefix.eq_ignore_ascii_case(known)) {
        true => length + (text.len() - head.len()),
        false => 0,
    }
}

/// The same of what stands before the first quote, if nothing else does.
fn prefix_before_quote(text: &str) -> usize {
    let before = text.find(['"', '\'']).and_then(|at| text.get(..at)).unwrap_or_default();
    let length = prefix_length(before);
    if length == before.len() { length } else { 0 }
}

/// Text in double quotes becomes `?`, except where compilers put it.
pub(super) fn quotes(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('"')) {
        let quote = at + found;
        let start = quote - prefix_length(text.get(copied..quote).unwrap_or_default());
        let opens = matches!(
            start.checked_sub(1).and_then(|at| bytes.get(at)),
            None | Some(b' ' | b'(' | b'[' | b'{' | b'<' | b',' | b'=' | b':')
        );
        if !opens {
            at = quote + 1;
            continue;
        }
        let mut end = closing(bytes, quote).unwrap_or(bytes.len());
        let before = text.get(copied..start).unwrap_or_default();
        // `operator""`, `extern "C"` and the tags of structs in Go
        let is_tag = text.get(quote..end).is_some_and(|quoted| quoted.contains(":\\\""));
        let is_compilers = end <= quote + 2
            || is_tag
            || before.ends_with("extern ")
            || before.ends_with("operator")
            || before.ends_with("operator ");
        if !is_compilers {
            out.push_str(before);
            out.push('?');
            end += bytes.iter().skip(end).take_while(|b| **b == b'#').count();
            copied = end;
        }
        at = end;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// Quotes that people type and keyboards correct.
const TYPOGRAPHIC: &[(char, &[char])] = &[
    ('“', &['”']),
    ('„', &['“', '”']),
    ('‘', &['’']),
    ('«', &['»']),
    ('「', &['」']),
];

/// The text with `?` for what stands in typographic quotes, if any does.
pub(super) fn typographic(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, open, inside)) = first_quote(rest) {
        let Some((_, closes)) = TYPOGRAPHIC.iter().find(|(quote, _)| *quote == open) else {
            break;
        };
        out.push_str(before);
        out.push('?');
        // what is cut off is read to its end
        rest = inside.split_once(*closes).map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    (rest.len() < text.len()).then_some(out)
}

fn first_quote(text: &str) -> Option<(&str, char, &str)> {
    let at = text.find(|c| TYPOGRAPHIC.iter().any(|(open, _)| *open == c))?;
    let (before, from) = text.split_at_checked(at)?;
    let open = from.chars().next()?;
    Some((before, open, from.get(open.len_utf8()..)?))
}
