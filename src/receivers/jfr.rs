//! The block `jfr:` of whatever takes recordings of the JVM.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::formats::jfr;

/// How recordings of the JVM are read.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct JfrConfig {
    /// Whether waits in `sleep` and `wait`, and for files and sockets, become a profile `off_cpu` too.
    pub off_cpu: bool,
}

impl JfrConfig {
    /// The same for the reader; `labels` is the message that came beside a recording, if one did.
    pub fn options(self, labels: &[u8]) -> jfr::Options<'_> {
        jfr::Options {
            labels,
            off_cpu: self.off_cpu,
        }
    }
}
