//! `/debug/...`: what runs, with counts. Configured names, addresses of targets and numbers only: nothing of a profile, nothing of a
//! tenant. What shows more has a module of its own.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use tokio::time::timeout;

use super::Show;
use super::kills::{Caller, Who};
use crate::kill::Switch;
use crate::ledger::Ledger;
use crate::pipeline::compute::Compute;
use crate::pipeline::recent::Ring;
use crate::pipeline::{Budget, Readiness};
use crate::telemetry::{Metrics, Signal, logs};

/// What runs, by name; a reload replaces it.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// Pipelines in the order in which they are written.
    pub pipelines: Vec<PipelineView>,
    /// Ids of the extensions.
    pub extensions: Vec<String>,
}

/// One pipeline, by the ids of its components.
#[derive(Clone, Debug, Default)]
pub struct PipelineView {
    /// Its id.
    pub id: String,
    /// Where profiles, or traces, come from.
    pub receivers: Vec<String>,
    /// What happens to them.
    pub processors: Vec<String>,
    /// Where they go.
    pub exporters: Vec<String>,
}

/// What the pages look at.
#[derive(Clone)]
pub struct Watched {
    /// What runs.
    pub overview: Arc<ArcSwap<Overview>>,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Its memory.
    pub budget: Budget,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// When it began.
    pub started: Instant,
    /// Its kill switch.
    pub switch: Arc<Switch>,
    /// Its ledger.
    pub ledger: Arc<Ledger>,
    /// What its exporters keep to be looked at; a reload replaces it.
    pub rings: Arc<ArcSwap<Vec<Arc<Ring>>>>,
    /// What shows that.
    pub show: Show,
    /// Where that is done.
    pub compute: Compute,
}

/// The pages.
pub fn zpages(watched: Watched) -> Router {
    Router::new()
        .route("/debug/servicez", get(service))
        .route("/debug/pipelinez", get(pipelines))
        .route("/debug/extensionz", get(extensions))
        .route("/debug/targetz", get(targets))
        .route("/debug/loglevel", get(level).put(set_level))
        .merge(super::kills::routes())
        .merge(super::ledger::routes())
        .merge(super::recent::routes())
        .with_state(watched)
        .fallback(async || (StatusCode::NOT_FOUND, PAGES))
}

const PAGES: &str = "here are /debug/servicez /debug/pipelinez /debug/extensionz /debug/targetz /debug/loglevel /debug/killz /debug/ledgerz /debug/tracez\n";
/// Longest name of a level, with room for a line end.
const LEVEL_BYTES: usize = 16;
/// How long it may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

async fn service(State(watched): State<Watched>) -> String {
    let problem = watched.readiness.problem();
    let (used, levels) = (watched.budget.used(), watched.budget.levels());
    format!(
        "version    {}\nuptime     {}s\nready      {}\nmemory     {used} bytes in use, new requests up to {}, everything up to {}\nlog level  {}\nkills      {}\n",
        env!("CARGO_PKG_VERSION"),
        watched.started.elapsed().as_secs(),
        problem.map_or_else(|| "yes".to_owned(), |why| format!("no: {why}")),
        levels.soft,
        levels.hard,
        name(logs::level()),
        watched.switch.kills().len(),
    )
}

async fn pipelines(State(watched): State<Watched>) -> String {
    let mut text = String::new();
    for pipeline in &watched.overview.load().pipelines {
        // writing to a string does not fail
        let _ = writeln!(text, "{}", pipeline.id);
        let _ = writeln!(text, "  receivers   {}", pipeline.receivers.join(", "));
        let _ = writeln!(text, "  processors  {}", pipeline.processors.join(", "));
        let signal = Signal::of_pipeline(&pipeline.id).unwrap_or_default();
        let (unit, items) = match signal {
            Signal::Profiles => ("profiles", "samples"),
            Signal::Traces => ("spans", "spans"),
        };
        for exporter in &pipeline.exporters {
            let metrics = watched.metrics.exporter(&exporter.as_str().into(), signal);
            let _ = writeln!(
                text,
                "  exporter    {exporter}: queue {} of {} ({} bytes), {} on their way, {} {unit} sent, {} {items} given up, {} retries",
                metrics.queue_size.get(),
                metrics.queue_capacity.get(),
                metrics.queue_bytes.get(),
                metrics.in_flight_requests.get(),
                metrics.sent.get(),
                metrics.send_failed.get(),
                metrics.retries.get(),
            );
        }
    }
    text
}

async fn extensions(State(watched): State<Watched>) -> String {
    let mut text = watched.overview.load().extensions.join("\n");
    text.push('\n');
    text
}

async fn targets(State(watched): State<Watched>) -> String {
    let mut text = String::new();
    for (receiver, targets) in watched.metrics.all_targets() {
        let _ = writeln!(text, "{receiver}");
        for (address, visited) in targets.all() {
            let ago = visited.at.and_then(|at| at.elapsed().ok()).map(|ago| ago.as_secs());
            let when = ago.map_or_else(String::new, |ago| {
                format!(", {ago}s ago in {:.1}s", visited.took.as_secs_f64())
            });
            let why = if visited.why.is_empty() { "" } else { ": " };
            let _ = writeln!(
                text,
                "  {:5} {address}{when}{why}{}",
                visited.health.label(),
                visited.why
            );
        }
    }
    text
}

fn name(level: tracing::Level) -> String {
    level.as_str().to_ascii_lowercase()
}

async fn level() -> String {
    format!("{}\n", name(logs::level()))
}

async fn set_level(State(watched): State<Watched>, who: Who, request: Request<Body>) -> Response {
    if matches!(Caller::of(&watched.switch, who), Caller::Tenant(_)) {
        return (
            StatusCode::FORBIDDEN,
            "the level is that of the whole gate: not a tenant's to set\n",
        )
            .into_response();
    }
    let whole = timeout(PATIENCE, to_bytes(request.into_body(), LEVEL_BYTES)).await;
    let body = whole.ok().and_then(Result::ok).unwrap_or_default();
    let wanted = std::str::from_utf8(&body).unwrap_or_default().trim();
    // the parser takes numbers as well
    let known = ["trace", "debug", "info", "warn", "error"].contains(&wanted.to_ascii_lowercase().as_str());
    match wanted.parse() {
        Ok(level) if known => {
            logs::set_level(level);
            tracing::warn!(level = name(level), "the level of the logs was changed by hand");
            format!("{}\n", name(level)).into_response()
        }
        _ => (
            StatusCode::BAD_REQUEST,
            "not a level; write trace, debug, info, warn or error\n",
        )
            .into_response(),
    }
}
