//! Every place of a component's configuration, by its JSON Schema: so that a new key is covered by the tests that walk them.

use serde_json::{Map, Value, json};

/// One step into a configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Key(String),
    /// The one item of a list.
    Item,
}

/// What may stand at a place.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub path: Vec<Step>,
    /// A map of known keys, and no others.
    pub is_closed_map: bool,
    /// A list, perhaps among others.
    pub is_list: bool,
    /// No map and no list, or one of them among others.
    pub is_scalar: bool,
    /// What must never be shown.
    pub is_secret: bool,
    /// The words that are allowed, if it is one of a few; truth and falsehood too.
    pub choices: Vec<Value>,
}

/// Deepest nesting that is walked: schemas may hold themselves.
const DEPTH: usize = 8;

/// Every place below a schema.
pub fn places(schema: &Value) -> Vec<Place> {
    let mut places = Vec::new();
    walk(schema, vec![schema], &mut Vec::new(), &mut places);
    places
}

fn walk(root: &Value, schemas: Vec<&Value>, path: &mut Vec<Step>, places: &mut Vec<Place>) {
    if path.len() > DEPTH {
        return;
    }
    let schemas = open(root, schemas);
    let has = |word: &str| schemas.iter().any(|schema| schema.get(word).is_some());
    let is_type = |name: &str| schemas.iter().any(|schema| types(schema).contains(&name));
    let named = schemas.iter().filter_map(|s| s.get("enum")?.as_array()).flatten();
    let one = schemas.iter().filter_map(|s| s.get("const"));
    let mut choices: Vec<Value> = named.chain(one).cloned().collect();
    if is_type("boolean") {
        choices.extend([json!(true), json!(false)]);
    }
    places.push(Place {
        path: path.clone(),
        is_closed_map: has("properties")
            && !schemas
                .iter()
                .any(|s| s.get("additionalProperties").is_some_and(Value::is_object)),
        is_secret: schemas
            .iter()
            .any(|schema| refers_to(schema).is_some_and(|name| name.ends_with("/Secret"))),
        is_list: has("items") || is_type("array"),
        is_scalar: ["string", "integer", "number", "boolean"].into_iter().any(is_type) || !choices.is_empty(),
        choices,
    });
    let empty = Map::new();
    for schema in &schemas {
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        for (key, below) in properties {
            path.push(Step::Key(key.clone()));
            walk(root, vec![below], path, places);
            path.pop();
        }
        for (word, step) in [
            ("additionalProperties", Step::Key("any.key".to_owned())),
            ("items", Step::Item),
        ] {
            if let Some(below) = schema.get(word).filter(|below| below.is_object()) {
                path.push(step);
                walk(root, vec![below], path, places);
                path.pop();
            }
        }
    }
}

fn refers_to(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str)
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// With everything that they refer to, and all alternatives.
fn open<'a>(root: &'a Value, mut schemas: Vec<&'a Value>) -> Vec<&'a Value> {
    let mut next = 0;
    while let Some(schema) = schemas.get(next).copied() {
        next += 1;
        let name = refers_to(schema).and_then(|name| name.strip_prefix('#'));
        let target = name.and_then(|pointer| root.pointer(pointer));
        let words = ["anyOf", "oneOf", "allOf"].into_iter();
        let alternatives = words.filter_map(|word| schema.get(word)?.as_array()).flatten();
        for other in target.into_iter().chain(alternatives) {
            if !schemas.iter().any(|known| std::ptr::eq(*known, other)) {
                schemas.push(other);
            }
        }
    }
    schemas
}

/// The configuration with `value` at a place; what is on the way there and is no map or list becomes one.
pub fn with(config: &Value, path: &[Step], value: Value) -> Value {
    let Some((step, rest)) = path.split_first() else {
        return value;
    };
    match step {
        Step::Key(key) => {
            let mut map = config.as_object().cloned().unwrap_or_default();
            let below = map.get(key).cloned().unwrap_or_default();
            map.insert(key.clone(), with(&below, rest, value));
            Value::Object(map)
        }
        Step::Item => {
            let first = config.as_array().and_then(|items| items.first()).cloned();
            json!([with(&first.unwrap_or_default(), rest, value)])
        }
    }
}

