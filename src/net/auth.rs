//! Who sends, and what a backend is told: the authenticators that servers ask and the credentials that clients send.
//!
//! A server that names an authenticator asks it before anything else of a request is looked at: [`guard`] stands around all of its
//! routes, and around the answer that there is no such route.

mod basic;
mod bearer;
mod file;
mod guard;
pub mod tenant;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

pub use basic::BasicConfig;
pub use bearer::BearerConfig;
pub use guard::guard;

use crate::pipeline::Refusal;
use crate::pipeline::spec::{BuildError, RawConfig, parse};

/// `auth` of a server or of a client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// Id of an extension `basicauth` or `bearertokenauth`.
    pub authenticator: Named,
}

/// The authenticator that a component names.
///
/// Before a component is built, the id is replaced with what is configured under it: the component is then built of all that it
/// depends on, and a reload sees that a credential has changed.
#[derive(Clone)]
pub struct Named {
    id: String,
    raw: RawConfig,
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.id)
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Id;
        impl<'de> Visitor<'de> for Id {
            type Value = Named;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of an extension")
            }
            fn visit_str<E: de::Error>(self, id: &str) -> Result<Named, E> {
                let (id, raw) = (id.to_owned(), RawConfig::Null);
                Ok(Named { id, raw })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
                let entry = map.next_entry()?;
                let (id, raw) = entry.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                Ok(Named { id, raw })
            }
        }
        deserializer.deserialize_any(Id)
    }
}

impl JsonSchema for Named {
    fn schema_name() -> Cow<'static, str> {
        "Authenticator".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "id of an extension basicauth or bearertokenauth" })
    }
}

/// One of the two.
enum Kind {
    Basic(BasicConfig),
    Bearer(BearerConfig),
}

impl AuthConfig {
    /// What a server asks; `path` is that of `auth`.
    pub fn server(&self, path: &str) -> Result<ServerAuth, BuildError> {
        let asked = match self.kind(path)? {
            Kind::Basic(config) => config.server().map(Asked::Basic),
            Kind::Bearer(config) => config.server().map(Asked::Bearer),
        };
        Ok(ServerAuth(Arc::new(asked.map_err(|error| at(path, error))?)))
    }

    /// What a client sends; `path` is that of `auth`.
    pub fn client(&self, path: &str) -> Result<Credentials, BuildError> {
        let sent = match self.kind(path)? {
            Kind::Basic(config) => config.client(),
            Kind::Bearer(config) => config.client(),
        };
        sent.map_err(|error| at(path, error))
    }

    fn kind(&self, path: &str) -> Result<Kind, BuildError> {
        let Named { id, raw } = &self.authenticator;
        let wrong = |error: BuildError| at(path, error);
        match id.split('/').next() {
            Some("basicauth") => parse(raw.clone()).map(Kind::Basic).map_err(wrong),
            Some("bearertokenauth") => parse(raw.clone()).map(Kind::Bearer).map_err(wrong),
            _ => {
                let why = "not an authenticator; name an extension basicauth or bearertokenauth";
                Err(at(path, BuildError::at("", why)))
            }
        }
    }
}

/// The error of an extension, where a component names it.
fn at(path: &str, error: BuildError) -> BuildError {
    BuildError::at(format!("{path}.authenticator"), error.message)
}

/// Who may send to a server.
#[derive(Clone)]
pub struct ServerAuth(Arc<Asked>);

enum Asked {
    Basic(basic::Users),
    Bearer(bearer::Tokens),
}

impl fmt::Debug for ServerAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerAuth")
    }
}

/// Who sent a request, as an extension of every request that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose data the credential brings; none if it does not say.
    pub tenant: Option<Arc<str>>,
}

impl ServerAuth {
    /// Who sends, by the headers of the request.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        match &*self.0 {
            Asked::Basic(users) => users.identify(headers).await,
            Asked::Bearer(tokens) => tokens.identify(headers).await,
        }
    }

    /// What `WWW-Authenticate` says to whoever did not.
    pub fn challenge(&self) -> Option<HeaderValue> {
        match &*self.0 {
            Asked::Basic(_) => Some(HeaderValue::from_static("Basic realm=\"flamegate\", charset=\"UTF-8\"")),
            Asked::Bearer(tokens) => tokens.challenge(),
        }
    }
}

/// The refusal of whoever may not send: it never says which part was wrong.
fn refused() -> Refusal {
    Refusal::Unauthenticated("no or wrong credentials; send those that this server is configured with".to_owned())
}

/// What a client sends to say who it is.
#[derive(Clone)]
pub struct Credentials {
    name: HeaderName,
    value: Sent,
}

#[derive(Clone)]
enum Sent {
    Fixed(HeaderValue),
    Watched(file::Watched<HeaderValue>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// The header that they stand in.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The header of the next request.
    pub async fn header(&self) -> (HeaderName, HeaderValue) {
        let value = match &self.value {
            Sent::Fixed(value) => value.clone(),
            Sent::Watched(file) => HeaderValue::clone(&*file.current().await),
        };
        (self.name.clone(), value)
    }
}

/// A header's value that no log shows.
fn secret_value(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| "holds a line break or another character that no header may hold".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}
