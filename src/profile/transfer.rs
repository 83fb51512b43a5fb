//! Carries profiles from one dictionary into another: the one mechanism behind merging and splitting.
//!
//! Only what a profile refers to is carried, and equal rows become one, so what arrives is compact by construction.

use std::sync::Arc;

use super::dictionary::{
    Attribute, AttributeId, AttributeSetId, Dictionary, Function, FunctionId, Line, Link, LinkId, Location, LocationId,
    Mapping, MappingId, StackId, Value,
};
use super::ids::Id;
use super::intern::Interner;
use super::join::join_equal;
use super::mappings::list_of;
use super::profiles::{KeyValue, OriginalPayload, Profile, ResourceProfiles, ScopeProfiles, ValueType};
use super::samples::Samples;
use super::strings::{StringId, Text};

/// Carries rows of `from` into an interner, each row once.
pub(super) struct Transfer<'a> {
    from: &'a Dictionary,
    to: &'a mut Interner,
    went: Went,
    // reused, so that a list costs no allocation
    lines: Vec<Line>,
    frames: Vec<LocationId>,
    set: Vec<AttributeId>,
}

/// Where the rows of a dictionary went.
pub(super) struct Went {
    strings: Carried<Text>,
    functions: Carried<Function>,
    mappings: Carried<Mapping>,
    locations: Carried<Location>,
    stacks: Carried<super::Stack>,
    attributes: Carried<Attribute>,
    attribute_sets: Carried<super::AttributeSet>,
    links: Carried<Link>,
}

/// Where each row of the old table went; unset until it went somewhere.
struct Carried<Row> {
    to: Vec<Id<Row>>,
    /// The rows that went somewhere, where that is to be forgotten again.
    rows: Option<Vec<Id<Row>>>,
}

impl<Row> Carried<Row> {
    fn of(rows: usize, forgetful: bool) -> Self {
        Self {
            to: vec![Id::UNSET; rows],
            rows: forgetful.then(Vec::new),
        }
    }

    fn get(&self, old: Id<Row>) -> Option<Id<Row>> {
        self.to.get(old.index()).copied().filter(|new| new.is_set())
    }

    /// Where the row went, unset if it did not go yet.
    #[inline]
    fn gone(&self, old: Id<Row>) -> Id<Row> {
        self.to.get(old.index()).copied().unwrap_or_default()
    }

    fn put(&mut self, old: Id<Row>, new: Id<Row>) -> Id<Row> {
        if let Some(slot) = self.to.get_mut(old.index()) {
            *slot = new;
        }
        if let Some(rows) = &mut self.rows {
            rows.push(old);
        }
        new
    }

    fn forget(&mut self) {
        for old in self.rows.iter_mut().flat_map(|rows| rows.drain(..)) {
            if let Some(slot) = self.to.get_mut(old.index()) {
                *slot = Id::UNSET;
            }
        }
    }
}

impl Went {
    /// For one transfer, or for several that [`forget`](Self::forget) what the one before carried.
    pub(super) fn of(from: &Dictionary, forgetful: bool) -> Self {
        Self {
            strings: Carried::of(from.strings.len(), forgetful),
            functions: Carried::of(from.functions.len(), forgetful),
            mappings: Carried::of(from.mappings.len(), forgetful),
            locations: Carried::of(from.locations.len(), forgetful),
            stacks: Carried::of(from.stacks.len(), forgetful),
            attributes: Carried::of(from.attributes.len(), forgetful),
            attribute_sets: Carried::of(from.attribute_sets.len(), forgetful),
            links: Carried::of(from.links.len(), forgetful),
        }
    }

    /// Forgets what was carried, in time in proportion to that.
    pub(super) fn forget(&mut self) {
        self.strings.forget();
        self.functions.forget();
        self.mappings.forget();
        self.locations.forget();
        self.stacks.forget();
        self.attributes.forget();
        self.attribute_sets.forget();
        self.links.forget();
    }
}

impl<'a> Transfer<'a> {
    pub(super) fn new(from: &'a Dictionary, to: &'a mut Interner) -> Self {
        Self::after(Went::of(from, false), from, to)
    }

