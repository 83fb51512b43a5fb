//! Headers that an exporter sends with every request: secrets until proven otherwise.

use std::collections::BTreeMap;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ClientConfigError;
use crate::pipeline::units::Secret;

/// Names that belong to the request itself.
const OWN: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "grpc-encoding",
    "host",
    "te",
    "transfer-encoding",
];

/// Request headers by name. Their values are never shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, Secret>);

impl Headers {
    /// Adds a header, or replaces it.
    pub fn insert(&mut self, name: &str, value: Secret) {
        self.0.insert(name.to_owned(), value);
    }

    /// Whether a header of this name is configured.
    pub fn contains(&self, name: &str) -> bool {
        self.0.keys().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, and `others`, which win over those of the same name.
    pub fn with(&self, others: &Self) -> Self {
        let mut all = self.clone();
        all.0.retain(|name, _| !others.contains(name));
        all.0.extend(others.0.clone());
        all
    }

    /// The headers as they are sent.
    pub(super) fn resolve(&self) -> Result<HeaderMap, ClientConfigError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.0 {
            let path = format!("headers.{name}");
            let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
                return Err(ClientConfigError::at(path, "not a header name"));
            };
            if OWN.contains(&header.as_str()) {
                return Err(ClientConfigError::at(path, "this header is set by the exporter itself"));
            }
            let Ok(mut value) = HeaderValue::from_str(value.expose()) else {
                return Err(ClientConfigError::at(
                    path,
                    "the value holds a line break or another character that no header may hold",
                ));
            };
            value.set_sensitive(true);
            if headers.insert(header, value).is_some() {
                return Err(ClientConfigError::at(path, "named twice"));
            }
        }
        Ok(headers)
    }
}
