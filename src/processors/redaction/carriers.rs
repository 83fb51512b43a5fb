//! Texts that are no labels: what becomes of units, comments, links, scopes and files, by the carrier.

use super::config::{Carriers, TextAction};
use super::detectors::is_masked;
use super::frames::{is_public_binary, is_standard_type};
use super::masks::{self, STARS};
use super::pseudonym::{Kind, Pseudonyms};
use crate::profile::Role;

/// Those that a policy may do something with.
const ROLES: [Role; 9] = [
    Role::SourceFile,
    Role::MappingFile,
    Role::LabelUnit,
    Role::Scope,
    Role::Comment,
    Role::DocUrl,
    Role::FramePattern,
    Role::TypeName,
    Role::SchemaUrl,
];

impl Carriers {
    /// Whether nothing becomes of any of them.
    pub fn all_stay(&self) -> bool {
        ROLES.into_iter().all(|role| self.action(role) == TextAction::Keep)
    }

    /// What the policy does with texts of this role.
    pub fn action(&self, role: Role) -> TextAction {
        match role {
            Role::SourceFile => self.source_file,
            Role::MappingFile => self.mapping_file,
            Role::LabelUnit => self.label_unit,
            Role::Scope => self.scope,
            Role::Comment => self.comment,
            Role::DocUrl => self.doc_url,
            Role::FramePattern => self.frame_pattern,
            Role::TypeName => self.type_name,
            Role::SchemaUrl => self.schema_url,
            Role::FunctionName
            | Role::SystemName
            | Role::LabelKey
            | Role::LabelValue
            | Role::ResourceKey
            | Role::ResourceValue
            | Role::PayloadFormat => TextAction::Keep,
        }
    }

    /// The carriers whose texts are hashed.
    pub fn hashed(&self) -> Option<&'static str> {
        let hashed = ROLES.into_iter().find(|role| self.action(*role) == TextAction::Hash);
        hashed.map(Role::label)
    }

    /// What stands for the text, which detectors have been over; none if it stays.
    pub fn replace(&self, role: Role, text: &str, pseudonyms: &Pseudonyms) -> Option<String> {
        let action = self.action(role);
        if action == TextAction::Keep || text.is_empty() {
            return None;
        }
        if action == TextAction::Remove {
            return Some(String::new());
        }
        if is_masked(text) || text == STARS || pseudonyms.is_ours(text) || is_standard(role, text) {
            return None;
        }
        match action {
            TextAction::Hash => pseudonyms.of(kind(role), text),
            _ => Some(masks::mask(role.label())),
        }
    }
}

/// The part that a pseudonym in the place of such a text names.
pub fn kind(role: Role) -> Kind {
    match role {
        Role::FunctionName | Role::SystemName => Kind::Function,
        Role::SourceFile | Role::MappingFile => Kind::File,
        Role::Scope => Kind::Scope,
        Role::TypeName | Role::LabelUnit => Kind::Type,
        _ => Kind::Text,
    }
}

/// Words that everybody uses say nothing of anybody.
fn is_standard(role: Role, text: &str) -> bool {
    let is_version = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match role {
        Role::TypeName | Role::LabelUnit => is_standard_type(text),
        Role::MappingFile => is_public_binary(text),
        Role::Scope => is_version(text.strip_prefix('v').unwrap_or(text)) || SCOPES.contains(&text),
        Role::SchemaUrl => text
            .strip_prefix("https://opentelemetry.io/schemas/")
            .is_some_and(is_version),
        _ => false,
    }
}

/// Scopes of public profilers.
const SCOPES: &[&str] = &[
    "go.opentelemetry.io/ebpf-profiler",
    "opentelemetry-ebpf-profiler",
    "otel-profiling-agent",
    "async-profiler",
    "jfr",
    "pprof",
    "flamegate",
];
