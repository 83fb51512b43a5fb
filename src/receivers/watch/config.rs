//! The keys of a receiver that watches files, and what they come to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use schemars::JsonSchema;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::net::auth::tenant;
use crate::pipeline::place;
use crate::pipeline::spec::{BuildContext, BuildError};
use crate::pipeline::units::{ByteSize, Span};
use crate::receivers::glob::Glob;
use crate::receivers::jfr::JfrConfig;
use crate::receivers::limits::LimitsConfig;
use crate::receivers::unnamed::Reading;
use crate::telemetry::{FileMetrics, Metrics};

/// Where ledgers are kept unless `storage` says otherwise.
const STORAGE: &str = "flamegate-state";

/// What is looked for and is not there.
const NOT_THERE: &str = "this directory does not exist: it is looked for until it does";

/// A receiver that watches files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::receivers) struct WatchConfig {
    /// Files to take: globs such as `/profiles/**/*.jfr`, one or a list. `*` and `?` stay within a name, `**` stands for any number
    /// of directories, `[ab]` and `{a,b}` choose; `/profiles/` means every file in it. Only patterns that begin with a dot match
    /// names that do.
    pub include: Globs,
    /// Files to leave alone. A pattern without a slash is one of names, wherever they are.
    pub exclude: Globs,
    /// Whether files that are there at the first start are taken: `beginning` (they are) or `end` (only what comes later).
    pub start_at: StartAt,
    /// How often is looked. A look at very many files makes the pauses longer: no more than a twentieth of the time is spent on it.
    pub poll_interval: Span,
    /// How long a file must be left alone by its writer before it counts as whole.
    pub settle: Span,
    /// How long a file that settled and still cannot be read is given to become whole before it is refused.
    pub give_up_after: Span,
    /// What is done with a file that was delivered: `keep`, `delete`, or `{move: DIRECTORY}`.
    pub after: After,
    /// The same for a file that is refused.
    pub refused: After,
    /// Directory that keeps in mind what was taken; `flamegate-state` in the working directory unless set. It must outlive a restart.
    pub storage: Option<PathBuf>,
    /// Attributes of the resource of all profiles, such as `service.name`.
    pub resource: BTreeMap<String, String>,
    /// A regular expression over the path of a file: each named group that matches becomes an attribute of the resource, and wins
    /// over `resource`. `service_name` means `service.name`.
    pub path_pattern: Option<String>,
    /// Whose profiles they are.
    pub tenant: String,
    /// Whether symbolic links are followed. Otherwise files and directories that are links are passed over.
    pub follow_symlinks: bool,
    /// Files that are worked on at once.
    pub concurrency: usize,
    /// Largest file. Recordings of the JVM are read chunk by chunk; any other file is in memory as a whole.
    pub max_file_size: ByteSize,
    /// Most files that are kept in mind: with so many there nothing more is taken until some are gone.
    pub max_files: usize,
    /// How much one file may hold; of a recording of the JVM, `decompressed_size` is about each chunk.
    pub limits: LimitsConfig,
    /// How recordings of the JVM are read.
    pub jfr: JfrConfig,
}

/// One pattern or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Globs(#[schemars(with = "OneOrMany")] pub Vec<String>);

