//! What stands in front of every exporter: queue, merge, split, retry, timeout, metrics.
//!
//! Per exporter, accepted = sent + dropped(reason) + in flight, counted in received profiles, or spans.

mod backoff;
mod config;
mod delivery;
mod outage;
mod parts;
mod queue;

pub use backoff::LONGEST_HINT;
pub use config::{BatchConfig, BatchSizer, QueueConfig, RetryConfig, SinkConfig, Sizer};
pub use queue::Room;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::component::{Exporter, Reason};
use super::compute::{Compute, Panicked, guard_async};
use super::fanout::Shared;
use super::kill::Kills;
use super::readiness::Readiness;
use super::spec::{BuiltExporter, Unit};
use super::spending::Account;
use crate::telemetry::{Component, ExporterMetrics, Kind, Metrics, SeldomEach, Signal};
use outage::Outage;
use queue::Queue;

/// At most one line of drops for a reason in so long a time.
const DROPS_EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// One exporter with everything in front of it.
pub struct Sink {
    id: Arc<str>,
    /// An exporter of two kinds of data has two sinks, each with a queue of its own.
    signal: Signal,
    config: SinkConfig,
    unit: Unit,
    exporter: Arc<dyn Exporter>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    numbers: ExporterMetrics,
    compute: Compute,
    readiness: Readiness,
    kills: Kills,
    account: Account,
    outage: Outage,
    /// What the log says of drops, by reason.
    drops: SeldomEach,
    /// One for each request that may be on its way.
    turns: Semaphore,
    /// For the one part that may take memory beyond the budget.
    beyond: Semaphore,
    /// The drain deadline has passed.
    expired: CancellationToken,
}

impl Sink {
    /// A sink that does not run yet.
    pub fn new(id: Arc<str>, signal: Signal, built: BuiltExporter, unit: Unit, shared: &Shared) -> Arc<Self> {
        let numbers = shared.metrics.exporter(&id, signal);
        let consumers = consumers(&built.sink.queue);
        Arc::new(Self {
            queue: Arc::new(Queue::new(built.sink.queue.clone(), numbers.clone())),
            config: built.sink,
            exporter: built.exporter,
            turns: Semaphore::new(consumers),
            beyond: Semaphore::new(1),
            expired: CancellationToken::new(),
            account: shared.spending.account(&id),
            id,
            signal,
            unit,
            metrics: shared.metrics.clone(),
            numbers,
            compute: shared.delivery.clone(),
            readiness: shared.readiness.clone(),
            kills: shared.kills.clone(),
            outage: Outage::default(),
            drops: SeldomEach::every(DROPS_EVERY),
        })
    }

    /// Id of the exporter.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The kind of data that it takes.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// Its id, with what it is.
    pub fn component(&self) -> Component {
        Kind::Exporter.named(self.id.clone())
    }

    /// Whether senders hear 503 when there is no room here.
    pub fn required(&self) -> bool {
        // without a queue there is nowhere to put it: whoever sends has to keep it
        self.config.required || !self.config.queue.enabled
    }

    /// Room for batches, before any sink takes one.
    pub fn reserve(&self, batches: &[Batch]) -> Option<Room> {
        self.queue.reserve(batches)
    }

    /// Whether nothing more finds room until something goes.
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Takes batches into the room reserved for them; without room they are dropped and counted.
    pub fn take(&self, batches: Vec<Batch>, mut room: Option<Room>) {
        for batch in batches {
            match &mut room {
                Some(room) => self.put(room, batch),
                None => self.turn_away(&batch, Reason::QueueFull),
            }
        }
    }

    /// Takes a batch once there is room for it. If there is none until then, it is dropped and counted with that reason.
    pub async fn take_until(&self, until: Instant, late: Reason, batch: Batch) {
        let one = std::slice::from_ref(&batch);
        if self.is_killed() {
            return self.discard(one);
        }
        match self.queue.reserve_until(until, one).await {
            Some(mut room) => self.put(&mut room, batch),
            None => self.turn_away(&batch, late),
        }
    }

