//! One file that grows, and is put aside when it is large or old.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::directory::create_directory;
use crate::pipeline::place::rename_to_free;
use crate::pipeline::units::io_reason;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Names that are tried where others were put aside in the same millisecond.
const MOST_NAMES: u64 = 10_000;

/// `rotation`: when the file is put aside, and which of those stay.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Rotation {
    /// Size at which the file is put aside.
    pub max_megabytes: u64,
    /// Days that files put aside stay; 0 for ever.
    pub max_days: u32,
    /// Files put aside that stay; 0 all.
    pub max_backups: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            max_megabytes: 100,
            max_days: 0,
            max_backups: 100,
        }
    }
}

/// How records follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Each is a line.
    Lines,
    /// Each stands behind its length, four bytes big endian.
    Lengths,
}

/// The file, opened at the first write.
pub(super) struct Rolling {
    path: PathBuf,
    framing: Framing,
    rotation: Option<Rotation>,
    sync_every: Duration,
    /// Held while the disk works: nobody may wait for it but threads that may block.
    open: Mutex<Option<Open>>,
    /// Something was written since the file was last brought to the disk.
    is_dirty: AtomicBool,
}

struct Open {
    file: File,
    len: u64,
    synced: SystemTime,
}

impl Rolling {
    /// As configured.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn new(path: PathBuf, framing: Framing, rotation: Option<Rotation>, sync_every: Duration) -> Self {
        Self {
            path,
            framing,
            rotation,
            sync_every,
            open: Mutex::new(None),
            is_dirty: AtomicBool::new(false),
        }
    }

    /// Appends one record, whole or not at all. Says how many old files had to go.
    pub(super) fn append(&self, record: &[u8]) -> io::Result<u64> {
        self.append_at(record, SystemTime::now)
    }

    /// The same, asking for the time when it is this record's turn.
    fn append_at(&self, record: &[u8], now: impl FnOnce() -> SystemTime) -> io::Result<u64> {
        let mut slot = self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = now();
        let removed = self.rotate_if_full(&mut slot, record.len() as u64, now)?;
        let open = match slot.as_mut() {
            Some(open) => open,
            None => slot.insert(self.open(now)?),
        };
        if let Err(error) = open.file.write_all(record) {
            // half a record would make all that follow unreadable; where it stays, the next one looks for it
            let is_mended = open.file.set_len(open.len).is_ok();
            if !is_mended {
                *slot = None;
            }
            return Err(error);
        }
        open.len += record.len() as u64;
        self.is_dirty.store(true, Ordering::Release);
        if now.duration_since(open.synced).unwrap_or_default() >= self.sync_every {
            self.sync_open(open, now);
        }
        Ok(removed)
    }

    /// When what was written is due on the disk; none if it is there. Does not wait for the disk.
    pub(super) fn due(&self) -> Option<Duration> {
        self.is_dirty.load(Ordering::Acquire).then_some(self.sync_every)
    }

    /// Brings everything to the disk.
    pub(super) fn sync(&self, now: SystemTime) {
        let mut slot = self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(open) = slot.as_mut() {
            self.sync_open(open, now);
        }
    }

    /// What was written is in the file already: what goes wrong here must not have it written again.
    fn sync_open(&self, open: &mut Open, now: SystemTime) {
        if self.is_dirty.swap(false, Ordering::AcqRel)
            && let Err(error) = open.file.sync_data()
            // pipes and devices have no disk behind them
            && error.kind() != io::ErrorKind::InvalidInput
        {
            tracing::warn!(why = io_reason(&error), "the file could not be brought to the disk");
        }
        open.synced = now;
    }

    /// The same, for the last time.
    pub(super) fn close(&self) {
        self.sync(SystemTime::now());
        *self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
    }

    fn open(&self, now: SystemTime) -> io::Result<Open> {
        if let Some(parent) = self.path.parent() {
            create_directory(parent)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).open(&self.path)?;
        if file.metadata()?.is_file() && !self.is_whole()? {
            let aside = self.put_aside(now)?;
            tracing::warn!(aside = %aside.display(), "the file ends in the middle of a record and was put aside");
            file = options.open(&self.path)?;
        }
        Ok(Open {
            len: file.metadata()?.len(),
            file,
            synced: now,
        })
    }

    /// Whether the file ends where a record does, so that the next one can be read. A crash may have torn the last one.
    fn is_whole(&self) -> io::Result<bool> {
        let mut file = io::BufReader::new(File::open(&self.path)?);
        let len = file.seek(SeekFrom::End(0))?;
        if self.framing == Framing::Lines {
            let mut last = [b'\n'];
            file.seek(SeekFrom::Start(len.saturating_sub(1)))?;
            // an empty file has no last byte, and is whole
            let _ = file.read(&mut last)?;
            return Ok(last == [b'\n']);
        }
        let mut at = file.seek(SeekFrom::Start(0))?;
        let mut length = [0; 4];
        while len - at >= 4 {
            file.read_exact(&mut length)?;
            let record = u32::from_be_bytes(length);
            at += 4 + u64::from(record);
            if at > len {
                return Ok(false);
            }
            file.seek_relative(i64::from(record))?;
        }
        Ok(at == len)
    }

    fn rotate_if_full(&self, slot: &mut Option<Open>, coming: u64, now: SystemTime) -> io::Result<u64> {
        let Some(rotation) = &self.rotation else {
            return Ok(0);
        };
        let open = match slot.as_mut() {
            Some(open) => open,
            None => slot.insert(self.open(now)?),
        };
        let max = rotation.max_megabytes.saturating_mul(1_000_000);
        if max == 0 || open.len == 0 || open.len + coming <= max {
            return Ok(0);
        }
        self.sync_open(open, now);
        *slot = None;
        self.put_aside(now)?;
        self.prune(rotation, now)
    }

    /// Gives the file the first free name of one that was put aside, from now on.
    fn put_aside(&self, now: SystemTime) -> io::Result<PathBuf> {
        for millis in 0..MOST_NAMES {
            let aside = self.aside(now + Duration::from_millis(millis));
            match rename_to_free(&self.path, &aside) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                renamed => return renamed.map(|()| aside),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// `name-2026-11-21T05-00-00.000.ext`, as the Collector names them.
    fn aside(&self, now: SystemTime) -> PathBuf {
        let (stem, ending) = self.stem_and_ending();
        let time = humantime::format_rfc3339_millis(now).to_string().replace(':', "-");
        self.path
            .with_file_name(format!("{stem}-{}{ending}", time.trim_end_matches('Z')))
    }

    fn stem_and_ending(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
        let ending = text(self.path.extension());
        (
            text(self.path.file_stem()),
            if ending.is_empty() {
                ending
            } else {
                format!(".{ending}")
            },
        )
    }

    fn prune(&self, rotation: &Rotation, now: SystemTime) -> io::Result<u64> {
        let (stem, ending) = self.stem_and_ending();
        let is_aside = |name: &str| {
            let time = name
                .strip_prefix(&format!("{stem}-"))
                .and_then(|rest| rest.strip_suffix(&ending));
            time.is_some_and(|time| {
                time.len() == "2026-11-21T05-00-00.000".len()
                    && time
                        .bytes()
                        .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'T' | b'.'))
            })
        };
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let mut asides = Vec::new();
        for entry in fs::read_dir(folder.unwrap_or(std::path::Path::new(".")))? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_aside) {
                asides.push((entry.file_name(), entry.path(), entry.metadata()?.modified()?));
            }
        }
        asides.sort_unstable();
        let mut removed = 0;
        let count = asides.len();
        for (i, (_, path, modified)) in asides.into_iter().enumerate() {
            let too_many = rotation.max_backups != 0 && count - i > rotation.max_backups;
            let age = now.duration_since(modified).unwrap_or_default();
            let too_old = rotation.max_days != 0 && age > DAY * rotation.max_days;
            if (too_many || too_old) && fs::remove_file(path).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_only_so_many_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("out-mine.otlp"), "").unwrap();
        let rotation = Rotation {
            max_megabytes: 1,
            max_backups: 2,
            ..Rotation::default()
        };
        let path = folder.path().join("out.otlp");
        let rolling = Rolling::new(path.clone(), Framing::Lengths, Some(rotation), Duration::ZERO);
        let mut removed = 0;
        for i in 0..5 {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(i);
            removed += rolling.append_at(&vec![0; 600_000], || now).unwrap();
        }
        rolling.close();
        assert_eq!(removed, 2);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
        assert!(folder.path().join("out-1970-01-01T00-00-04.000.otlp").exists());
        assert_eq!(fs::metadata(path).unwrap().len(), 600_000);
    }

    #[test]
    fn what_was_put_aside_in_the_same_moment_stays() {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation {
            max_megabytes: 1,
            max_backups: 0,
            ..Rotation::default()
        };
        let rolling = Rolling::new(
            folder.path().join("out"),
            Framing::Lengths,
            Some(rotation),
            Duration::ZERO,
        );
        for _ in 0..5 {
            let moment = || SystemTime::UNIX_EPOCH;
            rolling.append_at(&vec![0; 600_000], moment).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
    }

    #[test]
    fn nobody_waits_for_the_disk_to_hear_what_is_due() {
        let folder = tempfile::tempdir().unwrap();
        let rolling = Rolling::new(folder.path().join("out"), Framing::Lines, None, Duration::from_secs(9));
        let _at_work = rolling.open.lock().unwrap();
        assert_eq!(rolling.due(), None);
    }

    /// What the file holds after two more records, and how many files there are then.
    fn continued(framing: Framing, before: &[u8], records: [&[u8]; 2]) -> (Vec<u8>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, before).unwrap();
        for record in records {
            let rolling = Rolling::new(path.clone(), framing, None, Duration::from_secs(1));
            rolling.append(record).unwrap();
        }
        (fs::read(&path).unwrap(), fs::read_dir(folder.path()).unwrap().count())
    }

    #[test]
    fn what_is_there_is_continued() {
        let lines = continued(Framing::Lines, b"one\n", [b"two\n", b"three\n"]);
        assert_eq!(lines, (b"one\ntwo\nthree\n".to_vec(), 1));
        let lengths = continued(Framing::Lengths, b"\0\0\0\x01a", [b"\0\0\0\0", b"\0\0\0\x02bc"]);
        assert_eq!(lengths, (b"\0\0\0\x01a\0\0\0\0\0\0\0\x02bc".to_vec(), 1));
    }

    #[test]
    fn a_file_with_a_torn_tail_is_put_aside() {
        let lines = continued(Framing::Lines, b"one\ntw", [b"two\n", b"three\n"]);
        assert_eq!(lines, (b"two\nthree\n".to_vec(), 2));
        for torn in [&b"\0\0\0\x01a\0\0"[..], b"\0\0\0\x05a"] {
            let lengths = continued(Framing::Lengths, torn, [b"\0\0\0\x01b", b"\0\0\0\x01c"]);
            assert_eq!(lengths, (b"\0\0\0\x01b\0\0\0\x01c".to_vec(), 2));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_cannot_be_brought_to_a_disk_is_written_all_the_same() {
        let rolling = Rolling::new("/dev/null".into(), Framing::Lines, None, Duration::ZERO);
        assert_eq!(rolling.append(b"a line\n").unwrap(), 0);
    }

    #[test]
    fn what_was_written_is_due_on_the_disk_until_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let every = Duration::from_secs(9);
        let rolling = Rolling::new(folder.path().join("out"), Framing::Lines, None, every);
        assert_eq!(rolling.due(), None);
        rolling.append(b"a line\n").unwrap();
        assert_eq!(rolling.due(), Some(every));
        rolling.sync(SystemTime::now());
        assert_eq!(rolling.due(), None);
    }
}
