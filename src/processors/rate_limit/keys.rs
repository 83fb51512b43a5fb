//! The buckets of all keys, which are only so many: further ones share one, or one for each tenant.

use hashbrown::HashMap;

use super::bucket::{Buckets, Limit, Load, Over, Time, nanos};

/// Quiet keys are looked for no more often than this.
const SWEEP_EVERY: Time = nanos(1_000_000_000);
/// Fewer keys than this are never looked through.
const FEW: usize = 1_024;

/// Which limit holds for a key, and the key: a hash of its texts, which nobody outside can aim at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) limit: usize,
    /// A part of the hash of its tenant, where keys tell tenants apart.
    pub(super) tenant: u8,
    pub(super) hash: u64,
}

/// Tenants are told apart by so many numbers.
const TENANTS: usize = 1 << u8::BITS;
/// One of them leaves so large a part of the keys to the others.
const LEFT_TO_OTHERS: usize = 8;

impl Key {
    /// The bucket that it shares if it has none of its own.
    fn of_others(self) -> usize {
        self.limit * TENANTS + usize::from(self.tenant)
    }
}

/// The buckets.
#[derive(Debug)]
pub(super) struct Keys {
    known: HashMap<Key, Buckets, foldhash::fast::RandomState>,
    /// Those of all other keys, by limit and tenant.
    others: Vec<Buckets>,
    max_keys: usize,
    /// Keys of each tenant with buckets of their own.
    of_tenants: [usize; TENANTS],
    tells_tenants: bool,
    next_sweep: Time,
}

/// What came of one load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    key: Key,
    /// What holds it back, if it was not taken.
    pub(super) over: Option<Over>,
    /// Its key shares a bucket, because there are too many.
    pub(super) is_shared: bool,
    /// Its buckets before it was taken; none if they were made for it.
    before: Option<Buckets>,
}

impl Keys {
    pub(super) fn new(limits: usize, max_keys: usize, tells_tenants: bool) -> Self {
        Self {
            known: HashMap::default(),
            others: vec![Buckets::default(); limits * TENANTS],
            max_keys,
            of_tenants: [0; TENANTS],
            tells_tenants,
            next_sweep: 0,
        }
    }

    /// How many keys have buckets of their own.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Takes a load, if it fits now.
    pub(super) fn admit(&mut self, key: Key, limit: &Limit, load: &Load, now: Time) -> Admitted {
        self.sweep(now);
        let known = self.known.get(&key).copied();
        let is_shared = known.is_none() && !self.has_room(key.tenant);
        let before = match is_shared {
            true => self.others.get(key.of_others()).copied(),
            false => known,
        };
        let mut buckets = before.unwrap_or_default();
        let over = buckets.over(limit, load, now);
        if over.is_none() {
            buckets.take(limit, load, now);
            self.put(key, is_shared, Some(buckets));
        }
        Admitted {
            key,
            over,
            is_shared,
            before,
        }
    }

    /// Whether one more key of a tenant may have buckets of its own. Whoever makes names up leaves room for other tenants.
    fn has_room(&self, tenant: u8) -> bool {
        let most = match self.tells_tenants {
            true => self.max_keys - self.max_keys / LEFT_TO_OTHERS,
            false => self.max_keys,
        };
        let theirs = self.of_tenants.get(usize::from(tenant)).copied();
        self.known.len() < self.max_keys && theirs.is_some_and(|theirs| theirs < most)
    }

    fn count(&mut self, tenant: u8, change: impl FnOnce(usize) -> usize) {
        if let Some(theirs) = self.of_tenants.get_mut(usize::from(tenant)) {
            *theirs = change(*theirs);
        }
    }

    /// Gives back what was taken; the last one first.
    pub(super) fn undo(&mut self, admitted: Admitted) {
        if admitted.over.is_none() {
            self.put(admitted.key, admitted.is_shared, admitted.before);
        }
    }

    fn put(&mut self, key: Key, is_shared: bool, buckets: Option<Buckets>) {
        match (is_shared, buckets) {
            (true, buckets) => {
                if let (Some(others), Some(buckets)) = (self.others.get_mut(key.of_others()), buckets) {
                    *others = buckets;
                }
            }
            (false, Some(buckets)) => {
                if self.known.insert(key, buckets).is_none() {
                    self.count(key.tenant, |theirs| theirs + 1);
                }
            }
            (false, None) => {
                if self.known.remove(&key).is_some() {
                    self.count(key.tenant, |theirs| theirs.saturating_sub(1));
                }
            }
        }
    }

