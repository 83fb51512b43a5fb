//! `services_dir`: a small file for each service or team, in which they write down their own numbers.
//!
//! Files are `<name>.yaml` in the directory or `<team>/<name>.yaml` one level below; what begins with a dot is passed by, which is how
//! Kubernetes puts a new version of a mounted ConfigMap beside the old one. A file is taken when two looks have found it the same, so
//! that nobody is caught in the middle of writing. What is wrong in one file changes nothing but that the file says so: its last good
//! rule stays.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::fs::OFlags;
use serde_json::{Map, Value};
use serde_saphyr::{Location, Spanned};

use super::config::{Bounds, Rule, ServiceRule};
use crate::pipeline::spec::{BuildContext, BuildError, parse};
use crate::pipeline::units::io_reason;
use crate::telemetry::ServiceFileMetrics;

/// How often files are looked at; a change is taken at the second look that finds it.
const EVERY: Duration = Duration::from_millis(400);
/// Files that are read, in the order of their names.
const MOST_FILES: usize = 1_024;
/// Entries of a directory that are looked at.
const MOST_ENTRIES: usize = 8 * MOST_FILES;
/// Bytes of a file.
const MOST_BYTES: u64 = 64 << 10;

/// The rules of a directory, as it stands.
pub struct Services {
    current: Arc<ArcSwap<Vec<Rule>>>,
    doubts: Vec<BuildError>,
}

/// What is known of the directory.
struct Directory {
    path: PathBuf,
    bounds: Bounds,
    processor: Arc<str>,
    metrics: ServiceFileMetrics,
    current: Arc<ArcSwap<Vec<Rule>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By path below the directory: the order in which rules count.
    files: BTreeMap<PathBuf, Known>,
    /// What is wrong with the directory itself.
    trouble: Option<String>,
    /// What the log is to say.
    news: Vec<News>,
}

/// A file as it is known.
#[derive(Default)]
struct Known {
    /// As it was at the last look; none if it was not there.
    seen: Option<Mark>,
    /// As it was when it was taken.
    taken: Option<Mark>,
    /// Its last good rule, within the bounds.
    rule: Option<ServiceRule>,
    /// What is wrong with it now.
    wrong: Option<String>,
    /// An earlier file is about the same, and counts.
    same_as: Option<PathBuf>,
}

/// What a file is known again by: device, inode, size, and when it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark(u64, u64, u64, i64, i64);

/// What happened to a file.
#[derive(Debug, PartialEq)]
enum News {
    Taken(PathBuf),
    Gone(PathBuf),
    Wrong(PathBuf, String),
    Double(PathBuf, PathBuf),
    Held(PathBuf, Vec<&'static str>),
    Trouble(String),
    Mended,
}

impl Services {
    /// Reads a directory, and has it looked at as long as the processor runs.
    pub fn open(path: &Path, bounds: &Bounds, cx: &BuildContext) -> Result<Self, BuildError> {
        if path.as_os_str().is_empty() {
            return Err(BuildError::at(
                "services_dir",
                "no path; leave it out where there is none",
            ));
        }
        bounds.check()?;
        let directory = Arc::new(Directory {
            path: path.to_owned(),
            bounds: bounds.clone(),
            processor: cx.id.clone(),
            metrics: cx.metrics.service_files(&cx.id),
            current: Arc::default(),
            state: Mutex::default(),
        });
        // the first look takes what it sees
        directory.look();
        directory.look();
        let services = Self {
            current: directory.current.clone(),
            doubts: directory.doubts(),
        };
        cx.feeders.register(EVERY, move || {
            directory.look();
            directory.tell();
        });
        Ok(services)
    }

    /// The rules, the first that matches first.
    pub fn current(&self) -> Arc<Vec<Rule>> {
        self.current.load_full()
    }

