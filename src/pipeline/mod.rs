//! The engine: what flows, who handles it, and what happens between them.

pub mod batch;
pub mod boundary;
pub mod budget;
pub mod chain;
pub mod clock;
pub mod component;
pub mod compute;
mod encoding;
pub mod fanout;
pub mod feeder;
pub mod follow;
mod generation;
pub mod graph;
pub mod kill;
pub mod lifecycle;
pub mod matcher;
pub mod outlet;
pub mod place;
pub mod plan;
mod readiness;
pub mod recent;
pub mod removal;
pub mod routing;
pub mod shared;
pub mod sink;
pub mod spec;
pub mod spending;
pub mod stop;
mod strict;
pub mod units;

#[cfg(test)]
mod reloads;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod testing;

pub use batch::{Batch, Origin, Payload, Received};
pub use boundary::Boundary;
pub use budget::{Budget, Levels, OutOfBudget, Permit};
pub use component::{
    Context, Encoded, ExportError, Exporter, Processor, Reason, Receipt, Receiver, ReceiverError, Refusal, Sent,
    Verdict,
};
pub use follow::{Delivery, Fate};
pub use graph::{Graph, GraphError, PipelineSpec, ServiceSpec, Tables};
pub use kill::Kills;
pub use lifecycle::{Failure, Running};
pub use outlet::{Arrival, Content, Outlet};
pub use readiness::Readiness;
pub use shared::Common;
pub use spending::Spending;
pub use stop::Stop;

pub use crate::formats::Limit;
pub use crate::telemetry::Signal;
