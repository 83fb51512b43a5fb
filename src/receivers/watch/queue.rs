//! Which of the files that were seen are to be taken now: the oldest that are whole.

use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant, SystemTime};

use super::config::Patience;
use super::identity::{Found, Identity};

/// Files that one look hands on; the next look begins at once if there are more.
const MOST: usize = 1_000;
/// Files that are waited for at once. What cannot be kept in mind beyond it is read again at each look.
const MOST_PATIENCE: usize = 10_000;

/// A file to be taken.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) found: Found,
    /// If it cannot be read now it is refused.
    pub(super) is_last: bool,
}

/// What is waited for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    files: HashMap<Identity, Wait>,
    look: u32,
}

#[derive(Debug)]
struct Wait {
    since: Instant,
    /// It was read, and was not whole.
    is_tried: bool,
    /// It is not to be tried before.
    not_before: Option<Instant>,
    seen: u32,
}

/// The files that one look found.
pub(super) struct Queue<'a> {
    waiting: &'a mut Waiting,
    patience: Patience,
    now: (Instant, SystemTime),
    oldest: BinaryHeap<Waiter>,
    unsettled: usize,
    left: usize,
}

/// What one look came to.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Files to be taken, the oldest first.
    pub(super) candidates: Vec<Candidate>,
    /// Files that must wait: most are not whole yet.
    pub(super) unsettled: usize,
    /// Files that are whole, beyond the candidates.
    pub(super) left: usize,
}

impl Ready {
    /// Leaves all files but so many for a later look, which is not to begin at once.
    pub(super) fn leave(&mut self, but: usize) {
        self.unsettled += self.candidates.len().saturating_sub(but) + self.left;
        self.left = 0;
        self.candidates.truncate(but);
    }
}

impl Waiting {
    /// A look begins.
    pub(super) fn look(&mut self, patience: Patience, now: (Instant, SystemTime)) -> Queue<'_> {
        self.look = self.look.wrapping_add(1);
        Queue {
            waiting: self,
            patience,
            now,
            oldest: BinaryHeap::new(),
            unsettled: 0,
            left: 0,
        }
    }

    /// A file was read, and was not whole.
    pub(super) fn tried(&mut self, identity: &Identity, now: Instant) {
        if let Some(wait) = self.wait(identity, now) {
            wait.is_tried = true;
        }
    }

    /// A file is not to be taken before so much time has passed.
    pub(super) fn later(&mut self, identity: &Identity, now: Instant, pause: Duration) {
        if let Some(wait) = self.wait(identity, now) {
            wait.not_before = now.checked_add(pause);
        }
    }

    /// What is kept in mind of a file, unless there are too many.
    fn wait(&mut self, identity: &Identity, now: Instant) -> Option<&mut Wait> {
        let (seen, is_full) = (self.look, self.files.len() >= MOST_PATIENCE);
        match self.files.entry(*identity) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if is_full => None,
            Entry::Vacant(new) => Some(new.insert(Wait {
                since: now,
                is_tried: false,
                not_before: None,
                seen,
            })),
        }
    }
}

impl Queue<'_> {
    /// A file was seen that is not taken yet.
    pub(super) fn see(&mut self, found: Found) {
        // a JVM makes the file of a recording when it starts, and writes it when it ends
        if found.identity.size == 0 {
            self.unsettled += 1;
            return;
        }
        let quiet = self.quiet(&found.identity);
        let wait = self.waiting.files.get(&found.identity);
        let is_tried = wait.is_some_and(|wait| wait.is_tried);
        let is_early = wait
            .and_then(|wait| wait.not_before)
            .is_some_and(|then| self.now.0 < then);
        let is_last = quiet >= self.patience.give_up_after;
        if quiet < self.patience.settle || is_early || (is_tried && !is_last) {
            self.unsettled += 1;
            return;
        }
        self.oldest.push(Waiter(Candidate { found, is_last }));
        if self.oldest.len() > MOST {
            self.oldest.pop();
            self.left += 1;
        }
    }

    /// How long a file has been left alone: by its own word, or as long as we know it, should its clock be ahead of ours.
    fn quiet(&mut self, identity: &Identity) -> Duration {
        let (now, clock) = self.now;
        let by_its_word = clock.duration_since(identity.modified_at()).unwrap_or_default();
        let look = self.waiting.look;
        if let Some(wait) = self.waiting.files.get_mut(identity) {
            wait.seen = look;
            return by_its_word.max(now.duration_since(wait.since));
        }
        if by_its_word < self.patience.settle && self.waiting.files.len() < MOST_PATIENCE {
            let wait = Wait {
                since: now,
                is_tried: false,
                not_before: None,
                seen: look,
            };
            self.waiting.files.insert(*identity, wait);
        }
        by_its_word
    }

    /// The look ended: what is gone or has changed is not waited for any more.
    pub(super) fn ready(self) -> Ready {
        let look = self.waiting.look;
        self.waiting.files.retain(|_, wait| wait.seen == look);
        let oldest = self.oldest.into_sorted_vec();
        Ready {
            candidates: oldest.into_iter().map(|Waiter(candidate)| candidate).collect(),
            unsettled: self.unsettled,
            left: self.left,
        }
    }
}

