//! The block `file`: the Collector's keys of it, and those that it has not and nobody does well without.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::auth::tenant;
use crate::pipeline::spec::{BuildContext, BuildError};
use crate::pipeline::units::Span;
use crate::receivers::watch::{After, Globs, Watch, WatchConfig};

/// Takes profiles from files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileConfig {
    /// Files to take: globs such as `/profiles/**/*.pb.gz`, one or a list.
    include: Globs,
    /// How often is looked.
    collection_interval: Span,
    /// Time before the first look.
    initial_delay: Span,
    /// Accepted for the Collector's sake: a file takes the time that it takes.
    timeout: Span,
    /// What is done with a file that was delivered: `keep`, `delete`, or `{move: DIRECTORY}`.
    after: After,
    /// Directory that keeps in mind what was taken; `flamegate-state` in the working directory unless set.
    storage: Option<PathBuf>,
    /// Attributes of the resource of all profiles, such as `service.name`.
    resource: BTreeMap<String, String>,
    /// Whose profiles they are.
    tenant: String,
    /// A regular expression over the path of a file, whose named groups become attributes of the resource.
    path_pattern: Option<String>,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            include: Globs::default(),
            collection_interval: Span::secs(60),
            initial_delay: Span::secs(1),
            timeout: Span::secs(0),
            after: After::default(),
            storage: None,
            resource: BTreeMap::new(),
            tenant: tenant::DEFAULT.to_owned(),
            path_pattern: None,
        }
    }
}

impl FileConfig {
    pub(super) fn check(self, cx: &BuildContext) -> Result<Watch, BuildError> {
        if self.collection_interval < Span::millis(100) {
            return Err(BuildError::at(
                "file.collection_interval",
                "too short; write 100ms or more",
            ));
        }
        let watch = WatchConfig {
            include: self.include,
            poll_interval: self.collection_interval,
            after: self.after,
            storage: self.storage,
            resource: self.resource,
            tenant: self.tenant,
            path_pattern: self.path_pattern,
            ..WatchConfig::default()
        };
        Ok(watch.check("file", cx)?.delayed(self.initial_delay.0))
    }
}
