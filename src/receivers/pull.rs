//! Fetches profiles from targets, each in its turn, until told to stop: what `scrape` and the `remote` of `pprof` have in common.
//!
//! All visits are driven by one task. A visit that is under way when the receiver ends, or when its target is gone, is cut: nobody
//! was promised anything yet. What was handed over already goes its way.

mod delta;
mod memory;
mod schedule;
#[cfg(test)]
mod tests;
mod visit;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, Aborted};
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::memory::Memory;
pub(super) use self::schedule::Pace;
use self::schedule::{Id, Schedule, first_wait, stable_hash};
use self::visit::{Outcome, Visitor};
use super::series::Series;
use super::unnamed::Reading;
use crate::net::client::Client;
use crate::pipeline::kill;
use crate::pipeline::units::Span;
use crate::pipeline::{Kills, Origin, Outlet, Stop};
use crate::telemetry::{Health, ScrapeMetrics, SeldomEach, Targets, Visited};

/// How often the log says for one reason that targets fail.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// After so many intervals without use counters give way to those of others.
const STALE_INTERVALS: u32 = 2;

/// Whom to visit, what to fetch there, and what to say of it.
pub(super) struct Target {
    /// Scheme, host and port: `http://10.1.2.3:6060`. A target is known by it.
    pub base: Arc<str>,
    /// What is said of its profiles.
    pub labels: Series,
    /// Whose they are.
    pub tenant: Arc<str>,
    /// Which service it is an instance of; targets that do not say are instances of one.
    pub service: Arc<str>,
    /// What it is asked for, one after the other.
    pub captures: Arc<[Capture]>,
    /// Who asks.
    pub client: Client,
}

/// One profile of a target.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    /// As the configuration has it.
    pub name: Arc<str>,
    /// Path and query.
    pub path: String,
    /// How long the target measures before it answers; 0 for what it knows already.
    pub takes: Duration,
    /// How long the whole answer may take.
    pub timeout: Duration,
    /// Whether counters become what was added since the scrape before.
    pub delta: bool,
    /// What Pyroscope calls it, where its types alone do not tell.
    pub pyroscope_name: Option<&'static str>,
}

/// The targets that there are.
#[derive(Default)]
pub(super) struct Found {
    /// To be visited, each base once.
    pub targets: Vec<Arc<Target>>,
    /// Those that cannot be, or are too many.
    pub left_out: usize,
}

/// When a target is visited for the first time.
#[derive(Clone, Debug)]
pub(super) enum Begin {
    /// At its place in the interval, which follows from its address and from who visits it.
    Spread {
        /// Who: replicas have places of their own.
        visitor: String,
    },
    /// So long after the start.
    After(Duration),
}

/// Fetches profiles.
pub(super) struct Puller {
    pub pace: Pace,
    pub begin: Begin,
    /// Largest answer as sent.
    pub max_bytes: usize,
    pub reading: Reading,
    /// Memory for counters.
    pub delta_bytes: usize,
    pub metrics: ScrapeMetrics,
    pub targets: Arc<Targets>,
}

impl Puller {
    /// Visits what `found` has, and what it will have, until `stop` is asked.
    pub(super) async fn run(self, mut found: watch::Receiver<Found>, out: &Outlet, stop: &Stop) {
        let stale = self.pace.interval.saturating_mul(STALE_INTERVALS);
        let kills = out.kills();
        let mut killing = kills.subscribe();
        let visitor = Visitor {
            out: out.clone(),
            reading: self.reading,
            max_bytes: self.max_bytes,
            memory: Arc::new(Memory::new(self.delta_bytes, stale, self.metrics.clone())),
            metrics: self.metrics,
        };
        let mut round = Round {
            schedule: Schedule::new(self.pace),
            pace: self.pace,
            begin: self.begin,
            known: HashMap::new(),
            under_way: FuturesUnordered::new(),
            list: self.targets,
            seldom: SeldomEach::every(TELL_EVERY),
            kills,
            visitor: Arc::new(visitor),
        };
        found.mark_changed();
        let mut changes = true;
        loop {
            round.begin_due();
            let wakes = round.schedule.wakes();
            tokio::select! {
                () = stop.asked() => return,
                Some(ended) = round.under_way.next() => round.ended(ended),
                Ok(()) = killing.changed() => round.cut_killed(),
                () = sleep_until(wakes.unwrap_or_else(Instant::now)), if wakes.is_some() => {}
                changed = found.changed(), if changes => match changed {
                    Ok(()) => round.update(&found.borrow_and_update()),
                    // nobody looks for others
                    Err(_) => changes = false,
                },
            }
        }
    }
}

type Visit = Pin<Box<dyn Future<Output = (Id, Option<Outcome>)> + Send>>;

/// The targets, and the visits under way.
struct Round {
    schedule: Schedule,
    pace: Pace,
    begin: Begin,
    known: HashMap<Id, Known>,
    under_way: FuturesUnordered<Abortable<Visit>>,
    list: Arc<Targets>,
    seldom: SeldomEach,
    kills: Kills,
    visitor: Arc<Visitor>,
}

struct Known {
    target: Arc<Target>,
    health: Health,
    visit: Option<AbortHandle>,
}

impl Drop for Known {
    fn drop(&mut self) {
        if let Some(visit) = &self.visit {
            visit.abort();
        }
    }
}

impl Round {
    /// Begins the visits whose turn has come.
    fn begin_due(&mut self) {
        // the turn of a target that is killed passes at once, and leaves its room to the next one
        while self.begin_some() {}
    }

