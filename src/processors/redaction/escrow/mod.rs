//! Escrow: which pseudonym stands for which name, for whoever may know it later.

use crate::profile::Role;

/// Keeps what pseudonyms stand for. Never tell it what a detector hit: only names of functions, files and threads that a rule
/// hides whole.
pub trait Keep: Send + Sync {
    /// `pseudonym` stands for `name`, which plays this part. Cheap and never waits: what there is no room for is told again.
    fn keep(&self, role: Role, pseudonym: &str, name: &str);
}