    /// What was wrong in it at the beginning.
    pub fn doubts(&self) -> &[BuildError] {
        &self.doubts
    }
}

impl Directory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks once, and takes what has settled.
    fn look(&self) {
        let found = list(&self.path);
        let mut state = self.state();
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                // what cannot be looked at is not known to have changed
                let why = format!("{}: {why}", self.path.display());
                if state.trouble.as_ref() != Some(&why) {
                    state.news.push(News::Trouble(why.clone()));
                    state.trouble = Some(why);
                }
                return;
            }
        };
        if state.trouble.take().is_some() {
            state.news.push(News::Mended);
        }
        if state.settle(found, &self.path, &self.bounds, &self.metrics) {
            let rules = state.rules();
            self.current.store(Arc::new(rules));
        }
    }

    /// Says what has happened since it was said last.
    fn tell(&self) {
        let mut state = self.state();
        let news = std::mem::take(&mut state.news);
        let good = state
            .files
            .values()
            .filter(|file| file.wrong.is_none() && file.same_as.is_none())
            .count();
        let broken = state.files.len() - good;
        let is_broken = state.trouble.is_some();
        drop(state);
        self.metrics.files(good as u64, broken as u64, is_broken);
        let processor = &self.processor;
        for news in news {
            match news {
                News::Taken(path) => {
                    tracing::info!(%processor, file = %path.display(), "the budget of a service is taken")
                }
                News::Gone(path) => {
                    tracing::info!(%processor, file = %path.display(), "the budget of a service is gone")
                }
                News::Wrong(path, why) => {
                    let file = path.display();
                    tracing::warn!(%processor, %file, "the budget of a service cannot be used, and the one before stays: {why}");
                }
                News::Double(path, same) => {
                    let (file, counts) = (path.display(), same.display());
                    tracing::warn!(%processor, %file, %counts, "two files are about the same services, and the first one counts");
                }
                News::Held(path, keys) => {
                    let (file, keys) = (path.display(), keys.join(", "));
                    tracing::warn!(%processor, %file, keys, "the budget of a service is beyond its bounds, and brought to the nearest that is allowed");
                }
                News::Trouble(why) => {
                    tracing::warn!(%processor, "the budgets of services cannot be looked at, and stay: {why}")
                }
                News::Mended => tracing::info!(%processor, "the budgets of services can be looked at again"),
            }
        }
    }

    fn doubts(&self) -> Vec<BuildError> {
        let state = self.state();
        let files = state.files.iter();
        let wrong = files.filter_map(|(path, file)| file.fault(&self.path.join(path)));
        let held = state.news.iter().filter_map(|news| match news {
            News::Held(path, keys) => {
                let (path, keys) = (self.path.join(path), keys.join(", "));
                Some(format!("{}: beyond `bounds`: {keys}", path.display()))
            }
            _ => None,
        });
        let all = state.trouble.clone().into_iter().chain(wrong).chain(held);
        all.map(|why| BuildError::at("services_dir", why)).collect()
    }
}

impl State {
    /// Takes what two looks have found the same. Says whether the rules are others now.
    fn settle(
        &mut self,
        found: BTreeMap<PathBuf, Mark>,
        directory: &Path,
        bounds: &Bounds,
        metrics: &ServiceFileMetrics,
    ) -> bool {
        let mut is_changed = false;
        for path in found.keys() {
            self.files.entry(path.clone()).or_default();
        }
        let mut gone = Vec::new();
        for (path, known) in &mut self.files {
            let now = found.get(path).copied();
            let is_settled = known.seen == now;
            known.seen = now;
            if !is_settled || known.taken == now && now.is_some() {
                continue;
            }
            if now.is_none() {
                gone.push(path.clone());
                continue;
            }
            known.taken = now;
            is_changed = true;
            match read(directory, path) {
                Ok(mut rule) => {
                    let held = bounds.hold(&mut rule);
                    self.news.push(News::Taken(path.clone()));
                    if !held.is_empty() {
                        held.iter().for_each(|key| metrics.held(key));
                        self.news.push(News::Held(path.clone(), held));
                    }
                    (known.rule, known.wrong) = (Some(rule), None);
                }
                Err(why) => {
                    self.news.push(News::Wrong(path.clone(), why.clone()));
                    known.wrong = Some(why);
                }
            }
        }
        for path in gone {
            is_changed = true;
            self.files.remove(&path);
            self.news.push(News::Gone(path));
        }
        if is_changed {
            self.find_doubles();
        }
        is_changed
    }

    /// Of files that claim the same the first counts.
    fn find_doubles(&mut self) {
        let mut first: Vec<(ServiceRule, PathBuf)> = Vec::new();
        for (path, known) in &mut self.files {
            let Some(rule) = &known.rule else { continue };
            let same = first.iter().find(|(other, _)| other.matching == rule.matching);
            let same = same.map(|(_, path)| path.clone());
            match &same {
                None => first.push((rule.clone(), path.clone())),
                Some(same) if known.same_as.as_ref() != Some(same) => {
                    self.news.push(News::Double(path.clone(), same.clone()));
                }
                Some(_) => {}
            }
            known.same_as = same;
        }
    }

    fn rules(&self) -> Vec<Rule> {
        let counting = self.files.values().filter(|known| known.same_as.is_none());
        let rules = counting.filter_map(|known| known.rule.clone());
        // each was good when it was read
        rules.filter_map(|rule| Rule::new("", rule).ok()).collect()
    }
}

