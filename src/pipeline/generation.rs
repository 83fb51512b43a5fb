//! The running parts of one configuration. A reload makes the next generation, which keeps every part whose configuration is
//! equal, and retires what it does not keep.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::budget::GivesWay;
use super::chain::Chain;
use super::component::{Reason, ReceiverError};
use super::compute::guard_async;
use super::fanout::{Fanout, Pipeline, Shared, Wired};
use super::feeder::Feeding;
use super::graph::{Graph, NamedExporter, NamedReceiver, Wiring};
use super::lifecycle::Failure;
use super::outlet::Outlet;
use super::plan::Plan;
use super::recent::Ring;
use super::sink::Sink;
use super::spec::RawConfig;
use super::stop::Stop;
use crate::telemetry::Kind;

/// What is given beyond a deadline to work that can only be waited for, so that it is counted.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What queues are given to make room for what was held back and is due. Until then nothing else that is due goes on.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything that runs for one configuration.
#[derive(Clone, Default)]
pub(super) struct Generation {
    pub(super) receivers: Vec<Reception>,
    pub(super) lines: Vec<Line>,
    pub(super) deliveries: Vec<Delivery>,
    /// Requests of this generation on their way to its sinks.
    pub(super) under_way: TaskTracker,
}

/// A running receiver.
#[derive(Clone)]
pub(super) struct Reception {
    raw: RawConfig,
    stop: Stop,
    pub(super) fanout: Arc<Fanout>,
    /// What it feeds in this generation.
    wired: Arc<Wired>,
    status: watch::Receiver<Status>,
    task: AbortHandle,
    /// Ends with the last generation that has it, as those of lines and deliveries.
    _feeding: Arc<Feeding>,
}

/// How far a receiver has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It does not serve yet.
    Starting,
    /// It serves.
    Serving,
    /// It ended because it was told to.
    Stopped,
    /// It ended by itself.
    Failed(Failure),
}

/// A running pipeline.
#[derive(Clone)]
pub(super) struct Line {
    id: Arc<str>,
    /// Ids and configurations of its processors: a chain of equal ones is kept, with all that it holds and remembers.
    processors: Vec<(Arc<str>, RawConfig)>,
    pipeline: Arc<Pipeline>,
    /// What months may cost, as its processors registered it.
    plans: Vec<Arc<Plan>>,
    /// Sends on what is due, once this generation is the one that runs.
    timer: Option<AbortHandle>,
    feeding: Arc<Feeding>,
}

/// A running exporter.
#[derive(Clone)]
pub(super) struct Delivery {
    raw: RawConfig,
    pub(super) sink: Arc<Sink>,
    done: CancellationToken,
    /// What the exporter keeps to be looked at.
    rings: Vec<Arc<Ring>>,
    _feeding: Arc<Feeding>,
}

impl Generation {
    /// Starts the sinks, then the receivers of a graph, but for those of `before` that are configured as before.
    /// Kept receivers still feed the pipelines of `before`: see [`take_over`](Self::take_over).
    pub(super) fn start(graph: Graph, before: &Self, shared: &Arc<Shared>) -> Self {
        let under_way = TaskTracker::new();
        let mut deliveries = Vec::with_capacity(graph.exporters.len());
        for exporter in graph.exporters {
            let kept = before.deliveries.iter().find(|known| known.is(&exporter)).cloned();
            deliveries.push(kept.unwrap_or_else(|| Delivery::start(exporter, shared)));
        }
        let (mut lines, mut fed_by) = (Vec::new(), Vec::new());
        for mut wiring in graph.pipelines {
            fed_by.push(std::mem::take(&mut wiring.receivers));
            let kept = before.lines.iter().find(|known| known.is(&wiring));
            lines.push(Line::start(wiring, kept, &deliveries, shared));
        }
        let mut receivers = Vec::with_capacity(graph.receivers.len());
        for receiver in graph.receivers {
            let fed = lines
                .iter()
                .zip(&fed_by)
                .filter(|(_, from)| from.contains(&receiver.id));
            let wired = Arc::new(Wired {
                pipelines: fed.map(|(line, _)| line.pipeline.clone()).collect(),
                routing: graph.routing,
                under_way: under_way.clone(),
            });
            let kept = before.receivers.iter().find(|known| known.is(&receiver)).cloned();
            receivers.push(match kept {
                Some(kept) => Reception { wired, ..kept },
                None => Reception::start(receiver, wired, shared),
            });
        }
        Self {
            receivers,
            lines,
            deliveries,
            under_way,
        }
    }

