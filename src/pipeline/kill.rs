//! What is killed: profiles that are discarded wherever they are met, in queues too, and fetched no more, until the kill is lifted.
//!
//! Of spans, only where they come from and go to is known here: what is killed by tenant, receiver and exporter is killed of
//! them too, and what is killed by what is in a profile, its service above all, is not.
//!
//! The engine only heeds kills. Who makes and lifts them, and when they expire, is not its business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use regex::Regex;
use tokio::sync::watch;

use super::batch::{Batch, Origin};
use super::follow::Followers;
use super::matcher::{MatchConfig, Matcher, compile};
use super::removal;
use super::spec::BuildError;
use crate::profile::{Dictionary, Profile, Profiles, ResourceProfiles, ScopeProfiles};

/// The key of a match that stands for `resource.service.name`.
const SERVICE: &str = "service";
/// The key of a match that limits a kill to the copies of some exporters.
const EXPORTER: &str = "exporter";

/// What one kill is about, made ready.
#[derive(Debug)]
pub struct Order {
    /// The exporters whose copies it is about; none for whatever comes, before it comes to any.
    exporter: Option<Regex>,
    /// Which profiles; none for all.
    matcher: Option<Matcher>,
}

impl Order {
    /// Everything.
    pub const fn everything() -> Self {
        Self {
            exporter: None,
            matcher: None,
        }
    }

    /// What matches all conditions, which stand at `path`: those of `when:`, and `service` and `exporter`.
    pub fn new(path: &str, conditions: &MatchConfig) -> Result<Self, BuildError> {
        if conditions.is_empty() {
            return Err(BuildError::at(path, "an empty match; write `all` to kill everything"));
        }
        for key in conditions.keys() {
            let named = ["tenant", "receiver", "profile.type", SERVICE, EXPORTER].contains(&key.as_str());
            let prefixed = ["resource.", "sample."].iter().any(|prefix| key.starts_with(prefix));
            if !named && !prefixed {
                let allowed = "allowed are tenant, service, receiver, exporter, profile.type, resource.<key> and \
                               sample.<key>";
                return Err(BuildError::at(format!("{path}.{key}"), allowed));
            }
        }
        let mut profiles = conditions.clone();
        let exporter = profiles.remove(EXPORTER).map(|pattern| compile(&pattern));
        let exporter = exporter.transpose();
        let exporter = exporter.map_err(|message| BuildError::at(format!("{path}.{EXPORTER}"), message))?;
        if let Some(pattern) = profiles.remove(SERVICE)
            && profiles.insert("resource.service.name".to_owned(), pattern).is_some()
        {
            let twice = "`resource.service.name` says the same; write one of them";
            return Err(BuildError::at(format!("{path}.{SERVICE}"), twice));
        }
        let matcher = match profiles.is_empty() {
            true => None,
            false => Some(Matcher::new(path, &profiles)?),
        };
        Ok(Self { exporter, matcher })
    }

    /// Whether it is about this exporter's copies, or about what has not come to an exporter yet.
    fn concerns(&self, exporter: Option<&str>) -> bool {
        match (&self.exporter, exporter) {
            (None, _) => true,
            (Some(pattern), Some(exporter)) => pattern.is_match(exporter),
            (Some(_), None) => false,
        }
    }
}

/// What is killed now, as everybody who meets profiles asks.
#[derive(Clone, Debug)]
pub struct Kills(Arc<State>);

#[derive(Debug)]
struct State {
    /// Read before anything else: while nothing is killed, this look is all that a batch pays.
    any: AtomicBool,
    orders: ArcSwap<Vec<Arc<Order>>>,
    changed: watch::Sender<()>,
}

impl Default for Kills {
    fn default() -> Self {
        Self(Arc::new(State {
            any: AtomicBool::new(false),
            orders: ArcSwap::default(),
            changed: watch::Sender::new(()),
        }))
    }
}

/// How much of something is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Spared,
    Partly,
    Whole,
}

/// What is left of a batch, and what was killed of it.
pub(super) struct Struck {
    pub(super) batch: Option<Batch>,
    /// Profiles as received, or spans.
    pub(super) profiles: u64,
    /// Samples, or spans.
    pub(super) samples: u64,
    /// Who waits to hear of them.
    pub(super) followers: Followers,
}

impl Kills {
    /// From now on these are killed, and nothing else.
    pub fn set(&self, orders: Vec<Arc<Order>>) {
        let any = !orders.is_empty();
        self.0.orders.store(Arc::new(orders));
        self.0.any.store(any, Ordering::Release);
        self.0.changed.send_replace(());
    }

