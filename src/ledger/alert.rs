//! What is said once in a month: that so much is spent, or will be.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Which alert: it is raised once, as long as all of this is equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// First day of the month.
    pub month: String,
    /// Id of the processor.
    pub processor: Arc<str>,
    /// Whose ceiling; none for that of all together.
    pub tenant: Option<Arc<str>>,
    /// The ceiling. Who raises it wants to hear of the new one.
    pub ceiling: String,
    /// What has come to it.
    pub kind: Kind,
    /// Which part of the ceiling, in thousandths.
    pub at: u32,
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What was spent.
    Actual,
    /// What will have been at the end of the month.
    Forecast,
}

impl Kind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Actual => "actual",
            Self::Forecast => "forecast",
        }
    }
}

/// How far an alert has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It is raised, and stands in the ledger.
    Raised,
    /// Everybody has it.
    Everywhere,
}

/// An alert with what led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Which.
    pub key: Key,
    /// Last day of the month, and one.
    pub until: String,
    /// What was spent.
    pub spent: f64,
    /// What the month will come to, if that is known.
    pub forecast: Option<f64>,
    /// The ceiling.
    pub ceiling: f64,
    /// The currency, or `bytes`.
    pub unit: Arc<str>,
    /// What is done about it.
    pub action: &'static str,
}

impl Key {
    /// The same words for the same alert, for whoever gets it twice.
    pub fn id(&self) -> String {
        let of = self
            .tenant
            .as_deref()
            .map_or_else(String::new, |tenant| format!("/{tenant}"));
        let (processor, month, kind) = (&self.processor, &self.month, self.kind.name());
        format!("{processor}{of}/{month}/{}/{kind}/{}", self.ceiling, self.part())
    }

    /// The part of the ceiling.
    pub fn part(&self) -> f64 {
        f64::from(self.at) / 1_000.0
    }
}

impl Alert {
    /// What the webhook gets.
    pub fn json(&self) -> Value {
        let Self { key, .. } = self;
        json!({
            "id": key.id(),
            "alert": key.kind.name(),
            "at": key.part(),
            "processor": key.processor,
            "tenant": key.tenant,
            "month": { "from": key.month, "until": self.until },
            "unit": self.unit,
            "ceiling": self.ceiling,
            "spent": rounded(self.spent),
            "forecast": self.forecast.map(rounded),
            "action": self.action,
            "text": self.text(),
        })
    }

    /// The same for people.
    pub fn text(&self) -> String {
        let Self { key, unit, .. } = self;
        let whose = key
            .tenant
            .as_deref()
            .map_or_else(String::new, |tenant| format!(" of tenant {tenant}"));
        let part = key.part() * 100.0;
        let what = match key.kind {
            Kind::Actual => format!("{part} % of the ceiling{whose} is spent"),
            Kind::Forecast => format!("the month{whose} will come to the ceiling"),
        };
        let forecast = self
            .forecast
            .map_or_else(String::new, |sum| format!(", {} forecast", rounded(sum)));
        format!(
            "{}: {what}: {} of {} {unit} since {}{forecast}",
            key.processor,
            rounded(self.spent),
            self.ceiling,
            key.month
        )
    }
}

/// To hundredths, for people.
pub(super) fn rounded(sum: f64) -> f64 {
    (sum * 100.0).round() / 100.0
}
