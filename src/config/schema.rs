//! JSON Schema of the whole configuration, made of those of the components: for editors, and to know what is secret.

use serde_json::{Map, Value, json};

use super::catalog::{Catalog, Kind};
use super::foreign;
use super::service::Service;

/// The schema of a configuration file.
pub fn schema(catalog: &Catalog) -> Value {
    let mut definitions = Map::new();
    let mut properties = Map::new();
    for kind in Kind::ALL {
        let mut patterns = Map::new();
        for about in catalog.rows(kind) {
            let scope = format!("{}.{}", kind.section(), about.name);
            let schema = hoist((about.schema)().to_value(), &scope, &mut definitions);
            // an id without anything below it is an empty configuration
            let nullable = json!({ "description": about.summary, "anyOf": [schema, { "type": "null" }] });
            for name in std::iter::once(&about.name).chain(about.aliases) {
                patterns.insert(format!("^{name}(/.+)?$"), nullable.clone());
            }
        }
        let section =
            json!({ "type": ["object", "null"], "patternProperties": patterns, "additionalProperties": false });
        properties.insert(kind.section().to_owned(), section);
    }
    let service = hoist(schemars::schema_for!(Service).to_value(), "service", &mut definitions);
    properties.insert("service".to_owned(), service);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Flamegate configuration",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": definitions
    });
    for (place, key, property) in foreign_keys(catalog, &schema) {
        let object = schema.pointer_mut(&place).and_then(Value::as_object_mut);
        if let Some(object) = object {
            object.insert(key, property);
        }
    }
    schema
}

/// Deepest nesting that is looked through: schemas may hold themselves.
const DEPTH: usize = 12;

/// Foreign keys that pass, each with the pointer to the `properties` that it belongs to and its own schema.
fn foreign_keys(catalog: &Catalog, schema: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for kind in Kind::ALL {
        let section = kind.section();
        for about in catalog.rows(kind) {
            for name in std::iter::once(&about.name).chain(about.aliases) {
                // `~1` is how a pointer writes a slash
                let pointer = format!("/properties/{section}/patternProperties/^{name}(~1.+)?$");
                collect(
                    schema,
                    &pointer,
                    &mut vec![section.to_owned(), (*name).to_owned()],
                    &mut found,
                );
            }
        }
    }
    collect(
        schema,
        "/properties/service",
        &mut vec!["service".to_owned()],
        &mut found,
    );
    found
}

fn collect(root: &Value, pointer: &str, path: &mut Vec<String>, found: &mut Vec<(String, String, Value)>) {
    let Some(schema) = root.pointer(pointer).filter(|_| path.len() <= DEPTH) else {
        return;
    };
    if let Some(target) = schema["$ref"].as_str().and_then(|target| target.strip_prefix('#')) {
        collect(root, target, path, found);
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        for at in 0..schema[word].as_array().map_or(0, Vec::len) {
            collect(root, &format!("{pointer}/{word}/{at}"), path, found);
        }
    }
    if schema["items"].is_object() {
        path.push("0".to_owned());
        collect(root, &format!("{pointer}/items"), path, found);
        path.pop();
    }
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (key, property) in foreign::keys_at(path) {
        found.push((format!("{pointer}/properties"), key.to_owned(), property));
    }
    for key in properties.keys() {
        path.push(key.clone());
        collect(root, &format!("{pointer}/properties/{key}"), path, found);
        path.pop();
    }
}

/// Moves the definitions of one schema to the top, under names of their own.
fn hoist(mut schema: Value, scope: &str, definitions: &mut Map<String, Value>) -> Value {
    let mut own = Map::new();
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        object.remove("title");
        if let Some(Value::Object(defs)) = object.remove("$defs") {
            own = defs;
        }
    }
    rename(&mut schema, scope);
    for (name, mut definition) in own {
        rename(&mut definition, scope);
        definitions.insert(format!("{scope}.{name}"), definition);
    }
    schema
}

fn rename(schema: &mut Value, scope: &str) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(target) if key == "$ref" => {
                        if let Some(name) = target.strip_prefix("#/$defs/") {
                            *target = format!("#/$defs/{scope}.{name}");
                        }
                    }
                    value => rename(value, scope),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, scope)),
        _ => {}
    }
}
