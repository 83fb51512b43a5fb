//! Every text of a batch by the part it plays. One string may play several parts, and is asked about in each.

use super::dictionary::{Attribute, Dictionary, Function, Mapping, Value};
use super::profiles::{KeyValue, Profile, Profiles, ResourceProfiles, ScopeProfiles};
use super::strings::StringId;

/// The part a string plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Name of a function.
    FunctionName,
    /// Name of a function as the linker knows it.
    SystemName,
    /// Source file of a function.
    SourceFile,
    /// Path of a mapped binary.
    MappingFile,
    /// Key of an attribute of a sample, location, mapping or profile.
    LabelKey,
    /// Text in the value of such an attribute.
    LabelValue,
    /// Unit of such an attribute.
    LabelUnit,
    /// Key of an attribute of a resource or scope.
    ResourceKey,
    /// Text in the value of such an attribute.
    ResourceValue,
    /// Name or version of a scope.
    Scope,
    /// Comment of a profile.
    Comment,
    /// Documentation link of a profile.
    DocUrl,
    /// Regular expressions of frames to drop or keep.
    FramePattern,
    /// Name or unit of a sample type or period type.
    TypeName,
    /// Schema url of a resource or scope.
    SchemaUrl,
    /// Name of the format of an attached original payload.
    PayloadFormat,
}

impl Role {
    /// The metric label, and the word in reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::FunctionName => "function_name",
            Self::SystemName => "system_name",
            Self::SourceFile => "source_file",
            Self::MappingFile => "mapping_file",
            Self::LabelKey => "label_key",
            Self::LabelValue => "label_value",
            Self::LabelUnit => "label_unit",
            Self::ResourceKey => "resource_key",
            Self::ResourceValue => "resource_value",
            Self::Scope => "scope",
            Self::Comment => "comment",
            Self::DocUrl => "doc_url",
            Self::FramePattern => "frame_pattern",
            Self::TypeName => "type_name",
            Self::SchemaUrl => "schema_url",
            Self::PayloadFormat => "payload_format",
        }
    }
}

impl Profiles {
    /// Asks about every string in every part it plays.
    pub fn strings_by_role(&self, mut ask: impl FnMut(Role, StringId)) {
        let mut look = |role: Role, id: &mut StringId| ask(role, *id);
        let dictionary = self.dictionary();
        for row in dictionary.functions.rows() {
            function(&mut row.clone(), &mut look);
        }
        for row in dictionary.mappings.rows() {
            mapping(&mut row.clone(), &mut look);
        }
        for row in dictionary.attributes.rows() {
            attribute(&mut row.clone(), &mut look);
        }
        // looking walks the way of changing, on a copy: small, since samples are shared
        for row in self.resources() {
            resource(&mut row.clone(), &mut look);
        }
    }

    /// Puts another string in the place of every string for which `replace` names one. The old ones stay in the table until
    /// [`compact`](Self::compact).
    pub fn replace_strings(&mut self, mut replace: impl FnMut(&mut Dictionary, Role, StringId) -> StringId) {
        let (dictionary, resources) = self.edit();
        let mut functions = std::mem::take(&mut dictionary.functions);
        let mut mappings = std::mem::take(&mut dictionary.mappings);
        let mut attributes = std::mem::take(&mut dictionary.attributes);
        let mut put = |role: Role, id: &mut StringId| *id = replace(dictionary, role, *id);
        for row in functions.rows_mut() {
            function(row, &mut put);
        }
        for row in mappings.rows_mut() {
            mapping(row, &mut put);
        }
        for row in attributes.rows_mut() {
            attribute(row, &mut put);
        }
        for row in resources {
            resource(row, &mut put);
        }
        dictionary.functions = functions;
        dictionary.mappings = mappings;
        dictionary.attributes = attributes;
    }
}

pub(super) fn function(row: &mut Function, visit: &mut impl FnMut(Role, &mut StringId)) {
    visit(Role::FunctionName, &mut row.name);
    visit(Role::SystemName, &mut row.system_name);
    visit(Role::SourceFile, &mut row.filename);
}

pub(super) fn mapping(row: &mut Mapping, visit: &mut impl FnMut(Role, &mut StringId)) {
    visit(Role::MappingFile, &mut row.filename);
}

pub(super) fn attribute(row: &mut Attribute, visit: &mut impl FnMut(Role, &mut StringId)) {
    visit(Role::LabelKey, &mut row.key);
    visit(Role::LabelUnit, &mut row.unit);
    value(&mut row.value, Role::LabelKey, Role::LabelValue, visit);
}

pub(super) fn resource(row: &mut ResourceProfiles, visit: &mut impl FnMut(Role, &mut StringId)) {
    visit(Role::SchemaUrl, &mut row.schema_url);
    key_values(&mut row.attributes, visit);
    for row in &mut row.scopes {
        scope(row, visit);
    }
}

fn scope(row: &mut ScopeProfiles, visit: &mut impl FnMut(Role, &mut StringId)) {
    visit(Role::Scope, &mut row.name);
    visit(Role::Scope, &mut row.version);
    visit(Role::SchemaUrl, &mut row.schema_url);
    key_values(&mut row.attributes, visit);
    for row in &mut row.profiles {
        profile(row, visit);
    }
}

fn profile(row: &mut Profile, visit: &mut impl FnMut(Role, &mut StringId)) {
    for t in row.sample_types.iter_mut().chain([&mut row.period_type]) {
        visit(Role::TypeName, &mut t.kind);
        visit(Role::TypeName, &mut t.unit);
    }
    visit(Role::TypeName, &mut row.default_sample_type);
    for comment in &mut row.comments {
        visit(Role::Comment, comment);
    }
    visit(Role::FramePattern, &mut row.drop_frames);
    visit(Role::FramePattern, &mut row.keep_frames);
    visit(Role::DocUrl, &mut row.doc_url);
    if let Some(payload) = &mut row.original_payload {
        visit(Role::PayloadFormat, &mut payload.format);
    }
}

fn key_values(row: &mut [KeyValue], visit: &mut impl FnMut(Role, &mut StringId)) {
    for kv in row {
        visit(Role::ResourceKey, &mut kv.key);
        value(&mut kv.value, Role::ResourceKey, Role::ResourceValue, visit);
    }
}

fn value(value_of: &mut Value, key_role: Role, role: Role, visit: &mut impl FnMut(Role, &mut StringId)) {
    match value_of {
        Value::String(id) => visit(role, id),
        Value::Array(items) => {
            for item in items {
                value(item, key_role, role, visit);
            }
        }
        Value::Map(entries) => {
            for (key, item) in entries {
                visit(key_role, key);
                value(item, key_role, role, visit);
            }
        }
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) | Value::Bytes(_) => {}
    }
}
