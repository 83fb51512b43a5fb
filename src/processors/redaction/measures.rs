//! The keys of one policy made ready: what one text becomes where it stands.

use std::sync::Arc;

use regex::Regex;

use super::arguments::Arguments;
use super::cache::Cache;
use super::commands::is_command;
use super::config::{Carriers, Config, LinkAction, NameAction, Summary};
use super::detectors::{Detectors, LONGEST, Place, is_identity, is_masked};
use super::encoded;
use super::escrow::Keep;
use super::frames::Frames;
use super::keys::{Keys, is_link, is_thread};
use super::masks::{self, MARKER, STARS};
use super::paths::Paths;
use super::patterns::{Patterns, compile_all};
use super::pseudonym::{Pseudonyms, ValueHash};
use crate::pipeline::spec::BuildError;
use crate::profile::Role;

/// A text after the policy, and the rules that hit.
#[derive(Debug)]
pub struct Masking {
    /// The text.
    pub text: String,
    /// The rules, each as often as it hit.
    pub rules: Vec<&'static str>,
}

impl Masking {
    /// Whether no other rule hit.
    pub fn is_only(&self, rule: &str) -> bool {
        self.rules.iter().all(|hit| *hit == rule)
    }
}

/// Roles that every rule on texts treats alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Names of functions.
    Name,
    /// Names of types.
    Type,
    /// Paths.
    File,
    /// Keys.
    Key,
    /// Values that name a thread or a process.
    Thread,
    /// Everything else.
    Text,
}

impl Class {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// The class of texts that play this part.
    pub fn of(role: Role) -> Self {
        match Place::of(role) {
            Place::Name if role == Role::TypeName => Self::Type,
            Place::Name => Self::Name,
            Place::File => Self::File,
            Place::Key => Self::Key,
            Place::Thread => Self::Thread,
            Place::Text => Self::Text,
        }
    }

    /// Where detectors stand before it.
    pub const fn place(self) -> Place {
        match self {
            Self::Name | Self::Type => Place::Name,
            Self::File => Place::File,
            Self::Key => Place::Key,
            Self::Thread => Place::Thread,
            Self::Text => Place::Text,
        }
    }
}

/// One policy made ready.
pub struct Measures {
    pub(super) keys: Keys,
    allowed_values: Vec<Regex>,
    blocked_values: Patterns,
    pub(super) all_types: bool,
    pub(super) hash: Option<ValueHash>,
    pub(super) detectors: Detectors,
    paths: Paths,
    arguments: Arguments,
    pub(super) summary: Summary,
    pub(super) threads: NameAction,
    /// What becomes of labels with ids of traces and spans.
    pub(super) links: LinkAction,
    /// Whether links go: with those labels, or because one of their keys is blocked.
    pub(super) drops_links: bool,
    pub(super) carriers: Carriers,
    pub(super) pseudonyms: Pseudonyms,
    pub(super) frames: Frames,
    pub(super) cache: Cache,
    pub(super) keeper: Option<Arc<dyn Keep>>,
}

/// How often a text is looked at until nothing changes any more: rules of users can find each other's masks.
const ROUNDS: usize = 8;

/// Matches of one pattern after which the whole text goes: each may cost a look at all of the rest.
const MOST_MATCHES: usize = 1000;

impl Measures {
    /// Checks the configuration and compiles its patterns.
    pub fn new(config: &Config) -> Result<Self, BuildError> {
        refuse_sanitizers(config)?;
        let internal = |message: String| BuildError::at("detectors", message);
        let pseudonyms = Pseudonyms::new(&config.pseudonyms)?;
        if pseudonyms.is_empty() {
            let hashed = config.carriers.hashed().map(|carrier| format!("carriers.{carrier}"));
            let threads = (config.threads == NameAction::Hash).then(|| "threads".to_owned());
            if let Some(path) = threads.or(hashed) {
                let message = "to hash names takes a key: set pseudonyms.keys; `flamegate keygen` makes one";
                return Err(BuildError::at(path, message));
            }
        }
        let keys = Keys::new(config)?;
        Ok(Self {
            drops_links: config.links == LinkAction::Remove || keys.block_links(),
            keys,
            allowed_values: compile_all("allowed_values", &config.allowed_values)?,
            blocked_values: Patterns::new("blocked_values", &config.blocked_values)?,
            all_types: config.redact_all_types,
            hash: ValueHash::new(config.hash_function, config.hmac_key.as_ref())?,
            detectors: Detectors::new(&config.detectors).map_err(internal)?,
            paths: Paths::new(config.paths).map_err(internal)?,
            arguments: config.arguments,
            summary: config.summary,
            threads: config.threads,
            links: config.links,
            carriers: config.carriers,
            frames: Frames::new(&config.frames, config.threads, &pseudonyms)?,
            pseudonyms,
            cache: Cache::new(config.cache),
            keeper: None,
        })
    }

    /// Whether a value is one that is never masked.
    pub fn is_allowed(&self, text: &str) -> bool {
        text.len() <= LONGEST && self.allowed_values.iter().any(|pattern| pattern.is_match(text))
    }

    /// What stands for a blocked value.
    pub fn blocked(&self, text: &str) -> String {
        match &self.hash {
            Some(hash) => hash.of(text),
            None => STARS.to_owned(),
        }
    }

    /// Whether the text is what stands for a blocked value.
    pub fn is_blocked(&self, text: &str) -> bool {
        text == STARS || self.hash.as_ref().is_some_and(|hash| hash.is_ours(text))
    }

