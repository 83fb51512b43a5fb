//! Where a text stands, as far as detectors care.

use crate::profile::Role;

/// What may be looked for in a text depends on what people write there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Names of functions and of types: code, not prose.
    Name,
    /// Paths of source files and binaries.
    File,
    /// Keys of labels and of resource attributes.
    Key,
    /// What people write freely: values, units, comments, links, scopes, frame patterns.
    Text,
}

impl Place {
    /// The place of a text that plays this part.
    pub const fn of(role: Role) -> Self {
        match role {
            Role::FunctionName | Role::SystemName | Role::TypeName => Self::Name,
            Role::SourceFile | Role::MappingFile => Self::File,
            Role::LabelKey | Role::ResourceKey => Self::Key,
            Role::LabelValue
            | Role::LabelUnit
            | Role::ResourceValue
            | Role::Scope
            | Role::Comment
            | Role::DocUrl
            | Role::FramePattern
            | Role::SchemaUrl
            | Role::PayloadFormat => Self::Text,
        }
    }
}
