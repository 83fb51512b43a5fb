//! One look at the directories: which files are there.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::config::Places;
use super::identity::{Found, Identity, path_mark};
use crate::pipeline::Stop;
use crate::receivers::glob::{Glob, Segment};

/// Entries of directories that one look passes at most, so that a pattern such as `/**` ends.
pub(super) const MOST_ENTRIES: usize = 5_000_000;
/// Directories below each other.
pub(super) const DEEPEST: usize = 64;
/// Directories that cannot be looked into, of which each is known; with more nothing counts as gone.
const MOST_HIDDEN: usize = 10_000;

/// What a look came to beside the files.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Directories that patterns begin in and that cannot be read, by the position of the pattern, with the reason.
    pub(super) unreadable: Vec<(usize, io::ErrorKind)>,
    /// Patterns that name a directory and mean the files in it, perhaps.
    pub(super) directories: Vec<usize>,
    /// Directories further down that cannot be read.
    pub(super) hidden: usize,
    /// Directories that are too far down.
    pub(super) too_deep: usize,
    /// There is more than one look passes.
    pub(super) is_cut: bool,
    /// Marks of all directories in which there may be what was not seen.
    dark: HashSet<u64>,
    entries: usize,
}

impl Look {
    /// Marks of the directories that were not seen; none if it may be any.
    pub(super) fn dark(&self) -> Option<&HashSet<u64>> {
        Some(&self.dark).filter(|dark| !self.is_cut && dark.len() < MOST_HIDDEN)
    }

    /// A directory cannot be looked into.
    fn hides(&mut self, directory: &Path) {
        if self.dark.len() < MOST_HIDDEN {
            self.dark.insert(path_mark(directory));
        }
    }
}

/// Looks everywhere, and tells of each regular file that is to be taken; ends early when `stop` is asked.
pub(super) fn look(places: &Places, stop: &Stop, mut tell: impl FnMut(Found)) -> Look {
    let mut look = Look::default();
    for (at, glob) in places.include.iter().enumerate() {
        let mut walk = Walk {
            places,
            stop,
            glob,
            look: &mut look,
            passed: HashSet::new(),
        };
        if let Err(error) = walk.run(&mut tell) {
            // what is not there hides nothing
            if error.kind() != io::ErrorKind::NotFound {
                look.hides(glob.base());
            }
            look.unreadable.push((at, error.kind()));
        }
        if fs::metadata(glob.text()).is_ok_and(|about| about.is_dir()) && !glob.text().ends_with('/') {
            look.directories.push(at);
        }
    }
    look
}

/// The way below one pattern.
struct Walk<'a> {
    places: &'a Places,
    stop: &'a Stop,
    glob: &'a Glob,
    look: &'a mut Look,
    /// Directories that were looked into, with what was looked for: links may lead in circles.
    passed: HashSet<(u64, u64, usize)>,
}

/// A directory, and the position of the segment that its entries are to match.
struct Step {
    directory: PathBuf,
    segment: usize,
    depth: usize,
}

