//! A rule: keywords that call it, and the one regular expression that answers.

use std::sync::OnceLock;

use regex::{Captures, Regex, RegexBuilder};

use super::context::{GIVEN, TAIL, VALUE, VENDORS, WORD};
use super::mask::{MASK, is_masked};
use super::place::Place;
use crate::processors::redaction::masks::MARKER;

/// Where a rule may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// In every text: its shape alone says enough.
    Everywhere,
    /// Where people write freely, and in keys.
    Context,
    /// In names alone, where arguments of calls stand.
    Names,
}

impl Reach {
    pub(super) fn covers(self, place: Place) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Context => matches!(place, Place::Key | Place::Thread | Place::Text),
            Self::Names => place == Place::Name,
        }
    }
}

/// What may stand before a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Anything,
    /// No letter of ASCII.
    NoLetter,
    /// No letter, digit or underscore.
    NoWord,
}

impl Left {
    fn fits(self, text: &str, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|at| text.as_bytes().get(at));
        match self {
            Self::Anything => true,
            Self::NoLetter => before.is_none_or(|b| !b.is_ascii_alphabetic()),
            Self::NoWord => before.is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'_'),
        }
    }
}

/// The last word on a hit: the masked part, and where the text stands.
pub(super) type Check = fn(secret: &str, whole: &str, place: Place) -> bool;

/// A family of secrets. The first group that takes part is masked, or the whole match where there is none.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) reach: Reach,
    pub(super) left: Left,
    /// In lower case; a text without any of them is not looked at.
    pub(super) keywords: &'static [&'static str],
    /// `{WORD}`, `{TAIL}`, `{VENDOR}`, `{GIVEN}`, `{VALUE}` and `{MASK}` stand for the parts that several share.
    pub(super) pattern: &'static str,
    pub(super) check: Option<Check>,
}

/// A family ready to look. Its expression is compiled when it is first needed: most of them never are.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) reach: Reach,
    left: Left,
    check: Option<Check>,
    pattern: &'static str,
    regex: OnceLock<Option<Regex>>,
}

impl Rule {
    pub(super) fn new(family: &Family) -> Self {
        Self {
            name: family.name,
            reach: family.reach,
            left: family.left,
            check: family.check,
            pattern: family.pattern,
            regex: OnceLock::new(),
        }
    }

    fn regex(&self) -> Option<&Regex> {
        let compile = || {
            let pattern = self
                .pattern
                .replace("{GIVEN}", GIVEN)
                .replace("{VALUE}", VALUE)
                .replace("{TAIL}", TAIL)
                .replace("{WORD}", WORD)
                .replace("{VENDOR}", &VENDORS.join("|"))
                .replace("{MASK}", MASK);
            RegexBuilder::new(&pattern).build().ok()
        };
        self.regex.get_or_init(compile).as_ref()
    }

    /// The text with every hit of this rule masked, if there is one.
    pub(super) fn mask(&self, text: &str, place: Place, hit: &mut impl FnMut(&'static str, &str)) -> Option<String> {
        let Some(regex) = self.regex() else {
            // a test compiles them all; should one fail nonetheless, what it was called for does not pass
            hit(self.name, "");
            return Some(format!("{MARKER}{}]", self.name));
        };
        let mut out = String::new();
        let mut copied = 0;
        let mut at = 0;
        while let Some(captures) = regex.captures_at(text, at) {
            let Some(whole) = captures.get(0) else { break };
            if !self.left.fits(text, whole.start()) {
                // the families that ask for it begin with one byte of ASCII
                at = whole.start() + 1;
                continue;
            }
            at = whole.end().max(whole.start() + 1);
            let secret = part(&captures)?;
            let accepted = self
                .check
                .is_none_or(|check| check(secret.as_str(), whole.as_str(), place));
            // what is masked already stays as it is: redacting twice changes nothing
            if accepted && !is_masked(secret.as_str()) {
                out.push_str(text.get(copied..secret.start())?);
                out.push_str(MARKER);
                out.push_str(self.name);
                out.push(']');
                copied = secret.end();
                at = at.max(copied);
                hit(self.name, secret.as_str());
            }
            if at > text.len() || !text.is_char_boundary(at) {
                break;
            }
        }
        if copied == 0 {
            return None;
        }
        out.push_str(text.get(copied..)?);
        Some(out)
    }

    #[cfg(test)]
    pub(super) fn compiles(&self) -> bool {
        self.regex().is_some()
    }
}

fn part<'t>(captures: &Captures<'t>) -> Option<regex::Match<'t>> {
    captures.iter().skip(1).flatten().next().or_else(|| captures.get(0))
}
