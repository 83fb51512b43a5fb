//! Where a component names an authenticator, what is configured under that name is put in its place: so a component is built of all
//! that it depends on, and a reload sees that a credential has changed.

use serde_json::{Map, Value};

use crate::pipeline::spec::{BuildError, RawConfig};

/// An extension as components name it.
pub(super) struct Named {
    pub(super) id: String,
    /// Its configuration; none if that is wrong.
    pub(super) raw: Option<RawConfig>,
}

/// Replaces the ids; false if one of them names an extension whose configuration is wrong.
pub(super) fn insert_authenticators(raw: &mut RawConfig, path: &str, known: &[Named]) -> Result<bool, BuildError> {
    let Some(map) = raw.as_object_mut() else {
        return Ok(true);
    };
    let mut whole = true;
    for (key, value) in map {
        let below = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        let named = match (key.as_str(), value.get_mut("authenticator")) {
            ("auth", Some(Value::String(id))) => Some(id.clone()),
            _ => None,
        };
        let Some(id) = named else {
            whole &= insert_authenticators(value, &below, known)?;
            continue;
        };
        let Some(extension) = known.iter().find(|one| one.id == id) else {
            let why = "no such extension is configured under `extensions`";
            return Err(BuildError::at(format!("{below}.authenticator"), why));
        };
        match (&extension.raw, value.get_mut("authenticator")) {
            (Some(config), Some(place)) => *place = Value::Object(Map::from_iter([(id, config.clone())])),
            _ => whole = false,
        }
    }
    Ok(whole)
}
