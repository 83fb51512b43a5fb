//! `monthly`: what a month may cost. The ledger of the gate keeps the accounts (`crate::pipeline::plan` is the seam to it); here is what
//! the configuration says, and what the processor asks while it works.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::pipeline::plan::{AtCeiling, Ceiling, Plan, Terms, Webhook};
use crate::pipeline::spec::{BuildContext, BuildError, Place};
use crate::pipeline::units::{ByteSize, Secret, Span};

pub use crate::pipeline::plan::Allowance;

/// Tenants with a ceiling of their own.
const MOST_TENANTS: usize = 256;
/// Alerts of one ceiling.
const MOST_ALERTS: usize = 16;
/// Headers of a webhook.
const MOST_HEADERS: usize = 32;
/// Longest name of a currency.
const LONGEST_UNIT: usize = 12;

/// `monthly`: what may be spent in a month. What counts are the bytes that exporters really sent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MonthlyConfig {
    /// What all tenants together may spend: `3000 USD`, in any currency, or `500 GB`.
    pub ceiling: String,
    /// What a gigabyte (10⁹ bytes) costs that an exporter sends, by its id, in the currency of the ceiling. These exporters count, and no others. A ceiling in bytes needs
    /// none: unless some are named here all count that the pipelines of this processor feed.
    pub price_per_gb: BTreeMap<String, f64>,
    /// Ceilings of single tenants, below that of all.
    pub tenants: BTreeMap<String, String>,
    /// The day of the calendar's month on which a month begins, in UTC: 1 to 28.
    pub start_day: u8,
    /// Parts of the ceiling: an alert is raised when so much of it is spent. Another one comes when the forecast reaches the whole.
    pub alert_at: Vec<f64>,
    /// What is done at the ceiling.
    pub at_ceiling: AtCeiling,
    /// Where alerts are sent, besides log and metrics.
    pub webhook: Option<WebhookConfig>,
    /// Directory in which the ledger is kept; one gate has one, and no two gates the same.
    pub storage: PathBuf,
}

impl Default for MonthlyConfig {
    fn default() -> Self {
        Self {
            ceiling: String::new(),
            price_per_gb: BTreeMap::new(),
            tenants: BTreeMap::new(),
            start_day: 1,
            alert_at: vec![0.8, 1.0],
            at_ceiling: AtCeiling::Thin,
            webhook: None,
            storage: PathBuf::from("flamegate-state"),
        }
    }
}

/// `monthly.webhook`: gets every alert as JSON, by POST.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// The address.
    pub url: Secret,
    /// Headers of every request.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// PEM file of the authorities to trust, instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The proxy on the way; those of the environment are passed by.
    #[serde(default)]
    pub proxy_url: Option<Secret>,
    /// Longest time for one attempt.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

const fn ten_seconds() -> Span {
    Span::secs(10)
}

/// The month of a processor, at work.
#[derive(Clone, Debug)]
pub struct Month {
    plan: Arc<Plan>,
    doubts: Vec<BuildError>,
}

impl Month {
    /// Checks the configuration, and registers it with the ledger of the gate.
    pub fn of(config: &MonthlyConfig, cx: &BuildContext) -> Result<Self, BuildError> {
        let terms = config.terms(cx)?;
        let doubts = match &cx.place {
            Some(place) => {
                check_exporters(&terms, place, &cx.id)?;
                doubts(&terms, place, &cx.id)
            }
            None => Vec::new(),
        };
        let plan = Arc::new(Plan::new(cx.id.clone(), terms));
        cx.plans.register(plan.clone());
        Ok(Self { plan, doubts })
    }

    /// What may pass of a tenant, by its own ceiling and by that of all together. A pace is one for all who share the ceiling.
    pub fn allows(&self, tenant: &str, _now: SystemTime) -> Allowance {
        let standing = self.plan.standing();
        match standing.tenants.get(tenant) {
            Some(own) => standing.all.and(*own),
            None => standing.all,
        }
    }

    /// What may pass of all tenants together.
    pub fn allows_all(&self) -> Allowance {
        self.plan.standing().all
    }

    /// The processor let so many bytes pass, however it measures them: [`Allowance::Pace`] is in the same measure.
    pub fn passed(&self, bytes: u64) {
        self.plan.passed(bytes);
    }

    /// What may be meant otherwise.
    pub fn doubts(&self) -> &[BuildError] {
        &self.doubts
    }
}

