//! Names that stand for names: the same for the same name and key, on every replica and after every restart, and no way back
//! without the key.
//!
//! A pseudonym is `fn_k1_` and 26 letters: 20 of them (100 bits) are a keyed hash of the name and the part it plays, the last 6
//! a seal over those, by which a gate with the same key knows its own work and lets it be. Nobody without the key can write a
//! text that is taken for one.

use std::fmt;
use std::sync::OnceLock;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::config::{HashFunction, PseudonymKey, Pseudonyms as Config};
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::Secret;

/// What the name is a name of: the first word of the pseudonym, and part of what is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A function.
    Function,
    /// A source file or a binary.
    File,
    /// A thread or process.
    Thread,
    /// An instrumentation scope.
    Scope,
    /// A sample type or a unit.
    Type,
    /// A comment or a link.
    Text,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Function,
        Self::File,
        Self::Thread,
        Self::Scope,
        Self::Type,
        Self::Text,
    ];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Function => "fn",
            Self::File => "file",
            Self::Thread => "thread",
            Self::Scope => "scope",
            Self::Type => "type",
            Self::Text => "text",
        }
    }
}

const BODY: usize = 20;
const SEAL: usize = 6;
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// A key shorter than what it makes could be guessed.
const SHORTEST_KEY: usize = 32;

/// In the place of a key: one that this process makes for itself and forgets.
const EPHEMERAL: &str = "ephemeral";

fn ephemeral() -> Option<&'static [u8]> {
    static KEY: OnceLock<Option<[u8; 32]>> = OnceLock::new();
    let make = || {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).is_ok().then_some(key)
    };
    KEY.get_or_init(make).as_ref().map(|key| key.as_slice())
}

struct Key {
    id: String,
    key: hmac::Key,
}

impl Key {
    fn letters(&self, purpose: &str, kind: Kind, text: &str, count: usize) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [purpose, kind.prefix()] {
            context.update(part.as_bytes());
            context.update(&[0]);
        }
        context.update(text.as_bytes());
        base32(context.sign().as_ref(), count)
    }

    fn pseudonym(&self, kind: Kind, name: &str) -> String {
        let body = self.letters("name", kind, name, BODY);
        let seal = self.letters("seal", kind, &body, SEAL);
        format!("{}_{}_{body}{seal}", kind.prefix(), self.id)
    }
}

/// The keys of a policy.
pub struct Pseudonyms {
    keys: Vec<Key>,
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

impl Pseudonyms {
    /// The keys of a configuration; none is allowed, and then nothing can be hashed.
    pub fn new(config: &Config) -> Result<Self, BuildError> {
        let mut keys: Vec<Key> = Vec::new();
        for (i, PseudonymKey { id, key }) in config.keys.iter().enumerate() {
            let at = |name: &str, message: &str| BuildError::at(format!("pseudonyms.keys[{i}].{name}"), message);
            let plain = |id: &str| id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            if id.is_empty() || id.len() > 16 || !plain(id) {
                return Err(at("id", "an id is 1 to 16 lower-case letters and digits"));
            }
            if keys.iter().any(|known| known.id == *id) {
                return Err(at("id", "another key has this id"));
            }
            if key.expose() == EPHEMERAL {
                tracing::warn!(
                    "pseudonyms are made with a key of this process alone: after a restart, and on another replica, they are others"
                );
                let no_random = "the system gives no random numbers: set a key";
                let key = ephemeral().ok_or_else(|| at("key", no_random))?;
                let key = hmac::Key::new(hmac::HMAC_SHA256, key);
                keys.push(Key { id: id.clone(), key });
                continue;
            }
            if key.expose().len() < SHORTEST_KEY {
                return Err(at("key", "a key has at least 32 bytes; `flamegate keygen` makes one"));
            }
            keys.push(Key {
                id: id.clone(),
                key: hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()),
            });
        }
        Ok(Self { keys })
    }

    /// Whether there is no key to hash with.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What stands for the name, made with the first key; none without a key. What is a pseudonym stays.
    pub fn of(&self, kind: Kind, name: &str) -> Option<String> {
        if self.is_ours(name) {
            return Some(name.to_owned());
        }
        Some(self.keys.first()?.pseudonym(kind, name))
    }