    fn put(&self, room: &mut Room, batch: Batch) {
        self.accept(&batch);
        if let Err(batch) = room.put(batch) {
            self.lose(&batch, Reason::Shutdown);
        }
    }

    fn turn_away(&self, batch: &Batch, reason: Reason) {
        self.accept(batch);
        self.numbers.enqueue_failed.add(batch.items());
        self.lose(batch, reason);
    }

    /// Whether it is killed: nothing is to come to it, and nobody waits for its room.
    pub fn is_killed(&self) -> bool {
        self.kills.closes(&self.id)
    }

    /// Takes batches, and drops them as killed.
    pub fn discard(&self, batches: &[Batch]) {
        for batch in batches {
            self.accept(batch);
            self.lose(batch, Reason::Killed);
        }
    }

    fn accept(&self, batch: &Batch) {
        let weight = batch.weight();
        self.numbers.accepted.add(weight);
        self.numbers.in_flight.add(weight);
        batch.followers().taken(&self.id, self.required());
    }

    /// Sends until input has ended and everything is through, or until it [`expire`](Self::expire)s.
    pub async fn run(self: Arc<Self>) -> Result<(), Panicked> {
        let mut running = JoinSet::new();
        for _ in 0..self.consumers() {
            running.spawn(guard_async(self.clone().consume()));
        }
        let mut ended = Ok(());
        while let Some(consumer) = running.join_next().await {
            // exporters are guarded call by call: this would be the engine's own fault
            ended = ended.and(consumer.unwrap_or(Ok(())));
        }
        if let Err(panicked) = guard_async(self.exporter.close()).await {
            self.panicked(&panicked.fingerprint);
        }
        self.queue.retire();
        ended
    }

    /// No more input.
    pub fn close(&self) {
        self.queue.close();
    }

    /// The deadline passed: what is left is counted as lost.
    pub fn expire(&self) {
        self.expired.cancel();
        for batch in self.queue.drain() {
            self.lose(&batch, Reason::Shutdown);
        }
    }

    fn consumers(&self) -> usize {
        consumers(&self.config.queue)
    }

    async fn consume(self: Arc<Self>) {
        while let Some(taken) = self.queue.take().await {
            self.deliver(taken.batches).await;
            self.queue.done(taken.bytes);
        }
    }

    /// Counts a batch that will not arrive.
    fn lose(&self, batch: &Batch, reason: Reason) {
        batch.followers().lost(&self.id, self.required(), reason);
        let counted = batch.followers().counted_as(reason);
        self.count_lost(batch.weight(), batch.items(), counted);
    }

    fn count_lost(&self, number: u64, items: u64, reason: Reason) {
        self.metrics
            .dropped(&self.component(), self.signal, reason.label(), number);
        self.numbers.in_flight.sub(number);
        if !matches!(reason, Reason::QueueFull | Reason::ReadAgain | Reason::Killed) {
            self.numbers.send_failed.add(items);
        }
        if reason == Reason::ReadAgain {
            return;
        }
        let reason = reason.label();
        if let Some(number) = self.drops.happened(reason, number) {
            match self.signal {
                Signal::Profiles => tracing::warn!(exporter = %self.id, reason, profiles = number, "profiles dropped"),
                Signal::Traces => tracing::warn!(exporter = %self.id, reason, spans = number, "spans dropped"),
            }
        }
    }

    fn panicked(&self, fingerprint: &str) {
        self.metrics.panicked(&self.component(), fingerprint);
        self.readiness.panicked(&self.component());
        tracing::error!(exporter = %self.id, fingerprint, "exporter panicked");
    }
}

/// Requests on their way at once.
fn consumers(queue: &QueueConfig) -> usize {
    match queue.enabled {
        true => queue.num_consumers.clamp(1, Semaphore::MAX_PERMITS),
        false => 1,
    }
}