impl MonthlyConfig {
    fn terms(&self, cx: &BuildContext) -> Result<Terms, BuildError> {
        let at = |key: &str, why: &str| Err(BuildError::at(format!("monthly.{key}"), why));
        if self.ceiling.is_empty() {
            return at("ceiling", "missing: what a month may cost, such as 3000 USD or 500 GB");
        }
        let ceiling = ceiling("ceiling", &self.ceiling)?;
        if !(1..=28).contains(&self.start_day) {
            return at("start_day", "not a day that every month has; write 1 to 28");
        }
        if self.tenants.len() > MOST_TENANTS {
            return at("tenants", "more than 256");
        }
        if self.storage.as_os_str().is_empty() {
            return at("storage", "missing: the directory that the ledger is kept in");
        }
        let mut tenants = BTreeMap::new();
        for (tenant, text) in &self.tenants {
            let own = self::ceiling(&format!("tenants.{tenant}"), text)?;
            if own.currency != ceiling.currency {
                return at(&format!("tenants.{tenant}"), "not in the measure of `ceiling`");
            }
            tenants.insert(tenant.as_str().into(), own);
        }
        Ok(Terms {
            prices: self.prices(&ceiling, cx)?,
            ceiling,
            tenants,
            start_day: self.start_day,
            alert_at: self.alerts()?,
            at_ceiling: self.at_ceiling,
            webhook: self.webhook.as_ref().map(WebhookConfig::checked).transpose()?,
            storage: self.storage.clone(),
        })
    }

    /// The exporters that count, with their prices.
    fn prices(&self, ceiling: &Ceiling, cx: &BuildContext) -> Result<BTreeMap<Arc<str>, f64>, BuildError> {
        for (exporter, price) in &self.price_per_gb {
            if !(0.0..=1e9).contains(price) {
                let why = "not a price; write 0 or more";
                return Err(BuildError::at(format!("monthly.price_per_gb.{exporter}"), why));
            }
        }
        let is_money = ceiling.currency.is_some();
        if is_money && !self.price_per_gb.values().any(|price| *price > 0.0) {
            let why =
                "a ceiling in money needs the price of a gigabyte that an exporter sends: { otlp_http/vendor: 0.5 }";
            return Err(BuildError::at("monthly.price_per_gb", why));
        }
        let named = self.price_per_gb.iter().map(|(id, price)| (id.as_str().into(), *price));
        let prices: BTreeMap<Arc<str>, f64> = named.collect();
        match (&cx.place, prices.is_empty()) {
            (Some(place), true) => {
                let fed = feeding(place, &cx.id).flat_map(|(_, exporters)| exporters);
                Ok(fed.map(|exporter| (exporter.as_str().into(), 0.0)).collect())
            }
            _ => Ok(prices),
        }
    }

    fn alerts(&self) -> Result<Vec<f64>, BuildError> {
        let at = |why: &str| Err(BuildError::at("monthly.alert_at", why));
        if self.alert_at.len() > MOST_ALERTS {
            return at("more than 16");
        }
        if self.alert_at.iter().any(|part| !(0.001..=10.0).contains(part)) {
            return at("parts of the ceiling, such as 0.8; write 0.001 to 10");
        }
        let mut parts = self.alert_at.clone();
        parts.sort_by(f64::total_cmp);
        parts.dedup();
        Ok(parts)
    }
}

impl WebhookConfig {
    /// What can be checked here: who sends it knows more.
    fn checked(&self) -> Result<Webhook, BuildError> {
        let at = |key: &str, why: &str| Err(BuildError::at(format!("monthly.webhook.{key}"), why));
        if self.headers.len() > MOST_HEADERS {
            return at("headers", "more than 32");
        }
        let times = Duration::from_millis(100)..=Duration::from_secs(120);
        if !times.contains(&self.timeout.0) {
            return at("timeout", "write a duration from 100ms to 2m, such as 10s");
        }
        Ok(Webhook {
            url: self.url.clone(),
            headers: self.headers.clone(),
            ca_file: self.ca_file.clone(),
            proxy_url: self.proxy_url.clone(),
            timeout: self.timeout.0,
        })
    }
}