    /// Whether the text is a pseudonym that one of the keys made.
    pub fn is_ours(&self, text: &str) -> bool {
        let Some((prefix, rest)) = text.split_once('_') else {
            return false;
        };
        let (Some(kind), Some((id, letters))) = (
            Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix),
            rest.split_once('_'),
        ) else {
            return false;
        };
        if letters.len() != BODY + SEAL || !letters.bytes().all(|b| LETTERS.contains(&b)) {
            return false;
        }
        let (Some(key), (body, seal)) = (self.keys.iter().find(|key| key.id == id), letters.split_at(BODY)) else {
            return false;
        };
        key.letters("seal", kind, body, SEAL) == seal
    }
}

fn base32(bytes: &[u8], count: usize) -> String {
    let bit = |at: usize| {
        bytes
            .get(at / 8)
            .map_or(0, |byte| usize::from(byte >> (7 - at % 8)) & 1)
    };
    let letter = |at: usize| (0..5).fold(0, |letter, i| letter << 1 | bit(at * 5 + i));
    (0..count)
        .filter_map(|at| LETTERS.get(letter(at)))
        .map(|letter| char::from(*letter))
        .collect()
}

/// `hash_function`: what stands in the place of a blocked value, where that is to stay comparable.
///
/// It is as long as the Collector's: its first part is the beginning of the same HMAC, the last 16 digits are a seal as that
/// of a pseudonym.
pub struct ValueHash {
    key: hmac::Key,
    /// Bytes of the HMAC that are shown; the seal stands for the rest.
    shown: usize,
}

const VALUE_SEAL: usize = 8;

impl ValueHash {
    /// The function with its key, as configured.
    pub fn new(function: Option<HashFunction>, key: Option<&Secret>) -> Result<Option<Self>, BuildError> {
        let (algorithm, shortest, length) = match function {
            None => return Ok(None),
            Some(HashFunction::HmacSha256) => (hmac::HMAC_SHA256, 32, 32),
            Some(HashFunction::HmacSha512) => (hmac::HMAC_SHA512, 64, 64),
            Some(HashFunction::Md5 | HashFunction::Sha1 | HashFunction::Sha3) => {
                let message = "without a key whoever guesses the value finds it again: take hmac-sha256 or hmac-sha512, with hmac_key";
                return Err(BuildError::at("hash_function", message));
            }
        };
        let Some(key) = key else {
            return Err(BuildError::at(
                "hmac_key",
                "hash_function needs a key; `flamegate keygen` makes one",
            ));
        };
        if key.expose().len() < shortest {
            let message =
                format!("a key for this hash_function has at least {shortest} bytes; `flamegate keygen` makes one");
            return Err(BuildError::at("hmac_key", message));
        }
        Ok(Some(Self {
            key: hmac::Key::new(algorithm, key.expose().as_bytes()),
            shown: length - VALUE_SEAL,
        }))
    }

    /// What stands for the value.
    pub fn of(&self, value: &str) -> String {
        let tag = hmac::sign(&self.key, value.as_bytes());
        let body = tag.as_ref().get(..self.shown).unwrap_or_default();
        format!("{}{}", hex(body), self.seal(&hex(body)))
    }

