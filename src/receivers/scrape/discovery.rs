//! Targets in files, as Prometheus's `file_sd_configs` has them: looked at again and again, and read when they have changed.
//!
//! A file that cannot be read or understood changes nothing: its targets stay, and the log says so once. One that is gone takes its
//! targets with it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::targets::{Group, Maker, Roster};
use crate::net::client::Client;
use crate::pipeline::units::io_reason;
use crate::receivers::pull::{Found, Target};

/// Largest file that is read.
const FILE_BYTES: u64 = 4 << 20;
/// Most files of all patterns together.
const FILES: usize = 256;
/// Endings of files, by which their form is known.
const ENDINGS: [&str; 3] = ["json", "yml", "yaml"];

/// Where files are: a path whose last part may hold `*` for any text.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    directory: PathBuf,
    name: String,
}

/// Looks for targets.
pub(super) struct Discovery {
    pub receiver: Arc<str>,
    pub patterns: Vec<Pattern>,
    pub every: Duration,
    /// Targets of the configuration, which come first.
    pub fixed: Vec<Arc<Target>>,
    pub maker: Maker,
    /// Who asks the targets that are found.
    pub client: Client,
    pub most: usize,
}

impl Pattern {
    /// Reads a pattern; the error says what is allowed.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let path = Path::new(text);
        let ending = path.extension().and_then(|ending| ending.to_str());
        let (Some(name), Some(directory)) = (path.file_name().and_then(|name| name.to_str()), path.parent()) else {
            return Err("not a path of a file");
        };
        if !ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            return Err("files of targets end in .json, .yml or .yaml");
        }
        if directory.to_str().is_none_or(|directory| directory.contains('*')) {
            return Err("only the last part of a path may hold *");
        }
        Ok(Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
        })
    }

    fn files(&self) -> Vec<PathBuf> {
        if !self.name.contains('*') {
            return vec![self.directory.join(&self.name)];
        }
        let directory = match self.directory.as_os_str().is_empty() {
            true => Path::new("."),
            false => &self.directory,
        };
        let names = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut found: Vec<PathBuf> = names
            .filter(|name| !name.starts_with('.') && matches(&self.name, name))
            .map(|name| self.directory.join(name))
            .collect();
        found.sort();
        found
    }
}

/// Whether `*` of a pattern, each standing for any text, make it a name.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(first) else {
        return false;
    };
    let starts = name.char_indices().map(|(at, _)| at).chain([name.len()]);
    starts.filter_map(|at| name.get(at..)).any(|tail| matches(rest, tail))
}

/// Files, as they were read last.
#[derive(Default)]
struct Files {
    known: BTreeMap<PathBuf, Known>,
    hasher: RandomState,
}

#[derive(Default)]
struct Known {
    /// Of the contents, or of the reason why there are none.
    fingerprint: u64,
    groups: Vec<Group>,
}

impl Discovery {
    /// Looks for targets for ever, and tells of them when they have changed.
    pub(super) async fn run(self, tell: watch::Sender<Found>) -> Infallible {
        let this = Arc::new(self);
        let mut files = Files::default();
        loop {
            let looking = this.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let found = files.look(&looking.patterns, &looking.receiver);
                (found.then(|| looking.collect(&files)), files)
            });
            match looked.await {
                Ok((found, looked)) => {
                    files = looked;
                    if let Some(found) = found {
                        tell.send_replace(found);
                    }
                }
                // only while the process ends
                Err(_) => files = Files::default(),
            }
            tokio::time::sleep(this.every).await;
        }
    }

    fn collect(&self, files: &Files) -> Found {
        let mut roster = Roster::new(self.most);
        for target in &self.fixed {
            roster.add(target.clone());
        }
        let mut told = false;
        for (path, known) in &files.known {
            for (group, of) in known.groups.iter().enumerate() {
                for (place, address) in of.targets.iter().enumerate() {
                    match self.maker.target(address, &of.labels, &self.client) {
                        Ok(target) => {
                            roster.add(Arc::new(target));
                        }
                        Err(why) => {
                            roster.leave_out();
                            if !std::mem::replace(&mut told, true) {
                                let file = path.display();
                                tracing::warn!(receiver = %self.receiver, %file, group, target = place, why, "a target is left out");
                            }
                        }
                    }
                }
            }
        }
        roster.found
    }
}

