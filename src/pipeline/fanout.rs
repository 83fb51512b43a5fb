//! One receiver's way through the pipelines it feeds: decoded once, run through each chain, then handed to the sinks.

use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::batch::Batch;
use super::budget::Budget;
use super::chain::{Chain, Outcome, Place};
use super::component::{Reason, Receipt, Refusal};
use super::compute::{Compute, Panicked};
use super::follow::{Followed, Followers};
use super::generation::Status;
use super::kill::{Kills, Struck};
use super::lifecycle::Failure;
use super::outlet::{Afterwards, Arrival, Content, Intake, Job};
use super::readiness::Readiness;
use super::routing::{self, Mode, Route};
use super::sink::{Room, Sink};
use super::spending::Spending;
use crate::telemetry::{Amount, Audit, Component, Kind, Metrics, Signal};

/// One running pipeline.
pub struct Pipeline {
    /// Of what kind of data.
    pub signal: Signal,
    /// What it takes.
    pub route: Route,
    /// Its processors.
    pub chain: Arc<Chain>,
    /// Its exporters.
    pub sinks: Vec<Arc<Sink>>,
}

/// What all receivers share.
pub struct Shared {
    /// Where requests are decoded and run through their chains.
    pub compute: Compute,
    /// Where sinks cut and encode: apart, because behind a row of waiting requests they would fall back, and their queues fill.
    pub delivery: Compute,
    /// Memory.
    pub budget: Budget,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Readiness.
    pub readiness: Readiness,
    /// What is killed.
    pub kills: Kills,
    /// What was sent.
    pub spending: Spending,
    /// The first task of the engine itself that died.
    pub failed: watch::Sender<Option<Failure>>,
}

impl Shared {
    /// Runs a task of the engine whose death ends the process in order.
    pub(super) fn task(
        self: &Arc<Self>,
        component: Component,
        work: impl Future<Output = Result<(), Panicked>> + Send + 'static,
    ) -> AbortHandle {
        let shared = self.clone();
        let watched = async move {
            if let Err(panicked) = work.await {
                shared.metrics.panicked(&component, &panicked.fingerprint);
                let why = panicked.to_string();
                let failure = Failure::of(component, why);
                shared
                    .failed
                    .send_if_modified(|first| first.is_none() && first.replace(failure).is_none());
            }
        };
        tokio::spawn(watched).abort_handle()
    }
}

/// What one receiver feeds, until the next reload.
pub struct Wired {
    /// The pipelines.
    pub pipelines: Vec<Arc<Pipeline>>,
    /// How many of them one profile takes.
    pub routing: Mode,
    /// Requests on their way to the sinks of these pipelines.
    pub under_way: TaskTracker,
}

/// The engine's side of one receiver's outlet.
pub struct Fanout {
    /// Id of the receiver.
    pub receiver: Arc<str>,
    /// What all receivers share.
    pub shared: Arc<Shared>,
    /// What it feeds now; none when input has ended.
    feeds: RwLock<Option<Arc<Wired>>>,
    /// What the receiver does when its deliveries end.
    afterwards: TaskTracker,
    status: watch::Sender<Status>,
}

#[async_trait::async_trait]
impl Intake for Arc<Fanout> {
    fn receiver(&self) -> &Arc<str> {
        &self.receiver
    }

    fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    fn admit(&self) -> Result<(), Refusal> {
        if !self.shared.budget.is_open() {
            return Err(Refusal::no_room("memory is short"));
        }
        if self.shared.compute.is_behind() {
            return Err(Refusal::no_room("more requests are waiting than can be worked on"));
        }
        Ok(())
    }

    async fn receive(&self, job: Job, followed: Option<Followed>) -> Result<Receipt, Refusal> {
        let Some((wired, under_way)) = self.enter() else {
            let refusal = Refusal::no_room("stopping");
            self.refused(&refusal);
            return Err(refusal);
        };
        let fanout = self.clone();
        // spawned, so that a caller that goes away takes nothing with it
        let work = tokio::spawn(async move {
            let _under_way = under_way;
            let job_fanout = fanout.clone();
            let job = move || {
                let answer = job_fanout.work(job, &wired, followed.as_ref());
                // a refusal is work done as well
                job_fanout.shared.readiness.worked(&job_fanout.component());
                answer
            };
            match fanout.shared.compute.run(usize::MAX, job).await {
                Ok(answer) => answer,
                Err(panicked) => Err(fanout.after_panic(&panicked.fingerprint)),
            }
        });
        work.await.unwrap_or_else(|_| Err(Refusal::no_room("stopping")))
    }

