//! Which attributes stay, by key: the Collector's vocabulary and order.

use regex::Regex;

use super::detectors::is_identity;
use super::summary::is_summary;

/// What a key alone decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRule {
    /// The attribute passes as it is.
    Ignore,
    /// The attribute goes.
    Delete,
    /// The value is looked at.
    Scan,
    /// The whole value is masked, unless it is an allowed one.
    Mask,
}

/// The rules on keys.
pub struct Keys {
    pub(super) allow_all: bool,
    pub(super) allowed: Vec<String>,
    pub(super) ignored: Vec<String>,
    pub(super) blocked: Vec<Regex>,
}

impl Keys {
    /// What the key decides: ignored, then not allowed, then blocked.
    pub fn rule(&self, key: &str) -> KeyRule {
        let named = |list: &[String]| list.iter().any(|name| name == key);
        if named(&self.ignored) {
            return KeyRule::Ignore;
        }
        if !self.allow_all && !named(&self.allowed) && !is_identity(key) && !is_summary(key) {
            return KeyRule::Delete;
        }
        if self.is_blocked(key) {
            return KeyRule::Mask;
        }
        KeyRule::Scan
    }

    /// Whether a pattern blocks the key.
    pub fn is_blocked(&self, key: &str) -> bool {
        self.blocked.iter().any(|pattern| pattern.is_match(key))
    }
}
