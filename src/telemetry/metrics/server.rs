//! The metrics of one server.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Number, Two};

/// The metrics of one server.
#[derive(Clone, Debug, Default)]
pub struct ServerMetrics {
    pub(super) open: Number,
    pub(super) server: Arc<str>,
    pub(super) cut: Family<Two, Counter>,
}

impl ServerMetrics {
    /// A connection is open until the answer is dropped.
    pub fn opened(&self) -> Opened {
        self.open.add(1);
        Opened(self.open.clone())
    }

    /// What it is called: as its receiver.
    pub fn name(&self) -> &str {
        &self.server
    }

    /// Connections open.
    pub fn open(&self) -> u64 {
        self.open.get()
    }

    /// A limit ended a connection, or kept it out. The reasons are enumerated where they arise.
    pub fn cut(&self, reason: &'static str) {
        self.cut_by(reason).inc();
    }

    /// How many connections ended for a reason so far.
    pub fn cut_count(&self, reason: &'static str) -> u64 {
        self.cut_by(reason).get()
    }

    fn cut_by(&self, reason: &'static str) -> Counter {
        let key = [("server", self.server.clone()), ("reason", reason.into())];
        self.cut.get_or_create(&key).clone()
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Opened(Number);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}
