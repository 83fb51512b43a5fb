//! The processors of one pipeline, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use tokio::sync::Notify;

use super::batch::Batch;
use super::component::{Context, Processor, Reason, Refusal, Verdict};
use super::compute::guard;
use super::follow::Followers;
use super::readiness::Readiness;
use crate::telemetry::{Component, Kind, Metrics, Signal};

/// One processor of a chain.
pub struct Stage {
    /// Its id.
    pub id: Arc<str>,
    /// The processor.
    pub processor: Box<dyn Processor>,
    /// Whether it keeps batches for later: it gets them only when their request is taken.
    pub holds: bool,
}

impl Stage {
    fn component(&self) -> Component {
        Kind::Processor.named(self.id.clone())
    }
}

/// Runs batches through processors and counts, from outside, what went in, came out and stayed.
pub struct Chain {
    signal: Signal,
    stages: Vec<Stage>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    /// Nobody will ask what is due any more: what would be held back goes on.
    ends: AtomicBool,
    held: Notify,
}

/// What came of one batch.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What goes on to the exporters, compact.
    pub batches: Vec<Batch>,
    /// Received profiles, or spans, that stayed.
    pub rejected: u64,
    /// Why the first of them did.
    pub message: String,
    /// What stayed where, and why. This and `items` are counted by [`Chain::settle`] once it is certain that the sender will not
    /// send it again.
    pub stayed: Vec<(Component, Reason, u64)>,
    /// Samples, or spans, that went into and came out of processors.
    items: Vec<(Arc<str>, Edge, u64)>,
    /// A processor refused.
    pub refusal: Option<Refusal>,
    /// What processors are to hold back once the request is taken: see [`Chain::hold`].
    pub to_hold: Vec<(Place, Batch)>,
}

/// Where in a chain something waits.
#[derive(Clone, Copy, Debug)]
pub struct Place(usize);

/// Whether somebody waits for an answer, and may still be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Waits,
    HasAnswer,
}

/// A side of a processor.
#[derive(Clone, Copy, Debug)]
enum Edge {
    Incoming,
    Outgoing,
}

impl Outcome {
    fn stay(&mut self, stage: &Stage, followers: &Followers, number: u64, reason: Reason) {
        if number == 0 {
            return;
        }
        if matches!(reason, Reason::Panic | Reason::FailedClosed) {
            followers.stayed();
        }
        self.rejected += number;
        self.stayed.push((stage.component(), reason, number));
        if self.message.is_empty() {
            self.message = format!("{} did not let everything pass: {}", stage.id, reason.label());
        }
    }

    /// Adds what came of another batch of the same request.
    pub fn append(&mut self, mut other: Self) {
        self.batches.append(&mut other.batches);
        self.stayed.append(&mut other.stayed);
        self.items.append(&mut other.items);
        self.to_hold.append(&mut other.to_hold);
        self.rejected += other.rejected;
        if self.message.is_empty() {
            self.message = other.message;
        }
    }
}

impl Chain {
    /// A chain of `stages` for one kind of data.
    pub fn new(signal: Signal, stages: Vec<Stage>, metrics: Arc<Metrics>, readiness: Readiness) -> Self {
        Self {
            signal,
            stages,
            metrics,
            readiness,
            ends: AtomicBool::new(false),
            held: Notify::new(),
        }
    }

    /// Runs one batch through all processors, up to the first that holds it back.
    pub fn run(&self, batch: Batch) -> Outcome {
        let mut outcome = Outcome::default();
        self.run_from(0, batch, Sender::Waits, &mut outcome);
        outcome
    }

    /// Gives processors what they are to hold back, of a request that is taken. What goes on all the same is in the outcome.
    pub fn hold(&self, to_hold: Vec<(Place, Batch)>) -> Outcome {
        let mut outcome = Outcome::default();
        for (Place(at), batch) in to_hold {
            self.run_from(at, batch, Sender::HasAnswer, &mut outcome);
        }
        if self.ends.load(Ordering::SeqCst) {
            self.flush_into(true, &mut outcome);
        }
        self.settle(&outcome);
        self.held.notify_one();
        outcome
    }

    /// Waits until something is held back. Several may wait only while one takes the other's place: one is told.
    pub(super) async fn held(&self) {
        self.held.notified().await;
    }

    /// From now on nothing is held back; what is, has to be [flushed](Self::flush).
    pub fn hold_no_more(&self) {
        self.ends.store(true, Ordering::SeqCst);
    }

    /// When the first batch held back must go on.
    pub fn due(&self) -> Option<Instant> {
        self.stages
            .iter()
            .filter_map(|stage| guard(|| stage.processor.due()).ok().flatten())
            .min()
    }

    /// Sends on what was held back and is due, or all of it.
    pub fn flush(&self, all: bool) -> Outcome {
        let mut outcome = Outcome::default();
        self.flush_into(all, &mut outcome);
        self.settle(&outcome);
        outcome
    }

