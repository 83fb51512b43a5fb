//! A graph comes alive and ends in order: sinks before receivers; and at the end receivers, chains, sinks, under one deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::budget::Budget;
use super::chain::Chain;
use super::component::{Reason, Receiver, ReceiverError};
use super::compute::{Compute, guard_async};
use super::fanout::{Fanout, Pipeline, Shared, hand_over_regardless};
use super::graph::Graph;
use super::outlet::Outlet;
use super::readiness::Readiness;
use super::sink::Sink;
use super::stop::Stop;

/// What is given beyond the deadline to work that can only be waited for, so that it is counted.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A running graph.
pub struct Running {
    stop: Stop,
    shared: Arc<Shared>,
    pipelines: Vec<Arc<Pipeline>>,
    sinks: Vec<Arc<Sink>>,
    receivers: Vec<JoinHandle<()>>,
    senders: Vec<JoinHandle<()>>,
    timers: Vec<JoinHandle<()>>,
    failure: watch::Receiver<Option<Failure>>,
}

/// A receiver that ended although nobody asked it to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("receiver {receiver}: {why}")]
pub struct Failure {
    /// Its id.
    pub receiver: Arc<str>,
    /// Its own words.
    pub why: String,
}

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Profiles that were not delivered before the deadline, by exporter; only those that lost some.
    pub lost: BTreeMap<Arc<str>, u64>,
}

impl Graph {
    /// Starts the sinks, then the receivers. Call inside a runtime.
    pub fn start(self, budget: Budget) -> Running {
        let (metrics, compute) = (self.metrics.clone(), Compute::default());
        let readiness = Readiness::expecting(self.receivers.iter().map(|(id, _)| id.clone()));
        let shared = Arc::new(Shared {
            compute: compute.clone(),
            budget,
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            under_way: TaskTracker::new(),
            closed: AtomicBool::new(false),
        });
        let mut sinks = Vec::with_capacity(self.exporters.len());
        for (id, unit, built) in self.exporters {
            sinks.push(Sink::new(
                id,
                built,
                unit,
                metrics.clone(),
                compute.clone(),
                readiness.clone(),
            ));
        }
        let mut pipelines = Vec::with_capacity(self.pipelines.len());
        let mut fed_by = Vec::with_capacity(self.pipelines.len());
        for wiring in self.pipelines {
            let chain = Chain::new(wiring.stages, metrics.clone(), readiness.clone());
            pipelines.push(Arc::new(Pipeline {
                route: wiring.route,
                chain,
                sinks: sinks
                    .iter()
                    .filter(|sink| wiring.exporters.contains(sink.id()))
                    .cloned()
                    .collect(),
                held: Notify::new(),
            }));
            fed_by.push(wiring.receivers);
        }
        let senders = sinks.iter().map(|sink| tokio::spawn(sink.clone().run())).collect();
        let timers = pipelines
            .iter()
            .map(|p| tokio::spawn(flush_when_due(p.clone(), shared.clone())))
            .collect();
        let (stop, (failed, failure)) = (Stop::new(), watch::channel(None));
        let mut receivers = Vec::with_capacity(self.receivers.len());
        for (id, receiver) in self.receivers {
            let fed = pipelines.iter().zip(&fed_by).filter(|(_, from)| from.contains(&id));
            let fanout = Arc::new(Fanout {
                pipelines: fed.map(|(pipeline, _)| pipeline.clone()).collect(),
                routing: self.routing,
                receiver: id,
                shared: shared.clone(),
            });
            receivers.push(tokio::spawn(watch_over(receiver, fanout, stop.clone(), failed.clone())));
        }
        Running {
            stop,
            shared,
            pipelines,
            sinks,
            receivers,
            senders,
            timers,
            failure,
        }
    }
}

