//! What the gate tells about itself: every metric name in one file, logs, and the audit trail.

pub mod audit;
mod component;
pub mod logs;
mod metrics;
mod seldom;
mod targets;

pub use audit::Audit;
pub use component::{Component, Kind, Signal};
pub use metrics::{
    AggregateMetrics, Amount, BudgetMetrics, ExporterMetrics, FileMetrics, Metrics, Number, Opened, RateLimitMetrics,
    RecentMetrics, ReductionMetrics, ScrapeMetrics, ServerMetrics, ServiceFileMetrics, SpanProfilesMetrics,
    TraceJoinMetrics, TraceLinksMetrics,
};
pub use seldom::{Seldom, SeldomEach};
pub use targets::{Health, Targets, Visited};
