//! The file of kills that others keep.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::{Asked, MOST, MOST_BYTES};
use crate::config::{ConfigError, Loaded, Node, Tree, io_reason, plain_message};
use crate::pipeline::kill::Order;
use crate::pipeline::spec::{BuildError, parse};

/// What a file holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kills: Vec<Asked>,
}

/// What is found where a file should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing.
    Missing,
    /// A file.
    Text(Vec<u8>),
    /// Something that cannot be read.
    Unreadable(String),
}

impl Content {
    /// Looks. Nothing keeps it waiting but the disk, and nothing is too much.
    pub(super) fn look(path: &Path) -> Self {
        let flags = i32::try_from((OFlags::NONBLOCK | OFlags::CLOEXEC).bits()).unwrap_or_default();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return match path.symlink_metadata() {
                    Ok(_) => Self::Unreadable("a link that leads nowhere".to_owned()),
                    Err(_) => Self::Missing,
                };
            }
            Err(error) => return Self::Unreadable(io_reason(&error)),
        };
        match read_whole(file) {
            Ok(text) => Self::Text(text),
            Err(why) => Self::Unreadable(why),
        }
    }
}

fn read_whole(file: File) -> Result<Vec<u8>, String> {
    let is_file = file.metadata().map_err(|error| io_reason(&error))?.is_file();
    if !is_file {
        return Err("not a file".to_owned());
    }
    let mut text = Vec::new();
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut text);
    match read {
        Ok(bytes) if bytes as u64 > MOST_BYTES => Err(format!("larger than {MOST_BYTES} bytes")),
        Ok(_) => Ok(text),
        Err(error) => Err(io_reason(&error)),
    }
}

/// The kills in a text, each with what it comes to; or what is wrong, with the line.
pub(super) fn parse_text(text: &[u8], name: &str) -> Result<Vec<(Asked, Arc<Order>)>, String> {
    let text = std::str::from_utf8(text).map_err(|_| format!("{name}: not text in UTF-8"))?;
    let tree = Node::parse(text, name).map_err(|error| error.to_string())?;
    if tree.tree == Tree::Null {
        return Err(format!(
            "{name}: empty; write `kills: []` where nothing is to be killed"
        ));
    }
    let loaded = Loaded {
        tree,
        warnings: Vec::new(),
    };
    let wrong = |path: &str, error: &str| at(&loaded, path, error).to_string();
    let written = parse::<Written>(loaded.tree.to_json());
    let written = written.map_err(|BuildError { path, message }| wrong(&path, &plain_message(&message)))?;
    if written.kills.len() > MOST {
        return Err(wrong("kills", &format!("more than {MOST} kills")));
    }
    let mut kills = Vec::with_capacity(written.kills.len());
    for (position, asked) in written.kills.into_iter().enumerate() {
        let order = asked.check();
        let order = order.map_err(|error| wrong(&format!("kills[{position}].{}", error.path), &error.message))?;
        kills.push((asked, Arc::new(order)));
    }
    Ok(kills)
}

/// An error at a path such as `kills[2].match.tenant`, with the place where that stands.
fn at(loaded: &Loaded, path: &str, message: &str) -> ConfigError {
    let steps = path.replace('[', ".[");
    // keys of conditions hold dots, and stand at the end: the nearest place above them does
    let steps: Vec<&str> = steps.split('.').filter(|step| !step.is_empty()).collect();
    let error = loaded.error_at(&steps, message);
    ConfigError {
        path: path.to_owned(),
        ..error
    }
}

/// The kills in a file; none where there is no file.
pub fn read(path: &Path) -> Result<Vec<Asked>, String> {
    match Content::look(path) {
        Content::Missing => Ok(Vec::new()),
        Content::Unreadable(why) => Err(format!("{}: {why}", path.display())),
        Content::Text(text) => {
            let kills = parse_text(&text, &path.display().to_string())?;
            Ok(kills.into_iter().map(|(asked, _)| asked).collect())
        }
    }
}

/// Adds a kill to a file, and makes it if there is none.
pub fn add_to(path: &Path, kill: Asked) -> Result<(), String> {
    let mut kills = read(path)?;
    kills.push(kill);
    if kills.len() > MOST {
        return Err(format!("{}: it holds {MOST} kills already", path.display()));
    }
    write(path, kills)
}

/// Removes the kills at these places, as [`read`] has them.
pub fn remove_from(path: &Path, places: &[usize]) -> Result<(), String> {
    let mut place = 0;
    let mut kills = read(path)?;
    kills.retain(|_| {
        place += 1;
        !places.contains(&(place - 1))
    });
    write(path, kills)
}

/// In the place of what was there, with its permissions: whoever reads sees the one or the other.
fn write(path: &Path, kills: Vec<Asked>) -> Result<(), String> {
    // a link stays one
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let text = serde_saphyr::to_string(&Written { kills }).map_err(|error| error.to_string())?;
    let mode = path
        .metadata()
        .map_or(0o644, |before| before.permissions().mode() & 0o777);
    replace(&path, text.as_bytes(), mode).map_err(|error| format!("{}: {}", path.display(), io_reason(&error)))
}

/// Replaces a file in one step, which is on the disk when this returns.
pub(super) fn replace(path: &Path, text: &[u8], mode: u32) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(&new)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    let written = written.and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written?;
    File::open(folder)?.sync_all()
}
