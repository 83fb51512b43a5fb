//! The writing half of an escrow: whoever redacts hands names over without waiting, a thread seals and stores them.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::keys::Recipient;
use super::retention::{add, list, retire};
use super::seal::{Entry, seal};
use super::{Config, Keep};
use crate::pipeline::spec::BuildError;
use crate::pipeline::units::io_reason;
use crate::profile::Role;
use crate::telemetry::Metrics;

/// Names that may wait for the thread, and their bytes.
const QUEUE: usize = 16 << 10;
const QUEUE_BYTES: usize = 8 << 20;
/// Longest name that is kept: longer ones are statements and scripts, not names.
const LONGEST_NAME: usize = 64 << 10;
/// Pseudonyms that are remembered as kept; with more, all are forgotten and kept again.
const MOST_SEEN: usize = 500_000;
/// Bytes of names that make a file at once.
const FILE_BYTES: usize = 1 << 20;
/// Bytes of names that wait while the disk takes none.
const MOST_UNWRITTEN: usize = 16 << 20;
/// How long names wait for a file, at first and at most: at the start everything is new, later hardly anything.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Least time between two forgettings.
const RENEWAL: Duration = Duration::from_secs(3600);
/// How long an end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// An escrow that is added to. All that have the same configuration are one.
pub struct Escrow {
    config: Config,
    recipient: Recipient,
    metrics: Arc<Metrics>,
    front: Mutex<Front>,
    hasher: RandomState,
    shared: Arc<Shared>,
    queue: OnceLock<SyncSender<Message>>,
}

/// What was kept already.
struct Front {
    seen: HashSet<u64, RandomState>,
    since: Instant,
}

/// What both sides look at.
#[derive(Default)]
struct Shared {
    queued_bytes: AtomicUsize,
    /// Something that was kept has gone: everything is to be told again.
    renew: AtomicBool,
}

enum Message {
    Keep(Entry),
    Flush(SyncSender<()>),
}

/// The escrows of the process. They are held here, so that what waits in one is still written when its pipeline has gone.
static OPEN: Mutex<Vec<Arc<Escrow>>> = Mutex::new(Vec::new());

impl Escrow {
    /// The escrow of a configuration. Nothing is written before the first name comes.
    pub fn open(config: &Config, metrics: &Arc<Metrics>) -> Result<Arc<Self>, BuildError> {
        let recipient = Recipient::parse(&config.recipient);
        let recipient = recipient.map_err(|error| BuildError::at("escrow.recipient", error.to_string()))?;
        if config.directory.as_os_str().is_empty() || config.directory.is_file() {
            return Err(BuildError::at("escrow.directory", "not a directory"));
        }
        let mut open = lock(&OPEN);
        let same = |one: &&Arc<Self>| one.config == *config && Arc::ptr_eq(&one.metrics, metrics);
        if let Some(same) = open.iter().find(same) {
            return Ok(same.clone());
        }
        let (used, unused) = open.drain(..).partition(|one| Arc::strong_count(one) > 1);
        *open = used;
        let escrow = Arc::new(Self {
            config: config.clone(),
            recipient,
            metrics: metrics.clone(),
            front: Mutex::new(Front {
                seen: HashSet::default(),
                since: Instant::now(),
            }),
            hasher: RandomState::default(),
            shared: Arc::default(),
            queue: OnceLock::new(),
        });
        open.push(escrow.clone());
        drop(open);
        // what a reload has left behind is written before it goes
        drop::<Vec<Arc<Self>>>(unused);
        Ok(escrow)
    }

    /// Brings to the disk what waits. Says whether that was done in time.
    pub fn flush(&self) -> bool {
        let Some(queue) = self.queue.get() else { return true };
        let (done, told) = sync_channel(1);
        let end = Instant::now() + PATIENCE;
        let mut message = Message::Flush(done);
        while let Err(full) = queue.try_send(message) {
            if Instant::now() > end {
                return false;
            }
            message = match full {
                std::sync::mpsc::TrySendError::Full(message) => message,
                std::sync::mpsc::TrySendError::Disconnected(_) => return false,
            };
            std::thread::sleep(Duration::from_millis(5));
        }
        told.recv_timeout(PATIENCE).is_ok()
    }

    /// Whether the name needs no telling again.
    fn offer(&self, entry: Entry) -> bool {
        let bytes = size(&entry);
        let queued = &self.shared.queued_bytes;
        if queued.load(Ordering::Relaxed) + bytes > QUEUE_BYTES {
            return false;
        }
        queued.fetch_add(bytes, Ordering::Relaxed);
        let sent = self
            .queue
            .get_or_init(|| self.start())
            .try_send(Message::Keep(entry))
            .is_ok();
        if !sent {
            queued.fetch_sub(bytes, Ordering::Relaxed);
        }
        sent
    }

    fn start(&self) -> SyncSender<Message> {
        let (queue, messages) = sync_channel(QUEUE);
        let writer = Writer {
            directory: self.config.directory.clone(),
            recipient: self.recipient.clone(),
            max_age: self.config.max_age.0,
            max_bytes: self.config.max_bytes.0,
            metrics: self.metrics.clone(),
            shared: self.shared.clone(),
            unwritten: Vec::new(),
            files: HashSet::new(),
            bytes: 0,
            has_failed: false,
            wait: FIRST_WAIT,
            since: Instant::now(),
        };
        let started = std::thread::Builder::new()
            .name("escrow".to_owned())
            .spawn(move || writer.run(&messages));
        if started.is_err() {
            // the queue has no other end now, so every name is counted as deferred
            tracing::error!("the escrow has no thread: names are not kept");
        }
        queue
    }

