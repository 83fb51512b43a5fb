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

/// Whether an id was replaced anywhere in a configuration.
pub(super) fn names_authenticator(raw: &RawConfig, id: &str) -> bool {
    let named = raw.get("auth").and_then(|auth| auth.get("authenticator"));
    named.is_some_and(|named| named.get(id).is_some())
        || raw
            .as_object()
            .is_some_and(|map| map.values().any(|below| names_authenticator(below, id)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known() -> Vec<Named> {
        let named = |id: &str, raw| Named { id: id.to_owned(), raw };
        vec![
            named("basicauth/a", Some(json!({ "tenants": {} }))),
            named("basicauth/b", None),
        ]
    }

    #[test]
    fn ids_are_replaced_with_what_stands_under_them() {
        let mut raw = json!({ "protocols": { "grpc": { "auth": { "authenticator": "basicauth/a" } } } });
        assert_eq!(insert_authenticators(&mut raw, "", &known()), Ok(true));
        let inside = json!({ "basicauth/a": { "tenants": {} } });
        assert_eq!(raw.pointer("/protocols/grpc/auth/authenticator"), Some(&inside));
        assert!(names_authenticator(&raw, "basicauth/a") && !names_authenticator(&raw, "basicauth/b"));
    }

    #[test]
    fn an_unknown_id_is_an_error_at_its_path_and_a_broken_one_is_told_elsewhere() {
        let mut raw = json!({ "server": { "auth": { "authenticator": "basicauth/c" } } });
        let error = insert_authenticators(&mut raw, "", &known()).unwrap_err();
        assert_eq!(error.path, "server.auth.authenticator");
        let mut raw = json!({ "auth": { "authenticator": "basicauth/b" } });
        assert_eq!(insert_authenticators(&mut raw, "", &known()), Ok(false));
    }
}
