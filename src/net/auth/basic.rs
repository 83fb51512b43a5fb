//! `basicauth`: a user name and a password.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::file::{Watched, watched};
use super::{Credentials, Identity, Sent, refused, secret_value, tenant};
use crate::pipeline::Refusal;
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::Secret;

/// Hashes that are worked on at once: each takes a core for a tenth of a second or so.
const AT_ONCE: usize = 2;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// The extension `basicauth`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BasicConfig {
    /// Whom servers let in.
    pub htpasswd: Option<Htpasswd>,
    /// What clients send.
    pub client_auth: Option<ClientAuth>,
    /// Tenants of users; the tenant of a user who is not named here is the user's name.
    pub tenants: BTreeMap<String, String>,
}

/// `htpasswd`: a line `user:password` for each user; the password as bcrypt (`htpasswd -B`) or in plain text.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Htpasswd {
    /// A file with such lines, read again when it changes.
    pub file: Option<PathBuf>,
    /// The lines themselves; they win over those of the file.
    pub inline: Option<Secret>,
}

/// `client_auth`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

impl BasicConfig {
    /// Checks everything, as the extension it is.
    pub fn check(&self) -> Result<(), BuildError> {
        match (&self.htpasswd, &self.client_auth) {
            (Some(_), Some(_)) => Err(BuildError::at(
                "",
                "`htpasswd` is for servers and `client_auth` for exporters; write two extensions",
            )),
            (None, None) => Err(BuildError::at("", "nobody is named; write `htpasswd` or `client_auth`")),
            (Some(_), None) => self.server().map(drop),
            (None, Some(_)) => self.client().map(drop),
        }
    }

