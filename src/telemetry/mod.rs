//! What the gate tells about itself: every metric name in one file, and logs.

pub mod logs;
mod metrics;

pub use metrics::{Amount, ExporterMetrics, Metrics, Number, Opened, ServerMetrics};
