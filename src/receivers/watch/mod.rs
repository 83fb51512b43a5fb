//! Watching directories for recordings: what the receiver `file` and the block `file` of `pprof` have in common.
//!
//! A look finds the files that are not known ([`scan`]), the oldest whole ones are read and decoded ([`queue`], [`read`]), and when every
//! exporter is through with one that is written down ([`ledger`]) before anything is done with the file ([`after`]). A process that is killed in between
//! reads the file again; the ids of its profiles, and the names that the exporter `file` makes of them, are then the same.

mod after;
mod config;
mod identity;
mod ledger;
mod queue;
mod read;
mod scan;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;

pub use self::config::{After, Globs, StartAt};
pub(super) use self::config::{Watch, WatchConfig};
use self::identity::Found;
use self::ledger::{Known, Ledger, Outcome, Taken};
use self::queue::{Candidate, Ready, Waiting};
use self::read::{Open, Unread};
use self::scan::Look;
use crate::pipeline::kill;
use crate::pipeline::units::io_reason;
use crate::pipeline::{Fate, Limit, Outlet, ReceiverError, Refusal, Stop};
use crate::telemetry::{FileMetrics, SeldomEach};

/// Of all time no more than this part is spent on looking.
const PAUSE_FOR_LOOK: u32 = 20;
/// How long the gate is left alone that had no room; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The same for a disk that does not take what is to be remembered.
const DISK_PAUSE: Duration = Duration::from_secs(5);
/// The same for a file for which there was no memory.
const MEMORY_PAUSE: Duration = Duration::from_secs(5);
/// The same for a file of which something is killed.
const KILLED_PAUSE: Duration = Duration::from_secs(60);
/// Files for which there may be no memory before the round ends.
const NO_MEMORY_IN_A_ROUND: usize = 8;
/// At most one line of a kind in so long a time, where files are not told one by one.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Refused files that are told one by one in one round.
const TELL_ONE_BY_ONE: usize = 20;

impl Watch {
    /// Looks up what was taken before.
    pub(super) async fn open(self) -> Result<Watcher, ReceiverError> {
        let (storage, receiver) = (self.storage.clone(), self.receiver.clone());
        let open = if self.remembers { Ledger::open } else { Ledger::look_at };
        let opened = tokio::task::spawn_blocking(move || open(&storage, &receiver)).await;
        let opened = opened.unwrap_or_else(|_| Err(io::Error::other("cut short")));
        let ledger = opened.map_err(|error| {
            let storage = self.storage.display();
            ReceiverError(format!(
                "storage {storage}: {error}; name a directory that can be written with `storage`"
            ))
        })?;
        Ok(Watcher {
            skips: AtomicBool::new(self.start_at == StartAt::End && ledger.is_new()),
            watch: self,
            ledger,
            waiting: Mutex::default(),
            told: SeldomEach::every(TELL_EVERY),
        })
    }
}

/// A receiver of files at work.
pub(super) struct Watcher {
    watch: Watch,
    ledger: Arc<Ledger>,
    waiting: Mutex<Waiting>,
    /// What is there at the first look is not wanted.
    skips: AtomicBool,
    told: SeldomEach,
}

/// How it went with the files of one look.
#[derive(Default)]
struct Round {
    /// There was no room for one, so that the others were left.
    no_room: AtomicBool,
    /// Files for which there was no memory.
    no_memory: AtomicUsize,
    /// Files refused.
    refused: AtomicUsize,
}

impl Watcher {
    /// Takes files until `stop` is asked.
    pub(super) async fn run(self, out: &Outlet, stop: &Stop) {
        Arc::new(self).watch(out, stop).await;
    }

