//! A configuration as a tree in which every key and value remembers where it was written.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

use super::error::ConfigError;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File as named on the command line, or the `--set` it came from.
    pub source: Arc<str>,
    /// Line, from 1; 0 where there are no lines.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

impl Place {
    /// A place without lines: a `--set`, the end of a file.
    pub fn whole(source: &str) -> Self {
        Self {
            source: source.into(),
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{line}:{}", self.source, self.column),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where.
    pub place: Place,
    /// What.
    pub tree: Tree,
    /// Set if the value, or a part of it, came from the environment or a file: it may be a secret.
    pub outside: Option<Outside>,
}

/// Origin of a value that is not written in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The text as it came, before it was read as YAML; none for a subtree.
    pub text: Option<String>,
    /// Environment variables that were asked for and are not set.
    pub unset: Vec<String>,
}

/// The value itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// Nothing.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order in which it was written.
    Map(Vec<Entry>),
}

/// One key of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key was written.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// Reads YAML.
    pub fn parse(text: &str, source: &str) -> Result<Self, ConfigError> {
        let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
        let source: Arc<str> = source.into();
        match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
            Ok(raw) => Ok(raw.value.located(&source, raw.referenced)),
            Err(error) => Err(syntax_error(&error, &source)),
        }
    }

    /// A node without a value.
    pub fn null(place: Place) -> Self {
        Self::plain(place, Tree::Null)
    }

    /// A node written in the configuration itself.
    pub fn plain(place: Place, tree: Tree) -> Self {
        Self {
            place,
            tree,
            outside: None,
        }
    }

    /// The keys of a map; none for everything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.tree {
            Tree::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a map's key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of a map's key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// One step down: a key of a map, an index of a list.
    pub fn child(&self, step: &Step) -> Option<&Node> {
        match (&self.tree, step) {
            (Tree::Map(_), Step::Key(key)) => self.get(key),
            (Tree::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// As [`child`](Self::child), to change it.
    pub fn child_mut(&mut self, step: &Step) -> Option<&mut Node> {
        match (&mut self.tree, step) {
            (Tree::Map(entries), Step::Key(key)) => {
                let entry = entries.iter_mut().find(|entry| entry.key == *key)?;
                Some(&mut entry.node)
            }
            (Tree::List(items), Step::Index(index)) => items.get_mut(*index),
            _ => None,
        }
    }

    /// The value as JSON, which components read their configuration from.
    pub fn to_json(&self) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(number) => Value::Number(number.clone()),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Tree::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// What kind of value it is, for error texts.
    pub fn kind(&self) -> &'static str {
        match self.tree {
            Tree::Null => "nothing",
            Tree::Bool(_) => "a boolean",
            Tree::Number(_) => "a number",
            Tree::Text(_) => "text",
            Tree::List(_) => "a list",
            Tree::Map(_) => "a map",
        }
    }
}

/// One step of a path into a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Key of a map.
    Key(String),
    /// Index of a list.
    Index(usize),
}

/// A path as error texts show it: `a.b[2].c`.
pub fn dotted(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
        }
    }
    text
}

fn syntax_error(error: &serde_saphyr::Error, source: &Arc<str>) -> ConfigError {
    let place = match error.location() {
        Some(at) => place(source, at),
        None => Place::whole(source),
    };
    let options = serde_saphyr::render_options! { snippets: serde_saphyr::SnippetMode::Off };
    let text = error.render_with_options(options);
    // the location is told once, in front; what stands behind a semicolon or `, set` is advice for programmers
    let text = text.split(" at line ").next().unwrap_or_default();
    let text = text.split(';').next().unwrap_or_default();
    let text = text.split(", set ").next().unwrap_or_default();
    // the one message that quotes a value
    let text = if text.starts_with("non-finite float") {
        "not a finite number"
    } else {
        text
    };
    ConfigError::new(place, String::new(), format!("not valid YAML: {text}"))
}

fn place(source: &Arc<str>, at: Location) -> Place {
    Place {
        source: source.clone(),
        line: at.line(),
        column: at.column(),
    }
}