impl Walk<'_> {
    fn run(&mut self, tell: &mut impl FnMut(Found)) -> io::Result<()> {
        let first = Step {
            directory: self.glob.base().to_owned(),
            segment: 0,
            depth: 0,
        };
        let mut steps = Vec::new();
        self.enter(&first, &mut steps, tell)?;
        while let Some(step) = steps.pop() {
            if let Err(error) = self.enter(&step, &mut steps, tell) {
                // otherwise it went away meanwhile
                if error.kind() != io::ErrorKind::NotFound {
                    self.hidden(&step.directory);
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, step: &Step, steps: &mut Vec<Step>, tell: &mut impl FnMut(Found)) -> io::Result<()> {
        let about = fs::metadata(&step.directory)?;
        if !self.passed.insert((about.dev(), about.ino(), step.segment)) {
            return Ok(());
        }
        let Some(segment) = self.glob.segments().get(step.segment) else {
            return Ok(());
        };
        if let Segment::AnyDepth = segment {
            // none of these directories
            let further = Step {
                directory: step.directory.clone(),
                segment: step.segment + 1,
                depth: step.depth,
            };
            steps.push(further);
        }
        for entry in fs::read_dir(&step.directory)? {
            let entry = entry?;
            self.look.entries += 1;
            if self.look.entries > MOST_ENTRIES || self.stop.is_asked() {
                self.look.is_cut = true;
                return Ok(());
            }
            let name = entry.file_name();
            match segment {
                Segment::AnyDepth if is_hidden(&name) => {}
                Segment::AnyDepth => self.descend(&entry, step, step.segment, steps),
                Segment::Name { .. } if !segment.matches(name.as_bytes()) => {}
                Segment::Name { .. } if self.is_last(step.segment) => self.file(&step.directory, &name, tell),
                Segment::Name { .. } => self.descend(&entry, step, step.segment + 1, steps),
            }
        }
        Ok(())
    }

    fn hidden(&mut self, directory: &Path) {
        self.look.hidden += 1;
        self.look.hides(directory);
    }

    fn is_last(&self, segment: usize) -> bool {
        segment + 1 == self.glob.segments().len()
    }

    fn descend(&mut self, entry: &fs::DirEntry, from: &Step, segment: usize, steps: &mut Vec<Step>) {
        let Ok(kind) = entry.file_type() else {
            return self.hidden(&entry.path());
        };
        let follows = kind.is_symlink() && self.places.follow_symlinks;
        let is_directory = kind.is_dir() || (follows && fs::metadata(entry.path()).is_ok_and(|about| about.is_dir()));
        if !is_directory {
            return;
        }
        if from.depth == DEEPEST {
            self.look.too_deep += 1;
            return self.look.hides(&entry.path());
        }
        steps.push(Step {
            directory: entry.path(),
            segment,
            depth: from.depth + 1,
        });
    }

    fn file(&self, directory: &Path, name: &OsStr, tell: &mut impl FnMut(Found)) {
        let path = match directory == Path::new(".") {
            true => PathBuf::from(name),
            false => directory.join(name),
        };
        if self.places.exclude.iter().any(|glob| glob.matches(&path)) {
            return;
        }
        // one that went away meanwhile is none
        if let Some(about) = regular(&path, self.places.follow_symlinks) {
            let identity = Identity::of(&about);
            tell(Found { path, identity });
        }
    }
}

/// What a path leads to, if it is a file to be read: never a pipe or a device.
pub(super) fn regular(path: &Path, follow_symlinks: bool) -> Option<Metadata> {
    let about = match follow_symlinks {
        true => fs::metadata(path),
        false => fs::symlink_metadata(path),
    };
    about.ok().filter(Metadata::is_file)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::unix::fs::symlink;

    fn places(folder: &Path, include: &[&str], exclude: &[&str]) -> Places {
        let globs = |texts: &[&str]| {
            let all = texts.iter().map(|text| match text.contains('/') {
                true => Glob::parse(&format!("{}{text}", folder.display())),
                false => Glob::parse(text),
            });
            all.collect::<Result<_, _>>().unwrap()
        };
        Places {
            include: globs(include),
            exclude: globs(exclude),
            follow_symlinks: false,
        }
    }

    fn names(folder: &Path, places: &Places) -> (BTreeSet<String>, Look) {
        let mut names = BTreeSet::new();
        let found = look(places, &Stop::new(), |found| {
            let name = found.path.strip_prefix(folder).unwrap().display().to_string();
            names.insert(name);
        });
        (names, found)
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_regular_files_in_the_right_places_are_found() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().canonicalize().unwrap();
        for directory in ["a/b", "c", ".git"] {
            fs::create_dir_all(folder.join(directory)).unwrap();
        }
        for file in [
            "1.jfr",
            "a/2.jfr",
            "a/b/3.jfr",
            "a/b/3.txt",
            "c/4.jfr",
            ".git/5.jfr",
            ".6.jfr",
        ] {
            fs::write(folder.join(file), file).unwrap();
        }
        symlink(folder.join("1.jfr"), folder.join("link.jfr")).unwrap();
        symlink("/", folder.join("away")).unwrap();
        symlink(&folder, folder.join("a/round")).unwrap();
        let pipe = std::process::Command::new("mkfifo")
            .arg(folder.join("pipe.jfr"))
            .status();
        assert!(pipe.unwrap().success());

        let found = |include: &[&str], exclude: &[&str]| names(&folder, &places(&folder, include, exclude)).0;
        assert_eq!(
            found(&["/**/*.jfr"], &[]),
            set(&["1.jfr", "a/2.jfr", "a/b/3.jfr", "c/4.jfr"])
        );
        assert_eq!(found(&["/*.jfr", "/*/*.jfr"], &["/c/*", "2.*"]), set(&["1.jfr"]));
        assert_eq!(found(&["/a/b/"], &["*.txt"]), set(&["a/b/3.jfr"]));
        assert_eq!(found(&["/1.jfr"], &[]), set(&["1.jfr"]));

        let mut following = places(&folder, &["/*.jfr", "/a/round/*/*/*.jfr"], &[]);
        following.follow_symlinks = true;
        let (names, look) = names(&folder, &following);
        assert!(
            names.contains("link.jfr") && names.contains("a/round/a/b/3.jfr"),
            "{names:?}"
        );
        assert!(!names.contains("pipe.jfr"));
        assert_eq!(look.dark(), Some(&HashSet::new()));
    }

    #[test]
    fn links_that_lead_in_circles_end() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/1.jfr"), "").unwrap();
        symlink(folder.path(), folder.path().join("a/round")).unwrap();
        let mut following = places(folder.path(), &["/**/*.jfr"], &[]);
        following.follow_symlinks = true;
        assert_eq!(names(folder.path(), &following).0, set(&["a/1.jfr"]));
    }

    #[test]
    fn a_directory_that_is_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let look = look(&places(folder.path(), &["/no/*.jfr", "/*"], &[]), &Stop::new(), |_| {});
        assert_eq!(look.unreadable, [(0, io::ErrorKind::NotFound)]);
        assert!(look.directories.is_empty());
        assert_eq!(look.dark(), Some(&HashSet::new()), "there is nothing in it");
        symlink("loop", folder.path().join("loop")).unwrap();
        let look = super::look(&places(folder.path(), &["/loop/*"], &[]), &Stop::new(), |_| {});
        assert_eq!(look.dark().map(HashSet::len), Some(1), "nobody knows what is in it");
        fs::remove_file(folder.path().join("loop")).unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        let look = super::look(&places(folder.path(), &["/a/", "/a"], &[]), &Stop::new(), |_| {});
        assert_eq!(look.directories, [1], "a slash is missing");
    }
}
