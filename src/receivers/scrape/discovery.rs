//! Targets in files, as Prometheus's `file_sd_configs` has them: looked at again and again, and read when they have changed.
//!
//! A file that cannot be read or understood changes nothing: its targets stay, and the log says so once. So do those of a directory
//! that cannot be read. What is gone takes its targets with it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::targets::{Group, Maker, Roster};
use crate::net::client::Client;
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::io_reason;
use crate::receivers::glob::Glob;
use crate::receivers::pull::{Found, Target};
use crate::receivers::regular;
use crate::telemetry::Metrics;

/// Largest file that is read.
const FILE_BYTES: u64 = 4 << 20;
/// Most files of all patterns together.
const FILES: usize = 256;
/// Targets left out that are told one by one after a change.
const TELL_ONE_BY_ONE: usize = 20;
/// Endings of files, by which their form is known.
const ENDINGS: [&str; 3] = ["json", "yml", "yaml"];

/// Where files are: a glob whose last part alone may hold wildcards.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// The key that it stands at.
    key: String,
    glob: Glob,
}

/// Looks for targets.
pub(super) struct Discovery {
    pub receiver: Arc<str>,
    pub patterns: Vec<Pattern>,
    pub every: Duration,
    /// Targets of the configuration, which come first.
    pub fixed: Vec<Arc<Target>>,
    pub maker: Maker,
    /// Whose profiles they are, unless a label says it.
    pub tenant: Arc<str>,
    /// Who asks the targets that are found.
    pub client: Client,
    pub most: usize,
    pub metrics: Arc<Metrics>,
}

impl Pattern {
    /// Reads a pattern that stands at a key; the error says what is allowed.
    pub(super) fn parse(key: String, text: &str) -> Result<Self, BuildError> {
        match Self::of(text) {
            Ok(glob) => Ok(Self { key, glob }),
            Err(why) => Err(BuildError::at(key, why)),
        }
    }

    fn of(text: &str) -> Result<Glob, &'static str> {
        let ending = Path::new(text).extension().and_then(|ending| ending.to_str());
        if !ending.is_some_and(|ending| ENDINGS.contains(&ending)) || text.ends_with('/') {
            return Err("files of targets end in .json, .yml or .yaml");
        }
        match Glob::parse(text)? {
            glob if glob.segments().len() == 1 => Ok(glob),
            _ => Err("only the last part of a path may hold wildcards"),
        }
    }

    fn directory(&self) -> &Path {
        self.glob.base()
    }

    /// The files that there are, or the one that it names.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        if let Some(file) = self.glob.file() {
            return Ok(vec![file]);
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.directory())? {
            found.push(self.directory().join(entry?.file_name()));
        }
        found.retain(|path| self.holds(path));
        Ok(found)
    }

    /// Whether a file that was found is one of these.
    fn holds(&self, path: &Path) -> bool {
        let name = path.file_name().map(OsStrExt::as_bytes);
        let [segment] = self.glob.segments() else { return false };
        path.parent() == Some(self.directory()) && name.is_some_and(|name| segment.matches(name))
    }
}

/// A target that is none, by where it stands: the first group is 1, and so is its first target.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    /// 0 where that is not known.
    line: u64,
    group: usize,
    target: usize,
    why: &'static str,
}

/// Files, as they were read last.
#[derive(Default)]
struct Files {
    known: BTreeMap<PathBuf, Known>,
    hasher: RandomState,
    /// Directories that could not be read, which the log says once.
    unreadable: BTreeSet<PathBuf>,
    /// There are more than are read, which the log says once.
    are_cut: bool,
}

#[derive(Default)]
struct Known {
    /// Of the contents, or of the reason why there are none.
    fingerprint: u64,
    groups: Vec<Group>,
    /// The log says which of its targets are left out.
    is_told: bool,
}

