//! From the merged tree to the components and pipelines that it asks for, or to everything that is wrong with it.

use std::sync::Arc;

use super::catalog::{Catalog, Kind};
use super::error::{ConfigError, ConfigErrors, did_you_mean, plain_message, unknown_field};
use super::references::{Named, insert_authenticators, names_authenticator};
use super::service::{Pipeline, Service};
use super::tree::{Entry, Node, Place, Step, Tree, dotted};
use super::{foreign, hints};
use crate::pipeline::Signal;
use crate::pipeline::spec::{BuildContext, BuildError, RawConfig, parse};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Receivers, as written.
    pub receivers: Vec<Component>,
    /// Processors, as written.
    pub processors: Vec<Component>,
    /// Exporters, as written.
    pub exporters: Vec<Component>,
    /// Extensions that the service runs.
    pub extensions: Vec<Component>,
    /// Pipelines in the order in which they are written.
    pub pipelines: Vec<(String, Pipeline)>,
    /// The service.
    pub service: Service,
    /// What was written and has no effect.
    pub warnings: Vec<String>,
}

/// One configured component.
#[derive(Clone, Debug)]
pub struct Component {
    /// `type` or `type/name`, as written.
    pub id: String,
    /// Type name in the table, never an alias.
    pub type_name: &'static str,
    /// Its configuration, which it has accepted.
    pub raw: RawConfig,
}

impl Component {
    /// Whether it names this extension under `auth`.
    pub fn names_authenticator(&self, id: &str) -> bool {
        names_authenticator(&self.raw, id)
    }
}

impl Config {
    /// The components of one kind.
    pub fn components(&self, kind: Kind) -> &[Component] {
        match kind {
            Kind::Receiver => &self.receivers,
            Kind::Processor => &self.processors,
            Kind::Exporter => &self.exporters,
            Kind::Extension => &self.extensions,
        }
    }
}

const SECTIONS: [&str; 5] = ["receivers", "processors", "exporters", "extensions", "service"];

/// Checks everything; `cx` is what components are built with, for checking only.
pub fn resolve(tree: &Node, catalog: &Catalog, cx: &BuildContext) -> Result<Config, ConfigErrors> {
    let (tree, settled) = foreign::settle(tree);
    let tree = &tree;
    let mut run = Run {
        catalog,
        cx,
        errors: settled.errors,
        extensions: Vec::new(),
    };
    if !matches!(tree.tree, Tree::Map(_) | Tree::Null) {
        run.fail(&tree.place, &[], format!("expected a map, found {}", tree.kind()));
    }
    for entry in tree.entries() {
        if !SECTIONS.contains(&entry.key.as_str()) {
            let hint = match entry.key.as_str() {
                "connectors" => "; connectors are not needed: one receiver may feed several pipelines".to_owned(),
                key => did_you_mean(key, SECTIONS),
            };
            let message = format!("unknown key{hint}; allowed: {}", SECTIONS.join(", "));
            run.fail(&entry.place, &[Step::Key(entry.key.clone())], message);
        }
    }
    let extensions = run.components(tree, Kind::Extension);
    let receivers = run.components(tree, Kind::Receiver);
    let processors = run.components(tree, Kind::Processor);
    let exporters = run.components(tree, Kind::Exporter);
    let (service, pipelines) = run.service(tree);
    let extensions = run.running(tree, &service, extensions);
    run.references(tree, &pipelines);
    if !run.errors.is_empty() {
        return Err(ConfigErrors(run.errors));
    }
    let mut warnings = settled.warnings;
    warnings.extend(in_no_pipeline(tree, &pipelines));
    Ok(Config {
        receivers,
        processors,
        exporters,
        extensions,
        pipelines,
        service,
        warnings,
    })
}

struct Run<'a> {
    catalog: &'a Catalog,
    cx: &'a BuildContext,
    errors: Vec<ConfigError>,
    /// Extensions read so far, as components name them.
    extensions: Vec<Named>,
}

