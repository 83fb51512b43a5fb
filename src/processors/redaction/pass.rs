//! Takes the measures of a policy through every table of a batch.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::carriers::kind;
use super::config::{Summary, TextAction};
use super::escrow::Keep;
use super::frames::{Names, Plan};
use super::joins;
use super::measures::{Class, Measures};
use super::names::{self, Originals};
use super::pseudonym::Kind;
use super::report::Report;
use super::summary::{Summaries, Tally};
use super::texts::{Texts, is_value};
use super::values::{KeyFacts, Outcome};
use crate::profile::{Attribute, Dictionary, Id, KeyValue, Lists, Profiles, ResourceProfiles, Role, StringId, Value};
use crate::telemetry::audit::Marker;

/// One pass over one batch: first it looks, then it changes.
pub struct Pass<'m> {
    pub(super) measures: &'m Measures,
    pub(super) texts: Texts<'m>,
    pub(super) keys: HashMap<StringId, KeyFacts, RandomState>,
    pub(super) report: Report,
    frames: Option<Plan>,
    /// Hears what pseudonyms stand for; nobody does when a policy is on trial.
    pub(super) keeper: Option<&'m dyn Keep>,
    summaries: Option<Summaries>,
    /// Makes fingerprints of secrets, if somebody asked for them.
    pub(super) marker: Option<Marker>,
}

impl<'m> Pass<'m> {
    pub fn new(measures: &'m Measures) -> Self {
        Self {
            measures,
            texts: Texts::new(measures),
            keys: HashMap::default(),
            report: Report::default(),
            frames: None,
            keeper: measures.keeper.as_deref(),
            summaries: None,
            marker: None,
        }
    }

    /// Whether the policy would change anything; changes nothing.
    pub fn would_change(&mut self, profiles: &Profiles) -> bool {
        let d = profiles.dictionary();
        self.frames = Plan::new(&self.measures.frames, &self.measures.pseudonyms, profiles);
        // all of them are looked at, so that the next batch knows them
        let texts = self.texts.look(profiles);
        let links = self.measures.drops_links && d.links.len() > 1;
        let payload = profiles.iter().any(|p| p.profile.original_payload.is_some());
        texts || links || payload || self.frames.is_some() || self.attributes_change(profiles)
    }

    fn attributes_change(&mut self, profiles: &Profiles) -> bool {
        let d = profiles.dictionary();
        let has_summary = self.measures.summary != Summary::Silent;
        let mut probe = |key, value: &Value, unit, role| self.judge(d, key, value, unit, role).changes(has_summary);
        let rows = d.attributes.rows();
        rows.iter().any(|a| probe(a.key, &a.value, a.unit, Role::LabelValue))
            || profiles.resources().iter().any(|resource| {
                let scopes = resource.scopes.iter().flat_map(|scope| &scope.attributes);
                let mut all = resource.attributes.iter().chain(scopes);
                all.any(|kv| probe(kv.key, &kv.value, Id::UNSET, Role::ResourceValue))
            })
    }

    /// What becomes of one attribute. What claims to join or to be a field of a pprof, and is not, goes first.
    fn judge(&mut self, d: &Dictionary, key: StringId, value: &Value, unit: StringId, role: Role) -> Outcome {
        let measures = self.measures;
        let name = d.str(key);
        let carried = joins::carrier(name).filter(|role| measures.carriers.action(*role) != TextAction::Keep);
        let rule = match carried.filter(|_| !measures.keys.name(name)) {
            Some(carrier) => Some(carrier.label()),
            None if measures.keys.is_join(name) && !joins::is_join(d, name, value) => Some("allowed_keys"),
            None => None,
        };
        match rule {
            Some(rule) => {
                self.report.add(rule, role.label());
                Outcome::Delete
            }
            None => self.attribute(d, key, value, unit, role),
        }
    }

    /// What was found, kept for later batches; how much is kept, if that changed.
    pub fn remember(&self, profiles: &Profiles) -> Option<(usize, usize)> {
        self.texts.remember(profiles.dictionary())
    }

    /// Changes the batch and says what went.
    pub fn apply(mut self, profiles: &mut Profiles) -> Report {
        self.report = Report::default();
        let (d, resources) = profiles.edit();
        self.frames(d, resources);
        self.summaries = Summaries::new(self.measures.summary, d);
        self.attributes(d);
        for resource in resources.iter_mut() {
            self.key_values(d, &mut resource.attributes);
            for scope in &mut resource.scopes {
                self.key_values(d, &mut scope.attributes);
            }
        }
        self.payloads(resources);
        self.links(resources);
        let keys = self.strings(profiles);
        let (d, resources) = profiles.edit();
        for profile in resources
            .iter_mut()
            .flat_map(|r| &mut r.scopes)
            .flat_map(|s| &mut s.profiles)
        {
            profile.comments.retain(|comment| comment.is_set());
        }
        names::separate(d, resources, &keys);
        if let Some(summaries) = self.summaries {
            summaries.write(d, resources);
        }
        self.report
    }