/// How [`Globs`] are written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for Globs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Globs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob such as /profiles/*.jfr, or a list of them")
            }
            fn visit_str<E: de::Error>(self, one: &str) -> Result<Globs, E> {
                Ok(Globs(vec![one.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Globs, A::Error> {
                let mut globs = Vec::new();
                while let Some(glob) = list.next_element()? {
                    globs.push(glob);
                }
                Ok(Globs(globs))
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// `start_at`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// Files that are there are taken.
    #[default]
    Beginning,
    /// Only files that come after the first start are.
    End,
}

/// What is done with a file that is finished with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// It stays.
    #[default]
    Keep,
    /// It goes.
    Delete,
    /// It goes to another directory.
    Move(PathBuf),
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = After;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`keep`, `delete`, or `{move: DIRECTORY}`")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<After, E> {
                match word {
                    "keep" => Ok(After::Keep),
                    "delete" => Ok(After::Delete),
                    "move" => Err(E::custom("moves to nowhere; write `{move: DIRECTORY}`")),
                    _ => Err(E::custom(
                        "what to do with the file is not known; write `keep`, `delete`, or `{move: DIRECTORY}`",
                    )),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<After, A::Error> {
                let wrong = || de::Error::custom("one key is known here: write `{move: DIRECTORY}`");
                let Some((key, to)) = map.next_entry::<String, PathBuf>()? else {
                    return Err(wrong());
                };
                match key == "move" && map.next_key::<IgnoredAny>()?.is_none() {
                    true => Ok(After::Move(to)),
                    false => Err(wrong()),
                }
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            include: Globs::default(),
            exclude: Globs::default(),
            start_at: StartAt::default(),
            poll_interval: Span::secs(10),
            settle: Span::secs(5),
            give_up_after: Span::secs(300),
            after: After::default(),
            refused: After::default(),
            storage: None,
            resource: BTreeMap::new(),
            path_pattern: None,
            tenant: tenant::DEFAULT.to_owned(),
            follow_symlinks: false,
            concurrency: 2,
            max_file_size: ByteSize::mib(256),
            max_files: 200_000,
            limits: LimitsConfig::default(),
            jfr: JfrConfig::default(),
        }
    }
}

/// The same, checked.
pub(in crate::receivers) struct Watch {
    pub(super) receiver: Arc<str>,
    pub(super) places: Places,
    pub(super) start_at: StartAt,
    pub(super) initial_delay: Duration,
    pub(super) poll_interval: Duration,
    pub(super) patience: Patience,
    pub(super) after: After,
    pub(super) refused: After,
    pub(super) storage: PathBuf,
    /// Not in a dry run: what is taken is forgotten with the process.
    pub(super) remembers: bool,
    pub(super) taking: Taking,
    pub(super) concurrency: usize,
    pub(super) max_files: usize,
    pub(super) metrics: FileMetrics,
    pub(super) all_metrics: Arc<Metrics>,
}

/// Which files.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) include: Vec<Glob>,
    pub(super) exclude: Vec<Glob>,
    pub(super) follow_symlinks: bool,
}

impl Places {
    /// Whether a file at this path would be taken.
    pub(super) fn takes(&self, path: &Path) -> bool {
        let is_one = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(path));
        is_one(&self.include) && !is_one(&self.exclude)
    }
}

/// When a file counts as whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) settle: Duration,
    pub(super) give_up_after: Duration,
}

/// How a file is taken, and what is said of it.
#[derive(Clone, Debug)]
pub(super) struct Taking {
    pub(super) resource: BTreeMap<String, String>,
    pub(super) path_pattern: Option<Regex>,
    pub(super) tenant: Arc<str>,
    pub(super) follow_symlinks: bool,
    pub(super) max_file_size: u64,
    pub(super) reading: Reading,
}

impl WatchConfig {
    /// Checks what stands at `path`, dotted; empty for the whole receiver.
    pub(in crate::receivers) fn check(self, path: &str, cx: &BuildContext) -> Result<Watch, BuildError> {
        let at = |key: &str| below(path, key);
        if self.include.0.is_empty() {
            return Err(BuildError::at(
                at("include"),
                "names no file; write a glob such as /profiles/*.jfr",
            ));
        }
        let follow_symlinks = self.follow_symlinks;
        let places = Places {
            include: globs(&at("include"), &self.include)?,
            exclude: globs(&at("exclude"), &self.exclude)?,
            follow_symlinks,
        };
        for (key, span) in [
            ("poll_interval", self.poll_interval),
            ("give_up_after", self.give_up_after),
        ] {
            if span < Span::millis(100) {
                return Err(BuildError::at(at(key), "too short; write 100ms or more"));
            }
        }
        let most = [
            ("concurrency", self.concurrency, 64),
            ("max_files", self.max_files, 10_000_000),
            ("max_file_size", self.max_file_size.as_usize(), 1 << 40),
        ];
        for (key, number, most) in most {
            if !(1..=most).contains(&number) {
                return Err(BuildError::at(
                    at(key),
                    format!("not a usable limit; write 1 to {most}"),
                ));
            }
        }
        if !tenant::is_tenant(&self.tenant) {
            return Err(BuildError::at(at("tenant"), tenant::RULE));
        }
        for (key, after) in [("after", &self.after), ("refused", &self.refused)] {
            if matches!(after, After::Move(to) if to.as_os_str().is_empty()) {
                return Err(BuildError::at(at(key), "moves to nowhere; name a directory"));
            }
        }
        let limits = self.limits.check(&at("limits"), self.max_file_size.as_usize())?;
        Ok(Watch {
            receiver: cx.id.clone(),
            places,
            start_at: self.start_at,
            initial_delay: Duration::ZERO,
            poll_interval: self.poll_interval.0,
            patience: Patience {
                settle: self.settle.0,
                give_up_after: self.give_up_after.0.max(self.settle.0),
            },
            after: if cx.dry_run { After::Keep } else { self.after },
            refused: if cx.dry_run { After::Keep } else { self.refused },
            remembers: !cx.dry_run,
            storage: self.storage.unwrap_or_else(|| STORAGE.into()),
            taking: Taking {
                path_pattern: path_pattern(&at("path_pattern"), self.path_pattern.as_deref())?,
                resource: self.resource,
                tenant: self.tenant.into(),
                follow_symlinks,
                max_file_size: self.max_file_size.0,
                reading: Reading { limits, jfr: self.jfr },
            },
            concurrency: self.concurrency,
            max_files: self.max_files,
            metrics: cx.metrics.files(&cx.id),
            all_metrics: cx.metrics.clone(),
        })
    }
}

