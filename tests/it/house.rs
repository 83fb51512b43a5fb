//! The rules of the house that no compiler checks: who may use whom, and how long a file may be.

use std::path::{Path, PathBuf};

/// What each module of the crate may use besides itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("profile", &[]),
    ("formats", &["profile"]),
    ("telemetry", &[]),
    ("pipeline", &["profile", "formats", "telemetry"]),
    ("config", &["pipeline"]),
    // the wire primitives of `formats` frame gRPC messages
    ("net", &["telemetry", "pipeline", "formats"]),
    ("processors", &["profile", "formats", "pipeline", "telemetry"]),
    ("receivers", &["profile", "formats", "pipeline", "telemetry", "net"]),
    ("exporters", &["profile", "formats", "pipeline", "telemetry", "net"]),
    ("extensions", &["telemetry", "pipeline", "net"]),
    ("kill", &["telemetry", "pipeline", "config"]),
    ("ledger", &["telemetry", "pipeline", "net"]),
    ("admin", &["pipeline", "telemetry", "config", "net", "kill", "ledger"]),
];

/// Every source file, with its path below `src`.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                sources.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    sources.sort();
    sources
}

/// The sources that are part of the product: without the modules declared under `cfg(test)`.
fn product() -> Vec<(PathBuf, String)> {
    let mut sources = sources();
    let mut tests = Vec::new();
    for (_, text) in &sources {
        for after in text.split("#[cfg(test)]\n").skip(1) {
            let line = after.lines().next().unwrap_or_default();
            if let Some(name) = line
                .trim_start_matches("pub ")
                .strip_prefix("mod ")
                .and_then(|name| name.strip_suffix(';'))
            {
                tests.push(name.to_owned());
            }
        }
    }
    sources.retain(|(path, _)| {
        !path.iter().any(|part| {
            tests
                .iter()
                .any(|test| part.to_string_lossy().trim_end_matches(".rs") == test)
        })
    });
    sources
}

/// The lines of code: without comments, and up to the unit tests at the end of the file.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// What follows `prefix` wherever it stands in `line`, up to the end of the word.
fn words_after<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.split(prefix).skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

fn top(path: &Path) -> String {
    path.iter().next().unwrap().to_string_lossy().replace(".rs", "")
}

#[test]
fn modules_use_only_what_is_below_them() {
    let mut broken = Vec::new();
    for (path, text) in product() {
        let module = top(&path);
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            assert!(
                ["app", "cli", "lib", "main"].contains(&&*module),
                "{module} has no row in MAY_USE"
            );
            continue;
        };
        for line in code(&text) {
            assert!(
                !line.contains("crate::{"),
                "{}: one `use crate::module` a line",
                path.display()
            );
            for used in words_after(line, "crate::") {
                if used != module && !allowed.contains(&used) {
                    broken.push(format!("{}: {module} may not use {used}", path.display()));
                }
            }
            if module == "processors" && words_after(line, "tokio::").next().is_some() {
                broken.push(format!(
                    "{}: processors never wait, so they have no use for tokio",
                    path.display()
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The components of one kind: the modules whose `SPEC` stands in its table.
fn components(kind: &str) -> Vec<String> {
    let table = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src")
        .join(kind)
        .join("mod.rs");
    let table = std::fs::read_to_string(table).unwrap();
    let mut names: Vec<String> = Vec::new();
    for word in table.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':') {
        names.extend(word.strip_suffix("::SPEC").map(str::to_owned));
    }
    assert!(!names.is_empty(), "no table in {kind}/mod.rs");
    names
}

#[test]
fn a_component_never_uses_another_component() {
    let mut broken = Vec::new();
    for kind in ["receivers", "processors", "exporters"] {
        let components = components(kind);
        for (path, text) in product() {
            let below = path.strip_prefix(kind).map(top).unwrap_or_default();
            if !components.contains(&below) {
                continue;
            }
            let outermost = path.iter().count() == 2 && !path.ends_with("mod.rs");
            for line in code(&text) {
                let absolute = format!("crate::{kind}::");
                let relative = if outermost { "use super::" } else { "use super::super::" };
                for used in words_after(line, &absolute).chain(words_after(line, relative)) {
                    if used != below && components.iter().any(|component| component == used) {
                        broken.push(format!("{}: {below} uses {used}", path.display()));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_app_and_cli_name_the_tables() {
    for (path, text) in product() {
        if ["app", "cli"].contains(&&*top(&path)) {
            continue;
        }
        for line in code(&text) {
            for table in ["receivers::ALL", "processors::ALL", "exporters::ALL"] {
                assert!(!line.contains(table), "{} names {table}", path.display());
            }
        }
    }
}

#[test]
fn files_are_short() {
    for (path, text) in sources() {
        let most = if path == Path::new("main.rs") { 59 } else { 800 };
        let lines = text.lines().count();
        assert!(
            lines <= most,
            "{} has {lines} lines; {most} are the most",
            path.display()
        );
    }
}