impl Run<'_> {
    fn fail(&mut self, place: &Place, path: &[Step], message: impl Into<String>) {
        self.errors.push(ConfigError::at(place, path, message));
    }

    fn components(&mut self, tree: &Node, kind: Kind) -> Vec<Component> {
        let mut components = Vec::new();
        let Some(section) = self.section(tree, kind.section()) else {
            return components;
        };
        let mut entries: Vec<&Entry> = section.entries().iter().collect();
        if kind == Kind::Extension {
            // those that name another one come after it
            entries.sort_by_key(|entry| entry.node.get("auth").is_some());
        }
        for entry in entries {
            let path = [Step::Key(kind.section().to_owned()), Step::Key(entry.key.clone())];
            let type_name = match id_type(&entry.key) {
                Ok(type_name) => type_name,
                Err(message) => {
                    self.fail(&entry.place, &path, message);
                    continue;
                }
            };
            let Some(row) = self.catalog.row(kind, type_name) else {
                self.fail(&entry.place, &path, self.unknown_type(kind, type_name));
                continue;
            };
            let cx = BuildContext {
                id: Arc::from(entry.key.as_str()),
                ..self.cx.clone()
            };
            let check = |mut raw: RawConfig| {
                // what is wrong with an extension is told there, and not again of whoever names it
                if insert_authenticators(&mut raw, "", &self.extensions)? {
                    self.catalog.check(kind, row.name, raw.clone(), &cx)?;
                }
                Ok(raw)
            };
            let checked = read(&entry.node, check);
            if kind == Kind::Extension {
                let raw = checked.as_ref().ok().cloned();
                let id = entry.key.clone();
                self.extensions.push(Named { id, raw });
            }
            match checked {
                Ok(raw) => components.push(Component {
                    id: entry.key.clone(),
                    type_name: row.name,
                    raw,
                }),
                Err(error) => self.errors.push(locate(&entry.node, &entry.place, &path, &error)),
            }
        }
        components
    }

    /// A section that must be a map; none if it is absent, empty or something else.
    fn section<'t>(&mut self, tree: &'t Node, name: &str) -> Option<&'t Node> {
        let node = tree.get(name)?;
        match node.tree {
            Tree::Map(_) => Some(node),
            Tree::Null => None,
            _ => {
                self.fail(
                    &node.place,
                    &[Step::Key(name.to_owned())],
                    format!("expected a map, found {}", node.kind()),
                );
                None
            }
        }
    }

    fn unknown_type(&self, kind: Kind, type_name: &str) -> String {
        if let Some(way) = hints::instead_of(kind, type_name) {
            return format!("there is no {} \"{type_name}\" here: {way}", kind.noun());
        }
        let rows = self.catalog.rows(kind);
        let names: Vec<&str> = rows.iter().map(|about| about.name).collect();
        format!(
            "unknown {}{}; allowed: {}",
            kind.noun(),
            did_you_mean(type_name, names.iter().copied()),
            names.join(", ")
        )
    }

    fn service(&mut self, tree: &Node) -> (Service, Vec<(String, Pipeline)>) {
        let path = [Step::Key("service".to_owned())];
        let Some(entry) = tree.entry("service") else {
            self.fail(&tree.place, &path, "missing: a configuration needs `service.pipelines`");
            return (Service::default(), Vec::new());
        };
        let service: Service = match read(&entry.node, parse) {
            Ok(service) => service,
            Err(error) => {
                self.errors.push(locate(&entry.node, &entry.place, &path, &error));
                return (Service::default(), Vec::new());
            }
        };
        if service.pipelines.is_empty() {
            self.fail(
                &entry.node.place,
                &path,
                "`pipelines` is missing or empty: nothing would run",
            );
        }
        let written = entry.node.get("pipelines").map(Node::entries).unwrap_or_default();
        let mut pipelines = Vec::with_capacity(written.len());
        for entry in written {
            if let Some(pipeline) = service.pipelines.get(&entry.key) {
                pipelines.push((entry.key.clone(), pipeline.clone()));
            }
        }
        (service, pipelines)
    }

    /// The extensions that the service runs. One that needs no configuration need not have any.
    fn running(&mut self, tree: &Node, service: &Service, configured: Vec<Component>) -> Vec<Component> {
        let mut running = Vec::with_capacity(service.extensions.len());
        let section = tree.get(Kind::Extension.section());
        for (index, id) in service.extensions.iter().enumerate() {
            let path = ["service", "extensions"].map(|key| Step::Key(key.to_owned()));
            let path = [path.as_slice(), &[Step::Index(index)]].concat();
            let place = descend(tree, &path).0.place.clone();
            if section.is_some_and(|section| section.get(id).is_some()) {
                running.extend(configured.iter().find(|one| one.id == *id).cloned());
                continue;
            }
            let without = |name| self.catalog.check(Kind::Extension, name, RawConfig::Null, self.cx);
            match self.catalog.row(Kind::Extension, id) {
                Some(row) if without(row.name).is_ok() => running.push(Component {
                    id: id.clone(),
                    type_name: row.name,
                    raw: RawConfig::Null,
                }),
                _ => {
                    let message = match hints::instead_of(Kind::Extension, id) {
                        Some(_) => self.unknown_type(Kind::Extension, id),
                        None => format!("no extension \"{id}\" is configured under `extensions`"),
                    };
                    self.fail(&place, &path, message);
                }
            }
        }
        running
    }

    /// Every id that a pipeline names is configured.
    fn references(&mut self, tree: &Node, pipelines: &[(String, Pipeline)]) {
        for (id, pipeline) in pipelines {
            let path = ["service", "pipelines", id].map(|key| Step::Key(key.to_owned()));
            let (node, _) = descend(tree, &path);
            if let Some(wrong) = wrong_signal(id) {
                let place = tree
                    .get("service")
                    .and_then(|service| service.get("pipelines"))
                    .and_then(|all| all.entry(id));
                let place = place.map_or(&node.place, |entry| &entry.place);
                self.fail(place, &path, wrong);
            }
            for (kind, ids) in
                Kind::ALL
                    .into_iter()
                    .zip([&pipeline.receivers, &pipeline.processors, &pipeline.exporters])
            {
                let may_be_empty = match kind {
                    Kind::Receiver => false,
                    // spans may be taken for the sake of profiles alone
                    Kind::Exporter => Signal::of_pipeline(id) == Some(Signal::Traces),
                    _ => true,
                };
                if ids.is_empty() && !may_be_empty {
                    self.fail(
                        &node.place,
                        &path,
                        format!("a pipeline needs at least one of `{}`", kind.section()),
                    );
                }
                self.references_of(tree, &path, kind, ids);
            }
        }
    }

    fn references_of(&mut self, tree: &Node, pipeline: &[Step], kind: Kind, ids: &[String]) {
        let configured = tree.get(kind.section()).map(Node::entries).unwrap_or_default();
        for (index, id) in ids.iter().enumerate() {
            let path = [pipeline, &[Step::Key(kind.section().to_owned()), Step::Index(index)]].concat();
            let place = descend(tree, &path).0.place.clone();
            if !configured.iter().any(|entry| entry.key == *id) {
                let hint = did_you_mean(id, configured.iter().map(|entry| entry.key.as_str()));
                let message = format!(
                    "no {} \"{id}\" is configured under `{}`{hint}",
                    kind.noun(),
                    kind.section()
                );
                self.fail(&place, &path, message);
            } else if ids.iter().take(index).any(|earlier| earlier == id) {
                self.fail(&place, &path, "stands twice in this list");
            }
        }
    }
}

