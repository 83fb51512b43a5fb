//! What of a configuration is never shown.
//!
//! A value is secret if its component says so (its schema has the type `Secret`), if its key says so (`headers`, `password`, ...),
//! if it came from the environment or a file, or as far as it is the user info or the query of a URL.

use serde_json::Value;

use super::tree::{Entry, Node, Place, Tree};

/// What stands for a secret.
pub const REDACTED: &str = "[REDACTED]";

/// Under `auth`, the id of an extension: the one thing there that is no secret.
const AUTHENTICATOR: &str = "authenticator";

/// The tree without its secrets. `schema` is the JSON Schema of the tree.
pub fn redact(node: &Node, schema: &Value) -> Node {
    let rules = Rules { root: schema };
    rules.node(node, &rules.open(vec![schema]), false)
}

/// Texts that stand in `node` and no longer in `redacted`: none of them may appear in an error.
pub fn secrets(node: &Node, redacted: &Node, found: &mut Vec<String>) {
    match (&node.tree, &redacted.tree) {
        (Tree::List(items), Tree::List(others)) => {
            for (item, other) in items.iter().zip(others) {
                secrets(item, other, found);
            }
        }
        (Tree::Map(entries), Tree::Map(others)) => {
            for (entry, other) in entries.iter().zip(others) {
                secrets(&entry.node, &other.node, found);
            }
        }
        (Tree::Text(text), other) if *other != Tree::Text(text.clone()) => {
            found.push(text.clone());
            found.extend(url_secrets(text));
        }
        (Tree::Number(number), Tree::Text(_)) => found.push(number.to_string()),
        _ => {}
    }
    if let Some(text) = node.outside.as_ref().and_then(|outside| outside.text.clone()) {
        found.push(text);
    }
}

/// The message without any of the secrets.
pub fn scrub(message: &str, secrets: &[String]) -> String {
    let mut message = message.to_owned();
    // the longest first, so that no tail of one stays behind; shorter texts than three characters are no secrets but would eat the message
    let mut secrets: Vec<&String> = secrets.iter().filter(|secret| secret.len() > 2).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        message = message.replace(secret.as_str(), REDACTED);
    }
    message
}

struct Rules<'a> {
    root: &'a Value,
}

