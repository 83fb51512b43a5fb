//! `${env:NAME}`, `${env:NAME:-default}`, `${NAME}`, `${file:path}` and `$$` in the values of a configuration.
//!
//! Values of the environment and texts of files are taken as they are; defaults, and files that hold a map or a list,
//! are configuration and are looked through again, to a bounded depth.

use std::io::Read;

use super::error::ConfigError;
use super::tree::{Node, Outside, Place, Step, Tree};

/// Files inside of files, defaults inside of defaults.
const DEPTH: usize = 8;
/// Most substitutions in one configuration.
const SUBSTITUTIONS: usize = 1000;
/// Largest file that a `${file:…}` takes in.
const FILE_BYTES: u64 = 1 << 20;

/// Where values come from: the process environment, or a test's.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces every reference below `node`. Returns warnings about variables that are not set.
pub fn interpolate(node: &mut Node, env: Environment<'_>) -> Result<Vec<String>, Vec<ConfigError>> {
    let mut run = Run::new(env);
    run.node(node, &mut Vec::new(), DEPTH);
    if run.errors.is_empty() {
        Ok(run.warnings)
    } else {
        Err(run.errors)
    }
}

/// One text filled in, for what is written elsewhere than in a configuration. A variable that is not set is an error.
pub fn filled_in(text: &str, env: Environment<'_>) -> Result<String, String> {
    let mut run = Run::new(env);
    let (text, _, unset) = run.text(text, &Place::whole("text"), DEPTH)?;
    match unset.first() {
        None => Ok(text),
        Some(name) => Err(format!("the environment variable {name} is not set")),
    }
}

struct Run<'a> {
    env: Environment<'a>,
    left: usize,
    warnings: Vec<String>,
    errors: Vec<ConfigError>,
}

/// What one reference stands for.
struct Found {
    text: String,
    /// It came from the environment or a file.
    outside: bool,
    /// The variable is not set, and there is no default.
    unset: Option<String>,
    /// It is a file, which may hold a map or a list.
    file: bool,
}

impl<'a> Run<'a> {
    fn new(env: Environment<'a>) -> Self {
        Self {
            env,
            left: SUBSTITUTIONS,
            warnings: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn node(&mut self, node: &mut Node, path: &mut Vec<Step>, depth: usize) {
        match &mut node.tree {
            Tree::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push(Step::Index(index));
                    self.node(item, path, depth);
                    path.pop();
                }
            }
            Tree::Map(entries) => {
                for entry in entries {
                    path.push(Step::Key(entry.key.clone()));
                    self.node(&mut entry.node, path, depth);
                    path.pop();
                }
            }
            Tree::Text(text) if text.contains('$') => {
                let text = std::mem::take(text);
                match self.scalar(&text, node, path, depth) {
                    Ok(()) => {}
                    Err(message) => self.errors.push(ConfigError::at(&node.place, path, message)),
                }
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => {}
        }
    }

    fn scalar(&mut self, text: &str, node: &mut Node, path: &mut Vec<Step>, depth: usize) -> Result<(), String> {
        if let Some(reference) = whole_reference(text) {
            let found = self.reference(reference, &node.place, depth)?;
            return self.substitute(found, node, path, depth);
        }
        let (text, outside, unset) = self.text(text, &node.place, depth)?;
        node.tree = Tree::Text(text.clone());
        node.outside = outside.then_some(Outside {
            text: Some(text),
            unset,
        });
        Ok(())
    }

    /// The value is one reference and nothing else: it keeps the type that it has as YAML.
    fn substitute(&mut self, found: Found, node: &mut Node, path: &mut Vec<Step>, depth: usize) -> Result<(), String> {
        let parsed = Node::parse(&found.text, &node.place.source);
        let subtree = match parsed {
            Ok(parsed) if is_scalar(&parsed.tree) || found.file || !found.outside => parsed.tree,
            // a token such as `a: b` is text, whatever it looks like; only files bring structure
            Ok(_) | Err(_) => Tree::Text(found.text.clone()),
        };
        let scalar = is_scalar(&subtree);
        node.tree = relocated(subtree, &node.place);
        if !scalar {
            self.node(node, path, depth - 1);
        }
        if found.outside || found.unset.is_some() {
            node.outside = Some(Outside {
                text: scalar.then_some(found.text),
                unset: found.unset.into_iter().collect(),
            });
        }
        if found.outside && !scalar {
            mark_outside(node);
        }
        Ok(())
    }

    /// Text with references in between.
    fn text(&mut self, text: &str, place: &Place, depth: usize) -> Result<(String, bool, Vec<String>), String> {
        let (mut result, mut outside, mut unset) = (String::new(), false, Vec::new());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            result.push_str(before);
            if let Some(after) = from.strip_prefix("$$") {
                result.push('$');
                rest = after;
            } else if from.starts_with("${") {
                let end = closing_brace(from).ok_or("a ${ without its }; write $$ for a dollar sign")?;
                let (reference, after) = from.split_at(end + 1);
                let body = reference.get(2..end).unwrap_or_default();
                let found = self.reference(body, place, depth)?;
                outside |= found.outside;
                unset.extend(found.unset);
                result.push_str(&found.text);
                rest = after;
            } else {
                result.push('$');
                rest = from.get(1..).unwrap_or_default();
            }
        }
        result.push_str(rest);
        Ok((result, outside, unset))
    }

