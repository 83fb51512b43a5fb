//! Takes a policy through every table of a batch.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::MARKER;
use super::config::Summary;
use super::detectors::{Place, is_identity, is_masked};
use super::keys::KeyRule;
use super::names::{self, Originals};
use super::policy::{Masking, Policy};
use super::report::Report;
use super::summary::{Status, Summaries, Tally};
use crate::profile::{Attribute, Dictionary, KeyValue, Lists, Profiles, Role, StringId, Value};

/// A text after the policy, with the rules that hit.
struct Masked {
    text: String,
    rules: Vec<&'static str>,
}

/// What becomes of an attribute.
enum Outcome {
    Keep,
    /// Kept, and the configuration says so.
    Ignore,
    Allow,
    Delete,
    Replace(Draft),
}

impl Outcome {
    fn status(&self) -> Option<Status> {
        match self {
            Self::Keep => None,
            Self::Ignore => Some(Status::Ignored),
            Self::Allow => Some(Status::Allowed),
            Self::Delete => Some(Status::Redacted),
            Self::Replace(_) => Some(Status::Masked),
        }
    }

    /// Whether the batch is another one afterwards; a summary says also what was left alone.
    fn changes(&self, has_summary: bool) -> bool {
        match self {
            Self::Keep => false,
            Self::Ignore | Self::Allow => has_summary,
            Self::Delete | Self::Replace(_) => true,
        }
    }
}

/// A value with texts that are not in the string table yet.
enum Draft {
    Same(Value),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Draft>),
    Map(Vec<(StringId, Draft)>),
}

/// One pass over one batch.
pub(super) struct Pass<'p> {
    policy: &'p Policy,
    /// Every string is looked at once for each class of roles, however often it is met.
    seen: HashMap<(u8, StringId), Option<Arc<Masked>>, RandomState>,
    report: Report,
    summaries: Option<Summaries>,
}

impl<'p> Pass<'p> {
    pub(super) fn new(policy: &'p Policy) -> Self {
        Self {
            policy,
            seen: HashMap::default(),
            report: Report::default(),
            summaries: None,
        }
    }

    /// Whether the policy would change anything; changes nothing.
    pub(super) fn would_change(&mut self, profiles: &Profiles) -> bool {
        let d = profiles.dictionary();
        let mut change = profiles.iter().any(|p| p.profile.original_payload.is_some());
        profiles.strings_by_role(|role, id| {
            // values depend on their keys and come below
            if !change && !is_value(role) {
                change = self.string(d, role, id).is_some();
            }
        });
        let has_summary = self.policy.summary != Summary::Silent;
        let mut probe = |key, value: &Value, role| self.attribute(d, key, value, role).changes(has_summary);
        change
            || d.attributes
                .rows()
                .iter()
                .any(|a| probe(a.key, &a.value, Role::LabelValue))
            || profiles.resources().iter().any(|resource| {
                let scopes = resource.scopes.iter().flat_map(|scope| &scope.attributes);
                let mut all = resource.attributes.iter().chain(scopes);
                all.any(|kv| probe(kv.key, &kv.value, Role::ResourceValue))
            })
    }

    /// Changes the batch and says what went.
    pub(super) fn apply(mut self, profiles: &mut Profiles) -> Report {
        self.report = Report::default();
        let (d, resources) = profiles.edit();
        self.summaries = Summaries::new(self.policy.summary, d);
        self.attributes(d);
        for resource in resources {
            self.key_values(d, &mut resource.attributes);
            for scope in &mut resource.scopes {
                self.key_values(d, &mut scope.attributes);
                for profile in &mut scope.profiles {
                    if profile.original_payload.take().is_some() {
                        self.report.add("original_payload", "original_payload");
                    }
                }
            }
        }
        let mut replaced: HashMap<(u8, StringId), StringId> = HashMap::new();
        let mut keys = Originals::new();
        profiles.replace_strings(|d, role, id| {
            if is_value(role) {
                return id;
            }
            let Some(masked) = self.string(d, role, id) else {
                return id;
            };
            for rule in &masked.rules {
                self.report.add(rule, role.label());
            }
            let new = *replaced
                .entry((class(role), id))
                .or_insert_with(|| d.strings.push(&masked.text));
            if matches!(role, Role::LabelKey | Role::ResourceKey) {
                keys.insert(new, id);
            }
            new
        });
        let (d, resources) = profiles.edit();
        names::separate(d, resources, &keys);
        if let Some(summaries) = self.summaries {
            summaries.write(d, resources);
        }
        self.report
    }

