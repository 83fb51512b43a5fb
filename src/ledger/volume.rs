//! Where a ledger is kept: a directory that is the gate's alone. A trait, so that tests can pull the plug at every byte.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a store asks of a directory.
pub(super) trait Volume: Send {
    /// What is in a file, if there is one.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// A new file, empty, whatever was there.
    fn create(&self, name: &str) -> io::Result<Box<dyn Sheet>>;
    /// Puts a file in the place of another, in one step, and brings that to the disk.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
}

/// A file that is written from its beginning to its end.
pub(super) trait Sheet: Send {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Brings to the disk what was written.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Keeps other processes away as long as it is open.
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoDirectory {
    #[error("another process keeps its ledger there; give each gate a `storage` of its own")]
    Taken,
    #[error("{}", crate::pipeline::units::io_reason(.0))]
    Io(#[from] io::Error),
}

/// Name of the file that is locked.
const LOCK: &str = "ledger.lock";
/// Largest file that is read.
const MOST_BYTES: u64 = 256 << 20;

impl Directory {
    /// Makes it if there is none, and keeps everybody else out.
    pub(super) fn open(path: &Path) -> Result<Self, NoDirectory> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = private().truncate(false).open(path.join(LOCK))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(NoDirectory::Taken),
            // where there are no locks, nobody else is kept away
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

impl Volume for Directory {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        read(&self.path, name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Sheet>> {
        Ok(Box::new(private().truncate(true).open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))?;
        File::open(&self.path)?.sync_all()
    }
}

/// What is in a file of a directory, whoever has it locked.
pub(super) fn read(directory: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let path = directory.join(name);
    match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(found) if found.len() > MOST_BYTES => Err(io::Error::other("larger than any ledger")),
        Ok(_) => fs::read(path).map(Some),
    }
}

impl Sheet for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