async fn watch_over(
    receiver: Box<dyn Receiver>,
    fanout: Arc<Fanout>,
    stop: Stop,
    failed: watch::Sender<Option<Failure>>,
) {
    let outlet = Outlet::new(Arc::new(fanout.clone()));
    let ended = guard_async(receiver.run(outlet, stop.clone())).await;
    let why = match ended {
        Ok(Ok(())) if stop.is_asked() => return,
        Ok(Ok(())) => "ended although nobody asked it to".to_owned(),
        Ok(Err(ReceiverError(why))) => why,
        Err(panicked) => {
            fanout.shared.metrics.panicked(&fanout.receiver, &panicked.fingerprint);
            panicked.to_string()
        }
    };
    tracing::error!(receiver = %fanout.receiver, why, "receiver ended");
    fanout.shared.readiness.died(&fanout.receiver);
    if !stop.is_asked() {
        let failure = Failure {
            receiver: fanout.receiver.clone(),
            why,
        };
        failed.send_if_modified(|first| first.is_none() && first.replace(failure).is_none());
    }
}

/// Sends on what processors hold back, when its time has come.
async fn flush_when_due(pipeline: Arc<Pipeline>, shared: Arc<Shared>) {
    loop {
        let Some(due) = pipeline.chain.due() else {
            pipeline.held.notified().await;
            continue;
        };
        let pause = due.saturating_duration_since(std::time::Instant::now());
        if pause.is_zero() {
            flush(&shared, pipeline.clone(), false).await;
            // a processor that stays due must not keep a thread busy
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = pipeline.held.notified() => {}
        }
    }
}

/// Runs what is due, or everything held back, through the rest of the chain and hands it over.
async fn flush(shared: &Shared, pipeline: Arc<Pipeline>, all: bool) {
    let under_way = shared.under_way.token();
    let job = move || {
        hand_over_regardless(&pipeline, pipeline.chain.flush(all).batches);
        drop(under_way);
    };
    // processors are guarded one by one, so this does not panic
    let _ = shared.compute.run(usize::MAX, job).await;
}

impl Running {
    /// Whether requests should be sent here.
    pub fn readiness(&self) -> &Readiness {
        &self.shared.readiness
    }

    /// Waits until a receiver fails, and says which and why. Never returns while all is well.
    pub async fn failed(&self) -> Failure {
        let mut failure = self.failure.clone();
        let found = failure
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|failure| failure.clone());
        match found {
            Some(failure) => failure,
            // every receiver has ended without one
            None => std::future::pending().await,
        }
    }

    /// Ends in order: receivers stop, everyone behind them drains until its input ends, all before one deadline.
    pub async fn stop(self, drain_timeout: Duration) -> Report {
        let deadline = Instant::now() + drain_timeout;
        self.shared.readiness.stopping();
        self.stop.ask();
        for mut receiver in self.receivers {
            if timeout_at(deadline, &mut receiver).await.is_err() {
                receiver.abort();
            }
        }
        self.shared.closed.store(true, Ordering::Release);
        self.timers.iter().for_each(JoinHandle::abort);
        self.shared.under_way.close();
        let _ = timeout_at(deadline, self.shared.under_way.wait()).await;
        for pipeline in &self.pipelines {
            let flushed = flush(&self.shared, pipeline.clone(), true);
            let _ = timeout_at(deadline.max(Instant::now() + LAST_WORD), flushed).await;
        }
        for sink in &self.sinks {
            sink.close();
        }
        let mut senders = self.senders.into_iter();
        let mut late = Vec::new();
        for sender in senders.by_ref() {
            let mut sender = sender;
            if timeout_at(deadline, &mut sender).await.is_err() {
                late.push(sender);
            }
        }
        for sink in &self.sinks {
            sink.expire();
        }
        for sender in late {
            // what is left has only to be counted, but a job on the compute pool cannot be interrupted
            let _ = tokio::time::timeout(LAST_WORD, sender).await;
        }
        let lost = self.sinks.iter().map(|sink| {
            let lost = self.shared.metrics.dropped_count(sink.id(), Reason::Shutdown.label());
            (sink.id().clone(), lost)
        });
        Report {
            lost: lost.filter(|(_, lost)| *lost > 0).collect(),
        }
    }
}