/// What is configured and runs nowhere, which is rarely meant.
pub(super) fn in_no_pipeline(tree: &Node, pipelines: &[(String, Pipeline)]) -> Vec<String> {
    let mut warnings = Vec::new();
    for kind in [Kind::Receiver, Kind::Processor, Kind::Exporter] {
        let configured = tree.get(kind.section()).map(Node::entries).unwrap_or_default();
        for entry in configured {
            let is_used = pipelines.iter().any(|(_, pipeline)| {
                let ids = match kind {
                    Kind::Receiver => &pipeline.receivers,
                    Kind::Processor => &pipeline.processors,
                    _ => &pipeline.exporters,
                };
                ids.contains(&entry.key)
            });
            if !is_used {
                let path = [Step::Key(kind.section().to_owned()), Step::Key(entry.key.clone())];
                let warning = ConfigError::at(&entry.place, &path, "is used by no pipeline, and does nothing");
                warnings.push(warning.to_string());
            }
        }
    }
    warnings
}

/// The type of an id, `type` or `type/name`.
fn id_type(id: &str) -> Result<&str, &'static str> {
    let (type_name, name) = match id.split_once('/') {
        Some((type_name, name)) => (type_name, Some(name)),
        None => (id, None),
    };
    let fine = |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if fine(type_name) && name.is_none_or(fine) {
        return Ok(type_name);
    }
    Err("not an id; allowed: TYPE or TYPE/NAME, without blanks")
}

/// What is wrong with a pipeline that does not carry profiles.
fn wrong_signal(id: &str) -> Option<String> {
    match id_type(id) {
        Ok("profiles" | "traces") => None,
        Ok(signal @ ("metrics" | "logs")) => Some(format!(
            "only profiles and traces are taken and sent here; leave pipelines of {signal} to the Collector, beside the gate or \
             behind it"
        )),
        Ok(signal) => {
            let known = Signal::ALL.map(Signal::label);
            let hint = did_you_mean(signal, known);
            Some(format!(
                "unknown signal{hint}; allowed: profiles, traces, and either with /NAME behind it"
            ))
        }
        Err(message) => Some(message.to_owned()),
    }
}

