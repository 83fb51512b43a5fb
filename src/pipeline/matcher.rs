//! Conditions on profiles, as `filter` and `when:` write them: a key and a glob, or `{eq: …}`, or `{regex: …}`.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::batch::Origin;
use super::spec::BuildError;
use crate::profile::{AttributeSetId, Dictionary, ProfileRef, Value};

/// Conditions by key; all of them must hold.
pub type MatchConfig = BTreeMap<String, Pattern>;

/// What a value must look like.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Pattern {
    /// A glob: `*` is any text, `?` one character.
    Glob(String),
    /// Exactly this, or a regular expression.
    Exact(Exact),
}

/// The long form of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Exact {
    /// Exactly this text.
    Eq(String),
    /// A regular expression that matches somewhere in the text.
    Regex(String),
}

/// Conditions made ready.
#[derive(Debug)]
pub struct Matcher {
    profile: Vec<(Field, Regex)>,
    samples: Vec<(String, Regex)>,
}

#[derive(Debug)]
enum Field {
    Resource(String),
    Tenant,
    Receiver,
    Type,
}

impl Matcher {
    /// Checks the conditions that stand at `path`.
    pub fn new(path: &str, config: &MatchConfig) -> Result<Self, BuildError> {
        let mut matcher = Self {
            profile: Vec::new(),
            samples: Vec::new(),
        };
        if config.is_empty() {
            return Err(BuildError::at(path, "an empty condition would match everything"));
        }
        for (key, pattern) in config {
            let path = format!("{path}.{key}");
            let regex = compile(pattern).map_err(|message| BuildError::at(&path, message))?;
            let field = match key.as_str() {
                "tenant" => Field::Tenant,
                "receiver" => Field::Receiver,
                "profile.type" => Field::Type,
                _ => match (key.strip_prefix("resource."), key.strip_prefix("sample.")) {
                    (Some(name), _) => Field::Resource(name.to_owned()),
                    (_, Some(name)) => {
                        matcher.samples.push((name.to_owned(), regex));
                        continue;
                    }
                    _ => {
                        let allowed = "allowed are resource.<key>, tenant, receiver, profile.type and sample.<key>";
                        return Err(BuildError::at(path, allowed));
                    }
                },
            };
            matcher.profile.push((field, regex));
        }
        Ok(matcher)
    }

    /// Whether the conditions on the whole profile hold; conditions on samples are not asked.
    pub fn profile(&self, d: &Dictionary, p: ProfileRef<'_>, origin: &Origin) -> bool {
        self.profile.iter().all(|(field, regex)| match field {
            Field::Tenant => regex.is_match(&origin.tenant),
            Field::Receiver => regex.is_match(&origin.receiver),
            Field::Type => p.profile.sample_types.iter().any(|t| regex.is_match(d.str(t.kind))),
            Field::Resource(key) => p.resource.attribute(d, key).is_some_and(|v| holds(d, regex, v)),
        })
    }

    /// Whether some receiver of these may bring what matches.
    pub fn may_come_from<'a>(&self, mut receivers: impl Iterator<Item = &'a str>) -> bool {
        let conditions = || {
            self.profile
                .iter()
                .filter(|(field, _)| matches!(field, Field::Receiver))
        };
        receivers.any(|id| conditions().all(|(_, regex)| regex.is_match(id)))
    }

    /// Whether there are conditions on single samples.
    pub fn has_sample_conditions(&self) -> bool {
        !self.samples.is_empty()
    }

    /// Whether the conditions on a sample hold. Of a label with several values, one is enough.
    pub fn sample(&self, d: &Dictionary, set: AttributeSetId) -> bool {
        self.samples.iter().all(|(key, regex)| {
            d.attributes_of(set)
                .any(|a| d.str(a.key) == key && holds(d, regex, &a.value))
        })
    }
}

fn holds(d: &Dictionary, regex: &Regex, value: &Value) -> bool {
    match value {
        Value::String(id) => regex.is_match(d.str(*id)),
        Value::Int(number) => regex.is_match(&number.to_string()),
        Value::Double(number) => regex.is_match(&number.to_string()),
        Value::Bool(truth) => regex.is_match(if *truth { "true" } else { "false" }),
        Value::Array(items) => items.iter().any(|item| holds(d, regex, item)),
        Value::Empty | Value::Bytes(_) | Value::Map(_) => false,
    }
}

fn compile(pattern: &Pattern) -> Result<Regex, String> {
    let source = match pattern {
        Pattern::Exact(Exact::Regex(regex)) => regex.clone(),
        Pattern::Exact(Exact::Eq(text)) => format!(r"\A{}\z", regex::escape(text)),
        Pattern::Glob(glob) => {
            let text = regex::escape(glob).replace(r"\*", ".*").replace(r"\?", ".");
            format!(r"(?s)\A{text}\z")
        }
    };
    RegexBuilder::new(&source)
        .size_limit(1 << 20)
        .build()
        .map_err(|_| "not a regular expression of the Rust regex syntax, or too large".to_owned())
}
