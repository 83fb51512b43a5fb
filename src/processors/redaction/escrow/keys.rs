//! The two halves of a key: a recipient, which the gate has, and an identity, which it must not have.
//!
//! Both are X25519 keys as base64url with four check bytes behind them: a recipient with a slip of the pen would seal names to
//! nobody.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto_box::aead::OsRng;
use crypto_box::{PublicKey, SecretKey};
use ring::digest::{SHA256, digest};

const RECIPIENT: &str = "flamegate-recipient-";
const IDENTITY: &str = "FLAMEGATE-IDENTITY-";
const KEY_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;

/// A text that is no key. It never quotes the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Something else altogether.
    #[error("not {what}; it begins with `{prefix}`, and `flamegate keygen --escrow` makes one")]
    NotOne {
        /// What was expected.
        what: &'static str,
        /// How that begins.
        prefix: &'static str,
    },
    /// Letters are missing or wrong.
    #[error("{what} with a letter missing or changed: copy it again, whole")]
    Changed {
        /// What was expected.
        what: &'static str,
    },
    /// The other half of a key.
    #[error(
        "this is the private identity: the gate takes the recipient only, which `flamegate keygen --escrow` printed with it"
    )]
    Private,
    /// An identity file without an identity.
    #[error("no identity in it; a line begins with `{IDENTITY}`")]
    Empty,
}

/// The public half: what is sealed to it, nobody but the identity opens.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(PublicKey);

/// The private half.
#[derive(Clone)]
pub struct Identity(SecretKey);

impl Recipient {
    /// Reads what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.trim().starts_with(IDENTITY) {
            return Err(KeyError::Private);
        }
        read(text, RECIPIENT, "an escrow recipient").map(|bytes| Self(bytes.into()))
    }

    /// Which recipient it is, in files: the beginning of a hash of the key.
    pub fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, self.0.as_bytes());
        hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.seal(&mut OsRng, plain).ok()
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{RECIPIENT}{}", checked(self.0.as_bytes()))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Identity {
    /// A new one.
    pub fn generate() -> Self {
        Self(SecretKey::generate(&mut OsRng))
    }

    /// Reads the identities of a file: one a line, comments begin with `#`.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, KeyError> {
        let lines = text.lines().map(str::trim);
        let mut identities = Vec::new();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            identities.push(read(line, IDENTITY, "an escrow identity").map(|bytes| Self(bytes.into()))?);
        }
        match identities.is_empty() {
            true => Err(KeyError::Empty),
            false => Ok(identities),
        }
    }

    /// Whom to seal to, so that this identity opens it.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.public_key())
    }

    /// The line of an identity file: the one place that shows it.
    pub fn expose(&self) -> String {
        format!("{IDENTITY}{}", checked(&self.0.to_bytes()))
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.unseal(sealed).ok()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

fn check(key: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = digest(&SHA256, key);
    let mut check = [0; CHECK_BYTES];
    check.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    check
}

fn checked(key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([key, &check(key)].concat())
}

fn read(text: &str, prefix: &'static str, what: &'static str) -> Result<[u8; KEY_BYTES], KeyError> {
    let Some(letters) = text.trim().strip_prefix(prefix) else {
        return Err(KeyError::NotOne { what, prefix });
    };
    let bytes = URL_SAFE_NO_PAD.decode(letters).unwrap_or_default();
    let split = bytes.split_first_chunk::<KEY_BYTES>();
    match split.filter(|(key, behind)| *behind == check(key.as_slice())) {
        Some((key, _)) => Ok(*key),
        None => Err(KeyError::Changed { what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_read_what_they_write_and_notice_every_slip() {
        let identity = Identity::generate();
        let recipient = identity.recipient();
        let text = recipient.to_string();
        assert_eq!(Recipient::parse(&format!(" {text}\n")), Ok(recipient.clone()));
        let file = format!("# made today\n\n{}\n", identity.expose());
        assert_eq!(Identity::parse_all(&file).unwrap()[0].recipient(), recipient);
        for at in RECIPIENT.len()..text.len() {
            let other = if text.as_bytes()[at] == b'A' { 'B' } else { 'A' };
            let slip: String = text
                .chars()
                .enumerate()
                .map(|(i, c)| if i == at { other } else { c })
                .collect();
            assert!(Recipient::parse(&slip).is_err(), "{at}");
        }
        assert!(Recipient::parse(&text[..text.len() - 1]).is_err());
    }

    #[test]
    fn a_private_key_in_the_place_of_a_public_one_is_told_and_never_quoted() {
        let identity = Identity::generate();
        let error = Recipient::parse(&identity.expose()).unwrap_err();
        assert_eq!(error, KeyError::Private);
        let secret = identity.expose();
        let secret = secret.strip_prefix(IDENTITY).unwrap();
        assert!(!format!("{error} {identity:?}").contains(secret));
        assert!(matches!(Identity::parse_all("# nothing\n"), Err(KeyError::Empty)));
        assert!(Identity::parse_all("AGE-SECRET-KEY-1").is_err());
    }
}