    /// The same over what an earlier transfer from the same dictionary left.
    pub(super) fn after(went: Went, from: &'a Dictionary, to: &'a mut Interner) -> Self {
        Self {
            from,
            to,
            went,
            lines: Vec::new(),
            frames: Vec::new(),
            set: Vec::new(),
        }
    }

    /// What the next transfer from the same dictionary may use.
    pub(super) fn finish(self) -> Went {
        let mut went = self.went;
        went.forget();
        went
    }

    /// A resource with its scopes, without those that hold no profile; none if nothing is left.
    pub(super) fn resource(&mut self, old: &ResourceProfiles) -> Option<ResourceProfiles> {
        let scopes: Vec<_> = old.scopes.iter().filter_map(|scope| self.scope(scope)).collect();
        (!scopes.is_empty()).then(|| ResourceProfiles {
            scopes,
            ..self.resource_alone(old)
        })
    }

    /// A resource without its scopes.
    pub(super) fn resource_alone(&mut self, old: &ResourceProfiles) -> ResourceProfiles {
        ResourceProfiles {
            attributes: self.key_values(&old.attributes),
            dropped_attributes_count: old.dropped_attributes_count,
            schema_url: self.string(old.schema_url),
            scopes: Vec::new(),
        }
    }

    fn scope(&mut self, old: &ScopeProfiles) -> Option<ScopeProfiles> {
        (!old.profiles.is_empty()).then(|| ScopeProfiles {
            profiles: old.profiles.iter().map(|profile| self.profile(profile)).collect(),
            ..self.scope_alone(old)
        })
    }

    /// A scope without its profiles.
    pub(super) fn scope_alone(&mut self, old: &ScopeProfiles) -> ScopeProfiles {
        ScopeProfiles {
            name: self.string(old.name),
            version: self.string(old.version),
            attributes: self.key_values(&old.attributes),
            dropped_attributes_count: old.dropped_attributes_count,
            schema_url: self.string(old.schema_url),
            profiles: Vec::new(),
        }
    }

    pub(super) fn profile(&mut self, old: &Profile) -> Profile {
        Profile {
            sample_types: old.sample_types.iter().map(|t| self.value_type(*t)).collect(),
            default_sample_type: self.string(old.default_sample_type),
            // before the samples, so that the table has them in this order
            mappings: list_of(old.mappings.iter().map(|mapping| self.mapping(*mapping))),
            samples: self.samples(&old.samples, old.sample_types.len()),
            period_type: self.value_type(old.period_type),
            ids: old.ids.clone(),
            attributes: self.attribute_set(old.attributes),
            comments: old.comments.iter().map(|comment| self.string(*comment)).collect(),
            drop_frames: self.string(old.drop_frames),
            keep_frames: self.string(old.keep_frames),
            doc_url: self.string(old.doc_url),
            original_payload: old.original_payload.as_ref().map(|payload| OriginalPayload {
                format: self.string(payload.format),
                bytes: payload.bytes.clone(),
            }),
            time_unix_nano: old.time_unix_nano,
            duration_nano: old.duration_nano,
            period: old.period,
            dropped_attributes_count: old.dropped_attributes_count,
            siblings: old.siblings,
        }
    }

    fn samples(&mut self, old: &Samples, types: usize) -> Arc<Samples> {
        let mut carried = Arc::new(self.samples_apart(old, true));
        join_equal(&mut carried, types);
        carried
    }

    /// Samples as they stand, though some may have become equal; with their links, or without.
    pub(super) fn samples_apart(&mut self, old: &Samples, links: bool) -> Samples {
        Samples {
            stacks: old.stacks.iter().map(|id| self.stack(*id)).collect(),
            attributes: old.attributes.iter().map(|id| self.attribute_set(*id)).collect(),
            links: match links {
                true => old.links.iter().map(|id| self.link(*id)).collect(),
                false => vec![LinkId::UNSET; old.links.len()],
            },
            observations: old.observations.clone(),
        }
    }

    fn value_type(&mut self, old: ValueType) -> ValueType {
        ValueType {
            kind: self.string(old.kind),
            unit: self.string(old.unit),
        }
    }

