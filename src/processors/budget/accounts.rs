//! The accounts of all keys under those of their tenants, and who may keep how much.
//!
//! Two things hold a key to its budget. Every tick what there is is shared out among those who ask for it, and each type keeps the share of
//! what it offers that fits. Beside that whatever is kept is paid from three buckets, of the key, of its tenant and of all: they bound what
//! passes before a share has followed a load, and as they run low everybody keeps less.

use std::time::{Duration, SystemTime};

use hashbrown::HashMap;

use super::account::Account;
use super::bucket::{Bucket, Rate, Time};
use super::config::Limits;
use super::demand::{Demand, TICK};
use super::sharing::{Claim, Shares, share};

/// The only type of those that are not known.
const NEWCOMERS: u64 = 0;
/// Tenants that are told apart; all others count as one.
const MOST_TENANTS: usize = 1_000;
/// A bucket that is less full than this has everybody keep less.
const LOW: f64 = 0.5;
/// Ticks after which a key is forgotten that was seen in one only.
const STRANGER_TICKS: u64 = 12;
/// Most bytes of a profile that passes whatever the budget.
const FLOOR_BYTES: f64 = 16.0 * 1024.0;
/// Multiples of it are spread evenly between whole numbers.
const GOLDEN: f64 = 0.618_033_988_749_894_9;
/// After so long a silence nothing that was seen before counts: a longer one is no different.
const MOST_TICKS: u64 = 64;

/// What the accounts are kept by.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Keys that are known at once.
    pub(super) max_keys: usize,
    /// Bytes in a second of all together; infinite without a limit.
    pub(super) global: f64,
    /// What keys that are not known have together, for each tenant.
    pub(super) newcomers: Limits,
    /// In so many seconds ...
    pub(super) floor_every: f64,
    /// ... so many profiles of a key pass whatever the budget.
    pub(super) floor_profiles: u32,
}

/// What a tenant may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TenantLimits {
    /// Bytes in a second; infinite without a limit.
    pub(super) bytes_per_s: f64,
    /// How much it counts against others.
    pub(super) weight: f64,
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self {
            bytes_per_s: f64::INFINITY,
            weight: 1.0,
        }
    }
}

/// Whose profile it is: hashes that nobody outside can aim at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Who {
    pub(super) tenant: u64,
    pub(super) key: u64,
    pub(super) kind: u64,
}

/// A profile that asks for room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) who: Who,
    pub(super) limits: Limits,
    pub(super) tenant: TenantLimits,
    /// Bytes as it came.
    pub(super) bytes: f64,
    /// The share of its rows that is left at its target rate.
    pub(super) rows: f64,
    /// As how many profiles it was received.
    pub(super) profiles: f64,
}

/// How much of a profile may be kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Room {
    /// All of it.
    Whole,
    /// So many bytes.
    Bytes(f64),
    /// Not more than its totals.
    Totals,
    /// Nothing.
    Nothing,
}

/// What came of an offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    pub(super) room: Room,
    /// It passes with stacks whatever the budget.
    pub(super) is_due: bool,
    /// Its key is not known, and has the account of all such.
    pub(super) is_new: bool,
    /// It had a share of what was offered, and not all.
    is_rationed: bool,
    /// Its bytes grow with its rows by this power.
    pub(super) bend: f64,
    /// Bytes that it has at its target rate.
    pub(super) offered: f64,
    /// Bytes that were taken for it so far.
    taken: f64,
}

impl Admitted {
    /// Bytes that are expected to be left of it.
    pub(super) fn expected(&self) -> f64 {
        self.taken
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    /// Bytes that are left.
    pub(super) bytes: f64,
    /// By which power its bytes were found to grow with its rows, where some are gone.
    pub(super) bend: Option<f64>,
    /// Whether stacks are left.
    pub(super) has_stacks: bool,
}

/// All accounts.
#[derive(Debug)]
pub(super) struct Accounts {
    terms: Terms,
    clock: Clock,
    bytes: Bucket,
    tenants: HashMap<u64, Tenant, foldhash::fast::RandomState>,
    keys: usize,
    /// Where the last key that came stands between two times at which all are due.
    newest: f64,
}

#[cfg(test)]
impl Accounts {
    /// The shares that are kept, in the order of keys.
    pub(super) fn ratios(&mut self) -> Vec<f64> {
        let tenants = self.tenants.values_mut();
        let keys = tenants.flat_map(|tenant| tenant.keys.iter_mut());
        let mut ratios: Vec<(u64, f64)> = keys.map(|(key, account)| (*key, account.ratio())).collect();
        ratios.sort_unstable_by_key(|(key, _)| *key);
        ratios.into_iter().map(|(_, ratio)| ratio).collect()
    }