impl Discovery {
    /// Directories and files that are not there yet.
    pub(super) fn awaits(&self) -> Vec<BuildError> {
        let missing = self.patterns.iter().filter_map(|pattern| {
            let why = match pattern.directory().exists() {
                false => "the directory of this file does not exist: it is looked for until it does",
                true if pattern.glob.file().is_none_or(|file| file.exists()) => return None,
                true => "this file does not exist: it is looked for until it does",
            };
            Some(BuildError::at(&pattern.key, why))
        });
        missing.collect()
    }

    /// Looks for targets for ever, and tells of them when they have changed.
    pub(super) async fn run(self, tell: watch::Sender<Found>) -> Infallible {
        let this = Arc::new(self);
        let mut files = Files::default();
        loop {
            let looking = this.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let found = files.look(&looking.patterns, &looking.receiver);
                if files.are_cut {
                    looking.metrics.limited(&looking.receiver, "target_files", 1);
                }
                (found.then(|| looking.collect(&mut files)), files)
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

    fn collect(&self, files: &mut Files) -> Found {
        let mut roster = Roster::new(self.most);
        for target in &self.fixed {
            // they are each another one, and no more than there may be: that was checked
            let _ = roster.add(target.clone());
        }
        let mut untold = TELL_ONE_BY_ONE;
        for (path, known) in &mut files.known {
            let is_told = std::mem::replace(&mut known.is_told, true);
            for left_out in self.collect_from(known, &mut roster) {
                if !is_told && untold > 0 {
                    untold -= 1;
                    self.tell(path, &left_out);
                } else {
                    tracing::debug!(receiver = %self.receiver, file = %path.display(), why = left_out.why, "a target is left out");
                }
            }
        }
        if untold == 0 {
            let (receiver, left_out) = (&self.receiver, roster.found.left_out);
            tracing::warn!(%receiver, left_out, "targets are left out; no more of them are told one by one");
        }
        roster.found
    }

    /// Takes in the targets of one file, and says which are left out.
    fn collect_from(&self, known: &Known, roster: &mut Roster) -> Vec<LeftOut> {
        let mut left_out = Vec::new();
        for (group, of) in (1..).zip(&known.groups) {
            for (target, address) in (1..).zip(&of.targets) {
                let added = match self
                    .maker
                    .target(&address.value, &of.labels, &self.tenant, &self.client)
                {
                    Ok(target) => roster.add(Arc::new(target)),
                    Err(why) => {
                        roster.leave_out();
                        Err(why)
                    }
                };
                if let Err(why) = added {
                    left_out.push(LeftOut {
                        line: address.referenced.line(),
                        group,
                        target,
                        why,
                    });
                }
            }
        }
        left_out
    }

    /// Never by its address: what is no address may be anything, a credential too.
    fn tell(&self, path: &Path, left_out: &LeftOut) {
        let (receiver, file) = (&self.receiver, path.display());
        let LeftOut {
            line,
            group,
            target,
            why,
        } = left_out;
        match line {
            // not every file that is read tells where its parts stand
            0 => {
                tracing::warn!(%receiver, %file, group, target, why, "a target is left out; the first group is 1, and so is its first target")
            }
            _ => tracing::warn!(%receiver, %file, line, group, target, why, "a target is left out"),
        }
    }
}

impl Files {
    /// Reads what has changed; false if nothing has.
    fn look(&mut self, patterns: &[Pattern], receiver: &str) -> bool {
        let (mut paths, unseen) = self.list(patterns, receiver);
        let is_kept = |path: &Path| unseen.iter().any(|pattern| pattern.holds(path));
        let kept = self.known.keys().filter(|path| is_kept(path)).count();
        let (files, most) = (paths.len(), FILES.saturating_sub(kept));
        let were_cut = std::mem::replace(&mut self.are_cut, files > most);
        if self.are_cut && !were_cut {
            tracing::warn!(
                receiver,
                files,
                most,
                "too many files of targets; the last ones are not read"
            );
        }
        while paths.len() > most {
            paths.pop_last();
        }
        let before = self.known.len();
        self.known.retain(|path, _| paths.contains(path) || is_kept(path));
        let mut changed = self.known.len() != before;
        for path in paths {
            changed |= self.look_at(path, receiver);
        }
        changed
    }

    /// The files that there are, and the patterns of which nobody can know that.
    fn list<'a>(&mut self, patterns: &'a [Pattern], receiver: &str) -> (BTreeSet<PathBuf>, Vec<&'a Pattern>) {
        let (mut paths, mut unseen, mut unreadable) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        for pattern in patterns {
            match pattern.files() {
                Ok(found) => paths.extend(found),
                Err(error) => {
                    if error.kind() != io::ErrorKind::NotFound {
                        unseen.push(pattern);
                    }
                    let is_told = self.unreadable.contains(pattern.directory());
                    if unreadable.insert(pattern.directory().to_owned()) && !is_told {
                        let (directory, why) = (pattern.directory().display(), io_reason(&error));
                        tracing::warn!(receiver, %directory, why, "a directory of files of targets cannot be read");
                    }
                }
            }
        }
        self.unreadable = unreadable;
        (paths, unseen)
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
        let known = Known {
            fingerprint,
            groups,
            is_told: false,
        };
        self.known.insert(path, known);
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
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unread::Gone,
        _ => Unread::Because(io_reason(&error)),
    };
    let mut text = String::new();
    let Some(file) = regular::open(path, true).map_err(unread)? else {
        return Err(Unread::Because("not a regular file".to_owned()));
    };
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(unread)?;
    match text.len() as u64 > FILE_BYTES {
        true => Err(Unread::Because(format!("the file is larger than {FILE_BYTES} bytes"))),
        false => Ok(text),
    }
}

/// Whether groups say the same, wherever it stands.
fn is_same(one: &[Group], other: &[Group]) -> bool {
    let is_same = |(one, other): (&Group, &Group)| {
        let targets = one.targets.iter().map(|target| &target.value);
        targets.eq(other.targets.iter().map(|target| &target.value)) && one.labels == other.labels
    };
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}

/// The groups in a file. The error says where something is wrong and quotes nothing.
fn parse(path: &Path, text: &str) -> Result<Vec<Group>, String> {
    const EXPECTED: &str = "expected is a list of groups with `targets` (host:port) and `labels` (texts)";
    let options = serde_saphyr::options! { with_snippet: false };
    if path.extension().is_some_and(|ending| ending == "json") {
        let groups: Vec<Group> = serde_json::from_str(text)
            .map_err(|error| format!("line {}, column {}: {EXPECTED}", error.line(), error.column()))?;
        // JSON is YAML but for a few escapes, and the reader of YAML tells lines
        let located: Option<Vec<Group>> = serde_saphyr::from_str_with_options(text, options).ok();
        return Ok(located.filter(|located| is_same(located, &groups)).unwrap_or(groups));
    }
    // an empty file is an empty list
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error| match error.location() {
        Some(at) => format!("line {}, column {}: {EXPECTED}", at.line(), at.column()),
        None => EXPECTED.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn pattern(text: &str) -> Result<Pattern, BuildError> {
        Pattern::parse("files".to_owned(), text)
    }

    fn files(folder: &TempDir, text: &str) -> (Files, Vec<Pattern>) {
        let path = folder.path().join(text);
        (Files::default(), vec![pattern(path.to_str().unwrap()).unwrap()])
    }

    fn targets(files: &Files) -> Vec<&str> {
        let groups = files.known.values().flat_map(|known| &known.groups);
        groups
            .flat_map(|group| &group.targets)
            .map(|target| target.value.as_str())
            .collect()
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
    fn a_directory_that_cannot_be_read_keeps_its_targets_and_one_that_is_gone_takes_them() {
        let folder = tempfile::tempdir().unwrap();
        let (directory, aside) = (folder.path().join("d"), folder.path().join("aside"));
        let (mut files, patterns) = files(&folder, "d/*.json");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("t.json"), r#"[{"targets": ["a:1"]}]"#).unwrap();
        assert!(files.look(&patterns, "test"));
        std::fs::rename(&directory, &aside).unwrap();
        std::os::unix::fs::symlink(&directory, &directory).unwrap();
        assert!(!files.look(&patterns, "test"));
        assert_eq!(targets(&files), ["a:1"]);
        std::fs::remove_file(&directory).unwrap();
        assert!(files.look(&patterns, "test"));
        assert!(targets(&files).is_empty());
        std::fs::rename(&aside, &directory).unwrap();
        assert!(files.look(&patterns, "test"));
        assert_eq!(targets(&files), ["a:1"]);
    }

    #[test]
    fn files_have_a_most_and_those_of_a_directory_that_cannot_be_read_count() {
        let folder = tempfile::tempdir().unwrap();
        let (mut files, mut patterns) = files(&folder, "a/*.yml");
        patterns.push(pattern(folder.path().join("b/*.yml").to_str().unwrap()).unwrap());
        for (directory, count) in [("a", 1), ("b", FILES)] {
            let directory = folder.path().join(directory);
            std::fs::create_dir(&directory).unwrap();
            for file in 0..count {
                std::fs::write(directory.join(format!("{file}.yml")), "").unwrap();
            }
        }
        files.look(&patterns, "test");
        assert_eq!((files.known.len(), files.are_cut), (FILES, true));
        let directory = folder.path().join("a");
        std::fs::remove_dir_all(&directory).unwrap();
        std::os::unix::fs::symlink(&directory, &directory).unwrap();
        files.look(&patterns, "test");
        assert_eq!((files.known.len(), files.are_cut), (FILES, true));
        std::fs::remove_file(&directory).unwrap();
        files.look(&patterns, "test");
        assert_eq!((files.known.len(), files.are_cut), (FILES, false));
    }

    #[test]
    fn a_pipe_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(folder.path().join("t.yaml"))
            .status();
        assert!(made.unwrap().success());
        let (mut files, patterns) = files(&folder, "*.yaml");
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            files.look(&patterns, "test");
            tell.send(files).unwrap();
        });
        let files = told.recv_timeout(Duration::from_secs(60)).unwrap();
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
    fn targets_know_their_lines() {
        let lines = |name: &str, text: &str| -> Vec<u64> {
            let groups = parse(Path::new(name), text).unwrap();
            let targets = groups.iter().flat_map(|group| &group.targets);
            targets.map(|target| target.referenced.line()).collect()
        };
        assert_eq!(
            lines("x.yaml", "- targets:\n  - a:1\n  - 'b:1'\n- targets: [c:1]\n"),
            [2, 3, 4]
        );
        let json = "[{\"targets\": [\"a:1\",\n\t\"b:1\"]},\n{\"targets\": [\"c:1\"]}]";
        assert_eq!(lines("x.json", json), [1, 2, 3]);
        let escaped = parse(Path::new("x.json"), r#"[{"labels": {"x": "\ud83d\ude00"}}]"#).unwrap();
        assert_eq!(escaped[0].labels["x"], "\u{1f600}");
    }

    #[test]
    fn patterns_have_their_wildcards_in_the_last_part() {
        for good in ["a.json", "/etc/x/*.yaml", "x/a*b*.yml", "../x/{a,b}.json"] {
            assert!(pattern(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "/",
            "a",
            "a.txt",
            "a.json/",
            "*/a.json",
            "/etc/*/a.yml",
            "/etc/**.yml/b.yml",
        ] {
            assert!(pattern(wrong).is_err(), "{wrong}");
        }
        for (text, name, is) in [
            ("t/*.json", "a.json", true),
            ("t/*.json", ".json", false),
            ("t/.*.json", ".a.json", true),
            ("t/a*b*.yml", "a-b-.yml", true),
            ("t/a*b*.yml", "a.yml", false),
            ("t/a-[12].yml", "a-2.yml", true),
            ("t/a.yml", "a.yml", true),
        ] {
            assert_eq!(
                pattern(text).unwrap().holds(&Path::new("t").join(name)),
                is,
                "{text} {name}"
            );
        }
    }
}
