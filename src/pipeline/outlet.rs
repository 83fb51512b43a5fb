//! The only way in: what a receiver hands its batches to.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::batch::{Batch, Origin, Received};
use super::budget::{Budget, Permit};
use super::component::{Receipt, Refusal};
use super::follow::{Delivery, Followed};
use super::kill::Kills;
use crate::formats::Decoded;
use crate::formats::otlp::Traces;
use crate::telemetry::{Audit, Signal};

/// The pipelines that one receiver feeds, and what a receiver needs of the engine.
#[derive(Clone)]
pub struct Outlet {
    inner: Arc<dyn Intake>,
}

/// What the engine does for a receiver. One implementation in the engine, fakes in tests.
#[async_trait::async_trait]
pub trait Intake: Send + Sync {
    /// Id of the receiver.
    fn receiver(&self) -> &Arc<str>;
    /// The memory that bodies are read under.
    fn budget(&self) -> &Budget;
    /// Whether a new request should be read at all.
    fn admit(&self) -> Result<(), Refusal>;
    /// Runs on the compute pool: decoding, and the chains right behind it in the same job.
    /// Somebody may follow what becomes of it.
    async fn receive(&self, job: Job, followed: Option<Followed>) -> Result<Receipt, Refusal>;
    /// Work that may outlast the receiver: see [`Outlet::afterwards`].
    fn afterwards(&self, work: Afterwards) {
        tokio::spawn(work);
    }
    /// Counts a request refused before there was anything to decode.
    fn refused(&self, refusal: &Refusal);
    /// Where it is told what was refused; nowhere, unless the engine says so.
    fn audit(&self) -> Option<&Audit> {
        None
    }
    /// What is killed; nothing, unless the engine says so.
    fn kills(&self) -> Kills {
        Kills::default()
    }
    /// Whether there is a pipeline for this kind of data; there is one for profiles, unless the engine says otherwise.
    fn feeds(&self, signal: Signal) -> bool {
        signal == Signal::Profiles
    }
    /// The receiver serves requests from now on.
    fn ready(&self);
    /// Whether requests should be sent to this process.
    fn is_ready(&self) -> bool;
}

/// Decodes one request: CPU work that runs on the compute pool.
pub type Job = Box<dyn FnOnce() -> Result<Vec<Arrival>, Refusal> + Send>;

/// What a receiver does when its deliveries end.
pub type Afterwards = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What one request holds of one decoded payload. `/push` requests hold several.
pub struct Arrival {
    /// What the decoder made of it.
    pub content: Content,
    /// The decompressed bytes it was made of.
    pub received: Received,
    /// Where it came from.
    pub origin: Arc<Origin>,
    /// The memory it holds.
    pub permit: Permit,
}

/// What a decoder made of a request.
pub enum Content {
    /// Profiles.
    Profiles(Decoded),
    /// Spans.
    Traces(Traces),
}

impl Outlet {
    /// Around the engine's side of it.
    pub fn new(inner: Arc<dyn Intake>) -> Self {
        Self { inner }
    }

    /// Id of the receiver.
    pub fn receiver(&self) -> &Arc<str> {
        self.inner.receiver()
    }

    /// The memory that bodies are read under.
    pub fn budget(&self) -> &Budget {
        self.inner.budget()
    }

    /// Whether a new request should be read at all: not while memory is short or work piles up. What is refused is counted.
    pub fn admit(&self) -> Result<(), Refusal> {
        self.inner.admit().inspect_err(|refusal| self.refused(refusal))
    }

