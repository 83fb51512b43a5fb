//! `profiles`: what targets are asked for, by preset or in one's own words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use form_urlencoded::Serializer as Query;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::pipeline::spec::BuildError;
use crate::pipeline::units::{Secret, Span};
use crate::receivers::pull::Capture;

/// The parameter by which Go, and most others, are told how long to measure.
const SECONDS: &str = "seconds";

/// The name of a preset, or a map.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ProfileConfig {
    /// A preset as it is.
    Preset(Preset),
    /// A preset with changes, or something else.
    Custom(Box<CustomConfig>),
}

/// A profile that is known by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Preset {
    GoCpu,
    GoHeap,
    GoAllocs,
    GoMutex,
    GoBlock,
    GoGoroutine,
    V8Cpu,
    V8Heap,
    Jfr,
}

/// A profile in one's own words.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CustomConfig {
    /// What the rest is a change of.
    pub preset: Option<Preset>,
    /// What logs and pages call it; the preset or the path unless set.
    pub name: Option<String>,
    /// Path of the profile.
    pub path: Option<String>,
    /// Parameters of the query, texts by name; never printed, as there may be a token among them.
    pub params: BTreeMap<String, Secret>,
    /// How long the target measures before it answers; 0 for what it knows already.
    pub duration: Option<Span>,
    /// The parameter in which the target is told the duration, in whole seconds; `seconds` unless set, none if empty.
    pub duration_param: Option<String>,
    /// Whether counters become what was added to them since the scrape before.
    pub delta: Option<bool>,
}

/// By hand: an untagged enum would only say that nothing fits, and not which word is wrong.
impl<'de> Deserialize<'de> for ProfileConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = ProfileConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a preset, or a map with `path`")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<ProfileConfig, E> {
                let name = de::value::StrDeserializer::new(name);
                Preset::deserialize(name).map(ProfileConfig::Preset)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ProfileConfig, A::Error> {
                let custom = CustomConfig::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ProfileConfig::Custom(Box::new(custom)))
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// What a preset stands for.
struct Usual {
    name: &'static str,
    path: Option<&'static str>,
    duration: Duration,
    delta: bool,
    pyroscope_name: Option<&'static str>,
}

impl Preset {
    const fn usual(self) -> Usual {
        match self {
            Self::GoCpu => measured("go_cpu", Some("/debug/pprof/profile"), 10),
            Self::GoHeap => counters("go_heap", "/debug/pprof/heap", None),
            Self::GoAllocs => counters("go_allocs", "/debug/pprof/allocs", None),
            Self::GoMutex => counters("go_mutex", "/debug/pprof/mutex", Some("mutex")),
            Self::GoBlock => counters("go_block", "/debug/pprof/block", Some("block")),
            Self::GoGoroutine => measured("go_goroutine", Some("/debug/pprof/goroutine"), 0),
            Self::V8Cpu => measured("v8_cpu", None, 30),
            Self::V8Heap => measured("v8_heap", None, 30),
            Self::Jfr => measured("jfr", None, 0),
        }
    }
}

/// All profiles, checked. `margin` is what a target may take beyond measuring.
pub(super) fn captures(
    configs: &[ProfileConfig],
    interval: Duration,
    margin: Duration,
) -> Result<Vec<Capture>, BuildError> {
    if configs.is_empty() {
        return Err(BuildError::at(
            "profiles",
            "nothing to fetch; name a preset such as go_cpu, or leave the key out",
        ));
    }
    let mut captures = Vec::with_capacity(configs.len());
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for (position, config) in configs.iter().enumerate() {
        let at = format!("profiles[{position}]");
        let capture = capture(&at, config, margin)?;
        if !names.insert(capture.name.clone()) {
            return Err(BuildError::at(
                at,
                "another profile has this name; give each its own `name`",
            ));
        }
        if !addresses.insert(capture.path.clone()) {
            return Err(BuildError::at(at, "another profile has this path and these parameters"));
        }
        captures.push(capture);
    }
    if ["go_heap", "go_allocs"].iter().all(|name| names.contains(*name)) {
        let message = "go_heap and go_allocs hold the same numbers, which would count twice; drop one";
        return Err(BuildError::at("profiles", message));
    }
    if captures.iter().map(|capture| capture.takes).sum::<Duration>() > interval {
        let message = "one target is measured for longer than `collection_interval`, because its profiles are fetched one after \
                       the other; shorten `duration` or raise that";
        return Err(BuildError::at("profiles", message));
    }
    Ok(captures)
}

fn capture(at: &str, config: &ProfileConfig, margin: Duration) -> Result<Capture, BuildError> {
    let preset_alone;
    let config = match config {
        ProfileConfig::Custom(custom) => custom,
        ProfileConfig::Preset(preset) => {
            preset_alone = CustomConfig {
                preset: Some(*preset),
                ..CustomConfig::default()
            };
            &preset_alone
        }
    };
    let usual = config.preset.map(Preset::usual);
    let Some(path) = config.path.as_deref().or(usual.as_ref().and_then(|usual| usual.path)) else {
        let message = "where targets serve it is not known; write `path`";
        return Err(BuildError::at(format!("{at}.path"), message));
    };
    let is_path =
        path.starts_with('/') && !path.contains(['?', '#']) && path.parse::<http::uri::PathAndQuery>().is_ok();
    if !is_path {
        let message = "not a path; begin it with / and put the query into `params`";
        return Err(BuildError::at(format!("{at}.path"), message));
    }
    let takes = config.duration.map(|span| span.0);
    let takes = takes.or(usual.as_ref().map(|usual| usual.duration)).unwrap_or_default();
    if takes.subsec_nanos() != 0 {
        return Err(BuildError::at(
            format!("{at}.duration"),
            "write whole seconds, such as 30s",
        ));
    }
    // what counts for a time of its own is a difference already
    let counts = usual.as_ref().is_some_and(|usual| usual.delta) && takes.is_zero();
    if config.delta == Some(true) && !takes.is_zero() {
        let message = "with `duration` the target itself tells what was added in that time; drop one of the two";
        return Err(BuildError::at(format!("{at}.delta"), message));
    }
    let name = config
        .name
        .as_deref()
        .or(usual.as_ref().map(|usual| usual.name))
        .unwrap_or(path);
    Ok(Capture {
        name: name.into(),
        path: with_query(path, config, takes),
        takes,
        timeout: takes + margin,
        delta: config.delta.unwrap_or(counts),
        pyroscope_name: usual.and_then(|usual| usual.pyroscope_name),
    })
}

