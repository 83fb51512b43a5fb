//! What was taken, so that it is not taken twice: in memory, and in a file that outlives the process ([`disk`]). That a
//! file is finished with is brought to the disk before anything else is done with it.

mod disk;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use self::disk::{Disk, file_name};
use super::identity::{Found, Identity, path_mark};

/// How long a file that is gone is remembered: a volume may be away for a while.
const KEEP_GONE: Duration = Duration::from_secs(3_600);
/// The ledgers that are open: after a reload the old receiver and the new one share theirs.
static OPEN: Mutex<Vec<(PathBuf, Weak<Ledger>)>> = Mutex::new(Vec::new());

/// How it ended with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Delivered.
    Delivered,
    /// Taken, and not delivered to all who must have it.
    Lost,
    /// No recording, too large, or defective.
    Refused,
    /// Refused because it takes more memory than the process may have.
    Oversized,
    /// There before the first look, and not wanted.
    Skipped,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    New,
    /// It was taken, and is on its way.
    UnderWay,
    /// It is finished with.
    Done(Outcome),
}

/// What was taken by one receiver.
#[derive(Debug)]
pub(super) struct Ledger {
    /// None if what is taken is forgotten with the process.
    path: Option<PathBuf>,
    state: Mutex<State>,
    /// None before the first look is done: whether there was one is what the file says too.
    disk: Mutex<Option<Disk>>,
    /// Whoever has it writes for all who wait for it.
    turn: tokio::sync::Mutex<()>,
    /// Held while something is done with a file that is finished with: a look finds it too, and two copies of it would be made.
    putting_away: Mutex<()>,
    is_new: bool,
    /// Keeps other processes away as long as it is open.
    _lock: Option<File>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Identity, Entry>,
    /// What was read from the file and not seen yet, without the device: that may have got another number.
    strangers: HashMap<(u64, u64, i64, u64), Identity>,
    /// With the look that saw it last.
    under_way: HashMap<Identity, u32>,
    unwritten: HashMap<Identity, Entry>,
    /// Number of the current look at the directories.
    look: u32,
    /// Marks of directories that cannot be looked into, with the first look that could not.
    dark: HashMap<u64, u32>,
}

