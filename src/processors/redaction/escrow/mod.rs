//! Escrow: which pseudonym stands for which name, for whoever may know it later.
//!
//! The gate seals what it hides to a public key. It can add to the escrow and read nothing of it, not even its own lines: only the
//! private key, which never comes near the gate, opens them. What detectors hit is never kept.

mod keys;
mod retention;
mod seal;
mod shelf;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

pub use keys::{Identity, KeyError, Recipient};
pub use shelf::{EscrowError, reveal};
pub use writer::{Escrow, finish};

use crate::pipeline::units::{ByteSize, Span};
use crate::profile::Role;

/// Keeps what pseudonyms stand for. Never tell it what a detector hit: only names of functions, files and threads that a rule
/// hides whole.
pub trait Keep: Send + Sync {
    /// `pseudonym` stands for `name`, which plays this part. Cheap and never waits: what there is no room for is told again.
    fn keep(&self, role: Role, pseudonym: &str, name: &str);
}

/// `escrow`: where names are kept, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of the sealed files; several gates may share one.
    pub directory: PathBuf,
    /// The public key that `flamegate keygen --escrow` printed.
    pub recipient: String,
    /// Age at which files go; names still in use are written again in time. 0 for never.
    #[serde(default = "three_months")]
    pub max_age: Span,
    /// Bytes that the directory may take; the oldest files go first. 0 for no bound.
    #[serde(default = "a_gibibyte")]
    pub max_bytes: ByteSize,
}

fn three_months() -> Span {
    Span::secs(90 * 24 * 3600)
}

fn a_gibibyte() -> ByteSize {
    ByteSize::mib(1024)
}
