//! The tree of a request: resources, scopes, profiles; and what all parts of the decoder share.

use std::borrow::Cow;

use super::defect::{Defect, Seen, VERSIONS, message, number};
use super::outline::Outline;
use super::sets::AttributeSets;
use super::twins::Sent;
use super::version::{self, Choice};
use super::{WireVersion, lift, zip};
use crate::formats::room::{self, Room};
use crate::formats::wire::{Field, Reader};
use crate::formats::{Decoded, Limit, Limits, Rejected};
use crate::profile::{
    AttributeId, Dictionary, KeyValue, Line, Profile, Profiles, ResourceProfiles, ScopeProfiles, StringId,
};

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
    pub values: Allowance<'a>,
    /// Samples of the request.
    pub samples: Allowance<'a>,
    /// Values and timestamps of samples.
    pub observations: Allowance<'a>,
    /// Bytes of text and payloads.
    pub bytes: Allowance<'a>,
    /// Lines of locations.
    pub lines: Allowance<'a>,
    /// Frames and attributes in lists that are made here.
    pub listed: Allowance<'a>,
    /// Where memory comes from.
    pub room: &'a dyn Room,
    /// Resources, scopes and profiles, by what they cost.
    tree: Allowance<'a>,
    rejected: Rejected,
}

/// How many more elements of a kind the limits allow, and there is memory for.
pub(super) struct Allowance<'a> {
    rows: room::Allowance<'a>,
    of: &'static str,
}

impl Allowance<'_> {
    /// Takes some.
    #[inline]
    pub fn spend(&mut self, count: usize) -> Result<(), Defect> {
        self.rows.spend(count).map_err(|why| Defect::excess(why, self.of))
    }
}

/// What a profile costs of [`Limits::elements`]: about as much memory as this many samples.
const PROFILE_COST: usize = 64;
/// The same for a resource or scope.
const BRANCH_COST: usize = 16;
/// What one more may take, in tables that double.
const VALUE_BYTES: usize = 2 * size_of::<KeyValue>();
const OBSERVATION_BYTES: usize = 2 * size_of::<i64>();
const LINE_BYTES: usize = 2 * size_of::<Line>();
const LISTED_BYTES: usize = 2 * size_of::<AttributeId>();
const BRANCH_BYTES: usize = 2 * size_of::<Profile>().div_ceil(PROFILE_COST);
/// Ids, where its values and timestamps end, a value once more for when siblings are joined, and the length of its identity.
const SAMPLE_BYTES: usize = 3 * size_of::<u32>() + 4 * size_of::<u32>() + 2 * size_of::<i64>() + size_of::<u8>();
/// What a table of the ranges of 1.7 takes beside it.
const STACK_1_7_BYTES: usize = 64;
/// Text and tables are addressed by 32 bits.
const MAX_BYTES: usize = 1 << 30;

/// The parts of a request.
struct Parts<'a> {
    dictionary: Option<Cow<'a, [u8]>>,
    dictionary_offset: Option<Reader<'a>>,
    has_unknown: bool,
}

pub(super) fn request(bytes: &[u8], limits: &Limits, choice: Choice, room: &dyn Room) -> Result<Decoded, Defect> {
    if bytes.len() > MAX_BYTES {
        return Err(Defect::too_large(Limit::Decompressed, "more than 1 GiB"));
    }
    let body = Reader::new(bytes);
    let parts = parts(body, room)?;
    let dictionary = match (&parts.dictionary, parts.dictionary_offset) {
        (Some(joined), None) => Reader::new(joined),
        (_, Some(reader)) => reader,
        (None, None) => return without_dictionary(body),
    };
    let outline = Outline::of(dictionary, limits)?;
    let decided = version::decide(body, &outline, choice)?;
    room.take(outline.memory()).map_err(Defect::no_room)?;
    let sample_bytes = match decided.version {
        WireVersion::V1_7 => SAMPLE_BYTES + STACK_1_7_BYTES,
        _ => SAMPLE_BYTES,
    };
    let allowance = |rows, bytes_each, of| Allowance {
        rows: room::Allowance::new(rows, bytes_each, room),
        of,
    };
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
        values: allowance(limits.elements, VALUE_BYTES, "attribute values"),
        samples: allowance(limits.elements, sample_bytes, "samples"),
        observations: allowance(limits.elements, OBSERVATION_BYTES, "values of samples"),
        bytes: allowance(usize::MAX, 1, "bytes"),
        lines: allowance(limits.elements, LINE_BYTES, "lines of locations"),
        listed: allowance(usize::MAX, LISTED_BYTES, "list entries"),
        room,
        tree: allowance(limits.elements, BRANCH_BYTES, "resources, scopes and profiles"),
        rejected: Rejected::default(),
    };
    decoder.tables(&outline).map_err(|defect| defect.within("dictionary"))?;
    let resources = decoder.resources(body)?;
    Ok(decoder.finish(resources))
}

/// Finds the dictionary. Sent in several pieces, they count as one, as protobuf has it.
fn parts<'a>(mut body: Reader<'a>, room: &dyn Room) -> Result<Parts<'a>, Defect> {
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
                (Some(joined), _) => {
                    room.take(2 * reader.bytes().len()).map_err(Defect::no_room)?;
                    joined.to_mut().extend_from_slice(reader.bytes());
                }
                (None, Some(first)) => {
                    let both = [first.bytes(), reader.bytes()];
                    room.take(both.iter().map(|part| part.len()).sum())
                        .map_err(Defect::no_room)?;
                    parts.dictionary = Some(Cow::Owned(both.concat()));
                }
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
        let mut profiles = Vec::new();
        let mut last: Option<Sent<'_>> = None;
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
                    match self.profile(message(field, at)?, last.as_ref()) {
                        Ok(profile) => profiles.extend(last.replace(profile).map(Sent::received)),
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
        profiles.extend(last.map(Sent::received));
        let about = lift::scope(&mut scope.attributes, &self.dictionary);
        scope.profiles = zip::join(profiles, &about, &self.dictionary);
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
