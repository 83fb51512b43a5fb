//! What looks like something private. Keywords of all rules are looked for at once; only a text that holds one meets the regular
//! expressions that own it, and only a text with enough digits meets the scanners of numbers. A clean text allocates nothing.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

pub use exempt::{is_id, is_identity, is_version, is_version_key};
pub use mask::is_masked;
pub use place::{Place, is_route, is_thread};

use self::numbers::Wanted;
use self::rule::Rule;
use super::masks::MARKER;

mod context;
mod exempt;
mod families;
mod hosts;
mod mask;
mod numbers;
mod place;
#[cfg(test)]
mod recall;
mod rule;
#[cfg(test)]
mod tests;
mod validators;

/// A longer text is masked whole: nobody reads it in a profile, and it would cost more than the profile.
pub const LONGEST: usize = 64 << 10;

/// A text that changes more often than this is masked whole.
const ROUNDS: usize = 16;

/// A detector that comes with the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Keys, tokens and passwords, by shape or by the key in front of them.
    Secrets,
    /// E-mail addresses, IP addresses, numbers of cards, accounts and social security, and announced telephone numbers.
    Pii,
    /// E-mail addresses.
    Emails,
    /// IPv4 and IPv6 addresses.
    IpAddresses,
    /// Numbers of payment cards.
    Cards,
    /// Numbers of bank accounts.
    Ibans,
    /// Social security numbers of the United States.
    Ssns,
    /// Telephone numbers by their shape alone.
    Phones,
    /// UUIDs.
    Uuids,
    /// Names of hosts and services in a network.
    Hosts,
}

impl Detector {
    /// The default of the processor.
    pub const DEFAULT: &[Detector] = &[Detector::Secrets, Detector::Pii];
}

/// The detectors of one policy.
pub struct Detectors {
    keywords: Vec<&'static str>,
    /// The rule that each keyword belongs to.
    owner: Vec<u8>,
    /// Finds keywords. Made when the first text comes: for its speed it takes more memory than all else of a policy.
    finder: OnceLock<Option<AhoCorasick>>,
    rules: Vec<Rule>,
    numbers: Wanted,
    sensitive_key: Option<Regex>,
    phone_key: Option<Regex>,
}

impl Detectors {
    /// The detectors asked for.
    pub fn new(wanted: &[Detector]) -> Result<Self, String> {
        let has = |detector: Detector| wanted.contains(&detector);
        let pii = has(Detector::Pii);
        let numbers = Wanted {
            cards: pii || has(Detector::Cards),
            ibans: pii || has(Detector::Ibans),
            ssns: pii || has(Detector::Ssns),
            ip_addresses: pii || has(Detector::IpAddresses),
            spoken_phones: pii,
            phones: has(Detector::Phones),
            uuids: has(Detector::Uuids),
            hosts: has(Detector::Hosts),
            bare_keys: has(Detector::Secrets),
        };
        let mut families = Vec::new();
        if has(Detector::Secrets) {
            families.extend(families::STRUCTURAL.iter().chain(context::CONTEXT));
        }
        if pii || has(Detector::Emails) {
            families.extend(context::EMAIL);
        }
        let mut keywords = Vec::new();
        let mut owner = Vec::new();
        for (position, family) in families.iter().enumerate() {
            let position = u8::try_from(position).ok().filter(|position| *position < 128);
            let position = position.ok_or("more than 128 families")?;
            keywords.extend(family.keywords);
            owner.extend(family.keywords.iter().map(|_| position));
        }
        let key = context::SENSITIVE_KEY
            .replace("{WORD}", context::WORD)
            .replace("{TAIL}", context::TAIL);
        let sensitive_key = match has(Detector::Secrets) {
            true => Some(Regex::new(&key).map_err(|error| error.to_string())?),
            false => None,
        };
        let phone_key = match numbers.phones || numbers.spoken_phones {
            true => Some(Regex::new(numbers::PHONE_KEY).map_err(|error| error.to_string())?),
            false => None,
        };
        Ok(Self {
            keywords,
            owner,
            finder: OnceLock::new(),
            rules: families.into_iter().map(Rule::new).collect(),
            numbers,
            sensitive_key,
            phone_key,
        })
    }