fn with_query(path: &str, config: &CustomConfig, takes: Duration) -> String {
    let mut query = Query::new(String::new());
    for (name, value) in &config.params {
        query.append_pair(name, value.expose());
    }
    let duration_param = config.duration_param.as_deref().unwrap_or(SECONDS);
    if !takes.is_zero() && !duration_param.is_empty() && !config.params.contains_key(duration_param) {
        query.append_pair(duration_param, &takes.as_secs().to_string());
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

const fn measured(name: &'static str, path: Option<&'static str>, seconds: u64) -> Usual {
    Usual {
        name,
        path,
        duration: Duration::from_secs(seconds),
        delta: false,
        pyroscope_name: None,
    }
}

const fn counters(name: &'static str, path: &'static str, pyroscope_name: Option<&'static str>) -> Usual {
    Usual {
        name,
        path: Some(path),
        duration: Duration::ZERO,
        delta: true,
        pyroscope_name,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn read(profiles: serde_json::Value) -> Result<Vec<Capture>, BuildError> {
        let profiles: Vec<ProfileConfig> = serde_json::from_value(profiles).unwrap();
        captures(&profiles, MINUTE, Duration::from_secs(10))
    }

    #[test]
    fn presets_know_paths_times_and_counters() {
        let all = read(json!(["go_cpu", "go_heap", "go_mutex", "go_block", "go_goroutine"])).unwrap();
        let told = all
            .iter()
            .map(|one| (one.path.as_str(), one.timeout.as_secs(), one.delta));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("/debug/pprof/profile?seconds=10", 20, false),
                ("/debug/pprof/heap", 10, true),
                ("/debug/pprof/mutex", 10, true),
                ("/debug/pprof/block", 10, true),
                ("/debug/pprof/goroutine", 10, false),
            ]
        );
        assert_eq!(all[2].pyroscope_name, Some("mutex"));
    }

    #[test]
    fn what_is_written_beside_a_preset_changes_it() {
        let all = read(json!([
            { "preset": "v8_cpu", "path": "/profile", "params": { "format": "cpu profile", "seconds": "7" } },
            { "preset": "go_heap", "duration": "5s" },
            { "preset": "go_mutex", "delta": false },
            { "path": "/dump", "duration": "3s", "duration_param": "" },
            { "name": "mine", "path": "/dump", "duration": "3s", "duration_param": "for", "params": { "a": "b&c" } },
        ]))
        .unwrap();
        let told = all
            .iter()
            .map(|one| (&*one.name, one.path.as_str(), one.takes.as_secs(), one.delta));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("v8_cpu", "/profile?format=cpu+profile&seconds=7", 30, false),
                ("go_heap", "/debug/pprof/heap?seconds=5", 5, false),
                ("go_mutex", "/debug/pprof/mutex", 0, false),
                ("/dump", "/dump", 3, false),
                ("mine", "/dump?a=b%26c&for=3", 3, false),
            ]
        );
    }

    #[test]
    fn what_makes_no_sense_is_told_by_its_key() {
        for (profiles, path, word) in [
            (json!([]), "profiles", "nothing to fetch"),
            (json!(["jfr"]), "profiles[0].path", "write `path`"),
            (json!([{}]), "profiles[0].path", "write `path`"),
            (json!([{ "path": "dump" }]), "profiles[0].path", "begin it with /"),
            (
                json!([{ "path": "/dump?token=planted-token" }]),
                "profiles[0].path",
                "`params`",
            ),
            (json!(["go_cpu", "go_cpu"]), "profiles[1]", "this name"),
            (
                json!(["go_cpu", { "preset": "go_cpu", "name": "x" }]),
                "profiles[1]",
                "this path",
            ),
            (json!(["go_heap", "go_allocs"]), "profiles", "the same numbers"),
            (
                json!([{ "preset": "go_cpu", "duration": "61s" }]),
                "profiles",
                "longer than",
            ),
            (
                json!([{ "preset": "go_cpu", "duration": "1500ms" }]),
                "profiles[0].duration",
                "whole seconds",
            ),
            (
                json!([{ "preset": "go_heap", "duration": "5s", "delta": true }]),
                "profiles[0].delta",
                "drop one",
            ),
        ] {
            let error = read(profiles).unwrap_err();
            assert_eq!(error.path, path, "{error}");
            assert!(
                error.message.contains(word) && !error.message.contains("planted-token"),
                "{error}"
            );
        }
        let unknown = serde_json::from_value::<ProfileConfig>(json!("go_cup"))
            .unwrap_err()
            .to_string();
        assert!(unknown.contains("go_cpu") && unknown.contains("v8_heap"), "{unknown}");
    }
}
