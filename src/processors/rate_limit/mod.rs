//! `rate_limit`: how much each key may bring in a second.
//!
//! One lock is held while a batch is judged, for as long as it takes to look up its keys.

mod bucket;
mod config;
mod keys;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::bucket::{Limit, Load, MEASURES, NAMES, Over, Time, nanos};
use self::config::{Config, KeyPart, OnLimit};
use self::keys::{Key, Keys};
use crate::pipeline::matcher::Matcher;
use crate::pipeline::spec::{About, BuildContext, BuildError, ProcessorSpec, RawConfig, Stability, parse};
use crate::pipeline::{Batch, Context, Origin, Processor, Reason, Refusal, Verdict};
use crate::profile::{Dictionary, ProfileRef, Profiles, Value};
use crate::telemetry::RateLimitMetrics;

/// Nobody is told to stay away for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// Nor for less: a clock of seconds stands behind most senders' words.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// The row of the table.
pub const SPEC: ProcessorSpec = ProcessorSpec {
    about: About {
        name: "rate_limit",
        aliases: &[],
        summary: "limits requests, profiles, samples and bytes in a second for each tenant, service or other key",
        docs: "Every key has a bucket for each limit that is set. `requests_per_s` and `profiles_per_s` hold strictly: in any time no more \
passes than the rate times that time, and one burst. Of `samples_per_s` and `bytes_per_s` a single profile may be larger than the burst: \
it passes as long as anything is left, and what follows waits until that is paid. So does a request with more profiles of a key than \
the burst holds, if the bucket is full. Bytes are those of the profiles in memory, which is about what they are uncompressed. A rate without a burst of \
at least one lets one pass whenever it has been earned.\n\n\
With `on_limit: refuse` a request of which anything is over is refused whole: 429 or RESOURCE_EXHAUSTED, with the time to wait. With \
`drop` what is over is dropped and counted (`rate_limited`), the rest passes, and the sender hears OK, over OTLP with the number. Senders \
that do not heed a 429 only come again: use `drop` for them. Files wait with `refuse`, and counters that are fetched go on from the scrape before.\n\n\
The first item of `limits` whose `match` holds sets other limits for the profiles that match; what it leaves out is as for all. At most `max_keys` keys \
are known at once, further ones share one bucket for each set of limits, and where keys tell tenants apart for each tenant, which has seven eighths of them at most. Who has been quiet until its buckets are full is forgotten. A reload that \
changes the configuration begins with full buckets.\n\n\
Put it first: what is refused need not be redacted. Where a receiver feeds several pipelines each counts for itself, and what one refuses the \
others have counted as well. Limits are of one process: behind a load balancer divide them by the replicas.",
        stability: Stability::Beta,
        signals: &["profiles"],
        example: "rate_limit:\n  keys: [tenant, service]\n  profiles_per_s: 10\n  bytes_per_s: 1MiB\n  burst: 30s\n  on_limit: refuse\n  limits:\n    - match: { tenant: \"batch-*\" }\n      profiles_per_s: 1\n",
        schema: || schemars::schema_for!(Config),
    },
    adds_text: false,
    removes_text: None,
    holds: None,
    build,
};

struct RateLimit {
    parts: Vec<KeyPart>,
    /// What holds for some, the first that matches; the last one is for all.
    limits: Vec<(Option<Matcher>, Limit)>,
    on_limit: OnLimit,
    keys: Mutex<Keys>,
    hasher: foldhash::fast::RandomState,
    began: Instant,
    metrics: RateLimitMetrics,
}

fn build(raw: RawConfig, cx: &BuildContext) -> Result<Box<dyn Processor>, BuildError> {
    let config: Config = parse(raw)?;
    let (limits, parts) = (config.check()?, config.parts()?);
    let tells_tenants = parts.contains(&KeyPart::Tenant);
    Ok(Box::new(RateLimit {
        parts,
        keys: Mutex::new(Keys::new(limits.len(), config.max_keys, tells_tenants)),
        limits,
        on_limit: config.on_limit,
        hasher: foldhash::fast::RandomState::default(),
        began: Instant::now(),
        metrics: cx.metrics.rate_limit(&cx.id),
    }))
}

/// The profiles of one key in a batch.
struct Share {
    key: Key,
    load: Load,
    over: Option<Over>,
}

impl Processor for RateLimit {
    fn process(&self, batch: Batch, _: &Context) -> Verdict {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.process_at(batch, now)
    }
}

impl RateLimit {
    /// At so many nanoseconds after it began.
    fn process_at(&self, batch: Batch, now: u64) -> Verdict {
        let Some(profiles) = batch.as_profiles().filter(|profiles| !profiles.is_empty()) else {
            return Verdict::pass(batch);
        };
        let (mut shares, share_of) = self.shares(profiles, batch.origin());
        let wait = self.judge(&mut shares, nanos(now));
        let Some(over) = wait else {
            return Verdict::pass(batch);
        };
        match self.on_limit {
            OnLimit::Refuse => {
                self.metrics.limited("refused", name(over), batch.weight());
                Verdict::Refuse(Refusal::OverRate {
                    why: why(over),
                    after: over.wait.clamp(SHORTEST_WAIT, LONGEST_WAIT),
                })
            }
            OnLimit::Drop => self.drop_from(batch, &shares, &share_of),
        }
    }

