//! Every carrier of a profile with a text in it, and whether the text is in the bytes that leave.

use std::sync::Arc;

use crate::formats::{Format, any};
use crate::processors::redaction::Policy;
use crate::profile::{
    Attribute, Dictionary, Function, KeyValue, Line, LinkId, Location, Mapping, Observations, Profile, Profiles,
    ResourceProfiles, Samples, ScopeProfiles, StringId, Value, ValueType,
};

/// What people write in a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Name,
    File,
    Key,
    Type,
    Text,
    /// Digits alone.
    Number,
}

/// Whose attribute it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Sample,
    Location,
    Mapping,
    Profile,
    Resource,
    Scope,
}

/// The part of an attribute that holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Key,
    Text,
    Unit,
    Bytes,
    Integer,
    Double,
    IntegerInList,
    InList,
    InMap,
    MapKey,
    /// In a map in a list.
    Deep,
}

/// Where a profile holds a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    FunctionName,
    SystemName,
    SourceFile,
    MappingFile,
    Attribute(Owner, Form),
    ScopeName,
    ScopeVersion,
    Comment,
    DocUrl,
    DropFrames,
    KeepFrames,
    TypeName,
    TypeUnit,
    PeriodName,
    PeriodUnit,
    DefaultType,
    ResourceSchema,
    ScopeSchema,
}

const TEXTS: &[Carrier] = &[
    Carrier::FunctionName,
    Carrier::SystemName,
    Carrier::SourceFile,
    Carrier::MappingFile,
    Carrier::ScopeName,
    Carrier::ScopeVersion,
    Carrier::Comment,
    Carrier::DocUrl,
    Carrier::DropFrames,
    Carrier::KeepFrames,
    Carrier::TypeName,
    Carrier::TypeUnit,
    Carrier::PeriodName,
    Carrier::PeriodUnit,
    Carrier::DefaultType,
    Carrier::ResourceSchema,
    Carrier::ScopeSchema,
];

const OWNERS: &[Owner] = &[
    Owner::Sample,
    Owner::Location,
    Owner::Mapping,
    Owner::Profile,
    Owner::Resource,
    Owner::Scope,
];

const FORMS: &[Form] = &[
    Form::Key,
    Form::Text,
    Form::Unit,
    Form::Bytes,
    Form::Integer,
    Form::Double,
    Form::IntegerInList,
    Form::InList,
    Form::InMap,
    Form::MapKey,
    Form::Deep,
];

impl Carrier {
    /// All there are.
    pub fn all() -> Vec<Self> {
        let attributes = OWNERS
            .iter()
            .flat_map(|owner| FORMS.iter().map(|form| Self::Attribute(*owner, *form)));
        // attributes of resources and scopes have no unit
        let has_form = |carrier: &Self| !matches!(carrier, Self::Attribute(Owner::Resource | Owner::Scope, Form::Unit));
        TEXTS.iter().copied().chain(attributes.filter(has_form)).collect()
    }

    /// What people write there.
    pub fn kind(self) -> Kind {
        match self {
            Self::FunctionName | Self::SystemName => Kind::Name,
            Self::SourceFile | Self::MappingFile => Kind::File,
            Self::TypeName | Self::TypeUnit | Self::PeriodName | Self::PeriodUnit | Self::DefaultType => Kind::Type,
            Self::Attribute(_, Form::Key | Form::MapKey) => Kind::Key,
            Self::Attribute(_, Form::Integer | Form::Double | Form::IntegerInList) => Kind::Number,
            _ => Kind::Text,
        }
    }

    /// Whether a key stands before the text.
    pub fn has_key(self) -> bool {
        matches!(self, Self::Attribute(_, form) if !matches!(form, Form::Key | Form::MapKey | Form::Unit))
    }

    /// Whether it is the text of an attribute, or one of several.
    pub fn is_value(self) -> bool {
        matches!(self, Self::Attribute(_, Form::Text | Form::InList))
    }