    fn afterwards(&self, work: Afterwards) {
        self.afterwards.spawn(work);
    }

    fn refused(&self, refusal: &Refusal) {
        self.count_refusal(refusal);
    }

    fn feeds(&self, signal: Signal) -> bool {
        let feeds = self.feeds.read().unwrap_or_else(PoisonError::into_inner);
        let mut pipelines = feeds.iter().flat_map(|wired| &wired.pipelines);
        // who is told to stop hears that, and not that there is no such pipeline
        feeds.is_none() || pipelines.any(|pipeline| pipeline.signal == signal)
    }

    fn audit(&self) -> Option<&Audit> {
        Some(&self.shared.metrics.audit)
    }

    fn kills(&self) -> Kills {
        self.shared.kills.clone()
    }

    fn ready(&self) {
        self.shared.readiness.ready(&self.receiver);
        self.tell(Status::Serving);
    }

    fn is_ready(&self) -> bool {
        self.shared.readiness.is_ready()
    }
}

impl Fanout {
    /// The way of one receiver, whose `status` others watch.
    pub(super) fn new(
        receiver: Arc<str>,
        wired: Arc<Wired>,
        shared: Arc<Shared>,
        status: watch::Sender<Status>,
    ) -> Self {
        Self {
            receiver,
            shared,
            feeds: RwLock::new(Some(wired)),
            afterwards: TaskTracker::new(),
            status,
        }
    }

    pub(super) fn component(&self) -> Component {
        Kind::Receiver.named(self.receiver.clone())
    }

    pub(super) fn tell(&self, status: Status) {
        self.status.send_replace(status);
    }

    /// What a request goes to, and the token that says it is under way. Both are taken together: whoever changes what is fed
    /// then knows by the tokens when the last request of before is through.
    fn enter(&self) -> Option<(Arc<Wired>, TaskTrackerToken)> {
        let feeds = self.feeds.read().unwrap_or_else(PoisonError::into_inner);
        let wired = feeds.clone()?;
        let token = wired.under_way.token();
        Some((wired, token))
    }

    /// From now on what arrives goes there.
    pub(super) fn feed(&self, wired: Arc<Wired>) {
        *self.feeds.write().unwrap_or_else(PoisonError::into_inner) = Some(wired);
    }

