//! What the rule of a service matches: conditions as in `when:`, of which a value may be a list, and a service is named by `service.name`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::pipeline::matcher::{Exact, MatchConfig, Matcher, Pattern};
use crate::pipeline::spec::BuildError;

/// Most patterns in a list.
const MOST: usize = 256;

/// Conditions by key; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Matching(BTreeMap<String, OneOf>);

/// Patterns of which one must hold.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(transparent)]
struct OneOf(#[schemars(with = "OneOrMany")] Vec<Pattern>);

/// How [`OneOf`] is written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum OneOrMany {
    One(Pattern),
    Many(Vec<Pattern>),
}

impl<'de> Deserialize<'de> for OneOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = OneOf;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a glob, or {eq: text}, or {regex: text}, or a list of them")
            }
            fn visit_str<E: de::Error>(self, glob: &str) -> Result<OneOf, E> {
                Ok(OneOf(vec![Pattern::Glob(glob.to_owned())]))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOf, A::Error> {
                Exact::deserialize(MapAccessDeserializer::new(map)).map(|exact| OneOf(vec![Pattern::Exact(exact)]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOf, A::Error> {
                let mut patterns = Vec::new();
                while let Some(pattern) = list.next_element()? {
                    patterns.push(pattern);
                }
                match (1..=MOST).contains(&patterns.len()) {
                    true => Ok(OneOf(patterns)),
                    false => Err(de::Error::invalid_length(patterns.len(), &"1 to 256 patterns")),
                }
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

impl Matching {
    /// Checks the conditions that stand at `path`.
    pub fn matcher(&self, path: &str) -> Result<Matcher, BuildError> {
        let conditions = self.0.iter().map(|(key, patterns)| {
            let key = match key.as_str() {
                "service.name" => "resource.service.name",
                other => other,
            };
            (key.to_owned(), patterns.pattern())
        });
        let matcher = Matcher::new(path, &conditions.collect::<MatchConfig>())?;
        match matcher.has_sample_conditions() {
            true => Err(BuildError::at(
                path,
                "a profile has one budget; `sample.<key>` is not allowed here",
            )),
            false => Ok(matcher),
        }
    }
}

impl OneOf {
    /// One pattern that holds where one of these does.
    fn pattern(&self) -> Pattern {
        if let [one] = self.0.as_slice() {
            return one.clone();
        }
        let sources: Vec<String> = self
            .0
            .iter()
            .map(|pattern| format!("(?:{})", source(pattern)))
            .collect();
        Pattern::Exact(Exact::Regex(sources.join("|")))
    }
}

fn source(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Exact(Exact::Regex(regex)) => regex.clone(),
        Pattern::Exact(Exact::Eq(text)) => format!(r"\A{}\z", regex::escape(text)),
        Pattern::Glob(glob) => {
            let text = regex::escape(glob).replace(r"\*", ".*").replace(r"\?", ".");
            format!(r"(?s)\A{text}\z")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pipeline::Origin;
    use crate::pipeline::spec::parse;
    use crate::profile::{Dictionary, KeyValue, Profile, Profiles, ResourceProfiles, ScopeProfiles, Value, ValueType};

    fn profile(service: &str, kind: &str) -> Profiles {
        let mut d = Dictionary::default();
        let value = Value::String(d.strings.push(service));
        let key = d.strings.push("service.name");
        let kind = d.strings.push(kind);
        let profile = Profile {
            sample_types: vec![ValueType { kind, unit: kind }],
            ..Profile::default()
        };
        let scopes = vec![ScopeProfiles {
            profiles: vec![profile],
            ..ScopeProfiles::default()
        }];
        let resource = ResourceProfiles {
            attributes: vec![KeyValue { key, value }],
            scopes,
            ..ResourceProfiles::default()
        };
        Profiles::new(d, vec![resource])
    }

    fn matches(config: serde_json::Value, service: &str, kind: &str) -> bool {
        let matching: Matching = parse(config).unwrap();
        let (profiles, origin) = (profile(service, kind), Origin::local("otlp"));
        let at = profiles.iter().next().unwrap();
        let matcher = matching.matcher("match").unwrap();
        matcher.profile(profiles.dictionary(), at, &origin)
    }

    #[test]
    fn one_of_a_list_is_enough_and_all_conditions_must_hold() {
        let config = || json!({"service.name": "checkout", "profile.type": ["cpu", {"regex": "^alloc"}, {"eq": "w*"}]});
        for (service, kind, holds) in [
            ("checkout", "cpu", true),
            ("checkout", "alloc_space", true),
            ("checkout", "w*", true),
            ("checkout", "wall", false),
            ("checkout", "cpus", false),
            ("shop", "cpu", false),
        ] {
            assert_eq!(matches(config(), service, kind), holds, "{service} {kind}");
        }
        assert!(matches(json!({"resource.service.name": "batch-*"}), "batch-1", "cpu"));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for config in [json!({}), json!({"sample.thread": "main"}), json!({"service": "x"})] {
            let matching: Matching = parse(config.clone()).unwrap();
            assert!(matching.matcher("match").is_err(), "{config}");
        }
        assert!(parse::<Matching>(json!({"tenant": []})).is_err());
        assert!(parse::<Matching>(json!({"tenant": 7})).is_err());
    }
}