    /// Tenants, and keys for which there is memory.
    pub(super) fn capacity(&self) -> (usize, usize) {
        let keys = self.tenants.values().map(|tenant| tenant.keys.capacity());
        (self.tenants.len(), keys.sum())
    }
}

#[derive(Debug)]
struct Tenant {
    limits: TenantLimits,
    bytes: Bucket,
    keys: HashMap<u64, Account, foldhash::fast::RandomState>,
    newcomers: Account,
}

impl Tenant {
    /// The account that a key has now, and whether that is the one of all that are not known.
    fn account(&mut self, key: u64, tick: u64) -> (&mut Account, bool) {
        match self.keys.get_mut(&key) {
            Some(account) if account.first < tick => (account, false),
            _ => (&mut self.newcomers, true),
        }
    }

    fn claim(&self) -> Claim {
        let keys: f64 = self.keys.values().map(|account| account.claim().demand).sum();
        Claim {
            demand: (keys + self.newcomers.claim().demand).min(self.limits.bytes_per_s),
            weight: self.limits.weight,
        }
    }

    /// Shares out among its keys what it may keep of each second.
    fn settle(&mut self, allowance: f64) {
        let accounts = self.keys.values().chain([&self.newcomers]);
        let claims: Vec<Claim> = accounts.map(Account::claim).collect();
        let Shares { grants, level } = share(allowance, &claims);
        let accounts = self.keys.values_mut().chain([&mut self.newcomers]);
        for (account, grant) in accounts.zip(grants) {
            let Limits {
                bytes_per_s, weight, ..
            } = account.limits;
            account.settle(allowance.min(bytes_per_s).min(grant.max(level * weight)));
        }
    }
}

impl Accounts {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            bytes: Bucket::filled_for(terms.newcomers.burst, terms.global_rate(), 0.0),
            terms,
            clock: Clock::default(),
            tenants: HashMap::default(),
            keys: 0,
            newest: 0.0,
        }
    }

    /// How many keys there are, known and new.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// All together may have so many bytes in a second from now on.
    pub(super) fn limit_all(&mut self, bytes_per_s: f64) {
        self.terms.global = bytes_per_s;
    }

    /// Goes on to a time.
    pub(super) fn go_on(&mut self, now: SystemTime) {
        for _ in 0..self.clock.go_on(now) {
            self.clock.tick += 1;
            self.turn();
        }
    }

    /// Says how much of a profile may be kept, and takes it: what it comes to is settled later.
    pub(super) fn admit(&mut self, offer: &Offer) -> Admitted {
        let Clock { now, tick, .. } = self.clock;
        let (terms, global) = (&self.terms, self.terms.global_rate());
        let tenant_id = tenant_id(&self.tenants, offer.who.tenant);
        let tenant = self.tenants.entry(tenant_id).or_insert_with(|| Tenant {
            limits: offer.tenant,
            bytes: Bucket::filled_for(terms.newcomers.burst, terms.tenant_rate(&offer.tenant), now),
            keys: HashMap::default(),
            newcomers: Account::filled_for(terms.newcomers.burst, terms.newcomers, now, tick),
        });
        tenant.limits = offer.tenant;
        let tenant_rate = terms.tenant_rate(&tenant.limits);
        let above = tenant.bytes.fullness(tenant_rate, now);
        let above = above.min(self.bytes.fullness(global, now));
        let level = tenant.bytes.level(tenant_rate).min(self.bytes.level(global));
        if let Some(account) = tenant.keys.get_mut(&offer.who.key) {
            account.limits = offer.limits;
            account.last = tick;
        } else if self.keys < terms.max_keys {
            self.keys += 1;
            let mut account = Account::filled_for(TICK, offer.limits, now, tick);
            // evenly spread, however many come at once
            self.newest = (self.newest + GOLDEN).fract();
            account.due_in(terms.floor_every * self.newest, terms.floor_every);
            tenant.keys.insert(offer.who.key, account);
        }
        let (account, is_new) = tenant.account(offer.who.key, tick);
        let bend = account.bend();
        let offered = offer.bytes * offer.rows.powf(bend);
        let kind = if is_new { NEWCOMERS } else { offer.who.kind };
        let is_due = !is_new && account.is_due(terms.floor_every, terms.floor_profiles, now);
        let fullness = above.min(account.fullness(now));
        let has_profiles = account.has_profiles(now);
        let level = level.min(account.level());
        let ration = account.demand(kind).map(|demand| ration(demand, offered, fullness));
        let mut room = match ration {
            Some(Ration { bytes, .. }) if has_profiles && fullness > 0.0 => Room::of(bytes.min(level), offered),
            // totals are so small that they may be owed for, up to one burst
            _ if has_profiles && fullness > -1.0 => Room::Totals,
            _ => Room::Nothing,
        };
        if is_due {
            room = room.or_floor(offered);
        }
        let taken = room.bytes(offered);
        let is_open = !matches!(room, Room::Totals | Room::Nothing);
        let rationed = ration.filter(|ration| is_open && ration.share < offered);
        if let Some(demand) = account.demand(kind) {
            // one profile alone is no burst
            demand.offer(offered);
            let unused = rationed.map_or(0.0, |ration| ration.share - taken);
            demand.save(unused, offered);
        }
        if room != Room::Nothing {
            account.take_profiles(offer.profiles);
        }
        if is_due {
            account.passed();
        }
        account.take(taken, is_due);
        tenant.bytes.take(taken, tenant_rate);
        self.bytes.take(taken, global);
        Admitted {
            room,
            is_due,
            is_new,
            is_rationed: rationed.is_some(),
            bend,
            offered,
            taken,
        }
    }

    /// Takes what a profile came to, beyond what was taken already.
    pub(super) fn settle(&mut self, who: Who, admitted: &Admitted, outcome: Outcome) {
        let bytes = outcome.bytes - admitted.taken;
        let (tick, global) = (self.clock.tick, self.terms.global_rate());
        self.bytes.take(bytes, global);
        let id = tenant_id(&self.tenants, who.tenant);
        let Some(tenant) = self.tenants.get_mut(&id) else {
            return;
        };
        let rate = self.terms.tenant_rate(&tenant.limits);
        tenant.bytes.take(bytes, rate);
        let account = match admitted.is_new {
            true => &mut tenant.newcomers,
            false => tenant.account(who.key, tick).0,
        };
        account.take(bytes, admitted.is_due);
        let kind = if admitted.is_new { NEWCOMERS } else { who.kind };
        if let Some(demand) = account.demand(kind).filter(|_| admitted.is_rationed) {
            demand.save(-bytes, admitted.offered);
        }
        if let Some(bend) = outcome.bend {
            account.learn(bend);
        }
        if outcome.has_stacks && !admitted.is_due {
            account.passed();
        }
    }

    /// The tick is over: what is offered in a second is known again, and shared out.
    fn turn(&mut self) {
        let quiet = STRANGER_TICKS + (self.terms.floor_every / TICK) as u64;
        let tick = self.clock.tick;
        for tenant in self.tenants.values_mut() {
            let before = tenant.keys.len();
            tenant.keys.retain(|_, account| {
                let was_seen_once = account.first == account.last;
                let ticks = if was_seen_once { STRANGER_TICKS } else { quiet };
                tick - account.last <= ticks
            });
            self.keys -= before - tenant.keys.len();
            if tenant.keys.capacity() > 4 * tenant.keys.len().max(1_024) {
                tenant.keys.shrink_to(2 * tenant.keys.len());
            }
            tenant.keys.values_mut().for_each(Account::turn);
            tenant.newcomers.turn();
        }
        self.tenants
            .retain(|_, tenant| !tenant.keys.is_empty() || tenant.newcomers.claim().demand > 0.0);
        let claims: Vec<Claim> = self.tenants.values().map(Tenant::claim).collect();
        let Shares { grants, level } = share(self.terms.global, &claims);
        for (tenant, grant) in self.tenants.values_mut().zip(grants) {
            let TenantLimits { bytes_per_s, weight } = tenant.limits;
            tenant.settle(bytes_per_s.min(self.terms.global).min(grant.max(level * weight)));
        }
    }
}

