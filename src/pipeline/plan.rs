//! What a month may cost: what a processor registers, and what it reads of how that stands. Who keeps the accounts of it, and when,
//! is not the engine's business.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::units::Secret;

/// What may pass for now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Allowance {
    /// Everything.
    #[default]
    Free,
    /// So many bytes in a second, as [`Plan::passed`] counts them, of all together who share the ceiling.
    Pace {
        /// Bytes in a second.
        bytes_per_s: f64,
    },
    /// Profiles without stacks, whose sums are right.
    TotalsOnly,
    /// Nothing.
    Stop,
}

impl Allowance {
    /// The one that lets less pass.
    pub fn and(self, other: Self) -> Self {
        use Allowance::*;
        match (self, other) {
            (Stop, _) | (_, Stop) => Stop,
            (TotalsOnly, _) | (_, TotalsOnly) => TotalsOnly,
            (Pace { bytes_per_s: one }, Pace { bytes_per_s: two }) => Pace {
                bytes_per_s: one.min(two),
            },
            (Free, less) | (less, Free) => less,
        }
    }

    /// Its name in metrics and on pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pace { .. } => "pace",
            Self::TotalsOnly => "totals_only",
            Self::Stop => "stop",
        }
    }
}

/// What happens where a month would cost more than its ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AtCeiling {
    /// Nothing but alerts.
    AlertOnly,
    /// From when the forecast reaches the ceiling, what is left is shared out evenly over the time that is left; when nothing is
    /// left, only totals pass.
    #[default]
    Thin,
    /// At the ceiling only totals pass.
    TotalsOnly,
    /// At the ceiling nothing passes any more.
    Stop,
}

/// What one gate may spend in a month, or one tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Ceiling {
    /// How much.
    pub amount: f64,
    /// Of what: a currency, or none for bytes.
    pub currency: Option<Arc<str>>,
}

impl Ceiling {
    /// The currency, or `bytes`.
    pub fn unit(&self) -> Arc<str> {
        self.currency.clone().unwrap_or_else(|| "bytes".into())
    }
}

/// Where alerts are sent.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The address, which may hold a token.
    pub url: Secret,
    /// Headers of every request.
    pub headers: BTreeMap<String, Secret>,
    /// PEM file of the authorities to trust, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy on the way.
    pub proxy_url: Option<Secret>,
    /// Longest time for one attempt.
    pub timeout: Duration,
}

/// What a processor's configuration says of a month.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Of all tenants together.
    pub ceiling: Ceiling,
    /// Of single tenants.
    pub tenants: BTreeMap<Arc<str>, Ceiling>,
    /// Exporters whose bytes count, with the price of a gigabyte (10⁹ bytes).
    pub prices: BTreeMap<Arc<str>, f64>,
    /// Day on which a month begins, 1 to 28, UTC.
    pub start_day: u8,
    /// Parts of the ceiling at which an alert is raised, in rising order.
    pub alert_at: Vec<f64>,
    /// What happens at the ceiling.
    pub at_ceiling: AtCeiling,
    /// Where alerts go besides log and metrics.
    pub webhook: Option<Webhook>,
    /// Directory of the ledger.
    pub storage: PathBuf,
}

/// The month of one processor: its terms, and how it stands.
#[derive(Debug)]
pub struct Plan {
    /// Id of the processor.
    pub processor: Arc<str>,
    /// What was configured.
    pub terms: Terms,
    standing: ArcSwap<Standing>,
    passed: AtomicU64,
}

/// What may pass, of all together and of single tenants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// All tenants together.
    pub all: Allowance,
    /// Those that have a ceiling of their own.
    pub tenants: BTreeMap<Arc<str>, Allowance>,
}

impl Plan {
    /// A plan of which nothing is known yet: everything passes.
    pub fn new(processor: Arc<str>, terms: Terms) -> Self {
        Self {
            processor,
            terms,
            standing: ArcSwap::default(),
            passed: AtomicU64::new(0),
        }
    }

    /// How it stands.
    pub fn standing(&self) -> arc_swap::Guard<Arc<Standing>> {
        self.standing.load()
    }

    /// From now on it stands so.
    pub fn set_standing(&self, standing: Standing) {
        if **self.standing.load() != standing {
            self.standing.store(Arc::new(standing));
        }
    }

    /// The processor let so many bytes pass, in its own measure: [`Allowance::Pace`] is in the same one.
    pub fn passed(&self, bytes: u64) {
        self.passed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What passed since this was called last.
    pub fn take_passed(&self) -> u64 {
        self.passed.swap(0, Ordering::Relaxed)
    }
}

/// Where processors register their plans while they are built.
#[derive(Clone, Default)]
pub struct Plans(Arc<Mutex<Vec<Arc<Plan>>>>);

impl Plans {
    /// Registers one. It is heeded as long as the processor runs.
    pub fn register(&self, plan: Arc<Plan>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(plan);
    }

    /// What was registered.
    pub fn take(&self) -> Vec<Arc<Plan>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Terms {
    /// The exporters whose bytes count.
    pub fn exporters(&self) -> BTreeSet<&str> {
        self.prices.keys().map(|exporter| &**exporter).collect()
    }
}