    /// What months may cost.
    pub(super) fn plans(&self) -> Vec<Arc<Plan>> {
        self.lines.iter().flat_map(|line| line.plans.clone()).collect()
    }

    /// What exporters keep to be looked at.
    pub(super) fn rings(&self) -> Vec<Arc<Ring>> {
        self.deliveries
            .iter()
            .flat_map(|delivery| delivery.rings.clone())
            .collect()
    }

    /// Waits until every receiver serves; the first that fails is the answer.
    pub(super) async fn serving(&self) -> Result<(), Failure> {
        for receiver in &self.receivers {
            let mut status = receiver.status.clone();
            if let Ok(status) = status.wait_for(|status| *status != Status::Starting).await
                && let Status::Failed(failure) = &*status
            {
                return Err(failure.clone());
            }
        }
        Ok(())
    }

    /// From now on what arrives, and what becomes due, goes to the pipelines of this generation.
    pub(super) fn take_over(&mut self, before: &Self, shared: &Arc<Shared>) {
        for receiver in &self.receivers {
            receiver.fanout.feed(receiver.wired.clone());
        }
        let kept = before.lines.iter().filter(|line| self.has(line));
        kept.for_each(Line::stop_timer);
        for line in &mut self.lines {
            line.start_timer(&self.under_way, shared);
        }
    }

    /// Whether it has the chain of a line.
    fn has(&self, line: &Line) -> bool {
        let mut chains = self.lines.iter().map(|line| &line.pipeline.chain);
        chains.any(|chain| Arc::ptr_eq(chain, &line.pipeline.chain))
    }

    /// Asks the receivers that `stays` does not have to take nothing new.
    pub(super) fn stop_receiving(&self, stays: &Self) {
        self.leaving(stays).for_each(|receiver| receiver.stop.ask());
    }

    fn leaving(&self, stays: &Self) -> impl Iterator<Item = &Reception> {
        let is_kept = |receiver: &Reception| stays.receivers.iter().any(|kept| kept.task.id() == receiver.task.id());
        self.receivers.iter().filter(move |receiver| !is_kept(receiver))
    }

    /// Ends whatever `stays` does not have: receivers stop, everyone behind them drains until its input ends, before one deadline.
    /// Of `earlier` generations something may be on its way to the same sinks.
    pub(super) async fn retire(self, stays: &Self, earlier: &[TaskTracker], shared: &Arc<Shared>, deadline: Instant) {
        self.stop_receiving(stays);
        let ends = |line: &&Line| !stays.has(line);
        // before receivers end: one that takes its time must not take that of what is held
        let end = |line: &Line| {
            line.pipeline.chain.hold_no_more();
            flush(shared, &self.under_way, &line.pipeline, Some(deadline))
        };
        let flushed: Vec<JoinHandle<()>> = self.lines.iter().filter(ends).map(end).collect();
        let receivers: Vec<&Reception> = self.leaving(stays).collect();
        for receiver in &receivers {
            receiver.end(deadline).await;
            shared.readiness.worked(&receiver.fanout.component());
        }
        self.lines.iter().for_each(Line::stop_timer);
        self.under_way.close();
        let _ = timeout_at(deadline, self.under_way.wait()).await;
        for line in self.lines.iter().filter(ends) {
            let processors = line.processors.iter().map(|(id, _)| Kind::Processor.named(id.clone()));
            processors.for_each(|processor| shared.readiness.worked(&processor));
        }
        for flushed in flushed {
            let _ = timeout_at(deadline.max(Instant::now() + LAST_WORD), flushed).await;
        }
        let keeps = |delivery: &&Delivery| {
            !stays
                .deliveries
                .iter()
                .any(|kept| Arc::ptr_eq(&kept.sink, &delivery.sink))
        };
        for under_way in earlier {
            let _ = timeout_at(deadline, under_way.wait()).await;
        }
        let deliveries: Vec<&Delivery> = self.deliveries.iter().filter(keeps).collect();
        for delivery in &deliveries {
            shared.readiness.worked(&delivery.sink.component());
            delivery.sink.close();
        }
        for delivery in &deliveries {
            let _ = timeout_at(deadline, delivery.done.cancelled()).await;
        }
        for delivery in &deliveries {
            delivery.sink.expire();
            // what is left has only to be counted, but a job on the compute pool cannot be interrupted
            let _ = tokio::time::timeout(LAST_WORD, delivery.done.cancelled()).await;
        }
        for receiver in &receivers {
            let _ = timeout_at(deadline.max(Instant::now() + LAST_WORD), receiver.fanout.settled()).await;
        }
    }
}

