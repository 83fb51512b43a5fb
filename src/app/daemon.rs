//! The daemon: start, serve, reload, drain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::pages::{Served, Sources};
use super::setup::{RunOptions, Setup};
use super::{audit, farewell, kill, ledger, memory};
use crate::config::{Config, ConfigError, ConfigErrors, Encoding, Level, Node};
use crate::kill::{Now, Switch};
use crate::ledger::{self as accounts, Ledger};
use crate::net::endpoint::BindError;
use crate::pipeline::compute::{self, Compute};
use crate::pipeline::{Budget, Common, Failure, Graph, Kills, Readiness, Running};
use crate::telemetry::{Signal as Data, logs};

/// GNU `timeout` and other wrappers signal a process and then its whole group, so that one wish to stop arrives twice. What
/// follows the first one this soon is its echo; nobody who means a second one is so quick.
const ECHO: Duration = Duration::from_millis(250);

/// Why the daemon did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A configuration file that cannot be read.
    #[error(transparent)]
    Unreadable(ConfigError),
    /// An address that cannot be listened on.
    #[error("{key}: {why}")]
    Listen {
        /// Key that names the address.
        key: String,
        /// The address, and what is wrong with it.
        why: BindError,
    },
    /// A component that does not start, or ended by itself.
    #[error(transparent)]
    Failed(ConfigError),
    /// Something ended what ran; the log has said what.
    #[error("the log says why")]
    Told,
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
    let setup = Setup::read(&options)?;
    let log = &setup.config.service.telemetry.logs;
    logs::init(level(log.level), encoding(log.encoding));
    for warning in &setup.warnings {
        tracing::warn!("{warning}");
    }
    let (common, kills) = (Common::default(), Kills::default());
    let graph = setup.graph(&common, options.dry_run)?;
    setup.check_machine(&graph, None)?;
    super::cores::forbid();
    crate::net::files::raise_limit();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = setup.config.service.worker_threads {
        runtime.worker_threads(threads.max(1));
    }
    let runtime = runtime.enable_all().build()?;
    let threads = compute::threads()?;
    let settings = kill::settings(&setup.loaded, &setup.config, options.dry_run)?;
    let daemon = Daemon {
        audit: audit::Writer::new(common.metrics.clone()),
        sources: Sources {
            budget: budget(&setup.config),
            switch: Arc::new(Switch::new(settings, kills.clone(), common.metrics.clone())),
            ledger: Arc::new(Ledger::new(common.metrics.clone(), options.dry_run)),
            common,
            started,
            overview: Arc::default(),
            rings: Arc::default(),
            // one page at a time
            compute: Compute::new(threads.handle().clone(), 1),
        },
        served: Served::default(),
        ledger_runs: false,
        seen: Ok(setup.loaded.tree.clone()),
        setup,
        options,
        started,
    };
    let done = runtime.block_on(daemon.run(graph, kills, threads.handle()));
    // what still computes is counted as lost already
    runtime.shutdown_background();
    threads.shutdown_background();
    done
}

fn budget(config: &Config) -> Budget {
    let levels = memory::levels(config);
    memory::keep_freed(levels);
    let budget = Budget::new(levels.hard);
    budget.set_levels(levels);
    budget
}

fn level(level: Level) -> tracing::Level {
    match level {
        Level::Trace => tracing::Level::TRACE,
        Level::Debug => tracing::Level::DEBUG,
        Level::Info => tracing::Level::INFO,
        Level::Warn => tracing::Level::WARN,
        Level::Error => tracing::Level::ERROR,
    }
}

fn encoding(encoding: Encoding) -> logs::Encoding {
    match encoding {
        Encoding::Console => logs::Encoding::Console,
        Encoding::Json => logs::Encoding::Json,
    }
}

struct Daemon {
    options: RunOptions,
    setup: Setup,
    /// The configuration as it was last looked at, running or refused.
    seen: Look,
    sources: Sources,
    audit: audit::Writer,
    served: Served,
    /// The ledger is looked at.
    ledger_runs: bool,
    started: Instant,
}

/// The configuration as it lies there, or why it cannot be read.
type Look = Result<Node, String>;

