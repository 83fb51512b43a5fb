//! How a month stands, by what is booked: what is spent of a ceiling, what it will come to, and what may pass.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use super::alert::{Alert, Key as AlertKey, Kind, rounded};
use super::book::Book;
use super::calendar::{DAY, Day, month, seconds};
use super::forecast::forecast;
use crate::pipeline::plan::{Allowance, AtCeiling, Ceiling, Terms};

/// Bytes of a gigabyte, as it is billed.
const GIGABYTE: f64 = 1e9;
/// A pace is kept until the forecast is so much of the ceiling: what would come to it exactly must not go back and forth.
const RELEASED: f64 = 0.9;
/// The end of a month does not let everything through at once that is left.
const LEAST_SECONDS: f64 = 60.0;

/// One ceiling of a plan.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) terms: &'a Terms,
    /// Whose; none for that of all together.
    pub(super) tenant: Option<&'a Arc<str>>,
    pub(super) ceiling: &'a Ceiling,
}

/// How it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assessment {
    pub(super) month: Range<Day>,
    /// In the measure of the ceiling.
    pub(super) spent: f64,
    pub(super) bytes: u64,
    pub(super) forecast: Option<f64>,
    /// What one byte costs on average.
    pub(super) price: f64,
}

/// The ceilings of a plan, that of all together first.
pub(super) fn scopes(terms: &Terms) -> impl Iterator<Item = Scope<'_>> {
    let all = Scope {
        terms,
        tenant: None,
        ceiling: &terms.ceiling,
    };
    let tenants = terms.tenants.iter().map(move |(tenant, ceiling)| Scope {
        tenant: Some(tenant),
        ceiling,
        ..all
    });
    std::iter::once(all).chain(tenants)
}

/// What a byte sent by an exporter costs, in the measure of the ceiling; none if it does not count.
pub(super) fn price(terms: &Terms, exporter: &str) -> Option<f64> {
    let price = terms.prices.get(exporter)?;
    Some(match terms.ceiling.currency {
        Some(_) => price / GIGABYTE,
        None => 1.0,
    })
}

impl Scope<'_> {
    pub(super) fn assess(&self, book: &Book, now: SystemTime) -> Assessment {
        let month = month(Day::of(now), self.terms.start_day);
        let mut by_day: BTreeMap<Day, f64> = BTreeMap::new();
        let mut bytes = 0u64;
        for ((tenant, exporter), days) in book.accounts() {
            let Some(price) = price(self.terms, exporter).filter(|_| self.tenant.is_none_or(|own| own == tenant))
            else {
                continue;
            };
            for (day, sent) in days {
                *by_day.entry(*day).or_default() += *sent as f64 * price;
            }
            let sent = days.range(month.clone()).map(|(_, sent)| *sent);
            bytes = sent.fold(bytes, u64::saturating_add);
        }
        // the sum of no numbers is -0, which a page would show
        let spent = by_day.range(month.clone()).fold(0.0, |sum, (_, cost)| sum + cost);
        let since = book.since();
        Assessment {
            forecast: since.and_then(|since| forecast(&by_day, since, &month, now)),
            price: match bytes {
                0 => self.mean_price(),
                bytes => spent / bytes as f64,
            },
            month,
            spent,
            bytes,
        }
    }

    fn mean_price(&self) -> f64 {
        let prices = self
            .terms
            .prices
            .keys()
            .filter_map(|exporter| price(self.terms, exporter));
        let (sum, count) = prices.fold((0.0, 0u32), |(sum, count), price| (sum + price, count + 1));
        sum / f64::from(count.max(1))
    }

    /// What may pass. `sent` bytes leave for each one that passes the processor.
    pub(super) fn allows(&self, now_is: &Assessment, before: Allowance, sent: f64, now: SystemTime) -> Allowance {
        let (spent, ceiling) = (now_is.spent, self.ceiling.amount);
        let is_over = spent >= ceiling;
        match self.terms.at_ceiling {
            AtCeiling::AlertOnly => Allowance::Free,
            AtCeiling::TotalsOnly | AtCeiling::Thin if is_over => Allowance::TotalsOnly,
            AtCeiling::Stop if is_over => Allowance::Stop,
            AtCeiling::TotalsOnly | AtCeiling::Stop => Allowance::Free,
            AtCeiling::Thin => {
                let was_paced = matches!(before, Allowance::Pace { .. });
                let from = if was_paced { ceiling * RELEASED } else { ceiling };
                match now_is.forecast.is_some_and(|sum| sum >= from) {
                    true => Allowance::Pace {
                        bytes_per_s: now_is.pace(ceiling, now) / sent,
                    },
                    false => Allowance::Free,
                }
            }
        }
    }

    /// The alerts that there is reason for.
    pub(super) fn alerts(&self, processor: &Arc<str>, now_is: &Assessment, action: &'static str) -> Vec<Alert> {
        let ceiling = self.ceiling.amount;
        let unit = self.ceiling.unit();
        let alert = |kind, part: f64| Alert {
            key: AlertKey {
                month: now_is.month.start.to_string(),
                processor: processor.clone(),
                tenant: self.tenant.cloned(),
                ceiling: format!("{} {unit}", rounded(ceiling)),
                kind,
                at: (part * 1_000.0).round() as u32,
            },
            until: now_is.month.end.to_string(),
            spent: now_is.spent,
            forecast: now_is.forecast,
            ceiling,
            unit: unit.clone(),
            action,
        };
        let reached = self
            .terms
            .alert_at
            .iter()
            .filter(|part| now_is.spent >= **part * ceiling);
        let mut alerts: Vec<Alert> = reached.map(|part| alert(Kind::Actual, *part)).collect();
        if now_is.forecast.is_some_and(|sum| sum >= ceiling) {
            alerts.push(alert(Kind::Forecast, 1.0));
        }
        alerts
    }
}

impl Assessment {
    /// Bytes in a second that use up what is left when the month ends.
    fn pace(&self, ceiling: f64, now: SystemTime) -> f64 {
        let seconds_left = (self.month.end.0 as f64).mul_add(DAY, -seconds(now)).max(LEAST_SECONDS);
        (ceiling - self.spent).max(0.0) / self.price.max(f64::MIN_POSITIVE) / seconds_left
    }
}
