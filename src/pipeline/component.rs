//! The three kinds of component, and the words they speak to the engine.
//!
//! Receivers and exporters wait on the network; processors are synchronous CPU work that runs on the compute pool.

use std::time::Duration;

use async_trait::async_trait;

use super::batch::Batch;
use super::budget::OutOfBudget;
use super::outlet::Outlet;
use super::spec::BuildError;
use super::stop::Stop;
use crate::formats::any::AnyError;
use crate::formats::{CompressError, DecodeError, Fault, Limit, UnknownFormat};
use crate::telemetry::Signal;

/// Brings profiles in.
#[async_trait]
pub trait Receiver: Send {
    /// Runs until `stop` is asked for and everything taken on has been handed to `out`.
    ///
    /// Binding happens here, so that building a pipeline opens no socket. Call [`Outlet::ready`] once requests are served.
    async fn run(self: Box<Self>, out: Outlet, stop: Stop) -> Result<(), ReceiverError>;

    /// What this machine lacks that it needs: as [`Exporter::check_machine`].
    fn check_machine(&self) -> Result<(), BuildError> {
        Ok(())
    }

    /// What it looks for and is not there yet, such as a directory: `validate` warns of it, and everything starts.
    fn awaits(&self) -> Vec<BuildError> {
        Vec::new()
    }
}

/// A receiver that cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReceiverError(pub String);

/// What became of a batch that the pipeline took: the answer is OK, perhaps with a partial success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Profiles, or spans, that did not pass, by defect or by policy.
    pub rejected: u64,
    /// Why, for the sender. Never text of the payload.
    pub message: String,
}

/// A batch that the pipeline did not take. `net` maps it to gRPC and HTTP, in one function each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are wrong: 400, do not resend.
    #[error("{0}")]
    Invalid(String),
    /// Too large, also after decompression: 413, split.
    #[error("{why}")]
    TooLarge {
        /// What it is larger than.
        limit: Limit,
        /// The same in words.
        why: String,
    },
    /// A media type or encoding that is not spoken: 415.
    #[error("{0}")]
    Unsupported(String),
    /// No or wrong credentials: 401.
    #[error("{0}")]
    Unauthenticated(String),
    /// More than this sender may send: 429, wait.
    #[error("{why}")]
    OverRate {
        /// What there is too much of.
        why: &'static str,
        /// When to come back.
        after: Duration,
    },
    /// No room, or stopping: 503, wait.
    #[error("{why}")]
    Unavailable {
        /// What there is no room for.
        why: &'static str,
        /// When to come back.
        after: Duration,
    },
}

impl Refusal {
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::TooLarge { .. } => "too_large",
            Self::Unsupported(_) => "unsupported",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::OverRate { .. } => "over_rate",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

/// When a sender that found no room should come back.
const COME_BACK: Duration = Duration::from_secs(1);

impl Refusal {
    /// Whether the same may be taken later.
    pub const fn is_for_now(&self) -> bool {
        matches!(self, Self::OverRate { .. } | Self::Unavailable { .. })
    }

    /// No room, for now.
    pub const fn no_room(why: &'static str) -> Self {
        Self::Unavailable { why, after: COME_BACK }
    }

    /// More than a limit allows.
    pub fn too_large(limit: Limit, why: impl Into<String>) -> Self {
        Self::TooLarge { limit, why: why.into() }
    }
}

impl From<OutOfBudget> for Refusal {
    fn from(error: OutOfBudget) -> Self {
        match error {
            OutOfBudget::Full => Self::no_room("no room in the memory budget"),
            OutOfBudget::TooLarge { .. } => Self::too_large(Limit::Memory, error.to_string()),
        }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        match error.fault {
            Fault::Malformed | Fault::Unsupported => Self::Invalid(error.to_string()),
            Fault::TooLarge(limit) => Self::too_large(limit, error.to_string()),
            Fault::NoRoom(why) => why.into(),
        }
    }
}

impl From<UnknownFormat> for Refusal {
    fn from(error: UnknownFormat) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<CompressError> for Refusal {
    fn from(error: CompressError) -> Self {
        match error.fault() {
            Fault::Malformed => Self::Invalid(error.to_string()),
            Fault::TooLarge(limit) => Self::too_large(limit, error.to_string()),
            Fault::NoRoom(why) => why.into(),
            Fault::Unsupported => Self::Unsupported(error.to_string()),
        }
    }
}

impl From<AnyError> for Refusal {
    fn from(error: AnyError) -> Self {
        match error {
            AnyError::Compress(error) => error.into(),
            AnyError::Unknown(error) => error.into(),
            AnyError::Decode(error) => error.into(),
        }
    }
}

/// Changes, splits, drops or holds batches. Pure CPU: it never waits, and reads only snapshots of the outside.
pub trait Processor: Send + Sync {
    /// Decides about one batch.
    ///
    /// Where its row says that it [`holds`](super::spec::ProcessorSpec::holds), it gets a batch only when the whole request is
    /// taken: it cannot refuse any more, and what it says of it the sender does not hear.
    fn process(&self, batch: Batch, cx: &Context) -> Verdict;

    /// When a batch held back must go on; only for processors that answer [`Verdict::Hold`].
    fn due(&self) -> Option<std::time::Instant> {
        None
    }

    /// Batches held back whose time has come, or all of them at shutdown. They run the rest of the chain.
    fn flush(&self, _all: bool) -> Vec<Batch> {
        Vec::new()
    }