/// Reads `3000 USD` or `500 GB`.
fn ceiling(key: &str, text: &str) -> Result<Ceiling, BuildError> {
    let wrong = |why: &str| Err(BuildError::at(format!("monthly.{key}"), why));
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let Some(amount) = number
        .parse::<f64>()
        .ok()
        .filter(|amount| *amount > 0.0 && *amount < 1e18)
    else {
        return wrong("begins with no number above 0; write 3000 USD or 500 GB");
    };
    let unit = unit.trim();
    if unit.is_empty() {
        return wrong("of what? Write 3000 USD, or 500 GB");
    }
    // the words that sizes have are no currencies
    let bytes = serde_json::from_value::<ByteSize>(serde_json::Value::String(format!("1{unit}")));
    let terabytes = [("tb", 1e12), ("tib", (1u64 << 40) as f64)];
    let scale = terabytes.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name));
    if let Some(scale) = scale.map(|(_, scale)| *scale).or(bytes.ok().map(|one| one.0 as f64)) {
        return Ok(Ceiling {
            amount: amount * scale,
            currency: None,
        });
    }
    let is_word = |letter: char| letter.is_alphabetic() || "€£$¥₹".contains(letter);
    if unit.chars().count() > LONGEST_UNIT || !unit.chars().all(is_word) {
        return wrong("no currency and no size stands behind the number; write 3000 USD, or 500 GB");
    }
    Ok(Ceiling {
        amount,
        currency: Some(unit.into()),
    })
}

/// The pipelines in which a processor stands, with what they feed.
fn feeding<'a>(place: &'a Place, processor: &'a str) -> impl Iterator<Item = (&'a str, &'a Vec<String>)> {
    let own = place.pipelines.iter();
    let own = own.filter(move |(_, pipeline)| pipeline.processors.iter().any(|id| id == processor));
    own.map(|(id, pipeline)| (id.as_str(), &pipeline.exporters))
}

/// Whether what is done to what passes here is done for the sake of the exporters that get it.
fn check_exporters(terms: &Terms, place: &Place, processor: &str) -> Result<(), BuildError> {
    let everywhere = || place.pipelines.iter().flat_map(|(_, pipeline)| &pipeline.exporters);
    if let Some(unknown) = terms
        .prices
        .keys()
        .find(|id| !everywhere().any(|known| **known == ***id))
    {
        let why = "no pipeline sends to an exporter of this id";
        return Err(BuildError::at(format!("monthly.price_per_gb.{unknown}"), why));
    }
    if terms.at_ceiling == AtCeiling::AlertOnly {
        return Ok(());
    }
    let is_free = |exporter: &&String| !terms.prices.contains_key(exporter.as_str());
    let Some(beside) = place.exporters().iter().find(is_free) else {
        return Ok(());
    };
    let pipeline = &place.pipeline;
    let why = format!(
        "`{processor}` stands in the pipeline {pipeline}, which feeds `{beside}` too: what is held back for the ceiling would be missing \
         there, though it has no price. Put the exporters that cost into a pipeline of their own, or write the price of `{beside}` \
         (0 if it may get less), or say `at_ceiling: alert_only`"
    );
    Err(BuildError::at("monthly.price_per_gb", why))
}

