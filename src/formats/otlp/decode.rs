//! The tree of a request: resources, scopes, profiles; and what all parts of the decoder share.

use std::borrow::Cow;

use super::defect::{Defect, Seen, VERSIONS, message, number};
use super::dictionary::Outline;
use super::sets::AttributeSets;
use super::version::{self, Choice};
use super::{WireVersion, lift, zip};
use crate::formats::wire::{Field, Reader};
use crate::formats::{Decoded, Limit, Limits, Rejected};
use crate::profile::{Dictionary, Profiles, ResourceProfiles, ScopeProfiles, StringId};

/// Reads one request.
pub(super) struct Decoder<'a> {
    pub limits: &'a Limits,
    pub version: WireVersion,
    pub dictionary: Dictionary,
    pub sets: AttributeSets,
    /// Strings of the string table that something refers to. Its length is that of the table on the wire.
    pub used_strings: Vec<bool>,
    /// See [`Decoded::exact`].
    pub exact: bool,
    /// See [`Decoded::repairs`].
    pub repairs: u64,
    /// Attribute values of the request.
    pub values: Allowance,
    /// Samples of the request.
    pub samples: Allowance,
    /// Values and timestamps of samples.
    pub observations: Allowance,
    /// Resources, scopes and profiles, by what they cost.
    tree: Allowance,
    rejected: Rejected,
}

/// How many more elements of a kind the limits allow.
pub(super) struct Allowance {
    left: usize,
    of: &'static str,
}

impl Allowance {
    fn new(left: usize, of: &'static str) -> Self {
        Self { left, of }
    }

    /// Takes some.
    #[inline]
    pub fn spend(&mut self, count: usize) -> Result<(), Defect> {
        match self.left.checked_sub(count) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Defect::too_large(Limit::Elements, format!("too many {}", self.of))),
        }
    }
}

/// What a profile costs of [`Limits::elements`]: about as much memory as this many samples.
const PROFILE_COST: usize = 64;
/// The same for a resource or scope.
const BRANCH_COST: usize = 16;
/// Text and tables are addressed by 32 bits.
const MAX_BYTES: usize = 1 << 30;

/// The parts of a request.
struct Parts<'a> {
    dictionary: Option<Cow<'a, [u8]>>,
    dictionary_offset: Option<Reader<'a>>,
    has_unknown: bool,
}

pub(super) fn request(bytes: &[u8], limits: &Limits, choice: Choice) -> Result<Decoded, Defect> {
    if bytes.len() > MAX_BYTES {
        return Err(Defect::too_large(Limit::Decompressed, "more than 1 GiB"));
    }
    let body = Reader::new(bytes);
    let parts = parts(body)?;
    let dictionary = match (&parts.dictionary, parts.dictionary_offset) {
        (Some(joined), None) => Reader::new(joined),
        (_, Some(reader)) => reader,
        (None, None) => return without_dictionary(body),
    };
    let outline = Outline::of(dictionary, limits)?;
    let decided = version::decide(body, &outline, choice)?;
    let mut decoder = Decoder {
        limits,
        version: decided.version,
        dictionary: Dictionary::default(),
        sets: AttributeSets::default(),
        used_strings: Vec::new(),
        exact: decided.version == WireVersion::V1_10
            && !decided.assumed
            && !parts.has_unknown
            && parts.dictionary.is_none(),
        repairs: u64::from(decided.assumed),
        values: Allowance::new(limits.elements, "attribute values"),
        samples: Allowance::new(limits.elements, "samples"),
        observations: Allowance::new(limits.elements, "values of samples"),
        tree: Allowance::new(limits.elements, "resources, scopes and profiles"),
        rejected: Rejected::default(),
    };
    decoder.tables(&outline).map_err(|defect| defect.within("dictionary"))?;
    let resources = decoder.resources(body)?;
    Ok(decoder.finish(resources))
}