fn tenant_id(tenants: &HashMap<u64, Tenant, foldhash::fast::RandomState>, id: u64) -> u64 {
    match tenants.contains_key(&id) || tenants.len() < MOST_TENANTS {
        true => id,
        false => 0,
    }
}

/// What a profile has of the share of its type.
#[derive(Clone, Copy, Debug)]
struct Ration {
    /// Bytes of its share; all that are offered where there is enough.
    share: f64,
    /// Bytes with what was saved.
    bytes: f64,
}

/// Where the emptiest bucket is so full.
fn ration(demand: &Demand, offered: f64, fullness: f64) -> Ration {
    let share = demand.ratio() * (fullness / LOW).clamp(0.0, 1.0) * offered;
    Ration {
        share,
        bytes: if share < offered {
            demand.ration(share, offered)
        } else {
            offered
        },
    }
}

impl Room {
    fn of(bytes: f64, offered: f64) -> Self {
        match bytes < offered {
            true => Self::Bytes(bytes),
            false => Self::Whole,
        }
    }

    /// The same for a profile that passes with stacks whatever the budget.
    fn or_floor(self, offered: f64) -> Self {
        match self {
            Self::Whole => self,
            Self::Bytes(bytes) if bytes >= FLOOR_BYTES => self,
            _ => Self::of(FLOOR_BYTES, offered),
        }
    }

