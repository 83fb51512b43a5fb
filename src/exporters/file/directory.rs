//! One file for each profile, in a directory that never grows past its bounds.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::kind::is_ours;
use crate::pipeline::units::io_reason;

/// How often files are looked through for those that are too old.
const AGE_CHECK: Duration = Duration::from_secs(60);
/// Names that are tried for a profile whose own another one may have.
const MOST_NUMBERS: u32 = 1_000;
/// A temporary of this age belongs to nobody any more.
const STALE: Duration = Duration::from_secs(3600);

/// Where the files go, and how many may stay.
pub(super) struct Directory {
    path: PathBuf,
    max_bytes: u64,
    max_age: Duration,
    next: AtomicU64,
    held: Mutex<Option<Held>>,
    /// Held while a free name is looked for and taken.
    naming: Mutex<()>,
}

/// What a file is named by.
pub(super) struct Name {
    /// What the profile is about.
    pub(super) kind: &'static str,
    /// What it is named by if it may be written again; the moment and the next number unless set.
    pub(super) lasting: Option<Lasting>,
}

/// What names a profile that has the same name if it is written again, and then takes its own place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lasting {
    /// Of its own time.
    pub(super) millis: u64,
    /// Whoever reads it again gets this number again.
    pub(super) number: u32,
    /// No other profile has this number. Otherwise it takes no place of another content.
    pub(super) is_own: bool,
}

/// What lies in the directory, as far as it is ours.
struct Held {
    bytes: u64,
    looked: SystemTime,
}

impl Directory {
    /// As configured.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `max_bytes` and `max_age` of 0 mean no bound.
    pub(super) fn new(path: PathBuf, max_bytes: u64, max_age: Duration) -> Self {
        Self {
            path,
            max_bytes,
            max_age,
            // names of two processes that share a directory must differ
            next: AtomicU64::new(RandomState::new().hash_one(std::process::id())),
            held: Mutex::new(None),
            naming: Mutex::new(()),
        }
    }

    /// Writes one file: whole or not at all, whatever happens in between. Says how many old files had to go.
    pub(super) fn write(&self, name: &Name, ending: &str, content: &[u8], now: SystemTime) -> io::Result<u64> {
        create_directory(&self.path)?;
        let kind = name.kind;
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let unique = self.next.fetch_add(1, Ordering::Relaxed) as u32;
        // never that of another attempt, which a killed process may have left behind
        let temporary = self.path.join(format!(".{millis}-{kind}-{unique:08x}.{ending}"));
        let named = |millis: u64, number: u32| self.path.join(format!("{millis}-{kind}-{number:08x}.{ending}"));
        let written = write_whole(&temporary, content).and_then(|()| match name.lasting {
            None => fs::rename(&temporary, named(millis, unique)),
            Some(Lasting { millis, number, is_own }) if is_own => fs::rename(&temporary, named(millis, number)),
            Some(Lasting { millis, number, .. }) => {
                let _turn = self.naming.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let numbers = (0..MOST_NUMBERS).map(|at| number.wrapping_add(at));
                let mut paths = numbers.map(|number| named(millis, number));
                let free = paths
                    .find(|path| is_free(path, content))
                    .ok_or(io::ErrorKind::AlreadyExists)?;
                fs::rename(&temporary, free)
            }
        });
        // whoever follows it may do away with what it was made of
        let written = written.and_then(|()| match name.lasting {
            Some(_) => self.sync(),
            None => Ok(()),
        });
        if let Err(error) = written {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(self.trim(content.len() as u64, now))
    }

    /// Brings its names to the disk, where that can be asked for.
    fn sync(&self) -> io::Result<()> {
        use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
        match File::open(&self.path).and_then(|directory| directory.sync_all()) {
            Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => Ok(()),
            synced => synced,
        }
    }

    /// The file is there: what goes wrong here must not have it written again.
    fn trim(&self, added: u64, now: SystemTime) -> u64 {
        let mut held = self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(held) = held.as_mut() {
            held.bytes += added;
            let full = self.max_bytes != 0 && held.bytes > self.max_bytes;
            let since = now.duration_since(held.looked).unwrap_or_default();
            if !full && (self.max_age.is_zero() || since < AGE_CHECK.min(self.max_age)) {
                return 0;
            }
        }
        match self.sweep(now) {
            Ok((bytes, removed)) => {
                *held = Some(Held { bytes, looked: now });
                removed
            }
            Err(error) => {
                tracing::warn!(why = io_reason(&error), "old files cannot be looked through, and stay");
                0
            }
        }
    }

    /// Removes what is too old, then the oldest until a tenth of the room is free, so that sweeps stay rare.
    fn sweep(&self, now: SystemTime) -> io::Result<(u64, u64)> {
        let mut files = self.files(now)?;
        files.sort_unstable();
        let mut bytes: u64 = files.iter().map(|(_, _, len)| len).sum();
        let room = match self.max_bytes {
            0 => u64::MAX,
            max if bytes > max => max - max / 10,
            max => max,
        };
        let newest = files.len().saturating_sub(1);
        let mut removed = 0;
        for (modified, name, len) in files.into_iter().take(newest) {
            let age = now.duration_since(modified).unwrap_or_default();
            if bytes <= room && (self.max_age.is_zero() || age <= self.max_age) {
                break;
            }
            if fs::remove_file(self.path.join(name)).is_ok() {
                bytes -= len;
                removed += 1;
            }
        }
        Ok((bytes, removed))
    }

    fn files(&self, now: SystemTime) -> io::Result<Vec<(SystemTime, String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let (Ok(name), Ok(about)) = (entry.file_name().into_string(), entry.metadata()) else {
                continue;
            };
            let modified = about.modified()?;
            if is_ours(&name) && about.is_file() {
                files.push((modified, name, about.len()));
            } else if name.strip_prefix('.').is_some_and(is_ours)
                && now.duration_since(modified).unwrap_or_default() > STALE
            {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(files)
    }
}

/// Whether a file of this content may stand there: there is none yet, or the same.
fn is_free(path: &Path, content: &[u8]) -> bool {
    match fs::read(path) {
        Ok(there) => there == content,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    // without it a crash after the rename may leave an empty file under the final name
    file.sync_data()
}

/// Profiles name what a program does: others than the owner's group have no business here.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o750);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn named(kind: &'static str) -> Name {
        Name { kind, lasting: None }
    }

    #[test]
    fn what_is_written_again_takes_its_own_place() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::new(folder.path().to_owned(), 0, Duration::ZERO);
        let lasting = Some(Lasting {
            millis: 1_763_701_200_123,
            number: 0xab,
            is_own: true,
        });
        for content in ["half", "whole"] {
            let name = Name { kind: "cpu", lasting };
            directory
                .write(&name, "pb.gz", content.as_bytes(), SystemTime::now())
                .unwrap();
        }
        assert_eq!(names(folder.path()), ["1763701200123-cpu-000000ab.pb.gz"]);
        let path = folder.path().join("1763701200123-cpu-000000ab.pb.gz");
        assert_eq!(fs::read(path).unwrap(), b"whole");
    }

