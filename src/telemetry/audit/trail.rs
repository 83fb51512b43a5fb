//! The files of the audit trail: lines are only ever added, and the oldest file goes when there are too many.

use std::fs::{File, OpenOptions};
use std::io::{Result, Write};
use std::path::{Path, PathBuf};

use super::Settings;

/// The file that is written now, and those before it.
#[derive(Debug)]
pub(super) struct Trail {
    path: PathBuf,
    max_bytes: u64,
    max_files: usize,
}

impl Trail {
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        if let Some(parent) = settings.path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        open(&settings.path)?;
        Ok(Self {
            path: settings.path.clone(),
            max_bytes: settings.max_bytes,
            max_files: settings.max_files,
        })
    }

    /// Adds whole lines, all or none. The file is opened anew each time: somebody else may have moved it away.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<()> {
        let mut file = open(&self.path)?;
        let mut length = file.metadata()?.len();
        if length > 0 && length + lines.len() as u64 > self.max_bytes {
            self.rotate()?;
            file = open(&self.path)?;
            length = file.metadata()?.len();
        }
        file.write_all(lines).inspect_err(|_| {
            // they are told again: half of them would count twice, and the last one would not end
            let _ = file.set_len(length);
        })
    }

    /// `PATH` becomes `PATH.1`, that `PATH.2`, and the last one goes.
    fn rotate(&self) -> Result<()> {
        if self.max_files == 0 {
            return std::fs::remove_file(&self.path);
        }
        for number in (1..self.max_files).rev() {
            let from = self.earlier(number);
            if from.exists() {
                std::fs::rename(from, self.earlier(number + 1))?;
            }
        }
        std::fs::rename(&self.path, self.earlier(1))
    }

    fn earlier(&self, number: usize) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// To add to; readable by the owner alone.
fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_rotated_and_only_so_many_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            path: directory.path().join("new/audit.jsonl"),
            max_bytes: 10,
            max_files: 2,
            fingerprint_key: None,
        };
        let mut trail = Trail::open(&settings).unwrap();
        for line in [
            "first\n",
            "second\n",
            "third\n",
            "fourth, and longer than a file\n",
            "e\n",
        ] {
            trail.append(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(directory.path().join("new").join(name)).unwrap();
        assert_eq!(read("audit.jsonl"), "e\n");
        assert_eq!(read("audit.jsonl.1"), "fourth, and longer than a file\n");
        assert_eq!(read("audit.jsonl.2"), "third\n");
        assert_eq!(std::fs::read_dir(directory.path().join("new")).unwrap().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_but_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
