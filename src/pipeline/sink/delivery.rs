//! From what was taken out of the queue to the backend's word on every part of it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::backoff::Backoff;
use super::{Sink, parts};
use crate::pipeline::batch::Batch;
use crate::pipeline::chain::samples;
use crate::pipeline::component::{Encoded, ExportError, Reason, Sent};
use crate::pipeline::compute::{Panicked, guard_async};
use crate::telemetry::Amount;

/// How one part ended.
enum End {
    Sent(Sent),
    Halve,
    Lost(Reason),
}

impl Sink {
    /// Delivers batches that may be merged. Each part is retried on its own, so what arrived is never sent again.
    pub(super) async fn deliver(self: &Arc<Self>, batches: Vec<Batch>) {
        let mut parts = self.prepare(batches).await;
        while let Some(part) = parts.pop_front() {
            if self.expired.is_cancelled() {
                self.lose(&part, Reason::Shutdown);
                continue;
            }
            let (end, bytes) = self.deliver_part(&part).await;
            match end {
                End::Sent(sent) => self.arrived(&part, &sent, bytes),
                End::Lost(reason) => self.lose(&part, reason),
                End::Halve => match self.halve(&part).await {
                    Some(halves) => halves.into_iter().rev().for_each(|half| parts.push_front(half)),
                    None => self.lose(&part, Reason::TooLarge),
                },
            }
        }
    }

    async fn prepare(self: &Arc<Self>, batches: Vec<Batch>) -> VecDeque<Batch> {
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

    async fn halve(&self, part: &Batch) -> Option<Vec<Batch>> {
        let whole = part.clone();
        self.compute
            .run(part.held_bytes(), move || parts::halve(&whole))
            .await
            .ok()
            .flatten()
    }

    async fn deliver_part(&self, part: &Batch) -> (End, usize) {
        let (exporter, batch) = (self.exporter.clone(), part.clone());
        let encoding = self.compute.run(part.held_bytes(), move || exporter.encode(&batch));
        let encoded = match encoding.await {
            Ok(Ok(encoded)) if encoded.plain_bytes > self.config.max_request_bytes.as_usize() => {
                return (End::Halve, 0);
            }
            Ok(Ok(encoded)) => encoded,
            Ok(Err(ExportError::TooLarge)) => return (End::Halve, 0),
            // encoding again would fail again
            Ok(Err(ExportError::Unrepresentable { .. })) => return (End::Lost(Reason::Unrepresentable), 0),
            Ok(Err(_)) => return (End::Lost(Reason::Permanent), 0),
            Err(panicked) => return (self.after_panic(&panicked), 0),
        };
        let bytes = encoded.body.len();
        self.numbers.in_flight_requests.add(1);
        let end = self.send(part, encoded).await;
        self.numbers.in_flight_requests.sub(1);
        (end, bytes)
    }

    async fn send(&self, part: &Batch, encoded: Encoded) -> End {
        let mut backoff = Backoff::new(&self.config.retry);
        loop {
            let hint = match self.attempt(part, encoded.clone()).await {
                None => return End::Lost(Reason::Shutdown),
                Some(Err(panicked)) => return self.after_panic(&panicked),
                Some(Ok(Ok(sent))) => return End::Sent(sent),
                Some(Ok(Err(ExportError::Retry { why, after }))) => {
                    tracing::info!(exporter = %self.id, why, "attempt failed");
                    after
                }
                Some(Ok(Err(ExportError::Permanent { why }))) => {
                    tracing::warn!(exporter = %self.id, why, "refused for good");
                    return End::Lost(Reason::Permanent);
                }
                Some(Ok(Err(ExportError::TooLarge))) => return End::Halve,
                Some(Ok(Err(ExportError::Unrepresentable { why }))) => {
                    tracing::warn!(exporter = %self.id, why, "the format cannot hold it");
                    return End::Lost(Reason::Unrepresentable);
                }
            };
            let Some(wait) = backoff.next(hint) else {
                return End::Lost(Reason::RetriesExhausted);
            };
            self.numbers.retries.inc();
            tokio::select! {
                () = self.expired.cancelled() => return End::Lost(Reason::Shutdown),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One attempt within its time; none if the deadline of the whole process passed.
    async fn attempt(&self, part: &Batch, encoded: Encoded) -> Option<Result<Result<Sent, ExportError>, Panicked>> {
        let export = guard_async(self.exporter.export(part, encoded));
        tokio::select! {
            () = self.expired.cancelled() => None,
            done = tokio::time::timeout(self.config.timeout.0, export) => Some(done.unwrap_or_else(|_| {
                Ok(Err(ExportError::Retry { why: "no answer within the timeout".to_owned(), after: None }))
            })),
        }
    }

    fn after_panic(&self, panicked: &Panicked) -> End {
        self.panicked(&panicked.fingerprint);
        End::Lost(Reason::Panic)
    }

    fn arrived(&self, part: &Batch, sent: &Sent, bytes: usize) {
        self.readiness.worked(&self.id);
        let rejected = sent.rejected.min(part.weight());
        if rejected > 0 {
            self.metrics
                .dropped(&self.id, Reason::RejectedByBackend.label(), rejected);
        }
        self.numbers.in_flight_profiles.sub(part.weight());
        let amount = Amount {
            profiles: part.weight() - rejected,
            samples: samples(part),
            bytes: bytes as u64,
        };
        let age = part.origin().arrived.elapsed().unwrap_or_default();
        self.numbers.delivered(amount, age);
    }
}
