//! The audit trail of the configuration: checked with everything else, opened at the start, written at intervals and at the end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::task::AbortHandle;

use super::RunError;
use crate::config::{Config, ConfigError, ConfigErrors, Loaded, io_reason};
use crate::pipeline::place;
use crate::telemetry::Metrics;
use crate::telemetry::audit::Settings;

/// A key shorter than what it makes could be guessed.
const SHORTEST_KEY: usize = 32;
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// What the configuration asks for; none if nothing is to be written.
pub(super) fn settings(loaded: &Loaded, config: &Config) -> Result<Option<Settings>, ConfigErrors> {
    let Some(audit) = &config.service.telemetry.audit else {
        return Ok(None);
    };
    let wrong = |key: &str, message: &str| Err(error_at(loaded, key, message).into());
    if audit.path.is_empty() {
        return wrong("path", "missing: the file that the audit trail is written to");
    }
    if audit.max_bytes.0 == 0 {
        return wrong("max_bytes", "must be more than 0");
    }
    if audit.interval.0 < SHORTEST_INTERVAL {
        return wrong("interval", "must be at least 100ms");
    }
    let key = audit
        .fingerprint_key
        .as_ref()
        .map(|key| key.expose().as_bytes().to_vec());
    if key.as_ref().is_some_and(|key| key.len() < SHORTEST_KEY) {
        return wrong(
            "fingerprint_key",
            "must have at least 32 bytes; `flamegate keygen` makes one",
        );
    }
    Ok(Some(Settings {
        path: audit.path.clone().into(),
        max_bytes: audit.max_bytes.0,
        max_files: audit.max_files,
        fingerprint_key: key,
    }))
}

/// Why the file could not be written here.
pub(super) fn lacking(loaded: &Loaded, config: &Config) -> Result<Option<ConfigError>, ConfigErrors> {
    let checked = settings(loaded, config)?.map(|settings| place::check_file(&settings.path));
    Ok(checked.and_then(Result::err).map(|why| error_at(loaded, "path", &why)))
}

fn error_at(loaded: &Loaded, key: &str, message: &str) -> ConfigError {
    loaded.error_at(&["service", "telemetry", "audit", key], message)
}

/// Whether the file can be written; for a reload, which must know before it changes anything.
pub(super) fn try_open(loaded: &Loaded, config: &Config) -> Result<(), RunError> {
    match settings(loaded, config)? {
        Some(settings) => settings.try_open().map_err(|error| unwritable(loaded, &error)),
        None => Ok(()),
    }
}

fn unwritable(loaded: &Loaded, error: &std::io::Error) -> RunError {
    RunError::Failed(error_at(
        loaded,
        "path",
        &format!("cannot be written: {}", io_reason(error)),
    ))
}

/// Writes the trail of the process as long as it lives.
#[derive(Default)]
pub(super) struct Writer {
    metrics: Arc<Metrics>,
    settings: Option<Settings>,
    task: Option<AbortHandle>,
}

impl Writer {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            ..Self::default()
        }
    }

    /// Opens the file and begins to write to it, or stops, as the configuration says; and writes down what runs now.
    pub(super) fn follow(&mut self, loaded: &Loaded, config: &Config, event: &str) -> Result<(), RunError> {
        let settings = settings(loaded, config)?;
        if settings != self.settings {
            let opened = self.metrics.audit.configure(settings.as_ref());
            opened.map_err(|error| unwritable(loaded, &error))?;
            self.settings = settings;
        }
        if let Some(task) = self.task.take() {
            task.abort();
        }
        if let Some(audit) = &config.service.telemetry.audit {
            let (metrics, interval) = (self.metrics.clone(), audit.interval.0);
            self.task = Some(tokio::spawn(write(metrics, interval)).abort_handle());
        }
        self.metrics.audit.event(event, what_runs(config));
        Ok(())
    }

    /// The last lines.
    pub(super) fn end(&self) {
        self.metrics.audit.flush();
        self.metrics.audit.event("stopped", Map::new());
    }
}

async fn write(metrics: Arc<Metrics>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let metrics = metrics.clone();
        // aborting waits for the disk no more than anybody else does
        let _ = tokio::task::spawn_blocking(move || metrics.audit.flush()).await;
    }
}

/// Pipelines by name: where each gets its profiles, what it does to them, and where they go.
fn what_runs(config: &Config) -> Map<String, Value> {
    let pipelines = config.pipelines.iter().map(|(id, pipeline)| {
        let ids = json!({ "receivers": pipeline.receivers, "processors": pipeline.processors,
                          "exporters": pipeline.exporters });
        (id.clone(), ids)
    });
    let mut about = Map::new();
    about.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    about.insert("pipelines".to_owned(), Value::Object(pipelines.collect()));
    about
}
