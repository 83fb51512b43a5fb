//! Health, readiness and metrics over HTTP: small answers about the gate itself, never about a payload.

mod kills;
mod ledger;
mod local;
mod recent;
mod zpages;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::pipeline::{Budget, Readiness};
use crate::telemetry::Metrics;

pub use local::only_local;
pub use recent::{Question, Show, Shown};
pub use zpages::{Overview, PipelineView, Watched, zpages};

/// `/metrics` in the text format of Prometheus; `/ready` and `/live` for whoever asks in Kubernetes' way.
pub fn metrics(metrics: Arc<Metrics>, budget: Budget, readiness: Readiness) -> Router {
    let answer = move || {
        let levels = budget.levels();
        metrics.memory(budget.used(), levels.soft, levels.hard);
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let answer = ([(header::CONTENT_TYPE, kind)], metrics.text());
        std::future::ready(answer)
    };
    let ready = move || {
        let answer = match readiness.problem() {
            None => (StatusCode::OK, "ready\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
        };
        std::future::ready(answer)
    };
    Router::new()
        .route("/metrics", get(answer))
        .route("/ready", get(ready))
        .route("/live", get(async || "live\n"))
}

/// The health check: 200 while requests should be sent here, 503 while starting, stopping or broken.
pub fn health(path: &str, readiness: Readiness) -> Router {
    let (since, started) = (SystemTime::now(), Instant::now());
    let answer = move || {
        let problem = readiness.problem();
        let status = match problem {
            None => StatusCode::OK,
            Some(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = serde_json::json!({
            "status": problem.map_or_else(|| "Server available".to_owned(), |why| format!("Server not available: {why}")),
            "upSince": humantime::format_rfc3339_millis(since).to_string(),
            "uptime": humantime::format_duration(std::time::Duration::from_secs(started.elapsed().as_secs())).to_string(),
        });
        let answer = (status, [(header::CONTENT_TYPE, "application/json")], body.to_string());
        std::future::ready(answer.into_response())
    };
    Router::new().route(path, get(answer))
}
