//! Reading an escrow, with the private key.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::keys::Identity;
use super::retention::list;
use super::seal::{Broken, MOST_BYTES, open};
use crate::pipeline::units::io_reason;

/// What stands in the way.
#[derive(Debug, thiserror::Error)]
pub enum EscrowError {
    /// A directory or file that cannot be read.
    #[error("{}: cannot be read: {}", path.display(), io_reason(source))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that does not open.
    #[error("{}: {why}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// Why, and where.
        why: Broken,
    },
}

/// What the pseudonyms that `wanted` names stand for, out of every file of the directories; only those are held in memory. A
/// file that does not open is an error: what is missing from an answer should not look like an answer.
pub fn reveal(
    directories: &[PathBuf],
    identities: &[Identity],
    wanted: impl Fn(&str) -> bool,
) -> Result<HashMap<String, String>, EscrowError> {
    let mut names = HashMap::new();
    for directory in directories {
        let files = list(directory).map_err(|source| unreadable(directory, source))?;
        for file in files {
            let content = read(&file.path).map_err(|source| unreadable(&file.path, source))?;
            let entries = open(&content, identities).map_err(|why| EscrowError::Broken { path: file.path, why })?;
            for entry in entries.into_iter().filter(|entry| wanted(&entry.pseudonym)) {
                names.insert(entry.pseudonym, entry.name);
            }
        }
    }
    Ok(names)
}

fn unreadable(path: &Path, source: std::io::Error) -> EscrowError {
    EscrowError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = File::open(path)?
        .take(MOST_BYTES as u64 + 1)
        .read_to_end(&mut content)?;
    match read > MOST_BYTES {
        true => Err(std::io::ErrorKind::FileTooLarge.into()),
        false => Ok(content),
    }
}