    fn flush_into(&self, all: bool, outcome: &mut Outcome) {
        for (at, stage) in self.stages.iter().enumerate() {
            let flushed = match guard(|| stage.processor.flush(all)) {
                Ok(flushed) => flushed,
                Err(panicked) => {
                    self.metrics.panicked(&stage.component(), &panicked.fingerprint);
                    self.readiness.panicked(&stage.component());
                    continue;
                }
            };
            for batch in flushed {
                self.metrics.outgoing(&stage.id, batch.items());
                self.run_from(at + 1, batch, Sender::HasAnswer, outcome);
            }
        }
    }

    /// Counts what went through and what stayed.
    pub fn settle(&self, outcome: &Outcome) {
        for (stage, reason, number) in &outcome.stayed {
            self.metrics.dropped(stage, self.signal, reason.label(), *number);
        }
        for (stage, edge, items) in &outcome.items {
            match edge {
                Edge::Incoming => self.metrics.incoming(stage, *items),
                Edge::Outgoing => self.metrics.outgoing(stage, *items),
            }
        }
    }

    fn run_from(&self, first: usize, batch: Batch, sender: Sender, outcome: &mut Outcome) {
        let cx = Context { now: SystemTime::now() };
        let mut here = vec![batch];
        for (at, stage) in self.stages.iter().enumerate().skip(first) {
            if stage.holds && sender == Sender::Waits {
                outcome.to_hold.extend(here.into_iter().map(|batch| (Place(at), batch)));
                return;
            }
            let mut next = Vec::with_capacity(here.len());
            for batch in here {
                self.step(stage, batch, &cx, sender, &mut next, outcome);
                if outcome.refusal.is_some() {
                    return;
                }
            }
            here = next;
        }
        for batch in &mut here {
            batch.compact();
        }
        outcome.batches.append(&mut here);
    }

    fn step(
        &self,
        stage: &Stage,
        batch: Batch,
        cx: &Context,
        sender: Sender,
        next: &mut Vec<Batch>,
        outcome: &mut Outcome,
    ) {
        let (weight, followers) = (batch.weight(), batch.followers().clone());
        outcome.items.push((stage.id.clone(), Edge::Incoming, batch.items()));
        let audit = &self.metrics.audit;
        // what a panic leaves behind
        let (bytes, marker) = (batch.held_bytes(), audit.marker());
        let received = batch.received().filter(|_| marker.is_some()).cloned();
        let verdict = match guard(|| stage.processor.process(batch, cx)) {
            Ok(verdict) => verdict,
            Err(panicked) => {
                self.metrics.panicked(&stage.component(), &panicked.fingerprint);
                let mark = marker
                    .zip(received)
                    .map(|(marker, received)| marker.mark(&received.bytes));
                let reason = format!("panicked at {}", panicked.fingerprint);
                audit.refused(&stage.id, bytes, &reason, mark.as_deref());
                self.readiness.panicked(&stage.component());
                tracing::error!(component = %stage.id, fingerprint = panicked.fingerprint, "processor panicked; its batch was dropped");
                return outcome.stay(stage, &followers, weight, Reason::Panic);
            }
        };
        self.readiness.worked(&stage.component());
        match verdict {
            Verdict::Pass { batch, rejected } => {
                let (stayed, reason) = rejected.unwrap_or((0, Reason::Filtered));
                let batch = without(batch, weight, stayed);
                outcome.stay(stage, &followers, stayed, reason);
                self.go_on(stage, batch, reason, next, outcome);
            }
            Verdict::Split(parts) | Verdict::Hold(parts) => {
                for part in parts {
                    self.go_on(stage, part, Reason::Filtered, next, outcome);
                }
            }
            Verdict::Drop(reason) => outcome.stay(stage, &followers, weight, reason),
            Verdict::Refuse(refusal) if sender == Sender::Waits => outcome.refusal = Some(refusal),
            // there is nobody to come again
            Verdict::Refuse(Refusal::OverRate { .. }) => {
                outcome.stay(stage, &followers, weight, Reason::RateLimited);
            }
            Verdict::Refuse(_) => outcome.stay(stage, &followers, weight, Reason::FailedClosed),
        }
    }

    fn go_on(&self, stage: &Stage, batch: Batch, reason: Reason, next: &mut Vec<Batch>, outcome: &mut Outcome) {
        if batch.is_empty() {
            return outcome.stay(stage, batch.followers(), batch.weight(), reason);
        }
        outcome.items.push((stage.id.clone(), Edge::Outgoing, batch.items()));
        next.push(batch);
    }
}

/// The engine keeps the books: a processor that left the weight as it was has it reduced by what stayed.
fn without(batch: Batch, before: u64, stayed: u64) -> Batch {
    if batch.weight() == before {
        return batch.with_weight(before.saturating_sub(stayed));
    }
    batch
}