    /// The keys of a batch with what they bring, and for each profile which of them it belongs to.
    fn shares(&self, profiles: &Profiles, origin: &Origin) -> (Vec<Share>, Vec<usize>) {
        let d = profiles.dictionary();
        let mut shares: Vec<Share> = Vec::new();
        let mut share_of = Vec::new();
        let mut places = hashbrown::HashMap::with_hasher(self.hasher.clone());
        for p in profiles.iter() {
            let key = self.key(d, p, origin);
            let place = *places.entry(key).or_insert(shares.len());
            if place == shares.len() {
                let load = [1, 0, 0, 0];
                shares.push(Share { key, load, over: None });
            }
            if let Some(share) = shares.get_mut(place) {
                let [_, count, samples, _] = &mut share.load;
                *count += p.profile.received();
                *samples += p.profile.samples.len() as u64;
            }
            share_of.push(place);
        }
        share_bytes(&mut shares, profiles.heap_bytes() as u64);
        (shares, share_of)
    }

    fn key(&self, d: &Dictionary, p: ProfileRef<'_>, origin: &Origin) -> Key {
        let mut hasher = self.hasher.build_hasher();
        for part in &self.parts {
            match part {
                KeyPart::Tenant => hasher.write(origin.tenant.as_bytes()),
                KeyPart::Receiver => hasher.write(origin.receiver.as_bytes()),
                KeyPart::Type => {
                    let first = p.profile.sample_types.first();
                    hasher.write(first.map_or("", |kind| d.str(kind.kind)).as_bytes());
                }
                KeyPart::Resource(key) => match p.resource.attribute(d, key) {
                    Some(Value::String(id)) => hasher.write(d.str(*id).as_bytes()),
                    Some(Value::Int(number)) => hasher.write_i64(*number),
                    Some(Value::Bool(truth)) => hasher.write_u8(u8::from(*truth)),
                    // what has no text is one key
                    _ => {}
                },
            }
            // so that `ab` and `c` are not `a` and `bc`
            hasher.write_u8(0xff);
        }
        let holds = |(matcher, _): &(Option<Matcher>, Limit)| {
            matcher.as_ref().is_none_or(|matcher| matcher.profile(d, p, origin))
        };
        Key {
            limit: self.limits.iter().position(holds).unwrap_or_default(),
            tenant: match self.parts.contains(&KeyPart::Tenant) {
                true => self.hasher.hash_one(&*origin.tenant) as u8,
                false => 0,
            },
            hash: hasher.finish(),
        }
    }

    /// Takes the shares that fit: none if one does not and the whole is to be refused. The one that has to wait for longest is the
    /// answer.
    fn judge(&self, shares: &mut [Share], now: Time) -> Option<Over> {
        let mut keys = self.keys();
        let (mut taken, mut shared) = (Vec::with_capacity(shares.len()), 0);
        for share in shares.iter_mut() {
            let Some((_, limit)) = self.limits.get(share.key.limit) else {
                continue;
            };
            let admitted = keys.admit(share.key, limit, &share.load, now);
            share.over = admitted.over;
            shared += u64::from(admitted.is_shared);
            taken.push(admitted);
        }
        let wait = shares
            .iter()
            .filter_map(|share| share.over)
            .max_by_key(|over| over.wait);
        if wait.is_some() && self.on_limit == OnLimit::Refuse {
            taken.into_iter().rev().for_each(|admitted| keys.undo(admitted));
        }
        self.metrics.keys(keys.len(), shared);
        wait
    }

    /// Drops the profiles of keys that are over.
    fn drop_from(&self, mut batch: Batch, shares: &[Share], share_of: &[usize]) -> Verdict {
        for share in shares {
            if let Some(over) = share.over {
                let [_, profiles, ..] = share.load;
                self.metrics.limited("dropped", name(over), profiles);
            }
        }
        if shares.iter().all(|share| share.over.is_some()) {
            return Verdict::Drop(Reason::RateLimited);
        }
        let Some(profiles) = batch.edit() else {
            return Verdict::pass(batch);
        };
        let (mut places, mut gone) = (share_of.iter(), 0);
        let resources = profiles.edit_resources();
        for scope in resources.iter_mut().flat_map(|resource| &mut resource.scopes) {
            scope.profiles.retain(|profile| {
                let share = places.next().and_then(|place| shares.get(*place));
                let stays = share.is_some_and(|share| share.over.is_none());
                gone += if stays { 0 } else { profile.received() };
                stays
            });
        }
        let weight = batch.weight().saturating_sub(gone);
        Verdict::Pass {
            batch: batch.with_weight(weight),
            rejected: Some((gone, Reason::RateLimited)),
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shares bytes out by samples: the dictionary belongs to all of them.
fn share_bytes(shares: &mut [Share], bytes: u64) {
    let weight = |[_, profiles, samples, _]: &Load| u128::from(*profiles) + u128::from(*samples);
    let all: u128 = shares.iter().map(|share| weight(&share.load)).sum();
    for share in shares {
        let own = u128::from(bytes) * weight(&share.load) / all.max(1);
        let [.., to] = &mut share.load;
        *to = u64::try_from(own).unwrap_or(u64::MAX);
    }
}

fn name(over: Over) -> &'static str {
    NAMES.get(over.measure).copied().unwrap_or_default()
}

fn why(over: Over) -> &'static str {
    const WHY: [&str; MEASURES] = [
        "more requests than this sender may send",
        "more profiles than this sender may send",
        "more samples than this sender may send",
        "more bytes than this sender may send",
    ];
    WHY.get(over.measure).copied().unwrap_or_default()
}
