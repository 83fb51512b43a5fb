//! Every metric of the process.

/// The metrics of the process.
#[derive(Debug, Default)]
pub struct Metrics {}