/// A file that was taken. It goes back when this is dropped, unless it is finished with.
#[derive(Debug)]
pub(super) struct Taken {
    ledger: Arc<Ledger>,
    identity: Identity,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.ledger.state();
        // what waits for the disk is finished with: the next look writes it
        if !state.unwritten.contains_key(&self.identity) {
            state.under_way.remove(&self.identity);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    outcome: Outcome,
    path: u64,
    seen: u32,
    gone: Option<Instant>,
}

impl Ledger {
    /// Opens that of a receiver in `folder`, which is made on demand.
    pub(super) fn open(folder: &Path, receiver: &str) -> io::Result<Arc<Self>> {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        let path = folder.canonicalize()?.join(file_name(receiver));
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, ledger)| ledger.strong_count() > 0);
        let same = open.iter().find(|(known, _)| *known == path);
        if let Some(ledger) = same.and_then(|(_, ledger)| ledger.upgrade()) {
            return Ok(ledger);
        }
        let ledger = Arc::new(Self::read(path.clone())?);
        open.push((path, Arc::downgrade(&ledger)));
        Ok(ledger)
    }

    /// That of a receiver in `folder` as another process may be writing it, for one that only looks: it changes nothing there.
    pub(super) fn look_at(folder: &Path, receiver: &str) -> io::Result<Arc<Self>> {
        let known = disk::read(&folder.join(file_name(receiver)))?;
        Ok(Arc::new(Self::of(known)))
    }

    fn read(path: PathBuf) -> io::Result<Self> {
        let lock = disk::lock(&path)?;
        let known = disk::read(&path)?;
        let disk = match &known {
            Some(known) => Some(Disk::write_anew(&path, known.iter())?),
            None => None,
        };
        Ok(Self {
            path: Some(path),
            disk: Mutex::new(disk),
            _lock: Some(lock),
            ..Self::of(known)
        })
    }

    /// What is known, or nothing if this is the first look ever.
    fn of(known: Option<HashMap<Identity, Entry>>) -> Self {
        let is_new = known.is_none();
        let known = known.unwrap_or_default();
        let strangers = known.iter().map(|(id, entry)| (lasting(id, entry.path), *id)).collect();
        Self {
            path: None,
            state: Mutex::new(State {
                known,
                strangers,
                ..State::default()
            }),
            disk: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            putting_away: Mutex::default(),
            is_new,
            _lock: None,
        }
    }

    /// Whether there was none: this is the first look ever.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files that are remembered, and those on their way.
    pub(super) fn len(&self) -> usize {
        let state = self.state();
        state.known.len() + state.under_way.len()
    }

    /// A look at the directories begins.
    pub(super) fn begin_look(&self) {
        let mut state = self.state();
        state.look = state.look.wrapping_add(1);
    }

    /// A file was seen; what is known of it.
    pub(super) fn see(&self, found: &Found) -> Known {
        let mut state = self.state();
        let look = state.look;
        if let Some(seen) = state.under_way.get_mut(&found.identity) {
            *seen = look;
            return Known::UnderWay;
        }
        if let Some(entry) = state.known.get_mut(&found.identity) {
            (entry.seen, entry.gone) = (look, None);
            return Known::Done(entry.outcome);
        }
        if let Some(entry) = state.unwritten.get_mut(&found.identity) {
            entry.seen = look;
            return Known::UnderWay;
        }
        if state.strangers.is_empty() {
            return Known::New;
        }
        let lasting = lasting(&found.identity, path_mark(&found.path));
        let Some(entry) = state
            .strangers
            .remove(&lasting)
            .and_then(|old| state.known.remove(&old))
        else {
            return Known::New;
        };
        let entry = Entry { seen: look, ..entry };
        state.known.insert(found.identity, entry);
        state.unwritten.insert(found.identity, entry);
        Known::Done(entry.outcome)
    }

    /// A look ended that could not look into the directories of these marks; none if it may be any. What it did not see is forgotten
    /// when it has been gone for a while.
    pub(super) fn end_look(&self, dark: Option<&HashSet<u64>>) -> io::Result<()> {
        let mut state = self.state();
        match dark {
            Some(dark) => state.forget_gone(dark),
            None => state.dark.clear(),
        }
        drop(state);
        self.write()
    }

    /// A file is taken; none if somebody else has it.
    pub(super) fn take(self: &Arc<Self>, identity: Identity) -> Option<Taken> {
        let mut state = self.state();
        if state.known.contains_key(&identity) || state.under_way.contains_key(&identity) {
            return None;
        }
        let look = state.look;
        state.under_way.insert(identity, look);
        drop(state);
        Some(Taken {
            ledger: self.clone(),
            identity,
        })
    }

    /// A file is finished with. Returns when that is on the disk; until then the file counts as on its way. Fails if that cannot be
    /// written, and may be asked again.
    pub(super) async fn remember(self: &Arc<Self>, found: &Found, outcome: Outcome) -> io::Result<()> {
        self.note(found, outcome);
        let _turn = self.turn.lock().await;
        if self.state().unwritten.is_empty() {
            // whoever had the turn before wrote it
            return Ok(());
        }
        let ledger = self.clone();
        let written = tokio::task::spawn_blocking(move || ledger.write());
        written.await.unwrap_or_else(|_| Err(io::Error::other("cut short")))
    }

    /// A file is finished with; that is on the disk after the next [`write`](Self::write).
    pub(super) fn note(&self, found: &Found, outcome: Outcome) {
        let mut state = self.state();
        let seen = state.under_way.get(&found.identity).copied();
        let entry = Entry {
            outcome,
            path: path_mark(&found.path),
            seen: seen.unwrap_or(state.look),
            gone: None,
        };
        state.unwritten.insert(found.identity, entry);
    }

    /// The turn to do with a file that is finished with what is to be done.
    pub(super) fn put_away(&self) -> MutexGuard<'_, ()> {
        self.putting_away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file is no more.
    pub(super) fn forget(&self, identity: &Identity) {
        self.state().known.remove(identity);
    }

    /// Brings to the disk what is not there yet.
    pub(super) fn write(&self) -> io::Result<()> {
        let Some(path) = &self.path else {
            let mut state = self.state();
            let finished = std::mem::take(&mut state.unwritten);
            state.finished(finished);
            return Ok(());
        };
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = match &mut *disk {
            Some(disk) => disk,
            none => none.insert(Disk::write_anew(path, std::iter::empty())?),
        };
        let unwritten = self.state().unwritten.clone();
        if unwritten.is_empty() {
            return Ok(());
        }
        disk.append(&unwritten)?;
        let mut state = self.state();
        for identity in unwritten.keys() {
            state.unwritten.remove(identity);
        }
        state.finished(unwritten);
        if disk.is_worn(state.known.len()) {
            let known: Vec<_> = state
                .known
                .iter()
                .map(|(identity, entry)| (*identity, *entry))
                .collect();
            drop(state);
            *disk = Disk::write_anew(path, known.iter().map(|(identity, entry)| (identity, entry)))?;
        }
        Ok(())
    }
}

