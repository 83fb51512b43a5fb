//! One kill: as it is written, and as it is in force.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Components, LONGEST, Now};
use crate::pipeline::kill::Order;
use crate::pipeline::matcher::{Exact, MatchConfig, Pattern};
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::Span;

/// Longest reason, and longest name of an actor, in letters.
const LONGEST_TEXT: usize = 300;
/// What stands for everything.
const ALL: &str = "all";

/// A kill that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct Wrong {
    /// Key below the kill.
    pub path: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Wrong {
    fn at(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

impl From<BuildError> for Wrong {
    fn from(error: BuildError) -> Self {
        Self::at(&error.path, error.message)
    }
}

/// What is killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Everything.
    All,
    /// What matches every condition.
    Match(MatchConfig),
}

impl What {
    /// Makes it ready.
    pub fn order(&self) -> Result<Order, Wrong> {
        match self {
            Self::All => Ok(Order::everything()),
            Self::Match(conditions) => Ok(Order::new("match", conditions)?),
        }
    }

    /// What kind of thing it is about, for the metrics.
    pub fn scope(&self) -> &'static str {
        let Self::Match(conditions) = self else { return ALL };
        let mut keys = conditions.keys();
        match (keys.next().map(String::as_str), keys.next()) {
            (_, Some(_)) => "several",
            (Some("tenant"), _) => "tenant",
            (Some("service" | "resource.service.name"), _) => "service",
            (Some("receiver"), _) => "receiver",
            (Some("exporter"), _) => "exporter",
            (Some("profile.type"), _) => "profile_type",
            _ => "label",
        }
    }

    /// The key whose value no configured component goes by, so that it kills nothing.
    pub fn stranger(&self, components: &Components) -> Option<&'static str> {
        let Self::Match(conditions) = self else { return None };
        let kinds = [("receiver", &components.receivers), ("exporter", &components.exporters)];
        let is_strange = |(key, ids): &(&str, &Vec<String>)| {
            let pattern = conditions.get(*key);
            pattern.is_some_and(|pattern| !ids.iter().any(|id| pattern.matches(id)))
        };
        kinds.into_iter().find(is_strange).map(|(key, _)| key)
    }

    /// Whether it is about this tenant alone.
    pub fn is_of_tenant(&self, tenant: &str) -> bool {
        let Self::Match(conditions) = self else { return false };
        match conditions.get("tenant") {
            Some(Pattern::Exact(Exact::Eq(name))) => name == tenant,
            Some(Pattern::Glob(name)) => name == tenant && !name.contains(['*', '?']),
            _ => false,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Match(conditions) = self else {
            return f.write_str("everything");
        };
        for (at, (key, pattern)) in conditions.iter().enumerate() {
            let and = if at == 0 { "" } else { " and " };
            match pattern {
                Pattern::Glob(text) => write!(f, "{and}{key} {text}")?,
                Pattern::Exact(Exact::Eq(text)) => write!(f, "{and}{key} exactly {text}")?,
                Pattern::Exact(Exact::Regex(text)) => write!(f, "{and}{key} like {text}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for What {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str(ALL),
            Self::Match(conditions) => conditions.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for What {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = What;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all`, or a map such as {service: checkout}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<What, E> {
                match text {
                    ALL => Ok(What::All),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<What, A::Error> {
                MatchConfig::deserialize(MapAccessDeserializer::new(map)).map(What::Match)
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// A kill that somebody asks for, by the file or otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// What.
    #[serde(rename = "match")]
    pub what: What,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Who.
    #[serde(default)]
    pub actor: String,
    /// How long from when the gate first hears of it.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
    /// Until when, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Date>,
}

/// A moment as people write it: `2026-11-21T23:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date(pub SystemTime);

impl Date {
    /// The second that a moment is in.
    pub(super) fn of(moment: SystemTime) -> Self {
        let seconds = moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self(UNIX_EPOCH + Duration::from_secs(seconds))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_rfc3339_seconds(self.0))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |_| de::Error::custom("not a date in UTC; write it as 2026-11-21T23:00:00Z");
        humantime::parse_rfc3339(&text).map(Date).map_err(wrong)
    }
}

impl Asked {
    /// What it comes to, or why it cannot be meant.
    pub fn check(&self) -> Result<Order, Wrong> {
        for (key, text) in [("reason", &self.reason), ("actor", &self.actor)] {
            if text.chars().count() > LONGEST_TEXT || text.chars().any(char::is_control) {
                let why = format!("write one line of at most {LONGEST_TEXT} letters");
                return Err(Wrong::at(key, why));
            }
        }
        match (self.lasts, self.expires) {
            (Some(_), Some(_)) => Err(Wrong::at("for", "`expires` says until when already; write one of them")),
            (Some(lasts), None) if lasts.0.is_zero() || lasts.0 > LONGEST => {
                let why = "write a duration of at most 30 days, such as 4h";
                Err(Wrong::at("for", why))
            }
            _ => self.what.order(),
        }
    }
}

/// Where a kill came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The watched file.
    File,
    /// The admin route.
    Route,
    /// A signal.
    Signal,
    /// The gate itself, which cannot read what it should heed.
    Gate,
}

impl Source {
    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Route => "route",
            Self::Signal => "signal",
            Self::Gate => "gate",
        }
    }
}

/// A kill in force.
#[derive(Clone, Debug, Serialize)]
pub struct Kill {
    /// What it is lifted by.
    pub id: String,
    /// Where it came from.
    pub source: Source,
    /// What.
    #[serde(rename = "match")]
    pub what: What,
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// Since when.
    pub since: Date,
    /// Until when; none until what is wrong is mended.
    pub expires: Option<Date>,
    #[serde(skip)]
    pub(super) ends: Ends,
    #[serde(skip)]
    pub(super) order: Arc<Order>,
}

/// When a kill expires.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ends {
    Never,
    /// By the date: what people write down as one means that.
    At(SystemTime),
    /// By the steady clock: a length of time is no longer and no shorter for a date that is set.
    After(Instant),
}

impl Ends {
    /// After a length of time that began at a date. A date that lies ahead is of a clock that was set since.
    pub(super) fn after(lasts: Duration, since: SystemTime, now: Now) -> Self {
        let passed = now.wall.duration_since(since).unwrap_or_default();
        Self::After(now.steady + lasts.saturating_sub(passed))
    }

    pub(super) fn is_over(self, now: Now) -> bool {
        match self {
            Self::Never => false,
            Self::At(date) => now.wall >= date,
            Self::After(moment) => now.steady >= moment,
        }
    }
}