/// Finds the dictionary. Sent in several pieces, they count as one, as protobuf has it.
fn parts(mut body: Reader<'_>) -> Result<Parts<'_>, Defect> {
    let mut parts = Parts {
        dictionary: None,
        dictionary_offset: None,
        has_unknown: false,
    };
    loop {
        let at = body.offset();
        let Some((number, field)) = body.field()? else {
            return Ok(parts);
        };
        match (number, field) {
            (1, Field::Bytes(_)) => {}
            (2, Field::Bytes(reader)) => match (&mut parts.dictionary, parts.dictionary_offset.take()) {
                (Some(joined), _) => joined.to_mut().extend_from_slice(reader.bytes()),
                (None, Some(first)) => parts.dictionary = Some(Cow::Owned([first.bytes(), reader.bytes()].concat())),
                (None, None) => parts.dictionary_offset = Some(reader),
            },
            (1 | 2, _) => return Err(Defect::wire_type(at)),
            (3..=8, Field::Bytes(_)) => {
                return Err(Defect::unsupported(
                    "OTLP 1.6 or older, with its tables outside of a dictionary",
                ));
            }
            _ => parts.has_unknown = true,
        }
    }
}

/// Nothing to say is fine; profiles without their tables are not.
fn without_dictionary(body: Reader<'_>) -> Result<Decoded, Defect> {
    let Some(profile) = version::first_profile(body)? else {
        return Ok(Decoded::default());
    };
    if version::is_before_1_8(profile)? {
        return Err(Defect::unsupported(
            "OTLP 1.6 or older, which has no dictionary in a request",
        ));
    }
    Err(Defect::at(
        profile.offset(),
        "a profile, but no dictionary in the request (field 2)",
    )
    .with_remedy(VERSIONS))
}

impl Decoder<'_> {
    fn finish(mut self, resources: Vec<ResourceProfiles>) -> Decoded {
        let has_orphan = self.used_strings.iter().skip(1).any(|used| !used);
        self.exact &= !has_orphan && self.repairs == 0 && self.rejected.profiles == 0;
        Decoded {
            profiles: Profiles::new(self.dictionary, resources),
            rejected: self.rejected,
            exact: self.exact,
            repairs: self.repairs,
            ..Decoded::default()
        }
    }

    /// A string of the string table.
    #[inline]
    pub(super) fn string(&mut self, field: &str, position: u64, at: usize) -> Result<StringId, Defect> {
        if position == 0 {
            return Ok(StringId::UNSET);
        }
        // texts that stand where they are used lie behind the table: no index may reach them
        let used = usize::try_from(position)
            .ok()
            .and_then(|i| self.used_strings.get_mut(i));
        if let (Some(used), Some(id)) = (used, self.dictionary.strings.id(position)) {
            *used = true;
            return Ok(id);
        }
        let entries = self.used_strings.len();
        Err(Defect::out_of_range(at, field, position, "string_table", entries))
    }

    fn resources(&mut self, mut body: Reader<'_>) -> Result<Vec<ResourceProfiles>, Defect> {
        let mut resources = Vec::new();
        while let Some((number, field)) = body.field()? {
            if let (1, Field::Bytes(reader)) = (number, field) {
                let place = Place {
                    resource: resources.len(),
                    scope: 0,
                };
                resources.push(self.resource(reader, place)?);
            }
        }
        Ok(resources)
    }

    fn resource(&mut self, mut reader: Reader<'_>, mut place: Place) -> Result<ResourceProfiles, Defect> {
        self.tree.spend(BRANCH_COST)?;
        let mut resource = ResourceProfiles::default();
        let mut seen = Seen::default();
        let within = |defect: Defect| defect.within(format_args!("resource_profiles[{}]", place.resource));
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                return Ok(resource);
            };
            match field_number {
                1 => {
                    self.exact &= seen.first(1);
                    self.about_resource(&mut resource, message(field, at)?)
                        .map_err(|defect| within(defect.within("resource")))?;
                }
                2 => {
                    place.scope = resource.scopes.len();
                    self.scope(&mut resource.scopes, message(field, at)?, place)?;
                }
                3 => {
                    self.exact &= seen.first(3);
                    resource.schema_url = self.text(message(field, at)?)?;
                }
                _ => self.exact = false,
            }
        }
    }

    fn about_resource(&mut self, resource: &mut ResourceProfiles, mut reader: Reader<'_>) -> Result<(), Defect> {
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                return Ok(());
            };
            match field_number {
                1 => {
                    let i = resource.attributes.len();
                    self.attribute_of(&mut resource.attributes, message(field, at)?)
                        .map_err(|defect| defect.within(format_args!("attributes[{i}]")))?;
                }
                2 => resource.dropped_attributes_count = self.small(number(field, at)?),
                _ => self.exact = false,
            }
        }
    }

    fn scope(&mut self, scopes: &mut Vec<ScopeProfiles>, mut reader: Reader<'_>, place: Place) -> Result<(), Defect> {
        self.tree.spend(BRANCH_COST)?;
        let mut scope = ScopeProfiles::default();
        let mut seen = Seen::default();
        let mut received = 0;
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                break;
            };
            match field_number {
                1 => {
                    self.exact &= seen.first(1);
                    self.about_scope(&mut scope, message(field, at)?)
                        .map_err(|defect| defect.within(format_args!("{place}.scope")))?;
                }
                2 => {
                    self.tree.spend(PROFILE_COST)?;
                    match self.profile(message(field, at)?) {
                        Ok(profile) => scope.profiles.push(profile),
                        Err(defect) => {
                            let defect = defect.within(format_args!("{place}.profiles[{received}]"));
                            if defect.is_whole() {
                                return Err(defect);
                            }
                            self.rejected.add(defect.into());
                        }
                    }
                    received += 1;
                }
                3 => {
                    self.exact &= seen.first(3);
                    scope.schema_url = self.text(message(field, at)?)?;
                }
                _ => self.exact = false,
            }
        }
        let about = lift::scope(&mut scope.attributes, &self.dictionary);
        scope.profiles = zip::join(scope.profiles, &about, &self.dictionary);
        scopes.push(scope);
        Ok(())
    }

    fn about_scope(&mut self, scope: &mut ScopeProfiles, mut reader: Reader<'_>) -> Result<(), Defect> {
        let mut seen = Seen::default();
        loop {
            let at = reader.offset();
            let Some((field_number, field)) = reader.field()? else {
                return Ok(());
            };
            match field_number {
                1 => scope.name = self.text(message(field, at)?)?,
                2 => scope.version = self.text(message(field, at)?)?,
                3 => {
                    let i = scope.attributes.len();
                    self.attribute_of(&mut scope.attributes, message(field, at)?)
                        .map_err(|defect| defect.within(format_args!("attributes[{i}]")))?;
                }
                4 => scope.dropped_attributes_count = self.small(number(field, at)?),
                _ => self.exact = false,
            }
            self.exact &= field_number == 3 || seen.first(field_number);
        }
    }

    /// A uint32; what is larger is cut, as protobuf has it.
    pub(super) fn small(&mut self, number: u64) -> u32 {
        self.exact &= number <= u64::from(u32::MAX);
        number as u32
    }
}

/// Where in the tree.
#[derive(Clone, Copy)]
struct Place {
    resource: usize,
    scope: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "resource_profiles[{}].scope_profiles[{}]", self.resource, self.scope)
    }
}
