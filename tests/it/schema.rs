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
