//! `/debug/ledgerz` and `/debug/ledger`: what the month costs, for people and for programs. A credential that belongs to a tenant sees
//! what is that tenant's alone, unless it is an operator's.

use std::fmt::Write as _;
use std::time::SystemTime;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use serde_json::json;

use super::Watched;
use super::kills::{Caller, Who, answer};
use crate::ledger::View;

/// The routes.
pub(super) fn routes() -> Router<Watched> {
    Router::new()
        .route("/debug/ledgerz", get(page))
        .route("/debug/ledger", get(list))
}

fn seen(watched: &Watched, who: Who) -> View {
    let caller = Caller::of(&watched.switch, who);
    let mut view = watched.ledger.view(SystemTime::now());
    for month in &mut view.months {
        month
            .ceilings
            .retain(|ceiling| caller.may_see(ceiling.tenant.as_deref()));
        month.accounts.retain(|account| caller.may_see(Some(&account.tenant)));
    }
    view
}

async fn list(State(watched): State<Watched>, who: Who) -> Response {
    answer(StatusCode::OK, &json!(seen(&watched, who)))
}

async fn page(State(watched): State<Watched>, who: Who) -> String {
    let view = seen(&watched, who);
    let mut text = String::new();
    if view.months.is_empty() {
        text.push_str("no processor keeps a monthly ceiling\n");
    }
    if let Some(why) = &view.trouble {
        // writing to a string does not fail
        let _ = writeln!(text, "cannot be written: {why}");
    }
    for month in view.months {
        let unit = &month.unit;
        let _ = writeln!(text, "{}  {} until {}", month.processor, month.from, month.until);
        for one in month.ceilings {
            let whose = one
                .tenant
                .map_or_else(|| "all tenants".to_owned(), |tenant| format!("tenant {tenant}"));
            let forecast = one
                .forecast
                .map_or_else(|| "none yet".to_owned(), |sum| sum.to_string());
            let (spent, ceiling, passes) = (one.spent, one.ceiling, one.passes);
            let _ = write!(
                text,
                "  {whose}: {spent} of {ceiling} {unit}, forecast {forecast}, passes: {passes}"
            );
            let alerts = match one.alerts.is_empty() {
                true => String::new(),
                false => format!(", alerts: {}", one.alerts.join(", ")),
            };
            let _ = writeln!(text, "{alerts}");
        }
        for one in month.accounts {
            let (tenant, exporter) = (one.tenant, one.exporter);
            let _ = writeln!(
                text,
                "  {tenant} by {exporter}: {} bytes, {} {unit}",
                one.bytes, one.cost
            );
        }
    }
    text
}