/// A key below what stands at `path`, which is empty for the whole receiver.
fn below(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

impl Watch {
    /// What this machine lacks for the block at `path`: places to write to.
    pub(in crate::receivers) fn check_machine(&self, path: &str) -> Result<(), BuildError> {
        if !self.remembers {
            return Ok(());
        }
        let storage = place::check_directory(&self.storage);
        storage.map_err(|why| BuildError::at(below(path, "storage"), why))?;
        for (key, after) in [("after", &self.after), ("refused", &self.refused)] {
            if let After::Move(to) = after {
                place::check_directory(to).map_err(|why| BuildError::at(below(path, key), why))?;
            }
        }
        Ok(())
    }

    /// Directories of the block at `path` that are not there yet.
    pub(in crate::receivers) fn awaits(&self, path: &str) -> Vec<BuildError> {
        let include = self.places.include.iter().enumerate();
        let missing = include.filter(|(_, glob)| !glob.base().exists());
        let told = missing.map(|(at, _)| BuildError::at(below(path, &format!("include[{at}]")), NOT_THERE));
        told.collect()
    }

    /// The same, beginning so much later.
    pub(in crate::receivers) fn delayed(self, initial_delay: Duration) -> Self {
        Self { initial_delay, ..self }
    }
}

fn globs(path: &str, globs: &Globs) -> Result<Vec<Glob>, BuildError> {
    let parsed = globs.0.iter().enumerate().map(|(at, text)| {
        let error = |why| BuildError::at(format!("{path}[{at}]"), why);
        Glob::parse(text).map_err(error)
    });
    parsed.collect()
}

fn path_pattern(path: &str, text: Option<&str>) -> Result<Option<Regex>, BuildError> {
    let Some(text) = text else { return Ok(None) };
    let regex = Regex::new(text).map_err(|error| {
        let why = match &error {
            // its last line; those before show the pattern
            regex::Error::Syntax(text) => text
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned(),
            other => other.to_string().to_lowercase().trim_end_matches('.').to_owned(),
        };
        BuildError::at(path, format!("not a regular expression: {why}"))
    })?;
    if regex.capture_names().flatten().next().is_none() {
        let message = "has no named group, so nothing comes of it; write (?<service_name>…)";
        return Err(BuildError::at(path, message));
    }
    Ok(Some(regex))
}

impl Globs {
    /// Whether some file may be one of both, as far as the patterns tell.
    pub fn overlap(&self, other: &Self) -> bool {
        let takes = |globs: &Self, text: &str| {
            let mut globs = globs.0.iter().filter_map(|glob| Glob::parse(glob).ok());
            globs.any(|glob| glob.text() == text || glob.matches(Path::new(text)))
        };
        let takes_any = |one: &Self, other: &Self| other.0.iter().any(|text| takes(one, text));
        takes_any(self, other) || takes_any(other, self)
    }
}