impl Known {
    /// What is wrong with the file at a path.
    fn fault(&self, path: &Path) -> Option<String> {
        let double = |same: &PathBuf| {
            let (path, same) = (path.display(), same.display());
            format!("{path}: about the same as {same}, which counts")
        };
        self.wrong.clone().or_else(|| self.same_as.as_ref().map(double))
    }
}

/// The files of a directory and of those in it.
fn list(directory: &Path) -> Result<BTreeMap<PathBuf, Mark>, String> {
    let mut found = BTreeMap::new();
    let mut left = MOST_ENTRIES;
    for (name, path) in entries(directory, &mut left).map_err(|error| io_reason(&error))? {
        if fs::metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            // a directory that goes away while it is looked at is none
            for (below, path) in entries(&path, &mut left).unwrap_or_default() {
                add(&mut found, Path::new(&name).join(below), &path);
            }
        } else {
            add(&mut found, PathBuf::from(name), &path);
        }
    }
    match left {
        0 => Err(format!("more than {MOST_ENTRIES} entries")),
        _ if found.len() > MOST_FILES => Err(format!("more than {MOST_FILES} files")),
        _ => Ok(found),
    }
}

fn entries(directory: &Path, left: &mut usize) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        *left = left.saturating_sub(1);
        if *left == 0 {
            break;
        }
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push((name, entry.path()));
        }
    }
    names.sort();
    Ok(names)
}

fn add(found: &mut BTreeMap<PathBuf, Mark>, name: PathBuf, path: &Path) {
    let is_yaml = name
        .extension()
        .is_some_and(|ending| ending == "yaml" || ending == "yml");
    // a link that leads nowhere is a file that is wrong
    let mark = match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return,
        Ok(meta) => Mark(meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()),
        Err(_) => Mark(0, 0, 0, 0, 0),
    };
    if is_yaml {
        found.insert(name, mark);
    }
}

/// The rule in a file, or what is wrong with it and where.
fn read(directory: &Path, name: &Path) -> Result<ServiceRule, String> {
    let path = directory.join(name);
    let wrong = |why: String| format!("{}: {why}", path.display());
    let text = text(directory, &path).map_err(wrong)?;
    rule(&text).map_err(|(place, why)| {
        let path = path.display();
        match place {
            Some(place) => format!("{path}:{}:{}: {why}", place.line(), place.column()),
            None => format!("{path}: {why}"),
        }
    })
}

fn text(directory: &Path, path: &Path) -> Result<String, String> {
    let reason = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "a link that leads nowhere".to_owned(),
        _ => io_reason(&error),
    };
    let (real, inside) = (
        path.canonicalize().map_err(reason)?,
        directory.canonicalize().map_err(reason)?,
    );
    if !real.starts_with(&inside) {
        return Err("a link that leads out of the directory".to_owned());
    }
    // whatever else stands there keeps nobody waiting
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::CLOEXEC).bits()).unwrap_or_default();
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(real)
        .map_err(reason)?;
    if !file.metadata().map_err(reason)?.is_file() {
        return Err("not a file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(reason)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("larger than {MOST_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "not text in UTF-8".to_owned())
}

type Misfit = (Option<Location>, String);

/// Reads a rule strictly; of what is wrong the place of the key is told.
fn rule(text: &str) -> Result<ServiceRule, Misfit> {
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    let read: Result<BTreeMap<String, Spanned<Value>>, _> = serde_saphyr::from_str_with_options(text, options);
    let keys = read.map_err(|error| {
        let why = "not the YAML of a service: keys such as `match`, `target_hz` and `bytes_per_s`, each with its value";
        (error.location(), why.to_owned())
    })?;
    let at = |path: &str, why: String| {
        let key = path.split(['.', '[']).next().unwrap_or_default();
        let named = keys.get(key).or_else(|| {
            keys.iter()
                .find(|(key, _)| why.contains(&format!("`{key}`")))
                .map(|(_, v)| v)
        });
        (named.map(|value| value.referenced), why)
    };
    let whole: Map<String, Value> = keys
        .iter()
        .map(|(key, value)| (key.clone(), value.value.clone()))
        .collect();
    if whole.get("match").and_then(Value::as_object).is_some_and(Map::is_empty) {
        return Err(at(
            "match",
            "an empty match would be about every service; name one".to_owned(),
        ));
    }
    let rule: ServiceRule = parse(Value::Object(whole)).map_err(|wrong| at(&wrong.path, told(&wrong)))?;
    // whether it can be used, beyond being written well
    Rule::new("", rule.clone()).map_err(|wrong| at(&wrong.path, told(&wrong)))?;
    Ok(rule)
}

fn told(wrong: &BuildError) -> String {
    match wrong.path.as_str() {
        "" => wrong.message.clone(),
        path => format!("{path}: {}", wrong.message),
    }
}

#[cfg(test)]
mod tests;