/// What the daemon waits for.
enum Event {
    Failed(Failure),
    Signal(Kind, &'static str),
    Changed(Look),
}

impl Daemon {
    async fn run(mut self, graph: Graph, kills: Kills, threads: &Handle) -> Result<(), RunError> {
        let mut signals = Signals::new()?;
        // bound before anything runs
        let pages = self.served.bind(&self.setup.pages).await?;
        self.audit.follow(&self.setup.loaded, &self.setup.config, "started")?;
        // before anything is let in
        kill::start(&self.sources.switch)?;
        let prepared = self.sources.ledger.prepare(&graph.plans(), accounts::Now::read());
        prepared.map_err(|wrong| RunError::Failed(ledger::placed(&self.setup.loaded, &wrong)))?;
        let mut running = graph.start(self.sources.budget.clone(), kills, threads);
        self.sources.show(&self.setup.config, &running);
        self.keep_ledger(&running)?;
        self.served.serve(pages, &self.sources, running.readiness());
        tokio::spawn(self.announce(running.readiness().clone()));
        let ended = loop {
            let event = tokio::select! {
                failure = running.failed() => Event::Failed(failure),
                (kind, name) = signals.next() => Event::Signal(kind, name),
                look = self.change() => Event::Changed(look),
            };
            match event {
                Event::Failed(failure) => break Err(self.located(&failure)),
                Event::Signal(Kind::Stop, name) => break Ok(name),
                Event::Signal(Kind::Reload, name) => self.reload(&mut running, name).await,
                Event::Changed(look) => {
                    self.seen = look;
                    self.reload(&mut running, "the configuration changed").await;
                }
            }
        };
        match &ended {
            Ok(signal) => {
                let most = humantime::format_duration(self.setup.config.service.drain_timeout.0);
                tracing::info!(signal, "stopping: draining for up to {most}");
            }
            Err(error) => tracing::error!("stopping: {error}"),
        }
        let (spending, kept) = (running.spending().clone(), self.sources.ledger.clone());
        let drained = self.drain(running, &mut signals).await;
        let _ = tokio::task::spawn_blocking(move || kept.finish(&spending, accounts::Now::read())).await;
        match self.options.dry_run {
            true => self.tell_dry_run(),
            false => farewell::tell(&self.sources.common.metrics, drained),
        }
        self.audit.end();
        crate::processors::redaction::escrow::finish();
        ended.map(drop).map_err(|_| RunError::Told)
    }

    /// Keeps the accounts of what runs now.
    fn keep_ledger(&mut self, running: &Running) -> std::io::Result<()> {
        let kept = &self.sources.ledger;
        kept.follow(running.plans(), accounts::Now::read());
        if kept.is_needed() && !self.ledger_runs {
            ledger::start(kept, running.spending().clone())?;
            self.ledger_runs = true;
        }
        Ok(())
    }

    /// Waits until the gate is ready, says so, and shows the newcomer around.
    fn announce(&self, readiness: Readiness) -> impl Future<Output = ()> + Send + 'static {
        let (started, dry_run) = (self.started, self.options.dry_run);
        let newcomer = self.options.is_quickstart() && !dry_run;
        let (config, metrics) = (self.setup.config.clone(), self.sources.common.metrics.clone());
        let switch = self.sources.switch.clone();
        async move {
            while !readiness.is_ready() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let dry_run = if dry_run { " (dry run: nothing is sent)" } else { "" };
            tracing::info!(after = ?started.elapsed(), version = env!("CARGO_PKG_VERSION"), "ready{dry_run}");
            kill::tell(&switch);
            if newcomer && switch.kills().is_empty() {
                super::greeting::greet(&config, &metrics).await;
            }
        }
    }

    /// Waits until the configuration is another one than at the last look, also in what its references hold.
    /// What cannot be read may be half written: it is a change once two looks find the same trouble.
    async fn change(&self) -> Look {
        let interval = self.setup.config.service.reload_interval.0;
        if interval.is_zero() || self.options.is_quickstart() {
            return std::future::pending().await;
        }
        let mut before = None;
        loop {
            tokio::time::sleep(interval).await;
            let options = self.options.clone();
            let look = move || options.look().map_err(|error| error.to_string());
            let Ok(look) = tokio::task::spawn_blocking(look).await else {
                continue;
            };
            if look != self.seen && (look.is_ok() || before.as_ref() == Some(&look)) {
                return look;
            }
            before = Some(look);
        }
    }

    async fn reload(&mut self, running: &mut Running, why: &str) {
        if self.options.is_quickstart() {
            tracing::info!(why, "nothing to reload: the built-in configuration does not change");
            return;
        }
        let reloaded = self.try_reload(running).await;
        self.sources.common.metrics.reloaded(reloaded.is_ok());
        match reloaded {
            Ok(()) => tracing::info!(why, "reloaded"),
            Err(error) => tracing::error!(why, "not reloaded, the configuration before goes on: {error}"),
        }
    }