    fn reference(&mut self, body: &str, place: &Place, depth: usize) -> Result<Found, String> {
        if depth == 0 {
            return Err(format!("references are nested deeper than {DEPTH}"));
        }
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| format!("more than {SUBSTITUTIONS} references"))?;
        // `${env:${NAME}}`: the inside first
        let (body, inner_outside, _) = if body.contains("${") && !body.contains(":-") {
            self.text(body, place, depth - 1)?
        } else {
            (body.to_owned(), false, Vec::new())
        };
        match body.split_once(':') {
            Some(("env", name)) => self.variable(name, place, depth),
            Some(("file", path)) => read_file(path).map(|text| Found {
                text,
                outside: true,
                unset: None,
                file: true,
            }),
            Some((name, default)) if default.starts_with('-') && is_name(name) => self.variable(&body, place, depth),
            None => self.variable(&body, place, depth),
            Some((scheme, _)) if !inner_outside && is_name(scheme) => {
                Err(format!("unknown kind of reference \"{scheme}:\"; allowed: env, file"))
            }
            Some(_) => Err("unknown kind of reference; allowed: env, file".to_owned()),
        }
    }

    fn variable(&mut self, body: &str, place: &Place, depth: usize) -> Result<Found, String> {
        let (name, default) = match body.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (body, None),
        };
        if !is_name(name) {
            return Err("not the name of an environment variable; allowed: letters, digits and _".to_owned());
        }
        let found = |text, outside, unset| Found {
            text,
            outside,
            unset,
            file: false,
        };
        match ((self.env)(name), default) {
            (Some(value), _) => Ok(found(value, true, None)),
            (None, Some(default)) => {
                let (text, outside, _) = self.text(default, place, depth - 1)?;
                Ok(found(text, outside, None))
            }
            (None, None) => {
                self.warnings
                    .push(format!("{place}: the environment variable {name} is not set"));
                Ok(found(String::new(), false, Some(name.to_owned())))
            }
        }
    }
}

/// The inside of a text that is one `${…}` and nothing else.
fn whole_reference(text: &str) -> Option<&str> {
    let end = closing_brace(text)?;
    (text.starts_with("${") && end + 1 == text.len()).then(|| text.get(2..end))?
}

/// Where the `}` of the `${` at the start is.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0usize;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '{' if before == '$' => open += 1,
            '}' => {
                open = open.checked_sub(1)?;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        before = character;
    }
    None
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_scalar(tree: &Tree) -> bool {
    !matches!(tree, Tree::List(_) | Tree::Map(_))
}

fn read_file(path: &str) -> Result<String, String> {
    // the path is written in the configuration and holds no secret, unlike what the file says
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > FILE_BYTES => Err(format!("the file is larger than {FILE_BYTES} bytes")),
        Ok(_) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => Err(format!("the file cannot be read: {}", super::io_reason(&error))),
    }
}

/// A substituted subtree stands where its reference was written.
fn relocated(tree: Tree, place: &Place) -> Tree {
    match tree {
        Tree::List(mut items) => {
            for item in &mut items {
                *item = Node::plain(
                    place.clone(),
                    relocated(std::mem::replace(&mut item.tree, Tree::Null), place),
                );
            }
            Tree::List(items)
        }
        Tree::Map(mut entries) => {
            for entry in &mut entries {
                entry.place = place.clone();
                let below = std::mem::replace(&mut entry.node.tree, Tree::Null);
                entry.node = Node::plain(place.clone(), relocated(below, place));
            }
            Tree::Map(entries)
        }
        scalar => scalar,
    }
}

