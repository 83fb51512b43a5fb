//! The daemon: start, serve, drain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Page, Pages, RunOptions, TABLES, build, checking, dry_run, load, pages, quickstart};
use crate::admin;
use crate::config::{Config, ConfigErrors, Encoding, Level, Loaded};
use crate::net::endpoint::BindError;
use crate::net::server::{Listener, ServerSettings, serve};
use crate::pipeline::graph::{Graph, Tables};
use crate::pipeline::{Budget, Failure, Report, Running, Stop};
use crate::telemetry::{Metrics, logs};

/// Why the daemon did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// An address that cannot be listened on.
    #[error("{key}: {why}")]
    Listen {
        /// Key that names the address.
        key: String,
        /// The address, and what is wrong with it.
        why: BindError,
    },
    /// A part that ended by itself.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The system gives no threads or signals.
    #[error("the runtime does not start: {0}")]
    Runtime(#[from] std::io::Error),
    /// The quickstart has nowhere to listen.
    #[error("every port of the quickstart is taken; write a configuration with other ports and run with --config")]
    NoPort,
}

/// Runs until a signal, or until something breaks.
pub fn run(options: RunOptions) -> Result<(), RunError> {
    let started = Instant::now();
    let is_quickstart = options.sources.texts.is_empty();
    let sources = if is_quickstart {
        quickstart::sources(&options.sources.sets)?
    } else {
        options.sources.clone()
    };
    let loaded = load(&sources)?;
    let config = loaded.resolve(&super::CATALOG, &checking())?;
    start_logs(&config);
    for warning in super::warnings(&loaded, &config) {
        tracing::warn!("{warning}");
    }
    let metrics = Arc::new(Metrics::default());
    let graph = build_graph(&loaded, &config, &metrics, options.dry_run)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.service.worker_threads {
        runtime.worker_threads(threads.max(1));
    }
    let runtime = runtime.enable_all().build()?;
    let daemon = Daemon {
        pages: pages(&loaded, &config)?,
        config,
        metrics,
        started,
        dry_run: options.dry_run,
        is_quickstart,
    };
    let done = runtime.block_on(daemon.run(graph));
    // what still computes is counted as lost already
    runtime.shutdown_background();
    done
}

fn build_graph(loaded: &Loaded, config: &Config, metrics: &Arc<Metrics>, dry_run: bool) -> Result<Graph, ConfigErrors> {
    let quiet;
    let tables = match dry_run {
        true => {
            quiet = dry_run::exporters();
            Tables {
                exporters: &quiet,
                ..TABLES
            }
        }
        false => TABLES,
    };
    build(loaded, config, tables, metrics.clone())
}

fn start_logs(config: &Config) {
    let config = &config.service.telemetry.logs;
    let level = match config.level {
        Level::Trace => tracing::Level::TRACE,
        Level::Debug => tracing::Level::DEBUG,
        Level::Info => tracing::Level::INFO,
        Level::Warn => tracing::Level::WARN,
        Level::Error => tracing::Level::ERROR,
    };
    let encoding = match config.encoding {
        Encoding::Console => logs::Encoding::Console,
        Encoding::Json => logs::Encoding::Json,
    };
    logs::init(level, encoding);
}

struct Daemon {
    config: Config,
    pages: Pages,
    metrics: Arc<Metrics>,
    started: Instant,
    dry_run: bool,
    is_quickstart: bool,
}

impl Daemon {
    async fn run(self, graph: Graph) -> Result<(), RunError> {
        let mut signals = Signals::new()?;
        let budget = Budget::new(self.config.service.memory_budget.as_usize());
        // bound before anything runs: a busy port is an error and not a surprise
        let listeners = self.bind().await?;
        let running = graph.start(budget.clone());
        self.serve(listeners, &running, budget);
        let ended = tokio::select! {
            failure = running.failed() => Err(RunError::from(failure)),
            signal = signals.next() => Ok(signal),
            never = self.serve_until_stopped(&running) => match never {},
        };
        match &ended {
            Ok(signal) => tracing::info!(signal, "stopping"),
            Err(error) => tracing::error!("stopping: {error}"),
        }
        let report = self.drain(running, &mut signals).await;
        self.tell(&report);
        ended.map(drop)
    }

    async fn bind(&self) -> Result<Listeners, RunError> {
        Ok(Listeners {
            metrics: listen(&self.pages.metrics).await?,
            health: listen(&self.pages.health).await?,
        })
    }

    fn serve(&self, listeners: Listeners, running: &Running, budget: Budget) {
        if let Some(listener) = listeners.metrics {
            tracing::info!(addresses = ?listener.addresses(), "metrics on /metrics");
            serve_page(listener, admin::metrics(self.metrics.clone(), budget));
        }
        if let (Some(listener), Some(health)) = (listeners.health, &self.config.health_check) {
            tracing::info!(addresses = ?listener.addresses(), path = health.path, "health check");
            serve_page(listener, admin::health(&health.path, running.readiness().clone()));
        }
    }

    /// Waits until the gate is ready, says so, and shows the newcomer around.
    async fn serve_until_stopped(&self, running: &Running) -> std::convert::Infallible {
        while !running.readiness().is_ready() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let dry_run = if self.dry_run {
            " (dry run: nothing is sent)"
        } else {
            ""
        };
        tracing::info!(after = ?self.started.elapsed(), version = env!("CARGO_PKG_VERSION"), "ready{dry_run}");
        if self.is_quickstart && !self.dry_run {
            super::greeting::greet(&self.config, &self.metrics).await;
        }
        std::future::pending().await
    }

    async fn drain(&self, running: Running, signals: &mut Signals) -> Option<Report> {
        tokio::select! {
            report = running.stop(self.config.service.drain_timeout.0) => Some(report),
            signal = signals.next() => {
                tracing::warn!(signal, "second signal: leaving at once");
                None
            }
        }
    }

    fn tell(&self, report: &Option<Report>) {
        if self.dry_run {
            for component in &self.config.exporters {
                let metrics = self.metrics.exporter(&component.id.as_str().into());
                let (profiles, samples) = (metrics.sent_profiles.get(), metrics.sent_samples.get());
                tracing::info!(exporter = component.id, profiles, samples, "would have been sent");
            }
        }
        match report {
            Some(report) if report.lost.is_empty() => tracing::info!("drained; nothing was lost"),
            Some(report) => {
                for (exporter, profiles) in &report.lost {
                    tracing::warn!(%exporter, profiles, "lost: not delivered before the drain deadline");
                }
            }
            None => tracing::warn!("not drained; what was in flight is lost"),
        }
    }
}

struct Listeners {
    metrics: Option<Listener>,
    health: Option<Listener>,
}

async fn listen(page: &Option<Page>) -> Result<Option<Listener>, RunError> {
    let Some(page) = page else { return Ok(None) };
    match Listener::bind(&page.endpoint).await {
        Ok(listener) => Ok(Some(listener)),
        Err(why) => Err(RunError::Listen {
            key: page.key.to_owned(),
            why,
        }),
    }
}

/// Serves until the process ends: health and metrics are asked for also while everything else drains.
fn serve_page(listener: Listener, page: Router) {
    tokio::spawn(serve(listener, page, Stop::new(), ServerSettings::default()));
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
