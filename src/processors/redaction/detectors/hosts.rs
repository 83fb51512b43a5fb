//! Names of hosts, for policies that ask for them.

use super::numbers::{before, byte};

/// Endings of names that only a network of one's own knows.
const INTERNAL: &[&str] = &[
    "internal",
    "local",
    "localdomain",
    "corp",
    "lan",
    "intranet",
    "home",
    "private",
    "svc",
    "consul",
    "invalid",
    "example",
    "test",
    "arpa",
];

/// Endings of public names, without those that are endings of files.
const PUBLIC: &[&str] = &[
    "com", "net", "org", "edu", "gov", "mil", "int", "info", "biz", "io", "me", "tv", "dev", "app", "cloud", "ai",
    "co", "tech", "online", "site", "store", "shop", "xyz", "us", "uk", "de", "fr", "eu", "ch", "at", "nl", "be", "se",
    "no", "fi", "dk", "it", "es", "pt", "cz", "sk", "hu", "ro", "bg", "gr", "tr", "ru", "ua", "cn", "jp", "kr", "in",
    "br", "mx", "ar", "cl", "au", "nz", "ca", "za", "il", "ae", "sg", "hk", "tw", "th", "vn", "id", "my", "ie", "lt",
    "lv", "ee", "is",
];

/// Packages are named after domains, the other way round.
const REVERSED: &[&str] = &[
    "com", "org", "net", "io", "java", "javax", "jdk", "sun", "edu", "dev", "kotlin", "scala", "github",
];

/// Whether names of hosts end so.
pub(super) fn is_ending(label: &str) -> bool {
    INTERNAL.contains(&label) || PUBLIC.contains(&label)
}

/// The end of the name of a host that begins here. Keys have dots too, and are words.
pub(super) fn host(text: &str, at: usize, in_key: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let of_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    if !byte(bytes, at)?.is_ascii_alphanumeric() || before(bytes, at).is_some_and(|b| of_name(b) || b == b'$') {
        return None;
    }
    let mut end = at + bytes.iter().skip(at).take_while(|b| of_name(**b)).count();
    while matches!(before(bytes, end), Some(b'.' | b'-' | b'_')) {
        end -= 1;
    }
    let name = text.get(at..end)?;
    let (first, last) = (name.split('.').next()?, name.rsplit('.').next()?);
    let last = last.to_ascii_lowercase();
    let has_labels = name.contains('.') && name.split('.').all(|label| !label.is_empty() && label.len() < 64);
    let is_internal = INTERNAL.contains(&last.as_str());
    // `thread.id` and `deployment.is` are keys
    let is_word = in_key && !name.bytes().any(|b| b.is_ascii_digit() || b == b'-');
    let is_public = !is_word && PUBLIC.contains(&last.as_str()) && !REVERSED.contains(&first);
    let is_called = matches!(byte(bytes, end), Some(b'(' | b'$'));
    (has_labels && !is_called && (is_internal || is_public)).then_some(end)
}