    fn seal(&self, body: &str) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"seal\0");
        context.update(body.as_bytes());
        hex(context.sign().as_ref().get(..VALUE_SEAL).unwrap_or_default())
    }

    /// Digits of a hash.
    pub fn digits(&self) -> usize {
        (self.shown + VALUE_SEAL) * 2
    }

    /// Whether the text is one that this key made.
    pub fn is_ours(&self, text: &str) -> bool {
        if text.len() != self.digits() || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return false;
        }
        let (body, seal) = text.split_at(self.shown * 2);
        self.seal(body) == seal
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(keys: &[(&str, char)]) -> Pseudonyms {
        let key = |(id, letter): &(&str, char)| PseudonymKey {
            id: (*id).to_owned(),
            key: Secret::new(letter.to_string().repeat(SHORTEST_KEY)),
        };
        Pseudonyms::new(&Config {
            keys: keys.iter().map(key).collect(),
        })
        .unwrap()
    }

    #[test]
    fn a_pseudonym_is_stable_and_depends_on_key_and_part() {
        let one = keys(&[("k1", 'a')]);
        let name = one.of(Kind::Function, "acme.Price").unwrap();
        // written down: another release must make the same
        assert_eq!(name, "fn_k1_hfflhx7o7lslmxucv2eyegadjk");
        assert_ne!(
            one.of(Kind::File, "acme.Price").unwrap().split_at(7).1,
            name.split_at(6).1
        );
        assert_ne!(keys(&[("k1", 'b')]).of(Kind::Function, "acme.Price").unwrap(), name);
        assert_eq!(keys(&[]).of(Kind::Function, "acme.Price"), None);
    }

    #[test]
    fn what_another_key_of_the_policy_made_stays() {
        let old = keys(&[("k1", 'a')]).of(Kind::Thread, "worker").unwrap();
        let both = keys(&[("k2", 'b'), ("k1", 'a')]);
        assert_eq!(both.of(Kind::Thread, &old).unwrap(), old);
        assert!(both.of(Kind::Thread, "worker").unwrap().starts_with("thread_k2_"));
        // that key is gone: nothing says that this is a pseudonym
        assert_ne!(keys(&[("k2", 'b')]).of(Kind::Thread, &old).unwrap(), old);
    }

    #[test]
    fn nobody_forges_one() {
        let ours = keys(&[("k1", 'a')]);
        let real = ours.of(Kind::Function, "f").unwrap();
        for forged in [
            "fn_k1_acmesecretalgorithmabcdefg",
            "fn_k1_ACMESECRETALGORITHMABCDEFG",
            "fn_k1_",
            "fn__",
            "fn",
            &real.replace("fn_", "file_"),
            &real.replace("k1", "k2"),
            &format!("{real}x"),
            &format!(" {real}"),
        ] {
            assert!(!ours.is_ours(forged), "{forged}");
        }
        assert!(ours.is_ours(&real));
    }

    #[test]
    fn keys_are_checked() {
        let new = |id: &str, length: usize| {
            Pseudonyms::new(&Config {
                keys: vec![PseudonymKey {
                    id: id.to_owned(),
                    key: Secret::new("x".repeat(length)),
                }],
            })
            .map_err(|error| error.path)
        };
        assert!(new("k1", 32).is_ok());
        assert_eq!(new("k1", 31).unwrap_err(), "pseudonyms.keys[0].key");
        for id in ["", "K1", "k_1", "seventeen17letters"] {
            assert_eq!(new(id, 32).unwrap_err(), "pseudonyms.keys[0].id");
        }
    }

    fn hash(function: HashFunction, length: usize) -> Result<Option<ValueHash>, BuildError> {
        ValueHash::new(Some(function), Some(&Secret::new("k".repeat(length))))
    }

    #[test]
    fn a_value_hash_begins_as_the_collectors_and_knows_itself() {
        let hash = hash(HashFunction::HmacSha256, 32).unwrap().unwrap();
        let text = hash.of("alice");
        // printf alice | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
        assert_eq!(&text[..48], "6664a42048c6d6d7fe3657e39b14155c099246385212db08");
        assert_eq!(text.len(), 64);
        assert!(hash.is_ours(&text) && !hash.is_ours(&"a".repeat(64)));
    }

    #[test]
    fn weak_hashes_and_short_keys_are_refused_with_a_better_choice() {
        for function in [HashFunction::Md5, HashFunction::Sha1, HashFunction::Sha3] {
            let error = hash(function, 64).err().unwrap();
            assert!(error.path == "hash_function" && error.message.contains("hmac-sha256"));
        }
        assert_eq!(hash(HashFunction::HmacSha512, 63).err().unwrap().path, "hmac_key");
        assert_eq!(hash(HashFunction::HmacSha512, 64).unwrap().unwrap().of("x").len(), 128);
        let none = ValueHash::new(Some(HashFunction::HmacSha256), None);
        assert_eq!(none.err().unwrap().path, "hmac_key");
    }

    proptest! {
        #[test]
        fn prop_ours_is_what_we_made_and_nothing_else(name in ".{0,40}", text in "(fn|file|thread)_k1_[a-z2-7]{26}") {
            let ours = keys(&[("k1", 'a')]);
            let made = ours.of(Kind::Function, &name).unwrap();
            prop_assert!(ours.is_ours(&made));
            prop_assert_eq!(ours.of(Kind::File, &made).unwrap(), made);
            prop_assert!(!ours.is_ours(&text));
        }
    }
}
