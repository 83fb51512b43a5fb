//! What stands in front of every exporter: queue, merge, split, retry, timeout, metrics.

mod config;

pub use config::{BatchConfig, QueueConfig, RetryConfig, SinkConfig};
