//! One file that grows, and is put aside when it is large or old.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::directory::create_directory;

const DAY: Duration = Duration::from_secs(24 * 3600);

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

/// The file, opened at the first write.
pub(super) struct Rolling {
    path: PathBuf,
    rotation: Option<Rotation>,
    sync_every: Duration,
    open: Mutex<Option<Open>>,
}

struct Open {
    file: File,
    len: u64,
    synced: SystemTime,
}

impl Rolling {
    pub(super) fn new(path: PathBuf, rotation: Option<Rotation>, sync_every: Duration) -> Self {
        Self {
            path,
            rotation,
            sync_every,
            open: Mutex::new(None),
        }
    }

    /// Appends one record, whole or not at all. Says how many old files had to go.
    pub(super) fn append(&self, record: &[u8], now: SystemTime) -> io::Result<u64> {
        let mut slot = self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let removed = self.rotate_if_full(&mut slot, record.len() as u64, now)?;
        let open = match slot.as_mut() {
            Some(open) => open,
            None => slot.insert(self.open(now)?),
        };
        if let Err(error) = open.file.write_all(record) {
            // half a record would make all that follow unreadable
            let _ = open.file.set_len(open.len);
            return Err(error);
        }
        open.len += record.len() as u64;
        if now.duration_since(open.synced).unwrap_or_default() >= self.sync_every {
            open.file.sync_data()?;
            open.synced = now;
        }
        Ok(removed)
    }

    /// Brings everything to the disk.
    pub(super) fn close(&self) -> io::Result<()> {
        let mut slot = self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        slot.take().map_or(Ok(()), |open| open.file.sync_data())
    }

    fn open(&self, now: SystemTime) -> io::Result<Open> {
        if let Some(parent) = self.path.parent() {
            create_directory(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        Ok(Open {
            len: file.metadata()?.len(),
            file,
            synced: now,
        })
    }

    fn rotate_if_full(&self, slot: &mut Option<Open>, coming: u64, now: SystemTime) -> io::Result<u64> {
        let Some(rotation) = &self.rotation else {
            return Ok(0);
        };
        let open = match slot.as_ref() {
            Some(open) => open,
            None => slot.insert(self.open(now)?),
        };
        let max = rotation.max_megabytes.saturating_mul(1_000_000);
        if max == 0 || open.len == 0 || open.len + coming <= max {
            return Ok(0);
        }
        open.file.sync_data()?;
        *slot = None;
        fs::rename(&self.path, self.aside(now))?;
        self.prune(rotation, now)
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
        let rolling = Rolling::new(path.clone(), Some(rotation), Duration::ZERO);
        let mut removed = 0;
        for i in 0..5 {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(i);
            removed += rolling.append(&vec![0; 600_000], now).unwrap();
        }
        rolling.close().unwrap();
        assert_eq!(removed, 2);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
        assert!(folder.path().join("out-1970-01-01T00-00-04.000.otlp").exists());
        assert_eq!(fs::metadata(path).unwrap().len(), 600_000);
    }

    #[test]
    fn what_is_there_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        for text in ["one", "two"] {
            let rolling = Rolling::new(path.clone(), None, Duration::from_secs(1));
            rolling.append(text.as_bytes(), SystemTime::now()).unwrap();
        }
        assert_eq!(fs::read(path).unwrap(), b"onetwo");
    }
}
