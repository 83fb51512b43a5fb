//! What is done with a file that is finished with.
//!
//! Between the last look at a file and its removal lie two system calls, for no system has one that removes a file only if it is a
//! certain one: whoever puts another one in its place exactly then loses that. A file that is moved is looked at again afterwards.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::config::{After, Places};
use super::identity::{Found, Identity};
use super::scan::regular;
use crate::pipeline::place::rename_to_free;

/// Names that are tried where the one of the file is taken.
const MOST_NAMES: usize = 1_000;

impl After {
    /// Does it, unless another file has the path by now. Says whether there is nothing left of the file: it may have other names.
    pub(super) fn apply(&self, found: &Found, places: &Places) -> io::Result<bool> {
        if *self == Self::Keep {
            return Ok(false);
        }
        let about = regular(&found.path, places.follow_symlinks);
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
            Self::Move(to) => put_aside(found, to, places).map(|()| false),
        }
    }
}

/// Moves a file to a directory, under another name if that is taken there, unless it is there already.
fn put_aside(found: &Found, to: &Path, places: &Places) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(to)?;
    let path = &found.path;
    let from = path.parent().unwrap_or(Path::new("."));
    let from = if from.as_os_str().is_empty() {
        Path::new(".")
    } else {
        from
    };
    if from.canonicalize()? == to.canonicalize()? {
        return Ok(());
    }
    match rename_into(path, path, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => carry(found, to, places),
        Err(error) => Err(error),
        Ok(moved) => {
            let is_other = fs::symlink_metadata(&moved)
                .is_ok_and(|about| about.is_file() && Identity::of(&about) != found.identity);
            if is_other {
                // it came in the last moment, and nobody has read it
                rename_to_free(&moved, path)?;
            }
            Ok(())
        }
    }
}

/// Moves a file to a directory of another file system: a whole copy is there before the file goes. What a crash left half done is
/// found again, so that there are never two of it.
fn carry(found: &Found, to: &Path, places: &Places) -> io::Result<()> {
    let name = found.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    if places.takes(&to.join(name)) {
        let why = "the directory to move to is watched too, and lies on another file system: the copy would be taken as a new file";
        return Err(io::Error::other(why));
    }
    let Some(mut source) = crate::receivers::regular::open(&found.path, places.follow_symlinks)? else {
        return Ok(());
    };
    if !names(to, name).any(|copy| is_copy(&mut source, &copy).unwrap_or(false)) {
        // the same at every attempt, and no other file's
        let Identity { inode, modified, .. } = found.identity;
        let temporary = to.join(format!(".{inode:x}-{modified:x}.flamegate"));
        copy(&mut source, &temporary)?;
        rename_into(&temporary, &found.path, to)?;
        File::open(to)?.sync_all()?;
    }
    let is_same = Identity::of(&source.metadata()?) == found.identity;
    let now = regular(&found.path, places.follow_symlinks);
    if is_same && now.is_some_and(|now| Identity::of(&now) == found.identity) {
        fs::remove_file(&found.path)?;
    }
    Ok(())
}

/// A whole copy on the disk, of the same age.
fn copy(source: &mut File, to: &Path) -> io::Result<()> {
    let mut copy = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(to)?;
    io::copy(source, &mut copy)?;
    copy.set_times(FileTimes::new().set_modified(source.metadata()?.modified()?))?;
    copy.sync_all()
}

/// Whether a file has the age and the content of `source`, which is at its beginning afterwards.
fn is_copy(source: &mut File, path: &Path) -> io::Result<bool> {
    let (about, other) = (source.metadata()?, fs::symlink_metadata(path)?);
    if !other.is_file() || about.len() != other.len() || about.modified()? != other.modified()? {
        return Ok(false);
    }
    let same = {
        let (ours, theirs) = (BufReader::new(&*source), BufReader::new(File::open(path)?));
        let mut pairs = ours.bytes().zip(theirs.bytes());
        pairs.all(|(one, other)| matches!((one, other), (Ok(one), Ok(other)) if one == other))
    };
    source.rewind()?;
    Ok(same)
}

/// The paths that a file may get in a directory.
fn names(to: &Path, name: &OsStr) -> impl Iterator<Item = PathBuf> {
    (0..MOST_NAMES).map(move |at| {
        let mut path = to.join(name);
        if at > 0 {
            path.as_mut_os_string().push(format!(".{at}"));
        }
        path
    })
}