    fn attributes(&mut self, d: &mut Dictionary) {
        let mut rows = d.attributes.rows().to_vec();
        let mut deleted = vec![false; rows.len()];
        for (number, (row, gone)) in rows.iter_mut().zip(&mut deleted).enumerate() {
            let outcome = self.attribute(d, row.key, &row.value, Role::LabelValue);
            if self.summaries.is_some()
                && let Some(status) = outcome.status()
            {
                let shown = self.shown(d, Role::LabelKey, row.key);
                if let Some(summaries) = &mut self.summaries {
                    summaries.row(number, status, d.str(row.key), &shown);
                }
            }
            match outcome {
                Outcome::Keep | Outcome::Ignore | Outcome::Allow => {}
                Outcome::Delete => {
                    *row = Attribute::default();
                    *gone = true;
                }
                Outcome::Replace(draft) => row.value = store(d, draft),
            }
        }
        d.attributes.rows_mut().clone_from_slice(&rows);
        if deleted.contains(&true) {
            let mut sets = Lists::with_capacity(d.attribute_sets.len(), d.attribute_sets.items().len());
            for set in d.attribute_sets.ids().skip(1) {
                for id in &d.attribute_sets[set] {
                    if deleted.get(id.index()) != Some(&true) {
                        sets.add(*id);
                    }
                }
                sets.close();
            }
            d.attribute_sets = sets;
        }
    }

    fn key_values(&mut self, d: &mut Dictionary, attributes: &mut Vec<KeyValue>) {
        let mut tally = Tally::default();
        attributes.retain_mut(|kv| {
            let outcome = self.attribute(d, kv.key, &kv.value, Role::ResourceValue);
            if self.summaries.is_some()
                && let Some(status) = outcome.status()
            {
                tally.add(status, d.str(kv.key), &self.shown(d, Role::ResourceKey, kv.key));
            }
            match outcome {
                Outcome::Keep | Outcome::Ignore | Outcome::Allow => true,
                Outcome::Delete => false,
                Outcome::Replace(draft) => {
                    kv.value = store(d, draft);
                    true
                }
            }
        });
        if let Some(summaries) = &mut self.summaries {
            summaries.map(tally);
        }
    }

    /// A key as it will leave.
    fn shown(&mut self, d: &Dictionary, role: Role, key: StringId) -> String {
        match self.string(d, role, key) {
            Some(masked) => masked.text.clone(),
            None => d.str(key).to_owned(),
        }
    }

    fn attribute(&mut self, d: &Dictionary, key: StringId, value: &Value, role: Role) -> Outcome {
        if !key.is_set() && *value == Value::Empty {
            return Outcome::Keep;
        }
        let key = d.str(key);
        match self.policy.keys.rule(key) {
            KeyRule::Ignore => Outcome::Ignore,
            KeyRule::Delete => {
                self.report.add("allowed_keys", role.label());
                Outcome::Delete
            }
            KeyRule::Mask | KeyRule::Scan if self.is_allowed(d, value) => Outcome::Allow,
            KeyRule::Mask => self.mask_whole(d, value, role),
            KeyRule::Scan => self.value(d, key, value, role).map_or(Outcome::Keep, Outcome::Replace),
        }
    }

    fn mask_whole(&mut self, d: &Dictionary, value: &Value, role: Role) -> Outcome {
        if *value == Value::Empty || is_stars(d, value) {
            return Outcome::Keep;
        }
        self.report.add("blocked_key", role.label());
        Outcome::Replace(Draft::Text("****".to_owned()))
    }

    fn is_allowed(&self, d: &Dictionary, value: &Value) -> bool {
        match value {
            Value::String(id) => self.policy.is_allowed(d.str(*id)),
            _ => false,
        }
    }

    /// A number that joins: no pattern may hit one by chance.
    fn is_exempt(&self, d: &Dictionary, key: &str, value: &Value) -> bool {
        match value {
            Value::String(id) => self.policy.detectors.is_exempt(key, d.str(*id)),
            Value::Int(number) => is_identity(key) && self.policy.detectors.is_exempt(key, &number.to_string()),
            _ => false,
        }
    }

