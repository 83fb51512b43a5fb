//! What only its digits tell: cards, accounts, social security, addresses in networks, telephones. Found by hand, since a regular
//! expression knows no check digit, and most texts are settled by counting their digits.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::hosts;
use super::place::{Place, is_thread};
use super::validators::{entropy, has_issuer, iban_length, is_hex_id, is_iban, is_ssn, luhn};

/// The names of the rules in here.
pub(super) const RULES: &[&str] = &[
    "card",
    "iban",
    "ssn",
    "ip_address",
    "phone",
    "uuid",
    "host",
    "aws_secret",
];

/// What is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) cards: bool,
    pub(super) ibans: bool,
    pub(super) ssns: bool,
    pub(super) ip_addresses: bool,
    /// Telephone numbers that a word or a thread announces.
    pub(super) spoken_phones: bool,
    /// Telephone numbers by shape.
    pub(super) phones: bool,
    pub(super) uuids: bool,
    pub(super) hosts: bool,
    /// Secret keys without a name.
    pub(super) bare_keys: bool,
}

/// What was found, and by which rule.
pub(super) type Found = (Range<usize>, &'static str);

/// Everything found in a text, in order and without overlap. Allocates only when there is something.
pub(super) fn find(text: &str, place: Place, wanted: Wanted) -> Vec<Found> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let free = matches!(place, Place::Text | Place::Thread | Place::Key);
    let people = place != Place::Name;
    if free && wanted.bare_keys && is_bare_key(text) {
        found.push((0..text.len(), "aws_secret"));
        return found;
    }
    let digits = count(bytes, |b| b.is_ascii_digit());
    // names of code hold cards at most, and few have as many digits
    if !people && digits < 13 {
        return found;
    }
    let [dots, colons, hyphens] = [b'.', b':', b'-'].map(|wanted| count(bytes, |b| b == wanted));
    // before cards: some of its groups may look like one
    if people && wanted.ibans && digits >= 10 {
        each(bytes, |at| iban(bytes, at), "iban", &mut found);
    }
    if wanted.cards && digits >= 13 {
        each_number(bytes, |at| card(bytes, at), "card", &mut found);
    }
    if people && wanted.ssns && digits >= 9 && hyphens >= 2 {
        each_number(bytes, |at| ssn(bytes, at), "ssn", &mut found);
    }
    if people && wanted.ip_addresses && colons >= 2 && digits >= 1 {
        each(bytes, |at| ipv6(text, at), "ip_address", &mut found);
    }
    if people && wanted.ip_addresses && dots >= 3 && digits >= 4 {
        let in_path = place == Place::File;
        each_number(bytes, |at| ipv4(bytes, at, in_path), "ip_address", &mut found);
    }
    if people && wanted.uuids && hyphens >= 4 {
        each(bytes, |at| uuid(bytes, at), "uuid", &mut found);
    }
    if people && (wanted.phones || wanted.spoken_phones) && digits >= 8 {
        let thread = place == Place::Thread || is_thread(text);
        let announced = |at| wanted.phones || thread || is_announced(bytes, at);
        each(
            bytes,
            |at| phone(bytes, at).filter(|_| announced(at)),
            "phone",
            &mut found,
        );
    }
    if free && wanted.hosts && dots >= 1 {
        let in_key = place == Place::Key;
        each(bytes, |at| hosts::host(text, at, in_key), "host", &mut found);
    }
    if found.len() > 1 {
        found.sort_by_key(|(range, _)| (range.start, usize::MAX - range.end));
        let mut end = 0;
        found.retain(|(range, _)| {
            let apart = range.start >= end;
            end = end.max(range.end);
            apart
        });
    }
    found
}

fn count(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    // in short runs the count fits a byte, and the processor counts many at once
    let run = |run: &[u8]| usize::from(run.iter().map(|b| u8::from(wanted(*b))).sum::<u8>());
    bytes.chunks(255).map(run).sum()
}

