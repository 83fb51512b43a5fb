//! Where a text stands, as far as detectors care.

use crate::processors::redaction::sql;
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
    /// Names of threads and processes: as free, and telephone numbers stand there without a word before them.
    Thread,
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

    /// The place that fits the text itself: profilers put names of threads, command lines, routes and queries where names of
    /// functions stand, and addresses where files do.
    pub(super) fn seen(self, text: &str) -> Self {
        match self {
            Self::Name if is_prose(text) => Self::Text,
            Self::File if text.contains("://") && !text.starts_with("file:") => Self::Text,
            _ => self,
        }
    }
}

fn is_prose(name: &str) -> bool {
    // without a space it can only be an address or a very short query
    let of_words = || name.contains(" --") || is_thread(name) || is_route(name);
    name.contains("://") || sql::is_sql(name) || (name.contains(' ') && of_words())
}

/// Frames that name a thread or a process: `[pool-1 tid=7]`, `thread (22): pool-1`, `process 7:"python app.py"`.
pub fn is_thread(name: &str) -> bool {
    let of_async_profiler = name.starts_with('[') && name.ends_with(']') && name.contains(" tid=");
    let of_py_spy = ["thread (", "process ", "Thread "]
        .into_iter()
        .filter_map(|start| name.strip_prefix(start))
        .any(|rest| rest.bytes().next().is_some_and(|b| b.is_ascii_digit()));
    of_async_profiler || of_py_spy
}

/// A request: `GET /users/7`.
pub fn is_route(name: &str) -> bool {
    const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    let Some((method, rest)) = name.split_once(' ') else {
        return false;
    };
    METHODS.contains(&method) && rest.starts_with(['/', 'h'])
}
