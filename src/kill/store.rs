//! What a restart must not forget: the kills of the gate's own doors, and since when it knows those of the file.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::entry::Date;
use super::file::{Content, replace};
use super::{Asked, Source};
use crate::config::io_reason;

/// Name of the file in the storage directory.
const NAME: &str = "kills.json";
/// The only version there is.
const VERSION: u32 = 1;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    version: u32,
    pub(super) kills: Vec<KeptKill>,
    /// Kills of the file that last for a time from when they were seen first.
    pub(super) seen: Vec<Seen>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptKill {
    pub(super) id: String,
    pub(super) source: Source,
    pub(super) since: Date,
    pub(super) kill: Asked,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) since: Date,
}

impl Kept {
    pub(super) fn of(kills: Vec<KeptKill>, seen: Vec<Seen>) -> Self {
        Self {
            version: VERSION,
            kills,
            seen,
        }
    }

    /// Whether every kill can be heeded.
    fn is_good(&self) -> bool {
        self.kills.iter().all(|kept| kept.kill.check().is_ok())
    }
}

/// Why what was kept in a directory cannot be read: a gate that begins with it kills everything.
pub fn unreadable(directory: &Path) -> Option<String> {
    load(directory).err()
}

/// What was kept in a directory, once that is there and can be heeded. One that is not there may be about to be put back.
pub(super) fn mended(directory: &Path) -> Option<Kept> {
    match Content::look(&directory.join(NAME)) {
        Content::Text(_) => load(directory).ok().filter(Kept::is_good),
        Content::Missing | Content::Unreadable(_) => None,
    }
}

/// What was kept in a directory.
pub(super) fn load(directory: &Path) -> Result<Kept, String> {
    let path = directory.join(NAME);
    let wrong = |why: &str| format!("{}: {why}", path.display());
    let text = match Content::look(&path) {
        Content::Missing => return Ok(Kept::of(Vec::new(), Vec::new())),
        Content::Unreadable(why) => return Err(wrong(&why)),
        Content::Text(text) => text,
    };
    match serde_json::from_slice::<Kept>(&text) {
        Ok(kept) if kept.version == VERSION => Ok(kept),
        Ok(_) => Err(wrong("written by another version of flamegate")),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

/// Keeps it, if it is another than what is there; on the disk when this returns.
pub(super) fn save(directory: &Path, kept: &Kept) -> Result<(), String> {
    if load(directory).as_ref() == Ok(kept) {
        return Ok(());
    }
    let path = directory.join(NAME);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let text = serde_json::to_vec_pretty(kept).map_err(|error| error.to_string())?;
    let saved = made.and_then(|()| replace(&path, &text, 0o600));
    saved.map_err(|error| format!("{}: {}", path.display(), io_reason(&error)))
}
