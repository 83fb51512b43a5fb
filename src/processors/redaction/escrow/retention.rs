//! The directory of an escrow: files are added whole, never changed, and the oldest go.

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

/// The ending of escrow files.
const ENDING: &str = "escrow";
/// What a file takes at least on a disk.
const BLOCK: u64 = 4096;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stored {
    pub made: Duration,
    pub path: PathBuf,
    pub bytes: u64,
}

/// The files of a directory, the oldest first. Whatever is named otherwise is somebody else's.
pub(super) fn list(directory: &Path) -> Result<Vec<Stored>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let Some(made) = made(&path) else { continue };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => files.push(Stored {
                made,
                path,
                bytes: metadata.len(),
            }),
            // another gate removed it meanwhile
            _ => {}
        }
    }
    files.sort();
    Ok(files)
}

/// The time in the name `<milliseconds>-<16 hex>.escrow`.
fn made(path: &Path) -> Option<Duration> {
    let (time, number) = path
        .file_name()?
        .to_str()?
        .strip_suffix(ENDING)?
        .strip_suffix('.')?
        .split_once('-')?;
    let is_ours = number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit());
    let time = time.parse().ok().filter(|_| is_ours)?;
    Some(Duration::from_millis(time))
}

/// Adds a file: nobody ever sees a part of it. Gives its path.
pub(super) fn add(directory: &Path, content: &[u8]) -> Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let mut random = [0; 8];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| Error::other("no randomness"))?;
    let number = u64::from_le_bytes(random);
    let name = format!("{:014}-{number:016x}.{ENDING}", now().as_millis());
    let temporary = directory.join(format!(".{name}.tmp"));
    let path = directory.join(name);
    let written = write(&temporary, content).and_then(|()| std::fs::rename(&temporary, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    // so that the name lasts too, where directories can be synced
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(path)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Removes files that are too old, and the oldest ones while all together are too large; 0 bounds nothing. Says how many went.
pub(super) fn retire(directory: &Path, max_age: Duration, max_bytes: u64) -> Result<usize> {
    let files = list(directory)?;
    let now = now();
    let mut total: u64 = files.iter().map(size).sum();
    let mut gone = 0;
    for (number, file) in files.iter().enumerate() {
        let is_old = !max_age.is_zero() && now.saturating_sub(file.made) > max_age;
        // the newest stays, however large it is
        let is_too_much = max_bytes > 0 && total > max_bytes && number + 1 < files.len();
        if !is_old && !is_too_much {
            break;
        }
        match std::fs::remove_file(&file.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => gone += 1,
        }
        total = total.saturating_sub(size(file));
    }
    Ok(gone)
}

fn size(file: &Stored) -> u64 {
    file.bytes.next_multiple_of(BLOCK)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole_private_and_in_the_order_in_which_they_were_made() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("new/escrow");
        for text in ["one", "two", "three"] {
            add(&directory, text.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        std::fs::write(directory.join("notes.escrow"), "mine").unwrap();
        let files = list(&directory).unwrap();
        let texts: Vec<String> = files
            .iter()
            .map(|file| std::fs::read_to_string(&file.path).unwrap())
            .collect();
        assert_eq!(texts, ["one", "two", "three"]);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 4);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&files[0].path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn the_oldest_go_by_age_and_by_size_and_strangers_stay() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("00000000000001-0123456789abcdef.escrow");
        std::fs::write(&old, "x").unwrap();
        std::fs::write(folder.path().join("1-short.escrow"), "x").unwrap();
        for _ in 0..3 {
            add(folder.path(), &[0; 5000]).unwrap();
        }
        assert_eq!(retire(folder.path(), Duration::ZERO, 0).unwrap(), 0);
        assert_eq!(retire(folder.path(), Duration::from_secs(3600), 0).unwrap(), 1);
        assert!(!old.exists());
        assert_eq!(retire(folder.path(), Duration::ZERO, 20_000).unwrap(), 1);
        assert_eq!(retire(folder.path(), Duration::ZERO, 1).unwrap(), 1);
        assert_eq!(list(folder.path()).unwrap().len(), 1);
        assert!(folder.path().join("1-short.escrow").exists());
    }
}
