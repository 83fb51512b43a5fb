//! `bearertokenauth`: a token that whoever holds it may send with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq};

use super::file::{Watched, watched};
use super::{Credentials, Identity, Sent, refused, secret_value, tenant};
use crate::pipeline::Refusal;
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::Secret;

/// The extension `bearertokenauth`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BearerConfig {
    /// Word before the token; empty for none.
    pub scheme: String,
    /// Header that holds it.
    pub header: String,
    /// The token. One of `token`, `tokens` and `filename`.
    pub token: Option<Secret>,
    /// Several tokens, each perhaps with a tenant; clients send the first.
    pub tokens: Vec<Token>,
    /// A file with one token a line, read again when it changes; clients send the first.
    pub filename: Option<PathBuf>,
    /// Whose data a token brings that names no tenant of its own; unset, `X-Scope-OrgID` of trusted peers says it.
    pub tenant: Option<String>,
}

impl Default for BearerConfig {
    fn default() -> Self {
        Self {
            scheme: "Bearer".to_owned(),
            header: AUTHORIZATION.as_str().to_owned(),
            token: None,
            tokens: Vec::new(),
            filename: None,
            tenant: None,
        }
    }
}

/// One of several tokens; also just its text.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The token.
    pub token: Secret,
    /// Whose data it brings.
    pub tenant: Option<String>,
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            token: Secret,
            tenant: Option<String>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Token;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a token, or a map of token and tenant")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Token, E> {
                let (token, tenant) = (Secret::new(text), None);
                Ok(Token { token, tenant })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Token, A::Error> {
                let Whole { token, tenant } = Whole::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Token { token, tenant })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl BearerConfig {
    /// Checks everything, as the extension it is.
    pub fn check(&self) -> Result<(), BuildError> {
        self.server().map(drop)?;
        self.client().map(drop)
    }

    /// The tokens that stand in the configuration; none if they stand in a file.
    fn written(&self) -> Result<Vec<Token>, BuildError> {
        let ways = [self.token.is_some(), !self.tokens.is_empty(), self.filename.is_some()];
        if ways.iter().filter(|way| **way).count() != 1 {
            return Err(BuildError::at("", "write one of `token`, `tokens` and `filename`"));
        }
        let mut tokens = self.tokens.clone();
        if let Some(token) = self.token.clone() {
            let tenant = None;
            tokens.push(Token { token, tenant });
        }
        for (index, one) in tokens.iter().enumerate() {
            let path = if self.token.is_some() {
                "token".to_owned()
            } else {
                format!("tokens[{index}]")
            };
            self.value(one.token.expose())
                .map_err(|why| BuildError::at(path.as_str(), why))?;
            check_tenant(&format!("{path}.tenant"), one.tenant.as_deref())?;
        }
        check_tenant("tenant", self.tenant.as_deref())?;
        Ok(tokens)
    }

    fn name(&self) -> Result<HeaderName, BuildError> {
        HeaderName::from_bytes(self.header.as_bytes()).map_err(|_| BuildError::at("header", "not a header name"))
    }

    /// The header's value with a token.
    fn value(&self, token: &str) -> Result<HeaderValue, String> {
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err("is empty or holds a blank".to_owned());
        }
        match self.scheme.as_str() {
            "" => secret_value(token),
            scheme => secret_value(&format!("{scheme} {token}")),
        }
    }

    pub(super) fn server(&self) -> Result<Tokens, BuildError> {
        let tokens = self.written()?;
        let usual: Option<Arc<str>> = self.tenant.as_deref().map(Into::into);
        let known = |one: Token| Known {
            tenant: one.tenant.as_deref().map(Into::into).or_else(|| usual.clone()),
            token: one.token,
        };
        let known = tokens.into_iter().map(known).collect();
        let tenant = usual.clone();
        let make = Box::new(move |text: &str| {
            let known = |line: &str| Known {
                token: Secret::new(line),
                tenant: tenant.clone(),
            };
            lines(text).map(|lines| lines.into_iter().map(known).collect())
        });
        let file = self.filename.clone().map(|file| watched(file, make));
        Ok(Tokens {
            header: self.name()?,
            scheme: self.scheme.clone(),
            known: Arc::new(known),
            file: file.transpose().map_err(|why| BuildError::at("filename", why))?,
        })
    }

    pub(super) fn client(&self) -> Result<Credentials, BuildError> {
        let (name, tokens) = (self.name()?, self.written()?);
        let value = match (tokens.first(), self.filename.clone()) {
            (Some(first), _) => {
                let value = self.value(first.token.expose());
                Sent::Fixed(value.map_err(|why| BuildError::at("token", why))?)
            }
            (None, file) => {
                let config = self.clone();
                let make = Box::new(move |text: &str| config.value(lines(text)?.first().copied().unwrap_or_default()));
                let watched = watched(file.unwrap_or_default(), make);
                Sent::Watched(watched.map_err(|why| BuildError::at("filename", why))?)
            }
        };
        Ok(Credentials { name, value })
    }
}

fn check_tenant(path: &str, name: Option<&str>) -> Result<(), BuildError> {
    match name {
        Some(name) if !tenant::is_tenant(name) => Err(BuildError::at(path, format!("not a tenant; {}", tenant::RULE))),
        _ => Ok(()),
    }
}

/// The tokens of a file.
fn lines(text: &str) -> Result<Vec<&str>, String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.is_empty() {
        true => Err("holds no token".to_owned()),
        false => Ok(lines),
    }
}

/// A token that a server knows.
struct Known {
    token: Secret,
    tenant: Option<Arc<str>>,
}

/// The tokens that a server takes.
pub(super) struct Tokens {
    header: HeaderName,
    scheme: String,
    known: Arc<Vec<Known>>,
    file: Option<Watched<Vec<Known>>>,
}

impl Tokens {
    pub(super) async fn identify(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        let said = self.said(headers).ok_or_else(refused)?;
        let known = match &self.file {
            Some(file) => file.current().await,
            None => self.known.clone(),
        };
        // every one is compared, so that the time says nothing of which one is near
        let mut fits = None;
        for one in known.iter() {
            let same: Choice = one.token.expose().as_bytes().ct_eq(said.as_bytes());
            if bool::from(same) {
                fits = Some(one);
            }
        }
        let tenant = fits.ok_or_else(refused)?.tenant.clone();
        Ok(Identity { tenant })
    }

    fn said<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let value = headers.get(&self.header)?.to_str().ok()?;
        if self.scheme.is_empty() {
            return Some(value);
        }
        let (scheme, token) = value.split_at_checked(self.scheme.len())?;
        let token = token.strip_prefix(' ')?;
        scheme.eq_ignore_ascii_case(&self.scheme).then(|| token.trim())
    }

    pub(super) fn challenge(&self) -> Option<HeaderValue> {
        let is_usual = self.header == AUTHORIZATION && self.scheme.eq_ignore_ascii_case("bearer");
        is_usual.then(|| HeaderValue::from_static("Bearer realm=\"flamegate\""))
    }
}
