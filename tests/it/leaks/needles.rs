//! Looks for planted texts in any bytes: as they are and in whatever form a program writes texts, below every layer of compression.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::support::data;

/// A planted text: tests tell its line in `planted.txt` and its class, never the text.
pub struct Needle {
    pub line: usize,
    pub class: String,
    pub text: String,
}

/// Every line of `planted.txt`, with its class.
pub fn all() -> Vec<Needle> {
    let classes = std::fs::read_to_string(data("planted-classes.tsv")).unwrap();
    let classes: BTreeMap<&str, &str> = classes
        .lines()
        .filter_map(|row| row.split_once('\t'))
        .map(|(class, text)| (text, class))
        .collect();
    let planted = std::fs::read_to_string(data("planted.txt")).unwrap();
    let lines = planted.lines().enumerate().filter(|(_, text)| !text.is_empty());
    lines
        .map(|(number, text)| Needle {
            line: number + 1,
            class: classes[text].to_owned(),
            text: text.to_owned(),
        })
        .collect()
}

/// Forms shorter than this come by chance in compressed bytes: four bytes, as two characters are in UTF-16, once in a few hundred runs.
const TELLING: usize = 6;

/// What is looked for.
pub struct Search {
    forms: AhoCorasick,
    /// The line that each form is of.
    lines: Vec<usize>,
}

impl Search {
    pub fn new<'a>(needles: impl IntoIterator<Item = &'a Needle>) -> Self {
        let (mut all, mut lines) = (Vec::new(), Vec::new());
        for needle in needles {
            let forms: HashSet<Vec<u8>> = forms(&needle.text).into_iter().collect();
            let forms: Vec<Vec<u8>> = forms.into_iter().filter(|form| form.len() >= TELLING).collect();
            lines.extend(std::iter::repeat_n(needle.line, forms.len()));
            all.extend(forms);
        }
        Self {
            forms: AhoCorasick::new(all).unwrap(),
            lines,
        }
    }

    /// The lines whose texts are in there.
    pub fn found(&self, bytes: &[u8]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        self.look(bytes, 0, &mut found);
        found
    }

    fn look(&self, bytes: &[u8], depth: usize, found: &mut BTreeSet<usize>) {
        for view in [Some(Cow::Borrowed(bytes)), percent_decoded(bytes), unescaped(bytes)] {
            let Some(view) = view else { continue };
            found.extend(
                self.forms
                    .find_overlapping_iter(&*view)
                    .map(|hit| self.lines[hit.pattern().as_usize()]),
            );
        }
        if depth < 6 {
            for inner in unpacked(bytes) {
                self.look(&inner, depth + 1, found);
            }
        }
    }
}

/// Every way in which a program may write the text.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let join = |each: &dyn Fn(&u8) -> String, between: &str| -> Vec<u8> {
        bytes.iter().map(each).collect::<Vec<_>>().join(between).into_bytes()
    };
    let units =
        |write: &dyn Fn(u16) -> String| -> Vec<u8> { text.encode_utf16().map(write).collect::<String>().into_bytes() };
    let escaped = |keep_ascii: bool, write: &dyn Fn(u16) -> String| {
        units(&|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() && keep_ascii => escaped_ascii(byte),
            _ => write(unit),
        })
    };
    let lower = |unit: u16| format!("\\u{unit:04x}");
    let upper = |unit: u16| format!("\\u{unit:04X}");
    let form: String = form_urlencoded::byte_serialize(bytes).collect();
    let mut forms = vec![
        bytes.to_vec(),
        text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        escaped(true, &lower),
        escaped(true, &upper),
        escaped(false, &lower),
        escaped(false, &upper),
        bytes.escape_ascii().to_string().into_bytes(),
        form.replace('+', "%20").into_bytes(),
        form.into_bytes(),
        join(&|byte| format!("%{byte:02x}"), ""),
        join(&|byte| format!("%{byte:02X}"), ""),
        join(&|byte| format!("{byte:02x}"), ""),
        join(&|byte| format!("{byte:02X}"), ""),
        join(&u8::to_string, ", "),
        join(&u8::to_string, ","),
    ];
    for start in 0..3 {
        let padded = [&b"\0\0"[..start], bytes].concat();
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&padded);
            // what the neighbours have a part in is not the text's
            let end = encoded.len() - usize::from(!padded.len().is_multiple_of(3));
            forms.push(encoded.as_bytes()[[0, 2, 3][start]..end].to_vec());
        }
    }
    forms.extend(numbers(text));
    forms
}

fn escaped_ascii(byte: u8) -> String {
    match byte {
        b'"' | b'\\' => format!("\\{}", byte as char),
        _ => (byte as char).to_string(),
    }
}

/// The text as whole numbers: that of its digits, and those that each eight bytes of it make.
fn numbers(text: &str) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    if digits.len() >= 12
        && let Ok(number) = digits.parse::<u64>()
    {
        forms.extend([varint(number), number.to_le_bytes().to_vec()]);
        forms.extend([(number as f64).to_le_bytes().to_vec(), digits.into_bytes()]);
    }
    for eight in text.as_bytes().windows(8) {
        let eight: [u8; 8] = eight.try_into().unwrap();
        for number in [u64::from_le_bytes(eight), u64::from_be_bytes(eight)] {
            forms.extend([varint(number), number.to_string().into_bytes()]);
        }
    }
    forms
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn percent_decoded(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    decoded(bytes, b"%", |rest| Some((vec![hex(rest.get(..2)?)? as u8], 2)))
}