impl State {
    /// Forgets what has been gone for a while. A file that was seen when every directory that is dark now was dark already lay in
    /// none of them.
    fn forget_gone(&mut self, dark: &HashSet<u64>) {
        let (look, now) = (self.look, Instant::now());
        let before = std::mem::take(&mut self.dark);
        let since = |mark: &u64| (*mark, before.get(mark).copied().unwrap_or(look));
        self.dark = dark.iter().map(since).collect();
        if self.dark.is_empty() {
            self.strangers = HashMap::new();
        }
        let all_dark_since = self.dark.values().copied().max().unwrap_or(0);
        self.known.retain(|_, entry| match entry.seen {
            seen if seen == look || seen < all_dark_since => true,
            _ => now.duration_since(*entry.gone.get_or_insert(now)) < KEEP_GONE,
        });
    }

    fn finished(&mut self, files: HashMap<Identity, Entry>) {
        for (identity, entry) in files {
            self.under_way.remove(&identity);
            self.known.insert(identity, entry);
        }
    }
}

/// What a file is known by after the machine has started again.
fn lasting(identity: &Identity, path: u64) -> (u64, u64, i64, u64) {
    (identity.inode, identity.size, identity.modified, path)
}

/// Forgets what is open below a folder, as the end of the process does, whoever still holds it.
#[cfg(test)]
pub(super) fn close(folder: &Path) {
    let folder = folder.canonicalize().unwrap();
    let mut open = OPEN.lock().unwrap();
    for (path, ledger) in open.iter().filter(|(path, _)| path.starts_with(&folder)) {
        if ledger.strong_count() > 0 {
            fs::remove_file(path.with_extension("lock")).unwrap();
        }
    }
    open.retain(|(path, _)| !path.starts_with(&folder));
}

/// What is open below a folder.
#[cfg(test)]
fn open_below(folder: &Path) -> Vec<Arc<Ledger>> {
    let folder = folder.canonicalize().unwrap();
    let open = OPEN.lock().unwrap();
    let ours = open.iter().filter(|(path, _)| path.starts_with(&folder));
    ours.filter_map(|(_, ledger)| ledger.upgrade()).collect()
}

/// Fills the disk of what is open below a folder.
#[cfg(test)]
pub(super) fn fill_disk(folder: &Path) {
    for ledger in open_below(folder) {
        *ledger.disk.lock().unwrap() = Some(Disk::full());
    }
}

/// Makes room on it again.
#[cfg(test)]
pub(super) fn mend_disk(folder: &Path) {
    for ledger in open_below(folder) {
        *ledger.disk.lock().unwrap() = None;
    }
}