/// Gives a file the first free name in a directory that it may have there. Its name is that of `named`.
fn rename_into(path: &Path, named: &Path, to: &Path) -> io::Result<PathBuf> {
    let name = named.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    for target in names(to, name) {
        match rename_to_free(path, &target) {
            Ok(()) => return Ok(target),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receivers::glob::Glob;

    const PLAIN: Places = Places {
        include: Vec::new(),
        exclude: Vec::new(),
        follow_symlinks: false,
    };
    const LINKS: Places = Places {
        include: Vec::new(),
        exclude: Vec::new(),
        follow_symlinks: true,
    };

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
        assert!(!After::Delete.apply(&old, &PLAIN).unwrap());
        assert!(!After::Keep.apply(&found(&path), &PLAIN).unwrap());
        assert!(After::Delete.apply(&found(&path), &PLAIN).unwrap());
        assert!(!path.exists() && !After::Delete.apply(&old, &PLAIN).unwrap());
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
        assert!(!After::Delete.apply(&linked, &LINKS).unwrap());
        assert!(!After::Delete.apply(&found(&hard), &LINKS).unwrap());
        assert!(path.exists() && !hard.exists() && fs::symlink_metadata(&linked.path).is_err());
        assert!(After::Delete.apply(&found(&path), &LINKS).unwrap());
    }

    #[test]
    fn moved_files_do_not_take_the_place_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let (path, to) = (folder.path().join("a"), folder.path().join("done"));
        for content in ["one", "two"] {
            fs::write(&path, content).unwrap();
            After::Move(to.clone()).apply(&found(&path), &PLAIN).unwrap();
        }
        let content = |name| fs::read_to_string(to.join(name)).unwrap();
        assert_eq!((content("a"), content("a.1")), ("one".to_owned(), "two".to_owned()));
        assert!(!path.exists());
        let there = found(&to.join("a"));
        After::Move(to.clone()).apply(&there, &PLAIN).unwrap();
        assert_eq!(fs::read_dir(to).unwrap().count(), 2, "it is there already");
    }

    /// A directory on another file system; none, with a word about it, where there is no such thing.
    fn elsewhere(than: &Path) -> Option<tempfile::TempDir> {
        let other = tempfile::tempdir_in("/dev/shm").ok();
        let device = |path: &Path| fs::metadata(path).unwrap().dev();
        let other = other.filter(|other| device(other.path()) != device(than));
        if other.is_none() {
            eprintln!("skipped: no second file system at /dev/shm");
        }
        other
    }

    #[test]
    fn a_file_goes_to_another_file_system_and_a_crash_makes_no_second_one() {
        let folder = tempfile::tempdir().unwrap();
        let Some(other) = elsewhere(folder.path()) else { return };
        let (path, to) = (folder.path().join("a"), other.path().join("done"));
        let put = |content: &str| {
            fs::write(&path, content).unwrap();
            found(&path)
        };
        let carry = |found: &Found| After::Move(to.clone()).apply(found, &PLAIN).unwrap();
        let there = || {
            let entries = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path());
            let mut all: Vec<_> = entries
                .map(|path| (path.file_name().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
                .collect();
            all.sort();
            all.into_iter()
                .map(|(name, content)| format!("{}={content}", name.display()))
                .collect::<Vec<_>>()
        };
        let one = put("one");
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        carry(&one);
        assert!(!path.exists() && there() == ["a=one"], "{:?}", there());
        assert_eq!(fs::metadata(to.join("a")).unwrap().modified().unwrap(), written);
        // killed amid the copy
        let two = put("two");
        let half = format!(".{:x}-{:x}.flamegate", two.identity.inode, two.identity.modified);
        fs::write(to.join(half), "more than there is of it").unwrap();
        carry(&two);
        assert!(!path.exists() && there() == ["a=one", "a.1=two"], "{:?}", there());
        // killed between the copy and the removal
        let three = put("three");
        let copied = to.join("a.2");
        fs::write(&copied, "three").unwrap();
        let copy = File::options().write(true).open(&copied).unwrap();
        copy.set_modified(fs::metadata(&path).unwrap().modified().unwrap())
            .unwrap();
        carry(&three);
        assert!(
            !path.exists() && there() == ["a=one", "a.1=two", "a.2=three"],
            "{:?}",
            there()
        );
    }

    #[test]
    fn a_copy_that_would_be_taken_anew_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let Some(other) = elsewhere(folder.path()) else { return };
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let pattern = format!("{}/**", other.path().display());
        let places = Places {
            include: vec![Glob::parse(&pattern).unwrap()],
            ..PLAIN
        };
        let moved = After::Move(other.path().join("done")).apply(&found(&path), &places);
        assert!(moved.unwrap_err().to_string().contains("watched too"));
        assert!(path.exists() && fs::read_dir(other.path().join("done")).unwrap().next().is_none());
    }
}