    /// What this machine lacks that it needs: as [`Exporter::check_machine`].
    fn check_machine(&self) -> Result<(), BuildError> {
        Ok(())
    }

    /// What it looks for and is not there yet, or cannot be used, or may be meant otherwise: `validate` warns of it, and everything
    /// starts.
    fn awaits(&self) -> Vec<BuildError> {
        Vec::new()
    }
}

/// What a processor may look at besides the batch.
#[derive(Clone, Debug)]
pub struct Context {
    /// When the chain began with this batch.
    pub now: std::time::SystemTime,
}

/// What a processor decided.
#[derive(Debug)]
pub enum Verdict {
    /// Goes on. `rejected` profiles of it stay here, for the reason given.
    Pass {
        /// What goes on.
        batch: Batch,
        /// What does not.
        rejected: Option<(u64, Reason)>,
    },
    /// Goes on in several parts, whose weights sum up to that of the whole.
    Split(Vec<Batch>),
    /// Kept, and comes out of [`Processor::flush`] later. What is not kept, or gives way to what is, goes on now.
    Hold(Vec<Batch>),
    /// Dropped whole, and the sender gets OK.
    Drop(Reason),
    /// Refused: the sender is told.
    Refuse(Refusal),
}

impl Verdict {
    /// Goes on whole.
    pub fn pass(batch: Batch) -> Self {
        Self::Pass { batch, rejected: None }
    }
}

/// Why profiles were dropped. Every reason is enumerated: it is a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Defective in a request whose other profiles passed.
    Defective,
    /// A `filter` rule.
    Filtered,
    /// The kill switch.
    Killed,
    /// More than a `rate_limit` lets pass.
    RateLimited,
    /// More than a `budget` has room for.
    OverBudget,
    /// No pipeline's `when:` took it.
    Unrouted,
    /// A processor could not apply its rule, so the batch did not pass.
    FailedClosed,
    /// A component panicked.
    Panic,
    /// The exporter's queue was full.
    QueueFull,
    /// The backend refused for good.
    Permanent,
    /// Retries were used up.
    RetriesExhausted,
    /// One part alone is larger than the backend takes.
    TooLarge,
    /// The backend took the request but rejected these.
    RejectedByBackend,
    /// Still queued when the drain deadline passed.
    Shutdown,
    /// The same of what its receiver keeps until it has arrived: it is not lost, but read again.
    ReadAgain,
    /// The backend's format cannot hold it.
    Unrepresentable,
}

impl Reason {
    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Defective => "defective",
            Self::Filtered => "filtered",
            Self::Killed => "killed",
            Self::RateLimited => "rate_limited",
            Self::OverBudget => "over_budget",
            Self::Unrouted => "unrouted",
            Self::FailedClosed => "failed_closed",
            Self::Panic => "panic",
            Self::QueueFull => "queue_full",
            Self::Permanent => "permanent",
            Self::RetriesExhausted => "retries_exhausted",
            Self::TooLarge => "too_large",
            Self::RejectedByBackend => "rejected_by_backend",
            Self::Shutdown => "shutdown",
            Self::ReadAgain => "read_again",
            Self::Unrepresentable => "unrepresentable",
        }
    }
}

/// Takes profiles out. Queue, merge, split, retry, timeout and metrics are the engine's.
#[async_trait]
pub trait Exporter: Send + Sync {
    /// The bytes that would be sent for `part`: the sink cuts parts so that they stay under the exporter's limit,
    /// and passes them to [`export`](Self::export), which therefore never encodes. CPU work, on the compute pool.
    fn encode(&self, part: &Batch) -> Result<Encoded, ExportError>;

    /// Sends one encoded part: one call is one request.
    async fn export(&self, part: &Batch, encoded: Encoded) -> Result<Sent, ExportError>;

    /// Where it sends this kind of data to, for the log: never credentials.
    fn destination(&self, _signal: Signal) -> String {
        String::new()
    }

    /// What its configuration lacks to take this kind of data.
    fn check_signal(&self, _signal: Signal) -> Result<(), BuildError> {
        Ok(())
    }

    /// What this machine lacks that it needs, such as a folder that can be written: `validate` warns of it, and nothing starts.
    /// Changes nothing, and asks no other machine.
    fn check_machine(&self) -> Result<(), BuildError> {
        Ok(())
    }

    /// Finishes what it holds open (files); called once, after the last export.
    async fn close(&self) {}
}

/// A part in the form its exporter sends.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    /// Body of the request, compressed if so configured.
    pub body: bytes::Bytes,
    /// Size that the backend's limit is about: before compression.
    pub plain_bytes: usize,
}

/// What a backend did with a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Profiles, or spans, of the part that it did not keep.
    pub rejected: u64,
}

/// Why a part did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// Not now: the engine tries again, after the time the backend named, if it did.
    #[error("{why}")]
    Retry {
        /// What the backend or the network said; never a header or token.
        why: String,
        /// The backend's hint.
        after: Option<Duration>,
    },
    /// Never: trying again would fail again.
    #[error("{why}")]
    Permanent {
        /// What the backend said; never a header or token.
        why: String,
    },
    /// Too large for the backend: the engine halves it and tries both.
    #[error("the backend calls it too large")]
    TooLarge,
    /// The backend's format cannot hold it.
    #[error("{why}")]
    Unrepresentable {
        /// What does not fit.
        why: String,
    },
}
