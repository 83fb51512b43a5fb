//! The metrics of one server.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, Names, Number, One, Two};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    open: Family<One, Number>,
    cut: Family<Two, Counter>,
}

/// The metrics of one server.
#[derive(Clone, Debug, Default)]
pub struct ServerMetrics {
    open: Number,
    server: Arc<str>,
    cut: Family<Two, Counter>,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            open: r.named("flamegate_connections", "Connections open"),
            cut: r.named("flamegate_connections_cut", "Connections that a limit ended, by reason"),
        }
    }
}

impl Metrics {
    /// The metrics of one server, looked up once. It is called as its receiver is.
    pub fn server(&self, server: &Arc<str>) -> ServerMetrics {
        let families = &self.server;
        ServerMetrics {
            open: families.open.get_or_create(&[("server", server.clone())]).clone(),
            server: server.clone(),
            cut: families.cut.clone(),
        }
    }
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
