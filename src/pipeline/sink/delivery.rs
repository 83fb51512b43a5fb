//! From what was taken out of the queue to the backend's word on every part of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::parts::Part;
use super::{BatchConfig, Sink, parts};
use crate::pipeline::batch::Batch;
use crate::pipeline::component::{Encoded, ExportError, Reason, Sent};
use crate::pipeline::compute::{Panicked, guard_async};
use crate::pipeline::kill::{Judged, Struck};
use crate::telemetry::{Amount, Signal};

/// A backend that calls so little too large, before compression, does so whatever it gets: halves would only be more requests.
const SMALL: usize = 64 << 10;

/// How one part ended.
enum End {
    Sent(Sent),
    Halve,
    Lost(Reason),
}

impl Sink {
    /// Delivers batches that may be merged. Each part is retried on its own, so what arrived is never sent again, and a part
    /// that waits for its next attempt does not hold up the others.
    pub(super) async fn deliver(self: &Arc<Self>, batches: Vec<Batch>) {
        let mut waiting = self.prepare(batches).await;
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < self.consumers() {
                let Some(part) = waiting.pop_front() else { break };
                under_way.push(self.deliver_or_halve(part));
            }
            match under_way.next().await {
                Some(halves) => halves.into_iter().rev().for_each(|half| waiting.push_front(half)),
                None => return,
            }
        }
    }

    /// One part to its end, or the halves of one that was too large.
    async fn deliver_or_halve(&self, part: Part) -> Vec<Part> {
        if self.expired.is_cancelled() {
            self.lose_part(&part, Reason::Shutdown);
            return Vec::new();
        }
        let most = self.config.queue.batch.as_ref().map_or(0, BatchConfig::most_samples);
        let (end, bytes) = match most > 0 && part.items() > most {
            true => (End::Halve, 0),
            false => self.deliver_part(&part).await,
        };
        match end {
            End::Sent(sent) => self.arrived(&part, &sent, bytes),
            End::Lost(reason) => self.lose_part(&part, reason),
            End::Halve => match part.halve().filter(|_| !part.is_outgrown()) {
                Some(halves) => return halves,
                None => self.lose_part(&part, Reason::TooLarge),
            },
        }
        Vec::new()
    }

    /// The parts of batches that may be merged.
    async fn prepare(self: &Arc<Self>, batches: Vec<Batch>) -> VecDeque<Part> {
        let batches = self.spared(batches).await;
        let (unit, bytes) = (self.unit, batches.iter().map(Batch::held_bytes).sum());
        let whole = batches.clone();
        let job = move || {
            let merged = if batches.len() > 1 {
                parts::merge(&batches)
            } else {
                None
            };
            let whole = merged.map_or(batches, |merged| vec![merged]);
            whole.into_iter().flat_map(|batch| parts::cut(batch, unit)).collect()
        };
        match self.compute.run(bytes, job).await {
            Ok(parts) => parts,
            Err(panicked) => {
                self.panicked(&panicked.fingerprint);
                whole.iter().for_each(|batch| self.lose(batch, Reason::Panic));
                VecDeque::new()
            }
        }
    }

    /// What is left of batches without what was killed since they came.
    async fn spared(self: &Arc<Self>, batches: Vec<Batch>) -> Vec<Batch> {
        if !self.kills.is_any() {
            return batches;
        }
        let bytes = batches.iter().map(Batch::held_bytes).sum();
        let (sink, whole) = (self.clone(), batches.clone());
        let job = move || -> Vec<Struck> { batches.into_iter().map(|batch| sink.strike(batch)).collect() };
        match self.compute.run(bytes, job).await {
            Ok(struck) => struck.into_iter().filter_map(|struck| self.settle(struck)).collect(),
            Err(panicked) => {
                self.panicked(&panicked.fingerprint);
                whole.iter().for_each(|batch| self.lose(batch, Reason::Panic));
                Vec::new()
            }
        }
    }

    fn strike(&self, batch: Batch) -> Struck {
        let mut struck = self.kills.strike(batch, Some(&self.id));
        if let Some(left) = struck.batch.as_mut().filter(|_| struck.profiles + struck.samples > 0) {
            // no text of what is killed stays in the dictionary
            left.compact();
        }
        struck
    }

    /// Counts what was killed.
    fn settle(&self, struck: Struck) -> Option<Batch> {
        if struck.is_any() {
            struck.followers.lost(&self.id, self.required(), Reason::Killed);
            self.count_lost(struck.profiles, struck.samples, Reason::Killed);
        }
        struck.batch
    }

    /// How a part ends before it is sent, or sent again, because of what is killed by now.
    fn killed(&self, part: &Batch) -> Option<End> {
        match self.kills.judge(part, &self.id) {
            Judged::Spared => None,
            // some half is spared, or a half of that
            Judged::Partly => Some(End::Halve),
            Judged::Whole => Some(End::Lost(Reason::Killed)),
        }
    }

    /// Waits until the whole part is killed.
    async fn until_killed(&self, part: &Batch) {
        self.kills
            .until(|| self.kills.judge(part, &self.id) == Judged::Whole)
            .await;
    }

    /// A part as a batch, cut out of its whole when its turn comes. Where there is no memory for it, one at a time gets in all
    /// the same: what was accepted cannot be refused any more.
    async fn batch(&self, part: &Part) -> Result<(Batch, Option<SemaphorePermit<'_>>), End> {
        if let Some(whole) = part.whole() {
            return Ok((whole.clone(), None));
        }
        let mut scratch = part.turn().await;
        let (permit, most) = (part.permit(), part.most_bytes());
        let beyond = match permit.grow(most) {
            Ok(()) => None,
            Err(_) => {
                // the semaphore is never closed
                let beyond = self.beyond.acquire().await.ok();
                permit.hold(most);
                beyond
            }
        };
        let own = part.clone();
        match self.compute.run(most, move || own.batch(&mut scratch, permit)).await {
            Ok(Some(batch)) => Ok((batch, beyond)),
            // a part always holds a profile
            Ok(None) => Err(End::Lost(Reason::TooLarge)),
            Err(panicked) => Err(self.after_panic(&panicked)),
        }
    }

    async fn deliver_part(&self, part: &Part) -> (End, usize) {
        if part.is_outgrown() {
            tracing::warn!(exporter = %self.id, "given up: the batch becomes many times its own size");
            return (End::Lost(Reason::TooLarge), 0);
        }
        match self.batch(part).await {
            Ok((batch, _beyond)) => self.deliver_batch(part, &batch).await,
            Err(end) => (end, 0),
        }
    }

    async fn deliver_batch(&self, of: &Part, part: &Batch) -> (End, usize) {
        if let Some(end) = self.killed(part) {
            return (end, 0);
        }
        let (exporter, batch) = (self.exporter.clone(), part.clone());
        let encoding = self.compute.run(part.held_bytes(), move || exporter.encode(&batch));
        let encoded = match encoding.await {
            Ok(Ok(encoded)) => encoded,
            Ok(Err(ExportError::TooLarge)) => return (End::Halve, 0),
            // encoding again would fail again
            Ok(Err(error)) => return (self.given_up(&error), 0),
            Err(panicked) => return (self.after_panic(&panicked), 0),
        };
        of.encoded(encoded.plain_bytes);
        if encoded.plain_bytes > self.config.most_bytes() {
            return (End::Halve, 0);
        }
        let bytes = encoded.body.len();
        let body = part.permit().sibling();
        if !part.shares(&encoded.body) {
            body.hold(bytes);
        }
        self.numbers.in_flight_requests.add(1);
        let end = self.send(part, encoded).await;
        self.numbers.in_flight_requests.sub(1);
        (end, bytes)
    }

    async fn send(&self, part: &Batch, encoded: Encoded) -> End {
        let mut backoff = Backoff::new(&self.config.retry);
        let is_small = encoded.plain_bytes <= SMALL;
        loop {
            if let Some(end) = self.killed(part) {
                return end;
            }
            let hint = match self.attempt(part, encoded.clone()).await {
                Err(cut) => return End::Lost(cut),
                Ok(Err(panicked)) => return self.after_panic(&panicked),
                Ok(Ok(Ok(sent))) => {
                    self.tell_recovery();
                    return End::Sent(sent);
                }
                Ok(Ok(Err(ExportError::Retry { why, after }))) => {
                    self.tell_failure(&why);
                    after
                }
                Ok(Ok(Err(ExportError::TooLarge))) if is_small => return End::Lost(Reason::TooLarge),
                Ok(Ok(Err(ExportError::TooLarge))) => return End::Halve,
                Ok(Ok(Err(error))) => return self.given_up(&error),
            };
            let Some(wait) = backoff.next(hint) else {
                return End::Lost(Reason::RetriesExhausted);
            };
            self.numbers.retries.inc();
            tokio::select! {
                () = self.expired.cancelled() => return End::Lost(Reason::Shutdown),
                () = self.until_killed(part) => return End::Lost(Reason::Killed),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One attempt within its time; or why it was cut short: the deadline of the whole process passed, or the part was killed.
    async fn attempt(
        &self,
        part: &Batch,
        encoded: Encoded,
    ) -> Result<Result<Result<Sent, ExportError>, Panicked>, Reason> {
        let export = async {
            // the semaphore is never closed
            let _turn = self.turns.acquire().await.ok();
            let attempt = guard_async(self.exporter.export(part, encoded));
            match self.config.timeout.0 {
                Duration::ZERO => Ok(attempt.await),
                longest => tokio::time::timeout(longest, attempt).await,
            }
        };
        tokio::select! {
            () = self.expired.cancelled() => Err(Reason::Shutdown),
            () = self.until_killed(part) => Err(Reason::Killed),
            done = export => Ok(done.unwrap_or_else(|_| {
                Ok(Err(ExportError::Retry { why: "no answer within the timeout".to_owned(), after: None }))
            })),
        }
    }

    fn tell_failure(&self, why: &str) {
        let destination = self.exporter.destination(self.signal);
        match self.outage.failed(Instant::now()) {
            Some(failed) => {
                tracing::warn!(exporter = %self.id, destination, why, failed, "attempt failed; will be retried");
            }
            None => tracing::debug!(exporter = %self.id, destination, why, "attempt failed"),
        }
    }

    fn tell_recovery(&self) {
        if self.outage.recovered() {
            tracing::info!(exporter = %self.id, destination = self.exporter.destination(self.signal), "delivers again");
        }
    }

    /// What cannot arrive however often it is sent.
    fn given_up(&self, error: &ExportError) -> End {
        tracing::warn!(exporter = %self.id, why = %error, "given up");
        match error {
            ExportError::Unrepresentable { .. } => End::Lost(Reason::Unrepresentable),
            _ => End::Lost(Reason::Permanent),
        }
    }

    fn after_panic(&self, panicked: &Panicked) -> End {
        self.panicked(&panicked.fingerprint);
        End::Lost(Reason::Panic)
    }

    fn lose_part(&self, part: &Part, reason: Reason) {
        part.followers().lost(&self.id, self.required(), reason);
        let counted = part.followers().counted_as(reason);
        self.count_lost(part.weight(), part.samples(), counted);
    }

    fn arrived(&self, part: &Part, sent: &Sent, bytes: usize) {
        self.readiness.worked(&self.component());
        let rejected = sent.rejected.min(part.weight());
        // which profiles a backend rejected it does not say: their samples are an average
        let kept_samples = share(part.samples(), part.weight() - rejected, part.weight());
        if rejected > 0 {
            let (rejected_samples, reason) = (part.samples() - kept_samples, Reason::RejectedByBackend);
            part.followers().lost(&self.id, self.required(), reason);
            self.metrics
                .dropped(&self.component(), self.signal, reason.label(), rejected);
            self.numbers.send_failed.add(rejected_samples);
        }
        self.numbers.in_flight.sub(part.weight());
        let amount = Amount {
            profiles: part.weight() - rejected,
            samples: kept_samples,
            bytes: bytes as u64,
        };
        if self.signal == Signal::Profiles {
            self.account.add(part.tenant(), amount.bytes);
        }
        let age = part.arrived().elapsed().unwrap_or_default();
        self.numbers.delivered(amount, age);
    }
}

/// So many of the whole as `part` is of `all`.
fn share(whole: u64, part: u64, all: u64) -> u64 {
    let shared = u128::from(whole) * u128::from(part) / u128::from(all.max(1));
    if all == 0 {
        whole
    } else {
        u64::try_from(shared).unwrap_or(whole)
    }
}
