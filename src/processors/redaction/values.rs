//! Attributes: what their keys decide, and what becomes of values of every kind.

use super::config::{LinkAction, NameAction};
use super::detectors::{Detectors, is_identity, is_masked, is_version, is_version_key};
use super::frames::thread_name;
use super::keys::{KeyRule, is_link, is_thread};
use super::masks;
use super::measures::{Class, Masking};
use super::pass::{Pass, keep};
use super::pseudonym::Kind;
use super::summary::Status;
use crate::profile::{Dictionary, Role, StringId, Value};

/// What becomes of an attribute.
pub enum Outcome {
    Keep,
    /// Kept, and the configuration says so.
    Ignore,
    Allow,
    Delete,
    Replace(Draft),
}

impl Outcome {
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Keep => None,
            Self::Ignore => Some(Status::Ignored),
            Self::Allow => Some(Status::Allowed),
            Self::Delete => Some(Status::Redacted),
            Self::Replace(_) => Some(Status::Masked),
        }
    }

    /// Whether the batch is another one afterwards; a summary says also what was left alone.
    pub fn changes(&self, has_summary: bool) -> bool {
        match self {
            Self::Keep => false,
            Self::Ignore | Self::Allow => has_summary,
            Self::Delete | Self::Replace(_) => true,
        }
    }
}

/// A value with texts that are not in the string table yet.
pub enum Draft {
    Same(Value),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Draft>),
    Map(Vec<(StringId, Draft)>),
}

impl Draft {
    /// Puts its texts into the table.
    pub fn store(self, d: &mut Dictionary) -> Value {
        match self {
            Self::Same(value) => value,
            Self::Text(text) => Value::String(d.strings.push(&text)),
            Self::Bytes(bytes) => Value::Bytes(bytes.into()),
            Self::Array(items) => Value::Array(items.into_iter().map(|item| item.store(d)).collect()),
            Self::Map(entries) => Value::Map(entries.into_iter().map(|(key, item)| (key, item.store(d))).collect()),
        }
    }
}

/// What a key says of its values.
#[derive(Clone, Copy)]
pub struct KeyFacts {
    rule: KeyRule,
    blocked: bool,
    sensitive: bool,
    /// Whether values name a thread, and whether a policy hides such names.
    thread: bool,
    hidden: bool,
    link: bool,
    phone: bool,
    version: bool,
}