/// The keys of a configuration, dotted, that its schema does not allow.
fn not_allowed(root: &Value, schema: &Value, config: &Value, path: &str) -> Vec<String> {
    let schemas = open(root, vec![schema]);
    let mut found = Vec::new();
    let says_nothing = |schema: &&Value| {
        schema
            .as_object()
            .is_some_and(|s| s.keys().all(|key| key == "description"))
    };
    if schemas.iter().all(says_nothing) {
        return found;
    }
    if let Some(items) = config.as_array() {
        for below in schemas.iter().filter_map(|schema| schema.get("items")) {
            found.extend(items.iter().flat_map(|item| not_allowed(root, below, item, path)));
        }
    }
    for (key, value) in config.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let named = schemas.iter().filter_map(|schema| schema.get("properties")?.get(key));
        let is_open = |schema: &&&Value| schema.get("additionalProperties").is_some_and(Value::is_object);
        let any = schemas
            .iter()
            .filter(is_open)
            .map(|schema| &schema["additionalProperties"]);
        let patterns = schemas
            .iter()
            .filter_map(|schema| schema.get("patternProperties")?.as_object())
            .flatten();
        let own_type = key.split('/').next().unwrap();
        let pattern = patterns
            .filter(|(pattern, _)| **pattern == format!("^{own_type}(/.+)?$"))
            .map(|(_, below)| below);
        let below: Vec<&Value> = named.chain(any).chain(pattern).collect();
        match below.first() {
            Some(below) => found.extend(not_allowed(root, below, value, &path)),
            None => found.push(path),
        }
    }
    found
}

#[test]
fn the_schema_allows_what_validate_takes_foreign_keys_too() {
    let schema: Value = serde_json::from_str(&crate::support::run(&["schema"]).out()).unwrap();
    let base = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let written: Vec<String> = ["configs", "tests/collector"]
        .iter()
        .flat_map(|folder| crate::support::files(&base.join(folder)))
        .filter(|file| file.extension().is_some_and(|ending| ending == "yaml"))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .chain([crate::collector::written(1, 2, crate::collector::QUEUE)])
        .collect();
    assert!(written.len() >= 9, "{}", written.len());
    for text in written {
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        let found = not_allowed(&schema, &schema, &config, "");
        assert!(found.is_empty(), "{found:?} of\n{text}");
    }
    let wrong = json!({"receivers": {"otlp/a": {"protocols": {"grpc": {"read_buffer_sice": 1}}}},
        "exporters": {"otlp": {"traces_url_path": "/"}}, "servce": {}});
    assert_eq!(
        not_allowed(&schema, &schema, &wrong, ""),
        [
            ".exporters.otlp.traces_url_path",
            ".receivers.otlp/a.protocols.grpc.read_buffer_sice",
            ".servce"
        ]
    );
}

#[test]
fn references_alternatives_and_lists_are_walked() {
    let schema = json!({
        "properties": {"a": {"$ref": "#/$defs/A"}, "list": {"items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/A"}]}}},
        "$defs": {"A": {"properties": {"mode": {"enum": ["x", "y"]}}, "additionalProperties": false}}
    });
    let told: Vec<String> = places(&schema)
        .iter()
        .map(|p| format!("{:?} {} {} {}", p.path, p.is_closed_map, p.is_scalar, p.choices.len()))
        .collect();
    assert_eq!(
        told,
        [
            "[] true false 0",
            r#"[Key("a")] true false 0"#,
            r#"[Key("a"), Key("mode")] false true 2"#,
            r#"[Key("list")] false false 0"#,
            r#"[Key("list"), Item] true true 0"#,
            r#"[Key("list"), Item, Key("mode")] false true 2"#,
        ]
    );
    let path = [Step::Key("list".to_owned()), Step::Item, Step::Key("mode".to_owned())];
    let config = with(&json!({"a": 1, "list": [{"b": 2}]}), &path, json!("x"));
    assert_eq!(config, json!({"a": 1, "list": [{"b": 2, "mode": "x"}]}));
}