    /// Whether the key alone says that its value is a secret.
    pub fn is_sensitive_key(&self, key: &str) -> bool {
        self.sensitive_key.as_ref().is_some_and(|regex| regex.is_match(key))
    }

    /// Whether the value below such a key opens nothing all the same.
    pub fn opens_nothing(key: &str, value: &str) -> bool {
        context::opens_nothing(key, value)
    }

    /// Whether the key announces a telephone number.
    pub fn is_phone_key(&self, key: &str) -> bool {
        self.phone_key.as_ref().is_some_and(|regex| regex.is_match(key))
    }

    /// Whether all of a value is a telephone number, below a key that announces one.
    pub fn is_phone(value: &str) -> bool {
        numbers::is_phone(value)
    }

    /// Whether a rule finds what opens something, and not what a person or a host is known by.
    pub fn is_secret(rule: &str) -> bool {
        let mut families = families::STRUCTURAL.iter().chain(context::CONTEXT);
        ["sensitive_key", "argument", "aws_secret"].contains(&rule) || families.any(|family| family.name == rule)
    }

    /// Whether the value of this key is an identifier by key and shape: no detector and no pattern may tear it.
    pub fn is_exempt(&self, key: &str, value: &str) -> bool {
        exempt::is_exempt(key, value)
    }

    /// The text with every hit masked, if there is one; `hit` hears the rule of each, and what it removed.
    pub fn mask(&self, text: &str, place: Place, mut hit: impl FnMut(&'static str, &str)) -> Option<String> {
        if self.rules.is_empty() && self.numbers == Wanted::default() {
            return None;
        }
        if text.len() > LONGEST {
            hit("overlong", "");
            return Some(format!("{MARKER}overlong]"));
        }
        let mut masked = self.once(text, place, &mut hit)?;
        // a mask may stand now where something hid the next hit
        for _ in 0..ROUNDS {
            match self.once(&masked, place, &mut hit) {
                Some(next) => masked = next,
                None => return Some(masked),
            }
        }
        Some(format!("{MARKER}overlong]"))
    }

    fn once(&self, text: &str, place: Place, hit: &mut impl FnMut(&'static str, &str)) -> Option<String> {
        let place = place.seen(text);
        let mut masked: Option<String> = None;
        let mut wanted = self.called(text);
        while wanted != 0 {
            let position = wanted.trailing_zeros() as usize;
            wanted &= wanted - 1;
            let Some(rule) = self.rules.get(position).filter(|rule| rule.reach.covers(place)) else {
                continue;
            };
            if let Some(next) = rule.mask(masked.as_deref().unwrap_or(text), place, hit) {
                masked = Some(next);
            }
        }
        let now = masked.as_deref().unwrap_or(text);
        if let Some(next) = self.mask_numbers(now, place, hit) {
            masked = Some(next);
        }
        masked
    }

    fn finder(&self) -> Option<&AhoCorasick> {
        let build = || {
            AhoCorasickBuilder::new()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::Standard)
                .kind(Some(AhoCorasickKind::DFA))
                .build(&self.keywords)
                .ok()
        };
        self.finder.get_or_init(build).as_ref()
    }

    /// The rules whose keywords stand in the text, one bit each; all of them if those cannot be looked for.
    fn called(&self, text: &str) -> u128 {
        let Some(finder) = self.finder() else {
            return u128::MAX;
        };
        let mut called = 0u128;
        for found in finder.find_overlapping_iter(text) {
            if let Some(position) = self.owner.get(found.pattern().as_usize()) {
                called |= 1 << position;
            }
        }
        called
    }

    fn mask_numbers(&self, text: &str, place: Place, hit: &mut impl FnMut(&'static str, &str)) -> Option<String> {
        let found = numbers::find(text, place, self.numbers);
        let mut out = String::new();
        let mut copied = 0;
        for (range, rule) in &found {
            out.push_str(text.get(copied..range.start)?);
            out.push_str(MARKER);
            out.push_str(rule);
            out.push(']');
            copied = range.end;
            hit(rule, text.get(range.clone())?);
        }
        if found.is_empty() {
            return None;
        }
        out.push_str(text.get(copied..)?);
        Some(out)
    }
}
