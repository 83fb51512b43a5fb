//! `docs`: writes the reference pages from the tables of components, so that they cannot say anything else.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};

use super::{Failure, show};
use crate::app::CATALOG;
use crate::config::{self, Kind, io_reason};
use crate::pipeline::spec::About;

/// What `docs` takes.
#[derive(Args)]
pub struct DocsArgs {
    /// Folder of the pages
    #[arg(long, default_value = "docs/reference")]
    dir: PathBuf,
    /// Writes nothing, and says which pages are stale
    #[arg(long)]
    check: bool,
}

/// Writes or checks the pages.
pub fn docs(args: &DocsArgs) -> Result<(), Failure> {
    let mut stale = Vec::new();
    for (name, text) in pages() {
        let path = args.dir.join(&name);
        if args.check {
            if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
                stale.push(name);
            }
        } else {
            write(&path, &text)?;
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(Failure::No(format!(
        "stale: {}; run `cargo run -- docs`",
        stale.join(", ")
    )))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| Failure::Trouble(format!("cannot write {}: {}", path.display(), io_reason(&error))))
}

fn pages() -> Vec<(String, String)> {
    let mut pages: Vec<(String, String)> = Kind::ALL
        .into_iter()
        .map(|kind| (format!("{}.md", kind.section()), page(kind)))
        .collect();
    pages.push(("schema.json".to_owned(), format!("{:#}\n", config::schema(&CATALOG))));
    pages
}

fn page(kind: Kind) -> String {
    let section = kind.section();
    let mut text = format!("<!-- written by `cargo run -- docs` -->\n\n# Reference: {section}\n");
    for about in CATALOG.rows(kind) {
        text.push_str(&component(about, section));
    }
    text
}

fn component(about: &About, section: &str) -> String {
    let mut text = format!("\n## {}\n\n{}\n\n", about.name, about.summary);
    if !about.aliases.is_empty() {
        let _ = writeln!(text, "- also written: `{}`", about.aliases.join("`, `"));
    }
    let _ = writeln!(text, "- stability: {}", show::stability(about));
    let _ = writeln!(text, "- signals: {}\n\n{}", about.signals.join(", "), about.docs.trim());
    let schema = (about.schema)().to_value();
    let mut rows = String::new();
    keys(&schema, &schema, "", 0, &mut rows);
    if !rows.is_empty() {
        let _ = write!(text, "\n| key | type | default | |\n|---|---|---|---|\n{rows}");
    }
    let _ = write!(text, "\n```yaml\n{section}:\n");
    for line in about.example.trim_end().lines() {
        let _ = writeln!(text, "  {line}");
    }
    text.push_str("```\n");
    text
}

/// How deep keys lie at most; a schema may refer to itself.
const DEEPEST: usize = 6;

fn keys(schema: &Value, root: &Value, prefix: &str, depth: usize, rows: &mut String) {
    let Some(properties) = resolve(schema, root).get("properties").and_then(Value::as_object) else {
        return;
    };
    if depth >= DEEPEST {
        return;
    }
    let mut properties: Vec<(&String, &Value)> = properties.iter().collect();
    properties.sort_by_key(|(name, _)| name.as_str());
    for (name, property) in properties {
        let target = resolve(property, root);
        let path = format!("{prefix}{name}");
        let default = property.get("default").or_else(|| target.get("default"));
        let default = default.map(|value| format!("`{value}`")).unwrap_or_default();
        let words = property.get("description").or_else(|| target.get("description"));
        let words = words.and_then(Value::as_str).unwrap_or_default();
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let kind = kind_of(target, root, depth);
        let cells = [kind, default, words].map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(rows, "| `{path}` | {} |", cells.join(" | "));
        keys(target, root, &format!("{path}."), depth + 1, rows);
    }
}

/// What a schema refers to, if it refers: directly, or as one that may be null.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let name = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|name| name.strip_prefix('#'));
    if let Some(target) = name.and_then(|name| root.pointer(name)) {
        return target;
    }
    let some = schema
        .get("anyOf")
        .and_then(Value::as_array)
        .and_then(|choices| match choices.as_slice() {
            [some, null] if null.get("type").and_then(Value::as_str) == Some("null") => Some(some),
            _ => None,
        });
    some.map_or(schema, |some| resolve(some, root))
}

fn kind_of(schema: &Value, root: &Value, depth: usize) -> String {
    let schema = resolve(schema, root);
    if depth >= DEEPEST {
        return String::new();
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        return choices
            .iter()
            .map(|choice| format!("`{choice}`"))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(key).and_then(Value::as_array) {
            let kinds: Vec<String> = choices.iter().map(|choice| kind_of(choice, root, depth + 1)).collect();
            return kinds.join(" or ");
        }
    }
    match (schema.get("const"), schema.get("type")) {
        (Some(value), _) => format!("`{value}`"),
        (None, Some(Value::String(kind))) if kind == "array" => {
            let item = schema.get("items").unwrap_or(&Value::Null);
            format!("list of {}", kind_of(item, root, depth + 1))
        }
        (None, Some(Value::String(kind))) => kind.clone(),
        (None, Some(Value::Array(kinds))) => {
            let kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            kinds.collect::<Vec<_>>().join(" or ")
        }
        _ => schema
            .as_object()
            .filter(|object| !Map::is_empty(object))
            .map_or("any", |_| "object")
            .to_owned(),
    }
}