    fn frames(&mut self, d: &mut Dictionary, resources: &mut [ResourceProfiles]) {
        let Some(plan) = self.frames.take() else {
            return;
        };
        let measures = self.measures;
        let masked = |name: &str| measures.mask(name, Class::Name).map(|masking| masking.text);
        let report = &mut self.report;
        let keeper = self.keeper;
        let names = Names {
            frames: &measures.frames,
            pseudonyms: &measures.pseudonyms,
            threads: measures.threads,
            masked: &masked,
            hit: &mut |rule| report.add(rule, "frame"),
            made: &mut |kind, pseudonym, name| keep(keeper, kind, pseudonym, name),
        };
        plan.apply(d, resources, names);
    }

    fn payloads(&mut self, resources: &mut [ResourceProfiles]) {
        for profile in resources
            .iter_mut()
            .flat_map(|r| &mut r.scopes)
            .flat_map(|s| &mut s.profiles)
        {
            if profile.original_payload.take().is_some() {
                self.report.add("original_payload", "original_payload");
            }
        }
    }

    fn links(&mut self, resources: &mut [ResourceProfiles]) {
        if !self.measures.drops_links {
            return;
        }
        for profile in resources
            .iter_mut()
            .flat_map(|r| &mut r.scopes)
            .flat_map(|s| &mut s.profiles)
        {
            if profile.samples.links.iter().any(|link| link.is_set()) {
                let samples = std::sync::Arc::make_mut(&mut profile.samples);
                samples.links.fill(Id::UNSET);
                self.report.add("links", "link");
            }
        }
    }

    /// Replaces every text that is no value. Says which keys became other keys.
    fn strings(&mut self, profiles: &mut Profiles) -> Originals {
        let carriers = self.measures.carriers;
        let mut replaced: HashMap<(Role, StringId), StringId, RandomState> = HashMap::default();
        let mut keys = Originals::new();
        profiles.replace_strings(|d, role, id| {
            if !id.is_set() || is_value(role) {
                return id;
            }
            let masking = self.texts.masking(d, Class::of(role), id);
            let text = masking.as_ref().map_or(d.str(id), |masking| masking.text.as_str());
            let carried = carriers.replace(role, text, &self.measures.pseudonyms);
            if let Some(carried) = &carried {
                self.report.add(role.label(), role.label());
                if carriers.action(role) == TextAction::Hash {
                    keep(self.keeper, kind(role), carried, text);
                }
            }
            let Some(text) = carried
                .as_deref()
                .or(masking.as_ref().map(|masking| masking.text.as_str()))
            else {
                return id;
            };
            for rule in masking.iter().flat_map(|masking| &masking.rules) {
                self.report.add(rule, role.label());
            }
            if masking.is_some() {
                self.mark(d.str(id), Class::of(role), role.label());
            }
            let new = match replaced.get(&(role, id)) {
                Some(known) => *known,
                None if text.is_empty() => Id::UNSET,
                None => d.strings.push(text),
            };
            replaced.insert((role, id), new);
            if matches!(role, Role::LabelKey | Role::ResourceKey) {
                keys.insert(new, id);
            }
            new
        });
        keys
    }

    fn attributes(&mut self, d: &mut Dictionary) {
        let mut rows = d.attributes.rows().to_vec();
        let mut deleted = vec![false; rows.len()];
        for (number, (row, gone)) in rows.iter_mut().zip(&mut deleted).enumerate() {
            let outcome = self.judge(d, row.key, &row.value, row.unit, Role::LabelValue);
            if self.summaries.is_some()
                && let Some(status) = outcome.status()
            {
                let shown = self.shown(d, row.key);
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
                Outcome::Replace(draft) => {
                    let was_number = matches!(row.value, Value::Int(_) | Value::Double(_));
                    row.value = draft.store(d);
                    if was_number {
                        row.unit = Id::UNSET;
                    }
                }
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
            let outcome = self.judge(d, kv.key, &kv.value, Id::UNSET, Role::ResourceValue);
            if self.summaries.is_some()
                && let Some(status) = outcome.status()
            {
                tally.add(status, d.str(kv.key), &self.shown(d, kv.key));
            }
            match outcome {
                Outcome::Keep | Outcome::Ignore | Outcome::Allow => true,
                Outcome::Delete => false,
                Outcome::Replace(draft) => {
                    kv.value = draft.store(d);
                    true
                }
            }
        });
        if let Some(summaries) = &mut self.summaries {
            summaries.map(tally);
        }
    }

    /// A key as it may stand in a value.
    fn shown(&mut self, d: &Dictionary, key: StringId) -> String {
        match self.texts.masking(d, Class::Text, key) {
            Some(masking) => masking.text.clone(),
            None => d.str(key).to_owned(),
        }
    }
}

/// Tells the keeper, if it is a name that an owner may want back.
pub fn keep(keeper: Option<&dyn Keep>, kind: Kind, pseudonym: &str, name: &str) {
    let role = match kind {
        Kind::Function => Role::FunctionName,
        Kind::File => Role::SourceFile,
        Kind::Thread => Role::LabelValue,
        Kind::Scope | Kind::Type | Kind::Text => return,
    };
    if let Some(keeper) = keeper {
        keeper.keep(role, pseudonym, name);
    }
}
