//! Whether files could be written to a place, and a free name there. Nothing is written to find out.

use std::io;
use std::path::Path;

use crate::pipeline::units::io_reason;

/// What to do where the system says no.
const REMEDY: &str = "let the user that the gate runs as write there, or name another place";

/// Why no file could be made in a directory, which is made itself where it is missing.
pub fn check_directory(path: &Path) -> Result<(), String> {
    let shown = path.display();
    for existing in path.ancestors() {
        // what a relative path ends in
        let existing = if existing == Path::new("") {
            Path::new(".")
        } else {
            existing
        };
        let Ok(about) = existing.metadata() else {
            if existing.is_symlink() {
                return Err(format!("{} is a link that leads nowhere", existing.display()));
            }
            continue;
        };
        if !about.is_dir() {
            return Err(format!("{} is not a directory", existing.display()));
        }
        return may(existing, Use::MakeFiles).map_err(|why| match existing == path {
            true => format!("{shown} cannot be written: {why}; {REMEDY}"),
            false => format!("{shown} cannot be made in {}: {why}; {REMEDY}", existing.display()),
        });
    }
    Ok(())
}

/// Why a file could not be appended to, or made where it is missing.
pub fn check_file(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match path.metadata() {
        Ok(about) if about.is_dir() => Err(format!("{shown} is a directory; name a file, or say `directory`")),
        Ok(_) => may(path, Use::Write).map_err(|why| format!("{shown} cannot be written: {why}; {REMEDY}")),
        Err(_) => path.parent().map_or(Ok(()), check_directory),
    }
}

/// Gives a file a name that nobody has.
#[cfg(unix)]
pub fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;

    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // not every file system can see to it by itself
        Err(Errno::INVAL | Errno::NOSYS) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(from, to),
        renamed => renamed.map_err(io::Error::from),
    }
}

/// What something is to be used for.
#[derive(Clone, Copy)]
enum Use {
    Write,
    MakeFiles,
}

#[cfg(unix)]
fn may(path: &Path, wanted: Use) -> Result<(), String> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    use rustix::io::Errno;

    let wanted = match wanted {
        Use::Write => Access::WRITE_OK,
        Use::MakeFiles => Access::WRITE_OK | Access::EXEC_OK,
    };
    match accessat(CWD, path, wanted, AtFlags::EACCESS) {
        // the filters of old container runtimes forbid the question
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(io_reason(&io::Error::from(error))),
    }
}

#[cfg(not(unix))]
fn may(path: &Path, _: Use) -> Result<(), String> {
    path.metadata().map(drop).map_err(|error: io::Error| io_reason(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made_where_that_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        for fine in ["", "new", "new/and/newer"] {
            assert_eq!(check_directory(&folder.path().join(fine)), Ok(()), "{fine}");
        }
        assert_eq!(check_file(&folder.path().join("new/file")), Ok(()));
        assert!(!folder.path().join("new").exists(), "looking changes nothing");
        for fine in ["profiles", "./profiles", "."] {
            assert_eq!(check_directory(Path::new(fine)), Ok(()), "{fine}");
        }
        assert_eq!(check_file(Path::new("out")), Ok(()));
        assert_eq!(check_file(Path::new("/dev/null")), Ok(()));
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
        let told = |wrong: Result<(), String>| wrong.unwrap_err();
        for inside in ["file", "file/profiles", "file/a/b"] {
            assert!(told(check_directory(&at(inside))).ends_with("file is not a directory"));
        }
        assert!(told(check_file(&at("file/out"))).ends_with("file is not a directory"));
        assert!(told(check_directory(&at("link/profiles"))).ends_with("link is a link that leads nowhere"));
        assert!(told(check_file(folder.path())).contains("is a directory; name a file"));
    }
}
