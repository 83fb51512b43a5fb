//! Multipart bodies of `/ingest`: the profile in one part, in another one what its types are called.

use bytes::Bytes;
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::formats::Limit;
use crate::formats::multipart::{self, MultipartError};
use crate::pipeline::Refusal;

/// Parts of one body; clients send two.
const MAX_PARTS: usize = 16;
/// Bytes of the part that names types.
const MAX_CONFIG_BYTES: usize = 64 << 10;

/// What a body holds.
#[derive(Debug)]
pub(super) struct Parts {
    /// The profile.
    pub profile: Bytes,
    /// Pyroscope's name for it, where the types alone do not tell: mutex and block profiles look the same.
    pub name: Option<&'static str>,
    /// What the numbers of labels in a recording of the JVM stand for.
    pub labels: Bytes,
}

impl Parts {
    /// A body that is the profile.
    pub(super) fn bare(profile: Bytes) -> Self {
        Self {
            profile,
            name: None,
            labels: Bytes::new(),
        }
    }
}

/// Takes the parts out of a whole body.
pub(super) fn split(body: &Bytes, boundary: &str) -> Result<Parts, Refusal> {
    let (mut profile, mut name, mut labels) = (None, None, Bytes::new());
    for part in multipart::split(body, boundary, MAX_PARTS)? {
        match part.name.as_str() {
            "profile" | "jfr" => profile = Some(part.content),
            "labels" => labels = part.content,
            "sample_type_config" => name = type_name(&part.content),
            "prev_profile" => {
                return Err(invalid(
                    "prev_profile comes from clients that are no longer supported; update the client",
                ));
            }
            _ => {}
        }
    }
    match profile {
        Some(profile) => Ok(Parts { profile, name, labels }),
        None => Err(invalid("there is no part named profile or jfr")),
    }
}

fn invalid(why: &str) -> Refusal {
    Refusal::Invalid(format!("multipart: {why}"))
}

impl From<MultipartError> for Refusal {
    fn from(error: MultipartError) -> Self {
        match error {
            MultipartError::TooMany { .. } => Self::too_large(Limit::Parts, error.to_string()),
            _ => Self::Invalid(error.to_string()),
        }
    }
}

#[derive(Deserialize)]
struct TypeConfig {
    #[serde(default, rename = "display-name")]
    display_name: String,
}

fn type_name(config: &[u8]) -> Option<&'static str> {
    if config.len() > MAX_CONFIG_BYTES {
        return None;
    }
    let types: BTreeMap<String, TypeConfig> = serde_json::from_slice(config).ok()?;
    types.values().find_map(|config| match config.display_name.as_str() {
        name if name.starts_with("mutex_") => Some("mutex"),
        name if name.starts_with("block_") => Some("block"),
        _ => None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A body as SDKs write it: (name of the part, bytes).
    pub(in crate::receivers::pyroscope) fn body(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, bytes) in parts {
            let head = format!(
                "--BOUND\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"--BOUND--\r\n");
        out
    }

    fn refused(parts: &[(&str, &[u8])]) -> String {
        split(&body(parts).into(), "BOUND").unwrap_err().to_string()
    }

    #[test]
    fn parts_are_found_by_name() {
        let config = br#"{"contentions":{"units":"lock_samples","display-name":"mutex_count"},"delay":{}}"#;
        let all: [(&str, &[u8]); 3] = [
            ("other", b"x"),
            ("profile", b"\r\n--BOUN\0"),
            ("sample_type_config", config),
        ];
        let parts = split(&body(&all).into(), "BOUND").unwrap();
        assert_eq!((&parts.profile[..], parts.name), (&b"\r\n--BOUN\0"[..], Some("mutex")));
        assert_eq!(type_name(br#"{"samples":{"display-name":"cpu"}}"#), None);
        assert_eq!(type_name(b"nonsense"), None);
    }

    #[test]
    fn bodies_that_do_not_hold_are_refused() {
        assert!(refused(&[("labels", b"x")]).contains("no part named profile"));
        assert!(refused(&[("prev_profile", b"x"), ("profile", b"x")]).contains("update the client"));
        let whole = body(&[("profile", b"abc")]);
        for cut in [0, 5, 60, whole.len() - 20] {
            let why = split(&Bytes::copy_from_slice(&whole[..cut]), "BOUND")
                .unwrap_err()
                .to_string();
            assert!(why.starts_with("multipart: "), "{why}");
        }
        let many = vec![("x", &b"y"[..]); 10_000];
        assert!(refused(&many).contains("more than 16 parts"));
    }
}