    async fn watch(self: &Arc<Self>, out: &Outlet, stop: &Stop) {
        let mut pause = self.watch.initial_delay;
        let mut no_room_pause = FIRST_PAUSE;
        let kills = out.kills();
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.asked() => break,
            }
            tokio::select! {
                () = kills.until(|| !self.is_killed(out)) => {}
                () = stop.asked() => break,
            }
            let began = Instant::now();
            let (watcher, asked) = (self.clone(), stop.clone());
            let ready = match tokio::task::spawn_blocking(move || watcher.look(&asked)).await {
                Ok(ready) => ready,
                Err(ended) => match ended.try_into_panic() {
                    // it is this receiver that panicked, and it must be seen to
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => break,
                },
            };
            let looked = began.elapsed();
            let all = ready.unsettled + ready.left + ready.candidates.len();
            self.metrics().waiting.set(all as u64);
            let round = Round::default();
            self.take_all(ready.candidates, &round, out, stop).await;
            pause = match round.no_room.load(Ordering::Relaxed) {
                true => {
                    let longer = (2 * no_room_pause).min(LONGEST_PAUSE);
                    std::mem::replace(&mut no_room_pause, longer)
                }
                false => {
                    no_room_pause = FIRST_PAUSE;
                    match ready.left {
                        0 => self.watch.poll_interval.max(looked * PAUSE_FOR_LOOK),
                        _ => looked,
                    }
                }
            };
        }
        self.metrics().waiting.set(0);
    }

    /// Whether nothing of this receiver is wanted now: files stay where they are, and are not even looked for.
    fn is_killed(&self, out: &Outlet) -> bool {
        let kills = out.kills();
        kills.is_any() && {
            let origin = read::origin(&self.watch.receiver, &self.watch.taking);
            kills.takes_source(&origin, &kill::unseen())
        }
    }

    fn metrics(&self) -> &FileMetrics {
        &self.watch.metrics
    }

    /// A limit of a look was reached.
    fn limited(&self, limit: &'static str) {
        self.watch.all_metrics.limited(&self.watch.receiver, limit, 1);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all directories. Waits on the disk.
    fn look(&self, stop: &Stop) -> Ready {
        let skips = self.skips.load(Ordering::Relaxed);
        let mut waiting = self.waiting();
        let mut queue = waiting.look(self.watch.patience, (Instant::now(), SystemTime::now()));
        self.ledger.begin_look();
        let look = scan::look(&self.watch.places, stop, |found| match self.ledger.see(&found) {
            Known::New if skips => self.ledger.note(&found, Outcome::Skipped),
            Known::New => queue.see(found),
            Known::UnderWay => {}
            Known::Done(outcome) => self.put_away(&found, outcome),
        });
        let mut ready = queue.ready();
        drop(waiting);
        self.tell(&look, stop);
        if skips && stop.is_asked() {
            // what was not seen was there as well: the next start skips all of it
            return Ready::default();
        }
        // what comes later is not what was there, also where that cannot be written down yet
        self.skips.store(false, Ordering::Relaxed);
        if let Err(error) = self.ledger.end_look(look.dark()) {
            self.tell_storage(&error);
            ready.leave(0);
        }
        let room = self.watch.max_files.saturating_sub(self.ledger.len());
        if ready.candidates.len() > room {
            self.limited("max_files");
            if self.told.happened("full", 1).is_some() {
                let (receiver, max_files) = (&self.watch.receiver, self.watch.max_files);
                tracing::warn!(%receiver, max_files, "so many files are kept in mind: no more is taken until some are gone; set `after: delete`, or raise `max_files`");
            }
            ready.leave(room);
        }
        ready
    }

    /// Does with a file that is finished with what is to be done, if that was not done yet.
    fn put_away(&self, found: &Found, outcome: Outcome) {
        let after = match outcome {
            Outcome::Delivered => &self.watch.after,
            Outcome::Refused => &self.watch.refused,
            // more memory may be given to the process
            Outcome::Oversized if self.watch.refused == After::Delete => return,
            Outcome::Oversized => &self.watch.refused,
            Outcome::Lost | Outcome::Skipped => return,
        };
        let turn = self.ledger.put_away();
        let applied = after.apply(found, &self.watch.places);
        drop(turn);
        match applied {
            Ok(true) => self.ledger.forget(&found.identity),
            Ok(_) => {}
            Err(error) => {
                if let Some(files) = self.told.happened("after", 1) {
                    let (receiver, inode) = (&self.watch.receiver, found.identity.inode);
                    let why = io_reason(&error);
                    tracing::warn!(%receiver, inode, why, files, "a file that is finished with cannot be deleted or moved; it is not taken again");
                }
            }
        }
    }

    fn tell(&self, look: &Look, stop: &Stop) {
        let receiver = &self.watch.receiver;
        for (at, kind) in &look.unreadable {
            let Some(glob) = self.watch.places.include.get(*at) else {
                continue;
            };
            if self.told.happened("unreadable", 1).is_some() {
                let why = io_reason(&(*kind).into());
                tracing::warn!(%receiver, include = glob.text(), why, "the directory cannot be looked into; trying again");
            }
        }
        for at in &look.directories {
            let Some(glob) = self.watch.places.include.get(*at) else {
                continue;
            };
            if self.told.happened("directory", 1).is_some() {
                tracing::warn!(%receiver, include = glob.text(), "names a directory: write a slash behind it for every file in it, or /** for all below");
            }
        }
        if look.hidden > 0 && self.told.happened("hidden", look.hidden as u64).is_some() {
            tracing::warn!(%receiver, directories = look.hidden, "directories cannot be looked into");
        }
        if look.too_deep > 0 {
            self.limited("directory_depth");
            if self.told.happened("too_deep", look.too_deep as u64).is_some() {
                tracing::warn!(%receiver, directories = look.too_deep, most = scan::DEEPEST, "directories are too far below each other, and are not looked into");
            }
        }
        if look.is_cut && !stop.is_asked() {
            self.limited("directory_entries");
            if self.told.happened("cut", 1).is_some() {
                tracing::warn!(%receiver, most = scan::MOST_ENTRIES, "too many files and directories to look at all; narrow `include`");
            }
        }
    }

    fn tell_storage(&self, error: &io::Error) {
        if self.told.happened("storage", 1).is_some() {
            let (receiver, why) = (&self.watch.receiver, io_reason(error));
            tracing::error!(%receiver, why, "what was taken cannot be written to `storage`: nothing more is taken until it can");
        }
    }

    async fn take_all(self: &Arc<Self>, candidates: Vec<Candidate>, round: &Round, out: &Outlet, stop: &Stop) {
        let taking = candidates.into_iter().map(|candidate| async move {
            if !stop.is_asked() && !round.no_room.load(Ordering::Relaxed) && !self.is_killed(out) {
                self.take(candidate, round, out, stop).await;
            }
        });
        let at_once = self.watch.concurrency;
        futures_util::stream::iter(taking)
            .buffer_unordered(at_once)
            .collect::<()>()
            .await;
        let more = round.refused.load(Ordering::Relaxed).saturating_sub(TELL_ONE_BY_ONE);
        if more > 0 {
            tracing::warn!(receiver = %self.watch.receiver, files = more, "more files refused");
        }
    }

    /// Takes one file, as far as it goes.
    async fn take(self: &Arc<Self>, candidate: Candidate, round: &Round, out: &Outlet, stop: &Stop) {
        let Candidate { found, is_last } = candidate;
        let Some(taken) = self.ledger.take(found.identity) else {
            return;
        };
        let taken = Arc::new(taken);
        match self.hand_over(&found, &taken, is_last, out, stop).await {
            Ok(()) | Err(Unread::Changed) => {}
            Err(Unread::Unfinished(_)) => self.waiting().tried(&found.identity, Instant::now()),
            Err(Unread::Refused(refusal)) if refusal.is_for_now() => round.no_room.store(true, Ordering::Relaxed),
            Err(Unread::NoMemory) => self.too_large_for_now(&found, round),
            Err(Unread::Unreadable(kind)) => {
                self.waiting().later(&found.identity, Instant::now(), TELL_EVERY);
                if let Some(files) = self.told.happened("file", 1) {
                    let (receiver, inode) = (&self.watch.receiver, found.identity.inode);
                    let why = io_reason(&kind.into());
                    tracing::warn!(%receiver, inode, why, files, "a file cannot be read; trying again");
                }
            }
            Err(Unread::Refused(refusal)) => {
                self.tell_refusal(&found, &refusal, round);
                let size = usize::try_from(found.identity.size).unwrap_or(usize::MAX);
                out.refused_for_good(size, &refusal);
                let outcome = match refusal {
                    Refusal::TooLarge {
                        limit: Limit::Memory, ..
                    } => Outcome::Oversized,
                    _ => Outcome::Refused,
                };
                self.finish(found, outcome, refusal.label(), stop).await;
            }
        }
    }

    /// There is no memory for a file. Another one may need less; but if there is none for so many, it is not for their size.
    fn too_large_for_now(&self, found: &Found, round: &Round) {
        if round.no_memory.fetch_add(1, Ordering::Relaxed) >= NO_MEMORY_IN_A_ROUND {
            round.no_room.store(true, Ordering::Relaxed);
            return;
        }
        self.waiting().later(&found.identity, Instant::now(), MEMORY_PAUSE);
        if let Some(files) = self.told.happened("memory", 1) {
            let (receiver, inode, size) = (&self.watch.receiver, found.identity.inode, found.identity.size);
            tracing::warn!(%receiver, inode, size, files, "no room in the memory budget for a file now; trying again, and others first");
        }
    }

    /// Reads a file and hands it to the pipelines. What becomes of it is heard later.
    async fn hand_over(
        self: &Arc<Self>,
        found: &Found,
        taken: &Arc<Taken>,
        is_last: bool,
        out: &Outlet,
        stop: &Stop,
    ) -> Result<(), Unread> {
        out.admit()?;
        let (watcher, permit) = (self.clone(), out.budget().permit());
        let own = found.clone();
        let opened = tokio::task::spawn_blocking(move || Open::new(own, &watcher.watch.taking, permit));
        let open = opened.await.unwrap_or(Err(Unread::Changed)).map_err(Unread::of_file)?;
        let unread = Arc::new(Mutex::new(None));
        let (watcher, slot) = (self.clone(), unread.clone());
        let job = move || {
            let taking = &watcher.watch.taking;
            let origin = read::origin(&watcher.watch.receiver, taking);
            match open.decode(taking, &origin, is_last).map_err(Unread::of_file) {
                Ok(arrival) => Ok(vec![arrival]),
                Err(Unread::Refused(refusal)) => Err(refusal),
                // for now there is nothing of it, which is no refusal
                Err(other) => {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(other);
                    Ok(Vec::new())
                }
            }
        };
        let (receipt, delivery) = out.receive_followed(found.identity.mark(), job).await?;
        if let Some(unread) = unread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(unread);
        }
        tracing::debug!(receiver = %self.watch.receiver, inode = found.identity.inode, size = found.identity.size, rejected = receipt.rejected, "file taken");
        self.metrics().bytes.add(found.identity.size);
        self.metrics().in_flight.add(1);
        let (watcher, found, taken, stop) = (self.clone(), found.clone(), taken.clone(), stop.clone());
        out.afterwards(async move {
            let fate = delivery.fate().await;
            match fate {
                Fate::Delivered => watcher.finish(found, Outcome::Delivered, "delivered", &stop).await,
                Fate::Lost => {
                    let (receiver, inode) = (&watcher.watch.receiver, found.identity.inode);
                    if let Some(files) = watcher.told.happened("lost", 1) {
                        tracing::warn!(%receiver, inode, files, "a file was not delivered to all who must have it: it stays, and is not taken again");
                    }
                    watcher.finish(found, Outcome::Lost, "lost", &stop).await;
                }
                // it stays, and is taken once it is not killed any more
                Fate::Killed => watcher.waiting().later(&found.identity, Instant::now(), KILLED_PAUSE),
                // the next process takes it
                Fate::Interrupted => {}
            }
            drop(taken);
            watcher.metrics().in_flight.sub(1);
        });
        Ok(())
    }

    /// Writes down that a file is finished with, then does with it what is to be done. When `stop` is asked a disk that is full is
    /// not waited for: the file is taken again at worst.
    async fn finish(self: &Arc<Self>, found: Found, outcome: Outcome, result: &'static str, stop: &Stop) {
        while let Err(error) = self.ledger.remember(&found, outcome).await {
            self.tell_storage(&error);
            tokio::select! {
                () = stop.asked() => return,
                () = tokio::time::sleep(DISK_PAUSE) => {}
            }
        }
        self.metrics().finished(result);
        let watcher = self.clone();
        let put_away = tokio::task::spawn_blocking(move || watcher.put_away(&found, outcome));
        // what is cut short here is done after the next look
        let _ = put_away.await;
    }

    /// Never by its name, which may tell more than it should.
    fn tell_refusal(&self, found: &Found, refusal: &Refusal, round: &Round) {
        if round.refused.fetch_add(1, Ordering::Relaxed) < TELL_ONE_BY_ONE {
            let (receiver, inode, size) = (&self.watch.receiver, found.identity.inode, found.identity.size);
            tracing::warn!(%receiver, inode, size, why = %refusal, "file refused");
        }
    }
}