impl Files {
    /// Reads what has changed; false if nothing has.
    fn look(&mut self, patterns: &[Pattern], receiver: &str) -> bool {
        let mut paths: Vec<PathBuf> = patterns.iter().flat_map(Pattern::files).collect();
        paths.sort();
        paths.dedup();
        if paths.len() > FILES {
            tracing::debug!(
                receiver,
                files = paths.len(),
                most = FILES,
                "not all files of targets are read"
            );
            paths.truncate(FILES);
        }
        let before = self.known.len();
        self.known.retain(|path, _| paths.contains(path));
        let mut changed = self.known.len() != before;
        for path in paths {
            changed |= self.look_at(path, receiver);
        }
        changed
    }

    fn look_at(&mut self, path: PathBuf, receiver: &str) -> bool {
        let read = read(&path);
        let fingerprint = self.hasher.hash_one(&read);
        let known = self.known.get_mut(&path);
        if known.as_ref().is_some_and(|known| known.fingerprint == fingerprint) {
            return false;
        }
        let is_gone = read == Err(Unread::Gone);
        let groups = match read.map_err(Unread::into_words).and_then(|text| parse(&path, &text)) {
            Ok(groups) => groups,
            Err(why) => {
                let file = path.display();
                tracing::warn!(receiver, %file, why, "no new targets from this file");
                let kept = known.filter(|_| !is_gone);
                kept.map(|known| std::mem::take(&mut known.groups)).unwrap_or_default()
            }
        };
        self.known.insert(path, Known { fingerprint, groups });
        true
    }
}

/// Why a file has no text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Unread {
    Gone,
    Because(String),
}

impl Unread {
    fn into_words(self) -> String {
        match self {
            Self::Gone => "no such file".to_owned(),
            Self::Because(why) => why,
        }
    }
}

fn read(path: &Path) -> Result<String, Unread> {
    let unread = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Unread::Gone,
        _ => Unread::Because(io_reason(&error)),
    };
    let mut text = String::new();
    let file = File::open(path).map_err(unread)?;
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(unread)?;
    match text.len() as u64 > FILE_BYTES {
        true => Err(Unread::Because(format!("the file is larger than {FILE_BYTES} bytes"))),
        false => Ok(text),
    }
}

