//! Several files and `--set` values become one tree.
//!
//! figment does the layering; it knows nothing of lines, so the places are attached again afterwards from the layers themselves.

use figment::value::{Dict, Empty, Map, Num, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::Number;

use super::error::ConfigError;
use super::tree::{Entry, Node, Place, Step, Tree};

/// Merges layers: maps are merged, lists and scalars replaced, and a null removes what an earlier layer said.
pub fn merge(layers: &[Node]) -> Result<Node, ConfigError> {
    let mut figment = Figment::new();
    for layer in layers {
        figment = figment.merge(Layer(layer));
    }
    let place = layers
        .last()
        .map_or_else(|| Place::whole("configuration"), |layer| layer.place.clone());
    let merged = figment
        .find_value("")
        .map_err(|error| ConfigError::new(place.clone(), "", error.kind.to_string()))?;
    let nodes: Vec<&Node> = layers.iter().collect();
    Ok(attach(merged, &nodes, place))
}

/// A layer from `--set a.b.c=value` or `a::b::c=value`; the value is read as YAML.
pub fn from_set(text: &str) -> Result<Node, ConfigError> {
    let Some((key, value)) = text.split_once('=') else {
        let place = Place::whole("--set");
        return Err(ConfigError::new(
            place,
            "",
            "expected KEY=VALUE, as in service.telemetry.logs.level=debug",
        ));
    };
    let place = Place::whole(&format!("--set {key}"));
    let keys: Vec<&str> = if key.contains("::") {
        key.split("::").collect()
    } else {
        key.split('.').collect()
    };
    if keys.iter().any(|key| key.is_empty()) {
        return Err(ConfigError::new(
            place,
            "",
            "a key is empty; expected KEY=VALUE with a dotted key",
        ));
    }
    let value = if value.is_empty() {
        Tree::Text(String::new())
    } else {
        Node::parse(value, &place.source)?.tree
    };
    Ok(below(&keys, &place, Node::plain(place.clone(), value)))
}

/// A layer whose outermost keys may be paths (`exporters::debug::verbosity`), as in the Collector: each becomes a layer.
pub fn expanded(layer: Node) -> Result<Vec<Node>, ConfigError> {
    let has_paths = layer.entries().iter().any(|entry| entry.key.contains("::"));
    let Tree::Map(entries) = &layer.tree else {
        return Ok(vec![layer]);
    };
    if !has_paths {
        return Ok(vec![layer]);
    }
    let mut layers = Vec::with_capacity(entries.len());
    for entry in entries {
        let keys: Vec<&str> = entry.key.split("::").collect();
        if keys.iter().any(|key| key.is_empty()) {
            let message = "a key between `::` is empty";
            return Err(ConfigError::new(entry.place.clone(), entry.key.clone(), message));
        }
        layers.push(below(&keys, &entry.place, entry.node.clone()));
    }
    Ok(layers)
}

/// A value below keys.
fn below(keys: &[&str], place: &Place, value: Node) -> Node {
    let mut node = value;
    for key in keys.iter().rev() {
        let entry = Entry {
            key: (*key).to_owned(),
            place: place.clone(),
            node,
        };
        node = Node::plain(place.clone(), Tree::Map(vec![entry]));
    }
    node
}

struct Layer<'a>(&'a Node);

impl Provider for Layer<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.0.place.source.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(dict(self.0)))
    }
}

fn dict(node: &Node) -> Dict {
    node.entries()
        .iter()
        .map(|entry| (entry.key.clone(), value(&entry.node)))
        .collect()
}

fn value(node: &Node) -> Value {
    let tag = Tag::Default;
    match &node.tree {
        Tree::Null => Value::Empty(tag, Empty::None),
        Tree::Bool(value) => Value::Bool(tag, *value),
        Tree::Number(number) => Value::Num(tag, num(number)),
        Tree::Text(text) => Value::String(tag, text.clone()),
        Tree::List(items) => Value::Array(tag, items.iter().map(value).collect()),
        Tree::Map(_) => Value::Dict(tag, dict(node)),
    }
}

fn num(number: &Number) -> Num {
    match (number.as_u64(), number.as_i64()) {
        (Some(value), _) => Num::U64(value),
        (None, Some(value)) => Num::I64(value),
        (None, None) => Num::F64(number.as_f64().unwrap_or_default()),
    }
}

/// The merged value as a tree again. `layers` are the nodes at the same path, the latest last: it is the one that holds.
fn attach(merged: Value, layers: &[&Node], fallback: Place) -> Node {
    let place = layers.last().map_or(fallback, |node| node.place.clone());
    let tree = match merged {
        Value::Empty(..) => Tree::Null,
        Value::Bool(_, value) => Tree::Bool(value),
        Value::Char(_, value) => Tree::Text(value.to_string()),
        Value::String(_, text) => Tree::Text(text),
        Value::Num(_, number) => number_tree(number),
        Value::Array(_, items) => Tree::List(attach_items(items, layers, &place)),
        Value::Dict(_, dict) => Tree::Map(attach_entries(dict, layers, &place)),
    };
    Node::plain(place, tree)
}

