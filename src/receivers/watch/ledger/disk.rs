//! The file that a ledger is kept in.
//!
//! It is a line for each state of a file that the receiver is through with. Lines are appended and brought to the disk; a line that a
//! crash cut in half does not count. Now and then all is written anew, whole or not at all. Names of files are not in it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::digest::{SHA256, digest};

use super::{Entry, Outcome};
use crate::receivers::watch::identity::{Identity, path_mark};

/// What begins the file.
const FIRST_LINE: &str = "flamegate files 1";
/// Lines appended beyond the number of entries before all is written anew.
pub(super) const LINES_MORE: usize = 4_096;
/// Longest line, and more.
const LINE_BYTES: u64 = 256;

const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Delivered, "delivered"),
    (Outcome::Lost, "lost"),
    (Outcome::Refused, "refused"),
    (Outcome::Oversized, "oversized"),
    (Outcome::Skipped, "skipped"),
];

/// The file, open to append to it.
#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    lines: usize,
    /// Its last line may be half a line.
    is_cut: bool,
}

impl Disk {
    /// Writes everything into a new file that takes the place of the old one.
    pub(super) fn write_anew<'a>(
        path: &Path,
        entries: impl Iterator<Item = (&'a Identity, &'a Entry)>,
    ) -> io::Result<Self> {
        let temporary = path.with_extension("new");
        let mut file = BufWriter::new(private().create(true).truncate(true).open(&temporary)?);
        writeln!(file, "{FIRST_LINE}")?;
        let mut lines = 0;
        for (identity, entry) in entries {
            file.write_all(line(identity, entry).as_bytes())?;
            lines += 1;
        }
        let file = file.into_inner().map_err(|error| error.into_error())?;
        file.sync_data()?;
        fs::rename(&temporary, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let is_cut = false;
        Ok(Self { file, lines, is_cut })
    }

    /// Appends entries, and returns when they are on the disk.
    pub(super) fn append(&mut self, entries: &HashMap<Identity, Entry>) -> io::Result<()> {
        let mut lines: String = entries.iter().map(|(identity, entry)| line(identity, entry)).collect();
        if self.is_cut {
            lines.insert(0, '\n');
        }
        let appended = self.file.write_all(lines.as_bytes());
        let appended = appended.and_then(|()| self.file.sync_data());
        self.is_cut |= appended.is_err();
        self.lines = self.lines.saturating_add(entries.len());
        appended
    }

    /// Whether it should be written anew: it has many more lines than so many entries, or one that may be half a line.
    pub(super) fn is_worn(&self, entries: usize) -> bool {
        self.is_cut || self.lines > entries.saturating_add(LINES_MORE)
    }

    /// On a disk that is full.
    #[cfg(test)]
    pub(super) fn full() -> Self {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (lines, is_cut) = (0, false);
        Self { file, lines, is_cut }
    }
}

/// Keeps other processes away from the file at a path, as long as what this returns is open.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let lock = private()
        .create(true)
        .truncate(false)
        .open(path.with_extension("lock"))?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another process uses it")),
        // where there are no locks, nobody else is kept away
        Err(TryLockError::Error(_)) | Ok(()) => Ok(lock),
    }
}

/// What was written down at a path, if anything was.
pub(super) fn read(path: &Path) -> io::Result<Option<HashMap<Identity, Entry>>> {
    match File::open(path) {
        Ok(file) => entries(file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name of the file of a receiver: readable, and no other's.
pub(super) fn file_name(receiver: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    let plain: String = receiver
        .chars()
        .map(|l| if is_plain(l) { l } else { '.' })
        .take(64)
        .collect();
    format!("{plain}-{:08x}.taken", path_mark(Path::new(receiver)) as u32)
}

/// A file that nobody else may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// The line of an entry.
pub(super) fn line(identity: &Identity, entry: &Entry) -> String {
    let Identity {
        device,
        inode,
        size,
        modified,
    } = identity;
    let name = OUTCOMES.iter().find(|(outcome, _)| *outcome == entry.outcome);
    let name = name.map_or("", |(_, name)| name);
    let text = format!("{name} {device} {inode} {size} {modified} {:016x}", entry.path);
    format!("{text} {:08x}\n", checksum(&text))
}

fn checksum(text: &str) -> u32 {
    let digest = digest(&SHA256, text.as_bytes());
    let (head, _) = digest.as_ref().split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    u32::from_be_bytes(*head)
}

/// The entry of a line that is whole.
pub(super) fn parse(line: &str) -> Option<(Identity, Entry)> {
    let (text, sum) = line.rsplit_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != checksum(text) {
        return None;
    }
    let mut words = text.split(' ');
    let name = words.next()?;
    let (outcome, _) = OUTCOMES.iter().find(|(_, known)| *known == name)?;
    let identity = Identity {
        device: words.next()?.parse().ok()?,
        inode: words.next()?.parse().ok()?,
        size: words.next()?.parse().ok()?,
        modified: words.next()?.parse().ok()?,
    };
    let entry = Entry {
        outcome: *outcome,
        path: u64::from_str_radix(words.next()?, 16).ok()?,
        seen: 0,
        gone: None,
    };
    Some((identity, entry))
}

/// What stands in a ledger. Lines that are not whole do not count.
fn entries(file: File) -> io::Result<HashMap<Identity, Entry>> {
    let mut lines = BufReader::new(file);
    let (mut line, mut entries, mut is_first) = (Vec::new(), HashMap::new(), true);
    loop {
        line.clear();
        if (&mut lines).take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(entries);
        }
        let text = std::str::from_utf8(&line).ok().and_then(|text| text.strip_suffix('\n'));
        if is_first && text.is_some_and(|text| text != FIRST_LINE) {
            return Err(io::Error::other("not a list of files of this version"));
        }
        is_first = false;
        entries.extend(text.and_then(parse));
    }
}