/// Asks at every byte, and goes on behind what was found. What is found twice goes to who was asked first.
fn each(bytes: &[u8], find: impl Fn(usize) -> Option<usize>, rule: &'static str, found: &mut Vec<Found>) {
    let before = found.len();
    let mut at = 0;
    while at < bytes.len() {
        match find(at) {
            Some(end) if end > at => {
                let free = found
                    .iter()
                    .take(before)
                    .all(|(range, _)| end <= range.start || at >= range.end);
                if free {
                    found.push((at..end, rule));
                }
                at = end;
            }
            _ => at += 1,
        }
    }
}

/// Asks where a number begins: at a digit behind none.
fn each_number(bytes: &[u8], find: impl Fn(usize) -> Option<usize>, rule: &'static str, found: &mut Vec<Found>) {
    let starts = |at: usize| {
        byte(bytes, at).is_some_and(|b| b.is_ascii_digit())
            && (!is_digit_before(bytes, at) || is_escape_before(bytes, at))
    };
    each(bytes, |at| if starts(at) { find(at) } else { None }, rule, found);
}

pub(super) fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(super) fn before(bytes: &[u8], at: usize) -> Option<u8> {
    at.checked_sub(1).and_then(|at| byte(bytes, at))
}

fn is_digit_before(bytes: &[u8], at: usize) -> bool {
    before(bytes, at).is_some_and(|b| b.is_ascii_digit())
}

/// Whether `%20` or the like ends here: its digits belong to no number behind it.
fn is_escape_before(bytes: &[u8], at: usize) -> bool {
    let Some([b'%', high, low]) = at.checked_sub(3).and_then(|start| bytes.get(start..at)) else {
        return false;
    };
    high.is_ascii_hexdigit() && low.is_ascii_hexdigit()
}

/// Whether a number may begin here: behind no letter, no digit and no decimal point.
fn starts_apart(bytes: &[u8], at: usize) -> bool {
    match before(bytes, at) {
        None => true,
        Some(b'.') => !at.checked_sub(1).is_some_and(|dot| is_digit_before(bytes, dot)),
        Some(b) => !b.is_ascii_alphanumeric() || is_escape_before(bytes, at),
    }
}

/// Whether a number may end here.
fn ends_apart(bytes: &[u8], at: usize) -> bool {
    match byte(bytes, at) {
        None => true,
        Some(b'.') => !byte(bytes, at + 1).is_some_and(|b| b.is_ascii_digit()),
        Some(b) => !b.is_ascii_alphanumeric(),
    }
}

fn run(bytes: &[u8], at: usize) -> usize {
    bytes.iter().skip(at).take_while(|b| b.is_ascii_digit()).count()
}

/// Digits in groups with one kind of separator between them.
struct Groups {
    lengths: [usize; 5],
    ends: [usize; 5],
    count: usize,
    separator: Option<u8>,
}

fn groups(bytes: &[u8], at: usize) -> Groups {
    let mut groups = Groups {
        lengths: [0; 5],
        ends: [0; 5],
        count: 0,
        separator: None,
    };
    let mut start = at;
    for (length, end) in groups.lengths.iter_mut().zip(&mut groups.ends) {
        *length = run(bytes, start);
        if *length == 0 {
            break;
        }
        *end = start + *length;
        groups.count += 1;
        match (byte(bytes, *end), groups.separator) {
            (Some(separator @ (b' ' | b'-')), None) => groups.separator = Some(separator),
            (separator, Some(known)) if separator == Some(known) => {}
            _ => break,
        }
        start = *end + 1;
    }
    groups
}

/// How cards are printed.
const LAYOUTS: &[&[usize]] = &[
    &[4, 4, 4, 4, 3],
    &[4, 4, 4, 4, 2],
    &[4, 4, 4, 4, 1],
    &[4, 4, 4, 4],
    &[4, 6, 5],
    &[4, 6, 4],
    &[16],
    &[15],
    &[14],
    &[13],
];