fn mark_outside(node: &mut Node) {
    match &mut node.tree {
        Tree::List(items) => items.iter_mut().for_each(mark_outside),
        Tree::Map(entries) => entries.iter_mut().for_each(|entry| mark_outside(&mut entry.node)),
        _ if node.outside.is_none() => {
            node.outside = Some(Outside {
                text: None,
                unset: Vec::new(),
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "PORT" => "4317",
            "TOKEN" => "007",
            "HOST" => "example.com",
            "NAME" => "HOST",
            "MAPLIKE" => "user: pass",
            "DOLLAR" => "a${HOST}$$b",
            "EMPTY" => "",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn run(text: &str) -> (Node, Result<Vec<String>, Vec<ConfigError>>) {
        let mut node = Node::plain(Place::whole("f"), Tree::Text(text.to_owned()));
        let result = interpolate(&mut node, &env);
        (node, result)
    }

    #[test]
    fn whole_references_are_typed_and_embedded_ones_are_text() {
        let cases: [(&str, Value); 15] = [
            ("${env:PORT}", json!(4317)),
            ("${PORT}", json!(4317)),
            ("${HOST}:${env:PORT}", json!("example.com:4317")),
            ("${env:TOKEN}", json!(7.0)),
            ("${env:MISSING:-1m30s}", json!("1m30s")),
            ("${MISSING:-[1, 2]}", json!([1, 2])),
            ("${MISSING:-${env:HOST}}", json!("example.com")),
            ("x${env:MISSING:-y}z", json!("xyz")),
            ("${env:${NAME}}", json!("example.com")),
            ("$$${env:PORT}", json!("$4317")),
            ("$$HOME costs $5", json!("$HOME costs $5")),
            ("$${env:PORT}", json!("${env:PORT}")),
            ("${env:MAPLIKE}", json!("user: pass")),
            ("${env:DOLLAR}", json!("a${HOST}$$b")),
            ("${env:EMPTY}", json!(null)),
        ];
        for (text, expected) in cases {
            let (node, result) = run(text);
            assert_eq!(result.map(|warnings| warnings.len()), Ok(0), "{text}");
            assert_eq!(node.to_json(), expected, "{text}");
        }
    }

    #[test]
    fn what_came_from_outside_is_marked_and_keeps_its_text() {
        let (node, _) = run("${env:TOKEN}");
        assert_eq!(node.outside.unwrap().text.unwrap(), "007");
        let (node, _) = run("Bearer ${env:TOKEN}");
        assert!(node.outside.is_some());
        let (node, _) = run("${env:MISSING:-plain}");
        assert!(node.outside.is_none());
    }

    #[test]
    fn unset_variables_warn_and_are_nothing() {
        let (node, result) = run("${env:MISSING}");
        assert_eq!(node.tree, Tree::Null);
        assert!(result.unwrap()[0].contains("MISSING is not set"));
        let (node, result) = run("a${MISSING}b");
        assert_eq!(node.tree, Tree::Text("ab".into()));
        assert_eq!(result.unwrap().len(), 1);
    }

    #[test]
    fn broken_references_say_what_is_allowed() {
        for (text, part) in [
            ("${env:A B}", "letters, digits and _"),
            ("x${env:PORT", "without its }"),
            ("${http://x}", "allowed: env, file"),
            ("${file:/no/such/file}", "cannot be read"),
        ] {
            let (_, result) = run(text);
            let error = result.unwrap_err().remove(0).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn files_bring_text_or_a_subtree_which_is_looked_through_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("token"), "sesame\n").unwrap();
        std::fs::write(path("tree.yaml"), "a: ${env:PORT}\nb: [\"${env:HOST}\"]\n").unwrap();
        let (node, _) = run(&format!("${{file:{}}}", path("token")));
        assert_eq!(node.tree, Tree::Text("sesame".into()));
        let (node, _) = run(&format!("${{file:{}}}", path("tree.yaml")));
        assert_eq!(node.to_json(), json!({"a": 4317, "b": ["example.com"]}));
        assert!(node.get("a").unwrap().outside.is_some());
    }

    #[test]
    fn a_file_that_names_itself_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loop.yaml");
        std::fs::write(&path, format!("a: ${{file:{}}}\n", path.display())).unwrap();
        let (_, result) = run(&format!("${{file:{}}}", path.display()));
        assert!(result.unwrap_err()[0].to_string().contains("nested deeper"));
    }
}
