//! How months stand, for pages and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::alert::{Kind, rounded};
use super::assess::{Scope, price, scopes};
use super::calendar::{Day, month};
use super::{Ledger, State, was};
use crate::pipeline::plan::{Plan, Standing};
use crate::telemetry::Metrics;

/// All months.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// One for each processor that keeps a ceiling.
    pub months: Vec<MonthView>,
    /// Why the ledger cannot be written, if it cannot.
    pub trouble: Option<String>,
}

/// The month of a processor.
#[derive(Clone, Debug, Serialize)]
pub struct MonthView {
    /// Its id.
    pub processor: Arc<str>,
    /// First day.
    pub from: String,
    /// First day of the next.
    pub until: String,
    /// The currency, or `bytes`.
    pub unit: Arc<str>,
    /// Its ceilings, that of all tenants together first.
    pub ceilings: Vec<ScopeView>,
    /// What was sent, by tenant and exporter.
    pub accounts: Vec<AccountView>,
}

/// One ceiling.
#[derive(Clone, Debug, Serialize)]
pub struct ScopeView {
    /// Whose; none for that of all together.
    pub tenant: Option<Arc<str>>,
    /// The ceiling.
    pub ceiling: f64,
    /// What is spent of it.
    pub spent: f64,
    /// What the month will come to, if that is known.
    pub forecast: Option<f64>,
    /// What passes: `free`, `pace`, `totals_only`, `stop`.
    pub passes: &'static str,
    /// Alerts raised this month: `actual 0.8`.
    pub alerts: Vec<String>,
}

/// One account.
#[derive(Clone, Debug, Serialize)]
pub struct AccountView {
    /// Whose.
    pub tenant: Arc<str>,
    /// By which exporter.
    pub exporter: Arc<str>,
    /// Bytes sent.
    pub bytes: u64,
    /// What they cost, in the measure of the ceiling.
    pub cost: f64,
}

impl Ledger {
    /// How everything stands.
    pub fn view(&self, now: SystemTime) -> View {
        let state = self.state();
        let plans = state.plans.values().filter_map(|plans| plans.first());
        View {
            months: plans.map(|plan| state.month_view(plan, now)).collect(),
            trouble: state.trouble.clone(),
        }
    }
}

impl State {
    fn month_view(&self, plan: &Plan, now: SystemTime) -> MonthView {
        let standing = plan.standing().clone();
        let month = month(Day::of(now), plan.terms.start_day);
        let from = month.start.to_string();
        let ceiling = |scope: Scope<'_>| {
            let assessment = scope.assess(&self.book, now);
            let alerts = self.raised(plan, &from);
            let own = alerts.filter(|key| key.tenant.as_ref() == scope.tenant);
            ScopeView {
                tenant: scope.tenant.cloned(),
                ceiling: scope.ceiling.amount,
                spent: rounded(assessment.spent),
                forecast: assessment.forecast.map(rounded),
                passes: was(&standing, &scope).name(),
                alerts: own.map(|key| format!("{} {}", key.kind.name(), key.part())).collect(),
            }
        };
        let accounts = self.book.accounts().filter_map(|((tenant, exporter), days)| {
            let price = price(&plan.terms, exporter)?;
            let bytes: u64 = days.range(month.clone()).map(|(_, sent)| *sent).sum();
            (bytes > 0).then(|| AccountView {
                tenant: tenant.clone(),
                exporter: exporter.clone(),
                bytes,
                cost: rounded(bytes as f64 * price),
            })
        });
        MonthView {
            processor: plan.processor.clone(),
            from: from.clone(),
            until: month.end.to_string(),
            unit: plan.terms.ceiling.unit(),
            ceilings: scopes(&plan.terms).map(ceiling).collect(),
            accounts: accounts.collect(),
        }
    }

    /// The alerts of a processor raised in the month that began then.
    fn raised<'a>(&'a self, plan: &'a Plan, month: &'a str) -> impl Iterator<Item = &'a super::Key> {
        let own = move |key: &&super::Key| key.processor == plan.processor && key.month == month;
        self.alerts.keys().filter(own)
    }

    /// Shows a plan in the metrics.
    pub(super) fn show(&self, plan: &Plan, standing: &Standing, now: SystemTime, metrics: &Metrics) {
        let (metrics, terms, processor) = (&metrics.ledger, &plan.terms, &plan.processor);
        let month = month(Day::of(now), terms.start_day);
        let mut sent: BTreeMap<&Arc<str>, u64> = terms.prices.keys().map(|exporter| (exporter, 0)).collect();
        for ((_, exporter), days) in self.book.accounts() {
            if let Some(sum) = sent.get_mut(exporter) {
                *sum = days
                    .range(month.clone())
                    .fold(*sum, |sum, (_, bytes)| sum.saturating_add(*bytes));
            }
        }
        sent.iter()
            .for_each(|(exporter, bytes)| metrics.bytes(processor, exporter, *bytes));
        let mut actions = BTreeMap::from([("pace", 0), ("totals_only", 0), ("stop", 0)]);
        for scope in scopes(terms) {
            if let Some(ceilings) = actions.get_mut(was(standing, &scope).name()) {
                *ceilings += 1;
            }
            if scope.tenant.is_none() {
                let assessment = scope.assess(&self.book, now);
                let (spent, ceiling) = (assessment.spent, scope.ceiling.amount);
                metrics.month(processor, &scope.ceiling.unit(), spent, ceiling, assessment.forecast);
            }
        }
        actions
            .iter()
            .for_each(|(action, ceilings)| metrics.actions(processor, action, *ceilings));
        let from = month.start.to_string();
        let actual = terms
            .alert_at
            .iter()
            .map(|part| (Kind::Actual, (part * 1_000.0).round() as u32));
        for (kind, at) in actual.chain([(Kind::Forecast, 1_000)]) {
            let raised = self.raised(plan, &from);
            let ceilings = raised.filter(|key| key.kind == kind && key.at == at).count();
            let part = (f64::from(at) / 1_000.0).to_string();
            metrics.alerts(processor, kind.name(), &part, ceilings as u64);
        }
    }
}