fn card(bytes: &[u8], at: usize) -> Option<usize> {
    if !starts_apart(bytes, at) {
        return None;
    }
    let groups = groups(bytes, at);
    for layout in LAYOUTS {
        if layout.len() > groups.count || groups.lengths.get(..layout.len()) != Some(*layout) {
            continue;
        }
        let end = groups.ends.get(layout.len() - 1).copied()?;
        let goes_on = byte(bytes, end) == Some(b'-')
            && byte(bytes, end + 1).is_some_and(|b| b.is_ascii_digit())
            && layout.len() > 1;
        let mut digits = [0u8; 19];
        let mut count = 0;
        for byte in bytes.get(at..end)?.iter().filter(|b| b.is_ascii_digit()) {
            *digits.get_mut(count)? = byte - b'0';
            count += 1;
        }
        let digits = digits.get(..count)?;
        if ends_apart(bytes, end) && !goes_on && has_issuer(digits) && luhn(digits) {
            return Some(end);
        }
    }
    None
}

fn iban(bytes: &[u8], at: usize) -> Option<usize> {
    let country = bytes.get(at..at + 2)?;
    let check = bytes.get(at + 2..at + 4)?;
    if !country.iter().all(u8::is_ascii_uppercase) || !check.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if before(bytes, at).is_some_and(|b| b.is_ascii_alphanumeric()) && !is_escape_before(bytes, at) {
        return None;
    }
    let length = iban_length(country)?;
    let mut account = [0u8; 34];
    let mut count = 0;
    let mut end = at;
    while count < length {
        match byte(bytes, end)? {
            b @ (b'0'..=b'9' | b'A'..=b'Z') => {
                *account.get_mut(count)? = b;
                count += 1;
            }
            b' ' | b'-' if count % 4 == 0 => {}
            _ => return None,
        }
        end += 1;
    }
    let apart = byte(bytes, end).is_none_or(|b| !b.is_ascii_alphanumeric());
    (apart && is_iban(account.get(..length)?)).then_some(end)
}

fn ssn(bytes: &[u8], at: usize) -> Option<usize> {
    let groups = groups(bytes, at);
    let end = groups.ends.get(2).copied()?;
    let is_shaped = groups.count >= 3 && groups.separator == Some(b'-') && groups.lengths.starts_with(&[3, 2, 4]);
    let goes_on = byte(bytes, end) == Some(b'-') && byte(bytes, end + 1).is_some_and(|b| b.is_ascii_alphanumeric());
    let came_on =
        before(bytes, at) == Some(b'-') && at.checked_sub(1).is_some_and(|hyphen| is_digit_before(bytes, hyphen));
    if !is_shaped || goes_on || came_on || !starts_apart(bytes, at) || !ends_apart(bytes, end) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        Some(digits.iter().fold(0u32, |number, b| number * 10 + u32::from(b - b'0')))
    };
    is_ssn(number(at, at + 3)?, number(at + 4, at + 6)?, number(at + 7, end)?).then_some(end)
}

fn ipv4(bytes: &[u8], at: usize, in_path: bool) -> Option<usize> {
    let mut end = at;
    for octet in 0..4 {
        if octet > 0 {
            if byte(bytes, end) != Some(b'.') {
                return None;
            }
            end += 1;
        }
        let digits = run(bytes, end);
        if digits == 0 || digits > 3 {
            return None;
        }
        end += digits;
    }
    let address: Ipv4Addr = std::str::from_utf8(bytes.get(at..end)?).ok()?.parse().ok()?;
    let [first, .., last] = address.octets();
    let is_member = before(bytes, at) == Some(b'.')
        && at
            .checked_sub(2)
            .and_then(|at| byte(bytes, at))
            .is_some_and(|b| b.is_ascii_alphanumeric());
    let has_ending = byte(bytes, end) == Some(b'.') && byte(bytes, end + 1).is_some_and(|b| b.is_ascii_alphanumeric());
    // `/var/log/10.1.2.3.log` is named after a host
    let has_ending = has_ending && !(in_path && before(bytes, at) == Some(b'/'));
    let is_nobody =
        is_member || has_ending || address.is_loopback() || address.is_broadcast() || first == 0 || last == 0;
    if is_nobody || !starts_apart(bytes, at) || !ends_apart(bytes, end) || is_version(bytes, at, end, first, in_path) {
        return None;
    }
    Some(end)
}

