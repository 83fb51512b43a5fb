//! TLS of servers and of clients: what is spoken, whose certificates count, and files that are read again when they change.
//!
//! Keys are the Collector's. Errors name the key and the file, and never show what a file holds.

mod client;
mod fault;
mod pem;
mod server;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Serialize, Serializer};

pub use client::{ClientTls, ClientTlsConfig};
pub use fault::{SET_CERTIFICATE, explain, explain_client, fault, recognise};
pub use server::{ServerTls, ServerTlsConfig};

use pem::Source;

use crate::pipeline::units::Span;

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TlsError {
    /// The key below `tls`; empty for the whole.
    pub key: &'static str,
    /// What is wrong, with the file if there is one; never what it holds.
    pub message: String,
}

impl TlsError {
    fn at(key: &'static str, message: impl Into<String>) -> Self {
        Self {
            key,
            message: message.into(),
        }
    }

    /// The key as it stands in the configuration, where `tls` is `path`.
    pub fn path(&self, path: &str) -> String {
        match self.key {
            "" => path.to_owned(),
            key => format!("{path}.{key}"),
        }
    }
}

/// What the files among these hold now.
fn contents<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Vec<Result<Vec<u8>, String>> {
    let files = sources.into_iter().filter(|source| source.is_file());
    files.map(|file| file.read().map_err(|error| error.message)).collect()
}

fn tell(changed: Result<(), TlsError>) {
    match changed {
        Ok(()) => tracing::info!("certificates have changed; new connections use the new ones"),
        Err(error) => tracing::warn!(
            key = error.key,
            "changed certificates are not used, the old ones stay: {error}"
        ),
    }
}

/// A version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl Version {
    const fn name(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }

    const fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::V1_2 => &rustls::version::TLS12,
            Self::V1_3 => &rustls::version::TLS13,
        }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl JsonSchema for Version {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TlsVersion".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["", "1.2", "1.3"] })
    }
}

/// Reads a version; nothing and empty text mean that there is no such bound. YAML makes a number of a bare 1.2.
fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Version>, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = Option<Version>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a version of TLS: \"1.2\" or \"1.3\"; older ones are not spoken")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            match text {
                "" => Ok(None),
                "1.2" => Ok(Some(Version::V1_2)),
                "1.3" => Ok(Some(Version::V1_3)),
                _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
            }
        }
        fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
            self.visit_str(&format!("{number:.1}"))
        }
        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Text)
}

fn versions(min: Option<Version>, max: Option<Version>) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let (min, max) = (min.unwrap_or(Version::V1_2), max.unwrap_or(Version::V1_3));
    if min > max {
        return Err(TlsError::at("max_version", "older than min_version"));
    }
    let within = [Version::V1_2, Version::V1_3].into_iter();
    Ok(within
        .filter(|version| (min..=max).contains(version))
        .map(Version::supported)
        .collect())
}

/// The cryptography, with the suites of TLS 1.2 that are named; those of 1.3 are not to be chosen, as in the Collector.
fn provider(suites: &[String]) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = rustls::crypto::ring::default_provider();
    if suites.is_empty() {
        return Ok(Arc::new(provider));
    }
    let all = std::mem::take(&mut provider.cipher_suites);
    let known: Vec<&str> = all.iter().filter_map(tls12_name).collect();
    for suite in suites {
        if !known.contains(&suite.as_str()) {
            let message = format!("a suite that is not spoken; there are {}", known.join(", "));
            return Err(TlsError::at("cipher_suites", message));
        }
    }
    let named = |suite: &SupportedCipherSuite| match tls12_name(suite) {
        Some(name) => suites.iter().any(|wanted| wanted == name),
        None => true,
    };
    provider.cipher_suites = all.iter().copied().filter(named).collect();
    Ok(Arc::new(provider))
}

fn tls12_name(suite: &SupportedCipherSuite) -> Option<&'static str> {
    match suite.suite() {
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => Some("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            Some("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Some("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Some("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
        _ => None,
    }
}

/// Least time between two looks at the files; none for never.
fn interval(configured: Option<Span>) -> Option<Duration> {
    match configured {
        // two small files cost little beside a handshake
        None => Some(Duration::ZERO),
        Some(Span(Duration::ZERO)) => None,
        Some(Span(interval)) => Some(interval),
    }
}