    /// Builds the next graph whole and takes its ports; only then is anything changed.
    async fn try_reload(&mut self, running: &mut Running) -> Result<(), RunError> {
        let (options, common) = (self.options.clone(), self.sources.common.clone());
        let (running_config, kept) = (self.setup.config.clone(), self.sources.ledger.clone());
        let read = move || -> Result<_, RunError> {
            let setup = Setup::read(&options)?;
            let graph = setup.graph(&common, options.dry_run)?;
            setup.check_machine(&graph, Some(&running_config))?;
            let prepared = kept.prepare(&graph.plans(), accounts::Now::read());
            prepared.map_err(|wrong| RunError::Failed(ledger::placed(&setup.loaded, &wrong)))?;
            Ok((setup, graph))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (next, graph) = read.map_err(std::io::Error::other)??;
        for warning in &next.warnings {
            tracing::warn!("{warning}");
        }
        let pages = self.served.bind(&next.pages).await?;
        audit::try_open(&next.loaded, &next.config)?;
        let switching = kill::settings(&next.loaded, &next.config, self.options.dry_run)?;
        let drain_timeout = next.config.service.drain_timeout.0;
        if !self.ledger_runs {
            // what was sent while nobody kept accounts is of no day that is known
            drop(running.spending().take());
        }
        let before = std::mem::replace(&mut self.setup, next);
        if let Err(failure) = running.reload(graph, drain_timeout).await {
            let error = self.located(&failure);
            self.setup = before;
            return Err(error);
        }
        self.keep_ledger(running)?;
        self.sources.show(&self.setup.config, running);
        self.served.serve(pages, &self.sources, running.readiness());
        self.seen = Ok(self.setup.loaded.tree.clone());
        self.apply(&before.config);
        self.sources.switch.configure(switching, Now::read());
        self.audit.follow(&self.setup.loaded, &self.setup.config, "reloaded")
    }

    /// What is set in place, and what cannot be.
    fn apply(&self, before: &Config) {
        let (service, old) = (&self.setup.config.service, &before.service);
        let levels = memory::levels(&self.setup.config);
        memory::keep_freed(levels);
        self.sources.budget.set_levels(levels);
        logs::set_level(level(service.telemetry.logs.level));
        let fixed = [
            (
                "service.telemetry.logs.encoding",
                service.telemetry.logs.encoding != old.telemetry.logs.encoding,
            ),
            ("service.worker_threads", service.worker_threads != old.worker_threads),
        ];
        for (key, _) in fixed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(key, "takes effect at the next start of the process");
        }
    }

    /// The error of a component, with the place of its configuration.
    fn located(&self, failure: &Failure) -> RunError {
        let path = [failure.section, failure.id.as_ref()];
        RunError::Failed(self.setup.error_at(&path, failure.why.clone()))
    }

    /// Drains; false if a second signal ends that.
    async fn drain(&self, running: Running, signals: &mut Signals) -> bool {
        let stopped = running.stop(self.setup.config.service.drain_timeout.0);
        tokio::select! {
            () = stopped => true,
            signal = signals.stop() => {
                tracing::warn!(signal, "second signal: leaving at once");
                false
            }
        }
    }

    /// What a dry run would have sent.
    fn tell_dry_run(&self) {
        for component in &self.setup.config.exporters {
            let metrics = |signal| {
                self.sources
                    .common
                    .metrics
                    .exporter(&component.id.as_str().into(), signal)
            };
            let (of_profiles, spans) = (metrics(Data::Profiles), metrics(Data::Traces).sent.get());
            let (profiles, samples) = (of_profiles.sent.get(), of_profiles.sent_samples.get());
            match spans {
                0 => tracing::info!(exporter = component.id, profiles, samples, "would have been sent"),
                _ => tracing::info!(
                    exporter = component.id,
                    profiles,
                    samples,
                    spans,
                    "would have been sent"
                ),
            }
        }
    }
}

/// The signals that the daemon heeds.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// When the first one came that asks to stop.
    asked: Option<Instant>,
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stop,
    Reload,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            asked: None,
        })
    }

    async fn next(&mut self) -> (Kind, &'static str) {
        let (kind, name) = tokio::select! {
            _ = self.interrupt.recv() => (Kind::Stop, "SIGINT"),
            _ = self.terminate.recv() => (Kind::Stop, "SIGTERM"),
            _ = self.hangup.recv() => (Kind::Reload, "SIGHUP"),
        };
        if kind == Kind::Stop {
            self.asked.get_or_insert_with(Instant::now);
        }
        (kind, name)
    }

    /// The next one that asks to stop, and is not the echo of the first.
    async fn stop(&mut self) -> &'static str {
        loop {
            let asked = self.asked;
            let (kind, name) = self.next().await;
            let is_echo = asked.is_some_and(|asked| asked.elapsed() < ECHO);
            if kind == Kind::Stop && !is_echo {
                return name;
            }
        }
    }
}
