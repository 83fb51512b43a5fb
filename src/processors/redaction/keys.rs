//! Which attributes stay, by key: the Collector's vocabulary and order.

use regex::Regex;

use super::config::Config;
use super::detectors::is_identity;
use super::patterns::compile_all;
use super::summary::is_summary;
use crate::pipeline::spec::BuildError;
use crate::profile::trace_ids::TraceKeys;

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
    allow_all: bool,
    allowed: Vec<String>,
    ignored: Vec<String>,
    ignored_patterns: Vec<Regex>,
    blocked: Vec<Regex>,
}

impl Keys {
    /// Compiles the patterns of a configuration.
    pub fn new(config: &Config) -> Result<Self, BuildError> {
        Ok(Self {
            allow_all: config.allow_all_keys.unwrap_or(config.allowed_keys.is_empty()),
            allowed: config.allowed_keys.clone(),
            ignored: config.ignored_keys.clone(),
            ignored_patterns: compile_all("ignored_key_patterns", &config.ignored_key_patterns)?,
            blocked: compile_all("blocked_key_patterns", &config.blocked_key_patterns)?,
        })
    }

    /// Whether the configuration lets the key pass by name: then it is known under this name alone.
    pub fn name(&self, key: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == key);
        named(&self.allowed)
            || named(&self.ignored)
            || self.ignored_patterns.iter().any(|pattern| pattern.is_match(key))
    }

    /// Whether an allow-list that does not name the key is to let it pass, because it joins.
    pub fn is_join(&self, key: &str) -> bool {
        !self.allow_all && is_identity(key) && !self.name(key)
    }

    /// What the key decides: ignored, then not allowed, then blocked.
    pub fn rule(&self, key: &str) -> KeyRule {
        let named = |list: &[String]| list.iter().any(|name| name == key);
        if named(&self.ignored) || self.ignored_patterns.iter().any(|pattern| pattern.is_match(key)) {
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

    /// Whether a pattern blocks a key of trace or span ids: those may have become links before, and leave as labels again.
    pub fn block_links(&self) -> bool {
        TraceKeys::built_in().ids().any(|key| self.rule(key) == KeyRule::Mask)
    }

    /// Whether a pattern blocks the key.
    pub fn is_blocked(&self, key: &str) -> bool {
        self.blocked.iter().any(|pattern| pattern.is_match(key))
    }
}

/// Whether values of the key are names of threads or processes.
pub fn is_thread(key: &str) -> bool {
    const NAMES: &[&str] = &[
        "thread",
        "thread.name",
        "thread_name",
        "thread name",
        "threadName",
        "os_thread_name",
        "process.name",
        "process_name",
        "process name",
        // what a speedscope profile is of
        "speedscope.profile.name",
    ];
    NAMES.contains(&key)
}

/// Whether values of the key say which trace or span was running.
pub fn is_link(key: &str) -> bool {
    const NAMES: &[&str] = &[
        "trace_id",
        "span_id",
        "traceid",
        "spanid",
        "traceID",
        "spanID",
        "trace.id",
        "span.id",
        "trace id",
        "span id",
        "local root span id",
    ];
    NAMES.contains(&key) || TraceKeys::built_in().has(key)
}