    fn string(&mut self, old: StringId) -> StringId {
        match self.went.strings.get(old) {
            Some(new) => new,
            None => self.went.strings.put(old, self.to.string(&self.from.strings[old])),
        }
    }

    fn function(&mut self, old: FunctionId) -> FunctionId {
        if let Some(new) = self.went.functions.get(old) {
            return new;
        }
        let row = self.from.functions[old];
        let row = Function {
            name: self.string(row.name),
            system_name: self.string(row.system_name),
            filename: self.string(row.filename),
            start_line: row.start_line,
        };
        self.went.functions.put(old, self.to.function(row))
    }

    fn mapping(&mut self, old: MappingId) -> MappingId {
        if let Some(new) = self.went.mappings.get(old) {
            return new;
        }
        let row = self.from.mappings[old];
        let row = Mapping {
            filename: self.string(row.filename),
            attributes: self.attribute_set(row.attributes),
            ..row
        };
        self.went.mappings.put(old, self.to.mapping(row))
    }

    fn location(&mut self, old: LocationId) -> LocationId {
        if let Some(new) = self.went.locations.get(old) {
            return new;
        }
        let row = self.from.locations[old];
        let row = Location {
            mapping: self.mapping(row.mapping),
            address: row.address,
            attributes: self.attribute_set(row.attributes),
        };
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        for line in &self.from.lines[old] {
            lines.push(Line {
                function: self.function(line.function),
                ..*line
            });
        }
        let new = self.to.location(row, &lines);
        self.lines = lines;
        self.went.locations.put(old, new)
    }

    fn stack(&mut self, old: StackId) -> StackId {
        if let Some(new) = self.went.stacks.get(old) {
            return new;
        }
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear();
        let locations = &self.from.stacks[old];
        // nearly always all of them went before; a loop that only copies is several times as fast
        frames.extend(locations.iter().map(|location| self.went.locations.gone(*location)));
        if frames.contains(&Id::UNSET) {
            frames.clear();
            for location in locations {
                frames.push(self.location(*location));
            }
        }
        let new = self.to.stack(&frames);
        self.frames = frames;
        self.went.stacks.put(old, new)
    }

    fn attribute_set(&mut self, old: AttributeSetId) -> AttributeSetId {
        if let Some(new) = self.went.attribute_sets.get(old) {
            return new;
        }
        let mut set = std::mem::take(&mut self.set);
        set.clear();
        for attribute in &self.from.attribute_sets[old] {
            set.push(self.attribute(*attribute));
        }
        // Order has no meaning between keys, and has one between the values of a repeated key: a stable sort keeps that.
        let attributes = &self.to.dictionary().attributes;
        set.sort_by_key(|id| attributes[*id].key);
        let new = self.to.attribute_set(&set);
        self.set = set;
        self.went.attribute_sets.put(old, new)
    }

    fn attribute(&mut self, old: AttributeId) -> AttributeId {
        if let Some(new) = self.went.attributes.get(old) {
            return new;
        }
        let from = self.from;
        let row = &from.attributes[old];
        let row = Attribute {
            key: self.string(row.key),
            value: self.value(&row.value),
            unit: self.string(row.unit),
        };
        self.went.attributes.put(old, self.to.attribute(row))
    }

    fn link(&mut self, old: LinkId) -> LinkId {
        match self.went.links.get(old) {
            Some(new) => new,
            None => self.went.links.put(old, self.to.link(self.from.links[old])),
        }
    }

    fn key_values(&mut self, old: &[KeyValue]) -> Vec<KeyValue> {
        old.iter()
            .map(|kv| KeyValue {
                key: self.string(kv.key),
                value: self.value(&kv.value),
            })
            .collect()
    }

    fn value(&mut self, old: &Value) -> Value {
        match old {
            Value::String(id) => Value::String(self.string(*id)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value(item)).collect()),
            Value::Map(entries) => Value::Map(
                entries
                    .iter()
                    .map(|(key, value)| (self.string(*key), self.value(value)))
                    .collect(),
            ),
            plain => plain.clone(),
        }
    }
}
