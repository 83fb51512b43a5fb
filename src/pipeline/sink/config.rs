//! The keys every exporter shares, named and set as in the Collector's `exporterhelper`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::spec::BuildError;
use crate::pipeline::units::{ByteSize, Span};

/// How a sink treats its exporter.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// Longest time for one attempt; 0 for no such bound.
    pub timeout: Span,
    /// What happens after a failed attempt.
    pub retry: RetryConfig,
    /// What waits for the exporter.
    pub queue: QueueConfig,
    /// Whether senders hear 503 when this exporter's queue is full.
    pub required: bool,
    /// Largest encoded request, before compression; larger parts are cut.
    pub max_request_bytes: ByteSize,
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            timeout: Span::secs(5),
            retry: RetryConfig::default(),
            queue: QueueConfig::default(),
            required: false,
            max_request_bytes: ByteSize::mib(64),
        }
    }
}

impl SinkConfig {
    /// What no exporter can work with.
    pub fn check(&self) -> Result<(), BuildError> {
        if self.retry.enabled && self.retry.initial_interval.0.is_zero() {
            let message =
                "a backend in trouble would be asked without a pause; write 100ms or more, or `enabled: false`";
            return Err(BuildError::at("retry_on_failure.initial_interval", message));
        }
        Ok(())
    }
}

/// `retry_on_failure`: exponential backoff with jitter; a backend may ask for longer waits.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Whether failed attempts are repeated at all.
    pub enabled: bool,
    /// Wait after the first failure; no later one is shorter.
    pub initial_interval: Span,
    /// Each wait is drawn from `interval * (1 ± factor)`.
    pub randomization_factor: f64,
    /// How much longer each next wait is.
    pub multiplier: f64,
    /// Longest wait.
    pub max_interval: Span,
    /// When to give up, counted from the first attempt; 0 never.
    pub max_elapsed_time: Span,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            initial_interval: Span::secs(5),
            randomization_factor: 0.5,
            multiplier: 1.5,
            max_interval: Span::secs(30),
            max_elapsed_time: Span::secs(300),
        }
    }
}

/// `sending_queue`: what waits for the exporter, bounded in requests and in bytes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Off means that nothing waits here: while a request is on its way, senders of further ones hear 503.
    pub enabled: bool,
    /// Requests on their way at once.
    pub num_consumers: usize,
    /// Requests that may wait; bytes with `sizer: bytes`, in place of `queue_bytes`.
    pub queue_size: usize,
    /// What `queue_size` counts: `requests` or `bytes`.
    pub sizer: Sizer,
    /// Bytes that may wait or be on their way; a request larger than that goes alone.
    pub queue_bytes: ByteSize,
    /// Merges what waits into larger requests.
    pub batch: Option<BatchConfig>,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            num_consumers: 10,
            queue_size: 1000,
            sizer: Sizer::Requests,
            queue_bytes: ByteSize::mib(32),
            batch: None,
        }
    }
}

/// What the size of a queue counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sizer {
    /// Requests.
    #[default]
    Requests,
    /// Bytes.
    Bytes,
}

impl QueueConfig {
    /// Requests that may wait, and bytes that may wait or be on their way.
    pub fn room(&self) -> (usize, usize) {
        match self.sizer {
            _ if !self.enabled => (1, self.queue_bytes.as_usize()),
            Sizer::Requests => (self.queue_size, self.queue_bytes.as_usize()),
            Sizer::Bytes => (UNCOUNTED, self.queue_size),
        }
    }
}

/// Requests in a queue that counts bytes: more than it ever holds.
const UNCOUNTED: usize = 1 << 20;

/// `sending_queue.batch`: merging of small batches of one tenant before they are sent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Longest time that a batch waits for others.
    pub flush_timeout: Span,
    /// Samples at which it is sent at once.
    pub min_size: usize,
    /// Most samples in one request; 0 for no such bound.
    pub max_size: usize,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            flush_timeout: Span::millis(200),
            min_size: 8192,
            max_size: 0,
        }
    }
}