    /// What the text becomes, if it does not stay; looked at until nothing changes, so that twice is as good as once.
    pub fn mask(&self, text: &str, class: Class) -> Option<Masking> {
        self.settle(text, class, true)
    }

    /// The same for a text that is the form of a value which is no text.
    pub fn mask_value(&self, text: &str) -> Option<Masking> {
        self.settle(text, Class::Text, self.all_types)
    }

    fn settle(&self, text: &str, class: Class, patterns: bool) -> Option<Masking> {
        let mut rules = Vec::new();
        let mut masked = self.mask_once(text, class, patterns, &mut rules)?;
        // a key that the gate or the configuration knows is no secret, and under another name it would not be known again
        let is_known = || is_identity(text) || is_thread(text) || is_link(text) || self.keys.name(text);
        if class == Class::Key && text.len() <= LONGEST && is_known() {
            return None;
        }
        if self.pseudonyms.is_ours(text) {
            return None;
        }
        for _ in 0..ROUNDS {
            match self.mask_once(&masked, class, patterns, &mut rules) {
                None => return (masked != text).then_some(Masking { text: masked, rules }),
                Some(next) => masked = next,
            }
        }
        let text = STARS.to_owned();
        Some(Masking { text, rules })
    }

    /// Blocked values, then arguments, then detectors, then paths.
    fn mask_once(&self, text: &str, class: Class, patterns: bool, rules: &mut Vec<&'static str>) -> Option<String> {
        // whatever the policy looks for: no pattern is run over such a text, and what is not looked at does not pass
        if text.len() > LONGEST {
            rules.push("overlong");
            return Some(masks::mask("overlong"));
        }
        let mut masked: Option<String> = None;
        for pattern in self.blocked_values.may_match(text).filter(|_| patterns) {
            if let Some(next) = self.block(pattern, masked.as_deref().unwrap_or(text)) {
                rules.push("blocked_values");
                masked = Some(next);
            }
        }
        if class == Class::Name
            && let Some(next) = self.arguments.rewrite(masked.as_deref().unwrap_or(text))
        {
            rules.push("arguments");
            masked = Some(next);
        }
        let now = masked.as_deref().unwrap_or(text);
        if let Some(next) = self.detectors.mask(now, place(now, class), |rule, _| rules.push(rule)) {
            masked = Some(next);
        }
        let now = masked.as_deref().unwrap_or(text);
        let inner = |plain: &str| self.mask_once(plain, class, patterns, rules).is_some();
        if matches!(class, Class::Text | Class::Thread)
            && let Some(next) = encoded::mask(now, inner)
        {
            masked = Some(next);
        }
        let now = masked.as_deref().unwrap_or(text);
        let is_file = class == Class::File;
        if !(is_file && self.frames.keeps_file(now))
            && let Some(next) = self.paths.rewrite(now, is_file)
        {
            rules.push("paths");
            masked = Some(next);
        }
        masked
    }

    /// The text with every match replaced. What stands for something already is no match, nor is nothing.
    fn block(&self, pattern: &Regex, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut copied = 0;
        for (before, found) in pattern.find_iter(text).enumerate() {
            if before == MOST_MATCHES {
                return Some(self.blocked(text));
            }
            if found.is_empty() || self.stands_for(text, found.start(), found.end()) {
                continue;
            }
            out.push_str(text.get(copied..found.start())?);
            out.push_str(&self.blocked(found.as_str()));
            copied = found.end();
        }
        if copied == 0 {
            return None;
        }
        out.push_str(text.get(copied..)?);
        Some(out)
    }

    /// Whether that part of the text lies within a mask or a hash of ours.
    fn stands_for(&self, text: &str, start: usize, end: usize) -> bool {
        let (before, after) = (
            text.get(..end).unwrap_or_default(),
            text.get(start..).unwrap_or_default(),
        );
        let part = text.get(start..end).unwrap_or_default();
        if part.bytes().all(|b| b == b'*') {
            return true;
        }
        if let Some(open) = before.rfind(MARKER)
            && let Some(close) = text.get(open..).and_then(|rest| rest.find(']')).map(|at| open + at + 1)
            && open <= start
            && end <= close
        {
            return is_masked(text.get(open..close).unwrap_or_default());
        }
        let Some(hash) = &self.hash else {
            return false;
        };
        let is_hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let left = text.as_bytes().get(..start).unwrap_or_default();
        let left = left.iter().rev().take_while(|b| is_hex(b)).count();
        let right = after.bytes().take_while(|b| is_hex(b)).count();
        let run = text.get(start - left..start + right).unwrap_or_default();
        end <= start + right && hash.is_ours(run)
    }
}

/// Where detectors stand before the text: in a command line that stands where a name should, words tell as they do in labels.
fn place(text: &str, class: Class) -> Place {
    match class {
        Class::Name if is_command(text) => Place::Text,
        _ => class.place(),
    }
}

fn refuse_sanitizers(config: &Config) -> Result<(), BuildError> {
    if config.url_sanitizer.is_some() {
        let message = "flamegate has no url_sanitizer: detectors mask secrets in URLs, `arguments: strip` takes URLs out of names \
of functions, and blocked_values masks what else a pattern describes";
        return Err(BuildError::at("url_sanitizer", message));
    }
    if config.db_sanitizer.is_some() {
        let message = "flamegate has no db_sanitizer: `arguments: strip_literals` keeps the shape of a query and takes its values";
        return Err(BuildError::at("db_sanitizer", message));
    }
    Ok(())
}
