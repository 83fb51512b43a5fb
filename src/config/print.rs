//! A configuration as text, in the order in which it was written.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::tree::{Node, Tree};

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.tree {
            Tree::Null => serializer.serialize_unit(),
            Tree::Bool(value) => serializer.serialize_bool(*value),
            Tree::Number(number) => number.serialize(serializer),
            Tree::Text(text) => serializer.serialize_str(text),
            Tree::List(items) => serializer.collect_seq(items),
            Tree::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for entry in entries {
                    map.serialize_entry(&entry.key, &entry.node)?;
                }
                map.end()
            }
        }
    }
}

/// As YAML.
pub fn to_yaml(node: &Node) -> Result<String, String> {
    serde_saphyr::to_string(node).map_err(|error| error.to_string())
}

/// As JSON.
pub fn to_json(node: &Node) -> Result<String, String> {
    serde_json::to_string_pretty(node).map_err(|error| error.to_string())
}