/// What the YAML reader hands over, before the source's name is attached.
enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl Raw {
    fn located(self, source: &Arc<str>, at: Location) -> Node {
        let tree = match self {
            Self::Null => Tree::Null,
            Self::Bool(value) => Tree::Bool(value),
            Self::Number(number) => Tree::Number(number),
            Self::Text(text) => Tree::Text(text),
            Self::List(items) => Tree::List(
                items
                    .into_iter()
                    .map(|item| item.value.located(source, item.referenced))
                    .collect(),
            ),
            Self::Map(pairs) => Tree::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| Entry {
                        key: key.value,
                        place: place(source, key.referenced),
                        node: value.value.located(source, value.referenced),
                    })
                    .collect(),
            ),
        };
        Node::plain(place(source, at), tree)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Raw, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Raw::Number(number))
    }
    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Raw, A::Error> {
        let mut map: Vec<(Spanned<String>, Spanned<Raw>)> = Vec::new();
        while let Some((key, value)) = pairs.next_entry::<Spanned<String>, Spanned<Raw>>()? {
            if map.iter().any(|(earlier, _)| earlier.value == key.value) {
                return Err(A::Error::custom("a key is written twice in one map"));
            }
            map.push((key, value));
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_knows_its_place() {
        let node = Node::parse("a:\n  - x\n  - {b: 12, c: }\n", "f.yaml").unwrap();
        let item = node.get("a").unwrap().child(&Step::Index(1)).unwrap();
        let entry = item.entry("b").unwrap();
        assert_eq!(entry.place.to_string(), "f.yaml:3:6");
        assert_eq!(entry.node.place.to_string(), "f.yaml:3:9");
        assert_eq!(item.get("c").unwrap().tree, Tree::Null);
        assert_eq!(node.to_json(), serde_json::json!({"a": ["x", {"b": 12, "c": null}]}));
    }

    #[test]
    fn scalars_are_those_of_yaml_1_2() {
        let node = Node::parse("[yes, true, 'true', 0x10, 1.5, ~, 007a]", "f").unwrap();
        assert_eq!(
            node.to_json(),
            serde_json::json!(["yes", true, "true", 16, 1.5, null, "007a"])
        );
    }

    #[test]
    fn broken_yaml_names_the_place_and_quotes_nothing() {
        let error = Node::parse("a: 1\nb: [1, hunter2EXAMPLE\nc: 2\n", "f.yaml").unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("f.yaml:3:") && text.contains("not valid YAML"),
            "{text}"
        );
        assert!(!text.contains("hunter2EXAMPLE"), "{text}");
    }

    #[test]
    fn keys_written_twice_are_refused() {
        let error = Node::parse("a: 1\nb: 2\na: 3\n", "f.yaml").unwrap_err();
        assert!(error.to_string().starts_with("f.yaml:3:1"), "{error}");
        assert!(!error.to_string().contains("Policy"), "{error}");
    }

    #[test]
    fn an_empty_file_is_nothing() {
        assert_eq!(Node::parse("# only words\n", "f").unwrap().tree, Tree::Null);
    }

    #[test]
    fn prop_no_syntax_error_quotes_what_is_written() {
        let broken = [
            "a: *SECRET",
            "a: !SECRET [",
            "a: \"\\SECRET\"",
            "a: \"SECRET",
            "a: 'SECRET",
            "a: SECRET: b: c",
            "a: [SECRET",
            "a: {SECRET",
            "a: SECRET]\n b: 1\n  - x",
            "%SECRET\na: 1",
            "a: &SECRET *SECRET",
            "? [SECRET]\n: 1",
            "a: |SECRET\n x",
            "a: @SECRET",
            "a: `SECRET",
            "a: !!int SECRET",
            "a: !!float SECRET",
            "a: !!bool SECRET",
            "a: !!binary SECRET!",
            "a: !<SECRET",
            "a: 1\n<<: SECRET",
            "a: 1\n<<: [SECRET]",
            "\tSECRET: 1\n\t- x: [",
            "a: \"\\xSECRET\"",
            "a: !!null SECRET",
            "{SECRET: 1}: 2",
            "a: 99999999999999999999999999999999999999999SECRET: [",
            "--- a\n--- SECRET",
            "a: !!timestamp SECRET",
            "a: 1e999777 # SECRET",
            "!SECRET!x a: 1",
            "a: !SECRET!x 1",
        ];
        let mut errors = 0;
        for text in broken {
            let text = text.replace("SECRET", "hunter2EXAMPLE");
            if let Err(error) = Node::parse(&text, "f.yaml") {
                errors += 1;
                let shown = error.to_string();
                assert!(
                    !shown.contains("hunter2EXAMPLE") && !shown.contains("1e999777"),
                    "{text}: {error}"
                );
            }
        }
        assert!(errors > 15, "{errors}");
    }
}
