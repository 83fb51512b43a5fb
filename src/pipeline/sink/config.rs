//! The keys every exporter shares, named and set as in the Collector's `exporterhelper`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::batch::Batch;
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
        for (key, most) in [
            ("queue_size", self.queue.queue_size),
            ("queue_bytes", self.queue.queue_bytes.as_usize()),
        ] {
            if self.queue.enabled && most == 0 {
                let message =
                    "nothing would find room; write more than 0, or `enabled: false` to send one request at a time";
                return Err(BuildError::at(format!("sending_queue.{key}"), message));
            }
        }
        Ok(())
    }

    /// Most bytes of one request, encoded and before compression.
    pub fn most_bytes(&self) -> usize {
        let of_batch = self.queue.batch.as_ref();
        let of_batch = of_batch.filter(|batch| batch.sizer == BatchSizer::Bytes && batch.max_size > 0);
        let most = self.max_request_bytes.as_usize();
        of_batch.map_or(most, |batch| most.min(batch.max_size))
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

impl RetryConfig {
    /// Whether it gives up before the first repetition would come: that is off, said in a way that nobody means.
    pub fn gives_up_at_once(&self) -> bool {
        let most = self.max_elapsed_time.0;
        self.enabled && !most.is_zero() && most < self.initial_interval.0
    }
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
    /// How much may wait, as `sizer` counts.
    pub queue_size: usize,
    /// What `queue_size` counts: `requests`, `items` (samples, or spans), or `bytes` in place of `queue_bytes`.
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
    /// Samples.
    Items,
    /// Bytes, as they lie in memory.
    Bytes,
}

impl Sizer {
    /// How much a batch counts.
    pub fn of(self, batch: &Batch) -> usize {
        match self {
            Self::Requests => 1,
            Self::Items => usize::try_from(batch.items()).unwrap_or(usize::MAX),
            Self::Bytes => batch.held_bytes(),
        }
    }
}

impl QueueConfig {
    /// What the queue counts.
    pub fn sizer(&self) -> Sizer {
        match self.enabled {
            true => self.sizer,
            false => Sizer::Requests,
        }
    }

    /// How much may wait, as [`sizer`](Self::sizer) counts, and bytes that may wait or be on their way.
    pub fn room(&self) -> (usize, usize) {
        match self.sizer() {
            _ if !self.enabled => (1, self.queue_bytes.as_usize()),
            Sizer::Requests | Sizer::Items => (self.queue_size, self.queue_bytes.as_usize()),
            Sizer::Bytes => (self.queue_size, self.queue_size),
        }
    }
}

/// `sending_queue.batch`: merging of small batches of one tenant before they are sent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Longest time that a batch waits for others.
    pub flush_timeout: Span,
    /// Size at which it is sent at once, as `sizer` counts.
    pub min_size: usize,
    /// Largest size of one request, as `sizer` counts; 0 for no such bound.
    pub max_size: usize,
    /// What `min_size` and `max_size` count: `items` (samples), or `bytes`, for `max_size` as encoded.
    pub sizer: BatchSizer,
}

/// What the size of a merged batch counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BatchSizer {
    /// Samples.
    #[default]
    Items,
    /// Bytes.
    Bytes,
}

impl BatchConfig {
    /// How much a batch counts.
    pub fn size(&self, batch: &Batch) -> u64 {
        let sizer = match self.sizer {
            BatchSizer::Items => Sizer::Items,
            BatchSizer::Bytes => Sizer::Bytes,
        };
        sizer.of(batch) as u64
    }

    /// Most samples of one request; 0 for no such bound.
    pub fn most_samples(&self) -> usize {
        match self.sizer {
            BatchSizer::Items => self.max_size,
            BatchSizer::Bytes => 0,
        }
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            flush_timeout: Span::millis(200),
            min_size: 8192,
            max_size: 0,
            sizer: BatchSizer::Items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_without_any_room_is_refused() {
        let wrong = |queue: serde_json::Value| {
            let config = SinkConfig {
                queue: serde_json::from_value(queue).unwrap(),
                ..SinkConfig::default()
            };
            config.check().err().map(|error| error.path)
        };
        for key in ["queue_size", "queue_bytes"] {
            let path = format!("sending_queue.{key}");
            assert_eq!(wrong(serde_json::json!({ key: 0 })), Some(path));
            assert_eq!(wrong(serde_json::json!({ key: 0, "enabled": false })), None);
            assert_eq!(wrong(serde_json::json!({ key: 1 })), None);
        }
    }
}