    /// Forgets who has been quiet for so long that it makes no difference. Looking costs no more than a few nanoseconds a key and
    /// second, however many come.
    fn sweep(&mut self, now: Time) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now.saturating_add(SWEEP_EVERY);
        if self.known.len() < FEW.min(self.max_keys) {
            return;
        }
        self.known.retain(|_, buckets| !buckets.are_full(now));
        self.of_tenants = [0; TENANTS];
        for key in self.known.keys() {
            if let Some(theirs) = self.of_tenants.get_mut(usize::from(key.tenant)) {
                *theirs += 1;
            }
        }
        if self.known.capacity() > 4 * self.known.len().max(FEW) {
            self.known.shrink_to(2 * self.known.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processors::rate_limit::bucket::MEASURES;

    const SECOND: Time = nanos(1_000_000_000);

    fn limit() -> Limit {
        Limit::new([Some(1.0); MEASURES], std::time::Duration::from_secs(1))
    }

    fn key(hash: u64) -> Key {
        Key {
            limit: 0,
            tenant: 0,
            hash,
        }
    }

    /// Whether one more of a key passes.
    fn pass(keys: &mut Keys, hash: u64, now: Time) -> bool {
        keys.admit(key(hash), &limit(), &[1; MEASURES], now).over.is_none()
    }

    #[test]
    fn a_million_keys_take_no_more_memory_than_allowed_and_those_beyond_share_a_bucket() {
        let mut keys = Keys::new(1, 10_000, false);
        let passed = (0..1_000_000).filter(|hash| pass(&mut keys, *hash, 0)).count();
        assert_eq!(passed, 10_001, "each its own, and one of all others");
        assert_eq!(keys.len(), 10_000);
        assert!(keys.known.capacity() < 40_000, "{}", keys.known.capacity());
        // who is known has its own bucket, whoever else comes
        assert!(pass(&mut keys, 7, SECOND));
        assert!(!pass(&mut keys, 7, SECOND));
    }

    #[test]
    fn a_tenant_that_makes_names_up_harms_itself_alone() {
        let mut keys = Keys::new(1, 800, true);
        let of = |tenant: u8, hash: u64| Key {
            limit: 0,
            tenant,
            hash: hash << 8 | u64::from(tenant),
        };
        let mut pass = |key: Key, now| keys.admit(key, &limit(), &[1; MEASURES], now).over.is_none();
        let passed = (0..10_000).filter(|hash| pass(of(1, *hash), 0)).count();
        assert_eq!(passed, 701);
        assert!((0..100).all(|hash| pass(of(2, hash), 0)), "each its own");
        assert!(
            pass(of(2, 100), 0) && pass(of(3, 0), 0),
            "one in common, for each tenant"
        );
        assert!(!pass(of(2, 101), 0));
        // who was counted is counted once
        assert!((0..100).all(|hash| pass(of(2, hash), SECOND)));
        assert!(!pass(of(2, 0), SECOND));
    }

    #[test]
    fn who_is_quiet_is_forgotten_and_nobody_gains_by_it() {
        let mut keys = Keys::new(1, 5_000, false);
        for hash in 0..5_000 {
            assert!(pass(&mut keys, hash, 0));
        }
        assert!(!pass(&mut keys, 1, nanos(999_999_999)), "known still");
        assert!(pass(&mut keys, 9_999_999, 2 * SECOND));
        assert_eq!(keys.len(), 1);
        assert!(keys.known.capacity() < 5_000, "{}", keys.known.capacity());
        assert!(pass(&mut keys, 1, 2 * SECOND));
    }

    #[test]
    fn limits_have_keys_of_their_own() {
        let mut keys = Keys::new(2, 1, false);
        let load = [1; MEASURES];
        for (limit_at, hash) in [(0, 1), (1, 1), (0, 2)] {
            let key = Key {
                limit: limit_at,
                tenant: 0,
                hash,
            };
            assert_eq!(keys.admit(key, &limit(), &load, 0).over, None, "{key:?}");
        }
        let shared = keys.admit(Key { limit: 1, ..key(1) }, &limit(), &load, 0);
        assert!(shared.is_shared && shared.over.is_some());
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let mut keys = Keys::new(1, 1, false);
        for hash in [1, 2] {
            let admitted = keys.admit(key(hash), &limit(), &[1; MEASURES], 0);
            assert_eq!((admitted.over, admitted.is_shared), (None, hash == 2));
            assert!(!pass(&mut keys, hash, 0));
            keys.undo(admitted);
            assert!(pass(&mut keys, hash, 0));
        }
        assert_eq!(keys.len(), 1);
    }
}