    /// The same for those that there is room for; whether some of them are killed.
    fn begin_some(&mut self) -> bool {
        let due = self.schedule.due(Instant::now());
        for _ in &due.missed {
            self.visitor.metrics.scraped("missed");
        }
        let mut killed = false;
        for id in due.start {
            if self.is_killed(id) {
                self.pass_over(id);
                killed = true;
                continue;
            }
            let Some(known) = self.known.get_mut(&id) else { continue };
            let (visitor, target) = (self.visitor.clone(), known.target.clone());
            let visit: Visit = Box::pin(async move { (id, visitor.visit(id, &target).await) });
            let (handle, registration) = AbortHandle::new_pair();
            known.visit = Some(handle);
            self.under_way.push(Abortable::new(visit, registration));
        }
        killed
    }

    /// Ends the visits to targets that are killed now: what they measure is measured no longer.
    fn cut_killed(&mut self) {
        let visited = self.known.iter().filter(|(_, known)| known.visit.is_some());
        let visited: Vec<Id> = visited.map(|(id, _)| *id).collect();
        for id in visited {
            if self.is_killed(id) {
                if let Some(visit) = self.known.get_mut(&id).and_then(|known| known.visit.take()) {
                    visit.abort();
                }
                self.pass_over(id);
            }
        }
    }

    /// The turn of a target that is killed is over. Of its counters nothing is remembered: what they count until the kill is
    /// lifted is not wanted either.
    fn pass_over(&mut self, id: Id) {
        self.schedule.done(id);
        self.visitor.memory.forget(id);
        self.visitor.metrics.scraped("killed");
    }

    fn is_killed(&self, id: Id) -> bool {
        if !self.kills.is_any() {
            return false;
        }
        let Some(known) = self.known.get(&id) else { return false };
        let mut unseen = kill::unseen();
        known.target.labels.write_to(&mut unseen);
        let origin = Origin {
            tenant: known.target.tenant.clone(),
            ..Origin::local(self.visitor.out.receiver())
        };
        self.kills.takes_source(&origin, &unseen)
    }

    fn ended(&mut self, ended: Result<(Id, Option<Outcome>), Aborted>) {
        // of a visit that was cut everything is forgotten already
        let Ok((id, outcome)) = ended else { return };
        self.schedule.done(id);
        let Some(known) = self.known.get_mut(&id) else { return };
        known.visit = None;
        if let Some(Outcome { visited, failure }) = outcome {
            let before = std::mem::replace(&mut known.health, visited.health);
            let reason = failure.map_or("", |failure| failure.label());
            let base = known.target.base.clone();
            self.tell(&base, before, &visited, reason);
        }
    }

    fn tell(&self, base: &Arc<str>, before: Health, visited: &Visited, reason: &'static str) {
        let (receiver, why) = (self.visitor.out.receiver(), &visited.why);
        if visited.health == Health::Up && before == Health::Down {
            tracing::info!(%receiver, target = %base, "the target answers again");
        }
        if !reason.is_empty() {
            tracing::debug!(%receiver, target = %base, why, "a scrape failed");
            if let Some(scrapes) = self.seldom.happened(reason, 1) {
                tracing::warn!(%receiver, target = %base, why, scrapes, "a scrape failed; of others like it the next line is in a minute");
            }
        }
        self.list.visited(base, visited.clone());
    }

    /// Takes in targets that are new, leaves out those that are gone, and leaves the others alone.
    fn update(&mut self, found: &Found) {
        let now = Instant::now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut gone: HashMap<Id, Arc<str>> = self
            .known
            .iter()
            .map(|(id, known)| (*id, known.target.base.clone()))
            .collect();
        let (before, mut added) = (gone.len(), 0);
        for target in &found.targets {
            let id = self.id(target);
            gone.remove(&id);
            if let Some(known) = self.known.get_mut(&id)
                && known.target.service == target.service
            {
                known.target = target.clone();
                continue;
            }
            let wait = match &self.begin {
                Begin::Spread { .. } => first_wait(id, since_epoch, self.pace.interval),
                Begin::After(delay) => *delay,
            };
            let known = Known {
                target: target.clone(),
                health: Health::New,
                visit: None,
            };
            added += usize::from(self.known.insert(id, known).is_none());
            // of a visit that is cut nobody knows how far it came
            self.visitor.memory.forget(id);
            self.schedule.add(id, target.service.clone(), now + wait);
            self.list.add(target.base.clone());
        }
        for (id, base) in &gone {
            self.known.remove(id);
            self.schedule.remove(*id);
            self.visitor.memory.forget(*id);
            self.list.remove(base);
        }
        self.list.leave_out(found.left_out);
        let targets = self.known.len();
        if added > 0 || !gone.is_empty() || before == 0 {
            let (receiver, left_out) = (self.visitor.out.receiver(), found.left_out);
            let every = Span(self.pace.interval);
            tracing::info!(%receiver, targets, added, gone = gone.len(), left_out, %every, "targets, each with its own moment to be visited");
        }
        self.warn_if_too_much(found);
    }

    fn id(&self, target: &Target) -> Id {
        match &self.begin {
            Begin::Spread { visitor } => stable_hash(&[visitor, &target.base]),
            Begin::After(_) => stable_hash(&[&target.base]),
        }
    }

    fn warn_if_too_much(&self, found: &Found) {
        let takes = |target: &Arc<Target>| target.captures.iter().map(|capture| capture.takes).sum();
        let visit: Duration = found.targets.iter().map(takes).max().unwrap_or_default();
        if !self.schedule.fits(visit) {
            let receiver = self.visitor.out.receiver();
            tracing::warn!(%receiver, "not every target will be visited in every interval: raise `collection_interval`, `max_share` or `max_concurrent`, or shorten what is measured");
        }
    }
}
