//! One file of the escrow: a line that says whom it is sealed to and how long it is, and behind it a sealed box (X25519,
//! XSalsa20-Poly1305: libsodium's `crypto_box_seal`) of zstd of lines.

use bytes::Bytes;

use super::keys::{Identity, Recipient};
use crate::formats::compress::{ContentEncoding, Inflation, compress};
use crate::formats::{Compression, Limits};

const MAGIC: &str = "flamegate-escrow/1";
/// Longest first line.
const LONGEST_HEAD: usize = 80;
/// Largest file, and the most that may come of one: what a gate writes is far smaller.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// One line: which pseudonym stands for which name of which kind.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Entry {
    /// The role's label.
    pub kind: String,
    pub pseudonym: String,
    pub name: String,
}

/// Why a file does not open. Offsets count from its beginning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Something else.
    #[error("not an escrow file (at byte 0)")]
    Foreign,
    /// Written by a later version, or damaged where it says what it is.
    #[error("its first line is not one of this version's (at byte 0)")]
    Head,
    /// Sealed to somebody else.
    #[error("sealed to another recipient ({0}); none of the identities given opens it")]
    Recipient(String),
    /// Shorter or longer than it says.
    #[error("cut or grown: it says {said} sealed bytes from byte {from} on, and there are {are}")]
    Length {
        /// As its first line has it.
        said: usize,
        /// As they are.
        are: usize,
        /// Where they begin.
        from: usize,
    },
    /// The seal does not hold.
    #[error("changed after it was written: the seal over the bytes from {0} on does not hold")]
    Seal(usize),
    /// Sealed properly, and not what a gate writes.
    #[error("sealed properly, but line {0} of its content is none of a gate's")]
    Content(usize),
}

/// The bytes of a file with these entries; none only if the system has no randomness.
pub(super) fn seal(entries: &[Entry], recipient: &Recipient) -> Option<Vec<u8>> {
    let mut lines = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut lines, &(&entry.kind, &entry.pseudonym, &entry.name)).ok()?;
        lines.push(b'\n');
    }
    let sealed = recipient.seal(&compress(&lines, Compression::Zstd(3)))?;
    let mut file = format!("{MAGIC} {} {}\n", recipient.fingerprint(), sealed.len()).into_bytes();
    file.extend_from_slice(&sealed);
    Some(file)
}

/// The entries of a file.
pub(super) fn open(file: &[u8], identities: &[Identity]) -> Result<Vec<Entry>, Broken> {
    if !file.starts_with(MAGIC.as_bytes()) {
        return Err(Broken::Foreign);
    }
    let end = file
        .iter()
        .take(LONGEST_HEAD)
        .position(|byte| *byte == b'\n')
        .ok_or(Broken::Head)?;
    let (head, sealed) = file.split_at(end + 1);
    let head = std::str::from_utf8(head).map_err(|_| Broken::Head)?;
    let mut words = head.trim_end().split(' ').skip(1);
    let (Some(fingerprint), Some(said), None) = (words.next(), words.next(), words.next()) else {
        return Err(Broken::Head);
    };
    let said: usize = said.parse().map_err(|_| Broken::Head)?;
    let (are, from) = (sealed.len(), head.len());
    if are != said {
        return Err(Broken::Length { said, are, from });
    }
    let fits = |identity: &&Identity| identity.recipient().fingerprint() == fingerprint;
    let identity = identities.iter().find(fits);
    let identity =
        identity.ok_or_else(|| Broken::Recipient(fingerprint.chars().filter(char::is_ascii_hexdigit).collect()))?;
    let plain = identity.open(sealed).ok_or(Broken::Seal(from))?;
    let limits = Limits {
        decompressed_bytes: MOST_BYTES,
        ..Limits::OWN_FILE
    };
    let plain = Inflation::new(&limits).inflate(ContentEncoding::Zstd, Bytes::from(plain));
    let plain = plain.map_err(|_| Broken::Content(1))?;
    let mut entries = Vec::new();
    for (number, line) in plain.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let (kind, pseudonym, name) = serde_json::from_slice(line).map_err(|_| Broken::Content(number + 1))?;
        entries.push(Entry { kind, pseudonym, name });
    }
    Ok(entries)
}
