//! What is done with a file that is finished with.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::config::After;
use super::identity::{Found, Identity};
use super::scan::regular;

/// Names that are tried where the one of the file is taken.
const MOST_NAMES: usize = 1_000;

impl After {
    /// Does it, unless another file has the path by now. Says whether there is nothing left of the file: it may have other names.
    pub(super) fn apply(&self, found: &Found, follow_symlinks: bool) -> io::Result<bool> {
        if *self == Self::Keep {
            return Ok(false);
        }
        let about = regular(&found.path, follow_symlinks);
        let Some(about) = about.filter(|about| Identity::of(about) == found.identity) else {
            return Ok(false);
        };
        match self {
            Self::Keep => Ok(false),
            Self::Delete => {
                let is_link = fs::symlink_metadata(&found.path)?.is_symlink();
                fs::remove_file(&found.path)?;
                Ok(!is_link && about.nlink() == 1)
            }
            Self::Move(to) => put_aside(&found.path, to).map(|()| false),
        }
    }
}

/// Moves a file to a directory, under another name if that is taken there, unless it is there already.
fn put_aside(path: &Path, to: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(to)?;
    let from = path.parent().unwrap_or(Path::new("."));
    let from = if from.as_os_str().is_empty() {
        Path::new(".")
    } else {
        from
    };
    if from.canonicalize()? == to.canonicalize()? {
        return Ok(());
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    for at in 0..MOST_NAMES {
        let mut target = PathBuf::from(name);
        if at > 0 {
            target.as_mut_os_string().push(format!(".{at}"));
        }
        match rename(path, &to.join(target)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Gives a file a name that nobody has.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // not every file system can see to it by itself
        Err(Errno::INVAL | Errno::NOSYS) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        renamed => renamed.map_err(io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &Path) -> Found {
        Found {
            path: path.to_owned(),
            identity: Identity::of(&fs::symlink_metadata(path).unwrap()),
        }
    }

    #[test]
    fn a_file_goes_but_never_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let old = found(&path);
        fs::write(&path, "two, of another length").unwrap();
        assert!(!After::Delete.apply(&old, false).unwrap());
        assert!(!After::Keep.apply(&found(&path), false).unwrap());
        assert!(After::Delete.apply(&found(&path), false).unwrap());
        assert!(!path.exists() && !After::Delete.apply(&old, false).unwrap());
    }

    #[test]
    fn a_file_of_several_names_is_still_there_when_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let [path, hard, soft] = ["a", "hard", "soft"].map(|name| folder.path().join(name));
        fs::write(&path, "one").unwrap();
        fs::hard_link(&path, &hard).unwrap();
        std::os::unix::fs::symlink(&path, &soft).unwrap();
        let linked = Found {
            path: soft,
            ..found(&path)
        };
        assert!(!After::Delete.apply(&linked, true).unwrap());
        assert!(!After::Delete.apply(&found(&hard), true).unwrap());
        assert!(path.exists() && !hard.exists() && fs::symlink_metadata(&linked.path).is_err());
        assert!(After::Delete.apply(&found(&path), true).unwrap());
    }

    #[test]
    fn moved_files_do_not_take_the_place_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let (path, to) = (folder.path().join("a"), folder.path().join("done"));
        for content in ["one", "two"] {
            fs::write(&path, content).unwrap();
            After::Move(to.clone()).apply(&found(&path), false).unwrap();
        }
        let content = |name| fs::read_to_string(to.join(name)).unwrap();
        assert_eq!((content("a"), content("a.1")), ("one".to_owned(), "two".to_owned()));
        assert!(!path.exists());
        let there = found(&to.join("a"));
        After::Move(to.clone()).apply(&there, false).unwrap();
        assert_eq!(fs::read_dir(to).unwrap().count(), 2, "it is there already");
    }
}