    /// The value after the policy, if it changes. `key` is the nearest key above it.
    fn value(&mut self, d: &Dictionary, key: &str, value: &Value, role: Role) -> Option<Draft> {
        if self.is_allowed(d, value) || self.is_exempt(d, key, value) {
            return None;
        }
        let sensitive = !is_identity(key) && self.policy.detectors.is_sensitive_key(key);
        if sensitive && !matches!(value, Value::Empty | Value::Bool(_) | Value::Array(_) | Value::Map(_)) {
            let unset = matches!(value, Value::String(id) if !id.is_set() || is_masked(d.str(*id)));
            if !unset {
                self.report.add("sensitive_key", role.label());
                return Some(Draft::Text(format!("{MARKER}sensitive_key]")));
            }
        }
        match value {
            Value::Empty | Value::Bool(_) => None,
            Value::String(id) => {
                let masked = self.string(d, role, *id)?;
                for rule in &masked.rules {
                    self.report.add(rule, role.label());
                }
                Some(Draft::Text(masked.text.clone()))
            }
            Value::Int(number) => self.number(&number.to_string(), role),
            Value::Double(number) => self.number(&number.to_string(), role),
            Value::Bytes(bytes) => {
                let masked = self.policy.mask(&String::from_utf8_lossy(bytes), role)?;
                self.count(&masked, role);
                Some(Draft::Bytes(masked.text.into_bytes()))
            }
            Value::Array(items) => {
                let mut changed = false;
                let drafts = items.iter().map(|item| match self.value(d, key, item, role) {
                    Some(draft) => {
                        changed = true;
                        draft
                    }
                    None => Draft::Same(item.clone()),
                });
                let drafts = drafts.collect();
                changed.then_some(Draft::Array(drafts))
            }
            Value::Map(entries) => {
                let mut changed = false;
                let mut drafts = Vec::with_capacity(entries.len());
                for (key, item) in entries {
                    let name = d.str(*key);
                    let draft = if self.policy.keys.is_blocked(name) {
                        Some(Draft::Text("****".to_owned())).filter(|_| !is_stars(d, item))
                    } else {
                        self.value(d, name, item, role)
                    };
                    changed |= draft.is_some();
                    drafts.push((*key, draft.unwrap_or_else(|| Draft::Same(item.clone()))));
                }
                changed.then_some(Draft::Map(drafts))
            }
        }
    }

    fn number(&mut self, text: &str, role: Role) -> Option<Draft> {
        let masked = self.policy.mask(text, role)?;
        self.count(&masked, role);
        Some(Draft::Text(masked.text))
    }

    fn count(&mut self, masked: &Masking, role: Role) {
        for rule in &masked.rules {
            self.report.add(rule, role.label());
        }
    }

    fn string(&mut self, d: &Dictionary, role: Role, id: StringId) -> Option<Arc<Masked>> {
        if !id.is_set() {
            return None;
        }
        let policy = self.policy;
        self.seen
            .entry((class(role), id))
            .or_insert_with(|| {
                let masking = policy.mask(d.str(id), role)?;
                Some(Arc::new(Masked {
                    text: masking.text,
                    rules: masking.rules,
                }))
            })
            .clone()
    }
}

fn is_stars(d: &Dictionary, value: &Value) -> bool {
    matches!(value, Value::String(id) if d.str(*id) == "****")
}

fn is_value(role: Role) -> bool {
    matches!(role, Role::LabelValue | Role::ResourceValue)
}

/// Roles that every rule treats alike.
fn class(role: Role) -> u8 {
    match Place::of(role) {
        Place::Name if role == Role::TypeName => 0,
        Place::Name => 1,
        Place::File => 2,
        Place::Key => 3,
        Place::Text => 4,
    }
}

fn store(d: &mut Dictionary, draft: Draft) -> Value {
    match draft {
        Draft::Same(value) => value,
        Draft::Text(text) => Value::String(d.strings.push(&text)),
        Draft::Bytes(bytes) => Value::Bytes(bytes.into()),
        Draft::Array(items) => Value::Array(items.into_iter().map(|item| store(d, item)).collect()),
        Draft::Map(entries) => Value::Map(entries.into_iter().map(|(key, item)| (key, store(d, item))).collect()),
    }
}