impl Pass<'_> {
    fn facts(&mut self, d: &Dictionary, key: StringId) -> KeyFacts {
        let measures = self.measures;
        *self.keys.entry(key).or_insert_with(|| {
            let key = d.str(key);
            KeyFacts {
                rule: measures.keys.rule(key),
                blocked: measures.keys.is_blocked(key),
                sensitive: !is_identity(key) && measures.detectors.is_sensitive_key(key),
                thread: is_thread(key),
                hidden: measures.threads != NameAction::Keep && is_thread(key),
                link: measures.links == LinkAction::Remove && is_link(key),
                phone: measures.detectors.is_phone_key(key),
                version: is_version_key(key),
            }
        })
    }

    /// What becomes of one attribute.
    pub fn attribute(&mut self, d: &Dictionary, key: StringId, value: &Value, unit: StringId, role: Role) -> Outcome {
        if !key.is_set() && *value == Value::Empty {
            return Outcome::Keep;
        }
        let facts = self.facts(d, key);
        match facts.rule {
            KeyRule::Ignore => Outcome::Ignore,
            KeyRule::Delete => {
                self.report.add("allowed_keys", role.label());
                Outcome::Delete
            }
            _ if facts.link => {
                self.report.add("links", role.label());
                Outcome::Delete
            }
            KeyRule::Mask | KeyRule::Scan if self.is_allowed(d, value) => Outcome::Allow,
            KeyRule::Mask => self.mask_whole(d, value, role).map_or(Outcome::Keep, Outcome::Replace),
            KeyRule::Scan if !facts.sensitive && self.is_measure(d, value, unit) => Outcome::Keep,
            KeyRule::Scan => self.value(d, key, value, role).map_or(Outcome::Keep, Outcome::Replace),
        }
    }

    fn mask_whole(&mut self, d: &Dictionary, value: &Value, role: Role) -> Option<Draft> {
        let measures = self.measures;
        let text = match value {
            Value::Empty => return None,
            Value::String(id) if measures.is_blocked(d.str(*id)) => return None,
            Value::String(id) => measures.blocked(d.str(*id)),
            Value::Bool(truth) => measures.blocked(&truth.to_string()),
            Value::Int(number) => measures.blocked(&number.to_string()),
            Value::Double(number) => measures.blocked(&number.to_string()),
            Value::Bytes(bytes) => measures.blocked(&String::from_utf8_lossy(bytes)),
            Value::Array(_) | Value::Map(_) => masks::STARS.to_owned(),
        };
        self.report.add("blocked_key", role.label());
        Some(Draft::Text(text))
    }

    fn is_allowed(&self, d: &Dictionary, value: &Value) -> bool {
        let all = self.measures.all_types;
        match value {
            Value::String(id) => self.measures.is_allowed(d.str(*id)),
            Value::Int(number) if all => self.measures.is_allowed(&number.to_string()),
            Value::Double(number) if all => self.measures.is_allowed(&number.to_string()),
            _ => false,
        }
    }

    /// Whether it is a number of bytes, nanoseconds and the like, which may have the digits of a card.
    fn is_measure(&self, d: &Dictionary, value: &Value, unit: StringId) -> bool {
        let text = match value {
            _ if !is_word(d.str(unit), MEASURES) => return false,
            Value::Int(number) => number.to_string(),
            Value::Double(number) => number.to_string(),
            _ => return false,
        };
        let masking = self.measures.mask_value(&text);
        masking.is_none_or(|masking| masking.is_only("card"))
    }

    /// Whether it identifies or joins, by key and shape: no pattern may hit such a thing by chance.
    fn is_exempt(&self, d: &Dictionary, key: StringId, value: &Value) -> bool {
        let detectors = &self.measures.detectors;
        match value {
            Value::String(id) => detectors.is_exempt(d.str(key), d.str(*id)),
            Value::Int(number) => detectors.is_exempt(d.str(key), &number.to_string()),
            _ => false,
        }
    }

    /// The value after the policy, if it changes. `key` is the nearest key above it, or the one that tells of a secret.
    fn value(&mut self, d: &Dictionary, key: StringId, value: &Value, role: Role) -> Option<Draft> {
        let facts = self.facts(d, key);
        if self.is_allowed(d, value) || self.is_exempt(d, key, value) {
            return None;
        }
        let nested = matches!(value, Value::Empty | Value::Bool(_) | Value::Array(_) | Value::Map(_));
        if facts.sensitive && !nested {
            let opens_nothing = |text: &str| Detectors::opens_nothing(d.str(key), text);
            let done = match value {
                Value::String(id) => !id.is_set() || self.stands_for(d.str(*id)) || opens_nothing(d.str(*id)),
                Value::Int(number) => opens_nothing(&number.to_string()),
                _ => false,
            };
            if !done {
                self.report.add("sensitive_key", role.label());
                if let Value::String(id) = value {
                    self.mark_secret("sensitive_key", d.str(*id), role.label());
                }
                return Some(Draft::Text(masks::mask("sensitive_key")));
            }
        }
        if facts.phone && is_phone(d, value) {
            self.report.add("phone", role.label());
            return Some(Draft::Text(masks::mask("phone")));
        }
        match value {
            Value::Empty | Value::Bool(_) => None,
            Value::String(id) if facts.hidden => self.thread(d, *id, role),
            Value::String(id) => {
                // both say that a number of somebody's telephone may follow
                let class = if facts.thread || facts.phone {
                    Class::Thread
                } else {
                    Class::Text
                };
                let masking = self.texts.masking(d, class, *id)?;
                if facts.version && masking.is_only("ip_address") && is_version(d.str(*id)) {
                    return None;
                }
                self.count(&masking, role);
                self.mark(d.str(*id), class, role.label());
                Some(Draft::Text(masking.text.clone()))
            }
            Value::Int(number) => self.number(&number.to_string(), role),
            Value::Double(number) => self.number(&number.to_string(), role),
            Value::Bytes(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                let masking = self.measures.mask_value(&text)?;
                self.count(&masking, role);
                self.mark(&text, Class::Text, role.label());
                Some(Draft::Bytes(masking.text.into_bytes()))
            }
            Value::Array(items) => {
                let mut changed = false;
                let mut drafts = Vec::with_capacity(items.len());
                let mut before = None;
                for item in items {
                    let draft = match before.is_some_and(|before| self.asks_for_secret(d, before)) {
                        true => self.argument(d, key, item, role),
                        false => self.value(d, key, item, role),
                    };
                    changed |= draft.is_some();
                    drafts.push(draft.unwrap_or_else(|| Draft::Same(item.clone())));
                    before = Some(item);
                }
                changed.then_some(Draft::Array(drafts))
            }
            Value::Map(entries) => {
                let mut changed = false;
                let mut drafts = Vec::with_capacity(entries.len());
                let spelt = spelt_key(d, entries);
                for (name, item) in entries {
                    let own = spelt.filter(|_| is_word(d.str(*name), &["value"])).unwrap_or(*name);
                    // whatever stands below a key that tells of a secret is one
                    let nearest = if facts.sensitive { key } else { own };
                    let draft = match self.facts(d, own).blocked {
                        true => self.mask_whole(d, item, role),
                        false => self.value(d, nearest, item, role),
                    };
                    changed |= draft.is_some();
                    drafts.push((*name, draft.unwrap_or_else(|| Draft::Same(item.clone()))));
                }
                changed.then_some(Draft::Map(drafts))
            }
        }
    }

    /// Whether it is an option of a command line whose argument, the next item of the list, is a secret.
    fn asks_for_secret(&self, d: &Dictionary, item: &Value) -> bool {
        matches!(item, Value::String(id) if is_option(d.str(*id)) && self.measures.detectors.is_sensitive_key(d.str(*id)))
    }

    fn argument(&mut self, d: &Dictionary, key: StringId, item: &Value, role: Role) -> Option<Draft> {
        match item {
            Value::String(id) if !is_option(d.str(*id)) => {
                if !id.is_set() || self.is_allowed(d, item) || self.stands_for(d.str(*id)) {
                    return None;
                }
                self.report.add("argument", role.label());
                self.mark_secret("argument", d.str(*id), role.label());
                Some(Draft::Text(masks::mask("argument")))
            }
            _ => self.value(d, key, item, role),
        }
    }

    fn stands_for(&self, text: &str) -> bool {
        is_masked(text) || self.measures.is_blocked(text) || self.measures.pseudonyms.is_ours(text)
    }

    /// The name of a thread, as detectors leave it. Its number stays: `[worker tid=17]` of async-profiler.
    fn thread(&mut self, d: &Dictionary, id: StringId, role: Role) -> Option<Draft> {
        let text = d.str(id);
        let (before, name, after) = thread_name(text).unwrap_or(("", text, ""));
        if name.is_empty() || self.stands_for(name) {
            return None;
        }
        let masking = self.measures.mask(name, Class::Thread);
        if masking.is_some() {
            self.mark(name, Class::Thread, role.label());
        }
        let name = masking.as_ref().map_or(name, |masking| masking.text.as_str());
        self.report.add("thread", role.label());
        let pseudonym = match self.measures.threads {
            _ if is_masked(name) => Some(name.to_owned()),
            NameAction::Hash => self.measures.pseudonyms.of(Kind::Thread, name),
            NameAction::Mask | NameAction::Keep => None,
        };
        if let Some(pseudonym) = &pseudonym {
            keep(self.keeper.filter(|_| !is_masked(name)), Kind::Thread, pseudonym, name);
        }
        let stand_in = pseudonym.unwrap_or_else(|| masks::mask("thread"));
        Some(Draft::Text(format!("{before}{stand_in}{after}")))
    }

    fn number(&mut self, text: &str, role: Role) -> Option<Draft> {
        let masking = self.measures.mask_value(text)?;
        self.count(&masking, role);
        Some(Draft::Text(masking.text))
    }

    fn count(&mut self, masking: &Masking, role: Role) {
        for rule in &masking.rules {
            self.report.add(rule, role.label());
        }
    }
}