/// `lib-1.2.3.4`, `version 1.2.3.4`, `1.2.3.4-SNAPSHOT`; in a path `/lib/1.2.3.4/` too.
fn is_version(bytes: &[u8], at: usize, end: usize, first: u8, in_path: bool) -> bool {
    let has_suffix =
        matches!(byte(bytes, end), Some(b'-' | b'+')) && byte(bytes, end + 1).is_some_and(|b| b.is_ascii_alphabetic());
    let is_named = matches!(before(bytes, at), Some(b'-' | b'_' | b'@'))
        && at
            .checked_sub(2)
            .and_then(|at| byte(bytes, at))
            .is_some_and(|b| b.is_ascii_alphanumeric());
    let says_so = word_before(bytes, at).is_some_and(|word| {
        ["version", "ver", "release", "v"]
            .iter()
            .any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
    });
    // of somebody's browser, and not `host/10.1.2.3`
    let of_browser = before(bytes, at) == Some(b'/')
        && word_before(bytes, at).is_some_and(|word| {
            [
                "Chrome",
                "Chromium",
                "HeadlessChrome",
                "Edg",
                "OPR",
                "Firefox",
                "Electron",
            ]
            .iter()
            .any(|name| word == name.as_bytes())
        });
    has_suffix || says_so || of_browser || (is_named && in_path) || (first < 10 && (is_named || in_path))
}

/// The word before a position, past a few characters of punctuation.
fn word_before(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let mut end = at;
    while at - end < 4 && before(bytes, end).is_some_and(|b| !b.is_ascii_alphanumeric()) {
        end -= 1;
    }
    let mut start = end;
    while end - start < 16 && before(bytes, start).is_some_and(|b| b.is_ascii_alphabetic()) {
        start -= 1;
    }
    bytes.get(start..end).filter(|word| !word.is_empty())
}

fn ipv6(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let in_address = |b: u8| b.is_ascii_hexdigit() || b == b':' || b == b'.';
    let first = byte(bytes, at)?;
    let joined = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':' || b == b'.';
    let is_joined = before(bytes, at).is_some_and(joined) && !is_escape_before(bytes, at);
    if !(first.is_ascii_hexdigit() || first == b':') || is_joined {
        return None;
    }
    let mut end = at + bytes.iter().skip(at).take_while(|b| in_address(**b)).count();
    let goes_on = byte(bytes, end).is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    if goes_on && before(bytes, end) != Some(b'.') {
        return None;
    }
    while end > at && matches!(before(bytes, end), Some(b'.')) {
        end -= 1;
    }
    if end > at + 2 && text.get(at..end)?.ends_with(':') && !text.get(at..end)?.ends_with("::") {
        end -= 1;
    }
    let shape = text.get(at..end)?;
    let address: Ipv6Addr = shape.parse().ok()?;
    let groups = shape.split(':').filter(|group| !group.is_empty()).count();
    let begins_as_one =
        first.is_ascii_digit() || (shape.find(':') == Some(4) && shape.bytes().take(4).any(|b| b.is_ascii_digit()));
    // `dead::beef` and `f64::add` are names of code
    let is_one = match shape.contains("::") {
        false => true,
        true => groups >= 4 || (begins_as_one && groups >= 2) || shape.to_ascii_lowercase().starts_with("::ffff:"),
    };
    (is_one && !address.is_loopback() && !address.is_unspecified()).then_some(end)
}

fn uuid(bytes: &[u8], at: usize) -> Option<usize> {
    const PARTS: [usize; 5] = [8, 4, 4, 4, 12];
    let joined = |b: u8| b.is_ascii_alphanumeric();
    if before(bytes, at).is_some_and(joined) && !is_escape_before(bytes, at) {
        return None;
    }
    let mut end = at;
    for (position, length) in PARTS.into_iter().enumerate() {
        if position > 0 {
            if byte(bytes, end) != Some(b'-') {
                return None;
            }
            end += 1;
        }
        if !bytes.get(end..end + length)?.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        end += length;
    }
    (!byte(bytes, end).is_some_and(joined)).then_some(end)
}