    /// Takes nothing any more.
    pub(super) fn leave(&self) {
        *self.feeds.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What its receiver does when its deliveries end is done; asked when the receiver has ended.
    pub(super) async fn settled(&self) {
        self.afterwards.close();
        self.afterwards.wait().await;
    }

    fn work(&self, job: Job, wired: &Wired, followed: Option<&Followed>) -> Result<Receipt, Refusal> {
        let arrivals = job().inspect_err(|refusal| self.count_refusal(refusal))?;
        let amounts = Signal::ALL.map(|signal| (signal, amount(&arrivals, signal)));
        let amounts = amounts.into_iter().filter(|(_, amount)| *amount != Amount::default());
        let answer = self.take_on(arrivals, wired, followed);
        let metrics = &self.shared.metrics;
        match &answer {
            Ok(_) => amounts.for_each(|(signal, amount)| metrics.accepted(&self.receiver, signal, amount)),
            Err(refusal) => {
                self.count_refusal(refusal);
                amounts.for_each(|(signal, amount)| metrics.refused_items(&self.receiver, signal, amount.samples));
            }
        }
        answer
    }

    fn take_on(&self, arrivals: Vec<Arrival>, wired: &Wired, followed: Option<&Followed>) -> Result<Receipt, Refusal> {
        let defects = Defects::of(&arrivals);
        let mut batches = Vec::with_capacity(arrivals.len());
        let (mut held, mut permit) = (0, None);
        for arrival in arrivals {
            if let Some(decoded) = arrival.decoded() {
                self.shared.metrics.repaired(&self.receiver, decoded.repairs);
                for (limit, times) in decoded.overflows.by_limit() {
                    self.shared.metrics.limited(&self.receiver, limit.label(), times);
                }
            }
            let batch = arrival.into_batch().followed_by(Followers::of(followed));
            held += batch.held_bytes();
            permit.get_or_insert_with(|| batch.permit().clone());
            if !batch.is_empty() {
                batches.push(batch);
            }
        }
        // the arrivals of one request share its permit
        if let Some(permit) = permit {
            permit.set(held)?;
        }
        if batches.is_empty() && defects.profiles > 0 {
            return Err(Refusal::Invalid(defects.message));
        }
        // a request is of one kind
        let signal = batches.first().map_or(Signal::Profiles, Batch::signal);
        let (batches, killed) = self.strike(batches, followed);
        let mut passed = wired.run_chains(batches)?;
        passed.killed = killed;
        if let Some(followed) = followed.filter(|_| passed.unrouted > 0) {
            followed.stayed();
        }
        let outcomes = wired.pipelines.iter().zip(&passed.outcomes);
        let holding = outcomes.filter(|(_, outcome)| !outcome.to_hold.is_empty());
        let later: Vec<&Arc<Sink>> = holding.flat_map(|(pipeline, _)| &pipeline.sinks).collect();
        let through = passed
            .outcomes
            .iter_mut()
            .map(|outcome| std::mem::take(&mut outcome.batches));
        hand_over(wired.pipelines.iter().zip(through), &later)?;
        for (pipeline, outcome) in wired.pipelines.iter().zip(&mut passed.outcomes) {
            pipeline.chain.settle(outcome);
            pipeline.hold(std::mem::take(&mut outcome.to_hold));
        }
        self.stayed_here(signal, Reason::Defective, defects.profiles);
        self.stayed_here(signal, Reason::Unrouted, passed.unrouted);
        self.stayed_here(signal, Reason::Killed, passed.killed);
        Ok(passed.receipt(defects))
    }

    /// What is left of batches without what is killed, and how many profiles that is. Whoever keeps the original keeps all of it:
    /// the rest alone would be there twice once the whole comes again.
    fn strike(&self, batches: Vec<Batch>, followed: Option<&Followed>) -> (Vec<Batch>, u64) {
        let kills = &self.shared.kills;
        if !kills.is_any() {
            return (batches, 0);
        }
        let weight = batches.iter().map(Batch::weight).sum();
        let struck: Vec<Struck> = batches.into_iter().map(|batch| kills.strike(batch, None)).collect();
        if let Some(followed) = followed.filter(|_| struck.iter().any(Struck::is_any)) {
            followed.killed();
            return (Vec::new(), weight);
        }
        let killed = struck.iter().map(|struck| struck.profiles).sum();
        (struck.into_iter().filter_map(|struck| struck.batch).collect(), killed)
    }

    fn stayed_here(&self, signal: Signal, reason: Reason, number: u64) {
        if number > 0 {
            let component = self.component();
            self.shared.metrics.dropped(&component, signal, reason.label(), number);
        }
    }

    fn after_panic(&self, fingerprint: &str) -> Refusal {
        self.shared.metrics.panicked(&self.component(), fingerprint);
        self.shared.readiness.panicked(&self.component());
        tracing::error!(receiver = %self.receiver, fingerprint, "decoder panicked; the request was refused");
        let refusal = Refusal::Invalid("this request cannot be decoded; do not resend it".to_owned());
        self.count_refusal(&refusal);
        refusal
    }

    fn count_refusal(&self, refusal: &Refusal) {
        self.shared.metrics.refused(&self.receiver, refusal.label());
        if let Refusal::TooLarge { limit, .. } = refusal {
            self.shared.metrics.limited(&self.receiver, limit.label(), 1);
        }
    }
}

impl Wired {
    /// Every pipeline's outcome over its share of all batches. A refusal of any comes before any sink has taken something.
    fn run_chains(&self, batches: Vec<Batch>) -> Result<Passed, Refusal> {
        let mut passed = Passed {
            outcomes: self.pipelines.iter().map(|_| Outcome::default()).collect(),
            ..Passed::default()
        };
        for batch in &batches {
            let signal = batch.signal();
            let own = || self.pipelines.iter().filter(move |pipeline| pipeline.signal == signal);
            let shares = routing::share(own().map(|pipeline| &pipeline.route), self.routing, batch);
            passed.unrouted += shares.unrouted;
            let mut tallies = Vec::with_capacity(shares.parts.len());
            let outcomes = self.pipelines.iter().zip(&mut passed.outcomes);
            let outcomes = outcomes.filter(|(pipeline, _)| pipeline.signal == signal);
            for ((pipeline, outcome), part) in outcomes.zip(shares.parts) {
                let Some(part) = part else { continue };
                let offered = part.weight();
                let mut one = pipeline.chain.run(part);
                if let Some(refusal) = one.refusal.take() {
                    return Err(refusal);
                }
                tallies.push((offered, one.rejected));
                outcome.append(one);
            }
            passed.rejected += rejected_by_all(batch.weight(), own().count(), &tallies);
        }
        Ok(passed)
    }
}

/// What came of one kind of data.
fn amount(arrivals: &[Arrival], signal: Signal) -> Amount {
    let mut amount = Amount::default();
    for arrival in arrivals {
        match (&arrival.content, signal) {
            (Content::Profiles(decoded), Signal::Profiles) => {
                amount.profiles += decoded.profiles.received_count() + decoded.rejected.profiles;
                amount.samples += decoded.profiles.sample_count() as u64;
            }
            (Content::Traces(traces), Signal::Traces) => {
                amount.profiles += traces.count();
                amount.samples += traces.count();
            }
            _ => continue,
        }
        amount.bytes += arrival.received.bytes.len() as u64;
    }
    amount
}

/// What came of all batches of a request, before any sink has heard of them.
#[derive(Default)]
struct Passed {
    /// Pipeline by pipeline.
    outcomes: Vec<Outcome>,
    /// Received profiles, or spans, that no pipeline let pass.
    rejected: u64,
    /// Those of them that no pipeline takes.
    unrouted: u64,
    /// Received profiles that no pipeline was offered, because they are killed.
    killed: u64,
}

impl Passed {
    /// The first thing that went wrong is what the sender is told.
    fn receipt(&self, defects: Defects) -> Receipt {
        let rejected = defects.profiles + self.rejected + self.killed;
        let told = || {
            self.outcomes
                .iter()
                .map(|outcome| &outcome.message)
                .find(|told| !told.is_empty())
        };
        let message = match rejected {
            0 => String::new(),
            _ if defects.profiles > 0 => defects.message,
            _ if self.killed > 0 => "killed by policy; do not resend".to_owned(),
            _ if self.unrouted > 0 => "no pipeline takes some of it: no `when` matches".to_owned(),
            _ => told().cloned().unwrap_or_default(),
        };
        Receipt { rejected, message }
    }
}

/// A profile that one pipeline let pass is not rejected, whatever another one did. `tallies` are offered and rejected profiles
/// of those that took something; how the shares overlap is only known if each took everything.
fn rejected_by_all(weight: u64, pipelines: usize, tallies: &[(u64, u64)]) -> u64 {
    if tallies.len() == pipelines && tallies.iter().all(|(offered, _)| *offered == weight) {
        return tallies.iter().map(|(_, rejected)| *rejected).min().unwrap_or_default();
    }
    let passed: u64 = tallies
        .iter()
        .map(|(offered, rejected)| offered.saturating_sub(*rejected))
        .sum();
    weight.saturating_sub(passed)
}

/// The defective profiles of one request.
struct Defects {
    profiles: u64,
    message: String,
}

impl Defects {
    fn of(arrivals: &[Arrival]) -> Self {
        let first = arrivals
            .iter()
            .filter_map(Arrival::decoded)
            .find_map(|decoded| decoded.rejected.first.as_ref());
        Self {
            profiles: arrivals
                .iter()
                .filter_map(Arrival::decoded)
                .map(|decoded| decoded.rejected.profiles)
                .sum(),
            message: first.map_or_else(String::new, ToString::to_string),
        }
    }
}

/// Hands batches to the sinks of their pipelines, once it is certain that this is no refusal. What is held for others, to go to them
/// `later`, finds no more room then than now, and who waits for an answer can come again: so they must not be full either.
fn hand_over<'a>(
    passed: impl Iterator<Item = (&'a Arc<Pipeline>, Vec<Batch>)>,
    later: &[&Arc<Sink>],
) -> Result<(), Refusal> {
    let later = later.iter().filter(|sink| !sink.is_killed());
    let later: Vec<(bool, bool)> = later.map(|sink| (sink.is_full(), sink.required())).collect();
    if later.contains(&(true, true)) {
        return Err(no_room_where_needed());
    }
    let (killed, now): (Vec<_>, Vec<_>) = shares(passed).into_iter().partition(|(sink, _)| sink.is_killed());
    let now = reserved(now)?;
    let full = |room: &Option<Room>| room.is_none();
    let mut all_full = now
        .iter()
        .map(|(.., room)| full(room))
        .chain(later.iter().map(|(full, _)| *full));
    if all_full.clone().next().is_some() && all_full.all(|full| full) {
        return Err(Refusal::no_room("the queues of all exporters are full"));
    }
    for (sink, share, room) in now {
        sink.take(share, room);
    }
    for (sink, share) in killed {
        sink.discard(&share);
    }
    Ok(())
}

fn no_room_where_needed() -> Refusal {
    Refusal::no_room("an exporter that must not lose anything is full")
}

/// Sinks with their share and the room for it, if they have any. Who must not lose anything has to.
type Reserved<'a> = Vec<(&'a Arc<Sink>, Vec<Batch>, Option<Room>)>;

