//! `summary`: what redaction did, in attributes that the Collector's redaction processor writes too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::config::Summary;
use crate::profile::{
    Attribute, AttributeId, AttributeSet, AttributeSetId, Dictionary, KeyValue, Lists, Profile, ResourceProfiles,
    StringId, Value,
};

/// What became of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    Redacted,
    Masked,
    Allowed,
    Ignored,
}

/// The attributes for each: of names, which `info` leaves out, and of the count.
const NAMES: [(Status, Option<&str>, &str); 4] = [
    (
        Status::Redacted,
        Some("redaction.redacted.keys"),
        "redaction.redacted.count",
    ),
    (Status::Masked, Some("redaction.masked.keys"), "redaction.masked.count"),
    (
        Status::Allowed,
        Some("redaction.allowed.keys"),
        "redaction.allowed.count",
    ),
    (Status::Ignored, None, "redaction.ignored.count"),
];

/// Whether the key is one of a summary: an allow-list keeps those of a gate before this one.
pub(super) fn is_summary(key: &str) -> bool {
    NAMES
        .iter()
        .any(|(_, names, count)| *names == Some(key) || *count == key)
}

/// What happened to attributes that stand together, by status: keys as they were, and as they may be shown.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Status, BTreeMap<String, String>>);

impl Tally {
    pub(super) fn add(&mut self, status: Status, key: &str, shown: &str) {
        self.0
            .entry(status)
            .or_default()
            .insert(key.to_owned(), shown.to_owned());
    }

    /// The attributes that say it, added to what a gate before this one said.
    fn attributes(
        &self,
        level: Summary,
        d: &mut Dictionary,
        before: impl Fn(&Dictionary, &str) -> Option<Value>,
    ) -> Vec<KeyValue> {
        let mut attributes = Vec::new();
        for (status, names, count) in NAMES {
            let Some(keys) = self.0.get(&status) else {
                continue;
            };
            if let Some(name) = names.filter(|_| level == Summary::Debug) {
                let known = match before(d, name) {
                    Some(Value::String(id)) => d.str(id).to_owned(),
                    _ => String::new(),
                };
                let known = known.split(',').filter(|key| !key.is_empty());
                let all: BTreeSet<&str> = keys.values().map(String::as_str).chain(known).collect();
                let text = all.into_iter().collect::<Vec<_>>().join(",");
                let value = Value::String(d.strings.push(&text));
                attributes.push(attribute(d, name, value));
            }
            let known = match before(d, count) {
                Some(Value::Int(known)) => known,
                _ => 0,
            };
            let number = known.saturating_add(i64::try_from(keys.len()).unwrap_or(i64::MAX));
            attributes.push(attribute(d, count, Value::Int(number)));
        }
        attributes
    }
}

fn attribute(d: &mut Dictionary, key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: d.strings.push(key),
        value,
    }
}

/// What happened in one batch, until it is written.
pub(super) struct Summaries {
    level: Summary,
    /// For each attribute of the dictionary what became of it, with its key as it was and as it may be shown.
    rows: Vec<Option<(Status, String, String)>>,
    /// The sets before anything was deleted from them.
    sets: Lists<AttributeSet, AttributeId>,
    /// One for each resource, and behind it one for each of its scopes.
    maps: VecDeque<Tally>,
}

impl Summaries {
    /// None if nothing is to be said.
    pub(super) fn new(level: Summary, d: &Dictionary) -> Option<Self> {
        (level != Summary::Silent).then(|| Self {
            level,
            rows: vec![None; d.attributes.len()],
            sets: d.attribute_sets.clone(),
            maps: VecDeque::new(),
        })
    }

    pub(super) fn row(&mut self, row: usize, status: Status, key: &str, shown: &str) {
        if let Some(slot) = self.rows.get_mut(row) {
            *slot = Some((status, key.to_owned(), shown.to_owned()));
        }
    }

    pub(super) fn map(&mut self, tally: Tally) {
        self.maps.push_back(tally);
    }

    /// Says it: of its own attributes each resource and scope, of those of its samples each profile.
    pub(super) fn write(mut self, d: &mut Dictionary, resources: &mut [ResourceProfiles]) {
        for resource in resources {
            self.say(d, &mut resource.attributes);
            for scope in &mut resource.scopes {
                self.say(d, &mut scope.attributes);
                for profile in &mut scope.profiles {
                    let tally = self.of(profile);
                    profile.attributes = self.say_in_set(d, profile.attributes, &tally);
                }
            }
        }
    }

    fn say(&mut self, d: &mut Dictionary, attributes: &mut Vec<KeyValue>) {
        let tally = self.maps.pop_front().unwrap_or_default();
        let before = |d: &Dictionary, key: &str| {
            attributes
                .iter()
                .find(|kv| d.str(kv.key) == key)
                .map(|kv| kv.value.clone())
        };
        let said = tally.attributes(self.level, d, before);
        let is_said = |key: StringId| said.iter().any(|kv| d.str(kv.key) == d.str(key));
        attributes.retain(|kv| !is_said(kv.key));
        attributes.extend(said);
    }

    /// What happened to the attributes of a profile and of its samples.
    fn of(&self, profile: &Profile) -> Tally {
        let mut seen = vec![false; self.sets.len()];
        let mut tally = Tally::default();
        for set in profile.samples.attributes.iter().chain([&profile.attributes]) {
            let is_new = seen
                .get_mut(set.index())
                .is_some_and(|seen| !std::mem::replace(seen, true));
            if !is_new {
                continue;
            }
            for row in &self.sets[*set] {
                if let Some(Some((status, key, shown))) = self.rows.get(row.index()) {
                    tally.add(*status, key, shown);
                }
            }
        }
        tally
    }

    fn say_in_set(&self, d: &mut Dictionary, set: AttributeSetId, tally: &Tally) -> AttributeSetId {
        let before = |d: &Dictionary, key: &str| d.attribute(set, key).cloned();
        let said = tally.attributes(self.level, d, before);
        if said.is_empty() {
            return set;
        }
        let is_said = |row: &AttributeId| said.iter().any(|kv| d.str(kv.key) == d.str(d.attributes[*row].key));
        let mut rows: Vec<AttributeId> = d.attribute_sets[set]
            .iter()
            .copied()
            .filter(|row| !is_said(row))
            .collect();
        for kv in said {
            let attribute = Attribute {
                key: kv.key,
                value: kv.value,
                ..Attribute::default()
            };
            rows.push(d.attributes.push(attribute));
        }
        d.attribute_sets.push(&rows)
    }
}