/// The groups in a file. The error says where something is wrong and quotes nothing.
fn parse(path: &Path, text: &str) -> Result<Vec<Group>, String> {
    const EXPECTED: &str = "expected is a list of groups with `targets` (host:port) and `labels` (texts)";
    if path.extension().is_some_and(|ending| ending == "json") {
        return serde_json::from_str(text)
            .map_err(|error| format!("line {}, column {}: {EXPECTED}", error.line(), error.column()));
    }
    // an empty file is an empty list
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| match error.location() {
        Some(at) => format!("line {}, column {}: {EXPECTED}", at.line(), at.column()),
        None => EXPECTED.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn files(folder: &TempDir, pattern: &str) -> (Files, Vec<Pattern>) {
        let pattern = folder.path().join(pattern);
        (
            Files::default(),
            vec![Pattern::parse(pattern.to_str().unwrap()).unwrap()],
        )
    }

    fn targets(files: &Files) -> Vec<&str> {
        let groups = files.known.values().flat_map(|known| &known.groups);
        groups.flat_map(|group| &group.targets).map(String::as_str).collect()
    }

    #[test]
    fn a_file_is_read_when_it_has_changed_and_keeps_its_targets_while_it_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let (mut files, patterns) = files(&folder, "t*.json");
        let mut look = || {
            let changed = files.look(&patterns, "test");
            (changed, targets(&files).join(" "))
        };
        assert_eq!(look(), (false, String::new()));
        put("t1.json", r#"[{"targets": ["a:1", "b:1"], "labels": {"job": "x"}}]"#);
        put("t2.json", "[]");
        put("other.json", r#"[{"targets": ["z:1"]}]"#);
        put(".t3.json", r#"[{"targets": ["z:1"]}]"#);
        assert_eq!(look(), (true, "a:1 b:1".to_owned()));
        assert_eq!(look(), (false, "a:1 b:1".to_owned()));
        put("t2.json", r#"[{"targets": ["c:1"]}]"#);
        assert_eq!(look(), (true, "a:1 b:1 c:1".to_owned()));
        put("t1.json", r#"[{"targets": ["a:1", "#);
        assert_eq!(look().1, "a:1 b:1 c:1", "half a file");
        assert!(!look().0, "told once");
        std::fs::remove_file(folder.path().join("t2.json")).unwrap();
        assert_eq!(look(), (true, "a:1 b:1".to_owned()));
        put("t1.json", &" ".repeat(FILE_BYTES as usize + 1));
        assert_eq!(look().1, "a:1 b:1", "too large");
        std::fs::write(folder.path().join("t1.json"), b"[\xff]").unwrap();
        assert_eq!(look().1, "a:1 b:1", "no text");
        put("t1.json", "[]");
        assert_eq!(look(), (true, String::new()));
    }

    #[test]
    fn a_file_that_is_named_may_come_later_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let (mut files, patterns) = files(&folder, "targets.yaml");
        files.look(&patterns, "test");
        assert!(targets(&files).is_empty());
        let path = folder.path().join("targets.yaml");
        std::fs::write(&path, "- targets: [a:1]\n  labels: {job: x}\n- targets:\n  - b:1\n").unwrap();
        assert!(files.look(&patterns, "test"));
        assert_eq!(targets(&files), ["a:1", "b:1"]);
        std::fs::remove_file(&path).unwrap();
        assert!(files.look(&patterns, "test"));
        assert!(targets(&files).is_empty());
    }

    #[test]
    fn errors_say_where_and_quote_nothing() {
        for (name, text, place) in [
            ("x.json", r#"{"targets": ["planted-secret"]}"#, "line 1, column 0"),
            ("x.json", "[{\"targets\": 7}]", "line 1, column 14"),
            ("x.json", "[{\"target\": [\"planted-secret\"]}]", "line 1, column 10"),
            ("x.yml", "- targets: [a:1]\n  labels: [planted-secret]\n", "line 2"),
            ("x.yml", "a: [", "line 1"),
        ] {
            let why = parse(Path::new(name), text).unwrap_err();
            assert!(why.contains(place) && !why.contains("planted-secret"), "{why}");
        }
        assert_eq!(parse(Path::new("x.yaml"), " \n").unwrap(), []);
        // references that grow without end are no list either
        let bomb: String = (1..40)
            .map(|n| format!("- &a{n} [*a{}, *a{}]\n", n - 1, n - 1))
            .collect();
        assert!(parse(Path::new("x.yaml"), &format!("- &a0 [x]\n{bomb}")).is_err());
    }

    #[test]
    fn patterns_have_their_star_in_the_last_part() {
        for good in ["a.json", "/etc/x/*.yaml", "x/a*b*.yml"] {
            assert!(Pattern::parse(good).is_ok(), "{good}");
        }
        for wrong in ["", "/", "a", "a.txt", "*/a.json", "/etc/*/a.yml"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
        for (pattern, name, is) in [
            ("*.json", "a.json", true),
            ("*.json", ".json", true),
            ("a*b*.yml", "a-b-.yml", true),
            ("a*b*.yml", "ab.yml", true),
            ("a*b*.yml", "a.yml", false),
            ("a*", "ü", false),
            ("*b", "üb", true),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }
}
