//! JSON Schema of the whole configuration, made of those of the components: for editors, and to know what is secret.

use serde_json::{Map, Value, json};

use super::catalog::{Catalog, Kind};
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
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Flamegate configuration",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": definitions
    })
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
