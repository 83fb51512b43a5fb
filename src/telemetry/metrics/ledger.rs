//! What the ledger of a month shows. Tenants are no labels: what they spend stands on the page.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::{Names, Number, Three, Two};

type Sum = Gauge<f64, AtomicU64>;

/// The metrics of the ledger.
#[derive(Clone)]
pub struct LedgerMetrics {
    bytes: Family<Two, Number>,
    spent: Family<Two, Sum>,
    ceiling: Family<Two, Sum>,
    forecast: Family<Two, Sum>,
    alerts: Family<Three, Number>,
    actions: Family<Two, Number>,
    webhooks: Family<Two, Counter>,
    broken: Number,
}

impl LedgerMetrics {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            bytes: r.named("flamegate_ledger_bytes", "Bytes sent this month, by exporter"),
            spent: r.named(
                "flamegate_ledger_spent",
                "What is spent this month of the ceiling of all tenants",
            ),
            ceiling: r.named("flamegate_ledger_ceiling", "What all tenants may spend in a month"),
            forecast: r.named(
                "flamegate_ledger_forecast",
                "What this month will come to, once that can be said",
            ),
            alerts: r.named(
                "flamegate_ledger_alerts",
                "Ceilings of which an alert was raised this month, by kind (actual, forecast) and part of the ceiling",
            ),
            actions: r.named(
                "flamegate_ledger_actions",
                "Ceilings for which less passes than comes, by what is done (pace, totals_only, stop)",
            ),
            webhooks: r.named("flamegate_ledger_webhooks", "Alerts told to webhooks, by result"),
            broken: r.named("flamegate_ledger_broken", "1 while the ledger cannot be written"),
        }
    }

    /// Other plans from now on: nothing is shown of those before.
    pub fn clear(&self) {
        self.bytes.clear();
        self.spent.clear();
        self.ceiling.clear();
        self.forecast.clear();
        self.alerts.clear();
        self.actions.clear();
    }

    /// What an exporter sent this month, as a processor counts months.
    pub fn bytes(&self, processor: &Arc<str>, exporter: &Arc<str>, bytes: u64) {
        let key = [("processor", processor.clone()), ("exporter", exporter.clone())];
        self.bytes.get_or_create(&key).set(bytes);
    }

    /// How the ceiling of all tenants stands.
    pub fn month(&self, processor: &Arc<str>, unit: &Arc<str>, spent: f64, ceiling: f64, forecast: Option<f64>) {
        let key = [("processor", processor.clone()), ("unit", unit.clone())];
        self.spent.get_or_create(&key).set(spent);
        self.ceiling.get_or_create(&key).set(ceiling);
        if let Some(forecast) = forecast {
            self.forecast.get_or_create(&key).set(forecast);
        } else {
            self.forecast.remove(&key);
        }
    }

    /// So many ceilings of a processor had this alert this month.
    pub fn alerts(&self, processor: &Arc<str>, kind: &'static str, part: &str, ceilings: u64) {
        let key = [
            ("processor", processor.clone()),
            ("kind", kind.into()),
            ("at", part.into()),
        ];
        self.alerts.get_or_create(&key).set(ceilings);
    }

    /// So many ceilings of a processor let less pass than comes.
    pub fn actions(&self, processor: &Arc<str>, action: &'static str, ceilings: u64) {
        let key = [("processor", processor.clone()), ("action", action.into())];
        self.actions.get_or_create(&key).set(ceilings);
    }

    /// A webhook was told (`delivered`), or was not (`given_up`).
    pub fn webhook(&self, processor: &Arc<str>, result: &'static str) {
        let key = [("processor", processor.clone()), ("result", result.into())];
        self.webhooks.get_or_create(&key).inc();
    }

    /// Whether the ledger cannot be written.
    pub fn broken(&self, is_broken: bool) {
        self.broken.set(u64::from(is_broken));
    }
}
