//! Texts inside of texts: what stands there in hexadecimal digits, as pprof holds bytes, or in base64.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::masks;

/// A shorter run of letters and digits holds nothing of use.
const SHORTEST: usize = 16;
/// What is unpacked without memory of its own.
const SMALL: usize = 1024;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

/// The text with every encoded text masked that `is_hit` objects to, if there is one.
pub fn mask(text: &str, mut is_hit: impl FnMut(&str) -> bool) -> Option<String> {
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    let bytes = text.as_bytes();
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= SHORTEST) {
        let length = rest.iter().take_while(|byte| is_letter(**byte)).count();
        let end = at + length;
        let run = text.get(at..end).filter(|run| run.len() >= SHORTEST);
        if run.is_some_and(|run| holds(run, &mut is_hit)) {
            out.push_str(text.get(copied..at)?);
            out.push_str(&masks::mask("encoded"));
            copied = end + bytes.get(end..)?.iter().take_while(|byte| **byte == b'=').count();
        }
        at = end + 1;
    }
    if copied == 0 {
        return None;
    }
    out.push_str(text.get(copied..)?);
    Some(out)
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

fn holds(run: &str, is_hit: &mut impl FnMut(&str) -> bool) -> bool {
    let (mut small, mut large) = ([0; SMALL], Vec::new());
    let room = match run.len() <= SMALL {
        true => small.as_mut_slice(),
        false => {
            large.resize(run.len(), 0);
            large.as_mut_slice()
        }
    };
    let length = unhex(run, room).or_else(|| {
        let engine = if run.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
        engine.decode_slice(run, room).ok()
    });
    let plain = length.and_then(|length| std::str::from_utf8(room.get(..length)?).ok());
    let plain = plain.filter(|plain| !plain.chars().any(|c| c.is_control() && !c.is_whitespace()));
    plain.is_some_and(is_hit)
}

/// How many bytes the digits make, if they are digits.
fn unhex(run: &str, into: &mut [u8]) -> Option<usize> {
    let (pairs, []) = run.as_bytes().as_chunks::<2>() else {
        return None;
    };
    for ([high, low], byte) in pairs.iter().zip(into.iter_mut()) {
        let digit = |letter: u8| char::from(letter).to_digit(16);
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(pairs.len())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    fn masked(text: &str) -> Option<String> {
        mask(text, |plain| plain.contains("secret"))
    }

    #[test]
    fn texts_are_found_in_digits_and_base64_wherever_they_stand() {
        let plain = "my secret > all ~~~ of it";
        let hex: String = plain.bytes().map(|byte| format!("{byte:02x}")).collect();
        let long = format!("{} secret", "of no interest ".repeat(200));
        for run in [
            hex.clone(),
            hex.to_uppercase(),
            STANDARD.encode(plain),
            URL_SAFE_NO_PAD.encode(plain),
            STANDARD.encode(&long),
        ] {
            assert_eq!(masked(&run).as_deref(), Some("[REDACTED:encoded]"));
            let around = format!("{{\"a\": [\"{run}\", \"{hex}\"]}}");
            let expected = "{\"a\": [\"[REDACTED:encoded]\", \"[REDACTED:encoded]\"]}";
            assert_eq!(masked(&around).as_deref(), Some(expected));
        }
    }

    #[test]
    fn other_texts_stay() {
        for text in [
            "",
            "secret in plain words",
            "0af7651916cd43dd8448eb211c80319c",
            "123e4567-e89b-12d3-a456-426614174000",
            "src/processors/redaction/encoded.rs",
            "[REDACTED:encoded]",
            &STANDARD.encode("nothing that anybody minds"),
        ] {
            assert_eq!(masked(text), None, "{text}");
        }
    }
}
