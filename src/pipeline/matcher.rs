//! Conditions on profiles, as `filter` and `when:` write them: a key and a glob, or `{eq: …}`, or `{regex: …}`.

use std::collections::BTreeMap;
use std::fmt;

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::batch::Origin;
use super::spec::BuildError;
use crate::profile::{AttributeSetId, Dictionary, ProfileRef, Value};

/// Conditions by key; all of them must hold.
pub type MatchConfig = BTreeMap<String, Pattern>;

/// What a value must look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Pattern {
    /// A glob: `*` is any text, `?` one character.
    Glob(String),
    /// Exactly this, or a regular expression.
    Exact(Exact),
}

/// The long form of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Exact {
    /// Exactly this text.
    Eq(String),
    /// A regular expression that matches somewhere in the text.
    Regex(String),
}

impl Pattern {
    /// Whether a text is what it asks for; none is where it asks for nothing that can be.
    pub fn matches(&self, text: &str) -> bool {
        compile(self).is_ok_and(|regex| regex.is_match(text))
    }
}

/// By hand: an untagged enum would only say that nothing fits, and not which word is wrong.
impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Pattern;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob, or {eq: text}, or {regex: text}")
            }
            fn visit_str<E: de::Error>(self, glob: &str) -> Result<Pattern, E> {
                Ok(Pattern::Glob(glob.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Pattern, A::Error> {
                Exact::deserialize(MapAccessDeserializer::new(map)).map(Pattern::Exact)
            }
        }
        deserializer.deserialize_any(Forms)
    }
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
                    (Some(name), _) if !name.is_empty() => Field::Resource(name.to_owned()),
                    (_, Some(name)) if !name.is_empty() => {
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

    /// Whether it asks for nothing but where something comes from: of spans, no more is known.
    pub fn is_about_origin(&self) -> bool {
        let of_origin = |(field, _): &(Field, Regex)| matches!(field, Field::Tenant | Field::Receiver);
        self.samples.is_empty() && self.profile.iter().all(of_origin)
    }

    /// Whether what comes from there matches; what is asked about anything else does not hold.
    pub fn origin(&self, origin: &Origin) -> bool {
        let holds = |(field, regex): &(Field, Regex)| match field {
            Field::Tenant => regex.is_match(&origin.tenant),
            Field::Receiver => regex.is_match(&origin.receiver),
            Field::Resource(_) | Field::Type => false,
        };
        self.samples.is_empty() && self.profile.iter().all(holds)
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

/// The regular expression that a pattern stands for; else what is wrong with it.
pub fn compile(pattern: &Pattern) -> Result<Regex, String> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::pipeline::spec::parse;
    use crate::profile::{Attribute, KeyValue, Profile, Profiles, ResourceProfiles, ScopeProfiles, ValueType};

    fn matcher(config: serde_json::Value) -> Matcher {
        Matcher::new("when", &parse(config).unwrap()).unwrap()
    }

    /// One profile of two types; its resource has an attribute for each kind of value.
    fn profiles() -> Profiles {
        let mut d = Dictionary::default();
        let mut text = |text: &str| d.strings.push(text);
        let values = [
            ("service.name", Value::String(text("checkout-eu"))),
            ("int", Value::Int(-7)),
            ("double", Value::Double(0.5)),
            ("truth", Value::Bool(true)),
            ("list", Value::Array([Value::Int(1), Value::String(text("two"))].into())),
            ("bytes", Value::Bytes(b"two".to_vec().into())),
            ("empty", Value::Empty),
        ];
        let attributes = values.map(|(key, value)| KeyValue { key: text(key), value });
        let sample_types = ["alloc_objects", "inuse_space"].map(|kind| ValueType {
            kind: text(kind),
            ..ValueType::default()
        });
        let profile = Profile {
            sample_types: sample_types.to_vec(),
            ..Profile::default()
        };
        let resource = ResourceProfiles {
            attributes: attributes.to_vec(),
            scopes: vec![ScopeProfiles {
                profiles: vec![profile],
                ..ScopeProfiles::default()
            }],
            ..ResourceProfiles::default()
        };
        Profiles::new(d, vec![resource])
    }

    fn matches(config: serde_json::Value) -> bool {
        let profiles = profiles();
        let origin = Origin {
            tenant: "shop".into(),
            ..Origin::local("otlp/a")
        };
        matcher(config).profile(profiles.dictionary(), profiles.iter().next().unwrap(), &origin)
    }

    #[test]
    fn every_field_is_looked_at_and_all_must_hold() {
        for (key, yes, no) in [
            ("tenant", "shop", "sho"),
            ("receiver", "otlp/*", "otlp"),
            ("profile.type", "alloc*", "cpu"),
            ("profile.type", "inuse_space", "space"),
            ("resource.service.name", "checkout-??", "checkout-?"),
            ("resource.int", "-7", "7"),
            ("resource.double", "0.5", "0"),
            ("resource.truth", "true", "false"),
            ("resource.list", "two", "three"),
        ] {
            assert!(matches(json!({ key: yes })), "{key}: {yes}");
            assert!(!matches(json!({ key: no })), "{key}: {no}");
            assert!(matches(json!({ key: yes, "tenant": "*" })), "{key} and");
            assert!(
                !matches(json!({ key: yes, "tenant": "other", "receiver": "*" })),
                "{key} and"
            );
        }
        // what has no text matches nothing, not even everything
        for key in ["resource.bytes", "resource.empty", "resource.no.such"] {
            assert!(!matches(json!({ key: "*" })), "{key}");
        }
    }

    #[test]
    fn the_long_forms_match_exactly_or_somewhere() {
        for (pattern, hit) in [
            (json!({ "eq": "checkout-eu" }), true),
            (json!({ "eq": "checkout-*" }), false),
            (json!({ "eq": "checkout.eu" }), false),
            (json!({ "regex": "out-[a-z]" }), true),
            (json!({ "regex": "^out" }), false),
            (json!("checkout.eu"), false),
        ] {
            assert_eq!(matches(json!({ "resource.service.name": pattern })), hit, "{pattern}");
        }
    }

    #[test]
    fn of_a_sample_one_value_of_a_label_is_enough() {
        let mut d = Dictionary::default();
        let endpoint = d.strings.push("endpoint");
        let mut attribute = |value: Value| {
            d.attributes.push(Attribute {
                key: endpoint,
                value,
                ..Attribute::default()
            })
        };
        let rows = [attribute(Value::Int(1)), attribute(Value::Int(22))];
        let (both, none) = (d.attribute_sets.push(&rows), AttributeSetId::UNSET);
        let is = matcher(json!({ "sample.endpoint": "22", "tenant": "nobody" }));
        assert!(is.has_sample_conditions());
        assert!(is.sample(&d, both) && !is.sample(&d, none));
        assert!(!matcher(json!({ "sample.endpoint": "2" })).sample(&d, both));
        assert!(!matcher(json!({ "sample.endpoint": "1", "sample.other": "*" })).sample(&d, both));
        assert!(!matcher(json!({ "tenant": "*" })).has_sample_conditions());
    }

    #[test]
    fn a_condition_that_nobody_can_mean_is_refused_at_its_place() {
        for (config, path) in [
            (json!({}), "when"),
            (json!({ "service.name": "x" }), "when.service.name"),
            (json!({ "resource.": "x" }), "when.resource."),
            (json!({ "sample.": "x" }), "when.sample."),
            (json!({ "tenant": { "regex": "(sesame" } }), "when.tenant"),
            (
                json!({ "tenant": { "regex": "(?:sesame{1000}){1000}" } }),
                "when.tenant",
            ),
        ] {
            let error = Matcher::new("when", &parse(config).unwrap()).unwrap_err();
            assert_eq!(error.path, path);
            assert!(!error.message.contains("sesame"), "{error}");
        }
        for config in [
            json!({ "tenant": 7 }),
            json!({ "tenant": { "glob": "x" } }),
            json!({ "tenant": { "eq": "x", "regex": "x" } }),
        ] {
            assert!(parse::<MatchConfig>(config.clone()).is_err(), "{config}");
        }
    }

    /// A glob by the book: a star takes nothing, or one more.
    fn by_the_book(glob: &[char], text: &[char]) -> bool {
        match (glob.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some(('*', after)), None) => by_the_book(after, text),
            (Some(('*', after)), Some((_, rest))) => by_the_book(after, text) || by_the_book(glob, rest),
            (Some(('?', after)), Some((_, rest))) => by_the_book(after, rest),
            (Some((a, after)), Some((b, rest))) => a == b && by_the_book(after, rest),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn prop_globs_match_by_the_book(glob in "[ab.é*?\\[+\\n]{0,6}", text in "[ab.é*?\\[+\\n]{0,6}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let regex = compile(&Pattern::Glob(glob.clone())).unwrap();
            prop_assert_eq!(regex.is_match(&text), by_the_book(&chars(&glob), &chars(&text)));
        }
    }
}