    /// Whether anything is killed.
    pub fn is_any(&self) -> bool {
        self.0.any.load(Ordering::Acquire)
    }

    /// Hears of every change.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Waits until something is so that depends on what is killed.
    pub async fn until(&self, is_so: impl Fn() -> bool) {
        let mut changes = self.subscribe();
        while !is_so() {
            // whoever waits holds the other end too
            let _ = changes.changed().await;
        }
    }

    /// Whether profiles are killed of which no more is known than where they come from, and their [`unseen`] resource: whoever
    /// would fetch them need not.
    pub fn takes_source(&self, origin: &Origin, unseen: &Profiles) -> bool {
        let takes = |order: &Arc<Order>| {
            let whole = |matcher: &Matcher| {
                let holds = |p| matcher.profile(unseen.dictionary(), p, origin);
                !matcher.has_sample_conditions() && unseen.iter().all(holds)
            };
            order.exporter.is_none() && order.matcher.as_ref().is_none_or(whole)
        };
        self.is_any() && self.0.orders.load().iter().any(takes)
    }

    /// Whether an exporter gets nothing, whatever comes.
    pub(super) fn closes(&self, exporter: &str) -> bool {
        let closes = |order: &Arc<Order>| order.matcher.is_none() && order.concerns(Some(exporter));
        self.is_any() && self.0.orders.load().iter().any(closes)
    }

    /// How much of a batch an exporter must not send.
    pub(super) fn judge(&self, batch: &Batch, exporter: &str) -> Judged {
        if !self.is_any() {
            return Judged::Spared;
        }
        let struck = self.strike(batch.clone(), Some(exporter));
        match (struck.batch, struck.profiles + struck.samples) {
            (None, _) => Judged::Whole,
            (Some(_), 0) => Judged::Spared,
            (Some(_), _) => Judged::Partly,
        }
    }

    /// Takes what is killed out of a batch: of an exporter's copy, or before it comes to any.
    pub(super) fn strike(&self, batch: Batch, exporter: Option<&str>) -> Struck {
        if !self.is_any() {
            return Struck::nothing_of(batch);
        }
        let orders = self.0.orders.load();
        let concerned = || orders.iter().filter(|order| order.concerns(exporter));
        if concerned().any(|order| order.matcher.is_none()) {
            return Struck::all_of(&batch);
        }
        let matchers: Vec<&Matcher> = concerned().filter_map(|order| order.matcher.as_ref()).collect();
        let origin = batch.origin().clone();
        if batch.as_traces().is_some() {
            return match matchers.iter().any(|matcher| matcher.origin(&origin)) {
                true => Struck::all_of(&batch),
                false => Struck::nothing_of(batch),
            };
        }
        let is_touched = |profiles: &Profiles| removal::touches(&matchers, profiles, &origin);
        if !batch.as_profiles().is_some_and(is_touched) {
            return Struck::nothing_of(batch);
        }
        let (mut left, before) = (batch.clone(), batch.items());
        let Some(profiles) = left.edit() else {
            return Struck::nothing_of(batch);
        };
        let gone = removal::remove(&matchers, profiles, &origin);
        if profiles.is_empty() {
            return Struck::all_of(&batch);
        }
        let weight = batch.weight().saturating_sub(gone);
        Struck {
            profiles: batch.weight() - weight,
            samples: before.saturating_sub(left.items()),
            followers: batch.followers().clone(),
            batch: Some(left.with_weight(weight)),
        }
    }
}

impl Struck {
    fn nothing_of(batch: Batch) -> Self {
        Self {
            batch: Some(batch),
            profiles: 0,
            samples: 0,
            followers: Followers::default(),
        }
    }

    fn all_of(batch: &Batch) -> Self {
        Self {
            batch: None,
            profiles: batch.weight(),
            samples: batch.items(),
            followers: batch.followers().clone(),
        }
    }

    /// Whether anything was killed.
    pub(super) fn is_any(&self) -> bool {
        self.batch.is_none() || self.profiles > 0 || self.samples > 0
    }
}

/// A profile that nobody has seen yet, and of whose resource nothing is known.
pub fn unseen() -> Profiles {
    let scope = ScopeProfiles {
        profiles: vec![Profile::default()],
        ..ScopeProfiles::default()
    };
    let resource = ResourceProfiles {
        scopes: vec![scope],
        ..ResourceProfiles::default()
    };
    Profiles::new(Dictionary::default(), vec![resource])
}