    /// As [`Outlet::receive`], for a body as it was read. If it is refused for what it is, the audit trail keeps its size, the
    /// reason and, with a key for that, a fingerprint.
    pub async fn receive_body(
        &self,
        body: Bytes,
        job: impl FnOnce(Bytes) -> Result<Vec<Arrival>, Refusal> + Send + 'static,
    ) -> Result<Receipt, Refusal> {
        let Some(audit) = self.inner.audit().filter(|audit| audit.is_on()) else {
            return self.receive(move || job(body)).await;
        };
        let (bytes, marker) = (body.len(), audit.marker());
        let mark = Arc::new(OnceLock::new());
        let marked = mark.clone();
        let job = move || {
            if let Some(marker) = marker {
                marked.get_or_init(|| marker.mark(&body));
            }
            job(body)
        };
        let answer = self.receive(job).await;
        if let Err(refusal @ (Refusal::Invalid(_) | Refusal::TooLarge { .. } | Refusal::Unsupported(_))) = &answer {
            let mark = mark.get().map(String::as_str);
            audit.refused(self.receiver(), bytes, &refusal.to_string(), mark);
        }
        answer
    }

    /// Decodes on the compute pool and runs the chains right behind it, then hands the batches to the sinks.
    ///
    /// The answer is for the sender: a receipt means OK, with `rejected` profiles if some were defective or not wanted.
    /// The work goes on when the caller goes away: what was accepted is detached from the connection.
    pub async fn receive(
        &self,
        job: impl FnOnce() -> Result<Vec<Arrival>, Refusal> + Send + 'static,
    ) -> Result<Receipt, Refusal> {
        self.inner.receive(Box::new(job), None).await
    }

    /// The same, and the receiver hears what becomes of it: for those that keep the original until it has arrived. They give it a
    /// `mark`, the same if they send it again.
    pub async fn receive_followed(
        &self,
        mark: u64,
        job: impl FnOnce() -> Result<Vec<Arrival>, Refusal> + Send + 'static,
    ) -> Result<(Receipt, Delivery), Refusal> {
        let (followed, delivery) = Followed::new(mark);
        let receipt = self.inner.receive(Box::new(job), Some(followed)).await?;
        Ok((receipt, delivery))
    }

    /// Does what may outlast the receiver: what becomes of its requests is known only when the exporters have ended. The
    /// process waits for it, if only for a moment; so it must end soon after the deliveries that it waits for.
    pub fn afterwards(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.inner.afterwards(Box::pin(work));
    }

    /// Tells the audit trail of so many bytes that are refused for what they are.
    pub fn refused_for_good(&self, bytes: usize, refusal: &Refusal) {
        if let Some(audit) = self.inner.audit().filter(|audit| audit.is_on()) {
            audit.refused(self.receiver(), bytes, &refusal.to_string(), None);
        }
    }

    /// Counts a request refused before there was anything to decode: too large, no credentials, no room.
    pub fn refused(&self, refusal: &Refusal) {
        self.inner.refused(refusal);
    }

    /// What is killed: a receiver that fetches leaves alone what would be discarded.
    pub fn kills(&self) -> Kills {
        self.inner.kills()
    }

    /// Whether there is a pipeline for what it brings of this kind.
    pub fn feeds(&self, signal: Signal) -> bool {
        self.inner.feeds(signal)
    }

    /// Whether requests should be sent to this process: what a health check asks.
    pub fn is_ready(&self) -> bool {
        self.inner.is_ready()
    }

    /// The receiver serves requests from now on. Readiness waits for every receiver to say so.
    pub fn ready(&self) {
        self.inner.ready();
    }
}

impl Arrival {
    /// The batch it becomes, with the permit trued up to what is really held.
    pub fn into_batch(self) -> Batch {
        match self.content {
            Content::Profiles(decoded) => Batch::profiles(decoded, self.received, self.origin, self.permit),
            Content::Traces(traces) => Batch::traces(traces, self.received, self.origin, self.permit),
        }
    }

    /// What the decoder says of the profiles in it; none of spans.
    pub fn decoded(&self) -> Option<&Decoded> {
        match &self.content {
            Content::Profiles(decoded) => Some(decoded),
            Content::Traces(_) => None,
        }
    }
}
