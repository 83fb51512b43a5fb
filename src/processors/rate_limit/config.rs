//! What the configuration of `rate_limit` says.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::bucket::{Limit, MEASURES};
use crate::pipeline::matcher::{MatchConfig, Matcher};
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::{ByteSize, Span};

const SHORTEST_BURST: Duration = Duration::from_millis(1);
const LONGEST_BURST: Duration = Duration::from_secs(24 * 60 * 60);
/// Most keys that may be known, each about 100 bytes.
const MOST_KEYS: usize = 1_000_000;
/// Parts of a key.
const MOST_PARTS: usize = 8;
/// Other limits than those for all.
const MOST_LIMITS: usize = 256;

/// Configuration of `rate_limit`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is limited apart from each other: `tenant`, `receiver`, `service`, `profile.type`, `resource.<key>`; none for all together.
    pub keys: Vec<String>,
    /// Requests in a second.
    pub requests_per_s: Option<f64>,
    /// Profiles in a second, as they were received.
    pub profiles_per_s: Option<f64>,
    /// Samples in a second.
    pub samples_per_s: Option<f64>,
    /// Bytes in a second.
    pub bytes_per_s: Option<ByteSize>,
    /// As much may come at once as would be earned in so long a time.
    pub burst: Span,
    /// What becomes of what is over.
    pub on_limit: OnLimit,
    /// Keys that are known at once.
    pub max_keys: usize,
    /// Other limits for some.
    pub limits: Vec<Other>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys: vec!["tenant".to_owned()],
            requests_per_s: None,
            profiles_per_s: None,
            samples_per_s: None,
            bytes_per_s: None,
            burst: Span::secs(10),
            on_limit: OnLimit::Refuse,
            max_keys: 10_000,
            limits: Vec::new(),
        }
    }
}

/// Other limits for the profiles that match; what is not set is as for all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Other {
    /// Which: keys are `resource.<key>`, `tenant`, `receiver`, `profile.type`; values a glob, `{eq: …}` or `{regex: …}`.
    pub r#match: MatchConfig,
    /// Requests in a second.
    pub requests_per_s: Option<f64>,
    /// Profiles in a second.
    pub profiles_per_s: Option<f64>,
    /// Samples in a second.
    pub samples_per_s: Option<f64>,
    /// Bytes in a second.
    pub bytes_per_s: Option<ByteSize>,
    /// As much may come at once as would be earned in so long a time.
    pub burst: Option<Span>,
}

/// What becomes of what is over the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLimit {
    /// The request is refused, and the sender told when to come again.
    #[default]
    Refuse,
    /// It is dropped, and the sender hears OK.
    Drop,
}

/// A part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyPart {
    Tenant,
    Receiver,
    Type,
    Resource(String),
}

impl Config {
    /// The limits, those for some first and that for all last.
    pub(super) fn check(&self) -> Result<Vec<(Option<Matcher>, Limit)>, BuildError> {
        if !(1..=MOST_KEYS).contains(&self.max_keys) {
            let why = format!("not a usable number; write 1 to {MOST_KEYS}");
            return Err(BuildError::at("max_keys", why));
        }
        if self.limits.len() > MOST_LIMITS {
            return Err(BuildError::at("limits", format!("more than {MOST_LIMITS}")));
        }
        let all = self.rates();
        let mut limits = Vec::with_capacity(self.limits.len() + 1);
        for (at, other) in self.limits.iter().enumerate() {
            let path = format!("limits[{at}]");
            let matcher = Matcher::new(&format!("{path}.match"), &other.r#match)?;
            if matcher.has_sample_conditions() {
                let why = "a profile is limited as a whole; conditions on samples mean nothing here";
                return Err(BuildError::at(format!("{path}.match"), why));
            }
            let own = other.rates();
            let rates = std::array::from_fn(|measure| rate(&own, measure).or(rate(&all, measure)));
            limits.push((Some(matcher), limit(&path, rates, other.burst.unwrap_or(self.burst))?));
        }
        limits.push((None, limit("", all, self.burst)?));
        match limits.iter().any(|(_, limit)| limit.is_any()) {
            true => Ok(limits),
            false => Err(BuildError::at(
                "",
                "no limit is set; write `requests_per_s`, `profiles_per_s`, `samples_per_s` or `bytes_per_s`",
            )),
        }
    }

    pub(super) fn parts(&self) -> Result<Vec<KeyPart>, BuildError> {
        if self.keys.len() > MOST_PARTS {
            return Err(BuildError::at("keys", format!("more than {MOST_PARTS}")));
        }
        let part = |(at, key): (usize, &String)| match key.as_str() {
            "tenant" => Ok(KeyPart::Tenant),
            "receiver" => Ok(KeyPart::Receiver),
            "profile.type" => Ok(KeyPart::Type),
            "service" => Ok(KeyPart::Resource("service.name".to_owned())),
            key => match key.strip_prefix("resource.").filter(|name| !name.is_empty()) {
                Some(name) => Ok(KeyPart::Resource(name.to_owned())),
                None => {
                    let allowed = "allowed are tenant, receiver, service, profile.type and resource.<key>";
                    Err(BuildError::at(format!("keys[{at}]"), allowed))
                }
            },
        };
        self.keys.iter().enumerate().map(part).collect()
    }

    fn rates(&self) -> Rates {
        rates(
            self.requests_per_s,
            self.profiles_per_s,
            self.samples_per_s,
            self.bytes_per_s,
        )
    }
}

impl Other {
    fn rates(&self) -> Rates {
        rates(
            self.requests_per_s,
            self.profiles_per_s,
            self.samples_per_s,
            self.bytes_per_s,
        )
    }
}

type Rates = [Option<f64>; MEASURES];

fn rates(requests: Option<f64>, profiles: Option<f64>, samples: Option<f64>, bytes: Option<ByteSize>) -> Rates {
    [requests, profiles, samples, bytes.map(|bytes| bytes.0 as f64)]
}

fn rate(rates: &Rates, measure: usize) -> Option<f64> {
    rates.get(measure).copied().flatten()
}

fn limit(path: &str, rates: Rates, burst: Span) -> Result<Limit, BuildError> {
    let at = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    let keys = ["requests_per_s", "profiles_per_s", "samples_per_s", "bytes_per_s"];
    for (key, rate) in keys.iter().zip(rates) {
        if rate.is_some_and(|rate| !(1e-6..=1e15).contains(&rate)) {
            let why = "not a usable rate; write more than 0, and leave it out where there is no limit";
            return Err(BuildError::at(at(key), why));
        }
    }
    if !(SHORTEST_BURST..=LONGEST_BURST).contains(&burst.0) {
        return Err(BuildError::at(
            at("burst"),
            "write a duration from 1ms to 24h, such as 10s",
        ));
    }
    Ok(Limit::new(rates, burst.0))
}