impl Reception {
    fn is(&self, built: &NamedReceiver) -> bool {
        self.fanout.receiver == built.id && self.raw == built.raw && self.status.borrow().is_alive()
    }

    fn start(built: NamedReceiver, wired: Arc<Wired>, shared: &Arc<Shared>) -> Self {
        let (told, status) = watch::channel(Status::Starting);
        let fanout = Arc::new(Fanout::new(built.id.clone(), wired.clone(), shared.clone(), told));
        let stop = Stop::new();
        let outlet = Outlet::new(Arc::new(fanout.clone()));
        let feeding = Feeding::start([(fanout.component(), built.feeders)], &shared.metrics);
        let (watched, asked) = (fanout.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let ended = guard_async(built.receiver.run(outlet, asked.clone())).await;
            let why = match ended {
                Ok(Ok(())) if asked.is_asked() => return watched.tell(Status::Stopped),
                Ok(Ok(())) => "ended although nobody asked it to".to_owned(),
                Ok(Err(ReceiverError(why))) => why,
                Err(panicked) => {
                    watched
                        .shared
                        .metrics
                        .panicked(&watched.component(), &panicked.fingerprint);
                    panicked.to_string()
                }
            };
            watched.tell(Status::Failed(Failure::of(watched.component(), why)));
        });
        Self {
            raw: built.raw,
            stop,
            fanout,
            wired,
            status,
            task: task.abort_handle(),
            _feeding: Arc::new(feeding),
        }
    }

    /// Waits until it fails; for ever while all is well.
    pub(super) async fn failed(&self) -> Failure {
        let mut status = self.status.clone();
        match status
            .wait_for(|status| matches!(status, Status::Failed(_)))
            .await
            .as_deref()
        {
            Ok(Status::Failed(failure)) => failure.clone(),
            _ => std::future::pending().await,
        }
    }

    async fn end(&self, deadline: Instant) {
        let mut status = self.status.clone();
        let ended = status.wait_for(|status| !status.is_alive());
        if timeout_at(deadline, ended).await.is_err() {
            self.task.abort();
        }
        self.fanout.leave();
    }
}

impl Status {
    fn is_alive(&self) -> bool {
        matches!(self, Self::Starting | Self::Serving)
    }
}

impl Line {
    /// What a month may cost tells, where nothing else is said, which exporters count: those of the pipelines.
    fn is(&self, wiring: &Wiring) -> bool {
        let counts = |plans: &[Arc<Plan>]| plans.iter().map(|plan| plan.terms.prices.clone()).collect::<Vec<_>>();
        self.id == wiring.id && self.processors == wiring.processors && counts(&self.plans) == counts(&wiring.plans)
    }

    fn start_timer(&mut self, under_way: &TaskTracker, shared: &Arc<Shared>) {
        let timer = flush_when_due(self.pipeline.clone(), shared.clone(), under_way.clone());
        let timer = guard_async(timer).map(|ended| ended.map(|never| match never {}));
        self.timer = Some(shared.task(Kind::Pipeline.named(self.id.clone()), timer));
    }