    #[test]
    fn nothing_takes_the_place_of_what_may_be_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::new(folder.path().to_owned(), 0, Duration::ZERO);
        let lasting = Some(Lasting {
            millis: 1_763_701_200_123,
            number: u32::MAX,
            is_own: false,
        });
        let name = Name { kind: "cpu", lasting };
        std::thread::scope(|scope| {
            for content in ["one", "two", "three", "two", "one"] {
                let write = || directory.write(&name, "pb.gz", content.as_bytes(), SystemTime::now());
                scope.spawn(move || write().unwrap());
            }
        });
        let read = |name: &String| fs::read_to_string(folder.path().join(name)).unwrap();
        let mut all: Vec<String> = names(folder.path()).iter().map(read).collect();
        all.sort();
        assert_eq!(all, ["one", "three", "two"]);
        assert!(names(folder.path()).iter().all(|name| is_ours(name)));
    }

    #[test]
    fn names_say_when_and_what() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/on/demand");
        let now = UNIX_EPOCH + Duration::from_millis(1_763_701_200_123);
        let directory = Directory::new(path.clone(), 0, Duration::ZERO);
        directory.write(&named("cpu"), "pb.gz", b"content", now).unwrap();
        let names = names(&path);
        assert_eq!(names.len(), 1);
        assert!(
            names[0].starts_with("1763701200123-cpu-") && is_ours(&names[0]),
            "{names:?}"
        );
        assert_eq!(fs::read(path.join(&names[0])).unwrap(), b"content");
    }

    #[test]
    fn the_oldest_go_first_and_foreign_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), vec![0; 5000]).unwrap();
        let directory = Directory::new(folder.path().to_owned(), 1000, Duration::ZERO);
        let mut removed = 0;
        for i in 0..30u64 {
            let now = UNIX_EPOCH + Duration::from_millis(1_000 + i);
            removed += directory.write(&named("wall"), "pb.gz", &[0; 100], now).unwrap();
        }
        let names = names(folder.path());
        let ours = names.iter().filter(|name| is_ours(name)).count() as u64;
        assert!(names.contains(&"notes.txt".to_owned()));
        assert!(ours <= 10, "{names:?}");
        assert_eq!(ours + removed, 30);
        assert!(names.iter().any(|name| name.starts_with("1029-")), "the newest stays");
    }

    #[test]
    fn a_directory_that_cannot_be_swept_fails_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::new(folder.path().join("gone"), 1, Duration::ZERO);
        assert_eq!(directory.trim(100, SystemTime::now()), 0);
    }

    #[test]
    fn files_past_their_age_go() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::new(folder.path().to_owned(), 0, Duration::from_secs(60));
        directory
            .write(&named("cpu"), "pb.gz", b"old", SystemTime::now())
            .unwrap();
        let later = SystemTime::now() + Duration::from_secs(3600);
        assert_eq!(directory.write(&named("cpu"), "pb.gz", b"new", later).unwrap(), 1);
        assert_eq!(names(folder.path()).len(), 1);
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file");
        fs::write(&file, "").unwrap();
        let directory = Directory::new(file.join("below"), 0, Duration::ZERO);
        assert!(
            directory
                .write(&named("cpu"), "pb.gz", b"x", SystemTime::now())
                .is_err()
        );
        assert_eq!(names(folder.path()), ["a file"]);
    }
}