/// Units of numbers that grow as long as those of cards.
const MEASURES: &[&str] = &[
    "bytes",
    "byte",
    "by",
    "kilobytes",
    "nanoseconds",
    "nanosecond",
    "ns",
    "microseconds",
    "us",
    "milliseconds",
    "ms",
    "cycles",
    "instructions",
];

/// The key of a pair that is spelt out, as Kubernetes does: `{"name": "DB_PASSWORD", "value": ...}`.
fn spelt_key(d: &Dictionary, entries: &[(StringId, Value)]) -> Option<StringId> {
    entries.iter().find_map(|(name, item)| match item {
        Value::String(key) if is_word(d.str(*name), &["name", "key"]) => Some(*key),
        _ => None,
    })
}

fn is_word(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn is_phone(d: &Dictionary, value: &Value) -> bool {
    match value {
        Value::String(id) => Detectors::is_phone(d.str(*id)),
        Value::Int(number) => Detectors::is_phone(&number.to_string()),
        Value::Double(number) => Detectors::is_phone(&number.to_string()),
        Value::Bytes(bytes) => Detectors::is_phone(&String::from_utf8_lossy(bytes)),
        Value::Empty | Value::Bool(_) | Value::Array(_) | Value::Map(_) => false,
    }
}

fn is_option(text: &str) -> bool {
    text.starts_with('-')
}