    /// Forgets what was kept, when it is about to go by age, has gone, or is too much to remember.
    fn renew(&self, front: &mut Front) {
        let age = front.since.elapsed();
        let max_age = self.config.max_age.0;
        let by_age = !max_age.is_zero() && age > max_age / 2;
        let has_gone = age > RENEWAL && self.shared.renew.load(Ordering::Relaxed);
        if by_age || has_gone || front.seen.len() >= MOST_SEEN {
            front.seen.clear();
            front.since = Instant::now();
            self.shared.renew.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Escrow {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Keep for Escrow {
    fn keep(&self, role: Role, pseudonym: &str, name: &str) {
        let hash = self.hasher.hash_one(pseudonym);
        let mut front = lock(&self.front);
        self.renew(&mut front);
        if front.seen.contains(&hash) {
            return;
        }
        if name.len() > LONGEST_NAME {
            front.seen.insert(hash);
            return self.metrics.escrowed("too_long", 1);
        }
        let entry = Entry {
            kind: role.label().to_owned(),
            pseudonym: pseudonym.to_owned(),
            name: name.to_owned(),
        };
        match self.offer(entry) {
            true => drop(front.seen.insert(hash)),
            false => self.metrics.escrowed("deferred", 1),
        }
    }
}

/// Brings to the disk what waits in any escrow of the process: for its end.
pub fn finish() {
    let open: Vec<Arc<Escrow>> = lock(&OPEN).clone();
    for escrow in open {
        if !escrow.flush() {
            tracing::warn!("the escrow could not be written in time: some names will not come back");
        }
    }
}

/// The thread's side.
struct Writer {
    directory: PathBuf,
    recipient: Recipient,
    max_age: Duration,
    max_bytes: u64,
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    unwritten: Vec<Entry>,
    bytes: usize,
    /// Its files, as far as they are there: other gates may remove them.
    files: HashSet<PathBuf>,
    /// The disk is tried again after a while, not with every name.
    has_failed: bool,
    wait: Duration,
    since: Instant,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let left = self.wait.saturating_sub(self.since.elapsed());
            match messages.recv_timeout(left) {
                Ok(Message::Keep(entry)) => self.take(entry),
                Ok(Message::Flush(done)) => {
                    if self.write() {
                        let _ = done.try_send(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.write();
                    return;
                }
            }
            if self.bytes >= FILE_BYTES && !self.has_failed || self.since.elapsed() >= self.wait {
                self.write();
            }
        }
    }

    fn take(&mut self, entry: Entry) {
        let bytes = size(&entry);
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if self.bytes + bytes > MOST_UNWRITTEN {
            self.shared.renew.store(true, Ordering::Relaxed);
            return self.metrics.escrowed("failed", 1);
        }
        self.bytes += bytes;
        self.unwritten.push(entry);
    }

    /// Whether nothing is left to write.
    fn write(&mut self) -> bool {
        self.since = Instant::now();
        if self.unwritten.is_empty() {
            return true;
        }
        let stored = self.write_files();
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.has_failed = stored.is_err();
        if let Err(error) = stored {
            tracing::warn!(directory = %self.directory.display(), why = io_reason(&error), "the escrow cannot be written; names wait");
            self.wait = FIRST_WAIT;
            return false;
        }
        if let Err(error) = retire(&self.directory, self.max_age, self.max_bytes) {
            tracing::warn!(why = io_reason(&error), "old files of the escrow cannot be removed");
        }
        if self.lost_files() {
            self.shared.renew.store(true, Ordering::Relaxed);
        }
        true
    }

    /// Whether files of its own are gone, whoever removed them: names in them that are still in use have to be told again.
    fn lost_files(&mut self) -> bool {
        let Ok(there) = list(&self.directory) else { return false };
        let there: HashSet<PathBuf> = there.into_iter().map(|file| file.path).collect();
        let before = self.files.len();
        self.files.retain(|file| there.contains(file));
        self.files.len() < before
    }

    /// Writes what waits in files of the usual size, also if it had to wait for long: a file is read as a whole.
    fn write_files(&mut self) -> std::io::Result<()> {
        while !self.unwritten.is_empty() {
            let mut bytes = 0;
            let fits = |entry: &&Entry| {
                bytes += size(entry);
                bytes <= FILE_BYTES
            };
            let entries = self.unwritten.iter().take_while(fits).count().max(1);
            let file = seal(self.unwritten.get(..entries).unwrap_or_default(), &self.recipient);
            let file = file.ok_or_else(|| std::io::Error::other("nothing to seal with"))?;
            self.files.insert(add(&self.directory, &file)?);
            self.metrics.escrowed("kept", entries as u64);
            self.bytes -= self.unwritten.drain(..entries).map(|entry| size(&entry)).sum::<usize>();
        }
        Ok(())
    }
}

fn size(entry: &Entry) -> usize {
    entry.name.len() + entry.pseudonym.len() + 64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processors::redaction::escrow::keys::Identity;

    #[test]
    fn names_in_files_that_another_gate_removed_are_to_be_told_again() {
        let folder = tempfile::tempdir().unwrap();
        let config = serde_json::json!({
            "directory": folder.path(),
            "recipient": Identity::generate().recipient().to_string(),
        });
        let config = serde_json::from_value(config).unwrap();
        let escrow = Escrow::open(&config, &Arc::default()).unwrap();
        let keep_and_see = |pseudonym: &str| {
            escrow.keep(Role::FunctionName, pseudonym, "name");
            assert!(escrow.flush());
            escrow.shared.renew.load(Ordering::Relaxed)
        };
        assert!(!keep_and_see("fn_k1_aaa") && !keep_and_see("fn_k1_bbb"));
        let file = list(folder.path()).unwrap().remove(0);
        std::fs::remove_file(file.path).unwrap();
        assert!(keep_and_see("fn_k1_ccc"));
    }
}