fn reserved(shares: Vec<(&Arc<Sink>, Vec<Batch>)>) -> Result<Reserved<'_>, Refusal> {
    let mut reserved = Vec::with_capacity(shares.len());
    for (sink, share) in shares {
        let room = sink.reserve(&share);
        if room.is_none() && sink.required() {
            return Err(no_room_where_needed());
        }
        reserved.push((sink, share, room));
    }
    Ok(reserved)
}

/// What each sink gets. An exporter of two pipelines gets its batches of both in one reservation.
fn shares<'a>(batches: impl Iterator<Item = (&'a Arc<Pipeline>, Vec<Batch>)>) -> Vec<(&'a Arc<Sink>, Vec<Batch>)> {
    let mut shares: Vec<(&Arc<Sink>, Vec<Batch>)> = Vec::new();
    for (pipeline, batches) in batches.filter(|(_, batches)| !batches.is_empty()) {
        for sink in &pipeline.sinks {
            match shares.iter_mut().find(|(known, _)| Arc::ptr_eq(known, sink)) {
                Some((_, share)) => share.extend(batches.iter().cloned()),
                None => shares.push((sink, batches.clone())),
            }
        }
    }
    shares
}

impl Pipeline {
    /// Gives its processors what they are to hold back. What goes on all the same goes to the sinks: nobody waits for an answer, so
    /// a queue without room drops it.
    fn hold(&self, to_hold: Vec<(Place, Batch)>) {
        if to_hold.is_empty() {
            return;
        }
        let batches = self.chain.hold(to_hold).batches;
        for sink in &self.sinks {
            for batch in &batches {
                let one = vec![batch.clone()];
                if sink.is_killed() {
                    sink.discard(&one);
                    continue;
                }
                let room = sink.reserve(&one);
                sink.take(one, room);
            }
        }
    }

    /// Hands over what was held back, of which there may be much at once: queues have until then to make room, each at its own pace.
    /// `late` is why the rest is dropped.
    pub(super) async fn hand_over_until(&self, until: Instant, late: Reason, batches: &[Batch]) {
        let each = self.sinks.iter().map(|sink| async move {
            for batch in batches {
                sink.take_until(until, late, batch.clone()).await;
            }
        });
        join_all(each).await;
    }
}
