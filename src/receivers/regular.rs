//! Opens files that something else put there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file to read it; none where a path leads to anything else. A pipe keeps nobody waiting.
pub(super) fn open(path: &Path, follow_symlinks: bool) -> io::Result<Option<File>> {
    let mut flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
    if !follow_symlinks {
        flags |= OFlags::NOFOLLOW;
    }
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}