/// Exporters that count, and get profiles by ways on which nothing is held back.
fn doubts(terms: &Terms, place: &Place, processor: &str) -> Vec<BuildError> {
    if terms.at_ceiling == AtCeiling::AlertOnly {
        return Vec::new();
    }
    let mut doubts = Vec::new();
    for (id, pipeline) in place.pipelines.iter() {
        if pipeline.processors.iter().any(|own| own == processor) {
            continue;
        }
        for exporter in pipeline
            .exporters
            .iter()
            .filter(|id| terms.prices.contains_key(id.as_str()))
        {
            let why = format!(
                "what `{exporter}` gets by the pipeline {id} counts for the ceiling, and `{processor}` does not stand there to hold it back"
            );
            doubts.push(BuildError::at("monthly.price_per_gb", why));
        }
    }
    doubts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pipeline::graph::PipelineSpec;
    use crate::pipeline::plan::Standing;
    use crate::pipeline::{Batch, Context, Origin, Permit, Reason, Verdict};
    use crate::profile::Profiles;

    fn config(json: serde_json::Value) -> MonthlyConfig {
        serde_json::from_value(json).unwrap()
    }

    fn pipelines(all: &[(&str, &[&str], &[&str])]) -> Arc<[(String, PipelineSpec)]> {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let one = |(id, processors, exporters): &(&str, &[&str], &[&str])| {
            let spec = PipelineSpec {
                processors: ids(processors),
                exporters: ids(exporters),
                ..PipelineSpec::default()
            };
            ((*id).to_owned(), spec)
        };
        all.iter().map(one).collect()
    }

    /// A processor `budget` in the first of these pipelines.
    fn month(config: &MonthlyConfig, all: &[(&str, &[&str], &[&str])]) -> Result<(Month, Arc<Plan>), BuildError> {
        let cx = BuildContext {
            place: Some(Place {
                pipeline: all[0].0.into(),
                pipelines: pipelines(all),
            }),
            ..BuildContext::new("budget", Arc::default())
        };
        let month = Month::of(config, &cx)?;
        let plan = cx.plans.take().pop().unwrap();
        Ok((month, plan))
    }

    #[test]
    fn ceilings_are_read_as_people_write_them() {
        for (text, amount, currency) in [
            ("3000 USD", 3_000.0, Some("USD")),
            ("3000.50EUR", 3_000.5, Some("EUR")),
            (" 12 € ", 12.0, Some("€")),
            ("7 Goldstücke", 7.0, Some("Goldstücke")),
            ("500 GB", 5e11, None),
            ("500GiB", 500.0 * (1u64 << 30) as f64, None),
            ("1.5 TB", 1.5e12, None),
            ("100 b", 100.0, None),
        ] {
            let read = ceiling("ceiling", text).unwrap();
            assert_eq!((read.amount, read.currency.as_deref()), (amount, currency), "{text}");
        }
        for text in [
            "3000",
            "USD",
            "-3 USD",
            "0 USD",
            "3 U S D",
            "3 USD/month",
            "1e400 USD",
            ". USD",
            "3.4.5 USD",
        ] {
            let wrong = ceiling("ceiling", text).unwrap_err();
            assert_eq!(wrong.path, "monthly.ceiling", "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_where_it_stands() {
        let prices = json!({ "vendor": 0.5 });
        let own: &[(&str, &[&str], &[&str])] = &[("profiles", &["budget"], &["vendor"])];
        for (path, config) in [
            ("monthly.ceiling", json!({ "price_per_gb": prices })),
            ("monthly.price_per_gb", json!({ "ceiling": "5 USD" })),
            (
                "monthly.price_per_gb",
                json!({ "ceiling": "5 USD", "price_per_gb": { "vendor": 0 } }),
            ),
            (
                "monthly.price_per_gb.vendor",
                json!({ "ceiling": "5 USD", "price_per_gb": { "vendor": -1 } }),
            ),
            (
                "monthly.price_per_gb.vendr",
                json!({ "ceiling": "5 USD", "price_per_gb": { "vendr": 1 } }),
            ),
            (
                "monthly.start_day",
                json!({ "ceiling": "5 USD", "price_per_gb": prices, "start_day": 29 }),
            ),
            (
                "monthly.start_day",
                json!({ "ceiling": "5 USD", "price_per_gb": prices, "start_day": 0 }),
            ),
            (
                "monthly.alert_at",
                json!({ "ceiling": "5 USD", "price_per_gb": prices, "alert_at": [0.0] }),
            ),
            (
                "monthly.alert_at",
                json!({ "ceiling": "5 USD", "price_per_gb": prices, "alert_at": [80] }),
            ),
            (
                "monthly.tenants.shop",
                json!({ "ceiling": "5 USD", "price_per_gb": prices, "tenants": { "shop": "5 GB" } }),
            ),
            (
                "monthly.tenants.shop",
                json!({ "ceiling": "5 USD", "price_per_gb": prices, "tenants": { "shop": "x" } }),
            ),
            (
                "monthly.storage",
                json!({ "ceiling": "5 USD", "price_per_gb": prices, "storage": "" }),
            ),
            (
                "monthly.webhook.timeout",
                json!({ "ceiling": "5 USD", "price_per_gb": prices, "webhook": { "url": "https://x", "timeout": "1h" } }),
            ),
        ] {
            let wrong = month(&self::config(config.clone()), own).err();
            assert_eq!(wrong.map(|wrong| wrong.path).as_deref(), Some(path), "{config}");
        }
    }

    #[test]
    fn an_exporter_for_which_something_is_held_back_has_a_pipeline_of_its_own() {
        let thin = config(json!({ "ceiling": "5 USD", "price_per_gb": { "vendor": 0.5 } }));
        let shared: &[(&str, &[&str], &[&str])] = &[("profiles", &["budget"], &["vendor", "file"])];
        let wrong = month(&thin, shared).err().unwrap();
        assert_eq!(wrong.path, "monthly.price_per_gb");
        assert!(
            wrong.message.contains("pipeline profiles, which feeds `file` too"),
            "{wrong}"
        );
        for (key, value) in [
            ("at_ceiling", json!("alert_only")),
            ("price_per_gb", json!({ "vendor": 0.5, "file": 0 })),
            ("ceiling", json!("5 GB")),
        ] {
            let mut changed = json!({ "ceiling": "5 USD", "price_per_gb": { "vendor": 0.5 } });
            changed[key] = value;
            if key == "ceiling" {
                changed.as_object_mut().unwrap().remove("price_per_gb");
            }
            let (month, plan) = month(&config(changed), shared).unwrap();
            assert!(month.doubts().is_empty());
            assert_eq!(plan.terms.prices.contains_key("file"), key != "at_ceiling");
        }
        let apart: &[(&str, &[&str], &[&str])] = &[
            ("profiles/vendor", &["budget"], &["vendor"]),
            ("profiles/own", &[], &["file"]),
        ];
        assert_eq!(month(&thin, apart).unwrap().0.doubts(), []);
        let around: &[(&str, &[&str], &[&str])] = &[
            ("profiles/vendor", &["budget"], &["vendor"]),
            ("profiles/own", &[], &["vendor", "file"]),
        ];
        let (month, _) = month(&thin, around).unwrap();
        let [doubt] = month.doubts() else {
            panic!("{:?}", month.doubts())
        };
        assert!(
            doubt
                .message
                .contains("what `vendor` gets by the pipeline profiles/own"),
            "{doubt}"
        );
    }

    #[test]
    fn the_processor_does_what_the_month_leaves() {
        let cx = BuildContext::new("budget", Arc::default());
        let plenty = json!({ "bytes_per_s": "1GiB", "profiles_per_s": 100_000 });
        let config = json!({ "monthly": { "ceiling": "5 GB" }, "default": plenty, "newcomers": plenty });
        let processor = (crate::processors::budget::SPEC.build)(config, &cx).unwrap();
        let plan = cx.plans.take().pop().unwrap();
        let process = |all| {
            plan.set_standing(Standing {
                all,
                ..Standing::default()
            });
            let profiles = crate::testing::heap_by_otlp();
            let weight = profiles.received_count();
            let batch = Batch::made(profiles, weight, Arc::new(Origin::local("test")), Permit::unlimited());
            let now = SystemTime::now();
            processor.process(batch, &Context { now })
        };
        let rows = |verdict: Verdict| match verdict {
            Verdict::Pass { batch, rejected: None } => batch.as_profiles().map_or(0, Profiles::sample_count),
            other => panic!("{other:?}"),
        };
        let whole = rows(process(Allowance::Free));
        let free = plan.take_passed();
        assert!(whole > 100 && free > 1_000, "{whole} rows, {free} bytes");
        assert_eq!(rows(process(Allowance::TotalsOnly)), 1);
        let totals = plan.take_passed();
        assert!((1..free / 10).contains(&totals), "{totals} bytes");
        assert!(matches!(process(Allowance::Stop), Verdict::Drop(Reason::OverBudget)));
        assert_eq!(plan.take_passed(), 0);
        // one byte a second, after one that was let pass by what had been saved
        let pace = Allowance::Pace { bytes_per_s: 1.0 };
        process(pace);
        assert!(
            !matches!(process(pace), Verdict::Pass { rejected: None, batch } if batch.as_profiles().map_or(0, Profiles::sample_count) == whole)
        );
    }

    #[test]
    fn a_tenant_may_what_its_ceiling_and_that_of_all_allow() {
        let own: &[(&str, &[&str], &[&str])] = &[("profiles", &["budget"], &["vendor"])];
        let (month, plan) = month(&config(json!({ "ceiling": "5 GB" })), own).unwrap();
        let now = SystemTime::now();
        assert_eq!(month.allows("shop", now), Allowance::Free);
        let pace = |bytes_per_s| Allowance::Pace { bytes_per_s };
        for (all, own, allowed) in [
            (Allowance::Free, pace(5.0), pace(5.0)),
            (pace(7.0), pace(5.0), pace(5.0)),
            (pace(3.0), pace(5.0), pace(3.0)),
            (Allowance::TotalsOnly, pace(5.0), Allowance::TotalsOnly),
            (pace(3.0), Allowance::TotalsOnly, Allowance::TotalsOnly),
            (Allowance::Stop, Allowance::Free, Allowance::Stop),
        ] {
            plan.set_standing(Standing {
                all,
                tenants: BTreeMap::from([("shop".into(), own)]),
            });
            assert_eq!(month.allows("shop", now), allowed);
            assert_eq!((month.allows("other", now), month.allows_all()), (all, all));
        }
    }
}
