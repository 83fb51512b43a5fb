//! A graph comes alive, is replaced by the next one, and ends in order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::budget::Budget;
use super::compute::{Compute, cores};
use super::fanout::Shared;
use super::generation::Generation;
use super::graph::Graph;
use super::kill::Kills;
use super::plan::Plan;
use super::readiness::Readiness;
use super::recent::Ring;
use super::sink::Sink;
use super::spending::Spending;
use crate::telemetry::Component;

/// How long the receivers of a new configuration may take until they serve.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A running graph.
pub struct Running {
    pub(super) shared: Arc<Shared>,
    now: Generation,
    retiring: Vec<Retiring>,
}

/// What a reload did away with, while it drains.
struct Retiring {
    drained: JoinHandle<()>,
    sinks: Vec<Arc<Sink>>,
    under_way: TaskTracker,
}

/// A part that ended although nobody asked it to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{section}.{id}: {why}")]
pub struct Failure {
    /// Where its configuration stands: `receivers`, `exporters`, `pipelines`.
    pub section: &'static str,
    /// Its id.
    pub id: Arc<str>,
    /// Its own words.
    pub why: String,
}

impl Failure {
    /// What a component came to.
    pub(super) fn of(component: Component, why: String) -> Self {
        Self {
            section: component.kind.section(),
            id: component.id,
            why,
        }
    }
}

impl Graph {
    /// Starts the sinks, then the receivers. Call inside a runtime. CPU work runs on blocking threads of `threads`.
    pub fn start(self, budget: Budget, kills: Kills, threads: &Handle) -> Running {
        let shared = Arc::new(Shared {
            compute: Compute::new(threads.clone(), cores()),
            delivery: Compute::new(threads.clone(), cores()),
            budget,
            kills,
            spending: Spending::default(),
            metrics: self.metrics.clone(),
            readiness: Readiness::expecting(self.receivers.iter().map(|receiver| receiver.id.clone())),
            failed: watch::Sender::new(None),
        });
        let mut now = Generation::start(self, &Generation::default(), &shared);
        now.take_over(&Generation::default(), &shared);
        Running {
            now,
            shared,
            retiring: Vec::new(),
        }
    }
}

impl Running {
    /// Whether requests should be sent here.
    pub fn readiness(&self) -> &Readiness {
        &self.shared.readiness
    }

    /// The memory that batches may hold.
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    /// What its exporters send.
    pub fn spending(&self) -> &Spending {
        &self.shared.spending
    }

    /// What months may cost, by the processors that run.
    pub fn plans(&self) -> Vec<Arc<Plan>> {
        self.now.plans()
    }

    /// What exporters keep to be looked at.
    pub fn rings(&self) -> Vec<Arc<Ring>> {
        self.now.rings()
    }

    /// Waits until a part ends that nobody asked to, and says which and why. Never returns while all is well.
    pub async fn failed(&self) -> Failure {
        let mut tasks = self.shared.failed.subscribe();
        let task = async {
            match tasks.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(failure)) => failure.clone(),
                _ => std::future::pending().await,
            }
        };
        let receivers = self.now.receivers.iter().map(|receiver| Box::pin(receiver.failed()));
        let receiver = async {
            match receivers.len() {
                0 => std::future::pending().await,
                _ => select_all(receivers).await.0,
            }
        };
        tokio::select! {
            failure = task => failure,
            failure = receiver => failure,
        }
    }

    /// Replaces the graph by the next one without a gap: parts whose configuration is equal go on as they are, new receivers
    /// serve before old ones stop, and what is left of the old graph drains behind the scenes.
    ///
    /// If a new receiver does not come up, everything stays as it was.
    pub async fn reload(&mut self, graph: Graph, drain_timeout: Duration) -> Result<(), Failure> {
        let mut next = Generation::start(graph, &self.now, &self.shared);
        let serving = timeout(START_TIMEOUT, next.serving()).await.unwrap_or_else(|_| {
            Err(Failure {
                section: "service",
                id: "pipelines".into(),
                why: format!("a receiver does not serve within {START_TIMEOUT:?}"),
            })
        });
        if let Err(failure) = serving {
            let stays = self.now.clone();
            self.retire(next, stays, drain_timeout);
            return Err(failure);
        }
        next.take_over(&self.now, &self.shared);
        let old = std::mem::replace(&mut self.now, next);
        let stays = self.now.clone();
        self.retire(old, stays, drain_timeout);
        Ok(())
    }

    fn retire(&mut self, gone: Generation, stays: Generation, drain_timeout: Duration) {
        self.retiring.retain(|retiring| !retiring.drained.is_finished());
        // now, and not when somebody finds the time to drain: what was replaced must not answer any more
        gone.stop_receiving(&stays);
        let (shared, deadline) = (self.shared.clone(), Instant::now() + drain_timeout);
        let sinks = gone.deliveries.iter().map(|delivery| delivery.sink.clone());
        let sinks = sinks.filter(|sink| !stays.deliveries.iter().any(|kept| Arc::ptr_eq(&kept.sink, sink)));
        let earlier = self.earlier();
        self.retiring.push(Retiring {
            sinks: sinks.collect(),
            under_way: gone.under_way.clone(),
            drained: tokio::spawn(async move { gone.retire(&stays, &earlier, &shared, deadline).await }),
        });
    }

    /// What is still on its way of generations that were replaced.
    fn earlier(&self) -> Vec<TaskTracker> {
        self.retiring
            .iter()
            .map(|retiring| retiring.under_way.clone())
            .collect()
    }

    /// Ends in order: receivers stop, everyone behind them drains until its input ends, all before one deadline. What was not
    /// delivered until then is dropped and counted.
    pub async fn stop(self, drain_timeout: Duration) {
        let deadline = Instant::now() + drain_timeout;
        self.shared.readiness.stopping();
        let earlier = self.earlier();
        let nothing = Generation::default();
        self.now.retire(&nothing, &earlier, &self.shared, deadline).await;
        for mut retiring in self.retiring {
            if timeout_at(deadline, &mut retiring.drained).await.is_err() {
                retiring.sinks.iter().for_each(|sink| sink.expire());
                let _ = timeout(Duration::from_secs(1), retiring.drained).await;
            }
        }
    }
}