fn attach_items(items: Vec<Value>, layers: &[&Node], place: &Place) -> Vec<Node> {
    let mut nodes = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        // lists are replaced, never merged: only the latest layer counts
        let source: Vec<&Node> = layers
            .last()
            .and_then(|node| node.child(&Step::Index(index)))
            .into_iter()
            .collect();
        nodes.push(attach(item, &source, place.clone()));
    }
    nodes
}

fn attach_entries(mut dict: Dict, layers: &[&Node], place: &Place) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(dict.len());
    // figment sorts keys: the order in which they were written is the layers'
    for entry in layers.iter().flat_map(|layer| layer.entries()) {
        let Some(value) = dict.remove(&entry.key) else { continue };
        let below: Vec<&Entry> = layers.iter().filter_map(|layer| layer.entry(&entry.key)).collect();
        if matches!(value, Value::Empty(..)) && below.len() > 1 {
            continue;
        }
        let nodes: Vec<&Node> = below.iter().map(|entry| &entry.node).collect();
        entries.push(Entry {
            key: entry.key.clone(),
            place: below.last().map_or_else(|| place.clone(), |entry| entry.place.clone()),
            node: attach(value, &nodes, place.clone()),
        });
    }
    entries
}

fn number_tree(number: Num) -> Tree {
    let float = |value: f64| Number::from_f64(value).map_or(Tree::Null, Tree::Number);
    match number {
        Num::U64(value) => Tree::Number(value.into()),
        Num::I64(value) => Tree::Number(value.into()),
        Num::F64(value) => float(value),
        other => match (other.to_u128(), other.to_i128()) {
            (Some(value), _) => u64::try_from(value).map_or(Tree::Null, |value| Tree::Number(value.into())),
            (None, Some(value)) => i64::try_from(value).map_or(Tree::Null, |value| Tree::Number(value.into())),
            (None, None) => other.to_f64().map_or(Tree::Null, float),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(texts: &[&str]) -> Node {
        let layers: Vec<Node> = texts
            .iter()
            .enumerate()
            .map(|(i, text)| Node::parse(text, &format!("{i}.yaml")).unwrap())
            .collect();
        merge(&layers).unwrap()
    }

    #[test]
    fn maps_merge_and_lists_and_scalars_are_replaced() {
        let node = merged(&["a: {x: 1, y: [1, 2, 3]}\nb: old", "a: {y: [9], z: -1.5}\nb: new"]);
        assert_eq!(node.to_json(), json!({"a": {"x": 1, "y": [9], "z": -1.5}, "b": "new"}));
    }

    #[test]
    fn places_are_those_of_the_layer_that_holds() {
        let node = merged(&["a:\n  x: 1\n  y: 2\n", "\n\na: {y: 3}\n"]);
        let a = node.get("a").unwrap();
        assert_eq!(a.get("x").unwrap().place.to_string(), "0.yaml:2:6");
        assert_eq!(a.get("y").unwrap().place.to_string(), "1.yaml:3:8");
        assert_eq!(a.entry("y").unwrap().place.to_string(), "1.yaml:3:5");
    }

    #[test]
    fn a_null_removes_what_an_earlier_layer_said_and_stays_where_it_said_nothing() {
        let node = merged(&["a: {x: 1, y: 2}\nb: 1", "a: {x: , z: }\nb: ~"]);
        assert_eq!(node.to_json(), json!({"a": {"y": 2, "z": null}}));
    }

    #[test]
    fn the_order_is_as_written() {
        let node = merged(&["z: 1\nm: 2", "a: 3\nz: 4"]);
        let keys: Vec<&str> = node.entries().iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["z", "m", "a"]);
    }

    #[test]
    fn set_takes_dots_or_double_colons_and_yaml_values() {
        let layers = [
            Node::parse("a: {b: {c: 1, keep: 2}}", "f").unwrap(),
            from_set("a.b.c=[1, x]").unwrap(),
            from_set("a::b::d.e=12").unwrap(),
            from_set("a.empty=").unwrap(),
        ];
        let node = merge(&layers).unwrap();
        assert_eq!(
            node.to_json(),
            json!({"a": {"b": {"c": [1, "x"], "keep": 2, "d.e": 12}, "empty": ""}})
        );
        let place = &node.get("a").unwrap().get("b").unwrap().get("c").unwrap().place;
        assert_eq!(place.to_string(), "--set a.b.c");
    }

    #[test]
    fn outermost_keys_may_be_paths() {
        let layer = Node::parse("a::b: {x: 1}\na::b::y: 2\nc: {d::e: 3}\n", "f").unwrap();
        let node = merge(&expanded(layer).unwrap()).unwrap();
        assert_eq!(node.to_json(), json!({"a": {"b": {"x": 1, "y": 2}}, "c": {"d::e": 3}}));
        let y = node.get("a").unwrap().get("b").unwrap().get("y").unwrap();
        assert_eq!(y.place.to_string(), "f:2:10");
        assert!(expanded(Node::parse("a::: 1", "f").unwrap()).is_err());
    }

    #[test]
    fn a_set_without_value_or_with_an_empty_key_is_refused() {
        for text in ["a.b", "a..b=1", "=1"] {
            assert!(from_set(text).is_err(), "{text}");
        }
    }
}