    fn stop_timer(&self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
    }

    fn start(wiring: Wiring, kept: Option<&Self>, deliveries: &[Delivery], shared: &Arc<Shared>) -> Self {
        let (chain, feeding, plans) = match kept {
            Some(line) => (line.pipeline.chain.clone(), line.feeding.clone(), line.plans.clone()),
            None => {
                let (metrics, readiness) = (shared.metrics.clone(), shared.readiness.clone());
                let named = |(id, feeders)| (Kind::Processor.named(id), feeders);
                let feeding = Feeding::start(wiring.feeders.into_iter().map(named), &metrics);
                let chain = Chain::new(wiring.signal, wiring.stages, metrics, readiness);
                (Arc::new(chain), Arc::new(feeding), wiring.plans)
            }
        };
        let sinks = deliveries.iter().map(|delivery| &delivery.sink);
        let pipeline = Arc::new(Pipeline {
            signal: wiring.signal,
            route: wiring.route,
            chain,
            sinks: sinks
                .filter(|sink| sink.signal() == wiring.signal && wiring.exporters.contains(sink.id()))
                .cloned()
                .collect(),
        });
        Self {
            timer: None,
            id: wiring.id,
            processors: wiring.processors,
            pipeline,
            plans,
            feeding,
        }
    }
}

impl Delivery {
    fn is(&self, built: &NamedExporter) -> bool {
        *self.sink.id() == built.id && self.sink.signal() == built.signal && self.raw == built.raw
    }

    fn start(exporter: NamedExporter, shared: &Arc<Shared>) -> Self {
        let sink = Sink::new(exporter.id, exporter.signal, exporter.built, exporter.unit, shared);
        for ring in &exporter.rings {
            let holder: Arc<dyn GivesWay> = ring.clone();
            shared.budget.may_ask(&holder);
        }
        let feeding = Feeding::start([(sink.component(), exporter.feeders)], &shared.metrics);
        let (done, running) = (CancellationToken::new(), sink.clone());
        let ended = done.clone().drop_guard();
        shared.task(sink.component(), async move {
            let _ended = ended;
            running.run().await
        });
        Self {
            raw: exporter.raw,
            sink,
            done,
            rings: exporter.rings,
            _feeding: Arc::new(feeding),
        }
    }
}

/// Sends on what processors hold back, when its time has come.
async fn flush_when_due(pipeline: Arc<Pipeline>, shared: Arc<Shared>, under_way: TaskTracker) -> Infallible {
    loop {
        let Some(due) = pipeline.chain.due() else {
            pipeline.chain.held().await;
            continue;
        };
        let pause = due.saturating_duration_since(std::time::Instant::now());
        if pause.is_zero() {
            let _ = flush(&shared, &under_way, &pipeline, None).await;
            // a processor that stays due must not keep a thread busy
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = pipeline.chain.held() => {}
        }
    }
}

/// Runs what is due through the rest of the chain and hands it over, or with a `deadline` everything held back, before that. It goes on
/// when the caller goes away.
fn flush(
    shared: &Arc<Shared>,
    under_way: &TaskTracker,
    pipeline: &Arc<Pipeline>,
    deadline: Option<Instant>,
) -> JoinHandle<()> {
    let (shared, pipeline, under_way) = (shared.clone(), pipeline.clone(), under_way.token());
    tokio::spawn(async move {
        let of = pipeline.clone();
        let job = move || of.chain.flush(deadline.is_some()).batches;
        // processors are guarded one by one, so this does not panic
        let held = shared.compute.run(usize::MAX, job).await.unwrap_or_default();
        let (until, late) = match deadline {
            None => (Instant::now() + PATIENCE, Reason::QueueFull),
            Some(deadline) => (deadline, Reason::Shutdown),
        };
        pipeline.hand_over_until(until, late, &held).await;
        drop(under_way);
    })
}