/// Files that wait for the disk.
#[cfg(test)]
pub(super) fn unwritten(folder: &Path) -> usize {
    let ledgers = open_below(folder);
    ledgers.iter().map(|ledger| ledger.state().unwritten.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::disk::{LINES_MORE, line, parse};
    use super::*;

    fn found(n: u64) -> Found {
        Found {
            path: format!("/profiles/{n}").into(),
            identity: Identity {
                device: 1,
                inode: n,
                size: 100,
                modified: 7,
            },
        }
    }

    fn see(ledger: &Ledger, n: u64) -> Known {
        ledger.see(&found(n))
    }

    #[tokio::test]
    async fn what_was_taken_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), "file/a").unwrap();
        let taken = ledger.take(found(1).identity);
        assert!(ledger.is_new() && taken.is_some() && ledger.take(found(1).identity).is_none());
        assert_eq!(see(&ledger, 1), Known::UnderWay);
        for (n, outcome) in (1..).zip([Outcome::Delivered, Outcome::Refused]) {
            ledger.remember(&found(n), outcome).await.unwrap();
        }
        let on_its_way = ledger.take(found(3).identity).unwrap();
        let path = ledger.path.clone().unwrap();
        drop((ledger, taken, on_its_way));
        // a crash in the middle of a line
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        let whole = line(&found(4).identity, &parse(line_of(&path).trim_end()).unwrap().1);
        file.write_all(&whole.as_bytes()[..whole.len() - 1]).unwrap();
        let ledger = Ledger::open(folder.path(), "file/a").unwrap();
        assert!(!ledger.is_new());
        let known: Vec<_> = (1..=4).map(|n| see(&ledger, n)).collect();
        let expected = [
            Known::Done(Outcome::Delivered),
            Known::Done(Outcome::Refused),
            Known::New,
            Known::New,
        ];
        assert_eq!(known, expected);
        assert!(fs::read_to_string(&path).unwrap().ends_with('\n'), "written anew");
    }

    /// The last line.
    fn line_of(path: &Path) -> String {
        let text = fs::read_to_string(path).unwrap();
        format!("{}\n", text.lines().last().unwrap())
    }

    #[tokio::test]
    async fn a_device_may_have_another_number_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), "file").unwrap();
        ledger.remember(&found(1), Outcome::Delivered).await.unwrap();
        drop(ledger);
        let ledger = Ledger::open(folder.path(), "file").unwrap();
        let mut moved = found(1);
        moved.identity.device = 2;
        assert_eq!(ledger.see(&moved), Known::Done(Outcome::Delivered));
        assert_eq!(ledger.see(&moved), Known::Done(Outcome::Delivered));
        ledger.end_look(Some(&HashSet::new())).unwrap();
        moved.identity.device = 3;
        assert_eq!(ledger.see(&moved), Known::New, "another device of now is another one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_is_shared_in_a_process_and_refused_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let one = Ledger::open(folder.path(), "file").unwrap();
        let other = Ledger::open(&folder.path().join("."), "file").unwrap();
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &Ledger::open(folder.path(), "file/b").unwrap()));
        let error = Ledger::read(one.path.clone().unwrap()).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
    }

    #[tokio::test]
    async fn it_does_not_grow_beyond_what_it_knows() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), "file").unwrap();
        for round in 0..3 {
            for n in 0..LINES_MORE as u64 {
                ledger.note(&found(round << 32 | n), Outcome::Delivered);
            }
            ledger.write().unwrap();
            (0..LINES_MORE as u64).for_each(|n| ledger.forget(&found(round << 32 | n).identity));
        }
        let lines = fs::read_to_string(ledger.path.as_ref().unwrap())
            .unwrap()
            .lines()
            .count();
        assert!(lines <= 2 * LINES_MORE + 1, "{lines}");
        assert_eq!(ledger.len(), 0);
    }

    #[test]
    fn a_directory_full_of_files_is_noted_in_a_moment() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), "file").unwrap();
        let began = Instant::now();
        (0..100_000).for_each(|n| ledger.note(&found(n), Outcome::Skipped));
        ledger.write().unwrap();
        assert_eq!(ledger.len(), 100_000);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }

    #[test]
    fn what_is_gone_is_remembered_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), "file").unwrap();
        (1..=2).for_each(|n| ledger.note(&found(n), Outcome::Delivered));
        ledger.write().unwrap();
        let long_ago = Instant::now().checked_sub(2 * KEEP_GONE);
        ledger.state().known.get_mut(&found(2).identity).unwrap().gone = long_ago;
        ledger.begin_look();
        ledger.end_look(None).unwrap();
        assert_eq!(ledger.len(), 2, "a look that was cut does not say what is gone");
        ledger.end_look(Some(&HashSet::from([7]))).unwrap();
        assert_eq!(ledger.len(), 2, "it may be where nobody can look now");
        ledger.end_look(Some(&HashSet::new())).unwrap();
        assert_eq!((ledger.len(), see(&ledger, 1)), (1, Known::Done(Outcome::Delivered)));
    }

    #[test]
    fn a_directory_that_was_always_dark_hides_nothing_that_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), "file").unwrap();
        let always = HashSet::from([7]);
        ledger.begin_look();
        ledger.end_look(Some(&always)).unwrap();
        ledger.begin_look();
        let taken = ledger.take(found(1).identity).unwrap();
        ledger.note(&found(1), Outcome::Delivered);
        ledger.end_look(Some(&always)).unwrap();
        drop(taken);
        let gone = |ledger: &Ledger| {
            ledger
                .state()
                .known
                .get(&found(1).identity)
                .map(|entry| entry.gone.is_some())
        };
        ledger.begin_look();
        ledger.end_look(Some(&HashSet::from([7, 8]))).unwrap();
        assert_eq!(gone(&ledger), Some(false), "it may be in the other one");
        ledger.begin_look();
        ledger.end_look(Some(&always)).unwrap();
        assert_eq!(gone(&ledger), Some(true));
        ledger.state().known.get_mut(&found(1).identity).unwrap().gone = Instant::now().checked_sub(2 * KEEP_GONE);
        ledger.end_look(Some(&always)).unwrap();
        assert_eq!(ledger.len(), 0);
    }

    #[test]
    fn what_was_taken_goes_back_unless_it_is_finished_with() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), "file").unwrap();
        let taken = ledger.take(found(1).identity).unwrap();
        assert!(ledger.take(found(1).identity).is_none());
        drop(taken);
        assert_eq!(see(&ledger, 1), Known::New);
        let taken = ledger.take(found(1).identity).unwrap();
        ledger.note(&found(1), Outcome::Delivered);
        drop(taken);
        assert_eq!(see(&ledger, 1), Known::UnderWay, "it is not on the disk yet");
        ledger.write().unwrap();
        assert_eq!(see(&ledger, 1), Known::Done(Outcome::Delivered));
    }
}
