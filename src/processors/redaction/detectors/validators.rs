//! What tells a number from a number that means something: check digits, prefixes, lengths, the way it was drawn.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Build ids, trace ids, addresses: hexadecimal through and through.
pub fn is_hex_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// The check digit of payment cards.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let mut sum = 0u32;
    for (position, digit) in digits.iter().rev().enumerate() {
        let mut value = u32::from(*digit);
        if position % 2 == 1 {
            value *= 2;
            if value > 9 {
                value -= 9;
            }
        }
        sum += value;
    }
    !digits.is_empty() && sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != 0)
}

/// Whether an issuer of cards numbers them so: first digits and length.
pub(super) fn has_issuer(digits: &[u8]) -> bool {
    let prefix = |count: usize| {
        digits
            .iter()
            .take(count)
            .fold(0u32, |number, digit| number * 10 + u32::from(*digit))
    };
    let (two, three, four) = (prefix(2), prefix(3), prefix(4));
    match digits.len() {
        13 => digits.first() == Some(&4),
        14 => matches!(three, 300..=305 | 309) || matches!(two, 36 | 38 | 39),
        15 => matches!(two, 34 | 37),
        16 => {
            digits.first() == Some(&4)
                || matches!(two, 51..=55 | 62 | 65)
                || matches!(four, 2221..=2720 | 6011 | 3528..=3589)
                || matches!(three, 644..=649)
        }
        17..=19 => digits.first() == Some(&4) && digits.len() == 19 || matches!(two, 62 | 63 | 67 | 50 | 56..=58),
        _ => false,
    }
}

/// Lengths of account numbers by country.
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HN", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];

/// How many characters an account number of this country has.
pub(super) fn iban_length(country: &[u8]) -> Option<usize> {
    let row = IBAN_LENGTHS.iter().find(|(code, _)| code.as_bytes() == country)?;
    Some(row.1)
}

/// The check digits of an account number: letters and digits of ASCII, no spaces.
pub(super) fn is_iban(account: &[u8]) -> bool {
    let (Some(head), Some(tail)) = (account.get(..4), account.get(4..)) else {
        return false;
    };
    if iban_length(head.get(..2).unwrap_or_default()) != Some(account.len()) {
        return false;
    }
    let mut rest = 0u32;
    for byte in tail.iter().chain(head) {
        rest = match byte {
            b'0'..=b'9' => rest * 10 + u32::from(byte - b'0'),
            b'A'..=b'Z' => rest * 100 + u32::from(byte - b'A') + 10,
            _ => return false,
        } % 97;
    }
    rest == 1
}

/// Area, group and serial of a social security number, or of the tax number that stands for one (an area from 900 on).
pub(super) fn is_ssn(area: u32, group: u32, serial: u32) -> bool {
    let is_tax_number = matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99);
    let has_area = match area {
        0 | 666 => false,
        900.. => is_tax_number,
        _ => group != 0,
    };
    has_area && serial != 0
}

/// Bits by character.
pub(super) fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = text.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length)
        .map(|share| -share * share.log2())
        .sum()
}

/// Whether it is `user:password` in base64.
pub(super) fn decodes_to_pair(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    let decoded = STANDARD_NO_PAD.decode(bare).or_else(|_| URL_SAFE_NO_PAD.decode(bare));
    decoded.is_ok_and(|bytes| bytes.contains(&b':') && bytes.iter().all(|b| *b >= 0x20 && *b != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect()
    }

    #[test]
    fn check_digits_are_checked() {
        for card in [
            "4111111111111111",
            "5555555555554444",
            "378282246310005",
            "6011111111111117",
            "30569309025904",
        ] {
            assert!(luhn(&digits(card)) && has_issuer(&digits(card)), "{card}");
        }
        assert!(!luhn(&digits("4111111111111112")));
        assert!(!has_issuer(&digits("1234567812345670")), "nobody issues them");
        assert!(!luhn(&digits("0000000000000000")));
        assert!(is_iban(b"GB82WEST12345698765432") && is_iban(b"NO9386011117947"));
        assert!(!is_iban(b"GB83WEST12345698765432") && !is_iban(b"GB82WEST1234569876543"));
        assert!(is_ssn(219, 9, 9999) && is_ssn(987, 65, 4320));
        for (area, group, serial) in [
            (0, 12, 1234),
            (666, 12, 1234),
            (901, 12, 1234),
            (219, 0, 1),
            (219, 1, 0),
        ] {
            assert!(!is_ssn(area, group, serial), "{area} {group} {serial}");
        }
    }

    #[test]
    fn what_was_drawn_is_told_from_what_was_written() {
        assert!(entropy("aaaaaaaa") < 0.1 && entropy("q8Zt2LxV0pRw7BnE") > 3.5);
        assert!(decodes_to_pair("dXNlcjpwYXNz") && !decodes_to_pair("authentication"));
    }
}