    pub(super) fn server(&self) -> Result<Users, BuildError> {
        let Some(htpasswd) = &self.htpasswd else {
            return Err(BuildError::at(
                "",
                "this one is for exporters; servers need one with `htpasswd`",
            ));
        };
        for (user, name) in &self.tenants {
            if !tenant::is_tenant(name) {
                let why = format!("not a tenant; {}", tenant::RULE);
                return Err(BuildError::at(format!("tenants.{user}"), why));
            }
        }
        let inline = htpasswd
            .inline
            .as_ref()
            .map(|lines| read(lines.expose(), &self.tenants));
        let inline = inline
            .transpose()
            .map_err(|why| BuildError::at("htpasswd.inline", why))?;
        let tenants = self.tenants.clone();
        let make = Box::new(move |text: &str| read(text, &tenants));
        let file = htpasswd.file.clone().map(|file| watched(file, make));
        let file = file.transpose().map_err(|why| BuildError::at("htpasswd.file", why))?;
        if inline.is_none() && file.is_none() {
            return Err(BuildError::at("htpasswd", "nobody is named; write `file` or `inline`"));
        }
        Ok(Users {
            inline: Arc::new(inline.unwrap_or_default()),
            file,
            hasher: RandomState::new(),
            proved: Mutex::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    pub(super) fn client(&self) -> Result<Credentials, BuildError> {
        let Some(ClientAuth { username, password }) = &self.client_auth else {
            return Err(BuildError::at(
                "",
                "this one is for servers; exporters need one with `client_auth`",
            ));
        };
        if username.is_empty() || username.contains(':') {
            return Err(BuildError::at(
                "client_auth.username",
                "not a user name; it may not be empty nor hold a colon",
            ));
        }
        let pair = STANDARD.encode(format!("{username}:{}", password.expose()));
        Ok(Credentials {
            name: AUTHORIZATION,
            value: Sent::Fixed(
                secret_value(&format!("Basic {pair}")).map_err(|why| BuildError::at("client_auth", why))?,
            ),
        })
    }
}

/// Everybody of one list.
type List = HashMap<String, User>;

#[derive(Clone)]
struct User {
    password: Password,
    tenant: Arc<str>,
}

#[derive(Clone)]
enum Password {
    Plain(Secret),
    Bcrypt(Secret),
}

/// Reads lines `user:password`. An error names the line and nothing of it.
fn read(text: &str, tenants: &BTreeMap<String, String>) -> Result<List, String> {
    let mut users = List::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: &str| Err(format!("line {}: {why}", index + 1));
        let Some((name, password)) = line
            .split_once(':')
            .filter(|(name, word)| !name.is_empty() && !word.is_empty())
        else {
            return wrong("not of the form user:password");
        };
        let hashed = ["$2a$", "$2b$", "$2y$"].iter().any(|form| password.starts_with(form));
        let password = match hashed {
            true if password.parse::<bcrypt::HashParts>().is_err() => return wrong("not a whole bcrypt hash"),
            true => Password::Bcrypt(Secret::new(password)),
            false if password.starts_with('$') || password.starts_with("{SHA}") || password.starts_with("{SSHA}") => {
                return wrong("this kind of hash is not read; write bcrypt, as by `htpasswd -B`");
            }
            false => Password::Plain(Secret::new(password)),
        };
        let tenant = tenants.get(name).map_or(name, String::as_str);
        if !tenant::is_tenant(tenant) {
            return wrong("the name of this user is not a tenant; name one for it under `tenants`");
        }
        let tenant = tenant.into();
        users.insert(name.to_owned(), User { password, tenant });
    }
    match users.is_empty() {
        true => Err("nobody is named".to_owned()),
        false => Ok(users),
    }
}

/// Whom a server lets in.
pub(super) struct Users {
    inline: Arc<List>,
    file: Option<Watched<List>>,
    hasher: RandomState,
    /// Users whose password was found to fit its hash, with a fingerprint of both: finding it out is slow by design.
    proved: Mutex<HashMap<String, u64>>,
    turns: Arc<Semaphore>,
}

impl Users {
    pub(super) async fn identify(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        let (name, password) = said(headers).ok_or_else(refused)?;
        let listed = match &self.file {
            Some(file) => file.current().await,
            None => Arc::default(),
        };
        let user = self.inline.get(&name).or_else(|| listed.get(&name));
        // whoever does not exist is compared with somebody, so that it takes the same time
        let somebody = || self.inline.values().chain(listed.values()).next();
        let compared = user.or_else(somebody).ok_or_else(refused)?;
        let fits = match &compared.password {
            Password::Plain(plain) => plain.expose().as_bytes().ct_eq(password.expose().as_bytes()).into(),
            Password::Bcrypt(hash) => self.proves(&name, hash, &password, user.is_some()).await?,
        };
        match user {
            Some(user) if fits => Ok(Identity {
                tenant: Some(user.tenant.clone()),
            }),
            _ => Err(refused()),
        }
    }

    /// Whether a password fits; remembered for names that there are.
    async fn proves(&self, name: &str, hash: &Secret, password: &Secret, is_known: bool) -> Result<bool, Refusal> {
        let fingerprint = self.hasher.hash_one((name, hash.expose(), password.expose()));
        let proved = || self.proved.lock().unwrap_or_else(PoisonError::into_inner);
        if proved().get(name) == Some(&fingerprint) {
            return Ok(true);
        }
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Refusal::Unavailable {
                why: "too many passwords to look at",
                after: PATIENCE,
            });
        };
        let (hash, word) = (hash.clone(), password.clone());
        let compared = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            bcrypt::verify(word.expose(), hash.expose()).unwrap_or(false)
        });
        let fits = compared.await.unwrap_or(false);
        if fits && is_known {
            let mut proved = proved();
            // names of users who are gone
            if proved.len() >= 10_000 {
                proved.clear();
            }
            proved.insert(name.to_owned(), fingerprint);
        }
        Ok(fits)
    }
}

/// The name and the password of a request.
fn said(headers: &HeaderMap) -> Option<(String, Secret)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, pair) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(pair.trim()).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    Some((name.to_owned(), Secret::new(password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> HeaderMap {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        HeaderMap::from_iter([(AUTHORIZATION, format!("Basic {pair}").parse().unwrap())])
    }

    #[tokio::test]
    async fn names_that_nobody_has_are_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users");
        let hash = bcrypt::hash("planted", 4).unwrap();
        std::fs::write(&file, format!("bob:{hash}\n")).unwrap();
        let config = serde_json::json!({ "htpasswd": { "file": file } });
        let users = serde_json::from_value::<BasicConfig>(config).unwrap().server().unwrap();
        for invented in ["a", "b", "c"] {
            assert!(users.identify(&basic(invented, "planted")).await.is_err());
        }
        assert_eq!(users.proved.lock().unwrap().len(), 0);
        assert!(users.identify(&basic("bob", "planted")).await.is_ok());
        assert_eq!(users.proved.lock().unwrap().len(), 1);
    }
}