    /// Bytes that it is, of those offered.
    fn bytes(self, offered: f64) -> f64 {
        match self {
            Self::Whole => offered,
            Self::Bytes(bytes) => bytes,
            Self::Totals | Self::Nothing => 0.0,
        }
    }
}

impl Terms {
    fn global_rate(&self) -> Rate {
        Rate {
            per_second: self.global,
            burst: self.newcomers.burst,
        }
    }

    fn tenant_rate(&self, limits: &TenantLimits) -> Rate {
        Rate {
            per_second: limits.bytes_per_s,
            burst: self.newcomers.burst,
        }
    }
}

/// A batch that began earlier and comes later is behind by less than this; what goes back further is a clock that was set.
const OVERTAKEN: Duration = Duration::from_secs(30);

/// Time that never goes back, whatever the clock of the machine does.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    last: Option<SystemTime>,
    now: Time,
    /// Ticks so far.
    tick: u64,
    next_tick: Time,
}

impl Clock {
    /// Goes on to a time. Says how many ticks went by.
    fn go_on(&mut self, now: SystemTime) -> u64 {
        let last = *self.last.get_or_insert(now);
        match now.duration_since(last) {
            Ok(passed) => {
                self.now += passed.as_secs_f64();
                self.last = Some(now);
            }
            Err(back) if back.duration() > OVERTAKEN => self.last = Some(now),
            // the time since then has passed already
            Err(_) => {}
        }
        if self.next_tick == 0.0 {
            self.next_tick = self.now + TICK;
        }
        let ticks = ((self.now - self.next_tick) / TICK).floor() + 1.0;
        if ticks < 1.0 {
            return 0;
        }
        self.next_tick += ticks * TICK;
        (ticks as u64).min(MOST_TICKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_overtake_each_other_make_no_time() {
        let at = |seconds: f64| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds);
        let mut clock = Clock::default();
        for _ in 0..100 {
            clock.go_on(at(10.0));
            clock.go_on(at(9.0));
        }
        clock.go_on(at(12.0));
        assert_eq!(clock.now, 2.0);
        // a clock that was set back goes on from there
        clock.go_on(at(1_000.0));
        clock.go_on(at(10.0));
        clock.go_on(at(11.0));
        assert_eq!(clock.now, 991.0);
    }
}