impl<'a> Rules<'a> {
    fn node(&self, node: &Node, schemas: &[&'a Value], secret: bool) -> Node {
        let secret = secret
            || node
                .outside
                .as_ref()
                .is_some_and(|outside| outside.text.is_some() || !has_children(node))
            || self.says_secret(schemas);
        let tree = match &node.tree {
            Tree::List(items) => {
                let below = self.items(schemas);
                Tree::List(items.iter().map(|item| self.node(item, &below, secret)).collect())
            }
            Tree::Map(entries) => {
                let action = node.get("action").is_some();
                let entry = |entry: &Entry| Entry {
                    key: entry.key.clone(),
                    place: entry.place.clone(),
                    node: self.node(
                        &entry.node,
                        &self.property(schemas, &entry.key),
                        (secret && entry.key != AUTHENTICATOR) || key_is_secret(&entry.key, action),
                    ),
                };
                Tree::Map(entries.iter().map(entry).collect())
            }
            Tree::Text(_) | Tree::Number(_) if secret => Tree::Text(REDACTED.to_owned()),
            Tree::Text(text) => Tree::Text(without_url_secrets(text)),
            scalar => scalar.clone(),
        };
        Node::plain(Place::whole(""), tree)
    }

    /// Follows references and alternatives, keeping the schemas passed on the way.
    fn open(&self, mut schemas: Vec<&'a Value>) -> Vec<&'a Value> {
        let mut next = 0;
        while let Some(schema) = schemas.get(next).copied() {
            next += 1;
            let reference = schema
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|name| name.strip_prefix('#'));
            let target = reference.and_then(|pointer| self.root.pointer(pointer));
            let alternatives = ["anyOf", "oneOf", "allOf"]
                .iter()
                .filter_map(|word| schema.get(word).and_then(Value::as_array))
                .flatten();
            for schema in target.into_iter().chain(alternatives) {
                if !schemas.iter().any(|seen| std::ptr::eq(*seen, schema)) {
                    schemas.push(schema);
                }
            }
        }
        schemas
    }

    fn says_secret(&self, schemas: &[&Value]) -> bool {
        let named = |schema: &&Value| {
            schema
                .get("$ref")
                .and_then(Value::as_str)
                .is_some_and(|name| name.ends_with("/Secret") || name.ends_with(".Secret"))
        };
        schemas.iter().any(named)
    }

    fn property(&self, schemas: &[&'a Value], key: &str) -> Vec<&'a Value> {
        let mut below = Vec::new();
        for schema in schemas {
            below.extend(schema.get("properties").and_then(|properties| properties.get(key)));
            below.extend(schema.get("additionalProperties"));
            if let Some(patterns) = schema.get("patternProperties").and_then(Value::as_object) {
                below.extend(
                    patterns
                        .iter()
                        .filter(|(pattern, _)| matches(pattern, key))
                        .map(|(_, schema)| schema),
                );
            }
        }
        self.open(below)
    }

    fn items(&self, schemas: &[&'a Value]) -> Vec<&'a Value> {
        self.open(schemas.iter().filter_map(|schema| schema.get("items")).collect())
    }
}

fn matches(pattern: &str, key: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(key))
}

fn has_children(node: &Node) -> bool {
    matches!(node.tree, Tree::List(_) | Tree::Map(_))
}

fn key_is_secret(key: &str, names_attribute: bool) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let anywhere = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
        "authorization",
        "cookie",
    ];
    let is = matches!(key.as_str(), "headers" | "auth" | "key_pem" | "apikey");
    // `key` beside `action` is the name of an attribute
    let is_key = (key == "key" && !names_attribute) || key.ends_with("_key");
    is || is_key || anywhere.iter().any(|word| key.contains(word))
}

/// User info and query of a URL, which is where people put tokens.
fn url_secrets(text: &str) -> Vec<String> {
    let Some((_, rest)) = text.split_once("://") else {
        return Vec::new();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let mut found = Vec::new();
    if let Some((user, _)) = authority.rsplit_once('@') {
        found.push(user.to_owned());
        found.extend(user.split(':').map(str::to_owned));
    }
    if let Some((_, query)) = rest.split_once('?') {
        found.push(query.to_owned());
        found.extend(
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(_, value)| value.to_owned()),
        );
    }
    found
}

fn without_url_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{REDACTED}@{host}"),
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, _)) => format!("{path}?{REDACTED}"),
        None => path.to_owned(),
    };
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(yaml: &str, schema: &Value) -> Value {
        redact(&Node::parse(yaml, "f").unwrap(), schema).to_json()
    }

    #[test]
    fn keys_that_say_secret_are_hidden_with_everything_below() {
        let yaml = "headers: {x-any: a, deep: [b, 7]}\napi_key: c\nauth: {basic: {username: d}}\nclient_secret: e\nplain: f\nallowed_keys: [g]\nattributes: [{key: h, action: delete}]";
        assert_eq!(
            shown(yaml, &json!({})),
            json!({"headers": {"x-any": REDACTED, "deep": [REDACTED, REDACTED]}, "api_key": REDACTED,
                "auth": {"basic": {"username": REDACTED}}, "client_secret": REDACTED, "plain": "f",
                "allowed_keys": ["g"], "attributes": [{"key": "h", "action": "delete"}]})
        );
    }

    #[test]
    fn the_schema_says_what_else_is_secret() {
        let schema = json!({
            "properties": {"a": {"$ref": "#/$defs/Inner"}, "list": {"items": {"anyOf": [{"$ref": "#/$defs/Secret"}, {"type": "null"}]}}},
            "$defs": {"Inner": {"properties": {"x": {"$ref": "#/$defs/Secret"}}}, "Secret": {"type": "string"}}
        });
        assert_eq!(
            shown("a: {x: one, y: two}\nlist: [three]", &schema),
            json!({"a": {"x": REDACTED, "y": "two"}, "list": [REDACTED]})
        );
    }

    #[test]
    fn urls_lose_user_info_and_query() {
        assert_eq!(
            without_url_secrets("https://me:hunter2@host:1/path?token=x"),
            "https://[REDACTED]@host:1/path?[REDACTED]"
        );
        assert_eq!(without_url_secrets("https://host:1/a@b"), "https://host:1/a@b");
        assert_eq!(without_url_secrets("localhost:4317"), "localhost:4317");
    }

    #[test]
    fn messages_lose_secrets_also_parts_of_urls() {
        let node = Node::parse("endpoint: https://me:hunter2@host/", "f").unwrap();
        let mut found = Vec::new();
        secrets(&node, &redact(&node, &json!({})), &mut found);
        assert_eq!(
            scrub("cannot use me:hunter2@host, nor hunter2", &found),
            "cannot use [REDACTED]@host, nor [REDACTED]"
        );
    }
}