/// Reads a value of a tree. Where a substituted value has the wrong type, the text it came from is tried:
/// a token made of digits is text if text is wanted.
fn read<T>(node: &Node, from: impl Fn(RawConfig) -> Result<T, BuildError>) -> Result<T, BuildError> {
    let mut node = node.clone();
    loop {
        match from(node.to_json()) {
            Err(error) if error.message.starts_with("invalid type") && to_text(&mut node, &error.path) => {}
            result => return result,
        }
    }
}

/// Turns a substituted scalar into the text it came from; false if there is none.
fn to_text(node: &mut Node, path: &str) -> bool {
    let (steps, rest) = steps(node, path);
    let mut at = node;
    for step in &steps {
        let Some(below) = at.child_mut(step) else { return false };
        at = below;
    }
    let text = at.outside.as_ref().and_then(|outside| outside.text.clone());
    match text {
        Some(text) if rest.is_empty() && !matches!(at.tree, Tree::Text(_)) => {
            at.tree = Tree::Text(text);
            true
        }
        _ => false,
    }
}

/// The error of a component, with the place of what it is about.
fn locate(node: &Node, key_place: &Place, above: &[Step], error: &BuildError) -> ConfigError {
    let (mut below, mut rest) = steps(node, &error.path);
    let word = unknown_field(&error.message);
    // whether the unknown key itself is in the path differs from error to error
    if let Some(word) = word
        && below.last() != Some(&Step::Key(word.to_owned()))
        && descend(node, &below).0.entry(word).is_some()
    {
        below.push(Step::Key(word.to_owned()));
        rest = String::new();
    }
    let (at, _) = descend(node, &below);
    let place = match (word, below.split_last()) {
        (Some(word), Some((_, parent))) => {
            let parent = descend(node, parent).0;
            parent.entry(word).map_or(&at.place, |entry| &entry.place)
        }
        (_, None) if matches!(at.tree, Tree::Null) => key_place,
        _ => &at.place,
    };
    let mut path = dotted(&[above, &below].concat());
    if !rest.is_empty() {
        // an item of a list stands without a dot
        if !rest.starts_with('[') {
            path.push('.');
        }
        path.push_str(&rest);
    }
    let mut message = plain_message(&error.message);
    if let Some(outside) = &at.outside
        && !outside.unset.is_empty()
    {
        message = format!(
            "{message}; the environment variable {} is not set",
            outside.unset.join(", ")
        );
    }
    ConfigError::new(place.clone(), path, message)
}

/// Where the value at a path was written, or the nearest one above it that was written at all. `[n]` is an item of a list.
pub fn place_of(tree: &Node, path: &[String]) -> Place {
    let step = |text: &String| {
        let index = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let index = index.and_then(|index| index.parse().ok());
        index.map_or_else(|| Step::Key(text.clone()), Step::Index)
    };
    let path: Vec<Step> = path.iter().map(step).collect();
    descend(tree, &path).0.place.clone()
}

/// Follows a path as far as the tree goes; the second value is how many steps that were.
fn descend<'t>(node: &'t Node, path: &[Step]) -> (&'t Node, usize) {
    let mut at = node;
    for (done, step) in path.iter().enumerate() {
        match at.child(step) {
            Some(below) => at = below,
            None => return (at, done),
        }
    }
    (at, path.len())
}

/// A dotted path as steps into the tree, as far as the tree goes, and what is left. Keys may hold dots: the longest key that fits wins.
fn steps(node: &Node, path: &str) -> (Vec<Step>, String) {
    let (mut at, mut rest, mut steps) = (node, path, Vec::new());
    while let Some((step, after)) = next_step(at, rest) {
        let Some(below) = at.child(&step) else { break };
        steps.push(step);
        at = below;
        rest = after;
    }
    (steps, rest.trim_start_matches('.').to_owned())
}

fn next_step<'p>(at: &Node, path: &'p str) -> Option<(Step, &'p str)> {
    let path = path.strip_prefix('.').unwrap_or(path);
    if let Some(index) = path.strip_prefix('[') {
        let (index, after) = index.split_once(']')?;
        return Some((Step::Index(index.parse().ok()?), after));
    }
    let fits = |key: &&str| {
        path.strip_prefix(*key)
            .is_some_and(|after| after.is_empty() || after.starts_with('.') || after.starts_with('['))
    };
    let key = at
        .entries()
        .iter()
        .map(|entry| entry.key.as_str())
        .filter(fits)
        .max_by_key(|key| key.len())?;
    Some((Step::Key(key.to_owned()), path.get(key.len()..)?))
}