/// What JSON, or a program that quotes, escapes.
fn unescaped(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    decoded(bytes, b"\\", |rest| match rest.first()? {
        b'u' => {
            let mut units = vec![hex(rest.get(1..5)?)?];
            let mut length = 5;
            if rest.get(5..7) == Some(b"\\u") {
                units.push(hex(rest.get(7..11)?)?);
                length = 11;
            }
            let text = String::from_utf16(&units).or_else(|_| {
                length = 5;
                String::from_utf16(&units[..1])
            });
            Some((text.ok()?.into_bytes(), length))
        }
        b'x' => Some((vec![hex(rest.get(1..3)?)? as u8], 3)),
        byte @ (b'"' | b'\\' | b'/' | b'\'') => Some((vec![*byte], 1)),
        _ => None,
    })
}

fn hex(digits: &[u8]) -> Option<u16> {
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The bytes with every escape replaced by what it stands for; none if there is none.
fn decoded<'a>(
    bytes: &'a [u8],
    escape: &[u8],
    mut read: impl FnMut(&[u8]) -> Option<(Vec<u8>, usize)>,
) -> Option<Cow<'a, [u8]>> {
    let mut out: Vec<u8> = Vec::new();
    let mut copied = 0;
    for at in memchr::memmem::find_iter(bytes, escape) {
        if at < copied {
            continue;
        }
        if let Some((stands_for, length)) = read(&bytes[at + 1..]) {
            out.extend(&bytes[copied..at]);
            out.extend(stands_for);
            copied = at + 1 + length;
        }
    }
    if copied == 0 {
        return None;
    }
    out.extend(&bytes[copied..]);
    Some(out.into())
}

/// Everything that is packed in there, wherever it begins: by gzip or zstd, and either of them in base64.
// other limits than a gate's, over what a test's gate wrote
#[allow(clippy::disallowed_types)]
fn unpacked(bytes: &[u8]) -> Vec<Vec<u8>> {
    const MOST: u64 = 256 << 20;
    let mut all = Vec::new();
    let mut keep = |reader: &mut dyn Read| {
        let mut inner = Vec::new();
        // what comes before a fault counts too
        let _ = reader.take(MOST).read_to_end(&mut inner);
        if !inner.is_empty() {
            all.push(inner);
        }
    };
    for at in memchr::memmem::find_iter(bytes, b"\x1f\x8b\x08") {
        keep(&mut flate2::read::MultiGzDecoder::new(&bytes[at..]));
    }
    for at in memchr::memmem::find_iter(bytes, b"\x28\xb5\x2f\xfd") {
        keep(&mut zstd::stream::read::Decoder::new(&bytes[at..]).unwrap());
    }
    // how gzip and zstd begin
    for begin in [&b"H4sI"[..], b"KLUv"] {
        for at in memchr::memmem::find_iter(bytes, begin) {
            let is_base64 = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
            let length = bytes[at..].iter().take_while(is_base64).count();
            all.extend(STANDARD.decode(&bytes[at..at + length / 4 * 4]));
        }
    }
    all
}

#[test]
fn every_form_of_a_text_is_found() {
    let needle = |line, text: &str| Needle {
        line,
        class: String::new(),
        text: text.to_owned(),
    };
    let needles = [needle(1, "plant\u{e9}d \"one\""), needle(2, "4111-1111-1111-1111")];
    let search = Search::new(&needles);
    let text = needles[0].text.as_bytes();
    let gzip = flamegate::formats::compress::compress(text, flamegate::formats::Compression::Gzip(6));
    let zstd = flamegate::formats::compress::compress(&gzip, flamegate::formats::Compression::Zstd(1));
    let hidden: Vec<Vec<u8>> = vec![
        text.to_vec(),
        STANDARD.encode(text).into_bytes(),
        STANDARD.encode([b"1", text, b"2"].concat()).into_bytes(),
        URL_SAFE_NO_PAD.encode([b"12", text, b"3"].concat()).into_bytes(),
        serde_json::to_vec(&needles[0].text).unwrap(),
        b"plant\\u00e9d \\u0022one\\u0022".to_vec(),
        b"plant%C3%A9d+%22one%22".to_vec(),
        b"%70lant%c3%a9d%20%22one%22".to_vec(),
        format!("{text:?}").into_bytes(),
        needles[0].text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        varint(u64::from_be_bytes(*b"ant\xc3\xa9d \"")),
        [b"before", &zstd[..], b"after"].concat(),
        STANDARD.encode(gzip).into_bytes(),
        text.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into_bytes(),
    ];
    for (number, hidden) in hidden.iter().enumerate() {
        assert_eq!(
            search.found(&[b"<", &hidden[..], b">"].concat()),
            [1].into(),
            "{number}"
        );
    }
    for card in [varint(4_111_111_111_111_111), b"4111111111111111".to_vec()] {
        assert_eq!(search.found(&card), [2].into());
    }
    assert_eq!(search.found(b"planted one 4111-1111-1111-1112"), [].into());
}