/// Digits of a telephone number, and its bytes with all that stands between them: whoever asks at each byte must not look at all that
/// follow.
const MOST_PHONE_DIGITS: usize = 15;
const LONGEST_PHONE: usize = 48;

/// A telephone number: `+` and 8 to 15 digits, or digits in the groups in which people write them.
fn phone(bytes: &[u8], at: usize) -> Option<usize> {
    let first = byte(bytes, at)?;
    let apart = !before(bytes, at)
        .is_some_and(|b| b.is_ascii_alphanumeric() && !is_letter_of_thread(bytes, at) || b == b'+' || b == b'.');
    if !apart && !is_escape_before(bytes, at) {
        return None;
    }
    let mut digits = 0;
    let mut separators = 0;
    let mut end = at + usize::from(first == b'+' || first == b'(');
    let mut last = end;
    let mut was_separator = false;
    while let Some(b) = byte(bytes, end).filter(|_| end - at < LONGEST_PHONE && digits <= MOST_PHONE_DIGITS) {
        match b {
            b'0'..=b'9' => {
                digits += 1;
                last = end + 1;
                was_separator = false;
            }
            b' ' | b'-' | b'(' | b')' if !was_separator || b == b'(' || before(bytes, end) == Some(b')') => {
                separators += 1;
                was_separator = true;
            }
            _ => break,
        }
        end += 1;
    }
    let lead = byte(bytes, at + 1);
    let fits = match first {
        b'+' => lead.is_some_and(|b| matches!(b, b'1'..=b'9')) && (8..=MOST_PHONE_DIGITS).contains(&digits),
        b'(' => separators >= 2 && digits == 10,
        b'0' => separators >= 2 && (10..=11).contains(&digits),
        b'2'..=b'9' => separators == 2 && digits == 10 && run(bytes, at) == 3 && run(bytes, at + 4) == 3,
        _ => false,
    };
    (fits && ends_apart(bytes, last)).then_some(last)
}

/// A name and a number are glued together in names of threads.
fn is_letter_of_thread(bytes: &[u8], at: usize) -> bool {
    before(bytes, at).is_some_and(|b| b == b'-')
}

/// Whether the word before says that a telephone number follows.
fn is_announced(bytes: &[u8], at: usize) -> bool {
    const WORDS: &[&str] = &[
        "phone",
        "telephone",
        "tel",
        "mobile",
        "cell",
        "fax",
        "msisdn",
        "sms",
        "whatsapp",
        "handy",
        "call",
        "number",
    ];
    let word = word_before(bytes, at).unwrap_or_default();
    WORDS.iter().any(|known| {
        let tail = word.len().checked_sub(known.len()).and_then(|start| word.get(start..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(known.as_bytes()))
    })
}

/// Whether all of the text is a telephone number, for those who know that it is one: 7 to 15 digits and what stands between them.
pub(super) fn is_phone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (7..=15).contains(&digits)
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b' ' | b'-' | b'.' | b'/' | b'(' | b')'))
}

/// Keys whose values are telephone numbers.
pub(super) const PHONE_KEY: &str =
    r"(?i)(?:phone|msisdn|whatsapp|(?:^|[^a-z])(?:tel|mobile|fax|sms))(?:[_.\- ]?(?:number|num|no|nr|e164|[0-9]+))?$";

/// A secret key of AWS has no prefix: forty characters of base64 that were drawn.
fn is_bare_key(text: &str) -> bool {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    if text.len() != 40 || !text.bytes().all(base64) || is_hex_id(text) {
        return false;
    }
    let has = |wanted: fn(&u8) -> bool| text.bytes().any(|b| wanted(&b));
    match has(u8::is_ascii_lowercase) {
        true => has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit) && changes(text) >= 17 && entropy(text) >= 4.3,
        false => has(u8::is_ascii_uppercase),
    }
}

/// How often the text goes from one kind of character to another: names of code go on with a word, what was drawn does not.
fn changes(text: &str) -> usize {
    let kind = |b: u8| (b.is_ascii_lowercase(), b.is_ascii_uppercase());
    text.bytes()
        .zip(text.bytes().skip(1))
        .filter(|(one, next)| kind(*one) != kind(*next))
        .count()
}
