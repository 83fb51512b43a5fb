//! Health, readiness and metrics over HTTP: the routes only, the server is `net`'s.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::pipeline::{Budget, Readiness};
use crate::telemetry::Metrics;

/// What Prometheus is told about the text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/metrics`, `/ready`, `/live`, and `/` for load balancers that ask for health.
pub fn router(metrics: Arc<Metrics>, readiness: Readiness, budget: Budget) -> Router {
    let health = readiness.clone();
    Router::new()
        .route("/metrics", get(async move || exposition(&metrics, &budget)))
        .route("/ready", get(async move || ready(&readiness)))
        .route("/", get(async move || ready(&health)))
        .route("/live", get(async || "live\n"))
}

fn exposition(metrics: &Metrics, budget: &Budget) -> impl IntoResponse + use<> {
    metrics.memory(budget.used(), budget.limit());
    ([(header::CONTENT_TYPE, OPENMETRICS)], metrics.text())
}

fn ready(readiness: &Readiness) -> (StatusCode, String) {
    match readiness.problem() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")),
    }
}