/// Ordered by age: the newest is the greatest, and the first to leave where there are too many.
struct Waiter(Candidate);

impl Waiter {
    fn key(&self) -> (i64, u64, u64) {
        let identity = &self.0.found.identity;
        (identity.modified, identity.device, identity.inode)
    }
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiter {}

impl PartialOrd for Waiter {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiter {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const PATIENCE: Patience = Patience {
        settle: Duration::from_secs(5),
        give_up_after: Duration::from_secs(60),
    };

    /// Written so many seconds after the start of the test.
    fn found(n: u64, written: u64) -> Found {
        Found {
            path: n.to_string().into(),
            identity: Identity {
                device: 1,
                inode: n,
                size: 7,
                modified: (1_000 + written as i64) * 1_000_000_000,
            },
        }
    }

    /// Numbers of the candidates of a look at a second, with whether it is their last chance.
    fn look(waiting: &mut Waiting, start: Instant, at: u64, files: &[Found]) -> (Vec<(u64, bool)>, usize) {
        let after = Duration::from_secs(at);
        let mut queue = waiting.look(
            PATIENCE,
            (start + after, UNIX_EPOCH + Duration::from_secs(1_000) + after),
        );
        files.iter().cloned().for_each(|found| queue.see(found));
        let ready = queue.ready();
        let candidates = ready.candidates.iter();
        let numbers = candidates.map(|candidate| (candidate.found.identity.inode, candidate.is_last));
        (numbers.collect(), ready.unsettled)
    }

    #[test]
    fn files_are_taken_when_they_are_left_alone_the_oldest_first() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let files = [found(1, 100), found(2, 99), found(3, 104)];
        let mut at = |second| look(&mut waiting, start, second, &files);
        assert_eq!(at(101), (vec![], 3));
        assert_eq!(at(104), (vec![(2, false)], 2));
        assert_eq!(at(105), (vec![(2, false), (1, false)], 1));
        assert_eq!(at(160), (vec![(2, true), (1, true), (3, false)], 0));
    }

    #[test]
    fn what_was_not_whole_gets_one_more_chance_at_the_end() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let (half, whole) = (found(1, 100), found(1, 120));
        let half_now = |waiting: &mut Waiting, second| look(waiting, start, second, std::slice::from_ref(&half));
        assert_eq!(half_now(&mut waiting, 106).0, [(1, false)]);
        let empty = Identity {
            size: 0,
            ..half.identity
        };
        let empty = Found {
            identity: empty,
            ..half.clone()
        };
        assert_eq!(look(&mut waiting, start, 500, &[empty]), (vec![], 1), "however long");
        waiting.tried(&half.identity, start + Duration::from_secs(106));
        assert_eq!(half_now(&mut waiting, 107), (vec![], 1));
        assert_eq!(half_now(&mut waiting, 159), (vec![], 1));
        assert_eq!(half_now(&mut waiting, 160).0, [(1, true)]);
        assert_eq!(
            look(&mut waiting, start, 160, &[whole]).0,
            [(1, false)],
            "it was written on"
        );
        assert!(waiting.files.is_empty(), "{waiting:?}");
    }

    #[test]
    fn what_cannot_be_read_does_not_keep_the_others_from_their_turn() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let files = [found(1, 0), found(2, 1)];
        assert_eq!(look(&mut waiting, start, 30, &files).0.len(), 2);
        let pause = Duration::from_secs(10);
        waiting.later(&files[0].identity, start + Duration::from_secs(30), pause);
        assert_eq!(look(&mut waiting, start, 39, &files).0, [(2, false)]);
        assert_eq!(look(&mut waiting, start, 40, &files).0.len(), 2);
    }

    #[test]
    fn many_that_wait_cost_no_other_its_chance() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let many: Vec<_> = (0..2 * MOST_PATIENCE as u64).map(|n| found(n, 100)).collect();
        assert_eq!(look(&mut waiting, start, 101, &many), (vec![], many.len()));
        assert_eq!(waiting.files.len(), MOST_PATIENCE);
        let (candidates, _) = look(&mut waiting, start, 110, &many);
        assert!(candidates.iter().all(|(_, is_last)| !is_last));
        many.iter().for_each(|found| waiting.tried(&found.identity, start));
        assert_eq!(waiting.files.len(), MOST_PATIENCE);
    }

    #[test]
    fn a_clock_that_is_ahead_keeps_no_file_waiting() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let ahead = [found(1, 100_000)];
        assert_eq!(look(&mut waiting, start, 10, &ahead), (vec![], 1));
        assert_eq!(look(&mut waiting, start, 14, &ahead), (vec![], 1));
        assert_eq!(look(&mut waiting, start, 15, &ahead).0, [(1, false)]);
        assert_eq!(look(&mut waiting, start, 70, &ahead).0, [(1, true)]);
    }

    #[test]
    fn one_look_hands_on_no_more_than_so_many() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let files: Vec<_> = (0..3 * MOST as u64).map(|n| found(n, 5_000 - n)).collect();
        let (numbers, _) = look(&mut waiting, start, 10_000, &files);
        let oldest: Vec<u64> = numbers.iter().map(|(number, _)| *number).collect();
        let expected: Vec<u64> = (2 * MOST as u64..3 * MOST as u64).rev().collect();
        assert_eq!(oldest, expected);
    }
}
