//! What the gate tells about itself: every metric name in one file, and logs.

mod metrics;

pub use metrics::Metrics;