    /// Its row in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::FunctionName => "name of a function",
            Self::SystemName => "name for the linker",
            Self::SourceFile => "source file",
            Self::MappingFile => "mapped binary",
            Self::ScopeName | Self::ScopeVersion => "scope",
            Self::Comment => "comment",
            Self::DocUrl => "documentation link",
            Self::DropFrames | Self::KeepFrames => "frame pattern",
            Self::TypeName | Self::TypeUnit | Self::PeriodName | Self::PeriodUnit | Self::DefaultType => "type or unit",
            Self::ResourceSchema | Self::ScopeSchema => "schema url",
            Self::Attribute(owner, form) => {
                let of_profile = !matches!(owner, Owner::Resource | Owner::Scope);
                match (form, of_profile) {
                    (Form::Key | Form::MapKey, true) => "label: key",
                    (Form::Text, true) => "label: text",
                    (Form::Unit, _) => "label: unit",
                    (Form::Bytes, true) => "label: bytes",
                    (Form::Integer | Form::Double | Form::IntegerInList, true) => "label: number",
                    (Form::InList | Form::InMap | Form::Deep, true) => "label: list, map",
                    (Form::Key | Form::MapKey, false) => "resource, scope: key",
                    (Form::Text, false) => "resource, scope: text",
                    (Form::Bytes, false) => "resource, scope: bytes",
                    (Form::Integer | Form::Double | Form::IntegerInList, false) => "resource, scope: number",
                    (Form::InList | Form::InMap | Form::Deep, false) => "resource, scope: list, map",
                }
            }
        }
    }

    /// A profile that holds the text there, and nothing else to hide. `key` is that of the attribute.
    pub fn with(self, key: &str, text: &str) -> Profiles {
        let mut d = Dictionary::default();
        let held = d.strings.push(text);
        let plain = d.strings.push("plain");
        let at = |wanted: Self| if self == wanted { held } else { plain };
        let mut rows = Vec::new();
        let key = d.strings.push(key);
        for owner in OWNERS {
            rows.push(match self {
                Self::Attribute(of, form) if of == *owner => attribute(form, key, plain, held, text),
                _ => attribute(Form::Text, plain, plain, plain, ""),
            });
        }
        let [sample, place, binary, whole, resource, scope] = rows.try_into().unwrap();
        let mut set = |row: Attribute| {
            let row = d.attributes.push(row);
            d.attribute_sets.push(&[row])
        };
        let (sample, place, binary, whole) = (set(sample), set(place), set(binary), set(whole));
        let function = d.functions.push(Function {
            name: at(Self::FunctionName),
            system_name: at(Self::SystemName),
            filename: at(Self::SourceFile),
            ..Function::default()
        });
        let mapping = d.mappings.push(Mapping {
            filename: at(Self::MappingFile),
            attributes: binary,
            ..Mapping::default()
        });
        let location = Location {
            mapping,
            attributes: place,
            ..Location::default()
        };
        let line = Line {
            function,
            ..Line::default()
        };
        let location = d.push_location(location, &[line]);
        let profile = Profile {
            sample_types: vec![ValueType {
                kind: at(Self::TypeName),
                unit: at(Self::TypeUnit),
            }],
            default_sample_type: at(Self::DefaultType),
            period_type: ValueType {
                kind: at(Self::PeriodName),
                unit: at(Self::PeriodUnit),
            },
            samples: Arc::new(Samples {
                stacks: vec![d.stacks.push(&[location])],
                attributes: vec![sample],
                links: vec![LinkId::UNSET],
                observations: Observations::Totals(vec![1]),
            }),
            attributes: whole,
            comments: vec![at(Self::Comment)],
            doc_url: at(Self::DocUrl),
            drop_frames: at(Self::DropFrames),
            keep_frames: at(Self::KeepFrames),
            ..Profile::default()
        };
        let key_value = |row: Attribute| KeyValue {
            key: row.key,
            value: row.value,
        };
        let scope = ScopeProfiles {
            name: at(Self::ScopeName),
            version: at(Self::ScopeVersion),
            schema_url: at(Self::ScopeSchema),
            attributes: vec![key_value(scope)],
            profiles: vec![profile],
            ..ScopeProfiles::default()
        };
        let resource = ResourceProfiles {
            attributes: vec![key_value(resource)],
            schema_url: at(Self::ResourceSchema),
            scopes: vec![scope],
            ..ResourceProfiles::default()
        };
        Profiles::new(d, vec![resource])
    }
}

fn attribute(form: Form, key: StringId, plain: StringId, held: StringId, text: &str) -> Attribute {
    let map = |key, value| Value::Map([(key, value)].into());
    let value = match form {
        Form::Key | Form::Unit => Value::String(plain),
        Form::Text => Value::String(held),
        Form::Bytes => Value::Bytes(text.as_bytes().to_vec().into()),
        Form::Integer => Value::Int(text.parse().unwrap()),
        Form::Double => Value::Double(text.parse().unwrap()),
        Form::IntegerInList => Value::Array([Value::Int(1), Value::Int(text.parse().unwrap())].into()),
        Form::InList => Value::Array([Value::String(plain), Value::String(held)].into()),
        Form::InMap => map(plain, Value::String(held)),
        Form::MapKey => map(held, Value::Int(1)),
        Form::Deep => Value::Array([map(plain, Value::String(held))].into()),
    };
    Attribute {
        key: if form == Form::Key { held } else { key },
        value,
        unit: if form == Form::Unit { held } else { StringId::UNSET },
    }
}

/// The profile as it leaves under a policy.
pub fn leaving(mut profiles: Profiles, policy: &Policy) -> Vec<u8> {
    policy.redact(&mut profiles);
    profiles.compact();
    any::encode(Format::Otlp, &profiles, usize::MAX).unwrap()
}

/// Whether the bytes hold the secret, or a part of it that is worth having.
pub fn holds(bytes: &[u8], secret: &str) -> bool {
    let part = secret.len().min(12);
    let has = |what: &[u8]| memchr::memmem::find(bytes, what).is_some();
    if secret.as_bytes().windows(part).any(has) {
        return true;
    }
    let Ok(number) = secret.parse::<u64>() else {
        return false;
    };
    has(&varint(number)) || has(&(number as f64).to_le_bytes())
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}
